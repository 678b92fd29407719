/* Uniform quantization of a ViT: grids, calibrated ranges, SmoothQuant factors and the quantized variant of a model
 * that a tap applies (docs/study.md 3). */
#ifndef VS_QUANT_H
#define VS_QUANT_H

#include "config/config.h"
#include "vitscope/vit.h"

/* ------------------------------------------------------------------ grids */

typedef enum vs_scheme {
    VS_SCHEME_ASYMMETRIC, /* codes 0 .. 2^bits - 1, a zero point */
    VS_SCHEME_SYMMETRIC,  /* codes -qmax .. qmax, qmax = 2^(bits-1) - 1: weights and operands */
    VS_SCHEME_WIDE,       /* codes -qmax - 1 .. qmax: inputs of linears */
    VS_SCHEME_TOKEN,      /* wide, a step for every token at run time */
    VS_SCHEME_UNIT        /* codes 0 .. 255 of 1/255: probabilities */
} vs_scheme;
const char *vs_scheme_name(vs_scheme scheme); /* "asymmetric", "symmetric", "symmetric_wide", "per_token", "unit" */

/* Signed range of a tensor; what a symmetric scheme reads of it is the larger magnitude. */
typedef struct vs_range {
    double lo, hi;
} vs_range;

/* The grid of a scheme over a range. Asymmetric: s = (hi - lo) / (2^bits - 1) with 0 inside [lo, hi], z = clamp(rne(-lo / s));
 * symmetric: s = max(|lo|, |hi|) / qmax. The scale is computed in float64 and rounded; the zero point uses the rounded scale. A
 * zero range: scale 1. Of per_token only the codes are known (scale 1, nothing is clipped); unit ignores range and bits. */
vs_grid vs_grid_make(vs_scheme scheme, vs_range range, int bits);
vs_grid vs_grid_asymmetric(double lo, double hi, int bits);
vs_grid vs_grid_symmetric(double absmax, int bits);

/* ------------------------------------------------------------------ observers: a range from a histogram (docs/study.md 3) */

enum { VS_OBSERVER_BINS = 8192 };

/* Where the histogram of a scheme's tensor lies: the range itself, or for symmetric schemes [-max, max], so that folding it
 * leaves half the bins for |x|. */
vs_range vs_observer_span(vs_scheme scheme, vs_range range);
/* True where a range is observed: not per token, not probabilities, and not a point. */
bool vs_observer_applies(vs_scheme scheme, vs_range range);
/* percentile p: asymmetric the (100-p)/2 and 100-(100-p)/2 percentiles, symmetric -a and a with a the percentile p of |x|; linear
 * interpolation at rank p(n-1), values spread evenly inside a bin. counts [VS_OBSERVER_BINS] over vs_observer_span. */
vs_range vs_observe_percentile(vs_scheme scheme, vs_range range, const uint64_t *counts, double percentile);
/* mse: k (lo, hi), k from 0.30 to 1.00 in steps of 0.01, with the smallest sum of squared error of the bins' centres; the larger
 * k on ties. */
vs_range vs_observe_mse(vs_scheme scheme, vs_range range, int bits, const uint64_t *counts);

/* ------------------------------------------------------------------ calibration: min/max over a set, in the float model */

/* Signed range of each channel of one tensor. */
typedef struct vs_channel_range {
    double *lo, *hi;
    size_t channels;
} vs_channel_range;

/* Inputs of every linear and the operands q, k, v of every block; probabilities need no calibration. */
typedef struct vs_calibration {
    vs_channel_range *ranges; /* [count]: of the graph's sites */
    size_t count, images;
    double seconds; /* that the images took, as whoever ran them notes; for estimates, not for results */
} vs_calibration;

VS_NODISCARD vs_status vs_calibration_create(vs_calibration **out, const vs_graph *graph, vs_error *err);
void vs_calibration_free(vs_calibration *calibration);
/* NULL for sites that are not calibrated, and for VS_NONE. */
vs_channel_range *vs_calibration_range(const vs_calibration *calibration, size_t site);
/* Widens the range of the tap's tensor; taps that are not calibrated are ignored. */
void vs_calibration_observe(vs_calibration *calibration, const vs_graph *graph, const vs_backend *backend, const vs_tap *tap);
/* into = union of both; exact, so the order of merging does not matter. */
void vs_calibration_merge(vs_calibration *into, const vs_calibration *from);

/* ------------------------------------------------------------------ SmoothQuant */

/* s_j = max(a_j,1e-5)^alpha / max(w_j,1e-5)^(1-alpha), at least 1e-5, rounded to float32 (docs/study.md 3);
 * a_j = max |x_j| of the range, w_j = max_o |W_oj|. s [in]. */
void vs_smooth_factors(const vs_linear *linear, const vs_channel_range *range, double alpha, float *s);

/* ------------------------------------------------------------------ the quantized variant of a model */

/* How one tensor is quantized. */
typedef struct vs_site {
    bool quantized; /* the input (or operand) is put on a grid; false: it stays float */
    bool folded;    /* the variant's norm has divided by `smooth` already */
    vs_scheme scheme;
    int bits;
    vs_grid *grids;   /* one, or one a head (columns head*D .. head*D + D) */
    vs_range *ranges; /* [grid_count] exact range of what the quantizer reads over the calibration set */
    size_t grid_count;
    void *smooth; /* backend reals [in]: the input is divided by it first; NULL: not smoothed */
    float *smooth_host;
} vs_site;

typedef struct vs_variant {
    const vs_backend *backend;
    vs_weights weights;         /* the base's, with quantized linears (and folded norms) in place; `owned` is the variant's */
    vs_site *sites;             /* [count]: the graph's */
    float **row_scales;         /* [count]: weight scales [out] (per tensor: all equal), NULL for operands */
    vs_error_sums *weight_sums; /* [count]: W (or W*s) against its quantized self */
    size_t count;
} vs_variant;

typedef struct vs_variant_options {
    bool smooth; /* SmoothQuant */
    double alpha;
    vs_smooth_scope scope; /* every quantized linear, or qkv and fc1 folded into their norms */
} vs_variant_options;

/* True where the recipe quantizes tensors of this kind (and, of a linear, its weight). */
bool vs_recipe_quantizes(const vs_recipe_config *recipe, vs_kind kind);

/* Builds the variant of `base` with weights, inputs and operands quantized as the recipe says, on grids of the calibrated
 * minima and maxima; other observers refine them afterwards (vs_variant_observe). Takes one float copy of every quantized
 * linear's weights on the backend. */
VS_NODISCARD vs_status vs_variant_create(vs_variant **out, const vs_weights *base, const vs_calibration *calibration,
                                         const vs_recipe_config *recipe, const vs_variant_options *options, vs_error *err);
void vs_variant_free(vs_variant *variant);
/* NULL for VS_NONE. */
const vs_site *vs_variant_site(const vs_variant *variant, size_t site);
/* Grid `group` of site `index` anew, as the recipe's observer has it from a histogram (counts as above). */
void vs_variant_observe(vs_variant *variant, size_t index, size_t group, const vs_recipe_config *recipe, const uint64_t *counts);

/* y = x / s, or a copy of x where the site is not smoothed: for a float input. y may be x. */
void vs_site_smooth(const vs_backend *backend, const vs_site *site, vs_mat x, vs_mat y);
/* The same in a run with the variant's weights, where a folded site's norm has divided already. */
void vs_site_smooth_running(const vs_backend *backend, const vs_site *site, vs_mat x, vs_mat y);
/* y = x on the site's grids (already smoothed); counts[i] of image i of `images` stacked ones, or NULL. y may be x. */
void vs_site_quantize(const vs_backend *backend, const vs_site *site, vs_mat x, vs_mat y, size_t images,
                      vs_quant_counts *const *counts);
/* False where nothing can lie outside: a step for every token, probabilities, or no quantizer. */
bool vs_site_has_ends(const vs_site *site);
/* The same steps without ends: codes go on beyond qmin and qmax (to 2^23), so that y has the noise of rounding alone. */
void vs_site_quantize_endless(const vs_backend *backend, const vs_site *site, vs_mat x, vs_mat y, size_t images);
/* ws = W * s of a smoothed site, W otherwise: the weight that an unquantized matrix product sees. ws [out, in] packed. */
void vs_site_smooth_weight(const vs_backend *backend, const vs_site *site, vs_mat w, vs_mat ws);
/* The quantizer's step where the largest magnitude of its tensor is `max`: of several grids the largest. */
double vs_site_step(const vs_site *site, double max);
/* Of the site's grids the one that cuts the most off the exact calibrated range, as a multiple of its ends. */
size_t vs_site_tightest(const vs_site *site);
/* How many times the end of `grid` that a range reaches beyond, on the side where that is more: 1 where it does not, HUGE_VAL
 * where the grid ends at 0. */
double vs_grid_overshoot(const vs_grid *grid, vs_range range);

#endif
