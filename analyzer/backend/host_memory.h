/* Memory slots of backends whose reals live in host memory, for either scalar type. */
#ifndef VS_HOST_MEMORY_H
#define VS_HOST_MEMORY_H

#include "vitscope/backend.h"

void *vs_host_alloc(const vs_backend *self, size_t count);
void vs_host_free(const vs_backend *self, void *p);
vs_memory_use vs_host_memory_use(const vs_backend *self);
vs_status vs_host_download(const vs_backend *self, void *dst, vs_mat src, vs_error *err);
void vs_host_copy(const vs_backend *self, vs_mat src, vs_mat dst);
vs_status vs_host_sync(const vs_backend *self, vs_error *err);

#endif
