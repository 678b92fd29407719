/* 16-bit formats (docs/fp16-reference.md 1), and the single operations that decomposed norms and activations are made of. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/kernels.h"
#include "backend/half_round.h"

static float rounded(float x, vs_half_format format) {
    if (format == VS_HALF_FP16) return vs_round_fp16(x);
    return format == VS_HALF_BF16 ? vs_round_bf16(x) : vs_round_wide(x);
}

/* The first value that overflows in a row that has one. */
static size_t find_overflow(const float *x, vs_half_format format, size_t n) {
    for (size_t c = 0; c < n; c++)
        if (isfinite(x[c]) && isinf(rounded(x[c], format))) return c;
    return 0;
}

static size_t find_magnitude(const float *x, float magnitude, size_t n) {
    for (size_t c = 0; c < n; c++)
        if (fabsf(x[c]) == magnitude) return c;
    return 0;
}

static void count_row(const vs_kernels *kernels, const float *x, vs_half_format format, size_t row, size_t n,
                      vs_half_counts *counts) {
    const vs_half_tally t = kernels->half_tally(x, format, n);
    if (t.inf && counts->inf == 0) {
        counts->first_row = row;
        counts->first_col = find_overflow(x, format, n);
    }
    if ((double)t.max > counts->max) {
        counts->max = (double)t.max;
        counts->max_row = row;
        counts->max_col = find_magnitude(x, t.max, n);
    }
    counts->inf += t.inf;
    counts->nan += t.nan;
    counts->subnormal += t.subnormal;
    counts->flushed += t.flushed;
}

void vs_cpu_round_half(const vs_backend *self, vs_mat x, vs_half_format format, vs_mat y, size_t images,
                       vs_half_counts *const *counts) {
    const vs_kernels *kernels = vs_cpu_kernels(self);
    const size_t rows = x.rows / images;
    for (size_t i = 0; counts && i < images; i++) *counts[i] = (vs_half_counts){ 0 };
    for (size_t r = 0; r < x.rows; r++) {
        if (counts) count_row(kernels, vs_cpu_row(x, r), format, r % rows, x.cols, counts[r / rows]);
        kernels->round_half(vs_cpu_row(x, r), format, vs_cpu_row(y, r), x.cols);
    }
}

/* e^-|x| never overflows; both signs share it. */
static float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* One loop an operation; `step` is 1 where u has a value a column, 0 where one serves the row. */
static void element_row(vs_element op, const float *x, const float *u, size_t step, float *y, size_t n) {
    switch (op) {
    case VS_ELEMENT_ADD:
        for (size_t c = 0; c < n; c++) y[c] = x[c] + u[c * step];
        break;
    case VS_ELEMENT_SUB:
        for (size_t c = 0; c < n; c++) y[c] = x[c] - u[c * step];
        break;
    case VS_ELEMENT_MUL:
        for (size_t c = 0; c < n; c++) y[c] = x[c] * u[c * step];
        break;
    case VS_ELEMENT_DIV:
        for (size_t c = 0; c < n; c++) y[c] = x[c] / u[c * step];
        break;
    case VS_ELEMENT_SQRT:
        for (size_t c = 0; c < n; c++) y[c] = sqrtf(x[c]);
        break;
    case VS_ELEMENT_ERF:
        for (size_t c = 0; c < n; c++) y[c] = erff(x[c]);
        break;
    case VS_ELEMENT_SIGMOID:
        for (size_t c = 0; c < n; c++) y[c] = sigmoid(x[c]);
        break;
    case VS_ELEMENT_EXP:
        for (size_t c = 0; c < n; c++) y[c] = expf(x[c]);
        break;
    case VS_ELEMENT_TANH:
        for (size_t c = 0; c < n; c++) y[c] = tanhf(x[c]);
        break;
    }
}

void vs_cpu_elementwise(const vs_backend *self, vs_element op, vs_mat x, vs_mat u, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        element_row(op, vs_cpu_row(x, r), u.p ? vs_cpu_row(u, u.rows == 1 ? 0 : r) : vs_cpu_row(x, r) /* is not read */,
                    u.cols == 1 ? 0 : 1, vs_cpu_row(y, r), x.cols);
}

static double sum_of(const float *x, size_t n) {
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += (double)x[c];
    return sum;
}

void vs_cpu_row_mean(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) *vs_cpu_row(y, r) = (float)(sum_of(vs_cpu_row(x, r), x.cols) / (double)x.cols);
}

void vs_cpu_row_sum(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) *vs_cpu_row(y, r) = (float)sum_of(vs_cpu_row(x, r), x.cols);
}

void vs_cpu_row_max(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        const float *row = vs_cpu_row(x, r);
        float largest = -INFINITY;
        for (size_t c = 0; c < x.cols; c++) largest = row[c] > largest ? row[c] : largest;
        *vs_cpu_row(y, r) = largest;
    }
}

void vs_cpu_exp_rows(const vs_backend *self, vs_mat x, double scale, vs_mat y, vs_mat sums) {
    for (size_t r = 0; r < x.rows; r++) {
        float *row = vs_cpu_row(y, r);
        if (row != vs_cpu_row(x, r)) memcpy(row, vs_cpu_row(x, r), x.cols * sizeof *row);
        *vs_cpu_row(sums, r) = (float)vs_cpu_kernels(self)->softmax(row, (float)scale, x.cols);
    }
}
