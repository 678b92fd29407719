/* The pickle, and the tree of tensors it stands for, over a storage of 256 bytes under any key. */
#include <stdlib.h>

#include "fuzz/convert.h"
#include "io/torch_tree.h"
#include "util/util.h"

static const uint8_t storage[256];

static bool find(const void *context, const uint8_t *key, size_t key_size, size_t *at, size_t *size) {
    (void)context;
    *at = 0;
    *size = sizeof storage;
    return key_size == 0 || *key != 'n';
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_pickle p;
    vs_error err = { 0 };
    if (vs_pickle_read(&p, bytes, size, 0, "fuzz", &err) != VS_OK) return 0;
    vs_tensorfile *f = vs_calloc(1, sizeof *f);
    if (f) f->path = vs_strdup("fuzz");
    if (f) f->source = vs_source_of_memory(storage, sizeof storage, f->path);
    if (f && f->path && vs_torch_collect(f, &p, 0, find, NULL, &err) == VS_OK) convert_all(f);
    vs_tensorfile_close(f);
    vs_pickle_release(&p);
    return 0;
}
