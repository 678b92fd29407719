#include "task/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "task/logits.h"
#include "util/util.h"

static const size_t float_maps_limit = (size_t)256 << 20; /* bytes */

typedef struct context {
    const vs_runner *runner;
    const vs_imageset *set;
    const vs_states *states;
    vs_evaluation *out;
    vs_float_maps *floats;
    vs_confusion *counts; /* [threads * state_count]; integer sums: the same whichever worker counts */
    bool *labels_missing; /* [threads] */
} context;

static bool gives_maps(const context *c) { return vs_arch_gives_maps(&c->runner->weights->model->arch); }

size_t vs_job_map_pixels(const vs_runner *runner, const vs_job *job) {
    return vs_arch_gives_maps(&runner->weights->model->arch) ? job->samples->image.width * job->samples->image.height : 1;
}

static size_t map_pixels(const context *c, const vs_job *job) { return vs_job_map_pixels(c->runner, job); }

/* The map of one image from masks: one window that covers it. */
static vs_status predict_scores(const vs_weights *w, const vs_job *job, size_t image, uint16_t *map, vs_error *err) {
    const vs_image *im = &job->samples->image;
    const vs_window whole = { .width = im->width, .height = im->height, .count = 1 };
    void *block = NULL;
    vs_status status = vs_logits_download(&block, w->backend, w->model, job->session, job->images, image, err);
    if (status == VS_OK) {
        const vs_window_logits l = vs_logits_of_window(block, w->backend->scalar, w->model, whole,
                                                       vs_session_grid_h(job->session), vs_session_grid_w(job->session));
        status = vs_slide_map(&l, 1, w->model->arch.classes, (vs_image_size){ im->width, im->height, im->width, im->height },
                              job->helpers, map, err);
    }
    free(block);
    return status;
}

vs_status vs_job_maps(const vs_runner *runner, const vs_job *job, uint16_t *maps, vs_error *err) {
    const vs_weights *weights = runner->weights;
    const vs_backend *be = weights->backend;
    const bool gives = vs_arch_gives_maps(&weights->model->arch);
    vs_status status = VS_OK;
    if (vs_logits_are_masks(weights->model->graph)) {
        for (size_t i = 0; i < job->images && status == VS_OK; i++)
            status = predict_scores(weights, job, i, maps + i * vs_job_map_pixels(runner, job), err);
        return status;
    }
    const vs_mat logits = vs_session_output(job->session);
    char *host = vs_calloc(logits.rows * logits.cols, (size_t)be->scalar);
    if (!host) return vs_fail(err, VS_ERR_NOMEM, "no memory for logits");
    status = be->ops->download(be, host, logits, err);
    if (status == VS_OK) status = be->ops->sync(be, err);
    const vs_image *image = &job->samples->image;
    const size_t h = gives ? vs_session_grid_h(job->session) : 1, w = gives ? vs_session_grid_w(job->session) : 1;
    const size_t height = gives ? image->height : 1, width = gives ? image->width : 1;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)job->helpers) if (status == VS_OK)
    for (size_t i = 0; i < job->images; i++) {
        const char *own = host + i * h * w * logits.cols * (size_t)be->scalar;
        vs_error mine = { 0 };
        const vs_status one = vs_predict_map(own, be->scalar, h, w, logits.cols, height, width, maps + i * height * width, &mine);
#pragma omp critical(vs_predict_status)
        if (one != VS_OK) status = vs_fail(err, one, "%s", mine.message);
    }
    free(host);
    return status;
}

/* The state's maps, one image after another. */
static vs_status predict(const context *c, const vs_job *job, const vs_state *state, uint16_t *maps, vs_error *err) {
    const vs_status status = vs_state_forward(state, job->session, job->pixels, err);
    return status == VS_OK ? vs_job_maps(c->runner, job, maps, err) : status;
}

static bool have_floats(const vs_float_maps *f, const vs_job *job, size_t pixels) {
    for (size_t i = job->first; i < job->first + job->images; i++)
        if (!f || !f->maps[i] || f->pixels[i] != pixels) return false;
    return true;
}

vs_status vs_float_maps_put(vs_float_maps *f, size_t image, const uint16_t *map, size_t pixels, vs_error *err) {
    free(f->maps[image]);
    f->pixels[image] = pixels;
    f->maps[image] = vs_calloc(pixels, sizeof *map);
    if (!f->maps[image]) return vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    memcpy(f->maps[image], map, pixels * sizeof *map);
    return VS_OK;
}

/* The float model's maps: those that are kept, or new ones, which are kept. One worker has one image. */
static vs_status predict_float(const context *c, const vs_job *job, uint16_t *maps, size_t pixels, vs_error *err) {
    vs_float_maps *f = c->floats;
    if (have_floats(f, job, pixels)) {
        for (size_t i = 0; i < job->images; i++) memcpy(maps + i * pixels, f->maps[job->first + i], pixels * sizeof *maps);
        return VS_OK;
    }
    vs_status status = predict(c, job, &c->states->states[0], maps, err);
    const bool keeps = f && pixels * sizeof *maps <= float_maps_limit / f->images;
    for (size_t i = 0; i < job->images && keeps && status == VS_OK; i++)
        status = vs_float_maps_put(f, job->first + i, maps + i * pixels, pixels, err);
    return status;
}

static vs_status begin_capture(const context *c, const vs_job *job, size_t image, vs_error *err) {
    const size_t index = job->first + image;
    const vs_sample *sample = &job->samples[image];
    return vs_map_capture_begin(&c->out->captures[index], vs_imageset_name(c->set, index), &sample->image, sample->labels,
                                c->states->state_count, err);
}

/* Image `image` of the job under one state. */
static vs_status count(const context *c, const vs_job *job, size_t image, size_t state, const uint16_t *map,
                       const uint16_t *float_map, vs_error *err) {
    const bool captured = gives_maps(c) && job->first + image < c->out->capture_count;
    const uint8_t *labels = gives_maps(c) ? job->samples[image].labels : NULL;
    vs_confusion_add(&c->counts[job->worker * c->states->state_count + state], map, float_map, labels, map_pixels(c, job));
    return captured ? vs_map_capture_state(&c->out->captures[job->first + image], state, map, err) : VS_OK;
}

static vs_status run_state(const context *c, const vs_job *job, size_t state, uint16_t *maps, uint16_t *float_maps,
                           vs_error *err) {
    const size_t pixels = map_pixels(c, job);
    const uint16_t *shown = state == 0 ? float_maps : maps;
    if (vs_stopped(c->runner->stop)) return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
    vs_status status =
        state == 0 ? predict_float(c, job, float_maps, pixels, err) : predict(c, job, &c->states->states[state], maps, err);
    for (size_t i = 0; i < job->images && status == VS_OK; i++)
        status = count(c, job, i, state, shown + i * pixels, float_maps + i * pixels, err);
    return status;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const size_t all = job->images * map_pixels(c, job);
    uint16_t *maps = vs_calloc(2 * all, sizeof *maps), *float_maps = maps ? maps + all : NULL;
    vs_status status = maps ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    for (size_t i = 0; i < job->images && status == VS_OK && gives_maps(c); i++) {
        if (job->first + i < c->out->capture_count) status = begin_capture(c, job, i, err);
        if (!job->samples[i].labels) c->labels_missing[job->worker] = true;
    }
    for (size_t s = 0; s < c->states->state_count && status == VS_OK; s++) status = run_state(c, job, s, maps, float_maps, err);
    free(maps);
    return status;
}

static double percent(uint64_t part, uint64_t whole) { return whole ? 100 * (double)part / (double)whole : (double)NAN; }

vs_status vs_task_of_counts(vs_task *t, const vs_confusion *c, bool has_labels, vs_error *err) {
    *t = (vs_task){ .has_labels = has_labels, .has_agreement = true, .agreement = percent(c->agree, c->pixels) };
    t->iou = vs_calloc(c->classes, sizeof *t->iou);
    if (!t->iou) return vs_fail(err, VS_ERR_NOMEM, "no memory for task metrics");
    double iou = 0, acc = 0;
    size_t ious = 0, accs = 0;
    uint64_t intersect = 0, labelled = 0;
    for (size_t k = 0; k < c->classes; k++) {
        t->shown += c->shown[k] > 0;
        const uint64_t unite = c->predicted[k] + c->labelled[k] - c->intersect[k];
        t->iou[k] = percent(c->intersect[k], unite);
        intersect += c->intersect[k];
        labelled += c->labelled[k];
        if (unite) {
            iou += t->iou[k];
            ious++;
        }
        if (c->labelled[k]) {
            acc += percent(c->intersect[k], c->labelled[k]);
            accs++;
        }
    }
    t->miou = ious ? iou / (double)ious : 0;
    t->macc = accs ? acc / (double)accs : 0;
    t->aacc = labelled ? percent(intersect, labelled) : 0;
    return VS_OK;
}

vs_status vs_evaluate(vs_evaluation *out, const vs_runner *runner, const vs_imageset *set, const vs_states *states, size_t keep,
                      vs_float_maps *floats, vs_error *err) {
    const vs_arch *a = &runner->weights->model->arch;
    if (set->windows && vs_arch_gives_maps(a)) return vs_evaluate_windows(out, runner, set, states, keep, err);
    const size_t n = states->state_count, parts = runner->threads * n;
    *out = (vs_evaluation){ .state_count = n, .classes = a->classes, .tasks = vs_calloc(n, sizeof *out->tasks) };
    out->capture_count = vs_arch_gives_maps(a) ? keep < set->count ? keep : set->count : 0;
    out->captures = vs_calloc(out->capture_count + 1, sizeof *out->captures);
    context c = {
        runner, set, states, out, floats, vs_calloc(parts, sizeof *c.counts), vs_calloc(runner->threads, sizeof *c.labels_missing)
    };
    vs_status status = out->tasks && out->captures && c.counts && c.labels_missing
                           ? VS_OK
                           : vs_fail(err, VS_ERR_NOMEM, "no memory for the evaluation");
    for (size_t i = 0; i < parts && status == VS_OK; i++) status = vs_confusion_create(&c.counts[i], a->classes, err);
    if (status == VS_OK)
        status = vs_run_images(runner, set, set->count, "evaluation", (vs_session_needs){ 1, 1, vs_states_scratch(states) }, work,
                               NULL, &c, err);
    bool has_labels = vs_arch_gives_maps(a);
    for (size_t i = 0; c.labels_missing && i < runner->threads; i++) has_labels &= !c.labels_missing[i];
    for (size_t s = 0; s < n && status == VS_OK; s++) {
        for (size_t i = 1; i < runner->threads; i++) vs_confusion_merge(&c.counts[s], &c.counts[i * n + s]);
        status = vs_task_of_counts(&out->tasks[s], &c.counts[s], has_labels, err);
    }
    for (size_t i = 0; c.counts && i < parts; i++) vs_confusion_release(&c.counts[i]);
    free(c.counts);
    free(c.labels_missing);
    if (status != VS_OK) vs_evaluation_release(out);
    return status;
}

vs_status vs_float_maps_create(vs_float_maps **out, size_t images, vs_error *err) {
    vs_float_maps *f = vs_calloc(1, sizeof *f);
    *out = f;
    if (f) {
        f->images = images;
        f->pixels = vs_calloc(images, sizeof *f->pixels);
        f->maps = vs_calloc(images, sizeof *f->maps);
        if (f->pixels && f->maps) return VS_OK;
    }
    vs_float_maps_free(f);
    *out = NULL;
    return vs_fail(err, VS_ERR_NOMEM, "no memory for maps");
}

void vs_float_maps_free(vs_float_maps *f) {
    if (!f) return;
    for (size_t i = 0; f->maps && i < f->images; i++) free(f->maps[i]);
    free(f->maps);
    free(f->pixels);
    free(f);
}

void vs_evaluation_release(vs_evaluation *e) {
    for (size_t i = 0; e->tasks && i < e->state_count; i++) free(e->tasks[i].iou);
    for (size_t i = 0; e->captures && i < e->capture_count; i++) vs_map_capture_release(&e->captures[i], e->state_count);
    free(e->captures);
    free(e->tasks);
    *e = (vs_evaluation){ 0 };
}
