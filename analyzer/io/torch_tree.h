/* What a pickle of torch.save means: tensors, storages and the dicts they stand in. */
#ifndef VS_TORCH_TREE_H
#define VS_TORCH_TREE_H

#include "io/container.h"
#include "io/pickle.h"

/* Limits of the tree, against dicts that hold each other a thousand times over. */
enum {
    VS_TREE_MAX_DEPTH = 256,
    VS_TREE_MAX_VISITS = 1 << 22, /* values looked at */
    VS_TREE_MAX_TENSORS = 1 << 17,
    VS_TREE_MAX_NAME = 4096,     /* bytes of a tensor's name */
    VS_TREE_MAX_TEXTS = 1 << 26, /* bytes of all names and metadata */
    VS_TREE_META_DEPTH = 3,      /* strings and numbers that deep are metadata */
    VS_TREE_MAX_META = 4096,
    VS_TREE_MAX_TEXT = 65536, /* longer strings are no metadata */
    VS_TREE_SPARE = 1 << 26   /* bytes that copies of strided tensors may take beyond the size of the file */
};

/* The persistent id ("storage", type, key, location, numel[, (view key, offset, size)]). */
typedef struct vs_torch_storage {
    const vs_pickle_object *key;
    const vs_dtype_info *dtype; /* NULL: untyped, counted in bytes */
    size_t numel;
    bool view; /* of `view_size` elements from `view_offset` on; legacy files only */
    size_t view_offset, view_size;
} vs_torch_storage;
/* False when `object` is no such id. */
bool vs_torch_read_storage(const vs_pickle *pickle, uint32_t object, vs_torch_storage *storage);

/* Where the bytes of the storage called `key` (size bytes, no NUL) lie in the file. False: there is none. */
typedef bool vs_torch_find(const void *context, const uint8_t *key, size_t key_size, size_t *at, size_t *size);

/* Adds the pickle's tensors and metadata to f; `base` is the pickle's offset in the file, for messages. Objects of unknown
 * classes are passed over, unless a tensor of the tree needs one: then the error names class, tensor and byte. */
VS_NODISCARD vs_status vs_torch_collect(vs_tensorfile *f, const vs_pickle *pickle, size_t base, vs_torch_find *find,
                                        const void *context, vs_error *err);

/* The readable description of one tensor: where its elements lie in its storage. Inside io/torch_*.c. */
typedef struct vs_torch_tensor {
    const vs_dtype_info *dtype;
    size_t at;                                                   /* of element 0, in the file */
    size_t ndim, shape[VS_MAX_DIMS], stride[VS_MAX_DIMS], count; /* strides in elements */
} vs_torch_tensor;
typedef struct vs_torch_source {
    const vs_pickle *pickle;
    size_t base;
    const char *label, *name; /* of the file and of the tensor */
    vs_torch_find *find;
    const void *context;
} vs_torch_source;
/* Is `object` something that makes a tensor, known to us or not? */
bool vs_torch_is_tensor(const vs_pickle *pickle, uint32_t object);
VS_NODISCARD vs_status vs_torch_read_tensor(const vs_torch_source *source, uint32_t object, vs_torch_tensor *tensor,
                                            vs_error *err);
bool vs_torch_is_contiguous(const vs_torch_tensor *tensor);
/* count elements of the file to `out`, row-major. */
VS_NODISCARD vs_status vs_torch_copy(const vs_torch_tensor *tensor, const vs_source *file, uint8_t *out, vs_error *err);

#endif
