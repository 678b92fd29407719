/* The rows of a graph: one walk over its nodes with the table beside it. What rows are called and what they read follows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "half/machine.h"
#include "util/util.h"

/* ---- making them */

/* Columns of the value, where it is read in parts. */
static void list_parts(const vs_graph *g, vs_half_row *row) {
    for (size_t v = 0; v < g->value_count; v++) {
        if (g->values[v].view != row->out) continue;
        if (row->part_count == VS_HALF_PARTS) { /* more than there is room for: as a whole */
            row->part_count = 0;
            return;
        }
        row->parts[row->part_count++] = v;
    }
}

bool vs_half_is_placed(const vs_half_rows *rows, size_t node) {
    const vs_graph *g = rows->graph;
    const vs_node *n = &g->nodes[node];
    return n->op == VS_OP_LINEAR && node + 1 < g->node_count && g->nodes[node + 1].op == VS_OP_UNFOLD &&
           g->nodes[node + 1].in[0] == n->out && g->values[n->out].last == node + 1;
}

static vs_half_row make_row(const vs_half_rows *rows, size_t node, const vs_half_form *form, size_t number) {
    const vs_graph *g = rows->graph;
    const vs_node *n = &g->nodes[node];
    vs_half_row row = { .node = node, .forms = form, .form_count = 1, .out = n->out };
    if (vs_half_is_placed(rows, node)) row.out = g->nodes[node + 1].out;
    if (n->op != VS_OP_LINEAR) return row;
    list_parts(g, &row);
    if (!n->halves) return row;
    row.cols = g->values[n->out].cols.fixed / 2;
    row.column = number * row.cols;
    return row;
}

static bool add_constant(vs_half_rows *rows, const vs_node *n, vs_half_operand operand) {
    if (operand.from != VS_FROM_CONSTANT) return true;
    const double value = vs_half_constant_of(rows->graph, n, (vs_half_constant)operand.index);
    if (vs_half_constant_at(rows, value) < rows->constant_count) return true;
    if (!vs_grow((void **)&rows->constants, &rows->constant_capacity, rows->constant_count + 1, sizeof *rows->constants))
        return false;
    rows->constants[rows->constant_count++] = value;
    return true;
}

/* Those of one node. */
static bool add_rows(vs_half_rows *rows, size_t node) {
    const vs_graph *g = rows->graph;
    const vs_node *n = &g->nodes[node];
    const vs_half_op *op = vs_half_op_of(n->op);
    for (size_t i = 0; i < op->count; i++) {
        const vs_half_form *form = &op->forms[i];
        if (form->of && !form->of(g, n)) continue;
        if (!add_constant(rows, n, form->u)) return false;
        if (form->again) {
            rows->at[rows->count - 1].form_count++;
            continue;
        }
        if (!vs_grow((void **)&rows->at, &rows->capacity, rows->count + 1, sizeof *rows->at)) return false;
        rows->at[rows->count] = make_row(rows, node, form, rows->count - rows->first[node]);
        rows->count++;
    }
    return true;
}

static void mark_keys(vs_half_rows *rows, size_t node) {
    size_t part = 0;
    const size_t row = rows->graph->nodes[node].op == VS_OP_ATTENTION ? vs_half_keys(rows, node, &part) : VS_NONE;
    if (row != VS_NONE) rows->at[row].keys[part] = true;
}

vs_status vs_half_rows_create(vs_half_rows **out, const vs_graph *g, vs_error *err) {
    vs_half_rows *rows = vs_calloc(1, sizeof *rows);
    *out = NULL;
    bool whole = rows && (rows->first = vs_calloc(g->node_count + 1, sizeof *rows->first));
    if (whole) rows->graph = g;
    for (size_t n = 0; n < g->node_count && whole; n++) {
        rows->first[n] = rows->count;
        whole = add_rows(rows, n);
    }
    if (!whole) {
        vs_half_rows_free(rows);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    }
    rows->first[g->node_count] = rows->count;
    for (size_t n = 0; n < g->node_count; n++) mark_keys(rows, n);
    *out = rows;
    return VS_OK;
}

void vs_half_rows_free(vs_half_rows *rows) {
    if (!rows) return;
    free(rows->at);
    free(rows->first);
    free(rows->constants);
    free(rows);
}

/* ---- which is which */

size_t vs_half_row_count(const vs_half_rows *rows) { return rows->count; }
size_t vs_half_first_row(const vs_half_rows *rows, size_t node) { return rows->first[node]; }

static const vs_node *node_of(const vs_half_rows *rows, size_t row) { return &rows->graph->nodes[rows->at[row].node]; }

bool vs_half_is_outside(const vs_half_rows *rows, size_t row) { return vs_half_op_of(node_of(rows, row)->op)->outside; }

size_t vs_half_output_row(const vs_half_rows *rows) {
    const vs_graph *g = rows->graph;
    size_t node = g->values[g->output].producer;
    while (rows->first[node] == rows->first[node + 1]) node = g->values[g->nodes[node].in[0]].producer;
    return rows->first[node + 1] - 1;
}

size_t vs_half_constant_at(const vs_half_rows *rows, double value) {
    size_t at = 0;
    while (at < rows->constant_count && !(rows->constants[at] == value)) at++;
    return at;
}

const vs_half_form *vs_half_form_of(const vs_half_row *row, const vs_half_case *of) {
    for (size_t i = 0; i < row->form_count; i++)
        if (!row->forms[i].when || row->forms[i].when(of)) return &row->forms[i];
    return NULL;
}

static bool is_there(const vs_half_rows *rows, const bool *present, const vs_half_case *of, size_t row) {
    return present ? present[row] : vs_half_form_of(&rows->at[row], of) != NULL;
}

static bool gives(const vs_half_row *row, size_t column) {
    return row->cols == 0 || (column >= row->column && column < row->column + row->cols);
}

size_t vs_half_giver(const vs_half_rows *rows, const bool *present, const vs_half_case *of, size_t value, size_t column) {
    const size_t node = rows->graph->values[value].producer;
    vs_half_case own = of ? *of : (vs_half_case){ 0 };
    own.node = &rows->graph->nodes[node];
    for (size_t row = rows->first[node + 1]; row-- > rows->first[node];)
        if (gives(&rows->at[row], column) && is_there(rows, present, &own, row)) return row;
    return VS_NONE;
}

size_t vs_half_keys(const vs_half_rows *rows, size_t attention, size_t *part) {
    const vs_graph *g = rows->graph;
    size_t value = g->nodes[attention].in[1];
    while (g->values[value].producer != VS_NONE && g->nodes[g->values[value].producer].op == VS_OP_OPERAND)
        value = g->nodes[g->values[value].producer].in[0];
    const size_t whole = g->values[value].view != VS_NONE ? g->values[value].view : value, node = g->values[whole].producer;
    *part = 0;
    if (node == VS_NONE || g->nodes[node].op != VS_OP_LINEAR || g->nodes[node].halves) return VS_NONE;
    const vs_half_row *row = &rows->at[rows->first[node]];
    while (*part < row->part_count && row->parts[*part] != value) ++*part;
    return *part < row->part_count || whole == value ? rows->first[node] : VS_NONE;
}

/* ---- names */

static void name_row(const vs_half_rows *rows, size_t row, const vs_half_form *form, char *text, size_t size) {
    const vs_node *n = node_of(rows, row);
    const char *name = form->name, *dot = strrchr(n->name, '.');
    if (!name && n->param[0] != VS_NONE)
        (void)snprintf(text, size, "%s", rows->graph->params[n->param[0]].name);
    else if (!name || *name == 0 || *name == '.')
        (void)snprintf(text, size, "%s%s", n->name, name ? name : ".scale");
    else
        (void)snprintf(text, size, "%.*s%s", dot ? (int)(dot + 1 - n->name) : 0, n->name, name);
}

void vs_half_row_name(const vs_half_rows *rows, const vs_policy_config *policy, size_t row, char *text, size_t size) {
    const vs_half_case of = { policy, NULL, node_of(rows, row) };
    const vs_half_form *form = vs_half_form_of(&rows->at[row], &of);
    name_row(rows, row, form ? form : rows->at[row].forms, text, size);
}

void vs_half_place_name(const vs_half_rows *rows, size_t row, size_t place, size_t grid_h, size_t grid_w, char *text,
                        size_t size) {
    const vs_row_rule *rule = vs_value_rule(rows->graph, rows->at[row].out);
    const size_t each = vs_rule_rows(rule, grid_h * grid_w);
    vs_rule_name(rule, place % each, grid_w, text, size); /* scores: head by head */
}

double vs_half_macs(const vs_half_rows *rows, size_t row, size_t patches) {
    const vs_half_form *form = rows->at[row].forms;
    return form->macs ? form->macs(rows->graph, node_of(rows, row), patches) : 0;
}

/* ---- what rows read */

typedef struct reader {
    const vs_half_rows *rows;
    const bool *present;
    size_t *out, count;
} reader;

static void read_operand(reader *r, size_t row, vs_half_operand operand);

static void read_row(reader *r, size_t row) { // NOLINT(misc-no-recursion): to earlier rows and nodes
    if (!r->present[row])
        read_operand(r, row, r->rows->at[row].forms[0].x);
    else if (r->count < VS_HALF_READS)
        r->out[r->count++] = row;
}

/* Whether one input of a stack has all that is wanted. */
static bool holds(const vs_graph *g, size_t value, const vs_row_rule *wanted) {
    return vs_rule_find(vs_value_rule(g, value), wanted) != VS_NONE;
}

static void read_value(reader *r, size_t value, size_t column, const vs_row_rule *wanted);

/* Through a node without rows. */
static void read_through(reader *r, const vs_node *n, size_t column, const vs_row_rule *wanted) { // NOLINT(misc-no-recursion)
    const vs_graph *g = r->rows->graph;
    bool one = false;
    for (size_t i = 0; n->op == VS_OP_STACK && i < n->in_count; i++) one |= holds(g, n->in[i], wanted);
    for (size_t i = 0; i < n->in_count; i++)
        if (!one || holds(g, n->in[i], wanted)) read_value(r, n->in[i], n->in_count > 1 ? 0 : column, wanted);
}

/* What gives the wanted rows of a value. */
static void read_value(reader *r, size_t value, size_t column, const vs_row_rule *wanted) { // NOLINT(misc-no-recursion)
    const vs_graph *g = r->rows->graph;
    const vs_value *v = &g->values[value];
    if (v->view != VS_NONE) {
        read_value(r, v->view, column + v->column, wanted);
        return;
    }
    if (v->producer == VS_NONE) return;
    const vs_node *n = &g->nodes[v->producer];
    const size_t first = r->rows->first[v->producer], end = r->rows->first[v->producer + 1];
    const size_t giver = vs_half_giver(r->rows, r->present, NULL, value, column);
    if (giver != VS_NONE || end > first)
        read_row(r, giver != VS_NONE ? giver : end - 1);
    else if (n->op == VS_OP_ROWS)
        read_through(r, n, column, vs_value_rule(g, n->out));
    else
        read_through(r, n, column, wanted);
}

static void read_input(reader *r, const vs_node *n, vs_half_operand operand) { // NOLINT(misc-no-recursion)
    const vs_graph *g = r->rows->graph;
    const size_t value = n->in[operand.index], half = g->values[value].cols.fixed / 2;
    const vs_row_rule wanted = operand.from == VS_FROM_TAKEN ? vs_half_taken(g, n) : *vs_value_rule(g, value);
    read_value(r, value, operand.from == VS_FROM_RIGHT ? half : 0, &wanted);
}

static void read_operand(reader *r, size_t row, vs_half_operand operand) { // NOLINT(misc-no-recursion)
    const vs_node *n = node_of(r->rows, row);
    switch (operand.from) {
    case VS_FROM_ROW: read_row(r, r->rows->first[r->rows->at[row].node] + operand.index); break;
    case VS_FROM_INPUT:
    case VS_FROM_LEFT:
    case VS_FROM_RIGHT:
    case VS_FROM_TAKEN: read_input(r, n, operand); break;
    case VS_FROM_WHOLE:
        for (size_t i = 0; i < n->in_count; i++) read_input(r, n, (vs_half_operand){ VS_FROM_INPUT, i });
        break;
    default: break;
    }
}

size_t vs_half_reads(const vs_half_rows *rows, const bool *present, size_t row, size_t out[VS_HALF_READS]) {
    const vs_half_operand x = rows->at[row].forms[0].x, u = rows->at[row].forms[0].u;
    reader r = { rows, present, out, 0 };
    read_operand(&r, row, x);
    if (u.from != x.from || u.index != x.index) read_operand(&r, row, u); /* a square reads one */
    return r.count;
}
