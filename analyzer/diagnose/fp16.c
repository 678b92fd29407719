#include "diagnose/fp16.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose/fp16_real.h"
#include "diagnose/half_advice.h"
#include "diagnose/half_diag.h"
#include "diagnose/half_finite.h"
#include "diagnose/half_tasks.h"
#include "run/record.h"
#include "util/util.h"

/* One run of a policy: its scale is settled. */
typedef struct variant {
    vs_policy_config policy;
    vs_half_model model;
} variant;

/* One row over the images so far. */
typedef struct row_pool {
    bool seen;
    vs_half_counts counts; /* inf, nan, subnormal, flushed, max */
    uint64_t cast_inf;
    double cast_max;
    vs_half_place_result first, largest;
    vs_sqnr_pool error[VS_HALF_PARTS];
} row_pool;

typedef struct context {
    const vs_runner *runner;
    const vs_half_model *model;
    const vs_half_rows *graph_rows;
    size_t rows;
    size_t *grid_h, *grid_w; /* [wave]: of the slot's image */
    vs_half_seen *slots;     /* [wave * rows] */
    row_pool *pools;         /* [rows] */
} context;

/* ---- analysis ---- */

static vs_status observe(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_backend *be = c->runner->weights->backend;
    vs_half_seen *seen[VS_MAX_BATCH];
    for (size_t i = 0; i < job->images; i++) {
        const size_t slot = (job->first + i) % c->runner->wave;
        seen[i] = &c->slots[slot * c->rows];
        c->grid_h[slot] = vs_session_grid_h(job->session);
        c->grid_w[slot] = vs_session_grid_w(job->session);
    }
    vs_status status = vs_half_forward(job->session, c->model, job->pixels, seen, err);
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL); /* counts must not arrive later */
    return status == VS_OK ? synced : status;
}

/* Row and column of an image's matrix in words. */
static vs_half_place_result place_of(const context *c, size_t index, size_t image, size_t row, size_t col) {
    const size_t slot = image % c->runner->wave;
    vs_half_place_result p = { .present = true, .image = image, .channel = col };
    vs_half_place_name(c->graph_rows, index, row, c->grid_h[slot], c->grid_w[slot], p.token, sizeof p.token);
    return p;
}

static void pool_row(const context *c, size_t index, size_t image, const vs_half_seen *seen) {
    row_pool *p = &c->pools[index];
    const vs_half_counts *k = &seen->stored;
    const size_t parts = vs_half_seen_parts(seen);
    p->seen = true;
    if (k->inf && !p->first.present) p->first = place_of(c, index, image, k->first_row, k->first_col);
    if (k->max > p->counts.max) p->largest = place_of(c, index, image, k->max_row, k->max_col);
    p->counts.max = fmax(p->counts.max, k->max);
    p->counts.inf += k->inf;
    p->counts.nan += k->nan;
    p->counts.subnormal += k->subnormal;
    p->counts.flushed += k->flushed;
    for (size_t i = 0; i < VS_HALF_INPUTS; i++) {
        p->cast_inf += seen->cast[i].inf;
        p->cast_max = fmax(p->cast_max, seen->cast[i].max);
    }
    for (size_t i = 0; i < parts; i++) vs_sqnr_pool_add(&p->error[i], &seen->error[i]);
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    const context *c = ctx;
    (void)err;
    const vs_half_seen *seen = &c->slots[image % c->runner->wave * c->rows];
    for (size_t i = 0; i < c->rows; i++)
        if (seen[i].seen) pool_row(c, i, image, &seen[i]);
    return VS_OK;
}

static double headroom(vs_half_format format, double max) { return max > 0 ? log2(vs_half_largest(format) / max) : HUGE_VAL; }

static vs_status fill_rows(vs_fp16_policy *p, const context *c, vs_error *err) {
    p->rows = vs_calloc(c->rows, sizeof *p->rows);
    if (!p->rows) return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    for (size_t i = 0; i < c->rows; i++) {
        const row_pool *from = &c->pools[i];
        if (!from->seen) continue;
        vs_fp16_row *row = &p->rows[p->row_count++];
        *row = (vs_fp16_row){ .max = from->counts.max,
                              .headroom = headroom(c->model->weights->format, from->counts.max),
                              .inf = from->counts.inf,
                              .cast_inf = from->cast_inf,
                              .cast_max = from->cast_max,
                              .nan = from->counts.nan,
                              .subnormal = from->counts.subnormal,
                              .flushed = from->counts.flushed,
                              .first = from->first,
                              .largest = from->largest,
                              .sqnr = vs_sqnr_pool_worst(from->error, VS_HALF_PARTS) };
        vs_half_row_name(c->graph_rows, c->model->policy, i, row->name, sizeof row->name);
    }
    p->sqnr = p->rows[p->row_count - 1].sqnr;
    p->finite = p->sqnr.nonfinite == 0;
    p->analyzed = true;
    return VS_OK;
}

static vs_status analyze(vs_fp16_policy *p, const vs_runner *runner, const variant *v, const vs_fp16_options *options,
                         vs_error *err) {
    const vs_half_rows *graph_rows = v->model.weights->rows;
    const size_t rows = vs_half_row_count(graph_rows);
    context c = { runner,
                  &v->model,
                  graph_rows,
                  rows,
                  vs_calloc(runner->wave, sizeof *c.grid_h),
                  vs_calloc(runner->wave, sizeof *c.grid_w),
                  vs_calloc(runner->wave * rows, sizeof *c.slots),
                  vs_calloc(rows, sizeof *c.pools) };
    vs_status status =
        c.grid_h && c.grid_w && c.slots && c.pools ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    if (status == VS_OK)
        status = vs_run_images(runner, options->analysis, options->images, v->policy.name,
                               (vs_session_needs){ 1, 1, vs_half_scratch }, observe, pool, &c, err);
    if (status == VS_OK) status = fill_rows(p, &c, err);
    free(c.grid_h);
    free(c.grid_w);
    free(c.slots);
    free(c.pools);
    return status;
}

/* ---- evaluation ---- */

static vs_status evaluate(vs_fp16_results *out, vs_evaluation *maps, const vs_runner *runner, const variant *variants,
                          const vs_fp16_options *options, vs_error *err) {
    const size_t n = out->policy_count;
    vs_half_model *models = vs_calloc(n + 1, sizeof *models);
    vs_task *tasks = vs_calloc(n + 1, sizeof *tasks);
    for (size_t i = 0; models && i < n; i++) models[i] = variants[i].model;
    const vs_status status =
        models && tasks ? vs_half_tasks(tasks, maps, runner, options->evaluation, models, n, options->keep, options->floats, err)
                        : vs_fail(err, VS_ERR_NOMEM, "no memory for task metrics");
    for (size_t i = 0; i < n && status == VS_OK; i++) {
        vs_fp16_policy *p = &out->policies[i];
        p->task = tasks[i];
        p->has_task = true;
        p->classes_predicted = p->task.shown;
    }
    free(models);
    free(tasks);
    return status;
}

/* ---- half kernels ---- */

/* Beside the emulation, which has run. Models are copies: those of `variants` stay emulated. */
static vs_status run_real(vs_fp16_results *out, const vs_runner *runner, const variant *variants, const vs_half_weights *weights,
                          const vs_fp16_options *options, vs_error *err) {
    vs_half_real *real = NULL;
    size_t count = 0;
    vs_half_model *models = vs_calloc(out->policy_count, sizeof *models);
    vs_fp16_policy **policies = vs_calloc(out->policy_count, sizeof *policies);
    vs_status status =
        models && policies ? vs_half_real_create(&real, weights, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for half kernels");
    for (size_t i = 0; i < out->policy_count && status == VS_OK; i++) {
        if (!vs_half_real_runs(&variants[i].policy)) continue;
        models[count] = variants[i].model;
        models[count].real = real;
        policies[count] = &out->policies[i];
        if (options->analysis) status = vs_fp16_real_analyze(policies[count], runner, &models[count], options, err);
        count++;
    }
    if (status == VS_OK && options->evaluation && count)
        status = vs_fp16_real_evaluate(policies, models, count, runner, options, err);
    vs_half_real_free(real);
    free(models);
    free(policies);
    return status;
}

/* ---- policies ---- */

static const char *const scale_names[] = {
    [VS_SCALE_AUTO] = "auto", [VS_SCALE_AFTER] = "after", [VS_SCALE_BEFORE] = "before", [VS_SCALE_BOTH] = "both"
};

/* A policy with one scale, or where its graph is not known with each of the three. */
static size_t expand(const vs_policy_config *policy, vs_half_scale usual, variant *out, vs_fp16_policy *results) {
    const bool stored = policy->attention == VS_OPERATION_DECOMPOSED;
    const vs_half_scale wanted = policy->scale == VS_SCALE_AUTO ? usual : policy->scale;
    size_t count = 0;
    for (vs_half_scale s = VS_SCALE_AFTER; s <= VS_SCALE_BOTH; s++) {
        if (stored ? wanted != VS_SCALE_AUTO && wanted != s : s != VS_SCALE_AFTER) continue;
        vs_fp16_policy *r = &results[count];
        out[count].policy = *policy;
        out[count].policy.scale = s;
        r->scale = stored ? scale_names[s] : NULL;
        r->first_bad = SIZE_MAX;
        if (stored && wanted == VS_SCALE_AUTO)
            snprintf(r->name, sizeof r->name, "%s.%s", policy->name, scale_names[s]);
        else
            snprintf(r->name, sizeof r->name, "%s", policy->name);
        out[count].policy.name = r->name;
        count++;
    }
    return count;
}

/* ---- diagnosis ---- */

static void note_runs(const vs_runner *runner, const vs_fp16_results *out, size_t images) {
    char text[256];
    if (!runner->progress.note) return;
    snprintf(
        text, sizeof text,
        "fp16: %zu policies; a diagnosis takes at most %d emulated runs over %zu analysis images (3 where nothing is wrong), "
        "advice among them; the list's verification and each advice run the evaluation images once",
        out->policy_count, VS_DIAG_MOST_RUNS, images);
    runner->progress.note(runner->progress.context, text);
}

/* First bad row, chain, cause, keep list and advice of every policy. */
static vs_status explain(vs_fp16_results *out, const vs_runner *runner, const variant *variants, const vs_fp16_options *options,
                         vs_error *err) {
    if (!options->analysis || out->policy_count == 0) return VS_OK;
    const vs_half_format format = variants[0].model.weights->format;
    vs_half_weights *wide = NULL;
    vs_half_prober prober = { 0 };
    note_runs(runner, out, options->images);
    /* bfloat16 has float32's exponents */
    vs_status status = vs_half_weights_create(&wide, runner->weights, format == VS_HALF_FP16 ? VS_HALF_WIDE : VS_HALF_BF16, err);
    if (status == VS_OK) status = vs_half_prober_create(&prober, runner, options->analysis, options->images, err);
    for (size_t i = 0; i < out->policy_count && status == VS_OK; i++)
        status = vs_half_diagnose(&out->policies[i],
                                  &(vs_diag_options){ .prober = &prober,
                                                      .model = &variants[i].model,
                                                      .wide = wide,
                                                      .evaluation = options->evaluation,
                                                      .floats = options->floats },
                                  err);
    vs_adviser adviser = { .prober = &prober, .evaluation = options->evaluation, .floats = options->floats };
    for (size_t i = 0; i < out->policy_count && status == VS_OK; i++)
        status = vs_half_advise(out, i, &variants[i].model, &adviser, err);
    vs_adviser_release(&adviser);
    vs_half_prober_release(&prober);
    vs_half_weights_free(wide);
    return status;
}

/* A float model that is not finite has nothing that half precision could be held against. */
static vs_status check_float(vs_fp16_results *out, const vs_runner *runner, const vs_fp16_options *options, vs_error *err) {
    enum { OF_EVALUATION = 8 };
    const vs_imageset *set = options->analysis ? options->analysis : options->evaluation;
    size_t images = options->images;
    if (!set) return VS_OK;
    if (!options->analysis) images = set->count < OF_EVALUATION ? set->count : OF_EVALUATION;
    const vs_status status = vs_half_check_float(out->not_run, sizeof out->not_run, runner, set, images, err);
    if (status == VS_OK && *out->not_run && runner->progress.note) {
        char text[300];
        snprintf(text, sizeof text, "fp16: not run: %s", out->not_run);
        runner->progress.note(runner->progress.context, text);
    }
    return status;
}

vs_status vs_fp16_diagnose(vs_fp16_results *out, vs_evaluation *maps, const vs_runner *runner, const vs_fp16_config *config,
                           const vs_fp16_options *options, vs_error *err) {
    const vs_half_format format = (vs_half_format)config->format;
    const vs_backend *be = runner->weights->backend;
    enum { SCALES = 3 };
    vs_half_weights *weights = NULL;
    variant *variants = vs_calloc(config->policy_count * SCALES, sizeof *variants);
    *out = (vs_fp16_results){ .format = format == VS_HALF_FP16 ? "fp16" : "bf16",
                              .policies = vs_calloc(config->policy_count * SCALES, sizeof *out->policies) };
    vs_status status =
        variants && out->policies ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for the half-precision diagnosis");
    if (status == VS_OK && config->real) status = vs_half_real_check(runner->weights->model, be, format, err);
    if (status == VS_OK) status = vs_half_note_weights(&out->weights, &out->weight_count, runner->weights->model, format, err);
    if (status == VS_OK) status = check_float(out, runner, options, err);
    const bool goes_on = status == VS_OK && !*out->not_run;
    if (goes_on) status = vs_half_weights_create(&weights, runner->weights, format, err);
    if (goes_on && status == VS_OK) {
        for (size_t i = 0; i < config->policy_count; i++)
            out->policy_count +=
                expand(&config->policies[i], config->scale, &variants[out->policy_count], &out->policies[out->policy_count]);
    }
    for (size_t i = 0; weights && i < out->policy_count && status == VS_OK; i++) {
        variants[i].model = (vs_half_model){ .weights = weights, .policy = &variants[i].policy };
        if (options->analysis) status = analyze(&out->policies[i], runner, &variants[i], options, err);
    }
    if (goes_on && status == VS_OK && options->evaluation) status = evaluate(out, maps, runner, variants, options, err);
    if (goes_on && status == VS_OK && config->real) status = run_real(out, runner, variants, weights, options, err);
    if (goes_on && status == VS_OK) status = explain(out, runner, variants, options, err);
    vs_half_weights_free(weights);
    free(variants);
    return status;
}

void vs_fp16_release(vs_fp16_results *r) {
    for (size_t i = 0; r->policies && i < r->policy_count; i++) {
        free(r->policies[i].rows);
        free(r->policies[i].task.iou);
        vs_fp16_real_release(&r->policies[i].real);
        vs_half_diagnosis_release(&r->policies[i].diagnosis);
    }
    for (size_t i = 0; i < r->advice_count; i++) free(r->advice[i].task.iou);
    free(r->advice);
    free(r->weights);
    free(r->policies);
    *r = (vs_fp16_results){ 0 };
}
