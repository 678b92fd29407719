#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant.h"
#include "util.h"

static const vs_kind linear_kinds[] = { VS_KIND_QKV, VS_KIND_PROJ, VS_KIND_FC1, VS_KIND_FC2 };
enum { LINEARS = sizeof linear_kinds / sizeof *linear_kinds };

typedef struct builder {
    vs_variant *v;
    const vs_model *model;
    const vs_calibration *calibration;
    const vs_recipe_config *recipe;
    const vs_variant_options *options;
    void *scratch; /* one linear's W*s */
    vs_error *err;
} builder;

static vs_status own_reals(builder *b, size_t count, void **out) {
    vs_weights *w = &b->v->weights;
    *out = w->backend->ops->alloc(w->backend, count);
    if (!*out) return vs_fail(b->err, VS_ERR_NOMEM, "no memory for %zu quantized weights on backend %s", count, w->backend->name);
    w->owned[w->owned_count++] = *out;
    return VS_OK;
}

/* Smallest and largest x_j / s_j over the calibration set. Division by a positive number is monotonic, rounding
 * included, so the extremes of x give the extremes of x / s without a second pass over the images. */
static void smoothed_range(const vs_channel_range *r, const float *s, vs_real real, double *lo, double *hi) {
    *lo = HUGE_VAL;
    *hi = -HUGE_VAL;
    for (size_t j = 0; j < r->channels; j++) {
        double l = r->lo[j], h = r->hi[j];
        if (s && real == VS_REAL_F32) {
            l = (double)((float)l / s[j]);
            h = (double)((float)h / s[j]);
        } else if (s) {
            l /= (double)s[j];
            h /= (double)s[j];
        }
        *lo = fmin(*lo, l);
        *hi = fmax(*hi, h);
    }
}

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a quantized state"); }

static vs_status build_linear_input(builder *b, vs_site *site, const vs_linear *l, const vs_channel_range *range) {
    const vs_backend *be = b->v->backend;
    if (b->options->smooth) {
        site->smooth_host = vs_calloc(l->in, sizeof *site->smooth_host);
        if (!site->smooth_host) return no_memory(b->err);
        vs_smooth_factors(l, range, b->options->alpha, site->smooth_host);
        vs_status status = own_reals(b, l->in, &site->smooth);
        if (status == VS_OK) status = be->ops->upload(be, site->smooth, site->smooth_host, l->in, b->err);
        if (status != VS_OK) return status;
    }
    double lo, hi;
    smoothed_range(range, site->smooth_host, be->real, &lo, &hi);
    site->grids = vs_calloc(1, sizeof *site->grids);
    if (!site->grids) return no_memory(b->err);
    site->grids[0] = vs_grid_asymmetric(lo, hi, (int)b->recipe->bits_inputs);
    site->grid_count = 1;
    site->quantized = true;
    return VS_OK;
}

/* Per output channel: s_o = max_j |W_oj| / qmax (study.md section 3), of W*s where the site is smoothed. */
static vs_status build_linear_weight(builder *b, size_t index, vs_kind kind, int block, vs_site *site) {
    const vs_backend *be = b->v->backend;
    vs_linear_weights *lw = vs_weights_linear(&b->v->weights, kind, block);
    const vs_mat w = lw->w, smoothed = { b->scratch, w.rows, w.cols, w.cols };
    const int32_t qmax = (int32_t)((1u << (b->recipe->bits_weights - 1)) - 1);
    void *p = NULL;
    vs_status status = own_reals(b, w.rows * w.cols, &p);
    double *absmax = vs_calloc(w.rows, sizeof *absmax);
    float *scales = vs_calloc(w.rows, sizeof *scales);
    if (status == VS_OK && (!absmax || !scales)) status = no_memory(b->err);
    if (status != VS_OK) goto out;
    const vs_mat quantized = { p, w.rows, w.cols, w.cols };
    vs_site_smooth_weight(be, site, w, smoothed);
    be->ops->row_absmax(be, smoothed, absmax);
    status = be->ops->sync(be, b->err);
    if (status != VS_OK) goto out;
    for (size_t o = 0; o < w.rows; o++) {
        scales[o] = (float)(absmax[o] / qmax);
        if (!(scales[o] > 0)) scales[o] = 1;
    }
    be->ops->fake_quant_rows(be, smoothed, scales, qmax, quantized, NULL);
    be->ops->error_sums(be, smoothed, quantized, &b->v->weight_sums[index]);
    status = be->ops->sync(be, b->err);
    lw->w = quantized;
    b->v->row_scales[index] = scales;
    scales = NULL;
out:
    free(absmax);
    free(scales);
    return status;
}

/* q and k: one symmetric grid over all heads; v: one a head. */
static vs_status build_operand(builder *b, vs_site *site, vs_kind kind, const vs_channel_range *range) {
    const size_t heads = kind == VS_KIND_V ? b->model->arch.heads : 1, d = range->channels / heads;
    const int bits = (int)(kind == VS_KIND_V ? b->recipe->bits_v : b->recipe->bits_qk);
    site->grids = vs_calloc(heads, sizeof *site->grids);
    if (!site->grids) return no_memory(b->err);
    for (size_t h = 0; h < heads; h++) {
        double absmax = 0;
        for (size_t j = h * d; j < (h + 1) * d; j++) absmax = fmax(absmax, fmax(fabs(range->lo[j]), fabs(range->hi[j])));
        site->grids[h] = vs_grid_symmetric(absmax, bits);
    }
    site->grid_count = heads;
    site->quantized = true;
    return VS_OK;
}

static vs_status build_block(builder *b, int block) {
    for (size_t i = 0; i < LINEARS; i++) {
        const vs_kind kind = linear_kinds[i];
        const size_t index = vs_site_index(kind, block);
        vs_site *site = &b->v->sites[index];
        vs_status status = build_linear_input(b, site, vs_model_linear(b->model, kind, block),
                                              vs_calibration_range(b->calibration, kind, block));
        if (status == VS_OK) status = build_linear_weight(b, index, kind, block, site);
        if (status != VS_OK) return status;
    }
    for (vs_kind kind = VS_KIND_Q; kind <= VS_KIND_V; kind++) {
        vs_status status =
            build_operand(b, &b->v->sites[vs_site_index(kind, block)], kind, vs_calibration_range(b->calibration, kind, block));
        if (status != VS_OK) return status;
    }
    return VS_OK;
}

static vs_status allocate(builder *b, const vs_weights *base) {
    vs_variant *v = b->v;
    const size_t sites = vs_site_count(v->depth);
    v->sites = vs_calloc(sites, sizeof *v->sites);
    v->row_scales = vs_calloc(sites, sizeof *v->row_scales);
    v->weight_sums = vs_calloc(sites, sizeof *v->weight_sums);
    v->weights.blocks = vs_calloc(v->depth, sizeof *v->weights.blocks);
    v->weights.owned = vs_calloc(2 * sites, sizeof *v->weights.owned);
    if (!v->sites || !v->row_scales || !v->weight_sums || !v->weights.blocks || !v->weights.owned) return no_memory(b->err);
    memcpy(v->weights.blocks, base->blocks, v->depth * sizeof *base->blocks);
    size_t largest = 0;
    for (size_t i = 0; i < LINEARS; i++) {
        const vs_linear *l = vs_model_linear(b->model, linear_kinds[i], 0);
        if (l->out * l->in > largest) largest = l->out * l->in;
    }
    b->scratch = v->backend->ops->alloc(v->backend, largest);
    return b->scratch ? VS_OK : no_memory(b->err);
}

vs_status vs_variant_create(vs_variant **out, const vs_weights *base, const vs_calibration *calibration,
                            const vs_recipe_config *recipe, const vs_variant_options *options, vs_error *err) {
    *out = NULL;
    vs_variant *v = vs_calloc(1, sizeof *v);
    if (!v) return no_memory(err);
    v->backend = base->backend;
    v->depth = base->model->arch.depth;
    v->weights = *base;
    v->weights.owned = NULL;
    v->weights.blocks = NULL;
    v->weights.owned_count = 0;
    builder b = { .v = v, .model = base->model, .calibration = calibration, .recipe = recipe, .options = options, .err = err };
    vs_status status = allocate(&b, base);
    for (size_t i = 0; i < v->depth && status == VS_OK; i++) status = build_block(&b, (int)i);
    v->backend->ops->free(v->backend, b.scratch);
    if (status != VS_OK) {
        vs_variant_free(v);
        return status;
    }
    *out = v;
    return VS_OK;
}

void vs_variant_free(vs_variant *v) {
    if (!v) return;
    for (size_t i = 0; i < v->weights.owned_count; i++) v->backend->ops->free(v->backend, v->weights.owned[i]);
    for (size_t i = 0; v->sites && i < vs_site_count(v->depth); i++) {
        free(v->sites[i].grids);
        free(v->sites[i].smooth_host);
        if (v->row_scales) free(v->row_scales[i]);
    }
    free(v->weights.owned);
    free(v->weights.blocks);
    free(v->sites);
    free(v->row_scales);
    free(v->weight_sums);
    free(v);
}

const vs_site *vs_variant_site(const vs_variant *v, vs_kind kind, int block) {
    const size_t i = vs_site_index(kind, block);
    return i < vs_site_count(v->depth) ? &v->sites[i] : NULL;
}

void vs_site_smooth(const vs_backend *be, const vs_site *site, vs_mat x, vs_mat y) {
    if (site->smooth)
        be->ops->div_channels(be, x, site->smooth, y);
    else if (x.p != y.p)
        be->ops->copy(be, x, y);
}

void vs_site_quantize(const vs_backend *be, const vs_site *site, vs_mat x, vs_mat y, vs_quant_counts *counts) {
    if (!site->quantized) {
        if (x.p != y.p) be->ops->copy(be, x, y);
        return;
    }
    const size_t d = x.cols / site->grid_count;
    for (size_t h = 0; h < site->grid_count; h++)
        be->ops->fake_quant(be, vs_mat_view(be, x, 0, x.rows, h * d, d), &site->grids[h], vs_mat_view(be, y, 0, y.rows, h * d, d),
                            counts);
}

void vs_site_smooth_weight(const vs_backend *be, const vs_site *site, vs_mat w, vs_mat ws) {
    if (site->smooth)
        be->ops->mul_channels(be, w, site->smooth, ws);
    else
        be->ops->copy(be, w, ws);
}
