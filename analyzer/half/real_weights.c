#include <stdlib.h>

#include "half/real.h"
#include "util/util.h"

/* Two passes over the same weights: without memory it only counts, then it stores. */
typedef struct maker {
    const vs_backend *backend;
    char *base;
    size_t used; /* bytes */
    bool overflow;
} maker;

enum { ALIGNED = 128 }; /* bytes: more than any product asks for */

static vs_half_mat put(maker *m, vs_mat x) {
    size_t bytes = 0;
    const vs_half_mat y = { m->base ? m->base + m->used : NULL, x.rows, x.cols, x.cols };
    if (!vs_size_mul(&bytes, x.rows, x.cols) || !vs_size_mul(&bytes, bytes, VS_HALF_BYTES) ||
        !vs_size_add(&bytes, bytes, ALIGNED - 1) || !vs_size_add(&m->used, m->used, bytes - bytes % ALIGNED))
        m->overflow = true;
    if (m->base) m->backend->half->store(m->backend, x, y);
    return y;
}

/* What kernels read as halves: folds of a norm's statistics they take as reals. */
static bool is_read(const vs_graph *g, size_t param) {
    if (g->params[param].fold > VS_FOLD_POSITIONS) return false;
    for (size_t n = 0; n < g->node_count; n++)
        for (size_t i = 0; i < VS_NODE_PARAMS; i++)
            if (g->nodes[n].param[i] == param) return true;
    return false;
}

static void put_all(maker *m, vs_half_real *r) {
    const vs_half_set *half = &r->from->half;
    const vs_graph *g = half->w.model->graph;
    if (half->constants.p) r->constants = put(m, half->constants);
    for (size_t i = 0; i < g->param_count; i++)
        if (half->w.params[i] && is_read(g, i))
            r->params[i] = put(m, vs_mat_of(half->w.params[i], g->params[i].rows, g->params[i].cols)).p;
}

vs_status vs_half_real_create(vs_half_real **out, const vs_half_weights *weights, vs_error *err) {
    const vs_backend *be = weights->backend;
    vs_half_real *r = vs_calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return vs_fail(err, VS_ERR_NOMEM, "no memory for weights in half");
    r->from = weights;
    r->params = vs_calloc(weights->half.w.model->graph->param_count, sizeof *r->params);
    maker m = { be, NULL, 0, false };
    vs_status status = r->params ? VS_OK : VS_ERR_NOMEM;
    if (status == VS_OK) {
        put_all(&m, r);
        if (!m.overflow) r->memory = be->ops->alloc(be, m.used / (size_t)be->scalar + 1);
        if (!r->memory) status = VS_ERR_NOMEM;
    }
    if (status == VS_OK) {
        m = (maker){ be, r->memory, 0, false };
        put_all(&m, r);
        status = be->ops->sync(be, err);
    } else {
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for weights in half");
    }
    if (status != VS_OK) {
        vs_half_real_free(r);
        return status;
    }
    *out = r;
    return VS_OK;
}

void vs_half_real_free(vs_half_real *r) {
    if (!r) return;
    if (r->memory) r->from->backend->ops->free(r->from->backend, r->memory);
    free(r->params);
    free(r);
}
