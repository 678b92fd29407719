#include "backend/host_memory.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum { ALIGNMENT = 64 };

void *vs_host_alloc(const vs_backend *self, size_t count) {
    size_t bytes = 0;
    void *p = NULL;
    if (!vs_size_mul(&bytes, count ? count : 1, (size_t)self->scalar)) return NULL;
    return posix_memalign(&p, ALIGNMENT, bytes) == 0 ? p : NULL;
}

void vs_host_free(const vs_backend *self, void *p) {
    (void)self;
    free(p);
}

vs_memory_use vs_host_memory_use(const vs_backend *self) {
    (void)self;
    return (vs_memory_use){ 0, 0 };
}

void vs_host_copy(const vs_backend *self, vs_mat src, vs_mat dst) {
    const size_t scalar = (size_t)self->scalar;
    for (size_t r = 0; r < src.rows; r++)
        memcpy((char *)dst.p + r * dst.ld * scalar, (const char *)src.p + r * src.ld * scalar, src.cols * scalar);
}

vs_status vs_host_download(const vs_backend *self, void *dst, vs_mat src, vs_error *err) {
    (void)err;
    vs_host_copy(self, src, (vs_mat){ dst, src.rows, src.cols, src.cols });
    return VS_OK;
}

/* Nothing is ever under way. */
vs_status vs_host_sync(const vs_backend *self, vs_error *err) {
    (void)self;
    (void)err;
    return VS_OK;
}
