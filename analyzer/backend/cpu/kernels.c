/* Compiled once per instruction set with VS_KERNEL_TABLE naming the table. Plain loops that compilers vectorize:
 * no branches inside, ternaries instead of fmin/fmax, reductions marked. Error bounds are those tests/ops hold:
 * exp 2.4e-7 relative, gelu 1.2e-7 |x|, gelu_tanh 1.4e-7 |x|. */
#include "backend/cpu/kernels.h"

#include <float.h>
#include <math.h>

#include "backend/half_round.h"
#include "backend/histogram.h"

static inline float bits_to_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* a * b + c in one rounding where the instruction set has it; two roundings elsewhere, never a library call. */
static inline float mul_add(float a, float b, float c) {
#ifdef __FMA__
    return fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* Adding 1.5 * 2^23 rounds to an integer, half to even, and leaves it in the low bits; no conversion that NaN would break. */
static const float ROUNDER = 12582912.0f;
static const uint32_t ROUNDER_BITS = 0x4b400000u;

/* e^x for x <= 88; below -87 it is 0. r = x - n ln 2 in two parts; a polynomial for (e^r - 1 - r) / r^2. */
static inline float exp_f32(float x) {
    const float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float shifted = mul_add(clamped, 1.44269504f, ROUNDER), n = shifted - ROUNDER;
    const float r = mul_add(n, 2.12194440e-4f, mul_add(n, -0.693359375f, clamped));
    float p = 1.989928508e-4f;
    p = mul_add(p, r, 1.393365035e-3f);
    p = mul_add(p, r, 8.333298470e-3f);
    p = mul_add(p, r, 4.166646491e-2f);
    p = mul_add(p, r, 1.666666672e-1f);
    p = mul_add(p, r, 0.5f);
    const float e = mul_add(p, r * r, r) + 1.0f;
    const float scaled = e * bits_to_float((vs_float_bits(shifted) - ROUNDER_BITS + 127u) << 23);
    return x < -87.0f ? 0.0f : scaled;
}

/* Upper tail of the normal distribution, Q(a) = erfc(a / sqrt 2) / 2 for a >= 0: e^(-a^2/2) P(w), w = 0.35 a / (1 + 0.35 a).
 * P has degree 9, P(0) = 1/2, fitted to 2.7e-8 relative for a <= 13. One formula serves both signs; it is most exact near 0,
 * where w is small beside 1/2, which is where most activations are. */
static inline float normal_tail(float a) {
    const float scaled = 0.35f * a, w = scaled < 1e30f ? scaled / (1.0f + scaled) : 1.0f;
    float p = 2.708450295e-02f;
    p = mul_add(p, w, -1.103937775e-01f);
    p = mul_add(p, w, 1.403177078e-01f);
    p = mul_add(p, w, -3.649934830e-02f);
    p = mul_add(p, w, 4.208646771e-02f);
    p = mul_add(p, w, -1.649267785e-01f);
    p = mul_add(p, w, -1.587493174e-01f);
    p = mul_add(p, w, 9.009104625e-01f);
    p = mul_add(p, w, -1.139833393e+00f);
    p = mul_add(p, w, 0.5f);
    return exp_f32(-0.5f * a * a) * p;
}

static void add_bias(float *y, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += b[i];
}

/* Two passes; sums and the difference from the mean in float64, so that a large mean or an outlier channel costs no digits. */
static void layernorm(const float *x, const float *g, const float *b, double eps, float *y, size_t n) {
    double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    const double mean = sum / (double)n;
#pragma omp simd reduction(+ : squares)
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - mean;
        squares += d * d;
    }
    const double inverse = 1.0 / sqrt(squares / (double)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = (float)(((double)x[i] - mean) * inverse) * g[i] + b[i];
}

static double softmax(float *s, float scale, size_t n) {
    float max = -FLT_MAX;
#pragma omp simd reduction(max : max)
    for (size_t i = 0; i < n; i++) {
        const float v = s[i] * scale;
        max = v > max ? v : max;
    }
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        const float e = exp_f32(mul_add(s[i], scale, -max));
        s[i] = e;
        sum += (double)e;
    }
    return sum;
}

static void rotate(const float *a, const float *b, const float *cosines, const float *sines, float *lo, float *hi, size_t n) {
    for (size_t i = 0; i < n; i++) {
        lo[i] = a[i] * cosines[i] - b[i] * sines[i];
        hi[i] = b[i] * cosines[i] + a[i] * sines[i];
    }
}

static void gelu(const float *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i], tail = normal_tail(fabsf(v));
        y[i] = v * (v < 0.0f ? tail : 1.0f - tail);
    }
}

/* (1 + tanh(z / 2)) / 2 is the sigmoid of z = 2 sqrt(2/pi) (x + 0.044715 x^3). */
static void gelu_tanh(const float *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float v = x[i], z = 1.59576912f * v * mul_add(0.044715f * v, v, 1.0f), e = exp_f32(-fabsf(z));
        y[i] = v * ((v < 0.0f ? e : 1.0f) / (1.0f + e));
    }
}

/* e^-|z| never overflows; both signs share it. */
static void silu_mul(const float *gate, const float *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float z = gate[i], e = exp_f32(-fabsf(z));
        y[i] = z * ((z < 0.0f ? e : 1.0f) / (1.0f + e)) * x[i];
    }
}

static void scale_add(const float *x, const float *u, const float *gamma, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] + gamma[i] * u[i];
}

static void affine(const float *x, const float *a, const float *b, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * a[i] + b[i];
}

static void divide(const float *x, const float *s, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] / s[i];
}

static void scale(float *y, float factor, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] *= factor;
}

static void multiply(const float *x, const float *s, float *y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * s[i];
}

/* clamp(rne(x / s) + z, qmin, qmax) as a float; NaN becomes z. Clamping x / s first is the same and keeps it finite. */
static inline float code_of(float x, float scale, float zero, float qmin, float qmax) {
    const float level = rintf(x / scale), lo = qmin - zero, hi = qmax - zero;
    const float clamped = level < lo ? lo : level > hi ? hi : level;
    return (clamped == clamped ? clamped : 0.0f) + zero;
}

static void fake_quant(const float *x, const vs_grid *g, float *y, size_t n) {
    const float s = g->scale, z = (float)g->zero, lo = (float)g->qmin, hi = (float)g->qmax;
    for (size_t i = 0; i < n; i++) y[i] = (code_of(x[i], s, z, lo, hi) - z) * s;
}

static void fake_quant_counted(const float *x, const vs_grid *g, float *y, size_t n, vs_quant_counts *counts) {
    const float s = g->scale, z = (float)g->zero, lo = (float)g->qmin, hi = (float)g->qmax, range_lo = g->lo, range_hi = g->hi;
    uint32_t zeroed = 0, clipped = 0;
#pragma omp simd reduction(+ : zeroed, clipped)
    for (size_t i = 0; i < n; i++) {
        const float v = x[i], level = code_of(v, s, z, lo, hi) - z;
        zeroed += level == 0.0f ? 1u : 0u;
        clipped += v < range_lo ? 1u : 0u;
        clipped += v > range_hi ? 1u : 0u;
        y[i] = level * s;
    }
    counts->zeroed += zeroed;
    counts->clipped += clipped;
}

static void quantize_u8(const float *x, const vs_grid *g, uint8_t *codes, size_t n) {
    const float s = g->scale, z = (float)g->zero, lo = (float)g->qmin, hi = (float)g->qmax;
    for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)(int32_t)code_of(x[i], s, z, lo, hi);
}

static void quantize_s8(const float *x, const vs_grid *g, int8_t *codes, size_t n) {
    const float s = g->scale, z = (float)g->zero, lo = (float)g->qmin, hi = (float)g->qmax;
    for (size_t i = 0; i < n; i++) codes[i] = (int8_t)(int32_t)code_of(x[i], s, z, lo, hi);
}

/* NaN if any is NaN. */
static float absmax(const float *x, size_t n) {
    uint32_t max = 0; /* magnitudes order like their bits; NaN above all */
#pragma omp simd reduction(max : max)
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = vs_float_bits(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    return bits_to_float(max);
}

static void error_sums(const float *x, const float *y, size_t n, vs_error_sums *sums) {
    double signal = 0, noise = 0;
    uint64_t nonfinite = 0;
#pragma omp simd reduction(+ : signal, noise, nonfinite)
    for (size_t i = 0; i < n; i++) {
        const int finite = fabsf(y[i]) <= FLT_MAX;
        const double a = finite ? (double)x[i] : 0, d = finite ? (double)x[i] - (double)y[i] : 0;
        signal += a * a;
        noise += d * d;
        nonfinite += finite ? 0u : 1u;
    }
    sums->signal += signal;
    sums->noise += noise;
    sums->nonfinite += nonfinite;
}

static int32_t dot_i8(const uint8_t *x, const int8_t *w, size_t n) {
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (int32_t)x[i] * (int32_t)w[i];
    return sum;
}

static void minmax_strip(const float *x, size_t ld, size_t rows, size_t cols, float *lo, float *hi) {
    float low[VS_STRIP], high[VS_STRIP];
    for (size_t c = 0; c < cols; c++) {
        low[c] = lo[c];
        high[c] = hi[c];
    }
    for (size_t r = 0; r < rows; r++) {
        const float *row = x + r * ld;
#pragma omp simd
        for (size_t c = 0; c < cols; c++) { /* a NaN is taken and then stays: no comparison with it is true */
            const float v = row[c];
            low[c] = !(v >= low[c]) && low[c] == low[c] ? v : low[c];
            high[c] = !(v <= high[c]) && high[c] == high[c] ? v : high[c];
        }
    }
    for (size_t c = 0; c < cols; c++) {
        lo[c] = low[c];
        hi[c] = high[c];
    }
}

static double sum_abs(const float *x, size_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (double)fabsf(x[i]);
    return sum;
}

static void add_squares(const float *x, double *energy, size_t n) {
    for (size_t i = 0; i < n; i++) energy[i] += (double)x[i] * (double)x[i];
}

static uint64_t count_below(const float *x, float threshold, size_t n) {
    uint32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (size_t i = 0; i < n; i++) count += fabsf(x[i]) < threshold ? 1u : 0u;
    return count;
}

static void histogram(const float *x, uint32_t *bins, size_t n) {
    enum { CHUNK = 256 };
    uint32_t keys[CHUNK];
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t m = n - i < CHUNK ? n - i : CHUNK;
        for (size_t j = 0; j < m; j++) keys[j] = vs_hist_bin_bits(vs_float_bits(x[i + j]) & 0x7fffffffu);
        for (size_t j = 0; j < m; j++) bins[keys[j]]++;
    }
}

/* Keys are not negative, so that truncation is floor; last + 1 stands for NaN. */
static void range_histogram(const float *x, double lo, double factor, uint32_t last, uint64_t *counts, size_t n) {
    enum { CHUNK = 256 };
    uint32_t keys[CHUNK];
    const double top = (double)last;
    for (size_t i = 0; i < n; i += CHUNK) {
        const size_t m = n - i < CHUNK ? n - i : CHUNK;
        for (size_t j = 0; j < m; j++) {
            const double at = ((double)x[i + j] - lo) * factor, clamped = at < 0 ? 0 : at > top ? top : at;
            keys[j] = (uint32_t)(int32_t)(clamped == clamped ? clamped : top + 1);
        }
        for (size_t j = 0; j < m; j++)
            if (keys[j] <= last) counts[keys[j]]++;
    }
}

static void round_half(const float *x, vs_half_format format, float *y, size_t n) {
    if (format == VS_HALF_FP16)
        for (size_t i = 0; i < n; i++) y[i] = vs_round_fp16(x[i]);
    else if (format == VS_HALF_BF16)
        for (size_t i = 0; i < n; i++) y[i] = vs_round_bf16(x[i]);
    else
        for (size_t i = 0; i < n; i++) y[i] = vs_round_wide(x[i]);
}

/* Magnitudes as integers: positive floats are ordered as their bits are. */
#define TALLY(ROUND, NORMAL)                                                                                                     \
    _Pragma("omp simd reduction(+ : inf, nan, subnormal, flushed) reduction(max : max)") for (size_t i = 0; i < n; i++) {        \
        const int32_t a = (int32_t)(vs_half_bits_of(x[i]) & 0x7fffffffu), h = (int32_t)ROUND((uint32_t)a);                       \
        const int32_t finite = a < VS_FLOAT_INFINITY ? a : 0;                                                                    \
        inf += a < VS_FLOAT_INFINITY && h == VS_FLOAT_INFINITY ? 1u : 0u;                                                        \
        nan += a > VS_FLOAT_INFINITY ? 1u : 0u;                                                                                  \
        subnormal += h > 0 && h < NORMAL ? 1u : 0u;                                                                              \
        flushed += a > 0 && h == 0 ? 1u : 0u;                                                                                    \
        max = finite > max ? finite : max;                                                                                       \
    }

static vs_half_tally half_tally(const float *x, vs_half_format format, size_t n) {
    uint32_t inf = 0, nan = 0, subnormal = 0, flushed = 0;
    int32_t max = 0;
    if (format == VS_HALF_FP16) {
        TALLY(vs_fp16_magnitude, VS_FP16_NORMAL)
    } else if (format == VS_HALF_BF16) {
        TALLY(vs_bf16_magnitude, VS_BF16_NORMAL)
    } else {
        TALLY(vs_wide_magnitude, VS_BF16_NORMAL)
    }
    return (vs_half_tally){ inf, nan, subnormal, flushed, vs_half_from_bits((uint32_t)max) };
}

const vs_kernels VS_KERNEL_TABLE = {
    .isa = VS_KERNEL_ISA,
    .add_bias = add_bias,
    .layernorm = layernorm,
    .softmax = softmax,
    .scale = scale,
    .rotate = rotate,
    .gelu = gelu,
    .gelu_tanh = gelu_tanh,
    .silu_mul = silu_mul,
    .scale_add = scale_add,
    .affine = affine,
    .divide = divide,
    .multiply = multiply,
    .fake_quant = fake_quant,
    .fake_quant_counted = fake_quant_counted,
    .quantize_u8 = quantize_u8,
    .quantize_s8 = quantize_s8,
    .round_half = round_half,
    .half_tally = half_tally,
    .absmax = absmax,
    .error_sums = error_sums,
    .dot_i8 = dot_i8,
    .minmax_strip = minmax_strip,
    .sum_abs = sum_abs,
    .add_squares = add_squares,
    .count_below = count_below,
    .range_histogram = range_histogram,
    .histogram = histogram,
};
