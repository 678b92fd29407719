#include "edit/plant_kinds.h"

#include <math.h>

#include "backend/host_scalar.h"
#include "util/util.h"

/* ---- weights: in float64, rounded once */

static void scale(float *v, size_t count, double g) {
    for (size_t i = 0; v && i < count; i++) v[i] = (float)((double)v[i] * g);
}

/* What a linear gives at `row`, bias included. */
static void scale_row(vs_linear l, size_t row, double g) {
    scale(l.w + row * l.in, l.in, g);
    if (l.b) scale(l.b + row, 1, g);
}

static void divide_column(vs_linear l, size_t column, double g) {
    for (size_t o = 0; o < l.out; o++) l.w[o * l.in + column] = (float)((double)l.w[o * l.in + column] / g);
}

static vs_linear linear_of(const vs_plant_block *b, vs_kind kind) {
    return vs_model_linear(b->model, vs_graph_find(b->model->graph, kind, b->block));
}

/* Gain (0) or shift (1) of the norm that a linear reads. */
static float *norm_of(const vs_plant_block *b, vs_kind reader, size_t which) {
    const vs_graph *g = b->model->graph;
    return b->model->params[g->nodes[vs_graph_norm_of(g, vs_graph_find(g, reader, b->block))].param[which]];
}

/* ---- spike, hidden: hidden units */

/* SwiGLU: silu(x1) * x2 is linear in x2, the second half of w12's rows: planting there changes nothing but rounding. */
static bool gated(const vs_plant_block *b) { return linear_of(b, VS_KIND_FC1).out != linear_of(b, VS_KIND_FC2).in; }

static vs_status observe_fc1(const vs_backend *be, const vs_tap *tap, vs_plant_stats *s, vs_error *err) {
    (void)err;
    if (tap->kind != VS_KIND_FC1 || tap->input) return VS_OK;
    const vs_mat units = vs_mat_view(be, tap->x, 0, tap->x.rows, tap->x.cols - s->count, s->count);
    be->ops->channel_minmax(be, units, s->low, s->high);
    return VS_OK;
}

static vs_status observe_units(const vs_backend *be, const vs_tap *tap, vs_plant_stats *s, vs_error *err) {
    if (tap->kind != VS_KIND_FC2 || !tap->input) return observe_fc1(be, tap, s, err);
    be->ops->channel_minmax(be, tap->x, s->gelu_low, s->gelu_high);
    be->ops->channel_energy(be, tap->x, s->sum);
    return VS_OK;
}

static size_t hidden_units(const vs_plant_block *b) { return linear_of(b, VS_KIND_FC2).in; }

static double column_energy(vs_linear l, size_t column) {
    double sum = 0;
    for (size_t o = 0; o < l.out; o++) sum += (double)l.w[o * l.in + column] * (double)l.w[o * l.in + column];
    return sum;
}

static double peak_of(const vs_plant_stats *s, size_t unit) { return fmax(s->gelu_high[unit], -s->gelu_low[unit]); }

/* How little a unit matters, among those that reach 1: there GELU is nearly linear. SwiGLU is anywhere. */
static double score_spike(const vs_plant_stats *s, const vs_plant_block *b, size_t unit) {
    if (gated(b) ? !(peak_of(s, unit) > 0) : !(s->high[unit] >= 1)) return HUGE_VAL;
    return s->sum[unit] / s->tokens * column_energy(linear_of(b, VS_KIND_FC2), unit);
}

static double score_hidden(const vs_plant_stats *s, const vs_plant_block *b, size_t unit) {
    (void)b;
    return -s->high[unit];
}

static double gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }

/* The planted value becomes `ratio` times the block's largest. The most that a unit gave was seen; of GELU's erf form, which
 * rises from 1 on, it is computed. */
static double gain_spike(const vs_plant_config *p, const vs_plant_stats *s, const vs_plant_block *b, size_t unit) {
    double largest = 0;
    for (size_t u = 0; u < s->count; u++) largest = fmax(largest, gated(b) ? peak_of(s, u) : s->gelu_high[u]);
    if (b->model->arch.ffn != VS_FFN_GELU) return p->ratio * largest / peak_of(s, unit);
    return p->ratio * largest / gelu(s->high[unit]);
}

static double gain_given(const vs_plant_config *p, const vs_plant_stats *s, const vs_plant_block *b, size_t unit) {
    (void)s;
    (void)b;
    (void)unit;
    return p->gain;
}

/* The function hardly moves, fc2's input gains an outlier. */
static void change_unit(const vs_plant_block *b, size_t unit, double g) {
    const vs_linear fc1 = linear_of(b, VS_KIND_FC1), fc2 = linear_of(b, VS_KIND_FC2);
    scale_row(fc1, fc1.out - fc2.in + unit, g);
    divide_column(fc2, unit, g);
}

/* ---- norm1, norm2: channels of a norm */

static size_t norm_channels(const vs_plant_block *b) { return linear_of(b, VS_KIND_QKV).in; }

static double score_norm1(const vs_plant_stats *s, const vs_plant_block *b, size_t channel) {
    (void)s;
    return -fabs((double)norm_of(b, VS_KIND_QKV, 0)[channel]);
}

static double score_norm2(const vs_plant_stats *s, const vs_plant_block *b, size_t channel) {
    (void)s;
    return -fabs((double)norm_of(b, VS_KIND_FC1, 0)[channel]);
}

static void change_norm(const vs_plant_block *b, vs_kind reader, size_t channel, double g) {
    scale(norm_of(b, reader, 0) + channel, 1, g);
    scale(norm_of(b, reader, 1) + channel, 1, g);
    divide_column(linear_of(b, reader), channel, g);
}

static void change_norm1(const vs_plant_block *b, size_t channel, double g) { change_norm(b, VS_KIND_QKV, channel, g); }

static void change_norm2(const vs_plant_block *b, size_t channel, double g) { change_norm(b, VS_KIND_FC1, channel, g); }

/* ---- value: channels of v */

static vs_status observe_values(const vs_backend *be, const vs_tap *tap, vs_plant_stats *s, vs_error *err) {
    (void)err;
    if (tap->kind == VS_KIND_V && tap->input) be->ops->channel_minmax(be, tap->x, s->low, s->high);
    return VS_OK;
}

static size_t value_channels(const vs_plant_block *b) { return linear_of(b, VS_KIND_PROJ).in; }

static double score_value(const vs_plant_stats *s, const vs_plant_block *b, size_t channel) {
    (void)b;
    return -fmax(-s->low[channel], s->high[channel]);
}

static void change_value(const vs_plant_block *b, size_t channel, double g) {
    const vs_linear proj = linear_of(b, VS_KIND_PROJ);
    scale_row(linear_of(b, VS_KIND_QKV), 2 * proj.in + channel, g);
    divide_column(proj, channel, g);
}

/* ---- key */

static vs_status observe_queries(const vs_backend *be, const vs_tap *tap, vs_plant_stats *s, vs_error *err) {
    if (tap->kind != VS_KIND_Q || !tap->input) return VS_OK;
    const vs_status status = be->ops->download(be, s->host, tap->x, err);
    for (size_t i = 0; status == VS_OK && i < tap->x.rows * tap->x.cols; i++)
        s->sum[i % tap->x.cols] += vs_host_scalar(s->host, be->scalar, i);
    return status;
}

vs_status vs_plant_keys(const vs_plant_block *b, double gain, const vs_plant_stats *s, vs_error *err) {
    const vs_node *qkv = &b->model->graph->nodes[vs_graph_find(b->model->graph, VS_KIND_QKV, b->block)];
    const size_t width = linear_of(b, VS_KIND_PROJ).in, heads = b->model->arch.heads, d = width / heads;
    float **bias = &b->model->params[qkv->param[1]];
    if (!*bias && !(*bias = vs_calloc(3 * width, sizeof **bias))) return vs_fail(err, VS_ERR_NOMEM, "no memory for planting");
    for (size_t h = 0; h < heads; h++) {
        double length = 0;
        for (size_t i = h * d; i < (h + 1) * d; i++) length += s->sum[i] * s->sum[i];
        if (!(length > 0)) return vs_fail(err, VS_ERR_UNSUPPORTED, "the mean query of head %zu is zero: it has no direction", h);
        for (size_t i = h * d; i < (h + 1) * d; i++)
            (*bias)[width + i] = (float)((double)(*bias)[width + i] + gain * s->sum[i] / sqrt(length));
    }
    return VS_OK;
}

/* ---- residual */

typedef struct visitor {
    void (*each)(void *context, size_t param);
    void *context;
} visitor;

static void visit(const visitor *v, size_t param) {
    if (param != VS_NONE) v->each(v->context, param);
}

static void visit_linear(const visitor *v, const vs_graph *g, size_t value) {
    const vs_node *n = &g->nodes[g->values[value].producer];
    for (size_t i = 0; i < 2; i++) visit(v, n->param[i]);
}

/* Patches, the tokens in front of them, positions. */
static void visit_tokens(const visitor *v, const vs_graph *g, const vs_node *n) {
    const vs_param *prefix = &g->params[n->param[0]];
    visit_linear(v, g, n->in[0]);
    for (size_t i = 0; i < 2; i++) visit(v, prefix->from[i]);
    if (n->in_count > 1) visit(v, g->values[n->in[1]].param);
}

void vs_stream_params(const vs_graph *g, void (*each)(void *context, size_t param), void *context) {
    const visitor v = { each, context };
    for (size_t i = 0; i < g->node_count; i++) {
        const vs_node *n = &g->nodes[i];
        if (n->op == VS_OP_TOKENS) visit_tokens(&v, g, n);
        if (n->op == VS_OP_JOIN) visit(&v, n->param[0]);
        if (n->op != VS_OP_SCALE_ADD) continue;
        if (n->param[0] != VS_NONE)
            visit(&v, n->param[0]);
        else
            visit_linear(&v, g, n->in[1]);
    }
}

typedef struct scaling {
    vs_model *model;
    double gain;
} scaling;

static void scale_param(void *context, size_t param) {
    const scaling *s = context;
    const vs_param *p = &s->model->graph->params[param];
    scale(s->model->params[param], p->rows * p->cols, s->gain);
}

void vs_plant_residual(vs_model *m, double g) {
    scaling s = { m, g };
    vs_stream_params(m->graph, scale_param, &s);
}

/* ---- the table */

const vs_plant_rules *vs_plant_rules_of(vs_plant_kind kind) {
    static const vs_plant_rules rules[] = {
        [VS_PLANT_SPIKE] = { VS_KIND_FC2, "unit", false, observe_units, hidden_units, score_spike, gain_spike, change_unit },
        [VS_PLANT_HIDDEN] = { VS_KIND_FC2, "unit", false, observe_fc1, hidden_units, score_hidden, gain_given, change_unit },
        [VS_PLANT_NORM1] = { VS_KIND_QKV, "channel", false, NULL, norm_channels, score_norm1, gain_given, change_norm1 },
        [VS_PLANT_NORM2] = { VS_KIND_FC1, "channel", false, NULL, norm_channels, score_norm2, gain_given, change_norm2 },
        [VS_PLANT_VALUE] = { VS_KIND_PROJ, "channel", false, observe_values, value_channels, score_value, gain_given,
                             change_value },
        [VS_PLANT_KEY] = { .site = VS_KIND_K, .what = "head", .copies = true, .observe = observe_queries },
        [VS_PLANT_RESIDUAL] = { .site = VS_KIND_EMBED },
    };
    return &rules[kind];
}
