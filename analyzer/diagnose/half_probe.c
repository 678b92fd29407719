#include "diagnose/half_probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/record.h"
#include "util/util.h"

typedef struct context {
    vs_half_prober *prober;
    const vs_half_model *model; /* NULL: the float run */
    vs_half_seen *slots;        /* [wave * rows] */
    vs_error_sums *outputs;     /* [wave] */
    vs_half_probe *out;
    vs_sqnr_pool output, (*errors)[VS_HALF_PARTS]; /* [rows] */
    bool stopped;
    bool keep;
    void **streams; /* written where `keep`, else the run begins with those of block `first`; NULL: none */
    size_t first;
    vs_confusion *counts; /* [threads]; NULL: no task is asked for */
    bool *unlabelled;     /* [threads]: an image has no labels */
} context;

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
    vs_status status = vs_forward(job->session, p->runner->weights, job->pixels, (vs_tapper){ NULL, NULL }, err);
    for (size_t i = 0; i < job->images && status == VS_OK; i++) {
        const vs_mat from = output_of(job, be, i);
        void *to = p->floats[job->first + i] = be->ops->alloc(be, from.rows * from.cols);
        if (!to) return vs_fail(err, VS_ERR_NOMEM, "no memory for the float model's output");
        be->ops->copy(be, from, (vs_mat){ to, from.rows, from.cols, from.cols });
        if (job->first + i == 0) p->patches = vs_session_grid_h(job->session) * vs_session_grid_w(job->session);
        p->image_tokens[job->first + i] = vs_session_tokens(job->session);
    }
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL);
    return status == VS_OK ? synced : status;
}

vs_status vs_half_prober_create(vs_half_prober *p, const vs_runner *runner, const vs_imageset *set, size_t images,
                                vs_error *err) {
    *p = (vs_half_prober){ .runner = runner,
                           .set = set,
                           .images = images,
                           .floats = vs_calloc(images, sizeof *p->floats),
                           .image_tokens = vs_calloc(images, sizeof *p->image_tokens) };
    if (!p->floats || !p->image_tokens) return vs_fail(err, VS_ERR_NOMEM, "no memory for the float model's output");
    const vs_status status = vs_half_rows_create(&p->graph_rows, runner->weights->model->graph, err);
    if (status != VS_OK) return status;
    p->rows = vs_half_row_count(p->graph_rows);
    context c = { .prober = p };
    return vs_run_images(runner, set, images, "fp16", (vs_session_needs){ 1, 1, NULL }, keep_floats, NULL, &c, err);
}

static void drop_kept(vs_half_prober *p) {
    void **streams = p->kept.streams;
    const vs_weights *w = streams ? p->runner->weights : NULL;
    for (size_t i = 0; streams && i < p->images * vs_half_blocks(w->model->graph); i++)
        if (streams[i]) w->backend->ops->free(w->backend, streams[i]);
    free(streams);
    free(p->kept.float32);
    free(p->kept.rows);
    p->kept = (vs_half_kept){ 0 };
}

void vs_half_prober_release(vs_half_prober *p) {
    for (size_t i = 0; p->floats && i < p->images; i++)
        if (p->floats[i]) p->runner->weights->backend->ops->free(p->runner->weights->backend, p->floats[i]);
    free(p->floats);
    free(p->image_tokens);
    drop_kept(p);
    vs_half_rows_free(p->graph_rows);
    vs_float_maps_free(p->maps);
    *p = (vs_half_prober){ 0 };
}

/* ---- the task ---- */

static bool has_task(const vs_half_prober *p) { return p->runner->weights->model->arch.head != VS_HEAD_NONE; }

static vs_status keep_maps(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_runner *runner = c->prober->runner;
    const size_t pixels = vs_job_map_pixels(runner, job);
    uint16_t *maps = vs_calloc(job->images * pixels, sizeof *maps);
    vs_status status = maps ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for maps");
    if (status == VS_OK) status = vs_forward(job->session, runner->weights, job->pixels, (vs_tapper){ NULL, NULL }, err);
    if (status == VS_OK) status = vs_job_maps(runner, job, maps, err);
    for (size_t i = 0; i < job->images && status == VS_OK; i++)
        status = vs_float_maps_put(c->prober->maps, job->first + i, maps + i * pixels, pixels, err);
    free(maps);
    return status;
}

static vs_status begin_task(context *c, vs_error *err) {
    vs_half_prober *p = c->prober;
    const vs_runner *runner = p->runner;
    vs_status status = VS_OK;
    if (!p->maps) {
        status = vs_float_maps_create(&p->maps, p->images, err);
        if (status == VS_OK)
            status = vs_run_images(runner, p->set, p->images, "fp16", (vs_session_needs){ 1, 1, NULL }, keep_maps, NULL, c, err);
    }
    if (status != VS_OK) return status;
    c->counts = vs_calloc(runner->threads, sizeof *c->counts);
    c->unlabelled = vs_calloc(runner->threads, sizeof *c->unlabelled);
    if (!c->counts || !c->unlabelled) return vs_fail(err, VS_ERR_NOMEM, "no memory for the task metric");
    for (size_t i = 0; i < runner->threads && status == VS_OK; i++)
        status = vs_confusion_create(&c->counts[i], runner->weights->model->arch.classes, err);
    return status;
}

static vs_status count_task(const context *c, const vs_job *job, vs_error *err) {
    const vs_runner *runner = c->prober->runner;
    const bool gives = vs_arch_gives_maps(&runner->weights->model->arch);
    const size_t pixels = vs_job_map_pixels(runner, job);
    uint16_t *maps = vs_calloc(job->images * pixels, sizeof *maps);
    const vs_status status = maps ? vs_job_maps(runner, job, maps, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    for (size_t i = 0; i < job->images && status == VS_OK; i++) {
        const uint8_t *labels = gives ? job->samples[i].labels : NULL;
        vs_confusion_add(&c->counts[job->worker], maps + i * pixels, c->prober->maps->maps[job->first + i], labels, pixels);
        c->unlabelled[job->worker] |= !labels;
    }
    free(maps);
    return status;
}

static vs_status end_task(context *c, vs_error *err) {
    bool labels = true;
    for (size_t i = 0; i < c->prober->runner->threads; i++) {
        labels &= !c->unlabelled[i];
        if (i) vs_confusion_merge(&c->counts[0], &c->counts[i]);
    }
    c->out->has_task = true;
    return vs_task_of_counts(&c->out->task, &c->counts[0], labels, err);
}

static void release_task(context *c) {
    for (size_t i = 0; c->counts && i < c->prober->runner->threads; i++) vs_confusion_release(&c->counts[i]);
    free(c->counts);
    free(c->unlabelled);
}

/* ---- streams ---- */

static const size_t streams_limit = (size_t)512 << 20; /* bytes */

static const vs_graph *graph_of(const vs_half_prober *p) { return p->runner->weights->model->graph; }

/* The first row of a block. */
static size_t first_row(const vs_half_prober *p, size_t block) {
    const vs_graph *g = graph_of(p);
    return vs_half_first_row(p->graph_rows, g->segments[vs_graph_block(g, block)].first);
}

/* Room for the streams in front of every block but the first, or of every second, third, ... where that is too much. */
static vs_status begin_keep(vs_half_prober *p, const vs_half_model *model, vs_error *err) {
    const vs_backend *be = p->runner->weights->backend;
    const size_t blocks = vs_half_blocks(graph_of(p)), width = p->runner->weights->model->arch.width;
    size_t tokens = 0;
    drop_kept(p);
    for (size_t i = 0; i < p->images; i++) tokens += p->image_tokens[i];
    const size_t stride = tokens * width * (size_t)be->scalar * blocks / streams_limit + 1;
    p->kept = (vs_half_kept){ .streams = vs_calloc(p->images * blocks, sizeof *p->kept.streams),
                              .weights = model->weights,
                              .policy = model->policy,
                              .float32 = vs_calloc(p->rows, sizeof *p->kept.float32),
                              .rows = vs_calloc(p->rows, sizeof *p->kept.rows) };
    if (!p->kept.streams || !p->kept.float32 || !p->kept.rows) return vs_fail(err, VS_ERR_NOMEM, "no memory for kept streams");
    memcpy(p->kept.float32, model->float32, p->rows * sizeof *p->kept.float32);
    for (size_t i = 0; i < p->images; i++)
        for (size_t b = stride; b < blocks; b += stride) {
            void *at = p->kept.streams[i * blocks + b] = be->ops->alloc(be, p->image_tokens[i] * width);
            if (at) continue;
            drop_kept(p); /* the device is full: runs begin at the pixels */
            return VS_OK;
        }
    return VS_OK;
}

/* The block that a run may begin with; 0: the pixels. */
static size_t first_block(const vs_half_prober *p, const vs_half_model *model) {
    const vs_half_kept *k = &p->kept;
    size_t row = 0;
    if (!k->streams || k->weights != model->weights || k->policy != model->policy || model->real) return 0;
    if (!model->counts_only || !model->float32) return 0;
    while (row < p->rows && k->float32[row] == model->float32[row]) row++;
    for (size_t block = vs_half_blocks(graph_of(p)); block-- > 1;)
        if (k->streams[block] && first_row(p, block) <= row) return block;
    return 0;
}

/* What a run shares with the kept one, or keeps itself. */
static vs_status begin_streams(context *c, bool keep, vs_error *err) {
    vs_half_prober *p = c->prober;
    c->keep = keep && vs_half_can_resume(graph_of(p)) && c->model->counts_only && !c->model->real && !(c->model->largest > 0);
    const vs_status status = c->keep ? begin_keep(p, c->model, err) : VS_OK;
    if (!c->keep) c->first = first_block(p, c->model);
    if (c->keep || c->first) c->streams = p->kept.streams;
    for (size_t i = 0; c->first && i < first_row(p, c->first); i++) c->out->rows[i] = p->kept.rows[i];
    return status;
}

static void end_streams(const context *c, bool good) {
    vs_half_prober *p = c->prober;
    if (c->keep && good && p->kept.streams) memcpy(p->kept.rows, c->out->rows, p->rows * sizeof *p->kept.rows);
    if (c->keep && !good) drop_kept(p);
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
    for (size_t i = 0; i < job->images; i++) seen[i] = &c->slots[(job->first + i) % p->runner->wave * p->rows];
    const vs_half_streams streams = { .at = c->streams ? &c->streams[job->first * vs_half_blocks(graph_of(p))] : NULL,
                                      .keep = c->keep,
                                      .first = c->first };
    vs_half_model model = *c->model;
    model.streams = c->streams ? &streams : NULL;
    vs_status status = vs_half_forward(job->session, &model, job->pixels, seen, err);
    if (status == VS_OK) compare_output(c, job);
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL);
    if (status == VS_OK) status = synced;
    return status == VS_OK && c->counts ? count_task(c, job, err) : status;
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
        const size_t parts = c->model->counts_only ? 0 : vs_half_seen_parts(&seen[i]);
        for (size_t k = 0; k < parts; k++) vs_sqnr_pool_add(&c->errors[i][k], &seen[i].error[k]);
    }
    vs_sqnr_pool_add(&c->output, &c->outputs[slot]);
    c->stopped |= !seen[vs_half_output_row(c->prober->graph_rows)].seen;
    return VS_OK;
}

static void tell_run(const vs_half_prober *p) {
    const vs_progress *progress = &p->runner->progress;
    if (*p->stage && progress->update) progress->update(progress->context, p->stage, (double)(p->runs - p->stage_first), 0);
}

static vs_status run(vs_half_probe *out, vs_half_prober *p, const vs_half_model *model, bool task, bool keep, vs_error *err) {
    *out = (vs_half_probe){ .rows = vs_calloc(p->rows, sizeof *out->rows) };
    context c = { .prober = p,
                  .model = model,
                  .slots = vs_calloc(p->runner->wave * p->rows, sizeof *c.slots),
                  .outputs = vs_calloc(p->runner->wave, sizeof *c.outputs),
                  .out = out,
                  .errors = vs_calloc(p->rows, sizeof *c.errors) };
    vs_runner runner = *p->runner;
    if (*p->stage) runner.progress.update = NULL;
    vs_status status =
        out->rows && c.slots && c.outputs && c.errors ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    task &= has_task(p) && !(model->largest > 0);
    if (status == VS_OK && task) status = begin_task(&c, err);
    if (status == VS_OK) status = begin_streams(&c, keep, err);
    if (status == VS_OK)
        status = vs_run_images(&runner, p->set, p->images, model->policy->name, (vs_session_needs){ 1, 1, vs_half_scratch },
                               observe, pool, &c, err);
    p->runs++;
    tell_run(p);
    if (status == VS_OK && !c.stopped) out->output = vs_sqnr_pool_result(&c.output);
    for (size_t i = 0; i < p->rows && status == VS_OK; i++)
        out->rows[i].sqnr =
            out->rows[i].seen && !model->counts_only ? vs_sqnr_pool_worst(c.errors[i], VS_HALF_PARTS).pooled : (double)NAN;
    end_streams(&c, status == VS_OK);
    if (status == VS_OK && task) status = end_task(&c, err);
    release_task(&c);
    free(c.slots);
    free(c.outputs);
    free(c.errors);
    return status;
}

vs_status vs_half_probe_run(vs_half_probe *out, vs_half_prober *p, const vs_half_model *model, vs_error *err) {
    return run(out, p, model, false, false, err);
}

vs_status vs_half_probe_task(vs_half_probe *out, vs_half_prober *p, const vs_half_model *model, vs_error *err) {
    return run(out, p, model, true, false, err);
}

vs_status vs_half_probe_keep(vs_half_probe *out, vs_half_prober *p, const vs_half_model *model, vs_error *err) {
    return run(out, p, model, true, true, err);
}

/* ---- another float model ---- */

typedef struct float_context {
    context c;
    const vs_runner *runner;
} float_context;

static vs_status observe_float(void *ctx, const vs_job *job, vs_error *err) {
    const float_context *f = ctx;
    const vs_backend *be = f->runner->weights->backend;
    vs_status status = vs_forward(job->session, f->runner->weights, job->pixels, (vs_tapper){ NULL, NULL }, err);
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
    free(probe->task.iou);
    *probe = (vs_half_probe){ 0 };
}

bool vs_half_probe_reaches(const vs_half_probe *probe, double target) {
    return probe->output.present && probe->output.nonfinite == 0 && probe->output.pooled >= target;
}
