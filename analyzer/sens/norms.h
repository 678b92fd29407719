/* Norms of tokens after the last block of the float model, image by image. */
#ifndef VS_NORMS_H
#define VS_NORMS_H

#include "results.h"
#include "vitscope/vit.h"

/* Of one image, kept until it is pooled. The caller frees `norms`. */
typedef struct vs_token_slot {
    double *norms; /* [tokens] */
    size_t tokens, grid_w, capacity;
} vs_token_slot;

/* tokens [T, C] of one image. */
VS_NODISCARD vs_status vs_norms_measure(vs_token_slot *slot, const vs_backend *backend, vs_mat tokens, size_t grid_w,
                                        vs_error *err);
/* Adds an image; in image order. The caller frees norms->prefix_times. */
VS_NODISCARD vs_status vs_norms_pool(vs_token_norms *norms, const vs_arch *arch, size_t image, const vs_token_slot *slot,
                                     vs_error *err);

#endif
