#include "diagnose/half_keys.h"

#include <stdlib.h>
#include <string.h>

#include "backend/host_scalar.h"
#include "util/util.h"

/* Sums over tokens of one image, or of all. */
typedef struct key_sums {
    double *sum, *square; /* [depth * C] */
    double *tokens;       /* [depth]: blocks may have queries too */
} key_sums;

typedef struct context {
    const vs_runner *runner;
    size_t depth, count; /* count: depth * C */
    key_sums *slots;     /* [wave] */
    key_sums total;
} context;

typedef struct observer {
    const context *c;
    const vs_job *job;
    void *host; /* [rows * C] */
} observer;

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for the mean of keys"); }

static size_t reals_of(const context *c) { return 2 * c->count + c->depth; }

static bool create(key_sums *s, const context *c) {
    s->sum = vs_calloc(reals_of(c), sizeof *s->sum);
    if (!s->sum) return false;
    s->square = s->sum + c->count;
    s->tokens = s->square + c->count;
    return true;
}

static vs_status observe(void *ctx, const vs_tap *tap, vs_error *err) {
    const observer *o = ctx;
    const vs_backend *be = o->c->runner->weights->backend;
    if (tap->kind != VS_KIND_K || !tap->input) return VS_OK;
    const vs_status status = be->ops->download(be, o->host, tap->x, err);
    const size_t each = tap->x.rows / o->job->images, cols = tap->x.cols;
    for (size_t i = 0; i < o->job->images && status == VS_OK; i++) {
        key_sums *s = &o->c->slots[(o->job->first + i) % o->c->runner->wave];
        double *sum = s->sum + (size_t)tap->block * cols, *square = s->square + (size_t)tap->block * cols;
        for (size_t k = 0; k < each * cols; k++) {
            const double x = vs_host_scalar(o->host, be->scalar, i * each * cols + k);
            sum[k % cols] += x;
            square[k % cols] += x * x;
        }
        s->tokens[tap->block] = (double)each;
    }
    return status;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_weights *w = c->runner->weights;
    observer o = { c, job, NULL };
    size_t reals = 0;
    if (!vs_size_mul(&reals, vs_session_tokens(job->session) * job->images, w->model->arch.width) ||
        !(o.host = vs_calloc(reals, (size_t)w->backend->scalar)))
        return no_memory(err);
    for (size_t i = 0; i < job->images; i++) {
        key_sums *s = &c->slots[(job->first + i) % c->runner->wave];
        memset(s->sum, 0, reals_of(c) * sizeof *s->sum);
    }
    vs_status status = vs_forward(job->session, w, job->pixels, (vs_tapper){ observe, &o }, err);
    if (status == VS_OK) status = w->backend->ops->sync(w->backend, err);
    free(o.host);
    return status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    context *c = ctx;
    const key_sums *s = &c->slots[image % c->runner->wave];
    (void)err;
    for (size_t k = 0; k < reals_of(c); k++) c->total.sum[k] += s->sum[k];
    return VS_OK;
}

/* Whether the mean outweighs the rest in a block. */
static bool is_shifted(const key_sums *s, size_t block, size_t cols) {
    const double tokens = s->tokens[block];
    double mean = 0, all = 0;
    for (size_t k = block * cols; k < (block + 1) * cols; k++) {
        mean += s->sum[k] / tokens * (s->sum[k] / tokens);
        all += s->square[k] / tokens;
    }
    return mean > all - mean;
}

vs_status vs_half_key_means(double **means, bool *shifted, const vs_runner *runner, const vs_imageset *set, size_t images,
                            vs_error *err) {
    const vs_arch *a = &runner->weights->model->arch;
    context c = { runner, a->depth, a->depth * a->width, vs_calloc(runner->wave, sizeof *c.slots), { 0 } };
    bool whole = c.slots && create(&c.total, &c);
    for (size_t i = 0; i < runner->wave && whole; i++) whole = create(&c.slots[i], &c);
    vs_status status = whole ? VS_OK : no_memory(err);
    *shifted = false;
    if (status == VS_OK)
        status = vs_run_images(runner, set, images, "fp16", (vs_session_needs){ 1, 1, NULL }, work, pool, &c, err);
    for (size_t b = 0; b < a->depth && status == VS_OK; b++) *shifted |= is_shifted(&c.total, b, a->width);
    for (size_t k = 0; k < c.count && status == VS_OK; k++) c.total.sum[k] /= c.total.tokens[k / a->width];
    for (size_t i = 0; c.slots && i < runner->wave; i++) free(c.slots[i].sum);
    free(c.slots);
    *means = c.total.sum; /* the rest lies behind */
    return status;
}
