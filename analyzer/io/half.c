#include <string.h>

#include "io/source.h"
#include "io/tensorfile.h"

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float vs_f16_to_f32(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 1023u;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    const float tiny = (float)mantissa * 0x1p-24f; /* subnormal: exact */
    return sign ? -tiny : tiny;
}

float vs_bf16_to_f32(uint16_t bits) { return from_bits((uint32_t)bits << 16); }

static uint64_t little(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

vs_status vs_tensor_read(const vs_tensor_entry *t, size_t from, size_t size, void *out, vs_error *err) {
    return vs_source_read(t->source, t->at + from, size, out, err);
}

static void convert(vs_dtype dtype, const uint8_t *p, size_t count, float *out) {
    switch (dtype) {
    case VS_DTYPE_F32:
        for (size_t i = 0; i < count; i++) out[i] = from_bits((uint32_t)little(p + 4 * i, 4));
        break;
    case VS_DTYPE_F16:
        for (size_t i = 0; i < count; i++) out[i] = vs_f16_to_f32((uint16_t)little(p + 2 * i, 2));
        break;
    case VS_DTYPE_BF16:
        for (size_t i = 0; i < count; i++) out[i] = vs_bf16_to_f32((uint16_t)little(p + 2 * i, 2));
        break;
    default: /* F64: the caller knows */
        for (size_t i = 0; i < count; i++) {
            const uint64_t bits = little(p + 8 * i, 8);
            double d;
            memcpy(&d, &bits, sizeof d);
            out[i] = (float)d;
        }
    }
}

static vs_status no_weights(const vs_tensor_entry *t, vs_error *err) {
    const bool quantized = t->dtype == VS_DTYPE_I8 || t->dtype == VS_DTYPE_U8 || strncmp(t->dtype_name, "F8", 2) == 0 ||
                           strncmp(t->dtype_name, "F4", 2) == 0 || strncmp(t->dtype_name, "F6", 2) == 0;
    return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: tensor '%.200s' has type %s%s", t->source->label, t->name, t->dtype_name,
                   quantized ? ": a quantized checkpoint, which cannot be studied: give the float weights that it was made from"
                             : ", which is no weight type");
}

vs_status vs_tensor_to_f32(const vs_tensor_entry *t, float *out, vs_error *err) {
    enum { PIECE = 1 << 15 }; /* bytes: a multiple of every type's */
    uint8_t piece[PIECE];
    const size_t width = t->dtype == VS_DTYPE_F32                                ? 4
                         : t->dtype == VS_DTYPE_F64                              ? 8
                         : t->dtype == VS_DTYPE_F16 || t->dtype == VS_DTYPE_BF16 ? 2
                                                                                 : 0;
    if (width == 0) return no_weights(t, err);
    for (size_t done = 0; done < t->count;) {
        const size_t n = t->count - done < PIECE / width ? t->count - done : PIECE / width;
        vs_status status = vs_tensor_read(t, done * width, n * width, piece, err);
        if (status != VS_OK) return status;
        convert(t->dtype, piece, n, out + done);
        done += n;
    }
    return VS_OK;
}
