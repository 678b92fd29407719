/* The half machine (docs/fp16-reference.md 1 to 3): a model run as an engine runs it in half precision, row by row. A row is one
 * operation whose result an engine may store in half; a policy says which operations are one and which are taken apart.
 *
 * The float model runs the same rows beside it, so that every row has an SQNR, those inside a decomposed norm too. */
#ifndef VS_HALF_H
#define VS_HALF_H

#include "config/config.h"
#include "vitscope/vit.h"

/* Rows of one norm, in execution order; fused: OUT alone. */
enum {
    VS_NORM_MEAN,
    VS_NORM_CENTER,
    VS_NORM_SQUARE,
    VS_NORM_VAR,
    VS_NORM_EPS,
    VS_NORM_STD,
    VS_NORM_DIV,
    VS_NORM_MUL,
    VS_NORM_OUT,
    VS_NORM_ROWS
};

/* Rows of one GELU; fused: OUT alone. */
enum { VS_GELU_DIV, VS_GELU_ERF, VS_GELU_ONE, VS_GELU_MUL, VS_GELU_OUT, VS_GELU_ROWS };

/* Rows of one of EoMT's upscale blocks. */
enum { VS_UP_CONV1, VS_UP_ACT, VS_UP_CONV2 = VS_UP_ACT + VS_GELU_ROWS, VS_UP_NORM, VS_UP_ROWS = VS_UP_NORM + VS_NORM_ROWS };

/* Every row of every model in execution order: before the blocks, of a block, behind them. A model has those of its parts. */
typedef enum vs_half_row {
    VS_ROW_PATCH_EMBED,
    VS_ROW_TOKENS,
    VS_ROW_POS_ADD,
    VS_ROW_QUERIES, /* EoMT: they join in front of the tokens; of one block */
    VS_ROW_NORM1,
    VS_ROW_QKV = VS_ROW_NORM1 + VS_NORM_ROWS,
    VS_ROW_ROPE_Q,
    VS_ROW_ROPE_K,
    VS_ROW_QSCALE,
    VS_ROW_KSCALE,
    VS_ROW_SCORES,
    VS_ROW_SCALE,
    VS_ROW_SOFTMAX_SUB,
    VS_ROW_SOFTMAX_EXP,
    VS_ROW_SOFTMAX,
    VS_ROW_PV,
    VS_ROW_PROJ,
    VS_ROW_LS1,
    VS_ROW_ADD1,
    VS_ROW_NORM2,
    VS_ROW_FC1 = VS_ROW_NORM2 + VS_NORM_ROWS, /* SwiGLU: w12, or w1 */
    VS_ROW_W2,                                /* where it is a module of its own */
    VS_ROW_GELU_DIV,
    VS_ROW_GELU_ERF,
    VS_ROW_GELU_ONE,
    VS_ROW_GELU_MUL,
    VS_ROW_GELU_OUT,
    VS_ROW_SIGMOID,
    VS_ROW_SILU,
    VS_ROW_GATE,
    VS_ROW_FC2, /* SwiGLU: w3 */
    VS_ROW_LS2,
    VS_ROW_ADD2,
    VS_ROW_MAP_PREFIX_NORM, /* of a block that the head reads, other than the last: the final norms */
    VS_ROW_MAP_NORM = VS_ROW_MAP_PREFIX_NORM + VS_NORM_ROWS,
    VS_ROW_PREFIX_NORM = VS_ROW_MAP_NORM + VS_NORM_ROWS, /* of class and register tokens, where it is their own */
    VS_ROW_NORM = VS_ROW_PREFIX_NORM + VS_NORM_ROWS,
    VS_ROW_NORM_CAT = VS_ROW_NORM + VS_NORM_ROWS, /* both, where they are the model's output */
    VS_ROW_HEAD_MEAN,
    VS_ROW_HEAD_BN,
    VS_ROW_HEAD_CONV, /* the head's linear: conv_seg, a classifier's, EoMT's class head */
    VS_ROW_MASK1,
    VS_ROW_MASK_GELU1,
    VS_ROW_MASK2 = VS_ROW_MASK_GELU1 + VS_GELU_ROWS,
    VS_ROW_MASK_GELU2,
    VS_ROW_MASK3 = VS_ROW_MASK_GELU2 + VS_GELU_ROWS,
    VS_ROW_UP,                                                /* VS_UP_ROWS of each upscale block */
    VS_ROW_EINSUM = VS_ROW_UP + VS_MAX_UPSCALES * VS_UP_ROWS, /* mask logits */
    VS_ROW_CLASS_SCORES, /* what is compared at EoMT's output: of stored masks and classes, in float32 always */
    VS_ROW_COUNT,
    VS_ROW_BLOCK_FIRST = VS_ROW_QUERIES,
    VS_ROW_BLOCK_LAST = VS_ROW_PREFIX_NORM - 1
} vs_half_row;

/* Rows that the arrays of a model have room for, and where one of them stands among these; `block` matters to rows of a block. */
size_t vs_half_row_count(const vs_arch *arch);
size_t vs_half_row_index(const vs_arch *arch, vs_half_row row, size_t block);
/* Queries in front of the tokens of a block. */
size_t vs_half_queries_at(const vs_arch *arch, size_t block);
/* The row at an index; *block is -1 outside blocks. */
vs_half_row vs_half_row_at(const vs_arch *arch, size_t index, int *block);
/* The index of the row that gives the model's output (what a study compares there), the last of a pass. */
size_t vs_half_output_index(const vs_arch *arch);
/* Row `part` (VS_UP_CONV1, ...) of an upscale block. */
vs_half_row vs_half_up_row(size_t upscale, size_t part);
/* The first row of the norm, or of the GELU, that a row belongs to; VS_ROW_COUNT: of none. */
vs_half_row vs_half_norm_of(vs_half_row row);
vs_half_row vs_half_gelu_of(vs_half_row row);
/* "blocks.3.norm1.square". A fused GELU's only row is "mlp.gelu", a fused SiLU's "mlp.silu", a softmax's with float32 inside
 * "attn.softmax". */
void vs_half_row_name(const vs_arch *arch, const vs_policy_config *policy, size_t index, char *text, size_t size);
/* Row `row` of an image's matrix at `index` in words: "cls", "patch(3,7)", "query2", "pixel(1,1)". tokens: vs_session_tokens. */
void vs_half_place_name(const vs_arch *arch, size_t index, size_t row, size_t grid_w, size_t tokens, char *text, size_t size);

/* ---- weights ---- */

/* Of rows of one kind: the model's own for float32 rows, or stored in half. */
typedef struct vs_half_set {
    vs_weights w;
    vs_mat constants; /* [1, VS_CONSTANTS] */
} vs_half_set;

enum {
    VS_CONSTANT_EPS,
    VS_CONSTANT_HEAD_EPS, /* of EoMT's upscale blocks */
    VS_CONSTANT_SQRT2,
    VS_CONSTANT_ONE,
    VS_CONSTANT_HALF,
    VS_CONSTANT_SCALE,
    VS_CONSTANT_ROOT,
    VS_CONSTANTS
};

typedef struct vs_half_weights {
    const vs_backend *backend;
    vs_half_format format;
    vs_half_set f32, half;
    const void **params; /* of `half` */
    void **owned;        /* backend memory */
    size_t owned_count, capacity;
} vs_half_weights;

/* The largest finite number of fp16 or bf16. */
double vs_half_largest(vs_half_format format);

/* From bound weights, which must outlive them. */
VS_NODISCARD vs_status vs_half_weights_create(vs_half_weights **out, const vs_weights *base, vs_half_format format,
                                              vs_error *err);
void vs_half_weights_free(vs_half_weights *weights);

/* A tensor with weights that the format cannot hold. */
typedef struct vs_half_weight_note {
    char tensor[64];       /* "blocks.0.attn.qkv.weight", "blocks.3.ls1" */
    uint64_t inf, flushed; /* too large; non-zero and stored as 0 */
    size_t of;             /* numbers in it */
    double max;            /* max |w| of all of it */
} vs_half_weight_note;

/* Those of a model, in its order; the caller frees *notes, after an error too. */
VS_NODISCARD vs_status vs_half_note_weights(vs_half_weight_note **notes, size_t *count, const vs_model *model,
                                            vs_half_format format, vs_error *err);

/* ---- forward ---- */

enum { VS_HALF_INPUTS = 2, VS_HALF_PARTS = 3 };

/* What one row did in one image. */
typedef struct vs_half_seen {
    bool seen;                           /* the policy has this row */
    vs_half_counts stored;               /* its result */
    vs_half_counts cast[VS_HALF_INPUTS]; /* inputs that were stored in float32, rounded by this row */
    vs_error_sums error[VS_HALF_PARTS];  /* against the float run; attn.qkv: of q, k and v */
} vs_half_seen;

/* How many of `error` count. */
size_t vs_half_seen_parts(const vs_half_seen *seen);

/* A named tensor of the policy's run, as of vs_tap, and the float run's; x.p is NULL where no float run is beside it. The tensors
 * must not be changed. A softmax that is not stored has no VS_KIND_P. */
typedef vs_status (*vs_half_tap_fn)(void *context, const vs_tap *tap, vs_mat x, vs_error *err);

typedef struct vs_half_real vs_half_real; /* real.h */

/* The stream in front of blocks, as a pass keeps it and others begin with it. */
typedef struct vs_half_streams {
    void *const *at; /* [images * depth]: backend memory, [T, C] each; NULL: that one is not kept */
    bool keep;       /* the pass writes them */
    size_t first; /* the block that the pass begins with, all rows in front of it being those of the pass that kept; 0: pixels */
} vs_half_streams;

/* A policy at work on a model. */
typedef struct vs_half_model {
    const vs_half_weights *weights;
    const vs_policy_config *policy;
    const vs_half_real *real;       /* half kernels instead of the emulation (real.h); NULL: none */
    const bool *float32;            /* [vs_half_row_count]: further rows in float32; NULL: none */
    bool counts_only;               /* `seen` gets counts and no comparison: no float run beside it */
    const vs_half_streams *streams; /* NULL: none; else counts_only and vs_half_can_resume */
    double largest;     /* the pass ends with the first block where a half row holds more than this, or an overflow; 0: never */
    vs_half_tap_fn tap; /* of the emulation; NULL: no tensor is shown */
    void *tap_context;
} vs_half_model;

/* Blocks hand over their stream and nothing else: no queries that join on the way, a head on the last block alone. */
bool vs_half_can_resume(const vs_arch *arch);
/* Reals of session scratch that a forward pass takes (the float run's rows included). */
size_t vs_half_scratch(const vs_graph *graph, size_t patches, size_t images);
/* pixels as of vs_forward. The output (in float32 what half stores) goes to where vs_session_output and, for EoMT,
 * vs_session_masks and vs_session_class_probs have it; what session streams held is lost. seen: NULL, or for each image an array
 * [vs_half_row_count] that the float run's comparison and counts are written to and that must stay until the backend's sync. */
VS_NODISCARD vs_status vs_half_forward(vs_session *session, const vs_half_model *model, const float *pixels,
                                       vs_half_seen *const *seen, vs_error *err);

#endif
