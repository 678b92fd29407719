#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_backend.h"
#include "backend/cpu/library.h"
#include "backend/host_counts.h"
#include "backend/host_memory.h"
#include "util/util.h"

/* A backend with its own table and context behind it. */
typedef struct cpu_backend {
    vs_backend base;
    vs_backend_ops ops;
    vs_cpu_context context;
} cpu_backend;

static void close_backend(vs_backend *self) {
    (void)pthread_mutex_destroy(&((vs_cpu_context *)self->context)->lock);
    free(self);
}

/* Nothing is ever under way; what went wrong is told. */
static vs_status sync(const vs_backend *self, vs_error *err) { return vs_cpu_report(self, err); }

static vs_status download(const vs_backend *self, void *dst, vs_mat src, vs_error *err) {
    const vs_status status = vs_cpu_report(self, err);
    return status == VS_OK ? vs_host_download(self, dst, src, err) : status;
}

static vs_status read_counts(const vs_backend *self, const void *counts, size_t count, uint64_t *host, vs_error *err) {
    const vs_status status = vs_cpu_report(self, err);
    return status == VS_OK ? vs_host_read_counts(self, counts, count, host, err) : status;
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

/* The library, ready for work. */
static vs_status open_library(bool *exact_i8, vs_error *err) {
    vs_status status = vs_library_begin();
    if (status == VS_OK) status = vs_cpu_probe_i8(exact_i8);
    if (status == VS_OK) return VS_OK;
    return vs_fail(err, status, "backend cpu: %s",
                   status == VS_ERR_NOMEM ? "no memory for the code of the matrix library (oneDNN)"
                                          : "the matrix library (oneDNN) cannot be used");
}

vs_status vs_cpu_open(vs_backend **out, vs_error *err) {
    const vs_kernels *kernels = NULL;
    bool exact_i8 = false;
    vs_status status = choose_kernels(&kernels, err);
    if (status == VS_OK) status = open_library(&exact_i8, err);
    if (status != VS_OK) return status;
    cpu_backend *b = vs_calloc(1, sizeof *b);
    if (!b) return vs_fail(err, VS_ERR_NOMEM, "no memory for a backend");
    b->ops = (vs_backend_ops){ .close = close_backend,
                               .alloc = vs_host_alloc,
                               .free = vs_host_free,
                               .memory_use = vs_host_memory_use,
                               .upload = upload,
                               .upload_f64 = upload_f64,
                               .download = download,
                               .copy = vs_host_copy,
                               .sync = sync,
                               .alloc_counts = vs_host_alloc_counts,
                               .read_counts = read_counts,
                               .zero_counts = vs_host_zero_counts };
    vs_cpu_fill_operations(&b->ops);
    b->context.kernels = kernels;
    b->context.exact_i8 = exact_i8;
    atomic_init(&b->context.failed, false);
    if (pthread_mutex_init(&b->context.lock, NULL) != 0) {
        free(b);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a lock");
    }
    vs_library_name(b->context.library, sizeof b->context.library);
    b->base = (vs_backend){ .name = "cpu",
                            .arithmetic = "f32",
                            .isa = kernels->isa,
                            .library = b->context.library,
                            .scalar = VS_SCALAR_F32,
                            .host_memory = true,
                            .ops = &b->ops,
                            .context = &b->context };
    *out = &b->base;
    return VS_OK;
}
