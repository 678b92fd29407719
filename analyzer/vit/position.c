#include "vit/position.h"

#include <math.h>
#include <stdlib.h>

#include "io/image.h"
#include "util/util.h"

vs_status vs_position_grid(const vs_model *m, size_t h, size_t w, double *out, vs_error *err) {
    const size_t g = m->arch.grid, c = m->arch.width;
    const float *stored = *vs_model_param(m, "pos_embed") + m->arch.prefix_positions * c;
    /* every code base skips on an equal count of a square grid; a 1 x N grid of equal count is still resampled */
    if (h == w && h == g) {
        for (size_t i = 0; i < g * g * c; i++) out[i] = (double)stored[i];
        return VS_OK;
    }
    double *in = vs_calloc(g * g * c, sizeof *in);
    if (!in) return vs_fail(err, VS_ERR_NOMEM, "no memory for the position grid");
    for (size_t i = 0; i < g * g * c; i++) in[i] = (double)stored[i];
    const bool offset = m->arch.position == VS_POSITION_OFFSET, antialias = m->arch.position == VS_POSITION_SIZE_ANTIALIAS;
    const double scale_y = offset ? (double)g / ((double)h + 0.1) : 0, scale_x = offset ? (double)g / ((double)w + 0.1) : 0;
    const vs_status status = vs_resample_f64(in, g, g, c, h, w, VS_FILTER_BICUBIC, antialias, scale_y, scale_x, out, err);
    free(in);
    return status;
}

static const double PI = 3.14159265358979323846;

void vs_position_periods(double theta, size_t count, float *periods) {
    for (size_t k = 0; k < count; k++) periods[k] = (float)pow(theta, (double)k / (double)count);
}

/* Each axis by its own length: the middle of a patch, from -1 to 1. */
static double coordinate(size_t i, size_t n) { return 2 * ((double)i + 0.5) / (double)n - 1; }

void vs_position_rotation(const vs_model *m, size_t h, size_t w, double *cosines, double *sines) {
    const size_t count = m->arch.width / m->arch.heads / 4;
    const float *periods = *vs_model_param(m, "rope_embed.periods");
    for (size_t n = 0; n < h * w; n++)
        for (size_t axis = 0; axis < 2; axis++) {
            const double at = axis == 0 ? coordinate(n / w, h) : coordinate(n % w, w);
            for (size_t k = 0; k < count; k++) {
                const double angle = 2 * PI * at / (double)periods[k];
                cosines[(2 * n + axis) * count + k] = cos(angle);
                sines[(2 * n + axis) * count + k] = sin(angle);
            }
        }
}
