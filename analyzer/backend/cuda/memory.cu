#include <stdlib.h>

#include "backend/cuda/device.cuh"

/* ---- pieces: every cudaMalloc that the caller frees, with its size */

static vs_cuda_context *context_of(const vs_backend *self) { return static_cast<vs_cuda_context *>(self->context); }

/* NULL: no memory, on the device or for the note. */
static void *take(const vs_backend *self, size_t bytes) {
    vs_cuda_context *c = context_of(self);
    void *p = NULL, *pieces = NULL;
    if (cudaMalloc(&p, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        return NULL;
    }
    pthread_mutex_lock(&c->lock);
    pieces = c->pieces;
    const bool noted = vs_grow(&pieces, &c->piece_capacity, c->piece_count + 1, sizeof *c->pieces);
    c->pieces = static_cast<vs_cuda_piece *>(pieces);
    if (noted) {
        c->pieces[c->piece_count++] = { p, bytes };
        c->use.held += bytes;
        if (c->use.held > c->use.peak) c->use.peak = c->use.held;
    }
    pthread_mutex_unlock(&c->lock);
    if (noted) return p;
    (void)cudaFree(p);
    return NULL;
}

static void release(const vs_backend *self, void *p) {
    vs_cuda_context *c = context_of(self);
    pthread_mutex_lock(&c->lock);
    for (size_t i = c->piece_count; p && i-- > 0;)
        if (c->pieces[i].p == p) {
            c->use.held -= c->pieces[i].bytes;
            c->pieces[i] = c->pieces[--c->piece_count];
            break;
        }
    pthread_mutex_unlock(&c->lock);
    (void)cudaFree(p);
}

static vs_memory_use memory_use(const vs_backend *self) {
    vs_cuda_context *c = context_of(self);
    pthread_mutex_lock(&c->lock);
    const vs_memory_use use = c->use;
    pthread_mutex_unlock(&c->lock);
    return use;
}

static void *alloc(const vs_backend *self, size_t count) {
    size_t bytes = 0;
    if (!vs_size_mul(&bytes, count ? count : 1, static_cast<size_t>(self->scalar))) return NULL;
    return take(self, bytes);
}

static vs_status report(vs_cuda_thread *t, const vs_backend *self, vs_error *err) {
    return t && t->failed == VS_OK ? VS_OK : vs_cuda_sync(self, err);
}

/* Waits: the source may go, and other threads may read the copy. */
static vs_status upload(const vs_backend *self, void *dst, const float *src, size_t count, vs_error *err) {
    vs_cuda_thread *t = vs_cuda_begin(self, "upload");
    if (t && count && vs_cuda_check(t, cudaMemcpyAsync(dst, src, count * sizeof *src, cudaMemcpyHostToDevice, t->stream)))
        (void)vs_cuda_check(t, cudaStreamSynchronize(t->stream));
    return report(t, self, err);
}

static vs_status upload_f64(const vs_backend *self, void *dst, const double *src, size_t count, vs_error *err) {
    float *rounded = static_cast<float *>(vs_calloc(count ? count : 1, sizeof *rounded));
    if (!rounded) return vs_fail(err, VS_ERR_NOMEM, "no memory to upload %zu numbers", count);
    for (size_t i = 0; i < count; i++) rounded[i] = static_cast<float>(src[i]);
    const vs_status status = upload(self, dst, rounded, count, err);
    free(rounded);
    return status;
}

static vs_status download(const vs_backend *self, void *dst, vs_mat src, vs_error *err) {
    vs_cuda_thread *t = vs_cuda_begin(self, "download");
    const size_t width = src.cols * sizeof(float), pitch = src.ld * sizeof(float);
    if (t && src.rows && src.cols) {
        const bool packed = src.rows == 1 || src.ld == src.cols;
        const cudaError_t code =
            packed ? cudaMemcpyAsync(dst, src.p, src.rows * width, cudaMemcpyDeviceToHost, t->stream)
                   : cudaMemcpy2DAsync(dst, width, src.p, pitch, width, src.rows, cudaMemcpyDeviceToHost, t->stream);
        if (vs_cuda_check(t, code)) (void)vs_cuda_check(t, cudaStreamSynchronize(t->stream));
    }
    return report(t, self, err);
}

struct copy_of {
    vs_mat x;
    bool aligned() const { return vs_aligned(x); }
    template <bool VEC> __device__ void apply(size_t r, size_t c, unsigned n, float v[4]) const {
        load4<VEC>(vs_row(x, r) + c, n, v);
    }
};

static void copy(const vs_backend *self, vs_mat src, vs_mat dst) {
    vs_cuda_thread *t = vs_cuda_begin(self, "copy");
    if (t) vs_elementwise(t, dst, copy_of{ src });
}

/* ---- counters */

/* Zeroed before any thread's stream can add to them. */
static void *alloc_counts(const vs_backend *self, size_t count) {
    vs_cuda_thread *t = vs_cuda_begin(self, "alloc_counts");
    size_t bytes = 0;
    if (!t || !vs_size_mul(&bytes, count ? count : 1, sizeof(uint64_t))) return NULL;
    void *p = take(self, bytes);
    if (!p) return NULL;
    if (cudaMemsetAsync(p, 0, bytes, t->stream) == cudaSuccess && cudaStreamSynchronize(t->stream) == cudaSuccess) return p;
    (void)cudaGetLastError();
    release(self, p);
    return NULL;
}

static vs_status read_counts(const vs_backend *self, const void *counts, size_t count, uint64_t *host, vs_error *err) {
    vs_cuda_thread *t = vs_cuda_begin(self, "read_counts");
    uint64_t *read = static_cast<uint64_t *>(vs_calloc(count ? count : 1, sizeof *read));
    if (!read) return vs_fail(err, VS_ERR_NOMEM, "no memory to read %zu counters", count);
    if (t && count && vs_cuda_check(t, cudaMemcpyAsync(read, counts, count * sizeof *read, cudaMemcpyDeviceToHost, t->stream)))
        (void)vs_cuda_check(t, cudaStreamSynchronize(t->stream));
    const vs_status status = report(t, self, err);
    for (size_t i = 0; status == VS_OK && i < count; i++) host[i] += read[i];
    free(read);
    return status;
}

static void zero_counts(const vs_backend *self, void *counts, size_t count) {
    vs_cuda_thread *t = vs_cuda_begin(self, "zero_counts");
    if (t && count) (void)vs_cuda_check(t, cudaMemsetAsync(counts, 0, count * sizeof(uint64_t), t->stream));
}

void vs_cuda_fill_memory(vs_backend_ops *o) {
    o->alloc = alloc;
    o->free = release;
    o->memory_use = memory_use;
    o->upload = upload;
    o->upload_f64 = upload_f64;
    o->download = download;
    o->copy = copy;
    o->sync = vs_cuda_sync;
    o->alloc_counts = alloc_counts;
    o->read_counts = read_counts;
    o->zero_counts = zero_counts;
}
