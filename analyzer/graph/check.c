/* A graph is refused before anything walks it; what follows from it is filled on the way. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operations.h"
#include "util/util.h"

enum { MOST = 1 << 24, MOST_LEVEL = 8 }; /* of one size: rows, columns, heads; products of three of them fit */

/* What is known of a value while nodes are gone through. */
typedef struct seen {
    bool there;
    size_t writer; /* the node that wrote over it, or over columns of it; VS_NONE */
    size_t next;   /* of the same memory; VS_NONE */
} seen;

typedef struct checker {
    vs_graph *g;
    size_t node;
    seen *seen; /* [values] */
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

static bool ends(const char *text, size_t size) { return memchr(text, '\0', size) != NULL; }

static bool good_rule(const vs_row_rule *r) {
    bool good = r->part_count > 0 && r->part_count <= VS_ROW_PARTS && r->times > 0 && r->times <= MOST;
    for (size_t i = 0; i < r->part_count && good; i++)
        good = r->parts[i].name && r->parts[i].count <= MOST && r->parts[i].level <= MOST_LEVEL;
    return good;
}

/* The tensors that a fold is made of, and that its shape is theirs. */
static bool good_fold(const vs_graph *g, const vs_param *p, size_t index) {
    const bool norm = p->fold >= VS_FOLD_SCALE;
    size_t rows = 0;
    if (p->fold == VS_FOLD_TENSOR) return true;
    for (size_t i = 0; i < VS_FOLD_SOURCES; i++) {
        if (p->from[i] == VS_NONE && !norm && i > 0) continue;
        if (p->from[i] >= index) return false;
        const vs_param *from = &g->params[p->from[i]];
        if (from->fold != VS_FOLD_TENSOR || from->cols != p->cols || (norm && from->rows != p->rows)) return false;
        if (i < 2) rows += from->rows;
    }
    return p->fold <= VS_FOLD_SHIFT && (norm || rows == p->rows);
}

static bool good_param(const vs_graph *g, size_t index) {
    const vs_param *p = &g->params[index];
    return p->rows > 0 && p->cols > 0 && p->rows <= MOST && p->cols <= MOST && good_fold(g, p, index);
}

static int by_name(const void *a, const void *b) {
    const vs_param *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static vs_status check_params(const checker *c) {
    const vs_graph *g = c->g;
    const vs_param **sorted = vs_calloc(g->param_count, sizeof *sorted);
    if (!sorted) return no_memory(c->err);
    vs_status status = VS_OK;
    for (size_t i = 0; i < g->param_count && status == VS_OK; i++) {
        sorted[i] = &g->params[i];
        if (!ends(g->params[i].name, sizeof g->params[i].name))
            status = refuse(c, "parameter %zu has no name", i);
        else if (!good_param(g, i))
            status = refuse(c, "parameter '%s' has no shape or no source", g->params[i].name);
    }
    if (status == VS_OK) qsort(sorted, g->param_count, sizeof(const vs_param *), by_name);
    for (size_t i = 1; i < g->param_count && status == VS_OK; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            status = refuse(c, "parameter '%s' is there twice", sorted[i]->name);
    free(sorted);
    return status;
}

/* The value whose memory this one shares; VS_NONE: none. */
static size_t base_of(const vs_value *v) { return v->view != VS_NONE ? v->view : v->alias; }

/* A base was made before what stands on it, so chains end; it is computed, and in the same sessions. */
static bool good_value(const vs_graph *g, size_t index) {
    const vs_value *v = &g->values[index];
    const size_t base = base_of(v);
    if (v->rows >= g->rule_count || v->cols.fixed > MOST || v->cols.cells > MOST || v->cols.fixed + v->cols.cells == 0)
        return false;
    if (v->given > VS_GIVEN_MEAN || (v->param != VS_NONE && (v->given == VS_GIVEN_NOT || v->param >= g->param_count)))
        return false;
    if (base == VS_NONE) return v->given == VS_GIVEN_NOT || !v->optional;
    return (v->alias == VS_NONE || v->view == VS_NONE) && base < index && v->given == VS_GIVEN_NOT &&
           g->values[base].given == VS_GIVEN_NOT && g->values[base].optional == v->optional;
}

static bool good_view(const vs_graph *g, const vs_value *v) {
    const vs_value *of = &g->values[v->view];
    return v->rows == of->rows && v->cols.cells == 0 && v->column <= MOST && v->column + v->cols.fixed <= of->cols.fixed;
}

/* Its memory, behind values that were looked at before. */
static void find_root(const checker *c, size_t index) {
    vs_value *v = &c->g->values[index];
    const size_t base = base_of(v);
    v->root = base == VS_NONE ? index : c->g->values[base].root;
    v->at = base == VS_NONE ? 0 : c->g->values[base].at + (v->view != VS_NONE ? v->column : 0);
    c->seen[index] = (seen){ false, VS_NONE, VS_NONE };
    if (base == VS_NONE) return;
    c->seen[index].next = c->seen[v->root].next;
    c->seen[v->root].next = index;
}

static vs_status check_tables(const checker *c) {
    const vs_graph *g = c->g;
    for (size_t i = 0; i < g->rule_count; i++)
        if (!good_rule(&g->rules[i])) return refuse(c, "rule %zu of rows is none", i);
    vs_status status = check_params(c);
    if (status != VS_OK) return status;
    for (size_t i = 0; i < g->value_count; i++) {
        if (!good_value(g, i)) return refuse(c, "value %zu is none", i);
        if (g->values[i].view != VS_NONE && !good_view(g, &g->values[i]))
            return refuse(c, "value %zu is no columns of value %zu", i, g->values[i].view);
        find_root(c, i);
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
    if (!ends(n->name, sizeof n->name) || !ends(n->label, sizeof n->label)) return refuse(c, "a name without an end");
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
    const vs_value *v = c->g->values;
    while (v[value].view != VS_NONE) value = v[value].view;
    return c->seen[value].there || v[value].given != VS_GIVEN_NOT;
}

static bool overlap(const vs_graph *g, size_t a, size_t b) {
    const vs_value *v = g->values;
    if (v[a].root != v[b].root) return false;
    if (v[a].cols.cells || v[b].cols.cells) return true;
    return v[a].at < v[b].at + v[b].cols.fixed && v[b].at < v[a].at + v[a].cols.fixed;
}

/* What the output stands over is gone. */
static vs_status check_written(const checker *c, const vs_node *n) {
    const vs_graph *g = c->g;
    const size_t over = g->values[n->out].alias;
    if (over == VS_NONE) return VS_OK;
    if (!vs_op_row_of(n->op)->over || over != n->in[0])
        return refuse(c, "'%s' cannot stand where another value stands", vs_op_name(n->op));
    for (size_t i = 1; i < n->in_count; i++)
        if (overlap(g, n->in[i], n->out)) return refuse(c, "it writes over its input %zu", i);
    for (size_t v = g->values[n->out].root; v != VS_NONE; v = c->seen[v].next)
        if (is_there(c, v) && overlap(g, v, n->out)) c->seen[v].writer = c->node;
    return VS_OK;
}

static vs_status check_input(const checker *c, const vs_node *n, size_t i) {
    vs_graph *g = c->g;
    vs_value *v = &g->values[n->in[i]];
    const vs_value *root = &g->values[v->root];
    if (!is_there(c, n->in[i])) return refuse(c, "input %zu is read before it is given", i);
    if (c->seen[n->in[i]].writer != VS_NONE)
        return refuse(c, "input %zu was written over by '%s'", i, g->nodes[c->seen[n->in[i]].writer].name);
    if ((v->given != VS_GIVEN_NOT) != (i >= vs_op_row_of(n->op)->given))
        return refuse(c, "input %zu is %s", i, v->given == VS_GIVEN_NOT ? "computed" : "given to the session");
    if (v->optional && !(n->op == VS_OP_ATTENTION && i == 3) && !g->values[n->out].optional)
        return refuse(c, "input %zu is there in some sessions only", i);
    if (root->passing && root->producer != VS_NONE && g->nodes[root->producer].segment != n->segment)
        return refuse(c, "input %zu is of another segment, which it does not outlive", i);
    v->last = g->values[v->root].last = c->node;
    return VS_OK;
}

static vs_status check_node(const checker *c) {
    vs_graph *g = c->g;
    const vs_node *n = &g->nodes[c->node];
    vs_status status = check_arguments(c, n);
    for (size_t i = 0; i < n->in_count && status == VS_OK; i++) status = check_input(c, n, i);
    if (status != VS_OK) return status;
    vs_value *out = &g->values[n->out];
    if (c->node && n->out <= g->nodes[c->node - 1].out) return refuse(c, "its output stands in front of an earlier node's");
    if (c->seen[n->out].there || out->given != VS_GIVEN_NOT || out->view != VS_NONE)
        return refuse(c, "its output is given already");
    if (out->optional && n->op != VS_OP_PROBS && n->op != VS_OP_OPERAND) return refuse(c, "its output is no probabilities");
    const char *wrong = vs_op_row_of(n->op)->shape(g, n);
    if (wrong) return refuse(c, "%s", wrong);
    status = check_written(c, n);
    if (status != VS_OK) return status;
    c->seen[n->out].there = true;
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

/* A stream is a value of its segment that a later one reads, the output one of the last. */
static vs_status check_ends(const checker *c) {
    vs_graph *g = c->g;
    for (size_t v = 0; v < g->value_count; v++)
        if (!is_there(c, v)) return refuse(c, "no node gives value %zu", v);
    for (size_t s = 0; s + 1 < g->segment_count; s++) {
        const vs_value *stream = &g->values[g->segments[s].stream];
        if (stream->producer == VS_NONE || g->nodes[stream->producer].segment != s)
            return refuse(c, "segment %zu does not give its stream", s);
        if (g->nodes[g->values[stream->root].last].segment == s) return refuse(c, "nothing reads the stream of segment %zu", s);
    }
    const vs_value *output = &g->values[g->output];
    if (output->producer == VS_NONE || g->nodes[output->producer].segment + 1 != g->segment_count)
        return refuse(c, "its last segment does not give its output");
    if (output->optional || g->values[output->root].passing) return refuse(c, "its output does not stay");
    g->values[output->root].last = g->node_count - 1;
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
    c.seen = vs_calloc(g->value_count, sizeof *c.seen);
    vs_status status = c.seen ? check_tables(&c) : no_memory(err);
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
    free(c.seen);
    return status;
}
