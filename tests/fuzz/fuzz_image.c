#include <stdio.h>

#include "image.h"
#include "image_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vs_image image = { 0 };
    vs_error err = { 0 };
    if (vs_image_decode(&image, bytes, size, "fuzz", &err) == VS_OK) vs_image_release(&image);
    FILE *file = size ? tmpfile() : NULL;
    size_t width = 0, height = 0;
    err = (vs_error){ 0 };
    if (file && fwrite(bytes, 1, size, file) == size) {
        rewind(file);
        if (vs_image_size_of(file, "fuzz", &width, &height, &err) != VS_OK) width = 0;
    }
    if (file) (void)fclose(file);
    return 0;
}
