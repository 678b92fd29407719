/* Statistics: extremes, places, counts and bins exactly; sums to the rounding of float64. */
#include "ops/harness.h"

static double magnitude(const tensor *t, size_t i) { return fabs((double)value_at(t, i / t->cols, i % t->cols)); }

static void minmax_case(ops_context *c, size_t rows, size_t cols, ops_values v) {
    begin(c, OP_EXACT, v, "minmax [%zu,%zu]", rows, cols);
    tensor *x = input(c, rows, cols, v);
    double *lo[2] = { doubles(cols), doubles(cols) }, *hi[2] = { doubles(cols), doubles(cols) },
           *most[2] = { doubles(rows), doubles(rows) };
    for (size_t b = 0; b < 2; b++)
        for (size_t j = 0; j < cols; j++) {
            /* open, already wide, and past float32's range */
            lo[b][j] = j % 3 == 0 ? HUGE_VAL : j % 3 == 1 ? -1e6 : 1e300;
            hi[b][j] = j % 3 == 0 ? -HUGE_VAL : j % 3 == 1 ? 0.1 : -1e300;
        }
    c->ref->ops->channel_minmax(c->ref, x->ref, lo[0], hi[0]);
    c->dut->ops->channel_minmax(c->dut, x->dut, lo[1], hi[1]);
    c->ref->ops->row_absmax(c->ref, x->ref, most[0]);
    c->dut->ops->row_absmax(c->dut, x->dut, most[1]);
    settle(c);
    for (size_t j = 0; j < cols; j++)
        require(c, lo[0][j] == lo[1][j] && hi[0][j] == hi[1][j], "channel %zu: [%g, %g], ref [%g, %g]", j, lo[1][j], hi[1][j],
                lo[0][j], hi[0][j]);
    for (size_t r = 0; r < rows; r++) require(c, most[0][r] == most[1][r], "row %zu: %g, ref %g", r, most[1][r], most[0][r]);
    for (size_t b = 0; b < 2; b++) {
        free(lo[b]);
        free(hi[b]);
        free(most[b]);
    }
    finish(c);
}

void test_minmax(void **state) {
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride())
            minmax_case(*state, SHAPES[i].rows, SHAPES[i].cols, v);
}

void test_range_histogram(void **state) {
    ops_context *c = *state;
    static const struct {
        double lo, hi;
        size_t bins;
    } ranges[] = { { -1, 1, 2 }, { -4.3, 4.3, 8192 }, { 0, 2.7, 4096 }, { -0.1, 1e-3, 5 }, { 99.9, 100.1, 1 } };
    enum { MOST = 8192 };
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride())
            for (size_t j = 0; j < sizeof ranges / sizeof *ranges; j++) {
                const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols, bins = ranges[j].bins;
                static uint64_t counts[3][MOST + 1];
                begin(c, OP_EXACT, v, "range_histogram [%zu,%zu], %zu bins", rows, cols, bins);
                tensor *x = input(c, rows, cols, v);
                memset(counts, 0, sizeof counts);
                for (size_t b = 0; b < 3; b++) counts[b][0] = 3, counts[b][bins] = 9; /* added to; nothing behind the end */
                c->ref->ops->range_histogram(c->ref, x->ref, ranges[j].lo, ranges[j].hi, bins, counts[0]);
                c->dut->ops->range_histogram(c->dut, x->dut, ranges[j].lo, ranges[j].hi, bins, counts[1]);
                settle(c);
                for (size_t l = 0; l < rows * cols; l++) {
                    const double at =
                        ((double)value_at(x, l / cols, l % cols) - ranges[j].lo) * ((double)bins / (ranges[j].hi - ranges[j].lo));
                    counts[2][at < 0 ? 0 : at >= (double)bins ? bins - 1 : (size_t)at]++;
                }
                for (size_t b = 0; b <= bins; b++)
                    require(c, counts[0][b] == counts[2][b] && counts[1][b] == counts[2][b],
                            "bin %zu: %llu, ref %llu, exactly %llu", b, (unsigned long long)counts[1][b],
                            (unsigned long long)counts[0][b], (unsigned long long)counts[2][b]);
                finish(c);
            }
    static const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, -1, 1, 0, -0.0f };
    begin(c, OP_EXACT, VALUES_NORMAL, "range_histogram of what is not finite");
    tensor *x = input_from(c, 1, sizeof bad / sizeof *bad, bad);
    for (size_t b = 0; b < 2; b++) {
        const vs_backend *be = b ? c->dut : c->ref;
        uint64_t counts[4] = { 0 };
        be->ops->range_histogram(be, b ? x->dut : x->ref, -1, 1, 4, counts);
        settle(c);
        require(c, counts[0] == 3 && counts[1] == 0 && counts[2] == 2 && counts[3] == 3, "%s: %llu %llu %llu %llu", be->name,
                (unsigned long long)counts[0], (unsigned long long)counts[1], (unsigned long long)counts[2],
                (unsigned long long)counts[3]);
    }
    finish(c);
}

void test_error_sums(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols;
            begin(c, OP_SUMS, v, "error_sums [%zu,%zu]", rows, cols);
            tensor *x = input(c, rows, cols, v), *y = input(c, rows, cols, v);
            vs_error_sums ref = { 9, 9, 9 }, dut = { 9, 9, 9 }; /* overwritten */
            c->ref->ops->error_sums(c->ref, x->ref, y->ref, 1, (vs_error_sums *[]){ &ref });
            c->dut->ops->error_sums(c->dut, x->dut, y->dut, 1, (vs_error_sums *[]){ &dut });
            settle(c);
            compare_value(c, "signal", dut.signal, ref.signal, ref.signal);
            compare_value(c, "noise", dut.noise, ref.noise, ref.noise);
            require(c, dut.nonfinite == 0 && ref.nonfinite == 0, "nonfinite %llu", (unsigned long long)dut.nonfinite);
            c->dut->ops->error_sums(c->dut, x->dut, x->dut, 1, (vs_error_sums *[]){ &dut });
            settle(c);
            require(c, dut.noise == 0, "noise of a tensor against itself is %g", dut.noise);
            finish(c);
        }
}

static void check_histogram(ops_context *c, const tensor *x, const uint64_t *hist, const vs_backend *be) {
    uint64_t *want = vs_calloc(VS_HIST_BINS, sizeof *want);
    assert_non_null(want);
    want[3] = 2; /* what was there is kept */
    for (size_t i = 0; i < x->rows * x->cols; i++) want[vs_hist_bin(magnitude(x, i))]++;
    for (size_t i = 0; i < VS_HIST_BINS; i++)
        require(c, hist[i] == want[i], "%s: bin %zu holds %llu, exactly %llu", be->name, i, (unsigned long long)hist[i],
                (unsigned long long)want[i]);
    free(want);
}

static void check_stats(ops_context *c, const tensor *x, const vs_abs_stats *dut, const vs_abs_stats *ref) {
    require(c, dut->max == ref->max || (isnan(dut->max) && isnan(ref->max)), "max %g, ref %g", dut->max, ref->max);
    require(c, dut->max_row == ref->max_row && dut->max_col == ref->max_col, "place [%zu,%zu], ref [%zu,%zu]", dut->max_row,
            dut->max_col, ref->max_row, ref->max_col);
    require(c, dut->count == x->rows * x->cols && ref->count == dut->count, "count");
    compare_value(c, "sum", dut->sum, ref->sum, ref->sum);
}

static void read_into(const vs_backend *be, const void *counts, uint64_t *hist) {
    vs_error err = { 0 };
    assert_int_equal(be->ops->read_counts(be, counts, VS_HIST_BINS, hist, &err), VS_OK);
}

static void abs_stats_case(ops_context *c, const tensor *x) {
    uint64_t *hist[2] = { vs_calloc(VS_HIST_BINS, 8), vs_calloc(VS_HIST_BINS, 8) };
    void *counts[2] = { c->ref->ops->alloc_counts(c->ref, VS_HIST_BINS), c->dut->ops->alloc_counts(c->dut, VS_HIST_BINS) };
    double *energy[2] = { doubles(x->cols), doubles(x->cols) }, *again = doubles(x->cols);
    vs_abs_stats ref = { 0 }, dut = { 0 };
    assert_true(hist[0] && hist[1] && counts[0] && counts[1]);
    hist[0][3] = hist[1][3] = 2;
    for (size_t j = 0; j < x->cols; j++) energy[0][j] = energy[1][j] = again[j] = 0.5;
    c->ref->ops->abs_stats(c->ref, x->ref, 1, (vs_abs_stats *[]){ &ref }, counts[0], (double *[]){ energy[0] });
    c->dut->ops->abs_stats(c->dut, x->dut, 1, (vs_abs_stats *[]){ &dut }, counts[1], (double *[]){ energy[1] });
    read_into(c->ref, counts[0], hist[0]);
    read_into(c->dut, counts[1], hist[1]);
    settle(c);
    check_stats(c, x, &dut, &ref);
    check_histogram(c, x, hist[0], c->ref);
    check_histogram(c, x, hist[1], c->dut);
    c->dut->ops->channel_energy(c->dut, x->dut, again);
    settle(c);
    for (size_t j = 0; j < x->cols; j++) {
        compare_value(c, "energy", energy[1][j], energy[0][j], energy[0][j]);
        require(c, again[j] == energy[1][j] || isnan(again[j]), "channel_energy of %zu is %g, abs_stats' is %g", j, again[j],
                energy[1][j]);
    }
    vs_abs_stats without = { 0 }; /* each part may be left out */
    c->dut->ops->abs_stats(c->dut, x->dut, 1, (vs_abs_stats *[]){ &without }, NULL, NULL);
    settle(c);
    check_stats(c, x, &without, &ref);
    c->dut->ops->abs_stats(c->dut, x->dut, 1, (vs_abs_stats *[]){ &without }, counts[1], NULL);
    settle(c);
    check_stats(c, x, &without, &ref);
    c->dut->ops->abs_stats(c->dut, x->dut, 1, (vs_abs_stats *[]){ &without }, NULL, (double *[]){ energy[1] });
    settle(c);
    check_stats(c, x, &without, &ref);
    for (size_t b = 0; b < 2; b++) {
        (b ? c->dut : c->ref)->ops->free(b ? c->dut : c->ref, counts[b]);
        free(hist[b]);
        free(energy[b]);
    }
    free(again);
}

void test_abs_stats(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            begin(c, OP_SUMS, v, "abs_stats [%zu,%zu]", SHAPES[i].rows, SHAPES[i].cols);
            abs_stats_case(c, input(c, SHAPES[i].rows, SHAPES[i].cols, v));
            finish(c);
        }
    enum { ROWS = 6, COLS = 70 };
    float ties[ROWS * COLS]; /* the first of equal maxima counts, whatever its sign */
    for (size_t i = 0; i < ROWS * COLS; i++) ties[i] = (float)(i % 5);
    ties[2 * COLS + 69] = -9;
    ties[2 * COLS + 68] = 9;
    ties[4 * COLS] = 9;
    begin(c, OP_SUMS, VALUES_NORMAL, "equal maxima");
    tensor *x = input_from(c, ROWS, COLS, ties);
    abs_stats_case(c, x);
    vs_abs_stats stats;
    c->dut->ops->abs_stats(c->dut, x->dut, 1, (vs_abs_stats *[]){ &stats }, NULL, NULL);
    settle(c);
    require(c, stats.max_row == 2 && stats.max_col == 68, "first at [%zu,%zu]", stats.max_row, stats.max_col);
    finish(c);
}

/* What every operation with `images` gives for one batch; three images is enough to tell first, middle and last. */
enum { IMAGES = 3 };
typedef struct batch_results {
    vs_error_sums errors[IMAGES];
    vs_abs_stats stats[IMAGES];
    vs_quant_counts counts[IMAGES], token_counts[IMAGES];
    double *energy[IMAGES];
    uint64_t *hist;
} batch_results;

static batch_results make_results(size_t cols) {
    batch_results r = { .hist = vs_calloc(VS_HIST_BINS, sizeof *r.hist) };
    assert_non_null(r.hist);
    for (size_t i = 0; i < IMAGES; i++) r.energy[i] = doubles(cols);
    return r;
}

static void drop_results(batch_results *r) {
    for (size_t i = 0; i < IMAGES; i++) free(r->energy[i]);
    free(r->hist);
}

/* Results first .. first + images - 1 of r, from the rows of these images. */
static void run_images(const vs_backend *be, vs_mat x, vs_mat y, vs_mat z, void *hist, batch_results *r, size_t first,
                       size_t images) {
    static const vs_grid grid = { .scale = 0.03f, .zero = 118, .qmin = 0, .qmax = 255, .lo = -1.5f, .hi = 2 };
    const size_t rows = x.rows / IMAGES;
    const vs_mat xi = vs_mat_view(be, x, first * rows, images * rows, 0, x.cols),
                 yi = vs_mat_view(be, y, first * rows, images * rows, 0, x.cols),
                 zi = vs_mat_view(be, z, first * rows, images * rows, 0, x.cols);
    vs_error_sums *errors[IMAGES];
    vs_abs_stats *stats[IMAGES];
    vs_quant_counts *counts[IMAGES], *token_counts[IMAGES];
    for (size_t i = 0; i < images; i++) {
        errors[i] = &r->errors[first + i];
        stats[i] = &r->stats[first + i];
        counts[i] = &r->counts[first + i];
        token_counts[i] = &r->token_counts[first + i];
    }
    be->ops->error_sums(be, xi, yi, images, errors);
    be->ops->abs_stats(be, xi, images, stats, hist, r->energy + first);
    be->ops->fake_quant(be, xi, &grid, zi, images, counts);
    be->ops->fake_quant_tokens(be, xi, 127, zi, images, token_counts);
}

static void check_same(ops_context *c, const vs_backend *be, const batch_results *a, const batch_results *b, size_t cols) {
    for (size_t i = 0; i < IMAGES; i++) {
        const vs_abs_stats *s = &a->stats[i], *t = &b->stats[i];
        require(c, a->errors[i].signal == b->errors[i].signal && a->errors[i].noise == b->errors[i].noise,
                "%s: sums of image %zu", be->name, i);
        require(c,
                s->max == t->max && s->max_row == t->max_row && s->max_col == t->max_col && s->sum == t->sum &&
                    s->count == t->count,
                "%s: statistics of image %zu", be->name, i);
        require(c,
                a->counts[i].zeroed == b->counts[i].zeroed && a->counts[i].clipped == b->counts[i].clipped &&
                    a->token_counts[i].zeroed == b->token_counts[i].zeroed,
                "%s: counts of image %zu", be->name, i);
        require(c, memcmp(a->energy[i], b->energy[i], cols * sizeof(double)) == 0, "%s: energy of image %zu", be->name, i);
    }
    require(c, memcmp(a->hist, b->hist, VS_HIST_BINS * sizeof *a->hist) == 0, "%s: histogram", be->name);
}

/* Not a bit depends on the images beside. */
void test_images_equal_separate_calls(void **state) {
    ops_context *c = *state;
    static const shape shapes[] = { { 1, 1 }, { 5, 7 }, { 9, 65 }, { 50, 64 }, { 67, 130 }, { 197, 192 } };
    for (size_t j = 0; j < sizeof shapes / sizeof *shapes; j++) {
        const size_t rows = shapes[j].rows, cols = shapes[j].cols;
        begin(c, OP_EXACT, VALUES_OUTLIERS, "%d images of [%zu,%zu]", IMAGES, rows, cols);
        tensor *x = input(c, IMAGES * rows, cols, VALUES_OUTLIERS), *y = input(c, IMAGES * rows, cols, VALUES_OUTLIERS),
               *z = output(c, IMAGES * rows, cols);
        for (size_t b = 0; b < 2; b++) {
            const vs_backend *be = b ? c->dut : c->ref;
            const vs_mat xm = b ? x->dut : x->ref, ym = b ? y->dut : y->ref, zm = b ? z->dut : z->ref;
            batch_results together = make_results(cols), apart = make_results(cols);
            void *hist = be->ops->alloc_counts(be, VS_HIST_BINS);
            assert_non_null(hist);
            run_images(be, xm, ym, zm, hist, &together, 0, IMAGES);
            read_into(be, hist, together.hist);
            be->ops->zero_counts(be, hist, VS_HIST_BINS);
            for (size_t i = 0; i < IMAGES; i++) run_images(be, xm, ym, zm, hist, &apart, i, 1);
            read_into(be, hist, apart.hist);
            settle(c);
            check_same(c, be, &together, &apart, cols);
            be->ops->free(be, hist);
            drop_results(&together);
            drop_results(&apart);
        }
        finish(c);
    }
}

/* Counters that two threads add to at once hold what both added. */
void test_shared_counters(void **state) {
    ops_context *c = *state;
    enum { THREADS = 2, CALLS = 20 };
    begin(c, OP_EXACT, VALUES_NORMAL, "counters of %d threads", THREADS);
    const tensor *x = input(c, 65, 48, VALUES_NORMAL);
    const vs_backend *be = c->dut;
    void *shared = be->ops->alloc_counts(be, VS_HIST_BINS);
    uint64_t *hist = vs_calloc(VS_HIST_BINS, sizeof *hist), total = 0;
    assert_true(shared && hist);
    vs_status status[THREADS];
#pragma omp parallel for schedule(static, 1) num_threads(THREADS)
    for (size_t i = 0; i < THREADS; i++) {
        vs_abs_stats stats;
        vs_error err = { 0 };
        for (size_t j = 0; j < CALLS; j++) be->ops->abs_stats(be, x->dut, 1, (vs_abs_stats *[]){ &stats }, shared, NULL);
        status[i] = be->ops->sync(be, &err);
    }
    for (size_t i = 0; i < THREADS; i++) require(c, status[i] == VS_OK, "thread %zu failed", i);
    read_into(be, shared, hist);
    for (size_t i = 0; i < VS_HIST_BINS; i++) {
        require(c, hist[i] % (THREADS * CALLS) == 0, "bin %zu holds %llu", i, (unsigned long long)hist[i]);
        total += hist[i];
    }
    require(c, total == THREADS * CALLS * x->rows * x->cols, "%llu values", (unsigned long long)total);
    be->ops->free(be, shared);
    free(hist);
    finish(c);
}

void test_counts(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols;
            begin(c, OP_EXACT, v, "counts [%zu,%zu]", rows, cols);
            tensor *x = input(c, rows, cols, v);
            const double own = magnitude(x, rows * cols / 2);
            /* thresholds on a value, one float64 to each side of it, and out of reach */
            const double thresholds[] = { own,        nextafter(own, HUGE_VAL), nextafter(own, 0), 0.5, 0, -1, 1e300, HUGE_VAL,
                                          (double)NAN };
            for (size_t j = 0; j < sizeof thresholds / sizeof *thresholds; j++) {
                uint64_t want_below = 3, want_above = 3, below[2] = { 3, 3 }, above[2] = { 3, 3 };
                const size_t col = cols - 1;
                for (size_t l = 0; l < rows * cols; l++) want_below += magnitude(x, l) < thresholds[j];
                for (size_t r = 0; r < rows; r++) want_above += magnitude(x, r * cols + col) > thresholds[j];
                c->ref->ops->count_below(c->ref, x->ref, thresholds[j], &below[0]);
                c->dut->ops->count_below(c->dut, x->dut, thresholds[j], &below[1]);
                c->ref->ops->count_above(c->ref, x->ref, col, thresholds[j], &above[0]);
                c->dut->ops->count_above(c->dut, x->dut, col, thresholds[j], &above[1]);
                settle(c);
                require(c, below[0] == want_below && below[1] == want_below, "%llu below %.17g, ref %llu, exactly %llu",
                        (unsigned long long)below[1], thresholds[j], (unsigned long long)below[0],
                        (unsigned long long)want_below);
                require(c, above[0] == want_above && above[1] == want_above, "above %.17g", thresholds[j]);
            }
            finish(c);
        }
}

/* Where work is cut into parts: more rows and more columns than one takes. */
void test_tall_and_wide(void **state) {
    ops_context *c = *state;
    static const shape shapes[] = { { 20000, 5 }, { 1, 9001 } };
    for (size_t i = 0; i < 2; i++) {
        minmax_case(c, shapes[i].rows, shapes[i].cols, VALUES_OUTLIERS);
        begin(c, OP_SUMS, VALUES_OUTLIERS, "abs_stats [%zu,%zu]", shapes[i].rows, shapes[i].cols);
        abs_stats_case(c, input(c, shapes[i].rows, shapes[i].cols, VALUES_OUTLIERS));
        finish(c);
        begin(c, OP_COPY, VALUES_NORMAL, "copy [%zu,%zu]", shapes[i].rows, shapes[i].cols);
        tensor *x = input(c, shapes[i].rows, shapes[i].cols, VALUES_NORMAL), *y = output(c, shapes[i].rows, shapes[i].cols);
        c->ref->ops->copy(c->ref, x->ref, y->ref);
        c->dut->ops->copy(c->dut, x->dut, y->dut);
        compare_exact(c, y);
        finish(c);
    }
}

void test_nonfinite_statistics(void **state) {
    ops_context *c = *state;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    enum { ROWS = 5, COLS = 67 };
    for (size_t at = 0; at < ROWS * COLS; at += 33)
        for (size_t b = 0; b < 4; b++) { /* 3: an infinity before a NaN */
            float values[ROWS * COLS];
            for (size_t i = 0; i < ROWS * COLS; i++) values[i] = (float)(i % 13) - 6;
            values[at] = b < 3 ? bad[b] : NAN;
            if (b == 3) values[0] = INFINITY;
            begin(c, OP_SUMS, VALUES_NORMAL, "with %g at %zu", (double)values[at], at);
            tensor *x = input_from(c, ROWS, COLS, values), *y = input(c, ROWS, COLS, VALUES_NORMAL);
            abs_stats_case(c, x);
            double lo[2][COLS], hi[2][COLS], most[2][ROWS];
            for (size_t j = 0; j < COLS; j++) {
                lo[0][j] = lo[1][j] = HUGE_VAL;
                hi[0][j] = hi[1][j] = -HUGE_VAL;
            }
            c->ref->ops->channel_minmax(c->ref, x->ref, lo[0], hi[0]);
            c->dut->ops->channel_minmax(c->dut, x->dut, lo[1], hi[1]);
            c->ref->ops->row_absmax(c->ref, x->ref, most[0]);
            c->dut->ops->row_absmax(c->dut, x->dut, most[1]);
            settle(c);
            for (size_t j = 0; j < COLS; j++) {
                compare_value(c, "lo", lo[1][j], lo[0][j], 0);
                compare_value(c, "hi", hi[1][j], hi[0][j], 0);
            }
            if (isnan(values[at]))
                require(c, isnan(lo[0][at % COLS]) && isnan(hi[0][at % COLS]) && isnan(most[0][at / COLS]), "NaN lost by ref");
            for (size_t r = 0; r < ROWS; r++) compare_value(c, "row", most[1][r], most[0][r], 0);
            vs_error_sums ref, dut;
            c->ref->ops->error_sums(c->ref, y->ref, x->ref, 1, (vs_error_sums *[]){ &ref });
            c->dut->ops->error_sums(c->dut, y->dut, x->dut, 1, (vs_error_sums *[]){ &dut });
            settle(c);
            require(c, dut.nonfinite == ref.nonfinite && ref.nonfinite == (b == 3 && at != 0 ? 2 : 1), "nonfinite %llu",
                    (unsigned long long)dut.nonfinite);
            compare_value(c, "signal", dut.signal, ref.signal, ref.signal);
            compare_value(c, "noise", dut.noise, ref.noise, ref.noise);
            finish(c);
        }
}

/* Bins tile the magnitudes, are at most 1/256 wide, and hold what they say. */
void test_histogram_bins(void **state) {
    ops_context *c = *state;
    begin(c, OP_EXACT, VALUES_NORMAL, "bins");
    require(c, vs_hist_lower(0) == 0 && vs_hist_upper(0) == 0x1p-40, "first bin");
    for (size_t i = 1; i < VS_HIST_BINS; i++) {
        const double lower = vs_hist_lower(i), upper = vs_hist_upper(i);
        require(c, lower == vs_hist_upper(i - 1) && lower < upper && (upper - lower) / lower <= 1.0 / 256,
                "bin %zu: %.17g to %.17g", i, lower, upper);
        require(c, vs_hist_bin(lower) == i && vs_hist_bin(nextafter(lower, 0)) == i - 1 && vs_hist_bin((lower + upper) / 2) == i,
                "edges of bin %zu", i);
    }
    require(c, vs_hist_bin(0) == 0 && vs_hist_bin(1e-300) == 0, "small");
    require(c,
            vs_hist_bin(1e300) == VS_HIST_BINS - 1 && vs_hist_bin(HUGE_VAL) == VS_HIST_BINS - 1 &&
                vs_hist_bin((double)NAN) == VS_HIST_BINS - 1,
            "large");
    require(c, vs_hist_bin(0x1p40) == VS_HIST_BINS - 1 && vs_hist_upper(VS_HIST_BINS - 1) == 0x1p40, "last bin");
    finish(c);
}
