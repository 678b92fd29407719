#include <stdio.h>
#include <string.h>

#include "util/util.h"
#include "vit/eomt.h"
#include "vit/head.h"

/* `count` values of module.name. */
static vs_status read(const vs_reader *r, const char *module, const char *name, size_t count, float **out, vs_error *err) {
    char key[192];
    snprintf(key, sizeof key, "%s.%s", module, name);
    return vs_read_tensor(r, key, 1, count, out, err);
}

static vs_status check_variance(const vs_reader *r, const char *norm, vs_error *err) {
    const vs_model *m = r->model;
    for (size_t i = 0; m->bn_var && i < m->arch.head_width; i++)
        if (!((double)m->bn_var[i] + m->bn_eps > 0))
            return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s.running_var' is negative at %zu",
                           vs_tensorfile_path(r->file->file), norm, i);
    return VS_OK;
}

static vs_status read_norm(const vs_reader *r, const char *norm, vs_error *err) {
    vs_model *m = r->model;
    m->bn_eps = 1e-5; /* PyTorch's BatchNorm default, docs/vit-models.md 5.1 */
    const struct {
        const char *name;
        float **to;
    } parts[] = { { "weight", &m->bn_g }, { "bias", &m->bn_b }, { "running_mean", &m->bn_mean }, { "running_var", &m->bn_var } };
    vs_status status = VS_OK;
    for (size_t i = 0; i < 4 && status == VS_OK; i++) status = read(r, norm, parts[i].name, m->arch.head_width, parts[i].to, err);
    return status == VS_OK ? check_variance(r, norm, err) : status;
}

/* The module as its owner's model calls it: without the dict that mmcv or DINOv3 wraps a checkpoint in. */
static void unwrap(char *name) {
    static const char *const wrappers[] = { "state_dict.", "model.segmentation_model." };
    for (size_t i = 0; name && i < 2; i++) {
        const size_t all = strlen(wrappers[i]), n = strcspn(wrappers[i], ".") + 1;
        if (strncmp(name, wrappers[i], all) != 0) continue;
        memmove(name, name + n, strlen(name + n) + 1);
        return;
    }
}

vs_status vs_head_read(const vs_reader *r, const vs_head_layout *layout, vs_error *err) {
    vs_model *m = r->model;
    if (m->arch.head == VS_HEAD_NONE) return VS_OK;
    if (m->arch.head == VS_HEAD_EOMT) return vs_eomt_read(r, layout->linear, err);
    vs_linear *head = &m->head;
    vs_status status;
    if (*layout->linear) {
        const char *const module = layout->linear;
        status = vs_read_linear(r, &module, 1, m->arch.classes, m->arch.head_width, VS_BIAS_ALL_OR_NONE, head, err);
        unwrap(head->fqn[0]);
    } else { /* a bare weight and bias; the hub calls them so in memory */
        head->out = m->arch.classes;
        head->in = m->arch.head_width;
        head->fqn[0] = vs_strdup("linear_head");
        if (!head->fqn[0]) return vs_fail(err, VS_ERR_NOMEM, "no memory for the head");
        head->fqn_count = 1;
        status = vs_read_tensor(r, "weight", head->out, head->in, &head->w, err);
        if (status == VS_OK && vs_ledger_find(r->file, "bias")) status = vs_read_tensor(r, "bias", 1, head->out, &head->b, err);
    }
    if (status == VS_OK && m->arch.head_norm) status = read_norm(r, layout->norm, err);
    return status;
}
