/* The clocks of vitscope bench. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "util/util.h"

/* ------------------------------------------------------------------ a pass */

/* What one thread needs besides its session: room for statistics, a state's tap. */
typedef struct seat {
    const vs_backend *backend;
    vs_session *session;
    size_t images;
    vs_abs_stats stats[VS_MAX_BATCH];
    vs_abs_stats *stats_of[VS_MAX_BATCH];
    double *energies, *energy_of[VS_MAX_BATCH];
    void *hist; /* counters */
    vs_state_tap tap;
} seat;

static vs_status look(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    seat *s = context;
    if (tap->kind < VS_KIND_QKV || tap->kind > VS_KIND_FC2 || (vs_kind_is_operand(tap->kind) && !tap->input)) return VS_OK;
    s->backend->ops->abs_stats(s->backend, tap->x, s->images, s->stats_of, s->hist, s->energy_of);
    return VS_OK;
}

static vs_status sit(seat *s, const vs_bench *b, const vs_weights *weights, vs_error *err) {
    const vs_arch *a = &weights->model->arch;
    const size_t widest = vs_arch_fc1_width(a) > 3 * a->width ? vs_arch_fc1_width(a) : 3 * a->width;
    const size_t patches = (b->height / a->patch) * (b->width / a->patch);
    const vs_session_options options = { .images = b->at_once,
                                         .height = b->height,
                                         .width = b->width,
                                         .workspaces = 1,
                                         .streams = 1,
                                         .scratch = b->study->states.half
                                                        ? vs_half_scratch(weights->model->graph, patches, b->at_once)
                                                        : 0 };
    *s = (seat){ .backend = weights->backend,
                 .images = b->at_once,
                 .hist = weights->backend->ops->alloc_counts(weights->backend, VS_HIST_BINS),
                 .energies = vs_calloc(b->at_once * widest, sizeof *s->energies) };
    if (!s->hist || !s->energies) return vs_fail(err, VS_ERR_NOMEM, "no memory for statistics");
    for (size_t i = 0; i < s->images; i++) {
        s->stats_of[i] = &s->stats[i];
        s->energy_of[i] = s->energies + i * widest;
    }
    return vs_session_create(&s->session, weights, &options, err);
}

static void leave(seat *s) {
    vs_session_free(s->session);
    if (s->backend && s->hist) s->backend->ops->free(s->backend, s->hist);
    free(s->energies);
}

/* A session's images from image `first` on. */
static vs_status one_forward(const vs_bench *b, const vs_bench_pass *p, seat *s, size_t first, vs_error *err) {
    vs_tapper tapper = { p->statistics ? look : NULL, s };
    if (p->state) {
        s->tap = (vs_state_tap){ p->state, s->backend };
        tapper = vs_state_tapper(&s->tap);
    }
    const float *pixels = b->pixels + first * 3 * b->height * b->width;
    if (p->state && p->state->half) {
        const vs_status half = vs_state_forward(p->state, s->session, pixels, err);
        return half == VS_OK ? s->backend->ops->sync(s->backend, err) : half;
    }
    vs_status status = vs_forward(s->session, p->weights, pixels, tapper, err);
    return status == VS_OK ? s->backend->ops->sync(s->backend, err) : status;
}

/* Seconds an image, images side by side as in a study. */
static vs_status time_pass(const vs_bench *b, const vs_bench_pass *p, seat *seats, double *seconds, vs_error *err) {
    vs_status status = VS_OK;
    const double start = vs_now();
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)b->study->options.threads)
    for (size_t i = 0; i < b->images; i += b->at_once) {
        vs_error mine = { 0 };
        const vs_status s = one_forward(b, p, &seats[omp_get_thread_num()], i, &mine);
#pragma omp critical(vs_bench_status)
        if (s != VS_OK) status = vs_fail(err, s, "%s", mine.message);
    }
    *seconds = (vs_now() - start) / (double)b->images;
    const vs_stop *stop = b->study->options.stop;
    return status == VS_OK && vs_stopped(stop) ? vs_fail(err, VS_ERR_INTERRUPTED, "interrupted") : status;
}

/* ------------------------------------------------------------------ which passes there are */

enum { FLOAT_PASSES = 2 };

/* Float passes, then those of states that are there by now; what was measured stays. */
static void plan_passes(vs_bench *b) {
    const vs_study *s = b->study;
    b->passes[0] = (vs_bench_pass){ "forward", s->weights, NULL, false, b->passes[0].seconds };
    b->passes[1] = (vs_bench_pass){ "with statistics", s->weights, NULL, true, b->passes[1].seconds };
    if (b->pass_count < FLOAT_PASSES) b->pass_count = FLOAT_PASSES;
    for (size_t i = b->pass_count + 1 - FLOAT_PASSES; i < s->states.state_count && b->pass_count < VS_BENCH_MAX_PASSES; i++) {
        const vs_state *state = &s->states.states[i];
        b->passes[b->pass_count++] = (vs_bench_pass){ .name = state->name, .weights = state->weights, .state = state };
    }
}

/* As many in a session as the batch allows, all sessions alike. */
static size_t divisor(size_t images, size_t batch) {
    size_t n = batch < images ? batch : images;
    while (images % n) n--;
    return n;
}

static vs_status load_image(vs_bench *b, size_t image, vs_error *err) {
    vs_sample sample;
    vs_status status = vs_imageset_get(&b->study->analysis_set, image, &sample, err);
    if (status != VS_OK) return status;
    size_t each = 0, all = 0;
    if (image == 0) {
        b->height = sample.image.height;
        b->width = sample.image.width;
    }
    if (!vs_size_mul(&each, 3 * b->height, b->width) || !vs_size_mul(&all, each, b->images) ||
        (!b->pixels && !(b->pixels = vs_calloc(all, sizeof *b->pixels))))
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for %zu images", b->images);
    else if (sample.image.width != b->width || sample.image.height != b->height)
        status = vs_fail(err, VS_ERR_SHAPE, "bench needs images of one size: %zux%zu and %zux%zu", b->width, b->height,
                         sample.image.width, sample.image.height);
    else
        memcpy(b->pixels + image * each, sample.pixels, each * sizeof *b->pixels);
    vs_sample_release(&sample);
    return status;
}

/* Sessions are made once, for the first image's size. */
static vs_status load_images(vs_bench *b, vs_error *err) {
    if (b->pixels) return VS_OK;
    vs_status status = VS_OK;
    b->at_once = divisor(b->images, b->study->options.batch);
    for (size_t i = 0; i < b->images && status == VS_OK; i++) status = load_image(b, i, err);
    return status;
}

/* ------------------------------------------------------------------ stages */

vs_status vs_bench_study(vs_bench *b, vs_error *err) {
    b->studied = true;
    return vs_study_run(b->study, err);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { MIN_REPEATS = 3, MAX_REPEATS = 15 };

/* In turns, so that what else the machine does meets all passes alike: ratios within one run hold. */
static vs_status repeat_passes(vs_bench *b, seat *seats, vs_error *err) {
    const double budget = 4; /* seconds */
    double seconds[VS_BENCH_MAX_PASSES][MAX_REPEATS], warm = 0;
    vs_status status = VS_OK;
    for (size_t p = 0; p < b->pass_count && status == VS_OK; p++) status = time_pass(b, &b->passes[p], seats, &warm, err);
    const double start = vs_now();
    b->repeats = 0;
    while (status == VS_OK && b->repeats < MAX_REPEATS && (b->repeats < MIN_REPEATS || vs_now() - start < budget)) {
        for (size_t p = 0; p < b->pass_count && status == VS_OK; p++)
            status = time_pass(b, &b->passes[p], seats, &seconds[p][b->repeats], err);
        b->repeats++;
    }
    for (size_t p = 0; p < b->pass_count && status == VS_OK; p++) {
        qsort(seconds[p], b->repeats, sizeof **seconds, ascending);
        b->passes[p].seconds = seconds[p][b->repeats / 2];
    }
    return status;
}

vs_status vs_bench_forward(vs_bench *b, vs_error *err) {
    const size_t threads = b->study->options.threads;
    plan_passes(b);
    vs_status status = load_images(b, err);
    seat *seats = vs_calloc(threads, sizeof *seats);
    if (!seats && status == VS_OK) status = vs_fail(err, VS_ERR_NOMEM, "no memory for %zu sessions", threads);
    for (size_t t = 0; t < threads && status == VS_OK; t++) status = sit(&seats[t], b, b->study->weights, err);
    if (status == VS_OK) status = repeat_passes(b, seats, err);
    for (size_t t = 0; seats && t < threads; t++) leave(&seats[t]);
    free(seats);
    return status;
}

static vs_status new_table(vs_bench *b, const char *name, const vs_backend *timed, vs_bench_table **out, vs_error *err) {
    (void)vs_timed_read(timed, &b->op_count);
    vs_bench_table *t = *out = &b->tables[b->table_count++];
    *t = (vs_bench_table){ name, HUGE_VAL, vs_calloc(b->op_count, sizeof *t->ops) };
    return t->ops ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for times");
}

/* What the timed backend noted since its reset, where it was faster than what the table holds. */
static void keep_fastest(const vs_bench *b, vs_bench_table *t, const vs_backend *timed, double seconds) {
    size_t count = 0;
    const vs_op_time *times = vs_timed_read(timed, &count);
    if (!(seconds < t->seconds)) return;
    t->seconds = seconds;
    memcpy(t->ops, times, b->op_count * sizeof *times);
}

static vs_status operations_of_passes(vs_bench *b, const vs_weights *weights, vs_error *err) {
    seat s = { 0 };
    vs_status status = sit(&s, b, weights, err);
    for (size_t p = 0; p < b->pass_count && status == VS_OK; p++) {
        vs_bench_table *table = NULL;
        status = new_table(b, b->passes[p].name, weights->backend, &table, err);
        for (size_t i = 0; i < MIN_REPEATS && status == VS_OK; i++) {
            vs_timed_reset(weights->backend);
            const double start = vs_now();
            status = one_forward(b, &b->passes[p], &s, 0, err);
            keep_fastest(b, table, weights->backend, vs_now() - start);
        }
    }
    leave(&s);
    return status;
}

static vs_status operations_of_analysis(vs_bench *b, const vs_weights *weights, vs_error *err) {
    vs_runner runner = vs_study_runner(b->study);
    runner.weights = weights;
    runner.threads = 1;
    runner.batch = runner.wave = b->at_once;
    runner.progress = (vs_progress){ .update = NULL };
    const vs_analysis_options options = {
        .images = b->at_once, .weight = true, .activation = true, .both = true, .cumulative = true
    };
    vs_bench_table *table = NULL;
    vs_status status = new_table(b, "analysis", weights->backend, &table, err);
    if (status != VS_OK) return status;
    vs_timed_reset(weights->backend);
    const double start = vs_now();
    status = vs_analyze(&b->study->results, &runner, &b->study->analysis_set, &b->study->states, &options, err);
    keep_fastest(b, table, weights->backend, vs_now() - start);
    return status;
}

vs_status vs_bench_by_operation(vs_bench *b, vs_error *err) {
    vs_backend *timed = NULL;
    vs_status status = b->study->states.state_count ? VS_OK : vs_study_prepare_states(b->study, err);
    plan_passes(b);
    if (status == VS_OK) status = load_images(b, err);
    if (status == VS_OK) status = vs_timed_open(&timed, b->study->backend, err);
    vs_weights weights = *b->study->weights; /* the same memory, seen through the timed backend */
    weights.backend = timed;
    if (status == VS_OK) status = operations_of_passes(b, &weights, err);
    if (status == VS_OK) status = operations_of_analysis(b, &weights, err);
    vs_backend_close(timed);
    return status;
}

void vs_bench_release(vs_bench *b) {
    for (size_t i = 0; i < b->table_count; i++) free(b->tables[i].ops);
    free(b->pixels);
}
