#include "results/table.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/report.h"
#include "util/util.h"
#include "json/json_text.h"

static const size_t largest_results = (size_t)1 << 28; /* bytes of a results.json that is read back */

static const char *const metric_names[] = { "", "miou", "agreement", "sqnr" };
static const char *const fates[] = { "not run", "done", "failed" };

static vs_status out_of_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for the table"); }

vs_status vs_table_create(vs_table *t, const char *name, size_t runs, vs_error *err) {
    *t = (vs_table){ .name = name, .digits = 9, .rows = vs_calloc(runs + 1, sizeof *t->rows) };
    if (!t->rows) return out_of_memory(err);
    t->row_count = runs;
    return VS_OK;
}

void vs_table_release(vs_table *t) {
    for (size_t i = 0; t->rows && i < t->row_count; i++) {
        free(t->rows[i].error);
        free(t->rows[i].cells);
    }
    for (size_t i = 0; i < t->state_count; i++) free(t->states[i]);
    free(t->rows);
    free(t->states);
    *t = (vs_table){ 0 };
}

size_t vs_table_column(const vs_table *t, const char *state) {
    for (size_t i = 0; i < t->state_count; i++)
        if (strcmp(t->states[i], state) == 0) return i;
    return SIZE_MAX;
}

vs_status vs_table_add_column(vs_table *t, const char *state, vs_error *err) {
    const size_t count = t->state_count + 1;
    if (vs_table_column(t, state) != SIZE_MAX) return VS_OK;
    if (!vs_grow((void **)&t->states, &t->capacity, count, sizeof *t->states)) return out_of_memory(err);
    for (size_t i = 0; i < t->row_count; i++) {
        if (!vs_grow((void **)&t->rows[i].cells, &t->rows[i].capacity, count, sizeof *t->rows[i].cells))
            return out_of_memory(err);
        t->rows[i].cells[count - 1] = (vs_cell){ 0 };
    }
    char *name = vs_strdup(state);
    if (!name) return out_of_memory(err);
    t->states[t->state_count++] = name;
    return VS_OK;
}

/* ---- results.json */

static const char of_policy[] = "fp16.";

/* A number as results.json spells it: infinities are strings. */
static bool read_number(const json_t *v, double *out) {
    if (json_is_number(v)) *out = json_number_value(v);
    if (!json_is_string(v)) return json_is_number(v);
    *out = json_string_value(v)[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    return true;
}

static json_t *policies_of(const json_t *results) { return json_object_get(json_object_get(results, "fp16"), "policies"); }

static vs_status add_policies(vs_table *t, const json_t *results, vs_error *err) {
    json_t *policies = policies_of(results);
    vs_status status = VS_OK;
    for (void *i = json_object_iter(policies); i && status == VS_OK; i = json_object_iter_next(policies, i)) {
        char *name = vs_format("%s%s", of_policy, json_object_iter_key(i));
        status = name ? vs_table_add_column(t, name, err) : out_of_memory(err);
        free(name);
    }
    return status;
}

static const json_t *value_of(const json_t *results, const char *state, vs_metric m) {
    static const char *const keys[] = { "", "miou", "agreement", "pooled" };
    const json_t *of = json_object_get(results, m == VS_METRIC_SQNR ? "output_sqnr" : "task");
    const json_t *value = json_object_get(json_object_get(of, state), keys[m]);
    if (value || strncmp(state, of_policy, sizeof of_policy - 1) != 0) return value;
    const json_t *policy = json_object_get(policies_of(results), state + sizeof of_policy - 1);
    return m == VS_METRIC_SQNR ? json_object_get(policy, "sqnr") : json_object_get(json_object_get(policy, "task"), keys[m]);
}

/* The first metric that any state has a number of. */
static void read_cells(const vs_table *t, vs_table_row *row, const json_t *results) {
    for (int m = VS_METRIC_MIOU; m <= VS_METRIC_SQNR && row->metric == VS_METRIC_NONE; m++)
        for (size_t i = 0; i < t->state_count; i++) {
            row->cells[i].present = read_number(value_of(results, t->states[i], (vs_metric)m), &row->cells[i].value);
            if (row->cells[i].present) row->metric = (vs_metric)m;
        }
}

vs_status vs_table_read(vs_table *t, size_t row, const char *dir, vs_error *err) {
    char *path = vs_path_join(dir, "results.json"), *text = NULL;
    size_t size = 0;
    vs_status status =
        path ? vs_read_file(path, largest_results, &text, &size, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    json_error_t broken;
    json_t *results = status == VS_OK ? json_loadb(text, size, 0, &broken) : NULL;
    if (status == VS_OK && !results) status = vs_fail(err, VS_ERR_FORMAT, "%s: %s", path, broken.text);
    if (status == VS_OK) status = add_policies(t, results, err);
    if (status == VS_OK) {
        read_cells(t, &t->rows[row], results);
        t->rows[row].fate = VS_RUN_DONE;
    }
    json_decref(results);
    free(text);
    free(path);
    return status;
}

/* ---- table.txt */

enum { NUMBER = 9, PUBLISHED = 11, DIFFERENCE = 8, METRIC = 11 };

/* What the whole text needs to know of the table. */
typedef struct layout {
    const vs_table *table;
    int run;           /* width */
    bool mixed;        /* runs have different metrics: a column of its own */
    vs_metric metric;  /* else the one of all */
    bool published;    /* some run has a published number */
    size_t first, end; /* columns of this block: as many as fit beside each other */
} layout;

static bool has_published(const vs_table *t, size_t column) {
    for (size_t r = 0; r < t->row_count; r++)
        if (t->rows[r].cells[column].has_published) return true;
    return false;
}

static layout lay_out(const vs_table *t) {
    layout l = { .table = t, .run = 3 };
    for (size_t r = 0; r < t->row_count; r++) {
        const vs_table_row *row = &t->rows[r];
        const int length = (int)strlen(row->run);
        if (length > l.run) l.run = length;
        if (row->metric == VS_METRIC_NONE) continue;
        l.mixed |= l.metric != VS_METRIC_NONE && l.metric != row->metric;
        l.metric = row->metric;
    }
    for (size_t c = 0; c < t->state_count; c++) l.published |= has_published(t, c);
    return l;
}

/* Width of a column's own number, room for its name included. */
static int number_width(const layout *l, size_t column) {
    const int length = (int)strlen(l->table->states[column]) + 2;
    return length > NUMBER ? length : NUMBER;
}

/* At least one column a block. */
static void fit_block(layout *l, size_t first, size_t columns) {
    size_t width = (size_t)l->run + (l->mixed ? METRIC : 0);
    l->first = l->end = first;
    while (l->end < l->table->state_count) {
        width += (size_t)number_width(l, l->end) + (has_published(l->table, l->end) ? PUBLISHED + DIFFERENCE : 0);
        if (columns && width > columns && l->end > first) return;
        l->end++;
    }
}

static void add_title(vs_text *t, const layout *l) {
    static const char *const titles[] = { "", ": mIoU, percent", ": agreement with fp32, percent",
                                          ": SQNR of the model's output, dB" };
    vs_text_add(t, "%s%s\n\n", l->table->name, l->mixed ? "" : titles[l->metric]);
}

/* The names of states stand above their groups where a group has several columns. */
static void add_heads(vs_text *t, const layout *l) {
    int gap = l->run + (l->mixed ? METRIC : 0);
    for (size_t c = l->first; c < l->end && l->published; c++) {
        vs_text_add(t, "%*s%*s", gap, "", number_width(l, c), l->table->states[c]);
        gap = has_published(l->table, c) ? PUBLISHED + DIFFERENCE : 0;
    }
    vs_text_add(t, "%s%-*s", l->published ? "\n" : "", l->run, "run");
    if (l->mixed) vs_text_add(t, "%*s", METRIC, "metric");
    for (size_t c = l->first; c < l->end; c++) {
        vs_text_add(t, "%*s", number_width(l, c), l->published ? "here" : l->table->states[c]);
        if (has_published(l->table, c)) vs_text_add(t, "%*s%*s", PUBLISHED, "published", DIFFERENCE, "diff");
    }
    vs_text_add(t, "\n");
}

static void add_number(vs_text *t, int width, bool present, bool sign, double v) {
    char number[64] = "-";
    if (present && isinf(v))
        snprintf(number, sizeof number, "%s", v > 0 ? "inf" : "-inf");
    else if (present && fabs(v) < 0.005)
        snprintf(number, sizeof number, "0.00"); /* neither +0.00 nor -0.00 */
    else if (present)
        snprintf(number, sizeof number, sign ? "%+.2f" : "%.2f", v);
    vs_text_add(t, "%*s", width, number);
}

static bool has_difference(const vs_cell *c) { return c->present && c->has_published && isfinite(c->value); }

static void add_row(vs_text *t, const layout *l, const vs_table_row *row) {
    vs_text_add(t, "%-*s", l->run, row->run);
    if (row->fate != VS_RUN_DONE) {
        const char *why = l->first == 0 && row->error ? row->error : "";
        vs_text_add(t, "  %s%s%s\n", fates[row->fate], *why ? ": " : "", why);
        return;
    }
    if (l->mixed) vs_text_add(t, "%*s", METRIC, metric_names[row->metric]);
    for (size_t c = l->first; c < l->end; c++) {
        const vs_cell *x = &row->cells[c];
        add_number(t, number_width(l, c), x->present, false, x->value);
        if (!has_published(l->table, c)) continue;
        add_number(t, PUBLISHED, x->has_published, false, x->published);
        add_number(t, DIFFERENCE, has_difference(x), true, x->value - x->published);
    }
    vs_text_add(t, "\n");
}

vs_status vs_table_text(const vs_table *table, size_t columns, char **text, vs_error *err) {
    vs_text t = { 0 };
    layout l = lay_out(table);
    add_title(&t, &l);
    do {
        if (l.end) vs_text_add(&t, "\n");
        fit_block(&l, l.end, columns);
        add_heads(&t, &l);
        for (size_t r = 0; r < table->row_count; r++) add_row(&t, &l, &table->rows[r]);
    } while (l.end < table->state_count);
    *text = NULL;
    if (t.failed) {
        free(t.bytes);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the table");
    }
    *text = t.bytes;
    return VS_OK;
}

static vs_status write_text(const vs_table *table, size_t columns, const char *dir, vs_error *err) {
    char *text = NULL;
    vs_status status = vs_table_text(table, columns, &text, err);
    if (status == VS_OK) status = vs_report_write(dir, "table.txt", text, strlen(text), err);
    free(text);
    return status;
}

/* ---- table.csv (RFC 4180); names of runs and states need no quotes */

static void add_field(vs_text *t, bool present, double v, int digits) {
    char number[48] = "";
    if (present) vs_report_number(number, sizeof number, v, digits);
    vs_text_add(t, ",%s", number);
}

static vs_status write_csv(const vs_table *table, const char *dir, vs_error *err) {
    vs_text t = { 0 };
    vs_text_add(&t, "run,status,metric");
    for (size_t c = 0; c < table->state_count; c++) {
        const char *name = table->states[c];
        vs_text_add(&t, ",%s,%s.published,%s.difference", name, name, name);
    }
    vs_text_add(&t, "\r\n");
    for (size_t r = 0; r < table->row_count; r++) {
        const vs_table_row *row = &table->rows[r];
        vs_text_add(&t, "%s,%s,%s", row->run, fates[row->fate], metric_names[row->metric]);
        for (size_t c = 0; c < table->state_count; c++) {
            const vs_cell *x = &row->cells[c];
            add_field(&t, x->present, x->value, table->digits);
            add_field(&t, x->has_published, x->published, table->digits);
            add_field(&t, has_difference(x), x->value - x->published, table->digits);
        }
        vs_text_add(&t, "\r\n");
    }
    vs_status status = t.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for table.csv")
                                : vs_report_write(dir, "table.csv", t.bytes, t.size, err);
    free(t.bytes);
    return status;
}

/* ---- table.json */

static json_t *number(bool present, double v) {
    if (!present || isnan(v)) return json_null();
    if (isinf(v)) return json_string(v > 0 ? "inf" : "-inf");
    return json_real(v);
}

static json_t *message(const char *text) { return text ? vs_json_string(text) : json_null(); }

/* The states that the run has or that it has published numbers of. */
static json_t *describe_cells(const vs_table *table, const vs_table_row *row, bool *failed) {
    json_t *o = json_object();
    for (size_t c = 0; c < table->state_count; c++) {
        const vs_cell *x = &row->cells[c];
        if (!x->present && !x->has_published) continue;
        json_t *cell =
            json_pack("{s:o, s:o, s:o}", "value", number(x->present, x->value), "published",
                      number(x->has_published, x->published), "difference", number(has_difference(x), x->value - x->published));
        *failed |= json_object_set_new(o, table->states[c], cell) != 0;
    }
    return o;
}

static json_t *describe(const vs_table *table, bool *failed) {
    json_t *states = json_array(), *runs = json_array();
    for (size_t c = 0; c < table->state_count; c++) *failed |= json_array_append_new(states, json_string(table->states[c])) != 0;
    for (size_t r = 0; r < table->row_count; r++) {
        const vs_table_row *row = &table->rows[r];
        json_t *metric = row->metric ? json_string(metric_names[row->metric]) : json_null();
        json_t *run = json_pack("{s:s, s:s, s:o, s:o, s:o}", "run", row->run, "status", fates[row->fate], "error",
                                message(row->error), "metric", metric, "states", describe_cells(table, row, failed));
        *failed |= json_array_append_new(runs, run) != 0;
    }
    return json_pack("{s:i, s:s, s:o, s:o}", "schema", 1, "name", table->name, "states", states, "runs", runs);
}

static vs_status write_json(const vs_table *table, const char *dir, vs_error *err) {
    bool failed = false;
    json_t *root = describe(table, &failed);
    char *text = failed ? NULL : vs_json_text(root, JSON_INDENT(1) | JSON_REAL_PRECISION((size_t)table->digits));
    vs_status status = text ? vs_report_write(dir, "table.json", text, strlen(text), err)
                            : vs_fail(err, VS_ERR_NOMEM, "no memory for table.json");
    free(text);
    json_decref(root);
    return status;
}

vs_status vs_table_write(const vs_table *table, size_t columns, const char *dir, vs_error *err) {
    vs_status status = write_text(table, columns, dir, err);
    if (status == VS_OK) status = write_csv(table, dir, err);
    return status == VS_OK ? write_json(table, dir, err) : status;
}
