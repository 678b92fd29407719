/* opencv's bilinear resize of 8-bit images (resize.cpp, INTER_LINEAR): 11-bit weights, each axis in its own fixed point. */
#include <math.h>
#include <stdlib.h>

#include "io/image.h"
#include "util/util.h"

enum { ONE = 1 << 11 };

/* The two source cells of an output cell and their weights. */
typedef struct cv_tap {
    size_t lower, upper;
    int32_t a, b;
} cv_tap;

static size_t clamp_cell(double i, size_t n) { return i < 0 ? 0 : i > (double)(n - 1) ? n - 1 : (size_t)i; }

/* `border_exact`: opencv puts the weight of a cell outside onto the border column; of rows it only moves the index, which is the
 * same value but for its rounding. */
static cv_tap make_tap(size_t dst, size_t in, size_t out, bool border_exact) {
    const double scale = 1 / ((double)out / (double)in);
    float frac = (float)(((double)dst + 0.5) * scale - 0.5);
    const float cell = floorf(frac);
    frac -= cell;
    if (border_exact && (cell < 0 || cell >= (float)(in - 1))) frac = 0;
    return (cv_tap){ clamp_cell((double)cell, in), clamp_cell((double)cell + 1, in), (int32_t)rintf((1 - frac) * (float)ONE),
                     (int32_t)rintf(frac * (float)ONE) };
}

/* One row of the input at the output's width, times 2^11. */
static void stretch_row(const uint8_t *in, const cv_tap *taps, size_t width, size_t channels, int32_t *out) {
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < channels; c++)
            out[x * channels + c] = in[taps[x].lower * channels + c] * taps[x].a + in[taps[x].upper * channels + c] * taps[x].b;
}

/* Two such rows: 4 bits are dropped before the product, 16 behind it, so that opencv's vector code fits 16-bit lanes. */
static void blend_rows(const int32_t *a, const int32_t *b, cv_tap t, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        const int32_t sum = ((t.a * (a[i] >> 4)) >> 16) + ((t.b * (b[i] >> 4)) >> 16) + 2;
        out[i] = (uint8_t)(sum >> 2);
    }
}

vs_status vs_image_resize_cv(const vs_image *in, size_t width, size_t height, vs_image *out, vs_error *err) {
    *out = (vs_image){ 0 };
    if (width == 0 || height == 0 || width > VS_IMAGE_MAX_SIDE || height > VS_IMAGE_MAX_SIDE || in->width == 0 || in->height == 0)
        return vs_fail(err, VS_ERR_SHAPE, "cannot resize an image of %zux%zu to %zux%zu", in->width, in->height, width, height);
    const size_t row = width * in->channels, stride = in->width * in->channels;
    cv_tap *taps = vs_calloc(width, sizeof *taps);
    int32_t *rows = vs_calloc(2 * row, sizeof *rows), *cached[2] = { rows, rows ? rows + row : NULL };
    size_t held[2] = { SIZE_MAX, SIZE_MAX }; /* which input row each cache holds */
    vs_status status = taps && rows ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for resampling");
    if (status == VS_OK) status = vs_image_create(out, width, height, in->channels, err);
    for (size_t x = 0; x < width && status == VS_OK; x++) taps[x] = make_tap(x, in->width, width, true);
    for (size_t y = 0; y < height && status == VS_OK; y++) {
        const cv_tap t = make_tap(y, in->height, height, false);
        const size_t wanted[2] = { t.lower, t.upper };
        if (held[1] == t.lower) { /* the lower row is often the last upper one */
            int32_t *swap = cached[0];
            cached[0] = cached[1];
            cached[1] = swap;
            held[1] = held[0];
            held[0] = t.lower;
        }
        for (size_t k = 0; k < 2; k++) {
            if (held[k] == wanted[k]) continue;
            stretch_row(in->pixels + wanted[k] * stride, taps, width, in->channels, cached[k]);
            held[k] = wanted[k];
        }
        blend_rows(cached[0], cached[1], t, row, out->pixels + y * row);
    }
    free(taps);
    free(rows);
    if (status != VS_OK) vs_image_release(out);
    return status;
}

vs_status vs_image_keep_ratio(size_t width, size_t height, size_t long_side, size_t short_side, size_t *out_width,
                              size_t *out_height, vs_error *err) {
    if (width == 0 || height == 0) return vs_fail(err, VS_ERR_SHAPE, "cannot scale an empty image");
    const double by_long = (double)long_side / (double)(width > height ? width : height),
                 by_short = (double)short_side / (double)(width < height ? width : height);
    const double factor = by_long < by_short ? by_long : by_short;
    const double w = floor((double)width * factor + 0.5), h = floor((double)height * factor + 0.5);
    if (w < 1 || h < 1 || w > VS_IMAGE_MAX_SIDE || h > VS_IMAGE_MAX_SIDE)
        return vs_fail(err, VS_ERR_SHAPE, "an image of %zux%zu scaled to a short side of %zu is %.0fx%.0f: beyond the limits",
                       width, height, short_side, w, h);
    *out_width = (size_t)w;
    *out_height = (size_t)h;
    return VS_OK;
}
