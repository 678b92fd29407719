/* Inside the cpu backend: its context and its operations, by file. */
#ifndef VS_CPU_H
#define VS_CPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "backend/cpu/kernels.h"

typedef struct vs_cpu_context {
    const vs_kernels *kernels;
    char library[96];     /* vs_library_name's */
    bool exact_i8;        /* the library's u8 x s8 product does not saturate on this processor */
    pthread_mutex_t lock; /* of `failure` */
    vs_error failure;     /* the first of a product, of any thread; it stays */
    atomic_bool failed;
} vs_cpu_context;

static inline const vs_kernels *vs_cpu_kernels(const vs_backend *self) {
    return ((const vs_cpu_context *)self->context)->kernels;
}
static inline float *vs_cpu_row(vs_mat m, size_t r) { return (float *)m.p + r * m.ld; }

/* product.c: y [M,N] = x [M,K] w^T, or x w with `w_rows_are_k`; one library thread. `slot` names it should it fail. */
void vs_cpu_product(const vs_backend *self, const char *slot, vs_mat x, vs_mat w, bool w_rows_are_k, vs_mat y);
/* The first product that failed. */
VS_NODISCARD vs_status vs_cpu_report(const vs_backend *self, vs_error *err);
vs_status vs_cpu_reserve(const vs_backend *self, vs_mat x, vs_mat w, vs_mat y, vs_error *err);
VS_NODISCARD vs_status vs_cpu_probe_i8(bool *exact);
vs_status vs_cpu_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err);

/* operations.c: every slot but memory. */
void vs_cpu_fill_operations(vs_backend_ops *ops);

/* half.c */
void vs_cpu_elementwise(const vs_backend *self, vs_element op, vs_mat x, vs_mat u, vs_mat y);
void vs_cpu_row_mean(const vs_backend *self, vs_mat x, vs_mat y);
void vs_cpu_row_sum(const vs_backend *self, vs_mat x, vs_mat y);
void vs_cpu_row_max(const vs_backend *self, vs_mat x, vs_mat y);
void vs_cpu_exp_rows(const vs_backend *self, vs_mat x, double scale, vs_mat y, vs_mat sums);
void vs_cpu_round_half(const vs_backend *self, vs_mat x, vs_half_format format, vs_mat y, size_t images,
                       vs_half_counts *const *counts);

#endif
