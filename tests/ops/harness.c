#include "ops/harness.h"

#include <stdarg.h>

enum { GUARD = 40, PADDING = 5 };
static const float GUARD_VALUE = -7654.25f; /* exact in both types */
static const double UNIT = 0x1p-24;

/* k: how many roundings of the bound's size an element may show. */
static const struct {
    const char *name;
    double k;
    const char *reason;
} TOLERANCES[OP_COUNT] = {
    [OP_LINEAR] = { "linear", 4, "random walk of K roundings: the bound carries sqrt(K)" },
    [OP_LAYERNORM] = { "layernorm", 4, "float64 inside; (x - mean) / sd, * g, + b each round once" },
    [OP_ATTENTION] = { "attention", 4, "scores' roundings become relative errors of e^score; then a product" },
    [OP_SOFTMAX] = { "exp", 4, "e^r by polynomial 2, sum and division 2; arguments are exact" },
    [OP_ROPE] = { "rope", 2, "of |a cos| + |b sin|: two products and a sum" },
    [OP_GELU] = { "gelu", 4, "erf, 1 + erf, * x / 2" },
    [OP_GELU_TANH] = { "gelu_tanh", 5,
                       "the argument's four roundings count at most 0.23 |z| each near z = 1.5; e^-|z|, a division, a product" },
    [OP_SILU_MUL] = { "silu_mul", 4, "of |z x|: 1 + e^-|z|, a division and two products; e's own error counts half" },
    [OP_DEPTHWISE] = { "depthwise3x3", 9, "nine products and their sum" },
    [OP_MASK_SCORES] = { "mask_scores", 5, "of the terms' sum: a sigmoid 3, a product, and sums" },
    [OP_SCALE_ADD] = { "scale_add", 2, "a product and a sum" },
    [OP_AFFINE] = { "affine", 2, "a product and a sum" },
    [OP_DIV] = { "div_channels", 1, "one division" },
    [OP_MUL] = { "mul_channels", 0, "exact: ref rounds to float32 too" },
    [OP_TOKENS] = { "tokens", 0, "exact: one float32 sum" },
    [OP_COPY] = { "copy", 0, "exact" },
    [OP_SUMS] = { "sums", 1e-3, "float64 sums in another order" },
    [OP_EXACT] = { "exact", 0, "codes, counts, extremes" },
};

const shape SHAPES[] = { { 1, 1 },    { 2, 1 },    { 1, 2 },   { 3, 3 },    { 5, 7 },     { 2, 8 },    { 7, 15 },
                         { 3, 16 },   { 2, 17 },   { 4, 31 },  { 5, 33 },   { 3, 63 },    { 2, 64 },   { 9, 65 },
                         { 17, 127 }, { 33, 129 }, { 65, 48 }, { 31, 257 }, { 257, 192 }, { 130, 768 } };
const size_t SHAPE_COUNT = sizeof SHAPES / sizeof *SHAPES;

size_t stride(void) { return getenv("VS_OPS_QUICK") ? 3 : 1; }

const char *values_name(ops_values values) {
    static const char *const names[VALUES_CLASSES] = { "normal", "outliers", "large mean", "denormal", "zeros" };
    return names[values];
}

static double tolerance_scale(void) {
    const char *text = getenv("VS_TOL_SCALE");
    return text ? strtod(text, NULL) : 1;
}

void require(ops_context *c, bool ok, const char *format, ...) {
    if (ok) return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail_msg("%s: %s", c->what, text);
}

double *doubles(size_t count) {
    double *p = vs_calloc(count ? count : 1, sizeof *p);
    assert_non_null(p);
    return p;
}

void begin(ops_context *c, ops_name op, ops_values values, const char *format, ...) {
    char shape_text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(shape_text, sizeof shape_text, format, args);
    va_end(args);
    c->op = op;
    c->seed++;
    c->rng = (vs_rng){ c->seed * 7919 };
    snprintf(c->what, sizeof c->what, "%s on %s (%s), %s, %s values, seed %llu", TOLERANCES[op].name, c->dut->name, c->dut->isa,
             shape_text, values_name(values), (unsigned long long)c->seed);
}

float random_value(ops_context *c, ops_values values, size_t col) {
    const double n = vs_rng_normal(&c->rng);
    switch (values) {
    case VALUES_OUTLIERS: return (float)(col % 7 == 3 ? 1000 * n : n);
    case VALUES_LARGE_MEAN: return (float)(100 + 0.01 * n);
    case VALUES_DENORMAL: return (float)(n * 0x1p-130);
    case VALUES_ZEROS: return n < 0 ? -0.0f : 0.0f;
    default: return (float)n;
    }
}

static void *guarded(const vs_backend *be, const tensor *t) {
    vs_error err = { 0 };
    void *base = be->ops->alloc(be, t->total);
    assert_non_null(base);
    assert_int_equal(be->ops->upload(be, base, t->host, t->total, &err), VS_OK);
    return base;
}

/* Guards at both ends. In every second case rows begin at multiples of four floats, in the others anywhere. */
static tensor *make(ops_context *c, size_t rows, size_t cols, bool is_output) {
    tensor *t = vs_calloc(1, sizeof *t);
    assert_non_null(t);
    const bool aligned = c->seed % 2 == 0;
    const size_t ld = aligned ? (cols + 3) / 4 * 4 : cols + c->seed % PADDING, shift = (size_t)(vs_rng_next(&c->rng) % 3);
    *t = (tensor){ .next = c->tensors, .rows = rows, .cols = cols, .ld = ld, .output = is_output };
    t->first = GUARD + (aligned ? 0 : shift);
    t->total = t->first + rows * t->ld + GUARD;
    t->host = vs_calloc(t->total, sizeof *t->host);
    t->want = doubles(rows * cols);
    t->got = doubles(rows * cols);
    assert_non_null(t->host);
    for (size_t i = 0; i < t->total; i++) t->host[i] = GUARD_VALUE;
    c->tensors = t;
    return t;
}

static tensor *place(ops_context *c, tensor *t) {
    t->ref_base = guarded(c->ref, t);
    t->dut_base = guarded(c->dut, t);
    t->ref = (vs_mat){ (double *)t->ref_base + t->first, t->rows, t->cols, t->ld };
    t->dut = (vs_mat){ (char *)t->dut_base + t->first * (size_t)c->dut->scalar, t->rows, t->cols, t->ld };
    return t;
}

static float *interior(const tensor *t, size_t row, size_t col) { return t->host + t->first + row * t->ld + col; }
float value_at(const tensor *t, size_t row, size_t col) { return *interior(t, row, col); }

tensor *input(ops_context *c, size_t rows, size_t cols, ops_values values) {
    tensor *t = make(c, rows, cols, false);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < cols; i++) *interior(t, r, i) = random_value(c, values, i);
    return place(c, t);
}

tensor *input_from(ops_context *c, size_t rows, size_t cols, const float *values) {
    tensor *t = make(c, rows, cols, false);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < cols; i++) *interior(t, r, i) = values[r * cols + i];
    return place(c, t);
}

tensor *output(ops_context *c, size_t rows, size_t cols) {
    tensor *t = make(c, rows, cols, true);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < cols; i++) *interior(t, r, i) = NAN;
    return place(c, t);
}

void settle(ops_context *c) {
    vs_error err = { 0 };
    if (c->dut->ops->sync(c->dut, &err) != VS_OK) fail_msg("%s: %s", c->what, err.message);
}

/* `count` reals as float64. */
static void download(const vs_backend *be, vs_mat m, double *to) {
    vs_error err = { 0 };
    const size_t count = m.rows * m.cols;
    void *raw = vs_calloc(count ? count : 1, (size_t)be->scalar);
    assert_non_null(raw);
    if (be->ops->download(be, raw, m, &err) != VS_OK || be->ops->sync(be, &err) != VS_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < count; i++) to[i] = be->scalar == VS_SCALAR_F64 ? ((double *)raw)[i] : (double)((float *)raw)[i];
    free(raw);
}

void fetch(ops_context *c, tensor *t) {
    download(c->ref, t->ref, t->want);
    download(c->dut, t->dut, t->got);
}

static void compare_at(ops_context *c, const char *what, size_t row, size_t col, double got, double want, double bound) {
    const double smallest = 0x1p-149; /* one denormal step: what rounding below 2^-126 costs */
    if (isnan(want) || isinf(want)) {
        require(c, isnan(want) ? isnan(got) : got == want, "%s[%zu,%zu] is %g, ref has %g", what, row, col, got, want);
        return;
    }
    const double tol = tolerance_scale() * TOLERANCES[c->op].k * bound * UNIT + (TOLERANCES[c->op].k > 0 ? 2 * smallest : 0);
    const double err = fabs(got - want);
    require(c, err <= tol, "%s[%zu,%zu] is %.9g, ref has %.17g: off by %.3g, allowed %.3g", what, row, col, got, want, err, tol);
    if (tol > 0 && err / tol > c->worst[c->op]) c->worst[c->op] = err / tol;
}

void compare(ops_context *c, tensor *t, const double *bound) {
    fetch(c, t);
    for (size_t i = 0; i < t->rows * t->cols; i++) compare_at(c, "y", i / t->cols, i % t->cols, t->got[i], t->want[i], bound[i]);
}

void compare_exact(ops_context *c, tensor *t) {
    fetch(c, t);
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        const double want = (double)(float)t->want[i];
        require(c, t->got[i] == want || (isnan(want) && isnan(t->got[i])), "y[%zu,%zu] is %.9g, ref has %.9g", i / t->cols,
                i % t->cols, t->got[i], want);
    }
}

void compare_value(ops_context *c, const char *what, double got, double want, double bound) {
    compare_at(c, what, 0, 0, got, want, bound);
}

static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static void check_untouched(ops_context *c, const tensor *t, const vs_backend *be, void *base) {
    double *now = doubles(t->total);
    download(be, (vs_mat){ base, 1, t->total, t->total }, now);
    for (size_t i = 0; i < t->total; i++) {
        const size_t at = i - t->first; /* wraps in the first guard */
        const bool inside = i >= t->first && at < t->rows * t->ld && at % t->ld < t->cols;
        if (inside && t->output) continue;
        if (!same(now[i], (double)t->host[i]))
            fail_msg("%s: %s wrote %s element %zu of %zu", c->what, be->name, inside ? "input" : "guard", i, t->total);
    }
    free(now);
}

void finish(ops_context *c) {
    while (c->tensors) {
        tensor *t = c->tensors;
        check_untouched(c, t, c->ref, t->ref_base);
        check_untouched(c, t, c->dut, t->dut_base);
        c->ref->ops->free(c->ref, t->ref_base);
        c->dut->ops->free(c->dut, t->dut_base);
        c->tensors = t->next;
        free(t->host);
        free(t->want);
        free(t->got);
        free(t);
    }
}

void print_worst(const ops_context *c) {
    printf("worst use of the tolerance, %s (%s):\n", c->dut->name, c->dut->isa);
    for (size_t i = 0; i < OP_COUNT; i++)
        if (TOLERANCES[i].k > 0)
            printf("  %-14s %6.1f %%   k = %-6g %s\n", TOLERANCES[i].name, 100 * c->worst[i], TOLERANCES[i].k,
                   TOLERANCES[i].reason);
}
