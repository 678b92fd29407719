/* Reals on the host, as a backend's download gave them. */
#ifndef VS_HOST_SCALAR_H
#define VS_HOST_SCALAR_H

#include "vitscope/backend.h"

static inline double vs_host_scalar(const void *p, vs_scalar scalar, size_t i) {
    return scalar == VS_SCALAR_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

#endif
