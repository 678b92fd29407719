/* What the readers of the containers share and fill. Inside io only. */
#ifndef VS_CONTAINER_H
#define VS_CONTAINER_H

#include "io/source.h"
#include "io/tensorfile.h"

struct json_t;
struct vs_tensorfile {
    char *path;
    vs_source source;      /* of an index: its text, no tensor lies in it */
    struct json_t *header; /* of a safetensors file: holds names and metadata */
    vs_tensor_entry *entries;
    size_t count, capacity;
    const vs_tensor_entry **by_name; /* [count], sorted; made when all entries are there */
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

/* Each fills entries and metadata from f->source; f is closed by the caller whatever they return. */
VS_NODISCARD vs_status vs_safetensors_read(vs_tensorfile *f, vs_error *err);
VS_NODISCARD vs_status vs_torch_zip_read(vs_tensorfile *f, vs_error *err);
VS_NODISCARD vs_status vs_torch_legacy_read(vs_tensorfile *f, vs_error *err);
/* The same from an index of shards, which lie beside f->path. */
VS_NODISCARD vs_status vs_shards_read(vs_tensorfile *f, vs_error *err);
/* What else the file may be is said in `err`: never VS_OK. `head`: its first bytes. */
enum { VS_HEAD_BYTES = 4096 };
VS_NODISCARD vs_status vs_foreign_refuse(const vs_source *source, const uint8_t *head, size_t head_size, vs_error *err);
/* Is the file a part that looks like a whole? */
bool vs_foreign_part(const char *path);
/* Does the folder's model need an adapter that we do not apply? */
bool vs_foreign_adapter(const char *folder);
/* The same of a folder without weights under the names that are looked for. */
VS_NODISCARD vs_status vs_foreign_folder(const char *folder, vs_error *err);
/* One file that is no index, nor a folder. */
VS_NODISCARD vs_status vs_tensorfile_open_single(vs_tensorfile **out, const char *path, vs_error *err);

/* `block` (from malloc; NULL is a failed allocation) lives until f is closed; it is freed at once when this fails. */
VS_NODISCARD vs_status vs_tensorfile_own(vs_tensorfile *f, void *block, vs_error *err);
VS_NODISCARD vs_status vs_tensorfile_add(vs_tensorfile *f, const vs_tensor_entry *entry, vs_error *err);
/* Takes no copies. */
VS_NODISCARD vs_status vs_tensorfile_add_meta(vs_tensorfile *f, const char *key, const char *value, vs_error *err);

#endif
