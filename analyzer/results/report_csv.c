/* layers.csv: the columns of results.json, a row per layer (RFC 4180). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/report.h"

/* A field, quoted only where it must be; a list is one field. */
static void add_field(vs_text *t, const char *const *parts, size_t count, const char *separator) {
    bool quote = false;
    for (size_t i = 0; i < count; i++) quote |= strpbrk(parts[i], ",\"\n\r") != NULL;
    if (quote) vs_text_add(t, "\"");
    for (size_t i = 0; i < count; i++) {
        if (i) vs_text_add(t, "%s", separator);
        for (const char *p = parts[i]; *p; p++) vs_text_add(t, *p == '"' ? "\"\"" : "%c", *p);
    }
    if (quote) vs_text_add(t, "\"");
}

static void add_text(vs_text *t, const char *value) { add_field(t, &value, 1, ""); }

/* ",<owner>.<column>": the owner is a state's or recipe's name, which the user chose. */
static void add_head(vs_text *t, const char *owner, const char *column) {
    const char *const parts[] = { owner, column };
    vs_text_add(t, ",");
    add_field(t, parts, 2, ".");
}

static void add_number(vs_text *t, bool present, double v, int digits) {
    char number[40] = "";
    if (present) vs_report_number(number, sizeof number, v, digits);
    vs_text_add(t, ",%s", number);
}

static const char *const dist_columns[] = { "max", "median", "mean", "p99", "p999", "ratio", "step", "zeroed", "structure" };
enum { DIST_COLUMNS = sizeof dist_columns / sizeof *dist_columns };

static void head_distribution(vs_text *t, const char *state, const char *tensor, bool is_input) {
    static const char *const places[] = { "shape", "argmax.image", "argmax.token", "argmax.channel" }, *const quantizer[] = {
        "qstep", "qzeroed", "clipped"
    };
    char column[40];
    for (size_t i = 0; i < DIST_COLUMNS; i++) {
        snprintf(column, sizeof column, "%s.%s", tensor, dist_columns[i]);
        add_head(t, state, column);
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(column, sizeof column, "%s.%s", tensor, places[i]);
        add_head(t, state, column);
    }
    for (size_t i = 0; is_input && i < 3; i++) {
        snprintf(column, sizeof column, "%s.%s", tensor, quantizer[i]);
        add_head(t, state, column);
    }
}

static void head_recipe(vs_text *t, const char *recipe) {
    static const char *const rest[] = { "local_proj",  "output.weight", "output.activation", "output.both",
                                        "spared.both", "spared.gain",   "cumulative" };
    char column[40];
    for (size_t i = 0; i < VS_LOCAL_COUNT; i++) {
        snprintf(column, sizeof column, "local.%s", vs_local_names[i]);
        add_head(t, recipe, column);
    }
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) add_head(t, recipe, rest[i]);
}

static void add_distribution(vs_text *t, const vs_results *r, const vs_row *x, const vs_distribution *d, bool is_input,
                             int digits) {
    const double values[DIST_COLUMNS] = {
        d->max, d->median, d->mean, d->p99, d->p999, d->ratio, d->step, d->zeroed, d->structure
    };
    for (size_t i = 0; i < DIST_COLUMNS; i++) add_number(t, d->present, values[i], digits);
    char token[32] = "";
    if (d->present) vs_rule_name(&x->rows, d->argmax_token, r->grid_w, token, sizeof token);
    if (d->present) {
        vs_text_add(t, ",%s,%zu,", d->shape, d->argmax_image);
        add_text(t, token);
        vs_text_add(t, ",%zu", d->argmax_channel);
    } else {
        vs_text_add(t, ",,,,");
    }
    if (!is_input) return;
    const double quantizer[] = { d->qstep, d->qzeroed, d->clipped };
    for (size_t i = 0; i < 3; i++) add_number(t, d->present && d->quantized, quantizer[i], digits);
}

static void add_heads(vs_text *t, const vs_results *r) {
    vs_text_add(t, "layer,fqn,kind,block,macs");
    for (size_t i = 0; i < r->recipe_count; i++) head_recipe(t, r->recipe_names[i]);
    for (size_t i = 0; i < r->state_count; i++) {
        head_distribution(t, r->state_names[i], "out", false);
        head_distribution(t, r->state_names[i], "in", true);
        add_head(t, r->state_names[i], "median_shift");
    }
    vs_text_add(t, ",planted\r\n");
}

static void add_row(vs_text *t, const vs_results *r, const vs_row *x, int digits) {
    add_text(t, x->layer);
    vs_text_add(t, ",");
    add_field(t, x->fqn, x->fqn_count, ";");
    vs_text_add(t, ",%s,%d", vs_arch_kind_name(r->arch, x->kind), x->block);
    add_number(t, true, x->macs, x->macs == floor(x->macs) ? 17 : digits); /* a count: every digit */
    for (size_t k = 0; k < r->recipe_count; k++) {
        const vs_row_recipe *p = &x->recipes[k];
        for (size_t l = 0; l < VS_LOCAL_COUNT; l++) add_number(t, p->local[l].present, p->local[l].pooled, digits);
        add_number(t, p->local_proj.present, p->local_proj.pooled, digits);
        for (size_t m = 0; m < VS_MODE_COUNT; m++) add_number(t, p->output[m].present, p->output[m].pooled, digits);
        add_number(t, p->spared.present, p->spared.pooled, digits);
        add_number(t, p->spared.present, p->spared_gain, digits);
        add_number(t, p->cumulative.present, p->cumulative.pooled, digits);
    }
    for (size_t s = 0; s < r->state_count; s++) {
        add_distribution(t, r, x, &x->states[s].out, false, digits);
        add_distribution(t, r, x, &x->states[s].in, true, digits);
        add_number(t, x->states[s].has_shift, x->states[s].median_shift, digits);
    }
    vs_text_add(t, ",%s\r\n", x->planted ? "true" : "false");
}

vs_status vs_report_csv(const vs_results *r, const char *dir, vs_error *err) {
    vs_text t = { 0 };
    add_heads(&t, r);
    for (size_t i = 0; i < r->row_count; i++) add_row(&t, r, &r->rows[i], vs_report_digits(r));
    vs_status status = t.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for layers.csv")
                                : vs_report_write(dir, "layers.csv", t.bytes, t.size, err);
    free(t.bytes);
    return status;
}
