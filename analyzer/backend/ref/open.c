#include <stdlib.h>
#include <string.h>

#include "backend/host_counts.h"
#include "backend/host_memory.h"
#include "backend/ref/ref.h"
#include "backend/ref/ref_backend.h"
#include "util/util.h"

static void close_backend(vs_backend *self) { free(self); }

static vs_status upload(const vs_backend *self, void *dst, const float *src, size_t count, vs_error *err) {
    (void)self;
    (void)err;
    double *to = dst;
    for (size_t i = 0; i < count; i++) to[i] = (double)src[i];
    return VS_OK;
}

static vs_status upload_f64(const vs_backend *self, void *dst, const double *src, size_t count, vs_error *err) {
    (void)self;
    (void)err;
    memcpy(dst, src, count * sizeof *src);
    return VS_OK;
}

/* Plain loops take nothing. */
static vs_status reserve(const vs_backend *self, vs_mat x, vs_mat w, vs_mat y, vs_error *err) {
    (void)self;
    (void)x;
    (void)w;
    (void)y;
    (void)err;
    return VS_OK;
}

static const vs_backend_ops ops = {
    .close = close_backend,
    .alloc = vs_host_alloc,
    .free = vs_host_free,
    .memory_use = vs_host_memory_use,
    .upload = upload,
    .upload_f64 = upload_f64,
    .download = vs_host_download,
    .copy = vs_host_copy,
    .sync = vs_host_sync,
    .patchify = vs_ref_patchify,
    .tokens = vs_ref_tokens,
    .linear = vs_ref_linear,
    .reserve = reserve,
    .linear_i8 = vs_ref_linear_i8,
    .layernorm = vs_ref_layernorm,
    .attention_scratch = vs_ref_attention_scratch,
    .attention = vs_ref_attention,
    .attention_probs = vs_ref_attention_probs,
    .attention_apply = vs_ref_attention_apply,
    .rope = vs_ref_rope,
    .gelu = vs_ref_gelu,
    .gelu_tanh = vs_ref_gelu_tanh,
    .silu_mul = vs_ref_silu_mul,
    .scale_add = vs_ref_scale_add,
    .affine = vs_ref_affine,
    .unfold2x2 = vs_ref_unfold2x2,
    .depthwise3x3 = vs_ref_depthwise3x3,
    .softmax_rows = vs_ref_softmax_rows,
    .mask_scores = vs_ref_mask_scores,
    .elementwise = vs_ref_elementwise,
    .row_mean = vs_ref_row_mean,
    .row_sum = vs_ref_row_sum,
    .row_max = vs_ref_row_max,
    .exp_rows = vs_ref_exp_rows,
    .round_half = vs_ref_round_half,
    .div_channels = vs_ref_div_channels,
    .mul_channels = vs_ref_mul_channels,
    .fake_quant = vs_ref_fake_quant,
    .fake_quant_rows = vs_ref_fake_quant_rows,
    .fake_quant_tokens = vs_ref_fake_quant_tokens,
    .quantize_u8 = vs_ref_quantize_u8,
    .channel_minmax = vs_ref_channel_minmax,
    .range_histogram = vs_ref_range_histogram,
    .row_absmax = vs_ref_row_absmax,
    .error_sums = vs_ref_error_sums,
    .abs_stats = vs_ref_abs_stats,
    .count_below = vs_ref_count_below,
    .count_above = vs_ref_count_above,
    .channel_energy = vs_ref_channel_energy,
    .alloc_counts = vs_host_alloc_counts,
    .read_counts = vs_host_read_counts,
    .zero_counts = vs_host_zero_counts,
};

vs_status vs_ref_open(vs_backend **out, vs_error *err) {
    vs_backend *b = vs_calloc(1, sizeof *b);
    if (!b) return vs_fail(err, VS_ERR_NOMEM, "no memory for a backend");
    *b = (vs_backend){
        .name = "ref", .arithmetic = "f64", .isa = "scalar", .scalar = VS_SCALAR_F64, .host_memory = true, .ops = &ops
    };
    *out = b;
    return VS_OK;
}
