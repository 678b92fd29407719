/* The forward pass on half kernels: the operations of forward.c, one call each. */
#include "half/real.h"

#include <math.h>

#include "half/machine.h"

typedef struct real_run {
    vs_session *session;
    const vs_backend *backend;
    const vs_half_ops *ops;
    const vs_arch *arch;
    const vs_half_real *weights;
    const vs_policy_config *policy;
    size_t images, tokens, patches;
    vs_mat f32;                                              /* room for a result in float32 */
    vs_half_mat pixels, embedded;                            /* [B*N, 3pp], [B*N, C] */
    vs_half_mat stream, normed, work, branch, scaled, added; /* [B*T, C]; added: positions, [T, C] */
    vs_half_mat mean, statistic;                             /* [B*T, 1] */
    vs_half_mat qkv, q, k;                                   /* [B*T, 3C]; q and k rotated or scaled */
    vs_half_mat scores;                                      /* [B*A*T, T] */
    vs_half_mat hidden, active;                              /* [B*T, F] */
    vs_half_mat features, logits;                            /* [B*N, C], [B*N, classes] */
} real_run;

/* ---- memory: halves behind the float32 room, in session scratch ---- */

typedef struct planner {
    char *base; /* NULL: only counts */
    size_t used;
} planner;

/* Rows begin at multiples of `step` halves, matrices at 128 bytes. */
static vs_half_mat take_apart(planner *p, size_t rows, size_t cols, size_t step) {
    const size_t ld = (cols + step - 1) / step * step;
    const vs_half_mat m = { p->base ? p->base + p->used : NULL, rows, cols, ld };
    p->used += (rows * ld * VS_HALF_BYTES + 127) / 128 * 128;
    return m;
}

static vs_half_mat take(planner *p, size_t rows, size_t cols) { return take_apart(p, rows, cols, 1); }

enum { SCORES_STEP = 8 }; /* halves: rows of scores begin where products of halves are fast */

static void plan(real_run *r, planner *p) {
    const vs_arch *a = r->arch;
    const size_t rows = r->images * r->tokens, patches = r->images * r->patches, c = a->width;
    r->pixels = take(p, patches, 3 * a->patch * a->patch);
    r->embedded = take(p, patches, c);
    r->added = take(p, r->tokens, c);
    vs_half_mat *const tokens[] = { &r->stream, &r->normed, &r->work, &r->branch, &r->scaled, &r->q, &r->k };
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) *tokens[i] = take(p, rows, c);
    r->mean = take(p, rows, 1);
    r->statistic = take(p, rows, 1);
    r->qkv = take(p, rows, 3 * c);
    r->scores = take_apart(p, rows * a->heads, r->tokens, SCORES_STEP);
    r->hidden = take(p, rows, a->hidden);
    r->active = take(p, rows, a->hidden);
    r->features = take(p, patches, c);
    r->logits = take(p, patches, a->classes);
}

/* Reals of the float32 room: a stream or the output. */
static size_t f32_count(const vs_arch *a, size_t tokens, size_t images) {
    const size_t cols = a->width > a->classes ? a->width : a->classes;
    return (images * tokens * cols + 31) / 32 * 32;
}

size_t vs_half_real_scratch(const vs_graph *g, size_t patches, size_t images) {
    const vs_arch of = vs_half_arch_of(g), *a = &of;
    const size_t tokens = patches + 1 + a->registers;
    real_run r = { .arch = a, .images = images, .tokens = tokens, .patches = patches };
    planner p = { NULL, 0 };
    plan(&r, &p);
    return f32_count(a, tokens, images) + p.used / sizeof(float);
}

static void begin(real_run *r, vs_session *s, const vs_half_model *model) {
    const vs_half_weights *w = model->weights;
    *r = (real_run){ .session = s,
                     .backend = w->backend,
                     .ops = w->backend->half,
                     .arch = &w->f32.w.model->arch,
                     .weights = model->real,
                     .policy = model->policy,
                     .tokens = vs_session_tokens(s),
                     .patches = vs_session_grid_h(s) * vs_session_grid_w(s) };
    r->images = vs_session_patches(s).rows / r->patches;
    char *scratch = vs_session_scratch(s);
    r->f32.p = scratch;
    planner p = { scratch + f32_count(r->arch, r->tokens, r->images) * (size_t)w->backend->scalar, 0 };
    plan(r, &p);
}

/* ---- single operations ---- */

static void element(const real_run *r, vs_element op, vs_half_mat x, vs_half_mat u, vs_half_mat y) {
    r->ops->elementwise(r->backend, op, x, u, y);
}

static vs_half_mat vector(const void *p, size_t cols) { return (vs_half_mat){ vs_mat_of(p, 1, cols).p, 1, cols, cols }; }

static vs_half_mat constant(const real_run *r, size_t which) { return vs_half_mat_view(r->weights->constants, 0, 1, which, 1); }

static void linear(const real_run *r, vs_half_mat x, const vs_real_linear *l, vs_half_mat y) {
    r->ops->linear(r->backend, x, l->w, l->b, y);
}

static void norm(const real_run *r, const void *g, const void *b) {
    const size_t c = r->arch->width;
    const vs_half_mat none = { NULL, 0, 0, 0 };
    if (r->policy->norm != VS_OPERATION_DECOMPOSED) {
        r->ops->layernorm(r->backend, r->stream, g, b, r->arch->eps, r->normed);
        return;
    }
    r->ops->row_mean(r->backend, r->stream, r->mean);
    element(r, VS_ELEMENT_SUB, r->stream, r->mean, r->normed);
    element(r, VS_ELEMENT_MUL, r->normed, r->normed, r->work);
    r->ops->row_mean(r->backend, r->work, r->statistic);
    element(r, VS_ELEMENT_ADD, r->statistic, constant(r, VS_CONSTANT_EPS), r->statistic);
    element(r, VS_ELEMENT_SQRT, r->statistic, none, r->statistic);
    element(r, VS_ELEMENT_DIV, r->normed, r->statistic, r->normed);
    element(r, VS_ELEMENT_MUL, r->normed, vector(g, c), r->normed);
    element(r, VS_ELEMENT_ADD, r->normed, vector(b, c), r->normed);
}

/* ---- embedding ---- */

static void put_tokens(const real_run *r) {
    const size_t t = r->tokens, n = r->patches, c = r->arch->width;
    for (size_t i = 0; i < r->images; i++) {
        r->ops->copy(r->backend, r->weights->prefix, vs_half_mat_view(r->stream, i * t, t - n, 0, c));
        r->ops->copy(r->backend, vs_half_mat_view(r->embedded, i * n, n, 0, c),
                     vs_half_mat_view(r->stream, i * t + t - n, n, 0, c));
    }
}

static void add_positions(const real_run *r) {
    const size_t t = r->tokens, n = r->patches, c = r->arch->width;
    r->ops->copy(r->backend, r->weights->positions, vs_half_mat_view(r->added, 0, t - n, 0, c));
    r->ops->store(r->backend, vs_session_given(r->session, VS_GIVEN_POSITIONS), vs_half_mat_view(r->added, t - n, n, 0, c));
    for (size_t i = 0; i < r->images; i++) {
        const vs_half_mat x = vs_half_mat_view(r->stream, i * t, t, 0, c);
        element(r, VS_ELEMENT_ADD, x, r->added, x);
    }
}

static void embed(const real_run *r) {
    r->ops->store(r->backend, vs_session_patches(r->session), r->pixels);
    linear(r, r->pixels, &r->weights->patch, r->embedded);
    put_tokens(r);
    if (r->arch->position != VS_POSITION_ROPE) add_positions(r);
}

/* ---- attention ---- */

static void attend_apart(const real_run *r, vs_half_mat q, vs_half_mat k, vs_half_mat v) {
    const vs_half_scale scale = r->policy->scale;
    const vs_half_mat factor = constant(r, scale == VS_SCALE_BOTH ? VS_CONSTANT_ROOT : VS_CONSTANT_SCALE);
    if (scale != VS_SCALE_AFTER) {
        element(r, VS_ELEMENT_MUL, q, factor, r->q);
        q = r->q;
    }
    if (scale == VS_SCALE_BOTH) {
        element(r, VS_ELEMENT_MUL, k, factor, r->k);
        k = r->k;
    }
    r->ops->scores(r->backend, q, k, r->images, r->arch->heads, r->scores);
    if (scale == VS_SCALE_AFTER) element(r, VS_ELEMENT_MUL, r->scores, factor, r->scores);
    r->ops->softmax_rows(r->backend, r->scores, r->scores);
    r->ops->apply(r->backend, r->scores, v, r->images, r->arch->heads, r->branch);
}

static void attend(const real_run *r) {
    const size_t rows = r->qkv.rows, c = r->arch->width, heads = r->arch->heads, d = c / heads;
    vs_half_mat q = vs_half_mat_view(r->qkv, 0, rows, 0, c), k = vs_half_mat_view(r->qkv, 0, rows, c, c);
    const vs_half_mat v = vs_half_mat_view(r->qkv, 0, rows, 2 * c, c);
    if (r->arch->position == VS_POSITION_ROPE) {
        const vs_mat cosines = vs_session_given(r->session, VS_GIVEN_COSINES),
                     sines = vs_session_given(r->session, VS_GIVEN_SINES);
        r->ops->rope(r->backend, q, cosines, sines, r->images, heads, r->q);
        r->ops->rope(r->backend, k, cosines, sines, r->images, heads, r->k);
        q = r->q;
        k = r->k;
    }
    if (r->policy->attention == VS_OPERATION_DECOMPOSED)
        attend_apart(r, q, k, v);
    else
        r->ops->attention(r->backend, q, k, v, r->images, heads, 1 / sqrt((double)d), r->branch);
}

/* ---- feed-forward ---- */

static void gelu(const real_run *r) {
    const vs_half_mat none = { NULL, 0, 0, 0 };
    if (r->policy->gelu != VS_OPERATION_DECOMPOSED) {
        r->ops->gelu(r->backend, r->hidden, r->active);
        return;
    }
    element(r, VS_ELEMENT_DIV, r->hidden, constant(r, VS_CONSTANT_SQRT2), r->active);
    element(r, VS_ELEMENT_ERF, r->active, none, r->active);
    element(r, VS_ELEMENT_ADD, r->active, constant(r, VS_CONSTANT_ONE), r->active);
    element(r, VS_ELEMENT_MUL, r->hidden, r->active, r->active);
    element(r, VS_ELEMENT_MUL, r->active, constant(r, VS_CONSTANT_HALF), r->active);
}

/* ---- blocks ---- */

static void add_branch(const real_run *r, const void *ls) {
    if (ls) element(r, VS_ELEMENT_MUL, r->work, vector(ls, r->arch->width), r->scaled);
    element(r, VS_ELEMENT_ADD, r->stream, ls ? r->scaled : r->work, r->stream);
}

static void block(const real_run *r, const vs_real_block *w) {
    norm(r, w->norm1_g, w->norm1_b);
    linear(r, r->normed, &w->qkv, r->qkv);
    attend(r);
    linear(r, r->branch, &w->proj, r->work);
    add_branch(r, w->ls1);
    norm(r, w->norm2_g, w->norm2_b);
    linear(r, r->normed, &w->fc1, r->hidden);
    gelu(r);
    linear(r, r->active, &w->fc2, r->work);
    add_branch(r, w->ls2);
}

/* The output. */
static vs_half_mat head(const real_run *r) {
    const size_t t = r->tokens, n = r->patches, c = r->arch->width;
    const vs_half_set *folded = &r->weights->from->half; /* BatchNorm's gain and shift, float32 inside */
    norm(r, r->weights->norm_g, r->weights->norm_b);
    if (r->arch->head == VS_HEAD_NONE) return r->normed;
    for (size_t i = 0; i < r->images; i++)
        r->ops->copy(r->backend, vs_half_mat_view(r->normed, i * t + t - n, n, 0, c),
                     vs_half_mat_view(r->features, i * n, n, 0, c));
    if (r->arch->head_norm)
        r->ops->affine(r->backend, r->features, vs_half_param(folded, "head.bn.scale", 0),
                       vs_half_param(folded, "head.bn.shift", 0), r->features);
    linear(r, r->features, &r->weights->head, r->logits);
    return r->logits;
}

/* ---- beside the float model ---- */

static void compare(const real_run *r, vs_mat x, vs_half_mat y, size_t index, vs_error_sums *const *seen) {
    vs_error_sums *sums[VS_MAX_SESSION_IMAGES];
    const vs_mat f32 = { r->f32.p, y.rows, y.cols, y.cols };
    for (size_t i = 0; i < r->images; i++) sums[i] = &seen[i][index];
    r->ops->load(r->backend, y, f32);
    r->backend->ops->error_sums(r->backend, x, f32, r->images, sums);
}

size_t vs_half_real_seen(const vs_arch *a) { return a->depth + 1; }

vs_status vs_half_real_forward(vs_session *s, const vs_half_model *model, const float *pixels, const vs_weights *floats,
                               vs_error_sums *const *seen, vs_error *err) {
    const vs_weights *f32 = floats ? floats : &model->weights->f32.w; /* these give the right patches, which is enough */
    const vs_tapper no_tap = { NULL, NULL };
    real_run run, *r = &run;
    vs_status status = vs_forward_embed(s, f32, pixels, 0, no_tap, err);
    if (status != VS_OK) return status;
    begin(r, s, model);
    embed(r);
    for (size_t b = 0; b < r->arch->depth && status == VS_OK; b++) {
        block(r, &r->weights->blocks[b]);
        if (seen) status = vs_forward_block(s, f32, 0, 0, b, no_tap, err);
        if (seen && status == VS_OK) compare(r, vs_session_stream(s, 0), r->stream, b, seen);
    }
    if (status != VS_OK) return status;
    const vs_half_mat output = head(r);
    if (!seen) {
        r->ops->load(r->backend, output, vs_session_output(s));
        return VS_OK;
    }
    status = vs_forward_head(s, f32, 0, no_tap, err);
    if (status == VS_OK) compare(r, vs_session_output(s), output, r->arch->depth, seen);
    return status;
}

/* ---- what it runs ---- */

bool vs_half_real_runs(const vs_policy_config *p) {
    const bool usual = p->softmax == VS_SOFTMAX_FLOAT && p->tables == VS_TABLES_FLOAT && p->probs == VS_PROBS_EXP;
    return usual && p->norm != VS_OPERATION_FLOAT32 && p->attention != VS_OPERATION_FLOAT32 && p->gelu != VS_OPERATION_FLOAT32;
}

vs_status vs_half_real_check(const vs_model *m, const vs_backend *be, vs_half_format format, vs_error *err) {
    const vs_arch *a = &m->arch;
    const char *what = NULL;
    if (!be->half)
        return vs_fail(err, VS_ERR_BACKEND, "fp16.real: backend %s has no half kernels; use --backend cuda, or real: false",
                       be->name);
    if (format != VS_HALF_FP16) return vs_fail(err, VS_ERR_CONFIG, "fp16.real: half kernels are built for format fp16 alone");
    if (a->ffn != VS_FFN_GELU) what = "SwiGLU";
    if (a->prefix_norm) what = "norms of their own for class and register tokens";
    if (a->head == VS_HEAD_EOMT || a->head == VS_HEAD_CLASSIFIER || a->head_maps > 1)
        what = "a head other than a linear segmentation head on the last block";
    if (a->width / a->heads > VS_HALF_MAX_HEAD) what = "attention heads of more than 256 channels";
    return what ? vs_fail(err, VS_ERR_CONFIG, "%s: fp16.real: half kernels are not built for %s", m->path, what) : VS_OK;
}
