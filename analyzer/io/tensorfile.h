/* A checkpoint container as a set of named tensors (docs/vit-models.md 7). Every container is recognised by its bytes, never
 * by its name. Opening reads headers only; a tensor's bytes are read when they are asked for, by copying: a file that is cut or
 * rewritten meanwhile is an error. Names and shapes are borrowed from the container.
 *
 * safetensors     as strict as its reference reader (7.1): header length and JSON, no duplicate names, offsets contiguous, in
 *                 range, sizes equal to shape * dtype, the whole buffer covered.
 * index           model.safetensors.index.json or pytorch_model.bin.index.json: "weight_map" and shards beside it.
 * folder          of Hugging Face: config.json beside model.safetensors, its index, pytorch_model.bin or its index (first found).
 * torch zip       .pth, .pt, .bin of torch >= 1.6 (7.2): stored entries, ZIP64 or not; checksums are not verified.
 * torch legacy    the stream of pickles of older torch.
 * Nested dicts and lists of a torch file become names joined by '.', in file order; strings and numbers among its first three
 * levels become metadata. Views of one storage share its bytes; a tensor that is not row-major is copied. Pickles are interpreted
 * by a bounded machine that calls nothing (pickle.h). Two tensors of one name are an error. TorchScript, tar, compressed files
 * and entries, big-endian files, ONNX, GGUF, engines and other known kinds: VS_ERR_UNSUPPORTED, with what to do. */
#ifndef VS_TENSORFILE_H
#define VS_TENSORFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

typedef enum vs_dtype {
    VS_DTYPE_F32,
    VS_DTYPE_F16,
    VS_DTYPE_BF16,
    VS_DTYPE_F64,
    VS_DTYPE_I64,
    VS_DTYPE_I32,
    VS_DTYPE_I16,
    VS_DTYPE_I8,
    VS_DTYPE_U8,
    VS_DTYPE_BOOL,
    VS_DTYPE_OTHER
} vs_dtype;
enum { VS_MAX_DIMS = 8 };

typedef struct vs_tensor_entry {
    const char *name;
    vs_dtype dtype;
    const char *dtype_name;                 /* as safetensors spells it: "F32" */
    size_t ndim, shape[VS_MAX_DIMS], count; /* count = product of the shape */
    const struct vs_source *source;         /* its bytes are there, from `at` on: little endian, row-major */
    size_t at, size;
} vs_tensor_entry;

typedef struct vs_meta_entry {
    const char *key, *value;
} vs_meta_entry;
typedef struct vs_tensorfile vs_tensorfile;

/* A file of any kind above, or a folder. VS_ERR_NOTFOUND, VS_ERR_IO, VS_ERR_FORMAT or VS_ERR_UNSUPPORTED; messages name the file,
 * the tensor and the offset. */
VS_NODISCARD vs_status vs_tensorfile_open(vs_tensorfile **out, const char *path, vs_error *err);
/* The same from memory that outlives the result (fuzzing, tests); `label` stands for the path in messages. An index has no shards
 * there: VS_ERR_UNSUPPORTED. */
VS_NODISCARD vs_status vs_tensorfile_from_memory(vs_tensorfile **out, const void *bytes, size_t size, const char *label,
                                                 vs_error *err);
void vs_tensorfile_close(vs_tensorfile *file);

/* Of a folder: the file that was found in it. */
const char *vs_tensorfile_path(const vs_tensorfile *file);
/* The files that an index names, in its order; borrowed. 0: one file holds all. */
size_t vs_tensorfile_shard_count(const vs_tensorfile *file);
const char *vs_tensorfile_shard_path(const vs_tensorfile *file, size_t index);
/* The text of config.json: of the folder that was opened, or of one with a "model_type" beside the file. Borrowed; NULL if none.
 */
const char *vs_tensorfile_config(const vs_tensorfile *file);
size_t vs_tensorfile_count(const vs_tensorfile *file);
const vs_tensor_entry *vs_tensorfile_at(const vs_tensorfile *file, size_t index);       /* file order */
const vs_tensor_entry *vs_tensorfile_find(const vs_tensorfile *file, const char *name); /* NULL if absent; O(log count) */
size_t vs_tensorfile_index(const vs_tensorfile *file, const vs_tensor_entry *entry);    /* its place in file order */
size_t vs_tensorfile_meta_count(const vs_tensorfile *file);
const vs_meta_entry *vs_tensorfile_meta_at(const vs_tensorfile *file, size_t index);
/* SHA-256 of the whole file as 64 hex digits + NUL. Of an index: of its shards one after the other, in the order in which its
 * weight_map names them first; neither index nor config.json counts. */
VS_NODISCARD vs_status vs_tensorfile_sha256(const vs_tensorfile *file, char hex[65], vs_error *err);

/* Bytes [from, from + size) of a tensor, which has them. VS_ERR_IO: the file cannot be read, or changed since it was opened. */
VS_NODISCARD vs_status vs_tensor_read(const vs_tensor_entry *entry, size_t from, size_t size, void *out, vs_error *err);
/* Exact conversion to float32 (F64: rounded) of entry->count values. VS_ERR_UNSUPPORTED for other dtypes, naming file and tensor.
 */
VS_NODISCARD vs_status vs_tensor_to_f32(const vs_tensor_entry *entry, float *out, vs_error *err);
float vs_f16_to_f32(uint16_t half);
float vs_bf16_to_f32(uint16_t bits);

#endif
