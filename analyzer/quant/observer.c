/* Ranges from histograms. Every sum runs from the first bin to the last. */
#include <math.h>

#include "quant/quant.h"

enum { HALF = VS_OBSERVER_BINS / 2, MSE_FIRST = 30, MSE_LAST = 100 };

static bool is_symmetric(vs_scheme scheme) { return scheme != VS_SCHEME_ASYMMETRIC; }

vs_range vs_observer_span(vs_scheme scheme, vs_range r) {
    const double a = fmax(fabs(r.lo), fabs(r.hi));
    return is_symmetric(scheme) ? (vs_range){ -a, a } : r;
}

bool vs_observer_applies(vs_scheme scheme, vs_range range) {
    const vs_range span = vs_observer_span(scheme, range);
    return scheme <= VS_SCHEME_WIDE && span.hi > span.lo && isfinite(span.hi - span.lo);
}

/* Bins of a histogram with equal widths from `lo` on. */
typedef struct bins {
    const uint64_t *counts;
    size_t count;
    double lo, width;
    uint64_t total;
} bins;

static uint64_t total_of(const uint64_t *counts, size_t n) {
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) total += counts[i];
    return total;
}

/* The value of whole rank `rank`: its bin's values lie evenly spread in the bin. */
static double value_at(const bins *b, uint64_t rank) {
    uint64_t before = 0;
    size_t i = 0;
    while (i + 1 < b->count && before + b->counts[i] <= rank) before += b->counts[i++];
    const double at = b->counts[i] ? ((double)(rank - before) + 0.5) / (double)b->counts[i] : 0.5;
    return b->lo + b->width * ((double)i + at);
}

static double quantile(const bins *b, double p) {
    const double position = p * (double)(b->total - 1), floor_rank = floor(position), part = position - floor_rank;
    const double low = value_at(b, (uint64_t)floor_rank);
    return part > 0 ? low + part * (value_at(b, (uint64_t)floor_rank + 1) - low) : low;
}

vs_range vs_observe_percentile(vs_scheme scheme, vs_range range, const uint64_t *counts, double percentile) {
    const vs_range span = vs_observer_span(scheme, range);
    const double width = (span.hi - span.lo) / VS_OBSERVER_BINS;
    bins b = { counts, VS_OBSERVER_BINS, span.lo, width, total_of(counts, VS_OBSERVER_BINS) };
    if (b.total == 0) return range;
    if (!is_symmetric(scheme)) {
        const double tail = (100 - percentile) / 2;
        return (vs_range){ quantile(&b, tail / 100), quantile(&b, (100 - tail) / 100) };
    }
    uint64_t folded[HALF];
    for (size_t i = 0; i < HALF; i++) folded[i] = counts[HALF + i] + counts[HALF - 1 - i];
    b = (bins){ folded, HALF, 0, width, b.total };
    const double a = quantile(&b, percentile / 100);
    return (vs_range){ -a, a };
}

static double squared_error(const vs_grid *g, vs_range span, const uint64_t *counts) {
    const double width = (span.hi - span.lo) / VS_OBSERVER_BINS, scale = (double)g->scale;
    double sum = 0;
    for (size_t i = 0; i < VS_OBSERVER_BINS; i++) {
        const double centre = span.lo + width * ((double)i + 0.5);
        const double code = fmin(fmax(rint(centre / scale) + g->zero, g->qmin), g->qmax);
        const double error = centre - (code - g->zero) * scale;
        sum += (double)counts[i] * error * error;
    }
    return sum;
}

vs_range vs_observe_mse(vs_scheme scheme, vs_range range, int bits, const uint64_t *counts) {
    const vs_range span = vs_observer_span(scheme, range);
    vs_range best = range;
    double least = HUGE_VAL;
    for (int k = MSE_LAST; k >= MSE_FIRST; k--) {
        const vs_range r = { range.lo * k / 100, range.hi * k / 100 };
        const vs_grid g = vs_grid_make(scheme, r, bits);
        const double error = squared_error(&g, span, counts);
        if (!(error < least)) continue;
        least = error;
        best = r;
    }
    return best;
}
