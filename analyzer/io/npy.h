/* NumPy .npy version 1.0, little endian, C order (numpy/lib/format). */
#ifndef VS_NPY_H
#define VS_NPY_H

#include <stddef.h>
#include <stdio.h>

#include "vitscope/status.h"

typedef enum vs_npy_type { VS_NPY_F32, VS_NPY_F64 } vs_npy_type;

/* Writes the header of an array of the given shape to an open stream; the caller writes the elements after it. */
VS_NODISCARD vs_status vs_npy_write_header(FILE *stream, vs_npy_type type, size_t ndim, const size_t *shape, vs_error *err);
/* A whole array, atomically. */
VS_NODISCARD vs_status vs_npy_write(const char *path, vs_npy_type type, size_t ndim, const size_t *shape, const void *data,
                                    vs_error *err);

#endif
