/* Real half arithmetic, what is bound by memory: between operations values are halves, single operations are the hardware's half
 * instructions, what counts as one operation keeps float32 inside and rounds once. */
#include "backend/cuda/real_half.cuh"

/* ---- float32 and half */

struct stored {
    vs_mat x;
    __device__ __half operator()(size_t r, size_t c) const { return __float2half_rn(vs_row(x, r)[c]); }
};

static void store(const vs_backend *self, vs_mat x, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half store");
    if (t) vs_half_elementwise(t, y, stored{ x });
}

static __global__ void load_kernel(vs_half_mat x, vs_mat y) {
    const size_t count = y.rows * y.cols, step = static_cast<size_t>(gridDim.x) * blockDim.x;
    for (size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
        vs_row(y, i / y.cols)[i % y.cols] = __half2float(vs_row(x, i / y.cols)[i % y.cols]);
}

static void load(const vs_backend *self, vs_half_mat x, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half load");
    if (!t || y.rows == 0 || y.cols == 0) return;
    load_kernel<<<vs_walkers(y.rows * y.cols), 256, 0, t->stream>>>(x, y);
    vs_cuda_end(t);
}

struct copied {
    vs_half_mat x;
    __device__ __half operator()(size_t r, size_t c) const { return vs_row(x, r)[c]; }
};

static void copy(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half copy");
    if (t) vs_half_elementwise(t, y, copied{ x });
}

/* ---- single operations: the half instructions. _rn: a product is not joined with a sum. */

struct single {
    vs_element op;
    vs_half_mat x, u;
    __device__ __half operator()(size_t r, size_t c) const {
        const __half a = vs_row(x, r)[c];
        if (op == VS_ELEMENT_SQRT) return hsqrt(a);
        if (op == VS_ELEMENT_ERF) return __float2half_rn(erff(__half2float(a)));
        if (op == VS_ELEMENT_EXP) return hexp(a);
        if (op == VS_ELEMENT_TANH) return __float2half_rn(tanhf(__half2float(a)));
        if (op == VS_ELEMENT_SIGMOID) return __float2half_rn(1 / (1 + expf(-__half2float(a))));
        const __half b = vs_row(u, u.rows == 1 ? 0 : r)[u.cols == 1 ? 0 : c];
        if (op == VS_ELEMENT_ADD) return __hadd_rn(a, b);
        if (op == VS_ELEMENT_SUB) return __hsub_rn(a, b);
        return op == VS_ELEMENT_MUL ? __hmul_rn(a, b) : __hdiv(a, b);
    }
};

static void single_operation(const vs_backend *self, vs_element op, vs_half_mat x, vs_half_mat u, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half elementwise");
    if (t) vs_half_elementwise(t, y, single{ op, x, u });
}

/* ---- one operation, one rounding */

struct gelu_half {
    vs_half_mat x;
    __device__ __half operator()(size_t r, size_t c) const {
        const float v = __half2float(vs_row(x, r)[c]);
        return __float2half_rn(v * (0.5f * (1.0f + erff(v * 0.707106781f))));
    }
};

static void gelu(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half gelu");
    if (t) vs_half_elementwise(t, y, gelu_half{ x });
}

struct affine_half {
    vs_half_mat x;
    const float *scale, *shift;
    __device__ __half operator()(size_t r, size_t c) const {
        return __float2half_rn(__half2float(vs_row(x, r)[c]) * scale[c] + shift[c]);
    }
};

static void affine(const vs_backend *self, vs_half_mat x, const void *scale, const void *shift, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half affine");
    if (t) vs_half_elementwise(t, y, affine_half{ x, static_cast<const float *>(scale), static_cast<const float *>(shift) });
}

/* The rotated half of a head's channels comes from the other half. */
struct rope_half {
    vs_half_mat x;
    vs_mat cosines, sines;
    size_t tokens, d; /* an image; a head */
    __device__ __half operator()(size_t r, size_t c) const {
        const __half *row = vs_row(x, r);
        const size_t prefix = tokens - cosines.rows, i = r % tokens, middle = d / 2, k = c % d;
        if (i < prefix) return row[c];
        const size_t m = k < middle ? k : k - middle;
        const float v = __half2float(row[c]), cosine = vs_row(cosines, i - prefix)[m], sine = vs_row(sines, i - prefix)[m];
        if (k < middle) return __float2half_rn(v * cosine - __half2float(row[c + middle]) * sine);
        return __float2half_rn(v * cosine + __half2float(row[c - middle]) * sine);
    }
};

static void rope(const vs_backend *self, vs_half_mat x, vs_mat cosines, vs_mat sines, size_t images, size_t heads,
                 vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half rope");
    if (t && images) vs_half_elementwise(t, y, rope_half{ x, cosines, sines, x.rows / images, x.cols / heads });
}

/* ---- a block a row. In place: each thread reads its own elements before it writes them, when the sums are known. */

static __global__ void layernorm_kernel(vs_half_mat x, const __half *g, const __half *b, float eps, vs_half_mat y) {
    const __half *in = vs_row(x, blockIdx.x);
    __half *out = vs_row(y, blockIdx.x);
    const float n = static_cast<float>(x.cols);
    float sum = 0, squares = 0;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) sum += __half2float(in[c]);
    const float mean = block_sum(sum) / n;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) {
        const float d = __half2float(in[c]) - mean;
        squares += d * d;
    }
    const float inverse = 1.0f / sqrtf(block_sum(squares) / n + eps);
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x)
        out[c] = __float2half_rn((__half2float(in[c]) - mean) * inverse * __half2float(g[c]) + __half2float(b[c]));
}

static void layernorm(const vs_backend *self, vs_half_mat x, const void *g, const void *b, double eps, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half layernorm");
    if (!t || x.rows == 0 || x.cols == 0) return;
    layernorm_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(
        x, static_cast<const __half *>(g), static_cast<const __half *>(b), static_cast<float>(eps), y);
    vs_cuda_end(t);
}

static __global__ void row_mean_kernel(vs_half_mat x, vs_half_mat y) {
    const __half *in = vs_row(x, blockIdx.x);
    float sum = 0;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) sum += __half2float(in[c]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) *vs_row(y, blockIdx.x) = __float2half_rn(sum / static_cast<float>(x.cols));
}

static void row_mean(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half row_mean");
    if (!t || x.rows == 0 || x.cols == 0) return;
    row_mean_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, y);
    vs_cuda_end(t);
}

static __global__ void softmax_rows_kernel(vs_half_mat x, vs_half_mat y) {
    const __half *in = vs_row(x, blockIdx.x);
    __half *out = vs_row(y, blockIdx.x);
    float largest = -INFINITY, sum = 0;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) largest = fmaxf(largest, __half2float(in[c]));
    largest = block_reduce(largest, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) sum += expf(__half2float(in[c]) - largest);
    sum = block_sum(sum);
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) out[c] = __float2half_rn(expf(__half2float(in[c]) - largest) / sum);
}

static void softmax_rows(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half softmax_rows");
    if (!t || x.rows == 0 || x.cols == 0) return;
    softmax_rows_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, y);
    vs_cuda_end(t);
}

void vs_cuda_fill_real_half(vs_half_ops *o) {
    o->store = store;
    o->load = load;
    o->copy = copy;
    o->elementwise = single_operation;
    o->gelu = gelu;
    o->affine = affine;
    o->rope = rope;
    o->layernorm = layernorm;
    o->row_mean = row_mean;
    o->softmax_rows = softmax_rows;
}
