#include <math.h>

#include "quant.h"

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
