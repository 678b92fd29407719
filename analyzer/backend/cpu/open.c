#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "cpu_backend.h"
#include "util.h"

enum { ALIGNMENT = 64 };

/* A backend with its own table and context behind it. */
typedef struct cpu_backend {
    vs_backend base;
    vs_backend_ops ops;
    vs_cpu_context context;
} cpu_backend;

static void close_backend(vs_backend *self) { free(self); }

static void *alloc_reals(const vs_backend *self, size_t count) {
    (void)self;
    size_t bytes = 0;
    void *p = NULL;
    if (!vs_size_mul(&bytes, count ? count : 1, sizeof(float))) return NULL;
    return posix_memalign(&p, ALIGNMENT, bytes) == 0 ? p : NULL;
}

static void free_reals(const vs_backend *self, void *p) {
    (void)self;
    free(p);
}

static vs_status upload(const vs_backend *self, void *dst, const float *src, size_t count, vs_error *err) {
    (void)self;
    (void)err;
    memcpy(dst, src, count * sizeof *src);
    return VS_OK;
}

static vs_status upload_f64(const vs_backend *self, void *dst, const double *src, size_t count, vs_error *err) {
    (void)self;
    (void)err;
    float *to = dst;
    for (size_t i = 0; i < count; i++) to[i] = (float)src[i];
    return VS_OK;
}

static vs_status download(const vs_backend *self, void *dst, vs_mat src, vs_error *err) {
    (void)self;
    (void)err;
    float *to = dst;
    for (size_t r = 0; r < src.rows; r++) memcpy(to + r * src.cols, vs_cpu_row(src, r), src.cols * sizeof *to);
    return VS_OK;
}

static void copy(const vs_backend *self, vs_mat src, vs_mat dst) {
    (void)self;
    for (size_t r = 0; r < src.rows; r++) memcpy(vs_cpu_row(dst, r), vs_cpu_row(src, r), src.cols * sizeof(float));
}

static vs_status sync(const vs_backend *self, vs_error *err) {
    (void)self;
    (void)err;
    return VS_OK;
}

static vs_status choose_kernels(const vs_kernels **out, vs_error *err) {
    const char *forced = getenv("VS_ISA");
    const vs_kernels *best = &vs_kernels_scalar;
    if (!forced || !*forced) forced = NULL;
    if (forced && strcmp(forced, "scalar") != 0 && strcmp(forced, "avx2") != 0 && strcmp(forced, "avx512") != 0)
        return vs_fail(err, VS_ERR_CONFIG, "VS_ISA is '%s'; known: scalar, avx2, avx512", forced);
#ifdef VS_X86
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (avx2 && (!forced || strcmp(forced, "scalar") != 0)) best = &vs_kernels_avx2;
    if (avx512 && (!forced || strcmp(forced, "avx512") == 0)) best = &vs_kernels_avx512;
#endif
    if (forced && strcmp(forced, best->isa) != 0)
        return vs_fail(err, VS_ERR_BACKEND, "VS_ISA=%s: this processor has no %s", forced, forced);
    *out = best;
    return VS_OK;
}

vs_status vs_cpu_open(vs_backend **out, vs_error *err) {
    const vs_kernels *kernels = NULL;
    vs_status status = choose_kernels(&kernels, err);
    if (status != VS_OK) return status;
    cpu_backend *b = vs_calloc(1, sizeof *b);
    if (!b) return vs_fail(err, VS_ERR_NOMEM, "no memory for a backend");
    b->ops = (vs_backend_ops){ .close = close_backend,
                               .alloc = alloc_reals,
                               .free = free_reals,
                               .upload = upload,
                               .upload_f64 = upload_f64,
                               .download = download,
                               .copy = copy,
                               .sync = sync };
    vs_cpu_fill_operations(&b->ops);
    b->context = (vs_cpu_context){ kernels, vs_cpu_probe_i8() };
    b->base = (vs_backend){ .name = "cpu",
                            .arithmetic = "f32",
                            .isa = kernels->isa,
                            .real = VS_REAL_F32,
                            .host_memory = true,
                            .ops = &b->ops,
                            .context = &b->context };
    *out = &b->base;
    return VS_OK;
}
