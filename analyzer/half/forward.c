/* The forward pass: a walk over the graph's nodes, each as the rows that the policy has of it. */
#include "half/machine.h"

/* ---- taps */

static void show(vs_half_run *r, size_t node, bool input) {
    const vs_half_model *m = r->model;
    const vs_node *n = &r->graph->nodes[node];
    const size_t value = input ? n->in[0] : n->out;
    if (!m->tap || r->status != VS_OK || n->shown == VS_SHOW_NOTHING || (input && n->shown != VS_SHOW_BOTH)) return;
    const vs_tap tap = { n->kind, n->block, input, vs_half_value(r, &r->lanes[0], value), node };
    r->status = m->tap(m->tap_context, &tap, r->lane_count > 1 ? vs_half_value(r, &r->lanes[1], value) : (vs_mat){ 0 }, r->err);
}

/* A product that is stored behind its unfolding, as other states have it. */
static void round_product(const vs_half_run *r, size_t node) {
    const vs_backend *be = r->backend;
    for (size_t l = 0; l < r->lane_count; l++) {
        const vs_mat x = vs_half_value(r, &r->lanes[l], r->graph->nodes[node].out);
        if (!vs_half_in_f32(r, &r->lanes[l], r->rows->first[node]))
            be->ops->round_half(be, x, r->model->weights->format, x, 1, NULL);
    }
}

/* ---- nodes */

/* The normalised image is rounded on entry. */
static void enter(const vs_half_run *r, size_t node) {
    const vs_backend *be = r->backend;
    const size_t value = r->graph->nodes[node].out;
    const vs_mat patches = vs_session_value(r->session, value, 0, 0);
    for (size_t l = 0; l < r->lane_count; l++) {
        const vs_mat to = vs_half_value(r, &r->lanes[l], value);
        if (r->lanes[l].reference)
            be->ops->copy(be, patches, to);
        else
            be->ops->round_half(be, patches, r->model->weights->format, to, 1, NULL);
    }
}

static void run_node(vs_half_run *r, size_t node) {
    const vs_node *n = &r->graph->nodes[node];
    const bool placed = vs_half_is_placed(r->rows, node);
    vs_slot slot;
    if (!vs_session_pass_slot(r->session, n->out, &slot)) return; /* probabilities are attention's own */
    show(r, node, true);
    if (n->op == VS_OP_ATTENTION) vs_half_compare_keys(r, node);
    if (n->op == VS_OP_PATCHIFY)
        enter(r, node);
    else if (r->rows->first[node] == r->rows->first[node + 1] && !(node && vs_half_is_placed(r->rows, node - 1)))
        vs_half_run_moving(r, node);
    for (size_t row = r->rows->first[node]; row < r->rows->first[node + 1]; row++) vs_half_run_row(r, row);
    if (placed && r->model->tap) round_product(r, node);
    show(r, node, false);
}

/* ---- streams */

size_t vs_half_blocks(const vs_graph *g) { return g->segment_count - 2; }

/* Whether a value that is no stream is read behind the segment that gives it. */
static bool is_handed_beside(const vs_graph *g, size_t value) {
    const vs_value *v = &g->values[value];
    if (v->root != value || v->producer == VS_NONE) return false;
    const size_t from = g->nodes[v->producer].segment;
    return g->nodes[v->last].segment > from && g->values[g->segments[from].stream].root != value;
}

bool vs_half_can_resume(const vs_graph *g) {
    for (size_t s = 0; s + 1 < g->segment_count; s++)
        if (g->values[g->segments[s].stream].rows != g->values[g->segments[0].stream].rows) return false;
    for (size_t v = 0; v < g->value_count; v++)
        if (is_handed_beside(g, v)) return false;
    return true;
}

/* Of every image, in front of a block; where a stream is not kept nothing is done. */
static void hand_over(const vs_half_run *r, size_t block, bool keep) {
    const vs_mat all = vs_half_value(r, &r->lanes[0], r->graph->segments[block].stream);
    const size_t rows = all.rows / r->images;
    for (size_t i = 0; i < r->images; i++) {
        void *at = r->model->streams->at[i * vs_half_blocks(r->graph) + block];
        const vs_mat own = vs_mat_view(r->backend, all, i * rows, rows, 0, all.cols), kept = { at, rows, all.cols, all.cols };
        if (at) r->backend->ops->copy(r->backend, keep ? own : kept, keep ? kept : own);
    }
}

/* ---- the walk */

/* Whether a block has shown what the caller wanted to know: counts are brought over first. */
static vs_status has_enough(const vs_half_run *r, size_t segment, bool *enough, vs_error *err) {
    *enough = false;
    if (!r->seen || !(r->model->largest > 0)) return VS_OK;
    const vs_segment *of = &r->graph->segments[segment];
    const size_t first = segment > 1 ? r->rows->first[of->first] : 0, end = r->rows->first[of->end];
    const vs_status status = r->backend->ops->sync(r->backend, err);
    for (size_t i = 0; i < r->images && status == VS_OK; i++)
        for (size_t k = first; k < end; k++) {
            const vs_half_seen *s = &r->seen[i][k];
            *enough |= s->stored.inf || s->cast[0].inf || s->cast[1].inf || s->stored.max > r->model->largest;
        }
    return status;
}

static void give(const vs_half_run *r, size_t value) {
    r->backend->ops->copy(r->backend, vs_half_value(r, &r->lanes[0], value), vs_session_value(r->session, value, 0, 0));
}

/* The output and, where it is scored outside, what it is scored from. */
static void give_output(const vs_half_run *r) {
    const vs_node *n = &r->graph->nodes[r->graph->values[r->graph->output].producer];
    give(r, r->graph->output);
    for (size_t i = 0; i < n->in_count && vs_half_op_of(n->op)->outside; i++) give(r, n->in[i]);
}

/* Segments from `first` on; the end of one may be enough. */
static vs_status walk(vs_half_run *r, size_t first, vs_error *err) {
    const vs_graph *g = r->graph;
    const vs_half_streams *streams = r->model->streams;
    bool enough = false;
    for (size_t s = first; s < g->segment_count && r->status == VS_OK && !enough; s++) {
        const bool is_block = s > 0 && s + 1 < g->segment_count;
        if (is_block && streams && streams->keep) hand_over(r, s - 1, true);
        for (size_t n = g->segments[s].first; n < g->segments[s].end; n++) run_node(r, n);
        if (is_block && r->status == VS_OK) r->status = has_enough(r, s, &enough, err);
    }
    if (r->status == VS_OK && !enough) give_output(r);
    return r->status;
}

vs_status vs_half_forward(vs_session *s, const vs_half_model *model, const float *pixels, vs_half_seen *const *seen,
                          vs_error *err) {
    vs_half_run run, *r = &run;
    const size_t block = model->streams ? model->streams->first : 0;
    /* for its patches alone */
    const vs_status status = vs_forward_embed(s, &model->weights->f32.w, pixels, 0, (vs_tapper){ NULL, NULL }, err);
    if (status != VS_OK) return status;
    vs_half_begin(r, s, model, seen);
    r->err = err;
    if (block) hand_over(r, block, false);
    return walk(r, block ? block + 1 : 0, err);
}
