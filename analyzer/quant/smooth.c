#include <math.h>

#include "quant/quant.h"

static const double floor_value = 1e-5; /* of activations, weights and the factor itself */

void vs_smooth_factors(const vs_linear *l, const vs_channel_range *range, double alpha, float *s) {
    for (size_t j = 0; j < l->in; j++) {
        double w = 0;
        for (size_t o = 0; o < l->out; o++) w = fmax(w, fabs((double)l->w[o * l->in + j]));
        const double a = fmax(fabs(range->lo[j]), fabs(range->hi[j]));
        const double factor = pow(fmax(a, floor_value), alpha) / pow(fmax(w, floor_value), 1 - alpha);
        s[j] = (float)fmax(factor, floor_value);
    }
}
