/* The half machine (docs/fp16-reference.md 1 to 3): a model run as an engine runs it in half precision, row by row. A row is one
 * operation whose result an engine may store in half; a policy says which operations are one and which are taken apart.
 *
 * The float model runs the same rows beside it, so that every row has an SQNR, those inside a decomposed norm too. */
#ifndef VS_HALF_H
#define VS_HALF_H

#include "config/config.h"
#include "vitscope/vit.h"

/* ---- rows ---- */

/* Every row that any policy may have of a graph's operations, in execution order; their number is an index everywhere. */
typedef struct vs_half_rows vs_half_rows;

VS_NODISCARD vs_status vs_half_rows_create(vs_half_rows **out, const vs_graph *graph, vs_error *err);
void vs_half_rows_free(vs_half_rows *rows);
size_t vs_half_row_count(const vs_half_rows *rows);
/* The first row of a node or, where that has none, of those behind it; `node` may be the number of nodes. */
size_t vs_half_first_row(const vs_half_rows *rows, size_t node);
/* The row that gives the model's output (what a study compares there), the last of a pass. */
size_t vs_half_output_row(const vs_half_rows *rows);
/* Made outside, in float32 always: what is compared at an output that the model has behind a resize. */
bool vs_half_is_outside(const vs_half_rows *rows, size_t row);
/* "blocks.3.norm1.square". A fused GELU's only row is "mlp.gelu", a fused SiLU's "mlp.silu", a softmax's with float32 inside
 * "attn.softmax". */
void vs_half_row_name(const vs_half_rows *rows, const vs_policy_config *policy, size_t row, char *text, size_t size);
/* Row `place` of an image's matrix in words: "cls", "patch(3,7)", "query2", "pixel(1,1)". */
void vs_half_place_name(const vs_half_rows *rows, size_t row, size_t place, size_t grid_h, size_t grid_w, char *text,
                        size_t size);

enum { VS_HALF_READS = 2 * VS_NODE_INPUTS };
/* Rows that a row reads, of those that are present [vs_half_row_count]: where a row is missing, what it would have read. Returns
 * how many. */
size_t vs_half_reads(const vs_half_rows *rows, const bool *present, size_t row, size_t out[VS_HALF_READS]);
/* Multiply-accumulates of a row for an image of N patches; 0 for what is no product. */
double vs_half_macs(const vs_half_rows *rows, size_t row, size_t patches);

/* ---- weights ---- */

/* Of rows of one kind: the model's own for float32 rows, or stored in half. */
typedef struct vs_half_set {
    vs_weights w;
    vs_mat constants; /* [1, constants of the rows] */
} vs_half_set;

typedef struct vs_half_weights {
    const vs_backend *backend;
    vs_half_format format;
    vs_half_rows *rows; /* of the model's graph */
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
    void *const *at; /* [images * blocks]: backend memory, [T, C] each; NULL: that one is not kept */
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

/* How many blocks a stream stands in front of: segments between the embedding and the head. */
size_t vs_half_blocks(const vs_graph *graph);
/* Segments hand on their stream, which has the same rows everywhere, and nothing else. */
bool vs_half_can_resume(const vs_graph *graph);
/* Reals of session scratch that a forward pass takes (the float run's rows included). */
size_t vs_half_scratch(const vs_graph *graph, size_t patches, size_t images);
/* pixels as of vs_forward. The output (in float32 what half stores) goes to where the session has it and, where it is scored from
 * others, these too; what session streams held is lost. seen: NULL, or for each image an array
 * [vs_half_row_count] that the float run's comparison and counts are written to and that must stay until the backend's sync. */
VS_NODISCARD vs_status vs_half_forward(vs_session *session, const vs_half_model *model, const float *pixels,
                                       vs_half_seen *const *seen, vs_error *err);

#endif
