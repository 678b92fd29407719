/* Rows of halves, for the kernels of real half arithmetic. */
#ifndef VS_CUDA_REAL_HALF_CUH
#define VS_CUDA_REAL_HALF_CUH

#include <cuda_fp16.h>

#include "backend/cuda/device.cuh"

__host__ __device__ inline __half *vs_row(vs_half_mat m, size_t r) { return static_cast<__half *>(m.p) + r * m.ld; }

__device__ inline float block_sum(float v) {
    return block_reduce(v, 0.0f, [](float a, float b) { return a + b; });
}

/* Blocks of 256 threads that walk over `count` elements. */
inline unsigned vs_walkers(size_t count) {
    constexpr size_t THREADS = 256, MOST = 65535;
    const size_t blocks = vs_ceil_div(count, THREADS);
    return vs_dim(blocks < MOST ? blocks : MOST);
}

/* y[r,c] = f(r, c). f reads of its operands what stands at (r, c) alone where y may be one of them. */
template <class F> __global__ void half_elements(vs_half_mat y, F f) {
    const size_t count = y.rows * y.cols, step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
        vs_row(y, i / y.cols)[i % y.cols] = f(i / y.cols, i % y.cols);
}

template <class F> void vs_half_elementwise(vs_cuda_thread *t, vs_half_mat y, const F &f) {
    if (y.rows == 0 || y.cols == 0) return;
    half_elements<<<vs_walkers(y.rows * y.cols), 256, 0, t->stream>>>(y, f);
    vs_cuda_end(t);
}

#endif
