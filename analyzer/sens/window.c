#include "window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* Windows along one side. */
static size_t steps(size_t side, size_t crop, size_t stride) { return side > crop ? (side - crop + stride - 1) / stride + 1 : 1; }

static size_t origin(size_t side, size_t crop, size_t stride, size_t step) {
    if (side <= crop) return 0;
    return step * stride + crop < side ? step * stride : side - crop;
}

size_t vs_windows_of(const vs_preprocess_config *p, vs_image_size size, size_t image, vs_window *out, size_t room) {
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

vs_status vs_window_scale(const vs_preprocess_config *p, const vs_image *in, vs_image *out, vs_error *err) {
    size_t w = 0, h = 0;
    *out = (vs_image){ 0 };
    vs_status status =
        vs_image_keep_ratio(in->width, in->height, (size_t)p->mmseg.long_side, (size_t)p->mmseg.short_side, &w, &h, err);
    return status == VS_OK ? vs_image_resize_cv(in, w, h, out, err) : status;
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
