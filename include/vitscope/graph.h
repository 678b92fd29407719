/* A model as data: nodes in execution order, the values that they read and give, the parameters that they use, the segments that
 * they stand in. A graph is built once, checked once and constant from then on; every walker (forward, half machine, arena, MACs,
 * names) reads it. docs/architecture.md, "The model is a table".
 *
 * Shapes: B images, a patch grid of h x w, N = h * w. A row rule says which rows a value has of each image, a column extent how
 * many columns; both are known once N is. */
#ifndef VITSCOPE_GRAPH_H
#define VITSCOPE_GRAPH_H

#include "vitscope/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "No node, value, parameter or site." */
#define VS_NONE SIZE_MAX

/* ------------------------------------------------------------------ labels */

/* What a node is called in tables and charts; nothing is computed from it. */
typedef enum vs_kind {
    VS_KIND_PATCH_EMBED, /* patch_embed.proj */
    VS_KIND_EMBED,       /* embed: tokens before block 0 */
    VS_KIND_QKV,
    VS_KIND_Q,
    VS_KIND_K,
    VS_KIND_V,
    VS_KIND_P, /* attention probabilities; shown only by sessions that keep them */
    VS_KIND_PROJ,
    VS_KIND_FC1,
    VS_KIND_FC2,
    VS_KIND_BLOCK, /* blocks.N: residual stream after the block */
    VS_KIND_NORM,  /* norm: all final-normed tokens */
    VS_KIND_HEAD,  /* the linear that gives classes */
    VS_KIND_MASK1, /* a mask head's linears */
    VS_KIND_MASK2,
    VS_KIND_MASK3,
    VS_KIND_UP1, /* a mask head's upscaling products */
    VS_KIND_UP2,
    VS_KIND_UP3,
    VS_KIND_MASKS,  /* mask logits */
    VS_KIND_LOGITS, /* what the head gives at its own resolution */
    VS_KIND_NONE    /* a node without a name of its own in tables */
} vs_kind;

bool vs_kind_is_linear(vs_kind kind);   /* has a weight */
bool vs_kind_is_head(vs_kind kind);     /* a linear of the head */
bool vs_kind_is_operand(vs_kind kind);  /* q, k, v or p */
const char *vs_kind_name(vs_kind kind); /* "attn.qkv", ... */

/* ------------------------------------------------------------------ rows and columns */

/* Rows of one image that belong together: `count` rows "reg0", "reg1", ... or, count 0, the cells of a grid
 * (h << level) x (w << level), "patch(3,7)". */
typedef struct vs_row_part {
    const char *name;
    bool numbered; /* else the name alone */
    size_t count, level;
} vs_row_part;

enum { VS_ROW_PARTS = 4 };

/* The rows that a value has of each image, in order; `times`: all of them so often (heads). */
typedef struct vs_row_rule {
    vs_row_part parts[VS_ROW_PARTS];
    size_t part_count, times;
} vs_row_rule;

size_t vs_rule_rows(const vs_row_rule *rule, size_t patches);
/* Rows before part `part` of one round, and how many it has. */
size_t vs_rule_first(const vs_row_rule *rule, size_t part, size_t patches);
size_t vs_part_rows(const vs_row_part *part, size_t patches);
/* Where `inner`'s parts stand among `outer`'s, one after the other; VS_NONE: they do not. */
size_t vs_rule_find(const vs_row_rule *outer, const vs_row_rule *inner);
/* The part that is the patch grid; VS_NONE: there is none. */
size_t vs_rule_patches(const vs_row_rule *rule);
/* The name of a row of one round; what stands behind a grid has none, and is taken for it. */
void vs_rule_name(const vs_row_rule *rule, size_t row, size_t grid_w, char *text, size_t size);

/* fixed + cells * N. */
typedef struct vs_extent {
    size_t fixed, cells;
} vs_extent;

/* ------------------------------------------------------------------ parameters */

/* How a parameter comes about. Folds are computed in float64 where weights are bound, from parameters `from`. */
typedef enum vs_fold {
    VS_FOLD_TENSOR,    /* read from the file */
    VS_FOLD_PREFIX,    /* class token, registers: one under the other, with the first rows of the positions added (from[2]) */
    VS_FOLD_TOKENS,    /* the same without positions */
    VS_FOLD_POSITIONS, /* the positions of those rows, 0 where they have none */
    VS_FOLD_SCALE,     /* BatchNorm: gain / sqrt(variance + eps) */
    VS_FOLD_SHIFT      /* shift - mean * scale (docs/vit-models.md 5.1) */
} vs_fold;

enum { VS_FOLD_SOURCES = 4 };

typedef struct vs_param {
    char name[64]; /* "blocks.3.attn.qkv.weight" */
    size_t rows, cols;
    bool optional; /* may be absent: no bias */
    vs_fold fold;
    size_t from[VS_FOLD_SOURCES]; /* class token, registers, positions; gain, shift, mean, variance; VS_NONE: there is none */
    double eps;                   /* of VS_FOLD_SCALE and VS_FOLD_SHIFT */
} vs_param;

/* ------------------------------------------------------------------ values */

/* What a session knows of itself and fills once. */
typedef enum vs_given {
    VS_GIVEN_NOT,
    VS_GIVEN_PIXELS,    /* [B*3, H*W]: uploaded before a pass */
    VS_GIVEN_POSITIONS, /* [N, C], of the session, not of an image; as the next ones */
    VS_GIVEN_COSINES,   /* [N, D/2] */
    VS_GIVEN_SINES,
    VS_GIVEN_MEAN /* [N, N] of 1/N */
} vs_given;

typedef struct vs_value {
    size_t rows; /* of the graph's rules */
    vs_extent cols;
    size_t producer; /* node; VS_NONE: given */
    vs_given given;
    size_t param;    /* that a given value is made from: positions, periods; VS_NONE */
    size_t alias;    /* the value whose memory this one writes over; VS_NONE: its own */
    size_t view;     /* the value that this one is columns of; VS_NONE */
    size_t column;   /* the first of them */
    bool optional;   /* only sessions that keep probabilities have it */
    bool passing;    /* nothing reads it behind its last reader: sessions may put others in its place within a segment */
    size_t last;     /* the last node that reads it, or its producer */
    size_t root, at; /* the value whose memory this is, behind aliases and views, and the first column there */
} vs_value;

/* ------------------------------------------------------------------ nodes */

/* Operations: one row each of graph/operations.c. x is the first input, y the output; what a line calls by a letter is a
 * parameter. */
typedef enum vs_op {
    VS_OP_PATCHIFY,  /* pixels to rows of 3 p p */
    VS_OP_LINEAR,    /* y = x w^T + b */
    VS_OP_TOKENS,    /* prefix rows in front of each image's patches, to which positions are added */
    VS_OP_JOIN,      /* rows of a parameter in front of each image's */
    VS_OP_LAYERNORM, /* y = (x - mean) / sqrt(var + eps) * g + b; y may have some of x's rows */
    VS_OP_ROPE,      /* the patches rotated */
    VS_OP_OPERAND,   /* y is x: a factor of a product of two activations, and a quantizer's place */
    VS_OP_PROBS,     /* p = softmax(q k^T / sqrt(D)), head by head */
    VS_OP_ATTENTION, /* y = p v; of q, k, v where p is not kept */
    VS_OP_GELU,      /* x (1 + erf(x / sqrt 2)) / 2 */
    VS_OP_GELU_TANH, /* its tanh form */
    VS_OP_SILU_MUL,  /* silu(x1) x2 of [x1 | x2] */
    VS_OP_SCALE_ADD, /* y = x + gamma u, over x; gamma may be absent */
    VS_OP_ROWS,      /* some of x's rows */
    VS_OP_STACK,     /* the inputs' rows under each other, image by image */
    VS_OP_CONCAT,    /* the inputs' columns side by side */
    VS_OP_MEAN,      /* the mean of x's patches */
    VS_OP_AFFINE,    /* y = x scale + shift: a BatchNorm with its stored statistics */
    VS_OP_UNFOLD,    /* 4C columns of a cell to C columns of its four cells */
    VS_OP_DEPTHWISE, /* 3x3 convolution in each channel, zeros around */
    VS_OP_PRODUCT,   /* y = x u^T, image by image */
    VS_OP_SOFTMAX,   /* of each row */
    VS_OP_SCORES,    /* y = sigmoid(x) u, image by image */
    VS_OP_RESULT,    /* y is x, what the model gives */
    VS_OP_COUNT
} vs_op;

const char *vs_op_name(vs_op op);

/* Which of a node's tensors a tap is shown. */
typedef enum vs_shown { VS_SHOW_NOTHING, VS_SHOW_OUTPUT, VS_SHOW_BOTH } vs_shown;

/* What a quantizer stands at. */
typedef enum vs_site_what {
    VS_SITE_LINEAR, /* a linear's weight and input */
    VS_SITE_OPERAND /* an operand */
} vs_site_what;

enum { VS_NODE_INPUTS = 6, VS_NODE_PARAMS = 3 };

typedef struct vs_node {
    vs_op op;
    vs_kind kind;
    int block; /* -1 outside blocks */
    char name[48];
    vs_shown shown;
    char label[48]; /* of what is shown, in tables: "blocks.3" of "blocks.3.add2"; else the name */
    size_t in[VS_NODE_INPUTS], in_count, out;
    size_t param[VS_NODE_PARAMS]; /* VS_NONE: absent */
    size_t heads;                 /* of attention and what belongs to it */
    size_t patch;                 /* VS_OP_PATCHIFY: pixels of a side */
    size_t level;                 /* VS_OP_UNFOLD, VS_OP_DEPTHWISE: of the grid that is read */
    double eps;
    bool halves;   /* VS_OP_LINEAR: its rows are those of two modules, a gate and what it multiplies */
    bool by_image; /* products of few rows, whose last bits may depend on their number: one an image */
    size_t segment, site;
} vs_node;

/* Nodes between two places where only carried values live: the embedding, each block, the head. */
typedef struct vs_segment {
    size_t first, end; /* nodes */
    size_t stream;     /* the residual stream behind it; VS_NONE of the last */
} vs_segment;

/* A place for a quantizer. */
typedef struct vs_place {
    size_t node;
    vs_site_what what;
} vs_place;

typedef struct vs_graph {
    vs_row_rule *rules;
    vs_value *values;
    vs_param *params;
    vs_node *nodes;
    vs_segment *segments;
    vs_place *sites; /* in the order of their nodes */
    size_t rule_count, value_count, param_count, node_count, segment_count, site_count;
    size_t output; /* the value that a study compares */
} vs_graph;

void vs_graph_free(vs_graph *graph);

/* Refuses what cannot be walked: a value that is read before it is given, twice given or given by nobody; shapes that do not
 * meet; a tensor that another node still reads, written over; values of a segment read outside it. VS_ERR_FORMAT names the node.
 * Fills what follows from the rest: producers, last readers, segments and sites of nodes. */
VS_NODISCARD vs_status vs_graph_check(vs_graph *graph, vs_error *err);

/* The node of a label; VS_NONE: there is none. */
size_t vs_graph_find(const vs_graph *graph, vs_kind kind, int block);
/* The parameter of a name; VS_NONE. */
size_t vs_graph_param(const vs_graph *graph, const char *name);
/* The linear that gives what a node reads, behind views, rotations and operands; a linear itself. VS_NONE: there is none. */
size_t vs_graph_linear_of(const vs_graph *graph, size_t node);
/* The attention that an operand is of: the next behind it; VS_NONE: there is none. */
size_t vs_graph_attention_of(const vs_graph *graph, size_t node);
/* The norm whose output a node alone reads, and whose parameters are no other norm's; VS_NONE. */
size_t vs_graph_norm_of(const vs_graph *graph, size_t node);
/* The segment of a block. */
size_t vs_graph_block(const vs_graph *graph, size_t block);
/* The first value of `given`; VS_NONE. */
size_t vs_graph_given(const vs_graph *graph, vs_given given);
/* Rows for one image and columns of a value on N patches. Values of the session have their rows once whatever the images. */
size_t vs_value_rows(const vs_graph *graph, size_t value, size_t patches);
size_t vs_value_cols(const vs_graph *graph, size_t value, size_t patches);
const vs_row_rule *vs_value_rule(const vs_graph *graph, size_t value);
/* Most reals of one image that the input, or the output, of a site has; probabilities do not count. */
size_t vs_graph_site_reals(const vs_graph *graph, size_t patches, bool input);
/* Of one image: multiply-accumulates of a node on N patches; what an operand stands for where it is a factor (docs/study.md 1).
 */
double vs_node_macs(const vs_graph *graph, size_t node, size_t patches);

/* ------------------------------------------------------------------ operations at work */

/* A node's tensors. Inputs and output as the graph says; what is absent has p NULL. */
typedef struct vs_node_work {
    const vs_backend *backend;
    const vs_graph *graph;
    const vs_node *node;
    size_t images, grid_h, grid_w;
    vs_mat in[VS_NODE_INPUTS], out;
    const void *param[VS_NODE_PARAMS];
    void *scratch; /* vs_node_scratch reals */
} vs_node_work;

/* Reals that a node needs beside its tensors. */
size_t vs_node_scratch(const vs_graph *graph, size_t node, const vs_backend *backend, size_t images, size_t patches);
void vs_node_compute(const vs_node_work *operation);

#ifdef __cplusplus
}
#endif
#endif
