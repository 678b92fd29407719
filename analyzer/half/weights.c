#include <math.h>
#include <stdlib.h>

#include "half/machine.h"
#include "util/util.h"

double vs_half_largest(vs_half_format format) { return format == VS_HALF_FP16 ? 65504 : 0x1.fep127; }

typedef struct maker {
    vs_half_weights *weights;
    vs_status status;
    vs_error *err;
} maker;

static void *take(maker *m, size_t count) {
    vs_half_weights *w = m->weights;
    if (m->status != VS_OK) return NULL;
    void *p = NULL;
    if (vs_grow((void **)&w->owned, &w->capacity, w->owned_count + 1, sizeof *w->owned))
        p = w->backend->ops->alloc(w->backend, count);
    if (p)
        w->owned[w->owned_count++] = p;
    else
        m->status = vs_fail(m->err, VS_ERR_NOMEM, "no memory for half-precision weights");
    return p;
}

/* What is stored of it. */
static void *store(maker *m, const void *p, size_t rows, size_t cols) {
    if (!p) return NULL;
    vs_half_weights *w = m->weights;
    const vs_backend *be = w->backend;
    void *out = take(m, rows * cols);
    if (!out) return NULL;
    be->ops->round_half(be, vs_mat_of(p, rows, cols), w->format, (vs_mat){ out, rows, cols, cols }, 1, NULL);
    m->status = be->ops->sync(be, m->err);
    return out;
}

static void *upload(maker *m, const double *values, size_t count) {
    void *p = take(m, count);
    if (p) m->status = m->weights->backend->ops->upload_f64(m->weights->backend, p, values, count, m->err);
    return p;
}

static void make_constants(maker *m) {
    const vs_half_rows *rows = m->weights->rows;
    const size_t count = rows->constant_count;
    vs_half_set *f32 = &m->weights->f32, *half = &m->weights->half;
    if (count == 0) return;
    f32->constants = vs_mat_of(upload(m, rows->constants, count), 1, count);
    half->constants = vs_mat_of(store(m, f32->constants.p, 1, count), 1, count);
}

static double scalar_at(const vs_backend *be, const void *host, size_t i) {
    return be->scalar == VS_SCALAR_F64 ? ((const double *)host)[i] : (double)((const float *)host)[i];
}

/* What is stored of a parameter, on the host. */
static void fetch(maker *m, size_t param, void *host, double *values) {
    const vs_backend *be = m->weights->backend;
    const size_t c = m->weights->f32.w.model->graph->params[param].cols;
    const vs_mat stored = vs_mat_of(m->weights->params[param], 1, c);
    if (m->status == VS_OK) m->status = be->ops->download(be, host, stored, m->err);
    if (m->status == VS_OK) m->status = be->ops->sync(be, m->err);
    for (size_t i = 0; m->status == VS_OK && i < c; i++) values[i] = scalar_at(be, host, i);
}

/* A half module keeps gain, shift, mean and variance in half and works in float32: folded from what is stored. */
static const void *fold_batchnorm(maker *m, const vs_param *p) {
    const size_t c = p->cols;
    double *values = vs_calloc(6 * c, sizeof *values);
    void *host = vs_calloc(c, (size_t)m->weights->backend->scalar);
    const void *out = NULL;
    if (!values || !host) m->status = vs_fail(m->err, VS_ERR_NOMEM, "no memory for half-precision weights");
    for (size_t k = 0; m->status == VS_OK && k < 4; k++) fetch(m, p->from[k], host, values + k * c);
    if (m->status == VS_OK) {
        vs_fold_batchnorm(values, values + c, values + 2 * c, values + 3 * c, p->eps, c, values + 4 * c, values + 5 * c);
        out = upload(m, values + (p->fold == VS_FOLD_SCALE ? 4 : 5) * c, c);
    }
    free(values);
    free(host);
    return out;
}

static void store_all(maker *m) {
    vs_half_weights *w = m->weights;
    const vs_graph *g = w->f32.w.model->graph;
    for (size_t i = 0; i < g->param_count && m->status == VS_OK; i++) {
        const vs_param *p = &g->params[i];
        const bool folded = p->fold == VS_FOLD_SCALE || p->fold == VS_FOLD_SHIFT;
        w->params[i] = folded ? fold_batchnorm(m, p) : store(m, w->f32.w.params[i], p->rows, p->cols);
    }
}

vs_status vs_half_weights_create(vs_half_weights **out, const vs_weights *base, vs_half_format format, vs_error *err) {
    *out = NULL;
    vs_half_weights *w = vs_calloc(1, sizeof *w);
    if (!w) return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision weights");
    maker m = { w, VS_OK, err };
    w->backend = base->backend;
    w->format = format;
    w->f32.w = w->half.w = *base;
    w->half.w.params = w->params = vs_calloc(base->model->graph->param_count, sizeof *w->params);
    if (!w->params) m.status = vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision weights");
    if (m.status == VS_OK) m.status = vs_half_rows_create(&w->rows, base->model->graph, err);
    if (m.status == VS_OK) make_constants(&m);
    if (m.status == VS_OK) store_all(&m);
    if (m.status == VS_OK) m.status = base->backend->ops->sync(base->backend, err);
    if (m.status != VS_OK) {
        vs_half_weights_free(w);
        return m.status;
    }
    *out = w;
    return VS_OK;
}

void vs_half_weights_free(vs_half_weights *w) {
    if (!w) return;
    for (size_t i = 0; i < w->owned_count; i++) w->backend->ops->free(w->backend, w->owned[i]);
    vs_half_rows_free(w->rows);
    free(w->params);
    free(w->owned);
    free(w);
}
