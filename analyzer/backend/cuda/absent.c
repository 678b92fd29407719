/* In place of the backend where it was not built. */
#include "backend/cuda/cuda_backend.h"

vs_status vs_cuda_open(vs_backend **out, vs_arithmetic arithmetic, vs_error *err) {
    (void)arithmetic;
    *out = NULL;
    return vs_fail(
        err, VS_ERR_BACKEND,
        "this vitscope was built without backend 'cuda': install the CUDA Toolkit 12 or newer (nvcc, cuBLAS) and build again "
        "with -DVS_CUDA=ON, or use --backend cpu");
}
