#include <stdlib.h>

#include "io/exif.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const unsigned orientation = vs_exif_orientation(bytes, size);
    if (orientation < 1 || orientation > 8) abort();
    return 0;
}
