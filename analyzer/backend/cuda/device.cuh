/* What kernels share: rows, four values at once, reductions in an order that depends on the block's size alone.
 *
 * Compiled with -fmad=false: a product and a sum round twice, as on the cpu, unless fmaf is written. */
#ifndef VS_CUDA_DEVICE_CUH
#define VS_CUDA_DEVICE_CUH

#include "backend/cuda/cuda_context.h"

constexpr unsigned WARP = 32, FULL_MASK = 0xffffffffu;

__host__ __device__ inline float *vs_row(vs_mat m, size_t r) { return static_cast<float *>(m.p) + r * m.ld; }
__host__ __device__ inline size_t vs_ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
/* The host's and the kernels' vs_mat_view. */
__host__ __device__ inline vs_mat vs_view(vs_mat m, size_t row, size_t rows, size_t col, size_t cols) {
    return { vs_row(m, row) + col, rows, cols, m.ld };
}
inline unsigned vs_dim(size_t n) { return static_cast<unsigned>(n); }

/* May rows be read four floats at a time? */
inline bool vs_aligned(const void *p) { return reinterpret_cast<uintptr_t>(p) % sizeof(float4) == 0; }
inline bool vs_aligned(vs_mat m) { return vs_aligned(m.p) && m.ld % 4 == 0 && m.cols % 4 == 0; }

/* n of the four values at p; the others are 0. Which thread holds which element does not depend on VEC. */
template <bool VEC> __device__ inline void load4(const float *p, unsigned n, float v[4]) {
    if constexpr (VEC) {
        const float4 q = *reinterpret_cast<const float4 *>(p);
        v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
    } else {
#pragma unroll
        for (unsigned i = 0; i < 4; i++) v[i] = i < n ? p[i] : 0.0f;
    }
}

template <bool VEC> __device__ inline void store4(float *p, unsigned n, const float v[4]) {
    if constexpr (VEC) {
        *reinterpret_cast<float4 *>(p) = make_float4(v[0], v[1], v[2], v[3]);
    } else {
#pragma unroll
        for (unsigned i = 0; i < 4; i++)
            if (i < n) p[i] = v[i];
    }
}

__device__ inline unsigned vs_left(size_t cols, size_t c) { return cols - c < 4 ? static_cast<unsigned>(cols - c) : 4u; }
__device__ inline unsigned vs_thread_in_block() { return threadIdx.y * blockDim.x + threadIdx.x; }

template <class T> __device__ inline T shuffle_down(T v, unsigned by) { return __shfl_down_sync(FULL_MASK, v, by); }

/* Joins v over the block (a whole number of warps, all of them present); every thread gets the result. */
template <class T, class Join> __device__ inline T block_reduce(T v, T nothing, Join join) {
    __shared__ T parts[WARP + 1];
    const unsigned thread = vs_thread_in_block(), lane = thread % WARP, warp = thread / WARP;
    const unsigned warps = blockDim.x * blockDim.y / WARP;
    for (unsigned by = WARP / 2; by > 0; by /= 2) v = join(v, shuffle_down(v, by));
    __syncthreads(); /* the last call's result may still be read */
    if (lane == 0) parts[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = lane < warps ? parts[lane] : nothing;
        for (unsigned by = WARP / 2; by > 0; by /= 2) v = join(v, shuffle_down(v, by));
        if (lane == 0) parts[WARP] = v;
    }
    __syncthreads();
    return parts[WARP];
}

__device__ inline double block_sum(double v) {
    return block_reduce(v, 0.0, [](double a, double b) { return a + b; });
}
__device__ inline unsigned long long block_sum(unsigned long long v) {
    return block_reduce(v, 0ull, [](unsigned long long a, unsigned long long b) { return a + b; });
}
__device__ inline unsigned block_max(unsigned v) {
    return block_reduce(v, 0u, [](unsigned a, unsigned b) { return a > b ? a : b; });
}

/* Magnitudes order like their bits, NaN above all. */
__device__ inline unsigned magnitude_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }

/* Threads of a block that walks over one row. */
inline unsigned vs_row_threads(size_t cols) {
    const size_t wanted = cols / 8 + 1, most = 256;
    return vs_dim(vs_ceil_div(wanted < most ? wanted : most, WARP) * WARP);
}

/* y[r,c..c+3] = f.apply<VEC>(r, c, n, v) for every four elements. A block takes blockDim.y rows; columns are shared by
 * gridDim.y blocks. F reads its operands itself, so that y may be one of them. */
template <bool VEC, class F> __global__ void elementwise(vs_mat y, F f) {
    const size_t r = static_cast<size_t>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (r >= y.rows) return;
    const size_t step = static_cast<size_t>(blockDim.x) * gridDim.y, fours = (y.cols + 3) / 4;
    float *row = vs_row(y, r);
    for (size_t q = static_cast<size_t>(blockIdx.y) * blockDim.x + threadIdx.x; q < fours; q += step) {
        const size_t c = 4 * q;
        const unsigned n = vs_left(y.cols, c);
        float v[4];
        f.template apply<VEC>(r, c, n, v);
        store4<VEC>(row + c, n, v);
    }
}

struct vs_layout {
    dim3 grid, block;
};

/* Blocks of about 256 threads over a matrix, four columns a thread; at most `most_rows` blocks along the rows. */
inline vs_layout vs_cover(size_t rows, size_t cols, size_t most_rows) {
    const size_t fours = vs_ceil_div(cols, 4), wide = vs_ceil_div(fours < 256 ? fours : 256, WARP) * WARP, high = 256 / wide;
    size_t down = vs_ceil_div(rows, high), across = vs_ceil_div(fours, 4 * wide);
    if (down > most_rows) down = most_rows;
    if (across > 1024) across = 1024;
    return { dim3(vs_dim(down), vs_dim(across)), dim3(vs_dim(wide), vs_dim(high)) };
}

template <class F> void vs_elementwise(vs_cuda_thread *t, vs_mat y, const F &f) {
    if (y.rows == 0 || y.cols == 0) return;
    const vs_layout l = vs_cover(y.rows, y.cols, SIZE_MAX);
    if (vs_aligned(y) && f.aligned())
        elementwise<true><<<l.grid, l.block, 0, t->stream>>>(y, f);
    else
        elementwise<false><<<l.grid, l.block, 0, t->stream>>>(y, f);
    vs_cuda_end(t);
}

#endif
