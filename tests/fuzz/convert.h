/* What fuzz targets do with a file that opened. */
#ifndef VS_FUZZ_CONVERT_H
#define VS_FUZZ_CONVERT_H

#include "io/tensorfile.h"

static inline void convert_all(const vs_tensorfile *f) {
    for (size_t i = 0; i < vs_tensorfile_count(f); i++) {
        const vs_tensor_entry *t = vs_tensorfile_at(f, i);
        static float out[4096];
        vs_error err = { 0 };
        if (t->count <= 4096 && vs_tensor_to_f32(t, out, &err) != VS_OK) continue;
    }
}

#endif
