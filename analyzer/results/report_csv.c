/* layers.csv: the columns of results.json, a row per layer (RFC 4180). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static void add_text(vs_text *t, const char *value) {
    const bool quote = strpbrk(value, ",\"\n\r") != NULL;
    if (quote) vs_text_add(t, "\"");
    for (const char *p = value; *p; p++) vs_text_add(t, *p == '"' ? "\"\"" : "%c", *p);
    if (quote) vs_text_add(t, "\"");
}

static void add_number(vs_text *t, bool present, double v, int digits) {
    char number[40] = "";
    if (present) vs_report_number(number, sizeof number, v, digits);
    vs_text_add(t, ",%s", number);
}

static const char *const dist_columns[] = { "max", "median", "mean", "p99", "p999", "ratio", "step", "zeroed", "structure" };
enum { DIST_COLUMNS = sizeof dist_columns / sizeof *dist_columns };

static void head_distribution(vs_text *t, const char *state, const char *tensor, bool is_input) {
    for (size_t i = 0; i < DIST_COLUMNS; i++) vs_text_add(t, ",%s.%s.%s", state, tensor, dist_columns[i]);
    vs_text_add(t, ",%s.%s.shape,%s.%s.argmax.image,%s.%s.argmax.token,%s.%s.argmax.channel", state, tensor, state, tensor, state,
                tensor, state, tensor);
    if (is_input) vs_text_add(t, ",%s.in.qstep,%s.in.qzeroed,%s.in.clipped", state, state, state);
}

static void add_distribution(vs_text *t, const vs_results *r, const vs_distribution *d, bool is_input, int digits) {
    const double values[DIST_COLUMNS] = {
        d->max, d->median, d->mean, d->p99, d->p999, d->ratio, d->step, d->zeroed, d->structure
    };
    for (size_t i = 0; i < DIST_COLUMNS; i++) add_number(t, d->present, values[i], digits);
    char token[32] = "";
    if (d->present) vs_token_name(r->arch, d->argmax_token, r->grid_w, token, sizeof token);
    if (d->present) {
        vs_text_add(t, ",%s,%zu,", d->shape, d->argmax_image);
        add_text(t, token);
        vs_text_add(t, ",%zu", d->argmax_channel);
    } else {
        vs_text_add(t, ",,,,");
    }
    if (!is_input) return;
    add_number(t, d->quantized, d->qstep, digits);
    add_number(t, d->quantized, d->qzeroed, digits);
    add_number(t, d->quantized, d->clipped, digits);
}

vs_status vs_report_csv(const vs_results *r, const char *dir, vs_error *err) {
    vs_text t = { 0 };
    const int digits = vs_report_digits(r);
    vs_text_add(&t, "layer,fqn,kind,block,macs,planted");
    for (size_t i = 0; i < r->recipe_count; i++) {
        const char *n = r->recipe_names[i];
        for (size_t k = 0; k < VS_LOCAL_COUNT; k++) vs_text_add(&t, ",%s.local.%s", n, vs_local_names[k]);
        vs_text_add(&t, ",%s.output.weight,%s.output.activation,%s.output.both,%s.spared.both,%s.spared.gain,%s.cumulative", n, n,
                    n, n, n, n);
    }
    for (size_t i = 0; i < r->state_count; i++) {
        head_distribution(&t, r->state_names[i], "out", false);
        head_distribution(&t, r->state_names[i], "in", true);
        vs_text_add(&t, ",%s.median_shift", r->state_names[i]);
    }
    vs_text_add(&t, "\r\n");
    for (size_t i = 0; i < r->row_count; i++) {
        const vs_row *x = &r->rows[i];
        add_text(&t, x->layer);
        vs_text_add(&t, ",");
        for (size_t k = 0; k < x->fqn_count; k++) {
            if (k) vs_text_add(&t, ";");
            add_text(&t, x->fqn[k]);
        }
        vs_text_add(&t, ",%s,%d,%.0f,%s", vs_kind_name(x->kind), x->block, x->macs, x->planted ? "true" : "false");
        for (size_t k = 0; k < r->recipe_count; k++) {
            for (size_t l = 0; l < VS_LOCAL_COUNT; l++)
                add_number(&t, x->recipes[k].local[l].present, x->recipes[k].local[l].pooled, digits);
            vs_text_add(&t, ",,,,,");
            add_number(&t, x->recipes[k].cumulative.present, x->recipes[k].cumulative.pooled, digits);
        }
        for (size_t s = 0; s < r->state_count; s++) {
            add_distribution(&t, r, &x->states[s].out, false, digits);
            add_distribution(&t, r, &x->states[s].in, true, digits);
            add_number(&t, x->states[s].has_shift, x->states[s].median_shift, digits);
        }
        vs_text_add(&t, "\r\n");
    }
    vs_status status = t.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for layers.csv")
                                : vs_report_write(dir, "layers.csv", t.bytes, t.size, err);
    free(t.bytes);
    return status;
}
