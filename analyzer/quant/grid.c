#include <math.h>

#include "quant/quant.h"

const char *vs_scheme_name(vs_scheme scheme) {
    static const char *const names[] = { "asymmetric", "symmetric", "symmetric_wide", "per_token", "unit" };
    return names[scheme];
}

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

vs_grid vs_grid_make(vs_scheme scheme, vs_range range, int bits) {
    vs_grid g = { .scale = (float)(1.0 / 255), .qmin = 0, .qmax = 255, .lo = 0, .hi = 1 };
    if (scheme == VS_SCHEME_UNIT) return g;
    if (scheme == VS_SCHEME_ASYMMETRIC) return vs_grid_asymmetric(range.lo, range.hi, bits);
    g = vs_grid_symmetric(fmax(fabs(range.lo), fabs(range.hi)), bits);
    if (scheme != VS_SCHEME_SYMMETRIC) g.qmin = -g.qmax - 1;
    if (scheme == VS_SCHEME_TOKEN) {
        g.scale = 1;
        g.lo = -HUGE_VALF;
        g.hi = HUGE_VALF;
    }
    return g;
}
