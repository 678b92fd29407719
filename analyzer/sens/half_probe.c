#include "half_probe.h"

#include <math.h>
#include <stdlib.h>

#include "record.h"
#include "util.h"

typedef struct context {
    vs_half_prober *prober;
    const vs_half_model *model; /* NULL: the float run */
    vs_half_seen *slots;        /* [wave * rows] */
    vs_error_sums *outputs;     /* [wave] */
    vs_half_probe *out;
    vs_sqnr_pool output, (*errors)[VS_HALF_PARTS]; /* [rows] */
    bool stopped;
} context;

static vs_status is_interrupted(const vs_runner *runner, vs_error *err) {
    return runner->stop && *runner->stop ? vs_fail(err, VS_ERR_INTERRUPTED, "interrupted") : VS_OK;
}

/* ---- the float run ---- */

static vs_mat output_of(const vs_job *job, const vs_backend *be, size_t image) {
    const vs_mat all = vs_session_output(job->session);
    const size_t rows = all.rows / job->images;
    return vs_mat_view(be, all, image * rows, rows, 0, all.cols);
}

static vs_status keep_floats(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    vs_half_prober *p = c->prober;
    const vs_backend *be = p->runner->weights->backend;
    vs_status status = is_interrupted(p->runner, err);
    if (status == VS_OK) status = vs_forward(job->session, p->runner->weights, job->pixels, (vs_tapper){ NULL, NULL }, err);
    for (size_t i = 0; i < job->images && status == VS_OK; i++) {
        const vs_mat from = output_of(job, be, i);
        void *to = p->floats[job->first + i] = be->ops->alloc(be, from.rows * from.cols);
        if (!to) return vs_fail(err, VS_ERR_NOMEM, "no memory for the float model's output");
        be->ops->copy(be, from, (vs_mat){ to, from.rows, from.cols, from.cols });
        if (job->first + i == 0) p->tokens = vs_session_tokens(job->session);
    }
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL);
    return status == VS_OK ? synced : status;
}

vs_status vs_half_prober_create(vs_half_prober *p, const vs_runner *runner, const vs_imageset *set, size_t images,
                                vs_error *err) {
    *p = (vs_half_prober){ .runner = runner,
                           .set = set,
                           .images = images,
                           .rows = vs_half_row_count(&runner->weights->model->arch),
                           .floats = vs_calloc(images, sizeof *p->floats) };
    if (!p->floats) return vs_fail(err, VS_ERR_NOMEM, "no memory for the float model's output");
    context c = { .prober = p };
    return vs_run_images(runner, set, images, "fp16", (vs_session_needs){ 1, 1, NULL }, keep_floats, NULL, &c, err);
}

void vs_half_prober_release(vs_half_prober *p) {
    for (size_t i = 0; p->floats && i < p->images; i++)
        if (p->floats[i]) p->runner->weights->backend->ops->free(p->runner->weights->backend, p->floats[i]);
    free(p->floats);
    *p = (vs_half_prober){ 0 };
}

/* ---- a run ---- */

static void compare_output(const context *c, const vs_job *job) {
    const vs_backend *be = c->prober->runner->weights->backend;
    for (size_t i = 0; i < job->images; i++) {
        vs_error_sums *sums = &c->outputs[(job->first + i) % c->prober->runner->wave];
        const vs_mat y = output_of(job, be, i), x = { c->prober->floats[job->first + i], y.rows, y.cols, y.cols };
        be->ops->error_sums(be, x, y, 1, &sums);
    }
}

static vs_status observe(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_half_prober *p = c->prober;
    const vs_backend *be = p->runner->weights->backend;
    vs_half_seen *seen[VS_MAX_BATCH];
    vs_status status = is_interrupted(p->runner, err);
    if (status != VS_OK) return status;
    for (size_t i = 0; i < job->images; i++) seen[i] = &c->slots[(job->first + i) % p->runner->wave * p->rows];
    status = vs_half_forward(job->session, c->model, job->pixels, seen, err);
    if (status == VS_OK) compare_output(c, job);
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL);
    return status == VS_OK ? synced : status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    context *c = ctx;
    const size_t slot = image % c->prober->runner->wave, rows = c->prober->rows;
    const vs_half_seen *seen = &c->slots[slot * rows];
    (void)err;
    for (size_t i = 0; i < rows; i++) {
        vs_half_probe_row *row = &c->out->rows[i];
        if (!seen[i].seen) continue;
        row->seen = true;
        row->max = fmax(row->max, seen[i].stored.max);
        row->inf += seen[i].stored.inf;
        row->nan += seen[i].stored.nan;
        for (size_t k = 0; k < VS_HALF_INPUTS; k++) {
            row->cast_inf += seen[i].cast[k].inf;
            row->cast_max = fmax(row->cast_max, seen[i].cast[k].max);
        }
        const bool parts = seen[i].error[1].signal > 0 || seen[i].error[2].signal > 0;
        for (size_t k = 0; !c->model->counts_only && k < (parts ? VS_HALF_PARTS : 1); k++)
            vs_sqnr_pool_add(&c->errors[i][k], &seen[i].error[k]);
    }
    vs_sqnr_pool_add(&c->output, &c->outputs[slot]);
    c->stopped |= !seen[vs_half_output_index(&c->prober->runner->weights->model->arch)].seen;
    return VS_OK;
}

static double worst_of(const vs_sqnr_pool *parts) {
    double worst = HUGE_VAL;
    for (size_t k = 0; k < VS_HALF_PARTS; k++)
        if (parts[k].images) worst = fmin(worst, vs_sqnr_pool_result(&parts[k]).pooled);
    return worst;
}

vs_status vs_half_probe_run(vs_half_probe *out, vs_half_prober *p, const vs_half_model *model, vs_error *err) {
    *out = (vs_half_probe){ .rows = vs_calloc(p->rows, sizeof *out->rows) };
    context c = { .prober = p,
                  .model = model,
                  .slots = vs_calloc(p->runner->wave * p->rows, sizeof *c.slots),
                  .outputs = vs_calloc(p->runner->wave, sizeof *c.outputs),
                  .out = out,
                  .errors = vs_calloc(p->rows, sizeof *c.errors) };
    vs_status status =
        out->rows && c.slots && c.outputs && c.errors ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    if (status == VS_OK)
        status = vs_run_images(p->runner, p->set, p->images, model->policy->name, (vs_session_needs){ 1, 1, vs_half_scratch },
                               observe, pool, &c, err);
    p->runs++;
    if (status == VS_OK && !c.stopped) out->output = vs_sqnr_pool_result(&c.output);
    for (size_t i = 0; i < p->rows && status == VS_OK; i++)
        out->rows[i].sqnr = out->rows[i].seen && !model->counts_only ? worst_of(c.errors[i]) : (double)NAN;
    free(c.slots);
    free(c.outputs);
    free(c.errors);
    return status;
}

/* ---- another float model ---- */

typedef struct float_context {
    context c;
    const vs_runner *runner;
} float_context;

static vs_status observe_float(void *ctx, const vs_job *job, vs_error *err) {
    const float_context *f = ctx;
    const vs_backend *be = f->runner->weights->backend;
    vs_status status = is_interrupted(f->runner, err);
    if (status == VS_OK) status = vs_forward(job->session, f->runner->weights, job->pixels, (vs_tapper){ NULL, NULL }, err);
    if (status == VS_OK) compare_output(&f->c, job);
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL);
    return status == VS_OK ? synced : status;
}

static vs_status pool_float(void *ctx, size_t image, vs_error *err) {
    float_context *f = ctx;
    (void)err;
    vs_sqnr_pool_add(&f->c.output, &f->c.outputs[image % f->runner->wave]);
    return VS_OK;
}

vs_status vs_half_probe_float(vs_sqnr *out, vs_half_prober *p, const vs_runner *runner, vs_error *err) {
    float_context f = { .c = { .prober = p, .outputs = vs_calloc(runner->wave, sizeof(vs_error_sums)) }, .runner = runner };
    if (!f.c.outputs) return vs_fail(err, VS_ERR_NOMEM, "no memory for a float model's output");
    const vs_status status =
        vs_run_images(runner, p->set, p->images, "fp16", (vs_session_needs){ 1, 1, NULL }, observe_float, pool_float, &f, err);
    if (status == VS_OK) *out = vs_sqnr_pool_result(&f.c.output);
    free(f.c.outputs);
    return status;
}

void vs_half_probe_release(vs_half_probe *probe) {
    free(probe->rows);
    *probe = (vs_half_probe){ 0 };
}

bool vs_half_probe_reaches(const vs_half_probe *probe, double target) {
    return probe->output.present && probe->output.nonfinite == 0 && probe->output.pooled >= target;
}
