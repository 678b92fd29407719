/* Rounding to 16-bit formats (docs/fp16-reference.md 1), and the single operations that decomposed norms and activations are made
 * of. */
#include <float.h>
#include <math.h>

#include "backend/ref/ref.h"

/* By the definition: a multiple of the last bit that numbers of x's exponent have, half to even. */
static double round_to(double x, int digits, int lowest, double limit) {
    if (!isfinite(x) || x == 0) return x;
    int exponent = 0;
    frexp(x, &exponent);
    const int last = exponent - digits > lowest ? exponent - digits : lowest;
    const double rounded = ldexp(rint(ldexp(x, -last)), last);
    return fabs(rounded) > limit ? copysign(HUGE_VAL, x) : rounded;
}

static double rounded(double x, vs_half_format format) {
    const double v = (double)(float)x; /* what a float32 register holds */
    if (format == VS_HALF_FP16) return round_to(v, 11, -24, 65504);
    return format == VS_HALF_BF16 ? round_to(v, 8, -133, 0x1.fep127) : round_to(v, 11, -136, 0x1.ffcp127);
}

static void count(vs_half_counts *o, double x, double y, vs_half_format format, size_t row, size_t col) {
    const double normal = format == VS_HALF_FP16 ? 0x1p-14 : 0x1p-126;
    if (isnan(x)) o->nan++;
    if (y != 0 && fabs(y) < normal) o->subnormal++;
    if (x != 0 && y == 0) o->flushed++;
    if (!isfinite(x)) return;
    if (isinf(y) && o->inf++ == 0) {
        o->first_row = row;
        o->first_col = col;
    }
    if (fabs(x) > o->max) {
        o->max = fabs(x);
        o->max_row = row;
        o->max_col = col;
    }
}

void vs_ref_round_half(const vs_backend *self, vs_mat x, vs_half_format format, vs_mat y, size_t images,
                       vs_half_counts *const *counts) {
    (void)self;
    const size_t rows = x.rows / images;
    for (size_t i = 0; counts && i < images; i++) *counts[i] = (vs_half_counts){ 0 };
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = (double)(float)vs_ref_row(x, r)[c], h = rounded(v, format);
            if (counts) count(counts[r / rows], v, h, format, r % rows, c);
            vs_ref_row(y, r)[c] = h;
        }
}

static double element(vs_element op, double x, double u) {
    switch (op) {
    case VS_ELEMENT_ADD: return x + u;
    case VS_ELEMENT_SUB: return x - u;
    case VS_ELEMENT_MUL: return x * u;
    case VS_ELEMENT_DIV: return x / u;
    case VS_ELEMENT_SQRT: return sqrt(x);
    case VS_ELEMENT_ERF: return erf(x);
    case VS_ELEMENT_SIGMOID: return 1 / (1 + exp(-x));
    case VS_ELEMENT_TANH: return tanh(x);
    case VS_ELEMENT_EXP: break;
    }
    return exp(x);
}

void vs_ref_elementwise(const vs_backend *self, vs_element op, vs_mat x, vs_mat u, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = u.p ? vs_ref_row(u, u.rows == 1 ? 0 : r)[u.cols == 1 ? 0 : c] : 0;
            vs_ref_row(y, r)[c] = element(op, vs_ref_row(x, r)[c], v);
        }
}

static double sum_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += x[c];
    return sum;
}

void vs_ref_row_mean(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) *vs_ref_row(y, r) = sum_of(vs_ref_row(x, r), x.cols) / (double)x.cols;
}

void vs_ref_row_sum(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) *vs_ref_row(y, r) = sum_of(vs_ref_row(x, r), x.cols);
}

void vs_ref_row_max(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        double largest = -HUGE_VAL;
        for (size_t c = 0; c < x.cols; c++) largest = fmax(largest, vs_ref_row(x, r)[c]);
        *vs_ref_row(y, r) = largest;
    }
}

void vs_ref_exp_rows(const vs_backend *self, vs_mat x, double scale, vs_mat y, vs_mat sums) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        double largest = -HUGE_VAL, sum = 0;
        for (size_t c = 0; c < x.cols; c++) largest = fmax(largest, vs_ref_row(x, r)[c] * scale);
        for (size_t c = 0; c < x.cols; c++) sum += vs_ref_row(y, r)[c] = exp(vs_ref_row(x, r)[c] * scale - largest);
        *vs_ref_row(sums, r) = sum;
    }
}
