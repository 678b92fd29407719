/* Models as an advice would have them (docs/fp16-reference.md 4.5): weights changed so that a float model computes the same and a
 * half model has other ranges. */
#ifndef VS_HALF_CHANGE_H
#define VS_HALF_CHANGE_H

#include "vitscope/vit.h"

/* A model whose changed tensors are its own and whose others are the base's, which must outlive it. */
typedef struct vs_changed_model {
    vs_model model;
    void **owned;
    size_t owned_count, capacity;
} vs_changed_model;

VS_NODISCARD vs_status vs_changed_model_create(vs_changed_model *out, const vs_model *base, vs_error *err);
void vs_changed_model_release(vs_changed_model *changed);

/* W' = diag(gamma) W and b' = gamma b of attn.proj and of fc2 or w3: LayerScale is gone. Rounded once to float32. */
VS_NODISCARD vs_status vs_change_fold(vs_changed_model *changed, vs_error *err);
/* Everything that is added into the residual stream times 2^exponent, the norms' eps times 2^(2 exponent): exact where no weight
 * becomes subnormal. */
VS_NODISCARD vs_status vs_change_stream(vs_changed_model *changed, int exponent, vs_error *err);
/* b_k - means [depth * C]; a missing bias is made. One vector off all keys adds one number to all scores of a query, which is
 * nothing to softmax; of models without rotary positions. */
VS_NODISCARD vs_status vs_change_keys(vs_changed_model *changed, const double *means, vs_error *err);

#endif
