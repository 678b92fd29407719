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

static vs_linear_weights bind_linear(binder *b, const vs_linear *l) {
    vs_linear_weights out = { vs_mat_of(bind(b, l->w, l->out * l->in), l->out, l->in), NULL };
    out.b = bind(b, l->b, l->out);
    return out;
}

/* Class token and registers; those the layout stores a position for come with it: none of DINOv2's registers, DeiT's
 * distillation token (docs/vit-models.md 2.3). */
static void bind_prefix(binder *b, const vs_model *m) {
    const size_t c = m->arch.width, rows = 1 + m->arch.registers;
    double *prefix = vs_calloc(rows * c, sizeof *prefix);
    if (!prefix) {
        b->status = vs_fail(b->err, VS_ERR_NOMEM, "no memory for the prefix tokens");
        return;
    }
    for (size_t j = 0; j < c; j++) prefix[j] = (double)m->cls[j];
    for (size_t j = 0; j < m->arch.registers * c; j++) prefix[c + j] = (double)m->registers[j];
    for (size_t j = 0; j < m->arch.prefix_positions * c; j++) prefix[j] += (double)m->pos[j];
    b->weights->prefix = vs_mat_of(bind_f64(b, prefix, rows * c), rows, c);
    free(prefix);
}

/* BatchNorm with its stored statistics: y = x * scale + shift (docs/vit-models.md 5.1). */
static void bind_batchnorm(binder *b, const vs_model *m) {
    const size_t c = m->arch.head_width;
    double *fold = vs_calloc(2 * c, sizeof *fold);
    if (!fold) {
        b->status = vs_fail(b->err, VS_ERR_NOMEM, "no memory for the head");
        return;
    }
    for (size_t j = 0; j < c; j++) {
        fold[j] = (double)m->bn_g[j] / sqrt((double)m->bn_var[j] + m->bn_eps);
        fold[c + j] = (double)m->bn_b[j] - (double)m->bn_mean[j] * fold[j];
    }
    b->weights->head_scale = bind_f64(b, fold, c);
    b->weights->head_shift = bind_f64(b, fold + c, c);
    free(fold);
}

static void bind_eomt(binder *b, const vs_model *m) {
    vs_weights *w = b->weights;
    const vs_eomt *e = &m->eomt;
    const size_t c = m->arch.width, q = m->arch.queries;
    w->queries = vs_mat_of(bind(b, e->queries, q * c), q, c);
    for (size_t i = 0; i < VS_MASK_LINEARS; i++) w->mask[i] = bind_linear(b, &e->mask[i]);
    for (size_t u = 0; u < m->arch.upscales; u++) {
        w->up[u] = bind_linear(b, &e->up[u]);
        w->depthwise[u] = bind(b, e->depthwise[u], 9 * c);
        w->up_norm_g[u] = bind(b, e->norm_g[u], c);
        w->up_norm_b[u] = bind(b, e->norm_b[u], c);
    }
}

vs_status vs_weights_bind(vs_weights **out, const vs_backend *backend, const vs_model *m, vs_error *err) {
    *out = NULL;
    vs_weights *w = vs_calloc(1, sizeof *w);
    if (w) w->blocks = vs_calloc(m->arch.depth, sizeof *w->blocks);
    if (!w || !w->blocks) {
        free(w);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the weights");
    }
    w->backend = backend;
    w->model = m;
    binder b = { .weights = w, .status = VS_OK, .err = err };
    const size_t c = m->arch.width;
    w->patch = bind_linear(&b, &m->patch);
    bind_prefix(&b, m);
    for (size_t i = 0; i < m->arch.depth; i++) {
        const vs_block *from = &m->blocks[i];
        w->blocks[i] = (vs_block_weights){ .norm1_g = bind(&b, from->norm1_g, c),
                                           .norm1_b = bind(&b, from->norm1_b, c),
                                           .qkv = bind_linear(&b, &from->qkv),
                                           .proj = bind_linear(&b, &from->proj),
                                           .ls1 = bind(&b, from->ls1, c),
                                           .norm2_g = bind(&b, from->norm2_g, c),
                                           .norm2_b = bind(&b, from->norm2_b, c),
                                           .fc1 = bind_linear(&b, &from->fc1),
                                           .fc2 = bind_linear(&b, &from->fc2),
                                           .ls2 = bind(&b, from->ls2, c) };
    }
    w->norm_g = bind(&b, m->norm_g, c);
    w->norm_b = bind(&b, m->norm_b, c);
    w->prefix_norm_g = bind(&b, m->prefix_norm_g, c);
    w->prefix_norm_b = bind(&b, m->prefix_norm_b, c);
    if (m->arch.head_norm) bind_batchnorm(&b, m);
    if (m->arch.head != VS_HEAD_NONE) w->head = bind_linear(&b, &m->head);
    if (m->arch.head == VS_HEAD_EOMT) bind_eomt(&b, m);
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
    free(w->blocks);
    free(w);
}

const vs_linear_weights *vs_weights_linear(const vs_weights *w, vs_kind kind, int block) {
    switch (kind) {
    case VS_KIND_PATCH_EMBED: return &w->patch;
    case VS_KIND_HEAD: return &w->head;
    case VS_KIND_MASK1:
    case VS_KIND_MASK2:
    case VS_KIND_MASK3: return &w->mask[kind - VS_KIND_MASK1];
    case VS_KIND_UP1:
    case VS_KIND_UP2:
    case VS_KIND_UP3: return &w->up[kind - VS_KIND_UP1];
    case VS_KIND_QKV: return &w->blocks[block].qkv;
    case VS_KIND_PROJ: return &w->blocks[block].proj;
    case VS_KIND_FC1: return &w->blocks[block].fc1;
    case VS_KIND_FC2: return &w->blocks[block].fc2;
    default: return NULL;
    }
}

void vs_weights_set_linear(vs_weights *w, vs_kind kind, int block, vs_linear_weights linear) {
    switch (kind) {
    case VS_KIND_PATCH_EMBED: w->patch = linear; break;
    case VS_KIND_HEAD: w->head = linear; break;
    case VS_KIND_MASK1:
    case VS_KIND_MASK2:
    case VS_KIND_MASK3: w->mask[kind - VS_KIND_MASK1] = linear; break;
    case VS_KIND_UP1:
    case VS_KIND_UP2:
    case VS_KIND_UP3: w->up[kind - VS_KIND_UP1] = linear; break;
    case VS_KIND_QKV: w->blocks[block].qkv = linear; break;
    case VS_KIND_PROJ: w->blocks[block].proj = linear; break;
    case VS_KIND_FC1: w->blocks[block].fc1 = linear; break;
    case VS_KIND_FC2: w->blocks[block].fc2 = linear; break;
    default: break;
    }
}
