/* What every operation of a graph may be taken apart into (docs/fp16-reference.md 2): an entry each of table.c, its rows in
 * order, what they compute of what, where that stands, and under which policies a row is there. */
#ifndef VS_HALF_TABLE_H
#define VS_HALF_TABLE_H

#include "half/half.h"

/* What a row reads. */
typedef enum vs_half_from {
    VS_FROM_NOTHING,
    VS_FROM_INPUT,   /* input `index` of the node */
    VS_FROM_LEFT,    /* the first half of its columns */
    VS_FROM_RIGHT,   /* the other half */
    VS_FROM_TAKEN,   /* the rows of it that the operation takes */
    VS_FROM_WHOLE,   /* what the operation makes of all its inputs by moving them */
    VS_FROM_ROW,     /* what row `index` of the node gave; where that is missing, what it would have read first */
    VS_FROM_PARAM,   /* parameter `index` of the node, a vector */
    VS_FROM_CONSTANT /* a number: vs_half_constant */
} vs_half_from;

typedef enum vs_half_constant {
    VS_CONSTANT_EPS, /* the node's */
    VS_CONSTANT_SQRT2,
    VS_CONSTANT_ONE,
    VS_CONSTANT_HALF,
    VS_CONSTANT_KAPPA, /* of GELU's tanh form */
    VS_CONSTANT_BETA,
    VS_CONSTANT_SCALE, /* D^-0.5 of its heads */
    VS_CONSTANT_ROOT,  /* D^-0.25 */
    VS_CONSTANTS
} vs_half_constant;

typedef struct vs_half_operand {
    vs_half_from from;
    size_t index;
} vs_half_operand;

/* Where a row's result stands: in the node's output, or in a room that is the node's while it runs. */
typedef enum vs_half_room {
    VS_ROOM_OUT,
    VS_ROOM_WORK,
    VS_ROOM_TAKEN,
    VS_ROOM_MEAN, /* one number a row, as the next */
    VS_ROOM_STATISTIC,
    VS_ROOM_SCORES, /* [B*A*T, T] */
    VS_ROOM_PROBS,
    VS_ROOM_SUMS, /* one number a row of these */
    VS_ROOM_Q,
    VS_ROOM_K,
    VS_ROOMS
} vs_half_room;

typedef struct vs_half_shape {
    size_t rows, cols;
} vs_half_shape;

/* Of what it depends whether a row is there. */
typedef struct vs_half_case {
    const vs_policy_config *policy;
    const vs_weights *weights; /* of float32 rows; NULL: all parameters are there */
    const vs_node *node;
} vs_half_case;

typedef struct vs_half_step vs_half_step; /* machine.h */

/* A row, or another form of the one above it. A row has the products of its first form, and reads what that reads. */
typedef struct vs_half_form {
    const char *name;     /* "": the node's; ".x": behind it; "x": instead of its last part; NULL: that of its parameter 0 */
    bool again;           /* another form of the row above */
    vs_half_operand x, u; /* operands; u of one alone is nothing */
    vs_half_room to;
    void (*compute)(const vs_half_step *step);
    vs_element element;                                                         /* of vs_step_element */
    bool (*when)(const vs_half_case *of);                                       /* NULL: always */
    bool (*of)(const vs_graph *graph, const vs_node *node);                     /* nodes that have it at all; NULL: all */
    double (*macs)(const vs_graph *graph, const vs_node *node, size_t patches); /* NULL: none */
    bool centred; /* compared without its rows' means, which softmax does not see */
} vs_half_form;

typedef struct vs_half_op {
    const vs_half_form *forms;
    size_t count;                                          /* 0: no rows; what it moves counts as float32 where part of it is */
    vs_operation (*under)(const vs_policy_config *policy); /* what a policy says of it; NULL: nothing */
    bool outside;                                          /* an engine computes it in float32, behind the model's output */
    void (*rooms)(const vs_graph *graph, const vs_node *node, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]);
} vs_half_op;

const vs_half_op *vs_half_op_of(vs_op op);
/* The value of a constant for a node. */
double vs_half_constant_of(const vs_graph *graph, const vs_node *node, vs_half_constant constant);
/* Shapes of a node's rooms; those that it does not have are empty. */
void vs_half_rooms_of(const vs_graph *graph, const vs_node *node, size_t images, size_t patches, vs_half_shape shapes[VS_ROOMS]);
/* The rows of its first input that a node takes: all, or parts of their rule. */
vs_row_rule vs_half_taken(const vs_graph *graph, const vs_node *node);

#endif
