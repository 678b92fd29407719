/* What every backend shares: views and histogram bins. */
#include <math.h>

#include "backend/histogram.h"

vs_mat vs_mat_of(const void *p, size_t rows, size_t cols) {
    union {
        const void *in;
        void *out;
    } pun = { p };
    return (vs_mat){ pun.out, rows, cols, cols };
}

vs_mat vs_mat_view(const vs_backend *backend, vs_mat m, size_t row, size_t rows, size_t col, size_t cols) {
    return (vs_mat){ (char *)m.p + (row * m.ld + col) * (size_t)backend->scalar, rows, cols, m.ld };
}

/* A float64 magnitude goes to the bin of the float below it, so that both scalar types agree on the bounds. */
size_t vs_hist_bin(double magnitude) {
    if (!(magnitude < 0x1p41)) return VS_HIST_BINS - 1; /* NaN too */
    float f = (float)magnitude;
    if ((double)f > magnitude) f = nextafterf(f, 0);
    return vs_hist_bin_bits(vs_float_bits(f) & 0x7fffffffu);
}

double vs_hist_lower(size_t bin) {
    if (bin == 0) return 0;
    const size_t octave = (bin - 1) / VS_HIST_PER_OCTAVE, part = (bin - 1) % VS_HIST_PER_OCTAVE;
    return ldexp(1 + (double)part / VS_HIST_PER_OCTAVE, VS_HIST_EXP_MIN + (int)octave);
}

double vs_hist_upper(size_t bin) { return vs_hist_lower(bin + 1); }
