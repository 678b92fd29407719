/* float32 on an NVIDIA GPU: cuBLAS products (in TF32 where that is asked for) and own kernels. */
#ifndef VS_CUDA_BACKEND_H
#define VS_CUDA_BACKEND_H

#include "vitscope/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* VS_ERR_BACKEND: built without CUDA, no GPU, too old a driver or a GPU older than compute capability 8.0; the message says
 * which. VS_CUDA_SYNC=1 waits after every operation, so that an error names the operation that made it. */
VS_NODISCARD vs_status vs_cuda_open(vs_backend **out, vs_arithmetic arithmetic, vs_error *err);

#ifdef __cplusplus
}
#endif
#endif
