/* Matrix products by oneDNN, each on one thread: the library changes bits when it cuts a product by threads. */
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
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

vs_status vs_cpu_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err) {
    (void)err;
    if (((const vs_cpu_context *)self->context)->exact_i8) {
        library_i8(x, w, m, n, k, acc);
        return VS_OK;
    }
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t l = 0; l < k; l++) sum += (int32_t)x[i * k + l] * (int32_t)w[j * k + l];
            acc[i * n + j] = sum;
        }
    return VS_OK;
}
