/* The bytes of a file, or of memory. They are copied out (pread), never mapped: a file that is made shorter while it is read is
 * an error then and not a signal, and what was read of it stays what it was. Inside io only. */
#ifndef VS_SOURCE_H
#define VS_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "vitscope/status.h"

typedef struct vs_source {
    const char *label; /* borrowed: stands for the file in messages */
    size_t size;
    const uint8_t *memory; /* borrowed; NULL: the bytes are the descriptor's */
    int descriptor;
    struct timespec changed; /* the file's time when it was opened */
} vs_source;

/* VS_ERR_NOTFOUND, or VS_ERR_IO: no regular file (at once, whatever it is). The label is `path`, which outlives the source. */
VS_NODISCARD vs_status vs_source_open(vs_source *source, const char *path, vs_error *err);
vs_source vs_source_of_memory(const void *bytes, size_t size, const char *label);
void vs_source_close(vs_source *source); /* total: safe on a zeroed one */

/* Bytes [at, at + size), which lie within the source. VS_ERR_IO: the file was changed since it was opened. Any thread. */
VS_NODISCARD vs_status vs_source_read(const vs_source *source, size_t at, size_t size, void *out, vs_error *err);
/* The same in new memory with a NUL behind it; the caller frees it. */
VS_NODISCARD vs_status vs_source_load(const vs_source *source, size_t at, size_t size, uint8_t **out, vs_error *err);

#endif
