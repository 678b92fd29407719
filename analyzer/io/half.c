#include <string.h>

#include "tensorfile.h"

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

vs_status vs_tensor_to_f32(const vs_tensor_entry *t, float *out, vs_error *err) {
    const uint8_t *p = t->bytes;
    for (size_t i = 0; i < t->count; i++) switch (t->dtype) {
        case VS_DTYPE_F32: out[i] = from_bits((uint32_t)little(p + 4 * i, 4)); break;
        case VS_DTYPE_F16: out[i] = vs_f16_to_f32((uint16_t)little(p + 2 * i, 2)); break;
        case VS_DTYPE_BF16: out[i] = vs_bf16_to_f32((uint16_t)little(p + 2 * i, 2)); break;
        case VS_DTYPE_F64: {
            const uint64_t bits = little(p + 8 * i, 8);
            double d;
            memcpy(&d, &bits, sizeof d);
            out[i] = (float)d;
            break;
        }
        default:
            return vs_fail(err, VS_ERR_UNSUPPORTED, "tensor '%s' has type %s, which is no weight type", t->name, t->dtype_name);
        }
    return VS_OK;
}
