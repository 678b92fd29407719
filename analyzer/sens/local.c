/* Each layer quantized alone, with the float model's input, compared at its own output (docs/study.md 4). */
#include <string.h>

#include "sens/analysis_run.h"

/* ---- scratch */

static size_t input_reals(const vs_graph *g, size_t patches, size_t images) {
    return images * vs_graph_site_reals(g, patches, true);
}
static size_t output_reals(const vs_graph *g, size_t patches, size_t images) {
    return images * vs_graph_site_reals(g, patches, false);
}

/* What a segment outside blocks gives at sites, and the model's output: kept one behind the other. */
static bool is_kept(const vs_graph *g, size_t node, size_t segment) {
    const vs_node *n = &g->nodes[node];
    const bool output = n->out == g->output && g->values[n->out].root == n->out; /* else it is a site's */
    return n->segment == segment && (output || (n->site != VS_NONE && g->sites[n->site].what == VS_SITE_LINEAR));
}

static size_t value_reals(const vs_graph *g, size_t value, size_t patches, size_t images) {
    return images * vs_value_rows(g, value, patches) * vs_value_cols(g, value, patches);
}

static size_t kept_reals(const vs_graph *g, size_t patches, size_t images) {
    size_t reals = 0;
    for (size_t i = 0; i < g->node_count; i++)
        if (is_kept(g, i, g->segment_count - 1)) reals += value_reals(g, g->nodes[i].out, patches, images);
    return reals;
}

size_t vs_analysis_scratch_reals(const vs_graph *g, size_t patches, size_t images) {
    const size_t rooms = 2 * input_reals(g, patches, images) + output_reals(g, patches, images) + vs_largest_weight(g),
                 kept = kept_reals(g, patches, images);
    return rooms > kept ? rooms : kept;
}

static const vs_node *first_of(const vs_graph *g, vs_op op) {
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == op) return &g->nodes[i];
    return NULL;
}

size_t vs_analysis_scratch_reals_with_probs(const vs_graph *g, size_t patches, size_t images) {
    const vs_node *probs = first_of(g, VS_OP_PROBS);
    return vs_analysis_scratch_reals(g, patches, images) + (probs ? value_reals(g, probs->out, patches, images) : 0);
}

static void *reals_at(const vs_backend *be, void *base, size_t offset) { return (char *)base + offset * (size_t)be->scalar; }

static size_t patches_of(const vs_analysis_run *r) {
    return vs_session_grid_h(r->job->session) * vs_session_grid_w(r->job->session);
}

vs_analysis_room vs_analysis_scratch(const vs_analysis_run *r, size_t rows, size_t in, size_t out) {
    const vs_backend *be = r->a->backend;
    const vs_graph *g = r->a->graph;
    void *base = vs_session_scratch(r->job->session);
    const size_t i = input_reals(g, patches_of(r), r->job->images), o = output_reals(g, patches_of(r), r->job->images);
    return (vs_analysis_room){ { base, rows, in, in },
                               { reals_at(be, base, i), rows, in, in },
                               { reals_at(be, base, 2 * i), rows, out, out },
                               { reals_at(be, base, 2 * i + o), out, in, in },
                               { reals_at(be, base, vs_analysis_scratch_reals(g, patches_of(r), r->job->images)), 0, 0, 0 } };
}

vs_mat vs_analysis_kept(const vs_analysis_run *r, size_t value) {
    const vs_graph *g = r->a->graph;
    const vs_mat x = vs_analysis_float_value(r, value);
    const size_t node = g->values[g->values[value].root].producer;
    size_t at = 0;
    for (size_t i = g->segments[g->nodes[node].segment].first; i < node; i++)
        if (is_kept(g, i, g->nodes[node].segment)) at += value_reals(g, g->nodes[i].out, patches_of(r), r->job->images);
    return (vs_mat){ reals_at(r->a->backend, vs_session_scratch(r->job->session), at), x.rows, x.cols, x.cols };
}

void vs_analysis_keep(const vs_analysis_run *r, size_t segment) {
    const vs_graph *g = r->a->graph;
    const vs_backend *be = r->a->backend;
    for (size_t i = g->segments[segment].first; i < g->segments[segment].end; i++)
        if (is_kept(g, i, segment))
            be->ops->copy(be, vs_analysis_float_value(r, g->nodes[i].out), vs_analysis_kept(r, g->nodes[i].out));
}

/* ---- layers alone */

vs_mat vs_analysis_float_value(const vs_analysis_run *r, size_t value) {
    return vs_session_value(r->job->session, value, VS_ANALYSIS_FLOAT, 0);
}

static void local_linear(const vs_analysis_run *r, size_t row, size_t node, size_t recipe) {
    const vs_analysis *a = r->a;
    const vs_backend *be = a->backend;
    const vs_state *p = &a->states->recipes[recipe];
    const vs_site *site = vs_variant_site(p->variant, a->graph->nodes[node].site);
    const vs_linear_weights base = vs_weights_linear(a->runner->weights, node), quantized = vs_weights_linear(p->weights, node);
    const vs_mat x = vs_analysis_float_value(r, a->graph->nodes[node].in[0]),
                 y = vs_analysis_float_value(r, a->graph->nodes[node].out);
    vs_analysis_room s = vs_analysis_scratch(r, x.rows, x.cols, y.cols);
    const size_t sums = vs_local_index(a, row, recipe);

    vs_mat smoothed = x, weight = base.w;
    if (site->smooth) {
        smoothed = s.input;
        weight = s.weight;
        vs_site_smooth(be, site, x, smoothed);
        vs_site_smooth_weight(be, site, base.w, weight);
    }
    vs_site_quantize(be, site, smoothed, s.quantized, 1, NULL);
    vs_analysis_compare(r, sums + VS_LOCAL_INPUT_TENSOR, smoothed, s.quantized);
    const struct {
        bool run;
        vs_local column;
        vs_mat x, w;
    } modes[] = {
        { a->options->weight, VS_LOCAL_WEIGHT, smoothed, quantized.w },
        { a->options->activation, VS_LOCAL_ACTIVATION, s.quantized, weight },
        { a->options->both, VS_LOCAL_BOTH, s.quantized, quantized.w },
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (!modes[i].run) continue;
        be->ops->linear(be, modes[i].x, modes[i].w, base.b, s.output);
        vs_analysis_compare(r, sums + modes[i].column, y, s.output);
    }
    if (!a->options->activation || !vs_site_has_ends(site)) return;
    vs_site_quantize_endless(be, site, smoothed, s.quantized, 1);
    be->ops->linear(be, s.quantized, weight, base.b, s.output);
    vs_analysis_compare(r, sums + VS_LOCAL_UNCLIPPED, y, s.output);
}

/* The first node that reads a value. */
static const vs_node *reader_of(const vs_graph *g, size_t value) {
    for (size_t i = g->values[value].producer + 1; i < g->node_count; i++)
        for (size_t k = 0; k < g->nodes[i].in_count; k++)
            if (g->nodes[i].in[k] == value) return &g->nodes[i];
    return NULL;
}

/* Attention from operands of which one is another than the session's: probabilities follow from q and k where they are kept. */
static void attend(const vs_analysis_run *r, size_t attention, size_t changed, vs_mat operands[4], vs_mat room, vs_mat out) {
    const vs_graph *g = r->a->graph;
    const vs_node *n = &g->nodes[attention];
    if (operands[3].p && changed < 3) {
        const size_t probs = g->values[g->values[n->in[3]].root].producer;
        const vs_mat anew = { room.p, operands[3].rows, operands[3].cols, operands[3].cols };
        vs_forward_node(r->job->session, r->a->runner->weights, probs, operands, anew);
        operands[3] = anew;
    }
    vs_forward_node(r->job->session, r->a->runner->weights, attention, operands, out);
}

/* One operand quantized, the others float; compared at the attention output, and behind float proj. */
static void local_operand(const vs_analysis_run *r, size_t row, size_t node, size_t recipe) {
    const vs_analysis *a = r->a;
    const vs_graph *g = a->graph;
    const vs_backend *be = a->backend;
    const vs_site *site = vs_variant_site(a->states->recipes[recipe].variant, g->nodes[node].site);
    const size_t sums = vs_local_index(a, row, recipe), attention = vs_graph_attention_of(g, node);
    const vs_node *n = &g->nodes[attention], *proj = reader_of(g, n->out);
    vs_mat operands[4], all[4];
    size_t which = 0;
    for (size_t i = 0; i < 4; i++) {
        all[i] = vs_analysis_float_value(r, n->in[i]);
        if (n->in[i] == g->nodes[node].out) which = i;
    }
    const vs_mat whole = all[which], attended = vs_analysis_float_value(r, n->out);
    const vs_analysis_room s = vs_analysis_scratch(r, attended.rows, attended.cols, attended.cols);
    const vs_mat quantized = which == 3 ? (vs_mat){ s.probs.p, whole.rows, whole.cols, whole.cols } : s.quantized;
    vs_site_quantize(be, site, whole, quantized, 1, NULL);
    vs_analysis_compare(r, sums + VS_LOCAL_INPUT_TENSOR, whole, quantized);
    if (!a->options->activation && !a->options->both) return;
    memcpy(operands, all, sizeof operands);
    operands[which] = quantized;
    attend(r, attention, which, operands, s.probs, s.output);
    vs_analysis_compare(r, sums + VS_LOCAL_ACTIVATION, attended, s.output);
    const vs_mat through = vs_analysis_float_value(r, proj->out),
                 projected = { s.input.p, s.output.rows, through.cols, through.cols };
    vs_forward_node(r->job->session, a->runner->weights, (size_t)(proj - g->nodes), &s.output, projected);
    vs_analysis_compare(r, vs_local_proj_index(a, row, recipe), through, projected);
    if (!a->options->activation || !vs_site_has_ends(site)) return;
    vs_site_quantize_endless(be, site, whole, quantized, 1);
    memcpy(operands, all, sizeof operands);
    operands[which] = quantized;
    attend(r, attention, which, operands, s.probs, s.output);
    vs_analysis_compare(r, sums + VS_LOCAL_UNCLIPPED, attended, s.output);
}

static void local_layer(const vs_analysis_run *r, size_t node) {
    const vs_analysis *a = r->a;
    const size_t site = a->graph->nodes[node].site, row = vs_row_of(a, node);
    for (size_t p = 0; row != SIZE_MAX && p < a->recipe_count; p++) {
        if (a->graph->sites[site].what == VS_SITE_LINEAR)
            local_linear(r, row, node, p);
        else if (vs_states_first_alike(a->states, p, site) == p)
            local_operand(r, row, node, p);
    }
}

void vs_analysis_local_segment(const vs_analysis_run *r, size_t segment) {
    const vs_segment *s = &r->a->graph->segments[segment];
    for (size_t i = s->first; i < s->end && !r->a->second_pass; i++)
        if (r->a->graph->nodes[i].site != VS_NONE) local_layer(r, i);
}

static void finish_row(const vs_analysis *a, size_t row, vs_error_sums *sums) {
    const vs_row *x = &a->results->rows[row];
    for (size_t p = 0; vs_kind_is_operand(x->kind) && p < a->recipe_count; p++) {
        const size_t from = vs_states_first_alike(a->states, p, x->site);
        vs_error_sums *local = sums + vs_local_index(a, row, p);
        if (from != p) {
            memcpy(local, sums + vs_local_index(a, row, from), VS_LOCAL_COUNT * sizeof *local);
            sums[vs_local_proj_index(a, row, p)] = sums[vs_local_proj_index(a, row, from)];
        }
        local[VS_LOCAL_BOTH] = local[VS_LOCAL_ACTIVATION];
    }
}

void vs_analysis_local_finish(const vs_analysis_run *r) {
    for (size_t i = 0; i < r->job->images; i++)
        for (size_t row = 0; row < r->a->rows; row++) finish_row(r->a, row, vs_sums_slot(&r->a->sums, r->job->first + i));
}
