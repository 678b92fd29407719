/* How the damage of one layer travels through the blocks behind it. */
#include <math.h>
#include <stdlib.h>

#include "run/sums.h"
#include "sens/sweep.h"
#include "util/util.h"

typedef struct travel {
    vs_results *results;
    const vs_states *states;
    vs_rerun *reruns; /* [threads] */
    vs_sums sums;     /* [propagations * depth] */
} travel;

static vs_status follow(const travel *w, vs_rerun *r, size_t which, vs_error *err) {
    vs_error_sums *out[VS_MAX_BATCH];
    const vs_propagation *p = &w->results->propagations[which];
    const vs_row *x = &w->results->rows[p->row];
    vs_session *s = r->job->session;
    const vs_state *recipe = &w->states->recipes[p->recipe];
    vs_only_tap only = { r->backend, recipe, x->node, VS_MODE_BOTH };
    const vs_weights *changed = vs_rerun_weights(r, recipe, x->site, VS_MODE_BOTH);
    const vs_tapper no_tap = { NULL, NULL };
    vs_status status = vs_forward_embed(s, r->base, r->job->pixels, VS_RERUN_BASE, no_tap, err);
    if (status == VS_OK) status = vs_forward_embed(s, changed, r->job->pixels, VS_RERUN_STREAM, vs_only_tapper(&only), err);
    for (size_t b = 0; b < w->results->arch->depth && status == VS_OK; b++) {
        status = vs_forward_block(s, r->base, VS_RERUN_BASE_WORKSPACE, VS_RERUN_BASE, b, no_tap, err);
        if (status != VS_OK || (int)b < x->block) { /* nothing has changed yet */
            if (status == VS_OK) vs_session_copy_stream(s, VS_RERUN_BASE, VS_RERUN_STREAM);
            continue;
        }
        status = vs_forward_block(s, changed, VS_RERUN_WORKSPACE, VS_RERUN_STREAM, b, vs_only_tapper(&only), err);
        vs_sums_out(&w->sums, r->job, which * w->results->arch->depth + b, out);
        r->backend->ops->error_sums(r->backend, vs_session_stream(s, VS_RERUN_BASE), vs_session_stream(s, VS_RERUN_STREAM),
                                    r->job->images, out);
    }
    return status;
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    const travel *w = context;
    vs_rerun *r = &w->reruns[job->worker];
    r->job = job;
    r->weight_scratch = vs_session_scratch(job->session);
    vs_sums_reset(&w->sums, job);
    vs_status status = VS_OK;
    for (size_t i = 0; i < w->results->propagation_count && status == VS_OK; i++) status = follow(w, r, i, err);
    return status == VS_OK ? r->backend->ops->sync(r->backend, err) : status;
}

static vs_status pool(void *context, size_t image, vs_error *err) {
    (void)err;
    vs_sums_pool(&((travel *)context)->sums, image);
    return VS_OK;
}

static const vs_sqnr *damage(const vs_row_recipe *x) {
    return x->output[VS_MODE_BOTH].present ? &x->output[VS_MODE_BOTH] : &x->local[VS_LOCAL_BOTH];
}

/* The worst rows of a recipe, ties in model order. The head has no block behind it. */
static vs_status choose(vs_results *r, size_t recipe, size_t count, vs_error *err) {
    const size_t depth = r->arch->depth;
    r->propagations = vs_calloc(count + 1, sizeof *r->propagations);
    if (!r->propagations) return vs_fail(err, VS_ERR_NOMEM, "no memory for propagation");
    while (r->propagation_count < count) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < r->row_count; i++) {
            const vs_sqnr *s = damage(&r->rows[i].recipes[recipe]);
            bool taken = vs_kind_is_head(r->rows[i].kind) || !s->present || isnan(s->pooled);
            for (size_t k = 0; k < r->propagation_count; k++) taken |= r->propagations[k].row == i;
            if (!taken && (best == SIZE_MAX || s->pooled < damage(&r->rows[best].recipes[recipe])->pooled)) best = i;
        }
        if (best == SIZE_MAX) break;
        vs_propagation *p = &r->propagations[r->propagation_count];
        *p = (vs_propagation){ best, recipe, vs_calloc(depth, sizeof *p->stream) };
        if (!p->stream) return vs_fail(err, VS_ERR_NOMEM, "no memory for propagation");
        r->propagation_count++;
    }
    return VS_OK;
}

vs_status vs_sweep_propagation(vs_results *results, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                               const vs_sweep_options *options, size_t count, vs_error *err) {
    if (results->ptq_recipe == SIZE_MAX) return VS_OK;
    const size_t depth = results->arch->depth;
    travel w = { .results = results, .states = states };
    vs_status status = choose(results, results->ptq_recipe, count, err);
    if (status == VS_OK) status = vs_sums_create(&w.sums, runner->wave, results->propagation_count * depth, err);
    if (status == VS_OK) status = vs_reruns_create(&w.reruns, runner, err);
    if (status == VS_OK && results->propagation_count)
        status = vs_run_images(runner, set, options->images, "propagation", vs_rerun_needs(), work, pool, &w, err);
    for (size_t i = 0; i < results->propagation_count && status == VS_OK; i++)
        for (size_t b = 0; b < depth; b++)
            if ((int)b >= results->rows[results->propagations[i].row].block)
                results->propagations[i].stream[b] = vs_sqnr_pool_result(&w.sums.pools[i * depth + b]);
    vs_reruns_free(w.reruns, runner);
    vs_sums_release(&w.sums);
    return status;
}
