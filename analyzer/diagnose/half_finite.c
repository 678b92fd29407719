#include "diagnose/half_finite.h"

#include <stdio.h>
#include <stdlib.h>

#include "util/util.h"

/* One tensor of one image. */
typedef struct seen {
    vs_kind kind;
    int block;
    bool input;
    vs_error_sums sums;
} seen;

typedef struct context {
    const vs_runner *runner;
    size_t most;     /* tensors of an image */
    seen *slots;     /* [wave * most] */
    size_t *counts;  /* [wave] */
    seen first;      /* the first in execution order that is not finite */
    size_t at;       /* its number; SIZE_MAX: none */
    size_t in_image; /* where it was seen */
} context;

typedef struct observer {
    const context *c;
    const vs_job *job;
} observer;

static vs_status observe(void *ctx, const vs_tap *tap, vs_error *err) {
    const observer *o = ctx;
    const vs_backend *be = o->c->runner->weights->backend;
    const size_t each = tap->x.rows / o->job->images;
    (void)err;
    for (size_t i = 0; i < o->job->images; i++) {
        const size_t slot = (o->job->first + i) % o->c->runner->wave;
        if (o->c->counts[slot] == o->c->most) continue;
        seen *s = &o->c->slots[slot * o->c->most + o->c->counts[slot]++];
        vs_error_sums *sums = &s->sums;
        const vs_mat x = vs_mat_view(be, tap->x, i * each, each, 0, tap->x.cols);
        *s = (seen){ .kind = tap->kind, .block = tap->block, .input = tap->input };
        be->ops->error_sums(be, x, x, 1, &sums);
    }
    return VS_OK;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_weights *w = c->runner->weights;
    observer o = { c, job };
    for (size_t i = 0; i < job->images; i++) c->counts[(job->first + i) % c->runner->wave] = 0;
    const vs_status status = vs_forward(job->session, w, job->pixels, (vs_tapper){ observe, &o }, err);
    const vs_status synced = w->backend->ops->sync(w->backend, status == VS_OK ? err : NULL);
    return status == VS_OK ? synced : status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    context *c = ctx;
    const size_t slot = image % c->runner->wave;
    (void)err;
    for (size_t i = 0; i < c->counts[slot] && i < c->at; i++) {
        const seen *s = &c->slots[slot * c->most + i];
        if (s->sums.nonfinite == 0) continue;
        c->first = *s;
        c->at = i;
        c->in_image = image;
    }
    return VS_OK;
}

static vs_status describe(const context *c, const vs_imageset *set, char *words, size_t size, vs_error *err) {
    const vs_arch *a = &c->runner->weights->model->arch;
    char *image = vs_imageset_name(set, c->in_image), where[32] = "";
    if (!image) return vs_fail(err, VS_ERR_NOMEM, "no memory for an image's name");
    if (c->first.block >= 0) snprintf(where, sizeof where, "blocks.%d", c->first.block);
    const char *kind = c->first.kind == VS_KIND_BLOCK ? "" : vs_arch_kind_name(a, c->first.kind);
    snprintf(words, size, "the float32 run itself is not finite: %s%s%s%s has %llu infinities or NaN, first in %.100s",
             c->first.input ? "the input of " : "", where, *where && *kind ? "." : "", kind,
             (unsigned long long)c->first.sums.nonfinite, image);
    free(image);
    return VS_OK;
}

vs_status vs_half_check_float(char *words, size_t size, const vs_runner *runner, const vs_imageset *set, size_t images,
                              vs_error *err) {
    const vs_graph *g = runner->weights->model->graph;
    context c = { .runner = runner, .at = SIZE_MAX };
    for (size_t i = 0; i < g->node_count; i++) c.most += (size_t)g->nodes[i].shown; /* no tensor, one or two */
    c.slots = vs_calloc(runner->wave * c.most, sizeof *c.slots);
    c.counts = vs_calloc(runner->wave, sizeof *c.counts);
    vs_status status = c.slots && c.counts ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for what tensors hold");
    words[0] = 0;
    if (status == VS_OK)
        status = vs_run_images(runner, set, images, "fp16", (vs_session_needs){ 1, 1, NULL }, work, pool, &c, err);
    if (status == VS_OK && c.at != SIZE_MAX) status = describe(&c, set, words, size, err);
    free(c.slots);
    free(c.counts);
    return status;
}
