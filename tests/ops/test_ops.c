/* Every operation of a backend against ref: one table of cases, run for cpu at each instruction set this processor has.
 *
 * Tolerance, elementwise: |y - ref| <= k * eps * bound, where eps = 2^-24 and bound is what the error analysis of the
 * operation gives (computed by ref in float64). k is in one table below, with its reason. `!(err <= tol)`: NaN fails.
 * VS_TOL_SCALE multiplies every tolerance (0 shows what is needed). */
#include <omp.h>

#include "support/check.h"
#include "util/util.h"
#include "vitscope/backend.h"

static const double eps = 0x1p-24;

enum { LINEAR, LAYERNORM, SOFTMAX, GELU, GELU_TANH, ADD, SUMS, OPS };
static const struct {
    const char *name;
    double k;
    const char *why;
} tolerance[OPS] = {
    [LINEAR] = { "linear", 1, "n eps sum|a b|: any order of n additions (Higham 3.1); times n + 2 in the case" },
    [LAYERNORM] = { "layernorm", 8,
                    "sums in float64; then x - mean, times 1/std, g, plus b: a handful of roundings, and mean rounded once" },
    [SOFTMAX] = { "attention", 1,
                  "two products of length d and t, exp error 2^-22, scores rounded before exp; times the score's size in the "
                  "case" },
    [GELU] = { "gelu", 8, "erfc within 4e-7 relative, then two products" },
    [GELU_TANH] = { "gelu_tanh", 8, "e^-|2u| within 2.4e-7 and what 2u is off by relative, 1 + e, a division, a product" },
    [ADD] = { "elementwise", 2, "two roundings" },
    [SUMS] = { "float64 sums", 1e-6, "order of float64 additions only" },
};
static double worst[OPS];

static const vs_backend *ref, *cpu;

/* A matrix on both backends, filled with float32 values, with guards around the cpu's. */
typedef struct pair {
    vs_mat r, c;
    void *r_base, *c_base;
    size_t c_count;
} pair;
enum { GUARD = 16 };
static const float guard_value = -12345.0f;

static pair make(size_t rows, size_t cols, size_t ld) {
    pair p = { .c_count = rows * ld + 2 * GUARD };
    p.r_base = ref->ops->alloc(ref, rows * ld + 1);
    p.c_base = cpu->ops->alloc(cpu, p.c_count);
    p.r = (vs_mat){ p.r_base, rows, cols, ld };
    p.c = (vs_mat){ (float *)p.c_base + GUARD, rows, cols, ld };
    for (size_t i = 0; i < p.c_count; i++) ((float *)p.c_base)[i] = guard_value;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) ((float *)p.c.p)[r * ld + c] = NAN; /* an unwritten element fails */
    return p;
}

static void drop(pair *p) {
    for (size_t i = 0; i < GUARD; i++)
        assert_true(((float *)p->c_base)[i] == guard_value && ((float *)p->c_base)[p->c_count - 1 - i] == guard_value);
    for (size_t r = 0; r < p->c.rows; r++)
        for (size_t c = p->c.cols; c < p->c.ld; c++) assert_true(((float *)p->c.p)[r * p->c.ld + c] == guard_value);
    ref->ops->free(ref, p->r_base);
    cpu->ops->free(cpu, p->c_base);
}

static double at(const pair *p, size_t r, size_t c) { return (double)((float *)p->c.p)[r * p->c.ld + c]; }
static double want(const pair *p, size_t r, size_t c) { return ((double *)p->r.p)[r * p->r.ld + c]; }

enum { NORMAL, OUTLIER, SHIFTED, TINY, STYLES };

static void fill(pair *p, vs_rng *rng, int style) {
    for (size_t r = 0; r < p->c.rows; r++)
        for (size_t c = 0; c < p->c.cols; c++) {
            double v = vs_rng_normal(rng);
            if (style == OUTLIER && c == p->c.cols / 3) v *= 1000;
            if (style == SHIFTED) v = 100 + 0.01 * v;
            if (style == TINY) v *= c % 3 ? 1e-40 : 0.0;
            const float f = (float)v;
            ((float *)p->c.p)[r * p->c.ld + c] = f;
            ((double *)p->r.p)[r * p->r.ld + c] = (double)f;
        }
}

static pair filled(size_t rows, size_t cols, size_t ld, vs_rng *rng, int style) {
    pair p = make(rows, cols, ld);
    fill(&p, rng, style);
    return p;
}

static void hold(int op, double got, double reference, double bound, size_t rows, size_t cols, size_t r, size_t c) {
    static double scale = -1;
    if (scale < 0) scale = getenv("VS_TOL_SCALE") ? strtod(getenv("VS_TOL_SCALE"), NULL) : 1;
    const double allowed = scale * tolerance[op].k * eps * bound + 1e-44, error = fabs(got - reference);
    if (!(error <= allowed))
        fail_msg("%s %s %zux%zu at (%zu,%zu): %.9g, ref %.9g, error %.2g, allowed %.2g", cpu->isa, tolerance[op].name, rows, cols,
                 r, c, got, reference, error, allowed);
    if (allowed > 1e-44 && error / allowed > worst[op]) worst[op] = error / allowed;
}

static const size_t odd[] = { 1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65, 130, 192 };
enum { ODD = sizeof odd / sizeof *odd };

static void one_linear(size_t m, size_t n, size_t k, size_t ld, int style, bool bias, vs_rng *rng) {
    pair x = filled(m, k, k + ld, rng, style), w = filled(n, k, k, rng, NORMAL), b = filled(1, n, n, rng, NORMAL),
         y = make(m, n, n + ld);
    ref->ops->linear(ref, x.r, w.r, bias ? b.r.p : NULL, y.r);
    cpu->ops->linear(cpu, x.c, w.c, bias ? b.c.p : NULL, y.c);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double bound = bias ? fabs(want(&b, 0, j)) : 0;
            for (size_t l = 0; l < k; l++) bound += fabs(want(&x, i, l) * want(&w, j, l));
            hold(LINEAR, at(&y, i, j), want(&y, i, j), ((double)k + 2) * bound, m, n, i, j);
        }
    drop(&x);
    drop(&w);
    drop(&b);
    drop(&y);
}

static void linear(void **state) {
    (void)state;
    vs_rng rng = { 1 };
    for (size_t i = 0; i < ODD; i++)
        for (int style = 0; style < STYLES; style++)
            one_linear(odd[i], odd[(i * 7 + 3) % ODD], odd[(i * 5 + 1) % ODD], i % 3, style, i % 2 == 0, &rng);
    one_linear(257, 576, 192, 0, OUTLIER, true, &rng);
    one_linear(65, 192, 768, 5, NORMAL, true, &rng);
}

static void layernorm(void **state) {
    (void)state;
    vs_rng rng = { 2 };
    for (size_t i = 0; i < ODD; i++)
        for (int style = 0; style < STYLES; style++) {
            const size_t n = odd[i];
            pair x = filled(3, n, n + 2, &rng, style), g = filled(1, n, n, &rng, NORMAL), b = filled(1, n, n, &rng, NORMAL),
                 y = make(3, n, n);
            ref->ops->layernorm(ref, x.r, g.r.p, b.r.p, 1e-6, y.r);
            cpu->ops->layernorm(cpu, x.c, g.c.p, b.c.p, 1e-6, y.c);
            for (size_t r = 0; r < 3; r++) {
                double mean = 0, var = 0;
                for (size_t c = 0; c < n; c++) mean += want(&x, r, c) / (double)n;
                for (size_t c = 0; c < n; c++) var += (want(&x, r, c) - mean) * (want(&x, r, c) - mean) / (double)n;
                for (size_t c = 0; c < n; c++) {
                    const double size =
                        (fabs(want(&x, r, c)) + fabs(mean)) / sqrt(var + 1e-6) * fabs(want(&g, 0, c)) + fabs(want(&b, 0, c));
                    hold(LAYERNORM, at(&y, r, c), want(&y, r, c), size, 3, n, r, c);
                }
            }
            drop(&x);
            drop(&g);
            drop(&b);
            drop(&y);
        }
}

static void one_attention(size_t images, size_t t, size_t heads, size_t d, double size, vs_rng *rng) {
    const size_t c = heads * d;
    pair qkv = filled(images * t, 3 * c, 3 * c, rng, NORMAL), out = make(images * t, c, c);
    for (size_t i = 0; i < images * t * 3 * c; i++) {
        ((float *)qkv.c.p)[i] *= (float)size;
        ((double *)qkv.r.p)[i] = (double)((float *)qkv.c.p)[i];
    }
    void *rs = ref->ops->alloc(ref, ref->ops->attention_scratch(ref, t, heads)),
         *cs = cpu->ops->alloc(cpu, cpu->ops->attention_scratch(cpu, t, heads));
    const double scale = 1 / sqrt((double)d);
    ref->ops->attention(ref, vs_mat_view(ref, qkv.r, 0, images * t, 0, c), vs_mat_view(ref, qkv.r, 0, images * t, c, c),
                        vs_mat_view(ref, qkv.r, 0, images * t, 2 * c, c), images, heads, scale, rs, out.r);
    cpu->ops->attention(cpu, vs_mat_view(cpu, qkv.c, 0, images * t, 0, c), vs_mat_view(cpu, qkv.c, 0, images * t, c, c),
                        vs_mat_view(cpu, qkv.c, 0, images * t, 2 * c, c), images, heads, scale, cs, out.c);
    /* scores of size s = max|q.k| scale are off by (d + 3) eps s, probabilities by e^that - 1 relative, the sum by t eps more */
    for (size_t i = 0; i < images * t; i++)
        for (size_t j = 0; j < c; j++) {
            double vmax = 0, smax = 0;
            for (size_t k = 0; k < t; k++) {
                const size_t key = i / t * t + k, head = j / d;
                double s = 0;
                vmax = fmax(vmax, fabs(want(&qkv, key, 2 * c + j)));
                for (size_t l = 0; l < d; l++) s += fabs(want(&qkv, i, head * d + l) * want(&qkv, key, c + head * d + l));
                smax = fmax(smax, s * scale);
            }
            hold(SOFTMAX, at(&out, i, j), want(&out, i, j), (2 * ((double)d + 4) * smax + (double)t + 16) * vmax, t, c, i, j);
        }
    ref->ops->free(ref, rs);
    cpu->ops->free(cpu, cs);
    drop(&qkv);
    drop(&out);
}

static void attention(void **state) {
    (void)state;
    vs_rng rng = { 3 };
    for (size_t i = 0; i < 10; i++) one_attention(1 + i % 2, odd[i], 1 + i % 3, odd[(i + 3) % 10], i == 4 ? 10 : 1, &rng);
    one_attention(1, 257, 1, 64, 1, &rng);
    /* rows of probabilities sum to 1: with v = 1 the output is 1 */
    pair qkv = filled(40, 24, 24, &rng, OUTLIER), out = make(40, 8, 8);
    for (size_t r = 0; r < 40; r++)
        for (size_t c = 16; c < 24; c++) ((float *)qkv.c.p)[r * 24 + c] = 1;
    void *scratch = cpu->ops->alloc(cpu, cpu->ops->attention_scratch(cpu, 40, 1));
    cpu->ops->attention(cpu, vs_mat_view(cpu, qkv.c, 0, 40, 0, 8), vs_mat_view(cpu, qkv.c, 0, 40, 8, 8),
                        vs_mat_view(cpu, qkv.c, 0, 40, 16, 8), 1, 1, 0.35, scratch, out.c);
    for (size_t r = 0; r < 40; r++)
        for (size_t c = 0; c < 8; c++) check_close(at(&out, r, c), 1, 1e-5);
    cpu->ops->free(cpu, scratch);
    drop(&qkv);
    drop(&out);
}

/* Of |gelu| on the left: what its factor of x, and errors of what is raised to e, make of it. */
static double erf_tail(double v) { return 0.5 * erfc(-v / sqrt(2)) * (1 + v * v); }

static double tanh_tail(double v) {
    const double twice = 2 * sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v);
    return (1 - twice) / (1 + exp(-twice));
}

typedef void (*activation)(const vs_backend *be, vs_mat x, vs_mat y);

static void activation_everywhere(int op, activation of_ref, activation of_cpu, double (*tail)(double)) {
    enum { N = 40000 };
    pair x = make(1, N, N), y = make(1, N, N);
    for (size_t i = 0; i < N; i++) {
        const float v = (float)(-20 + 40.0 * (double)i / N);
        ((float *)x.c.p)[i] = v;
        ((double *)x.r.p)[i] = (double)v;
    }
    of_ref(ref, x.r, y.r);
    of_cpu(cpu, x.c, y.c);
    for (size_t i = 0; i < N; i++) { /* relative to |gelu| on the right; on the left nothing is lost below 1e-7 */
        const double v = want(&x, 0, i), size = v > 0 ? fabs(want(&y, 0, i)) : fabs(v) * fmax(tail(v), 1e-7);
        hold(op, at(&y, 0, i), want(&y, 0, i), size, 1, N, 0, i);
    }
    drop(&x);
    drop(&y);
}

static void gelu_everywhere(void **state) {
    (void)state;
    activation_everywhere(GELU, ref->ops->gelu, cpu->ops->gelu, erf_tail);
}

static void gelu_tanh_everywhere(void **state) {
    (void)state;
    activation_everywhere(GELU_TANH, ref->ops->gelu_tanh, cpu->ops->gelu_tanh, tanh_tail);
}

static void elementwise(void **state) {
    (void)state;
    vs_rng rng = { 4 };
    for (size_t i = 0; i < ODD; i++)
        for (int op = 0; op < 5; op++) {
            const size_t n = odd[i], rows = 4;
            pair x = filled(rows, n, n + 3, &rng, (int)(i % STYLES)), u = filled(rows, n, n, &rng, NORMAL),
                 s = filled(2, n, n, &rng, NORMAL), y = make(rows, n, n + 1);
            for (size_t c = 0; c < n; c++) { /* divisors away from zero */
                float *f = (float *)s.c.p + c;
                *f = fabsf(*f) + 0.01f;
                ((double *)s.r.p)[c] = (double)*f;
            }
            const double *rs = s.r.p;
            const float *cs = s.c.p;
            switch (op) {
            case 0: ref->ops->scale_add(ref, x.r, u.r, rs, y.r), cpu->ops->scale_add(cpu, x.c, u.c, cs, y.c); break;
            case 1: ref->ops->scale_add(ref, x.r, u.r, NULL, y.r), cpu->ops->scale_add(cpu, x.c, u.c, NULL, y.c); break;
            case 2: ref->ops->affine(ref, x.r, rs, rs + n, y.r), cpu->ops->affine(cpu, x.c, cs, cs + n, y.c); break;
            case 3: ref->ops->div_channels(ref, x.r, rs, y.r), cpu->ops->div_channels(cpu, x.c, cs, y.c); break;
            default: ref->ops->mul_channels(ref, x.r, rs, y.r), cpu->ops->mul_channels(cpu, x.c, cs, y.c); break;
            }
            for (size_t r = 0; r < rows; r++)
                for (size_t c = 0; c < n; c++) {
                    const double a = fabs(want(&x, r, c)), g = rs[c],
                                 second = op == 0   ? g * fabs(want(&u, r, c))
                                          : op == 1 ? fabs(want(&u, r, c))
                                          : op == 2 ? fabs(rs[n + c])
                                                    : 0;
                    const double bound = op == 3 ? a / g : op >= 2 ? a * g + second : a + second;
                    hold(ADD, at(&y, r, c), want(&y, r, c), bound + 1e-37, rows, n, r, c); /* 1e-37: results may be subnormal */
                }
            drop(&x);
            drop(&u);
            drop(&s);
            drop(&y);
        }
}

/* Codes as ONNX QuantizeLinear makes them: float32 division, half to even, saturation. */
static float code_by_formula(float x, const vs_grid *g) {
    const float q = rintf(x / g->scale) + (float)g->zero;
    return fminf(fmaxf(q, (float)g->qmin), (float)g->qmax);
}

static void codes_are_exact(void **state) {
    (void)state;
    vs_rng rng = { 5 };
    enum { N = 4099 };
    pair x = make(1, N, N), y = make(1, N, N);
    uint8_t u8[N];
    int8_t s8[N];
    for (int round = 0; round < 60; round++) {
        const float scale = (float)exp(4 * vs_rng_normal(&rng));
        const int32_t zero = (int32_t)(vs_rng_next(&rng) % 256);
        const vs_grid g = { scale, zero, 0, 255, (float)-zero * scale, (float)(255 - zero) * scale };
        for (size_t i = 0; i < N; i++) { /* ties, near ties, out of range */
            const double v =
                i % 3 == 0 ? ((double)(i % 600) - 300 + 0.5) * (double)scale : 200 * vs_rng_normal(&rng) * (double)scale;
            ((float *)x.c.p)[i] = i == 7 ? 3e38f : i == 8 ? -3e38f : i == 9 ? -0.0f : (float)v;
        }
        vs_quant_counts counts = { 0, 0 };
        cpu->ops->quantize_u8(cpu, x.c, &g, u8);
        cpu->ops->fake_quant(cpu, x.c, &g, y.c, 1, (vs_quant_counts *[]){ &counts });
        uint64_t zeroed = 0, clipped = 0;
        for (size_t i = 0; i < N; i++) {
            const float v = ((float *)x.c.p)[i], code = code_by_formula(v, &g), back = (code - (float)zero) * scale;
            if ((float)u8[i] != code)
                fail_msg("%s: code of %a on scale %a zero %d: %d, wanted %g", cpu->isa, (double)v, (double)scale, (int)zero,
                         u8[i], (double)code);
            assert_true(((float *)y.c.p)[i] == back);
            zeroed += back == 0;
            clipped += v < g.lo || v > g.hi;
            if (v >= g.lo && v <= g.hi)
                assert_true(fabs((double)v - (double)back) <= 0.5 * (double)scale + 4 * eps * fabs((double)v));
        }
        assert_int_equal(counts.zeroed, zeroed);
        assert_int_equal(counts.clipped, clipped);
        cpu->ops->fake_quant_rows(cpu, x.c, &scale, 127, y.c, s8);
        const vs_grid symmetric = { scale, 0, -127, 127, 0, 0 };
        for (size_t i = 0; i < N; i++)
            assert_true((float)s8[i] == code_by_formula(((float *)x.c.p)[i], &symmetric) &&
                        ((float *)y.c.p)[i] == (float)s8[i] * scale);
        pair again = make(1, N, N); /* quantizing what was dequantized changes nothing */
        cpu->ops->fake_quant(cpu, x.c, &g, y.c, 1, NULL);
        cpu->ops->fake_quant(cpu, y.c, &g, again.c, 1, NULL);
        assert_memory_equal(y.c.p, again.c.p, N * sizeof(float));
        drop(&again);
    }
    const vs_grid g = { 1, 10, 0, 255, 0, 0 };
    ((float *)x.c.p)[0] = NAN;
    ((float *)x.c.p)[1] = INFINITY;
    ((float *)x.c.p)[2] = -INFINITY;
    cpu->ops->quantize_u8(cpu, vs_mat_view(cpu, x.c, 0, 1, 0, 3), &g, u8);
    assert_true(u8[0] == 10 && u8[1] == 255 && u8[2] == 0);
    drop(&x);
    drop(&y);
}

static void integer_products_are_exact(void **state) {
    (void)state;
    vs_rng rng = { 6 };
    static const size_t shapes[][3] = { { 1, 1, 1 }, { 3, 5, 7 }, { 17, 33, 65 }, { 64, 64, 4096 }, { 33, 16, 192 } };
    for (size_t s = 0; s < 5; s++)
        for (int extreme = 0; extreme < 2; extreme++) {
            const size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
            uint8_t *x = malloc(m * k);
            int8_t *w = malloc(n * k);
            int32_t *a = malloc(m * n * sizeof *a), *b = malloc(m * n * sizeof *b);
            for (size_t i = 0; i < m * k; i++) x[i] = extreme ? 255 : (uint8_t)vs_rng_next(&rng);
            for (size_t i = 0; i < n * k; i++) w[i] = extreme ? (i / k % 2 ? 127 : -127) : (int8_t)(uint8_t)vs_rng_next(&rng);
            vs_error err = { 0 };
            assert_int_equal(ref->ops->linear_i8(ref, x, w, m, n, k, a, &err), VS_OK);
            assert_int_equal(cpu->ops->linear_i8(cpu, x, w, m, n, k, b, &err), VS_OK);
            assert_memory_equal(a, b, m * n * sizeof *a);
            free(x);
            free(w);
            free(a);
            free(b);
        }
}

static void statistics(void **state) {
    (void)state;
    vs_rng rng = { 7 };
    for (size_t i = 0; i < ODD; i++) {
        const size_t n = odd[i], rows = 9;
        pair x = filled(rows, n, n + 4, &rng, (int)(i % STYLES)), y = filled(rows, n, n + 1, &rng, NORMAL);
        vs_abs_stats a, b;
        static uint64_t ha[VS_HIST_BINS], hb[VS_HIST_BINS];
        double ea[200] = { 0 }, eb[200] = { 0 }, la[200], lb[200], ua[200], ub[200], ra[9], rb[9];
        void *ca = ref->ops->alloc_counts(ref, VS_HIST_BINS), *cb = cpu->ops->alloc_counts(cpu, VS_HIST_BINS);
        vs_error err = { 0 };
        assert_true(ca && cb);
        memset(ha, 0, sizeof ha);
        memset(hb, 0, sizeof hb);
        ref->ops->abs_stats(ref, x.r, 1, (vs_abs_stats *[]){ &a }, ca, (double *[]){ ea });
        cpu->ops->abs_stats(cpu, x.c, 1, (vs_abs_stats *[]){ &b }, cb, (double *[]){ eb });
        assert_true(a.max == b.max && a.max_row == b.max_row && a.max_col == b.max_col && a.count == b.count);
        hold(SUMS, b.sum, a.sum, a.sum, rows, n, 0, 0);
        assert_int_equal(ref->ops->read_counts(ref, ca, VS_HIST_BINS, ha, &err), VS_OK);
        assert_int_equal(cpu->ops->read_counts(cpu, cb, VS_HIST_BINS, hb, &err), VS_OK);
        ref->ops->free(ref, ca);
        cpu->ops->free(cpu, cb);
        assert_memory_equal(ha, hb, sizeof ha);
        for (size_t c = 0; c < n; c++) {
            hold(SUMS, eb[c], ea[c], ea[c], rows, n, 0, c);
            la[c] = lb[c] = HUGE_VAL;
            ua[c] = ub[c] = -HUGE_VAL;
        }
        ref->ops->channel_minmax(ref, x.r, la, ua);
        cpu->ops->channel_minmax(cpu, x.c, lb, ub);
        assert_memory_equal(la, lb, n * sizeof *la);
        assert_memory_equal(ua, ub, n * sizeof *ua);
        ref->ops->row_absmax(ref, x.r, ra);
        cpu->ops->row_absmax(cpu, x.c, rb);
        assert_memory_equal(ra, rb, sizeof ra);
        vs_error_sums sa, sb;
        ref->ops->error_sums(ref, x.r, y.r, 1, (vs_error_sums *[]){ &sa });
        cpu->ops->error_sums(cpu, x.c, y.c, 1, (vs_error_sums *[]){ &sb });
        hold(SUMS, sb.signal, sa.signal, sa.signal, rows, n, 0, 0);
        hold(SUMS, sb.noise, sa.noise, sa.noise, rows, n, 0, 0);
        uint64_t na = 0, nb = 0;
        const double threshold = 0.3 + (double)i * 0.01;
        ref->ops->count_below(ref, x.r, threshold, &na);
        cpu->ops->count_below(cpu, x.c, threshold, &nb);
        assert_int_equal(na, nb);
        na = nb = 0;
        ref->ops->count_above(ref, x.r, n / 2, threshold, &na);
        cpu->ops->count_above(cpu, x.c, n / 2, threshold, &nb);
        assert_int_equal(na, nb);
        drop(&x);
        drop(&y);
    }
    pair x = make(2, 3, 3), y = make(2, 3, 3); /* what is not finite is counted, never lost in a sum */
    static const float values[] = { 1, NAN, 2, INFINITY, 3, -4 };
    memcpy(y.c.p, values, sizeof values);
    for (size_t i = 0; i < 6; i++) ((float *)x.c.p)[i] = 1;
    vs_error_sums s;
    cpu->ops->error_sums(cpu, x.c, y.c, 1, (vs_error_sums *[]){ &s });
    assert_int_equal(s.nonfinite, 2);
    check_close(s.noise, 0 + 1 + 4 + 25, 0);
    vs_abs_stats a;
    cpu->ops->abs_stats(cpu, y.c, 1, (vs_abs_stats *[]){ &a }, NULL, NULL);
    assert_true(isnan(a.max) && a.max_row == 0 && a.max_col == 1);
    double lo[3] = { HUGE_VAL, HUGE_VAL, HUGE_VAL }, hi[3] = { -HUGE_VAL, -HUGE_VAL, -HUGE_VAL };
    cpu->ops->channel_minmax(cpu, y.c, lo, hi);
    assert_true(isnan(lo[1]) && isnan(hi[1]) && hi[0] > 1e300 && lo[2] == -4);
    drop(&x);
    drop(&y);
}

static void layout_operations(void **state) {
    (void)state;
    vs_rng rng = { 8 };
    enum { B = 2, H = 2, W = 3, P = 4, C = 5, PREFIX = 3 };
    pair pixels = filled(1, B * 3 * H * P * W * P, B * 3 * H * P * W * P, &rng, NORMAL),
         patches = make(B * H * W, 3 * P * P, 3 * P * P);
    ref->ops->patchify(ref, pixels.r.p, B, H, W, P, patches.r);
    cpu->ops->patchify(cpu, pixels.c.p, B, H, W, P, patches.c);
    for (size_t r = 0; r < B * H * W; r++)
        for (size_t c = 0; c < 3 * P * P; c++) assert_true(at(&patches, r, c) == want(&patches, r, c));
    pair embedded = filled(B * H * W, C, C, &rng, NORMAL), prefix = filled(PREFIX, C, C, &rng, NORMAL),
         pos = filled(H * W, C, C, &rng, NORMAL), out = make(B * (PREFIX + H * W), C, C);
    ref->ops->tokens(ref, embedded.r, prefix.r, pos.r, B, out.r);
    cpu->ops->tokens(cpu, embedded.c, prefix.c, pos.c, B, out.c);
    for (size_t r = 0; r < B * (PREFIX + H * W); r++)
        for (size_t c = 0; c < C; c++) hold(ADD, at(&out, r, c), want(&out, r, c), fabs(want(&out, r, c)) + 4, 1, C, r, c);
    assert_true(at(&out, PREFIX + H * W, 1) == at(&prefix, 0, 1)); /* the second image begins with the prefix again */
    drop(&pixels);
    drop(&patches);
    drop(&embedded);
    drop(&prefix);
    drop(&pos);
    drop(&out);
}

static void threads_do_not_change_bits(void **state) {
    (void)state;
    vs_rng rng = { 9 };
    enum { M = 130, N = 192, K = 257, COPIES = 6 };
    pair x = filled(M, K, K, &rng, OUTLIER), w = filled(N, K, K, &rng, NORMAL), alone = make(M, N, N), many[COPIES];
    cpu->ops->linear(cpu, x.c, w.c, NULL, alone.c);
    for (size_t i = 0; i < COPIES; i++) many[i] = make(M, N, N);
#pragma omp parallel for num_threads(3)
    for (size_t i = 0; i < COPIES; i++) cpu->ops->linear(cpu, x.c, w.c, NULL, many[i].c);
    for (size_t i = 0; i < COPIES; i++) {
        assert_memory_equal(many[i].c.p, alone.c.p, M * N * sizeof(float));
        drop(&many[i]);
    }
    drop(&x);
    drop(&w);
    drop(&alone);
}

/* What the library refuses, here for a row step below the columns, is told by what returns a status, and stays told. */
static void a_product_that_was_not_computed_is_told(void **state) {
    (void)state;
    enum { N = 4 };
    float x[N * N] = { 0 }, y[N * N] = { 0 }, host[N * N];
    uint64_t counts[1] = { 0 };
    const vs_mat good = vs_mat_of(x, N, N), bad = { x, N, N, N - 1 }, out = vs_mat_of(y, N, N);
    vs_backend *be = NULL;
    vs_error err = { 0 };
    assert_int_equal(vs_backend_open(&be, "cpu", &err), VS_OK);
    void *counters = be->ops->alloc_counts(be, 1);
    assert_int_equal(be->ops->reserve(be, bad, good, out, &err), VS_ERR_INTERNAL);
    assert_non_null(strstr(err.message, "backend cpu, in reserve: "));
    err = (vs_error){ 0 };
    assert_int_equal(be->ops->reserve(be, good, good, out, &err), VS_OK);
    be->ops->linear(be, good, good, NULL, out);
    assert_int_equal(be->ops->sync(be, &err), VS_OK); /* a trial is not work */
    be->ops->linear(be, bad, good, NULL, out);
    be->ops->linear(be, good, good, NULL, out);
    for (size_t i = 0; i < 2; i++) {
        err = (vs_error){ 0 };
        assert_int_equal(be->ops->sync(be, &err), VS_ERR_INTERNAL);
        assert_non_null(strstr(err.message, "backend cpu, in linear: the matrix library failed for a product of 4x4 by 4x4"));
    }
    assert_int_equal(be->ops->download(be, host, out, &err), VS_ERR_INTERNAL);
    assert_int_equal(be->ops->read_counts(be, counters, 1, counts, &err), VS_ERR_INTERNAL);
    be->ops->free(be, counters);
    vs_backend_close(be);
}

int main(void) {
    static const char *const isas[] = { "scalar", "avx2", "avx512" };
    int failed = 0;
    vs_error err = { 0 };
    vs_backend *reference = NULL;
    if (vs_backend_open(&reference, "ref", &err) != VS_OK) return 1;
    ref = reference;
    for (size_t i = 0; i < 3; i++) {
        vs_backend *backend = NULL;
        setenv("VS_ISA", isas[i], 1);
        err = (vs_error){ 0 };
        if (vs_backend_open(&backend, "cpu", &err) != VS_OK) {
            printf("%s: skipped: %s\n", isas[i], err.message);
            continue;
        }
        cpu = backend;
        memset(worst, 0, sizeof worst);
        const struct CMUnitTest tests[] = { cmocka_unit_test(linear),
                                            cmocka_unit_test(layernorm),
                                            cmocka_unit_test(attention),
                                            cmocka_unit_test(gelu_everywhere),
                                            cmocka_unit_test(gelu_tanh_everywhere),
                                            cmocka_unit_test(elementwise),
                                            cmocka_unit_test(codes_are_exact),
                                            cmocka_unit_test(integer_products_are_exact),
                                            cmocka_unit_test(statistics),
                                            cmocka_unit_test(layout_operations),
                                            cmocka_unit_test(threads_do_not_change_bits),
                                            cmocka_unit_test(a_product_that_was_not_computed_is_told) };
        failed += cmocka_run_group_tests_name(isas[i], tests, NULL, NULL);
        for (int op = 0; op < OPS; op++)
            printf("%-8s %-12s worst use of the tolerance %5.1f %%  (%s)\n", isas[i], tolerance[op].name, 100 * worst[op],
                   tolerance[op].why);
        vs_backend_close(backend);
    }
    setenv("VS_ISA", "sse9", 1);
    vs_backend *none = NULL;
    err = (vs_error){ 0 };
    if (vs_backend_open(&none, "cpu", &err) != VS_ERR_CONFIG) failed++;
    vs_backend_close(reference);
    return failed != 0;
}
