#include "sens/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sens/analysis_run.h"
#include "util/util.h"

/* Heads of probabilities stand side by side. */
static size_t columns_of(const vs_analysis *a, const vs_row *row, vs_side tensor) {
    const vs_node *n = &a->graph->nodes[row->node];
    const size_t value = tensor == VS_SIDE_IN ? n->in[0] : n->out, patches = a->results->tokens - vs_graph_prefix(a->graph);
    return vs_value_rule(a->graph, value)->times * vs_value_cols(a->graph, value, patches);
}

void vs_analysis_compare(const vs_analysis_run *r, size_t index, vs_mat x, vs_mat y) {
    vs_error_sums *out[VS_MAX_BATCH];
    vs_sums_out(&r->a->sums, r->job, index, out);
    r->a->backend->ops->error_sums(r->a->backend, x, y, r->job->images, out);
}

/* ------------------------------------------------------------------ taps */

static vs_status float_tap(void *context, const vs_tap *tap, vs_error *err) {
    const vs_analysis_run *r = context;
    const size_t row = vs_row_of(r->a, tap->node);
    if (row == SIZE_MAX) return VS_OK;
    if (!tap->input && vs_kind_is_operand(tap->kind)) return vs_analysis_capture(r, row, VS_SIDE_OUT, tap->x, err);
    return vs_analysis_observe(r, row, tap->input ? VS_SIDE_IN : VS_SIDE_OUT, tap->x, err);
}

/* The float tensor that a state's is compared with: outside blocks states are written over it. */
static vs_mat reference_of(const vs_analysis_run *r, size_t value) {
    const vs_graph *g = r->a->graph;
    const bool in_block = g->nodes[g->values[value].producer].block >= 0;
    return in_block ? vs_analysis_float_value(r, value) : vs_analysis_kept(r, value);
}

static void compare_cumulative(const vs_analysis_run *r, size_t node, size_t value, vs_mat x) {
    const vs_analysis *a = r->a;
    const size_t row = vs_row_of(a, node);
    if (row == SIZE_MAX || a->second_pass || !a->options->cumulative) return;
    vs_analysis_compare(r, vs_cumulative_index(a, row, r->state), reference_of(r, value), x);
}

/* The attention whose output a node reads; VS_NONE: it reads another thing. */
static size_t attention_before(const vs_graph *g, size_t node) {
    const size_t from = g->values[g->nodes[node].in[0]].producer;
    return from != VS_NONE && g->nodes[from].op == VS_OP_ATTENTION ? from : VS_NONE;
}

/* Operands are compared at the attention's output. */
static void compare_operands(const vs_analysis_run *r, const vs_tap *tap) {
    const vs_graph *g = r->a->graph;
    const size_t attention = attention_before(g, tap->node);
    for (size_t i = 0; attention != VS_NONE && i < g->nodes[attention].in_count; i++)
        compare_cumulative(r, g->values[g->nodes[attention].in[i]].producer, g->nodes[attention].out, tap->x);
}

static vs_status state_input(const vs_analysis_run *r, const vs_tap *tap, size_t row, vs_error *err) {
    const vs_analysis *a = r->a;
    const vs_state *state = &a->states->states[r->state];
    const vs_site *site = state->variant ? vs_variant_site(state->variant, a->graph->nodes[tap->node].site) : NULL;
    compare_operands(r, tap);
    if (site) vs_site_smooth_running(a->backend, site, tap->x, tap->x);
    vs_status status = row == SIZE_MAX ? VS_OK : vs_analysis_observe(r, row, VS_SIDE_IN, tap->x, err);
    if (site && status == VS_OK) {
        const bool counted = row != SIZE_MAX && !a->second_pass;
        vs_quant_counts *counts[VS_MAX_BATCH];
        for (size_t i = 0; counted && i < r->job->images; i++)
            counts[i] = &vs_analysis_slot(r, i)->dist[vs_dist_index(a, row, r->state, VS_SIDE_IN)].counts;
        vs_site_quantize(a->backend, site, tap->x, tap->x, r->job->images, counted ? counts : NULL);
    }
    return status;
}

static vs_status state_tap(void *context, const vs_tap *tap, vs_error *err) {
    const vs_analysis_run *r = context;
    const size_t row = vs_row_of(r->a, tap->node);
    if (tap->input) return state_input(r, tap, row, err);
    if (row == SIZE_MAX) return VS_OK;
    if (!vs_kind_is_operand(tap->kind)) compare_cumulative(r, tap->node, r->a->graph->nodes[tap->node].out, tap->x);
    if (vs_out_is_in(r->a, tap->kind, r->state)) return vs_analysis_capture(r, row, VS_SIDE_OUT, tap->x, err);
    return vs_analysis_observe(r, row, VS_SIDE_OUT, tap->x, err);
}

/* ------------------------------------------------------------------ a half-precision state */

static void compare_half(const vs_analysis_run *r, size_t row, vs_mat x, vs_mat y) {
    if (row != SIZE_MAX && !r->a->second_pass && r->a->options->cumulative)
        vs_analysis_compare(r, vs_cumulative_index(r->a, row, r->state), x, y);
}

/* Its run has the float run beside it, whose tensors are x. */
static vs_status half_tap(void *context, const vs_tap *tap, vs_mat x, vs_error *err) {
    const vs_analysis_run *r = context;
    const vs_analysis *a = r->a;
    const vs_graph *g = a->graph;
    const size_t row = vs_row_of(a, tap->node), attention = tap->input ? attention_before(g, tap->node) : VS_NONE;
    if (tap->kind == VS_KIND_BLOCK && !a->second_pass && a->options->cumulative)
        vs_analysis_compare(r, vs_stream_index(a, r->state, (size_t)tap->block), x, tap->x);
    if (!tap->input && g->nodes[tap->node].out == g->output && !a->second_pass)
        vs_analysis_compare(r, vs_output_index(a, r->state), x, tap->x);
    for (size_t i = 0; attention != VS_NONE && i < 3; i++) /* the attention output, where operands are compared */
        compare_half(r, vs_row_of(a, g->values[g->nodes[attention].in[i]].producer), x, tap->x);
    if (row == SIZE_MAX) return VS_OK;
    if (tap->input) return vs_analysis_observe(r, row, VS_SIDE_IN, tap->x, err);
    if (vs_kind_is_operand(tap->kind)) return vs_analysis_capture(r, row, VS_SIDE_OUT, tap->x, err);
    compare_half(r, row, x, tap->x);
    return vs_analysis_observe(r, row, VS_SIDE_OUT, tap->x, err);
}

static bool is_half(const vs_analysis *a, size_t state) { return a->states->states[state].half != NULL; }

/* Whole models, before all others: they take the session for themselves. */
static vs_status run_halves(vs_analysis_run *r, vs_error *err) {
    const vs_analysis *a = r->a;
    vs_status status = VS_OK;
    for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
        if (!is_half(a, s)) continue;
        vs_half_model model = *a->states->states[s].half;
        model.tap = half_tap;
        model.tap_context = r;
        r->state = s;
        status = vs_half_forward(r->job->session, &model, r->job->pixels, NULL, err);
    }
    return status;
}

/* ------------------------------------------------------------------ images through the model, all states side by side */

static bool interrupted(const vs_analysis *a) { return vs_stopped(a->runner->stop); }

static vs_status finish_images(vs_analysis_run *r, vs_error *err) {
    const vs_analysis *a = r->a;
    const size_t head = a->graph->segment_count - 1;
    r->state = 0;
    vs_status status = vs_forward_head(r->job->session, a->runner->weights, 0, (vs_tapper){ float_tap, r }, err);
    if (status != VS_OK) return status;
    vs_analysis_local_segment(r, head);
    vs_analysis_keep(r, head);
    const vs_mat out = vs_session_output(r->job->session), reference = vs_analysis_kept(r, a->graph->output);
    for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
        if (is_half(a, s)) continue;
        r->state = s;
        status = vs_forward_head(r->job->session, a->states->states[s].weights, s, (vs_tapper){ state_tap, r }, err);
        if (!a->second_pass) vs_analysis_compare(r, vs_output_index(a, s), reference, out);
    }
    if (!a->second_pass) vs_analysis_compare(r, vs_output_index(a, 0), reference, reference);
    return status;
}

/* Whether a variant quantizes anything in front of the blocks. */
static bool changes_embedding(const vs_analysis *a, const vs_variant *v) {
    for (size_t i = a->graph->segments[0].first; v && i < a->graph->segments[0].end; i++)
        if (a->graph->nodes[i].site != VS_NONE && vs_variant_site(v, a->graph->nodes[i].site)->quantized) return true;
    return false;
}

/* Tokens of the float model in stream 0 and of every state in its own: the same where patch_embed stays float. */
static vs_status embed(vs_analysis_run *r, vs_error *err) {
    const vs_analysis *a = r->a;
    vs_session *session = r->job->session;
    const float *pixels = r->job->pixels;
    const bool quantized = changes_embedding(a, a->states->variant_count ? a->states->variants[0] : NULL);
    vs_status status = vs_forward_embed(session, a->runner->weights, pixels, 0, (vs_tapper){ float_tap, r }, err);
    if (status == VS_OK && quantized) {
        vs_analysis_local_segment(r, 0);
        vs_analysis_keep(r, 0);
    }
    for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
        if (is_half(a, s)) continue;
        r->state = s;
        if (quantized)
            status = vs_forward_embed(session, a->states->states[s].weights, pixels, s, (vs_tapper){ state_tap, r }, err);
        else
            vs_session_copy_stream(session, 0, s);
    }
    return status;
}

static void reset_slot(const vs_analysis *a, vs_image_slot *s) {
    for (size_t i = 0; i < a->rows * a->state_count * VS_SIDE_COUNT; i++) {
        s->dist[i] = (vs_dist_slot){ .energy = s->dist[i].energy };
        memset(s->dist[i].energy, 0, a->dist[i].cols * sizeof *s->dist[i].energy);
    }
}

/* After block b; queries, in front once they have joined, are no tokens of the image. */
static vs_status measure_norms(const vs_analysis_run *r, size_t b, vs_error *err) {
    const vs_session *session = r->job->session;
    const vs_graph *g = r->a->graph;
    const vs_row_rule *tokens = vs_graph_tokens(g), *stream = vs_value_rule(g, g->segments[vs_graph_block(g, b)].stream);
    const size_t patches = vs_session_grid_h(session) * vs_session_grid_w(session), each = vs_rule_rows(stream, patches),
                 first = vs_rule_first(stream, vs_rule_find(stream, tokens), patches);
    const vs_mat x = vs_session_stream(session, 0);
    vs_status status = VS_OK;
    for (size_t i = 0; i < r->job->images && status == VS_OK; i++)
        status = vs_norms_measure(&vs_analysis_slot(r, i)->tokens, r->a->backend, b,
                                  vs_mat_view(r->a->backend, x, i * each + first, vs_rule_rows(tokens, patches), 0, x.cols),
                                  vs_session_grid_w(session), err);
    return status;
}

static vs_status through_block(vs_analysis_run *r, size_t b, vs_error *err) {
    const vs_analysis *a = r->a;
    vs_session *session = r->job->session;
    if (interrupted(a)) return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
    r->state = 0;
    vs_status status = vs_forward_block(session, a->runner->weights, VS_ANALYSIS_FLOAT, 0, b, (vs_tapper){ float_tap, r }, err);
    if (status == VS_OK && !a->second_pass) vs_analysis_local_segment(r, vs_graph_block(a->graph, b));
    if (status == VS_OK && !a->second_pass) status = measure_norms(r, b, err);
    for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
        if (is_half(a, s)) continue;
        r->state = s;
        status =
            vs_forward_block(session, a->states->states[s].weights, VS_ANALYSIS_STATE, s, b, (vs_tapper){ state_tap, r }, err);
        if (status == VS_OK && !a->second_pass && a->options->cumulative)
            vs_analysis_compare(r, vs_stream_index(a, s, b), vs_session_stream(session, 0), vs_session_stream(session, s));
    }
    return status;
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    const vs_analysis *a = context;
    vs_analysis_run r = { a, job, 0 };
    if (a->runner->probabilities && vs_session_tokens(job->session) != a->results->tokens)
        return vs_fail(err, VS_ERR_SHAPE,
                       "with recipe.p all analysis images must have one size: image %zu has %zu tokens, not %zu", job->first,
                       vs_session_tokens(job->session), a->results->tokens);
    if (!a->second_pass) vs_sums_reset(&a->sums, job);
    for (size_t i = 0; !a->second_pass && i < job->images; i++) reset_slot(a, vs_analysis_slot(&r, i));
    vs_status status = run_halves(&r, err);
    if (status == VS_OK) status = embed(&r, err);
    for (size_t b = 0; b < a->model->arch.depth && status == VS_OK; b++) status = through_block(&r, b, err);
    const vs_segment *head = &a->graph->segments[a->graph->segment_count - 1];
    bool ends_early = a->second_pass;
    for (size_t i = head->first; i < head->end; i++) ends_early &= vs_row_of(a, i) == SIZE_MAX;
    if (status == VS_OK && !ends_early) status = finish_images(&r, err);
    if (status == VS_OK) status = a->backend->ops->sync(a->backend, err);
    if (status == VS_OK && !a->second_pass) vs_analysis_local_finish(&r);
    return status;
}

/* ------------------------------------------------------------------ pooling and results */

static size_t dist_count(const vs_analysis *a) { return a->rows * a->state_count * VS_SIDE_COUNT; }

static vs_status pool_image(void *context, size_t image, vs_error *err) {
    vs_analysis *a = context;
    const vs_image_slot *s = &a->slots[image % a->runner->wave];
    vs_sums_pool(&a->sums, image);
    for (size_t i = 0; i < dist_count(a); i++) vs_dist_pool_add(&a->dist[i], image, &s->dist[i]);
    return vs_norms_pool(&a->results->norms, vs_graph_tokens(a->graph), image, &s->tokens, err);
}

static vs_status create_slot(const vs_analysis *a, vs_image_slot *s, size_t energies, vs_error *err) {
    s->dist = vs_calloc(dist_count(a) + 1, sizeof *s->dist);
    s->energies = vs_calloc(energies + 1, sizeof *s->energies);
    s->heads = vs_calloc(a->model->arch.heads, sizeof *s->heads);
    if (!s->dist || !s->energies || !s->heads) return vs_fail(err, VS_ERR_NOMEM, "no memory for the distributions of an image");
    double *next = s->energies;
    for (size_t i = 0; i < dist_count(a); i++) {
        s->dist[i].energy = next;
        next += a->dist[i].cols;
    }
    return VS_OK;
}

static vs_status create_pools(vs_analysis *a, size_t *energies, vs_error *err) {
    for (size_t i = 0; i < dist_count(a); i++) {
        const vs_row *row = &a->results->rows[i / (a->state_count * VS_SIDE_COUNT)];
        const size_t cols = columns_of(a, row, (vs_side)(i % VS_SIDE_COUNT));
        vs_status status = vs_dist_pool_create(&a->dist[i], cols, err);
        if (status != VS_OK) return status;
        *energies += cols;
    }
    return VS_OK;
}

static vs_status create(vs_analysis *a, vs_error *err) {
    const size_t sites = a->graph->site_count, dists = dist_count(a);
    a->row_of_site = vs_calloc(sites, sizeof *a->row_of_site);
    a->slots = vs_calloc(a->runner->wave, sizeof *a->slots);
    a->dist = vs_calloc(dists + 1, sizeof *a->dist);
    a->counts = vs_calloc(a->runner->threads, sizeof *a->counts);
    a->hists = a->backend->ops->alloc_counts(a->backend, dists * VS_HIST_BINS);
    bool whole = a->row_of_site && a->slots && a->dist && a->counts && a->hists;
    for (size_t t = 0; whole && t < a->runner->threads; t++)
        whole = (a->counts[t] = vs_calloc(dists + 1, sizeof **a->counts)) != NULL;
    if (!whole)
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the analysis of %zu layers in %zu states", a->rows, a->state_count);
    for (size_t i = 0; i < sites; i++) a->row_of_site[i] = SIZE_MAX;
    for (size_t r = 0; r < a->rows; r++) a->row_of_site[a->results->rows[r].site] = r;
    size_t energies = 0;
    vs_status status = create_pools(a, &energies, err);
    if (status == VS_OK) status = vs_sums_create(&a->sums, a->runner->wave, vs_output_index(a, a->state_count), err);
    for (size_t w = 0; w < a->runner->wave && status == VS_OK; w++) status = create_slot(a, &a->slots[w], energies, err);
    return status;
}

static void release(vs_analysis *a) {
    for (size_t w = 0; a->slots && w < a->runner->wave; w++) {
        free(a->slots[w].dist);
        free(a->slots[w].energies);
        free(a->slots[w].heads);
        free(a->slots[w].tokens.norms);
    }
    for (size_t i = 0; a->dist && i < dist_count(a); i++) vs_dist_pool_release(&a->dist[i]);
    for (size_t t = 0; a->counts && t < a->runner->threads; t++) free(a->counts[t]);
    if (a->hists) a->backend->ops->free(a->backend, a->hists);
    vs_sums_release(&a->sums);
    free(a->counts);
    free(a->row_of_site);
    free(a->slots);
    free(a->dist);
}

static void quantizer_columns(const vs_analysis *a, const vs_dist_pool *pool, const vs_row *row, size_t state,
                              vs_distribution *in) {
    const vs_variant *v = a->states->states[state].variant;
    if (!v || !in->present) return;
    const vs_site *site = vs_variant_site(v, row->site);
    in->quantized = true;
    in->qstep = vs_site_step(site, in->max);
    in->qzeroed = (double)pool->counts.zeroed / (double)pool->stats.count;
    in->clipped = (double)pool->counts.clipped / (double)pool->stats.count;
}

static const vs_sqnr_pool *sqnr(const vs_analysis *a, size_t index) { return &a->sums.pools[index]; }

static vs_grid_ends ends_of(const vs_site *site) {
    if (!vs_site_has_ends(site)) return (vs_grid_ends){ .present = false };
    const size_t g = vs_site_tightest(site);
    const vs_grid *grid = &site->grids[g];
    return (vs_grid_ends){ true, site->grid_count, (double)grid->lo, (double)grid->hi, vs_grid_overshoot(grid, site->ranges[g]) };
}

static void fill_recipes(const vs_analysis *a, size_t r) {
    const vs_row *row = &a->results->rows[r];
    for (size_t p = 0; p < a->recipe_count; p++) {
        vs_row_recipe *out = &row->recipes[p];
        const vs_site *site = vs_variant_site(a->states->recipes[p].variant, row->site);
        const bool activation = a->options->activation;
        const bool modes[VS_LOCAL_COUNT] = {
            a->options->weight, activation, a->options->both, true, true, activation && vs_site_has_ends(site)
        };
        out->ends = ends_of(site);
        for (size_t l = 0; l < VS_LOCAL_COUNT; l++) {
            const bool has = modes[l] && (vs_kind_is_linear(row->kind) || (l != VS_LOCAL_WEIGHT && l != VS_LOCAL_WEIGHT_TENSOR));
            if (has) out->local[l] = vs_sqnr_pool_result(sqnr(a, vs_local_index(a, r, p) + l));
        }
        if (vs_kind_is_linear(row->kind)) { /* no data: one number, no spread over images */
            vs_sqnr_pool tensor = { .min = 0 };
            vs_sqnr_pool_add(&tensor, &a->states->recipes[p].variant->weight_sums[row->site]);
            out->local[VS_LOCAL_WEIGHT_TENSOR] = vs_sqnr_pool_result(&tensor);
        }
        if (vs_kind_is_operand(row->kind) && (a->options->activation || a->options->both))
            out->local_proj = vs_sqnr_pool_result(sqnr(a, vs_local_proj_index(a, r, p)));
        const size_t s = a->states->recipe_state[p];
        if (a->options->cumulative && s != SIZE_MAX) out->cumulative = vs_sqnr_pool_result(sqnr(a, vs_cumulative_index(a, r, s)));
    }
}

/* hist [VS_HIST_BINS]: room. */
static vs_status fill_distribution(const vs_analysis *a, size_t index, uint64_t *hist, vs_distribution *out, vs_error *err) {
    memset(hist, 0, VS_HIST_BINS * sizeof *hist);
    vs_status status =
        a->backend->ops->read_counts(a->backend, (const uint64_t *)a->hists + index * VS_HIST_BINS, VS_HIST_BINS, hist, err);
    if (status == VS_OK) *out = vs_dist_pool_result(&a->dist[index], hist);
    return status;
}

static vs_status fill_states(const vs_analysis *a, size_t r, uint64_t *hist, vs_error *err) {
    const vs_row *row = &a->results->rows[r];
    vs_status status = VS_OK;
    for (size_t s = 0; s < a->state_count && status == VS_OK; s++) {
        const size_t in = vs_dist_index(a, r, s, VS_SIDE_IN), out = vs_dist_index(a, r, s, VS_SIDE_OUT);
        vs_row_state *state = &row->states[s];
        status = fill_distribution(a, in, hist, &state->in, err);
        if (status == VS_OK && vs_out_is_in(a, row->kind, s))
            state->out = state->in;
        else if (status == VS_OK)
            status = fill_distribution(a, out, hist, &state->out, err);
        quantizer_columns(a, &a->dist[in], row, s, &state->in);
        const double reference = row->states[0].out.median;
        state->has_shift = state->out.present && reference > 0;
        if (state->has_shift) state->median_shift = state->out.median / reference - 1;
    }
    return status;
}

static vs_status fill_rows(const vs_analysis *a, vs_error *err) {
    uint64_t *hist = vs_calloc(VS_HIST_BINS, sizeof *hist);
    vs_status status = hist ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a histogram");
    for (size_t i = 0; i < dist_count(a); i++)
        for (size_t t = 0; t < a->runner->threads; t++) {
            a->dist[i].below += a->counts[t][i].below;
            a->dist[i].above += a->counts[t][i].above;
        }
    for (size_t r = 0; r < a->rows && status == VS_OK; r++) {
        fill_recipes(a, r);
        status = fill_states(a, r, hist, err);
    }
    free(hist);
    return status;
}

/* The residual stream of every state but fp32; pooled histograms of the captured tensors. */
static vs_status fill_charts(const vs_analysis *a, vs_error *err) {
    const size_t depth = a->model->arch.depth;
    for (size_t i = depth; i < a->state_count * depth && a->options->cumulative; i++)
        a->results->stream[i] = vs_sqnr_pool_result(sqnr(a, vs_stream_index(a, 0, i)));
    vs_status status = VS_OK;
    for (size_t i = 0; i < a->options->capture_count; i++) {
        vs_surface_capture *c = &a->options->captures[i];
        for (size_t s = 0; s < a->state_count && status == VS_OK; s++) {
            const vs_side tensor = vs_out_is_in(a, a->results->rows[c->row].kind, s) ? VS_SIDE_IN : c->tensor;
            c->hists[s] = vs_calloc(VS_HIST_BINS, sizeof **c->hists);
            if (!c->hists[s]) return vs_fail(err, VS_ERR_NOMEM, "no memory for a histogram");
            const uint64_t *counts = (const uint64_t *)a->hists + vs_dist_index(a, c->row, s, tensor) * VS_HIST_BINS;
            status = a->backend->ops->read_counts(a->backend, counts, VS_HIST_BINS, c->hists[s], err);
        }
    }
    return status;
}

static size_t largest(size_t a, size_t b) { return a > b ? a : b; }

static size_t scratch_with_half(const vs_graph *a, size_t t, size_t images) {
    return largest(vs_analysis_scratch_reals(a, t, images), vs_half_scratch(a, t, images));
}

static size_t scratch_with_half_and_probs(const vs_graph *a, size_t t, size_t images) {
    return largest(vs_analysis_scratch_reals_with_probs(a, t, images), vs_half_scratch(a, t, images));
}

vs_scratch_fn vs_analysis_scratch_of(bool probabilities, bool half) {
    if (half) return probabilities ? scratch_with_half_and_probs : scratch_with_half;
    return probabilities ? vs_analysis_scratch_reals_with_probs : vs_analysis_scratch_reals;
}

vs_status vs_analyze(vs_results *results, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                     const vs_analysis_options *options, vs_error *err) {
    vs_analysis a = { .results = results,
                      .runner = runner,
                      .backend = runner->weights->backend,
                      .model = runner->weights->model,
                      .graph = runner->weights->model->graph,
                      .states = states,
                      .options = options,
                      .rows = results->row_count,
                      .state_count = states->state_count,
                      .recipe_count = states->recipe_count };
    vs_status status = create(&a, err);
    const vs_session_needs needs = { VS_ANALYSIS_WORKSPACES, states->state_count,
                                     vs_analysis_scratch_of(runner->probabilities, states->half != NULL) };
    if (status == VS_OK) status = vs_run_images(runner, set, options->images, "analysis", needs, work, pool_image, &a, err);
    a.second_pass = true;
    if (status == VS_OK) status = vs_run_images(runner, set, options->images, "structure", needs, work, NULL, &a, err);
    if (status == VS_OK) status = fill_rows(&a, err);
    if (status == VS_OK) status = fill_charts(&a, err);
    for (size_t s = 0; s < a.state_count && status == VS_OK; s++)
        results->output_sqnr[s] = vs_sqnr_pool_result(sqnr(&a, vs_output_index(&a, s)));
    release(&a);
    return status;
}
