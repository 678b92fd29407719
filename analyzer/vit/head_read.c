#include <stdio.h>
#include <string.h>

#include "util/util.h"
#include "vit/eomt.h"
#include "vit/head.h"

static vs_status check_variance(const vs_reader *r, size_t param, const char *key, vs_error *err) {
    static const double eps = 1e-5;
    const float *variance = r->model->params[param];
    for (size_t i = 0; variance && i < r->model->graph->params[param].cols; i++)
        if (!((double)variance[i] + eps > 0))
            return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' is negative at %zu", vs_tensorfile_path(r->file->file), key, i);
    return VS_OK;
}

/* Of the BatchNorm: "head.bn.running_var". */
static vs_status read_batchnorm(const vs_reader *r, const char *norm, size_t param, vs_error *err) {
    const vs_param *p = &r->model->graph->params[param];
    char key[192];
    (void)snprintf(key, sizeof key, "%s%s", norm, strrchr(p->name, '.'));
    vs_status status = vs_read_tensor(r, key, p->rows, p->cols, &r->model->params[param], err);
    return status == VS_OK && vs_has_ending(p->name, ".running_var") ? check_variance(r, param, key, err) : status;
}

vs_status vs_head_read_param(const vs_reader *r, const vs_head_layout *layout, size_t param, vs_error *err) {
    if (r->model->arch.head == VS_HEAD_EOMT) return vs_eomt_read_param(r, layout->linear, param, err);
    return read_batchnorm(r, layout->norm, param, err);
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

vs_status vs_head_read_linear(const vs_reader *r, const vs_head_layout *layout, size_t node, vs_error *err) {
    const vs_linear_slot slot = vs_linear_slot_of(r->model, node);
    if (r->model->arch.head == VS_HEAD_EOMT) return vs_eomt_read_linear(r, layout->linear, node, err);
    if (*layout->linear) {
        const char *const module = layout->linear;
        vs_status status = vs_read_linear(r, &module, 1, VS_BIAS_ALL_OR_NONE, &slot, err);
        unwrap(slot.source->fqn[0]);
        return status;
    }
    /* a bare weight and bias; the hub calls them so in memory */
    slot.source->fqn[0] = vs_strdup("linear_head");
    if (!slot.source->fqn[0]) return vs_fail(err, VS_ERR_NOMEM, "no memory for the head");
    slot.source->count = 1;
    vs_status status = vs_read_tensor(r, "weight", slot.out, slot.in, slot.w, err);
    return status == VS_OK && vs_ledger_find(r->file, "bias") ? vs_read_tensor(r, "bias", 1, slot.out, slot.b, err) : status;
}
