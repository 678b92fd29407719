#include <math.h>
#include <stdlib.h>

#include "half/half.h"
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

static vs_linear_weights store_linear(maker *m, vs_linear_weights l) {
    return (vs_linear_weights){ { store(m, l.w.p, l.w.rows, l.w.cols), l.w.rows, l.w.cols, l.w.cols },
                                store(m, l.b, 1, l.w.rows) };
}

static void *upload(maker *m, const double *values, size_t count) {
    void *p = take(m, count);
    if (p) m->status = m->weights->backend->ops->upload_f64(m->weights->backend, p, values, count, m->err);
    return p;
}

/* Class token and registers, and the positions that are added to them: an engine adds these after it has put them in front. */
static void make_prefix(maker *m, vs_half_set *set) {
    const vs_model *model = set->w.model;
    const size_t c = model->arch.width, rows = 1 + model->arch.registers;
    double *values = vs_calloc(2 * rows * c, sizeof *values);
    if (!values) {
        m->status = vs_fail(m->err, VS_ERR_NOMEM, "no memory for half-precision weights");
        return;
    }
    for (size_t i = 0; i < c; i++) values[i] = (double)model->cls[i];
    for (size_t i = 0; i < model->arch.registers * c; i++) values[c + i] = (double)model->registers[i];
    for (size_t i = 0; i < model->arch.prefix_positions * c; i++) values[rows * c + i] = (double)model->pos[i];
    set->w.prefix = (vs_mat){ upload(m, values, rows * c), rows, c, c };
    set->positions = (vs_mat){ upload(m, values + rows * c, rows * c), rows, c, c };
    free(values);
}

static void make_constants(maker *m, vs_half_set *set) {
    const vs_arch *a = &set->w.model->arch;
    const size_t channels = a->width / a->heads;
    const double head = (double)channels;
    const double values[VS_CONSTANTS] = { [VS_CONSTANT_EPS] = a->eps,
                                          [VS_CONSTANT_HEAD_EPS] = 1e-5,
                                          [VS_CONSTANT_SQRT2] = sqrt(2),
                                          [VS_CONSTANT_ONE] = 1,
                                          [VS_CONSTANT_HALF] = 0.5,
                                          [VS_CONSTANT_SCALE] = 1 / sqrt(head),
                                          [VS_CONSTANT_ROOT] = 1 / sqrt(sqrt(head)) };
    set->constants = (vs_mat){ upload(m, values, VS_CONSTANTS), 1, VS_CONSTANTS, VS_CONSTANTS };
}

/* A half module keeps gain, shift, mean and variance in half and works in float32: folded from what is stored. */
static void store_batchnorm(maker *m) {
    const vs_model *model = m->weights->f32.w.model;
    const vs_backend *be = m->weights->backend;
    const size_t c = model->arch.head_width, scalar = (size_t)be->scalar;
    const float *sources[] = { model->bn_g, model->bn_b, model->bn_mean, model->bn_var };
    double *values = vs_calloc(6 * c, sizeof *values);
    void *host = vs_calloc(4 * c, scalar);
    if (!values || !host) m->status = vs_fail(m->err, VS_ERR_NOMEM, "no memory for half-precision weights");
    for (size_t k = 0; m->status == VS_OK && k < 4; k++) {
        for (size_t i = 0; i < c; i++) values[i] = (double)sources[k][i];
        void *stored = store(m, upload(m, values, c), 1, c);
        if (stored) m->status = be->ops->download(be, (char *)host + k * c * scalar, (vs_mat){ stored, 1, c, c }, m->err);
    }
    if (m->status == VS_OK) m->status = be->ops->sync(be, m->err);
    for (size_t i = 0; m->status == VS_OK && i < 4 * c; i++)
        values[i] = be->scalar == VS_SCALAR_F64 ? ((double *)host)[i] : (double)((float *)host)[i];
    for (size_t i = 0; m->status == VS_OK && i < c; i++) {
        values[4 * c + i] = values[i] / sqrt(values[3 * c + i] + model->bn_eps);
        values[5 * c + i] = values[c + i] - values[2 * c + i] * values[4 * c + i];
    }
    if (m->status == VS_OK) {
        m->weights->half.w.head_scale = upload(m, values + 4 * c, c);
        m->weights->half.w.head_shift = upload(m, values + 5 * c, c);
    }
    free(values);
    free(host);
}

static void store_block(maker *m, const vs_block_weights *from, vs_block_weights *to, size_t c) {
    *to = (vs_block_weights){ .norm1_g = store(m, from->norm1_g, 1, c),
                              .norm1_b = store(m, from->norm1_b, 1, c),
                              .qkv = store_linear(m, from->qkv),
                              .proj = store_linear(m, from->proj),
                              .ls1 = store(m, from->ls1, 1, c),
                              .norm2_g = store(m, from->norm2_g, 1, c),
                              .norm2_b = store(m, from->norm2_b, 1, c),
                              .fc1 = store_linear(m, from->fc1),
                              .fc2 = store_linear(m, from->fc2),
                              .ls2 = store(m, from->ls2, 1, c) };
}

static void store_eomt(maker *m, const vs_weights *from, vs_weights *to) {
    const size_t c = from->model->arch.width;
    to->queries.p = store(m, from->queries.p, from->queries.rows, c);
    for (size_t i = 0; i < VS_MASK_LINEARS; i++) to->mask[i] = store_linear(m, from->mask[i]);
    for (size_t u = 0; u < from->model->arch.upscales; u++) {
        to->up[u] = store_linear(m, from->up[u]);
        to->depthwise[u] = store(m, from->depthwise[u], 9, c);
        to->up_norm_g[u] = store(m, from->up_norm_g[u], 1, c);
        to->up_norm_b[u] = store(m, from->up_norm_b[u], 1, c);
    }
}

static void store_all(maker *m) {
    const vs_half_set *f32 = &m->weights->f32;
    vs_half_set *half = &m->weights->half;
    const vs_weights *from = &f32->w;
    const size_t c = from->model->arch.width;
    half->w.patch = store_linear(m, from->patch);
    half->w.prefix.p = store(m, from->prefix.p, from->prefix.rows, c);
    half->positions = f32->positions;
    half->positions.p = store(m, f32->positions.p, f32->positions.rows, c);
    half->constants = f32->constants;
    half->constants.p = store(m, f32->constants.p, 1, VS_CONSTANTS);
    for (size_t i = 0; i < from->model->arch.depth; i++) store_block(m, &from->blocks[i], &half->w.blocks[i], c);
    half->w.norm_g = store(m, from->norm_g, 1, c);
    half->w.norm_b = store(m, from->norm_b, 1, c);
    half->w.prefix_norm_g = store(m, from->prefix_norm_g, 1, c);
    half->w.prefix_norm_b = store(m, from->prefix_norm_b, 1, c);
    if (from->queries.p) store_eomt(m, from, &half->w);
    if (from->head.w.p) half->w.head = store_linear(m, from->head);
    if (from->head_scale) store_batchnorm(m);
}

vs_status vs_half_weights_create(vs_half_weights **out, const vs_weights *base, vs_half_format format, vs_error *err) {
    *out = NULL;
    vs_half_weights *w = vs_calloc(1, sizeof *w);
    if (!w) return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision weights");
    maker m = { w, VS_OK, err };
    w->backend = base->backend;
    w->format = format;
    w->f32.w = *base;
    make_prefix(&m, &w->f32);
    make_constants(&m, &w->f32);
    w->half.w = w->f32.w;
    w->half.w.blocks = vs_calloc(base->model->arch.depth, sizeof *w->half.w.blocks);
    if (!w->half.w.blocks) m.status = vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision weights");
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
    free(w->half.w.blocks);
    free(w->owned);
    free(w);
}
