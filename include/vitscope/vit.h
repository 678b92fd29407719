/* Vision Transformers of the DINOv2 family and plain timm ViTs: model, weights on a backend, session, forward.
 *
 * The forward pass knows nothing of quantization. It shows every named tensor to a tap, which may read it or
 * change it in place; states, statistics and capture are built on that.
 *
 * Shapes: B images, N = h * w patch tokens, P = 1 + registers prefix tokens, T = P + N, C width, F hidden. */
#ifndef VITSCOPE_VIT_H
#define VITSCOPE_VIT_H

#include "vitscope/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ architecture */

/* How a code base resizes the position grid (docs/vit-models.md 3.2). */
typedef enum vs_position_mode {
    VS_POSITION_SIZE_ANTIALIAS, /* timm; DINOv2 with registers: a = -0.5, scale grid / h */
    VS_POSITION_OFFSET,         /* DINOv2 hub without registers: a = -0.75, scale grid / (h + 0.1) */
    VS_POSITION_SIZE,           /* Hugging Face DINOv2 without registers, ViT, DeiT: a = -0.75, scale grid / h */
    VS_POSITION_ROPE            /* DINOv3: nothing is added, q and k are rotated (2.5) */
} vs_position_mode;

/* Where the periods of rotary positions come from. */
typedef enum vs_rope_periods {
    VS_ROPE_FOUND,   /* the file's where it has them, else computed */
    VS_ROPE_FILE,    /* DINOv3 hub: rounded to bfloat16 in the published files */
    VS_ROPE_COMPUTED /* Hugging Face, timm: theta^(2k / (D/2)), rounded to float32 */
} vs_rope_periods;

/* What multiplies the qkv bias where the file has a mask (DINOv3 hub, docs/vit-models.md 2.5). */
typedef enum vs_bias_mask {
    VS_BIAS_MASK_FILE,    /* the file's; NaN in it, as of models saved before their mask was set, is an error */
    VS_BIAS_MASK_INTENDED /* 1 for q and v, 0 for k, whatever the file says */
} vs_bias_mask;

/* What stands between a block's two feed-forward layers (docs/vit-models.md 2.4). */
typedef enum vs_ffn {
    VS_FFN_GELU,      /* fc2(gelu(fc1 x)), erf */
    VS_FFN_GELU_TANH, /* the same with GELU's tanh form */
    VS_FFN_SWIGLU     /* w3(silu(x1) * x2), [x1 | x2] = w12 x: packed, the gate first */
} vs_ffn;

/* EOMT: mask classification by queries that pass through the last blocks with the tokens (docs/vit-models.md 5.6). */
typedef enum vs_head_kind { VS_HEAD_NONE, VS_HEAD_SEGMENTATION, VS_HEAD_CLASSIFIER, VS_HEAD_EOMT } vs_head_kind;

typedef struct vs_arch {
    const char *layout;                                   /* a name of vs_layout_name */
    char name[64];                                        /* "vit_ti14", "dinov2_vitb14_reg", ... */
    size_t width, depth, heads, hidden, patch, registers; /* hidden: what fc2 or w3 reads */
    bool heads_guessed;                                   /* nobody said how many heads: taken from the width */
    size_t grid;                                          /* the stored position grid is grid x grid; 0 without one */
    size_t prefix_positions;                              /* stored positions of class and distillation token: 0, 1 or 2 */
    bool distilled;                                       /* the one register is DeiT's distillation token */
    vs_ffn ffn;
    bool gate_apart; /* SwiGLU: gate and linear half are modules of their own (w1, w2), not one w12 */
    bool layer_scale;
    bool prefix_norm; /* class and register tokens have a final norm of their own */
    vs_position_mode position;
    double rope_theta; /* of computed periods; 0 where the file's are used */
    double eps;        /* of every LayerNorm */
    vs_head_kind head;
    size_t head_maps;              /* blocks whose normed tokens the head reads: the last, or the last four, the earliest first */
    bool head_norm;                /* segmentation: BatchNorm in front of the 1x1 layer */
    bool head_mean;                /* classifier: the mean of the last block's patch tokens follows the class tokens */
    size_t head_width;             /* channels the head's linear reads; 0 without a head */
    size_t classes;                /* EoMT: without "no object", which its class head gives last */
    size_t queries;                /* EoMT: rows in front of every image's tokens from block depth - joint_blocks on; else 0 */
    size_t joint_blocks, upscales; /* EoMT: blocks that queries pass through; doublings of the patch grid */
} vs_arch;

/* ------------------------------------------------------------------ model (host, constant after loading) */

enum { VS_MAX_PARTS = 3, VS_MAX_MAPS = 4, VS_MASK_LINEARS = 3, VS_MAX_UPSCALES = 3 };

/* Module names in the user's file: one, or several whose rows follow each other (query, key and value). */
typedef struct vs_source {
    char *fqn[VS_MAX_PARTS];
    size_t count;
} vs_source;

/* A linear of a model as it stands: y = x w^T + b; w [out, in], b [out] or NULL. Borrowed. */
typedef struct vs_linear {
    float *w, *b;
    size_t out, in; /* 0: no linear */
    const vs_source *source;
} vs_linear;

typedef struct vs_tensor_use {
    char *name;
    bool used;
    const char *reason; /* why it was left out; NULL where it was not */
} vs_tensor_use;

typedef struct vs_model {
    vs_arch arch;
    char *path, sha256[65], dtypes[64]; /* dtypes: "F16 50, F32 126" */
    size_t parameters;                  /* in used tensors */
    char *prefix;                       /* of the backbone's tensors in the file, without wrappers: "teacher.backbone.", or "" */
    char *head_note;                    /* why a head of the backbone's own file was left out, or NULL */
    vs_tensor_use *tensors;             /* every tensor of the file */
    size_t tensor_count;
    char **missing; /* with options.shapes_only: tensors that the layout has and the file has not */
    size_t missing_count;
    char **class_names; /* from the file's metadata, or NULL */
    size_t class_name_count;
    int64_t *class_ids; /* [class_name_count]: their numbers in label maps, from a lightly-train file; else NULL */

    vs_graph *graph;
    float **params;     /* [graph->param_count]; NULL: absent, folded, or only shapes are known. How files' tensors become them:
                           docs/layouts.md */
    vs_source *sources; /* [graph->node_count], of linears */
} vs_model;

/* What the user's configuration says over what was found; zeros and NULLs mean "found". */
typedef struct vs_model_options {
    const char *layout; /* a name of vs_layout_name */
    const char *arch;
    size_t heads;
    double eps;
    const char *prefix;    /* which backbone of several: what its tensors' names begin with; ".": nothing */
    const char *head_path; /* a separate head file */
    bool no_head;          /* the backbone alone */
    const char *const
        *allow_unused; /* globs over names of tensors that may be left out though the model is another one without them */
    size_t allow_unused_count;
    vs_rope_periods rope;
    vs_bias_mask bias_mask;
    bool check_values; /* refuse NaN and infinite weights (named, with the count) */
    bool hash;         /* fill sha256 */
    bool shapes_only;  /* names and shapes: no values are read, what is missing is listed, heads may stay 0; such a model cannot
                          run */
} vs_model_options;

/* Reads a checkpoint. Every tensor of the model is used, or known to have no effect; a model with any other is refused, and so is
 * one of which config.json says that it is not built. Errors name the file and the tensor: VS_ERR_NOTFOUND, VS_ERR_CONFIG (an
 * option that does not fit it), VS_ERR_FORMAT (all else: broken, incomplete, not built). */
VS_NODISCARD vs_status vs_model_load(vs_model **out, const char *path, const vs_model_options *options, vs_error *err);
void vs_model_free(vs_model *model);
/* What was taken from the file, in one line: layout, prefix, heads, head, what was left out and why. The caller frees it; NULL:
 * no memory. */
char *vs_model_taken(const vs_model *model);

/* What config.json (timm's pretrained_cfg) or preprocessor_config.json beside the weights says of a model's input. */
typedef struct vs_input {
    const char *from;       /* the file's name, or NULL: nothing was said */
    double mean[3], std[3]; /* on the 0-255 scale; of pixels x the model gets (x - mean) / std */
    size_t height, width;   /* 0: not said */
} vs_input;
/* Of a checkpoint's path, file or folder. VS_ERR_FORMAT: values of a wrong kind; files that are not there say nothing. */
VS_NODISCARD vs_status vs_input_read(vs_input *out, const char *checkpoint, vs_error *err);
/* The same from the files' texts, either of which may be NULL; `path` is for messages. */
VS_NODISCARD vs_status vs_input_parse(vs_input *out, const char *config, const char *preprocessor, const char *path,
                                      vs_error *err);
/* Where a file of this name is published; false, and `text` untouched, for names that no publisher is known of. */
bool vs_published_name(const char *path, char *text, size_t size);
/* Layouts that can be read: "dinov2_hub", "hf_dinov2", ...; NULL past the last. */
const char *vs_layout_name(size_t index);
/* Side of the patch grid where no image is given: that of the stored positions, or of 224 pixels. */
size_t vs_arch_usual_grid(const vs_arch *arch);
/* Tokens of an image of h x w patches: class token, registers, patches (not queries). */
size_t vs_arch_tokens(const vs_arch *arch, size_t h, size_t w);
/* Columns of what fc1 (or w12) gives. */
size_t vs_arch_fc1_width(const vs_arch *arch);
/* A model without a head, with seeded random weights and positions for size x size images: for benchmarks and tests.
 * VS_ERR_NOTFOUND: no geometry of that name; VS_ERR_SHAPE: size is not a multiple of the patch. */
VS_NODISCARD vs_status vs_model_random(vs_model **out, const char *geometry, size_t size, uint64_t seed, vs_error *err);
/* Names of the geometries: "vitti14", "vits14", ...; NULL past the last. */
const char *vs_geometry_name(size_t index);

/* ------------------------------------------------------------------ tap points */

typedef struct vs_point {
    char name[48];
    vs_kind kind;
    int block; /* -1 outside blocks */
    size_t node;
    double macs; /* per image, 0 where nothing is multiplied */
} vs_point;

/* Points in execution order for an image of `patches` patches, attn.p among them where `probabilities`; the caller frees
 * *points. */
VS_NODISCARD vs_status vs_points_make(const vs_model *model, size_t patches, bool probabilities, vs_point **points, size_t *count,
                                      vs_error *err);
/* A kind's name in a model with its own feed-forward: "mlp.w12" and "mlp.w3" of SwiGLU. */
const char *vs_arch_kind_name(const vs_arch *arch, vs_kind kind);
/* The linear of a node; out is 0 where it is none (VS_NONE too). */
vs_linear vs_model_linear(const vs_model *model, size_t node);
/* Where a parameter stands, "blocks.3.ls1"; NULL: there is none of that name. */
float **vs_model_param(const vs_model *model, const char *name);
/* Numbers in the weight of the largest linear. */
size_t vs_largest_weight(const vs_graph *graph);
/* Names of a linear in the user's file, for a row of kind `kind`: an operand q, k or v that is a module of its own has that
 * one. */
size_t vs_linear_names(const vs_linear *linear, vs_kind kind, const char *names[VS_MAX_PARTS]);
bool vs_arch_gives_maps(const vs_arch *arch); /* a class for every pixel */
/* Sides of the grid of logits for a patch grid side; a mask head's is upscaled. */
size_t vs_arch_logits_side(const vs_arch *arch, size_t side);
/* Rows of one image of the tokens without queries ("cls", "reg0", "patch(3,7)"), and how many are in front of its patches. */
const vs_row_rule *vs_graph_tokens(const vs_graph *graph);
size_t vs_graph_prefix(const vs_graph *graph);

/* ------------------------------------------------------------------ weights on a backend */

typedef struct vs_linear_weights {
    vs_mat w;
    const void *b;
} vs_linear_weights;

/* A model's weights as a backend sees them. Copy the struct (and `params`) to run a variant: pointers are borrowed. */
typedef struct vs_weights {
    const vs_backend *backend;
    const vs_model *model;
    const void **params; /* [graph->param_count]: reals, folds computed; NULL: absent */
    void **owned;        /* backend memory this object frees */
    size_t owned_count;
} vs_weights;

/* Uploads what is not already readable by the backend (cpu reads the model's own float32 in place, so the model must
 * outlive the weights and must not change). */
VS_NODISCARD vs_status vs_weights_bind(vs_weights **out, const vs_backend *backend, const vs_model *model, vs_error *err);
void vs_weights_free(vs_weights *weights);
/* BatchNorm with its stored statistics as y = x * scale + shift (docs/vit-models.md 5.1). */
void vs_fold_batchnorm(const double *gain, const double *shift, const double *mean, const double *variance, double eps,
                       size_t count, double *scale, double *out_shift);
/* The weight and bias of a linear. */
vs_linear_weights vs_weights_linear(const vs_weights *weights, size_t node);

/* ------------------------------------------------------------------ session: one image size, mutable memory */

typedef struct vs_session vs_session;

enum { VS_MAX_SESSION_IMAGES = 64 }; /* of one size in one session, at most */

typedef struct vs_session_options {
    size_t images, height, width; /* height and width: multiples of the patch */
    size_t workspaces;            /* each keeps every value of a block until the next runs in it */
    size_t streams;               /* residual streams [B*T, C] */
    size_t scratch;               /* extra reals for the caller, from vs_session_scratch */
    bool probabilities;           /* attention keeps softmax(q k^T) in the workspace and shows it to the tap */
} vs_session_options;

/* Sizes one arena from the model and the image size and takes it at once; nothing is allocated afterwards. */
VS_NODISCARD vs_status vs_session_create(vs_session **out, const vs_weights *weights, const vs_session_options *options,
                                         vs_error *err);
/* The bytes of that arena, without taking it. */
VS_NODISCARD vs_status vs_session_bytes(size_t *bytes, const vs_weights *weights, const vs_session_options *options,
                                        vs_error *err);
/* Makes *session (NULL: a new one) fit other images, in the memory that it has where that is enough. What it held is lost; after
 * an error *session is NULL. */
VS_NODISCARD vs_status vs_session_fit(vs_session **session, const vs_weights *weights, const vs_session_options *options,
                                      vs_error *err);
void vs_session_free(vs_session *session);
size_t vs_session_tokens(const vs_session *session); /* rows of an image in the stream, where these are most */
size_t vs_session_images(const vs_session *session);
size_t vs_session_grid_h(const vs_session *session);
size_t vs_session_grid_w(const vs_session *session);
/* A value of the graph; workspace and stream matter to values of blocks and to those that segments hand on. p NULL: this session
 * does not keep it. */
vs_mat vs_session_value(const vs_session *session, size_t value, size_t workspace, size_t stream);
/* A value that the session was given, for tables; p NULL: the model has none. */
vs_mat vs_session_given(const vs_session *session, vs_given given);
/* A pass of the caller's that keeps nothing, in memory of its own: elements of that memory, where a value stands where others
 * stood that are no longer read. What a session is given is not among them. */
typedef struct vs_slot {
    size_t at, rows, cols, ld;
} vs_slot;
/* SIZE_MAX: no memory to plan with, or more than there can be. */
size_t vs_pass_elements(const vs_graph *graph, size_t patches, size_t images);
/* Of a session with scratch. False: the pass does not have this value (a given one, probabilities). */
size_t vs_session_pass_elements(const vs_session *session);
bool vs_session_pass_slot(const vs_session *session, size_t value, vs_slot *slot);
/* The residual stream behind the last segment that ran on it. */
vs_mat vs_session_stream(const vs_session *session, size_t index);
/* Gives stream `to` the rows of `from`, its contents undefined. */
void vs_session_shape_stream(vs_session *session, size_t from, size_t to);
/* Stream `from` to stream `to`, with all else that segments have handed on so far. */
void vs_session_copy_stream(vs_session *session, size_t from, size_t to);
void *vs_session_scratch(const vs_session *session);
vs_mat vs_session_patches(const vs_session *session); /* [B*N, 3*p*p]: patch_embed.proj's input, after vs_forward_embed */
/* What a study calls the model's output: the logits, or without a head the normed tokens. */
vs_mat vs_session_output(const vs_session *session);

/* ------------------------------------------------------------------ forward */

/* One tensor on its way. `input`: what the node is about to read (changing it changes the node's input); otherwise what it
 * gave. An operand is shown as both, input first. x holds the rows of all images. */
typedef struct vs_tap {
    vs_kind kind;
    int block;
    bool input;
    vs_mat x;
    size_t node;
} vs_tap;
typedef vs_status (*vs_tap_fn)(void *context, const vs_tap *tap, vs_error *err);
typedef struct vs_tapper {
    vs_tap_fn fn;
    void *context;
} vs_tapper; /* fn NULL: no tensor is shown */

/* pixels: host float32 [B, 3, height, width], normalised. Writes the tokens into stream `stream`. */
VS_NODISCARD vs_status vs_forward_embed(vs_session *session, const vs_weights *weights, const float *pixels, size_t stream,
                                        vs_tapper tapper, vs_error *err);
/* x of stream `stream` through block `block`, in place (docs/vit-models.md 2.4). */
VS_NODISCARD vs_status vs_forward_block(vs_session *session, const vs_weights *weights, size_t workspace, size_t stream,
                                        size_t block, vs_tapper tapper, vs_error *err);
/* The rest of a segment, from a node whose inputs the caller has already put, changed or not, into `workspace`. A linear is not
 * shown its input again. The stream holds what it holds where that node runs (vs_forward_advance). */
VS_NODISCARD vs_status vs_forward_from(vs_session *session, const vs_weights *weights, size_t workspace, size_t stream,
                                       size_t node, vs_tapper tapper, vs_error *err);
/* A stream as it stood in front of the node's segment to what it is where the node runs, by what `workspace` kept of the segment:
 * only what is added on the way is computed. */
void vs_forward_advance(vs_session *session, const vs_weights *weights, size_t workspace, size_t stream, size_t node);
/* Final norm and head. */
VS_NODISCARD vs_status vs_forward_head(vs_session *session, const vs_weights *weights, size_t stream, vs_tapper tapper,
                                       vs_error *err);
/* All of it, in workspace 0 and stream 0. */
VS_NODISCARD vs_status vs_forward(vs_session *session, const vs_weights *weights, const float *pixels, vs_tapper tapper,
                                  vs_error *err);
/* One node on tensors of the caller's, of the shapes that it has in the session. in [in_count]. */
void vs_forward_node(const vs_session *session, const vs_weights *weights, size_t node, const vs_mat *in, vs_mat out);

#ifdef __cplusplus
}
#endif
#endif
