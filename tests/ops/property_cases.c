/* What must hold without a reference: full ranges, invariances, in place, threads, places in memory. */
#include "ops/harness.h"

#include <omp.h>

enum { SWEEP = 4096 };

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Softmax of (0, x) is e^x / (1 + e^x): attention with q = (1), k = (0; x), v = (0; 1). Relative error down to e^-87;
 * below that the result may be 0. */
void test_exp_full_range(void **state) {
    ops_context *c = *state;
    const size_t images = c->dut->host_memory ? 20000 : 1000; /* on a device each is a launch */
    const uint32_t step = 0x42dc0000u / (uint32_t)images;     /* up to 110.0f */
    begin(c, OP_SOFTMAX, VALUES_NORMAL, "e^x, x from -110 to -0");
    float *q = vs_calloc(6 * images, sizeof *q), *k = q + 2 * images, *v = k + 2 * images;
    assert_non_null(q);
    for (size_t i = 0; i < images; i++) {
        q[2 * i] = q[2 * i + 1] = v[2 * i + 1] = 1;
        k[2 * i + 1] = -from_bits(step * (uint32_t)i);
    }
    tensor *qt = input_from(c, 2 * images, 1, q), *kt = input_from(c, 2 * images, 1, k), *vt = input_from(c, 2 * images, 1, v),
           *y = output(c, 2 * images, 1), *scratch = output(c, 1, c->dut->ops->attention_scratch(c->dut, 2, 1) + 2);
    c->ref->ops->attention(c->ref, qt->ref, kt->ref, vt->ref, images, 1, 1, scratch->ref.p, y->ref);
    c->dut->ops->attention(c->dut, qt->dut, kt->dut, vt->dut, images, 1, 1, scratch->dut.p, y->dut);
    fetch(c, y);
    for (size_t i = 0; i < images; i++) {
        const double x = (double)k[2 * i + 1], e = exp(x), want = e / (1 + e), got = y->got[2 * i];
        if (x >= -87)
            compare_value(c, "p", got, want, want);
        else
            require(c, got >= 0 && got <= exp(-87), "e^%g gives %g", x, got);
    }
    free(q);
    finish(c);
}

typedef void (*activation)(const vs_backend *self, vs_mat x, vs_mat y);

/* Every magnitude from 2^-149 up, both signs: |y - gelu(x)| within k 2^-24 |x|; sign and limits right. */
static void sweep_activation(ops_context *c, ops_name operation, activation ref, activation dut) {
    for (int negative = 0; negative < 2; negative++)
        for (uint32_t first = 0; first < 0x7f800000u; first += 257u * SWEEP * (stride() == 1 ? 1 : 200)) {
            float values[SWEEP];
            double bound[SWEEP];
            for (uint32_t i = 0; i < SWEEP; i++) {
                const uint32_t bits = first + 257u * i;
                values[i] = from_bits((bits < 0x7f800000u ? bits : 0x7f7fffffu) | (negative ? 0x80000000u : 0));
                bound[i] = fabs((double)values[i]);
            }
            begin(c, operation, VALUES_NORMAL, "from %g", (double)values[0]);
            tensor *x = input_from(c, 1, SWEEP, values), *y = output(c, 1, SWEEP);
            ref(c->ref, x->ref, y->ref);
            dut(c->dut, x->dut, y->dut);
            compare(c, y, bound);
            for (size_t i = 0; i < SWEEP; i++) {
                if (values[i] > 6) require(c, y->got[i] == (double)values[i], "gelu(%g) is %g", (double)values[i], y->got[i]);
                if (values[i] < -15) require(c, fabs(y->got[i]) == 0, "gelu(%g) is %g", (double)values[i], y->got[i]);
                require(c, negative ? y->got[i] <= 0 : y->got[i] >= 0, "gelu(%g) is %g", (double)values[i], y->got[i]);
            }
            finish(c);
        }
}

void test_gelu_full_range(void **state) {
    ops_context *c = *state;
    sweep_activation(c, OP_GELU, c->ref->ops->gelu, c->dut->ops->gelu);
}

void test_gelu_tanh_full_range(void **state) {
    ops_context *c = *state;
    sweep_activation(c, OP_GELU_TANH, c->ref->ops->gelu_tanh, c->dut->ops->gelu_tanh);
}

/* Rows of probabilities sum to 1 (v = 1), and a constant added to a row of scores changes nothing much. */
void test_softmax_properties(void **state) {
    ops_context *c = *state;
    static const size_t sizes[] = { 1, 2, 7, 16, 33, 128, 257, 511 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride()) {
        const size_t t = sizes[i], d = 16;
        begin(c, OP_ATTENTION, VALUES_NORMAL, "%zu tokens, v = 1", t);
        float *ones = vs_calloc(t * d, sizeof *ones);
        assert_non_null(ones);
        for (size_t j = 0; j < t * d; j++) ones[j] = 1;
        tensor *q = input(c, t, d, VALUES_NORMAL), *k = input(c, t, d, VALUES_OUTLIERS), *v = input_from(c, t, d, ones),
               *y = output(c, t, d);
        tensor *scratch = output(c, 1, c->dut->ops->attention_scratch(c->dut, t, 1) + t);
        c->ref->ops->attention(c->ref, q->ref, k->ref, v->ref, 1, 1, 0.25, scratch->ref.p, y->ref);
        c->dut->ops->attention(c->dut, q->dut, k->dut, v->dut, 1, 1, 0.25, scratch->dut.p, y->dut);
        fetch(c, y);
        for (size_t j = 0; j < t * d; j++)
            require(c, fabs(y->got[j] - 1) <= (4 + sqrt((double)t)) * 0x1p-24, "probabilities sum to %.9g", y->got[j]);
        free(ones);
        finish(c);
    }
}

/* layernorm(x + a) = layernorm(x) where the sums are exact (integers). */
void test_layernorm_shift(void **state) {
    ops_context *c = *state;
    enum { COLS = 384 };
    float plain[COLS], shifted[COLS], ones[COLS], zeros[COLS] = { 0 };
    begin(c, OP_LAYERNORM, VALUES_LARGE_MEAN, "shift by 2^20");
    for (size_t i = 0; i < COLS; i++) {
        plain[i] = (float)(vs_rng_next(&c->rng) % 17) - 8;
        shifted[i] = plain[i] + 1048576;
        ones[i] = 1;
    }
    tensor *a = input_from(c, 1, COLS, plain), *b = input_from(c, 1, COLS, shifted), *g = input_from(c, 1, COLS, ones),
           *z = input_from(c, 1, COLS, zeros), *y = output(c, 1, COLS), *w = output(c, 1, COLS);
    c->dut->ops->layernorm(c->dut, a->dut, g->dut.p, z->dut.p, 1e-6, y->dut);
    c->dut->ops->layernorm(c->dut, b->dut, g->dut.p, z->dut.p, 1e-6, w->dut);
    fetch(c, y);
    fetch(c, w);
    for (size_t i = 0; i < COLS; i++) compare_value(c, "y", w->got[i], y->got[i], fabs(y->got[i]) + 1e-3);
    finish(c);
}

typedef void (*unary)(const vs_backend *be, vs_mat x, vs_mat y, const void *v);
static const vs_grid GRID = { 0.031f, 121, 0, 255, -3.7f, 4.1f };
static float row_scales[64];
static void apply_layernorm(const vs_backend *be, vs_mat x, vs_mat y, const void *v) { be->ops->layernorm(be, x, v, v, 1e-6, y); }
static void apply_gelu(const vs_backend *be, vs_mat x, vs_mat y, const void *v) {
    (void)v;
    be->ops->gelu(be, x, y);
}
static void apply_gelu_tanh(const vs_backend *be, vs_mat x, vs_mat y, const void *v) {
    (void)v;
    be->ops->gelu_tanh(be, x, y);
}
static void apply_add(const vs_backend *be, vs_mat x, vs_mat y, const void *v) {
    (void)v;
    be->ops->scale_add(be, x, x, NULL, y);
}
static void apply_scale_add(const vs_backend *be, vs_mat x, vs_mat y, const void *v) { be->ops->scale_add(be, x, x, v, y); }
static void apply_affine(const vs_backend *be, vs_mat x, vs_mat y, const void *v) { be->ops->affine(be, x, v, v, y); }
static void apply_div(const vs_backend *be, vs_mat x, vs_mat y, const void *v) { be->ops->div_channels(be, x, v, y); }
static void apply_fake_quant(const vs_backend *be, vs_mat x, vs_mat y, const void *v) {
    (void)v;
    be->ops->fake_quant(be, x, &GRID, y, 1, NULL);
}
static void apply_fake_quant_rows(const vs_backend *be, vs_mat x, vs_mat y, const void *v) {
    (void)v;
    be->ops->fake_quant_rows(be, x, row_scales, 127, y, NULL);
}
static void apply_fake_quant_tokens(const vs_backend *be, vs_mat x, vs_mat y, const void *v) {
    (void)v;
    be->ops->fake_quant_tokens(be, x, 127, y, 1, NULL);
}
static const struct {
    const char *name;
    unary fn;
} UNARY[] = {
    { "layernorm", apply_layernorm },
    { "gelu", apply_gelu },
    { "gelu_tanh", apply_gelu_tanh },
    { "add", apply_add },
    { "scale_add", apply_scale_add },
    { "affine", apply_affine },
    { "div_channels", apply_div },
    { "fake_quant", apply_fake_quant },
    { "fake_quant_rows", apply_fake_quant_rows },
    { "fake_quant_tokens", apply_fake_quant_tokens },
};
enum { UNARY_COUNT = sizeof UNARY / sizeof *UNARY };

/* out == in gives the bits of out != in. */
void test_in_place(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < sizeof row_scales / sizeof *row_scales; i++) row_scales[i] = 0.02f + 0.001f * (float)i;
    for (size_t j = 0; j < UNARY_COUNT; j++) {
        begin(c, OP_EXACT, VALUES_NORMAL, "%s in place", UNARY[j].name);
        tensor *x = input(c, 33, 77, VALUES_NORMAL), *v = input(c, 1, 77, VALUES_NORMAL), *y = output(c, 33, 77),
               *z = output(c, 33, 77);
        const vs_backend *be[] = { c->ref, c->dut };
        for (size_t b = 0; b < 2; b++) {
            const vs_mat xm = b ? x->dut : x->ref, zm = b ? z->dut : z->ref;
            const void *vp = b ? v->dut.p : v->ref.p;
            UNARY[j].fn(be[b], xm, b ? y->dut : y->ref, vp);
            be[b]->ops->copy(be[b], xm, zm);
            UNARY[j].fn(be[b], zm, zm, vp);
        }
        fetch(c, y);
        fetch(c, z);
        for (size_t i = 0; i < 33 * 77; i++)
            require(c, y->got[i] == z->got[i] && y->want[i] == z->want[i], "element %zu: %g, in place %g", i, y->got[i],
                    z->got[i]);
        finish(c);
    }
}

/* The forward's operations on one image, from the same inputs, into y [T, 4C]; returns scratch that it needs. */
typedef struct chain {
    size_t tokens, width, heads;
} chain;
static size_t chain_reals(const vs_backend *be, const chain *s) {
    return 14 * s->tokens * s->width + s->heads * s->tokens * s->tokens + be->ops->attention_scratch(be, s->tokens, s->heads);
}
/* x, w and memory are the backend's. */
static double run_chain(const vs_backend *be, const chain *s, float *x, float *w, float *memory, vs_abs_stats *stats) {
    const size_t t = s->tokens, c = s->width;
    float *norm = memory, *qkv = norm + t * c, *attended = qkv + 3 * t * c, *proj = attended + t * c, *fc1 = proj + t * c,
          *act = fc1 + 4 * t * c;
    float *probs = act + 4 * t * c, *scratch = probs + s->heads * t * t;
    const vs_mat xm = { x, t, c, c }, q = { qkv, t, c, 3 * c }, k = { qkv + c, t, c, 3 * c }, v = { qkv + 2 * c, t, c, 3 * c };
    const vs_mat a = { attended, t, c, c }, p = { proj, t, c, c }, h = { fc1, t, 4 * c, 4 * c }, g = { act, t, 4 * c, 4 * c };
    be->ops->layernorm(be, xm, w, w, 1e-6, (vs_mat){ norm, t, c, c });
    be->ops->linear(be, (vs_mat){ norm, t, c, c }, (vs_mat){ w, 3 * c, c, c }, w, (vs_mat){ qkv, t, 3 * c, 3 * c });
    be->ops->attention(be, q, k, v, 1, s->heads, 0.125, scratch, a);
    const vs_mat kept = { probs, s->heads * t, t, t };
    be->ops->linear(be, a, (vs_mat){ w, c, c, c }, w, p);
    be->ops->attention_probs(be, q, k, 1, s->heads, 0.125, kept);
    be->ops->attention_apply(be, kept, v, 1, s->heads, a);
    be->ops->linear(be, p, (vs_mat){ w, 4 * c, c, c }, w, h);
    be->ops->gelu(be, h, g);
    be->ops->fake_quant(be, g, &GRID, h, 1, NULL);
    be->ops->abs_stats(be, g, 1, (vs_abs_stats *[]){ stats }, NULL, NULL);
    vs_error_sums sums;
    be->ops->error_sums(be, g, h, 1, (vs_error_sums *[]){ &sums });
    vs_error err = { 0 };
    return be->ops->sync(be, &err) == VS_OK ? sums.noise : (double)NAN;
}

static float *reals(const vs_backend *be, size_t count) {
    float *p = be->ops->alloc(be, count), *zeros = vs_calloc(count, sizeof *zeros);
    vs_error err = { 0 };
    assert_true(p && zeros);
    assert_int_equal(be->ops->upload(be, p, zeros, count, &err), VS_OK);
    free(zeros);
    return p;
}

static float *random_reals(ops_context *c, size_t count, float scale) {
    float *p = c->dut->ops->alloc(c->dut, count), *host = vs_calloc(count, sizeof *host);
    vs_error err = { 0 };
    assert_true(p && host);
    for (size_t j = 0; j < count; j++) host[j] = scale * random_value(c, VALUES_NORMAL, 0);
    assert_int_equal(c->dut->ops->upload(c->dut, p, host, count, &err), VS_OK);
    free(host);
    return p;
}

static float *to_host(const vs_backend *be, float *p, size_t count) {
    float *host = vs_calloc(count, sizeof *host);
    vs_error err = { 0 };
    assert_non_null(host);
    assert_int_equal(be->ops->download(be, host, (vs_mat){ p, 1, count, count }, &err), VS_OK);
    return host;
}

/* Bits do not depend on how many threads work beside, nor on which one works. */
void test_threads_equal_bits(void **state) {
    ops_context *c = *state;
    static const chain shapes[] = { { 257, 192, 3 }, { 50, 64, 2 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        enum { WORKERS = 5, REPEATS = 2 };
        const chain *s = &shapes[i];
        const vs_backend *be = c->dut;
        const size_t count = chain_reals(be, s), compared = count - be->ops->attention_scratch(be, s->tokens, s->heads);
        begin(c, OP_EXACT, VALUES_NORMAL, "%d threads, %zu tokens", WORKERS, s->tokens);
        float *x = random_reals(c, s->tokens * s->width, 1), *w = random_reals(c, 4 * s->width * s->width, 0.1f),
              *alone = reals(be, count), *each[WORKERS];
        double noise[WORKERS];
        vs_abs_stats stats[WORKERS], stats_alone;
        for (size_t j = 0; j < WORKERS; j++) each[j] = reals(be, count);
        const double noise_alone = run_chain(be, s, x, w, alone, &stats_alone);
        float *want = to_host(be, alone, compared);
        for (int repeat = 0; repeat < REPEATS; repeat++) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(WORKERS)
            for (size_t j = 0; j < WORKERS; j++) noise[j] = run_chain(be, s, x, w, each[j], &stats[j]);
            for (size_t j = 0; j < WORKERS; j++) {
                float *got = to_host(be, each[j], compared);
                require(c, memcmp(got, want, compared * sizeof *got) == 0, "worker %zu has other bits", j);
                require(c, noise[j] == noise_alone && stats[j].sum == stats_alone.sum, "worker %zu has other sums", j);
                free(got);
            }
        }
        require(c, omp_get_max_threads() > 0 && !omp_in_parallel(), "the caller's OpenMP settings changed");
        be->ops->free(be, x);
        be->ops->free(be, w);
        be->ops->free(be, alone);
        for (size_t j = 0; j < WORKERS; j++) be->ops->free(be, each[j]);
        free(want);
        finish(c);
    }
}

/* Nor on where the operands lie: an image's bits are the same in every place of a batch. */
void test_position_in_memory(void **state) {
    ops_context *c = *state;
    if (!c->dut->host_memory) return;
    enum { M = 65, N = 96, K = 70, PLACES = 17 };
    begin(c, OP_EXACT, VALUES_NORMAL, "operands at any place");
    float *pool = vs_calloc(4 * (M * K + N * K + M * N) + PLACES, sizeof *pool), *first = vs_calloc(M * N, sizeof *first);
    assert_true(pool && first);
    for (size_t place = 0; place < PLACES; place++) {
        float *x = pool + place, *w = x + M * K, *y = w + N * K;
        vs_rng rng = { 5 };
        for (size_t i = 0; i < M * K + N * K; i++) x[i] = (float)vs_rng_normal(&rng);
        c->dut->ops->linear(c->dut, (vs_mat){ x, M, K, K }, (vs_mat){ w, N, K, K }, NULL, (vs_mat){ y, M, N, N });
        c->dut->ops->gelu(c->dut, (vs_mat){ y, M, N, N }, (vs_mat){ y, M, N, N });
        if (place == 0) memcpy(first, y, M * N * sizeof *y);
        require(c, memcmp(first, y, M * N * sizeof *y) == 0, "other bits at place %zu", place);
    }
    free(pool);
    free(first);
    finish(c);
}

/* No rows: nothing is written, and nothing breaks. */
void test_empty(void **state) {
    ops_context *c = *state;
    begin(c, OP_EXACT, VALUES_NORMAL, "no rows");
    tensor *x = input(c, 1, 5, VALUES_NORMAL), *w = input(c, 5, 5, VALUES_NORMAL);
    const vs_backend *be[] = { c->ref, c->dut };
    for (size_t b = 0; b < 2; b++) {
        vs_mat none = b ? x->dut : x->ref;
        none.rows = 0;
        for (size_t j = 0; j < UNARY_COUNT; j++) UNARY[j].fn(be[b], none, none, b ? w->dut.p : w->ref.p);
        uint64_t counted = 0;
        be[b]->ops->range_histogram(be[b], none, 0, 1, 1, &counted);
        require(c, counted == 0, "bins of nothing");
        be[b]->ops->linear(be[b], none, b ? w->dut : w->ref, NULL, none);
        vs_abs_stats stats;
        vs_error_sums sums;
        be[b]->ops->abs_stats(be[b], none, 1, (vs_abs_stats *[]){ &stats }, NULL, NULL);
        be[b]->ops->error_sums(be[b], none, none, 1, (vs_error_sums *[]){ &sums });
        require(c, stats.count == 0 && stats.max == 0 && stats.sum == 0 && sums.signal == 0, "statistics of nothing");
    }
    void *p = c->dut->ops->alloc(c->dut, 0);
    c->dut->ops->free(c->dut, p);
    c->dut->ops->free(c->dut, NULL);
    assert_null(c->dut->ops->alloc(c->dut, SIZE_MAX / 2));
    assert_null(c->ref->ops->alloc(c->ref, SIZE_MAX / 4));
    for (size_t b = 0; b < 2; b++) {
        p = be[b]->ops->alloc(be[b], 3);
        assert_non_null(p);
        if (be[b]->host_memory) assert_int_equal((uintptr_t)p % 64, 0);
        be[b]->ops->free(be[b], p);
    }
    finish(c);
}
