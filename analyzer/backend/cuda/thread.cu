/* The memory, the stream and the delayed results of each host thread. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda_context.h"

static constexpr size_t STAGE_BYTES = size_t{ 16 } << 20, SCRATCH_BYTES = size_t{ 8 } << 20, SLICE_ALIGNMENT = 256;

static vs_status status_of(cudaError_t code) { return code == cudaErrorMemoryAllocation ? VS_ERR_NOMEM : VS_ERR_BACKEND; }

static void record(vs_cuda_thread *t, vs_status status, const char *what) {
    if (t->failed != VS_OK) return; /* the first error counts */
    t->failed = status;
    snprintf(t->message, sizeof t->message, "%s", what);
}

bool vs_cuda_check(vs_cuda_thread *t, cudaError_t code) {
    if (code == cudaSuccess) return true;
    (void)cudaGetLastError(); /* what does not stick must not come up again elsewhere */
    char text[256];
    snprintf(text, sizeof text, "cuda, %s %s: %s", t->synchronous ? "in" : "at or before", t->slot, cudaGetErrorString(code));
    record(t, status_of(code), text);
    return false;
}

bool vs_cuda_check_blas(vs_cuda_thread *t, cublasStatus_t code) {
    if (code == CUBLAS_STATUS_SUCCESS) return true;
    char text[256];
    snprintf(text, sizeof text, "cuda, in %s: cuBLAS: %s", t->slot, cublasGetStatusString(code));
    record(t, code == CUBLAS_STATUS_ALLOC_FAILED ? VS_ERR_NOMEM : VS_ERR_BACKEND, text);
    return false;
}

void vs_cuda_end(vs_cuda_thread *t) {
    if (vs_cuda_check(t, cudaGetLastError()) && t->synchronous) (void)vs_cuda_check(t, cudaStreamSynchronize(t->stream));
}

/* ---- making and freeing */

static void free_stage(vs_cuda_thread *t) {
    (void)cudaFree(t->stage_device);
    (void)cudaFreeHost(t->stage_host);
    t->stage_device = t->stage_host = NULL;
    t->stage_size = 0;
}

/* Zeroed, and again where it was used at every flush: counts begin at 0, and padding is copied with the slices. */
static bool make_stage(vs_cuda_thread *t, size_t bytes) {
    if (!vs_cuda_check(t, cudaMalloc(reinterpret_cast<void **>(&t->stage_device), bytes)) ||
        !vs_cuda_check(t, cudaMallocHost(reinterpret_cast<void **>(&t->stage_host), bytes)) ||
        !vs_cuda_check(t, cudaMemsetAsync(t->stage_device, 0, bytes, t->stream))) {
        free_stage(t);
        return false;
    }
    t->stage_size = bytes;
    return true;
}

static void free_thread(vs_cuda_thread *t) {
    if (!t) return;
    if (t->stream) (void)cudaStreamSynchronize(t->stream);
    vs_cuda_plans_free(t);
    if (t->blas) (void)cublasDestroy(t->blas);
    free_stage(t);
    (void)cudaFree(t->workspace);
    (void)cudaFree(t->scratch);
    if (t->stream) (void)cudaStreamDestroy(t->stream);
    free(t->pending);
    free(t);
}

void vs_cuda_threads_free(vs_cuda_context *c) {
    while (c->threads) {
        vs_cuda_thread *next = c->threads->next;
        free_thread(c->threads);
        c->threads = next;
    }
}

/* A workspace of its own makes a handle's results repeatable beside other streams. Default math: cuBLAS uses TF32 or a split
 * into smaller types only where another mode is set. */
static bool make_blas(vs_cuda_thread *t) {
    return vs_cuda_check(t, cudaMalloc(&t->workspace, t->workspace_bytes)) && vs_cuda_check_blas(t, cublasCreate(&t->blas)) &&
           vs_cuda_check_blas(t, cublasSetStream(t->blas, t->stream)) &&
           vs_cuda_check_blas(t, cublasSetWorkspace(t->blas, t->workspace, t->workspace_bytes)) &&
           vs_cuda_check_blas(t, cublasSetMathMode(t->blas, CUBLAS_DEFAULT_MATH)) &&
           vs_cuda_check_blas(t, cublasSetAtomicsMode(t->blas, CUBLAS_ATOMICS_NOT_ALLOWED));
}

static bool make_parts(vs_cuda_context *c, vs_cuda_thread *t) {
    if (!vs_cuda_check(t, cudaSetDevice(c->device)) ||
        !vs_cuda_check(t, cudaStreamCreateWithFlags(&t->stream, cudaStreamNonBlocking)) || !make_blas(t) ||
        !make_stage(t, STAGE_BYTES) || !vs_cuda_check(t, cudaMalloc(reinterpret_cast<void **>(&t->scratch), SCRATCH_BYTES)))
        return false;
    t->scratch_size = SCRATCH_BYTES;
    return true;
}

static vs_cuda_thread *make_thread(vs_cuda_context *c) {
    vs_cuda_thread *t = static_cast<vs_cuda_thread *>(vs_calloc(1, sizeof *t));
    if (!t) {
        vs_error_set(&c->failure, VS_ERR_NOMEM, "no memory for a thread of backend cuda");
        return NULL;
    }
    t->id = pthread_self();
    t->synchronous = c->synchronous;
    t->tf32 = c->tf32;
    t->workspace_bytes = c->workspace_bytes;
    t->slot = "setting up a stream";
    if (make_parts(c, t)) return t;
    vs_error_set(&c->failure, t->failed, "%s", t->message);
    free_thread(t);
    return NULL;
}

static vs_cuda_context *context_of(const vs_backend *self) { return static_cast<vs_cuda_context *>(self->context); }

static vs_cuda_thread *find_thread(vs_cuda_context *c) {
    vs_cuda_thread *t = c->threads;
    while (t && !pthread_equal(t->id, pthread_self())) t = t->next;
    return t;
}

vs_cuda_thread *vs_cuda_begin(const vs_backend *self, const char *slot) {
    vs_cuda_context *c = context_of(self);
    pthread_mutex_lock(&c->lock);
    vs_cuda_thread *t = find_thread(c);
    if (!t && (t = make_thread(c))) {
        t->next = c->threads;
        c->threads = t;
    }
    pthread_mutex_unlock(&c->lock);
    if (t) t->slot = slot;
    return t;
}

/* ---- results */

static void drop_pending(vs_cuda_thread *t) {
    t->pending_count = 0;
    t->stage_used = 0;
}

/* Brings the slices over and delivers them; after an error nothing is. What was used is zeroed for the next slices. */
static void flush(vs_cuda_thread *t) {
    if (t->pending_count)
        (void)vs_cuda_check(t, cudaMemcpyAsync(t->stage_host, t->stage_device, t->stage_used, cudaMemcpyDeviceToHost, t->stream));
    if (t->stage_used) (void)vs_cuda_check(t, cudaMemsetAsync(t->stage_device, 0, t->stage_used, t->stream));
    (void)vs_cuda_check(t, cudaStreamSynchronize(t->stream));
    for (size_t i = 0; i < t->pending_count && t->failed == VS_OK; i++)
        t->pending[i].deliver(&t->pending[i], t->stage_host + t->pending[i].offset);
    drop_pending(t);
}

vs_slice vs_cuda_slice(vs_cuda_thread *t, size_t bytes) {
    const size_t padded = vs_size_add(&bytes, bytes, SLICE_ALIGNMENT - 1) ? bytes - bytes % SLICE_ALIGNMENT : SIZE_MAX;
    if (padded > t->stage_size - t->stage_used) flush(t);
    if (padded > t->stage_size) {
        free_stage(t);
        if (!make_stage(t, padded)) {
            (void)make_stage(t, STAGE_BYTES);
            return vs_slice{ NULL, NULL, 0 };
        }
    }
    const vs_slice slice = { t->stage_device + t->stage_used, t->stage_host + t->stage_used, t->stage_used };
    t->stage_used += padded;
    return slice;
}

void vs_cuda_deliver_at(vs_cuda_thread *t, const vs_slice *slice, size_t at, vs_delivery d) {
    if (!vs_grow(reinterpret_cast<void **>(&t->pending), &t->pending_capacity, t->pending_count + 1, sizeof *t->pending)) {
        record(t, VS_ERR_NOMEM, "no memory for the results of backend cuda");
        return;
    }
    d.offset = slice->offset + at;
    t->pending[t->pending_count++] = d;
}

void vs_cuda_deliver(vs_cuda_thread *t, const vs_slice *slice, vs_delivery d) { vs_cuda_deliver_at(t, slice, 0, d); }

void *vs_cuda_scratch(vs_cuda_thread *t, size_t bytes) {
    if (bytes <= t->scratch_size) return t->scratch;
    (void)cudaFree(t->scratch); /* waits for the stream */
    t->scratch = NULL;
    t->scratch_size = 0;
    if (!vs_cuda_check(t, cudaMalloc(reinterpret_cast<void **>(&t->scratch), bytes))) return NULL;
    t->scratch_size = bytes;
    return t->scratch;
}

static vs_status report_missing_thread(vs_cuda_context *c, vs_error *err) {
    pthread_mutex_lock(&c->lock);
    const vs_error failure = c->failure;
    memset(&c->failure, 0, sizeof c->failure);
    pthread_mutex_unlock(&c->lock);
    if (failure.code == VS_OK) return VS_OK;
    return vs_fail(err, failure.code, "%s", failure.message);
}

vs_status vs_cuda_sync(const vs_backend *self, vs_error *err) {
    vs_cuda_thread *t = vs_cuda_begin(self, "sync");
    if (!t) return report_missing_thread(context_of(self), err);
    flush(t);
    const vs_status failed = t->failed;
    t->failed = VS_OK;
    if (failed == VS_OK) return report_missing_thread(context_of(self), err);
    return vs_fail(err, failed, "%s%s", t->message, t->synchronous ? "" : " (VS_CUDA_SYNC=1 finds the operation)");
}
