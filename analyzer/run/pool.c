#include "run/pool.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

typedef struct worker {
    vs_session *session;
    vs_session_options shape; /* of the session */
    vs_sample *samples;       /* [batch] */
    float *pixels;            /* of several images, in one piece */
    size_t room;              /* in it */
    size_t finished;          /* images of the chunk at work */
    double part;              /* and of those in work, in images */
} worker;

/* Consecutive images for one worker. */
typedef struct chunk {
    size_t first, count;
} chunk;

/* Of an image of the wave: whether it is done, or its error. Work that has begun is never begun again: it may have counted
 * already. */
typedef struct outcome {
    vs_error error;
    bool begun, done;
} outcome;

/* Images done, and the finished parts of those at work. */
typedef struct vs_stage {
    const vs_runner *runner;
    const char *name;
    size_t done, total;
    worker *workers; /* [runner->threads] */
} vs_stage;

typedef struct pass {
    const vs_runner *runner;
    vs_stage *stage;
    const vs_imageset *set;
    vs_session_needs needs;
    vs_job_fn work;
    void *context;
    worker *workers;              /* [runner->threads] */
    chunk *chunks;                /* [wave] */
    outcome *outcomes;            /* [wave] */
    size_t wave_first;            /* the image of outcomes[0] */
    size_t batch;                 /* at most runner->batch, less where memory is short */
    size_t threads;               /* likewise */
    size_t helpers;               /* of a worker, in work on the host */
    size_t share;                 /* bytes that one session may take */
    bool short_of_memory;         /* a session did not fit */
    vs_session_options too_large; /* that one */
} pass;

/* ------------------------------------------------------------------ progress */

static void tell(const vs_stage *s) {
    double done = (double)s->done;
    for (size_t i = 0; i < s->runner->threads; i++) done += (double)s->workers[i].finished + s->workers[i].part;
    if (s->runner->progress.update) s->runner->progress.update(s->runner->progress.context, s->name, done, s->total);
}

void vs_job_progress(const vs_job *job, size_t done, size_t total) {
#pragma omp critical(vs_progress)
    {
        /* whole when their results are in */
        job->stage->workers[job->worker].part = (double)job->images * (double)done / (double)(total + 1);
        tell(job->stage);
    }
}

/* ------------------------------------------------------------------ memory */

/* What is free for sessions before the first is made, shared out evenly. */
static void share_out(pass *p) {
    const vs_backend *be = p->runner->weights->backend;
    const size_t limit = p->runner->memory, held = be->ops->memory_use(be).held;
    p->share = limit == 0 ? SIZE_MAX : held < limit ? (limit - held) / p->threads : 0;
}

static bool fits(const pass *p, const vs_session_options *o) {
    size_t bytes = 0;
    if (p->share == SIZE_MAX) return true;
    return vs_session_bytes(&bytes, p->runner->weights, o, NULL) != VS_OK || bytes <= p->share; /* other errors come later */
}

static vs_session_options shape_of(const pass *p, size_t height, size_t width, size_t images) {
    const vs_model *m = p->runner->weights->model;
    const size_t patches = (height / m->arch.patch) * (width / m->arch.patch);
    return (vs_session_options){ .images = images,
                                 .height = height,
                                 .width = width,
                                 .workspaces = p->needs.workspaces,
                                 .streams = p->needs.streams,
                                 .scratch = p->needs.scratch ? p->needs.scratch(m->graph, patches, images) : 0,
                                 .probabilities = p->runner->probabilities };
}

static void free_sessions(const pass *p) {
    for (size_t i = 0; i < p->runner->threads; i++) {
        vs_session_free(p->workers[i].session);
        p->workers[i].session = NULL;
    }
}

/* Half the images in a session, or less where the plan shows it; then one thread. False: nothing is left to give up. */
static bool give_way(pass *p) {
    if (p->batch == 1 && p->threads == 1) return false;
    free_sessions(p);
    if (p->batch == 1) p->threads = 1;
    vs_session_options shape = p->too_large;
    do {
        p->batch = (p->batch + 1) / 2;
        shape = shape_of(p, shape.height, shape.width, p->batch);
    } while (p->batch > 1 && !fits(p, &shape));
    share_out(p);
    if (!p->runner->progress.note) return true;
    char text[160];
    snprintf(text, sizeof text, "%s: memory is short, going on with %zu image%s a session and %zu session%s", p->stage->name,
             p->batch, p->batch == 1 ? "" : "s", p->threads, p->threads == 1 ? "" : "s");
    p->runner->progress.note(p->runner->progress.context, text);
    return true;
}

static vs_status no_room(const pass *p, const vs_session_options *o, vs_error *err) {
    size_t bytes = 0;
    vs_status status = vs_session_bytes(&bytes, p->runner->weights, o, err);
    if (status != VS_OK) return status;
    return vs_fail(err, VS_ERR_NOMEM,
                   "no memory for a session: %zu image%s of %zux%zu take %.2f GB, %.2f GB of the allowed %.2f GB are left",
                   o->images, o->images == 1 ? "" : "s", o->width, o->height, (double)bytes / 1e9, (double)p->share / 1e9,
                   (double)p->runner->memory / 1e9);
}

/* The worker's session, made to fit when size or number of images change. */
static vs_status fit_session(pass *p, worker *w, const vs_image *image, size_t images, vs_error *err) {
    const vs_session_options o = shape_of(p, image->height, image->width, images);
    if (w->session && o.images == w->shape.images && o.height == w->shape.height && o.width == w->shape.width) return VS_OK;
    w->shape = o;
    vs_status status = fits(p, &o) ? vs_session_fit(&w->session, p->runner->weights, &o, err) : no_room(p, &o, err);
    if (status == VS_ERR_NOMEM) {
#pragma omp critical(vs_pool_memory)
        {
            p->short_of_memory = true;
            p->too_large = o;
        }
    }
    return status;
}

/* ------------------------------------------------------------------ one worker's images */

static vs_status gather(worker *w, const vs_sample *samples, size_t images, const float **pixels, vs_error *err) {
    const size_t each = 3 * samples->image.height * samples->image.width; /* they are in memory: no overflow */
    size_t all = 0;
    *pixels = samples->pixels;
    if (images == 1) return VS_OK;
    if (!vs_size_mul(&all, each, images) || !vs_grow((void **)&w->pixels, &w->room, all, sizeof *w->pixels))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for %zu images", images);
    for (size_t i = 0; i < images; i++) memcpy(w->pixels + i * each, samples[i].pixels, each * sizeof *w->pixels);
    *pixels = w->pixels;
    return VS_OK;
}

/* Images of one size. */
static vs_status run_job(pass *p, size_t me, const vs_sample *samples, size_t first, size_t images, vs_error *err) {
    worker *w = &p->workers[me];
    vs_job job = { .samples = samples, .images = images, .first = first, .worker = me, .helpers = p->helpers, .stage = p->stage };
    if (vs_stopped(p->runner->stop)) return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
    vs_status status = gather(w, samples, images, &job.pixels, err);
    if (status == VS_OK) status = fit_session(p, w, &samples->image, images, err);
    if (status != VS_OK) return status;
    job.session = w->session;
    for (size_t i = first; i < first + images; i++) p->outcomes[i - p->wave_first].begun = true;
    status = p->work(p->context, &job, err);
    const vs_backend *be = p->runner->weights->backend;
    /* nothing may be delivered into memory that is freed now, and no image is done whose operations failed */
    const vs_status synced = be->ops->sync(be, status == VS_OK ? err : NULL);
    return status == VS_OK ? synced : status;
}

static size_t of_one_size(const vs_sample *s, size_t count) {
    size_t n = 1;
    while (n < count && s[n].image.height == s->image.height && s[n].image.width == s->image.width) n++;
    return n;
}

static void count_done(pass *p, worker *w, size_t first, size_t images) {
    for (size_t i = first; i < first + images; i++) p->outcomes[i - p->wave_first].done = true;
#pragma omp critical(vs_progress)
    {
        w->finished += images;
        w->part = 0;
        tell(p->stage);
    }
}

/* An error stays with the image where it came up; those before it are finished. */
static void run_chunk(pass *p, size_t me, chunk c) {
    worker *w = &p->workers[me];
    outcome *outcomes = &p->outcomes[c.first - p->wave_first];
    if (vs_stopped(p->runner->stop)) {
        (void)vs_fail(&outcomes->error, VS_ERR_INTERRUPTED, "interrupted");
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->helpers)
    for (size_t i = 0; i < c.count; i++)
        (void)vs_imageset_get(p->set, c.first + i, &w->samples[i], &outcomes[i].error); /* its status is in outcomes[] */
    size_t good = 0;
    while (good < c.count && outcomes[good].error.code == VS_OK) good++;
    for (size_t i = 0; i < c.count; i++)
        if (i > good && outcomes[i].error.code == VS_OK) vs_sample_release(&w->samples[i]);
    for (size_t i = 0, n = 0; i < good; i += n) {
        n = of_one_size(w->samples + i, good - i);
        if (run_job(p, me, w->samples + i, c.first + i, n, &outcomes[i].error) != VS_OK) break;
        count_done(p, w, c.first + i, n);
    }
    for (size_t i = 0; i < good; i++) vs_sample_release(&w->samples[i]);
#pragma omp critical(vs_progress)
    {
        p->stage->done += w->finished;
        w->finished = 0;
        w->part = 0;
    }
}

/* ------------------------------------------------------------------ waves */

/* What has not begun of the wave, in pieces of at most `batch` images. */
static size_t cut(pass *p, size_t images) {
    size_t count = 0;
    for (size_t i = 0; i < images; i++) {
        if (p->outcomes[i].begun) continue;
        p->outcomes[i].error = (vs_error){ 0 };
        chunk *last = count ? &p->chunks[count - 1] : NULL;
        if (last && last->first + last->count == p->wave_first + i && last->count < p->batch)
            last->count++;
        else
            p->chunks[count++] = (chunk){ p->wave_first + i, 1 };
    }
    return count;
}

/* Then the pass has failed, and nothing is worth a retry. */
static bool failed_midway(const pass *p, size_t images) {
    for (size_t i = 0; i < images; i++)
        if (p->outcomes[i].begun && !p->outcomes[i].done) return true;
    return false;
}

static void run_wave(pass *p, size_t images) {
    memset(p->outcomes, 0, images * sizeof *p->outcomes);
    do {
        const size_t chunks = cut(p, images);
        p->short_of_memory = false;
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)p->threads)
        for (size_t i = 0; i < chunks; i++) run_chunk(p, (size_t)omp_get_thread_num(), p->chunks[i]);
    } while (p->short_of_memory && !failed_midway(p, images) && give_way(p));
}

/* Room for its session is what an image was to be retried for: that does not hide what ended the pass. */
static bool lacked_room(const outcome *o) { return !o->begun && o->error.code == VS_ERR_NOMEM; }

/* The first error in image order. */
static vs_status why_failed(const pass *p, size_t images, vs_error *err) {
    const outcome *first = NULL;
    for (size_t i = 0; i < images; i++) {
        const outcome *o = &p->outcomes[i];
        if (!o->done && o->error.code != VS_OK && (!first || (lacked_room(first) && !lacked_room(o)))) first = o;
    }
    for (size_t i = 0; i < images && !first; i++)
        if (!p->outcomes[i].done) return vs_fail(err, VS_ERR_INTERNAL, "image %zu was left out", p->wave_first + i);
    if (!first) return VS_OK;
    if (err) *err = first->error;
    return first->error.code;
}

/* Few workers feed a device: the other processors decode with them. */
static size_t helpers_of(const vs_runner *r) {
    const size_t processors = (size_t)omp_get_num_procs();
    return r->weights->backend->host_memory || processors < 2 * r->threads ? 1 : processors / r->threads;
}

static vs_status make_room(pass *p, vs_error *err) {
    p->workers = p->stage->workers = vs_calloc(p->runner->threads, sizeof *p->workers);
    p->chunks = vs_calloc(p->runner->wave, sizeof *p->chunks);
    p->outcomes = vs_calloc(p->runner->wave, sizeof *p->outcomes);
    bool whole = p->workers && p->chunks && p->outcomes;
    for (size_t i = 0; whole && i < p->runner->threads; i++)
        whole = (p->workers[i].samples = vs_calloc(p->batch, sizeof *p->workers[i].samples)) != NULL;
    return whole ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for workers");
}

static void clear_away(pass *p) {
    if (p->workers) free_sessions(p);
    for (size_t i = 0; p->workers && i < p->runner->threads; i++) {
        free(p->workers[i].samples);
        free(p->workers[i].pixels);
    }
    free(p->workers);
    free(p->chunks);
    free(p->outcomes);
}

vs_status vs_run_images(const vs_runner *runner, const vs_imageset *set, size_t count, const char *stage, vs_session_needs needs,
                        vs_job_fn work, vs_pool_fn pool, void *context, vs_error *err) {
    vs_stage progress = { .runner = runner, .name = stage, .total = count };
    pass p = { .runner = runner,
               .stage = &progress,
               .set = set,
               .needs = needs,
               .work = work,
               .context = context,
               .batch = runner->batch,
               .threads = runner->threads };
    const int levels = omp_get_max_active_levels();
    vs_status status = make_room(&p, err);
    share_out(&p);
    p.helpers = helpers_of(runner);
    if (p.helpers > 1) omp_set_max_active_levels(2);
    if (status == VS_OK) tell(&progress); /* the first image may take long */
    for (p.wave_first = 0; p.wave_first < count && status == VS_OK; p.wave_first += runner->wave) {
        const size_t images = count - p.wave_first < runner->wave ? count - p.wave_first : runner->wave;
        run_wave(&p, images);
        status = why_failed(&p, images, err);
        for (size_t i = 0; i < images && status == VS_OK && pool; i++) status = pool(context, p.wave_first + i, err);
    }
    omp_set_max_active_levels(levels);
    clear_away(&p);
    return status;
}
