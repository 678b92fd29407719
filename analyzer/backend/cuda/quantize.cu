/* Quantizers of docs/study.md 3: true divisions, half to even; the same bits as the cpu for the same floats. */
#include <string.h>

#include "backend/cuda/device.cuh"

/* A grid as floats; every level is a whole number that float32 holds exactly. */
struct grid_f32 {
    float scale, zero, lo, hi; /* lo and hi of code - zero */
};

static grid_f32 floats_of(const vs_grid *g) {
    const float zero = static_cast<float>(g->zero);
    return { g->scale, zero, static_cast<float>(g->qmin) - zero, static_cast<float>(g->qmax) - zero };
}

/* clamp(rne(x / scale) + zero, qmin, qmax); NaN becomes zero. */
static __device__ float code_of(float x, const grid_f32 &g) {
    const float level = rintf(__fdiv_rn(x, g.scale));
    const float clamped = level < g.lo ? g.lo : level > g.hi ? g.hi : level;
    return (clamped == clamped ? clamped : 0.0f) + g.zero;
}

static __device__ float level_of(float x, const grid_f32 &g) { return code_of(x, g) - g.zero; }

/* ---- per channel */

struct quotient {
    vs_mat x;
    const float *s;
    bool aligned() const { return vs_aligned(x) && vs_aligned(s); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float d[4];
        load4<VEC>(vs_row(x, r) + c, n, v);
        load4<VEC>(s + c, n, d);
        for (unsigned i = 0; i < 4; i++) v[i] = __fdiv_rn(v[i], d[i]);
    }
};

static void div_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "div_channels");
    if (t) vs_elementwise(t, y, quotient{ x, static_cast<const float *>(s) });
}

struct channel_product {
    vs_mat x;
    const float *s;
    bool aligned() const { return vs_aligned(x) && vs_aligned(s); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float f[4];
        load4<VEC>(vs_row(x, r) + c, n, v);
        load4<VEC>(s + c, n, f);
        for (unsigned i = 0; i < 4; i++) v[i] = v[i] * f[i];
    }
};

static void mul_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "mul_channels");
    if (t) vs_elementwise(t, y, channel_product{ x, static_cast<const float *>(s) });
}

/* ---- one grid */

struct quantized {
    vs_mat x;
    grid_f32 g;
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        load4<VEC>(vs_row(x, r) + c, n, v);
        for (unsigned i = 0; i < 4; i++) v[i] = level_of(v[i], g) * g.scale;
    }
};

/* Layer z of the grid: image z; counts [images, 2]. */
template <bool VEC>
static __global__ void fake_quant_counted(vs_mat x, size_t rows, grid_f32 g, float range_lo, float range_hi, vs_mat y,
                                          unsigned long long *counts) {
    const size_t step = static_cast<size_t>(blockDim.x) * gridDim.y, fours = (x.cols + 3) / 4, base = blockIdx.z * rows;
    const size_t down = static_cast<size_t>(gridDim.x) * blockDim.y;
    unsigned long long zeroed = 0, clipped = 0;
    for (size_t r = static_cast<size_t>(blockIdx.x) * blockDim.y + threadIdx.y; r < rows; r += down)
        for (size_t q = static_cast<size_t>(blockIdx.y) * blockDim.x + threadIdx.x; q < fours; q += step) {
            const unsigned n = vs_left(x.cols, 4 * q);
            float v[4];
            load4<VEC>(vs_row(x, base + r) + 4 * q, n, v);
            for (unsigned i = 0; i < n; i++) {
                const float level = level_of(v[i], g);
                zeroed += level == 0.0f;
                clipped += v[i] < range_lo || v[i] > range_hi;
                v[i] = level * g.scale;
            }
            store4<VEC>(vs_row(y, base + r) + 4 * q, n, v);
        }
    zeroed = block_sum(zeroed);
    clipped = block_sum(clipped);
    if (vs_thread_in_block() != 0) return;
    if (zeroed) atomicAdd(&counts[2 * blockIdx.z], zeroed);
    if (clipped) atomicAdd(&counts[2 * blockIdx.z + 1], clipped);
}

static void deliver_counts(const vs_delivery *d, const char *staged) {
    uint64_t counts[2];
    memcpy(counts, staged, sizeof counts);
    vs_quant_counts *to = static_cast<vs_quant_counts *>(d->to);
    to->zeroed += counts[0];
    to->clipped += counts[1];
}

/* Room for the two counts of every image, and where they go. */
static unsigned long long *count_into(vs_cuda_thread *t, size_t images, vs_quant_counts *const *counts) {
    constexpr size_t EACH = sizeof(uint64_t[2]);
    const vs_slice slice = vs_cuda_slice(t, images * EACH);
    if (!slice.device) return NULL;
    for (size_t i = 0; i < images; i++) {
        vs_delivery d = {};
        d.deliver = deliver_counts;
        d.to = counts[i];
        vs_cuda_deliver_at(t, &slice, i * EACH, d);
    }
    return reinterpret_cast<unsigned long long *>(slice.device);
}

static constexpr size_t COUNTING_BLOCKS = 2048; /* along the rows of all images: each ends with two atomic additions */

static void fake_quant(const vs_backend *self, vs_mat x, const vs_grid *grid, vs_mat y, size_t images,
                       vs_quant_counts *const *counts) {
    vs_cuda_thread *t = vs_cuda_begin(self, "fake_quant");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const grid_f32 g = floats_of(grid);
    if (!counts) {
        vs_elementwise(t, y, quantized{ x, g });
        return;
    }
    unsigned long long *to = count_into(t, images, counts);
    if (!to) return;
    const size_t rows = x.rows / images;
    vs_layout l = vs_cover(rows, x.cols, COUNTING_BLOCKS / images + 1);
    l.grid.z = vs_dim(images);
    if (vs_aligned(x) && vs_aligned(y))
        fake_quant_counted<true><<<l.grid, l.block, 0, t->stream>>>(x, rows, g, grid->lo, grid->hi, y, to);
    else
        fake_quant_counted<false><<<l.grid, l.block, 0, t->stream>>>(x, rows, g, grid->lo, grid->hi, y, to);
    vs_cuda_end(t);
}

/* ---- a scale a row */

struct row_quantized {
    vs_mat x;
    const float *scales;
    float qmax;
    signed char *codes; /* packed, or NULL */
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        const grid_f32 g = { scales[r], 0.0f, -qmax, qmax };
        load4<VEC>(vs_row(x, r) + c, n, v);
        for (unsigned i = 0; i < n; i++) {
            const float code = code_of(v[i], g);
            if (codes) codes[r * x.cols + c + i] = static_cast<signed char>(static_cast<int>(code));
            v[i] = code * g.scale;
        }
    }
};

static void deliver_bytes(const vs_delivery *d, const char *staged) { memcpy(d->to, staged + d->bytes_to_second, d->count); }

/* Codes that come back: `count` bytes at `skip` of the slice. */
static void deliver_codes(vs_cuda_thread *t, const vs_slice *slice, size_t skip, size_t count, void *codes) {
    vs_delivery d = {};
    d.deliver = deliver_bytes;
    d.bytes_to_second = skip;
    d.count = count;
    d.to = codes;
    vs_cuda_deliver(t, slice, d);
}

static void fake_quant_rows(const vs_backend *self, vs_mat x, const float *scales, int32_t qmax, vs_mat y, int8_t *codes) {
    vs_cuda_thread *t = vs_cuda_begin(self, "fake_quant_rows");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const size_t head = x.rows * sizeof *scales, tail = codes ? x.rows * x.cols : 0;
    const vs_slice slice = vs_cuda_slice(t, head + tail);
    if (!slice.device) return;
    memcpy(slice.host, scales, head); /* the caller's array may go before the kernel runs */
    if (!vs_cuda_check(t, cudaMemcpyAsync(slice.device, slice.host, head, cudaMemcpyHostToDevice, t->stream))) return;
    signed char *to = codes ? reinterpret_cast<signed char *>(slice.device + head) : NULL;
    vs_elementwise(t, y, row_quantized{ x, reinterpret_cast<const float *>(slice.device), static_cast<float>(qmax), to });
    if (codes) deliver_codes(t, &slice, head, tail, codes);
}

/* A block a row: its largest magnitude, the scale from it, then its codes; counts as above, or NULL. */
template <bool VEC>
static __global__ void fake_quant_tokens_kernel(vs_mat x, size_t rows, int qmax, vs_mat y, unsigned long long *counts) {
    const float *in = vs_row(x, blockIdx.x);
    float *out = vs_row(y, blockIdx.x);
    const size_t step = 4 * static_cast<size_t>(blockDim.x), first = 4 * static_cast<size_t>(threadIdx.x);
    unsigned most = 0;
    for (size_t c = first; c < x.cols; c += step) {
        float v[4];
        load4<VEC>(in + c, vs_left(x.cols, c), v);
        for (unsigned i = 0; i < 4; i++) most = max(most, magnitude_bits(v[i]));
    }
    const double absmax = static_cast<double>(__uint_as_float(block_max(most)));
    const float ratio = static_cast<float>(absmax / static_cast<double>(qmax)),
                scale = ratio > 0.0f && isfinite(ratio) ? ratio : 1.0f;
    const grid_f32 g = { scale, 0.0f, static_cast<float>(-qmax - 1), static_cast<float>(qmax) };
    unsigned long long zeroed = 0;
    for (size_t c = first; c < x.cols; c += step) {
        const unsigned n = vs_left(x.cols, c);
        float v[4];
        load4<VEC>(in + c, n, v);
        for (unsigned i = 0; i < n; i++) {
            const float code = code_of(v[i], g);
            zeroed += code == 0.0f;
            v[i] = code * scale;
        }
        store4<VEC>(out + c, n, v);
    }
    if (!counts) return;
    zeroed = block_sum(zeroed);
    if (threadIdx.x == 0 && zeroed) atomicAdd(&counts[2 * (blockIdx.x / rows)], zeroed);
}

static void fake_quant_tokens(const vs_backend *self, vs_mat x, int32_t qmax, vs_mat y, size_t images,
                              vs_quant_counts *const *counts) {
    vs_cuda_thread *t = vs_cuda_begin(self, "fake_quant_tokens");
    if (!t || x.rows == 0 || x.cols == 0) return;
    unsigned long long *to = counts ? count_into(t, images, counts) : NULL;
    if (counts && !to) return;
    const unsigned blocks = vs_dim(x.rows), threads = vs_row_threads(x.cols);
    if (vs_aligned(x) && vs_aligned(y))
        fake_quant_tokens_kernel<true><<<blocks, threads, 0, t->stream>>>(x, x.rows / images, qmax, y, to);
    else
        fake_quant_tokens_kernel<false><<<blocks, threads, 0, t->stream>>>(x, x.rows / images, qmax, y, to);
    vs_cuda_end(t);
}

/* ---- codes */

static __global__ void quantize_u8_kernel(vs_mat x, grid_f32 g, unsigned char *codes) {
    const size_t count = x.rows * x.cols, step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
        codes[i] = static_cast<unsigned char>(static_cast<int>(code_of(vs_row(x, i / x.cols)[i % x.cols], g)));
}

static void quantize_u8(const vs_backend *self, vs_mat x, const vs_grid *grid, uint8_t *codes) {
    vs_cuda_thread *t = vs_cuda_begin(self, "quantize_u8");
    const size_t count = x.rows * x.cols;
    if (!t || count == 0) return;
    const vs_slice slice = vs_cuda_slice(t, count);
    if (!slice.device) return;
    const size_t blocks = vs_ceil_div(count, 256);
    quantize_u8_kernel<<<vs_dim(blocks < 4096 ? blocks : 4096), 256, 0, t->stream>>>(
        x, floats_of(grid), reinterpret_cast<unsigned char *>(slice.device));
    vs_cuda_end(t);
    deliver_codes(t, &slice, 0, count, codes);
}

void vs_cuda_fill_quantize(vs_backend_ops *o) {
    o->div_channels = div_channels;
    o->mul_channels = mul_channels;
    o->fake_quant = fake_quant;
    o->fake_quant_rows = fake_quant_rows;
    o->fake_quant_tokens = fake_quant_tokens;
    o->quantize_u8 = quantize_u8;
}
