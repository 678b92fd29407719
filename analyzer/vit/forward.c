/* The forward pass: a walk over the graph. What the nodes compute is in graph/, in which order in build_*.c. */
#include "vit/session.h"

/* Where a pass has its values. */
typedef struct pass {
    vs_session *s;
    const vs_weights *w;
    size_t workspace, stream;
    vs_tapper tapper;
} pass;

static vs_mat value_of(const pass *p, size_t value) { return vs_session_value(p->s, value, p->workspace, p->stream); }

static vs_node_work operation_of(const vs_session *s, const vs_weights *w, const vs_node *n) {
    vs_node_work o = { .backend = s->backend,
                       .graph = s->graph,
                       .node = n,
                       .images = s->options.images,
                       .grid_h = s->h,
                       .grid_w = s->w,
                       .scratch = s->operation };
    for (size_t i = 0; i < VS_NODE_PARAMS; i++) o.param[i] = n->param[i] == VS_NONE ? NULL : w->params[n->param[i]];
    return o;
}

static vs_status show(const pass *p, size_t node, bool input, vs_mat x, vs_error *err) {
    const vs_node *n = &p->s->graph->nodes[node];
    if (!p->tapper.fn || n->shown == VS_SHOW_NOTHING || (input && n->shown != VS_SHOW_BOTH)) return VS_OK;
    const vs_tap tap = { n->kind, n->block, input, x, node };
    return p->tapper.fn(p->tapper.context, &tap, err);
}

static vs_status run(const pass *p, size_t node, bool show_input, vs_error *err) {
    const vs_node *n = &p->s->graph->nodes[node];
    vs_node_work o = operation_of(p->s, p->w, n);
    o.out = value_of(p, n->out);
    if (!o.out.p) return VS_OK; /* probabilities that nobody wants to see */
    for (size_t i = 0; i < n->in_count; i++) o.in[i] = value_of(p, n->in[i]);
    vs_status status = show_input ? show(p, node, true, o.in[0], err) : VS_OK;
    if (status != VS_OK) return status;
    vs_node_compute(&o);
    return show(p, node, false, o.out, err);
}

static vs_status run_segment(const pass *p, size_t segment, vs_error *err) {
    const vs_segment *x = &p->s->graph->segments[segment];
    vs_status status = VS_OK;
    for (size_t i = x->first; i < x->end && status == VS_OK; i++) status = run(p, i, true, err);
    if (segment + 1 < p->s->graph->segment_count) p->s->ran[p->stream] = segment;
    return status;
}

vs_status vs_forward_embed(vs_session *s, const vs_weights *w, const float *pixels, size_t stream, vs_tapper tapper,
                           vs_error *err) {
    const vs_mat to = vs_session_given(s, VS_GIVEN_PIXELS);
    vs_status status = s->backend->ops->upload(s->backend, to.p, pixels, to.rows * to.cols, err);
    const pass p = { s, w, 0, stream, tapper };
    return status == VS_OK ? run_segment(&p, 0, err) : status;
}

vs_status vs_forward_block(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t block, vs_tapper tapper,
                           vs_error *err) {
    const pass p = { s, w, workspace, stream, tapper };
    return run_segment(&p, vs_graph_block(s->graph, block), err);
}

vs_status vs_forward_from(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t node, vs_tapper tapper,
                          vs_error *err) {
    const vs_graph *g = s->graph;
    const pass p = { s, w, workspace, stream, tapper };
    const size_t segment = g->nodes[node].segment;
    vs_status status = VS_OK;
    for (size_t i = node; i < g->segments[segment].end && status == VS_OK; i++)
        status = run(&p, i, i > node || g->nodes[i].op != VS_OP_LINEAR, err);
    if (segment + 1 < g->segment_count) s->ran[stream] = segment;
    return status;
}

/* Whether a node writes over the stream that its segment began with. */
static bool adds_to_stream(const vs_graph *g, size_t node) {
    const size_t segment = g->nodes[node].segment, out = g->nodes[node].out;
    if (segment == 0 || g->values[out].alias == VS_NONE) return false;
    return g->values[out].root == g->values[g->segments[segment - 1].stream].root;
}

void vs_forward_advance(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t node) {
    const pass p = { s, w, workspace, stream, { NULL, NULL } };
    for (size_t i = s->graph->segments[s->graph->nodes[node].segment].first; i < node; i++) {
        if (!adds_to_stream(s->graph, i)) continue;
        const vs_status status = run(&p, i, false, NULL); /* shows nothing, so nothing fails */
        (void)status;
    }
}

vs_status vs_forward_head(vs_session *s, const vs_weights *w, size_t stream, vs_tapper tapper, vs_error *err) {
    const pass p = { s, w, 0, stream, tapper };
    return run_segment(&p, s->graph->segment_count - 1, err);
}

vs_status vs_forward(vs_session *s, const vs_weights *w, const float *pixels, vs_tapper tapper, vs_error *err) {
    vs_status status = vs_forward_embed(s, w, pixels, 0, tapper, err);
    const pass p = { s, w, 0, 0, tapper };
    for (size_t i = 1; i < s->graph->segment_count && status == VS_OK; i++) status = run_segment(&p, i, err);
    return status;
}

void vs_forward_node(const vs_session *s, const vs_weights *w, size_t node, const vs_mat *in, vs_mat out) {
    const vs_node *n = &s->graph->nodes[node];
    vs_node_work o = operation_of(s, w, n);
    for (size_t i = 0; i < n->in_count; i++) o.in[i] = in[i];
    o.out = out;
    vs_node_compute(&o);
}
