/* What the readers of the containers share and fill. Inside io only. */
#ifndef VS_CONTAINER_H
#define VS_CONTAINER_H

#include "tensorfile.h"

struct json_t;
struct vs_tensorfile {
    char *path;
    const uint8_t *bytes; /* of the file; NULL when the tensors lie in shards */
    size_t size;
    void *map;             /* NULL when the bytes are the caller's */
    struct json_t *header; /* of a safetensors file: holds names and metadata */
    vs_tensor_entry *entries;
    size_t count, capacity;
    vs_meta_entry *meta;
    size_t meta_count, meta_capacity;
    char *config;
    vs_tensorfile **shards; /* in the order in which the index names them first */
    size_t shard_count;
    void **owned; /* names, texts and copies of strided tensors */
    size_t owned_count, owned_capacity;
};

typedef struct vs_dtype_info {
    const char *name; /* safetensors' spelling, which is ours for every container */
    vs_dtype dtype;
    size_t bits;
} vs_dtype_info;
const vs_dtype_info *vs_dtype_find(const char *name); /* NULL if unknown */

/* Each fills entries and metadata from f->bytes; f is closed by the caller whatever they return. */
VS_NODISCARD vs_status vs_safetensors_read(vs_tensorfile *f, vs_error *err);
VS_NODISCARD vs_status vs_torch_zip_read(vs_tensorfile *f, vs_error *err);
VS_NODISCARD vs_status vs_torch_legacy_read(vs_tensorfile *f, vs_error *err);
/* The same from an index of shards, which lie beside f->path. */
VS_NODISCARD vs_status vs_shards_read(vs_tensorfile *f, vs_error *err);
/* One file that is no index, nor a folder. */
VS_NODISCARD vs_status vs_tensorfile_open_single(vs_tensorfile **out, const char *path, vs_error *err);

/* `block` (from malloc; NULL is a failed allocation) lives until f is closed; it is freed at once when this fails. */
VS_NODISCARD vs_status vs_tensorfile_own(vs_tensorfile *f, void *block, vs_error *err);
VS_NODISCARD vs_status vs_tensorfile_add(vs_tensorfile *f, const vs_tensor_entry *entry, vs_error *err);
/* Takes no copies. */
VS_NODISCARD vs_status vs_tensorfile_add_meta(vs_tensorfile *f, const char *key, const char *value, vs_error *err);

/* The file as read-only memory; an empty file is an error. Unmap with vs_file_unmap. */
VS_NODISCARD vs_status vs_file_map(const char *path, void **map, size_t *size, vs_error *err);
void vs_file_unmap(void *map, size_t size);
/* Lets the whole pages within [bytes, bytes + size) of a map go; they are read again when touched. */
void vs_file_forget(const uint8_t *bytes, size_t size);

#endif
