/* Counters of backends whose memory is the host's. */
#ifndef VS_HOST_COUNTS_H
#define VS_HOST_COUNTS_H

#include "vitscope/backend.h"

void *vs_host_alloc_counts(const vs_backend *self, size_t count);
vs_status vs_host_read_counts(const vs_backend *self, const void *counts, size_t count, uint64_t *host, vs_error *err);
void vs_host_zero_counts(const vs_backend *self, void *counts, size_t count);
/* counts[i] += bins[i]; several threads may add at once. */
void vs_host_add_counts(void *counts, const uint32_t *bins, size_t count);

#endif
