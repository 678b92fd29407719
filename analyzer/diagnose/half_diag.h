/* From rows to an answer (docs/fp16-reference.md 4.2 to 4.4): the first bad row by the full rule and the chain behind it, the
 * smallest set of classes that restores the output in float32, the list of layers to keep in float32. */
#ifndef VS_HALF_DIAG_H
#define VS_HALF_DIAG_H

#include "diagnose/half_probe.h"
#include "task/evaluate.h"

/* Emulated runs over the analysis images that one policy's diagnosis may take, the policy's own among them; what is left of them
 * is for advice. What has not been tried when they are spent stays in the list, and the results say so. */
enum { VS_DIAG_MOST_RUNS = 60 };

typedef struct vs_diag_options {
    vs_half_prober *prober;
    const vs_half_model *model;    /* the policy, no further rows in float32 */
    const vs_half_weights *wide;   /* of the same digits, nothing overflows */
    const vs_imageset *evaluation; /* NULL: the list is not verified */
    vs_float_maps *floats;
} vs_diag_options;

/* Of a policy whose rows are there; sets its first bad row too. The caller releases it, after an error too. */
VS_NODISCARD vs_status vs_half_diagnose(vs_fp16_policy *policy, const vs_diag_options *options, vs_error *err);
void vs_half_diagnosis_release(vs_fp16_diagnosis *diagnosis);

#endif
