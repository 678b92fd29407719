/* PNG, JPEG and WebP, whole and their headers alone. */
#include <stdlib.h>

#include "io/image.h"
#include "io/image_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_image image = { 0 };
    vs_error err = { 0 };
    if (vs_image_decode(&image, bytes, size, "fuzz", &err) == VS_OK) vs_image_release(&image);
    const vs_source source = vs_source_of_memory(bytes, size, "fuzz");
    vs_image_header header;
    err = (vs_error){ 0 };
    if (vs_image_header_read(&source, &header, &err) == VS_OK && (header.orientation < 1 || header.orientation > 8)) abort();
    return 0;
}
