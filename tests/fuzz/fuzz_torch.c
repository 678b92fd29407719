/* Whole torch files, zip and legacy: the recognition and what joins archive, pickle and storages. */
#include "tensorfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    if (vs_tensorfile_from_memory(&f, bytes, size, "fuzz", &err) != VS_OK) return 0;
    for (size_t i = 0; i < vs_tensorfile_count(f); i++) {
        const vs_tensor_entry *t = vs_tensorfile_at(f, i);
        static float out[4096];
        err = (vs_error){ 0 };
        if (t->count <= 4096 && vs_tensor_to_f32(t, out, &err) != VS_OK) continue;
    }
    vs_tensorfile_close(f);
    return 0;
}
