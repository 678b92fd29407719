/* The inside of the half machine: a run and its lanes. Each lane computes all rows: the first as the policy says, the second,
 * where rows are compared, in float32. */
#ifndef VS_HALF_MACHINE_H
#define VS_HALF_MACHINE_H

#include "half/half.h"

/* What rows read and give. A place is memory for the most that stands there; operations give it the shape of their result. T
 * grows where EoMT's queries join; P: class token and registers; M: pixels of the upscaled grid. */
typedef enum vs_half_place {
    VS_PLACE_PATCHES,   /* [B*N, 3pp] */
    VS_PLACE_EMBEDDED,  /* [B*N, C] */
    VS_PLACE_STREAM,    /* [B*T, C] */
    VS_PLACE_NORMED,    /* [B*T, C] */
    VS_PLACE_WORK,      /* [B*T, C] */
    VS_PLACE_STATISTIC, /* [B*T, 1] or [B*M, 1] */
    VS_PLACE_MEAN,
    VS_PLACE_QKV, /* [B*T, 3C] */
    VS_PLACE_Q,   /* [B*T, C]: columns of it, or what was made of them; as the next two */
    VS_PLACE_K,
    VS_PLACE_V,
    VS_PLACE_Q_OUT, /* rotated or scaled */
    VS_PLACE_K_OUT,
    VS_PLACE_SCORES, /* [B*A*T, T] */
    VS_PLACE_PROBS,
    VS_PLACE_SUMS,     /* [B*A*T, 1] */
    VS_PLACE_BRANCH,   /* [B*T, C]: what attention or feed-forward give */
    VS_PLACE_SCALED,   /* times LayerScale */
    VS_PLACE_HIDDEN,   /* [B*T, F], SwiGLU: [B*T, 2F] */
    VS_PLACE_X1,       /* [B*T, F]: columns of it, what the gate is made of */
    VS_PLACE_X2,       /* and what it multiplies */
    VS_PLACE_ACTIVE,   /* [B*T, F] */
    VS_PLACE_MAPS,     /* [B*N or B, (head_maps - 1) * C]: normed, of blocks before the last that the head reads */
    VS_PLACE_FEATURES, /* [B*N or B, head_width] */
    VS_PLACE_LOGITS,   /* [B*N, classes], [B, classes]; EoMT: scores [B*M, classes] */
    VS_PLACE_QUERIES,  /* [B*Q, C]: EoMT, from here on */
    VS_PLACE_MASK,     /* [B*Q, C]: its mask head */
    VS_PLACE_MASK_ACTIVE,
    VS_PLACE_CLASSES, /* [B*Q, classes + 1] */
    VS_PLACE_PIXELS,  /* [B*M, C]: its upscale blocks */
    VS_PLACE_PIXELS_OUT,
    VS_PLACE_PIXELS_WORK,
    VS_PLACE_MASKS, /* [B*M, Q] */
    VS_PLACE_COUNT
} vs_half_place;

typedef struct vs_half_tensor {
    vs_mat x;
    bool f32; /* stored in float32 */
} vs_half_tensor;

typedef struct vs_half_lane {
    bool reference; /* all rows in float32 */
    vs_half_tensor at[VS_PLACE_COUNT];
    vs_mat positions; /* [T, C] */
} vs_half_lane;

/* What places are sized by, as far as a graph tells. */
vs_arch vs_half_arch_of(const vs_graph *graph);
/* A parameter by its name, which `format` and the block's number make; p NULL: there is none. */
const void *vs_half_param(const vs_half_set *set, const char *format, size_t number);
vs_mat vs_half_param_mat(const vs_half_set *set, const char *name);

enum { VS_PART_Q, VS_PART_K, VS_PART_V }; /* of attn.qkv */
enum { VS_HALF_LANES = 2 };

typedef struct vs_half_run {
    vs_session *session;
    const vs_backend *backend;
    const vs_arch *arch;
    const vs_graph *graph;
    const vs_half_model *model;
    vs_half_seen *const *seen;      /* [images] or NULL */
    size_t images, tokens, patches; /* tokens: with queries, once these have joined */
    size_t block;                   /* at work */
    vs_half_lane lanes[VS_HALF_LANES];
    size_t lane_count;
    vs_status status; /* of taps; the rest of the run shows nothing once one has failed */
    vs_error *err;
    void *casts[VS_HALF_INPUTS]; /* room for an input as a half row reads it */
    bool tables;                 /* half rows of the rotation take rounded tables, */
    vs_mat cosines, sines;       /* these [N, D/2] */
} vs_half_run;

/* The second operand of a single operation: a tensor, or stored numbers [1, cols] (1 column: one number). */
typedef struct vs_half_operand {
    bool is_place;
    vs_half_place place;
    const void *half, *f32;
    size_t cols;
} vs_half_operand;

vs_half_operand vs_half_of_place(vs_half_place place);
vs_half_operand vs_half_of_vector(const vs_half_run *run, const void *half, const void *f32);
vs_half_operand vs_half_of_constant(const vs_half_run *run, size_t constant);

/* Lays the lanes out in session scratch. */
void vs_half_begin(vs_half_run *run, vs_session *session, const vs_half_model *model, vs_half_seen *const *seen);
bool vs_half_in_f32(const vs_half_run *run, const vs_half_lane *lane, vs_half_row row);
const vs_half_set *vs_half_set_of(const vs_half_run *run, const vs_half_lane *lane, vs_half_row row);
/* Gives a place its shape in every lane; what stands there is undefined. */
void vs_half_shape(vs_half_run *run, vs_half_place place, size_t rows, size_t cols);
/* What stands at one place stands at the other from now on. */
void vs_half_swap(vs_half_run *run, vs_half_place a, vs_half_place b);

/* Rows of every image at a place: of `each` rows an image those from `first` on; columns from `col` on. */
typedef struct vs_half_rows {
    vs_half_place place;
    size_t each, first, col;
} vs_half_rows;
/* Copies [count, cols] an image. What goes to a shape is in float32 where one part of it is. */
void vs_half_move(vs_half_run *run, vs_half_rows from, size_t count, size_t cols, vs_half_rows to);
/* Input number `input` of a row as the row reads it. */
vs_mat vs_half_read(const vs_half_run *run, const vs_half_lane *lane, vs_half_row row, size_t input, vs_half_place place);
/* The row's result, which stands at `place` unrounded. */
void vs_half_store(const vs_half_run *run, vs_half_lane *lane, vs_half_row row, vs_half_place place);
/* Once all lanes have stored it. */
void vs_half_compare(vs_half_run *run, vs_half_row row, vs_half_place place);

/* Shows what stands at a place to the model's tap. */
void vs_half_show(vs_half_run *run, vs_kind kind, bool input, vs_half_place place);

/* Part of a row, for what `vs_half_compare` leaves out: x of the float run. */
void vs_half_compare_part(const vs_half_run *run, vs_half_row row, size_t part, vs_mat x, vs_mat y);

/* Rows that are one operation of a backend. */
void vs_half_element(vs_half_run *run, vs_half_row row, vs_element op, vs_half_place x, vs_half_operand u, vs_half_place y);
void vs_half_mean(vs_half_run *run, vs_half_row row, vs_half_place x, vs_half_place y);
void vs_half_linear(vs_half_run *run, vs_half_row row, vs_kind kind, vs_half_place x, vs_half_place y);
/* y = x w^T + b, outputs [first, first + y.cols) of a layer. */
void vs_half_multiply(const vs_half_run *run, const vs_linear_weights *w, size_t first, vs_mat x, vs_mat y);

/* ---- norm.c ---- */

typedef struct vs_half_norm {
    vs_half_row first;
    const void *half_g, *half_b, *f32_g, *f32_b; /* [C] */
    double eps;
    size_t eps_constant;
    vs_half_place x, y, work; /* y and work: not x */
} vs_half_norm;
void vs_half_run_norm(vs_half_run *run, const vs_half_norm *norm);
/* Of the residual stream, into NORMED. */
void vs_half_norm_stream(vs_half_run *run, vs_half_row first, const void *half_g, const void *half_b, const void *f32_g,
                         const void *f32_b);

/* ---- attention.c: from NORMED to BRANCH ---- */
void vs_half_attention(vs_half_run *run);

/* ---- feed_forward.c ---- */
/* From NORMED to ACTIVE, what fc2 or w3 reads. */
void vs_half_feed_forward(vs_half_run *run);
/* Its rows begin with `first`; y is not x. */
void vs_half_gelu(vs_half_run *run, vs_half_row first, vs_half_place x, vs_half_place y);

/* ---- head.c ---- */
/* After block run->block: what the head reads of it. */
void vs_half_collect(vs_half_run *run);
/* Final norm and head, the output into the session. */
void vs_half_head(vs_half_run *run);

/* ---- eomt.c ---- */
/* Before block run->block: the queries, where they join there. */
void vs_half_join(vs_half_run *run);
/* The head, from NORMED. */
void vs_half_eomt(vs_half_run *run);

#endif
