/* 16-bit formats and the single operations that decomposed norms and activations are made of, against ref. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/harness.h"

/* Around every edge of both formats: overflow, ties, the smallest normal and subnormal numbers, zeros, what is not finite. */
static float edge_value(vs_rng *rng) {
    static const float edges[] = { 65504.0f,       65519.996f,  65520.0f,        65536.0f,        0x1p-14f,
                                   0x1p-24f,       0x1p-25f,    0x1.000002p-25f, 0x1.fffp-15f,    0x1.ffep-15f,
                                   1.00048828125f, 2049.0f,     0x1p-126f,       0x1p-133f,       0x1p-134f,
                                   0x1p-149f,      0x1.fep127f, 0x1.ffp127f,     0x1.fefffep127f, 0.0f,
                                   INFINITY,       NAN,         1e-3f,           70000.0f };
    const float v = edges[vs_rng_next(rng) % (sizeof edges / sizeof *edges)];
    return vs_rng_next(rng) & 1 ? v : -v;
}

static void round_case(ops_context *c, vs_half_format format, size_t images, size_t rows, size_t cols, ops_values v, bool edges) {
    begin(c, OP_EXACT, v, "round_half format %d, %zu images [%zu,%zu]%s", (int)format, images, rows, cols,
          edges ? ", edges" : "");
    float *values = vs_calloc(images * rows * cols, sizeof *values);
    vs_half_counts want[3], got[3];
    vs_half_counts *const wants[] = { &want[0], &want[1], &want[2] }, *const gots[] = { &got[0], &got[1], &got[2] };
    for (size_t i = 0; i < images * rows * cols; i++) values[i] = edges ? edge_value(&c->rng) : random_value(c, v, i % cols);
    tensor *x = input_from(c, images * rows, cols, values), *y = output(c, images * rows, cols);
    c->ref->ops->round_half(c->ref, x->ref, format, y->ref, images, wants);
    c->dut->ops->round_half(c->dut, x->dut, format, y->dut, images, gots);
    settle(c);
    compare_exact(c, y);
    for (size_t i = 0; i < images; i++) {
        require(c, want[i].inf == got[i].inf && want[i].nan == got[i].nan, "image %zu: infinite or NaN", i);
        require(c, want[i].subnormal == got[i].subnormal && want[i].flushed == got[i].flushed, "image %zu: subnormal or flushed",
                i);
        require(c, want[i].max == got[i].max && want[i].max_row == got[i].max_row && want[i].max_col == got[i].max_col,
                "image %zu: largest", i);
        require(c, want[i].inf == 0 || (want[i].first_row == got[i].first_row && want[i].first_col == got[i].first_col),
                "image %zu: first", i);
    }
    free(values);
    finish(c);
}

void test_round_half(void **state) {
    ops_context *c = *state;
    for (vs_half_format f = VS_HALF_FP16; f < VS_HALF_FORMATS; f++)
        for (size_t i = 0; i < SHAPE_COUNT; i += stride()) {
            round_case(c, f, 1, SHAPES[i].rows, SHAPES[i].cols, VALUES_NORMAL, true);
            round_case(c, f, 3, SHAPES[i].rows, SHAPES[i].cols, VALUES_DENORMAL, false);
            round_case(c, f, 2, SHAPES[i].rows, SHAPES[i].cols, VALUES_OUTLIERS, false);
        }
}

/* One operation, one rounding; erf has a relative error of its own, sigmoid and e^x that of expf, which has float32's smallest
 * numbers too. */
static void element_case(ops_context *c, vs_element op, shape s, size_t u_rows, size_t u_cols, ops_values v) {
    begin(c, op >= VS_ELEMENT_SIGMOID ? OP_SILU_MUL : OP_AFFINE, v, "element %d, [%zu,%zu] with [%zu,%zu]", (int)op, s.rows,
          s.cols, u_rows, u_cols);
    float *values = vs_calloc(s.rows * s.cols, sizeof *values);
    for (size_t i = 0; i < s.rows * s.cols; i++) {
        values[i] = random_value(c, v, i % s.cols);
        if (op == VS_ELEMENT_EXP) values[i] = -fabsf(values[i]); /* float32 ends at e^88; softmax asks for none above 1 */
    }
    tensor *x = input_from(c, s.rows, s.cols, values), *u = input(c, u_rows, u_cols, VALUES_NORMAL),
           *y = output(c, s.rows, s.cols);
    const bool unary = op >= VS_ELEMENT_SQRT;
    c->ref->ops->elementwise(c->ref, op, x->ref, unary ? (vs_mat){ 0 } : u->ref, y->ref);
    c->dut->ops->elementwise(c->dut, op, x->dut, unary ? (vs_mat){ 0 } : u->dut, y->dut);
    fetch(c, y);
    double *bound = doubles(s.rows * s.cols);
    for (size_t j = 0; j < s.rows * s.cols; j++) bound[j] = isfinite(y->want[j]) ? fabs(y->want[j]) + 0x1p-126 / 0x1p-24 : 0;
    compare(c, y, bound);
    free(bound);
    free(values);
    finish(c);
}

void test_single_operations(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (vs_element op = VS_ELEMENT_ADD; op <= VS_ELEMENT_TANH; op++) {
            const shape s = SHAPES[i];
            element_case(c, op, s, s.rows, s.cols, VALUES_NORMAL);
            element_case(c, op, s, 1, s.cols, VALUES_OUTLIERS);
            element_case(c, op, s, s.rows, 1, VALUES_LARGE_MEAN);
            element_case(c, op, s, 1, 1, VALUES_NORMAL);
        }
}

static void sum_case(ops_context *c, shape s, ops_values v, bool mean) {
    begin(c, OP_DIV, v, "row_%s [%zu,%zu]", mean ? "mean" : "sum", s.rows, s.cols);
    tensor *x = input(c, s.rows, s.cols, v), *y = output(c, s.rows, 1);
    if (mean) {
        c->ref->ops->row_mean(c->ref, x->ref, y->ref);
        c->dut->ops->row_mean(c->dut, x->dut, y->dut);
    } else {
        c->ref->ops->row_sum(c->ref, x->ref, y->ref);
        c->dut->ops->row_sum(c->dut, x->dut, y->dut);
    }
    double *bound = doubles(s.rows); /* a float64 sum, rounded to float32 once */
    for (size_t r = 0; r < s.rows; r++)
        for (size_t j = 0; j < s.cols; j++) bound[r] += fabs((double)value_at(x, r, j)) / (mean ? (double)s.cols : 1);
    compare(c, y, bound);
    free(bound);
    finish(c);
}

/* The last row has no number at all, others NaN among numbers. */
static void max_case(ops_context *c, shape s, ops_values v) {
    begin(c, OP_EXACT, v, "row_max [%zu,%zu]", s.rows, s.cols);
    float *values = vs_calloc(s.rows * s.cols, sizeof *values);
    for (size_t i = 0; i < s.rows * s.cols; i++)
        values[i] = i / s.cols + 1 == s.rows || i % 7 == 3 ? NAN : random_value(c, v, i % s.cols);
    tensor *x = input_from(c, s.rows, s.cols, values), *y = output(c, s.rows, 1);
    c->ref->ops->row_max(c->ref, x->ref, y->ref);
    c->dut->ops->row_max(c->dut, x->dut, y->dut);
    settle(c);
    compare_exact(c, y);
    free(values);
    finish(c);
}

/* As for softmax: the difference to the row's largest is rounded once, a relative error of e^it. */
static void exp_case(ops_context *c, shape s, double scale, ops_values v) {
    begin(c, OP_SOFTMAX, v, "exp_rows [%zu,%zu] scale %g", s.rows, s.cols, scale);
    tensor *x = input(c, s.rows, s.cols, v), *y = output(c, s.rows, s.cols), *sums = output(c, s.rows, 1);
    c->ref->ops->exp_rows(c->ref, x->ref, scale, y->ref, sums->ref);
    c->dut->ops->exp_rows(c->dut, x->dut, scale, y->dut, sums->dut);
    fetch(c, y);
    double *bound = doubles(s.rows * s.cols), *sum_bound = doubles(s.rows);
    for (size_t r = 0; r < s.rows; r++) {
        double largest = 0;
        for (size_t j = 0; j < s.cols; j++) largest = fmax(largest, fabs(scale * (double)value_at(x, r, j)));
        for (size_t j = 0; j < s.cols; j++) {
            bound[r * s.cols + j] = y->want[r * s.cols + j] * (1 + largest) + exp(-87) / 0x1p-24;
            sum_bound[r] += bound[r * s.cols + j];
        }
    }
    compare(c, y, bound);
    compare(c, sums, sum_bound);
    free(bound);
    free(sum_bound);
    finish(c);
}

void test_row_sums(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            sum_case(c, SHAPES[i], v, true);
            sum_case(c, SHAPES[i], v, false);
            max_case(c, SHAPES[i], v);
            exp_case(c, SHAPES[i], 0.125, v);
        }
}
