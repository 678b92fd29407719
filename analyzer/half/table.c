#include "half/table.h"

#include <math.h>

#include "half/machine.h"

/* ---- when rows are there */

static bool is_apart(vs_operation operation) { return operation == VS_OPERATION_DECOMPOSED; }

static bool norm_apart(const vs_half_case *c) { return is_apart(c->policy->norm); }
static bool norm_one(const vs_half_case *c) { return !norm_apart(c); }
static bool gelu_apart(const vs_half_case *c) { return is_apart(c->policy->gelu); }
static bool gelu_one(const vs_half_case *c) { return !gelu_apart(c); }
static bool scores_stored(const vs_half_case *c) { return is_apart(c->policy->attention); }
static bool scores_inside(const vs_half_case *c) { return !scores_stored(c); }
static bool scaled_both(const vs_half_case *c) { return scores_stored(c) && c->policy->scale == VS_SCALE_BOTH; }
static bool scaled_after(const vs_half_case *c) { return scores_stored(c) && c->policy->scale == VS_SCALE_AFTER; }
static bool scaled_before(const vs_half_case *c) { return scores_stored(c) && !scaled_both(c) && !scaled_after(c); }
static bool softmax_apart(const vs_half_case *c) { return scores_stored(c) && c->policy->softmax == VS_SOFTMAX_HALF; }
static bool softmax_one(const vs_half_case *c) { return scores_stored(c) && c->policy->softmax != VS_SOFTMAX_HALF; }

/* An advice folds LayerScale away: tensors that a graph names may be gone. */
static bool has_scale(const vs_half_case *c) {
    return c->node->param[0] != VS_NONE && (!c->weights || c->weights->params[c->node->param[0]]);
}

/* ---- nodes that have rows */

static bool is_one(const vs_graph *g, const vs_node *n) {
    (void)g;
    return !n->halves;
}

static bool is_halves(const vs_graph *g, const vs_node *n) {
    (void)g;
    return n->halves;
}

static bool has_positions(const vs_graph *g, const vs_node *n) {
    (void)g;
    return n->in_count > 1;
}

static bool is_output(const vs_graph *g, const vs_node *n) { return n->out == g->output; }

/* ---- products */

static double rows_of(const vs_graph *g, size_t value, size_t patches) { return (double)vs_value_rows(g, value, patches); }
static double cols_of(const vs_graph *g, size_t value, size_t patches) { return (double)vs_value_cols(g, value, patches); }

static double macs_node(const vs_graph *g, const vs_node *n, size_t patches) {
    return vs_node_macs(g, (size_t)(n - g->nodes), patches);
}

static double macs_half(const vs_graph *g, const vs_node *n, size_t patches) { return macs_node(g, n, patches) / 2; }

static double macs_attention(const vs_graph *g, const vs_node *n, size_t patches) {
    const double t = rows_of(g, n->in[0], patches);
    return t * t * cols_of(g, n->in[0], patches);
}

static double macs_depthwise(const vs_graph *g, const vs_node *n, size_t patches) {
    return rows_of(g, n->out, patches) * cols_of(g, n->out, patches) * (double)g->params[n->param[0]].rows;
}

static double macs_product(const vs_graph *g, const vs_node *n, size_t patches) {
    return rows_of(g, n->out, patches) * cols_of(g, n->out, patches) * cols_of(g, n->in[0], patches);
}

/* ---- rooms */

static vs_half_shape shape_of(const vs_graph *g, size_t value, size_t images, size_t patches) {
    return (vs_half_shape){ images * vs_value_rows(g, value, patches), vs_value_cols(g, value, patches) };
}

static void rooms_tokens(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    (void)images;
    shapes[VS_ROOM_WORK] = shape_of(g, n->out, 1, patches); /* what is added to every image */
}

static void rooms_join(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    shapes[VS_ROOM_WORK] = shape_of(g, n->in[0], images, patches);
}

static void rooms_norm(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    const vs_half_shape out = shape_of(g, n->out, images, patches);
    shapes[VS_ROOM_WORK] = out;
    shapes[VS_ROOM_MEAN] = shapes[VS_ROOM_STATISTIC] = (vs_half_shape){ out.rows, 1 };
    if (vs_value_rows(g, n->in[0], patches) != vs_value_rows(g, n->out, patches)) shapes[VS_ROOM_TAKEN] = out;
}

static void rooms_same(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    shapes[VS_ROOM_WORK] = shape_of(g, n->out, images, patches);
}

static void rooms_attention(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    const size_t tokens = vs_value_rows(g, n->in[0], patches), rows = images * n->heads * tokens;
    shapes[VS_ROOM_SCORES] = shapes[VS_ROOM_PROBS] = (vs_half_shape){ rows, tokens };
    shapes[VS_ROOM_SUMS] = (vs_half_shape){ rows, 1 };
    shapes[VS_ROOM_Q] = shapes[VS_ROOM_K] = shape_of(g, n->in[0], images, patches);
}

/* Ones [N, N] in the place of probabilities. */
static void rooms_mean(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    const size_t cols = vs_value_cols(g, n->out, patches);
    shapes[VS_ROOM_TAKEN] = (vs_half_shape){ images * patches, cols };
    shapes[VS_ROOM_WORK] = (vs_half_shape){ patches, cols };
    shapes[VS_ROOM_SCORES] = (vs_half_shape){ patches, patches };
    shapes[VS_ROOM_SUMS] = (vs_half_shape){ patches, 1 };
}

/* ---- rows */

#define INPUT(i)                                                                                                                 \
    { VS_FROM_INPUT, (i) }
#define LEFT                                                                                                                     \
    { VS_FROM_LEFT, 0 }
#define RIGHT                                                                                                                    \
    { VS_FROM_RIGHT, 0 }
#define TAKEN                                                                                                                    \
    { VS_FROM_TAKEN, 0 }
#define WHOLE                                                                                                                    \
    { VS_FROM_WHOLE, 0 }
#define ROW(i)                                                                                                                   \
    { VS_FROM_ROW, (i) }
#define PARAM(i)                                                                                                                 \
    { VS_FROM_PARAM, (i) }
#define NUMBER(which)                                                                                                            \
    { VS_FROM_CONSTANT, VS_CONSTANT_##which }
#define ELEMENT(which) .compute = vs_step_element, .element = VS_ELEMENT_##which

/* One row, which is the whole operation. */
static const vs_half_form as_it_is[] = { { "", .x = INPUT(0), .compute = vs_step_whole } };
static const vs_half_form of_two[] = { { "", .x = INPUT(0), .u = INPUT(1), .compute = vs_step_whole } };
static const vs_half_form put_together[] = { { "", .x = WHOLE, .compute = vs_step_same, .of = is_output } };
static const vs_half_form depthwise[] = { { "", .x = INPUT(0), .compute = vs_step_whole, .macs = macs_depthwise } };
static const vs_half_form product[] = { { "", .x = INPUT(0), .u = INPUT(1), .compute = vs_step_whole, .macs = macs_product } };
static const vs_half_form mean[] = { { "", .x = TAKEN, .compute = vs_step_mean_of_patches } };

static const vs_half_form linear[] = {
    { "", .x = INPUT(0), .compute = vs_step_linear, .of = is_one, .macs = macs_node },
    { "w1", .x = INPUT(0), .compute = vs_step_linear, .of = is_halves, .macs = macs_half },
    { "w2", .x = INPUT(0), .compute = vs_step_linear, .of = is_halves, .macs = macs_half },
};

static const vs_half_form tokens[] = {
    { "", .x = INPUT(0), .compute = vs_step_tokens },
    { "pos_add", .x = ROW(0), .compute = vs_step_positions, .of = has_positions },
};

/* h(x - mu), h(c^2), var, h(var + eps), h(sqrt), h(c / s), h(* g), h(+ b) */
static const vs_half_form norm[] = {
    { ".mean", .x = TAKEN, .to = VS_ROOM_MEAN, .compute = vs_step_row_mean, .when = norm_apart },
    { ".center", .x = TAKEN, .u = ROW(0), ELEMENT(SUB), .when = norm_apart },
    { ".square", .x = ROW(1), .u = ROW(1), .to = VS_ROOM_WORK, ELEMENT(MUL), .when = norm_apart },
    { ".var", .x = ROW(2), .to = VS_ROOM_STATISTIC, .compute = vs_step_row_mean, .when = norm_apart },
    { ".eps", .x = ROW(3), .u = NUMBER(EPS), .to = VS_ROOM_STATISTIC, ELEMENT(ADD), .when = norm_apart },
    { ".std", .x = ROW(4), .to = VS_ROOM_STATISTIC, ELEMENT(SQRT), .when = norm_apart },
    { ".div", .x = ROW(1), .u = ROW(5), ELEMENT(DIV), .when = norm_apart },
    { ".mul", .x = ROW(6), .u = PARAM(0), ELEMENT(MUL), .when = norm_apart },
    { ".out", .x = ROW(7), .u = PARAM(1), ELEMENT(ADD), .when = norm_apart },
    { ".out", .again = true, .x = TAKEN, .compute = vs_step_whole, .when = norm_one },
};

static const vs_half_form attention[] = {
    { "qscale", .x = INPUT(0), .u = NUMBER(SCALE), .to = VS_ROOM_Q, ELEMENT(MUL), .when = scaled_before },
    { "qscale", .again = true, .x = INPUT(0), .u = NUMBER(ROOT), .to = VS_ROOM_Q, ELEMENT(MUL), .when = scaled_both },
    { "kscale", .x = INPUT(1), .u = NUMBER(ROOT), .to = VS_ROOM_K, ELEMENT(MUL), .when = scaled_both },
    { "scores", .x = ROW(0), .u = ROW(1), .to = VS_ROOM_SCORES, .compute = vs_step_scores, .when = scores_stored,
      .macs = macs_attention, .centred = true },
    { "scale", .x = ROW(2), .u = NUMBER(SCALE), .to = VS_ROOM_SCORES, ELEMENT(MUL), .when = scaled_after, .centred = true },
    { "softmax.sub", .x = ROW(3), .to = VS_ROOM_PROBS, .compute = vs_step_below_max, .when = softmax_apart, .centred = true },
    { "softmax.exp", .x = ROW(4), .to = VS_ROOM_PROBS, ELEMENT(EXP), .when = softmax_apart },
    { "softmax.out", .x = ROW(5), .to = VS_ROOM_PROBS, .compute = vs_step_of_sum, .when = softmax_apart },
    { "softmax", .again = true, .x = ROW(3), .to = VS_ROOM_PROBS, .compute = vs_step_softmax, .when = softmax_one },
    { "", .x = ROW(6), .u = INPUT(2), .compute = vs_step_apply, .when = scores_stored, .macs = macs_attention },
    { "", .again = true, .x = INPUT(0), .u = INPUT(1), .compute = vs_step_attention, .when = scores_inside },
};

static const vs_half_form gelu[] = {
    { ".div", .x = INPUT(0), .u = NUMBER(SQRT2), .to = VS_ROOM_WORK, ELEMENT(DIV), .when = gelu_apart },
    { ".erf", .x = ROW(0), .to = VS_ROOM_WORK, ELEMENT(ERF), .when = gelu_apart },
    { ".one", .x = ROW(1), .u = NUMBER(ONE), .to = VS_ROOM_WORK, ELEMENT(ADD), .when = gelu_apart },
    { ".mul", .x = INPUT(0), .u = ROW(2), ELEMENT(MUL), .when = gelu_apart },
    { ".out", .x = ROW(3), .u = NUMBER(HALF), ELEMENT(MUL), .when = gelu_apart },
    { "", .again = true, .x = INPUT(0), .compute = vs_step_whole, .when = gelu_one },
};

/* As PyTorch's ONNX exporter writes it: h(x x), h(x x^2), h(* kappa), h(x +), h(* beta), h(tanh), h(1 +), h(x *), h(* 1/2). */
static const vs_half_form gelu_tanh[] = {
    { ".square", .x = INPUT(0), .u = INPUT(0), .to = VS_ROOM_WORK, ELEMENT(MUL), .when = gelu_apart },
    { ".cube", .x = INPUT(0), .u = ROW(0), .to = VS_ROOM_WORK, ELEMENT(MUL), .when = gelu_apart },
    { ".kappa", .x = ROW(1), .u = NUMBER(KAPPA), .to = VS_ROOM_WORK, ELEMENT(MUL), .when = gelu_apart },
    { ".sum", .x = INPUT(0), .u = ROW(2), .to = VS_ROOM_WORK, ELEMENT(ADD), .when = gelu_apart },
    { ".inner", .x = ROW(3), .u = NUMBER(BETA), .to = VS_ROOM_WORK, ELEMENT(MUL), .when = gelu_apart },
    { ".tanh", .x = ROW(4), .to = VS_ROOM_WORK, ELEMENT(TANH), .when = gelu_apart },
    { ".one", .x = ROW(5), .u = NUMBER(ONE), .to = VS_ROOM_WORK, ELEMENT(ADD), .when = gelu_apart },
    { ".mul", .x = INPUT(0), .u = ROW(6), ELEMENT(MUL), .when = gelu_apart },
    { ".out", .x = ROW(7), .u = NUMBER(HALF), ELEMENT(MUL), .when = gelu_apart },
    { "", .again = true, .x = INPUT(0), .compute = vs_step_whole, .when = gelu_one },
};

static const vs_half_form silu_mul[] = {
    { ".sigmoid", .x = LEFT, ELEMENT(SIGMOID), .when = gelu_apart },
    { ".mul", .x = LEFT, .u = ROW(0), ELEMENT(MUL), .when = gelu_apart },
    { "", .again = true, .x = LEFT, .compute = vs_step_silu, .when = gelu_one },
    { "gate", .x = ROW(1), .u = RIGHT, ELEMENT(MUL) },
};

static const vs_half_form scale_add[] = {
    { NULL, .x = INPUT(1), .u = PARAM(0), .to = VS_ROOM_WORK, ELEMENT(MUL), .when = has_scale },
    { "", .x = INPUT(0), .u = ROW(0), ELEMENT(ADD) },
};

/* ---- the table */

static vs_operation under_norm(const vs_policy_config *p) { return p->norm; }
static vs_operation under_attention(const vs_policy_config *p) { return p->attention; }
static vs_operation under_gelu(const vs_policy_config *p) { return p->gelu; }

#define FORMS(rows) .forms = (rows), .count = sizeof(rows) / sizeof *(rows)

static const vs_half_op ops[VS_OP_COUNT] = {
    [VS_OP_PATCHIFY] = { .forms = NULL }, /* the normalised image is rounded on entry */
    [VS_OP_LINEAR] = { FORMS(linear) },
    [VS_OP_TOKENS] = { FORMS(tokens), .rooms = rooms_tokens },
    [VS_OP_JOIN] = { FORMS(as_it_is), .rooms = rooms_join },
    [VS_OP_LAYERNORM] = { FORMS(norm), .under = under_norm, .rooms = rooms_norm },
    [VS_OP_ROPE] = { FORMS(as_it_is) },
    [VS_OP_OPERAND] = { .forms = NULL },
    [VS_OP_PROBS] = { .forms = NULL }, /* VS_OP_ATTENTION's own */
    [VS_OP_ATTENTION] = { FORMS(attention), .under = under_attention, .rooms = rooms_attention },
    [VS_OP_GELU] = { FORMS(gelu), .under = under_gelu, .rooms = rooms_same },
    [VS_OP_GELU_TANH] = { FORMS(gelu_tanh), .under = under_gelu, .rooms = rooms_same },
    [VS_OP_SILU_MUL] = { FORMS(silu_mul), .under = under_gelu },
    [VS_OP_SCALE_ADD] = { FORMS(scale_add), .rooms = rooms_same },
    [VS_OP_ROWS] = { .forms = NULL },
    [VS_OP_STACK] = { FORMS(put_together), .under = under_norm },
    [VS_OP_CONCAT] = { .forms = NULL },
    [VS_OP_MEAN] = { FORMS(mean), .rooms = rooms_mean },
    [VS_OP_AFFINE] = { FORMS(as_it_is) },
    [VS_OP_UNFOLD] = { .forms = NULL }, /* the product in front of it is stored behind it */
    [VS_OP_DEPTHWISE] = { FORMS(depthwise) },
    [VS_OP_PRODUCT] = { FORMS(product) },
    [VS_OP_SOFTMAX] = { .outside = true },
    [VS_OP_SCORES] = { FORMS(of_two), .outside = true },
    [VS_OP_RESULT] = { .forms = NULL },
};

const vs_half_op *vs_half_op_of(vs_op op) { return &ops[op]; }

double vs_half_constant_of(const vs_graph *g, const vs_node *n, vs_half_constant constant) {
    const size_t of_head = n->heads ? g->values[n->in[0]].cols.fixed / n->heads : 1;
    const double channels = (double)of_head;
    const double values[VS_CONSTANTS] = { [VS_CONSTANT_EPS] = n->eps,
                                          [VS_CONSTANT_SQRT2] = sqrt(2),
                                          [VS_CONSTANT_ONE] = 1,
                                          [VS_CONSTANT_HALF] = 0.5,
                                          [VS_CONSTANT_KAPPA] = 0.044715,
                                          [VS_CONSTANT_BETA] = sqrt(2 / 3.14159265358979323846),
                                          [VS_CONSTANT_SCALE] = 1 / sqrt(channels),
                                          [VS_CONSTANT_ROOT] = 1 / sqrt(sqrt(channels)) };
    return values[constant];
}

void vs_half_rooms_of(const vs_graph *g, const vs_node *n, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]) {
    for (size_t i = 0; i < VS_ROOMS; i++) shapes[i] = (vs_half_shape){ 0, 0 };
    if (ops[n->op].rooms) ops[n->op].rooms(g, n, images, patches, shapes);
}

vs_row_rule vs_half_taken(const vs_graph *g, const vs_node *n) {
    const vs_row_rule *in = vs_value_rule(g, n->in[0]);
    if (n->op != VS_OP_MEAN) return *vs_value_rule(g, n->out);
    return (vs_row_rule){ .parts = { in->parts[vs_rule_patches(in)] }, .part_count = 1, .times = 1 };
}
