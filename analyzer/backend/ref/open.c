#include <stdlib.h>
#include <string.h>

#include "ref.h"
#include "ref_backend.h"
#include "util.h"

static void close_backend(vs_backend *self) { free(self); }

static void *alloc_reals(const vs_backend *self, size_t count) {
    (void)self;
    size_t bytes = 0;
    void *p = NULL;
    if (!vs_size_mul(&bytes, count ? count : 1, sizeof(double))) return NULL;
    return posix_memalign(&p, 64, bytes) == 0 ? p : NULL;
}

static void free_reals(const vs_backend *self, void *p) {
    (void)self;
    free(p);
}

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

static vs_status download(const vs_backend *self, void *dst, vs_mat src, vs_error *err) {
    (void)self;
    (void)err;
    double *to = dst;
    for (size_t r = 0; r < src.rows; r++) memcpy(to + r * src.cols, vs_ref_row(src, r), src.cols * sizeof *to);
    return VS_OK;
}

static void copy(const vs_backend *self, vs_mat src, vs_mat dst) {
    (void)self;
    for (size_t r = 0; r < src.rows; r++) memcpy(vs_ref_row(dst, r), vs_ref_row(src, r), src.cols * sizeof(double));
}

static vs_status sync(const vs_backend *self, vs_error *err) {
    (void)self;
    (void)err;
    return VS_OK;
}

static const vs_backend_ops ops = {
    .close = close_backend,
    .alloc = alloc_reals,
    .free = free_reals,
    .upload = upload,
    .upload_f64 = upload_f64,
    .download = download,
    .copy = copy,
    .sync = sync,
    .patchify = vs_ref_patchify,
    .tokens = vs_ref_tokens,
    .linear = vs_ref_linear,
    .linear_i8 = vs_ref_linear_i8,
    .layernorm = vs_ref_layernorm,
    .attention_scratch = vs_ref_attention_scratch,
    .attention = vs_ref_attention,
    .gelu = vs_ref_gelu,
    .scale_add = vs_ref_scale_add,
    .affine = vs_ref_affine,
    .div_channels = vs_ref_div_channels,
    .mul_channels = vs_ref_mul_channels,
    .fake_quant = vs_ref_fake_quant,
    .fake_quant_rows = vs_ref_fake_quant_rows,
    .quantize_u8 = vs_ref_quantize_u8,
    .channel_minmax = vs_ref_channel_minmax,
    .row_absmax = vs_ref_row_absmax,
    .error_sums = vs_ref_error_sums,
    .abs_stats = vs_ref_abs_stats,
    .count_below = vs_ref_count_below,
    .count_above = vs_ref_count_above,
    .channel_energy = vs_ref_channel_energy,
};

vs_status vs_ref_open(vs_backend **out, vs_error *err) {
    vs_backend *b = vs_calloc(1, sizeof *b);
    if (!b) return vs_fail(err, VS_ERR_NOMEM, "no memory for a backend");
    *b = (vs_backend){
        .name = "ref", .arithmetic = "f64", .isa = "scalar", .real = VS_REAL_F64, .host_memory = true, .ops = &ops
    };
    *out = b;
    return VS_OK;
}
