#include "io/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/image_codec.h"
#include "util/util.h"

static const size_t max_file = (size_t)1 << 28;

void vs_image_release(vs_image *image) {
    free(image->pixels);
    *image = (vs_image){ 0 };
}

vs_status vs_image_create(vs_image *image, size_t width, size_t height, size_t channels, vs_error *err) {
    *image = (vs_image){ 0 };
    size_t n = 0;
    uint8_t *pixels = vs_size_mul(&n, width, height) && vs_size_mul(&n, n, channels) ? vs_calloc(n, 1) : NULL;
    if (!pixels) return vs_fail(err, VS_ERR_NOMEM, "no memory for an image of %zux%zu", width, height);
    *image = (vs_image){ width, height, channels, pixels };
    return VS_OK;
}

vs_status vs_image_check_size(size_t width, size_t height, const char *label, vs_error *err) {
    if (width == 0 || height == 0) return vs_fail(err, VS_ERR_FORMAT, "%s: the image is empty", label);
    if (width > VS_IMAGE_MAX_SIDE || height > VS_IMAGE_MAX_SIDE || width * height > VS_IMAGE_MAX_PIXELS)
        return vs_fail(err, VS_ERR_FORMAT, "%s: an image of %zux%zu is larger than the limit of %d a side and %d pixels", label,
                       width, height, VS_IMAGE_MAX_SIDE, VS_IMAGE_MAX_PIXELS);
    return VS_OK;
}

vs_status vs_image_check_memory(const vs_image_header *h, size_t beside, const char *label, vs_error *err) {
    const size_t pixels = 3 * h->width * h->height;
    if (beside <= VS_IMAGE_MAX_MEMORY && pixels <= VS_IMAGE_MAX_MEMORY - beside) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: to decode this image of %zux%zu takes %zu MB, more than the limit of %d", label,
                   h->width, h->height, (pixels + beside) >> 20, VS_IMAGE_MAX_MEMORY >> 20);
}

void vs_image_warn(vs_image_info *info, const char *text) {
    if (!info->warning[0]) (void)vs_printable(text, info->warning, sizeof info->warning);
}

/* ---- upright */

/* Where pixel (x, y) of the upright image lies in the stored one. */
static size_t place_of(const vs_image *stored, unsigned orientation, size_t x, size_t y) {
    const size_t w = stored->width, h = stored->height;
    switch (orientation) {
    case 2: return y * w + (w - 1 - x);
    case 3: return (h - 1 - y) * w + (w - 1 - x);
    case 4: return (h - 1 - y) * w + x;
    case 5: return x * w + y;
    case 6: return (h - 1 - x) * w + y;
    case 7: return (h - 1 - x) * w + (w - 1 - y);
    case 8: return x * w + (w - 1 - y);
    default: return y * w + x;
    }
}

static vs_status turn(vs_image *image, unsigned orientation, vs_error *err) {
    const bool sideways = orientation >= 5;
    vs_image upright;
    if (orientation <= 1) return VS_OK;
    vs_status status = vs_image_create(&upright, sideways ? image->height : image->width, sideways ? image->width : image->height,
                                       image->channels, err);
    if (status != VS_OK) return status;
    for (size_t y = 0; y < upright.height; y++)
        for (size_t x = 0; x < upright.width; x++)
            memcpy(upright.pixels + (y * upright.width + x) * image->channels,
                   image->pixels + place_of(image, orientation, x, y) * image->channels, image->channels);
    vs_image_release(image);
    *image = upright;
    return VS_OK;
}

/* ---- reading */

static vs_status decode(vs_image *image, const vs_encoded *from, vs_error *err) {
    switch (from->header.format) {
    case VS_IMAGE_PNG: return vs_png_decode(image, from, false, err);
    case VS_IMAGE_JPEG: return vs_jpeg_decode(image, from, err);
    default: return vs_webp_decode(image, from, err);
    }
}

static vs_status decode_label(vs_image *image, const vs_encoded *from, vs_error *err) {
    if (from->header.format == VS_IMAGE_PNG) return vs_png_decode(image, from, true, err);
    return vs_fail(err, VS_ERR_FORMAT, "%s: a label map must be a PNG", from->label);
}

typedef vs_status (*decoder)(vs_image *image, const vs_encoded *from, vs_error *err);

/* The header first: what is refused by its size or its kind is not read. */
static vs_status read_with(decoder function, const vs_source *source, bool upright, vs_image *image, vs_image_info *info,
                           vs_error *err) {
    uint8_t *bytes = NULL;
    vs_image_info unused = { 0 };
    vs_encoded from = { .size = source->size, .label = source->label, .info = info ? info : &unused };
    *image = (vs_image){ 0 };
    vs_status status = vs_image_header_read(source, &from.header, err);
    *from.info = (vs_image_info){ .orientation = from.header.orientation };
    if (status == VS_OK && source->size > max_file)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: larger than %zu bytes", source->label, max_file);
    if (status == VS_OK) status = vs_source_load(source, 0, source->size, &bytes, err);
    from.bytes = bytes;
    if (status == VS_OK) status = function(image, &from, err);
    free(bytes);
    if (status == VS_OK && upright) status = turn(image, from.header.orientation, err);
    if (status != VS_OK) vs_image_release(image);
    return status;
}

static vs_status read_file(decoder function, const char *path, bool upright, vs_image *image, vs_image_info *info,
                           vs_error *err) {
    vs_source source;
    *image = (vs_image){ 0 };
    vs_status status = vs_source_open(&source, path, err);
    if (status != VS_OK) return status;
    status = read_with(function, &source, upright, image, info, err);
    vs_source_close(&source);
    return status;
}

vs_status vs_image_decode(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err) {
    const vs_source source = vs_source_of_memory(bytes, size, label);
    return read_with(decode, &source, false, image, NULL, err);
}

vs_status vs_label_decode(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err) {
    const vs_source source = vs_source_of_memory(bytes, size, label);
    return read_with(decode_label, &source, false, image, NULL, err);
}

vs_status vs_image_read_as(vs_image *image, const char *path, bool upright, vs_image_info *info, vs_error *err) {
    return read_file(decode, path, upright, image, info, err);
}

vs_status vs_image_read(vs_image *image, const char *path, vs_error *err) {
    return vs_image_read_as(image, path, false, NULL, err);
}

vs_status vs_label_read(vs_image *image, const char *path, vs_error *err) {
    return read_file(decode_label, path, false, image, NULL, err);
}

vs_status vs_image_read_size(const char *path, bool upright, size_t *width, size_t *height, vs_error *err) {
    vs_source source;
    vs_image_header h = { 0 };
    vs_status status = vs_source_open(&source, path, err);
    if (status == VS_OK) status = vs_image_header_read(&source, &h, err);
    const bool sideways = upright && h.orientation >= 5;
    *width = sideways ? h.height : h.width;
    *height = sideways ? h.width : h.height;
    vs_source_close(&source);
    return status;
}

vs_status vs_image_crop_center(const vs_image *in, size_t width, size_t height, vs_image *out, vs_error *err) {
    *out = (vs_image){ 0 };
    if (in->width < width || in->height < height)
        return vs_fail(err, VS_ERR_SHAPE, "an image of %zux%zu is smaller than the crop of %zux%zu", in->width, in->height, width,
                       height);
    vs_status status = vs_image_create(out, width, height, in->channels, err);
    if (status != VS_OK) return status;
    const size_t left = (size_t)rint((double)(in->width - width) / 2), top = (size_t)rint((double)(in->height - height) / 2);
    for (size_t y = 0; y < height; y++)
        memcpy(out->pixels + y * width * in->channels, in->pixels + ((top + y) * in->width + left) * in->channels,
               width * in->channels);
    return VS_OK;
}
