#include <math.h>

#include "quant/quant.h"

static const int32_t farthest_code = 1 << 23; /* beyond it float32 holds no half codes: nothing is rounded any more */

bool vs_recipe_quantizes(const vs_recipe_config *r, vs_kind kind) {
    if (vs_kind_is_head(kind)) return r->head;
    switch (kind) {
    case VS_KIND_PATCH_EMBED: return r->patch_embed;
    case VS_KIND_Q:
    case VS_KIND_K: return r->qk != VS_QK_NONE;
    case VS_KIND_V: return r->v != VS_V_NONE;
    case VS_KIND_P: return r->p != VS_P_NONE;
    default: return vs_kind_is_linear(kind);
    }
}

void vs_site_smooth(const vs_backend *be, const vs_site *site, vs_mat x, vs_mat y) {
    if (site->smooth)
        be->ops->div_channels(be, x, site->smooth, y);
    else if (x.p != y.p)
        be->ops->copy(be, x, y);
}

void vs_site_smooth_running(const vs_backend *be, const vs_site *site, vs_mat x, vs_mat y) {
    if (!site->folded)
        vs_site_smooth(be, site, x, y);
    else if (x.p != y.p)
        be->ops->copy(be, x, y);
}

void vs_site_quantize(const vs_backend *be, const vs_site *site, vs_mat x, vs_mat y, size_t images,
                      vs_quant_counts *const *counts) {
    if (!site->quantized) {
        if (x.p != y.p) be->ops->copy(be, x, y);
        return;
    }
    if (site->scheme == VS_SCHEME_TOKEN) {
        be->ops->fake_quant_tokens(be, x, site->grids[0].qmax, y, images, counts);
        return;
    }
    const size_t d = x.cols / site->grid_count;
    for (size_t h = 0; h < site->grid_count; h++)
        be->ops->fake_quant(be, vs_mat_view(be, x, 0, x.rows, h * d, d), &site->grids[h], vs_mat_view(be, y, 0, y.rows, h * d, d),
                            images, counts);
}

bool vs_site_has_ends(const vs_site *site) {
    return site->quantized && site->scheme != VS_SCHEME_TOKEN && site->scheme != VS_SCHEME_UNIT;
}

void vs_site_quantize_endless(const vs_backend *be, const vs_site *site, vs_mat x, vs_mat y, size_t images) {
    const size_t d = x.cols / site->grid_count;
    for (size_t h = 0; h < site->grid_count; h++) {
        vs_grid endless = site->grids[h];
        endless.qmin = -farthest_code;
        endless.qmax = farthest_code;
        be->ops->fake_quant(be, vs_mat_view(be, x, 0, x.rows, h * d, d), &endless, vs_mat_view(be, y, 0, y.rows, h * d, d),
                            images, NULL);
    }
}

void vs_site_smooth_weight(const vs_backend *be, const vs_site *site, vs_mat w, vs_mat ws) {
    if (site->smooth)
        be->ops->mul_channels(be, w, site->smooth, ws);
    else
        be->ops->copy(be, w, ws);
}

double vs_site_step(const vs_site *site, double max) {
    if (site->scheme == VS_SCHEME_TOKEN) return max / site->grids[0].qmax;
    double step = 0;
    for (size_t g = 0; g < site->grid_count; g++) step = fmax(step, (double)site->grids[g].scale);
    return step;
}

/* Of one side; both are 0 or beyond it. */
static double times(double end, double reach) { return fabs(reach) <= fabs(end) ? 1 : end == 0 ? HUGE_VAL : reach / end; }

double vs_grid_overshoot(const vs_grid *g, vs_range range) {
    return fmax(times((double)g->lo, fmin(range.lo, 0)), times((double)g->hi, fmax(range.hi, 0)));
}

size_t vs_site_tightest(const vs_site *site) {
    size_t tightest = 0;
    for (size_t g = 1; g < site->grid_count; g++)
        if (vs_grid_overshoot(&site->grids[g], site->ranges[g]) >
            vs_grid_overshoot(&site->grids[tightest], site->ranges[tightest]))
            tightest = g;
    return tightest;
}
