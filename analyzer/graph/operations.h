/* The table of operations: all that is particular to one, a row each. */
#ifndef VS_OPERATIONS_H
#define VS_OPERATIONS_H

#include "vitscope/graph.h"

typedef struct vs_op_row {
    const char *name;
    size_t least, most;     /* inputs */
    size_t params, missing; /* parameters, and how many of the last of them may be absent */
    size_t given;           /* the first input that the session is given (vs_given): it and those behind it are, none before it */
    bool over;              /* the output may stand where the first input stood */
    /* Whether the shapes meet; NULL: what does not, in a few words. Inputs, parameters and output are there. */
    const char *(*shape)(const vs_graph *graph, const vs_node *node);
    void (*run)(const vs_node_work *operation);
    double (*macs)(const vs_graph *graph, const vs_node *node, size_t patches); /* NULL: none */
    size_t (*scratch)(const vs_graph *graph, const vs_node *node, const vs_backend *be, size_t images, size_t patches); /* NULL */
} vs_op_row;

const vs_op_row *vs_op_row_of(vs_op op);

/* ---- shapes.c: NULL where they meet */
const char *vs_shape_patchify(const vs_graph *g, const vs_node *n);
const char *vs_shape_linear(const vs_graph *g, const vs_node *n);
const char *vs_shape_tokens(const vs_graph *g, const vs_node *n);
const char *vs_shape_join(const vs_graph *g, const vs_node *n);
const char *vs_shape_layernorm(const vs_graph *g, const vs_node *n);
const char *vs_shape_rope(const vs_graph *g, const vs_node *n);
const char *vs_shape_same(const vs_graph *g, const vs_node *n);
const char *vs_shape_probs(const vs_graph *g, const vs_node *n);
const char *vs_shape_attention(const vs_graph *g, const vs_node *n);
const char *vs_shape_silu_mul(const vs_graph *g, const vs_node *n);
const char *vs_shape_scale_add(const vs_graph *g, const vs_node *n);
const char *vs_shape_rows(const vs_graph *g, const vs_node *n);
const char *vs_shape_stack(const vs_graph *g, const vs_node *n);
const char *vs_shape_concat(const vs_graph *g, const vs_node *n);
const char *vs_shape_mean(const vs_graph *g, const vs_node *n);
const char *vs_shape_affine(const vs_graph *g, const vs_node *n);
const char *vs_shape_unfold(const vs_graph *g, const vs_node *n);
const char *vs_shape_depthwise(const vs_graph *g, const vs_node *n);
const char *vs_shape_product(const vs_graph *g, const vs_node *n);
const char *vs_shape_scores(const vs_graph *g, const vs_node *n);

/* ---- run_tokens.c, run_attention.c, run_layers.c */
void vs_run_patchify(const vs_node_work *o);
void vs_run_tokens(const vs_node_work *o);
void vs_run_join(const vs_node_work *o);
void vs_run_rows(const vs_node_work *o);
void vs_run_stack(const vs_node_work *o);
void vs_run_concat(const vs_node_work *o);
void vs_run_mean(const vs_node_work *o);
void vs_run_rope(const vs_node_work *o);
void vs_run_operand(const vs_node_work *o);
void vs_run_probs(const vs_node_work *o);
void vs_run_attention(const vs_node_work *o);
void vs_run_linear(const vs_node_work *o);
void vs_run_layernorm(const vs_node_work *o);
void vs_run_gelu(const vs_node_work *o);
void vs_run_gelu_tanh(const vs_node_work *o);
void vs_run_silu_mul(const vs_node_work *o);
void vs_run_scale_add(const vs_node_work *o);
void vs_run_affine(const vs_node_work *o);
void vs_run_unfold(const vs_node_work *o);
void vs_run_depthwise(const vs_node_work *o);
void vs_run_product(const vs_node_work *o);
void vs_run_softmax(const vs_node_work *o);
void vs_run_scores(const vs_node_work *o);

/* Rows of one image of a value's matrix. */
vs_mat vs_image_of(const vs_node_work *o, vs_mat all, size_t image);
/* Rows of part `part` of one image, or of all parts from it to before `end`. */
vs_mat vs_parts_of(const vs_node_work *o, size_t value, vs_mat all, size_t image, size_t part, size_t end);

#endif
