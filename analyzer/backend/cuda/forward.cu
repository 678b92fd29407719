/* Kernels of the forward pass that are bound by memory. */
#include "backend/cuda/device.cuh"

/* ---- layout */

static __global__ void patchify_kernel(const float *pixels, size_t h, size_t w, size_t p, vs_mat out) {
    const size_t patch = blockIdx.x, b = patch / (h * w), r = patch / w % h, s = patch % w;
    float *row = vs_row(out, patch);
    for (size_t c = threadIdx.x; c < out.cols; c += blockDim.x) {
        const size_t k = c / (p * p), i = c / p % p, j = c % p;
        row[c] = pixels[((b * 3 + k) * h * p + r * p + i) * w * p + s * p + j];
    }
}

static void patchify(const vs_backend *self, const void *pixels, size_t images, size_t h, size_t w, size_t p, vs_mat out) {
    vs_cuda_thread *t = vs_cuda_begin(self, "patchify");
    if (!t || images * h * w == 0) return;
    patchify_kernel<<<vs_dim(images * h * w), 128, 0, t->stream>>>(static_cast<const float *>(pixels), h, w, p, out);
    vs_cuda_end(t);
}

struct token_of {
    vs_mat patch, prefix, pos;
    size_t patches, tokens; /* an image */
    bool aligned() const { return vs_aligned(patch) && vs_aligned(prefix) && (!pos.p || vs_aligned(pos)); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        const size_t b = r / tokens, i = r % tokens;
        if (i < prefix.rows) {
            load4<VEC>(vs_row(prefix, i) + c, n, v);
            return;
        }
        load4<VEC>(vs_row(patch, b * patches + i - prefix.rows) + c, n, v);
        if (!pos.p) return;
        float at[4];
        load4<VEC>(vs_row(pos, i - prefix.rows) + c, n, at);
        for (unsigned j = 0; j < 4; j++) v[j] += at[j];
    }
};

static void tokens(const vs_backend *self, vs_mat patch, vs_mat prefix, vs_mat pos, size_t images, vs_mat out) {
    vs_cuda_thread *t = vs_cuda_begin(self, "tokens");
    if (!t || images == 0) return;
    const size_t n = patch.rows / images;
    const vs_mat written = { out.p, images * (prefix.rows + n), out.cols, out.ld };
    vs_elementwise(t, written, token_of{ patch, prefix, pos, n, prefix.rows + n });
}

/* ---- layernorm: a block a row; mean and variance in float64, so that a large mean or an outlier costs no digits */

template <bool VEC> static __global__ void layernorm_kernel(vs_mat x, const float *g, const float *b, double eps, vs_mat y) {
    const float *in = vs_row(x, blockIdx.x);
    float *out = vs_row(y, blockIdx.x);
    const size_t step = 4 * static_cast<size_t>(blockDim.x), first = 4 * static_cast<size_t>(threadIdx.x);
    const double n = static_cast<double>(x.cols);
    double sum = 0, squares = 0;
    for (size_t c = first; c < x.cols; c += step) {
        float v[4];
        load4<VEC>(in + c, vs_left(x.cols, c), v);
        sum += (static_cast<double>(v[0]) + static_cast<double>(v[1])) + (static_cast<double>(v[2]) + static_cast<double>(v[3]));
    }
    const double mean = block_sum(sum) / n;
    for (size_t c = first; c < x.cols; c += step) {
        const unsigned left = vs_left(x.cols, c);
        float v[4];
        load4<VEC>(in + c, left, v);
        for (unsigned i = 0; i < left; i++) {
            const double d = static_cast<double>(v[i]) - mean;
            squares += d * d;
        }
    }
    const double inverse = 1.0 / sqrt(block_sum(squares) / n + eps);
    for (size_t c = first; c < x.cols; c += step) { /* in place: each thread reads its own elements before it writes them */
        const unsigned left = vs_left(x.cols, c);
        float v[4], gain[4], shift[4];
        load4<VEC>(in + c, left, v);
        load4<VEC>(g + c, left, gain);
        load4<VEC>(b + c, left, shift);
        for (unsigned i = 0; i < 4; i++)
            v[i] = static_cast<float>((static_cast<double>(v[i]) - mean) * inverse) * gain[i] + shift[i];
        store4<VEC>(out + c, left, v);
    }
}

static void layernorm(const vs_backend *self, vs_mat x, const void *g, const void *b, double eps, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "layernorm");
    if (!t || x.rows == 0 || x.cols == 0) return;
    const unsigned blocks = vs_dim(x.rows), threads = vs_row_threads(x.cols);
    const float *gain = static_cast<const float *>(g), *shift = static_cast<const float *>(b);
    if (vs_aligned(x) && vs_aligned(y) && vs_aligned(g) && vs_aligned(b))
        layernorm_kernel<true><<<blocks, threads, 0, t->stream>>>(x, gain, shift, eps, y);
    else
        layernorm_kernel<false><<<blocks, threads, 0, t->stream>>>(x, gain, shift, eps, y);
    vs_cuda_end(t);
}

/* ---- elementwise */

/* The rotated half comes from the other half of the same head. */
struct rope_of {
    vs_mat x, cosines, sines;
    size_t tokens, d; /* an image; a head */
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        const float *row = vs_row(x, r);
        load4<VEC>(row + c, n, v);
        const size_t prefix = tokens - cosines.rows, i = r % tokens, half = d / 2;
        if (i < prefix) return;
        const float *cosine = vs_row(cosines, i - prefix), *sine = vs_row(sines, i - prefix);
        for (unsigned j = 0; j < n; j++) {
            const size_t k = (c + j) % d, m = k < half ? k : k - half;
            v[j] = k < half ? v[j] * cosine[m] - row[c + j + half] * sine[m] : v[j] * cosine[m] + row[c + j - half] * sine[m];
        }
    }
};

static void rope(const vs_backend *self, vs_mat x, vs_mat cosines, vs_mat sines, size_t images, size_t heads, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "rope");
    if (!t || images == 0) return;
    vs_elementwise(t, y, rope_of{ x, cosines, sines, x.rows / images, x.cols / heads });
}

struct gelu_of {
    vs_mat x;
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        load4<VEC>(vs_row(x, r) + c, n, v);
        for (unsigned i = 0; i < 4; i++) v[i] = v[i] * (0.5f * (1.0f + erff(v[i] * 0.707106781f)));
    }
};

static void gelu(const vs_backend *self, vs_mat x, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "gelu");
    if (t) vs_elementwise(t, y, gelu_of{ x });
}

/* (1 + tanh(z / 2)) / 2 is the sigmoid of z = 2 sqrt(2/pi) (x + 0.044715 x^3). */
struct gelu_tanh_of {
    vs_mat x;
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        load4<VEC>(vs_row(x, r) + c, n, v);
        for (unsigned i = 0; i < 4; i++) {
            const float z = 1.59576912f * v[i] * (0.044715f * v[i] * v[i] + 1.0f), e = expf(-fabsf(z));
            v[i] = v[i] * ((v[i] < 0.0f ? e : 1.0f) / (1.0f + e));
        }
    }
};

static void gelu_tanh(const vs_backend *self, vs_mat x, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "gelu_tanh");
    if (t) vs_elementwise(t, y, gelu_tanh_of{ x });
}

struct silu_mul_of {
    vs_mat gate, x; /* the halves of one matrix */
    bool aligned() const { return vs_aligned(gate) && vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float u[4];
        load4<VEC>(vs_row(gate, r) + c, n, v);
        load4<VEC>(vs_row(x, r) + c, n, u);
        for (unsigned i = 0; i < 4; i++) {
            const float e = expf(-fabsf(v[i]));
            v[i] = v[i] * ((v[i] < 0.0f ? e : 1.0f) / (1.0f + e)) * u[i];
        }
    }
};

static void silu_mul(const vs_backend *self, vs_mat x, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "silu_mul");
    if (!t) return;
    vs_elementwise(t, y, silu_mul_of{ vs_view(x, 0, y.rows, 0, y.cols), vs_view(x, 0, y.rows, y.cols, y.cols) });
}

struct scaled_sum {
    vs_mat x, u;
    const float *gamma;
    bool aligned() const { return vs_aligned(x) && vs_aligned(u) && vs_aligned(gamma); } /* NULL is aligned */
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float w[4], g[4] = { 1.0f, 1.0f, 1.0f, 1.0f };
        load4<VEC>(vs_row(x, r) + c, n, v);
        load4<VEC>(vs_row(u, r) + c, n, w);
        if (gamma) load4<VEC>(gamma + c, n, g);
        for (unsigned i = 0; i < 4; i++) v[i] = v[i] + g[i] * w[i];
    }
};

static void scale_add(const vs_backend *self, vs_mat x, vs_mat u, const void *gamma, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "scale_add");
    if (t) vs_elementwise(t, y, scaled_sum{ x, u, static_cast<const float *>(gamma) });
}

struct affine_of {
    vs_mat x;
    const float *scale, *shift;
    bool aligned() const { return vs_aligned(x) && vs_aligned(scale) && vs_aligned(shift); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float a[4], b[4];
        load4<VEC>(vs_row(x, r) + c, n, v);
        load4<VEC>(scale + c, n, a);
        load4<VEC>(shift + c, n, b);
        for (unsigned i = 0; i < 4; i++) v[i] = v[i] * a[i] + b[i];
    }
};

static void affine(const vs_backend *self, vs_mat x, const void *scale, const void *shift, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "affine");
    if (t) vs_elementwise(t, y, affine_of{ x, static_cast<const float *>(scale), static_cast<const float *>(shift) });
}

/* ---- mask heads */

struct unfolded {
    vs_mat x;
    size_t h, w, cols;
    bool aligned() const { return vs_aligned(x) && cols % 4 == 0; }
    template <bool VEC> __device__ void apply(size_t p, size_t c, unsigned n, float v[4]) const {
        const size_t i = p / (2 * w), s = p % (2 * w); /* i: rows of pixels of all images */
        load4<VEC>(vs_row(x, i / 2 * w + s / 2) + (2 * (i % 2) + s % 2) * cols + c, n, v);
    }
};

static void unfold2x2(const vs_backend *self, vs_mat x, size_t images, size_t h, size_t w, vs_mat y) {
    (void)images;
    vs_cuda_thread *t = vs_cuda_begin(self, "unfold2x2");
    if (t) vs_elementwise(t, y, unfolded{ x, h, w, y.cols });
}

struct depthwise {
    vs_mat x;
    const float *kernel;
    size_t h, w;
    bool aligned() const { return vs_aligned(x) && vs_aligned(kernel); }
    template <bool VEC> __device__ void apply(size_t p, size_t c, unsigned n, float v[4]) const {
        const size_t b = p / (h * w), r = p / w % h, s = p % w;
        for (unsigned i = 0; i < 4; i++) v[i] = 0.0f;
        for (size_t tap = 0; tap < 9; tap++) {
            const size_t i = r + tap / 3, j = s + tap % 3; /* one more than the row and column */
            if (i < 1 || i > h || j < 1 || j > w) continue;
            float u[4], k[4];
            load4<VEC>(vs_row(x, (b * h + i - 1) * w + j - 1) + c, n, u);
            load4<VEC>(kernel + tap * x.cols + c, n, k);
            for (unsigned l = 0; l < 4; l++) v[l] = v[l] + k[l] * u[l];
        }
    }
};

static void depthwise3x3(const vs_backend *self, vs_mat x, const void *k, size_t images, size_t h, size_t w, vs_mat y) {
    (void)images;
    vs_cuda_thread *t = vs_cuda_begin(self, "depthwise3x3");
    if (t) vs_elementwise(t, y, depthwise{ x, static_cast<const float *>(k), h, w });
}

static __global__ void softmax_rows_kernel(vs_mat x, vs_mat y) {
    const float *in = vs_row(x, blockIdx.x);
    float *out = vs_row(y, blockIdx.x), largest = -INFINITY;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) largest = fmaxf(largest, in[c]);
    largest = block_reduce(largest, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
    double sum = 0;
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) sum += static_cast<double>(expf(in[c] - largest));
    const float factor = static_cast<float>(1.0 / block_sum(sum));
    for (size_t c = threadIdx.x; c < x.cols; c += blockDim.x) out[c] = expf(in[c] - largest) * factor;
}

static void softmax_rows(const vs_backend *self, vs_mat x, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "softmax_rows");
    if (!t || x.rows == 0 || x.cols == 0) return;
    softmax_rows_kernel<<<vs_dim(x.rows), vs_row_threads(x.cols), 0, t->stream>>>(x, y);
    vs_cuda_end(t);
}

struct scores_of {
    vs_mat m, c;
    size_t pixels; /* an image */
    bool aligned() const { return vs_aligned(c); }
    template <bool VEC> __device__ void apply(size_t p, size_t k, unsigned n, float v[4]) const {
        const size_t first = p / pixels * m.cols;
        const float *mask = vs_row(m, p);
        for (unsigned i = 0; i < 4; i++) v[i] = 0.0f;
        for (size_t q = 0; q < m.cols; q++) {
            const float sigmoid = 1.0f / (1.0f + expf(-mask[q]));
            float u[4];
            load4<VEC>(vs_row(c, first + q) + k, n, u);
            for (unsigned i = 0; i < 4; i++) v[i] = v[i] + sigmoid * u[i];
        }
    }
};

static void mask_scores(const vs_backend *self, vs_mat m, vs_mat c, size_t images, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "mask_scores");
    if (t && images) vs_elementwise(t, y, scores_of{ m, c, m.rows / images });
}

void vs_cuda_fill_forward(vs_backend_ops *o) {
    o->patchify = patchify;
    o->tokens = tokens;
    o->layernorm = layernorm;
    o->rope = rope;
    o->gelu = gelu;
    o->gelu_tanh = gelu_tanh;
    o->silu_mul = silu_mul;
    o->scale_add = scale_add;
    o->affine = affine;
    o->unfold2x2 = unfold2x2;
    o->depthwise3x3 = depthwise3x3;
    o->softmax_rows = softmax_rows;
    o->mask_scores = mask_scores;
}
