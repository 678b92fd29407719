/* From tensors of a file to the model's own float32 arrays. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "util.h"

typedef struct loader {
    vs_model *model;
    const vs_tensorfile *file, *head_file;
    bool check_values;
    size_t missing;
    char first_missing[256];
} loader;

static void mark_used(loader *l, const char *name) {
    for (size_t i = 0; i < l->model->tensor_count; i++)
        if (strcmp(l->model->tensors[i].name, name) == 0) l->model->tensors[i].used = true;
}

static vs_status check_finite(const vs_tensorfile *file, const vs_tensor_entry *t, const float *values, vs_error *err) {
    size_t nan = 0, inf = 0;
    for (size_t i = 0; i < t->count; i++) {
        nan += isnan(values[i]) != 0;
        inf += isinf(values[i]) != 0;
    }
    if (nan + inf == 0) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has %zu NaN and %zu infinite values", vs_tensorfile_path(file), t->name,
                   nan, inf);
}

static void format_shape(const size_t *shape, size_t ndim, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < ndim && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

/* Reads `count` values shaped rows x cols once dimensions of size 1 are dropped. A missing tensor is counted, not
 * an error yet, so that one message can say how many are missing. */
static vs_status read_tensor(loader *l, const vs_tensorfile *file, const char *name, size_t rows, size_t cols, float **out,
                             vs_error *err) {
    const vs_tensor_entry *t = vs_tensorfile_find(file, name);
    if (!t) {
        if (l->missing++ == 0) snprintf(l->first_missing, sizeof l->first_missing, "%s", name);
        return VS_OK;
    }
    size_t want = 0;
    bool fits = vs_size_mul(&want, rows, cols) && t->count == want;
    size_t lead = 0;
    for (size_t i = 0; i < t->ndim && lead == 0; i++)
        if (t->shape[i] != 1) lead = t->shape[i];
    if (fits && want > 1) fits = rows == 1 ? lead == cols : lead == rows;
    if (!fits) {
        char shape[128];
        format_shape(t->shape, t->ndim, shape, sizeof shape);
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has shape %s where [%zu, %zu] is needed", vs_tensorfile_path(file),
                       name, shape, rows, cols);
    }
    *out = vs_calloc(want ? want : 1, sizeof **out);
    if (!*out) return vs_fail(err, VS_ERR_NOMEM, "no memory for tensor '%s' (%zu values)", name, want);
    vs_status status = vs_tensor_to_f32(t, *out, err);
    if (status != VS_OK) return status;
    mark_used(l, name);
    l->model->parameters += want;
    return l->check_values ? check_finite(file, t, *out, err) : VS_OK;
}

static vs_status read_named(loader *l, const vs_tensorfile *file, float **out, size_t rows, size_t cols, vs_error *err,
                            const char *format, ...) VS_PRINTF(7, 8);
static vs_status read_named(loader *l, const vs_tensorfile *file, float **out, size_t rows, size_t cols, vs_error *err,
                            const char *format, ...) {
    char name[256];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return read_tensor(l, file, name, rows, cols, out, err);
}

/* `module` is the layer's name in the file; a bias is optional where `bias_optional`. */
static vs_status read_linear(loader *l, const vs_tensorfile *file, vs_linear *linear, const char *module, size_t out, size_t in,
                             bool bias_optional, vs_error *err) {
    linear->out = out;
    linear->in = in;
    linear->fqn = vs_strdup(module);
    if (!linear->fqn) return vs_fail(err, VS_ERR_NOMEM, "no memory for a layer name");
    vs_status status = read_named(l, file, &linear->w, out, in, err, "%s.weight", module);
    if (status != VS_OK) return status;
    char bias[256];
    snprintf(bias, sizeof bias, "%s.bias", module);
    if (bias_optional && !vs_tensorfile_find(file, bias)) return VS_OK;
    return read_tensor(l, file, bias, 1, out, &linear->b, err);
}

static vs_status read_block(loader *l, const char *prefix, size_t index, vs_error *err) {
    vs_block *b = &l->model->blocks[index];
    const vs_arch *a = &l->model->arch;
    const size_t c = a->width;
    char base[200], module[256];
    snprintf(base, sizeof base, "%sblocks.%zu", prefix, index);
    const struct {
        const char *name;
        float **to;
    } vectors[] = { { "norm1.weight", &b->norm1_g },
                    { "norm1.bias", &b->norm1_b },
                    { "norm2.weight", &b->norm2_g },
                    { "norm2.bias", &b->norm2_b } };
    vs_status status = VS_OK;
    for (size_t i = 0; i < 4 && status == VS_OK; i++)
        status = read_named(l, l->file, vectors[i].to, 1, c, err, "%s.%s", base, vectors[i].name);
    const struct {
        const char *name;
        vs_linear *to;
        size_t out, in;
    } linears[] = { { "attn.qkv", &b->qkv, 3 * c, c },
                    { "attn.proj", &b->proj, c, c },
                    { "mlp.fc1", &b->fc1, a->hidden, c },
                    { "mlp.fc2", &b->fc2, c, a->hidden } };
    for (size_t i = 0; i < 4 && status == VS_OK; i++) {
        snprintf(module, sizeof module, "%s.%s", base, linears[i].name);
        status = read_linear(l, l->file, linears[i].to, module, linears[i].out, linears[i].in, i == 0, err);
    }
    if (status == VS_OK && a->layer_scale) status = read_named(l, l->file, &b->ls1, 1, c, err, "%s.ls1.gamma", base);
    if (status == VS_OK && a->layer_scale) status = read_named(l, l->file, &b->ls2, 1, c, err, "%s.ls2.gamma", base);
    return status;
}

static vs_status list_tensors(vs_model *m, const vs_tensorfile *file, vs_error *err) {
    size_t total = 0;
    if (!vs_size_add(&total, m->tensor_count, vs_tensorfile_count(file))) return vs_fail(err, VS_ERR_NOMEM, "too many tensors");
    vs_tensor_use *grown = realloc(m->tensors, (total ? total : 1) * sizeof *grown);
    if (!grown) return vs_fail(err, VS_ERR_NOMEM, "no memory for %zu tensor names", total);
    m->tensors = grown;
    for (size_t i = 0; i < vs_tensorfile_count(file); i++) {
        vs_tensor_use use = { vs_strdup(vs_tensorfile_at(file, i)->name), false };
        if (!use.name) return vs_fail(err, VS_ERR_NOMEM, "no memory for a tensor name");
        m->tensors[m->tensor_count++] = use;
    }
    return VS_OK;
}

static void summarize_dtypes(vs_model *m, const vs_tensorfile *file) {
    size_t used = 0;
    for (size_t i = 0; i < vs_tensorfile_count(file); i++) {
        const char *name = vs_tensorfile_at(file, i)->dtype_name;
        bool seen = false;
        size_t n = 0;
        for (size_t j = 0; j < vs_tensorfile_count(file); j++)
            if (strcmp(vs_tensorfile_at(file, j)->dtype_name, name) == 0) {
                seen |= j < i;
                n++;
            }
        if (!seen && used < sizeof m->dtypes)
            used += (size_t)snprintf(m->dtypes + used, sizeof m->dtypes - used, "%s%s %zu", used ? ", " : "", name, n);
    }
}

/* Comma-separated names under the metadata key "classes". */
static vs_status read_class_names(vs_model *m, const vs_tensorfile *file, vs_error *err) {
    for (size_t i = 0; i < vs_tensorfile_meta_count(file); i++) {
        const vs_meta_entry *meta = vs_tensorfile_meta_at(file, i);
        if (strcmp(meta->key, "classes") != 0) continue;
        size_t capacity = 0;
        for (const char *p = meta->value; *p;) {
            const size_t n = strcspn(p, ",");
            if (!vs_grow((void **)&m->class_names, &capacity, m->class_name_count + 1, sizeof *m->class_names))
                return vs_fail(err, VS_ERR_NOMEM, "no memory for class names");
            char *name = vs_format("%.*s", (int)n, p);
            if (!name) return vs_fail(err, VS_ERR_NOMEM, "no memory for class names");
            m->class_names[m->class_name_count++] = name;
            p += n + (p[n] == ',');
        }
    }
    return VS_OK;
}

static vs_status read_backbone(loader *l, const vs_layout *layout, vs_error *err) {
    vs_model *m = l->model;
    const vs_arch *a = &m->arch;
    const size_t c = a->width;
    const char *prefix = layout->prefix;
    char module[256];
    m->blocks = vs_calloc(a->depth, sizeof *m->blocks);
    if (!m->blocks) return vs_fail(err, VS_ERR_NOMEM, "no memory for %zu blocks", a->depth);
    snprintf(module, sizeof module, "%spatch_embed.proj", prefix);
    vs_status status = read_linear(l, l->file, &m->patch, module, c, 3 * a->patch * a->patch, true, err);
    if (status == VS_OK) status = read_named(l, l->file, &m->cls, 1, c, err, "%scls_token", prefix);
    if (status == VS_OK)
        status = read_named(l, l->file, &m->pos, a->class_position + a->grid * a->grid, c, err, "%spos_embed", prefix);
    if (status == VS_OK && a->registers)
        status = read_named(l, l->file, &m->registers, a->registers, c, err, "%s%s", prefix,
                            strcmp(a->layout, "dinov2_hub") == 0 ? "register_tokens" : "reg_token");
    for (size_t i = 0; i < a->depth && status == VS_OK; i++) status = read_block(l, prefix, i, err);
    if (status == VS_OK) status = read_named(l, l->file, &m->norm_g, 1, c, err, "%snorm.weight", prefix);
    if (status == VS_OK) status = read_named(l, l->file, &m->norm_b, 1, c, err, "%snorm.bias", prefix);
    return status;
}

vs_status vs_model_load(vs_model **out, const char *path, const vs_model_options *options, vs_error *err) {
    *out = NULL;
    vs_tensorfile *file = NULL, *head_file = NULL;
    vs_layout layout;
    vs_model *m = NULL;
    vs_status status = vs_tensorfile_open(&file, path, err);
    if (status == VS_OK && options->head_path) status = vs_tensorfile_open(&head_file, options->head_path, err);
    if (status == VS_OK) status = vs_layout_detect(&layout, file, head_file, options, err);
    if (status != VS_OK) goto done;
    m = vs_calloc(1, sizeof *m);
    if (!m || !(m->path = vs_strdup(path))) {
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for the model");
        goto done;
    }
    m->arch = layout.arch;
    loader l = { .model = m, .file = file, .head_file = head_file, .check_values = options->check_values };
    status = list_tensors(m, file, err);
    if (status == VS_OK && head_file) status = list_tensors(m, head_file, err);
    if (status == VS_OK) status = read_class_names(m, head_file ? head_file : file, err);
    if (status == VS_OK) status = read_backbone(&l, &layout, err);
    if (status == VS_OK) status = vs_head_read(m, &layout.head, head_file ? head_file : file, options->check_values, err);
    if (status == VS_OK && l.missing)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: %zu tensor%s missing, the first is '%s'", path, l.missing,
                         l.missing > 1 ? "s are" : " is", l.first_missing);
    if (status == VS_OK && options->hash) status = vs_tensorfile_sha256(file, m->sha256, err);
    summarize_dtypes(m, file);
done:
    vs_tensorfile_close(file);
    vs_tensorfile_close(head_file);
    if (status != VS_OK) {
        vs_model_free(m);
        return status;
    }
    *out = m;
    return VS_OK;
}
