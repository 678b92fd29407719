/* Vector kernels of the cpu backend: one table per instruction set, all from kernels.c. Each works on n contiguous
 * floats (a row) unless it says otherwise. */
#ifndef VS_KERNELS_H
#define VS_KERNELS_H

#include "vitscope/backend.h"

/* vs_half_counts of a row without its places. */
typedef struct vs_half_tally {
    uint32_t inf, nan, subnormal, flushed;
    float max;
} vs_half_tally;

typedef struct vs_kernels {
    const char *isa;
    void (*add_bias)(float *y, const float *b, size_t n);
    void (*layernorm)(const float *x, const float *g, const float *b, double eps, float *y, size_t n);
    /* s = e^(s * scale - max), so that softmax is s / the returned sum. */
    double (*softmax)(float *s, float scale, size_t n);
    void (*scale)(float *y, float factor, size_t n);
    /* lo = a cos - b sin, hi = b cos + a sin */
    void (*rotate)(const float *a, const float *b, const float *cosines, const float *sines, float *lo, float *hi, size_t n);
    void (*gelu)(const float *x, float *y, size_t n);
    void (*gelu_tanh)(const float *x, float *y, size_t n);
    /* y = silu(gate) * x */
    void (*silu_mul)(const float *gate, const float *x, float *y, size_t n);
    void (*scale_add)(const float *x, const float *u, const float *gamma, float *y, size_t n);
    void (*affine)(const float *x, const float *a, const float *b, float *y, size_t n);
    void (*divide)(const float *x, const float *s, float *y, size_t n);
    void (*multiply)(const float *x, const float *s, float *y, size_t n);
    void (*fake_quant)(const float *x, const vs_grid *grid, float *y, size_t n);
    void (*fake_quant_counted)(const float *x, const vs_grid *grid, float *y, size_t n, vs_quant_counts *counts);
    void (*quantize_u8)(const float *x, const vs_grid *grid, uint8_t *codes, size_t n);
    void (*quantize_s8)(const float *x, const vs_grid *grid, int8_t *codes, size_t n);
    void (*round_half)(const float *x, vs_half_format format, float *y, size_t n);
    vs_half_tally (*half_tally)(const float *x, vs_half_format format, size_t n);
    float (*absmax)(const float *x, size_t n);
    void (*error_sums)(const float *x, const float *y, size_t n, vs_error_sums *sums); /* adds */
    int32_t (*dot_i8)(const uint8_t *x, const int8_t *w, size_t n);                    /* exact; n <= VS_MAX_I8_TERMS */
    /* lo[c], hi[c] over rows of a column strip at most VS_STRIP wide. */
    void (*minmax_strip)(const float *x, size_t ld, size_t rows, size_t cols, float *lo, float *hi);
    double (*sum_abs)(const float *x, size_t n);
    void (*add_squares)(const float *x, double *energy, size_t n);
    uint64_t (*count_below)(const float *x, float threshold, size_t n);
    /* counts[clamp(floor((x - lo) * factor), 0, last)]++, NaN nowhere */
    void (*range_histogram)(const float *x, double lo, double factor, uint32_t last, uint64_t *counts, size_t n);
    void (*histogram)(const float *x, uint32_t *bins, size_t n); /* adds to bins[VS_HIST_BINS] */
} vs_kernels;

enum { VS_STRIP = 64 };

extern const vs_kernels vs_kernels_scalar;
#ifdef VS_X86
extern const vs_kernels vs_kernels_avx2, vs_kernels_avx512;
#endif

#endif
