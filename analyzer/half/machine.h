/* The inside of the half machine: a run and its lanes. Each lane computes all rows: the first as the policy says, the second,
 * where rows are compared, in float32. What is stored how follows from the graph and the policy, so lanes are memory and nothing
 * else. */
#ifndef VS_HALF_MACHINE_H
#define VS_HALF_MACHINE_H

#include "half/table.h"

/* ---- rows.c ---- */

typedef struct vs_half_row {
    size_t node;
    const vs_half_form *forms;
    size_t form_count;
    size_t out;                              /* the value that it gives, or is on the way to */
    size_t column, cols;                     /* the columns of it; cols 0: all */
    size_t parts[VS_HALF_PARTS], part_count; /* values that are columns of what it gives: compared one by one */
    bool keys[VS_HALF_PARTS];                /* of these, or of the whole: compared as keys, by attention.c */
} vs_half_row;

struct vs_half_rows {
    const vs_graph *graph;
    vs_half_row *at;
    size_t count, capacity;
    size_t *first;     /* [nodes + 1]: rows of nodes in front */
    double *constants; /* that rows read, each once */
    size_t constant_count, constant_capacity;
};

/* The form that a row has; NULL: it is not there. */
const vs_half_form *vs_half_form_of(const vs_half_row *row, const vs_half_case *of);
/* Of columns of a value that begin with `column`: the last row of its producer that is there and gives them; VS_NONE: none does.
 * `present` as of vs_half_reads; NULL: all that `of` has. */
size_t vs_half_giver(const vs_half_rows *rows, const bool *present, const vs_half_case *of, size_t value, size_t column);
/* The row, and the part of it, that gives an attention's keys as they are; VS_NONE: these are rotated, or made otherwise. */
size_t vs_half_keys(const vs_half_rows *rows, size_t attention, size_t *part);
/* Whether a product is stored behind the unfolding that follows it. */
bool vs_half_is_placed(const vs_half_rows *rows, size_t node);
/* Where a constant stands among those of the rows. */
size_t vs_half_constant_at(const vs_half_rows *rows, double value);

/* ---- machine.c ---- */

typedef struct vs_half_tensor {
    vs_mat x;
    bool f32; /* stored in float32 */
} vs_half_tensor;

typedef struct vs_half_lane {
    bool reference;       /* all rows in float32 */
    char *values, *rooms; /* memory of the graph's values and of the node at work */
} vs_half_lane;

enum { VS_HALF_LANES = 2 };

typedef struct vs_half_run {
    vs_session *session;
    const vs_backend *backend;
    const vs_graph *graph;
    const vs_half_rows *rows;
    const vs_half_model *model;
    vs_half_seen *const *seen; /* [images] or NULL */
    size_t images, patches;
    vs_half_lane lanes[VS_HALF_LANES];
    size_t lane_count;
    vs_status status; /* of taps; the rest of the run shows nothing once one has failed */
    vs_error *err;
    void *casts[VS_HALF_INPUTS]; /* room for an input as a half row reads it */
    bool tables;                 /* half rows of the rotation take rounded tables, */
    vs_mat cosines, sines;       /* these [N, D/2] */
} vs_half_run;

/* Lays the lanes out in session scratch. */
void vs_half_begin(vs_half_run *run, vs_session *session, const vs_half_model *model, vs_half_seen *const *seen);
vs_half_case vs_half_case_of(const vs_half_run *run, size_t row);
bool vs_half_in_f32(const vs_half_run *run, const vs_half_lane *lane, size_t row);
const vs_half_set *vs_half_set_of(const vs_half_run *run, const vs_half_lane *lane, size_t row);
/* A value's matrix in a lane; of one that the session was given, that. p NULL: the pass does not have it. */
vs_mat vs_half_value(const vs_half_run *run, const vs_half_lane *lane, size_t value);
/* Whether what stands there counts as float32. */
bool vs_half_value_f32(const vs_half_run *run, const vs_half_lane *lane, size_t value, size_t column);
vs_mat vs_half_room_of(const vs_half_run *run, const vs_half_lane *lane, size_t node, vs_half_room room);
/* Where a row's result stands. */
vs_mat vs_half_result(const vs_half_run *run, const vs_half_lane *lane, size_t row);
/* Input number `input` of a row as the row reads it. */
vs_mat vs_half_read(const vs_half_run *run, const vs_half_lane *lane, size_t row, size_t input, vs_half_tensor tensor);
/* A node as it is, on a lane's tensors. */
vs_node_work vs_half_work(const vs_half_run *run, const vs_half_lane *lane, size_t node);
/* A row, where the policy has it. */
void vs_half_run_row(vs_half_run *run, size_t row);
/* A node without rows. */
void vs_half_run_moving(vs_half_run *run, size_t node);
/* Part of a row: x of the float run. */
void vs_half_compare_part(const vs_half_run *run, size_t row, size_t part, vs_mat x, vs_mat y);

/* ---- what rows compute ---- */

struct vs_half_step {
    const vs_half_run *run;
    const vs_half_lane *lane;
    size_t row;
    const vs_node *node;
    const vs_half_form *form;
    vs_mat x, u, y; /* operands, and where the result goes, unrounded */
};

/* steps.c */
void vs_step_element(const vs_half_step *s);
void vs_step_row_mean(const vs_half_step *s);
void vs_step_whole(const vs_half_step *s); /* the operation as it is */
void vs_step_same(const vs_half_step *s);
void vs_step_linear(const vs_half_step *s); /* or columns of it */
void vs_step_tokens(const vs_half_step *s);
void vs_step_positions(const vs_half_step *s);
void vs_step_silu(const vs_half_step *s);
void vs_step_mean_of_patches(const vs_half_step *s);

/* attention.c */
void vs_step_scores(const vs_half_step *s);
void vs_step_below_max(const vs_half_step *s); /* s - max */
void vs_step_of_sum(const vs_half_step *s);    /* x / its sum */
void vs_step_softmax(const vs_half_step *s);
void vs_step_apply(const vs_half_step *s);
void vs_step_attention(const vs_half_step *s);
/* Of an attention, before it runs. */
void vs_half_compare_keys(const vs_half_run *run, size_t attention);

#endif
