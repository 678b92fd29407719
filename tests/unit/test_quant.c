/* Grids and SmoothQuant factors by hand (study.md section 3). */
#include "check.h"
#include "quant.h"

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

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(asymmetric_grids), cmocka_unit_test(symmetric_grids),
                                        cmocka_unit_test(smoothing_factors) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
