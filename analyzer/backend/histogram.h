/* The bins of vs_hist_bin, inline for the loops that fill them. */
#ifndef VS_HISTOGRAM_H
#define VS_HISTOGRAM_H

#include <string.h>

#include "vitscope/backend.h"

#ifdef __CUDACC__
#define VS_HOST_DEVICE __host__ __device__
#else
#define VS_HOST_DEVICE
#endif

/* Bin of a magnitude given as float bits (sign cleared): exponent and the first eight mantissa bits in order. No branch, so
 * that loops of it are vectorized. */
static inline VS_HOST_DEVICE uint32_t vs_hist_bin_bits(uint32_t bits) {
    const uint32_t before = ((uint32_t)(127 + VS_HIST_EXP_MIN) << 8) - 1; /* one below the key of bin 1 */
    const uint32_t key = bits >> 15, bin = key > before ? key - before : 0u;
    return bin < VS_HIST_BINS ? bin : VS_HIST_BINS - 1u;
}

static inline uint32_t vs_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

#endif
