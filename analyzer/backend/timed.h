/* A backend that forwards to another and notes how long each operation took. */
#ifndef VS_TIMED_H
#define VS_TIMED_H

#include "vitscope/backend.h"

/* What one operation took since the last reset. */
typedef struct vs_op_time {
    const char *name;
    double seconds, flops; /* flops: of matrix products, 0 for the others */
    uint64_t calls;
} vs_op_time;

/* `inner` is borrowed and does the work; memory of either belongs to both. Unlike other backends this one is for one thread. An
 * operation is taken to be done when it returns (or, where `inner` issues work, at sync, which then has the waiting time). */
VS_NODISCARD vs_status vs_timed_open(vs_backend **out, const vs_backend *inner, vs_error *err);
/* One entry an operation, in the order of vs_backend_ops. */
const vs_op_time *vs_timed_read(const vs_backend *timed, size_t *count);
void vs_timed_reset(const vs_backend *timed);

#endif
