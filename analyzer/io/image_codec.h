/* The codecs behind image.h. Inside io only. */
#ifndef VS_IMAGE_CODEC_H
#define VS_IMAGE_CODEC_H

#include "io/image.h"
#include "io/source.h"

typedef enum vs_image_format { VS_IMAGE_PNG, VS_IMAGE_JPEG, VS_IMAGE_WEBP } vs_image_format;

typedef struct vs_image_header {
    vs_image_format format;
    size_t width, height;    /* as stored, within the limits of image.h */
    unsigned orientation;    /* of EXIF, 1 to 8; 1: upright, or nothing is said */
    bool lossless, animated; /* WebP */
} vs_image_header;

/* By content, without the pixels, which may still be broken. VS_ERR_FORMAT: another kind of file, or a size that is refused. */
VS_NODISCARD vs_status vs_image_header_read(const vs_source *source, vs_image_header *header, vs_error *err);

/* What a codec is given. `info` (never NULL) gets the first warning. */
typedef struct vs_encoded {
    const uint8_t *bytes;
    size_t size;
    const char *label;
    vs_image_header header;
    vs_image_info *info;
} vs_encoded;

/* PNG as RGB, or (indices) as grey or palette indices. */
VS_NODISCARD vs_status vs_png_decode(vs_image *image, const vs_encoded *from, bool indices, vs_error *err);
VS_NODISCARD vs_status vs_jpeg_decode(vs_image *image, const vs_encoded *from, vs_error *err);
VS_NODISCARD vs_status vs_webp_decode(vs_image *image, const vs_encoded *from, vs_error *err);
/* Keeps the first. */
void vs_image_warn(vs_image_info *info, const char *text);
/* VS_ERR_FORMAT if the size is zero or above the limits of image.h. */
VS_NODISCARD vs_status vs_image_check_size(size_t width, size_t height, const char *label, vs_error *err);
/* VS_ERR_FORMAT if pixels and what a decoder keeps beside them take more than VS_IMAGE_MAX_MEMORY. */
VS_NODISCARD vs_status vs_image_check_memory(const vs_image_header *header, size_t beside, const char *label, vs_error *err);

#endif
