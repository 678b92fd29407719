#include <math.h>

#include "quant.h"

vs_grid vs_grid_asymmetric(double lo, double hi, int bits) {
    const int32_t qmax = (int32_t)((1u << bits) - 1);
    lo = fmin(lo, 0);
    hi = fmax(hi, 0);
    vs_grid g = { .scale = (float)((hi - lo) / qmax), .qmin = 0, .qmax = qmax, .lo = (float)lo, .hi = (float)hi };
    if (!(g.scale > 0)) g.scale = 1;
    const double zero = rint(-lo / (double)g.scale);
    g.zero = (int32_t)fmin(fmax(zero, 0), qmax);
    return g;
}

vs_grid vs_grid_symmetric(double absmax, int bits) {
    const int32_t qmax = (int32_t)((1u << (bits - 1)) - 1);
    vs_grid g = {
        .scale = (float)(absmax / qmax), .zero = 0, .qmin = -qmax, .qmax = qmax, .lo = (float)-absmax, .hi = (float)absmax
    };
    if (!(g.scale > 0)) g.scale = 1;
    return g;
}
