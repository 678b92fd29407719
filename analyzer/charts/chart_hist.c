/* |x| of one layer's input and output in every state, with the quantizer's step. */
#include <math.h>
#include <stdlib.h>

#include "charts/charts.h"
#include "util/util.h"
#include "vitscope/backend.h"

enum { PER_OCTAVE = 4, EACH = VS_HIST_PER_OCTAVE / PER_OCTAVE, BINS = (VS_HIST_EXP_MAX - VS_HIST_EXP_MIN) * PER_OCTAVE };
static const double dropped = 5e-3; /* so large a share of the smallest values may lie left of the axis */

/* One panel: shares per octave, percent (bins are equal in width within an octave, so not equal on a logarithmic axis); edges are
 * common to all states. */
typedef struct values {
    double *edges, *shares; /* [BINS + 1]; [state_count * BINS] */
    vs_chart_series *series;
    vs_chart_rule *rules;
    char **names; /* of rules */
    size_t series_count, rule_count;
    double low, high, least; /* magnitudes; smallest share of one value */
} values;

static void release(values *v) {
    for (size_t i = 0; v->names && i < v->rule_count; i++) free(v->names[i]);
    free(v->edges);
    free(v->shares);
    free(v->series);
    free(v->rules);
    free(v->names);
}

static uint64_t total_of(const uint64_t *hist) {
    uint64_t n = 0;
    for (size_t i = 0; i < VS_HIST_BINS; i++) n += hist[i];
    return n;
}

/* Drops the first bin: what is (nearly) zero has no place on a logarithmic axis. */
static void add_state(values *v, const vs_results *r, size_t state, const uint64_t *hist) {
    const uint64_t total = total_of(hist), zeros = hist[0];
    double *shares = v->shares + v->series_count * BINS;
    uint64_t below = 0;
    size_t first = BINS, last = 0;
    if (total == zeros) return;
    for (size_t i = 0; i < BINS; i++) {
        uint64_t n = 0;
        for (size_t k = 0; k < EACH; k++) n += hist[1 + i * EACH + k];
        below += n;
        shares[i] = 100 * (double)n / (double)total / log2(v->edges[i + 1] / v->edges[i]);
        if (first == BINS && (double)below > dropped * (double)(total - zeros)) first = i;
        if (n) last = i;
    }
    v->low = fmin(v->low, v->edges[first < BINS ? first : last]);
    v->high = fmax(v->high, v->edges[last + 1]);
    v->least = fmin(v->least, 100 / (double)total * PER_OCTAVE / 2); /* one value in a bin */
    v->series[v->series_count++] =
        (vs_chart_series){ .name = r->state_names[state], .style = state, .x = v->edges, .y = shares, .count = BINS };
}

/* Half a step rounds to zero. */
static vs_status add_step(values *v, const char *state, double step, size_t style, vs_error *err) {
    for (size_t i = 0; i < 2; i++) {
        char *name = vs_format("step%s, %s", i ? "" : "/2", state);
        if (!name) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
        const double x = i ? step : step / 2;
        v->names[v->rule_count] = name;
        v->rules[v->rule_count++] = (vs_chart_rule){ x, name, style, i == 1 };
        v->low = fmin(v->low, x / 2);
        v->high = fmax(v->high, x * 2);
    }
    return VS_OK;
}

static vs_status collect(values *v, const vs_results *r, const vs_surface_capture *c, vs_error *err) {
    *v = (values){ .edges = vs_calloc(BINS + 1, sizeof *v->edges),
                   .shares = vs_calloc(r->state_count * BINS + 1, sizeof *v->shares),
                   .series = vs_calloc(r->state_count + 1, sizeof *v->series),
                   .rules = vs_calloc(2 * r->state_count + 1, sizeof *v->rules),
                   .names = vs_calloc(2 * r->state_count + 1, sizeof *v->names),
                   .low = HUGE_VAL,
                   .high = 0,
                   .least = HUGE_VAL };
    if (!v->edges || !v->shares || !v->series || !v->rules || !v->names)
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    for (size_t i = 0; i <= BINS; i++) v->edges[i] = vs_hist_lower(1 + i * EACH);
    v->edges[BINS] = ldexp(1, VS_HIST_EXP_MAX);
    for (size_t k = 0; k < r->state_count; k++) {
        const vs_distribution *in = &r->rows[c->row].states[k].in;
        if (!c->hists || !c->hists[k]) continue;
        add_state(v, r, k, c->hists[k]);
        if (c->tensor != VS_SIDE_IN || !in->present || !in->quantized || !(in->qstep > 0)) continue;
        const vs_status status = add_step(v, r->state_names[k], in->qstep, k, err);
        if (status != VS_OK) return status;
    }
    return VS_OK;
}

static void add_zeroed(vs_text *text, const vs_results *r, const vs_row *row) {
    const char *joint = " Below half a step a value becomes zero: ";
    for (size_t k = 0; k < r->state_count; k++) {
        const vs_distribution *in = &row->states[k].in;
        if (!in->present || !in->quantized) continue;
        vs_text_add(text, "%s%.4g %% of the input in %s (step %.3g)", joint, 100 * in->qzeroed, r->state_names[k], in->qstep);
        joint = ", ";
    }
    if (joint[0] == ',') vs_text_add(text, ".");
}

static vs_status draw(vs_chart_job *job, const vs_row *row, const values *of, const char *const *titles, size_t n, bool input,
                      vs_error *err) {
    vs_text caption = { 0 };
    vs_chart_panel panels[VS_SIDE_COUNT];
    double least = HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        panels[i] = (vs_chart_panel){ .title = titles[i],
                                      .series = of[i].series,
                                      .series_count = of[i].series_count,
                                      .rules = of[i].rules,
                                      .rule_count = of[i].rule_count,
                                      .x_low = of[i].low,
                                      .x_high = of[i].high };
        least = fmin(least, of[i].least);
    }
    vs_text_add(&caption, "Shares of |x| per octave (%d bins an octave, %zu images); both axes are logarithmic.", PER_OCTAVE,
                job->results->analysis_images);
    if (input) add_zeroed(&caption, job->results, row);
    char *heading = vs_format("%s: |x| of %s and the quantization step", job->results->name, row->layer);
    char *name = vs_format("hist.%s", row->layer);
    const vs_chart chart = { .heading = heading,
                             .caption = caption.bytes,
                             .x_label = "|x|",
                             .y_label = "share of values per octave [%]",
                             .panels = panels,
                             .panel_count = n,
                             .columns = 2,
                             .panel_width = 420,
                             .panel_height = 270,
                             .y_low = least / 2,
                             .y_high = 100,
                             .log_x = true,
                             .log_y = true,
                             .steps = true };
    vs_status status = heading && name && !caption.failed ? vs_chart_emit(job, name, &chart, NULL, err)
                                                          : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(caption.bytes);
    free(heading);
    free(name);
    return status;
}

vs_status vs_chart_hist(vs_chart_job *job, size_t index, vs_error *err) {
    static const vs_side order[VS_SIDE_COUNT] = { VS_SIDE_IN, VS_SIDE_OUT };
    const size_t row = job->captures[index].row;
    values of[VS_SIDE_COUNT] = { { 0 } };
    const char *titles[VS_SIDE_COUNT];
    size_t n = 0;
    bool input = false;
    vs_status status = VS_OK;
    for (size_t t = 0; t < VS_SIDE_COUNT; t++)
        for (size_t i = 0; i < job->capture_count && status == VS_OK; i++) {
            const vs_surface_capture *c = &job->captures[i];
            if (c->row != row || c->tensor != order[t] || !c->hists) continue;
            status = collect(&of[n], job->results, c, err);
            titles[n] = order[t] == VS_SIDE_IN ? "input, as its quantizer reads it" : "output";
            if (of[n].series_count) {
                input = input || order[t] == VS_SIDE_IN;
                n++;
            } else
                release(&of[n]);
            break;
        }
    if (status == VS_OK && n) status = draw(job, &job->results->rows[row], of, titles, n, input, err);
    for (size_t i = 0; i < n; i++) release(&of[i]);
    return status;
}
