/* A checkpoint's file to a model: the layout's table says which tensor is which. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "read.h"
#include "util.h"

static vs_status read_in(const vs_reader *r, const char *base, const char *separator, const char *name, size_t rows, size_t cols,
                         float **out, vs_error *err) {
    char key[256];
    snprintf(key, sizeof key, "%s%s%s", base, separator, name);
    return vs_read_tensor(r, key, rows, cols, out, err);
}

static vs_status read_norm(const vs_reader *r, const char *base, const char *separator, const char *name, float **gain,
                           float **shift, vs_error *err) {
    char key[256];
    snprintf(key, sizeof key, "%s%s%s.weight", base, separator, name);
    vs_status status = vs_read_tensor(r, key, 1, r->model->arch.width, gain, err);
    snprintf(key, sizeof key, "%s%s%s.bias", base, separator, name);
    return status == VS_OK ? vs_read_tensor(r, key, 1, r->model->arch.width, shift, err) : status;
}

/* The layer whose rows come from up to VS_MAX_PARTS modules of a block. */
static vs_status read_layer(const vs_reader *r, const char *base, const char *const *names, size_t limit, size_t out, size_t in,
                            bool bias_optional, vs_linear *linear, vs_error *err) {
    char text[VS_MAX_PARTS][256];
    const char *modules[VS_MAX_PARTS];
    size_t parts = 0;
    for (; parts < limit && names[parts]; parts++) {
        snprintf(text[parts], sizeof text[parts], "%s.%s", base, names[parts]);
        modules[parts] = text[parts];
    }
    return vs_read_linear(r, modules, parts, out, in, bias_optional, linear, err);
}

static vs_status read_block(const vs_reader *r, const vs_layout *layout, size_t index, vs_error *err) {
    vs_block *b = &r->model->blocks[index];
    const vs_arch *a = &r->model->arch;
    const vs_layout_names *n = layout->names;
    const size_t c = a->width;
    char base[192];
    vs_layout_block(layout, r->file, index, base, sizeof base);
    vs_status status = read_norm(r, base, ".", n->norm1, &b->norm1_g, &b->norm1_b, err);
    if (status == VS_OK) status = read_norm(r, base, ".", n->norm2, &b->norm2_g, &b->norm2_b, err);
    if (status == VS_OK) status = read_layer(r, base, n->qkv, VS_MAX_PARTS, 3 * c, c, true, &b->qkv, err);
    char first[256];
    snprintf(first, sizeof first, "%s.%s.weight", base, n->w12 ? n->w12 : "");
    const bool own = a->ffn == VS_FFN_SWIGLU && n->w12 && vs_tensorfile_find(r->file, first); /* timm says fc1 and fc2 */
    const char *const names[] = { n->proj, own ? n->w12 : n->fc1, own ? n->w3 : n->fc2 };
    const struct {
        vs_linear *to;
        size_t out, in;
    } linears[] = { { &b->proj, c, c }, { &b->fc1, vs_arch_fc1_width(a), c }, { &b->fc2, c, a->hidden } };
    for (size_t i = 0; i < 3 && status == VS_OK; i++)
        status = read_layer(r, base, &names[i], 1, linears[i].out, linears[i].in, false, linears[i].to, err);
    if (status == VS_OK && a->layer_scale) status = read_in(r, base, ".", n->ls1, 1, c, &b->ls1, err);
    if (status == VS_OK && a->layer_scale) status = read_in(r, base, ".", n->ls2, 1, c, &b->ls2, err);
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

static vs_status read_backbone(const vs_reader *r, const vs_layout *layout, vs_error *err) {
    vs_model *m = r->model;
    const vs_arch *a = &m->arch;
    const vs_layout_names *n = layout->names;
    const size_t c = a->width;
    const char *prefix = layout->prefix;
    char patch[256];
    m->blocks = vs_calloc(a->depth, sizeof *m->blocks);
    if (!m->blocks) return vs_fail(err, VS_ERR_NOMEM, "no memory for %zu blocks", a->depth);
    snprintf(patch, sizeof patch, "%s%s", prefix, n->patch);
    const char *const module = patch;
    vs_status status = vs_read_linear(r, &module, 1, c, 3 * a->patch * a->patch, true, &m->patch, err);
    if (status == VS_OK) status = read_in(r, prefix, "", n->cls, 1, c, &m->cls, err);
    if (status == VS_OK) status = read_in(r, prefix, "", n->pos, a->prefix_positions + a->grid * a->grid, c, &m->pos, err);
    if (status == VS_OK && a->registers)
        status = read_in(r, prefix, "", a->distilled ? n->distillation : n->registers, a->registers, c, &m->registers, err);
    for (size_t i = 0; i < a->depth && status == VS_OK; i++) status = read_block(r, layout, i, err);
    return status == VS_OK ? read_norm(r, prefix, "", n->norm, &m->norm_g, &m->norm_b, err) : status;
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
    const vs_reader backbone = { m, file, options }, head = { m, head_file ? head_file : file, options };
    status = list_tensors(m, file, err);
    if (status == VS_OK && head_file) status = list_tensors(m, head_file, err);
    if (status == VS_OK) status = vs_read_class_names(m, head_file ? head_file : file, err);
    if (status == VS_OK) status = read_backbone(&backbone, &layout, err);
    if (status == VS_OK) status = vs_head_read(&head, &layout.head, err);
    if (status == VS_OK && m->missing_count && !options->shapes_only)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: %zu tensor%s missing, the first is '%s'", path, m->missing_count,
                         m->missing_count > 1 ? "s are" : " is", m->missing[0]);
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
