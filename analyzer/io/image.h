/* 8-bit images: PNG, JPEG and WebP in, PNG out, resampling as PIL and PyTorch do it. */
#ifndef VS_IMAGE_H
#define VS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

/* height x width x channels bytes, row-major, interleaved; channels 3 (RGB) or 1 (labels). Owns `pixels`. */
typedef struct vs_image {
    size_t width, height, channels;
    uint8_t *pixels;
} vs_image;

enum {
    VS_IMAGE_MAX_SIDE = 32768,
    VS_IMAGE_MAX_PIXELS = 1 << 26,
    VS_IMAGE_MAX_MEMORY = 1 << 28, /* bytes of the pixels and of what a decoder keeps beside them */
    VS_JPEG_MAX_WORK = 1 << 29     /* pixels of all scans of a progressive JPEG */
};

/* What a file says beside its pixels. */
typedef struct vs_image_info {
    unsigned orientation; /* of EXIF (JPEG, PNG, WebP), 1 to 8; 1: upright, or nothing is said */
    char warning[200];    /* the decoder's first; "": none. The pixels are what the decoder made of the file */
} vs_image_info;

void vs_image_release(vs_image *image); /* total: safe on a zeroed image */
VS_NODISCARD vs_status vs_image_create(vs_image *image, size_t width, size_t height, size_t channels, vs_error *err);

/* Reads PNG, JPEG or WebP (by content) as RGB: grey is replicated, alpha dropped, 16 bit reduced to 8, palette expanded.
 * upright: turned as its EXIF orientation asks; else as stored. `info` may be NULL. Errors name the file and what is wrong with
 * it; what is above the limits is refused before memory is taken, a JPEG whose end is missing too (VS_ERR_FORMAT). */
VS_NODISCARD vs_status vs_image_read_as(vs_image *image, const char *path, bool upright, vs_image_info *info, vs_error *err);
/* As stored, from a file or from memory. */
VS_NODISCARD vs_status vs_image_read(vs_image *image, const char *path, vs_error *err);
VS_NODISCARD vs_status vs_image_decode(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err);
/* Reads an 8-bit grey or palette PNG as class indices (palette indices are kept, as PIL mode "P" does). */
VS_NODISCARD vs_status vs_label_read(vs_image *image, const char *path, vs_error *err);
VS_NODISCARD vs_status vs_label_decode(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err);
/* 8-bit grey (1 channel) or RGB (3 channels) PNG, atomically. */
VS_NODISCARD vs_status vs_png_write(const char *path, const vs_image *image, vs_error *err);

typedef enum vs_filter { VS_FILTER_BILINEAR, VS_FILTER_BICUBIC } vs_filter;
/* Resize of uint8 RGB. antialias: PIL's Image.resize (fixed-point, 8 bit between passes, horizontal first),
 * which torchvision's antialiased uint8 path equals; not antialiased: torch interpolate(align_corners=False) on
 * float values, rounded to nearest even and clamped (bicubic a = -0.75; docs/vit-models.md 3.1). */
VS_NODISCARD vs_status vs_image_resize(const vs_image *in, size_t width, size_t height, vs_filter filter, bool antialias,
                                       vs_image *out, vs_error *err);
/* opencv's INTER_LINEAR on uint8, byte for byte: weights of 11 bits, no antialiasing (what mmcv's imresize calls). */
VS_NODISCARD vs_status vs_image_resize_cv(const vs_image *in, size_t width, size_t height, vs_image *out, vs_error *err);
/* mmcv's rescale_size: factor = min(long / longer side, short / shorter side), each side int(side * factor + 0.5). */
VS_NODISCARD vs_status vs_image_keep_ratio(size_t width, size_t height, size_t long_side, size_t short_side, size_t *out_width,
                                           size_t *out_height, vs_error *err);
/* torchvision's Resize(short_side): the long side is truncated. The image is not empty. */
void vs_image_short_side(size_t width, size_t height, size_t short_side, size_t *out_width, size_t *out_height);
/* Width and height that vs_image_read_as will give, from the header alone (the pixels may still be broken). */
VS_NODISCARD vs_status vs_image_read_size(const char *path, bool upright, size_t *width, size_t *height, vs_error *err);
/* Centred crop, offset = round-half-to-even((side - size) / 2) as torchvision CenterCrop; VS_ERR_SHAPE if the image is smaller.
 */
VS_NODISCARD vs_status vs_image_crop_center(const vs_image *in, size_t width, size_t height, vs_image *out, vs_error *err);

/* Antialiased/non-antialiased resampling of float64 planes [rows, cols, channels] for position grids
 * (docs/vit-models.md 3.1): torch interpolate(size=..., mode=bicubic|bilinear, align_corners=False, antialias). scale_y, scale_x:
 * source cells per output cell as the kernel sees them (0: in / out). */
VS_NODISCARD vs_status vs_resample_f64(const double *in, size_t rows, size_t cols, size_t channels, size_t out_rows,
                                       size_t out_cols, vs_filter filter, bool antialias, double scale_y, double scale_x,
                                       double *out, vs_error *err);

#endif
