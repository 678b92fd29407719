#include "vit/session.h"

#include <stdlib.h>

#include "util/util.h"
#include "vit/eomt.h"
#include "vit/position.h"

enum { ALIGN_REALS = 16 };

/* Two passes over the same plan: with base NULL it only counts, then it hands out. */
typedef struct planner {
    char *base;
    size_t scalar, used;
    bool overflow;
} planner;

static void *take(planner *p, size_t count) {
    size_t padded = 0;
    if (!vs_size_add(&padded, count, ALIGN_REALS - 1)) p->overflow = true;
    padded -= padded % ALIGN_REALS;
    void *at = p->base ? p->base + p->used * p->scalar : NULL;
    if (!vs_size_add(&p->used, p->used, padded)) p->overflow = true;
    return at;
}

static vs_mat take_mat(planner *p, size_t rows, size_t cols) {
    size_t count = 0;
    if (!vs_size_mul(&count, rows, cols)) p->overflow = true;
    return (vs_mat){ take(p, count), rows, cols, cols };
}

static vs_mat take_for_head(void *p, size_t rows, size_t cols) { return take_mat(p, rows, cols); }

/* A workspace's operands: columns of qkv, or rotated copies. */
static void plan_operands(const vs_session *s, planner *p, vs_workspace *w) {
    const size_t rows = w->qkv.rows, c = s->model->arch.width;
    if (s->model->arch.position == VS_POSITION_ROPE) {
        w->q = take_mat(p, rows, c);
        w->k = take_mat(p, rows, c);
    }
    if (!p->base) return;
    vs_mat *operands[] = { &w->q, &w->k, &w->v };
    for (size_t i = 0; i < 3; i++)
        if (!operands[i]->p) *operands[i] = vs_mat_view(s->backend, w->qkv, 0, rows, i * c, c);
}

static void plan_positions(vs_session *s, planner *p) {
    const vs_arch *a = &s->model->arch;
    const size_t half = a->width / a->heads / 2;
    if (a->position != VS_POSITION_ROPE) {
        s->pos = take_mat(p, s->n, a->width);
        return;
    }
    s->cosines = take_mat(p, s->n, half);
    s->sines = take_mat(p, s->n, half);
}

static void plan(vs_session *s, planner *p) {
    const vs_arch *a = &s->model->arch;
    const size_t b = s->options.images, c = a->width, t = vs_session_tokens(s), rows = b * t;
    s->pixels = take_mat(p, b * 3, s->options.height * s->options.width).p;
    s->patches = take_mat(p, b * s->n, 3 * a->patch * a->patch);
    s->embedded = take_mat(p, b * s->n, c);
    plan_positions(s, p);
    for (size_t i = 0; i < s->options.workspaces; i++) {
        s->workspaces[i] = (vs_workspace){ .norm1 = take_mat(p, rows, c),
                                           .qkv = take_mat(p, rows, 3 * c),
                                           .probs = s->options.probabilities ? take_mat(p, rows * a->heads, t) : (vs_mat){ 0 },
                                           .attended = take_mat(p, rows, c),
                                           .proj = take_mat(p, rows, c),
                                           .norm2 = take_mat(p, rows, c),
                                           .fc1 = take_mat(p, rows, vs_arch_fc1_width(a)),
                                           .gelu = take_mat(p, rows, a->hidden),
                                           .fc2 = take_mat(p, rows, c) };
        plan_operands(s, p, &s->workspaces[i]);
    }
    for (size_t i = 0; i < s->options.streams; i++) s->streams[i] = take_mat(p, rows, c);
    s->attention = take(p, s->backend->ops->attention_scratch(s->backend, t, a->heads));
    s->normed = take_mat(p, rows, c);
    if (a->head == VS_HEAD_EOMT) {
        vs_eomt_plan(s, p, take_for_head);
        s->scratch = take(p, s->options.scratch);
        return;
    }
    const size_t head_rows = a->head == VS_HEAD_NONE ? 0 : a->head == VS_HEAD_SEGMENTATION ? b * s->n : b;
    for (size_t i = 0; i < s->options.streams && a->head_maps > 1; i++)
        s->collected[i] = take_mat(p, head_rows, (a->head_maps - 1) * c);
    if (a->head_mean) {
        s->pooling = take_mat(p, s->n, s->n);
        s->pooled = take_mat(p, s->n, c);
    }
    s->features = take_mat(p, head_rows, a->head_width);
    s->logits = take_mat(p, head_rows, a->classes);
    s->scratch = take(p, s->options.scratch);
}

static vs_status upload_rotation(vs_session *s, vs_error *err) {
    const size_t half = s->cosines.cols, count = s->n * half;
    double *table = vs_calloc(count, 2 * sizeof *table);
    if (!table) return vs_fail(err, VS_ERR_NOMEM, "no memory for the rotation");
    vs_position_rotation(s->model, s->h, s->w, table, table + count);
    vs_status status = s->backend->ops->upload_f64(s->backend, s->cosines.p, table, count, err);
    if (status == VS_OK) status = s->backend->ops->upload_f64(s->backend, s->sines.p, table + count, count, err);
    if (status == VS_OK) status = s->backend->ops->sync(s->backend, err);
    free(table);
    return status;
}

static vs_status upload_positions(vs_session *s, vs_error *err) {
    if (!s->pos.p) return upload_rotation(s, err);
    const size_t count = s->n * s->model->arch.width;
    double *grid = vs_calloc(count, sizeof *grid);
    if (!grid) return vs_fail(err, VS_ERR_NOMEM, "no memory for the position grid");
    vs_status status = vs_position_grid(s->model, s->h, s->w, grid, err);
    if (status == VS_OK) status = s->backend->ops->upload_f64(s->backend, s->pos.p, grid, count, err);
    if (status == VS_OK) status = s->backend->ops->sync(s->backend, err);
    free(grid);
    return status;
}

static vs_status upload_pooling(vs_session *s, vs_error *err) {
    if (!s->pooling.p) return VS_OK;
    const size_t count = s->n * s->n;
    double *mean = vs_calloc(count, sizeof *mean);
    if (!mean) return vs_fail(err, VS_ERR_NOMEM, "no memory for the mean over patches");
    for (size_t i = 0; i < count; i++) mean[i] = 1 / (double)s->n;
    vs_status status = s->backend->ops->upload_f64(s->backend, s->pooling.p, mean, count, err);
    if (status == VS_OK) status = s->backend->ops->sync(s->backend, err);
    free(mean);
    return status;
}

/* A session without memory, and how many reals it will take. */
static vs_status outline(vs_session **out, const vs_weights *weights, const vs_session_options *options, size_t *reals,
                         vs_error *err) {
    const vs_arch *a = &weights->model->arch;
    *out = NULL;
    if (options->height == 0 || options->width == 0 || options->height % a->patch || options->width % a->patch)
        return vs_fail(err, VS_ERR_SHAPE, "image size %zux%zu is not a multiple of the patch size %zu", options->width,
                       options->height, a->patch);
    vs_session *s = vs_calloc(1, sizeof *s);
    if (!s) return vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
    s->backend = weights->backend;
    s->model = weights->model;
    s->options = *options;
    s->h = options->height / a->patch;
    s->w = options->width / a->patch;
    s->n = s->h * s->w;
    s->t = vs_arch_tokens(a, s->h, s->w);
    s->workspaces = vs_calloc(options->workspaces + 1, sizeof *s->workspaces);
    s->streams = vs_calloc(options->streams + 1, sizeof *s->streams);
    s->collected = vs_calloc(options->streams + 1, sizeof *s->collected);
    const bool whole = s->workspaces && s->streams && s->collected;
    planner p = { NULL, (size_t)s->backend->scalar, 0, false };
    if (whole) plan(s, &p);
    size_t bytes = 0;
    if (whole && !p.overflow && vs_size_mul(&bytes, p.used, p.scalar)) {
        *reals = p.used;
        *out = s;
        return VS_OK;
    }
    vs_session_free(s);
    return vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
}

vs_status vs_session_bytes(size_t *bytes, const vs_weights *weights, const vs_session_options *options, vs_error *err) {
    vs_session *s = NULL;
    size_t reals = 0;
    vs_status status = outline(&s, weights, options, &reals, err);
    vs_session_free(s);
    *bytes = reals * (size_t)weights->backend->scalar; /* outline has checked the product */
    return status;
}

/* The old session's memory where it is enough; else that is given back before more is taken. */
static vs_status take_arena(vs_session *s, vs_session *old, size_t reals, bool *fresh, vs_error *err) {
    *fresh = !old || old->capacity < reals;
    if (!*fresh) {
        s->arena = old->arena;
        s->capacity = old->capacity;
        old->arena = NULL;
        vs_session_free(old);
        return VS_OK;
    }
    vs_session_free(old);
    s->capacity = reals;
    if ((s->arena = s->backend->ops->alloc(s->backend, reals))) return VS_OK;
    return vs_fail(err, VS_ERR_NOMEM, "no memory for a session: %zu image%s of %zux%zu need%s %.1f GB on backend %s",
                   s->options.images, s->options.images == 1 ? "" : "s", s->options.width, s->options.height,
                   s->options.images == 1 ? "s" : "", (double)reals * (double)s->backend->scalar / 1e9, s->backend->name);
}

/* The widest product of a block, so that the backend has what it takes beside the arena before a forward pass begins. */
static vs_status reserve_products(const vs_session *s, const vs_weights *weights, vs_error *err) {
    if (s->options.workspaces == 0 || s->model->arch.depth == 0) return VS_OK;
    const vs_workspace *ws = &s->workspaces[0];
    return s->backend->ops->reserve(s->backend, ws->norm2, weights->blocks[0].fc1.w, ws->fc1, err);
}

vs_status vs_session_fit(vs_session **session, const vs_weights *weights, const vs_session_options *options, vs_error *err) {
    vs_session *s = NULL, *old = *session;
    size_t reals = 0;
    *session = NULL;
    vs_status status = outline(&s, weights, options, &reals, err);
    if (status != VS_OK) {
        vs_session_free(old);
        return status;
    }
    bool fresh = false;
    status = take_arena(s, old, reals, &fresh, err);
    planner p = { s->arena, (size_t)s->backend->scalar, 0, false };
    if (status == VS_OK) {
        plan(s, &p);
        status = upload_positions(s, err);
        if (status == VS_OK) status = upload_pooling(s, err);
        if (status == VS_OK && fresh) status = reserve_products(s, weights, err);
    }
    if (status != VS_OK) {
        vs_session_free(s);
        return status;
    }
    *session = s;
    return VS_OK;
}

vs_status vs_session_create(vs_session **out, const vs_weights *weights, const vs_session_options *options, vs_error *err) {
    *out = NULL;
    return vs_session_fit(out, weights, options, err);
}

void vs_session_free(vs_session *s) {
    if (!s) return;
    if (s->arena) s->backend->ops->free(s->backend, s->arena);
    free(s->workspaces);
    free(s->streams);
    free(s->collected);
    free(s);
}

size_t vs_session_tokens(const vs_session *s) { return s->t + s->model->arch.queries; }
size_t vs_session_tokens_at(const vs_session *s, size_t block) { return s->t + vs_arch_queries_at(&s->model->arch, block); }
size_t vs_session_grid_h(const vs_session *s) { return s->h; }
size_t vs_session_grid_w(const vs_session *s) { return s->w; }
const vs_workspace *vs_session_workspace(const vs_session *s, size_t index) { return &s->workspaces[index]; }
void vs_session_begin_block(vs_session *s, size_t workspace, size_t block) {
    vs_workspace *ws = &s->workspaces[workspace];
    const size_t t = vs_session_tokens_at(s, block), rows = s->options.images * t;
    vs_mat *const mats[] = { &ws->norm1, &ws->qkv,   &ws->q,   &ws->k,    &ws->v,  &ws->attended,
                             &ws->proj,  &ws->norm2, &ws->fc1, &ws->gelu, &ws->fc2 };
    for (size_t i = 0; i < sizeof mats / sizeof *mats; i++) mats[i]->rows = rows;
    if (ws->probs.p) ws->probs = (vs_mat){ ws->probs.p, rows * s->model->arch.heads, t, t };
}

vs_mat vs_session_stream(const vs_session *s, size_t index) { return s->streams[index]; }
void vs_session_shape_stream(vs_session *s, size_t from, size_t to) { s->streams[to].rows = s->streams[from].rows; }
void vs_session_copy_collected(const vs_session *s, size_t from, size_t to) {
    if (s->model->arch.head_maps > 1) s->backend->ops->copy(s->backend, s->collected[from], s->collected[to]);
}

void vs_session_copy_stream(vs_session *s, size_t from, size_t to) {
    vs_session_shape_stream(s, from, to);
    s->backend->ops->copy(s->backend, s->streams[from], s->streams[to]);
    vs_session_copy_collected(s, from, to);
}

void *vs_session_scratch(const vs_session *s) { return s->scratch; }
vs_mat vs_session_patches(const vs_session *s) { return s->patches; }
vs_mat vs_session_positions(const vs_session *s) { return s->pos; }
vs_mat vs_session_cosines(const vs_session *s) { return s->cosines; }
vs_mat vs_session_sines(const vs_session *s) { return s->sines; }
vs_mat vs_session_embedded(const vs_session *s) { return s->embedded; }
vs_mat vs_session_features(const vs_session *s) { return s->features; }
vs_mat vs_session_normed(const vs_session *s) { return s->normed; }
vs_mat vs_session_logits(const vs_session *s) { return s->logits; }
vs_mat vs_session_output(const vs_session *s) { return s->model->arch.head == VS_HEAD_NONE ? s->normed : s->logits; }
