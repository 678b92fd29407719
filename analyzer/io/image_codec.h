/* The two codecs behind image.h. */
#ifndef VS_IMAGE_CODEC_H
#define VS_IMAGE_CODEC_H

#include <stdio.h>

#include "image.h"

/* PNG as RGB, or (labels) as grey or palette indices. */
VS_NODISCARD vs_status vs_png_decode(vs_image *image, const uint8_t *bytes, size_t size, const char *label, bool indices,
                                     vs_error *err);
VS_NODISCARD vs_status vs_jpeg_decode(vs_image *image, const uint8_t *bytes, size_t size, const char *label, vs_error *err);
/* VS_ERR_FORMAT if the size is zero or above the limits of image.h. */
VS_NODISCARD vs_status vs_image_check_size(size_t width, size_t height, const char *label, vs_error *err);

/* vs_image_read_size from an open stream. */
VS_NODISCARD vs_status vs_image_size_of(FILE *file, const char *label, size_t *width, size_t *height, vs_error *err);

#endif
