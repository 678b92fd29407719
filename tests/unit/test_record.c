/* SQNR, order statistics and distributions against numbers worked out by hand. */
#include "run/record.h"
#include "support/check.h"
#include "task/predict.h"
#include "util/util.h"

static void sqnr_by_hand(void **state) {
    (void)state;
    check_close(vs_sqnr_db(&(vs_error_sums){ 100, 1, 0 }), 20, 1e-12);
    assert_true(isinf(vs_sqnr_db(&(vs_error_sums){ 1, 0, 0 })) && vs_sqnr_db(&(vs_error_sums){ 1, 0, 0 }) > 0);
    assert_true(isinf(vs_sqnr_db(&(vs_error_sums){ 0, 0, 0 })) && vs_sqnr_db(&(vs_error_sums){ 0, 0, 0 }) > 0);
    assert_true(vs_sqnr_db(&(vs_error_sums){ 1, 1, 3 }) < 0 && isinf(vs_sqnr_db(&(vs_error_sums){ 1, 1, 3 })));
    vs_sqnr_pool pool = { 0 };
    assert_false(vs_sqnr_pool_result(&pool).present);
    vs_sqnr_pool_add(&pool, &(vs_error_sums){ 100, 1, 0 });  /* 20 dB */
    vs_sqnr_pool_add(&pool, &(vs_error_sums){ 1000, 1, 0 }); /* 30 dB */
    vs_sqnr r = vs_sqnr_pool_result(&pool);
    check_close(r.pooled, 10 * log10(550), 1e-12);
    check_close(r.mean, 25, 1e-12);
    check_close(r.std, 5, 1e-12);
    check_close(r.min, 20, 1e-12);
    vs_sqnr_pool_add(&pool, &(vs_error_sums){ 1, 0, 0 });
    r = vs_sqnr_pool_result(&pool);
    assert_true(isinf(r.mean) && r.mean > 0 && isinf(r.std));
    check_close(r.min, 20, 1e-12);
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void histograms_keep_their_promise(void **state) {
    (void)state;
    enum { N = 20001 };
    static float v[N];
    static uint64_t hist[VS_HIST_BINS];
    vs_rng rng = { 5 };
    for (size_t i = 0; i < N; i++) {
        v[i] = (float)fabs(exp(2 * vs_rng_normal(&rng)));
        hist[vs_hist_bin((double)v[i])]++;
    }
    qsort(v, N, sizeof *v, by_value);
    static const double quantiles[] = { 0, 0.01, 0.5, 0.99, 0.999, 1 };
    for (size_t i = 0; i < 6; i++) {
        const double rank = quantiles[i] * (N - 1),
                     want = (double)v[(size_t)rank] +
                            (rank - floor(rank)) * ((double)v[(size_t)fmin(rank + 1, N - 1)] - (double)v[(size_t)rank]);
        check_close(vs_hist_quantile(hist, N, quantiles[i], (double)v[N - 1]), want, 0.005 * want);
    }
}

/* A quantile between two lonely values far apart lies between them, not in the lower one's bin. */
static void quantiles_cross_bins(void **state) {
    (void)state;
    static uint64_t hist[VS_HIST_BINS];
    hist[vs_hist_bin(100)]++;
    hist[vs_hist_bin(200)]++;
    check_close(vs_hist_quantile(hist, 2, 0.25, 200), 125, 0.002 * 125);
}

static void bins_are_ordered(void **state) {
    (void)state;
    assert_int_equal(vs_hist_bin(0), 0);
    assert_int_equal(vs_hist_bin(0x1p-41), 0);
    assert_int_equal(vs_hist_bin((double)INFINITY), VS_HIST_BINS - 1);
    assert_int_equal(vs_hist_bin((double)NAN), VS_HIST_BINS - 1);
    for (size_t b = 1; b < VS_HIST_BINS; b++) {
        assert_int_equal(vs_hist_bin(vs_hist_lower(b)), b);
        assert_true(vs_hist_upper(b) / vs_hist_lower(b) <= 1 + 1.0 / 256 + 1e-12);
    }
}

static void medians_are_exact(void **state) {
    (void)state;
    float odd[] = { 5, 1, 4 }, even[] = { 4, 1, 3, 2 }, same[] = { 2, 2, 2, 2, 2 };
    check_close(vs_median_f32(odd, 3), 4, 0);
    check_close(vs_median_f32(even, 4), 2.5, 0);
    check_close(vs_median_f32(same, 5), 2, 0);
    vs_rng rng = { 9 };
    for (size_t n = 1; n < 60; n++) {
        float v[60], w[60];
        for (size_t i = 0; i < n; i++) v[i] = w[i] = (float)(vs_rng_next(&rng) % 10);
        qsort(w, n, sizeof *w, by_value);
        check_close(vs_median_f32(v, n), n % 2 ? (double)w[n / 2] : ((double)w[n / 2 - 1] + (double)w[n / 2]) / 2, 0);
    }
}

static void distribution_by_hand(void **state) {
    (void)state;
    vs_dist_pool pool;
    vs_error err = { 0 };
    assert_int_equal(vs_dist_pool_create(&pool, 2, &err), VS_OK);
    double energy[2] = { 4, 100 };
    const vs_dist_slot a = { .stats = { 8, 1, 1, 12, 4 }, .rows = 2, .energy = energy },
                       b = { .stats = { 8, 0, 0, 10, 4 }, .rows = 2, .energy = energy };
    vs_dist_pool_add(&pool, 0, &a);
    vs_dist_pool_add(&pool, 1, &b); /* an equal maximum later does not move the place */
    pool.below = 2;
    pool.above = 1;
    static const uint64_t hist[VS_HIST_BINS];
    const vs_distribution d = vs_dist_pool_result(&pool, hist);
    assert_int_equal(d.argmax_image, 0);
    assert_int_equal(d.argmax_token, 1);
    assert_int_equal(d.argmax_channel, 1);
    check_close(d.mean, 22.0 / 8, 1e-15);
    check_close(d.step, 8.0 / 127, 1e-15);
    check_close(d.zeroed, 0.25, 1e-15);
    check_close(d.structure, 0.25, 1e-15);
    assert_string_equal(d.shape, "mixed");
    assert_int_equal(d.top_count, 2);
    assert_int_equal(d.top[0].channel, 1);
    check_close(d.top[0].share, 200.0 / 208, 1e-15);
    vs_dist_pool_release(&pool);
}

static void maps_and_counts(void **state) {
    (void)state;
    const double logits[] = { 1, 0, 0, 1 }; /* two cells of a row: class 0, class 1 */
    uint16_t map[8];
    vs_error err = { 0 };
    assert_int_equal(vs_predict_map(logits, VS_SCALAR_F64, 1, 2, 2, 2, 4, map, &err), VS_OK);
    const uint16_t want[] = { 0, 0, 1, 1, 0, 0, 1, 1 };
    assert_memory_equal(map, want, sizeof want);
    const float nan_logits[] = { 5, NAN };
    assert_int_equal(vs_predict_map(nan_logits, VS_SCALAR_F32, 1, 1, 2, 1, 1, map, &err), VS_OK);
    assert_int_equal(map[0], 1);
    vs_confusion c;
    assert_int_equal(vs_confusion_create(&c, 2, &err), VS_OK);
    const uint8_t labels[] = { 0, 255, 1, 0, 7, 0, 1, 1 };
    vs_confusion_add(&c, want, want, labels, 8);
    assert_int_equal(c.intersect[0], 2);
    assert_int_equal(c.predicted[1], 4);
    assert_int_equal(c.labelled[0], 3);
    assert_int_equal(c.agree, 8);
    vs_confusion_release(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(sqnr_by_hand),         cmocka_unit_test(histograms_keep_their_promise),
                                        cmocka_unit_test(quantiles_cross_bins), cmocka_unit_test(bins_are_ordered),
                                        cmocka_unit_test(medians_are_exact),    cmocka_unit_test(distribution_by_hand),
                                        cmocka_unit_test(maps_and_counts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
