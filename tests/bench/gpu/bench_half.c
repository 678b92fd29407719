/* bench_half BACKEND CHECKPOINT SIZE BATCH REPEATS [OPERATIONS]: milliseconds of one emulated half-precision run of a batch with
 * all rows, counts and SQNR (the float run of the rows beside it), beside the float32 forward pass that the study uses; medians
 * of REPEATS. `counts` is a run without the comparison, as most runs of a diagnosis are. Prints one JSON line for each policy;
 * with OPERATIONS also where the time of one run goes, each operation waited for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/timed.h"
#include "half/half.h"
#include "util/util.h"

typedef struct bench {
    const vs_backend *backend;
    vs_model *model;
    vs_weights *weights;
    vs_half_weights *half;
    vs_session *session;
    vs_half_seen **seen; /* [batch] */
    float *pixels;
    size_t size, batch, repeats;
    vs_error err;
} bench;

static const char *const names[] = { "fused", "decomposed", "strict" };
static const vs_policy_config policies[] = {
    { .norm = VS_OPERATION_FUSED, .attention = VS_OPERATION_FUSED, .scale = VS_SCALE_AFTER, .gelu = VS_OPERATION_FUSED },
    { .norm = VS_OPERATION_DECOMPOSED,
      .attention = VS_OPERATION_DECOMPOSED,
      .scale = VS_SCALE_AFTER,
      .gelu = VS_OPERATION_FUSED },
    { .norm = VS_OPERATION_DECOMPOSED,
      .attention = VS_OPERATION_DECOMPOSED,
      .scale = VS_SCALE_AFTER,
      .gelu = VS_OPERATION_DECOMPOSED },
};

/* The float32 forward pass where there is no model. */
static vs_status pass(bench *b, const vs_half_model *model) {
    vs_status status = model ? vs_half_forward(b->session, model, b->pixels, b->seen, &b->err)
                             : vs_forward(b->session, b->weights, b->pixels, (vs_tapper){ NULL, NULL }, &b->err);
    const vs_status synced = b->backend->ops->sync(b->backend, &b->err);
    return status == VS_OK ? synced : status;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Milliseconds; a pass warms up. */
static vs_status measure(bench *b, const vs_half_model *model, double *median) {
    double *ms = vs_calloc(b->repeats, sizeof *ms);
    if (!ms) return vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    vs_status status = pass(b, model);
    for (size_t i = 0; i < b->repeats && status == VS_OK; i++) {
        const double start = vs_now();
        status = pass(b, model);
        ms[i] = 1e3 * (vs_now() - start);
    }
    qsort(ms, b->repeats, sizeof *ms, by_value);
    *median = ms[b->repeats / 2];
    free(ms);
    return status;
}

static vs_status prepare(bench *b, const vs_backend *backend, const char *checkpoint) {
    b->backend = backend;
    vs_status status = vs_model_load(&b->model, checkpoint, &(vs_model_options){ 0 }, &b->err);
    if (status == VS_OK) status = vs_weights_bind(&b->weights, backend, b->model, &b->err);
    if (status == VS_OK) status = vs_half_weights_create(&b->half, b->weights, VS_HALF_FP16, &b->err);
    if (status != VS_OK) return status;
    const size_t rows = vs_half_row_count(b->half->rows), pixels = b->batch * 3 * b->size * b->size;
    b->pixels = vs_calloc(pixels, sizeof *b->pixels);
    b->seen = vs_calloc(b->batch, sizeof *b->seen);
    for (size_t i = 0; b->seen && i < b->batch; i++) b->seen[i] = vs_calloc(rows, sizeof **b->seen);
    if (!b->pixels || !b->seen || !b->seen[b->batch - 1]) return vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    vs_rng rng = { 1 };
    for (size_t i = 0; i < pixels; i++) b->pixels[i] = (float)(4 * vs_rng_uniform(&rng) - 2);
    vs_session_options options = { .images = b->batch, .height = b->size, .width = b->size, .workspaces = 1, .streams = 1 };
    const size_t side = b->size / b->model->arch.patch;
    options.scratch = vs_half_scratch(b->model->graph, side * side, b->batch);
    return vs_session_create(&b->session, b->weights, &options, &b->err);
}

static void print_operations(const vs_backend *timed) {
    size_t count = 0;
    const vs_op_time *times = vs_timed_read(timed, &count);
    for (size_t i = 0; i < count; i++)
        if (times[i].calls)
            printf("  %-16s %8.3f ms %6zu calls\n", times[i].name, 1e3 * times[i].seconds, (size_t)times[i].calls);
}

int main(int argc, char **argv) {
    if (argc != 6 && argc != 7) {
        fprintf(stderr, "usage: bench_half BACKEND CHECKPOINT SIZE BATCH REPEATS [OPERATIONS]\n");
        return 2;
    }
    bench b = { .size = strtoul(argv[3], NULL, 10), .batch = strtoul(argv[4], NULL, 10), .repeats = strtoul(argv[5], NULL, 10) };
    vs_backend *plain = NULL, *timed = NULL;
    vs_status status = vs_backend_open(&plain, argv[1], &b.err);
    if (status == VS_OK && argc == 7) status = vs_timed_open(&timed, plain, &b.err);
    if (status == VS_OK) status = prepare(&b, timed ? timed : plain, argv[2]);
    double forward = 0;
    if (status == VS_OK) status = measure(&b, NULL, &forward);
    for (size_t i = 0; i < sizeof policies / sizeof *policies && status == VS_OK; i++) {
        vs_half_model model = { .weights = b.half, .policy = &policies[i] };
        double whole = 0, counts = 0;
        status = measure(&b, &model, &whole);
        if (status == VS_OK && timed) vs_timed_reset(timed);
        if (status == VS_OK && timed) status = pass(&b, &model);
        if (status == VS_OK && timed) print_operations(timed);
        model.counts_only = true;
        if (status == VS_OK) status = measure(&b, &model, &counts);
        if (status == VS_OK)
            printf("{\"policy\": \"%s\", \"forward\": %.3f, \"run\": %.3f, \"counts\": %.3f, \"run_over_forward\": %.2f, "
                   "\"counts_over_forward\": %.2f}\n",
                   names[i], forward, whole, counts, whole / forward, counts / forward);
    }
    if (status != VS_OK) { /* the process ends here: what it holds goes with it */
        fprintf(stderr, "bench_half: %s\n", b.err.message);
        return 1;
    }
    return 0;
}
