#include "image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "image_codec.h"
#include "util.h"

static const size_t max_file = (size_t)1 << 30;

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

static bool is_png(const uint8_t *b, size_t size) { return size >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0; }
static bool is_jpeg(const uint8_t *b, size_t size) { return size >= 3 && b[0] == 0xff && b[1] == 0xd8 && b[2] == 0xff; }

vs_status vs_image_decode(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err) {
    *image = (vs_image){ 0 };
    if (is_png(bytes, size)) return vs_png_decode(image, bytes, size, label, false, err);
    if (is_jpeg(bytes, size)) return vs_jpeg_decode(image, bytes, size, label, err);
    return vs_fail(err, VS_ERR_FORMAT, "%s: neither PNG nor JPEG", label);
}

vs_status vs_label_decode(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err) {
    *image = (vs_image){ 0 };
    if (is_png(bytes, size)) return vs_png_decode(image, bytes, size, label, true, err);
    return vs_fail(err, VS_ERR_FORMAT, "%s: a label map must be a PNG", label);
}

typedef vs_status (*decoder)(vs_image *image, const void *bytes, size_t size, const char *label, vs_error *err);

static vs_status read_with(decoder decode, vs_image *image, const char *path, vs_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    *image = (vs_image){ 0 };
    vs_status status = vs_read_file(path, max_file, &bytes, &size, err);
    if (status == VS_OK) status = decode(image, bytes, size, path, err);
    free(bytes);
    return status;
}

vs_status vs_image_read(vs_image *image, const char *path, vs_error *err) { return read_with(vs_image_decode, image, path, err); }

vs_status vs_label_read(vs_image *image, const char *path, vs_error *err) { return read_with(vs_label_decode, image, path, err); }

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
