#include "images/window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* Windows along one side. */
static size_t steps(size_t side, size_t crop, size_t stride) { return side > crop ? (side - crop + stride - 1) / stride + 1 : 1; }

static size_t origin(size_t side, size_t crop, size_t stride, size_t step) {
    if (side <= crop) return 0;
    return step * stride + crop < side ? step * stride : side - crop;
}

/* lightly-train: the overlap is spread evenly, places are truncated to whole pixels. */
static size_t tiles_of(vs_image_size size, size_t image, vs_window *out, size_t room) {
    const bool tall = size.scaled_height > size.scaled_width;
    const size_t side = tall ? size.scaled_width : size.scaled_height, length = tall ? size.scaled_height : size.scaled_width;
    const size_t count = (length + side - 1) / side, overlap = count * side - length;
    const double shared = overlap ? (double)overlap / (double)(count - 1) : 0;
    for (size_t i = 0; out && i < count && i < room; i++) {
        const size_t start = (size_t)((double)i * ((double)side - shared));
        out[i] = (vs_window){ .image = image,
                              .x = tall ? 0 : start,
                              .y = tall ? start : 0,
                              .width = side,
                              .height = side,
                              .index = i,
                              .count = count };
    }
    return count;
}

size_t vs_windows_of(const vs_preprocess_config *p, vs_image_size size, size_t image, vs_window *out, size_t room) {
    if (p->tiles.set) return tiles_of(size, image, out, room);
    const bool slide = p->mmseg.mode == VS_TEST_SLIDE;
    const size_t w = size.scaled_width, h = size.scaled_height, crop = slide ? (size_t)p->mmseg.crop : SIZE_MAX,
                 stride = slide ? (size_t)p->mmseg.stride : 1;
    const size_t rows = steps(h, crop, stride), cols = steps(w, crop, stride);
    for (size_t i = 0; out && i < rows * cols && i < room; i++)
        out[i] = (vs_window){ .image = image,
                              .x = origin(w, crop, stride, i % cols),
                              .y = origin(h, crop, stride, i / cols),
                              .width = w < crop ? w : crop,
                              .height = h < crop ? h : crop,
                              .index = i,
                              .count = rows * cols };
    return rows * cols;
}

vs_status vs_window_scaled_size(const vs_preprocess_config *p, vs_image_size *z, vs_error *err) {
    if (!p->tiles.set)
        return vs_image_keep_ratio(z->width, z->height, (size_t)p->mmseg.long_side, (size_t)p->mmseg.short_side, &z->scaled_width,
                                   &z->scaled_height, err);
    if (z->width == 0 || z->height == 0) return vs_fail(err, VS_ERR_SHAPE, "an empty image has no scaled size");
    vs_image_short_side(z->width, z->height, (size_t)p->tiles.short_side, &z->scaled_width, &z->scaled_height);
    if (z->scaled_width <= VS_IMAGE_MAX_SIDE && z->scaled_height <= VS_IMAGE_MAX_SIDE) return VS_OK;
    return vs_fail(err, VS_ERR_SHAPE, "an image of %zux%zu would be scaled to %zux%zu", z->width, z->height, z->scaled_width,
                   z->scaled_height);
}

static size_t padded(size_t side, size_t patch) { return (side + patch - 1) / patch * patch; }

static void fill_border(const vs_preprocess_config *p, vs_image *shown) {
    uint8_t mean[3];
    for (size_t c = 0; c < 3; c++) mean[c] = (uint8_t)fmin(fmax(rint(p->mean[c]), 0), 255);
    for (size_t i = 0; i < shown->width * shown->height; i++) memcpy(shown->pixels + 3 * i, mean, 3);
}

vs_status vs_window_cut(const vs_preprocess_config *p, const vs_image *scaled, const vs_window *win, size_t patch,
                        vs_image *shown, float **pixels, vs_error *err) {
    const size_t w = padded(win->width, patch), h = padded(win->height, patch), n = w * h;
    const size_t left = (w - win->width) / 2, top = (h - win->height) / 2;
    *pixels = NULL;
    vs_status status = vs_image_create(shown, w, h, 3, err);
    if (status != VS_OK) return status;
    if (!(*pixels = vs_calloc(3 * n, sizeof **pixels))) {
        vs_image_release(shown);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for an image of %zux%zu", w, h);
    }
    fill_border(p, shown);
    for (size_t y = 0; y < win->height; y++) {
        const uint8_t *from = scaled->pixels + 3 * ((win->y + y) * scaled->width + win->x);
        const size_t to = (top + y) * w + left;
        memcpy(shown->pixels + 3 * to, from, 3 * win->width);
        for (size_t c = 0; c < 3; c++)
            for (size_t x = 0; x < win->width; x++)
                (*pixels)[c * n + to + x] = (float)(((double)from[3 * x + c] - p->mean[c]) / p->std[c]);
    }
    return VS_OK;
}

/* The scaled image [height, width, 3] in float64, 0 to 255. */
static vs_status scale_f64(const vs_image *in, vs_image_size size, double **out, vs_error *err) {
    const size_t n = 3 * in->width * in->height;
    size_t pixels = 0, all = 0;
    double *from = vs_calloc(n, sizeof *from);
    *out = vs_size_mul(&pixels, size.scaled_width, size.scaled_height) && vs_size_mul(&all, 3, pixels)
               ? vs_calloc(all, sizeof **out)
               : NULL;
    vs_status status = from && *out ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for an image");
    for (size_t i = 0; i < n && status == VS_OK; i++) from[i] = in->pixels[i];
    if (status == VS_OK)
        status = vs_resample_f64(from, in->height, in->width, 3, size.scaled_height, size.scaled_width, VS_FILTER_BILINEAR, true,
                                 0, 0, *out, err);
    free(from);
    return status;
}

vs_status vs_tile_cut(const vs_preprocess_config *p, const vs_image *in, vs_image_size size, const vs_window *tile,
                      vs_image *shown, float **pixels, vs_error *err) {
    const size_t n = tile->width * tile->height;
    double *scaled = NULL;
    *pixels = NULL;
    vs_status status = vs_image_create(shown, tile->width, tile->height, 3, err);
    if (status == VS_OK) status = scale_f64(in, size, &scaled, err);
    if (status == VS_OK && !(*pixels = vs_calloc(3 * n, sizeof **pixels)))
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for an image of %zux%zu", tile->width, tile->height);
    for (size_t y = 0; y < tile->height && status == VS_OK; y++)
        for (size_t x = 0; x < tile->width; x++)
            for (size_t c = 0; c < 3; c++) {
                const double v = scaled[3 * ((tile->y + y) * size.scaled_width + tile->x + x) + c];
                shown->pixels[3 * (y * tile->width + x) + c] = (uint8_t)fmin(fmax(rint(v), 0), 255);
                (*pixels)[c * n + y * tile->width + x] = (float)((v - p->mean[c]) / p->std[c]);
            }
    free(scaled);
    if (status != VS_OK) vs_image_release(shown);
    return status;
}
