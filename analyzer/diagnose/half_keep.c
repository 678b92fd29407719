/* The list of layers to keep in float32 (docs/fp16-reference.md 4.4). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose/half_diag_inside.h"
#include "diagnose/half_shrink.h"
#include "diagnose/half_tasks.h"
#include "util/util.h"

/* What a list of units did. */
typedef struct trial {
    bool *on; /* [candidate_count] */
    bool serves;
    bool whole; /* the run came to its end, with the task metric; else only `serves` is known */
    bool reaches, has_task;
    double sqnr;
    vs_task task;
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
enum { FOR_THE_END = VS_DIAG_MOST_RUNS / 2 };

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

static vs_status add_trial(keeper *k, const bool *on, vs_half_probe *probe, bool task, vs_error *err) {
    trial *t = find_trial(k, on);
    if (!t) {
        if (!vs_grow((void **)&k->trials, &k->capacity, k->trial_count + 1, sizeof *k->trials))
            return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
        t = &k->trials[k->trial_count];
        *t = (trial){ .on = vs_calloc(k->count + 1, sizeof *t->on) };
        if (!t->on) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
        k->trial_count++;
        memcpy(t->on, on, k->count * sizeof *on);
    }
    free(t->task.iou);
    t->whole = task;
    t->reaches = vs_half_probe_reaches(probe, k->d->out->target);
    t->sqnr = vs_diag_sqnr(probe);
    t->has_task = probe->has_task;
    t->task = probe->task;
    probe->task.iou = NULL; /* the trial's from here on */
    t->serves = t->reaches;
    for (size_t i = 0; i < k->d->rows; i++) t->serves &= has_margin(k->d, probe, i);
    return VS_OK;
}

static size_t count_on(const bool *on, size_t count) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) n += on[i];
    return n;
}

static vs_status mask_candidates(const keeper *k, const bool *on, vs_error *err) {
    bool *unit_on = vs_calloc(k->d->unit_count + 1, sizeof *unit_on);
    if (!unit_on) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    for (size_t i = 0; i < k->count; i++) unit_on[k->units[i]] = on[i];
    mask_units(k->d, unit_on);
    free(unit_on);
    return VS_OK;
}

/* SERVES: the run ends as soon as the list is known to fail. WHOLE: it goes to the end, with the task metric, for the damage at
 * the output. KEEP: as WHOLE, and its streams are kept, so that runs of similar lists begin in the middle. */
typedef enum run_extent { SERVES, WHOLE, KEEP } run_extent;

/* *out: NULL where no run is left beyond those that are kept back. */
static vs_status run_list(keeper *k, const bool *on, size_t reserve, run_extent extent, const trial **out, vs_error *err) {
    const bool whole = extent != SERVES;
    vs_half_probe probe = { 0 };
    *out = find_trial(k, on);
    if (*out && extent != KEEP && (!whole || (*out)->whole)) return VS_OK;
    *out = NULL;
    if (vs_diag_left(k->d) <= reserve) return VS_OK;
    vs_status status = mask_candidates(k, on, err);
    if (status == VS_OK && whole)
        status = vs_diag_run_task(&probe, k->d, extent == KEEP, err);
    else if (status == VS_OK)
        status = vs_diag_run(&probe, k->d, false, vs_diag_limit(k->d) / MARGIN, err);
    if (status == VS_OK) status = add_trial(k, on, &probe, whole, err);
    vs_half_probe_release(&probe);
    if (status == VS_OK) *out = find_trial(k, on);
    return status;
}

static vs_status list_serves(void *context, const bool *on, size_t reserve, bool single, vs_shrink_answer *answer,
                             vs_error *err) {
    const trial *t = NULL;
    /* kept back: a last run for each entry and one for the list; a long list is shortened before that */
    const size_t kept = reserve == 0 ? 0 : reserve + 1 < FOR_THE_END ? reserve + 1 : FOR_THE_END;
    const vs_status status = run_list(context, on, kept, single ? WHOLE : SERVES, &t, err);
    *answer = !t ? VS_SHRINK_UNKNOWN : t->serves ? VS_SHRINK_SERVES : VS_SHRINK_FAILS;
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

/* A row that reads more than half holds cannot be half: units behind certain ones are certain too. */
static vs_status spread(keeper *k, vs_error *err) {
    const vs_diag *d = k->d;
    bool *present = vs_calloc(d->rows, sizeof *present);
    if (!present) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    for (size_t i = 0; i < d->rows; i++) present[i] = d->own->rows[i].seen;
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < d->rows; i++) {
            size_t from[VS_HALF_READS];
            if (!d->half[i] || k->certain[d->units[i]]) continue;
            const size_t count = vs_half_reads(d->graph_rows, present, i, from);
            for (size_t r = 0; r < count; r++) {
                const size_t unit = d->units[from[r]];
                if (unit == SIZE_MAX || !k->certain[unit] || !(d->healthy[from[r]] > CERTAIN * vs_diag_limit(d))) continue;
                k->candidate[d->units[i]] = k->certain[d->units[i]] = grew = true;
            }
        }
    }
    free(present);
    return VS_OK;
}

/* With all candidates in float32, units whose rows still lack the margin (they read float32 that half cannot hold) join. */
static vs_status widen(keeper *k, bool *reached, vs_error *err) {
    const vs_diag *d = k->d;
    vs_status status = VS_OK;
    bool grew = count_on(k->candidate, d->unit_count) > 0;
    *reached = vs_half_probe_reaches(d->own, d->out->target);
    mask_units(d, k->candidate);
    for (size_t i = 0; i < d->rows; i++) grew |= !has_margin(d, d->own, i);
    while (grew && status == VS_OK && vs_diag_left(d)) {
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

/* The policy's own run is the list of nothing. */
static vs_status add_own(keeper *k, vs_error *err) {
    vs_half_probe own = *k->d->own;
    bool *none = vs_calloc(k->count + 1, sizeof *none);
    if (!none) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    vs_status status = mask_candidates(k, none, err);
    if (status == VS_OK) status = add_trial(k, none, &own, false, err);
    free(none);
    return status;
}

/* ---- the list ---- */

/* A half row of the unit holds more than half can, as far as runs have shown. */
static bool overflows(const vs_diag *d, size_t unit) {
    for (size_t i = 0; i < d->rows; i++)
        if (d->units[i] == unit && d->healthy[i] > vs_diag_limit(d)) return true;
    return false;
}

static vs_status copy_task(vs_task *to, const vs_task *from, const vs_diag *d, vs_error *err) {
    const size_t classes = d->options->prober->runner->weights->model->arch.classes, size = classes * sizeof *to->iou;
    *to = *from;
    to->iou = vs_calloc(classes, sizeof *to->iou);
    if (!to->iou) return vs_fail(err, VS_ERR_NOMEM, "no memory for task metrics");
    memcpy(to->iou, from->iou, size);
    return VS_OK;
}

static vs_status write_entry(keeper *k, bool *on, size_t i, vs_error *err) {
    vs_fp16_keep *entry = &k->d->out->keep[k->d->out->keep_count++];
    const trial *t = NULL;
    snprintf(entry->row, sizeof entry->row, "%s", k->d->names[k->units[i]]);
    on[i] = false;
    const vs_status status = run_list(k, on, 0, WHOLE, &t, err);
    on[i] = true;
    entry->needed = t ? !t->reaches : overflows(k->d, k->units[i]);
    if (!t) return status;
    entry->has_without = true;
    entry->without_sqnr = t->sqnr;
    entry->has_task = t->has_task;
    return t->has_task ? copy_task(&entry->without_task, &t->task, k->d, err) : status;
}

static vs_status write_list(keeper *k, bool *on, vs_error *err) {
    vs_fp16_diagnosis *o = k->d->out;
    const trial *t = NULL;
    o->keep = vs_calloc(count_on(on, k->count) + 1, sizeof *o->keep);
    if (!o->keep) return vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    vs_status status = count_on(on, k->count) ? run_list(k, on, 0, WHOLE, &t, err) : VS_OK;
    if (status == VS_OK && !t) t = find_trial(k, on); /* the policy's own, or what is known where no run is left */
    o->keep_sqnr = t ? t->sqnr : (double)NAN;
    if (status == VS_OK && t && t->has_task) {
        o->has_whole_task = true;
        status = copy_task(&o->whole_task, &t->task, k->d, err);
    }
    for (size_t i = 0; i < k->count && status == VS_OK; i++)
        if (on[i]) status = write_entry(k, on, i, err);
    return status;
}

/* Of the model's products, those of the list. */
static void share_macs(const vs_diag *d) {
    const size_t patches = d->options->prober->patches;
    double all = 0, kept = 0;
    for (size_t i = 0; i < d->rows; i++) {
        const double macs = vs_half_macs(d->graph_rows, i, patches);
        all += macs;
        if (d->mask[i] && d->half[i]) kept += macs;
    }
    d->out->macs_share = all > 0 ? kept / all : 0;
}

/* ---- verification ---- */

static void mask_list(const vs_diag *d, bool *mask) {
    for (size_t i = 0; i < d->rows; i++) {
        mask[i] = false;
        for (size_t e = 0; e < d->out->keep_count && d->units[i] != SIZE_MAX; e++)
            mask[i] |= strcmp(d->out->keep[e].row, d->names[d->units[i]]) == 0;
    }
}

/* SQNR of the output on the evaluation images. */
static vs_status measure(const vs_diag *d, vs_error *err) {
    vs_half_prober prober;
    vs_half_probe probe = { 0 };
    vs_half_model model = *d->options->model;
    const vs_imageset *set = d->options->evaluation;
    model.float32 = d->mask;
    model.counts_only = true;
    vs_status status = vs_half_prober_create(&prober, d->options->prober->runner, set, set->count, err);
    if (status == VS_OK) status = vs_half_probe_run(&probe, &prober, &model, err);
    if (status == VS_OK) d->out->verified_sqnr = vs_diag_sqnr(&probe);
    vs_half_probe_release(&probe);
    vs_half_prober_release(&prober);
    return status;
}

static vs_status verify(const vs_diag *d, vs_error *err) {
    const vs_diag_options *o = d->options;
    vs_half_model model = *o->model;
    model.float32 = d->mask;
    vs_status status = measure(d, err);
    if (status == VS_OK)
        status = vs_half_tasks(&d->out->verified_task, NULL, o->prober->runner, o->evaluation, &model, 1, 0, o->floats, err);
    d->out->verified = status == VS_OK;
    return status;
}

static void release(keeper *k) {
    for (size_t i = 0; i < k->trial_count; i++) {
        free(k->trials[i].on);
        free(k->trials[i].task.iou);
    }
    free(k->trials);
    free(k->candidate);
    free(k->certain);
    free(k->units);
}

static vs_status shrink(keeper *k, bool *on, const bool *fixed, vs_error *err) {
    const trial *t = NULL;
    vs_status status = vs_shrink(on, fixed, k->count, list_serves, k, err);
    if (status == VS_OK && count_on(on, k->count) > 1) status = run_list(k, on, 0, KEEP, &t, err);
    if (status == VS_OK) status = vs_shrink_singly(on, fixed, k->count, list_serves, k, &k->d->out->minimal, err);
    return status;
}

vs_status vs_diag_keep(vs_diag *d, unsigned set, vs_error *err) {
    keeper k = { .d = d,
                 .candidate = vs_calloc(d->unit_count + 1, sizeof *k.candidate),
                 .certain = vs_calloc(d->unit_count + 1, sizeof *k.certain) };
    bool *on = NULL, *fixed = NULL;
    vs_status status = k.candidate && k.certain ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list");
    if (status == VS_OK) {
        choose(&k, set);
        status = spread(&k, err);
    }
    if (status == VS_OK) status = widen(&k, &d->out->reached, err);
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
    if (status == VS_OK) status = add_own(&k, err);
    if (status == VS_OK && d->out->reached) status = shrink(&k, on, fixed, err);
    if (status == VS_OK) status = write_list(&k, on, err);
    if (status == VS_OK) {
        mask_list(d, d->mask);
        share_macs(d);
    }
    if (status == VS_OK && d->options->evaluation) status = verify(d, err);
    free(on);
    free(fixed);
    release(&k);
    return status;
}
