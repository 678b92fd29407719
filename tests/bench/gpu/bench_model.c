/* bench_model BACKEND CHECKPOINT SIZE BATCH REPEATS PIXELS OUT: milliseconds of one pass over a batch, medians of REPEATS:
 *
 *   forward      pixels on the host to normed tokens on the device, with the copy
 *   capture      the same with every statistic of docs/study.md 5 on input and output of every linear and operand, each
 *                image apart, numbers on the host
 *   quantized    forward of the plain 8-bit state, calibrated on the same batch
 *
 * PIXELS: raw float32 [BATCH, 3, SIZE, SIZE]. OUT receives the normed tokens as raw reals of the backend. Prints one JSON line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "run/state.h"
#include "util/util.h"

typedef struct bench {
    const vs_backend *backend;
    vs_model *model;
    vs_weights *weights;
    vs_session *session;
    vs_calibration *calibration;
    vs_variant *variant;
    float *pixels;
    size_t size, batch, repeats;
    vs_abs_stats **stats; /* [batch] */
    void *hist;           /* counters */
    double **energy;      /* [batch] */
    vs_error err;
} bench;

static vs_status look(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    bench *b = context;
    if (tap->kind < VS_KIND_QKV || tap->kind > VS_KIND_FC2 || (vs_kind_is_operand(tap->kind) && !tap->input)) return VS_OK;
    b->backend->ops->abs_stats(b->backend, tap->x, b->batch, b->stats, b->hist, b->energy);
    return VS_OK;
}

static vs_status observe(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    bench *b = context;
    vs_calibration_observe(b->calibration, b->model->graph, b->backend, tap);
    return VS_OK;
}

static vs_status pass(bench *b, const vs_weights *weights, vs_tapper tapper) {
    vs_status status = vs_forward(b->session, weights, b->pixels, tapper, &b->err);
    const vs_status synced = b->backend->ops->sync(b->backend, &b->err);
    return status == VS_OK ? synced : status;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Milliseconds; two passes warm up. */
static vs_status measure(bench *b, const vs_weights *weights, vs_tapper tapper, double *median) {
    double *ms = vs_calloc(b->repeats + 2, sizeof *ms);
    if (!ms) return vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    vs_status status = VS_OK;
    for (size_t i = 0; i < b->repeats + 2 && status == VS_OK; i++) {
        const double start = vs_now();
        status = pass(b, weights, tapper);
        ms[i] = 1e3 * (vs_now() - start);
    }
    qsort(ms + 2, b->repeats, sizeof *ms, by_value);
    *median = ms[2 + b->repeats / 2];
    free(ms);
    return status;
}

static vs_status read_pixels(bench *b, const char *path) {
    const size_t count = b->batch * 3 * b->size * b->size;
    b->pixels = vs_calloc(count, sizeof *b->pixels);
    FILE *f = b->pixels ? fopen(path, "rb") : NULL;
    const bool whole = f && fread(b->pixels, sizeof *b->pixels, count, f) == count;
    if (f) (void)fclose(f);
    return whole ? VS_OK : vs_fail(&b->err, VS_ERR_IO, "%s: cannot read %zu floats", path, count);
}

static vs_status prepare(bench *b, const char *backend, const char *checkpoint, const char *pixels) {
    vs_backend *be = NULL;
    vs_status status = vs_backend_open(&be, backend, &b->err);
    if (status != VS_OK) return status;
    b->backend = be;
    status = vs_model_load(&b->model, checkpoint, &(vs_model_options){ 0 }, &b->err);
    if (status == VS_OK) status = vs_weights_bind(&b->weights, b->backend, b->model, &b->err);
    if (status == VS_OK) status = read_pixels(b, pixels);
    if (status != VS_OK) return status;
    const vs_session_options options = { .images = b->batch, .height = b->size, .width = b->size, .workspaces = 1, .streams = 1 };
    status = vs_session_create(&b->session, b->weights, &options, &b->err);
    b->stats = vs_calloc(b->batch, sizeof *b->stats);
    b->hist = be->ops->alloc_counts(be, VS_HIST_BINS);
    b->energy = vs_calloc(b->batch, sizeof *b->energy);
    if (status == VS_OK && (!b->stats || !b->hist || !b->energy)) status = vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    for (size_t i = 0; i < b->batch && status == VS_OK; i++) {
        b->stats[i] = vs_calloc(1, sizeof **b->stats);
        b->energy[i] = vs_calloc(b->model->arch.hidden + 3 * b->model->arch.width, sizeof **b->energy);
        if (!b->stats[i] || !b->energy[i]) status = vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    }
    return status;
}

/* Bins add up over all tensors and passes, as a study's do over its images, and are read once. */
static vs_status read_histogram(bench *b) {
    uint64_t *bins = vs_calloc(VS_HIST_BINS, sizeof *bins);
    if (!bins) return vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    const vs_status status = b->backend->ops->read_counts(b->backend, b->hist, VS_HIST_BINS, bins, &b->err);
    free(bins);
    return status;
}

static vs_status make_variant(bench *b) {
    static const vs_recipe_config recipe = { .bits_weights = 8, .bits_inputs = 8, .bits_qk = 8, .bits_v = 8 };
    vs_status status = vs_calibration_create(&b->calibration, b->model->graph, &b->err);
    if (status == VS_OK) status = pass(b, b->weights, (vs_tapper){ observe, b });
    if (status != VS_OK) return status;
    return vs_variant_create(&b->variant, b->weights, b->calibration, &recipe, &(vs_variant_options){ .smooth = false }, &b->err);
}

static vs_status write_tokens(bench *b, const char *path) {
    const vs_graph *g = b->model->graph;
    const vs_mat normed = vs_session_value(b->session, g->nodes[vs_graph_find(g, VS_KIND_NORM, -1)].out, 0, 0);
    const size_t count = normed.rows * normed.cols;
    void *host = vs_calloc(count, (size_t)b->backend->scalar);
    if (!host) return vs_fail(&b->err, VS_ERR_NOMEM, "no memory");
    vs_status status = b->backend->ops->download(b->backend, host, normed, &b->err);
    if (status == VS_OK) status = b->backend->ops->sync(b->backend, &b->err);
    if (status == VS_OK) status = vs_write_file(path, host, count * (size_t)b->backend->scalar, &b->err);
    free(host);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: bench_model BACKEND CHECKPOINT SIZE BATCH REPEATS PIXELS OUT\n");
        return 2;
    }
    bench b = { .size = strtoul(argv[3], NULL, 10), .batch = strtoul(argv[4], NULL, 10), .repeats = strtoul(argv[5], NULL, 10) };
    double forward = 0, capture = 0, quantized = 0;
    const vs_tapper no_tap = { NULL, NULL };
    vs_status status = prepare(&b, argv[1], argv[2], argv[6]);
    if (status == VS_OK) status = measure(&b, b.weights, no_tap, &forward);
    if (status == VS_OK) status = write_tokens(&b, argv[7]);
    if (status == VS_OK) status = measure(&b, b.weights, (vs_tapper){ look, &b }, &capture);
    if (status == VS_OK) status = read_histogram(&b);
    if (status == VS_OK) status = make_variant(&b);
    if (status == VS_OK) {
        const vs_state state = { "ptq", VS_STATE_PTQ, &b.variant->weights, b.variant, NULL };
        vs_state_tap tap = { &state, b.backend };
        status = measure(&b, state.weights, vs_state_tapper(&tap), &quantized);
    }
    if (status != VS_OK) { /* the process ends here: what it holds goes with it */
        fprintf(stderr, "bench_model: %s\n", b.err.message);
        return 1;
    }
    printf("{\"forward\": %.4f, \"capture\": %.4f, \"quantized\": %.4f}\n", forward, capture, quantized);
    return 0;
}
