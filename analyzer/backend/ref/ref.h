/* Operations of the reference backend, by file; and how it reads a matrix. */
#ifndef VS_REF_H
#define VS_REF_H

#include "vitscope/backend.h"

static inline double *vs_ref_row(vs_mat m, size_t r) { return (double *)m.p + r * m.ld; }

/* forward.c */
void vs_ref_patchify(const vs_backend *self, const void *pixels, size_t images, size_t h, size_t w, size_t p, vs_mat out);
void vs_ref_tokens(const vs_backend *self, vs_mat patch, vs_mat prefix, vs_mat pos, size_t images, vs_mat out);
void vs_ref_linear(const vs_backend *self, vs_mat x, vs_mat w, const void *b, vs_mat y);
vs_status vs_ref_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err);
void vs_ref_layernorm(const vs_backend *self, vs_mat x, const void *g, const void *b, double eps, vs_mat y);
size_t vs_ref_attention_scratch(const vs_backend *self, size_t tokens, size_t heads);
void vs_ref_attention(const vs_backend *self, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale,
                      void *scratch, vs_mat out);
void vs_ref_attention_probs(const vs_backend *self, vs_mat q, vs_mat k, size_t images, size_t heads, double scale, vs_mat p);
void vs_ref_attention_apply(const vs_backend *self, vs_mat p, vs_mat v, size_t images, size_t heads, vs_mat out);
void vs_ref_rope(const vs_backend *self, vs_mat x, vs_mat cosines, vs_mat sines, size_t images, size_t heads, vs_mat y);
void vs_ref_gelu(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_gelu_tanh(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_silu_mul(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_scale_add(const vs_backend *self, vs_mat x, vs_mat u, const void *gamma, vs_mat y);
void vs_ref_affine(const vs_backend *self, vs_mat x, const void *scale, const void *shift, vs_mat y);
void vs_ref_unfold2x2(const vs_backend *self, vs_mat x, size_t images, size_t h, size_t w, vs_mat y);
void vs_ref_depthwise3x3(const vs_backend *self, vs_mat x, const void *k, size_t images, size_t h, size_t w, vs_mat y);
void vs_ref_softmax_rows(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_mask_scores(const vs_backend *self, vs_mat m, vs_mat c, size_t images, vs_mat y);

/* half.c */
void vs_ref_elementwise(const vs_backend *self, vs_element op, vs_mat x, vs_mat u, vs_mat y);
void vs_ref_row_mean(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_row_sum(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_row_max(const vs_backend *self, vs_mat x, vs_mat y);
void vs_ref_exp_rows(const vs_backend *self, vs_mat x, double scale, vs_mat y, vs_mat sums);
void vs_ref_round_half(const vs_backend *self, vs_mat x, vs_half_format format, vs_mat y, size_t images,
                       vs_half_counts *const *counts);

/* quantize.c */
void vs_ref_div_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y);
void vs_ref_mul_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y);
void vs_ref_fake_quant(const vs_backend *self, vs_mat x, const vs_grid *grid, vs_mat y, size_t images,
                       vs_quant_counts *const *counts);
void vs_ref_fake_quant_rows(const vs_backend *self, vs_mat x, const float *scales, int32_t qmax, vs_mat y, int8_t *codes);
void vs_ref_fake_quant_tokens(const vs_backend *self, vs_mat x, int32_t qmax, vs_mat y, size_t images,
                              vs_quant_counts *const *counts);
void vs_ref_quantize_u8(const vs_backend *self, vs_mat x, const vs_grid *grid, uint8_t *codes);

/* statistics.c */
void vs_ref_channel_minmax(const vs_backend *self, vs_mat x, double *lo, double *hi);
void vs_ref_range_histogram(const vs_backend *self, vs_mat x, double lo, double hi, size_t bins, uint64_t *counts);
void vs_ref_row_absmax(const vs_backend *self, vs_mat x, double *out);
void vs_ref_error_sums(const vs_backend *self, vs_mat x, vs_mat y, size_t images, vs_error_sums *const *out);
void vs_ref_abs_stats(const vs_backend *self, vs_mat x, size_t images, vs_abs_stats *const *out, void *hist,
                      double *const *energy);
void vs_ref_count_below(const vs_backend *self, vs_mat x, double threshold, uint64_t *below);
void vs_ref_count_above(const vs_backend *self, vs_mat x, size_t col, double threshold, uint64_t *above);
void vs_ref_channel_energy(const vs_backend *self, vs_mat x, double *sum_sq);

#endif
