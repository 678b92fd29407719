#include "diagnose/fp16_real.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose/half_tasks.h"
#include "run/record.h"
#include "util/util.h"

typedef struct context {
    const vs_runner *runner;
    const vs_half_model *model;
    size_t count;         /* results of an image */
    vs_error_sums *slots; /* [wave * count] */
    vs_sqnr_pool *pools;  /* [count] */
} context;

static vs_status observe(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_backend *be = c->runner->weights->backend;
    vs_error_sums *seen[VS_MAX_BATCH];
    for (size_t i = 0; i < job->images; i++) seen[i] = &c->slots[(job->first + i) % c->runner->wave * c->count];
    const vs_status status = vs_half_real_forward(job->session, c->model, job->pixels, c->runner->weights, seen, err);
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL); /* sums must not arrive later */
    return status == VS_OK ? synced : status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    const context *c = ctx;
    (void)err;
    for (size_t i = 0; i < c->count; i++) vs_sqnr_pool_add(&c->pools[i], &c->slots[image % c->runner->wave * c->count + i]);
    return VS_OK;
}

/* dB apart; nothing apart where neither is finite (or neither has noise). */
static double apart(double a, double b) { return a == b ? 0 : fabs(a - b); }

/* The emulated row of this name. */
static double emulated_of(const vs_fp16_policy *p, const char *name) {
    for (size_t i = 0; i < p->row_count; i++)
        if (strcmp(p->rows[i].name, name) == 0) return p->rows[i].sqnr.pooled;
    return (double)NAN;
}

static vs_status fill(vs_fp16_policy *p, const context *c, vs_error *err) {
    vs_fp16_real *r = &p->real;
    r->block_count = c->count - 1;
    r->blocks = vs_calloc(r->block_count, sizeof *r->blocks);
    if (!r->blocks) return vs_fail(err, VS_ERR_NOMEM, "no memory for results of half kernels");
    for (size_t b = 0; b < r->block_count; b++) {
        vs_fp16_real_row *row = &r->blocks[b];
        snprintf(row->row, sizeof row->row, "blocks.%zu.add2", b);
        row->sqnr = vs_sqnr_pool_result(&c->pools[b]).pooled;
        row->emulated = emulated_of(p, row->row);
        const double d = apart(row->sqnr, row->emulated);
        if (b > 0 && d <= r->largest_difference) continue;
        r->largest_difference = d;
        r->largest_block = b;
    }
    r->sqnr = vs_sqnr_pool_result(&c->pools[r->block_count]);
    r->finite = r->sqnr.nonfinite == 0;
    r->output_difference = apart(r->sqnr.pooled, p->sqnr.pooled);
    return VS_OK;
}

vs_status vs_fp16_real_analyze(vs_fp16_policy *policy, const vs_runner *runner, const vs_half_model *model,
                               const vs_fp16_options *options, vs_error *err) {
    const size_t count = vs_half_real_seen(runner->weights->model->graph);
    context c = { runner, model, count, vs_calloc(runner->wave * count, sizeof *c.slots), vs_calloc(count, sizeof *c.pools) };
    char stage[160];
    snprintf(stage, sizeof stage, "%s, half kernels", policy->name);
    policy->real.present = true;
    vs_status status = c.slots && c.pools ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for results of half kernels");
    if (status == VS_OK)
        status = vs_run_images(runner, options->analysis, options->images, stage,
                               (vs_session_needs){ 1, 1, vs_half_real_scratch }, observe, pool, &c, err);
    if (status == VS_OK) status = fill(policy, &c, err);
    free(c.slots);
    free(c.pools);
    return status;
}

vs_status vs_fp16_real_evaluate(vs_fp16_policy *const *policies, const vs_half_model *models, size_t count,
                                const vs_runner *runner, const vs_fp16_options *options, vs_error *err) {
    vs_task *tasks = vs_calloc(count, sizeof *tasks);
    if (!tasks) return vs_fail(err, VS_ERR_NOMEM, "no memory for task metrics");
    const vs_status status = vs_half_tasks(tasks, NULL, runner, options->evaluation, models, count, 0, options->floats, err);
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        vs_fp16_real *r = &policies[i]->real;
        r->present = r->has_task = true;
        r->task = tasks[i];
        r->classes_predicted = r->task.shown;
    }
    free(tasks);
    return status;
}

void vs_fp16_real_release(vs_fp16_real *r) {
    free(r->blocks);
    free(r->task.iou);
    *r = (vs_fp16_real){ 0 };
}
