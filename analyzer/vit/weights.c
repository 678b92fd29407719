#include <math.h>
#include <stdlib.h>

#include "util/util.h"
#include "vitscope/vit.h"

typedef struct binder {
    vs_weights *weights;
    size_t capacity;
    vs_status status;
    vs_error *err;
} binder;

static void *own(binder *b, size_t count) {
    vs_weights *w = b->weights;
    if (!vs_grow((void **)&w->owned, &b->capacity, w->owned_count + 1, sizeof *w->owned)) {
        b->status = vs_fail(b->err, VS_ERR_NOMEM, "no memory for the weights");
        return NULL;
    }
    void *p = w->backend->ops->alloc(w->backend, count);
    if (!p)
        b->status = vs_fail(b->err, VS_ERR_NOMEM, "no memory for %zu weights on backend %s", count, w->backend->name);
    else
        w->owned[w->owned_count++] = p;
    return p;
}

/* The reals of a host vector: the vector itself where the backend reads float32 from host memory. */
static const void *bind(binder *b, const float *host, size_t count) {
    if (!host || b->status != VS_OK) return NULL;
    const vs_backend *backend = b->weights->backend;
    if (backend->host_memory && backend->scalar == VS_SCALAR_F32) return host;
    void *p = own(b, count);
    if (p) b->status = backend->ops->upload(backend, p, host, count, b->err);
    return p;
}

static const void *bind_f64(binder *b, const double *host, size_t count) {
    void *p = b->status == VS_OK ? own(b, count) : NULL;
    if (p) b->status = b->weights->backend->ops->upload_f64(b->weights->backend, p, host, count, b->err);
    return p;
}

/* Class token and registers; those the layout stores a position for come with it: none of DINOv2's registers, DeiT's
 * distillation token (docs/vit-models.md 2.3). */
static void fold_prefix(const vs_model *m, const vs_param *p, double *out) {
    const float *sources[3] = { NULL };
    size_t rows[3] = { 0 }, at = 0;
    for (size_t i = 0; i < 3; i++) {
        if (p->from[i] != VS_NONE) sources[i] = m->params[p->from[i]];
        if (p->from[i] != VS_NONE) rows[i] = m->graph->params[p->from[i]].rows;
    }
    for (size_t i = 0; i < 2 && p->fold != VS_FOLD_POSITIONS; i++)
        for (size_t j = 0; sources[i] && j < rows[i] * p->cols; j++) out[at++] = (double)sources[i][j];
    for (size_t j = 0; sources[2] && p->fold != VS_FOLD_TOKENS && j < m->arch.prefix_positions * p->cols; j++)
        out[j] += (double)sources[2][j];
}

/* BatchNorm with its stored statistics: y = x * scale + shift (docs/vit-models.md 5.1). */
void vs_fold_batchnorm(const double *gain, const double *shift, const double *mean, const double *variance, double eps,
                       size_t count, double *scale, double *out_shift) {
    for (size_t j = 0; j < count; j++) {
        scale[j] = gain[j] / sqrt(variance[j] + eps);
        out_shift[j] = shift[j] - mean[j] * scale[j];
    }
}

static bool fold_norm(const vs_model *m, const vs_param *p, double *out) {
    const size_t c = p->cols;
    double *in = vs_calloc(5 * c, sizeof *in);
    for (size_t k = 0; in && k < 4; k++)
        for (size_t j = 0; j < c; j++) in[k * c + j] = (double)m->params[p->from[k]][j];
    if (in)
        vs_fold_batchnorm(in, in + c, in + 2 * c, in + 3 * c, p->eps, c, p->fold == VS_FOLD_SCALE ? out : in + 4 * c,
                          p->fold == VS_FOLD_SHIFT ? out : in + 4 * c);
    free(in);
    return in != NULL;
}

static const void *bind_fold(binder *b, const vs_model *m, const vs_param *p) {
    const void *bound = NULL;
    double *out = vs_calloc(p->rows * p->cols, sizeof *out);
    bool whole = out != NULL;
    if (whole && p->fold < VS_FOLD_SCALE)
        fold_prefix(m, p, out);
    else if (whole)
        whole = fold_norm(m, p, out);
    if (whole)
        bound = bind_f64(b, out, p->rows * p->cols);
    else
        b->status = vs_fail(b->err, VS_ERR_NOMEM, "no memory for the weights");
    free(out);
    return bound;
}

vs_status vs_weights_bind(vs_weights **out, const vs_backend *backend, const vs_model *m, vs_error *err) {
    const vs_graph *g = m->graph;
    *out = NULL;
    vs_weights *w = vs_calloc(1, sizeof *w);
    if (w) w->params = vs_calloc(g->param_count, sizeof *w->params);
    if (!w || !w->params) {
        free(w);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the weights");
    }
    w->backend = backend;
    w->model = m;
    binder b = { .weights = w, .status = VS_OK, .err = err };
    for (size_t i = 0; i < g->param_count && b.status == VS_OK; i++) {
        const vs_param *p = &g->params[i];
        w->params[i] = p->fold == VS_FOLD_TENSOR ? bind(&b, m->params[i], p->rows * p->cols) : bind_fold(&b, m, p);
    }
    if (b.status == VS_OK) b.status = backend->ops->sync(backend, err);
    if (b.status != VS_OK) {
        vs_weights_free(w);
        return b.status;
    }
    *out = w;
    return VS_OK;
}

void vs_weights_free(vs_weights *w) {
    if (!w) return;
    for (size_t i = 0; i < w->owned_count; i++) w->backend->ops->free(w->backend, w->owned[i]);
    free(w->owned);
    free(w->params);
    free(w);
}

vs_linear_weights vs_weights_linear(const vs_weights *w, size_t node) {
    const vs_node *n = &w->model->graph->nodes[node];
    const vs_param *p = &w->model->graph->params[n->param[0]];
    return (vs_linear_weights){ vs_mat_of(w->params[n->param[0]], p->rows, p->cols),
                                n->param[1] == VS_NONE ? NULL : w->params[n->param[1]] };
}
