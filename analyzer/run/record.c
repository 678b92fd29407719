#include "run/record.h"

#include <math.h>
#include <stdlib.h>

#include "util/util.h"

double vs_sqnr_db(const vs_error_sums *s) {
    if (s->nonfinite || !isfinite(s->noise) || !isfinite(s->signal)) return -HUGE_VAL;
    if (!(s->noise > 0)) return HUGE_VAL;
    return s->signal > 0 ? 10 * log10(s->signal / s->noise) : -HUGE_VAL;
}

void vs_sqnr_pool_add(vs_sqnr_pool *p, const vs_error_sums *image) {
    const double db = vs_sqnr_db(image);
    p->sums.signal += image->signal;
    p->sums.noise += image->noise;
    p->sums.nonfinite += image->nonfinite;
    if (p->images++ == 0 || db < p->min) p->min = db;
    if (!isfinite(db)) {
        p->infinite++;
        return;
    }
    const double n = (double)(p->images - p->infinite), delta = db - p->mean;
    p->mean += delta / n;
    p->m2 += delta * (db - p->mean);
}

vs_sqnr vs_sqnr_pool_result(const vs_sqnr_pool *p) {
    if (p->images == 0) return (vs_sqnr){ .present = false };
    vs_sqnr r = { .present = true, .pooled = vs_sqnr_db(&p->sums), .min = p->min, .nonfinite = p->sums.nonfinite };
    r.mean = p->infinite == 0 ? p->mean : p->min < 0 && !isfinite(p->min) ? -HUGE_VAL : HUGE_VAL;
    r.std = p->infinite == 0 ? sqrt(p->m2 / (double)p->images) : p->infinite == p->images ? 0 : HUGE_VAL;
    return r;
}

vs_sqnr vs_sqnr_pool_worst(const vs_sqnr_pool *pools, size_t count) {
    vs_sqnr worst = vs_sqnr_pool_result(&pools[0]);
    for (size_t i = 1; i < count; i++) {
        const vs_sqnr one = vs_sqnr_pool_result(&pools[i]);
        if (one.present && one.pooled < worst.pooled) worst = one;
    }
    return worst;
}

vs_status vs_dist_pool_create(vs_dist_pool *p, size_t cols, vs_error *err) {
    *p = (vs_dist_pool){ .cols = cols, .energy = vs_calloc(cols, sizeof *p->energy) };
    return p->energy ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for statistics");
}

void vs_dist_pool_release(vs_dist_pool *p) {
    free(p->energy);
    *p = (vs_dist_pool){ 0 };
}

void vs_dist_pool_add(vs_dist_pool *p, size_t image, const vs_dist_slot *slot) {
    if (p->stats.count == 0 || slot->stats.max > p->stats.max || (isnan(slot->stats.max) && !isnan(p->stats.max))) {
        p->stats.max = slot->stats.max;
        p->stats.max_row = slot->stats.max_row;
        p->stats.max_col = slot->stats.max_col;
        p->image = image;
    }
    p->stats.sum += slot->stats.sum;
    p->stats.count += slot->stats.count;
    p->rows += slot->rows;
    p->counts.zeroed += slot->counts.zeroed;
    p->counts.clipped += slot->counts.clipped;
    for (size_t c = 0; c < p->cols; c++) p->energy[c] += slot->energy[c];
}

double vs_dist_pool_zero_below(const vs_dist_pool *p) { return p->stats.max / 254; }
double vs_dist_pool_high_above(const vs_dist_pool *p) { return p->stats.max / 2; }

/* The value of whole rank `rank`: its bin's values spread evenly over the bin, so at most half a bin off for a lone one. */
static double value_at(const uint64_t *hist, uint64_t rank, double max) {
    uint64_t before = 0;
    size_t bin = 0;
    while (bin + 1 < VS_HIST_BINS && before + hist[bin] <= rank) before += hist[bin++];
    if (bin == 0) return 0;
    const double lower = vs_hist_lower(bin), upper = fmin(vs_hist_upper(bin), max);
    const double at = hist[bin] ? ((double)(rank - before) + 0.5) / (double)hist[bin] : 0.5;
    return fmin(lower + (upper - lower) * at, max);
}

double vs_hist_quantile(const uint64_t *hist, uint64_t count, double p, double max) {
    if (count == 0) return 0;
    const double rank = p * (double)(count - 1), whole = floor(rank);
    const double a = value_at(hist, (uint64_t)whole, max);
    return rank > whole ? a + (rank - whole) * (value_at(hist, (uint64_t)whole + 1, max) - a) : a;
}

static void top_channels(const vs_dist_pool *p, vs_distribution *d) {
    double total = 0;
    for (size_t c = 0; c < p->cols; c++) total += p->energy[c];
    if (!(total > 0)) return;
    while (d->top_count < VS_TOP_CHANNELS && d->top_count < p->cols) {
        size_t best = SIZE_MAX;
        for (size_t c = 0; c < p->cols; c++) {
            bool taken = false;
            for (size_t i = 0; i < d->top_count; i++) taken |= d->top[i].channel == c;
            if (!taken && (best == SIZE_MAX || p->energy[c] > p->energy[best])) best = c;
        }
        d->top[d->top_count++] = (vs_channel_share){ best, p->energy[best] / total };
    }
}

vs_distribution vs_dist_pool_result(const vs_dist_pool *p, const uint64_t *hist) {
    vs_distribution d = { .present = p->stats.count > 0 };
    if (!d.present) return d;
    const double n = (double)p->stats.count;
    d.max = p->stats.max;
    d.argmax_image = p->image;
    d.argmax_token = p->stats.max_row;
    d.argmax_channel = p->stats.max_col;
    d.mean = p->stats.sum / n;
    d.median = vs_hist_quantile(hist, p->stats.count, 0.5, d.max);
    d.p99 = vs_hist_quantile(hist, p->stats.count, 0.99, d.max);
    d.p999 = vs_hist_quantile(hist, p->stats.count, 0.999, d.max);
    d.ratio = d.median > 0 ? d.max / d.median : HUGE_VAL;
    d.step = d.max / 127;
    d.zeroed = (double)p->below / n;
    d.structure = p->rows ? (double)p->above / (double)p->rows : 0;
    d.shape = d.structure >= 0.5 ? "ridge" : d.structure < 0.05 ? "spike" : "mixed";
    top_channels(p, &d);
    return d;
}

/* Hoare's selection: afterwards values[k] is the k-th smallest and nothing before it is larger. */
static float select_f32(float *v, size_t n, size_t k) {
    size_t lo = 0, hi = n - 1;
    while (lo < hi) {
        const float pivot = v[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;
        for (;;) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i >= j) break;
            const float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (k <= j)
            hi = j;
        else
            lo = j + 1;
    }
    return v[k];
}

double vs_median_f32(float *v, size_t n) {
    if (n == 0) return 0;
    const double upper = (double)select_f32(v, n, n / 2);
    if (n % 2) return upper;
    float lower = v[0];
    for (size_t i = 1; i < n / 2; i++)
        if (v[i] > lower) lower = v[i];
    return ((double)lower + upper) / 2;
}
