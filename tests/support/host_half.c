#include "support/host_half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- conversion, from the definition of the format: 5 bits of exponent, 10 behind the point */

float vs_host_from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexpf((float)(1024 + mantissa), exponent - 25) : ldexpf((float)mantissa, -24));
}

uint16_t vs_host_to_half(float x) {
    const unsigned sign = signbit(x) ? 0x8000 : 0;
    const float a = fabsf(x);
    int exponent = 0;
    if (isnan(x)) return 0x7e00;
    if (a >= 65520) return (uint16_t)(sign | 0x7c00);
    if (a < 0x1p-14f) return (uint16_t)(sign | (unsigned)rintf(ldexpf(a, 24)));
    const float mantissa = rintf(ldexpf(frexpf(a, &exponent), 11)); /* 1024 to 2048 */
    return (uint16_t)(sign | (((unsigned)(exponent + 14) << 10) + ((unsigned)mantissa - 1024)));
}

static uint16_t *at(vs_half_mat m, size_t r, size_t c) { return (uint16_t *)m.p + r * m.ld + c; }
static float value(vs_half_mat m, size_t r, size_t c) { return vs_host_from_half(*at(m, r, c)); }
static void put(vs_half_mat m, size_t r, size_t c, float x) { *at(m, r, c) = vs_host_to_half(x); }
static float number(const void *p, size_t i) { return vs_host_from_half(((const uint16_t *)p)[i]); }

static void store(const vs_backend *self, vs_mat x, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++)
        for (size_t c = 0; c < y.cols; c++) put(y, r, c, ((const float *)x.p)[r * x.ld + c]);
}

static void load(const vs_backend *self, vs_half_mat x, vs_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++)
        for (size_t c = 0; c < y.cols; c++) ((float *)y.p)[r * y.ld + c] = value(x, r, c);
}

static void copy(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++) memcpy(at(y, r, 0), at(x, r, 0), y.cols * sizeof(uint16_t));
}

/* ---- products */

static float *floats_of(vs_half_mat m) {
    float *p = calloc(m.rows * m.cols + 1, sizeof *p);
    if (!p) abort();
    for (size_t r = 0; r < m.rows; r++)
        for (size_t c = 0; c < m.cols; c++) p[r * m.cols + c] = value(m, r, c);
    return p;
}

/* y = x w^T + b */
static void linear(const vs_backend *self, vs_half_mat x, vs_half_mat w, const void *b, vs_half_mat y) {
    (void)self;
    float *xs = floats_of(x), *ws = floats_of(w);
    for (size_t m = 0; m < x.rows; m++)
        for (size_t n = 0; n < w.rows; n++) {
            float sum = 0;
            for (size_t k = 0; k < x.cols; k++) sum += xs[m * x.cols + k] * ws[n * x.cols + k];
            put(y, m, n, b ? sum + number(b, n) : sum);
        }
    free(xs);
    free(ws);
}

static vs_half_mat head_of(vs_half_mat m, size_t images, size_t heads, size_t image, size_t head) {
    const size_t t = m.rows / images, d = m.cols / heads;
    return vs_half_mat_view(m, image * t, t, head * d, d);
}

static void scores(const vs_backend *self, vs_half_mat q, vs_half_mat k, size_t images, size_t heads, vs_half_mat p) {
    const size_t t = q.rows / images;
    for (size_t i = 0; i < images * heads; i++)
        linear(self, head_of(q, images, heads, i / heads, i % heads), head_of(k, images, heads, i / heads, i % heads), NULL,
               vs_half_mat_view(p, i * t, t, 0, t));
}

static void apply(const vs_backend *self, vs_half_mat p, vs_half_mat v, size_t images, size_t heads, vs_half_mat out) {
    const size_t t = v.rows / images;
    (void)self;
    for (size_t i = 0; i < images * heads; i++) {
        const vs_half_mat ps = vs_half_mat_view(p, i * t, t, 0, t), vs = head_of(v, images, heads, i / heads, i % heads),
                          to = head_of(out, images, heads, i / heads, i % heads);
        for (size_t r = 0; r < t; r++)
            for (size_t d = 0; d < vs.cols; d++) {
                float sum = 0;
                for (size_t j = 0; j < t; j++) sum += value(ps, r, j) * value(vs, j, d);
                put(to, r, d, sum);
            }
    }
}

/* One query; e has room for a weight a key. With the row's largest score, not the largest so far. */
static void attend(vs_half_mat q, vs_half_mat k, vs_half_mat v, size_t row, float scale, float *e, vs_half_mat out) {
    float largest = -INFINITY, sum = 0;
    for (size_t j = 0; j < k.rows; j++) {
        e[j] = 0;
        for (size_t d = 0; d < q.cols; d++) e[j] += value(q, row, d) * value(k, j, d);
        e[j] *= scale;
        largest = fmaxf(largest, e[j]);
    }
    for (size_t j = 0; j < k.rows; j++) {
        e[j] = expf(e[j] - largest);
        sum += e[j];
        e[j] = vs_host_from_half(vs_host_to_half(e[j]));
    }
    for (size_t d = 0; d < q.cols; d++) {
        float weighed = 0;
        for (size_t j = 0; j < k.rows; j++) weighed += e[j] * value(v, j, d);
        put(out, row, d, weighed / sum);
    }
}

static void attention(const vs_backend *self, vs_half_mat q, vs_half_mat k, vs_half_mat v, size_t images, size_t heads,
                      double scale, vs_half_mat out) {
    const size_t t = q.rows / images;
    float *e = calloc(t + 1, sizeof *e);
    (void)self;
    if (!e) abort();
    for (size_t i = 0; i < images * heads; i++)
        for (size_t r = 0; r < t; r++)
            attend(head_of(q, images, heads, i / heads, i % heads), head_of(k, images, heads, i / heads, i % heads),
                   head_of(v, images, heads, i / heads, i % heads), r, (float)scale, e,
                   head_of(out, images, heads, i / heads, i % heads));
    free(e);
}

/* ---- rows */

static float mean_of(vs_half_mat x, size_t r) {
    float sum = 0;
    for (size_t c = 0; c < x.cols; c++) sum += value(x, r, c);
    return sum / (float)x.cols;
}

static void layernorm(const vs_backend *self, vs_half_mat x, const void *g, const void *b, double eps, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        const float mean = mean_of(x, r);
        float squares = 0;
        for (size_t c = 0; c < x.cols; c++) squares += (value(x, r, c) - mean) * (value(x, r, c) - mean);
        const float deviation = sqrtf(squares / (float)x.cols + (float)eps);
        for (size_t c = 0; c < x.cols; c++) put(y, r, c, (value(x, r, c) - mean) / deviation * number(g, c) + number(b, c));
    }
}

static void row_mean(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) put(y, r, 0, mean_of(x, r));
}

static void softmax_rows(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < x.rows; r++) {
        float largest = -INFINITY, sum = 0;
        for (size_t c = 0; c < x.cols; c++) largest = fmaxf(largest, value(x, r, c));
        for (size_t c = 0; c < x.cols; c++) sum += expf(value(x, r, c) - largest);
        for (size_t c = 0; c < x.cols; c++) put(y, r, c, expf(value(x, r, c) - largest) / sum);
    }
}

/* ---- elements */

static float single(vs_element op, float a, float b) {
    switch (op) {
    case VS_ELEMENT_ADD: return a + b;
    case VS_ELEMENT_SUB: return a - b;
    case VS_ELEMENT_MUL: return a * b;
    case VS_ELEMENT_DIV: return a / b;
    case VS_ELEMENT_SQRT: return sqrtf(a);
    case VS_ELEMENT_ERF: return erff(a);
    case VS_ELEMENT_EXP: return expf(a);
    case VS_ELEMENT_TANH: return tanhf(a);
    case VS_ELEMENT_SIGMOID: break;
    }
    return 1 / (1 + expf(-a));
}

static void elementwise(const vs_backend *self, vs_element op, vs_half_mat x, vs_half_mat u, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++)
        for (size_t c = 0; c < y.cols; c++)
            put(y, r, c, single(op, value(x, r, c), u.p ? value(u, u.rows == 1 ? 0 : r, u.cols == 1 ? 0 : c) : 0));
}

static void gelu(const vs_backend *self, vs_half_mat x, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++)
        for (size_t c = 0; c < y.cols; c++) {
            const double v = (double)value(x, r, c);
            put(y, r, c, (float)(v * (0.5 * (1 + erf(v / sqrt(2))))));
        }
}

static void rope(const vs_backend *self, vs_half_mat x, vs_mat cosines, vs_mat sines, size_t images, size_t heads,
                 vs_half_mat y) {
    const size_t t = x.rows / images, d = x.cols / heads, prefix = t - cosines.rows, half = d / 2;
    (void)self;
    for (size_t r = 0; r < x.rows; r++)
        for (size_t c = 0; c < x.cols; c++) {
            const size_t i = r % t, k = c % d, m = k % half;
            if (i < prefix) {
                *at(y, r, c) = *at(x, r, c);
                continue;
            }
            const float cosine = ((const float *)cosines.p)[(i - prefix) * cosines.ld + m],
                        sine = ((const float *)sines.p)[(i - prefix) * sines.ld + m];
            const float other = k < half ? -value(x, r, c + half) : value(x, r, c - half);
            put(y, r, c, value(x, r, c) * cosine + other * sine);
        }
}

static void affine(const vs_backend *self, vs_half_mat x, const void *scale, const void *shift, vs_half_mat y) {
    (void)self;
    for (size_t r = 0; r < y.rows; r++)
        for (size_t c = 0; c < y.cols; c++) put(y, r, c, value(x, r, c) * ((const float *)scale)[c] + ((const float *)shift)[c]);
}

const vs_half_ops vs_host_half_ops = { .store = store,
                                       .load = load,
                                       .copy = copy,
                                       .linear = linear,
                                       .scores = scores,
                                       .apply = apply,
                                       .attention = attention,
                                       .layernorm = layernorm,
                                       .elementwise = elementwise,
                                       .row_mean = row_mean,
                                       .softmax_rows = softmax_rows,
                                       .gelu = gelu,
                                       .rope = rope,
                                       .affine = affine };
