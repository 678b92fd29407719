#include "diagnose/half_diag.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose/half_diag_inside.h"
#include "util/util.h"

double vs_diag_limit(const vs_diag *d) { return vs_half_largest(d->options->model->weights->format); }

void vs_diag_row_name(const vs_diag *d, size_t row, char *text, size_t size) {
    vs_half_row_name(d->graph_rows, d->options->model->policy, row, text, size);
}

size_t vs_diag_left(const vs_diag *d) {
    const size_t used = 1 + d->options->prober->runs - d->first_run; /* its own */
    return used < VS_DIAG_MOST_RUNS ? VS_DIAG_MOST_RUNS - used : 0;
}

unsigned vs_diag_classes(const vs_diag *d) {
    unsigned all = 0;
    for (size_t i = 0; i < d->rows; i++)
        if (d->half[i]) all |= 1u << d->classes[i];
    return all;
}

double vs_diag_sqnr(const vs_half_probe *probe) {
    return vs_half_probe_reaches(probe, -HUGE_VAL) ? probe->output.pooled : -HUGE_VAL;
}

vs_status vs_diag_run(vs_half_probe *out, const vs_diag *d, bool compare, double largest, vs_error *err) {
    vs_half_model model = *d->options->model;
    model.float32 = d->mask;
    model.counts_only = !compare;
    model.largest = largest;
    return vs_half_probe_run(out, d->options->prober, &model, err);
}

vs_status vs_diag_run_task(vs_half_probe *out, const vs_diag *d, bool keep, vs_error *err) {
    vs_half_model model = *d->options->model;
    model.float32 = d->mask;
    model.counts_only = true;
    return (keep ? vs_half_probe_keep : vs_half_probe_task)(out, d->options->prober, &model, err);
}

/* ---- the policy's own run ---- */

/* Its rows as they stand in the results, by name: a policy lists those it has, in execution order. */
static vs_status read_policy(vs_half_probe *out, const vs_diag *d, vs_error *err) {
    const vs_fp16_policy *p = d->policy;
    *out = (vs_half_probe){ .rows = vs_calloc(d->rows, sizeof *out->rows), .output = p->sqnr };
    if (!out->rows) return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    char name[VS_UNIT_NAME];
    for (size_t i = 0, at = 0; i < d->rows && at < p->row_count; i++) {
        const vs_fp16_row *r = &p->rows[at];
        vs_diag_row_name(d, i, name, sizeof name);
        if (strcmp(name, r->name) != 0) continue;
        out->rows[i] = (vs_half_probe_row){ true, r->max, r->inf, r->cast_inf, r->nan, r->cast_max, r->sqnr.pooled };
        at++;
    }
    return VS_OK;
}

static size_t find_row(const vs_fp16_policy *p, const char *name) {
    for (size_t i = 0; i < p->row_count; i++)
        if (strcmp(p->rows[i].name, name) == 0) return i;
    return SIZE_MAX;
}

static vs_status find_first_bad(const vs_diag *d, const vs_half_probe *own, vs_diag_bad *bad, vs_error *err) {
    char name[VS_UNIT_NAME];
    const vs_status status = vs_diag_first_bad(bad, d->graph_rows, own, err);
    d->policy->first_bad = SIZE_MAX;
    if (status != VS_OK || bad->row == SIZE_MAX) return status;
    vs_diag_row_name(d, bad->row, name, sizeof name);
    d->policy->first_bad = find_row(d->policy, name);
    d->policy->why = bad->why;
    d->policy->bad_value = bad->value;
    return VS_OK;
}

/* ---- the target ---- */

/* The two runs that the target is made of, rounded to half's digits where nothing overflows: all of the policy's rows, and the
 * linear ones alone. They also give the largest value of each half row. */
static vs_status set_target(const vs_diag *d, vs_error *err) {
    static const double ENOUGH = 40, OF_WIDE = 1, OF_LINEAR = 6; /* dB */
    vs_fp16_diagnosis *o = d->out;
    vs_half_model model = *d->options->model;
    vs_half_probe wide = { 0 }, lin = { 0 };
    model.weights = d->options->wide;
    model.counts_only = true;
    model.float32 = d->mask;
    memset(d->mask, 0, d->rows * sizeof *d->mask);
    vs_status status = vs_half_probe_run(&wide, d->options->prober, &model, err);
    for (size_t i = 0; i < d->rows; i++) d->mask[i] = d->classes[i] != VS_CLASS_LINEAR;
    if (status == VS_OK) status = vs_half_probe_run(&lin, d->options->prober, &model, err);
    if (status == VS_OK) {
        o->wide = vs_diag_sqnr(&wide);
        o->lin = vs_diag_sqnr(&lin);
        o->target = fmin(ENOUGH, fmax(o->wide - OF_WIDE, o->lin - OF_LINEAR));
    }
    for (size_t i = 0; i < d->rows && status == VS_OK; i++) {
        d->half[i] = wide.rows[i].max > 0;
        d->healthy[i] = d->max[i] = wide.rows[i].max;
    }
    vs_half_probe_release(&wide);
    vs_half_probe_release(&lin);
    return status;
}

/* ---- units ---- */

static void name_units(vs_diag *d) {
    char row[VS_UNIT_NAME], unit[VS_UNIT_NAME];
    for (size_t i = 0; i < d->rows; i++) {
        d->units[i] = SIZE_MAX;
        if (!d->half[i]) continue;
        vs_diag_row_name(d, i, row, sizeof row);
        vs_half_unit_of(row, unit, sizeof unit);
        size_t u = 0;
        while (u < d->unit_count && strcmp(d->names[u], unit) != 0) u++;
        if (u == d->unit_count) memcpy(d->names[d->unit_count++], unit, sizeof unit);
        d->units[i] = u;
    }
}

static vs_status prepare(vs_diag *d, vs_error *err) {
    char row[VS_UNIT_NAME];
    d->classes = vs_calloc(d->rows, sizeof *d->classes);
    d->half = vs_calloc(d->rows, sizeof *d->half);
    d->healthy = d->out->healthy = vs_calloc(d->rows, sizeof *d->healthy);
    d->max = vs_calloc(d->rows, sizeof *d->max);
    d->units = vs_calloc(d->rows, sizeof *d->units);
    d->names = vs_calloc(d->rows, sizeof *d->names);
    d->mask = vs_calloc(d->rows, sizeof *d->mask);
    if (!d->classes || !d->half || !d->healthy || !d->max || !d->units || !d->names || !d->mask)
        return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    for (size_t i = 0; i < d->rows; i++) {
        vs_diag_row_name(d, i, row, sizeof row);
        d->classes[i] = vs_half_class_of(row);
    }
    for (size_t i = 0; i < VS_CLASS_SETS; i++) d->sets[i] = (double)NAN;
    return VS_OK;
}

static void release(vs_diag *d) {
    free(d->classes);
    free(d->half);
    free(d->max);
    free(d->units);
    free(d->names);
    free(d->mask);
}

static void note_runs(const vs_runner *runner, const vs_fp16_policy *policy) {
    char text[128];
    if (!runner->progress.note) return;
    snprintf(text, sizeof text, "%.64s: diagnosed in %zu runs", policy->name, policy->diagnosis.runs);
    runner->progress.note(runner->progress.context, text);
}

vs_status vs_half_diagnose(vs_fp16_policy *policy, const vs_diag_options *options, vs_error *err) {
    vs_half_probe own = { 0 };
    vs_diag d = { .policy = policy,
                  .out = &policy->diagnosis,
                  .options = options,
                  .graph_rows = options->prober->graph_rows,
                  .first_run = options->prober->runs,
                  .own = &own,
                  .rows = options->prober->rows };
    vs_diag_bad bad = { .row = SIZE_MAX };
    unsigned set = 0;
    *d.out = (vs_fp16_diagnosis){ 0 };
    snprintf(options->prober->stage, sizeof options->prober->stage, "%.48s, diagnosis", policy->name);
    options->prober->stage_first = options->prober->runs;
    vs_status status = prepare(&d, err);
    if (status == VS_OK) status = read_policy(&own, &d, err);
    if (status == VS_OK) status = find_first_bad(&d, &own, &bad, err);
    if (status == VS_OK) status = set_target(&d, err);
    const bool measurable = status == VS_OK && d.out->lin > -HUGE_VAL;
    if (measurable) {
        for (size_t i = 0; i < d.rows; i++) d.max[i] = fmax(d.max[i], own.rows[i].max);
        d.sets[0] = vs_diag_sqnr(&own);
        name_units(&d);
        status = vs_diag_chain(&d, bad, err);
    } else {
        snprintf(d.out->words, sizeof d.out->words,
                 "not known: the float32 output is not finite, or rounding of linear layers alone makes it so");
    }
    if (measurable && status == VS_OK) status = vs_diag_cause(&d, &set, err);
    if (measurable && status == VS_OK) vs_diag_words(&d, set);
    if (measurable && status == VS_OK) status = vs_diag_keep(&d, set, err);
    d.out->present = status == VS_OK;
    d.out->runs = VS_DIAG_MOST_RUNS - vs_diag_left(&d);
    *options->prober->stage = 0;
    if (status == VS_OK) note_runs(options->prober->runner, policy);
    vs_half_probe_release(&own);
    release(&d);
    return status;
}

void vs_half_diagnosis_release(vs_fp16_diagnosis *o) {
    for (size_t i = 0; i < o->keep_count; i++) free(o->keep[i].without_task.iou);
    free(o->keep);
    free(o->chain);
    free(o->healthy);
    free(o->verified_task.iou);
    free(o->whole_task.iou);
    *o = (vs_fp16_diagnosis){ 0 };
}
