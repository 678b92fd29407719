/* Matrix products by the library. What fails in a slot that returns nothing is kept and told by the next one that does. */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/library.h"

static vs_cpu_context *context_of(const vs_backend *self) { return self->context; }

static const char *why(vs_status status) { return status == VS_ERR_NOMEM ? "no memory" : "the matrix library failed"; }

static vs_status fail(vs_error *err, vs_status status, const char *slot, size_t m, size_t n, size_t k) {
    return vs_fail(err, status, "backend cpu, in %s: %s for a product of %zux%zu by %zux%zu", slot, why(status), m, k, k, n);
}

/* For good: what has been computed since is not worth having, whoever computes it. */
static void record(const vs_backend *self, vs_status status, const char *slot, size_t m, size_t n, size_t k) {
    vs_cpu_context *c = context_of(self);
    (void)pthread_mutex_lock(&c->lock);
    (void)fail(&c->failure, status, slot, m, n, k);
    (void)pthread_mutex_unlock(&c->lock);
    atomic_store(&c->failed, true);
}

vs_status vs_cpu_report(const vs_backend *self, vs_error *err) {
    vs_cpu_context *c = context_of(self);
    if (!atomic_load(&c->failed)) return VS_OK;
    (void)pthread_mutex_lock(&c->lock);
    const vs_error failure = c->failure;
    (void)pthread_mutex_unlock(&c->lock);
    return vs_fail(err, failure.code, "%s", failure.message);
}

void vs_cpu_product(const vs_backend *self, const char *slot, vs_mat x, vs_mat w, bool w_rows_are_k, vs_mat y) {
    const vs_status status = vs_library_product(x, w, w_rows_are_k, y);
    if (status != VS_OK) record(self, status, slot, y.rows, y.cols, x.cols);
}

vs_status vs_cpu_reserve(const vs_backend *self, vs_mat x, vs_mat w, vs_mat y, vs_error *err) {
    (void)self;
    const vs_status status = vs_library_product(x, w, false, y);
    return status == VS_OK ? VS_OK : fail(err, status, "reserve", y.rows, y.cols, x.cols);
}

/* Without VNNI the library adds pairs in 16 bits and saturates: 2 * 255 * 127 does not fit. */
vs_status vs_cpu_probe_i8(bool *exact) {
    enum { N = 64 };
    static const int32_t want = N * 255 * 127;
    uint8_t x[N * N];
    int8_t w[N * N];
    int32_t acc[N * N];
    memset(x, 255, sizeof x);
    memset(w, 127, sizeof w);
    const vs_status status = vs_library_product_i8(x, w, N, N, N, acc);
    *exact = status == VS_OK;
    for (size_t i = 0; i < N * N && *exact; i++) *exact = acc[i] == want;
    return status;
}

vs_status vs_cpu_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err) {
    if (k > VS_MAX_I8_TERMS) return vs_fail(err, VS_ERR_UNSUPPORTED, "%zu terms of 255 * 128 do not fit int32", k);
    if (context_of(self)->exact_i8) {
        const vs_status status = vs_library_product_i8(x, w, m, n, k, acc);
        return status == VS_OK ? VS_OK : fail(err, status, "linear_i8", m, n, k);
    }
    const vs_kernels *kernels = vs_cpu_kernels(self);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) acc[i * n + j] = kernels->dot_i8(x + i * k, w + j * k, k);
    return VS_OK;
}
