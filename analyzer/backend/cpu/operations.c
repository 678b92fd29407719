/* Slots as loops over rows of the vector kernels. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/histogram.h"
#include "backend/host_counts.h"

static void patchify(const vs_backend *self, const void *pixels, size_t images, size_t h, size_t w, size_t p, vs_mat out) {
    (void)self;
    const float *in = pixels;
    for (size_t b = 0; b < images; b++)
        for (size_t r = 0; r < h; r++)
            for (size_t s = 0; s < w; s++) {
                float *row = vs_cpu_row(out, (b * h + r) * w + s);
                for (size_t k = 0; k < 3; k++)
                    for (size_t i = 0; i < p; i++)
                        memcpy(row + (k * p + i) * p, in + ((b * 3 + k) * h * p + r * p + i) * w * p + s * p, p * sizeof *row);
            }
}

static void tokens(const vs_backend *self, vs_mat patch, vs_mat prefix, vs_mat pos, size_t images, vs_mat out) {
    const vs_kernels *k = vs_cpu_kernels(self);
    const size_t n = patch.rows / images, t = prefix.rows + n, bytes = out.cols * sizeof(float);
    for (size_t b = 0; b < images; b++) {
        for (size_t i = 0; i < prefix.rows; i++) memcpy(vs_cpu_row(out, b * t + i), vs_cpu_row(prefix, i), bytes);
        for (size_t i = 0; i < n; i++) {
            float *row = vs_cpu_row(out, b * t + prefix.rows + i);
            memcpy(row, vs_cpu_row(patch, b * n + i), bytes);
            if (pos.p) k->add_bias(row, vs_cpu_row(pos, i), out.cols);
        }
    }
}

static void linear(const vs_backend *self, vs_mat x, vs_mat w, const void *b, vs_mat y) {
    vs_cpu_product(self, "linear", x, w, false, y);
    for (size_t r = 0; b && r < y.rows; r++) vs_cpu_kernels(self)->add_bias(vs_cpu_row(y, r), b, y.cols);
}

static void layernorm(const vs_backend *self, vs_mat x, const void *g, const void *b, double eps, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->layernorm(vs_cpu_row(x, r), g, b, eps, vs_cpu_row(y, r), x.cols);
}

/* Queries are taken in equal panels of at most PANEL rows, so that the scores of one stay in cache; its size is a function
 * of the tokens alone, and with it the shapes of the products. */
enum { PANEL = 128 };
enum { LINE = 16 }; /* floats; rows of scores are padded to whole vectors */

static size_t panel_rows(size_t t) {
    const size_t panels = (t + PANEL - 1) / PANEL;
    return panels ? (t + panels - 1) / panels : 0;
}

static size_t padded(size_t t) { return (t + LINE - 1) / LINE * LINE; }

static size_t attention_scratch(const vs_backend *self, size_t t, size_t heads) {
    (void)self;
    (void)heads;
    return panel_rows(t) * (padded(t) + 1); /* scores; a factor a row */
}

/* One panel of one head: scores, e^scores, their product with v, and only then the division by the sums: the d columns
 * of the output are fewer than the t of the scores. */
static void attend(const vs_backend *self, vs_mat q, vs_mat k, vs_mat v, float scale, vs_mat scores, float *factors, vs_mat out) {
    const vs_kernels *kernels = vs_cpu_kernels(self);
    vs_cpu_product(self, "attention", q, k, false, scores);
    for (size_t r = 0; r < q.rows; r++) factors[r] = (float)(1.0 / kernels->softmax(vs_cpu_row(scores, r), scale, k.rows));
    vs_cpu_product(self, "attention", scores, v, true, out);
    for (size_t r = 0; r < q.rows; r++) kernels->scale(vs_cpu_row(out, r), factors[r], out.cols);
}

static void attention(const vs_backend *self, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale,
                      void *scratch, vs_mat out) {
    const size_t t = q.rows / images, d = q.cols / heads, panel = panel_rows(t), ld = padded(t);
    float *factors = (float *)scratch + panel * ld;
    for (size_t b = 0; b < images; b++)
        for (size_t a = 0; a < heads; a++)
            for (size_t first = 0; first < t; first += panel) {
                const size_t rows = t - first < panel ? t - first : panel;
                attend(self, vs_mat_view(self, q, b * t + first, rows, a * d, d), vs_mat_view(self, k, b * t, t, a * d, d),
                       vs_mat_view(self, v, b * t, t, a * d, d), (float)scale, (vs_mat){ scratch, rows, t, ld }, factors,
                       vs_mat_view(self, out, b * t + first, rows, a * d, d));
            }
}

/* In the same panels, so that a panel's scores are still in cache when they become probabilities. */
static void attention_probs(const vs_backend *self, vs_mat q, vs_mat k, size_t images, size_t heads, double scale, vs_mat p) {
    const vs_kernels *kernels = vs_cpu_kernels(self);
    const size_t t = q.rows / images, d = q.cols / heads, panel = panel_rows(t);
    for (size_t i = 0; i < images * heads; i++) {
        const size_t b = i / heads, a = i % heads;
        for (size_t first = 0; first < t; first += panel) {
            const size_t rows = t - first < panel ? t - first : panel;
            const vs_mat scores = vs_mat_view(self, p, i * t + first, rows, 0, t);
            vs_cpu_product(self, "attention_probs", vs_mat_view(self, q, b * t + first, rows, a * d, d),
                           vs_mat_view(self, k, b * t, t, a * d, d), false, scores);
            for (size_t r = 0; r < rows; r++) {
                float *row = vs_cpu_row(scores, r);
                kernels->scale(row, (float)(1.0 / kernels->softmax(row, (float)scale, t)), t);
            }
        }
    }
}

static void attention_apply(const vs_backend *self, vs_mat p, vs_mat v, size_t images, size_t heads, vs_mat out) {
    const size_t t = v.rows / images, d = v.cols / heads;
    for (size_t i = 0; i < images * heads; i++)
        vs_cpu_product(self, "attention_apply", vs_mat_view(self, p, i * t, t, 0, t),
                       vs_mat_view(self, v, i / heads * t, t, i % heads * d, d), true,
                       vs_mat_view(self, out, i / heads * t, t, i % heads * d, d));
}

static void rope_row(const vs_kernels *k, const float *x, const float *cosines, const float *sines, size_t heads, size_t half,
                     float *y) {
    for (size_t a = 0; a < heads; a++) {
        const size_t at = 2 * a * half;
        k->rotate(x + at, x + at + half, cosines, sines, y + at, y + at + half, half);
    }
}

static void rope(const vs_backend *self, vs_mat x, vs_mat cosines, vs_mat sines, size_t images, size_t heads, vs_mat y) {
    const size_t t = x.rows / images, prefix = t - cosines.rows, half = x.cols / heads / 2;
    for (size_t b = 0; b < images; b++)
        for (size_t i = 0; i < t; i++) {
            const float *from = vs_cpu_row(x, b * t + i);
            float *to = vs_cpu_row(y, b * t + i);
            if (i < prefix)
                memcpy(to, from, x.cols * sizeof *to);
            else
                rope_row(vs_cpu_kernels(self), from, vs_cpu_row(cosines, i - prefix), vs_cpu_row(sines, i - prefix), heads, half,
                         to);
        }
}

static void gelu(const vs_backend *self, vs_mat x, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->gelu(vs_cpu_row(x, r), vs_cpu_row(y, r), x.cols);
}

static void gelu_tanh(const vs_backend *self, vs_mat x, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->gelu_tanh(vs_cpu_row(x, r), vs_cpu_row(y, r), x.cols);
}

static void silu_mul(const vs_backend *self, vs_mat x, vs_mat y) {
    for (size_t r = 0; r < y.rows; r++)
        vs_cpu_kernels(self)->silu_mul(vs_cpu_row(x, r), vs_cpu_row(x, r) + y.cols, vs_cpu_row(y, r), y.cols);
}

static void scale_add(const vs_backend *self, vs_mat x, vs_mat u, const void *gamma, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) {
        if (gamma) {
            vs_cpu_kernels(self)->scale_add(vs_cpu_row(x, r), vs_cpu_row(u, r), gamma, vs_cpu_row(y, r), x.cols);
            continue;
        }
        float *out = vs_cpu_row(y, r);
        if (out != vs_cpu_row(x, r)) memcpy(out, vs_cpu_row(x, r), x.cols * sizeof *out);
        vs_cpu_kernels(self)->add_bias(out, vs_cpu_row(u, r), x.cols);
    }
}

static void affine(const vs_backend *self, vs_mat x, const void *scale, const void *shift, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->affine(vs_cpu_row(x, r), scale, shift, vs_cpu_row(y, r), x.cols);
}

static void unfold2x2(const vs_backend *self, vs_mat x, size_t images, size_t h, size_t w, vs_mat y) {
    (void)self;
    for (size_t i = 0; i < images * 2 * h; i++) /* rows of pixels */
        for (size_t s = 0; s < 2 * w; s++)
            memcpy(vs_cpu_row(y, i * 2 * w + s), vs_cpu_row(x, i / 2 * w + s / 2) + (2 * (i % 2) + s % 2) * y.cols,
                   y.cols * sizeof(float));
}

static void depthwise3x3(const vs_backend *self, vs_mat x, const void *k, size_t images, size_t h, size_t w, vs_mat y) {
    const float *kernel = k;
    for (size_t p = 0; p < images * h * w; p++) {
        const size_t b = p / (h * w), r = p / w % h, s = p % w;
        float *out = vs_cpu_row(y, p);
        memset(out, 0, y.cols * sizeof *out);
        for (size_t tap = 0; tap < 9; tap++) {
            const size_t i = r + tap / 3, j = s + tap % 3; /* one more than the row and column */
            if (i < 1 || i > h || j < 1 || j > w) continue;
            vs_cpu_kernels(self)->scale_add(out, vs_cpu_row(x, (b * h + i - 1) * w + j - 1), kernel + tap * y.cols, out, y.cols);
        }
    }
}

static void softmax_rows(const vs_backend *self, vs_mat x, vs_mat y) {
    const vs_kernels *kernels = vs_cpu_kernels(self);
    for (size_t r = 0; r < x.rows; r++) {
        float *row = vs_cpu_row(y, r);
        if (row != vs_cpu_row(x, r)) memcpy(row, vs_cpu_row(x, r), x.cols * sizeof *row);
        kernels->scale(row, (float)(1.0 / kernels->softmax(row, 1.0f, x.cols)), x.cols);
    }
}

static void mask_scores(const vs_backend *self, vs_mat m, vs_mat c, size_t images, vs_mat y) {
    (void)self;
    for (size_t p = 0; p < m.rows; p++) {
        const size_t first = p / (m.rows / images) * m.cols;
        float *out = vs_cpu_row(y, p);
        memset(out, 0, y.cols * sizeof *out);
        for (size_t q = 0; q < m.cols; q++) {
            const float sigmoid = 1.0f / (1.0f + expf(-vs_cpu_row(m, p)[q])), *row = vs_cpu_row(c, first + q);
            for (size_t k = 0; k < y.cols; k++) out[k] += sigmoid * row[k];
        }
    }
}

static void div_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->divide(vs_cpu_row(x, r), s, vs_cpu_row(y, r), x.cols);
}

static void mul_channels(const vs_backend *self, vs_mat x, const void *s, vs_mat y) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->multiply(vs_cpu_row(x, r), s, vs_cpu_row(y, r), x.cols);
}

static void fake_quant_image(const vs_backend *self, vs_mat x, const vs_grid *grid, vs_mat y, vs_quant_counts *counts) {
    const vs_kernels *k = vs_cpu_kernels(self);
    for (size_t r = 0; r < x.rows; r++)
        if (counts)
            k->fake_quant_counted(vs_cpu_row(x, r), grid, vs_cpu_row(y, r), x.cols, counts);
        else
            k->fake_quant(vs_cpu_row(x, r), grid, vs_cpu_row(y, r), x.cols);
}

static vs_mat image_of(const vs_backend *self, vs_mat x, size_t images, size_t i) {
    return vs_mat_view(self, x, i * (x.rows / images), x.rows / images, 0, x.cols);
}

static void fake_quant(const vs_backend *self, vs_mat x, const vs_grid *grid, vs_mat y, size_t images,
                       vs_quant_counts *const *counts) {
    for (size_t i = 0; i < images; i++)
        fake_quant_image(self, image_of(self, x, images, i), grid, image_of(self, y, images, i), counts ? counts[i] : NULL);
}

static void fake_quant_rows(const vs_backend *self, vs_mat x, const float *scales, int32_t qmax, vs_mat y, int8_t *codes) {
    for (size_t r = 0; r < x.rows; r++) {
        const vs_grid grid = { .scale = scales[r], .qmin = -qmax, .qmax = qmax };
        if (codes) vs_cpu_kernels(self)->quantize_s8(vs_cpu_row(x, r), &grid, codes + r * x.cols, x.cols);
        vs_cpu_kernels(self)->fake_quant(vs_cpu_row(x, r), &grid, vs_cpu_row(y, r), x.cols);
    }
}

static void fake_quant_tokens(const vs_backend *self, vs_mat x, int32_t qmax, vs_mat y, size_t images,
                              vs_quant_counts *const *counts) {
    const size_t rows = x.rows / images;
    for (size_t r = 0; r < x.rows; r++) {
        const vs_mat row = vs_mat_view(self, x, r, 1, 0, x.cols);
        const double absmax = (double)vs_cpu_kernels(self)->absmax(row.p, x.cols);
        vs_grid grid = { .scale = (float)(absmax / qmax), .qmin = -qmax - 1, .qmax = qmax, .lo = -HUGE_VALF, .hi = HUGE_VALF };
        if (!(grid.scale > 0 && isfinite(grid.scale))) grid.scale = 1;
        fake_quant_image(self, row, &grid, vs_mat_view(self, y, r, 1, 0, x.cols), counts ? counts[r / rows] : NULL);
    }
}

static void quantize_u8(const vs_backend *self, vs_mat x, const vs_grid *grid, uint8_t *codes) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->quantize_u8(vs_cpu_row(x, r), grid, codes + r * x.cols, x.cols);
}

static void channel_minmax(const vs_backend *self, vs_mat x, double *lo, double *hi) {
    for (size_t c = 0; c < x.cols; c += VS_STRIP) {
        const size_t n = x.cols - c < VS_STRIP ? x.cols - c : VS_STRIP;
        float low[VS_STRIP], high[VS_STRIP];
        for (size_t i = 0; i < n; i++) {
            low[i] = HUGE_VALF;
            high[i] = -HUGE_VALF;
        }
        vs_cpu_kernels(self)->minmax_strip((const float *)x.p + c, x.ld, x.rows, n, low, high);
        for (size_t i = 0; i < n; i++) { /* once NaN it stays */
            if ((double)low[i] < lo[c + i] || isnan(low[i])) lo[c + i] = (double)low[i];
            if ((double)high[i] > hi[c + i] || isnan(high[i])) hi[c + i] = (double)high[i];
        }
    }
}

static void range_histogram(const vs_backend *self, vs_mat x, double lo, double hi, size_t bins, uint64_t *counts) {
    const double factor = (double)bins / (hi - lo);
    for (size_t r = 0; r < x.rows; r++)
        vs_cpu_kernels(self)->range_histogram(vs_cpu_row(x, r), lo, factor, (uint32_t)(bins - 1), counts, x.cols);
}

static void row_absmax(const vs_backend *self, vs_mat x, double *out) {
    for (size_t r = 0; r < x.rows; r++) out[r] = (double)vs_cpu_kernels(self)->absmax(vs_cpu_row(x, r), x.cols);
}

static void error_sums(const vs_backend *self, vs_mat x, vs_mat y, size_t images, vs_error_sums *const *out) {
    const size_t rows = x.rows / images;
    for (size_t i = 0; i < images; i++) *out[i] = (vs_error_sums){ 0 };
    for (size_t r = 0; r < rows * images; r++)
        vs_cpu_kernels(self)->error_sums(vs_cpu_row(x, r), vs_cpu_row(y, r), x.cols, out[r / rows]);
}

static bool larger(float a, double than) { return (double)a > than || (isnan(a) && !isnan(than)); }

static void abs_stats_of_image(const vs_backend *self, vs_mat x, vs_abs_stats *out, void *hist, double *energy) {
    const vs_kernels *k = vs_cpu_kernels(self);
    *out = (vs_abs_stats){ .max = -1, .count = x.rows * x.cols };
    uint32_t bins[VS_HIST_BINS];
    if (hist) memset(bins, 0, sizeof bins);
    for (size_t r = 0; r < x.rows; r++) {
        const float *row = vs_cpu_row(x, r);
        const float max = k->absmax(row, x.cols);
        if (larger(max, out->max)) {
            out->max = (double)max;
            out->max_row = r;
            for (size_t c = x.cols; c-- > 0;)
                if (fabsf(row[c]) == max || (isnan(row[c]) && isnan(max))) out->max_col = c;
        }
        out->sum += k->sum_abs(row, x.cols);
        if (hist) k->histogram(row, bins, x.cols);
        if (energy) k->add_squares(row, energy, x.cols);
    }
    if (hist) vs_host_add_counts(hist, bins, VS_HIST_BINS);
    if (out->count == 0) out->max = 0;
}

static void abs_stats(const vs_backend *self, vs_mat x, size_t images, vs_abs_stats *const *out, void *hist,
                      double *const *energy) {
    for (size_t i = 0; i < images; i++)
        abs_stats_of_image(self, image_of(self, x, images, i), out[i], hist, energy ? energy[i] : NULL);
}

static void count_below(const vs_backend *self, vs_mat x, double threshold, uint64_t *below) {
    /* |x| < threshold for a float x is |x| < the smallest float that is not below it */
    float limit = (float)threshold;
    if ((double)limit < threshold) limit = nextafterf(limit, HUGE_VALF);
    for (size_t r = 0; r < x.rows; r++) *below += vs_cpu_kernels(self)->count_below(vs_cpu_row(x, r), limit, x.cols);
}

static void count_above(const vs_backend *self, vs_mat x, size_t col, double threshold, uint64_t *above) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) *above += (double)fabsf(vs_cpu_row(x, r)[col]) > threshold;
}

static void channel_energy(const vs_backend *self, vs_mat x, double *sum_sq) {
    for (size_t r = 0; r < x.rows; r++) vs_cpu_kernels(self)->add_squares(vs_cpu_row(x, r), sum_sq, x.cols);
}

void vs_cpu_fill_operations(vs_backend_ops *o) {
    o->patchify = patchify;
    o->tokens = tokens;
    o->linear = linear;
    o->reserve = vs_cpu_reserve;
    o->linear_i8 = vs_cpu_linear_i8;
    o->layernorm = layernorm;
    o->attention_scratch = attention_scratch;
    o->attention = attention;
    o->attention_probs = attention_probs;
    o->attention_apply = attention_apply;
    o->rope = rope;
    o->gelu = gelu;
    o->gelu_tanh = gelu_tanh;
    o->silu_mul = silu_mul;
    o->scale_add = scale_add;
    o->affine = affine;
    o->unfold2x2 = unfold2x2;
    o->depthwise3x3 = depthwise3x3;
    o->softmax_rows = softmax_rows;
    o->mask_scores = mask_scores;
    o->elementwise = vs_cpu_elementwise;
    o->row_mean = vs_cpu_row_mean;
    o->row_sum = vs_cpu_row_sum;
    o->row_max = vs_cpu_row_max;
    o->exp_rows = vs_cpu_exp_rows;
    o->round_half = vs_cpu_round_half;
    o->div_channels = div_channels;
    o->mul_channels = mul_channels;
    o->fake_quant = fake_quant;
    o->fake_quant_rows = fake_quant_rows;
    o->fake_quant_tokens = fake_quant_tokens;
    o->quantize_u8 = quantize_u8;
    o->channel_minmax = channel_minmax;
    o->range_histogram = range_histogram;
    o->row_absmax = row_absmax;
    o->error_sums = error_sums;
    o->abs_stats = abs_stats;
    o->count_below = count_below;
    o->count_above = count_above;
    o->channel_energy = channel_energy;
}
