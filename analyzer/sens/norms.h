/* Norms of tokens after each block of the float model, image by image. */
#ifndef VS_NORMS_H
#define VS_NORMS_H

#include "results/results.h"
#include "vitscope/vit.h"

/* Of one image, kept until it is pooled. The caller frees `norms`. */
typedef struct vs_token_slot {
    double *norms; /* [blocks * tokens] */
    size_t blocks, tokens, grid_w, capacity;
} vs_token_slot;

/* tokens [T, C] of one image after block `block`; blocks in order, from 0, which begins an image. */
VS_NODISCARD vs_status vs_norms_measure(vs_token_slot *slot, const vs_backend *backend, size_t block, vs_mat tokens,
                                        size_t grid_w, vs_error *err);
/* Adds an image of tokens by a rule, after its last block; in image order. The caller frees norms->prefix_times and
 * norms->blocks. */
VS_NODISCARD vs_status vs_norms_pool(vs_token_norms *norms, const vs_row_rule *tokens, size_t image, const vs_token_slot *slot,
                                     vs_error *err);

#endif
