#include "fuzz/convert.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    if (vs_tensorfile_from_memory(&f, bytes, size, "fuzz", &err) != VS_OK) return 0;
    convert_all(f);
    vs_tensorfile_close(f);
    return 0;
}
