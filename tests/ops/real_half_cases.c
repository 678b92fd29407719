/* Real half arithmetic (vitscope/half_ops.h) against ref's float64 on the same halves, rounded once.
 *
 * Conversions, sums, differences and products are exact. Everything else works in float32 and rounds: a result may fall on the
 * other side of a tie, one unit in the last place, and is off by what float32 adds before that, which the case bounds. Where a
 * backend has no half kernels but host memory, plain loops (tests/support/host_half.c) are tested instead. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/harness.h"
#include "vitscope/half_ops.h"

enum { MARGIN = 40 };
static const float MARK = 1234; /* a half */

/* A matrix of halves in marked memory of the tested backend. */
typedef struct halves {
    size_t total, first;
    void *base;
    vs_half_mat m;
} halves;

static halves make_halves(ops_context *c, size_t rows, size_t cols) {
    const bool aligned = c->seed % 2 == 0;
    const size_t ld = aligned ? (cols + 7) / 8 * 8 : cols + c->seed % 3;
    halves h = { .first = MARGIN + (aligned ? 0 : (size_t)(vs_rng_next(&c->rng) % 3)) };
    h.total = h.first + rows * ld + MARGIN;
    h.base = c->dut->ops->alloc(c->dut, h.total / 2 + 1);
    float *marks = vs_calloc(h.total, sizeof *marks);
    void *uploaded = c->dut->ops->alloc(c->dut, h.total);
    vs_error err = { 0 };
    assert_true(h.base && marks && uploaded);
    for (size_t i = 0; i < h.total; i++) marks[i] = MARK;
    assert_int_equal(c->dut->ops->upload(c->dut, uploaded, marks, h.total, &err), VS_OK);
    c->dut->half->store(c->dut, (vs_mat){ uploaded, 1, h.total, h.total }, (vs_half_mat){ h.base, 1, h.total, h.total });
    assert_int_equal(c->dut->ops->sync(c->dut, &err), VS_OK);
    c->dut->ops->free(c->dut, uploaded);
    free(marks);
    h.m = (vs_half_mat){ (char *)h.base + h.first * VS_HALF_BYTES, rows, cols, ld };
    return h;
}

/* What a tensor holds, which are halves. */
static halves stored(ops_context *c, const tensor *t) {
    halves h = make_halves(c, t->rows, t->cols);
    c->dut->half->store(c->dut, t->dut, h.m);
    return h;
}

/* All of its memory as float32, the caller's to free. */
static float *read_back(ops_context *c, const halves *h) {
    vs_error err = { 0 };
    void *wide = c->dut->ops->alloc(c->dut, h->total);
    float *host = vs_calloc(h->total, sizeof *host);
    assert_true(wide && host);
    const vs_mat all = { wide, 1, h->total, h->total };
    c->dut->half->load(c->dut, (vs_half_mat){ h->base, 1, h->total, h->total }, all);
    assert_int_equal(c->dut->ops->download(c->dut, host, all, &err), VS_OK);
    assert_int_equal(c->dut->ops->sync(c->dut, &err), VS_OK);
    c->dut->ops->free(c->dut, wide);
    return host;
}

/* One unit in the last place of a half near x. */
static double unit(double x) {
    int exponent = 0;
    (void)frexp(x, &exponent);
    return fmax(0x1p-24, ldexp(1, exponent - 11));
}

static bool near(double got, double want, double allowed) {
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return got == want || (allowed > 0 && fabs(got) >= 65472 && (got > 0) == (want > 0));
    if (isinf(got)) return allowed > 0 && fabs(want) >= 65472 && (got > 0) == (want > 0);
    return fabs(got - want) <= allowed;
}

/* want on ref is rounded here; bound [rows * cols]: what float32 adds before rounding; NULL: exact. */
static void expect(ops_context *c, const halves *h, tensor *want, const double *bound) {
    const vs_half_mat m = h->m;
    float *got = read_back(c, h);
    c->ref->ops->round_half(c->ref, want->ref, VS_HALF_FP16, want->ref, 1, NULL);
    fetch(c, want);
    for (size_t i = 0; i < h->total; i++) {
        const size_t at = i - h->first, r = at / m.ld, col = at % m.ld;
        if (i < h->first || r >= m.rows || col >= m.cols) {
            require(c, got[i] == MARK, "half %zu of %zu, outside the matrix, was written", i, h->total);
            continue;
        }
        const double w = want->want[r * m.cols + col], allowed = bound ? unit(w) + bound[r * m.cols + col] : 0;
        require(c, near((double)got[i], w, allowed), "(%zu,%zu) is %.9g, ref %.9g, allowed %.2g", r, col, (double)got[i], w,
                allowed);
    }
    free(got);
}

static void drop(ops_context *c, halves *h) { c->dut->ops->free(c->dut, h->base); }

/* Random halves on both backends. */
static tensor *half_input(ops_context *c, size_t rows, size_t cols, ops_values v) {
    tensor *x = input(c, rows, cols, v), *y = output(c, rows, cols);
    c->ref->ops->round_half(c->ref, x->ref, VS_HALF_FP16, y->ref, 1, NULL);
    c->dut->ops->round_half(c->dut, x->dut, VS_HALF_FP16, y->dut, 1, NULL);
    fetch(c, y);
    return y;
}

static vs_mat ref_view(const ops_context *c, const tensor *t, size_t row, size_t rows, size_t col, size_t cols) {
    return vs_mat_view(c->ref, t->ref, row, rows, col, cols);
}

/* ---- conversions */

static const float EDGES[] = { 65504, 65519.996f, 65520,           -65520,   1e6f, 0x1p-14f,       0x1p-24f,     0x1p-25f,
                               0,     -0.0f,      0x1.000002p-25f, INFINITY, NAN,  1.00048828125f, 0x1.ffep-15f, 2049 };

static void conversion_case(ops_context *c, shape s, bool edges) {
    begin(c, OP_EXACT, VALUES_NORMAL, "half store, load, copy [%zu,%zu]%s", s.rows, s.cols, edges ? ", edges" : "");
    float *values = vs_calloc(s.rows * s.cols, sizeof *values);
    for (size_t i = 0; i < s.rows * s.cols; i++)
        values[i] = edges ? EDGES[vs_rng_next(&c->rng) % (sizeof EDGES / sizeof *EDGES)] : random_value(c, VALUES_OUTLIERS, i);
    tensor *x = input_from(c, s.rows, s.cols, values), *want = output(c, s.rows, s.cols), *again = output(c, s.rows, s.cols);
    halves h = stored(c, x), other = make_halves(c, s.rows, s.cols);
    c->ref->ops->copy(c->ref, x->ref, want->ref);
    expect(c, &h, want, NULL);
    c->dut->half->copy(c->dut, h.m, other.m);
    expect(c, &other, want, NULL);
    c->ref->ops->copy(c->ref, want->ref, again->ref);
    c->dut->half->load(c->dut, other.m, again->dut);
    compare_exact(c, again);
    drop(c, &h);
    drop(c, &other);
    free(values);
    finish(c);
}

/* ---- single operations */

static void element_case(ops_context *c, vs_element op, shape s, size_t u_rows, size_t u_cols, ops_values v) {
    begin(c, OP_EXACT, v, "half element %d, [%zu,%zu] with [%zu,%zu]", (int)op, s.rows, s.cols, u_rows, u_cols);
    const bool unary = op >= VS_ELEMENT_SQRT, exact = op <= VS_ELEMENT_MUL;
    tensor *x = half_input(c, s.rows, s.cols, v), *u = half_input(c, u_rows, u_cols, VALUES_NORMAL),
           *y = output(c, s.rows, s.cols);
    halves hx = stored(c, x), hu = stored(c, u), hy = make_halves(c, s.rows, s.cols);
    c->ref->ops->elementwise(c->ref, op, x->ref, unary ? (vs_mat){ 0 } : u->ref, y->ref);
    c->dut->half->elementwise(c->dut, op, hx.m, unary ? (vs_half_mat){ 0 } : hu.m, hy.m);
    double *nothing = doubles(s.rows * s.cols); /* division, root, erf and tanh: within a unit */
    expect(c, &hy, y, exact ? NULL : nothing);
    c->dut->half->elementwise(c->dut, op, hx.m, unary ? (vs_half_mat){ 0 } : hu.m, hx.m); /* in place */
    expect(c, &hx, y, exact ? NULL : nothing);
    free(nothing);
    drop(c, &hx);
    drop(c, &hu);
    drop(c, &hy);
    finish(c);
}

void test_half_elements(void **state) {
    ops_context *c = *state;
    if (!c->dut->half) skip();
    for (size_t i = 0; i < SHAPE_COUNT; i += stride()) {
        const shape s = SHAPES[i];
        conversion_case(c, s, true);
        conversion_case(c, s, false);
        for (vs_element op = VS_ELEMENT_ADD; op <= VS_ELEMENT_ERF; op++) {
            element_case(c, op, s, s.rows, s.cols, VALUES_NORMAL);
            element_case(c, op, s, 1, s.cols, VALUES_OUTLIERS);
            element_case(c, op, s, s.rows, 1, VALUES_NORMAL);
            element_case(c, op, s, 1, 1, VALUES_OUTLIERS);
        }
        element_case(c, VS_ELEMENT_TANH, s, 1, 1, VALUES_NORMAL);
        element_case(c, VS_ELEMENT_TANH, s, 1, 1, VALUES_OUTLIERS);
    }
}

/* ---- products: K float32 additions in any order */

static void linear_case(ops_context *c, size_t m, size_t n, size_t k, bool bias, ops_values v) {
    begin(c, OP_LINEAR, v, "half linear [%zu,%zu] x [%zu,%zu]%s", m, k, n, k, bias ? ", bias" : "");
    tensor *x = half_input(c, m, k, v), *w = half_input(c, n, k, VALUES_NORMAL), *b = half_input(c, 1, n, VALUES_NORMAL),
           *y = output(c, m, n);
    halves hx = stored(c, x), hw = stored(c, w), hb = stored(c, b), hy = make_halves(c, m, n);
    c->ref->ops->linear(c->ref, x->ref, w->ref, bias ? b->ref.p : NULL, y->ref);
    c->dut->half->linear(c->dut, hx.m, hw.m, bias ? hb.m.p : NULL, hy.m);
    double *bound = doubles(m * n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double size = bias ? fabs(b->want[j]) : 0;
            for (size_t l = 0; l < k; l++) size += fabs(x->want[i * k + l] * w->want[j * k + l]);
            bound[i * n + j] = size * (double)(k + 2) * 0x1p-22; /* tensor cores cut off where they add */
        }
    expect(c, &hy, y, bound);
    free(bound);
    drop(c, &hx);
    drop(c, &hw);
    drop(c, &hb);
    drop(c, &hy);
    finish(c);
}

void test_half_linear(void **state) {
    static const size_t sizes[][3] = { { 1, 1, 1 },       { 2, 3, 5 },       { 7, 8, 16 },    { 5, 11, 192 },
                                       { 17, 33, 588 },   { 64, 64, 64 },    { 65, 11, 192 }, { 33, 192, 588 },
                                       { 257, 576, 192 }, { 130, 192, 768 }, { 257, 150, 48 } };
    ops_context *c = *state;
    if (!c->dut->half) skip();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride())
        for (size_t repeat = 0; repeat < 4; repeat++) /* other strides and places in memory */
            linear_case(c, sizes[i][0], sizes[i][1], sizes[i][2], repeat % 2 == 0, repeat < 2 ? VALUES_NORMAL : VALUES_OUTLIERS);
}

/* ---- attention: operands are columns of one matrix */

typedef struct attention_size {
    size_t images, tokens, heads, width;
} attention_size;

static void steps_case(ops_context *c, attention_size s) {
    const size_t rows = s.images * s.tokens, cols = s.heads * s.width, t = s.tokens;
    begin(c, OP_ATTENTION, VALUES_NORMAL, "half scores, apply: %zu images, T %zu, %zu heads of %zu", s.images, t, s.heads,
          s.width);
    tensor *qkv = half_input(c, rows, 3 * cols, VALUES_NORMAL), *p = output(c, s.images * s.heads * t, t),
           *y = output(c, rows, cols);
    halves h = stored(c, qkv), hp = make_halves(c, s.images * s.heads * t, t), hy = make_halves(c, rows, cols);
    double *bound = doubles(s.images * s.heads * t * t), *out_bound = doubles(rows * cols);
    for (size_t i = 0; i < s.images * s.heads; i++) {
        const size_t row = i / s.heads * t, col = i % s.heads * s.width;
        c->ref->ops->linear(c->ref, ref_view(c, qkv, row, t, col, s.width), ref_view(c, qkv, row, t, cols + col, s.width), NULL,
                            ref_view(c, p, i * t, t, 0, t));
    }
    for (size_t i = 0; i < s.images * s.heads * t * t; i++) bound[i] = 16 * (double)(s.width * (s.width + 2)) * 0x1p-24;
    c->dut->half->scores(c->dut, vs_half_mat_view(h.m, 0, rows, 0, cols), vs_half_mat_view(h.m, 0, rows, cols, cols), s.images,
                         s.heads, hp.m);
    expect(c, &hp, p, bound);
    c->dut->half->load(c->dut, hp.m, p->dut); /* ref goes on from the same numbers */
    float *scores = vs_calloc(p->rows * t, sizeof *scores);
    vs_error err = { 0 };
    assert_int_equal(c->dut->ops->download(c->dut, scores, p->dut, &err), VS_OK);
    assert_int_equal(c->dut->ops->sync(c->dut, &err), VS_OK);
    tensor *same = input_from(c, p->rows, t, scores);
    c->ref->ops->attention_apply(c->ref, same->ref, ref_view(c, qkv, 0, rows, 2 * cols, cols), s.images, s.heads, y->ref);
    c->dut->half->apply(c->dut, hp.m, vs_half_mat_view(h.m, 0, rows, 2 * cols, cols), s.images, s.heads, hy.m);
    double largest = 0;
    for (size_t i = 0; i < p->rows * t; i++) largest = fmax(largest, fabs((double)scores[i]));
    for (size_t i = 0; i < rows * cols; i++) out_bound[i] = 6 * largest * (double)(t * (t + 2)) * 0x1p-24;
    expect(c, &hy, y, out_bound);
    free(scores);
    free(bound);
    free(out_bound);
    drop(c, &h);
    drop(c, &hp);
    drop(c, &hy);
    finish(c);
}

/* Weights are rounded to half: 2^-11 of each. Scores are of size 6 D at most and exact to D 2^-24 of that, which is little
 * beside it. */
static void fused_case(ops_context *c, attention_size s) {
    const size_t rows = s.images * s.tokens, cols = s.heads * s.width;
    begin(c, OP_ATTENTION, VALUES_NORMAL, "half attention: %zu images, T %zu, %zu heads of %zu", s.images, s.tokens, s.heads,
          s.width);
    tensor *qkv = half_input(c, rows, 3 * cols, VALUES_NORMAL), *y = output(c, rows, cols);
    halves h = stored(c, qkv), hy = make_halves(c, rows, cols);
    void *scratch = c->ref->ops->alloc(c->ref, c->ref->ops->attention_scratch(c->ref, s.tokens, s.heads));
    const double scale = 1 / sqrt((double)s.width);
    c->ref->ops->attention(c->ref, ref_view(c, qkv, 0, rows, 0, cols), ref_view(c, qkv, 0, rows, cols, cols),
                           ref_view(c, qkv, 0, rows, 2 * cols, cols), s.images, s.heads, scale, scratch, y->ref);
    c->dut->half->attention(c->dut, vs_half_mat_view(h.m, 0, rows, 0, cols), vs_half_mat_view(h.m, 0, rows, cols, cols),
                            vs_half_mat_view(h.m, 0, rows, 2 * cols, cols), s.images, s.heads, scale, hy.m);
    double *bound = doubles(rows * cols), largest = 0;
    for (size_t i = 0; i < rows * 3 * cols; i++) largest = fmax(largest, fabs(qkv->want[i]));
    for (size_t i = 0; i < rows * cols; i++) bound[i] = largest * 0x1.1p-11 + 0x1p-14;
    expect(c, &hy, y, bound);
    free(bound);
    c->ref->ops->free(c->ref, scratch);
    drop(c, &h);
    drop(c, &hy);
    finish(c);
}

void test_half_attention(void **state) {
    static const attention_size sizes[] = { { 1, 1, 1, 4 },   { 2, 3, 2, 8 },   { 1, 9, 3, 64 },   { 3, 33, 1, 20 },
                                            { 2, 65, 3, 64 }, { 1, 31, 2, 96 }, { 1, 40, 1, 256 }, { 1, 257, 3, 64 } };
    ops_context *c = *state;
    if (!c->dut->half) skip();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride())
        for (size_t repeat = 0; repeat < 2; repeat++) {
            steps_case(c, sizes[i]);
            fused_case(c, sizes[i]);
        }
}

/* ---- rows */

/* Sums of n float32 numbers: n 2^-24 of the sum of magnitudes. */
static void norm_case(ops_context *c, shape s, ops_values v) {
    begin(c, OP_LAYERNORM, v, "half layernorm, row_mean [%zu,%zu]", s.rows, s.cols);
    tensor *x = half_input(c, s.rows, s.cols, v), *g = half_input(c, 1, s.cols, VALUES_NORMAL),
           *b = half_input(c, 1, s.cols, VALUES_NORMAL), *y = output(c, s.rows, s.cols), *mean = output(c, s.rows, 1);
    halves hx = stored(c, x), hg = stored(c, g), hb = stored(c, b), hy = make_halves(c, s.rows, s.cols),
           hm = make_halves(c, s.rows, 1);
    static const double eps = 1e-6;
    double *bound = doubles(s.rows * s.cols), *mean_bound = doubles(s.rows);
    c->ref->ops->layernorm(c->ref, x->ref, g->ref.p, b->ref.p, eps, y->ref);
    c->ref->ops->row_mean(c->ref, x->ref, mean->ref);
    c->dut->half->layernorm(c->dut, hx.m, hg.m.p, hb.m.p, eps, hy.m);
    c->dut->half->row_mean(c->dut, hx.m, hm.m);
    for (size_t r = 0; r < s.rows; r++) {
        const double n = (double)s.cols;
        double average = 0, size = 0, variance = 0;
        for (size_t j = 0; j < s.cols; j++) average += x->want[r * s.cols + j] / n, size += fabs(x->want[r * s.cols + j]) / n;
        for (size_t j = 0; j < s.cols; j++) variance += pow(x->want[r * s.cols + j] - average, 2) / n;
        mean_bound[r] = (n + 2) * 0x1p-24 * size;
        for (size_t j = 0; j < s.cols; j++)
            bound[r * s.cols + j] =
                (n + 8) * 0x1p-24 *
                ((fabs(x->want[r * s.cols + j]) + size) / sqrt(variance + eps) * fabs(g->want[j]) + fabs(b->want[j]));
    }
    expect(c, &hy, y, bound);
    expect(c, &hm, mean, mean_bound);
    free(bound);
    free(mean_bound);
    halves *all[] = { &hx, &hg, &hb, &hy, &hm };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) drop(c, all[i]);
    finish(c);
}

static void softmax_case(ops_context *c, shape s, ops_values v) {
    begin(c, OP_SOFTMAX, v, "half softmax_rows, gelu, affine [%zu,%zu]", s.rows, s.cols);
    tensor *x = half_input(c, s.rows, s.cols, v), *y = output(c, s.rows, s.cols), *scale = input(c, 1, s.cols, VALUES_NORMAL),
           *shift = input(c, 1, s.cols, VALUES_NORMAL);
    halves hx = stored(c, x), hy = make_halves(c, s.rows, s.cols);
    double *bound = doubles(s.rows * s.cols);
    /* e^(x - max): the difference is exact or rounded once, a relative error of the result */
    for (size_t i = 0; i < s.rows * s.cols; i++) bound[i] = 0x1p-14;
    c->ref->ops->softmax_rows(c->ref, x->ref, y->ref);
    c->dut->half->softmax_rows(c->dut, hx.m, hy.m);
    expect(c, &hy, y, bound);
    for (size_t i = 0; i < s.rows * s.cols; i++) bound[i] = 4 * 0x1p-24 * fabs(x->want[i]);
    c->ref->ops->gelu(c->ref, x->ref, y->ref);
    c->dut->half->gelu(c->dut, hx.m, hy.m);
    expect(c, &hy, y, bound);
    for (size_t i = 0; i < s.rows * s.cols; i++)
        bound[i] = 2 * 0x1p-24 *
                   (fabs(x->want[i] * (double)value_at(scale, 0, i % s.cols)) + fabs((double)value_at(shift, 0, i % s.cols)));
    c->ref->ops->affine(c->ref, x->ref, scale->ref.p, shift->ref.p, y->ref);
    c->dut->half->affine(c->dut, hx.m, scale->dut.p, shift->dut.p, hy.m);
    expect(c, &hy, y, bound);
    free(bound);
    drop(c, &hx);
    drop(c, &hy);
    finish(c);
}

static void rope_case(ops_context *c, attention_size s, size_t prefix) {
    const size_t rows = s.images * s.tokens, cols = s.heads * s.width, n = s.tokens - prefix;
    begin(c, OP_ROPE, VALUES_NORMAL, "half rope: %zu images, T %zu, prefix %zu, %zu heads of %zu", s.images, s.tokens, prefix,
          s.heads, s.width);
    tensor *qkv = half_input(c, rows, 2 * cols, VALUES_NORMAL), *cosines = input(c, n, s.width / 2, VALUES_NORMAL),
           *sines = input(c, n, s.width / 2, VALUES_NORMAL), *y = output(c, rows, cols);
    halves h = stored(c, qkv), hy = make_halves(c, rows, cols);
    c->ref->ops->rope(c->ref, ref_view(c, qkv, 0, rows, cols, cols), cosines->ref, sines->ref, s.images, s.heads, y->ref);
    c->dut->half->rope(c->dut, vs_half_mat_view(h.m, 0, rows, cols, cols), cosines->dut, sines->dut, s.images, s.heads, hy.m);
    double *bound = doubles(rows * cols);
    for (size_t i = 0; i < rows * cols; i++) bound[i] = 2 * 25 * 0x1p-24; /* of two products of numbers below 5 */
    expect(c, &hy, y, bound);
    free(bound);
    drop(c, &h);
    drop(c, &hy);
    finish(c);
}

void test_half_rows(void **state) {
    static const attention_size sizes[] = { { 1, 3, 1, 4 }, { 2, 9, 2, 8 }, { 3, 21, 3, 64 } };
    ops_context *c = *state;
    if (!c->dut->half) skip();
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = VALUES_NORMAL; v <= VALUES_OUTLIERS; v++) {
            norm_case(c, SHAPES[i], v);
            softmax_case(c, SHAPES[i], v);
        }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t prefix = 0; prefix < 3; prefix++) rope_case(c, sizes[i], prefix);
}
