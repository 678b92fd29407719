/* Grids and SmoothQuant factors by hand (docs/study.md 3). */
#include "quant/quant.h"
#include "support/check.h"
#include "util/util.h"

static void asymmetric_grids(void **state) {
    (void)state;
    vs_grid g = vs_grid_asymmetric(-1, 4.1, 8); /* scale 5.1 / 255 = 0.02, zero 50 */
    check_close((double)g.scale, 0.02, 1e-9);
    assert_int_equal(g.zero, 50);
    assert_int_equal(g.qmin, 0);
    assert_int_equal(g.qmax, 255);
    g = vs_grid_asymmetric(2, 5.1, 8); /* 0 is inside the range */
    check_close((double)g.scale, 0.02, 1e-9);
    assert_int_equal(g.zero, 0);
    g = vs_grid_asymmetric(-3, -1, 4);
    check_close((double)g.scale, 0.2, 1e-8);
    assert_int_equal(g.zero, 15);
    g = vs_grid_asymmetric(0, 0, 8);
    assert_true(g.scale == 1.0f);
    assert_int_equal(g.zero, 0);
}

static void symmetric_grids(void **state) {
    (void)state;
    vs_grid g = vs_grid_symmetric(12.7, 8);
    check_close((double)g.scale, 0.1, 1e-8);
    assert_int_equal(g.qmin, -127);
    assert_int_equal(g.qmax, 127);
    g = vs_grid_symmetric(7, 4);
    check_close((double)g.scale, 1, 0);
    assert_int_equal(g.qmax, 7);
    assert_true(vs_grid_symmetric(0, 8).scale == 1.0f);
}

static void smoothing_factors(void **state) {
    (void)state;
    float w[] = { 1, -4, 0, 2, 1, 0 }, s[3]; /* column maxima 2, 4, 0 */
    double lo[] = { -8, -1, 0 }, hi[] = { 2, 9, 0 };
    const vs_linear l = { .w = w, .out = 2, .in = 3 };
    const vs_channel_range range = { lo, hi, 3 };
    vs_smooth_factors(&l, &range, 0.5, s);
    check_close((double)s[0], sqrt(8.0) / sqrt(2.0), 1e-6);
    check_close((double)s[1], sqrt(9.0) / sqrt(4.0), 1e-6);
    check_close((double)s[2], 1, 1e-6); /* both floors: 1e-5^0.5 / 1e-5^0.5 */
    vs_smooth_factors(&l, &range, 0, s);
    check_close((double)s[0], 0.5, 1e-6);
}

static void schemes(void **state) {
    (void)state;
    const vs_range r = { -6.35, 12.7 };
    vs_grid g = vs_grid_make(VS_SCHEME_WIDE, r, 8);
    check_close((double)g.scale, 0.1, 1e-8);
    assert_true(g.qmin == -128 && g.qmax == 127 && g.zero == 0);
    check_close((double)g.lo, -12.7, 1e-6);
    g = vs_grid_make(VS_SCHEME_WIDE, r, 2);
    assert_true(g.qmin == -2 && g.qmax == 1);
    g = vs_grid_make(VS_SCHEME_SYMMETRIC, r, 2);
    assert_true(g.qmin == -1 && g.qmax == 1);
    g = vs_grid_make(VS_SCHEME_ASYMMETRIC, r, 2);
    assert_true(g.qmin == 0 && g.qmax == 3 && g.zero == 1);
    check_close((double)g.scale, 6.35, 1e-6);
    g = vs_grid_make(VS_SCHEME_TOKEN, r, 8);
    assert_true(g.scale == 1.0f && g.qmin == -128 && g.qmax == 127 && isinf(g.lo) && isinf(g.hi));
    g = vs_grid_make(VS_SCHEME_UNIT, (vs_range){ 0, 0 }, 8);
    assert_true(g.scale == (float)(1.0 / 255) && g.zero == 0 && g.qmin == 0 && g.qmax == 255 && g.lo == 0 && g.hi == 1);
    vs_grid token = vs_grid_make(VS_SCHEME_TOKEN, r, 5);
    const vs_site per_token = { .scheme = VS_SCHEME_TOKEN, .grids = &token, .grid_count = 1 };
    check_close(vs_site_step(&per_token, 30), 2, 0);
    vs_grid two[] = { vs_grid_symmetric(127, 8), vs_grid_symmetric(254, 8) };
    check_close(vs_site_step(&(vs_site){ .scheme = VS_SCHEME_SYMMETRIC, .grids = two, .grid_count = 2 }, 30), 2, 0);
}

enum { VALUES = 20001 };

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Two heads: inside the ends the same bits, beyond them rounding alone. */
static void grids_without_ends(void **state) {
    (void)state;
    enum { COLS = 4, ROWS = 3 };
    const double x[ROWS][COLS] = { { 0.26, -0.74, 3.1, -2.2 }, { 5.03, -61.37, 300.4, 0.6 }, { 1e6 + 0.25, -1e6, 0, -7 } };
    vs_error err = { 0 };
    vs_backend *be = NULL;
    assert_int_equal(vs_backend_open(&be, "ref", &err), VS_OK);
    vs_grid grids[] = { vs_grid_make(VS_SCHEME_ASYMMETRIC, (vs_range){ -1, 4.1 }, 8),
                        vs_grid_make(VS_SCHEME_SYMMETRIC, (vs_range){ -8, 12.7 }, 8) };
    vs_range ranges[] = { { -1, 4.1 }, { -8, 50.8 } };
    vs_site site = { .quantized = true, .scheme = VS_SCHEME_ASYMMETRIC, .grids = grids, .ranges = ranges, .grid_count = 2 };
    double ended[ROWS][COLS], endless[ROWS][COLS];
    const vs_mat in = { (void *)(uintptr_t)x, ROWS, COLS, COLS };
    vs_site_quantize(be, &site, in, (vs_mat){ ended, ROWS, COLS, COLS }, 1, NULL);
    vs_site_quantize_endless(be, &site, in, (vs_mat){ endless, ROWS, COLS, COLS }, 1);
    for (size_t c = 0; c < COLS; c++) assert_true(endless[0][c] == ended[0][c]);
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++) {
        const double half = (double)grids[i % COLS / 2].scale / 2;
        if (fabs(x[i / COLS][i % COLS]) < 1e5) check_close(endless[i / COLS][i % COLS], x[i / COLS][i % COLS], half * (1 + 1e-9));
    }
    check_close(endless[2][0], (double)((1 << 23) - 50) * (double)grids[0].scale, 1e-9); /* the farthest code */
    assert_true(ended[1][2] < 12.8 && ended[1][1] >= -1.01);
    vs_backend_close(be);
    for (vs_scheme s = VS_SCHEME_ASYMMETRIC; s <= VS_SCHEME_UNIT; s++) {
        site.scheme = s;
        assert_int_equal(vs_site_has_ends(&site), s != VS_SCHEME_TOKEN && s != VS_SCHEME_UNIT);
    }
    site.quantized = false;
    assert_false(vs_site_has_ends(&site));
    assert_int_equal(vs_site_tightest(&site), 1); /* 50.8 on a grid to 12.7 */
    check_close(vs_grid_overshoot(&grids[1], ranges[1]), 4, 1e-6);
    check_close(vs_grid_overshoot(&grids[0], (vs_range){ -2.5, 4 }), 2.5, 1e-6);
    check_close(vs_grid_overshoot(&grids[0], (vs_range){ 2, 3 }), 1, 0);
    const vs_grid positive = vs_grid_asymmetric(0, 5, 8);
    assert_true(isinf(vs_grid_overshoot(&positive, (vs_range){ -0.1, 4 })));
    check_close(vs_grid_overshoot(&positive, (vs_range){ 0, 10 }), 2, 1e-6);
}

static void fill_counts(vs_scheme scheme, vs_range r, const double *x, uint64_t *counts) {
    const vs_range span = vs_observer_span(scheme, r);
    memset(counts, 0, VS_OBSERVER_BINS * sizeof *counts);
    for (size_t i = 0; i < VALUES; i++) {
        const double at = (x[i] - span.lo) * (VS_OBSERVER_BINS / (span.hi - span.lo));
        counts[at < VS_OBSERVER_BINS ? (size_t)at : VS_OBSERVER_BINS - 1]++;
    }
}

/* Order statistic at rank p(n-1) of sorted values, interpolated. */
static double exact_quantile(const double *sorted, double p) {
    const size_t rank = (size_t)floor(p * (VALUES - 1));
    const double part = p * (VALUES - 1) - (double)rank;
    return rank + 1 < VALUES ? sorted[rank] + part * (sorted[rank + 1] - sorted[rank]) : sorted[rank];
}

/* Skewed values with a tail; what a histogram cannot know is where in a bin a value lies. */
static void observed_percentiles(void **state) {
    (void)state;
    static double x[VALUES], magnitude[VALUES];
    static uint64_t counts[VS_OBSERVER_BINS];
    vs_rng rng = { 21 };
    for (size_t i = 0; i < VALUES; i++) {
        const double n = vs_rng_normal(&rng);
        x[i] = n + 0.3 * n * n + (i % 1000 == 7 ? 20 : 0);
        magnitude[i] = fabs(x[i]);
    }
    qsort(x, VALUES, sizeof *x, ascending);
    qsort(magnitude, VALUES, sizeof *magnitude, ascending);
    const vs_range exact = { x[0], x[VALUES - 1] };
    static const double percentiles[] = { 50, 90, 99, 99.9, 99.99, 100 };
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++) {
        const double p = percentiles[i], tail = (100 - p) / 2;
        fill_counts(VS_SCHEME_ASYMMETRIC, exact, x, counts);
        vs_range r = vs_observe_percentile(VS_SCHEME_ASYMMETRIC, exact, counts, p);
        double bin = (exact.hi - exact.lo) / VS_OBSERVER_BINS;
        check_close(r.lo, exact_quantile(x, tail / 100), bin);
        check_close(r.hi, exact_quantile(x, (100 - tail) / 100), bin);
        for (vs_scheme scheme = VS_SCHEME_SYMMETRIC; scheme <= VS_SCHEME_WIDE; scheme++) {
            fill_counts(scheme, exact, x, counts);
            r = vs_observe_percentile(scheme, exact, counts, p);
            bin = 2 * magnitude[VALUES - 1] / VS_OBSERVER_BINS;
            check_close(r.hi, exact_quantile(magnitude, p / 100), bin);
            assert_true(r.lo == -r.hi);
        }
    }
    memset(counts, 0, sizeof counts); /* three values in one bin of width 1/8192: ranks 0, 1, 2 at 1/6, 3/6, 5/6 of it */
    counts[0] = 3;
    const vs_range unit = { 0, 1 };
    const vs_range r = vs_observe_percentile(VS_SCHEME_ASYMMETRIC, unit, counts, 50);
    check_close(r.lo, (1.0 / 6 + 0.5 * (3.0 / 6 - 1.0 / 6)) / VS_OBSERVER_BINS, 1e-18);
    check_close(r.hi, (3.0 / 6 + 0.5 * (5.0 / 6 - 3.0 / 6)) / VS_OBSERVER_BINS, 1e-18);
    assert_true(!vs_observer_applies(VS_SCHEME_ASYMMETRIC, (vs_range){ 2, 2 }));
    assert_true(!vs_observer_applies(VS_SCHEME_SYMMETRIC, (vs_range){ 0, 0 }));
    assert_true(vs_observer_applies(VS_SCHEME_SYMMETRIC, (vs_range){ 2, 2 }));
    assert_true(!vs_observer_applies(VS_SCHEME_TOKEN, unit) && !vs_observer_applies(VS_SCHEME_UNIT, unit));
}

/* Error of quantizing every bin's centre with range k (lo, hi), from the definition. */
static double brute_error(vs_scheme scheme, vs_range r, int bits, int k, const uint64_t *counts) {
    const vs_range span = vs_observer_span(scheme, r);
    const bool asymmetric = scheme == VS_SCHEME_ASYMMETRIC;
    const double lo = fmin(0, r.lo * k / 100), hi = fmax(0, r.hi * k / 100), top = exp2(asymmetric ? bits : bits - 1) - 1;
    const double scale = (double)(float)((asymmetric ? hi - lo : fmax(-lo, hi)) / top);
    const double zero = asymmetric ? fmin(fmax(rint(-lo / scale), 0), top) : 0;
    const double bottom = asymmetric ? 0 : scheme == VS_SCHEME_WIDE ? -top - 1 : -top;
    double sum = 0;
    for (size_t i = 0; i < VS_OBSERVER_BINS; i++) {
        const double centre = span.lo + (span.hi - span.lo) * (2 * (double)i + 1) / (2 * VS_OBSERVER_BINS);
        const double back = (fmin(fmax(rint(centre / scale) + zero, bottom), top) - zero) * scale;
        sum += (double)counts[i] * (centre - back) * (centre - back);
    }
    return sum;
}

static void observed_mse(void **state) {
    (void)state;
    static double x[VALUES];
    static uint64_t counts[VS_OBSERVER_BINS];
    vs_rng rng = { 22 };
    vs_range exact = { HUGE_VAL, -HUGE_VAL };
    for (size_t i = 0; i < VALUES; i++) {
        x[i] = vs_rng_normal(&rng) + (i == 5 ? 9 : 0);
        exact.lo = fmin(exact.lo, x[i]);
        exact.hi = fmax(exact.hi, x[i]);
    }
    for (vs_scheme scheme = VS_SCHEME_ASYMMETRIC; scheme <= VS_SCHEME_WIDE; scheme++)
        for (int bits = 2; bits <= 8; bits++) {
            fill_counts(scheme, exact, x, counts);
            int best = 100;
            double least = HUGE_VAL;
            for (int k = 100; k >= 30; k--) {
                const double error = brute_error(scheme, exact, bits, k, counts);
                if (error < least) {
                    least = error;
                    best = k;
                }
            }
            const vs_range r = vs_observe_mse(scheme, exact, bits, counts);
            check_close(r.lo, exact.lo * best / 100, 0);
            check_close(r.hi, exact.hi * best / 100, 0);
            assert_true(bits > 4 || best < 100); /* few levels do not reach out to one outlier */
        }
    memset(counts, 0, sizeof counts); /* all ranges are equally good: the largest */
    const vs_range r = vs_observe_mse(VS_SCHEME_SYMMETRIC, exact, 8, counts);
    assert_true(r.lo == exact.lo && r.hi == exact.hi);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(asymmetric_grids),   cmocka_unit_test(symmetric_grids),
                                        cmocka_unit_test(smoothing_factors),  cmocka_unit_test(schemes),
                                        cmocka_unit_test(grids_without_ends), cmocka_unit_test(observed_percentiles),
                                        cmocka_unit_test(observed_mse) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
