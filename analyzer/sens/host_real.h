/* Reals on the host, as a backend's download gave them. */
#ifndef VS_HOST_REAL_H
#define VS_HOST_REAL_H

#include "vitscope/backend.h"

static inline double vs_host_real(const void *p, vs_real real, size_t i) {
    return real == VS_REAL_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

#endif
