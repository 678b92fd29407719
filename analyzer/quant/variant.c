#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "util/util.h"

enum { OWNED_OF_SITE = 4 /* a weight, a factor, a norm's gain and bias */ };

typedef struct builder {
    vs_variant *v;
    const vs_model *model;
    const vs_graph *graph;
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
static void smoothed_range(const vs_channel_range *r, const float *s, vs_scalar scalar, double *lo, double *hi) {
    *lo = HUGE_VAL;
    *hi = -HUGE_VAL;
    for (size_t j = 0; j < r->channels; j++) {
        double l = r->lo[j], h = r->hi[j];
        if (s && scalar == VS_SCALAR_F32) {
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

/* Grids of equal parts of a tensor's columns, from minima and maxima. */
static vs_status build_grids(builder *b, vs_site *site, vs_scheme scheme, int64_t bits, size_t parts, const vs_channel_range *r) {
    site->scheme = scheme;
    site->bits = (int)bits;
    site->quantized = true;
    site->grid_count = parts;
    site->grids = vs_calloc(parts, sizeof *site->grids);
    site->ranges = vs_calloc(parts, sizeof *site->ranges);
    if (!site->grids || !site->ranges) return no_memory(b->err);
    for (size_t p = 0; p < parts; p++) {
        if (r) {
            const size_t d = r->channels / parts;
            const vs_channel_range part = { r->lo + p * d, r->hi + p * d, d };
            smoothed_range(&part, site->smooth_host ? site->smooth_host + p * d : NULL, b->v->backend->scalar,
                           &site->ranges[p].lo, &site->ranges[p].hi);
        }
        site->grids[p] = vs_grid_make(scheme, site->ranges[p], site->bits);
    }
    return VS_OK;
}

/* Scope norm: a block's norm takes on the factors of the layer that reads it (docs/study.md 3: qkv and fc1). */
static bool is_smoothed(const builder *b, size_t node) {
    if (!b->options->smooth) return false;
    const bool has_norm = b->graph->nodes[node].block >= 0 && vs_graph_norm_of(b->graph, node) != VS_NONE;
    return b->options->scope == VS_SCOPE_ALL || has_norm;
}

/* A norm's gain or bias divided by s, rounded to float32 as all weights are. */
static vs_status divide_vector(builder *b, const float *x, const float *s, size_t n, const void **out) {
    const vs_backend *be = b->v->backend;
    void *p = NULL;
    float *host = vs_calloc(n, sizeof *host);
    vs_status status = host ? own_reals(b, n, &p) : no_memory(b->err);
    if (status == VS_OK) {
        for (size_t j = 0; j < n; j++) host[j] = x[j] / s[j];
        status = be->ops->upload(be, p, host, n, b->err);
    }
    if (status == VS_OK) status = be->ops->sync(be, b->err);
    free(host);
    *out = p;
    return status;
}

static vs_status fold(builder *b, size_t node, vs_site *site) {
    const vs_node *norm = &b->graph->nodes[vs_graph_norm_of(b->graph, node)];
    vs_status status = VS_OK;
    for (size_t i = 0; i < 2 && status == VS_OK; i++)
        status = divide_vector(b, b->model->params[norm->param[i]], site->smooth_host, b->graph->params[norm->param[i]].cols,
                               &b->v->weights.params[norm->param[i]]);
    site->folded = true;
    return status;
}

static vs_status build_smoothing(builder *b, size_t node, vs_site *site, const vs_linear *l, const vs_channel_range *range) {
    const vs_backend *be = b->v->backend;
    site->smooth_host = vs_calloc(l->in, sizeof *site->smooth_host);
    if (!site->smooth_host) return no_memory(b->err);
    vs_smooth_factors(l, range, b->options->alpha, site->smooth_host);
    vs_status status = own_reals(b, l->in, &site->smooth);
    if (status == VS_OK) status = be->ops->upload(be, site->smooth, site->smooth_host, l->in, b->err);
    if (status == VS_OK && b->options->scope == VS_SCOPE_NORM) status = fold(b, node, site);
    return status;
}

static vs_scheme inputs_scheme(const vs_recipe_config *r) {
    return r->inputs == VS_INPUTS_PER_TENSOR_ASYM  ? VS_SCHEME_ASYMMETRIC
           : r->inputs == VS_INPUTS_PER_TENSOR_SYM ? VS_SCHEME_WIDE
                                                   : VS_SCHEME_TOKEN;
}

/* Per output channel s_o = max_j |W_oj| / qmax, per tensor their largest (docs/study.md 3), of W*s where the site is
 * smoothed. */
static void weight_scales(const builder *b, const double *absmax, size_t rows, int32_t qmax, float *scales) {
    double largest = 0;
    for (size_t o = 0; o < rows; o++) largest = fmax(largest, absmax[o]);
    for (size_t o = 0; o < rows; o++) {
        scales[o] = (float)((b->recipe->weights == VS_WEIGHTS_PER_TENSOR ? largest : absmax[o]) / qmax);
        if (!(scales[o] > 0)) scales[o] = 1;
    }
}

static vs_status build_linear_weight(builder *b, size_t index, size_t node, vs_site *site) {
    const vs_backend *be = b->v->backend;
    const vs_mat w = vs_weights_linear(&b->v->weights, node).w, smoothed = { b->scratch, w.rows, w.cols, w.cols };
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
    weight_scales(b, absmax, w.rows, qmax, scales);
    be->ops->fake_quant_rows(be, smoothed, scales, qmax, quantized, NULL);
    be->ops->error_sums(be, smoothed, quantized, 1, (vs_error_sums *[]){ &b->v->weight_sums[index] });
    status = be->ops->sync(be, b->err);
    b->v->weights.params[b->graph->nodes[node].param[0]] = p;
    b->v->row_scales[index] = scales;
    scales = NULL;
out:
    free(absmax);
    free(scales);
    return status;
}

static vs_status build_linear(builder *b, size_t index) {
    const size_t node = b->graph->sites[index].node;
    const vs_linear l = vs_model_linear(b->model, node);
    vs_site *site = &b->v->sites[index];
    const vs_channel_range *range = vs_calibration_range(b->calibration, index);
    vs_status status = is_smoothed(b, node) ? build_smoothing(b, node, site, &l, range) : VS_OK;
    if (status == VS_OK) status = build_grids(b, site, inputs_scheme(b->recipe), b->recipe->bits_inputs, 1, range);
    return status == VS_OK ? build_linear_weight(b, index, node, site) : status;
}

static vs_status build_operand(builder *b, size_t index) {
    const vs_recipe_config *r = b->recipe;
    const vs_node *n = &b->graph->nodes[b->graph->sites[index].node];
    const size_t heads = n->heads;
    vs_site *site = &b->v->sites[index];
    const vs_channel_range *range = vs_calibration_range(b->calibration, index);
    if (n->kind == VS_KIND_P) return build_grids(b, site, VS_SCHEME_UNIT, 8, 1, NULL);
    if (n->kind == VS_KIND_V)
        return build_grids(b, site, VS_SCHEME_SYMMETRIC, r->bits_v, r->v == VS_V_PER_HEAD_SYM ? heads : 1, range);
    return build_grids(b, site, r->qk == VS_QK_PER_TENSOR_ASYM ? VS_SCHEME_ASYMMETRIC : VS_SCHEME_SYMMETRIC, r->bits_qk,
                       r->qk == VS_QK_PER_HEAD_SYM ? heads : 1, range);
}

static vs_status build_site(builder *b, size_t index) {
    if (!vs_recipe_quantizes(b->recipe, b->graph->nodes[b->graph->sites[index].node].kind)) return VS_OK;
    return b->graph->sites[index].what == VS_SITE_LINEAR ? build_linear(b, index) : build_operand(b, index);
}

static vs_status allocate(builder *b, const vs_weights *base) {
    vs_variant *v = b->v;
    v->sites = vs_calloc(v->count, sizeof *v->sites);
    v->row_scales = vs_calloc(v->count, sizeof *v->row_scales);
    v->weight_sums = vs_calloc(v->count, sizeof *v->weight_sums);
    v->weights.params = vs_calloc(b->graph->param_count, sizeof *v->weights.params);
    v->weights.owned = vs_calloc(OWNED_OF_SITE * v->count, sizeof *v->weights.owned);
    if (!v->sites || !v->row_scales || !v->weight_sums || !v->weights.params || !v->weights.owned) return no_memory(b->err);
    memcpy(v->weights.params, base->params, b->graph->param_count * sizeof *base->params);
    const size_t largest = vs_largest_weight(b->graph);
    b->scratch = v->backend->ops->alloc(v->backend, largest);
    return b->scratch ? VS_OK : no_memory(b->err);
}

vs_status vs_variant_create(vs_variant **out, const vs_weights *base, const vs_calibration *calibration,
                            const vs_recipe_config *recipe, const vs_variant_options *options, vs_error *err) {
    *out = NULL;
    vs_variant *v = vs_calloc(1, sizeof *v);
    if (!v) return no_memory(err);
    v->backend = base->backend;
    v->count = base->model->graph->site_count;
    v->weights = *base;
    v->weights.owned = NULL;
    v->weights.params = NULL;
    v->weights.owned_count = 0;
    builder b = { .v = v,
                  .model = base->model,
                  .graph = base->model->graph,
                  .calibration = calibration,
                  .recipe = recipe,
                  .options = options,
                  .err = err };
    vs_status status = allocate(&b, base);
    for (size_t i = 0; i < v->count && status == VS_OK; i++) status = build_site(&b, i);
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
    for (size_t i = 0; v->sites && i < v->count; i++) {
        free(v->sites[i].grids);
        free(v->sites[i].ranges);
        free(v->sites[i].smooth_host);
        if (v->row_scales) free(v->row_scales[i]);
    }
    free(v->weights.owned);
    free(v->weights.params);
    free(v->sites);
    free(v->row_scales);
    free(v->weight_sums);
    free(v);
}

const vs_site *vs_variant_site(const vs_variant *v, size_t site) { return site < v->count ? &v->sites[site] : NULL; }

void vs_variant_observe(vs_variant *v, size_t index, size_t group, const vs_recipe_config *recipe, const uint64_t *counts) {
    vs_site *site = &v->sites[index];
    const vs_range range = site->ranges[group];
    if (!vs_observer_applies(site->scheme, range)) return; /* a point: nothing to choose */
    const vs_range observed = recipe->observer == VS_OBSERVER_MSE
                                  ? vs_observe_mse(site->scheme, range, site->bits, counts)
                                  : vs_observe_percentile(site->scheme, range, counts, recipe->percentile);
    site->grids[group] = vs_grid_make(site->scheme, observed, site->bits);
}
