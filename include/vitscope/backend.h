/* Backends: one table of coarse operations, filled by ref (float64, plain loops), cpu (float32) and,
 * where it is built, cuda. Nothing above this interface knows which one computes.
 *
 * Reals. A backend has one real type: double for ref, float for the others. A `vs_mat` is a row-major
 * matrix of reals in backend memory. Several images are stacked by rows: [images * tokens, channels].
 *
 * Results on the host. Operations that return numbers (`minmax`, `error_sums`, ...) write into host
 * structures that are valid after `sync` by the thread that called them, and that must stay where they are
 * until then, on the way out of an error too; ref and cpu write at once.
 *
 * Determinism. Every operation is a function of its operands and shapes alone; sums run in float64
 * in an order that depends on the shape and the instruction set, never on the number of threads.
 *
 * Threads. A backend is immutable after creation and may be used by several threads at once as long as
 * they write to different memory. */
#ifndef VITSCOPE_BACKEND_H
#define VITSCOPE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vs_scalar { VS_SCALAR_F32 = 4, VS_SCALAR_F64 = 8 } vs_scalar; /* the value is the size in bytes */

/* rows x cols reals; row r begins at p + r * ld (elements, ld >= cols). Borrowed, never owns. */
typedef struct vs_mat {
    void *p;
    size_t rows, cols, ld;
} vs_mat;

/* A uniform grid: code = clamp(rne(x / scale) + zero, qmin, qmax), value = (code - zero) * scale
 * (docs/study.md 3). lo and hi are the calibrated range that defines `clipped`. */
typedef struct vs_grid {
    float scale;
    int32_t zero, qmin, qmax;
    float lo, hi;
} vs_grid;

/* Sums behind SQNR(x, y): signal = sum x^2, noise = sum (x - y)^2 over elements where y is finite. */
typedef struct vs_error_sums {
    double signal, noise;
    uint64_t nonfinite; /* elements of y that are NaN or infinite */
} vs_error_sums;

/* What a quantizer did to one tensor. */
typedef struct vs_quant_counts {
    uint64_t zeroed;  /* values that dequantize to exactly 0 */
    uint64_t clipped; /* x < lo or x > hi */
} vs_quant_counts;

/* Logarithmic histogram of |x|: bin 0 holds |x| < 2^VS_HIST_EXP_MIN (zero included); then
 * VS_HIST_PER_OCTAVE equal-width bins per octave; the last bin also takes everything above,
 * infinities and NaN. Relative bin width is at most 1/256 (0.39 %), docs/study.md 5. */
enum {
    VS_HIST_EXP_MIN = -40,
    VS_HIST_EXP_MAX = 40,
    VS_HIST_PER_OCTAVE = 256,
    VS_HIST_BINS = 1 + (VS_HIST_EXP_MAX - VS_HIST_EXP_MIN) * VS_HIST_PER_OCTAVE
};

/* Distribution of |x| of one tensor. NaN counts as the largest value. */
typedef struct vs_abs_stats {
    double max;              /* max |x| */
    size_t max_row, max_col; /* its first place in row-major order, within the image */
    double sum;              /* sum |x| */
    uint64_t count;
} vs_abs_stats;

/* 16-bit formats that values can be rounded to; the last is none: fp16's 11 bits with the exponents of float32, for what
 * rounding does where nothing overflows. */
typedef enum vs_half_format { VS_HALF_FP16, VS_HALF_BF16, VS_HALF_WIDE, VS_HALF_FORMATS } vs_half_format;

/* What rounding did to one tensor (docs/fp16-reference.md 1). Places are rows and columns within the image, the first in
 * row-major order. */
typedef struct vs_half_counts {
    uint64_t inf;                                  /* finite before, infinite after: overflows */
    uint64_t nan;                                  /* NaN before */
    uint64_t subnormal;                            /* non-zero after, below the smallest normal number */
    uint64_t flushed;                              /* non-zero before, zero after */
    double max;                                    /* max |x| before rounding, of finite values; 0 where there are none */
    size_t max_row, max_col, first_row, first_col; /* first: the first overflow, where inf is not 0 */
} vs_half_counts;

/* What `elementwise` does; u is absent from SQRT on. SIGMOID: 1 / (1 + e^-x), EXP: e^x, TANH: the hyperbolic tangent. */
typedef enum vs_element {
    VS_ELEMENT_ADD,
    VS_ELEMENT_SUB,
    VS_ELEMENT_MUL,
    VS_ELEMENT_DIV,
    VS_ELEMENT_SQRT,
    VS_ELEMENT_ERF,
    VS_ELEMENT_SIGMOID,
    VS_ELEMENT_EXP,
    VS_ELEMENT_TANH
} vs_element;

/* Bytes of device memory that `alloc` and `alloc_counts` have given: held now, and the most so far. Zero where reals live in host
 * memory, which is not counted. */
typedef struct vs_memory_use {
    size_t held, peak;
} vs_memory_use;

enum { VS_MAX_I8_TERMS = INT32_MAX / (255 * 128) }; /* K of linear_i8 */

typedef struct vs_backend vs_backend;
typedef struct vs_half_ops vs_half_ops;

/* Slots hold arithmetic only: shapes are checked once by the caller that plans the run. `self` is the backend.
 * Unless said otherwise outputs must not overlap inputs, except that out == in (same p and ld) is allowed for
 * elementwise operations: layernorm, gelu, gelu_tanh, scale_add, affine, div_channels, fake_quant, fake_quant_rows,
 * fake_quant_tokens, and where an operation says so. */
typedef struct vs_backend_ops {
    void (*close)(vs_backend *self);

    /* ---- memory ---- */
    /* `count` reals, 64-byte aligned, contents undefined. NULL when there is no memory. */
    void *(*alloc)(const vs_backend *self, size_t count);
    void (*free)(const vs_backend *self, void *p);
    vs_memory_use (*memory_use)(const vs_backend *self);
    /* host float32 -> reals (exact). */
    vs_status (*upload)(const vs_backend *self, void *dst, const float *src, size_t count, vs_error *err);
    vs_status (*upload_f64)(const vs_backend *self, void *dst, const double *src, size_t count, vs_error *err);
    /* reals -> host, in the backend's own type (`real` bytes an element), packed row-major. */
    vs_status (*download)(const vs_backend *self, void *dst, vs_mat src, vs_error *err);
    void (*copy)(const vs_backend *self, vs_mat src, vs_mat dst);
    /* Waits for everything issued so far and reports what went wrong on the way, in slots that return nothing. Whoever uses
     * results has called it, or another slot that returns a status, since they were made. */
    vs_status (*sync)(const vs_backend *self, vs_error *err);

    /* ---- forward ---- */
    /* pixels [images, 3, h*p, w*p] -> out [images*h*w, 3*p*p]; column k*p*p + i*p + j (docs/vit-models.md 2.2). */
    void (*patchify)(const vs_backend *self, const void *pixels, size_t images, size_t h, size_t w, size_t p, vs_mat out);
    /* out[i, 0..prefix-1] = prefix rows; out[i, prefix + n] = patch[i*N + n] + pos[n]; pos.p may be NULL. */
    void (*tokens)(const vs_backend *self, vs_mat patch, vs_mat prefix, vs_mat pos, size_t images, vs_mat out);
    /* y = x * w^T + b; x [M,K], w [N,K], b [N] or NULL, y [M,N]. */
    void (*linear)(const vs_backend *self, vs_mat x, vs_mat w, const void *b, vs_mat y);
    /* Does `linear` (without b) as a trial, while work can still be put off, so that memory that the backend takes beside its
     * operands is there or its lack is told. y is overwritten; contents do not matter. VS_ERR_NOMEM. */
    vs_status (*reserve)(const vs_backend *self, vs_mat x, vs_mat w, vs_mat y, vs_error *err);
    /* Integer product: acc[m,n] = sum_k x[m,k] * w[n,k], exact in int32; x [M,K] unsigned, w [N,K] signed, packed.
     * VS_ERR_UNSUPPORTED above VS_MAX_I8_TERMS, where a sum may not fit. */
    vs_status (*linear_i8)(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err);
    /* y = (x - mean) / sqrt(var + eps) * g + b per row, biased two-pass variance. */
    void (*layernorm)(const vs_backend *self, vs_mat x, const void *g, const void *b, double eps, vs_mat y);
    /* Per image and head a (columns a*D..): out = softmax(q k^T * scale) v. q,k,v,out [images*tokens, heads*D].
     * `scratch` holds attention_scratch() reals. */
    size_t (*attention_scratch)(const vs_backend *self, size_t tokens, size_t heads);
    void (*attention)(const vs_backend *self, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale,
                      void *scratch, vs_mat out);
    /* The same in two steps, with the probabilities kept: p[(b*heads + a)*T + i, j] = softmax_j(q_i k_j * scale); out = p v. */
    void (*attention_probs)(const vs_backend *self, vs_mat q, vs_mat k, size_t images, size_t heads, double scale, vs_mat p);
    void (*attention_apply)(const vs_backend *self, vs_mat p, vs_mat v, size_t images, size_t heads, vs_mat out);
    /* y = 0.5 x (1 + erf(x / sqrt 2)). */
    void (*gelu)(const vs_backend *self, vs_mat x, vs_mat y);
    /* y = 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): GELU's tanh form (Hendrycks and Gimpel, arXiv 1606.08415). */
    void (*gelu_tanh)(const vs_backend *self, vs_mat x, vs_mat y);
    /* Rotary positions (docs/vit-models.md 2.5): of every image the last N rows are rotated, those before are copied. In each
     * head of D columns y[d] = x[d] cos[n,d] - x[d+D/2] sin[n,d], y[d+D/2] = x[d+D/2] cos[n,d] + x[d] sin[n,d], d < D/2. x, y
     * [images*tokens, heads*D]; cos, sin [N, D/2]. */
    void (*rope)(const vs_backend *self, vs_mat x, vs_mat cos, vs_mat sin, size_t images, size_t heads, vs_mat y);
    /* SwiGLU: y[r,c] = silu(x[r,c]) * x[r,F+c], silu(z) = z / (1 + e^-z); x [rows, 2F], y [rows, F]. */
    void (*silu_mul)(const vs_backend *self, vs_mat x, vs_mat y);
    /* y = x + gamma * u, gamma [cols] or NULL for 1 (LayerScale and residual add). */
    void (*scale_add)(const vs_backend *self, vs_mat x, vs_mat u, const void *gamma, vs_mat y);
    /* Places four values a pixel: y[(b, 2r+i, 2s+j), c] = x[(b, r, s), (2i+j)*C + c]; x [images*h*w, 4C], y [images*4*h*w, C]. */
    void (*unfold2x2)(const vs_backend *self, vs_mat x, size_t images, size_t h, size_t w, vs_mat y);
    /* 3x3 convolution in each channel, zeros around the image: y[(b,r,s), c] = sum_ij x[(b, r+i-1, s+j-1), c] * k[3i+j, c];
     * x, y [images*h*w, C], k [9, C]. */
    void (*depthwise3x3)(const vs_backend *self, vs_mat x, const void *k, size_t images, size_t h, size_t w, vs_mat y);
    /* y[r,c] = e^(x[r,c] - max_r) / sum_c e^(x[r,c] - max_r). */
    void (*softmax_rows)(const vs_backend *self, vs_mat x, vs_mat y);
    /* Per image: y[p,k] = sum_q sigmoid(m[p,q]) * c[q,k]; m [images*P, Q], c [images*Q, K], y [images*P, K]. */
    void (*mask_scores)(const vs_backend *self, vs_mat m, vs_mat c, size_t images, vs_mat y);
    /* y = x * scale[col] + shift[col] (a folded BatchNorm). */
    void (*affine)(const vs_backend *self, vs_mat x, const void *scale, const void *shift, vs_mat y);

    /* y = x op u in one operation, x alone for the unary ones. u has x's rows or one, and x's columns or one: what is missing is
     * repeated. y may be x, and u where that has its shape. */
    void (*elementwise)(const vs_backend *self, vs_element op, vs_mat x, vs_mat u, vs_mat y);
    /* y[r] = sum_c x[r,c] / cols; y [rows, 1]. */
    void (*row_mean)(const vs_backend *self, vs_mat x, vs_mat y);
    /* y[r] = sum_c x[r,c], and the largest of x[r,c] that is no NaN (-inf where there is none); y [rows, 1]. */
    void (*row_sum)(const vs_backend *self, vs_mat x, vs_mat y);
    void (*row_max)(const vs_backend *self, vs_mat x, vs_mat y);
    /* A softmax before its division: y[r,c] = e^(scale x[r,c] - max_r), sums[r] = sum_c y[r,c]; sums [rows, 1]. y may be x. */
    void (*exp_rows)(const vs_backend *self, vs_mat x, double scale, vs_mat y, vs_mat sums);

    /* ---- 16-bit formats ---- */
    /* y = the nearest value of `format` to x as float32, half to even, subnormals kept, NaN quiet; y may be x. *counts[i] of
     * image i is overwritten (counts may be NULL; see statistics). */
    void (*round_half)(const vs_backend *self, vs_mat x, vs_half_format format, vs_mat y, size_t images,
                       vs_half_counts *const *counts);

    /* ---- quantization ---- */
    /* y[r,c] = x[r,c] / s[c] (SmoothQuant's explicit division). */
    void (*div_channels)(const vs_backend *self, vs_mat x, const void *s, vs_mat y);
    /* y[r,c] = x[r,c] * s[c] rounded to float32 whatever the real type (SmoothQuant's weights, docs/study.md 3). */
    void (*mul_channels)(const vs_backend *self, vs_mat x, const void *s, vs_mat y);
    /* y = dequantized codes of x; *counts[i] of image i is added to (counts may be NULL; see statistics). NaN becomes code
     * zero, infinities clamp. */
    void (*fake_quant)(const vs_backend *self, vs_mat x, const vs_grid *grid, vs_mat y, size_t images,
                       vs_quant_counts *const *counts);
    /* Symmetric, one float32 scale per row: y[r,c] = clamp(rne(x/s[r]), -qmax, qmax) * s[r]; codes (may be NULL)
     * receives the packed codes. scales is a host array [rows]. */
    void (*fake_quant_rows)(const vs_backend *self, vs_mat x, const float *scales, int32_t qmax, vs_mat y, int8_t *codes);
    /* Symmetric, one scale per row taken from the row itself: s[r] = max_c |x[r,c]| / qmax, computed in float64 and rounded to
     * float32 (1 where it is not positive and finite); codes clamp(rne(x/s[r]), -qmax - 1, qmax). counts as above; nothing is
     * clipped. */
    void (*fake_quant_tokens)(const vs_backend *self, vs_mat x, int32_t qmax, vs_mat y, size_t images,
                              vs_quant_counts *const *counts);
    /* codes [rows*cols] (host, packed) of x on `grid`; qmin >= 0 is assumed (unsigned grid). */
    void (*quantize_u8)(const vs_backend *self, vs_mat x, const vs_grid *grid, uint8_t *codes);

    /* ---- statistics (host results; valid after sync) ----
     * Operations with `images` take x [images * rows, cols] and give one result an image: image i's goes to *out[i], and is what
     * that image alone would give, bit for bit. The array of pointers is read at the call; what it points at is written by
     * sync. */
    /* lo[c] = min(lo[c], min_r x[r,c]), hi[c] likewise; host arrays [cols] of float64 that the caller initialised.
     * NaN propagates into both. */
    void (*channel_minmax)(const vs_backend *self, vs_mat x, double *lo, double *hi);
    /* counts[i] += elements in bin i of `bins` equal bins over [lo, hi], i = floor((x - lo) * (bins / (hi - lo))) in float64,
     * clamped to the ends; NaN counts nowhere. lo < hi; host array. */
    void (*range_histogram)(const vs_backend *self, vs_mat x, double lo, double hi, size_t bins, uint64_t *counts);
    /* out[r] = max_c |x[r,c]|; host array [rows]. */
    void (*row_absmax)(const vs_backend *self, vs_mat x, double *out);
    void (*error_sums)(const vs_backend *self, vs_mat x, vs_mat y, size_t images, vs_error_sums *const *out);
    /* Fills *out[i]; adds every image to the counters hist [VS_HIST_BINS], and image i to energy[i] [cols] (sum of x^2, on the
     * host); both may be NULL. */
    void (*abs_stats)(const vs_backend *self, vs_mat x, size_t images, vs_abs_stats *const *out, void *hist,
                      double *const *energy);
    /* *below += number of |x| < threshold. */
    void (*count_below)(const vs_backend *self, vs_mat x, double threshold, uint64_t *below);
    /* *above += number of rows with |x[r,col]| > threshold. */
    void (*count_above)(const vs_backend *self, vs_mat x, size_t col, double threshold, uint64_t *above);
    /* sum_sq[c] += sum_r x[r,c]^2; host array [cols]. */
    void (*channel_energy)(const vs_backend *self, vs_mat x, double *sum_sq);

    /* ---- counters: uint64 in the backend's memory, for counts of many tensors that are read once ---- */
    /* `count` zeroes, freed with free. NULL when there is no memory. Several threads may add to the same counters at once. */
    void *(*alloc_counts)(const vs_backend *self, size_t count);
    /* Waits for the calling thread's work and adds the counters to host[count]; they stay as they are. What other threads
     * added is in it once they have synced. */
    vs_status (*read_counts)(const vs_backend *self, const void *counts, size_t count, uint64_t *host, vs_error *err);
    /* In the order of the calling thread's work; no other thread may be adding. */
    void (*zero_counts)(const vs_backend *self, void *counts, size_t count);
} vs_backend_ops;

struct vs_backend {
    const char *name;       /* "ref", "cpu", "cuda" */
    const char *arithmetic; /* recorded in run.json: "f64", "f32", "tf32" */
    const char *library;    /* what computes products, with its version and what it chose for this processor; NULL: own loops */
    const char *isa;        /* "scalar", "avx2", "avx512", "sm_90" */
    vs_scalar scalar;
    bool host_memory; /* reals live in host memory: pointers may be read by the caller */
    const vs_backend_ops *ops;
    const vs_half_ops *half; /* real half arithmetic (vitscope/half_ops.h); NULL: none */
    void *context;           /* owned by the backend, opaque */
};

/* What products are made of. Every other operation has the backend's own arithmetic always. */
typedef enum vs_arithmetic {
    VS_ARITHMETIC_OWN,  /* of the backend: float64 of ref, float32 of the others */
    VS_ARITHMETIC_F32,  /* float32 factors, float32 sums */
    VS_ARITHMETIC_TF32, /* `linear` alone: factors rounded to 10 bits behind the point, float32 sums; cuda */
    VS_ARITHMETIC_COUNT
} vs_arithmetic;

/* "f32" and "tf32". VS_ERR_CONFIG: another name. */
VS_NODISCARD vs_status vs_arithmetic_parse(vs_arithmetic *out, const char *name, vs_error *err);

/* Opens a backend by name. VS_ERR_BACKEND: an unknown name, an arithmetic that it does not have, or what is missing and how to
 * get it; VS_ERR_CONFIG: a wrong VS_ISA. The caller frees it with vs_backend_close (NULL is allowed). */
VS_NODISCARD vs_status vs_backend_open_as(vs_backend **out, const char *name, vs_arithmetic arithmetic, vs_error *err);
/* In its own arithmetic. */
VS_NODISCARD vs_status vs_backend_open(vs_backend **out, const char *name, vs_error *err);
void vs_backend_close(vs_backend *backend);

/* Packed numbers as a matrix, for reading alone: a vs_mat's pointer is not const because views of activations share the type. */
vs_mat vs_mat_of(const void *p, size_t rows, size_t cols);
/* Rows [row, row + rows) and columns [col, col + cols) of m, as a view. */
vs_mat vs_mat_view(const vs_backend *backend, vs_mat m, size_t row, size_t rows, size_t col, size_t cols);

/* The bin of |x| and the largest and smallest value of a bin (backend-independent; used by every backend). */
size_t vs_hist_bin(double magnitude);
double vs_hist_lower(size_t bin);
double vs_hist_upper(size_t bin);

#ifdef __cplusplus
}
#endif
#endif
