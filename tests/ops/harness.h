/* Runs an operation on the tested backend and on ref from the same float32 inputs and compares.
 *
 * A tensor lives twice, once on each backend, inside guarded memory: rows have padding (ld > cols), both ends have
 * guards, outputs start as NaN. `finish` checks that guards, padding and inputs are untouched.
 *
 *     |y - ref| <= VS_TOL_SCALE * k * bound * 2^-24 + floor      written so that NaN fails
 *
 * where k is the operation's entry in harness.c, and the case computes bound per element (for a dot product, the sum of
 * |a b| times the growth it may have). NaN and infinities must agree in kind. */
#ifndef VS_OPS_HARNESS_H
#define VS_OPS_HARNESS_H

#include "support/check.h"
#include "util/util.h"
#include "vitscope/backend.h"

typedef enum ops_values {
    VALUES_NORMAL,
    VALUES_OUTLIERS,   /* every seventh channel x1000 */
    VALUES_LARGE_MEAN, /* mean 100, sigma 0.01 */
    VALUES_DENORMAL,   /* below 2^-126 */
    VALUES_ZEROS,      /* +0 and -0 */
    VALUES_CLASSES
} ops_values;

typedef enum ops_name {
    OP_LINEAR,
    OP_LAYERNORM,
    OP_ATTENTION,
    OP_SOFTMAX,
    OP_ROPE,
    OP_GELU,
    OP_GELU_TANH,
    OP_SILU_MUL,
    OP_DEPTHWISE,
    OP_MASK_SCORES,
    OP_SCALE_ADD,
    OP_AFFINE,
    OP_DIV,
    OP_MUL,
    OP_TOKENS,
    OP_COPY,
    OP_SUMS,
    OP_EXACT,
    OP_COUNT
} ops_name;

typedef struct tensor tensor;
typedef struct ops_context {
    vs_backend *ref, *dut;
    vs_rng rng;
    uint64_t seed;
    tensor *tensors; /* of the running case */
    ops_name op;
    char what[160]; /* op, shape, values, seed: the start of every failure message */
    double worst[OP_COUNT];
} ops_context;

struct tensor {
    tensor *next;
    size_t rows, cols, ld, total, first; /* total elements, the first of them that is not guard */
    bool output;
    float *host; /* [total] as uploaded */
    void *ref_base, *dut_base;
    vs_mat ref, dut;
    double *want, *got; /* [rows * cols], after fetch */
};

/* Names the case; every check below quotes it. */
void begin(ops_context *c, ops_name op, ops_values values, const char *format, ...) VS_PRINTF(4, 5);
tensor *input(ops_context *c, size_t rows, size_t cols, ops_values values);
/* From packed host values. */
tensor *input_from(ops_context *c, size_t rows, size_t cols, const float *values);
tensor *output(ops_context *c, size_t rows, size_t cols);
/* Vector operands have one row. */
float value_at(const tensor *t, size_t row, size_t col);
/* Numbers that operations of the tested backend wrote for the host may be read after this. */
void settle(ops_context *c);
/* Downloads both into want and got. */
void fetch(ops_context *c, tensor *t);
/* Fetches and compares; bound [rows * cols]. */
void compare(ops_context *c, tensor *t, const double *bound);
/* Fetches and requires got == want as float32. */
void compare_exact(ops_context *c, tensor *t);
/* One number against its bound. */
void compare_value(ops_context *c, const char *what, double got, double want, double bound);
void require(ops_context *c, bool ok, const char *format, ...) VS_PRINTF(3, 4);
/* Checks guards, padding and inputs, and frees the case's tensors. */
void finish(ops_context *c);
double *doubles(size_t count);
const char *values_name(ops_values values);
void print_worst(const ops_context *c);
float random_value(ops_context *c, ops_values values, size_t col);

/* The sizes that straddle vector widths, and those of the models. */
typedef struct shape {
    size_t rows, cols;
} shape;
extern const shape SHAPES[];
extern const size_t SHAPE_COUNT;
/* Step through lists of cases: 1, or more where VS_OPS_QUICK is set (for tools that make every access slow). */
size_t stride(void);

/* The cases, by file. cmocka's state is the ops_context. */
void test_linear(void **state);
void test_layernorm(void **state);
void test_attention(void **state);
void test_attention_steps(void **state);
void test_rope(void **state);
void test_gelu(void **state);
void test_gelu_tanh(void **state);
void test_silu_mul(void **state);
void test_silu_mul_tails(void **state);
void test_unfold_depthwise(void **state);
void test_softmax_scores(void **state);
void test_elementwise(void **state);
void test_patchify_tokens_copy(void **state);
void test_linear_i8(void **state);
void test_nonfinite_forward(void **state);

void test_round_half(void **state);
void test_single_operations(void **state);
void test_row_sums(void **state);

void test_half_elements(void **state);
void test_half_linear(void **state);
void test_half_attention(void **state);
void test_half_rows(void **state);

void test_fake_quant(void **state);
void test_fake_quant_rows(void **state);
void test_fake_quant_tokens(void **state);
void test_quantize_u8(void **state);
void test_ties_and_nonfinite(void **state);
void test_grid_round_trip(void **state);

void test_minmax(void **state);
void test_range_histogram(void **state);
void test_error_sums(void **state);
void test_abs_stats(void **state);
void test_images_equal_separate_calls(void **state);
void test_shared_counters(void **state);
void test_counts(void **state);
void test_tall_and_wide(void **state);
void test_nonfinite_statistics(void **state);
void test_histogram_bins(void **state);

void test_exp_full_range(void **state);
void test_gelu_full_range(void **state);
void test_gelu_tanh_full_range(void **state);
void test_softmax_properties(void **state);
void test_layernorm_shift(void **state);
void test_in_place(void **state);
void test_threads_equal_bits(void **state);
void test_position_in_memory(void **state);
void test_empty(void **state);

#endif
