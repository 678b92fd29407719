/* Task metrics over images that are cut into windows: windows are run like images of their own; the worker that runs an image's
 * last window makes its maps. Counts are integers, the same whichever worker counts. */
#include <stdlib.h>
#include <string.h>

#include "task/evaluate.h"
#include "task/logits.h"
#include "util/util.h"

typedef struct context {
    const vs_runner *runner;
    const vs_imageset *set;
    const vs_states *states;
    vs_evaluation *out;
    vs_confusion *counts; /* [threads * state_count] */
    void **logits;        /* [windows * state_count]: host, of windows whose image is not finished */
    size_t *pending;      /* [images]: windows still to run */
} context;

static size_t state_count(const context *c) { return c->states->state_count; }

/* Each window's logits into memory of its own. */
static vs_status keep_logits(const context *c, const vs_job *job, size_t state, vs_error *err) {
    const vs_weights *w = c->runner->weights;
    vs_status status = VS_OK;
    for (size_t i = 0; i < job->images && status == VS_OK; i++) {
        void **host = &c->logits[(job->first + i) * state_count(c) + state];
        status = vs_logits_download(host, w->backend, w->model, job->session, job->images, i, err);
    }
    return status;
}

static vs_status run_states(const context *c, const vs_job *job, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t s = 0; s < state_count(c) && status == VS_OK; s++) {
        if (vs_stopped(c->runner->stop)) return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
        const vs_state *state = &c->states->states[s];
        status = vs_state_forward(state, job->session, job->pixels, err);
        if (status == VS_OK) status = keep_logits(c, job, s, err);
    }
    return status;
}

/* ------------------------------------------------------------------ a finished image */

typedef struct finished {
    size_t image, first, count; /* its windows */
    vs_image_size size;
    vs_window_logits *windows; /* [count] */
    uint16_t *map, *float_map;
    uint8_t *labels;
    vs_map_capture *capture; /* or NULL */
} finished;

static vs_status begin_capture(const context *c, const finished *f, vs_error *err) {
    vs_image image = { 0 };
    vs_status status = vs_imageset_image(c->set, f->image, &image, err);
    if (status == VS_OK)
        status =
            vs_map_capture_begin(f->capture, vs_imageset_image_name(c->set, f->image), &image, f->labels, state_count(c), err);
    vs_image_release(&image);
    return status;
}

static vs_status count_state(const context *c, const finished *f, const vs_job *job, size_t state, vs_error *err) {
    const size_t p = c->set->patch;
    for (size_t i = 0; i < f->count; i++) {
        const vs_window *w = &c->set->windows[f->first + i];
        const void *logits = c->logits[(f->first + i) * state_count(c) + state];
        f->windows[i] = vs_logits_of_window(logits, c->runner->weights->backend->scalar, c->runner->weights->model, *w,
                                            (w->height + p - 1) / p, (w->width + p - 1) / p);
    }
    uint16_t *map = state == 0 ? f->float_map : f->map;
    vs_status status = vs_slide_map(f->windows, f->count, c->out->classes, f->size, job->helpers, map, err);
    if (status != VS_OK) return status;
    vs_confusion_add(&c->counts[job->worker * state_count(c) + state], map, f->float_map, f->labels,
                     f->size.width * f->size.height);
    return f->capture ? vs_map_capture_state(f->capture, state, map, err) : VS_OK;
}

static void drop_logits(const context *c, size_t first, size_t count) {
    for (size_t i = first * state_count(c); i < (first + count) * state_count(c); i++) {
        free(c->logits[i]);
        c->logits[i] = NULL;
    }
}

static vs_status finish_image(const context *c, const vs_job *job, const vs_window *last, size_t unit, vs_error *err) {
    finished f = { .image = last->image, .first = unit - last->index, .count = last->count, .size = c->set->sizes[last->image] };
    const size_t n = f.size.width * f.size.height;
    f.capture = f.image < c->out->capture_count ? &c->out->captures[f.image] : NULL;
    f.windows = vs_calloc(f.count, sizeof *f.windows);
    f.map = vs_calloc(2 * n, sizeof *f.map);
    vs_status status = f.windows && f.map ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    if (status == VS_OK) {
        f.float_map = f.map + n;
        status = vs_imageset_labels(c->set, f.image, f.size.width, f.size.height, &f.labels, err);
    }
    if (status == VS_OK && f.capture) status = begin_capture(c, &f, err);
    for (size_t s = 0; s < state_count(c) && status == VS_OK; s++) status = count_state(c, &f, job, s, err);
    drop_logits(c, f.first, f.count);
    free(f.labels);
    free(f.map);
    free(f.windows);
    return status;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    vs_status status = run_states(c, job, err);
    for (size_t i = job->first; i < job->first + job->images && status == VS_OK; i++) {
        const vs_window *w = &c->set->windows[i];
        bool last = false;
#pragma omp critical(vs_windows)
        last = --c->pending[w->image] == 0;
        if (last) status = finish_image(c, job, w, i, err);
    }
    return status;
}

/* ------------------------------------------------------------------ the set */

static vs_status begin(context *c, size_t keep, vs_error *err) {
    const size_t n = state_count(c), parts = c->runner->threads * n, classes = c->runner->weights->model->arch.classes;
    *c->out = (vs_evaluation){ .state_count = n,
                               .classes = classes,
                               .tasks = vs_calloc(n, sizeof *c->out->tasks),
                               .capture_count = keep < c->set->images ? keep : c->set->images };
    c->out->captures = vs_calloc(c->out->capture_count + 1, sizeof *c->out->captures);
    c->counts = vs_calloc(parts, sizeof *c->counts);
    c->logits = vs_calloc(c->set->count * n, sizeof *c->logits);
    c->pending = vs_calloc(c->set->images, sizeof *c->pending);
    if (!c->out->tasks || !c->out->captures || !c->counts || !c->logits || !c->pending)
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the evaluation");
    for (size_t i = 0; i < c->set->count; i++) c->pending[c->set->windows[i].image]++;
    vs_status status = VS_OK;
    for (size_t i = 0; i < parts && status == VS_OK; i++) status = vs_confusion_create(&c->counts[i], classes, err);
    return status;
}

vs_status vs_evaluate_windows(vs_evaluation *out, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                              size_t keep, vs_error *err) {
    context c = { .runner = runner, .set = set, .states = states, .out = out };
    const size_t n = states->state_count;
    const bool has_labels = set->labels || set->config->scenes.set;
    vs_status status = begin(&c, keep, err);
    if (status == VS_OK)
        status = vs_run_images(runner, set, set->count, "evaluation crops", (vs_session_needs){ 1, 1, vs_states_scratch(states) },
                               work, NULL, &c, err);
    for (size_t s = 0; s < n && status == VS_OK; s++) {
        for (size_t i = 1; i < runner->threads; i++) vs_confusion_merge(&c.counts[s], &c.counts[i * n + s]);
        status = vs_task_of_counts(&out->tasks[s], &c.counts[s], has_labels, err);
    }
    for (size_t i = 0; c.counts && i < runner->threads * n; i++) vs_confusion_release(&c.counts[i]);
    if (c.logits) drop_logits(&c, 0, set->count);
    free(c.counts);
    free(c.logits);
    free(c.pending);
    if (status != VS_OK) vs_evaluation_release(out);
    return status;
}
