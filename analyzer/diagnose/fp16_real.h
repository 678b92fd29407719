/* Policies on the backend's half kernels, beside their emulation (fp16.real). */
#ifndef VS_FP16_REAL_H
#define VS_FP16_REAL_H

#include "diagnose/fp16.h"
#include "half/real.h"

/* Fills policy->real from the analysis images: the stream after every block and the output against the float run, and how far
 * that is from the policy's rows, which are there. VS_ERR_INTERRUPTED. */
VS_NODISCARD vs_status vs_fp16_real_analyze(vs_fp16_policy *policy, const vs_runner *runner, const vs_half_model *model,
                                            const vs_fp16_options *options, vs_error *err);
/* Task metric on the evaluation images of all models [count] with `real`; policies[i] is the i-th's. */
VS_NODISCARD vs_status vs_fp16_real_evaluate(vs_fp16_policy *const *policies, const vs_half_model *models, size_t count,
                                             const vs_runner *runner, const vs_fp16_options *options, vs_error *err);
void vs_fp16_real_release(vs_fp16_real *real);

#endif
