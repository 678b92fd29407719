#include <string.h>

#include "io/container.h"

static const vs_dtype_info dtypes[] = {
    { "F32", VS_DTYPE_F32, 32 },
    { "F16", VS_DTYPE_F16, 16 },
    { "BF16", VS_DTYPE_BF16, 16 },
    { "F64", VS_DTYPE_F64, 64 },
    { "I64", VS_DTYPE_I64, 64 },
    { "U64", VS_DTYPE_OTHER, 64 },
    { "I32", VS_DTYPE_I32, 32 },
    { "U32", VS_DTYPE_OTHER, 32 },
    { "I16", VS_DTYPE_I16, 16 },
    { "U16", VS_DTYPE_OTHER, 16 },
    { "I8", VS_DTYPE_I8, 8 },
    { "U8", VS_DTYPE_U8, 8 },
    { "BOOL", VS_DTYPE_BOOL, 8 },
    { "F8_E5M2", VS_DTYPE_OTHER, 8 },
    { "F8_E4M3", VS_DTYPE_OTHER, 8 },
    { "F8_E8M0", VS_DTYPE_OTHER, 8 },
    { "F8_E4M3FNUZ", VS_DTYPE_OTHER, 8 },
    { "F8_E5M2FNUZ", VS_DTYPE_OTHER, 8 },
    { "C64", VS_DTYPE_OTHER, 64 },
    { "C128", VS_DTYPE_OTHER, 128 },
    { "F4", VS_DTYPE_OTHER, 4 },
    { "F6_E2M3", VS_DTYPE_OTHER, 6 },
    { "F6_E3M2", VS_DTYPE_OTHER, 6 },
};

const vs_dtype_info *vs_dtype_find(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(name, dtypes[i].name) == 0) return &dtypes[i];
    return NULL;
}
