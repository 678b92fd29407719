#include "sens/rerun.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static const vs_tapper no_tap = { NULL, NULL };

static size_t scratch_reals(const vs_graph *g, size_t patches, size_t images) {
    return vs_largest_weight(g) + images * vs_value_rows(g, g->output, patches) * vs_value_cols(g, g->output, patches);
}

vs_session_needs vs_rerun_needs(void) { return (vs_session_needs){ VS_RERUN_WORKSPACES, VS_RERUN_STREAMS, scratch_reals }; }

vs_status vs_reruns_create(vs_rerun **out, const vs_runner *runner, vs_error *err) {
    vs_rerun *reruns = *out = vs_calloc(runner->threads, sizeof *reruns);
    for (size_t i = 0; reruns && i < runner->threads; i++) {
        reruns[i] = (vs_rerun){ .backend = runner->weights->backend, .base = runner->weights, .stop = runner->stop };
        reruns[i].params = vs_calloc(runner->weights->model->graph->param_count, sizeof *reruns[i].params);
        if (!reruns[i].params) reruns = NULL;
    }
    return reruns ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for re-runs");
}

void vs_reruns_free(vs_rerun *reruns, const vs_runner *runner) {
    for (size_t i = 0; reruns && i < runner->threads; i++) free(reruns[i].params);
    free(reruns);
}

/* ------------------------------------------------------------------ the changed layer */

static const vs_graph *graph_of(const vs_rerun *r) { return r->base->model->graph; }

static vs_weights *start_from(vs_rerun *r, const vs_weights *weights) {
    r->changed = *weights;
    memcpy(r->params, weights->params, graph_of(r)->param_count * sizeof *r->params);
    r->changed.params = r->params;
    return &r->changed;
}

const vs_weights *vs_rerun_weights(vs_rerun *r, const vs_state *recipe, size_t site, vs_mode mode) {
    const vs_place place = graph_of(r)->sites[site];
    if (place.what != VS_SITE_LINEAR) return r->base;
    const size_t param = graph_of(r)->nodes[place.node].param[0];
    vs_weights *w = start_from(r, r->base);
    const vs_site *how = vs_variant_site(recipe->variant, site);
    if (mode != VS_MODE_ACTIVATION) {
        w->params[param] = recipe->weights->params[param];
    } else if (how->smooth) {
        const vs_mat from = vs_weights_linear(r->base, place.node).w,
                     smoothed = { r->weight_scratch, from.rows, from.cols, from.cols };
        vs_site_smooth_weight(r->backend, how, from, smoothed);
        w->params[param] = r->weight_scratch;
    }
    return w;
}

static void change_input(const vs_backend *be, const vs_site *site, vs_mode mode, vs_mat x) {
    vs_site_smooth(be, site, x, x);
    if (mode != VS_MODE_WEIGHT) vs_site_quantize(be, site, x, x, 1, NULL);
}

static const vs_site *site_at(const vs_state *recipe, const vs_graph *g, size_t node) {
    return vs_variant_site(recipe->variant, g->nodes[node].site);
}

static vs_status only_tap(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const vs_only_tap *c = context;
    if (tap->input && tap->node == c->node)
        change_input(c->backend, site_at(c->recipe, c->recipe->weights->model->graph, tap->node), c->mode, tap->x);
    return VS_OK;
}

vs_tapper vs_only_tapper(vs_only_tap *context) { return (vs_tapper){ only_tap, context }; }

/* ------------------------------------------------------------------ running on */

static bool interrupted(const vs_rerun *r) { return vs_stopped(r->stop); }

/* Segments from `first` on, on a stream, compared with the float output. */
static vs_status run_on(const vs_rerun *r, const vs_weights *w, size_t stream, size_t first, vs_tapper tapper,
                        vs_error_sums *const *sums, vs_error *err) {
    vs_session *s = r->job->session;
    vs_status status = interrupted(r) ? vs_fail(err, VS_ERR_INTERRUPTED, "interrupted") : VS_OK;
    for (size_t i = first; i + 1 < graph_of(r)->segment_count && status == VS_OK; i++)
        status = vs_forward_block(s, w, VS_RERUN_WORKSPACE, stream, i - 1, tapper, err);
    if (status == VS_OK) status = vs_forward_head(s, w, stream, tapper, err);
    if (status == VS_OK && sums)
        r->backend->ops->error_sums(r->backend, r->reference, vs_session_output(r->job->session), r->job->images, sums);
    return status;
}

static void copy_stream(const vs_rerun *r, size_t from, size_t to) { vs_session_copy_stream(r->job->session, from, to); }

vs_status vs_rerun_begin(vs_rerun *r, const vs_job *job, vs_error *err) {
    r->job = job;
    r->weight_scratch = vs_session_scratch(job->session);
    vs_status status = vs_forward_embed(job->session, r->base, job->pixels, VS_RERUN_BASE, no_tap, err);
    if (status != VS_OK) return status;
    copy_stream(r, VS_RERUN_BASE, VS_RERUN_STREAM);
    status = run_on(r, r->base, VS_RERUN_STREAM, 1, no_tap, NULL, err);
    const vs_mat out = vs_session_output(r->job->session);
    r->reference = (vs_mat){ (char *)r->weight_scratch + vs_largest_weight(graph_of(r)) * (size_t)r->backend->scalar, out.rows,
                             out.cols, out.cols };
    r->backend->ops->copy(r->backend, out, r->reference);
    return status;
}

vs_status vs_rerun_block(vs_rerun *r, size_t block, vs_error *err) {
    copy_stream(r, VS_RERUN_BASE, VS_RERUN_BLOCK_INPUT);
    return vs_forward_block(r->job->session, r->base, VS_RERUN_BASE_WORKSPACE, VS_RERUN_BASE, block, no_tap, err);
}

static vs_mat put_input(const vs_rerun *r, size_t value) {
    const vs_mat to = vs_session_value(r->job->session, value, VS_RERUN_WORKSPACE, 0);
    r->backend->ops->copy(r->backend, vs_session_value(r->job->session, value, VS_RERUN_BASE_WORKSPACE, 0), to);
    return to;
}

/* The node that a re-run begins with, its inputs those of the float model: a linear, whose input is changed at once, or the first
 * operand of an attention. */
static size_t begin_at(const vs_rerun *r, const vs_only_tap *only) {
    const vs_graph *g = graph_of(r);
    if (g->nodes[only->node].op == VS_OP_LINEAR) {
        const vs_mat x = put_input(r, g->nodes[only->node].in[0]);
        change_input(r->backend, site_at(only->recipe, g, only->node), only->mode, x);
        return only->node;
    }
    const vs_node *attention = &g->nodes[vs_graph_attention_of(g, only->node)];
    for (size_t i = 0; i < 3; i++) (void)put_input(r, attention->in[i]);
    return g->values[attention->in[0]].producer;
}

static vs_status alone_in_block(vs_rerun *r, const vs_weights *w, vs_only_tap *only, vs_error_sums *const *sums, vs_error *err) {
    const vs_graph *g = graph_of(r);
    const size_t node = begin_at(r, only);
    copy_stream(r, VS_RERUN_BLOCK_INPUT, VS_RERUN_STREAM);
    vs_forward_advance(r->job->session, r->base, VS_RERUN_BASE_WORKSPACE, VS_RERUN_STREAM, node);
    vs_status status = vs_forward_from(r->job->session, w, VS_RERUN_WORKSPACE, VS_RERUN_STREAM, node,
                                       g->nodes[node].op == VS_OP_LINEAR ? no_tap : vs_only_tapper(only), err);
    return status == VS_OK ? run_on(r, r->base, VS_RERUN_STREAM, g->nodes[node].segment + 1, no_tap, sums, err) : status;
}

vs_status vs_rerun_alone(vs_rerun *r, const vs_state *recipe, size_t site, vs_mode mode, vs_error_sums *const *sums,
                         vs_error *err) {
    const vs_graph *g = graph_of(r);
    vs_only_tap only = { r->backend, recipe, g->sites[site].node, mode };
    const vs_weights *w = vs_rerun_weights(r, recipe, site, mode);
    const size_t segment = g->nodes[only.node].segment;
    if (segment > 0 && segment + 1 < g->segment_count) return alone_in_block(r, w, &only, sums, err);
    if (segment > 0) return run_on(r, w, VS_RERUN_BASE, segment, vs_only_tapper(&only), sums, err);
    vs_status status = vs_forward_embed(r->job->session, w, r->job->pixels, VS_RERUN_STREAM, vs_only_tapper(&only), err);
    return status == VS_OK ? run_on(r, r->base, VS_RERUN_STREAM, 1, no_tap, sums, err) : status;
}

/* ------------------------------------------------------------------ all but one */

typedef struct spare_tap {
    const vs_state *recipe;
    const vs_backend *backend;
    size_t node;
} spare_tap;

static vs_status all_but_one(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const spare_tap *c = context;
    if (tap->node != c->node) vs_state_apply(c->recipe, c->backend, tap);
    return VS_OK;
}

/* The recipe's weights with one linear, and the norm in front of it that may hold its smoothing, float again. */
static const vs_weights *spared_weights(vs_rerun *r, const vs_state *recipe, size_t node) {
    const vs_graph *g = graph_of(r);
    vs_weights *w = start_from(r, recipe->weights);
    if (node == VS_NONE || g->nodes[node].op != VS_OP_LINEAR) return w;
    const size_t norm = vs_graph_norm_of(g, node), weight = g->nodes[node].param[0];
    w->params[weight] = r->base->params[weight];
    for (size_t i = 0; i < 2 && norm != VS_NONE; i++)
        w->params[g->nodes[norm].param[i]] = r->base->params[g->nodes[norm].param[i]];
    return w;
}

vs_status vs_rerun_spared(vs_rerun *r, const vs_state *recipe, size_t site, vs_error_sums *const *sums, vs_error *err) {
    const vs_graph *g = graph_of(r);
    spare_tap spare = { recipe, r->backend, site == VS_NONE ? VS_NONE : g->sites[site].node };
    const vs_tapper tapper = { all_but_one, &spare };
    const vs_weights *w = spared_weights(r, recipe, spare.node);
    const size_t segment = site == VS_NONE ? 1 : g->nodes[spare.node].segment;
    if (segment > 0) {
        copy_stream(r, VS_RERUN_BASE, VS_RERUN_STREAM);
        return run_on(r, w, VS_RERUN_STREAM, segment, tapper, sums, err);
    }
    vs_status status = vs_forward_embed(r->job->session, w, r->job->pixels, VS_RERUN_STREAM, tapper, err);
    return status == VS_OK ? run_on(r, w, VS_RERUN_STREAM, 1, tapper, sums, err) : status;
}
