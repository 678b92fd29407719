/* Sums and extremes of docs/study.md 4 and 5. */
#include <math.h>
#include <string.h>

#include "backend/host_counts.h"
#include "backend/ref/ref.h"

void vs_ref_channel_minmax(const vs_backend *self, vs_mat x, double *lo, double *hi) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = vs_ref_row(x, r)[c];
            if (v < lo[c] || isnan(v)) lo[c] = v; /* once NaN it stays */
            if (v > hi[c] || isnan(v)) hi[c] = v;
        }
}

void vs_ref_range_histogram(const vs_backend *self, vs_mat x, double lo, double hi, size_t bins, uint64_t *counts) {
    (void)self;
    const double factor = (double)bins / (hi - lo), last = (double)(bins - 1);
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = vs_ref_row(x, r)[c];
            if (!isnan(v)) counts[(size_t)fmin(fmax(floor((v - lo) * factor), 0), last)]++;
        }
}

void vs_ref_row_absmax(const vs_backend *self, vs_mat x, double *out) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        out[r] = 0;
        for (size_t c = 0; c < x.cols; c++) {
            const double v = fabs(vs_ref_row(x, r)[c]);
            if (v > out[r] || isnan(v)) out[r] = v; /* once NaN it stays */
        }
    }
}

static void error_sums_of_image(vs_mat x, vs_mat y, vs_error_sums *out) {
    *out = (vs_error_sums){ 0 };
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double a = vs_ref_row(x, r)[c], b = vs_ref_row(y, r)[c];
            if (!isfinite(b)) {
                out->nonfinite++;
                continue;
            }
            out->signal += a * a;
            out->noise += (a - b) * (a - b);
        }
}

void vs_ref_error_sums(const vs_backend *self, vs_mat x, vs_mat y, size_t images, vs_error_sums *const *out) {
    const size_t rows = x.rows / images;
    for (size_t i = 0; i < images; i++)
        error_sums_of_image(vs_mat_view(self, x, i * rows, rows, 0, x.cols), vs_mat_view(self, y, i * rows, rows, 0, x.cols),
                            out[i]);
}

static void abs_stats_of_image(vs_mat x, vs_abs_stats *out, void *hist, double *energy) {
    uint32_t bins[VS_HIST_BINS];
    if (hist) memset(bins, 0, sizeof bins);
    *out = (vs_abs_stats){ .max = -1, .count = x.rows * x.cols };
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = fabs(vs_ref_row(x, r)[c]);
            if (v > out->max || (isnan(v) && !isnan(out->max))) {
                out->max = v;
                out->max_row = r;
                out->max_col = c;
            }
            out->sum += v;
            if (hist) bins[vs_hist_bin(v)]++;
            if (energy) energy[c] += v * v;
        }
    if (out->count == 0) out->max = 0;
    if (hist) vs_host_add_counts(hist, bins, VS_HIST_BINS);
}

void vs_ref_abs_stats(const vs_backend *self, vs_mat x, size_t images, vs_abs_stats *const *out, void *hist,
                      double *const *energy) {
    const size_t rows = x.rows / images;
    for (size_t i = 0; i < images; i++)
        abs_stats_of_image(vs_mat_view(self, x, i * rows, rows, 0, x.cols), out[i], hist, energy ? energy[i] : NULL);
}

void vs_ref_count_below(const vs_backend *self, vs_mat x, double threshold, uint64_t *below) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) *below += fabs(vs_ref_row(x, r)[c]) < threshold;
}

void vs_ref_count_above(const vs_backend *self, vs_mat x, size_t col, double threshold, uint64_t *above) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) *above += fabs(vs_ref_row(x, r)[col]) > threshold;
}

void vs_ref_channel_energy(const vs_backend *self, vs_mat x, double *sum_sq) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) sum_sq[c] += vs_ref_row(x, r)[c] * vs_ref_row(x, r)[c];
}
