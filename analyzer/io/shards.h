/* The index of a sharded checkpoint: {"metadata": ..., "weight_map": {tensor: file}}. */
#ifndef VS_SHARDS_H
#define VS_SHARDS_H

#include <stddef.h>

#include "vitscope/status.h"

enum {
    VS_MAX_SHARDS = 512, /* all are open at once */
    VS_MAX_INDEX = 1 << 26
};

struct json_t;
typedef struct vs_shard {
    const char *file; /* its name beside the index: no folders */
    size_t tensors;   /* that the map gives it */
} vs_shard;
typedef struct vs_shard_index {
    struct json_t *root;
    vs_shard *shards; /* in the order in which the map names them first */
    size_t count;
} vs_shard_index;

VS_NODISCARD vs_status vs_shard_index_read(vs_shard_index *index, const char *text, size_t size, const char *label,
                                           vs_error *err);
void vs_shard_index_release(vs_shard_index *index);
/* The file that the map gives a tensor; NULL if the map has none of that name. */
const char *vs_shard_index_file(const vs_shard_index *index, const char *tensor);

#endif
