/* Formulas of docs/vit-models.md 2.2 to 2.4 and 8.1. */
#include <math.h>

#include "backend/ref/ref.h"

void vs_ref_patchify(const vs_backend *self, const void *pixels, size_t images, size_t h, size_t w, size_t p, vs_mat out) {
    (void)self;
    const double *in = pixels;
    for (size_t b = 0; b < images; b++)
        for (size_t r = 0; r < h; r++)
            for (size_t s = 0; s < w; s++) {
                double *row = vs_ref_row(out, (b * h + r) * w + s);
                for (size_t k = 0; k < 3; k++)
                    for (size_t i = 0; i < p; i++)
                        for (size_t j = 0; j < p; j++)
                            row[(k * p + i) * p + j] = in[((b * 3 + k) * h * p + r * p + i) * w * p + s * p + j];
            }
}

void vs_ref_tokens(const vs_backend *self, vs_mat patch, vs_mat prefix, vs_mat pos, size_t images, vs_mat out) {
    (void)self;
    const size_t n = patch.rows / images, t = prefix.rows + n;
    for (size_t b = 0; b < images; b++) {
        for (size_t i = 0; i < prefix.rows; i++)
            for (size_t c = 0; c < out.cols; c++) vs_ref_row(out, b * t + i)[c] = vs_ref_row(prefix, i)[c];
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < out.cols; c++)
                vs_ref_row(out, b * t + prefix.rows + i)[c] =
                    vs_ref_row(patch, b * n + i)[c] + (pos.p ? vs_ref_row(pos, i)[c] : 0);
    }
}

void vs_ref_linear(const vs_backend *self, vs_mat x, vs_mat w, const void *b, vs_mat y) {
    (void)self;
    const double *bias = b;
    for (size_t m = 0; m < x.rows; m++)
        for (size_t n = 0; n < w.rows; n++) {
            const double *xr = vs_ref_row(x, m), *wr = vs_ref_row(w, n);
            double sum = 0;
            for (size_t k = 0; k < x.cols; k++) sum += xr[k] * wr[k];
            vs_ref_row(y, m)[n] = sum + (bias ? bias[n] : 0);
        }
}

vs_status vs_ref_linear_i8(const vs_backend *self, const uint8_t *x, const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc,
                           vs_error *err) {
    (void)self;
    if (k > VS_MAX_I8_TERMS) return vs_fail(err, VS_ERR_UNSUPPORTED, "%zu terms of 255 * 128 do not fit int32", k);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            int32_t sum = 0;
            for (size_t l = 0; l < k; l++) sum += (int32_t)x[i * k + l] * (int32_t)w[j * k + l];
            acc[i * n + j] = sum;
        }
    return VS_OK;
}

void vs_ref_layernorm(const vs_backend *self, vs_mat x, const void *g, const void *b, double eps, vs_mat y) {
    (void)self;
    const double *gain = g, *bias = b;
    for (size_t r = 0; r < x.rows; r++) {
        const double *in = vs_ref_row(x, r);
        double *out = vs_ref_row(y, r), mean = 0, var = 0;
        for (size_t c = 0; c < x.cols; c++) mean += in[c];
        mean /= (double)x.cols;
        for (size_t c = 0; c < x.cols; c++) var += (in[c] - mean) * (in[c] - mean);
        var /= (double)x.cols;
        for (size_t c = 0; c < x.cols; c++) out[c] = (in[c] - mean) / sqrt(var + eps) * gain[c] + bias[c];
    }
}

size_t vs_ref_attention_scratch(const vs_backend *self, size_t tokens, size_t heads) {
    (void)self;
    (void)heads;
    return tokens; /* one row of scores */
}

static void softmax(double *s, size_t n) {
    double max = s[0], sum = 0;
    for (size_t j = 1; j < n; j++) max = fmax(max, s[j]);
    for (size_t j = 0; j < n; j++) sum += s[j] = exp(s[j] - max);
    for (size_t j = 0; j < n; j++) s[j] /= sum;
}

/* Row `row` of head a: p[j] = softmax_j(q k_j * scale) over the tokens of its image. */
static void probabilities(vs_mat q, vs_mat k, size_t t, size_t row, size_t a, size_t d, double scale, double *p) {
    const double *qr = vs_ref_row(q, row) + a * d;
    for (size_t j = 0; j < t; j++) {
        const double *kr = vs_ref_row(k, row / t * t + j) + a * d;
        double dot = 0;
        for (size_t i = 0; i < d; i++) dot += qr[i] * kr[i];
        p[j] = dot * scale;
    }
    softmax(p, t);
}

static void weigh(const double *p, vs_mat v, size_t t, size_t row, size_t a, size_t d, vs_mat out) {
    double *o = vs_ref_row(out, row) + a * d;
    for (size_t i = 0; i < d; i++) {
        double sum = 0;
        for (size_t j = 0; j < t; j++) sum += p[j] * vs_ref_row(v, row / t * t + j)[a * d + i];
        o[i] = sum;
    }
}

void vs_ref_attention(const vs_backend *self, vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale,
                      void *scratch, vs_mat out) {
    (void)self;
    const size_t t = q.rows / images, d = q.cols / heads;
    for (size_t row = 0; row < q.rows; row++)
        for (size_t a = 0; a < heads; a++) {
            probabilities(q, k, t, row, a, d, scale, scratch);
            weigh(scratch, v, t, row, a, d, out);
        }
}

void vs_ref_attention_probs(const vs_backend *self, vs_mat q, vs_mat k, size_t images, size_t heads, double scale, vs_mat p) {
    (void)self;
    const size_t t = q.rows / images, d = q.cols / heads;
    for (size_t row = 0; row < q.rows; row++)
        for (size_t a = 0; a < heads; a++)
            probabilities(q, k, t, row, a, d, scale, vs_ref_row(p, (row / t * heads + a) * t + row % t));
}

void vs_ref_attention_apply(const vs_backend *self, vs_mat p, vs_mat v, size_t images, size_t heads, vs_mat out) {
    (void)self;
    const size_t t = v.rows / images, d = v.cols / heads;
    for (size_t row = 0; row < v.rows; row++)
        for (size_t a = 0; a < heads; a++) weigh(vs_ref_row(p, (row / t * heads + a) * t + row % t), v, t, row, a, d, out);
}

void vs_ref_rope(const vs_backend *self, vs_mat x, vs_mat cosines, vs_mat sines, size_t images, size_t heads, vs_mat y) {
    (void)self;
    const size_t t = x.rows / images, prefix = t - cosines.rows, d = x.cols / heads, half = d / 2;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double *in = vs_ref_row(x, r);
            double *out = vs_ref_row(y, r);
            if (r % t < prefix) {
                out[c] = in[c];
                continue;
            }
            const size_t k = c % d % half, n = r % t - prefix;
            const double turned = c % d < half ? -in[c + half] : in[c - half];
            out[c] = in[c] * vs_ref_row(cosines, n)[k] + turned * vs_ref_row(sines, n)[k];
        }
}

void vs_ref_gelu(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = vs_ref_row(x, r)[c];
            vs_ref_row(y, r)[c] = 0.5 * v * (1 + erf(v / sqrt(2)));
        }
}

void vs_ref_gelu_tanh(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    static const double PI = 3.14159265358979323846;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const double v = vs_ref_row(x, r)[c];
            vs_ref_row(y, r)[c] = 0.5 * v * (1 + tanh(sqrt(2 / PI) * (v + 0.044715 * v * v * v)));
        }
}

void vs_ref_silu_mul(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++)
        for (size_t c = 0; c < y.cols; c++) {
            const double z = vs_ref_row(x, r)[c];
            vs_ref_row(y, r)[c] = z / (1 + exp(-z)) * vs_ref_row(x, r)[y.cols + c];
        }
}

void vs_ref_scale_add(const vs_backend *self, vs_mat x, vs_mat u, const void *gamma, vs_mat y) {
    (void)self;
    const double *g = gamma;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) vs_ref_row(y, r)[c] = vs_ref_row(x, r)[c] + (g ? g[c] : 1) * vs_ref_row(u, r)[c];
}

void vs_ref_affine(const vs_backend *self, vs_mat x, const void *scale, const void *shift, vs_mat y) {
    (void)self;
    const double *a = scale, *b = shift;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) vs_ref_row(y, r)[c] = vs_ref_row(x, r)[c] * a[c] + b[c];
}

void vs_ref_unfold2x2(const vs_backend *self, vs_mat x, size_t images, size_t h, size_t w, vs_mat y) {
    (void)self;
    for (size_t b = 0; b < images; b++)
        for (size_t r = 0; r < 2 * h; r++)
            for (size_t s = 0; s < 2 * w; s++)
                for (size_t c = 0; c < y.cols; c++)
                    vs_ref_row(y, (b * 2 * h + r) * 2 * w + s)[c] =
                        vs_ref_row(x, (b * h + r / 2) * w + s / 2)[(2 * (r % 2) + s % 2) * y.cols + c];
}

void vs_ref_depthwise3x3(const vs_backend *self, vs_mat x, const void *k, size_t images, size_t h, size_t w, vs_mat y) {
    (void)self;
    const double *kernel = k;
    for (size_t b = 0; b < images; b++)
        for (size_t r = 0; r < h; r++)
            for (size_t s = 0; s < w; s++)
                for (size_t c = 0; c < y.cols; c++) {
                    double sum = 0;
                    for (size_t i = 0; i < 3; i++)
                        for (size_t j = 0; j < 3; j++) {
                            if (r + i < 1 || r + i > h || s + j < 1 || s + j > w) continue;
                            sum += vs_ref_row(x, (b * h + r + i - 1) * w + s + j - 1)[c] * kernel[(3 * i + j) * y.cols + c];
                        }
                    vs_ref_row(y, (b * h + r) * w + s)[c] = sum;
                }
}

void vs_ref_softmax_rows(const vs_backend *self, vs_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        double largest = -HUGE_VAL, sum = 0;
        for (size_t c = 0; c < x.cols; c++) largest = fmax(largest, vs_ref_row(x, r)[c]);
        for (size_t c = 0; c < x.cols; c++) sum += vs_ref_row(y, r)[c] = exp(vs_ref_row(x, r)[c] - largest);
        for (size_t c = 0; c < x.cols; c++) vs_ref_row(y, r)[c] /= sum;
    }
}

void vs_ref_mask_scores(const vs_backend *self, vs_mat m, vs_mat c, size_t images, vs_mat y) {
    (void)self;
    for (size_t p = 0; p < m.rows; p++)
        for (size_t k = 0; k < y.cols; k++) {
            double sum = 0;
            for (size_t q = 0; q < m.cols; q++)
                sum += vs_ref_row(c, p / (m.rows / images) * m.cols + q)[k] / (1 + exp(-vs_ref_row(m, p)[q]));
            vs_ref_row(y, p)[k] = sum;
        }
}
