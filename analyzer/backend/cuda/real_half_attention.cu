/* Attention on halves as one operation: a warp a query, keys in tiles of a warp, softmax on the way with the largest score so
 * far, as fused kernels of engines do. */
#include "backend/cuda/real_half.cuh"

static constexpr unsigned QUERIES = 8, KEYS = WARP, EACH = VS_HALF_MAX_HEAD / WARP; /* EACH: channels of a lane */

struct half_attention {
    vs_half_mat q, k, v, out;
    size_t tokens;
    unsigned width; /* of a head */
    float scale;
};

/* Keys begin an odd number of words apart where the width is a multiple of four: lanes read one each. */
static __host__ __device__ unsigned key_step(unsigned width) { return width + 2; }

static size_t shared_bytes(unsigned width) {
    return QUERIES * width * sizeof(float) + KEYS * (key_step(width) + width) * sizeof(__half);
}

static __device__ float warp_max(float v) {
    for (unsigned by = WARP / 2; by > 0; by /= 2) v = fmaxf(v, __shfl_xor_sync(FULL_MASK, v, by));
    return v;
}
static __device__ float warp_sum(float v) {
    for (unsigned by = WARP / 2; by > 0; by /= 2) v += __shfl_xor_sync(FULL_MASK, v, by);
    return v;
}

/* Grid: queries, heads, images. Warps behind the last query work along and write nothing. */
static __global__ void attention_kernel(half_attention o) {
    extern __shared__ float room[];
    float *query = room + threadIdx.y * o.width;
    __half *keys = reinterpret_cast<__half *>(room + QUERIES * o.width), *values = keys + KEYS * key_step(o.width);
    const unsigned lane = threadIdx.x, thread = vs_thread_in_block();
    const size_t base = blockIdx.z * o.tokens, col = static_cast<size_t>(blockIdx.y) * o.width;
    const size_t at = static_cast<size_t>(blockIdx.x) * QUERIES + threadIdx.y;
    const bool present = at < o.tokens;
    for (unsigned d = lane; d < o.width; d += WARP) query[d] = present ? __half2float(vs_row(o.q, base + at)[col + d]) : 0.0f;
    float acc[EACH] = {}, most = -INFINITY, sum = 0;
    for (size_t first = 0; first < o.tokens; first += KEYS) {
        const unsigned n = o.tokens - first < KEYS ? static_cast<unsigned>(o.tokens - first) : KEYS;
        __syncthreads(); /* the tile before is read */
        for (unsigned i = thread; i < n * o.width; i += QUERIES * WARP) {
            const unsigned r = i / o.width, d = i % o.width;
            keys[r * key_step(o.width) + d] = vs_row(o.k, base + first + r)[col + d];
            values[i] = vs_row(o.v, base + first + r)[col + d];
        }
        __syncthreads();
        float score = -INFINITY;
        if (lane < n) {
            score = 0;
            for (unsigned d = 0; d < o.width; d++)
                score = fmaf(query[d], __half2float(keys[lane * key_step(o.width) + d]), score);
            score *= o.scale;
        }
        const float now = fmaxf(most, warp_max(score)), from = now == -INFINITY ? 0.0f : now;
        const float shrink = expf(most - from), e = lane < n ? expf(score - from) : 0.0f;
        const float weight = __half2float(__float2half_rn(e));
        sum = sum * shrink + warp_sum(e);
        most = now;
#pragma unroll
        for (unsigned i = 0; i < EACH; i++) acc[i] *= shrink;
        for (unsigned j = 0; j < n; j++) {
            const float p = __shfl_sync(FULL_MASK, weight, static_cast<int>(j));
#pragma unroll
            for (unsigned i = 0; i < EACH; i++)
                if (lane + i * WARP < o.width) acc[i] = fmaf(p, __half2float(values[j * o.width + lane + i * WARP]), acc[i]);
        }
    }
    if (!present) return;
#pragma unroll
    for (unsigned i = 0; i < EACH; i++)
        if (lane + i * WARP < o.width) vs_row(o.out, base + at)[col + lane + i * WARP] = __float2half_rn(acc[i] / sum);
}

static void attention(const vs_backend *self, vs_half_mat q, vs_half_mat k, vs_half_mat v, size_t images, size_t heads,
                      double scale, vs_half_mat out) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half attention");
    if (!t || q.rows == 0 || q.cols == 0) return;
    const size_t tokens = q.rows / images;
    const unsigned width = vs_dim(q.cols / heads);
    const dim3 grid(vs_dim(vs_ceil_div(tokens, QUERIES)), vs_dim(heads), vs_dim(images));
    attention_kernel<<<grid, dim3(WARP, QUERIES), shared_bytes(width), t->stream>>>(
        half_attention{ q, k, v, out, tokens, width, static_cast<float>(scale) });
    vs_cuda_end(t);
}

void vs_cuda_fill_real_attention(vs_half_ops *o) { o->attention = attention; }
