/* Matrix products by oneDNN, each on one thread: the library changes bits when it cuts a product by threads. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

#include "cpu.h"

/* oneDNN asks OpenMP how many threads it may use; the setting is this task's own. */
static int one_thread(void) {
    const int was = omp_get_max_threads();
    omp_set_num_threads(1);
    return was;
}

void vs_cpu_product(vs_mat x, vs_mat w, bool w_rows_are_k, vs_mat y) {
    const int was = one_thread();
    /* its status reports wrong arguments only; sizes were planned by the caller */
    (void)dnnl_sgemm('N', w_rows_are_k ? 'N' : 'T', (dnnl_dim_t)y.rows, (dnnl_dim_t)y.cols, (dnnl_dim_t)x.cols, 1.0f, x.p,
                     (dnnl_dim_t)x.ld, w.p, (dnnl_dim_t)w.ld, 0.0f, y.p, (dnnl_dim_t)y.ld);
    omp_set_num_threads(was);
}

static void library_i8(const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc) {
    const int was = one_thread();
    const int32_t no_offset = 0;
    (void)dnnl_gemm_u8s8s32('N', 'T', 'F', (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, 1.0f, x, (dnnl_dim_t)k, 0, w,
                            (dnnl_dim_t)k, 0, 0.0f, acc, (dnnl_dim_t)n, &no_offset);
    omp_set_num_threads(was);
}

/* Without VNNI the library adds pairs in 16 bits and saturates: 2 * 255 * 127 does not fit. */
bool vs_cpu_probe_i8(void) {
    enum { N = 64 };
    static const int32_t want = N * 255 * 127;
    uint8_t x[N * N];
    int8_t w[N * N];
    int32_t acc[N * N];
    memset(x, 255, sizeof x);
    memset(w, 127, sizeof w);
    library_i8(x, w, N, N, N, acc);
    for (size_t i = 0; i < N * N; i++)
        if (acc[i] != want) return false;
    return true;
}

void vs_cpu_product_library(char *text, size_t size) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d %.12s, isa %x", v->major, v->minor, v->patch, v->hash,
             (unsigned)dnnl_get_effective_cpu_isa());
}

vs_status vs_cpu_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err) {
    if (k > VS_MAX_I8_TERMS) return vs_fail(err, VS_ERR_UNSUPPORTED, "%zu terms of 255 * 128 do not fit int32", k);
    if (((const vs_cpu_context *)self->context)->exact_i8) {
        library_i8(x, w, m, n, k, acc);
        return VS_OK;
    }
    const vs_kernels *kernels = vs_cpu_kernels(self);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) acc[i * n + j] = kernels->dot_i8(x + i * k, w + j * k, k);
    return VS_OK;
}
