#include "graph/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

vs_status vs_build_begin(vs_builder *b, vs_error *err) {
    *b = (vs_builder){ .graph = vs_calloc(1, sizeof *b->graph), .block = -1 };
    if (!b->graph) return vs_fail(err, VS_ERR_NOMEM, "no memory for a model's graph");
    b->graph->output = VS_NONE;
    return VS_OK;
}

vs_status vs_build_end(vs_builder *b, vs_graph **out, vs_error *err) {
    vs_graph *g = b->graph;
    *out = NULL;
    *b = (vs_builder){ .failed = b->failed };
    vs_status status = b->failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a model's graph") : vs_graph_check(g, err);
    if (status != VS_OK) {
        vs_graph_free(g);
        return status;
    }
    *out = g;
    return VS_OK;
}

static bool grow(vs_builder *b, void **items, size_t *capacity, size_t count, size_t size) {
    if (b->failed || !vs_grow(items, capacity, count + 1, size)) b->failed = true;
    return !b->failed;
}

size_t vs_build_rule(vs_builder *b, vs_row_rule rule) {
    vs_graph *g = b->graph;
    if (!grow(b, (void **)&g->rules, &b->rules, g->rule_count, sizeof *g->rules)) return VS_NONE;
    if (rule.times == 0) rule.times = 1;
    g->rules[g->rule_count] = rule;
    return g->rule_count++;
}

static size_t add_value(vs_builder *b, vs_value v) {
    vs_graph *g = b->graph;
    if (!grow(b, (void **)&g->values, &b->values, g->value_count, sizeof *g->values)) return VS_NONE;
    v.producer = v.last = VS_NONE;
    g->values[g->value_count] = v;
    return g->value_count++;
}

size_t vs_build_given(vs_builder *b, vs_given given, size_t rule, vs_extent cols, size_t param) {
    return add_value(b,
                     (vs_value){ .rows = rule, .cols = cols, .given = given, .param = param, .alias = VS_NONE, .view = VS_NONE });
}

size_t vs_build_rule_of(const vs_builder *b, size_t value) { return b->failed ? 0 : b->graph->values[value].rows; }
vs_extent vs_build_cols_of(const vs_builder *b, size_t value) {
    return b->failed ? (vs_extent){ 0, 0 } : b->graph->values[value].cols;
}

size_t vs_build_view(vs_builder *b, size_t value, size_t column, size_t cols) {
    return add_value(b, (vs_value){ .rows = vs_build_rule_of(b, value),
                                    .cols = { cols, 0 },
                                    .param = VS_NONE,
                                    .alias = VS_NONE,
                                    .view = value,
                                    .column = column });
}

/* "blocks.3." of a block's nodes and parameters. */
static void name_into(const vs_builder *b, char *text, size_t size, const char *name, const char *what) {
    if (b->block >= 0)
        (void)snprintf(text, size, "blocks.%d.%s%s", b->block, name, what);
    else
        (void)snprintf(text, size, "%s%s", name, what);
}

static size_t add_param(vs_builder *b, vs_param p, const char *name, const char *what) {
    vs_graph *g = b->graph;
    if (!grow(b, (void **)&g->params, &b->params, g->param_count, sizeof *g->params)) return VS_NONE;
    name_into(b, p.name, sizeof p.name, name, what);
    g->params[g->param_count] = p;
    return g->param_count++;
}

size_t vs_build_param(vs_builder *b, const char *name, const char *what, size_t rows, size_t cols, bool optional) {
    return add_param(b, (vs_param){ .rows = rows, .cols = cols, .optional = optional }, name, what);
}

size_t vs_build_fold(vs_builder *b, const char *name, vs_fold fold, size_t rows, size_t cols, const size_t from[VS_FOLD_SOURCES],
                     double eps) {
    vs_param p = { .rows = rows, .cols = cols, .fold = fold, .eps = eps };
    memcpy(p.from, from, sizeof p.from);
    return add_param(b, p, name, "");
}

size_t vs_build_node(vs_builder *b, vs_node n, const char *name, size_t rule, vs_extent cols, size_t over) {
    vs_graph *g = b->graph;
    n.out = add_value(b, (vs_value){ .rows = rule, .cols = cols, .param = VS_NONE, .alias = over, .view = VS_NONE });
    if (!grow(b, (void **)&g->nodes, &b->nodes, g->node_count, sizeof *g->nodes)) return VS_NONE;
    n.block = b->block;
    n.kind = VS_KIND_NONE;
    n.site = VS_NONE;
    name_into(b, n.name, sizeof n.name, name, "");
    g->nodes[g->node_count++] = n;
    return n.out;
}

size_t vs_build_passing(vs_builder *b, size_t value) {
    if (!b->failed) b->graph->values[value].passing = true;
    return value;
}

vs_node *vs_build_last(vs_builder *b) { return b->failed ? NULL : &b->graph->nodes[b->graph->node_count - 1]; }

void vs_build_show(vs_builder *b, vs_kind kind, vs_shown shown, const char *label) {
    vs_node *n = vs_build_last(b);
    if (!n) return;
    n->kind = kind;
    n->shown = shown;
    (void)snprintf(n->label, sizeof n->label, "%s", label ? label : n->name);
}

void vs_build_segment(vs_builder *b, size_t stream) {
    vs_graph *g = b->graph;
    if (!grow(b, (void **)&g->segments, &b->segments, g->segment_count, sizeof *g->segments)) return;
    const size_t first = g->segment_count ? g->segments[g->segment_count - 1].end : 0;
    g->segments[g->segment_count++] = (vs_segment){ first, g->node_count, stream };
}

/* ---- operations */

#define NO_PARAMS                                                                                                                \
    { VS_NONE, VS_NONE, VS_NONE }

size_t vs_build_linear(vs_builder *b, const char *name, vs_kind kind, size_t x, size_t out) {
    const size_t w = vs_build_param(b, name, ".weight", out, vs_build_cols_of(b, x).fixed, false),
                 bias = vs_build_param(b, name, ".bias", 1, out, true);
    const vs_node n = { .op = VS_OP_LINEAR, .in = { x }, .in_count = 1, .param = { w, bias, VS_NONE } };
    const size_t y = vs_build_node(b, n, name, vs_build_rule_of(b, x), (vs_extent){ out, 0 }, VS_NONE);
    vs_build_show(b, kind, VS_SHOW_BOTH, NULL);
    return y;
}

size_t vs_build_layernorm_rows(vs_builder *b, const char *name, size_t gain, size_t shift, size_t x, size_t rule, double eps) {
    const vs_node n = { .op = VS_OP_LAYERNORM, .in = { x }, .in_count = 1, .param = { gain, shift, VS_NONE }, .eps = eps };
    return vs_build_node(b, n, name, rule, vs_build_cols_of(b, x), VS_NONE);
}

size_t vs_build_layernorm(vs_builder *b, const char *name, size_t x, double eps) {
    const size_t c = vs_build_cols_of(b, x).fixed, gain = vs_build_param(b, name, ".weight", 1, c, false),
                 shift = vs_build_param(b, name, ".bias", 1, c, false);
    return vs_build_layernorm_rows(b, name, gain, shift, x, vs_build_rule_of(b, x), eps);
}

size_t vs_build_same(vs_builder *b, vs_op op, const char *name, size_t x, bool over) {
    const vs_node n = { .op = op, .in = { x }, .in_count = 1, .param = NO_PARAMS };
    return vs_build_node(b, n, name, vs_build_rule_of(b, x), vs_build_cols_of(b, x), over ? x : VS_NONE);
}

size_t vs_build_operand(vs_builder *b, const char *name, vs_kind kind, size_t x, size_t heads) {
    const vs_node n = { .op = VS_OP_OPERAND, .in = { x }, .in_count = 1, .param = NO_PARAMS, .heads = heads };
    const size_t y = vs_build_node(b, n, name, vs_build_rule_of(b, x), vs_build_cols_of(b, x), x);
    vs_build_show(b, kind, VS_SHOW_BOTH, NULL);
    if (!b->failed) b->graph->values[y].optional = b->graph->values[x].optional;
    return y;
}

size_t vs_build_add(vs_builder *b, const char *name, size_t x, size_t u, size_t gamma) {
    const vs_node n = { .op = VS_OP_SCALE_ADD, .in = { x, u }, .in_count = 2, .param = { gamma, VS_NONE, VS_NONE } };
    return vs_build_node(b, n, name, vs_build_rule_of(b, x), vs_build_cols_of(b, x), x);
}

size_t vs_build_rows(vs_builder *b, const char *name, size_t x, size_t rule) {
    const vs_node n = { .op = VS_OP_ROWS, .in = { x }, .in_count = 1, .param = NO_PARAMS };
    return vs_build_node(b, n, name, rule, vs_build_cols_of(b, x), VS_NONE);
}
