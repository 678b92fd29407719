#include "task/evaluate_output.h"

#include <stdlib.h>

#include "util/util.h"

typedef struct context {
    const vs_runner *runner;
    const vs_states *states;
    vs_error_sums *slots; /* [wave * state_count]: pooled in image order */
    vs_sqnr_pool *pools;  /* [state_count] */
} context;

static void compare(const context *c, const vs_job *job, size_t state, vs_mat x) {
    const vs_backend *be = c->runner->weights->backend;
    vs_error_sums *sums[VS_MAX_BATCH];
    for (size_t i = 0; i < job->images; i++)
        sums[i] = &c->slots[(job->first + i) % c->runner->wave * c->states->state_count + state];
    be->ops->error_sums(be, x, vs_session_output(job->session), job->images, sums);
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_backend *be = c->runner->weights->backend;
    void *kept = NULL;
    vs_mat floats = { 0 };
    vs_status status = VS_OK;
    for (size_t s = 0; s < c->states->state_count && status == VS_OK; s++) {
        if (c->runner->stop && *c->runner->stop) status = vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
        if (status == VS_OK) status = vs_state_forward(&c->states->states[s], job->session, job->pixels, err);
        const vs_mat out = vs_session_output(job->session);
        if (s == 0 && status == VS_OK) {
            kept = be->ops->alloc(be, out.rows * out.cols);
            floats = (vs_mat){ kept, out.rows, out.cols, out.cols };
            if (kept)
                be->ops->copy(be, out, floats);
            else
                status = vs_fail(err, VS_ERR_NOMEM, "no memory for the float model's output");
        }
        if (status == VS_OK) compare(c, job, s, floats);
        if (status == VS_OK) status = be->ops->sync(be, err);
    }
    be->ops->free(be, kept);
    return status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    const context *c = ctx;
    const size_t n = c->states->state_count;
    (void)err;
    for (size_t s = 0; s < n; s++) vs_sqnr_pool_add(&c->pools[s], &c->slots[image % c->runner->wave * n + s]);
    return VS_OK;
}

vs_status vs_evaluate_output(vs_sqnr *out, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                             vs_error *err) {
    const size_t n = states->state_count;
    context c = { runner, states, vs_calloc(runner->wave * n, sizeof *c.slots), vs_calloc(n, sizeof *c.pools) };
    vs_status status = c.slots && c.pools ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for the evaluation");
    if (status == VS_OK)
        status = vs_run_images(runner, set, set->count, "evaluation", (vs_session_needs){ 1, 1, vs_states_scratch(states) }, work,
                               pool, &c, err);
    for (size_t s = 0; s < n && status == VS_OK; s++) out[s] = vs_sqnr_pool_result(&c.pools[s]);
    free(c.slots);
    free(c.pools);
    return status;
}
