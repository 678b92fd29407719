/* Operations in real half arithmetic, for backends whose hardware has it (cuda): what the emulation of half precision is held
 * against (docs/fp16-reference.md 2). Values are IEEE binary16 in memory between operations; what an operation keeps inside in
 * float32 is said with it. A backend without them has NULL in `vs_backend.half`.
 *
 * Slots follow the rules of vs_backend_ops. y may be x in layernorm, elementwise, softmax_rows, gelu and affine. */
#ifndef VITSCOPE_HALF_OPS_H
#define VITSCOPE_HALF_OPS_H

#include "vitscope/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rows x cols halves in backend memory; row r begins at p + r * ld (halves, ld >= cols). Borrowed, never owns. */
typedef struct vs_half_mat {
    void *p;
    size_t rows, cols, ld;
} vs_half_mat;

enum { VS_HALF_BYTES = 2, VS_HALF_MAX_HEAD = 256 }; /* of one half; channels of a head of `attention` */

struct vs_half_ops {
    /* float32 <-> half: to the nearest, half to even; exact. */
    void (*store)(const vs_backend *self, vs_mat x, vs_half_mat y);
    void (*load)(const vs_backend *self, vs_half_mat x, vs_mat y);
    void (*copy)(const vs_backend *self, vs_half_mat x, vs_half_mat y);

    /* y = x w^T + b; x [M,K], w [N,K], b halves [N] or NULL. Products, sums and the bias in float32, one rounding. */
    void (*linear)(const vs_backend *self, vs_half_mat x, vs_half_mat w, const void *b, vs_half_mat y);
    /* Per image and head: p[(b*heads + a)*T + i, j] = q_i k_j, and out = p v; sums in float32, one rounding. */
    void (*scores)(const vs_backend *self, vs_half_mat q, vs_half_mat k, size_t images, size_t heads, vs_half_mat p);
    void (*apply)(const vs_backend *self, vs_half_mat p, vs_half_mat v, size_t images, size_t heads, vs_half_mat out);
    /* softmax(q k^T * scale) v as one operation: scores and sums in float32, e^(s - max of the keys so far) rounded to half as an
     * operand of the second product, the float32 sum divided out behind it. At most VS_HALF_MAX_HEAD channels a head. */
    void (*attention)(const vs_backend *self, vs_half_mat q, vs_half_mat k, vs_half_mat v, size_t images, size_t heads,
                      double scale, vs_half_mat out);

    /* Float32 inside (two-pass variance), one rounding; g, b halves [cols]. */
    void (*layernorm)(const vs_backend *self, vs_half_mat x, const void *g, const void *b, double eps, vs_half_mat y);
    /* The hardware's half instruction; erf and tanh: in float32, rounded. Shapes of u as of vs_backend_ops.elementwise. */
    void (*elementwise)(const vs_backend *self, vs_element op, vs_half_mat x, vs_half_mat u, vs_half_mat y);
    /* y[r] = mean of row r: float32 sum and division, one rounding; y [rows, 1]. */
    void (*row_mean)(const vs_backend *self, vs_half_mat x, vs_half_mat y);
    /* Float32 inside, one rounding. */
    void (*softmax_rows)(const vs_backend *self, vs_half_mat x, vs_half_mat y);
    void (*gelu)(const vs_backend *self, vs_half_mat x, vs_half_mat y);
    /* Tables in float32, two products and a sum in float32, one rounding. */
    void (*rope)(const vs_backend *self, vs_half_mat x, vs_mat cos, vs_mat sin, size_t images, size_t heads, vs_half_mat y);
    /* scale and shift are reals [cols]; float32 inside, one rounding. */
    void (*affine)(const vs_backend *self, vs_half_mat x, const void *scale, const void *shift, vs_half_mat y);
};

/* Rows [row, row + rows) and columns [col, col + cols) of m, as a view. */
static inline vs_half_mat vs_half_mat_view(vs_half_mat m, size_t row, size_t rows, size_t col, size_t cols) {
    const vs_half_mat view = { (char *)m.p + (row * m.ld + col) * VS_HALF_BYTES, rows, cols, m.ld };
    return view;
}

#ifdef __cplusplus
}
#endif
#endif
