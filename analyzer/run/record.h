/* What is gathered while images pass: per-image records that are pooled in image order. */
#ifndef VS_RECORD_H
#define VS_RECORD_H

#include "results/results.h"
#include "vitscope/backend.h"

/* ---- SQNR over a set ---- */
typedef struct vs_sqnr_pool {
    vs_error_sums sums;
    size_t images, infinite;
    double mean, m2, min; /* of the finite per-image values (Welford) */
} vs_sqnr_pool;

/* 10 log10(signal / noise); HUGE_VAL without noise, -HUGE_VAL where a value is not finite. */
double vs_sqnr_db(const vs_error_sums *sums);
void vs_sqnr_pool_add(vs_sqnr_pool *pool, const vs_error_sums *image);
vs_sqnr vs_sqnr_pool_result(const vs_sqnr_pool *pool);
/* The lowest of the first pool's result and of those behind it that have images. */
vs_sqnr vs_sqnr_pool_worst(const vs_sqnr_pool *pools, size_t count);

/* ---- distribution of |x| over a set ---- */
typedef struct vs_dist_slot { /* of one image */
    vs_abs_stats stats;
    vs_quant_counts counts;
    size_t rows;
    double *energy; /* [cols] */
} vs_dist_slot;

typedef struct vs_dist_pool {
    size_t cols, image, rows; /* image: where the maximum is; rows: tokens seen */
    vs_abs_stats stats;
    vs_quant_counts counts;
    uint64_t below, above; /* second pass: |x| < step / 2; |x| > max / 2 in the maximum's channel */
    double *energy;        /* [cols] */
} vs_dist_pool;

VS_NODISCARD vs_status vs_dist_pool_create(vs_dist_pool *pool, size_t cols, vs_error *err);
void vs_dist_pool_release(vs_dist_pool *pool);
void vs_dist_pool_add(vs_dist_pool *pool, size_t image, const vs_dist_slot *slot);
/* Thresholds of the second pass (docs/study.md 5). */
double vs_dist_pool_zero_below(const vs_dist_pool *pool); /* step / 2 = max / 254 */
double vs_dist_pool_high_above(const vs_dist_pool *pool); /* max / 2 */
/* hist [VS_HIST_BINS]: of all images. */
vs_distribution vs_dist_pool_result(const vs_dist_pool *pool, const uint64_t *hist);
/* The value at quantile p of a histogram of `count` values: linear interpolation at rank p(n-1). */
double vs_hist_quantile(const uint64_t *hist, uint64_t count, double p, double max);

/* Exact median of n values; reorders them. 0 for none. NaN-free input. */
double vs_median_f32(float *values, size_t n);

#endif
