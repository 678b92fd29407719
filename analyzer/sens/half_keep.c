/* The list of layers to keep in float32 (fp16.md section 4, item 4). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "half_diag_inside.h"
#include "half_shrink.h"
#include "util.h"

/* What a list of units did. */
typedef struct trial {
    bool *on; /* [candidate_count] */
    bool reaches, serves;
    double sqnr;
} trial;

typedef struct keeper {
    vs_diag *d;
    bool *candidate; /* [unit_count] */
    bool *certain;   /* [unit_count]: in half it is without margin whatever else is in float32 */
    size_t *units;   /* candidates in execution order */
    size_t count;
    trial *trials; /* runs so far */
    size_t trial_count, capacity;
} keeper;

static const double MARGIN = 2;     /* one bit */
static const double CERTAIN = 1.01; /* of the limit: rounding elsewhere moves no maximum as far */
enum { WITHOUT_IMAGES = 16 };       /* evaluated without each entry, at most */

static void mask_units(const vs_diag *d, const bool *unit_on) {
    for (size_t i = 0; i < d->rows; i++) d->mask[i] = d->units[i] != SIZE_MAX && unit_on[d->units[i]];
}

/* Whether a row of a run, where it is stored in half, keeps its margin. */
static bool has_margin(const vs_diag *d, const vs_half_probe *probe, size_t row) {
    const vs_half_probe_row *r = &probe->rows[row];
    return d->mask[row] || !d->half[row] || !(r->inf || r->cast_inf || r->max > vs_diag_limit(d) / MARGIN);
}

static trial *find_trial(const keeper *k, const bool *on) {
    for (size_t i = 0; i < k->trial_count; i++)
        if (memcmp(k->trials[i].on, on, k->count * sizeof *on) == 0) return &k->trials[i];
    return NULL;
}

static vs_status add_trial(keeper *k, const bool *on, const vs_half_probe *probe, vs_error *err) {
    if (!vs_grow((void **)&k->trials, &k->capacity, k->trial_count + 1, sizeof *k->trials))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    trial *t = &k->trials[k->trial_count];
    *t = (trial){ .on = vs_calloc(k->count + 1, sizeof *t->on) };
    if (!t->on) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    k->trial_count++;
    memcpy(t->on, on, k->count * sizeof *on);
    t->reaches = vs_half_probe_reaches(probe, k->d->out->target);
    t->sqnr = probe->output.present && probe->output.nonfinite == 0 ? probe->output.pooled : -HUGE_VAL;
    t->serves = t->reaches;
    for (size_t i = 0; i < k->d->rows; i++) t->serves &= has_margin(k->d, probe, i);
    return VS_OK;
}

static size_t count_on(const bool *on, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += on[i];
    return n;
}

/* `whole`: to the end even where it is lost, for the damage at the output. */
static vs_status run_list(keeper *k, const bool *on, bool whole, const trial **out, vs_error *err) {
    vs_status status = VS_OK;
    if (!find_trial(k, on)) {
        vs_half_probe probe;
        bool *unit_on = vs_calloc(k->d->unit_count + 1, sizeof *unit_on);
        if (!unit_on) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
        for (size_t i = 0; i < k->count; i++) unit_on[k->units[i]] = on[i];
        mask_units(k->d, unit_on);
        free(unit_on);
        status = vs_diag_run(&probe, k->d, false, whole ? 0 : vs_diag_limit(k->d) / MARGIN, err);
        if (status == VS_OK) status = add_trial(k, on, &probe, err);
        vs_half_probe_release(&probe);
    }
    *out = find_trial(k, on);
    return status;
}

static vs_status list_serves(void *context, const bool *on, bool single, bool *serves, vs_error *err) {
    const trial *t = NULL;
    const vs_status status = run_list(context, on, single, &t, err);
    *serves = status == VS_OK && t->serves;
    return status;
}

/* ---- candidates ---- */

static void choose(keeper *k, unsigned set) {
    const vs_diag *d = k->d;
    for (size_t i = 0; i < d->rows; i++) {
        if (!d->half[i]) continue;
        if ((set >> d->classes[i] & 1u) || d->max[i] > vs_diag_limit(d) / MARGIN) k->candidate[d->units[i]] = true;
        if (d->healthy[i] > CERTAIN * vs_diag_limit(d) / MARGIN) k->certain[d->units[i]] = true;
    }
}

/* With all candidates in float32, units whose rows still lack the margin (they read float32 that half cannot hold) join. */
static vs_status widen(keeper *k, bool *reached, vs_error *err) {
    const vs_diag *d = k->d;
    vs_status status = VS_OK;
    for (bool grew = true; grew && status == VS_OK;) {
        vs_half_probe probe;
        grew = false;
        mask_units(d, k->candidate);
        status = vs_diag_run(&probe, d, false, 0, err);
        *reached = status == VS_OK && vs_half_probe_reaches(&probe, d->out->target);
        for (size_t i = 0; i < d->rows && status == VS_OK; i++)
            if (!has_margin(d, &probe, i)) k->candidate[d->units[i]] = grew = true;
        vs_half_probe_release(&probe);
    }
    return status;
}

static vs_status list_candidates(keeper *k, vs_error *err) {
    k->units = vs_calloc(k->d->unit_count + 1, sizeof *k->units);
    if (!k->units) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    for (size_t u = 0; u < k->d->unit_count; u++)
        if (k->candidate[u]) k->units[k->count++] = u;
    return VS_OK;
}

/* ---- the list ---- */

static vs_status write_list(keeper *k, bool *on, vs_error *err) {
    vs_fp16_diagnosis *o = k->d->out;
    const trial *t = NULL;
    vs_status status = run_list(k, on, true, &t, err);
    if (status != VS_OK) return status;
    o->keep_sqnr = t->sqnr;
    o->keep = vs_calloc(count_on(on, k->count) + 1, sizeof *o->keep);
    if (!o->keep) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    for (size_t i = 0; i < k->count && status == VS_OK; i++) {
        if (!on[i]) continue;
        on[i] = false;
        status = run_list(k, on, true, &t, err);
        on[i] = true;
        if (status != VS_OK) break;
        vs_fp16_keep *entry = &o->keep[o->keep_count++];
        snprintf(entry->row, sizeof entry->row, "%s", k->d->names[k->units[i]]);
        entry->needed = !t->reaches;
        entry->without_sqnr = t->sqnr;
    }
    return status;
}

/* Of the model's products, those of the list. */
static void share_macs(const vs_diag *d) {
    const size_t tokens = d->options->prober->tokens;
    double all = 0, kept = 0;
    for (size_t i = 0; i < d->rows; i++) {
        const double macs = vs_half_macs(d->arch, i, tokens);
        all += macs;
        if (d->mask[i] && d->half[i]) kept += macs;
    }
    d->out->macs_share = all > 0 ? kept / all : 0;
}

/* ---- verification ---- */

static void mask_list(const vs_diag *d, size_t without, bool *mask) {
    for (size_t i = 0; i < d->rows; i++) {
        mask[i] = false;
        for (size_t e = 0; e < d->out->keep_count && d->units[i] != SIZE_MAX; e++)
            mask[i] |= e != without && strcmp(d->out->keep[e].row, d->names[d->units[i]]) == 0;
    }
}

/* Task metrics of rows in float32, `count` such lists one after another. */
static vs_status evaluate(const vs_diag *d, const vs_imageset *set, const bool *masks, size_t count, vs_task *tasks,
                          vs_error *err) {
    const vs_runner *runner = d->options->prober->runner;
    vs_half_model *models = vs_calloc(count, sizeof *models);
    vs_states states = { .states = vs_calloc(count + 1, sizeof(vs_state)), .state_count = count + 1 };
    vs_evaluation evaluation = { 0 };
    vs_status status = models && states.states ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for the list's verification");
    if (status == VS_OK) states.states[0] = (vs_state){ "fp32", VS_STATE_FP32, runner->weights, NULL, NULL };
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        models[i] = *d->options->model;
        models[i].float32 = &masks[i * d->rows];
        states.states[i + 1] = (vs_state){ d->policy->name, VS_STATE_FP16, runner->weights, NULL, &models[i] };
    }
    if (status == VS_OK) status = vs_evaluate(&evaluation, runner, set, &states, 0, d->options->floats, err);
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        tasks[i] = evaluation.tasks[i + 1];
        evaluation.tasks[i + 1].iou = NULL; /* the list's from here on */
    }
    vs_evaluation_release(&evaluation);
    free(models);
    free(states.states);
    return status;
}

/* The first evaluation images alone: a list of 50 entries would cost 50 evaluations. */
static vs_status evaluate_without(const vs_diag *d, const bool *masks, vs_error *err) {
    vs_fp16_diagnosis *o = d->out;
    vs_imageset few = *d->options->evaluation;
    vs_task *tasks = vs_calloc(o->keep_count + 1, sizeof *tasks);
    if (!tasks) return vs_fail(err, VS_ERR_NOMEM, "no memory for the list's verification");
    if (!few.windows && few.count > WITHOUT_IMAGES) few.count = few.images = WITHOUT_IMAGES;
    const vs_status status = evaluate(d, &few, masks, o->keep_count + 1, tasks, err);
    o->without_images = few.images;
    o->whole_task = tasks[0];
    for (size_t i = 0; i < o->keep_count && status == VS_OK; i++) {
        o->keep[i].without_task = tasks[i + 1];
        o->keep[i].has_task = true;
    }
    free(tasks);
    return status;
}

/* SQNR of the output on the evaluation images. */
static vs_status measure(const vs_diag *d, const bool *mask, vs_error *err) {
    vs_half_prober prober;
    vs_half_probe probe = { 0 };
    vs_half_model model = *d->options->model;
    const vs_imageset *set = d->options->evaluation;
    model.float32 = mask;
    model.counts_only = true;
    vs_status status = vs_half_prober_create(&prober, d->options->prober->runner, set, set->count, err);
    if (status == VS_OK) status = vs_half_probe_run(&probe, &prober, &model, err);
    if (status == VS_OK) d->out->verified_sqnr = vs_half_probe_reaches(&probe, -HUGE_VAL) ? probe.output.pooled : -HUGE_VAL;
    vs_half_probe_release(&probe);
    vs_half_prober_release(&prober);
    return status;
}

static vs_status verify(const vs_diag *d, vs_error *err) {
    const size_t n = d->out->keep_count + 1;
    bool *masks = vs_calloc(n * d->rows, sizeof *masks);
    if (!masks) return vs_fail(err, VS_ERR_NOMEM, "no memory for the list's verification");
    for (size_t i = 0; i < n; i++) mask_list(d, i ? i - 1 : SIZE_MAX, &masks[i * d->rows]);
    vs_status status = measure(d, masks, err);
    if (status == VS_OK) status = evaluate(d, d->options->evaluation, masks, 1, &d->out->verified_task, err);
    d->out->verified = status == VS_OK;
    if (status == VS_OK && d->out->keep_count) status = evaluate_without(d, masks, err);
    free(masks);
    return status;
}

static void release(keeper *k) {
    for (size_t i = 0; i < k->trial_count; i++) free(k->trials[i].on);
    free(k->trials);
    free(k->candidate);
    free(k->certain);
    free(k->units);
}

vs_status vs_diag_keep(vs_diag *d, unsigned set, vs_error *err) {
    keeper k = { .d = d,
                 .candidate = vs_calloc(d->unit_count + 1, sizeof *k.candidate),
                 .certain = vs_calloc(d->unit_count + 1, sizeof *k.certain) };
    bool *on = NULL, *fixed = NULL;
    vs_status status = k.candidate && k.certain ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    if (status == VS_OK) {
        choose(&k, set);
        status = widen(&k, &d->out->reached, err);
    }
    if (status == VS_OK) status = list_candidates(&k, err);
    if (status == VS_OK) {
        on = vs_calloc(k.count + 1, sizeof *on);
        fixed = vs_calloc(k.count + 1, sizeof *fixed);
        if (!on || !fixed) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    }
    for (size_t i = 0; i < k.count && status == VS_OK; i++) {
        on[i] = true;
        fixed[i] = k.certain[k.units[i]];
    }
    if (status == VS_OK && d->out->reached) status = vs_shrink(on, fixed, k.count, list_serves, &k, err);
    if (status == VS_OK) status = write_list(&k, on, err);
    if (status == VS_OK) {
        mask_list(d, SIZE_MAX, d->mask);
        share_macs(d);
    }
    if (status == VS_OK && d->options->evaluation) status = verify(d, err);
    free(on);
    free(fixed);
    release(&k);
    return status;
}
