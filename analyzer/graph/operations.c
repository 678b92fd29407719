#include "graph/operations.h"

#include "vitscope/graph.h"

/* ---- multiply-accumulates of one image (docs/study.md 1) */

static double macs_linear(const vs_graph *g, const vs_node *n, size_t patches) {
    const vs_param *w = &g->params[n->param[0]];
    return (double)vs_value_rows(g, n->in[0], patches) * (double)w->cols * (double)w->rows;
}

/* The first node that reads a node's output, and as which input. */
static const vs_node *reader_of(const vs_graph *g, const vs_node *n, size_t *input) {
    for (const vs_node *r = n + 1; r < g->nodes + g->node_count; r++)
        for (*input = 0; *input < r->in_count; ++*input)
            if (r->in[*input] == n->out) return r;
    return NULL;
}

/* q and k T*T*C/2 each, v T*T*C: what they are factors of; the product of p is v's. */
static double macs_operand(const vs_graph *g, const vs_node *n, size_t patches) {
    const double t = (double)vs_value_rows(g, n->in[0], patches), c = (double)vs_value_cols(g, n->in[0], patches);
    size_t input = 0;
    const vs_node *reader = reader_of(g, n, &input);
    if (reader && reader->op == VS_OP_PROBS) return t * t * c / 2;
    return reader && reader->op == VS_OP_ATTENTION && input == 2 ? t * t * c : 0;
}

/* ---- room beside the tensors */

static size_t scratch_attention(const vs_graph *g, const vs_node *n, const vs_backend *be, size_t images, size_t patches) {
    (void)images;
    return be->ops->attention_scratch(be, vs_value_rows(g, n->in[0], patches), n->heads);
}

static size_t scratch_join(const vs_graph *g, const vs_node *n, const vs_backend *be, size_t images, size_t patches) {
    (void)be;
    return images * vs_value_rows(g, n->in[0], patches) * vs_value_cols(g, n->in[0], patches);
}

static size_t scratch_mean(const vs_graph *g, const vs_node *n, const vs_backend *be, size_t images, size_t patches) {
    (void)be;
    (void)images;
    return patches * vs_value_cols(g, n->in[0], patches);
}

/* ---- the table */

enum { NONE = VS_NODE_INPUTS }; /* no input is given */

static const vs_op_row rows[] = {
    [VS_OP_PATCHIFY] = { "patchify", 1, 1, 0, 0, 0, false, vs_shape_patchify, vs_run_patchify, NULL, NULL },
    [VS_OP_LINEAR] = { "linear", 1, 1, 2, 1, NONE, false, vs_shape_linear, vs_run_linear, macs_linear, NULL },
    [VS_OP_TOKENS] = { "tokens", 1, 2, 3, 0, 1, false, vs_shape_tokens, vs_run_tokens, NULL, NULL },
    [VS_OP_JOIN] = { "join", 1, 1, 1, 0, NONE, true, vs_shape_join, vs_run_join, NULL, scratch_join },
    [VS_OP_LAYERNORM] = { "layernorm", 1, 1, 2, 0, NONE, true, vs_shape_layernorm, vs_run_layernorm, NULL, NULL },
    [VS_OP_ROPE] = { "rope", 3, 3, 0, 0, 1, false, vs_shape_rope, vs_run_rope, NULL, NULL },
    [VS_OP_OPERAND] = { "operand", 1, 1, 0, 0, NONE, true, vs_shape_same, vs_run_operand, macs_operand, NULL },
    [VS_OP_PROBS] = { "probs", 2, 2, 0, 0, NONE, false, vs_shape_probs, vs_run_probs, NULL, NULL },
    [VS_OP_ATTENTION] = { "attention", 4, 4, 0, 0, NONE, false, vs_shape_attention, vs_run_attention, NULL, scratch_attention },
    [VS_OP_GELU] = { "gelu", 1, 1, 0, 0, NONE, true, vs_shape_same, vs_run_gelu, NULL, NULL },
    [VS_OP_GELU_TANH] = { "gelu_tanh", 1, 1, 0, 0, NONE, true, vs_shape_same, vs_run_gelu_tanh, NULL, NULL },
    [VS_OP_SILU_MUL] = { "silu_mul", 1, 1, 0, 0, NONE, false, vs_shape_silu_mul, vs_run_silu_mul, NULL, NULL },
    [VS_OP_SCALE_ADD] = { "scale_add", 2, 2, 1, 1, NONE, true, vs_shape_scale_add, vs_run_scale_add, NULL, NULL },
    [VS_OP_ROWS] = { "rows", 1, 1, 0, 0, NONE, false, vs_shape_rows, vs_run_rows, NULL, NULL },
    [VS_OP_STACK] = { "stack", 1, VS_NODE_INPUTS, 0, 0, NONE, false, vs_shape_stack, vs_run_stack, NULL, NULL },
    [VS_OP_CONCAT] = { "concat", 1, VS_NODE_INPUTS, 0, 0, NONE, false, vs_shape_concat, vs_run_concat, NULL, NULL },
    [VS_OP_MEAN] = { "mean", 2, 2, 0, 0, 1, false, vs_shape_mean, vs_run_mean, NULL, scratch_mean },
    [VS_OP_AFFINE] = { "affine", 1, 1, 2, 0, NONE, true, vs_shape_affine, vs_run_affine, NULL, NULL },
    [VS_OP_UNFOLD] = { "unfold", 1, 1, 0, 0, NONE, false, vs_shape_unfold, vs_run_unfold, NULL, NULL },
    [VS_OP_DEPTHWISE] = { "depthwise", 1, 1, 1, 0, NONE, false, vs_shape_depthwise, vs_run_depthwise, NULL, NULL },
    [VS_OP_PRODUCT] = { "product", 2, 2, 0, 0, NONE, false, vs_shape_product, vs_run_product, NULL, NULL },
    [VS_OP_SOFTMAX] = { "softmax", 1, 1, 0, 0, NONE, false, vs_shape_same, vs_run_softmax, NULL, NULL },
    [VS_OP_SCORES] = { "scores", 2, 2, 0, 0, NONE, false, vs_shape_scores, vs_run_scores, NULL, NULL },
    [VS_OP_RESULT] = { "result", 1, 1, 0, 0, NONE, true, vs_shape_same, vs_run_operand, NULL, NULL },
};
_Static_assert(sizeof rows / sizeof *rows == VS_OP_COUNT, "a row for every operation");

const vs_op_row *vs_op_row_of(vs_op op) { return &rows[op]; }
const char *vs_op_name(vs_op op) { return rows[op].name; }

double vs_node_macs(const vs_graph *g, size_t node, size_t patches) {
    const vs_node *n = &g->nodes[node];
    return rows[n->op].macs ? rows[n->op].macs(g, n, patches) : 0;
}

size_t vs_node_scratch(const vs_graph *g, size_t node, const vs_backend *be, size_t images, size_t patches) {
    const vs_node *n = &g->nodes[node];
    return rows[n->op].scratch ? rows[n->op].scratch(g, n, be, images, patches) : 0;
}

void vs_node_compute(const vs_node_work *o) { rows[o->node->op].run(o); }
