/* float32 to a 16-bit format and back in integer arithmetic: the value of the nearest number of that format, half to even,
 * subnormals kept (docs/fp16-reference.md 1). Branch-free, so that loops over it vectorize; the same bits as hardware conversion.
 */
#ifndef VS_HALF_ROUND_H
#define VS_HALF_ROUND_H

#include <stdint.h>
#include <string.h>

#include "vitscope/backend.h"

enum {
    VS_FLOAT_INFINITY = 0x7f800000,
    VS_FLOAT_QUIET = 0x00400000,
    VS_FP16_NORMAL = 0x38800000,   /* 2^-14 */
    VS_FP16_OVERFLOW = 0x477ff000, /* 65520 */
    VS_BF16_NORMAL = 0x00800000    /* 2^-126 */
};

static inline uint32_t vs_half_bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float vs_half_from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Bits of |h(x)| from bits of |x|. Below 2^-14 adding 1/2, whose last bit is 2^-24, rounds to a multiple of that. */
static inline uint32_t vs_fp16_magnitude(uint32_t a) {
    const uint32_t normal = (a + 0xfffu + (a >> 13 & 1u)) & ~0x1fffu;
    const float tiny = vs_half_from_bits(a < (uint32_t)VS_FP16_NORMAL ? a : 0u) + 0.5f;
    const uint32_t small = vs_half_bits_of(tiny - 0.5f);
    const uint32_t finite = a < (uint32_t)VS_FP16_NORMAL ? small : normal;
    const uint32_t large =
        a > (uint32_t)VS_FLOAT_INFINITY ? (a & ~0x1fffu) | (uint32_t)VS_FLOAT_QUIET : (uint32_t)VS_FLOAT_INFINITY;
    return a >= (uint32_t)VS_FP16_OVERFLOW ? large : finite;
}

static inline uint32_t vs_bf16_magnitude(uint32_t a) {
    const uint32_t rounded = (a + 0x7fffu + (a >> 16 & 1u)) & ~0xffffu;
    return a > (uint32_t)VS_FLOAT_INFINITY ? (a & ~0xffffu) | (uint32_t)VS_FLOAT_QUIET : rounded;
}

/* fp16's digits, float32's exponents; of a subnormal float32 no more bits than there are. */
static inline uint32_t vs_wide_magnitude(uint32_t a) {
    const uint32_t rounded = (a + 0xfffu + (a >> 13 & 1u)) & ~0x1fffu;
    return a > (uint32_t)VS_FLOAT_INFINITY ? (a & ~0x1fffu) | (uint32_t)VS_FLOAT_QUIET : rounded;
}

static inline float vs_round_fp16(float x) {
    const uint32_t bits = vs_half_bits_of(x);
    return vs_half_from_bits((bits & 0x80000000u) | vs_fp16_magnitude(bits & 0x7fffffffu));
}

static inline float vs_round_bf16(float x) {
    const uint32_t bits = vs_half_bits_of(x);
    return vs_half_from_bits((bits & 0x80000000u) | vs_bf16_magnitude(bits & 0x7fffffffu));
}

static inline float vs_round_wide(float x) {
    const uint32_t bits = vs_half_bits_of(x);
    return vs_half_from_bits((bits & 0x80000000u) | vs_wide_magnitude(bits & 0x7fffffffu));
}

#endif
