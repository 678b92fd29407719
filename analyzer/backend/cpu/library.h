/* The matrix library (oneDNN) behind a wall: each call runs on one thread, and every way in which it can fail, an exception
 * thrown through C or code written to memory that it did not get included, comes out as a status.
 * VS_ERR_NOMEM: it had no memory; VS_ERR_INTERNAL: anything else. */
#ifndef VS_LIBRARY_H
#define VS_LIBRARY_H

#include "vitscope/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes the library generate all of its code, once a process and before any other call here: later products take no memory
 * but scratch, whose lack it reports. What the first call gave, every further one gives. */
VS_NODISCARD vs_status vs_library_begin(void);

/* Its version and the instructions it chose: both decide last bits. */
void vs_library_name(char *text, size_t size);

/* y [M,N] = x [M,K] w^T, or x w with `w_rows_are_k`; float32. */
VS_NODISCARD vs_status vs_library_product(vs_mat x, vs_mat w, bool w_rows_are_k, vs_mat y);
/* acc[m,n] = sum_k x[m,k] * w[n,k], packed. Saturates on processors without VNNI. */
VS_NODISCARD vs_status vs_library_product_i8(const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc);

#ifdef __cplusplus
}
#endif
#endif
