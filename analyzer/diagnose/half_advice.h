/* Advice (docs/fp16-reference.md 4.5): changes that arithmetic permits, each tried under a policy that misses its target. */
#ifndef VS_HALF_ADVICE_H
#define VS_HALF_ADVICE_H

#include "diagnose/half_probe.h"
#include "task/evaluate.h"

typedef struct vs_adviser {
    vs_half_prober *prober;
    const vs_imageset *evaluation; /* NULL: no task metric */
    vs_float_maps *floats;         /* of the unchanged float model, as for vs_evaluate */
    double *key_means;             /* [depth * C] of the analysis images, once they are measured */
    bool keys_are_shifted;         /* of some block the mean outweighs what differs from token to token */
} vs_adviser;

/* Appends to results->advice what was tried for one policy whose diagnosis is there; a policy that reaches its target needs none.
 * model: the policy, no further rows in float32. Takes the runs that the diagnosis has left of VS_DIAG_MOST_RUNS, 5 at most; what
 * they do not reach is not tried. */
VS_NODISCARD vs_status vs_half_advise(vs_fp16_results *results, size_t policy, const vs_half_model *model, vs_adviser *adviser,
                                      vs_error *err);
void vs_adviser_release(vs_adviser *adviser);

#endif
