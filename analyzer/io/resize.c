/* Separable resampling. Kernels and borders: docs/vit-models.md 3.1. */
#include <math.h>
#include <stdlib.h>

#include "io/image.h"
#include "util/util.h"

/* For each output cell: first input cell, number of taps, weights. */
typedef struct taps {
    size_t out, width; /* width: room for taps of one cell */
    size_t *first, *count;
    double *weights; /* [out * width] */
} taps;

static void taps_release(taps *t) {
    free(t->first);
    free(t->count);
    free(t->weights);
    *t = (taps){ 0 };
}

static vs_status taps_create(taps *t, size_t out, size_t width, vs_error *err) {
    size_t n = 0;
    *t = (taps){ .out = out, .width = width };
    if (vs_size_mul(&n, out, width)) {
        t->first = vs_calloc(out, sizeof *t->first);
        t->count = vs_calloc(out, sizeof *t->count);
        t->weights = vs_calloc(n, sizeof *t->weights);
    }
    if (t->first && t->count && t->weights) return VS_OK;
    taps_release(t);
    return vs_fail(err, VS_ERR_NOMEM, "no memory for resampling");
}

/* Cubic convolution with parameter a (Keys). */
static double cubic(double x, double a) {
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static double triangle(double x) { return fabs(x) < 1 ? 1 - fabs(x) : 0; }

/* Antialiased: the kernel widens with the scale, taps outside are dropped, weights normalised. */
static vs_status taps_antialias(taps *t, size_t in, size_t out, vs_filter filter, double scale, vs_error *err) {
    const double radius = filter == VS_FILTER_BICUBIC ? 2 : 1, widen = scale > 1 ? scale : 1, support = radius * widen;
    vs_status status = taps_create(t, out, (size_t)ceil(support) * 2 + 1, err);
    for (size_t i = 0; i < out && status == VS_OK; i++) {
        const double center = scale * ((double)i + 0.5), low = center - support + 0.5, high = center + support + 0.5;
        const size_t first = low > 0 ? (size_t)low : 0, last = high < (double)in ? (size_t)high : in;
        double sum = 0;
        t->first[i] = first;
        t->count[i] = last - first;
        for (size_t j = 0; j < last - first; j++) {
            const double x = ((double)(first + j) - center + 0.5) / widen;
            const double w = filter == VS_FILTER_BICUBIC ? cubic(x, -0.5) : triangle(x);
            t->weights[i * t->width + j] = w;
            sum += w;
        }
        for (size_t j = 0; j < last - first; j++) t->weights[i * t->width + j] /= sum;
    }
    return status;
}

static size_t clamp_index(double i, size_t n) { return i < 0 ? 0 : i > (double)(n - 1) ? n - 1 : (size_t)i; }

/* Not antialiased: two or four taps, indices clamped. Weights of a clamped index add up on its cell. */
static vs_status taps_plain(taps *t, size_t in, size_t out, vs_filter filter, double scale, vs_error *err) {
    vs_status status = taps_create(t, out, 4, err);
    for (size_t i = 0; i < out && status == VS_OK; i++) {
        double src = scale * ((double)i + 0.5) - 0.5;
        if (filter == VS_FILTER_BILINEAR && src < 0) src = 0;
        const double floor_src = floor(src), frac = src - floor_src;
        const int from = filter == VS_FILTER_BICUBIC ? -1 : 0, to = filter == VS_FILTER_BICUBIC ? 2 : 1;
        const size_t first = clamp_index(floor_src + from, in);
        t->first[i] = first;
        t->count[i] = clamp_index(floor_src + to, in) - first + 1;
        for (int k = from; k <= to; k++) {
            const double w = filter == VS_FILTER_BICUBIC ? cubic((double)k - frac, -0.75) : k == 0 ? 1 - frac : frac;
            t->weights[i * t->width + clamp_index(floor_src + k, in) - first] += w;
        }
    }
    return status;
}

static vs_status make_taps(taps *t, size_t in, size_t out, vs_filter filter, bool antialias, double scale, vs_error *err) {
    if (!(scale > 0)) scale = (double)in / (double)out;
    return antialias ? taps_antialias(t, in, out, filter, scale, err) : taps_plain(t, in, out, filter, scale, err);
}

vs_status vs_resample_f64(const double *in, size_t rows, size_t cols, size_t channels, size_t out_rows, size_t out_cols,
                          vs_filter filter, bool antialias, double scale_y, double scale_x, double *out, vs_error *err) {
    taps tx = { 0 }, ty = { 0 };
    double *half = NULL;
    if (rows == 0 || cols == 0 || out_rows == 0 || out_cols == 0)
        return vs_fail(err, VS_ERR_SHAPE, "cannot resample an empty grid");
    vs_status status = make_taps(&tx, cols, out_cols, filter, antialias, scale_x, err);
    if (status == VS_OK) status = make_taps(&ty, rows, out_rows, filter, antialias, scale_y, err);
    if (status == VS_OK && !(half = vs_calloc(rows * out_cols * channels, sizeof *half)))
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for resampling");
    for (size_t y = 0; y < rows && status == VS_OK; y++) /* width first, then height */
        for (size_t x = 0; x < out_cols; x++)
            for (size_t k = 0; k < tx.count[x]; k++)
                for (size_t c = 0; c < channels; c++)
                    half[(y * out_cols + x) * channels + c] +=
                        tx.weights[x * tx.width + k] * in[(y * cols + tx.first[x] + k) * channels + c];
    for (size_t y = 0; y < out_rows && status == VS_OK; y++)
        for (size_t i = 0; i < out_cols * channels; i++) {
            double sum = 0;
            for (size_t k = 0; k < ty.count[y]; k++)
                sum += ty.weights[y * ty.width + k] * half[(ty.first[y] + k) * out_cols * channels + i];
            out[y * out_cols * channels + i] = sum;
        }
    free(half);
    taps_release(&tx);
    taps_release(&ty);
    return status;
}

/* PIL's 8-bit path: weights in fixed point with 22 bits, each pass rounded and clamped to 8 bits. */
enum { PRECISION = 32 - 8 - 2 };

static void pass_u8(const uint8_t *in, size_t stride, uint8_t *out, size_t out_stride, size_t channels, const taps *t,
                    const int32_t *fixed) {
    for (size_t i = 0; i < t->out; i++)
        for (size_t c = 0; c < channels; c++) {
            int32_t sum = 1 << (PRECISION - 1);
            for (size_t k = 0; k < t->count[i]; k++) sum += (int32_t)in[(t->first[i] + k) * stride + c] * fixed[i * t->width + k];
            sum >>= PRECISION;
            out[i * out_stride + c] = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
        }
}

static int32_t *fixed_weights(const taps *t) {
    int32_t *fixed = vs_calloc(t->out * t->width, sizeof *fixed);
    for (size_t i = 0; fixed && i < t->out * t->width; i++) {
        const double w = t->weights[i] * (1 << PRECISION);
        fixed[i] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    return fixed;
}

static vs_status resize_antialias(const vs_image *in, vs_filter filter, vs_image *out, vs_error *err) {
    taps tx = { 0 }, ty = { 0 };
    int32_t *fx = NULL, *fy = NULL;
    vs_image half = { 0 };
    const size_t ch = in->channels;
    vs_status status = make_taps(&tx, in->width, out->width, filter, true, 0, err);
    if (status == VS_OK) status = make_taps(&ty, in->height, out->height, filter, true, 0, err);
    if (status == VS_OK && (!(fx = fixed_weights(&tx)) || !(fy = fixed_weights(&ty))))
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for resampling");
    if (status == VS_OK) status = vs_image_create(&half, out->width, in->height, ch, err);
    const bool skip_x = in->width == out->width, skip_y = in->height == out->height; /* PIL leaves an equal side alone */
    for (size_t y = 0; y < in->height && status == VS_OK; y++) {
        const uint8_t *row = in->pixels + y * in->width * ch;
        uint8_t *to = half.pixels + y * out->width * ch;
        if (skip_x)
            for (size_t i = 0; i < out->width * ch; i++) to[i] = row[i];
        else
            pass_u8(row, ch, to, ch, ch, &tx, fx);
    }
    for (size_t x = 0; x < out->width && status == VS_OK; x++) {
        const size_t stride = out->width * ch;
        if (skip_y)
            for (size_t y = 0; y < out->height; y++)
                for (size_t c = 0; c < ch; c++) out->pixels[y * stride + x * ch + c] = half.pixels[y * stride + x * ch + c];
        else
            pass_u8(half.pixels + x * ch, stride, out->pixels + x * ch, stride, ch, &ty, fy);
    }
    vs_image_release(&half);
    free(fx);
    free(fy);
    taps_release(&tx);
    taps_release(&ty);
    return status;
}

static vs_status resize_plain(const vs_image *in, vs_filter filter, vs_image *out, vs_error *err) {
    const size_t n = in->width * in->height * in->channels, m = out->width * out->height * out->channels;
    double *from = vs_calloc(n, sizeof *from), *to = vs_calloc(m, sizeof *to);
    vs_status status = from && to ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for resampling");
    for (size_t i = 0; i < n && status == VS_OK; i++) from[i] = in->pixels[i];
    if (status == VS_OK)
        status =
            vs_resample_f64(from, in->height, in->width, in->channels, out->height, out->width, filter, false, 0, 0, to, err);
    for (size_t i = 0; i < m && status == VS_OK; i++) out->pixels[i] = (uint8_t)fmin(fmax(rint(to[i]), 0), 255);
    free(from);
    free(to);
    return status;
}

vs_status vs_image_resize(const vs_image *in, size_t width, size_t height, vs_filter filter, bool antialias, vs_image *out,
                          vs_error *err) {
    *out = (vs_image){ 0 };
    if (width == 0 || height == 0 || width > VS_IMAGE_MAX_SIDE || height > VS_IMAGE_MAX_SIDE)
        return vs_fail(err, VS_ERR_SHAPE, "cannot resize an image of %zux%zu to %zux%zu", in->width, in->height, width, height);
    vs_status status = vs_image_create(out, width, height, in->channels, err);
    if (status == VS_OK) status = antialias ? resize_antialias(in, filter, out, err) : resize_plain(in, filter, out, err);
    if (status != VS_OK) vs_image_release(out);
    return status;
}

void vs_image_short_side(size_t width, size_t height, size_t short_side, size_t *out_width, size_t *out_height) {
    const double to = (double)short_side, shorter = (double)(width < height ? width : height);
    *out_width = width <= height ? short_side : (size_t)(to * (double)width / shorter);
    *out_height = height <= width ? short_side : (size_t)(to * (double)height / shorter);
}
