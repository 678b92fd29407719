#include "io/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_zip zip;
    vs_error err = { 0 };
    const vs_source source = vs_source_of_memory(bytes, size, "fuzz");
    if (vs_zip_read(&zip, &source, &err) != VS_OK) return 0;
    volatile unsigned sum = 0; /* so that the reads stay */
    for (size_t i = 0; i < zip.count; i++) {
        const vs_zip_entry *e = vs_zip_find(&zip, zip.entries[i].name);
        for (size_t k = 0; e && k < e->size; k++) sum += bytes[e->at + k]; /* every byte it promises is there */
    }
    if (vs_zip_check_stored(&zip, "fuzz", &err) != VS_OK) sum++;
    vs_zip_release(&zip);
    return 0;
}
