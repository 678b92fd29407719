/* 16-bit formats, and the single operations that decomposed norms and activations are made of. */
#include <cuda_fp16.h>

#include "backend/cuda/device.cuh"

/* ---- rounding */

static __device__ unsigned rounded_bits(float x, vs_half_format format) {
    const unsigned bits = __float_as_uint(x), a = bits & 0x7fffffffu;
    if (format == VS_HALF_FP16) return __float_as_uint(__half2float(__float2half_rn(x)));
    const unsigned dropped = format == VS_HALF_BF16 ? 16 : 13, last = 1u << dropped; /* bits; the last that stays */
    if (a > 0x7f800000u) return (bits & ~(last - 1)) | 0x00400000u;
    return (bits & 0x80000000u) | ((a + (last / 2 - 1) + (a >> dropped & 1u)) & ~(last - 1));
}

struct half_of {
    vs_mat x;
    vs_half_format format;
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        load4<VEC>(vs_row(x, r) + c, n, v);
        for (unsigned i = 0; i < 4; i++) v[i] = __uint_as_float(rounded_bits(v[i], format));
    }
};

/* Of one image, in zeroed memory. Keys are largest where the value is, and then where the element comes first. */
struct half_part {
    unsigned long long inf, nan, subnormal, flushed;
    unsigned long long most;  /* bits of the largest finite |x| above the complement of its index */
    unsigned long long first; /* complement of the index of the first overflow; 0: none */
};

/* Row y of blocks: image y. Integer counts and extremes do not depend on the order of atomics. */
static __global__ void count_half_kernel(vs_mat x, size_t rows, vs_half_format format, half_part *parts) {
    const unsigned normal = format == VS_HALF_FP16 ? 0x38800000u : 0x00800000u;
    const size_t count = rows * x.cols, step = static_cast<size_t>(gridDim.x) * blockDim.x;
    unsigned long long inf = 0, nan = 0, subnormal = 0, flushed = 0, most = 0, first = 0;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        const float v = vs_row(x, blockIdx.y * rows + i / x.cols)[i % x.cols];
        const unsigned a = magnitude_bits(v), h = rounded_bits(v, format) & 0x7fffffffu;
        const unsigned long long complement = 0xffffffffu - static_cast<unsigned>(i);
        const bool finite = a < 0x7f800000u, over = finite && h == 0x7f800000u;
        const unsigned long long key = static_cast<unsigned long long>(a) << 32 | complement;
        inf += over;
        nan += a > 0x7f800000u;
        subnormal += h > 0 && h < normal;
        flushed += a > 0 && h == 0;
        if (finite && a > 0 && key > most) most = key;
        if (over && complement + 1 > first) first = complement + 1;
    }
    const auto larger = [](unsigned long long a, unsigned long long b) { return a > b ? a : b; };
    inf = block_sum(inf);
    nan = block_sum(nan);
    subnormal = block_sum(subnormal);
    flushed = block_sum(flushed);
    most = block_reduce(most, 0ull, larger);
    first = block_reduce(first, 0ull, larger);
    if (threadIdx.x != 0) return;
    half_part *to = &parts[blockIdx.y];
    if (inf) atomicAdd(&to->inf, inf);
    if (nan) atomicAdd(&to->nan, nan);
    if (subnormal) atomicAdd(&to->subnormal, subnormal);
    if (flushed) atomicAdd(&to->flushed, flushed);
    if (most) atomicMax(&to->most, most);
    if (first) atomicMax(&to->first, first);
}

static void deliver_half(const vs_delivery *d, const char *staged) {
    half_part part;
    memcpy(&part, staged, sizeof part);
    vs_half_counts *out = static_cast<vs_half_counts *>(d->to);
    *out = vs_half_counts{};
    out->inf = part.inf;
    out->nan = part.nan;
    out->subnormal = part.subnormal;
    out->flushed = part.flushed;
    if (part.most) {
        const unsigned bits = static_cast<unsigned>(part.most >> 32);
        const size_t at = 0xffffffffu - static_cast<unsigned>(part.most & 0xffffffffu);
        float max;
        memcpy(&max, &bits, sizeof max);
        out->max = static_cast<double>(max);
        out->max_row = at / d->cols;
        out->max_col = at % d->cols;
    }
    if (part.first) {
        const size_t at = 0xffffffffu - static_cast<unsigned>(part.first - 1);
        out->first_row = at / d->cols;
        out->first_col = at % d->cols;
    }
}

static void count_half(vs_cuda_thread *t, vs_mat x, vs_half_format format, size_t images, vs_half_counts *const *counts) {
    const vs_slice slice = vs_cuda_slice(t, images * sizeof(half_part));
    if (!slice.device) return;
    constexpr size_t THREADS = 256, EACH = 8, MOST = 256;
    const size_t rows = x.rows / images, blocks = vs_ceil_div(rows * x.cols, THREADS * EACH);
    count_half_kernel<<<dim3(vs_dim(blocks < MOST ? blocks : MOST), vs_dim(images)), THREADS, 0, t->stream>>>(
        x, rows, format, reinterpret_cast<half_part *>(slice.device));
    vs_cuda_end(t);
    for (size_t i = 0; i < images; i++) {
        vs_delivery d = {};
        d.deliver = deliver_half;
        d.cols = x.cols;
        d.to = counts[i];
        vs_cuda_deliver_at(t, &slice, i * sizeof(half_part), d);
    }
}

static void round_half(const vs_backend *self, vs_mat x, vs_half_format format, vs_mat y, size_t images,
                       vs_half_counts *const *counts) {
    for (size_t i = 0; counts && i < images; i++) *counts[i] = vs_half_counts{};
    vs_cuda_thread *t = vs_cuda_begin(self, "round_half");
    if (!t || x.rows == 0 || x.cols == 0) return;
    if (counts) count_half(t, x, format, images, counts); /* first: y may be x */
    vs_elementwise(t, y, half_of{ x, format });
}

/* ---- single operations */

struct element_of {
    vs_element op;
    vs_mat x, u;
    bool aligned() const { return vs_aligned(x) && (!u.p || u.cols == 1 || vs_aligned(u)); }
    __device__ float one(float x_, float u_) const {
        switch (op) {
        case VS_ELEMENT_ADD: return x_ + u_;
        case VS_ELEMENT_SUB: return x_ - u_;
        case VS_ELEMENT_MUL: return x_ * u_;
        case VS_ELEMENT_DIV: return x_ / u_;
        case VS_ELEMENT_SQRT: return sqrtf(x_);
        case VS_ELEMENT_ERF: return erff(x_);
        case VS_ELEMENT_EXP: return expf(x_);
        case VS_ELEMENT_TANH: return tanhf(x_);
        case VS_ELEMENT_SIGMOID: break;
        }
        const float e = expf(-fabsf(x_)); /* never overflows; both signs share it */
        return (x_ < 0.0f ? e : 1.0f) / (1.0f + e);
    }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float w[4] = { 0, 0, 0, 0 };
        load4<VEC>(vs_row(x, r) + c, n, v);
        const float *row = u.p ? vs_row(u, u.rows == 1 ? 0 : r) : nullptr;
        if (row && u.cols == 1)
            for (unsigned i = 0; i < 4; i++) w[i] = row[0];
        else if (row)
            load4<VEC>(row + c, n, w);
        for (unsigned i = 0; i < 4; i++) v[i] = one(v[i], w[i]);
    }
};

static void single_operation(const vs_backend *self, vs_element op, vs_mat x, vs_mat u, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "elementwise");
    if (t) vs_elementwise(t, y, element_of{ op, x, u });
}

static __global__ void row_sum_kernel(vs_mat x, double over, vs_mat y) {
    const float *in = vs_row(x, blockIdx.x);
    double sum = 0;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) sum += static_cast<double>(in[c]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) *vs_row(y, blockIdx.x) = static_cast<float>(sum / over);
}

static void sum_over(const vs_backend *self, const char *name, vs_mat x, double over, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, name);
    if (!t || x.rows == 0 || x.cols == 0) return;
    row_sum_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, over, y);
    vs_cuda_end(t);
}

static void row_mean(const vs_backend *self, vs_mat x, vs_mat y) {
    sum_over(self, "row_mean", x, static_cast<double>(x.cols), y);
}
static void row_sum(const vs_backend *self, vs_mat x, vs_mat y) { sum_over(self, "row_sum", x, 1, y); }

static __global__ void row_max_kernel(vs_mat x, vs_mat y) {
    const float *in = vs_row(x, blockIdx.x);
    float largest = -INFINITY;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) largest = fmaxf(largest, in[c]);
    largest = block_reduce(largest, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
    if (threadIdx.x == 0) *vs_row(y, blockIdx.x) = largest;
}

static void row_max(const vs_backend *self, vs_mat x, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "row_max");
    if (!t || x.rows == 0 || x.cols == 0) return;
    row_max_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, y);
    vs_cuda_end(t);
}

/* In place: each thread reads its own elements before it writes them, and the largest is known by then. */
static __global__ void exp_rows_kernel(vs_mat x, float scale, vs_mat y, vs_mat sums) {
    const float *in = vs_row(x, blockIdx.x);
    float *out = vs_row(y, blockIdx.x), largest = -INFINITY;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) largest = fmaxf(largest, in[c] * scale);
    largest = block_reduce(largest, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
    double sum = 0;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) {
        const float e = expf(in[c] * scale - largest);
        out[c] = e;
        sum += static_cast<double>(e);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) *vs_row(sums, blockIdx.x) = static_cast<float>(sum);
}

static void exp_rows(const vs_backend *self, vs_mat x, double scale, vs_mat y, vs_mat sums) {
    vs_cuda_thread *t = vs_cuda_begin(self, "exp_rows");
    if (!t || x.rows == 0 || x.cols == 0) return;
    exp_rows_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, static_cast<float>(scale), y, sums);
    vs_cuda_end(t);
}

void vs_cuda_fill_half(vs_backend_ops *o) {
    o->elementwise = single_operation;
    o->row_mean = row_mean;
    o->row_sum = row_sum;
    o->row_max = row_max;
    o->exp_rows = exp_rows;
    o->round_half = round_half;
}
