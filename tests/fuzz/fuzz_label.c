#include "io/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_image image = { 0 };
    vs_error err = { 0 };
    if (vs_label_decode(&image, bytes, size, "fuzz", &err) == VS_OK) vs_image_release(&image);
    return 0;
}
