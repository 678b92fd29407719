/* Ranges of every quantized tensor over the calibration set, in the float model (docs/study.md 3). */
#ifndef VS_CALIBRATE_H
#define VS_CALIBRATE_H

#include "quant/quant.h"
#include "run/pool.h"

VS_NODISCARD vs_status vs_calibrate(vs_calibration **out, const vs_runner *runner, const vs_imageset *set, vs_error *err);

/* The second pass of the percentile and mse observers: histograms of what each variant's quantizers read in the float model,
 * over the exact ranges of the first; then grids from them. */
VS_NODISCARD vs_status vs_observe_variants(vs_variant *const *variants, size_t count, const vs_recipe_config *recipe,
                                           const vs_runner *runner, const vs_imageset *set, vs_error *err);

#endif
