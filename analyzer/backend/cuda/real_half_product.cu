/* Products of halves on tensor cores: sums in float32, one rounding of the result. As in product.cu, cuBLAS's columns are our
 * rows: a row-major y = x w^T is its y^T = w x^T. */
#include "backend/cuda/real_half.cuh"

/* `count` products, operands `step` elements apart; the result is half or, for sums that are worked on, float32. */
struct half_products {
    vs_half_mat x, w;
    size_t x_step, w_step;
    bool w_rows_are_k; /* y = x w instead of x w^T */
    void *y;
    cudaDataType_t type; /* of y */
    size_t y_ld, y_step, count;
};

static void multiply(vs_cuda_thread *t, const half_products &b) {
    const float one = 1, zero = 0;
    const size_t n = b.w_rows_are_k ? b.w.cols : b.w.rows;
    /* sums of a split K stay float32 */
    const cublasMath_t exact = static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    if (!vs_cuda_check_blas(t, cublasSetMathMode(t->blas, exact))) return;
    (void)vs_cuda_check_blas(
        t, cublasGemmStridedBatchedEx_64(t->blas, b.w_rows_are_k ? CUBLAS_OP_N : CUBLAS_OP_T, CUBLAS_OP_N,
                                         static_cast<int64_t>(n), static_cast<int64_t>(b.x.rows), static_cast<int64_t>(b.x.cols),
                                         &one, b.w.p, CUDA_R_16F, static_cast<int64_t>(b.w.ld), static_cast<long long>(b.w_step),
                                         b.x.p, CUDA_R_16F, static_cast<int64_t>(b.x.ld), static_cast<long long>(b.x_step), &zero,
                                         b.y, b.type, static_cast<int64_t>(b.y_ld), static_cast<long long>(b.y_step),
                                         static_cast<int64_t>(b.count), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    (void)vs_cuda_check_blas(t, cublasSetMathMode(t->blas, CUBLAS_DEFAULT_MATH));
    vs_cuda_end(t);
}

/* ---- linear */

struct rounded_sum {
    const float *sums; /* packed */
    size_t cols;
    const __half *b; /* or NULL */
    __device__ __half operator()(size_t r, size_t c) const {
        const float sum = sums[r * cols + c];
        return __float2half_rn(b ? sum + __half2float(b[c]) : sum);
    }
};

/* Where cuBLASLt has no kernel (odd strides): the sums as they are, then bias and rounding. */
static void linear_in_steps(vs_cuda_thread *t, vs_half_mat x, vs_half_mat w, const void *b, vs_half_mat y) {
    float *sums = static_cast<float *>(vs_cuda_scratch(t, y.rows * y.cols * sizeof *sums));
    if (!sums) return;
    multiply(t, { x, w, 0, 0, false, sums, CUDA_R_32F, y.cols, 0, 1 });
    vs_half_elementwise(t, y, rounded_sum{ sums, y.cols, static_cast<const __half *>(b) });
}

static void linear(const vs_backend *self, vs_half_mat x, vs_half_mat w, const void *b, vs_half_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half linear");
    if (!t || x.rows == 0 || w.rows == 0) return;
    if (vs_cuda_half_product(t, x, w, b, y))
        vs_cuda_end(t);
    else
        linear_in_steps(t, x, w, b, y);
}

/* ---- attention in two products: heads are columns of q, k, v and out, and stand below each other in p */

static void scores(const vs_backend *self, vs_half_mat q, vs_half_mat k, size_t images, size_t heads, vs_half_mat p) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half scores");
    if (!t || q.rows == 0 || q.cols == 0) return;
    const size_t tokens = q.rows / images, width = q.cols / heads;
    for (size_t i = 0; i < images; i++)
        multiply(t, { vs_half_mat_view(q, i * tokens, tokens, 0, width), vs_half_mat_view(k, i * tokens, tokens, 0, width), width,
                      width, false, vs_row(p, i * heads * tokens), CUDA_R_16F, p.ld, tokens * p.ld, heads });
}

static void apply(const vs_backend *self, vs_half_mat p, vs_half_mat v, size_t images, size_t heads, vs_half_mat out) {
    vs_cuda_thread *t = vs_cuda_begin(self, "half apply");
    if (!t || v.rows == 0 || v.cols == 0) return;
    const size_t tokens = v.rows / images, width = v.cols / heads;
    for (size_t i = 0; i < images; i++)
        multiply(t,
                 { vs_half_mat_view(p, i * heads * tokens, tokens, 0, tokens), vs_half_mat_view(v, i * tokens, tokens, 0, width),
                   tokens * p.ld, width, true, vs_row(out, i * tokens), CUDA_R_16F, out.ld, width, heads });
}

void vs_cuda_fill_real_products(vs_half_ops *o) {
    o->linear = linear;
    o->scores = scores;
    o->apply = apply;
}
