/* Quantizers of docs/study.md 3. The reference divides in float64, so a code may differ by one at a tie. */
#include <math.h>

#include "backend/ref/ref.h"

void vs_ref_div_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y) {
    (void)self;
    const double *f = s;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) vs_ref_row(y, r)[c] = vs_ref_row(x, r)[c] / f[c];
}

/* W * s is rounded to float32, the type that weights are stored in, before it is quantized. */
void vs_ref_mul_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y) {
    (void)self;
    const double *f = s;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) vs_ref_row(y, r)[c] = (double)(float)(vs_ref_row(x, r)[c] * f[c]);
}

/* clamp(rne(x / s) + z, qmin, qmax); NaN becomes the zero point. */
static double code_of(double x, const vs_grid *g) {
    if (isnan(x)) return g->zero;
    return fmin(fmax(rint(x / (double)g->scale) + g->zero, g->qmin), g->qmax);
}

static void fake_quant_image(vs_mat x, const vs_grid *g, vs_mat y, vs_quant_counts *counts) {
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = vs_ref_row(x, r)[c], level = code_of(v, g) - g->zero;
            vs_ref_row(y, r)[c] = level * (double)g->scale;
            if (!counts) continue;
            counts->zeroed += level == 0;
            counts->clipped += v < (double)g->lo || v > (double)g->hi;
        }
}

void vs_ref_fake_quant(const vs_backend *self, vs_mat x, const vs_grid *g, vs_mat y, size_t images,
                       vs_quant_counts *const *counts) {
    const size_t rows = x.rows / images;
    for (size_t i = 0; i < images; i++)
        fake_quant_image(vs_mat_view(self, x, i * rows, rows, 0, x.cols), g, vs_mat_view(self, y, i * rows, rows, 0, x.cols),
                         counts ? counts[i] : NULL);
}

void vs_ref_fake_quant_rows(const vs_backend *self, vs_mat x, const float *scales, int32_t qmax, vs_mat y, int8_t *codes) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        const vs_grid g = { .scale = scales[r], .qmin = -qmax, .qmax = qmax };
        for (size_t c = 0; c < x.cols; c++) {
            const double code = code_of(vs_ref_row(x, r)[c], &g);
            vs_ref_row(y, r)[c] = code * (double)scales[r];
            if (codes) codes[r * x.cols + c] = (int8_t)code;
        }
    }
}

/* The step comes from the row, so nothing is outside the range. */
void vs_ref_fake_quant_tokens(const vs_backend *self, vs_mat x, int32_t qmax, vs_mat y, size_t images,
                              vs_quant_counts *const *counts) {
    const size_t rows = x.rows / images;
    for (size_t r = 0; r < x.rows; r++) {
        const vs_mat row = { vs_ref_row(x, r), 1, x.cols, x.cols }, out = { vs_ref_row(y, r), 1, x.cols, x.cols };
        double absmax = 0;
        vs_ref_row_absmax(self, row, &absmax);
        vs_grid g = { .scale = (float)(absmax / qmax), .qmin = -qmax - 1, .qmax = qmax, .lo = -HUGE_VALF, .hi = HUGE_VALF };
        if (!(g.scale > 0 && isfinite(g.scale))) g.scale = 1;
        fake_quant_image(row, &g, out, counts ? counts[r / rows] : NULL);
    }
}

void vs_ref_quantize_u8(const vs_backend *self, vs_mat x, const vs_grid *g, uint8_t *codes) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) codes[r * x.cols + c] = (uint8_t)code_of(vs_ref_row(x, r)[c], g);
}
