// The only C++ here: oneDNN throws through its C interface when it has no memory.
#include "backend/cpu/library.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <cstdio>
#include <new>

// oneDNN asks OpenMP how many threads it may use, and changes bits when it cuts a product by threads; the setting is this
// task's own.
class OneThread {
  public:
    OneThread() : was(omp_get_max_threads()) { omp_set_num_threads(1); }
    ~OneThread() { omp_set_num_threads(was); }
    OneThread(const OneThread &) = delete;
    OneThread &operator=(const OneThread &) = delete;

  private:
    int was;
};

static vs_status status_of(dnnl_status_t status) {
    if (status == dnnl_success) return VS_OK;
    return status == dnnl_out_of_memory ? VS_ERR_NOMEM : VS_ERR_INTERNAL;
}

static dnnl_dim_t dim(size_t n) { return static_cast<dnnl_dim_t>(n); }

extern "C" void vs_library_name(char *text, size_t size) {
    const dnnl_version_t *v = dnnl_version();
    std::snprintf(text, size, "oneDNN %d.%d.%d %.12s, isa %x", v->major, v->minor, v->patch, v->hash,
                  static_cast<unsigned>(dnnl_get_effective_cpu_isa()));
}

extern "C" vs_status vs_library_product(vs_mat x, vs_mat w, bool w_rows_are_k, vs_mat y) {
    const OneThread alone;
    try {
        return status_of(dnnl_sgemm('N', w_rows_are_k ? 'N' : 'T', dim(y.rows), dim(y.cols), dim(x.cols), 1.0f,
                                    static_cast<const float *>(x.p), dim(x.ld), static_cast<const float *>(w.p), dim(w.ld), 0.0f,
                                    static_cast<float *>(y.p), dim(y.ld)));
    } catch (const std::bad_alloc &) { return VS_ERR_NOMEM; } catch (...) {
        return VS_ERR_INTERNAL;
    }
}

extern "C" vs_status vs_library_product_i8(const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc) {
    const OneThread alone;
    const int32_t no_offset = 0;
    try {
        return status_of(dnnl_gemm_u8s8s32('N', 'T', 'F', dim(m), dim(n), dim(k), 1.0f, x, dim(k), 0, w, dim(k), 0, 0.0f, acc,
                                           dim(n), &no_offset));
    } catch (const std::bad_alloc &) { return VS_ERR_NOMEM; } catch (...) {
        return VS_ERR_INTERNAL;
    }
}
