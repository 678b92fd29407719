/* A checkpoint container as a set of named tensors (vit-models.md section 7). safetensors now; other containers
 * (sharded, .pth) will fill the same structure. Names, shapes and bytes are borrowed from the container. */
#ifndef VS_TENSORFILE_H
#define VS_TENSORFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

typedef enum vs_dtype { VS_DTYPE_F32, VS_DTYPE_F16, VS_DTYPE_BF16, VS_DTYPE_F64, VS_DTYPE_I64, VS_DTYPE_OTHER } vs_dtype;
enum { VS_MAX_DIMS = 8 };

typedef struct vs_tensor_entry {
    const char *name;
    vs_dtype dtype;
    const char *dtype_name;                 /* as the file spells it */
    size_t ndim, shape[VS_MAX_DIMS], count; /* count = product of the shape */
    const uint8_t *bytes;                   /* little endian, row-major, unaligned */
    size_t size;
} vs_tensor_entry;

typedef struct vs_meta_entry {
    const char *key, *value;
} vs_meta_entry;
typedef struct vs_tensorfile vs_tensorfile;

/* Maps and checks a safetensors file: every rule of vit-models.md 7.1 (header length and JSON, no duplicate
 * names, offsets contiguous, in range, sizes equal to shape * dtype, the whole buffer covered).
 * VS_ERR_NOTFOUND, VS_ERR_IO or VS_ERR_FORMAT; messages name the file, the tensor and the offset. */
VS_NODISCARD vs_status vs_tensorfile_open(vs_tensorfile **out, const char *path, vs_error *err);
/* The same from memory that outlives the result (fuzzing, tests); `label` stands for the path in messages. */
VS_NODISCARD vs_status vs_tensorfile_from_memory(vs_tensorfile **out, const void *bytes, size_t size, const char *label,
                                                 vs_error *err);
void vs_tensorfile_close(vs_tensorfile *file);

const char *vs_tensorfile_path(const vs_tensorfile *file);
size_t vs_tensorfile_count(const vs_tensorfile *file);
const vs_tensor_entry *vs_tensorfile_at(const vs_tensorfile *file, size_t index);       /* file order */
const vs_tensor_entry *vs_tensorfile_find(const vs_tensorfile *file, const char *name); /* NULL if absent */
size_t vs_tensorfile_meta_count(const vs_tensorfile *file);
const vs_meta_entry *vs_tensorfile_meta_at(const vs_tensorfile *file, size_t index);
/* SHA-256 of the whole file as 64 hex digits + NUL. */
VS_NODISCARD vs_status vs_tensorfile_sha256(const vs_tensorfile *file, char hex[65], vs_error *err);

/* Exact conversion to float32 (F64: rounded) of entry->count values. VS_ERR_UNSUPPORTED for other dtypes. */
VS_NODISCARD vs_status vs_tensor_to_f32(const vs_tensor_entry *entry, float *out, vs_error *err);
float vs_f16_to_f32(uint16_t half);
float vs_bf16_to_f32(uint16_t bits);

#endif
