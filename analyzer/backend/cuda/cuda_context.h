/* Inside the cuda backend: what a host thread owns, how operations begin and end, and how numbers come back.
 *
 * Each host thread works on a stream of its own, found by its id; a thread that ends leaves its place to the next one that
 * gets its id, and everything is freed at close. Operations that give numbers leave them in a slice of the thread's staging
 * memory, which exists twice, on the device and pinned on the host, and note where they belong; `sync` brings all slices
 * over in one copy and delivers them in the order of the calls. So host results are valid after a `sync` by the thread that
 * issued them, and must stay in place until then. */
#ifndef VS_CUDA_CONTEXT_H
#define VS_CUDA_CONTEXT_H

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <pthread.h>

#include "vitscope/half_ops.h"

extern "C" {
#include "util/util.h"
}

struct vs_delivery {
    void (*deliver)(const vs_delivery *d, const char *staged); /* writes or adds to the destinations */
    size_t offset, count;                                      /* of the slice; elements, as `deliver` knows them */
    size_t bytes_to_second;                                    /* where a second array begins in the slice */
    size_t rows, cols;                                         /* of the operand */
    void *to, *second, *third;
};

/* A slice of the staging memory; device NULL when there was no memory, which `sync` will report. */
struct vs_slice {
    char *device, *host;
    size_t offset;
};

struct vs_product_plan; /* product.cu */

struct vs_cuda_thread {
    vs_cuda_thread *next;
    pthread_t id;
    bool synchronous; /* VS_CUDA_SYNC */
    bool tf32;        /* `linear` in TF32 */
    cudaStream_t stream;
    cublasHandle_t blas;
    void *workspace; /* of cuBLAS */
    size_t workspace_bytes;
    char *stage_device, *stage_host;
    size_t stage_size, stage_used;
    char *scratch; /* partial results of one operation */
    size_t scratch_size;
    vs_delivery *pending;
    size_t pending_count, pending_capacity;
    vs_product_plan *plans;
    const char *slot; /* the operation at work, for messages */
    vs_status failed; /* VS_OK, or what `sync` will report */
    char message[256];
};

/* Device memory that was given out. */
struct vs_cuda_piece {
    void *p;
    size_t bytes;
};

struct vs_cuda_context {
    vs_backend base;
    vs_backend_ops ops;
    vs_half_ops half;
    char isa[16], library[360];
    int device;
    bool synchronous, tf32;
    size_t workspace_bytes;
    pthread_mutex_t lock; /* of what is below */
    vs_cuda_thread *threads;
    vs_error failure; /* of a thread that could not be made */
    vs_cuda_piece *pieces;
    size_t piece_count, piece_capacity;
    vs_memory_use use; /* of the pieces */
};

/* thread.cu. The calling thread's own, made at first use; NULL when that failed (sync reports it). */
vs_cuda_thread *vs_cuda_begin(const vs_backend *self, const char *slot);
void vs_cuda_threads_free(vs_cuda_context *c);
/* Records what a launch or a call gave, if nothing was recorded yet. False: it failed. */
bool vs_cuda_check(vs_cuda_thread *t, cudaError_t code);
bool vs_cuda_check_blas(vs_cuda_thread *t, cublasStatus_t code);
/* After the launches of an operation. */
void vs_cuda_end(vs_cuda_thread *t);
/* Zeroed on the device. */
vs_slice vs_cuda_slice(vs_cuda_thread *t, size_t bytes);
/* Notes where a slice goes, or what begins `at` bytes into it. */
void vs_cuda_deliver(vs_cuda_thread *t, const vs_slice *slice, vs_delivery d);
void vs_cuda_deliver_at(vs_cuda_thread *t, const vs_slice *slice, size_t at, vs_delivery d);
/* Memory of one operation on the stream, valid until the next one asks; NULL: no memory, recorded. */
void *vs_cuda_scratch(vs_cuda_thread *t, size_t bytes);
/* Waits for the stream, delivers and reports. */
vs_status vs_cuda_sync(const vs_backend *self, vs_error *err);

/* product.cu */
void vs_cuda_linear(const vs_backend *self, vs_mat x, vs_mat w, const void *b, vs_mat y);
vs_status vs_cuda_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                            vs_error *err);
void vs_cuda_plans_free(vs_cuda_thread *t);
/* `count` products, operands `step` elements apart: y = x w^T, or x w with `w_rows_are_k`. */
struct vs_batched {
    vs_mat x, w, y; /* of the first */
    size_t x_step, w_step, y_step, count;
    bool w_rows_are_k;
};
void vs_cuda_products(vs_cuda_thread *t, const vs_batched *b);
/* Halves by cuBLASLt, sums and the bias in float32. False: it has no kernel for these. */
bool vs_cuda_half_product(vs_cuda_thread *t, vs_half_mat x, vs_half_mat w, const void *b, vs_half_mat y);

/* attention_fused.cu. False: not this way (too wide a head, too little shared memory). */
bool vs_cuda_attention_fused(vs_cuda_thread *t, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, float scale,
                             vs_mat out);

/* The slots of a file. */
void vs_cuda_fill_memory(vs_backend_ops *ops);
void vs_cuda_fill_attention(vs_backend_ops *ops);
void vs_cuda_fill_forward(vs_backend_ops *ops);
void vs_cuda_fill_half(vs_backend_ops *ops);
void vs_cuda_fill_quantize(vs_backend_ops *ops);
void vs_cuda_fill_statistics(vs_backend_ops *ops);
/* Real half arithmetic: real_half.cu, real_half_product.cu, real_half_attention.cu. */
void vs_cuda_fill_real_half(vs_half_ops *ops);
void vs_cuda_fill_real_products(vs_half_ops *ops);
void vs_cuda_fill_real_attention(vs_half_ops *ops);

#endif
