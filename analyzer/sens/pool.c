#include "pool.h"

#include <omp.h>
#include <stdlib.h>

#include "util.h"

typedef struct worker {
    vs_session *session;
    size_t height, width;
} worker;

/* Images done, and the finished parts of those at work. */
typedef struct vs_stage {
    const vs_runner *runner;
    const char *name;
    size_t done, total;
    double *parts; /* [threads] */
} vs_stage;

typedef struct wave_run {
    const vs_runner *runner;
    vs_stage *stage;
    const vs_imageset *set;
    vs_session_needs needs;
    vs_job_fn work;
    void *context;
    worker *workers;
} wave_run;

static void tell(const vs_stage *s) {
    double done = (double)s->done;
    for (size_t i = 0; i < s->runner->threads; i++) done += s->parts[i];
    if (s->runner->progress.update) s->runner->progress.update(s->runner->progress.context, s->name, done, s->total);
}

void vs_job_progress(const vs_job *job, size_t done, size_t total) {
#pragma omp critical(vs_progress)
    {
        job->stage->parts[job->worker] = (double)done / (double)(total + 1); /* whole when its results are in */
        tell(job->stage);
    }
}

/* The worker's session, made anew when the image size changes. */
static vs_status fit_session(const wave_run *run, worker *w, const vs_image *image, vs_error *err) {
    if (w->session && w->height == image->height && w->width == image->width) return VS_OK;
    vs_session_free(w->session);
    w->session = NULL;
    const vs_arch *a = &run->runner->weights->model->arch;
    const size_t tokens = 1 + a->registers + image->height / a->patch * (image->width / a->patch);
    const vs_session_options options = { .images = 1,
                                         .height = image->height,
                                         .width = image->width,
                                         .workspaces = run->needs.workspaces,
                                         .streams = run->needs.streams,
                                         .scratch = run->needs.scratch ? run->needs.scratch(a, tokens) : 0,
                                         .probabilities = run->runner->probabilities };
    w->height = image->height;
    w->width = image->width;
    return vs_session_create(&w->session, run->runner->weights, &options, err);
}

static vs_status one_image(const wave_run *run, size_t worker_index, size_t index, vs_error *err) {
    if (run->runner->stop && *run->runner->stop) return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
    vs_sample sample;
    vs_status status = vs_imageset_get(run->set, index, &sample, err);
    if (status != VS_OK) return status;
    worker *w = &run->workers[worker_index];
    status = fit_session(run, w, &sample.image, err);
    if (status == VS_OK) {
        const vs_job job = { w->session, &sample, worker_index, index, run->stage };
        status = run->work(run->context, &job, err);
        const vs_backend *be = run->runner->weights->backend;
        if (status != VS_OK) (void)be->ops->sync(be, NULL); /* nothing is delivered into memory that now goes */
    }
    vs_sample_release(&sample);
    return status;
}

vs_status vs_run_images(const vs_runner *runner, const vs_imageset *set, size_t count, const char *stage, vs_session_needs needs,
                        vs_job_fn work, vs_pool_fn pool, void *context, vs_error *err) {
    const size_t wave = runner->wave;
    worker *workers = vs_calloc(runner->threads, sizeof *workers);
    vs_error *errors = vs_calloc(wave, sizeof *errors);
    vs_stage progress = { runner, stage, 0, count, vs_calloc(runner->threads, sizeof(double)) };
    vs_status status = workers && errors && progress.parts ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for workers");
    const wave_run run = { runner, &progress, set, needs, work, context, workers };
    for (size_t first = 0; first < count && status == VS_OK; first += wave) {
        const size_t last = first + wave < count ? first + wave : count;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)runner->threads)
        for (size_t i = first; i < last; i++) {
            const size_t me = (size_t)omp_get_thread_num();
            (void)one_image(&run, me, i, &errors[i - first]); /* its status is in errors[] */
#pragma omp critical(vs_progress)
            {
                progress.parts[me] = 0;
                progress.done++;
                tell(&progress);
            }
        }
        for (size_t i = first; i < last && status == VS_OK; i++) {
            status = errors[i - first].code;
            if (status != VS_OK && err) *err = errors[i - first];
            if (status == VS_OK && pool) status = pool(context, i, err);
        }
    }
    for (size_t i = 0; workers && i < runner->threads; i++) vs_session_free(workers[i].session);
    free(workers);
    free(errors);
    free(progress.parts);
    return status;
}
