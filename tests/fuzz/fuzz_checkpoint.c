/* A checkpoint file as a model: names, shapes and values of any kind. */
#include <unistd.h>

#include "util/util.h"
#include "vitscope/vit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char path[64];
    vs_error err = { 0 };
    snprintf(path, sizeof path, "/tmp/vitscope-fuzz-%ld.safetensors", (long)getpid());
    if (vs_write_file(path, bytes, size, &err) != VS_OK) return 0;
    for (int shapes = 0; shapes < 2; shapes++) {
        vs_model *m = NULL;
        const vs_model_options options = { .heads = 1, .check_values = true, .shapes_only = shapes == 1 };
        err = (vs_error){ 0 };
        if (vs_model_load(&m, path, &options, &err) == VS_OK) vs_model_free(m);
    }
    unlink(path);
    return 0;
}
