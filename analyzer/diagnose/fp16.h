/* The half-precision diagnosis (docs/fp16-reference.md 4): every policy on the analysis images, row by row against the float run,
 * and on the evaluation images for the task metric. */
#ifndef VS_FP16_H
#define VS_FP16_H

#include "task/evaluate.h"

typedef struct vs_fp16_options {
    const vs_imageset *analysis; /* NULL: none */
    size_t images;               /* of it, from the first */
    const vs_imageset *evaluation;
    vs_float_maps *floats; /* as for vs_evaluate */
    size_t keep;           /* maps of the first evaluation images are kept for drawing */
} vs_fp16_options;

/* *maps: captures under fp32 and then each policy (its tasks are the results'). The caller
 * releases results and maps, after an error too. */
VS_NODISCARD vs_status vs_fp16_diagnose(vs_fp16_results *out, vs_evaluation *maps, const vs_runner *runner,
                                        const vs_fp16_config *config, const vs_fp16_options *options, vs_error *err);
void vs_fp16_release(vs_fp16_results *results);

#endif
