#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "head.h"
#include "util.h"

typedef struct reader {
    vs_model *model;
    const vs_tensorfile *file;
    bool check_values;
} reader;

static void mark_used(vs_model *m, const char *name) {
    for (size_t i = 0; i < m->tensor_count; i++)
        if (strcmp(m->tensors[i].name, name) == 0) m->tensors[i].used = true;
}

static vs_status check_values(const reader *r, const vs_tensor_entry *t, const float *values, vs_error *err) {
    size_t nan = 0, inf = 0;
    for (size_t i = 0; i < t->count; i++) {
        nan += isnan(values[i]) != 0;
        inf += isinf(values[i]) != 0;
    }
    if (nan + inf == 0) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has %zu NaN and %zu infinite values", vs_tensorfile_path(r->file),
                   t->name, nan, inf);
}

/* `count` values of module.name; NULL stays where an optional one is absent. */
static vs_status read(const reader *r, const char *module, const char *name, size_t count, bool optional, float **out,
                      vs_error *err) {
    char key[192];
    snprintf(key, sizeof key, "%s%s%s", module, *module ? "." : "", name);
    const char *path = vs_tensorfile_path(r->file);
    const vs_tensor_entry *t = vs_tensorfile_find(r->file, key);
    if (!t && optional) return VS_OK;
    if (!t) return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' of the head is missing", path, key);
    if (t->count != count)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has %zu values where the head needs %zu", path, key, t->count, count);
    if (!(*out = vs_calloc(count, sizeof **out)))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for tensor '%s' (%zu values)", key, count);
    vs_status status = vs_tensor_to_f32(t, *out, err);
    if (status != VS_OK) return status;
    mark_used(r->model, key);
    r->model->parameters += count;
    return r->check_values ? check_values(r, t, *out, err) : VS_OK;
}

static vs_status check_variance(const reader *r, const char *norm, vs_error *err) {
    const vs_model *m = r->model;
    for (size_t i = 0; i < m->arch.head_width; i++)
        if (!((double)m->bn_var[i] + m->bn_eps > 0))
            return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s.running_var' is negative at %zu", vs_tensorfile_path(r->file),
                           norm, i);
    return VS_OK;
}

static vs_status read_norm(const reader *r, const char *norm, vs_error *err) {
    vs_model *m = r->model;
    m->bn_eps = 1e-5; /* PyTorch's BatchNorm default, vit-models.md 5.1 */
    const struct {
        const char *name;
        float **to;
    } parts[] = { { "weight", &m->bn_g }, { "bias", &m->bn_b }, { "running_mean", &m->bn_mean }, { "running_var", &m->bn_var } };
    vs_status status = VS_OK;
    for (size_t i = 0; i < 4 && status == VS_OK; i++)
        status = read(r, norm, parts[i].name, m->arch.head_width, false, parts[i].to, err);
    return status == VS_OK ? check_variance(r, norm, err) : status;
}

/* The module as its owner's model calls it: without the dict that mmcv wraps a checkpoint in. As the hub calls a bare one in
 * memory. */
static char *name_module(const char *linear) {
    static const char wrapper[] = "state_dict.";
    if (!*linear) return vs_strdup("linear_head");
    return vs_strdup(strncmp(linear, wrapper, sizeof wrapper - 1) == 0 ? linear + sizeof wrapper - 1 : linear);
}

vs_status vs_head_read(vs_model *m, const vs_head_layout *layout, const vs_tensorfile *file, bool check, vs_error *err) {
    const reader r = { m, file, check };
    size_t count = 0;
    if (m->arch.head == VS_HEAD_NONE) return VS_OK;
    m->head.out = m->arch.classes;
    m->head.in = m->arch.head_width;
    m->head.fqn = name_module(layout->linear);
    if (!m->head.fqn || !vs_size_mul(&count, m->head.out, m->head.in))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the head");
    vs_status status = read(&r, layout->linear, "weight", count, false, &m->head.w, err);
    if (status == VS_OK) status = read(&r, layout->linear, "bias", m->head.out, true, &m->head.b, err);
    if (status == VS_OK && m->arch.head_norm) status = read_norm(&r, layout->norm, err);
    return status;
}
