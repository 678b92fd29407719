/* The forward pass on half kernels: the same graph, a kernel or a few for an operation. */
#include "half/real.h"

#include "half/machine.h"
#include "util/util.h"

typedef struct real_run {
    vs_session *session;
    const vs_backend *backend;
    const vs_half_ops *ops;
    const vs_graph *graph;
    const vs_half_real *weights;
    const vs_policy_config *policy;
    size_t images, patches;
    void *f32;            /* room for a result in float32 */
    char *values, *rooms; /* of halves: the graph's values, and what the node at work needs besides */
} real_run;

/* ---- memory: halves behind the float32 room, in session scratch ---- */

enum { ALIGNED = 128, SCORES_STEP = 8 }; /* bytes; halves: rows of scores begin where products of halves are fast */

static size_t ld_of(const vs_half_shape shapes[VS_ROOMS], size_t room) {
    const size_t step = room == VS_ROOM_SCORES ? SCORES_STEP : 1;
    return (shapes[room].cols + step - 1) / step * step;
}

/* Softmax is in place. SIZE_MAX: more than there can be. */
static size_t room_bytes(const vs_half_shape shapes[VS_ROOMS], size_t room) {
    size_t bytes = 0;
    if (room == VS_ROOM_PROBS) return 0;
    if (!vs_size_mul(&bytes, shapes[room].rows, ld_of(shapes, room)) || !vs_size_mul(&bytes, bytes, VS_HALF_BYTES) ||
        !vs_size_add(&bytes, bytes, ALIGNED - 1))
        return SIZE_MAX;
    return bytes - bytes % ALIGNED;
}

static vs_half_mat room_of(const real_run *r, const vs_node *n, vs_half_room room) {
    vs_half_shape shapes[VS_ROOMS];
    char *at = r->rooms;
    vs_half_rooms_of(r->graph, n, r->images, r->patches, shapes);
    for (size_t i = 0; i < room; i++) at += room_bytes(shapes, i);
    return (vs_half_mat){ at, shapes[room].rows, shapes[room].cols, ld_of(shapes, room) };
}

static vs_half_mat value_of(const real_run *r, size_t value) {
    vs_slot slot;
    if (!vs_session_pass_slot(r->session, value, &slot)) return (vs_half_mat){ 0 };
    return (vs_half_mat){ r->values + slot.at * VS_HALF_BYTES, slot.rows, slot.cols, slot.ld };
}

/* Reals of the float32 room: a stream or the output. */
static size_t f32_reals(const vs_graph *g, size_t patches, size_t images) {
    size_t most = vs_value_rows(g, g->output, patches) * vs_value_cols(g, g->output, patches);
    for (size_t s = 0; s + 1 < g->segment_count; s++) {
        const size_t stream = g->segments[s].stream,
                     reals = vs_value_rows(g, stream, patches) * vs_value_cols(g, stream, patches);
        if (reals > most) most = reals;
    }
    return (images * most + 31) / 32 * 32;
}

static size_t rooms_bytes(const vs_graph *g, size_t patches, size_t images) {
    size_t most = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        vs_half_shape shapes[VS_ROOMS];
        size_t all = 0;
        vs_half_rooms_of(g, &g->nodes[n], images, patches, shapes);
        for (size_t i = 0; i < VS_ROOMS; i++)
            if (!vs_size_add(&all, all, room_bytes(shapes, i))) return SIZE_MAX;
        if (all > most) most = all;
    }
    return most;
}

size_t vs_half_real_scratch(const vs_graph *g, size_t patches, size_t images) {
    size_t bytes = 0;
    if (!vs_size_mul(&bytes, vs_pass_elements(g, patches, images), VS_HALF_BYTES) ||
        !vs_size_add(&bytes, bytes, rooms_bytes(g, patches, images)))
        return SIZE_MAX;
    return f32_reals(g, patches, images) + bytes / sizeof(float) + 1;
}

static void begin(real_run *r, vs_session *s, const vs_half_model *model) {
    const vs_half_weights *w = model->weights;
    *r = (real_run){ .session = s,
                     .backend = w->backend,
                     .ops = w->backend->half,
                     .graph = w->rows->graph,
                     .weights = model->real,
                     .policy = model->policy,
                     .images = vs_session_images(s),
                     .patches = vs_session_grid_h(s) * vs_session_grid_w(s) };
    r->f32 = vs_session_scratch(s);
    r->values = (char *)r->f32 + f32_reals(r->graph, r->patches, r->images) * (size_t)w->backend->scalar;
    r->rooms = r->values + vs_session_pass_elements(s) * VS_HALF_BYTES;
}

/* ---- single operations ---- */

static const vs_half_mat none;

static void element(const real_run *r, vs_element op, vs_half_mat x, vs_half_mat u, vs_half_mat y) {
    r->ops->elementwise(r->backend, op, x, u, y);
}

/* p NULL: the model has none. */
static vs_half_mat param(const real_run *r, const vs_node *n, size_t i) {
    if (n->param[i] == VS_NONE) return none;
    const vs_param *p = &r->graph->params[n->param[i]];
    return (vs_half_mat){ vs_mat_of(r->weights->params[n->param[i]], p->rows, p->cols).p, p->rows, p->cols, p->cols };
}

static vs_half_mat constant(const real_run *r, const vs_node *n, vs_half_constant which) {
    const size_t at = vs_half_constant_at(r->weights->from->rows, vs_half_constant_of(r->graph, n, which));
    return vs_half_mat_view(r->weights->constants, 0, 1, at, 1);
}

static void run_patchify(const real_run *r, const vs_node *n) {
    r->ops->store(r->backend, vs_session_value(r->session, n->out, 0, 0), value_of(r, n->out));
}

static void run_linear(const real_run *r, const vs_node *n) {
    r->ops->linear(r->backend, value_of(r, n->in[0]), param(r, n, 0), param(r, n, 1).p, value_of(r, n->out));
}

static void run_layernorm(const real_run *r, const vs_node *n) {
    const vs_half_mat x = value_of(r, n->in[0]), y = value_of(r, n->out), g = param(r, n, 0), b = param(r, n, 1);
    if (r->policy->norm != VS_OPERATION_DECOMPOSED) {
        r->ops->layernorm(r->backend, x, g.p, b.p, n->eps, y);
        return;
    }
    const vs_half_mat mean = room_of(r, n, VS_ROOM_MEAN), statistic = room_of(r, n, VS_ROOM_STATISTIC),
                      work = room_of(r, n, VS_ROOM_WORK);
    r->ops->row_mean(r->backend, x, mean);
    element(r, VS_ELEMENT_SUB, x, mean, y);
    element(r, VS_ELEMENT_MUL, y, y, work);
    r->ops->row_mean(r->backend, work, statistic);
    element(r, VS_ELEMENT_ADD, statistic, constant(r, n, VS_CONSTANT_EPS), statistic);
    element(r, VS_ELEMENT_SQRT, statistic, none, statistic);
    element(r, VS_ELEMENT_DIV, y, statistic, y);
    element(r, VS_ELEMENT_MUL, y, g, y);
    element(r, VS_ELEMENT_ADD, y, b, y);
}

static void run_gelu(const real_run *r, const vs_node *n) {
    const vs_half_mat x = value_of(r, n->in[0]), y = value_of(r, n->out), work = room_of(r, n, VS_ROOM_WORK);
    if (r->policy->gelu != VS_OPERATION_DECOMPOSED) {
        r->ops->gelu(r->backend, x, y);
        return;
    }
    element(r, VS_ELEMENT_DIV, x, constant(r, n, VS_CONSTANT_SQRT2), work);
    element(r, VS_ELEMENT_ERF, work, none, work);
    element(r, VS_ELEMENT_ADD, work, constant(r, n, VS_CONSTANT_ONE), work);
    element(r, VS_ELEMENT_MUL, x, work, y);
    element(r, VS_ELEMENT_MUL, y, constant(r, n, VS_CONSTANT_HALF), y);
}

static void run_scale_add(const real_run *r, const vs_node *n) {
    const vs_half_mat scale = param(r, n, 0), work = room_of(r, n, VS_ROOM_WORK), u = value_of(r, n->in[1]);
    if (scale.p) element(r, VS_ELEMENT_MUL, u, scale, work);
    element(r, VS_ELEMENT_ADD, value_of(r, n->in[0]), scale.p ? work : u, value_of(r, n->out));
}

/* Gain and shift are folded: reals, float32 inside. */
static void run_affine(const real_run *r, const vs_node *n) {
    const void *const *folded = r->weights->from->half.w.params;
    r->ops->affine(r->backend, value_of(r, n->in[0]), folded[n->param[0]], folded[n->param[1]], value_of(r, n->out));
}

/* Rows that operands and results have already. */
static void run_same(const real_run *r, const vs_node *n) {
    const vs_half_mat x = value_of(r, n->in[0]), y = value_of(r, n->out);
    if (x.p != y.p) r->ops->copy(r->backend, x, y);
}

/* ---- tokens ---- */

static void add_positions(const real_run *r, const vs_node *n) {
    const vs_half_mat all = room_of(r, n, VS_ROOM_WORK), prefix = param(r, n, 2);
    const size_t t = all.rows, c = all.cols;
    r->ops->copy(r->backend, prefix, vs_half_mat_view(all, 0, prefix.rows, 0, c));
    r->ops->store(r->backend, vs_session_value(r->session, n->in[1], 0, 0),
                  vs_half_mat_view(all, prefix.rows, t - prefix.rows, 0, c));
    for (size_t i = 0; i < r->images; i++) {
        const vs_half_mat x = vs_half_mat_view(value_of(r, n->out), i * t, t, 0, c);
        element(r, VS_ELEMENT_ADD, x, all, x);
    }
}

static void run_tokens(const real_run *r, const vs_node *n) {
    const vs_half_mat x = value_of(r, n->in[0]), y = value_of(r, n->out), prefix = param(r, n, 1);
    const size_t t = y.rows / r->images, patches = r->patches, c = y.cols;
    for (size_t i = 0; i < r->images; i++) {
        r->ops->copy(r->backend, prefix, vs_half_mat_view(y, i * t, prefix.rows, 0, c));
        r->ops->copy(r->backend, vs_half_mat_view(x, i * patches, patches, 0, c),
                     vs_half_mat_view(y, i * t + prefix.rows, patches, 0, c));
    }
    if (n->in_count > 1) add_positions(r, n);
}

static void run_rows(const real_run *r, const vs_node *n) {
    const vs_row_rule *in = vs_value_rule(r->graph, n->in[0]);
    const vs_half_mat x = value_of(r, n->in[0]), y = value_of(r, n->out);
    const size_t first = vs_rule_first(in, vs_rule_find(in, vs_value_rule(r->graph, n->out)), r->patches);
    const size_t each = x.rows / r->images, count = y.rows / r->images;
    for (size_t i = 0; i < r->images; i++)
        r->ops->copy(r->backend, vs_half_mat_view(x, i * each + first, count, 0, x.cols),
                     vs_half_mat_view(y, i * count, count, 0, y.cols));
}

/* ---- attention ---- */

static void run_rope(const real_run *r, const vs_node *n) {
    r->ops->rope(r->backend, value_of(r, n->in[0]), vs_session_value(r->session, n->in[1], 0, 0),
                 vs_session_value(r->session, n->in[2], 0, 0), r->images, n->heads, value_of(r, n->out));
}

static void attend_apart(const real_run *r, const vs_node *n, vs_half_mat q, vs_half_mat k, vs_half_mat v) {
    const vs_half_scale scale = r->policy->scale;
    const vs_half_mat factor = constant(r, n, scale == VS_SCALE_BOTH ? VS_CONSTANT_ROOT : VS_CONSTANT_SCALE);
    const vs_half_mat scores = room_of(r, n, VS_ROOM_SCORES);
    if (scale != VS_SCALE_AFTER) {
        const vs_half_mat scaled = room_of(r, n, VS_ROOM_Q);
        element(r, VS_ELEMENT_MUL, q, factor, scaled);
        q = scaled;
    }
    if (scale == VS_SCALE_BOTH) {
        const vs_half_mat scaled = room_of(r, n, VS_ROOM_K);
        element(r, VS_ELEMENT_MUL, k, factor, scaled);
        k = scaled;
    }
    r->ops->scores(r->backend, q, k, r->images, n->heads, scores);
    if (scale == VS_SCALE_AFTER) element(r, VS_ELEMENT_MUL, scores, factor, scores);
    r->ops->softmax_rows(r->backend, scores, scores);
    r->ops->apply(r->backend, scores, v, r->images, n->heads, value_of(r, n->out));
}

static void run_attention(const real_run *r, const vs_node *n) {
    const vs_half_mat q = value_of(r, n->in[0]), k = value_of(r, n->in[1]), v = value_of(r, n->in[2]);
    if (r->policy->attention == VS_OPERATION_DECOMPOSED)
        attend_apart(r, n, q, k, v);
    else
        r->ops->attention(r->backend, q, k, v, r->images, n->heads, vs_half_constant_of(r->graph, n, VS_CONSTANT_SCALE),
                          value_of(r, n->out));
}

/* ---- what it runs ---- */

static const char OTHER_HEAD[] = "a head other than a linear segmentation head on the last block",
                  SPLIT_NORM[] = "norms of their own for class and register tokens";

static const char *refuse_wide(const vs_graph *g, const vs_node *n) {
    return g->values[n->in[0]].cols.fixed / n->heads > VS_HALF_MAX_HEAD ? "attention heads of more than 256 channels" : NULL;
}

static bool has_same_rows(const vs_graph *g, const vs_node *n) { return g->values[n->in[0]].rows == g->values[n->out].rows; }
static const char *refuse_split(const vs_graph *g, const vs_node *n) { return has_same_rows(g, n) ? NULL : SPLIT_NORM; }

static const char *refuse_tokens(const vs_graph *g, const vs_node *n) {
    return vs_rule_patches(vs_value_rule(g, n->out)) == 0 ? NULL : OTHER_HEAD;
}

/* A kernel for an operation, or several; without one, what it is in words. */
static const struct {
    void (*run)(const real_run *r, const vs_node *n);
    const char *refused;
    const char *(*refuses)(const vs_graph *g, const vs_node *n); /* nodes of it that are not run: what these are; NULL: none */
} kernels[VS_OP_COUNT] = {
    [VS_OP_PATCHIFY] = { run_patchify, NULL, NULL },
    [VS_OP_LINEAR] = { run_linear, NULL, NULL },
    [VS_OP_TOKENS] = { run_tokens, NULL, NULL },
    [VS_OP_JOIN] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_LAYERNORM] = { run_layernorm, NULL, refuse_split },
    [VS_OP_ROPE] = { run_rope, NULL, NULL },
    [VS_OP_OPERAND] = { run_same, NULL, NULL },
    [VS_OP_PROBS] = { run_same, NULL, NULL }, /* attention's own: this pass has no such value */
    [VS_OP_ATTENTION] = { run_attention, NULL, refuse_wide },
    [VS_OP_GELU] = { run_gelu, NULL, NULL },
    [VS_OP_GELU_TANH] = { NULL, "GELU's tanh form", NULL },
    [VS_OP_SILU_MUL] = { NULL, "SwiGLU", NULL },
    [VS_OP_SCALE_ADD] = { run_scale_add, NULL, NULL },
    [VS_OP_ROWS] = { run_rows, NULL, refuse_tokens },
    [VS_OP_STACK] = { NULL, SPLIT_NORM, NULL },
    [VS_OP_CONCAT] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_MEAN] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_AFFINE] = { run_affine, NULL, NULL },
    [VS_OP_UNFOLD] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_DEPTHWISE] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_PRODUCT] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_SOFTMAX] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_SCORES] = { NULL, OTHER_HEAD, NULL },
    [VS_OP_RESULT] = { run_same, NULL, NULL },
};

static const char *refused(const vs_graph *g, const vs_node *n) {
    if (!kernels[n->op].run) return kernels[n->op].refused ? kernels[n->op].refused : vs_op_name(n->op);
    return kernels[n->op].refuses ? kernels[n->op].refuses(g, n) : NULL;
}

bool vs_half_real_runs(const vs_policy_config *p) {
    const bool usual = p->softmax == VS_SOFTMAX_FLOAT && p->tables == VS_TABLES_FLOAT && p->probs == VS_PROBS_EXP;
    return usual && p->norm != VS_OPERATION_FLOAT32 && p->attention != VS_OPERATION_FLOAT32 && p->gelu != VS_OPERATION_FLOAT32;
}

vs_status vs_half_real_check(const vs_model *m, const vs_backend *be, vs_half_format format, vs_error *err) {
    const vs_graph *g = m->graph;
    const char *what = NULL;
    if (!be->half)
        return vs_fail(err, VS_ERR_BACKEND, "fp16.real: backend %s has no half kernels; use --backend cuda, or real: false",
                       be->name);
    if (format != VS_HALF_FP16) return vs_fail(err, VS_ERR_CONFIG, "fp16.real: half kernels are built for format fp16 alone");
    for (size_t i = 0; i < g->node_count; i++) {
        const char *other = refused(g, &g->nodes[i]);
        if (other) what = other; /* a head before what stands in a block */
    }
    return what ? vs_fail(err, VS_ERR_CONFIG, "%s: fp16.real: half kernels are not built for %s", m->path, what) : VS_OK;
}

/* ---- the walk, beside the float model ---- */

static void run_segment(const real_run *r, const vs_segment *segment) {
    for (size_t i = segment->first; i < segment->end; i++) {
        const vs_node *n = &r->graph->nodes[i];
        if (value_of(r, n->out).p) kernels[n->op].run(r, n);
    }
}

static void compare(const real_run *r, vs_mat x, size_t value, size_t index, vs_error_sums *const *seen) {
    vs_error_sums *sums[VS_MAX_SESSION_IMAGES];
    const vs_half_mat y = value_of(r, value);
    const vs_mat f32 = { r->f32, y.rows, y.cols, y.cols };
    for (size_t i = 0; i < r->images; i++) sums[i] = &seen[i][index];
    r->ops->load(r->backend, y, f32);
    r->backend->ops->error_sums(r->backend, x, f32, r->images, sums);
}

size_t vs_half_real_seen(const vs_graph *g) { return vs_half_blocks(g) + 1; }

vs_status vs_half_real_forward(vs_session *s, const vs_half_model *model, const float *pixels, const vs_weights *floats,
                               vs_error_sums *const *seen, vs_error *err) {
    const vs_weights *f32 = floats ? floats : &model->weights->f32.w; /* these give the right patches, which is enough */
    const vs_tapper no_tap = { NULL, NULL };
    real_run run, *r = &run;
    vs_status status = vs_forward_embed(s, f32, pixels, 0, no_tap, err);
    if (status != VS_OK) return status;
    begin(r, s, model);
    const vs_graph *g = r->graph;
    run_segment(r, &g->segments[0]);
    for (size_t b = 0; b < vs_half_blocks(g) && status == VS_OK; b++) {
        run_segment(r, &g->segments[b + 1]);
        if (seen) status = vs_forward_block(s, f32, 0, 0, b, no_tap, err);
        if (seen && status == VS_OK) compare(r, vs_session_stream(s, 0), g->segments[b + 1].stream, b, seen);
    }
    if (status != VS_OK) return status;
    run_segment(r, &g->segments[g->segment_count - 1]);
    if (!seen) {
        r->ops->load(r->backend, value_of(r, g->output), vs_session_output(s));
        return VS_OK;
    }
    status = vs_forward_head(s, f32, 0, no_tap, err);
    if (status == VS_OK) compare(r, vs_session_output(s), g->output, vs_half_blocks(g), seen);
    return status;
}
