#include <stdlib.h>

#include "backend/cuda/cuda_context.h"

static constexpr size_t LARGE_WORKSPACE = size_t{ 32 } << 20, SMALL_WORKSPACE = size_t{ 4 } << 20; /* cuBLAS's own advice */

static void close_backend(vs_backend *self) {
    vs_cuda_context *c = static_cast<vs_cuda_context *>(self->context);
    vs_cuda_threads_free(c);
    (void)pthread_mutex_destroy(&c->lock);
    free(c->pieces);
    free(c);
}

static vs_status no_device(cudaError_t code, vs_error *err) {
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0)
        return vs_fail(err, VS_ERR_BACKEND, "backend cuda: no NVIDIA driver is loaded on this machine; use --backend cpu");
    if (code == cudaErrorInsufficientDriver)
        return vs_fail(err, VS_ERR_BACKEND,
                       "backend cuda: the NVIDIA driver serves CUDA %d.%d, this vitscope needs %d.%d or newer", driver / 1000,
                       driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (code == cudaErrorNoDevice || code == cudaSuccess)
        return vs_fail(err, VS_ERR_BACKEND,
                       "backend cuda: there is no NVIDIA GPU here (or CUDA_VISIBLE_DEVICES hides it); use --backend cpu");
    return vs_fail(err, VS_ERR_BACKEND, "backend cuda: the GPU cannot be used: %s", cudaGetErrorString(code));
}

static vs_status choose_device(vs_cuda_context *c, vs_error *err) {
    int count = 0;
    cudaDeviceProp properties = {};
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess || count == 0) return no_device(code, err);
    code = cudaGetDeviceProperties(&properties, c->device);
    if (code == cudaSuccess && properties.major < 8)
        return vs_fail(err, VS_ERR_BACKEND, "backend cuda: %s has compute capability %d.%d; 8.0 or newer is needed",
                       properties.name, properties.major, properties.minor);
    if (code == cudaSuccess) code = cudaSetDevice(c->device);
    if (code == cudaSuccess) code = cudaFree(NULL); /* makes the device's context */
    if (code != cudaSuccess) return no_device(code, err);
    snprintf(c->isa, sizeof c->isa, "sm_%d%d", properties.major, properties.minor);
    int runtime = 0, driver = 0;
    code = cudaRuntimeGetVersion(&runtime);
    if (code == cudaSuccess) code = cudaDriverGetVersion(&driver);
    if (code != cudaSuccess) return no_device(code, err);
    snprintf(c->library, sizeof c->library, "cuBLAS %zu, CUDA %d, driver %d, %.256s", cublasLtGetVersion(), runtime, driver,
             properties.name);
    c->workspace_bytes = properties.major >= 9 ? LARGE_WORKSPACE : SMALL_WORKSPACE;
    return VS_OK;
}

static vs_status reserve(const vs_backend *self, vs_mat x, vs_mat w, vs_mat y, vs_error *err) {
    vs_cuda_linear(self, x, w, NULL, y);
    return vs_cuda_sync(self, err);
}

static void fill(vs_cuda_context *c) {
    c->ops.close = close_backend;
    vs_cuda_fill_memory(&c->ops);
    vs_cuda_fill_forward(&c->ops);
    vs_cuda_fill_attention(&c->ops);
    vs_cuda_fill_half(&c->ops);
    vs_cuda_fill_quantize(&c->ops);
    vs_cuda_fill_statistics(&c->ops);
    vs_cuda_fill_real_half(&c->half);
    vs_cuda_fill_real_products(&c->half);
    vs_cuda_fill_real_attention(&c->half);
    c->ops.linear = vs_cuda_linear;
    c->ops.reserve = reserve;
    c->ops.linear_i8 = vs_cuda_linear_i8;
    c->base.name = "cuda";
    c->base.arithmetic = c->tf32 ? "tf32" : "f32";
    c->base.isa = c->isa;
    c->base.library = c->library;
    c->base.scalar = VS_SCALAR_F32;
    c->base.host_memory = false;
    c->base.ops = &c->ops;
    c->base.half = &c->half;
    c->base.context = c;
}

/* The module's only symbol. */
extern "C" __attribute__((visibility("default"))) vs_status vs_cuda_module_open(vs_backend **out, vs_arithmetic arithmetic,
                                                                                vs_error *err) {
    *out = NULL;
    vs_cuda_context *c = static_cast<vs_cuda_context *>(vs_calloc(1, sizeof *c));
    if (!c) return vs_fail(err, VS_ERR_NOMEM, "no memory for a backend");
    const char *sync = getenv("VS_CUDA_SYNC");
    c->tf32 = arithmetic == VS_ARITHMETIC_TF32;
    c->synchronous = sync && *sync && *sync != '0';
    vs_status status = choose_device(c, err);
    if (status == VS_OK && pthread_mutex_init(&c->lock, NULL) != 0) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a lock");
    if (status != VS_OK) {
        free(c);
        return status;
    }
    fill(c);
    *out = &c->base;
    return VS_OK;
}
