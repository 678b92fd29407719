/* Matrix products. float32 ones by cuBLAS in CUBLAS_COMPUTE_32F; only `linear`, and only when it was asked for,
 * in CUBLAS_COMPUTE_32F_FAST_TF32, where cuBLASLt has a kernel for it. Plans serve half factors too (real_half_product.cu).
 * cuBLAS counts by columns, so a row-major y [M,N] = x [M,K] w [N,K]^T is its y^T [N,M] = w x^T. */
#include <stdlib.h>

#include "backend/cuda/device.cuh"

/* What makes cuBLASLt choose a kernel. */
struct plan_key {
    size_t m, n, k, ldx, ldw, ldy;
    unsigned align_x, align_w, align_y;
    bool bias, half; /* half: factors, bias and result */
};

struct vs_product_plan {
    vs_product_plan *next;
    plan_key key;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algo;
    bool usable; /* false: cuBLASLt has no kernel for it */
};

static void free_plan(vs_product_plan *p) {
    if (p->product) (void)cublasLtMatmulDescDestroy(p->product);
    if (p->w) (void)cublasLtMatrixLayoutDestroy(p->w);
    if (p->x) (void)cublasLtMatrixLayoutDestroy(p->x);
    if (p->y) (void)cublasLtMatrixLayoutDestroy(p->y);
    free(p);
}

void vs_cuda_plans_free(vs_cuda_thread *t) {
    while (t->plans) {
        vs_product_plan *next = t->plans->next;
        free_plan(t->plans);
        t->plans = next;
    }
}

/* A cuBLAS handle serves as one of cuBLASLt (its documentation says so). */
static cublasLtHandle_t lt_of(const vs_cuda_thread *t) { return reinterpret_cast<cublasLtHandle_t>(t->blas); }

/* Up to 16: kernels ask for no more, and a plan is not made anew for every place in an arena. */
static unsigned alignment_of(const void *p) {
    unsigned a = sizeof(uint16_t);
    while (a < 16 && reinterpret_cast<uintptr_t>(p) % (2 * a) == 0) a *= 2;
    return a;
}

static bool same_key(const plan_key &a, const plan_key &b) {
    return a.m == b.m && a.n == b.n && a.k == b.k && a.ldx == b.ldx && a.ldw == b.ldw && a.ldy == b.ldy && a.bias == b.bias &&
           a.half == b.half && a.align_x == b.align_x && a.align_w == b.align_w && a.align_y == b.align_y;
}

static bool ok(cublasStatus_t s) { return s == CUBLAS_STATUS_SUCCESS; }

static bool describe(const vs_cuda_thread *t, vs_product_plan *p) {
    const plan_key &k = p->key;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = k.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    const cublasComputeType_t type = t->tf32 && !k.half ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cudaDataType_t data = k.half ? CUDA_R_16F : CUDA_R_32F; /* a bias has the result's type */
    return ok(cublasLtMatmulDescCreate(&p->product, type, CUDA_R_32F)) &&
           ok(cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed)) &&
           ok(cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue)) &&
           ok(cublasLtMatrixLayoutCreate(&p->w, data, k.k, k.n, static_cast<int64_t>(k.ldw))) &&
           ok(cublasLtMatrixLayoutCreate(&p->x, data, k.k, k.m, static_cast<int64_t>(k.ldx))) &&
           ok(cublasLtMatrixLayoutCreate(&p->y, data, k.n, k.m, static_cast<int64_t>(k.ldy)));
}

static bool set_preference(cublasLtMatmulPreference_t preference, const vs_cuda_thread *t, const plan_key &k) {
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        uint32_t value;
    } alignments[] = { { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, k.align_w },
                       { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, k.align_x },
                       { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, k.align_y },
                       { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, k.align_y } };
    const uint64_t workspace = t->workspace_bytes;
    bool good = ok(
        cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace));
    /* sums of a split K stay float32 */
    const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    if (k.half)
        good = good && ok(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction,
                                                               sizeof reduction));
    for (const auto &a : alignments)
        good = good && ok(cublasLtMatmulPreferenceSetAttribute(preference, a.name, &a.value, sizeof a.value));
    return good;
}

static void choose(vs_cuda_thread *t, vs_product_plan *p) {
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result = {};
    int found = 0;
    if (!describe(t, p) || !ok(cublasLtMatmulPreferenceCreate(&preference))) return;
    p->usable =
        set_preference(preference, t, p->key) &&
        ok(cublasLtMatmulAlgoGetHeuristic(lt_of(t), p->product, p->w, p->x, p->y, p->y, preference, 1, &result, &found)) &&
        found == 1 && ok(result.state);
    p->algo = result.algo;
    (void)cublasLtMatmulPreferenceDestroy(preference);
}

/* Made once for each shape; NULL: no memory, and the plain product serves. */
static vs_product_plan *plan_for(vs_cuda_thread *t, const plan_key &key) {
    for (vs_product_plan *p = t->plans; p; p = p->next)
        if (same_key(p->key, key)) return p;
    vs_product_plan *p = static_cast<vs_product_plan *>(vs_calloc(1, sizeof *p));
    if (!p) return NULL;
    p->key = key;
    choose(t, p);
    p->next = t->plans;
    t->plans = p;
    return p;
}

/* With the bias added where the sum is written. False: not this way. */
static bool run_plan(vs_cuda_thread *t, const plan_key &key, const void *x, const void *w, const void *b, void *y) {
    const vs_product_plan *p = plan_for(t, key);
    if (!p || !p->usable) return false;
    if (b && !ok(cublasLtMatmulDescSetAttribute(p->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &b, sizeof b))) return false;
    const float one = 1, zero = 0;
    const cublasStatus_t status = cublasLtMatmul(lt_of(t), p->product, &one, w, p->w, x, p->x, &zero, y, p->y, y, p->y, &p->algo,
                                                 t->workspace, t->workspace_bytes, t->stream);
    return key.half ? ok(status) : vs_cuda_check_blas(t, status); /* halves have another way */
}

static bool planned_product(vs_cuda_thread *t, vs_mat x, vs_mat w, const void *b, vs_mat y) {
    if (b && !vs_aligned(b)) return false;
    const plan_key key = { x.rows,    w.rows, x.cols, x.ld, w.ld, y.ld, alignment_of(x.p), alignment_of(w.p), alignment_of(y.p),
                           b != NULL, false };
    return run_plan(t, key, x.p, w.p, b, y.p);
}

/* Of every row. */
static unsigned alignment_of(vs_half_mat m) {
    const unsigned first = alignment_of(m.p), second = alignment_of(static_cast<const char *>(m.p) + m.ld * VS_HALF_BYTES);
    return first < second ? first : second;
}

bool vs_cuda_half_product(vs_cuda_thread *t, vs_half_mat x, vs_half_mat w, const void *b, vs_half_mat y) {
    if (b && !vs_aligned(b)) return false;
    const plan_key key = { x.rows,          w.rows,          x.cols,          x.ld,      w.ld, y.ld,
                           alignment_of(x), alignment_of(w), alignment_of(y), b != NULL, true };
    return run_plan(t, key, x.p, w.p, b, y.p);
}

struct with_bias {
    vs_mat y;
    const float *b;
    bool aligned() const { return vs_aligned(b); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        float shift[4];
        load4<VEC>(vs_row(y, r) + c, n, v);
        load4<VEC>(b + c, n, shift);
        for (unsigned i = 0; i < 4; i++) v[i] += shift[i];
    }
};

void vs_cuda_products(vs_cuda_thread *t, const vs_batched *b) {
    const float one = 1, zero = 0;
    const size_t n = b->w_rows_are_k ? b->w.cols : b->w.rows;
    (void)vs_cuda_check_blas(
        t, cublasSgemmStridedBatched_64(
               t->blas, b->w_rows_are_k ? CUBLAS_OP_N : CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int64_t>(n),
               static_cast<int64_t>(b->x.rows), static_cast<int64_t>(b->x.cols), &one, static_cast<const float *>(b->w.p),
               static_cast<int64_t>(b->w.ld), static_cast<long long>(b->w_step), static_cast<const float *>(b->x.p),
               static_cast<int64_t>(b->x.ld), static_cast<long long>(b->x_step), &zero, static_cast<float *>(b->y.p),
               static_cast<int64_t>(b->y.ld), static_cast<long long>(b->y_step), static_cast<int64_t>(b->count)));
    vs_cuda_end(t);
}

void vs_cuda_linear(const vs_backend *self, vs_mat x, vs_mat w, const void *b, vs_mat y) {
    vs_cuda_thread *t = vs_cuda_begin(self, "linear");
    if (!t || x.rows == 0 || w.rows == 0) return;
    if (planned_product(t, x, w, b, y)) {
        vs_cuda_end(t);
        return;
    }
    const vs_batched one = { x, w, y, 0, 0, 0, 1, false };
    vs_cuda_products(t, &one);
    if (b) vs_elementwise(t, y, with_bias{ y, static_cast<const float *>(b) });
}

/* ---- integer products: plain tiles, not on tensor cores */

static constexpr unsigned SIDE = 16, DEEP = 64;

static __global__ void linear_i8_kernel(const unsigned char *x, const signed char *w, size_t m, size_t n, size_t k, int *acc) {
    __shared__ int xs[SIDE][DEEP + 1], ws[SIDE][DEEP + 1];
    const size_t row = static_cast<size_t>(blockIdx.x) * SIDE + threadIdx.y,
                 col = static_cast<size_t>(blockIdx.y) * SIDE + threadIdx.x;
    const size_t w_row = static_cast<size_t>(blockIdx.y) * SIDE + threadIdx.y;
    int sum = 0;
    for (size_t first = 0; first < k; first += DEEP) {
        for (unsigned i = threadIdx.x; i < DEEP; i += SIDE) {
            xs[threadIdx.y][i] = row < m && first + i < k ? x[row * k + first + i] : 0;
            ws[threadIdx.y][i] = w_row < n && first + i < k ? w[w_row * k + first + i] : 0;
        }
        __syncthreads();
        for (unsigned i = 0; i < DEEP; i++) sum += xs[threadIdx.y][i] * ws[threadIdx.x][i];
        __syncthreads();
    }
    if (row < m && col < n) acc[row * n + col] = sum;
}

static void multiply_i8(vs_cuda_thread *t, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc) {
    void *dx = NULL, *dw = NULL, *dacc = NULL;
    if (vs_cuda_check(t, cudaMalloc(&dx, m * k)) && vs_cuda_check(t, cudaMalloc(&dw, n * k)) &&
        vs_cuda_check(t, cudaMalloc(&dacc, m * n * sizeof *acc)) &&
        vs_cuda_check(t, cudaMemcpyAsync(dx, x, m * k, cudaMemcpyHostToDevice, t->stream)) &&
        vs_cuda_check(t, cudaMemcpyAsync(dw, w, n * k, cudaMemcpyHostToDevice, t->stream))) {
        const dim3 grid(vs_dim(vs_ceil_div(m, SIDE)), vs_dim(vs_ceil_div(n, SIDE)));
        linear_i8_kernel<<<grid, dim3(SIDE, SIDE), 0, t->stream>>>(
            static_cast<const unsigned char *>(dx), static_cast<const signed char *>(dw), m, n, k, static_cast<int *>(dacc));
        vs_cuda_end(t);
        (void)vs_cuda_check(t, cudaMemcpyAsync(acc, dacc, m * n * sizeof *acc, cudaMemcpyDeviceToHost, t->stream));
    }
    (void)vs_cuda_check(t, cudaStreamSynchronize(t->stream));
    (void)cudaFree(dx);
    (void)cudaFree(dw);
    (void)cudaFree(dacc);
}

vs_status vs_cuda_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                            vs_error *err) {
    if (k > VS_MAX_I8_TERMS) return vs_fail(err, VS_ERR_UNSUPPORTED, "%zu terms of 255 * 128 do not fit int32", k);
    vs_cuda_thread *t = vs_cuda_begin(self, "linear_i8");
    if (t && m && n && k) multiply_i8(t, x, w, m, n, k, acc);
    return t && t->failed == VS_OK ? VS_OK : vs_cuda_sync(self, err);
}
