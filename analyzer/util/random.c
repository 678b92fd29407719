#include <math.h>

#include "util/util.h"

uint64_t vs_rng_next(vs_rng *rng) {
    uint64_t z = (rng->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double vs_rng_uniform(vs_rng *rng) { return (double)(vs_rng_next(rng) >> 11) * 0x1p-53; }

double vs_rng_normal(vs_rng *rng) { /* Box and Muller */
    const double u = 1 - vs_rng_uniform(rng), v = vs_rng_uniform(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}
