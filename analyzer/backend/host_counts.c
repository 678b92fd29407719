#include "backend/host_counts.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "util/util.h"

typedef _Atomic(uint64_t) counter;

void *vs_host_alloc_counts(const vs_backend *self, size_t count) {
    (void)self;
    counter *counts = vs_calloc(count ? count : 1, sizeof *counts);
    for (size_t i = 0; counts && i < count; i++) atomic_init(&counts[i], 0);
    return counts;
}

vs_status vs_host_read_counts(const vs_backend *self, const void *counts, size_t count, uint64_t *host, vs_error *err) {
    (void)self;
    (void)err;
    const counter *from = counts;
    for (size_t i = 0; i < count; i++) host[i] += atomic_load_explicit(&from[i], memory_order_relaxed);
    return VS_OK;
}

void vs_host_zero_counts(const vs_backend *self, void *counts, size_t count) {
    (void)self;
    counter *to = counts;
    for (size_t i = 0; i < count; i++) atomic_store_explicit(&to[i], 0, memory_order_relaxed);
}

void vs_host_add_counts(void *counts, const uint32_t *bins, size_t count) {
    counter *to = counts;
    for (size_t i = 0; i < count; i++)
        if (bins[i]) atomic_fetch_add_explicit(&to[i], bins[i], memory_order_relaxed);
}
