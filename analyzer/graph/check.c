/* A graph is refused before anything walks it; what follows from it is filled on the way. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operations.h"
#include "util/util.h"

enum { MOST = 1 << 24, MOST_LEVEL = 8 }; /* of one size: rows, columns, heads; products of three of them fit */

typedef struct checker {
    vs_graph *g;
    size_t node;
    bool *there; /* [values] */
    vs_error *err;
} checker;

static vs_status refuse(const checker *c, const char *format, ...) VS_PRINTF(2, 3);
static vs_status refuse(const checker *c, const char *format, ...) {
    char what[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (c->node < c->g->node_count)
        return vs_fail(c->err, VS_ERR_FORMAT, "graph: node '%.47s': %s", c->g->nodes[c->node].name, what);
    return vs_fail(c->err, VS_ERR_FORMAT, "graph: %s", what);
}

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a model's graph"); }

/* ---- what stands alone */

static bool good_rule(const vs_row_rule *r) {
    bool good = r->part_count <= VS_ROW_PARTS && r->times > 0 && r->times <= MOST;
    for (size_t i = 0; i < r->part_count && good; i++)
        good = r->parts[i].name && r->parts[i].count <= MOST && r->parts[i].level <= MOST_LEVEL;
    return good;
}

static bool good_value(const vs_graph *g, size_t index) {
    const vs_value *v = &g->values[index];
    /* what it stands on was made before it, so chains end */
    return v->rows < g->rule_count && v->cols.fixed <= MOST && v->cols.cells <= MOST && v->column <= MOST &&
           (v->alias == VS_NONE || v->alias < index) && (v->view == VS_NONE || v->view < index) &&
           (v->alias == VS_NONE || v->view == VS_NONE) && v->given <= VS_GIVEN_MEAN &&
           (v->param == VS_NONE || (v->given != VS_GIVEN_NOT && v->param < g->param_count));
}

static bool good_fold(const vs_graph *g, const vs_param *p, size_t index) {
    bool good = p->fold <= VS_FOLD_SHIFT;
    for (size_t i = 0; i < VS_FOLD_SOURCES && p->fold != VS_FOLD_TENSOR; i++)
        good = good && (p->from[i] == VS_NONE || (p->from[i] < index && g->params[p->from[i]].fold == VS_FOLD_TENSOR));
    return good;
}

/* Behind values that were looked at before. */
static void find_root(vs_graph *g, size_t index) {
    vs_value *v = &g->values[index];
    const size_t on = v->view != VS_NONE ? v->view : v->alias;
    v->root = on == VS_NONE ? index : g->values[on].root;
    v->at = on == VS_NONE ? 0 : g->values[on].at + (v->view != VS_NONE ? v->column : 0);
}

static vs_status check_tables(const checker *c) {
    const vs_graph *g = c->g;
    for (size_t i = 0; i < g->rule_count; i++)
        if (!good_rule(&g->rules[i])) return refuse(c, "rule %zu of rows is none", i);
    for (size_t i = 0; i < g->param_count; i++) {
        const vs_param *p = &g->params[i];
        if (p->rows == 0 || p->cols == 0 || p->rows > MOST || p->cols > MOST || !good_fold(g, p, i))
            return refuse(c, "parameter '%.63s' has no shape or no source", p->name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(g->params[k].name, p->name) == 0) return refuse(c, "parameter '%.63s' is there twice", p->name);
    }
    for (size_t i = 0; i < g->value_count; i++) {
        if (!good_value(g, i)) return refuse(c, "value %zu is none", i);
        const vs_value *v = &g->values[i];
        const vs_extent of = v->view == VS_NONE ? v->cols : g->values[v->view].cols;
        if (v->view != VS_NONE && (v->cols.cells || v->column + v->cols.fixed > of.fixed || v->rows != g->values[v->view].rows))
            return refuse(c, "value %zu is no columns of value %zu", i, v->view);
        find_root(c->g, i);
    }
    return VS_OK;
}

static vs_status check_segments(const checker *c) {
    const vs_graph *g = c->g;
    size_t next = 0;
    for (size_t s = 0; s < g->segment_count; s++) {
        const vs_segment *x = &g->segments[s];
        if (x->first != next || x->end <= x->first || x->end > g->node_count)
            return refuse(c, "segment %zu is no run of nodes", s);
        if (s + 1 < g->segment_count ? x->stream >= g->value_count : x->stream != VS_NONE)
            return refuse(c, "segment %zu hands over no stream", s);
        for (size_t n = x->first; n < x->end; n++) c->g->nodes[n].segment = s;
        next = x->end;
    }
    if (next != g->node_count || g->segment_count < 2) return refuse(c, "its segments do not hold its nodes");
    return g->output < g->value_count ? VS_OK : refuse(c, "it has no output");
}

/* ---- nodes in order */

static vs_status check_arguments(const checker *c, const vs_node *n) {
    const vs_graph *g = c->g;
    if (n->op >= VS_OP_COUNT || n->kind > VS_KIND_NONE || n->shown > VS_SHOW_BOTH)
        return refuse(c, "no operation of this program");
    const vs_op_row *op = vs_op_row_of(n->op);
    if (n->in_count < op->least || n->in_count > op->most) return refuse(c, "%zu inputs for '%s'", n->in_count, op->name);
    if (n->heads > MOST || n->patch > 1 << 12 || n->level > MOST_LEVEL || !(n->eps >= 0))
        return refuse(c, "attributes of no size");
    for (size_t i = 0; i < n->in_count; i++)
        if (n->in[i] >= g->value_count) return refuse(c, "input %zu is no value", i);
    if (n->out >= g->value_count) return refuse(c, "its output is no value");
    for (size_t i = 0; i < VS_NODE_PARAMS; i++) {
        const bool wanted = i < op->params, may_lack = i + op->missing >= op->params;
        if (n->param[i] == VS_NONE ? wanted && !may_lack : !wanted || n->param[i] >= g->param_count)
            return refuse(c, "parameter %zu is missing, or one too many", i);
    }
    return VS_OK;
}

static bool is_there(const checker *c, size_t value) {
    const vs_value *v = &c->g->values[value];
    return v->view == VS_NONE ? c->there[value] || v->given != VS_GIVEN_NOT : is_there(c, v->view);
}

static bool overlap(const checker *c, size_t a, size_t b) {
    const vs_value *v = c->g->values;
    if (v[a].root != v[b].root) return false;
    if (v[a].cols.cells || v[b].cols.cells) return true;
    return v[a].at < v[b].at + v[b].cols.fixed && v[b].at < v[a].at + v[a].cols.fixed;
}

/* Whether `value` is what `over` became: written over it, once or several times. */
static bool descends(const vs_graph *g, size_t value, size_t over) {
    for (; value != VS_NONE; value = g->values[value].view != VS_NONE ? g->values[value].view : g->values[value].alias)
        if (value == over) return true;
    return false;
}

/* Nothing that this node writes over is read behind it. */
static vs_status check_written(const checker *c, const vs_node *n) {
    const vs_graph *g = c->g;
    const size_t over = g->values[n->out].alias;
    if (over == VS_NONE) return VS_OK;
    if (!vs_op_row_of(n->op)->over || over != n->in[0])
        return refuse(c, "'%s' cannot stand where another value stands", vs_op_name(n->op));
    for (size_t i = c->node + 1; i < g->node_count; i++)
        for (size_t k = 0; k < g->nodes[i].in_count && k < VS_NODE_INPUTS; k++) {
            const size_t read = g->nodes[i].in[k];
            if (read < g->value_count && c->there[read] && overlap(c, read, n->out) && !descends(g, read, n->out))
                return refuse(c, "'%.47s' behind it reads what it writes over", g->nodes[i].name);
        }
    return VS_OK;
}

static vs_status check_inputs(const checker *c, const vs_node *n) {
    vs_graph *g = c->g;
    for (size_t i = 0; i < n->in_count; i++) {
        vs_value *v = &g->values[n->in[i]];
        if (!is_there(c, n->in[i])) return refuse(c, "input %zu is read before it is given", i);
        if (v->optional && !(n->op == VS_OP_ATTENTION && i == 3) && !g->values[n->out].optional)
            return refuse(c, "input %zu is there in some sessions only", i);
        const size_t root = v->root;
        v->last = g->values[root].last = c->node;
        const size_t from = g->values[root].producer;
        if (g->values[root].passing && from != VS_NONE && g->nodes[from].segment != n->segment)
            return refuse(c, "input %zu is of another segment, which it does not outlive", i);
    }
    return VS_OK;
}

static vs_status check_node(const checker *c) {
    vs_graph *g = c->g;
    const vs_node *n = &g->nodes[c->node];
    vs_status status = check_arguments(c, n);
    if (status == VS_OK) status = check_inputs(c, n);
    if (status != VS_OK) return status;
    vs_value *out = &g->values[n->out];
    if (c->node && n->out <= g->nodes[c->node - 1].out) return refuse(c, "its output stands in front of an earlier node's");
    if (c->there[n->out] || out->given != VS_GIVEN_NOT || out->view != VS_NONE) return refuse(c, "its output is given already");
    if (out->optional && n->op != VS_OP_PROBS && n->op != VS_OP_OPERAND) return refuse(c, "its output is no probabilities");
    const char *wrong = vs_op_row_of(n->op)->shape(g, n);
    if (wrong) return refuse(c, "%s", wrong);
    status = check_written(c, n);
    if (status != VS_OK) return status;
    c->there[n->out] = true;
    out->producer = out->last = g->values[out->root].last = c->node;
    return VS_OK;
}

/* ---- what follows */

static bool has_place(const vs_node *n) { return n->op == VS_OP_LINEAR || n->op == VS_OP_OPERAND; }

static vs_status list_sites(const checker *c) {
    vs_graph *g = c->g;
    free(g->sites);
    g->site_count = 0;
    g->sites = vs_calloc(g->node_count, sizeof *g->sites);
    if (!g->sites) return no_memory(c->err);
    for (size_t i = 0; i < g->node_count; i++) {
        g->nodes[i].site = has_place(&g->nodes[i]) ? g->site_count : VS_NONE;
        if (g->nodes[i].site == VS_NONE) continue;
        g->sites[g->site_count++] = (vs_place){ i, g->nodes[i].op == VS_OP_LINEAR ? VS_SITE_LINEAR : VS_SITE_OPERAND };
    }
    return VS_OK;
}

/* A stream is a value of its segment; the output is the last segment's. */
static vs_status check_ends(const checker *c) {
    vs_graph *g = c->g;
    for (size_t s = 0; s + 1 < g->segment_count; s++) {
        const size_t from = g->values[g->segments[s].stream].producer;
        if (from == VS_NONE || g->nodes[from].segment != s) return refuse(c, "segment %zu does not give its stream", s);
    }
    const size_t last = g->values[g->output].producer;
    if (last == VS_NONE || g->nodes[last].segment + 1 != g->segment_count)
        return refuse(c, "its last segment does not give its output");
    g->values[g->values[g->output].root].last = g->node_count - 1; /* it stays */
    return VS_OK;
}

/* Every tensor has a node. */
static vs_status check_use(const checker *c) {
    const vs_graph *g = c->g;
    bool *used = vs_calloc(g->param_count + 1, sizeof *used);
    if (!used) return no_memory(c->err);
    for (size_t n = 0; n < g->node_count; n++)
        for (size_t i = 0; i < VS_NODE_PARAMS; i++)
            if (g->nodes[n].param[i] != VS_NONE) used[g->nodes[n].param[i]] = true;
    for (size_t p = 0; p < g->param_count; p++)
        for (size_t i = 0; i < VS_FOLD_SOURCES && g->params[p].fold != VS_FOLD_TENSOR; i++)
            if (g->params[p].from[i] != VS_NONE) used[g->params[p].from[i]] = true;
    for (size_t v = 0; v < g->value_count; v++)
        if (g->values[v].param != VS_NONE) used[g->values[v].param] = true;
    size_t p = 0;
    while (p < g->param_count && used[p]) p++;
    free(used);
    return p == g->param_count ? VS_OK : refuse(c, "no node uses parameter '%.63s'", g->params[p].name);
}

vs_status vs_graph_check(vs_graph *g, vs_error *err) {
    checker c = { .g = g, .node = g->node_count, .err = err };
    c.there = vs_calloc(g->value_count + 1, sizeof *c.there);
    vs_status status = c.there ? check_tables(&c) : no_memory(err);
    if (status == VS_OK) status = check_segments(&c);
    for (size_t i = 0; i < g->value_count && status == VS_OK; i++) g->values[i].producer = g->values[i].last = VS_NONE;
    for (size_t i = 0; i < g->node_count && status == VS_OK; i++) {
        c.node = i;
        status = check_node(&c);
    }
    if (status == VS_OK) {
        c.node = g->node_count;
        status = check_ends(&c);
    }
    if (status == VS_OK) status = check_use(&c);
    if (status == VS_OK) status = list_sites(&c);
    free(c.there);
    return status;
}
