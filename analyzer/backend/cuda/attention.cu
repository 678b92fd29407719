/* Attention by one kernel (attention_fused.cu) where a head is at most 128 wide and the GPU has the shared memory; else in
 * panels: the scores of some heads (or of some queries of one head) are made by cuBLAS, turned into probabilities where they lie
 * and multiplied with v. A panel stays in the second-level cache; its size is a function of tokens and heads alone, and no panel
 * spans images, so that an image's result does not depend on the batch. */
#include "backend/cuda/device.cuh"

static constexpr size_t PANEL_REALS = size_t{ 2 } << 20; /* 8 MiB of scores, what a thread has at hand */
static constexpr size_t QUERY_STEP = 64;

struct panels {
    size_t ld, heads, queries; /* of one panel; ld: tokens padded to four */
};

static panels panels_of(size_t tokens, size_t heads) {
    const size_t ld = vs_ceil_div(tokens, 4) * 4, head = ld * tokens;
    if (head == 0) return { ld, heads, tokens };
    const size_t fit = PANEL_REALS / head;
    if (fit > 0) return { ld, fit < heads ? fit : heads, tokens };
    const size_t queries = PANEL_REALS / ld / QUERY_STEP * QUERY_STEP;
    return { ld, 1, queries ? queries : QUERY_STEP };
}

static size_t attention_scratch(const vs_backend *self, size_t tokens, size_t heads) {
    (void)self, (void)tokens, (void)heads;
    return 0;
}

static __device__ float block_max_score(float v) {
    return block_reduce(v, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
}

/* A block a row: p = softmax(scale * s) in place. The row waits in shared memory where it fits. */
template <bool VEC> static __global__ void softmax_kernel(vs_mat p, float scale, bool shared) {
    extern __shared__ float4 room[];
    float *row = vs_row(p, blockIdx.x), *kept = shared ? reinterpret_cast<float *>(room) : row;
    const size_t step = 4 * static_cast<size_t>(blockDim.x), first = 4 * static_cast<size_t>(threadIdx.x);
    float most = -INFINITY;
    for (size_t c = first; c < p.cols; c += step) {
        const unsigned n = vs_left(p.cols, c);
        float v[4];
        load4<VEC>(row + c, n, v);
        for (unsigned i = 0; i < n; i++) most = fmaxf(most, v[i] * scale);
        if (shared) store4<true>(kept + c, 4, v);
    }
    most = block_max_score(most);
    double sum = 0;
    for (size_t c = first; c < p.cols; c += step) { /* a thread reads only elements that it wrote itself */
        const unsigned n = vs_left(p.cols, c);
        float v[4];
        if (shared)
            load4<true>(kept + c, 4, v);
        else
            load4<VEC>(kept + c, n, v);
        for (unsigned i = 0; i < n; i++) {
            v[i] = expf(fmaf(v[i], scale, -most));
            sum += static_cast<double>(v[i]);
        }
        if (shared)
            store4<true>(kept + c, 4, v);
        else
            store4<VEC>(kept + c, n, v);
    }
    const float inverse = static_cast<float>(1.0 / block_sum(sum));
    for (size_t c = first; c < p.cols; c += step) {
        const unsigned n = vs_left(p.cols, c);
        float v[4];
        if (shared)
            load4<true>(kept + c, 4, v);
        else
            load4<VEC>(kept + c, n, v);
        for (unsigned i = 0; i < 4; i++) v[i] *= inverse;
        store4<VEC>(row + c, n, v);
    }
}

static constexpr size_t MOST_SHARED = 48 * 1024;

static void softmax(vs_cuda_thread *t, vs_mat p, double scale) {
    const size_t room = vs_ceil_div(p.cols, 4) * sizeof(float4);
    const bool shared = room + 1024 <= MOST_SHARED; /* beside what the reductions take */
    const unsigned rows = vs_dim(p.rows), threads = vs_row_threads(p.cols);
    const bool aligned = vs_aligned(p.p) && p.ld % 4 == 0 && p.cols % 4 == 0;
    if (aligned)
        softmax_kernel<true><<<rows, threads, shared ? room : 0, t->stream>>>(p, static_cast<float>(scale), shared);
    else
        softmax_kernel<false><<<rows, threads, shared ? room : 0, t->stream>>>(p, static_cast<float>(scale), shared);
    vs_cuda_end(t);
}

/* Scores of `heads` heads from head a on, queries `first` .. + rows of an image; a head's panel follows the one before. */
struct panel {
    size_t tokens, width, image, head, heads, first, rows;
};

static void scores_of(vs_cuda_thread *t, const panel &s, vs_mat q, vs_mat k, vs_mat scores) {
    const size_t base = s.image * s.tokens, col = s.head * s.width;
    const vs_batched b = { vs_view(q, base + s.first, s.rows, col, s.width),
                           vs_view(k, base, s.tokens, col, s.width),
                           { scores.p, s.rows, s.tokens, scores.ld },
                           s.width,
                           s.width,
                           s.rows * scores.ld,
                           s.heads,
                           false };
    vs_cuda_products(t, &b);
}

static void weigh(vs_cuda_thread *t, const panel &s, vs_mat p, vs_mat v, vs_mat out) {
    const size_t base = s.image * s.tokens, col = s.head * s.width;
    const vs_batched b = { { p.p, s.rows, s.tokens, p.ld },
                           vs_view(v, base, s.tokens, col, s.width),
                           vs_view(out, base + s.first, s.rows, col, s.width),
                           s.rows * p.ld,
                           s.width,
                           s.width,
                           s.heads,
                           true };
    vs_cuda_products(t, &b);
}

static void in_panels(vs_cuda_thread *t, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale, vs_mat out) {
    const size_t tokens = q.rows / images, width = q.cols / heads;
    const panels size = panels_of(tokens, heads);
    void *room = vs_cuda_scratch(t, size.heads * size.queries * size.ld * sizeof(float));
    if (!room) return;
    for (size_t b = 0; b < images; b++)
        for (size_t a = 0; a < heads; a += size.heads)
            for (size_t first = 0; first < tokens; first += size.queries) {
                panel s = { tokens, width, b, a, heads - a, first, tokens - first };
                if (s.heads > size.heads) s.heads = size.heads;
                if (s.rows > size.queries) s.rows = size.queries;
                const vs_mat scores = { room, s.heads * s.rows, tokens, size.ld };
                scores_of(t, s, q, k, scores);
                softmax(t, scores, scale);
                weigh(t, s, scores, v, out);
            }
}

static void attention(const vs_backend *self, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale,
                      void *scratch, vs_mat out) {
    (void)scratch;
    vs_cuda_thread *t = vs_cuda_begin(self, "attention");
    if (!t || q.rows == 0 || q.cols == 0) return;
    if (!vs_cuda_attention_fused(t, q, k, v, images, heads, static_cast<float>(scale), out))
        in_panels(t, q, k, v, images, heads, scale, out);
}

static void attention_probs(const vs_backend *self, vs_mat q, vs_mat k, size_t images, size_t heads, double scale, vs_mat p) {
    vs_cuda_thread *t = vs_cuda_begin(self, "attention_probs");
    if (!t || q.rows == 0 || q.cols == 0) return;
    const size_t tokens = q.rows / images;
    for (size_t b = 0; b < images; b++) {
        const panel s = { tokens, q.cols / heads, b, 0, heads, 0, tokens };
        const vs_mat scores = vs_view(p, b * heads * tokens, heads * tokens, 0, tokens);
        scores_of(t, s, q, k, scores);
        softmax(t, scores, scale);
    }
}

static void attention_apply(const vs_backend *self, vs_mat p, vs_mat v, size_t images, size_t heads, vs_mat out) {
    vs_cuda_thread *t = vs_cuda_begin(self, "attention_apply");
    if (!t || v.rows == 0 || v.cols == 0) return;
    const size_t tokens = v.rows / images;
    for (size_t b = 0; b < images; b++) {
        const panel s = { tokens, v.cols / heads, b, 0, heads, 0, tokens };
        weigh(t, s, vs_view(p, b * heads * tokens, heads * tokens, 0, tokens), v, out);
    }
}

void vs_cuda_fill_attention(vs_backend_ops *o) {
    o->attention_scratch = attention_scratch;
    o->attention = attention;
    o->attention_probs = attention_probs;
    o->attention_apply = attention_apply;
}
