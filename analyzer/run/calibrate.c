#include "run/calibrate.h"

#include <stdlib.h>

#include "util/util.h"

typedef struct context {
    const vs_runner *runner;
    vs_calibration **parts; /* one a worker; extremes do not depend on which worker saw which image */
} context;

typedef struct observer {
    const vs_graph *graph;
    const vs_backend *backend;
    vs_calibration *part;
} observer;

static vs_status observe(void *ctx, const vs_tap *tap, vs_error *err) {
    (void)err;
    const observer *o = ctx;
    vs_calibration_observe(o->part, o->graph, o->backend, tap);
    return VS_OK;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    observer o = { c->runner->weights->model->graph, c->runner->weights->backend, c->parts[job->worker] };
    vs_status status = vs_forward(job->session, c->runner->weights, job->pixels, (vs_tapper){ observe, &o }, err);
    if (status == VS_OK) status = o.backend->ops->sync(o.backend, err);
    o.part->images += job->images;
    return status;
}

vs_status vs_calibrate(vs_calibration **out, const vs_runner *runner, const vs_imageset *set, vs_error *err) {
    *out = NULL;
    context c = { runner, vs_calloc(runner->threads, sizeof *c.parts) };
    vs_status status = c.parts ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for calibration");
    for (size_t i = 0; i < runner->threads && status == VS_OK; i++)
        status = vs_calibration_create(&c.parts[i], runner->weights->model->graph, err);
    if (status == VS_OK)
        status = vs_run_images(runner, set, set->count, "calibration", (vs_session_needs){ 1, 1, NULL }, work, NULL, &c, err);
    for (size_t i = 1; c.parts && i < runner->threads && status == VS_OK; i++) vs_calibration_merge(c.parts[0], c.parts[i]);
    for (size_t i = 0; c.parts && i < runner->threads; i++)
        if (i > 0 || status != VS_OK) vs_calibration_free(c.parts[i]);
    if (c.parts && status == VS_OK) *out = c.parts[0];
    free(c.parts);
    return status;
}
