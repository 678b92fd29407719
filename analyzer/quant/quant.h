/* Uniform quantization of a ViT: grids, calibrated ranges, SmoothQuant factors and the quantized variant of a model
 * that a tap applies (study.md section 3). */
#ifndef VS_QUANT_H
#define VS_QUANT_H

#include "config.h"
#include "vitscope/vit.h"

/* ------------------------------------------------------------------ grids */

/* Unsigned asymmetric, `bits` wide: s = (hi - lo) / (2^bits - 1) with 0 inside [lo, hi], z = clamp(rne(-lo / s)).
 * The scale is computed in float64 and rounded; the zero point uses the rounded scale. A zero range: scale 1. */
vs_grid vs_grid_asymmetric(double lo, double hi, int bits);
/* Symmetric narrow: s = absmax / qmax, codes -qmax..qmax, qmax = 2^(bits-1) - 1. A zero range: scale 1. */
vs_grid vs_grid_symmetric(double absmax, int bits);

/* ------------------------------------------------------------------ sites: tensors that a recipe can quantize */

/* Index of a site among vs_site_count(depth); SIZE_MAX for kinds that are none. */
size_t vs_site_index(vs_kind kind, int block);
size_t vs_site_count(size_t depth);

/* ------------------------------------------------------------------ calibration: min/max over a set, in the float model */

/* Signed range of each channel of one tensor. */
typedef struct vs_channel_range {
    double *lo, *hi;
    size_t channels;
} vs_channel_range;

/* Inputs of qkv, proj, fc1, fc2 and the operands q, k, v of every block. */
typedef struct vs_calibration {
    vs_channel_range *ranges; /* [vs_site_count(depth)] */
    size_t depth, images;
} vs_calibration;

VS_NODISCARD vs_status vs_calibration_create(vs_calibration **out, const vs_arch *arch, vs_error *err);
void vs_calibration_free(vs_calibration *calibration);
/* NULL for kinds that are not calibrated. */
vs_channel_range *vs_calibration_range(const vs_calibration *calibration, vs_kind kind, int block);
/* Widens the range of the tap's tensor; taps that are not calibrated are ignored. */
void vs_calibration_observe(vs_calibration *calibration, const vs_backend *backend, const vs_tap *tap);
/* into = union of both; exact, so the order of merging does not matter. */
void vs_calibration_merge(vs_calibration *into, const vs_calibration *from);

/* ------------------------------------------------------------------ SmoothQuant */

/* s_j = max(a_j,1e-5)^alpha / max(w_j,1e-5)^(1-alpha), at least 1e-5, rounded to float32 (study.md section 3);
 * a_j = max |x_j| of the range, w_j = max_o |W_oj|. s [in]. */
void vs_smooth_factors(const vs_linear *linear, const vs_channel_range *range, double alpha, float *s);

/* ------------------------------------------------------------------ the quantized variant of a model */

/* How one tensor is quantized. */
typedef struct vs_site {
    bool quantized; /* the input (or operand) is put on a grid */
    vs_grid *grids; /* one, or one a head (columns head*D .. head*D + D) */
    size_t grid_count;
    void *smooth; /* backend reals [in]: the input is divided by it first; NULL: not smoothed */
    float *smooth_host;
} vs_site;

typedef struct vs_variant {
    const vs_backend *backend;
    vs_weights weights;         /* the base's, with quantized linears in place; `owned` is the variant's */
    vs_site *sites;             /* [vs_site_count(depth)] */
    float **row_scales;         /* [vs_site_count(depth)]: weight scales [out], NULL for operands */
    vs_error_sums *weight_sums; /* [vs_site_count(depth)]: W (or W*s) against its quantized self */
    size_t depth;
} vs_variant;

typedef struct vs_variant_options {
    bool smooth; /* SmoothQuant at every quantized linear */
    double alpha;
} vs_variant_options;

/* Builds the variant of `base` with weights, inputs and operands quantized as the recipe says. Takes one float copy of every
 * linear's weights on the backend. */
VS_NODISCARD vs_status vs_variant_create(vs_variant **out, const vs_weights *base, const vs_calibration *calibration,
                                         const vs_recipe_config *recipe, const vs_variant_options *options, vs_error *err);
void vs_variant_free(vs_variant *variant);
const vs_site *vs_variant_site(const vs_variant *variant, vs_kind kind, int block);

/* y = x / s, or a copy of x where the site is not smoothed. y may be x. */
void vs_site_smooth(const vs_backend *backend, const vs_site *site, vs_mat x, vs_mat y);
/* y = x on the site's grids (already smoothed); counts may be NULL. y may be x. */
void vs_site_quantize(const vs_backend *backend, const vs_site *site, vs_mat x, vs_mat y, vs_quant_counts *counts);
/* ws = W * s of a smoothed site, W otherwise: the weight that an unquantized matrix product sees. ws [out, in] packed. */
void vs_site_smooth_weight(const vs_backend *backend, const vs_site *site, vs_mat w, vs_mat ws);

#endif
