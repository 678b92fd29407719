#include "vit/read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static vs_status note_missing(vs_model *m, const char *name, vs_error *err) {
    char **grown = realloc(m->missing, (m->missing_count + 1) * sizeof *grown);
    if (grown) m->missing = grown;
    char *copy = grown ? vs_strdup(name) : NULL;
    if (!copy) return vs_fail(err, VS_ERR_NOMEM, "no memory for a tensor name");
    m->missing[m->missing_count++] = copy;
    return VS_OK;
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

/* Whose work it is, from what such programs put beside the weights. */
static const char *quantized_by(const vs_ledger *file) {
    static const struct {
        const char *components, *by;
    } marks[] = { { "SCB", " (bitsandbytes int8)" },
                  { "absmax quant_map quant_state* nested_absmax", " (bitsandbytes 4 bit)" },
                  { "qweight qzeros g_idx", " (GPTQ or AWQ)" },
                  { "weight_scale weight_scale_inv input_scale", " (with scales beside them)" } };
    for (size_t m = 0; m < sizeof marks / sizeof *marks; m++)
        for (size_t i = 0; i < file->count; i++)
            if (vs_has_component(file->rows[i].name, marks[m].components)) return marks[m].by;
    return "";
}

static void format_shape(const size_t *shape, size_t ndim, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (size_t i = 0; i < ndim && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

static vs_status check_shape(const vs_reader *r, const vs_tensor_entry *t, size_t rows, size_t cols, vs_error *err) {
    size_t want = 0;
    bool fits = vs_size_mul(&want, rows, cols) && t->count == want;
    size_t lead = 0;
    for (size_t i = 0; i < t->ndim && lead == 0; i++)
        if (t->shape[i] != 1) lead = t->shape[i];
    if (fits && want > 1) fits = rows == 1 ? lead == cols : lead == rows;
    if (fits) return VS_OK;
    char shape[128];
    format_shape(t->shape, t->ndim, shape, sizeof shape);
    return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has shape %s where [%zu, %zu] is needed",
                   vs_tensorfile_path(r->file->file), t->name, shape, rows, cols);
}

bool vs_is_float(const vs_tensor_entry *t) {
    return t->dtype == VS_DTYPE_F32 || t->dtype == VS_DTYPE_F16 || t->dtype == VS_DTYPE_BF16 || t->dtype == VS_DTYPE_F64;
}

/* Names and shapes alone must tell, too, that a model cannot run. */
static vs_status check_type(const vs_reader *r, const vs_tensor_entry *t, vs_error *err) {
    if (vs_is_float(t)) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: tensor '%s' has type %s: a checkpoint of quantized weights%s cannot be studied, its float checkpoint can",
                   vs_tensorfile_path(r->file->file), t->name, t->dtype_name, quantized_by(r->file));
}

/* Into `to` (NULL: shapes only). */
static vs_status read_into(const vs_reader *r, const char *name, size_t rows, size_t cols, float *to, vs_error *err) {
    vs_ledger_row *row = vs_ledger_find(r->file, name);
    if (!row) return note_missing(r->model, name, err);
    const vs_tensor_entry *t = row->tensor;
    vs_status status = check_type(r, t, err); /* first: packed weights have other shapes, too */
    if (status == VS_OK) status = check_shape(r, t, rows, cols, err);
    if (status != VS_OK) return status;
    row->used = true;
    r->model->parameters += t->count;
    if (!to) return VS_OK;
    status = vs_tensor_to_f32(t, to, err);
    return status == VS_OK && r->options->check_values ? check_finite(r->file->file, t, to, err) : status;
}

static vs_status allocate(const vs_reader *r, size_t rows, size_t cols, const char *name, float **out, vs_error *err) {
    size_t count = 0;
    if (r->options->shapes_only) return VS_OK;
    if (!vs_size_mul(&count, rows, cols) || !(*out = vs_calloc(count ? count : 1, sizeof **out)))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for tensor '%s' (%zu x %zu values)", name, rows, cols);
    return VS_OK;
}

vs_status vs_read_tensor(const vs_reader *r, const char *name, size_t rows, size_t cols, float **out, vs_error *err) {
    /* the shape before the memory: a file may claim any size */
    const vs_tensor_entry *t = vs_ledger_tensor(r->file, name);
    vs_status status = t ? check_type(r, t, err) : VS_OK;
    if (status == VS_OK && t) status = check_shape(r, t, rows, cols, err);
    if (status == VS_OK && t) status = allocate(r, rows, cols, name, out, err);
    return status == VS_OK ? read_into(r, name, rows, cols, *out, err) : status;
}

static size_t count_present(const vs_reader *r, const char *const *modules, size_t parts, const char *what) {
    size_t n = 0;
    for (size_t i = 0; i < parts; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s.%s", modules[i], what);
        n += vs_ledger_tensor(r->file, name) != NULL;
    }
    return n;
}

/* The parts of a weight [out, in] or of a bias [1, out], each with its share of `out`. Part `optional` may be missing. */
static vs_status read_parts(const vs_reader *r, const char *const *modules, size_t parts, const char *what, size_t out, size_t in,
                            size_t optional, float **to, vs_error *err) {
    const size_t rows = parts ? out / parts : 0;
    const bool bias = strcmp(what, "bias") == 0;
    vs_status status = VS_OK;
    if (count_present(r, modules, parts, what)) status = allocate(r, out, in, modules[0], to, err);
    for (size_t i = 0; i < parts && status == VS_OK; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s.%s", modules[i], what);
        if (i == optional && !vs_ledger_tensor(r->file, name)) continue;
        float *at = *to ? *to + i * rows * in : NULL;
        status = read_into(r, name, bias ? 1 : rows, bias ? rows : in, at, err);
    }
    return status;
}

/* As the file calls it, wrappers and all. */
static char *module_in_file(const vs_reader *r, const char *module) {
    char name[256];
    snprintf(name, sizeof name, "%s.weight", module);
    const vs_tensor_entry *t = vs_ledger_tensor(r->file, name);
    return t ? vs_format("%.*s", (int)(strlen(t->name) - (sizeof ".weight" - 1)), t->name) : vs_strdup(module);
}

vs_linear_slot vs_linear_slot_of(vs_model *m, size_t node) {
    const vs_node *n = &m->graph->nodes[node];
    const vs_param *w = &m->graph->params[n->param[0]];
    return (vs_linear_slot){ &m->sources[node], &m->params[n->param[0]], &m->params[n->param[1]], w->rows, w->cols };
}

vs_status vs_read_source(const vs_reader *r, const char *module, vs_source *source, vs_error *err) {
    source->fqn[source->count] = module_in_file(r, module);
    if (!source->fqn[source->count]) return vs_fail(err, VS_ERR_NOMEM, "no memory for a layer name");
    source->count++;
    return VS_OK;
}

vs_status vs_read_linear(const vs_reader *r, const char *const *modules, size_t parts, vs_bias_rule rule, const vs_linear_slot *l,
                         vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < parts && status == VS_OK; i++) status = vs_read_source(r, modules[i], l->source, err);
    if (status == VS_OK) status = read_parts(r, modules, parts, "weight", l->out, l->in, SIZE_MAX, l->w, err);
    if (status != VS_OK || rule == VS_BIAS_NONE) return status;
    if (rule == VS_BIAS_ALL_OR_NONE && count_present(r, modules, parts, "bias") == 0) return VS_OK;
    return read_parts(r, modules, parts, "bias", l->out, 1, rule == VS_BIAS_ALL_BUT_KEY ? 1 : SIZE_MAX, l->b, err);
}

bool vs_find_module(const vs_ledger *file, size_t *from, const char *name, char *module, size_t size) {
    static const char what[] = ".weight";
    char suffix[64];
    snprintf(suffix, sizeof suffix, "%s%s", name, what);
    const size_t tail = strlen(suffix);
    while (*from < file->count) {
        const char *key = file->rows[(*from)++].name;
        const size_t n = strlen(key);
        if (n < tail || strcmp(key + n - tail, suffix) != 0 || (n > tail && key[n - tail - 1] != '.')) continue;
        const size_t length = n - (sizeof what - 1);
        if (length >= size) continue;
        memcpy(module, key, length);
        module[length] = '\0';
        return true;
    }
    return false;
}
