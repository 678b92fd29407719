#include <stdlib.h>

#include "half/machine.h"
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

static const void *put_vector(maker *m, const void *p, size_t cols) { return p ? put(m, vs_mat_of(p, 1, cols)).p : NULL; }

static vs_real_linear put_linear(maker *m, vs_linear_weights l) {
    return (vs_real_linear){ put(m, l.w), put_vector(m, l.b, l.w.rows) };
}

static const void *put_named(maker *m, const vs_half_set *half, const char *name, size_t block, size_t cols) {
    return put_vector(m, vs_half_param(half, name, block), cols);
}

static vs_real_linear put_kind(maker *m, const vs_weights *w, vs_kind kind, int block) {
    return put_linear(m, vs_weights_linear(w, vs_graph_find(w->model->graph, kind, block)));
}

static vs_real_block put_block(maker *m, const vs_half_set *half, size_t b, size_t c) {
    return (vs_real_block){ .norm1_g = put_named(m, half, "blocks.#.norm1.weight", b, c),
                            .norm1_b = put_named(m, half, "blocks.#.norm1.bias", b, c),
                            .ls1 = put_named(m, half, "blocks.#.ls1", b, c),
                            .norm2_g = put_named(m, half, "blocks.#.norm2.weight", b, c),
                            .norm2_b = put_named(m, half, "blocks.#.norm2.bias", b, c),
                            .ls2 = put_named(m, half, "blocks.#.ls2", b, c),
                            .qkv = put_kind(m, &half->w, VS_KIND_QKV, (int)b),
                            .proj = put_kind(m, &half->w, VS_KIND_PROJ, (int)b),
                            .fc1 = put_kind(m, &half->w, VS_KIND_FC1, (int)b),
                            .fc2 = put_kind(m, &half->w, VS_KIND_FC2, (int)b) };
}

static void put_all(maker *m, vs_half_real *r) {
    const vs_half_set *half = &r->from->half;
    const vs_arch *a = &half->w.model->arch;
    r->patch = put_kind(m, &half->w, VS_KIND_PATCH_EMBED, -1);
    r->prefix = put(m, vs_half_param_mat(half, "prefix.tokens"));
    r->positions = put(m, vs_half_param_mat(half, "prefix.positions"));
    r->constants = put(m, half->constants);
    for (size_t i = 0; i < a->depth; i++) r->blocks[i] = put_block(m, half, i, a->width);
    r->norm_g = put_named(m, half, "norm.weight", 0, a->width);
    r->norm_b = put_named(m, half, "norm.bias", 0, a->width);
    if (vs_graph_find(half->w.model->graph, VS_KIND_HEAD, -1) != VS_NONE) r->head = put_kind(m, &half->w, VS_KIND_HEAD, -1);
}

vs_status vs_half_real_create(vs_half_real **out, const vs_half_weights *weights, vs_error *err) {
    const vs_backend *be = weights->backend;
    vs_half_real *r = vs_calloc(1, sizeof *r);
    *out = NULL;
    if (!r) return vs_fail(err, VS_ERR_NOMEM, "no memory for weights in half");
    r->from = weights;
    r->blocks = vs_calloc(weights->half.w.model->arch.depth, sizeof *r->blocks);
    maker m = { be, NULL, 0, false };
    vs_status status = r->blocks ? VS_OK : VS_ERR_NOMEM;
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
    free(r->blocks);
    free(r);
}
