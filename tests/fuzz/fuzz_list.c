#include <stdlib.h>
#include <unistd.h>

#include "images/filelist.h"
#include "util/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char path[64];
    vs_filelist list;
    vs_error err = { 0 };
    snprintf(path, sizeof path, "/tmp/vitscope-fuzz-%ld.txt", (long)getpid());
    if (vs_write_file(path, bytes, size, &err) != VS_OK) return 0;
    if (vs_filelist_make(&list, path, NULL, 0, &err) == VS_OK) vs_filelist_release(&list);
    unlink(path);
    return 0;
}
