/* bench_forward CHECKPOINT SIZE IMAGES THREADS: seconds an image of the forward pass, and of the forward pass with every
 * statistic of study.md section 5 on the input and output of every layer. Prints "forward_seconds X statistics_seconds Y". */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"
#include "util.h"
#include "vitscope/vit.h"

typedef struct collector {
    const vs_backend *backend;
    uint64_t *hist;
    double *energy;
} collector;

static vs_status look(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const collector *c = context;
    if (tap->kind < VS_KIND_QKV || tap->kind > VS_KIND_FC2 || (vs_kind_is_operand(tap->kind) && !tap->input)) return VS_OK;
    vs_abs_stats stats;
    c->backend->ops->abs_stats(c->backend, tap->x, &stats, c->hist, c->energy);
    return VS_OK;
}

typedef struct bench {
    const vs_weights *weights;
    const float *pixels;
    vs_session **sessions;
    collector *collectors;
    size_t images, threads;
} bench;

static double pass(const bench *b, bool with_statistics) {
    const double start = vs_now();
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)b->threads)
    for (size_t i = 0; i < b->images; i++) {
        const size_t t = (size_t)omp_get_thread_num();
        vs_error err = { 0 };
        const vs_tapper tapper = { with_statistics ? look : NULL, &b->collectors[t] };
        if (vs_forward(b->sessions[t], b->weights, b->pixels, tapper, &err) != VS_OK) abort();
    }
    return (vs_now() - start) / (double)b->images;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median_of(const bench *b, bool with_statistics) {
    enum { REPEATS = 5 };
    double seconds[REPEATS];
    (void)pass(b, with_statistics); /* warm */
    for (size_t i = 0; i < REPEATS; i++) seconds[i] = pass(b, with_statistics);
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    return seconds[REPEATS / 2];
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    const size_t size = strtoul(argv[2], NULL, 10), images = strtoul(argv[3], NULL, 10), threads = strtoul(argv[4], NULL, 10);
    vs_error err = { 0 };
    vs_backend *backend = NULL;
    vs_model *model = NULL;
    vs_weights *weights = NULL;
    vs_status status = vs_backend_open(&backend, "cpu", &err);
    if (status == VS_OK) status = vs_model_load(&model, argv[1], &(vs_model_options){ 0 }, &err);
    if (status == VS_OK) status = vs_weights_bind(&weights, backend, model, &err);
    bench b = { weights, NULL, vs_calloc(threads, sizeof(vs_session *)), vs_calloc(threads, sizeof(collector)), images, threads };
    float *pixels = vs_calloc(3 * size * size, sizeof *pixels);
    vs_rng rng = { 1 };
    for (size_t i = 0; pixels && i < 3 * size * size; i++) pixels[i] = (float)vs_rng_normal(&rng);
    b.pixels = pixels;
    const vs_session_options options = { .images = 1, .height = size, .width = size, .workspaces = 1, .streams = 1 };
    for (size_t t = 0; status == VS_OK && t < threads; t++) {
        status = vs_session_create(&b.sessions[t], weights, &options, &err);
        b.collectors[t] =
            (collector){ backend, vs_calloc(VS_HIST_BINS, sizeof(uint64_t)), vs_calloc(4 * model->arch.hidden, sizeof(double)) };
    }
    if (status != VS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const double forward = median_of(&b, false), statistics = median_of(&b, true);
    printf("forward_seconds %.6f statistics_seconds %.6f\n", forward, statistics);
    return 0;
}
