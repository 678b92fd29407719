/* Attention in one kernel: out = softmax(q k^T scale) v for a tile of queries against tile after tile of keys, in float32 with
 * fused multiply-adds, the scores never in memory (Dao et al. 2022, "FlashAttention"; Milakov and Gimelshein 2018 for the
 * softmax that meets its scores once). A query keeps its largest score m, l = sum e^(s - m) and o = sum e^(s - m) v; a larger m
 * scales l and o by e^(m_old - m_new). Each tile's share of o is summed by itself and then added, so that the error grows
 * with tiles and keys of a tile, not with all keys. o is divided by l at the end: |v| * tokens must fit a float.
 *
 * 16 x 8 threads: a thread owns ROWS queries and 8 keys of the scores, and the same queries and WIDTH / 8 channels of the result.
 * A warp owns whole queries, so that probabilities pass through its own part of shared memory. A tile of keys is loaded while the
 * one before is weighed, its values while its scores are made. Which thread adds what depends on tokens and width alone. */
#include "backend/cuda/device.cuh"

static constexpr unsigned THREADS = 128, KEYS = 64, KEYS_EACH = 8;

/* Shared memory in fours. A four c of a row of q or k lies at c ^ row % 8, one of p at c ^ 2 (row % 4): threads that read or
 * write together meet different banks. */
template <unsigned WIDTH, unsigned ROWS> struct shared_tiles {
    static constexpr unsigned FOURS = WIDTH / 4, QUERIES = 16 * ROWS;
    float4 q[QUERIES * FOURS], k[KEYS * FOURS], v[KEYS * FOURS], p[QUERIES * KEYS / 4];
};

/* Where a thread stands: its first query in the tile, its first key (or four channels). Bits 0 and 1 of a lane belong to
 * different sides: a four that two neighbours read is read once. */
struct place {
    unsigned x, y, query;
};

template <unsigned ROWS> static __device__ place place_of(unsigned thread) {
    const unsigned lane = thread % WARP, y = (lane >> 1 & 1) | (lane >> 4) << 1;
    return { (lane & 1) | (lane >> 2 & 3) << 1, y, thread / WARP * 4 * ROWS + y };
}

/* Joins v over the eight threads of a query. */
template <class Join> static __device__ float join_keys(float v, Join join) {
    v = join(v, __shfl_xor_sync(FULL_MASK, v, 1));
    v = join(v, __shfl_xor_sync(FULL_MASK, v, 4));
    return join(v, __shfl_xor_sync(FULL_MASK, v, 8));
}

/* Copies from global to shared memory that run beside arithmetic (PTX ISA, cp.async); what is not `there` becomes 0. */
template <unsigned BYTES> static __device__ void copy_async(void *to, const void *from, bool there) {
    const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to)), bytes = there ? BYTES : 0;
    if constexpr (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}

static __device__ void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits for all copies but the newest group. */
static __device__ void wait_for_older() {
    asm volatile("cp.async.wait_group 1;" ::: "memory");
    __syncthreads();
}

static __device__ void wait_for_all() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

/* Begins to bring ROWS_OF rows of `width` floats over; zeros where there is none. */
template <bool VEC, unsigned FOURS, unsigned ROWS_OF, bool SWIZZLED>
static __device__ void bring(float4 *to, const float *from, unsigned ld, unsigned rows, unsigned width) {
    static_assert(ROWS_OF * FOURS % THREADS == 0, "every thread brings as many");
#pragma unroll
    for (unsigned step = 0; step < ROWS_OF * FOURS / THREADS; step++) {
        const unsigned n = step * THREADS + threadIdx.x, row = n / FOURS, four = n % FOURS, c = 4 * four;
        float4 *at = to + row * FOURS + (SWIZZLED ? four ^ (row & 7) : four);
        const float *p = from + static_cast<size_t>(row) * ld + c; /* beyond the end it is not read */
        if constexpr (VEC)
            copy_async<sizeof(float4)>(at, p, row < rows && c < width);
        else
#pragma unroll
            for (unsigned i = 0; i < 4; i++)
                copy_async<sizeof(float)>(reinterpret_cast<float *>(at) + i, p + i, row < rows && c + i < width);
    }
    copies_end();
}

/* s[i][j] = q_i k_j, queries `query` + 4 i, keys x + 8 j. */
template <unsigned WIDTH, unsigned ROWS>
static __device__ void make_scores(const shared_tiles<WIDTH, ROWS> *tiles, const place &at, float s[ROWS][KEYS_EACH]) {
    constexpr unsigned FOURS = WIDTH / 4;
    const float4 *q = tiles->q + at.query * FOURS, *k = tiles->k + at.x * FOURS;
#pragma unroll
    for (unsigned i = 0; i < ROWS; i++)
        for (unsigned j = 0; j < KEYS_EACH; j++) s[i][j] = 0;
#pragma unroll 2
    for (unsigned c = 0; c < FOURS; c++) {
        float4 a[ROWS];
#pragma unroll
        for (unsigned i = 0; i < ROWS; i++) a[i] = q[4 * i * FOURS + (c ^ at.y ^ (i % 2 * 4))];
#pragma unroll
        for (unsigned j = 0; j < KEYS_EACH; j++) {
            const float4 b = k[8 * j * FOURS + (c ^ at.x)];
#pragma unroll
            for (unsigned i = 0; i < ROWS; i++) {
                s[i][j] = fmaf(a[i].x, b.x, s[i][j]);
                s[i][j] = fmaf(a[i].y, b.y, s[i][j]);
                s[i][j] = fmaf(a[i].z, b.z, s[i][j]);
                s[i][j] = fmaf(a[i].w, b.w, s[i][j]);
            }
        }
    }
}

/* What a query remembers of the keys it has met; sum is of the thread's own keys. */
struct memory {
    float most, sum;
};

/* Keys from `keys` on do not exist. */
template <unsigned ROWS> static __device__ void hide_keys(float s[ROWS][KEYS_EACH], const place &at, unsigned keys) {
#pragma unroll
    for (unsigned j = 0; j < KEYS_EACH; j++)
        if (8 * j + at.x >= keys)
#pragma unroll
            for (unsigned i = 0; i < ROWS; i++) s[i][j] = -INFINITY;
}

/* Probabilities of a query's scores, up to 1 / l, into shared memory; returns what o is to be scaled by. A query whose scores
 * all are -infinity so far has l = 0; NaN and +infinity make l NaN. scale > 0: the largest score is that of the largest product.
 */
static __device__ float weigh_scores(const float s[KEYS_EACH], float scale, const place &at, memory *m, float *p) {
    float most = s[0], sum = 0;
#pragma unroll
    for (unsigned j = 1; j < KEYS_EACH; j++) most = fmaxf(most, s[j]);
    most = fmaxf(m->most, join_keys(most, [](float a, float b) { return fmaxf(a, b); }) * scale);
    const float from = most == -INFINITY ? 0.0f : most, shrink = expf(m->most - from);
#pragma unroll
    for (unsigned j = 0; j < KEYS_EACH; j++) {
        const float e = expf(fmaf(s[j], scale, -from));
        sum += e;
        p[((2 * j + (at.x >> 2)) ^ (at.y << 1)) * 4 + (at.x & 3)] = e;
    }
    m->most = most;
    m->sum = fmaf(m->sum, shrink, sum);
    return shrink;
}

/* o = o * shrink + p v; channels 32 g + 4 x + 0..3 are o[i][4 g + 0..3]. */
template <unsigned WIDTH, unsigned ROWS>
static __device__ void add_values(const shared_tiles<WIDTH, ROWS> *tiles, const place &at, const float shrink[ROWS],
                                  float o[ROWS][WIDTH / 8]) {
    constexpr unsigned FOURS = WIDTH / 4, OWN = WIDTH / 8;
    const float4 *p = tiles->p + at.query * (KEYS / 4), *v = tiles->v + at.x;
    float share[ROWS][OWN];
#pragma unroll
    for (unsigned i = 0; i < ROWS; i++)
#pragma unroll
        for (unsigned d = 0; d < OWN; d++) share[i][d] = 0;
#pragma unroll 2
    for (unsigned c = 0; c < KEYS / 4; c++) {
        float a[ROWS][4];
#pragma unroll
        for (unsigned i = 0; i < ROWS; i++)
            load4<true>(reinterpret_cast<const float *>(p + 4 * i * (KEYS / 4) + (c ^ (at.y << 1))), 4, a[i]);
#pragma unroll
        for (unsigned key = 0; key < 4; key++)
#pragma unroll
            for (unsigned g = 0; g < OWN / 4; g++) {
                const float4 b = v[(4 * c + key) * FOURS + 8 * g];
#pragma unroll
                for (unsigned i = 0; i < ROWS; i++) {
                    share[i][4 * g] = fmaf(a[i][key], b.x, share[i][4 * g]);
                    share[i][4 * g + 1] = fmaf(a[i][key], b.y, share[i][4 * g + 1]);
                    share[i][4 * g + 2] = fmaf(a[i][key], b.z, share[i][4 * g + 2]);
                    share[i][4 * g + 3] = fmaf(a[i][key], b.w, share[i][4 * g + 3]);
                }
            }
    }
#pragma unroll
    for (unsigned i = 0; i < ROWS; i++)
#pragma unroll
        for (unsigned d = 0; d < OWN; d++) o[i][d] = fmaf(o[i][d], shrink[i], share[i][d]);
}

struct operands {
    vs_mat q, k, v, out;
    unsigned tokens, heads, tiles; /* tiles of queries, in an image and head */
    unsigned width;
    float scale;
};

static __device__ unsigned stride_of(const vs_mat &m) { return static_cast<unsigned>(m.ld); }

template <bool VEC, unsigned WIDTH, unsigned ROWS>
static __global__ void __launch_bounds__(THREADS, WIDTH == 64 && ROWS == 4 ? 3 : 2) attention_kernel(const operands n) {
    using tiles_of = shared_tiles<WIDTH, ROWS>;
    constexpr unsigned FOURS = tiles_of::FOURS, QUERIES = tiles_of::QUERIES, OWN = WIDTH / 8;
    extern __shared__ float4 room[];
    tiles_of *tiles = reinterpret_cast<tiles_of *>(room);
    const place at = place_of<ROWS>(threadIdx.x);
    const unsigned which = blockIdx.x / n.tiles, first = blockIdx.x % n.tiles * QUERIES;
    const size_t base = static_cast<size_t>(which / n.heads) * n.tokens, column = static_cast<size_t>(which % n.heads) * n.width;
    const float *k = vs_row(n.k, base) + column, *v = vs_row(n.v, base) + column;
    bring<VEC, FOURS, QUERIES, true>(tiles->q, vs_row(n.q, base + first) + column, stride_of(n.q), n.tokens - first, n.width);
    bring<VEC, FOURS, KEYS, true>(tiles->k, k, stride_of(n.k), n.tokens, n.width);
    float o[ROWS][OWN];
    memory m[ROWS];
#pragma unroll
    for (unsigned i = 0; i < ROWS; i++) {
        m[i] = { -INFINITY, 0 };
#pragma unroll
        for (unsigned d = 0; d < OWN; d++) o[i][d] = 0;
    }
    for (unsigned left = n.tokens; left > 0; left = left > KEYS ? left - KEYS : 0) {
        const unsigned after = left > KEYS ? left - KEYS : 0;
        float s[ROWS][KEYS_EACH], shrink[ROWS];
        bring<VEC, FOURS, KEYS, false>(tiles->v, v, stride_of(n.v), left, n.width);
        wait_for_older();
        make_scores<WIDTH, ROWS>(tiles, at, s);
        __syncthreads();
        k += KEYS * n.k.ld;
        v += KEYS * n.v.ld;
        bring<VEC, FOURS, KEYS, true>(tiles->k, k, stride_of(n.k), after, n.width); /* after the last tile: zeros */
        if (left < KEYS) hide_keys<ROWS>(s, at, left);
#pragma unroll
        for (unsigned i = 0; i < ROWS; i++)
            shrink[i] =
                weigh_scores(s[i], n.scale, at, &m[i], reinterpret_cast<float *>(tiles->p + (at.query + 4 * i) * (KEYS / 4)));
        wait_for_older();
        add_values<WIDTH, ROWS>(tiles, at, shrink, o);
        __syncthreads();
    }
    wait_for_all();
#pragma unroll
    for (unsigned i = 0; i < ROWS; i++) {
        const float sum = join_keys(m[i].sum, [](float a, float b) { return a + b; });
        const unsigned row = first + at.query + 4 * i;
        if (row >= n.tokens) continue;
#pragma unroll
        for (unsigned g = 0; g < OWN / 4; g++) {
            const unsigned c = 32 * g + 4 * at.x;
            float y[4];
#pragma unroll
            for (unsigned d = 0; d < 4; d++) y[d] = o[i][4 * g + d] / sum;
            if (c < n.width) store4<VEC>(vs_row(n.out, base + row) + column + c, vs_left(n.width, c), y);
        }
    }
}

template <bool VEC, unsigned WIDTH, unsigned ROWS> static bool launch(vs_cuda_thread *t, size_t images, operands n) {
    using tiles_of = shared_tiles<WIDTH, ROWS>;
    const cudaError_t room = cudaFuncSetAttribute(attention_kernel<VEC, WIDTH, ROWS>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                  static_cast<int>(sizeof(tiles_of)));
    if (room == cudaErrorInvalidValue) { /* this GPU has less */
        (void)cudaGetLastError();
        return false;
    }
    if (!vs_cuda_check(t, room)) return true;
    n.tiles = vs_dim(vs_ceil_div(n.tokens, tiles_of::QUERIES));
    attention_kernel<VEC, WIDTH, ROWS><<<vs_dim(images * n.heads * n.tiles), THREADS, sizeof(tiles_of), t->stream>>>(n);
    vs_cuda_end(t);
    return true;
}

/* Below two blocks for each of an H100's processors smaller tiles give more of them; a query's sums are the same in both. */
static constexpr size_t FEW_BLOCKS = 264;

template <bool VEC> static bool launch_width(vs_cuda_thread *t, size_t images, const operands &n) {
    const size_t blocks = images * n.heads * vs_ceil_div(n.tokens, 128);
    if (n.width <= 64 && blocks < FEW_BLOCKS) return launch<VEC, 64, 4>(t, images, n);
    if (n.width <= 64) return launch<VEC, 64, 8>(t, images, n);
    if (n.width <= 96) return launch<VEC, 96, 4>(t, images, n);
    if (n.width <= 128) return launch<VEC, 128, 4>(t, images, n);
    return false;
}

bool vs_cuda_attention_fused(vs_cuda_thread *t, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, float scale,
                             vs_mat out) {
    const size_t width = q.cols / heads;
    if (width > 128 || !(scale > 0)) return false; /* a masked score is -infinity before it is scaled */
    const operands n = { q, k, v, out, vs_dim(q.rows / images), vs_dim(heads), 0, vs_dim(width), scale };
    const bool aligned = vs_aligned(q) && vs_aligned(k) && vs_aligned(v) && vs_aligned(out) && width % 4 == 0;
    return aligned ? launch_width<true>(t, images, n) : launch_width<false>(t, images, n);
}
