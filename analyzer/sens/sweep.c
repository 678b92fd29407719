#include "sens/sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/sums.h"
#include "util/util.h"

typedef struct sweep {
    vs_results *results;
    const vs_runner *runner;
    const vs_states *states;
    const vs_sweep_options *options;
    vs_rerun *reruns; /* [threads] */
    vs_sums sums;     /* [(row * recipes + recipe) * VS_MODE_COUNT + mode] */
} sweep;

static bool mode_asked(const vs_sweep_options *o, vs_kind kind, vs_mode mode) {
    if (vs_kind_is_operand(kind)) return mode == VS_MODE_ACTIVATION && (o->activation || o->both); /* both is the same */
    return mode == VS_MODE_WEIGHT ? o->weight : mode == VS_MODE_ACTIVATION ? o->activation : o->both;
}

vs_sweep_cost vs_output_cost(const vs_results *r, const vs_states *s, const vs_sweep_options *o) {
    vs_sweep_cost cost = { 0, 2.0 * (double)o->images }; /* the float output; the running model */
    const double depth = (double)r->arch->depth;
    for (size_t i = 0; i < r->row_count; i++)
        for (size_t p = 0; p < s->recipe_count; p++) {
            if (vs_states_first_alike(s, p, r->rows[i].site) != p) continue;
            for (vs_mode m = VS_MODE_WEIGHT; m < VS_MODE_COUNT; m++) {
                if (!mode_asked(o, r->rows[i].kind, m)) continue;
                cost.reruns += o->images;
                const double block = vs_kind_is_head(r->rows[i].kind) ? depth : fmax(r->rows[i].block, 0);
                cost.forwards += (double)o->images * (depth - block) / depth;
            }
        }
    return cost;
}

/* The first of a row's sums for a recipe. */
static size_t sums_of(const sweep *w, size_t row, size_t recipe) {
    return (row * w->states->recipe_count + recipe) * VS_MODE_COUNT;
}

static vs_status measure_row(const sweep *w, vs_rerun *r, size_t row, vs_error *err) {
    const vs_row *x = &w->results->rows[row];
    vs_error_sums *out[VS_MAX_BATCH];
    vs_status status = VS_OK;
    for (size_t p = 0; p < w->states->recipe_count && status == VS_OK; p++) {
        if (vs_states_first_alike(w->states, p, x->site) != p) continue;
        for (vs_mode m = VS_MODE_WEIGHT; m < VS_MODE_COUNT && status == VS_OK; m++) {
            if (!mode_asked(w->options, x->kind, m)) continue;
            vs_sums_out(&w->sums, r->job, sums_of(w, row, p) + m, out);
            status = vs_rerun_alone(r, &w->states->recipes[p], x->site, m, out, err);
        }
    }
    return status;
}

/* Rows of a segment. */
static vs_status measure_rows(const sweep *w, vs_rerun *r, size_t segment, vs_error *err) {
    const vs_graph *g = r->base->model->graph;
    vs_status status = VS_OK;
    for (size_t i = 0; i < w->results->row_count && status == VS_OK; i++)
        if (g->nodes[w->results->rows[i].node].segment == segment) status = measure_row(w, r, i, err);
    return status;
}

/* What was measured once and holds twice: recipes that do the same to a layer, an operand's `both`. */
static void share_measures(const sweep *w, size_t image) {
    vs_error_sums *slot = vs_sums_slot(&w->sums, image);
    for (size_t i = 0; i < w->results->row_count; i++)
        for (size_t p = 0; p < w->states->recipe_count; p++) {
            const vs_row *x = &w->results->rows[i];
            vs_error_sums *out = slot + sums_of(w, i, p);
            const size_t alike = vs_states_first_alike(w->states, p, x->site);
            if (alike != p) memcpy(out, slot + sums_of(w, i, alike), VS_MODE_COUNT * sizeof *out);
            if (vs_kind_is_operand(x->kind)) out[VS_MODE_BOTH] = out[VS_MODE_ACTIVATION];
        }
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    const sweep *w = context;
    vs_rerun *r = &w->reruns[job->worker];
    vs_sums_reset(&w->sums, job);
    vs_status status = vs_rerun_begin(r, job, err);
    if (status == VS_OK) status = measure_rows(w, r, 0, err);
    for (size_t b = 0; b < w->results->arch->depth && status == VS_OK; b++) {
        status = vs_rerun_block(r, b, err);
        if (status == VS_OK) status = measure_rows(w, r, vs_graph_block(r->base->model->graph, b), err);
        if (status == VS_OK) status = r->backend->ops->sync(r->backend, err);
        vs_job_progress(job, b + 1, w->results->arch->depth);
    }
    if (status == VS_OK) status = measure_rows(w, r, r->base->model->graph->segment_count - 1, err);
    if (status == VS_OK) status = r->backend->ops->sync(r->backend, err);
    for (size_t i = 0; i < job->images && status == VS_OK; i++) share_measures(w, job->first + i);
    return status;
}

static vs_status pool(void *context, size_t image, vs_error *err) {
    (void)err;
    vs_sums_pool(&((sweep *)context)->sums, image);
    return VS_OK;
}

vs_status vs_sweep_output(vs_results *results, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                          const vs_sweep_options *options, vs_error *err) {
    sweep w = { .results = results, .runner = runner, .states = states, .options = options };
    const size_t count = results->row_count * states->recipe_count * VS_MODE_COUNT;
    vs_status status = vs_sums_create(&w.sums, runner->wave, count, err);
    if (status == VS_OK) status = vs_reruns_create(&w.reruns, runner, err);
    if (status == VS_OK) status = vs_run_images(runner, set, options->images, "output", vs_rerun_needs(), work, pool, &w, err);
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        const size_t row = i / (states->recipe_count * VS_MODE_COUNT), p = i / VS_MODE_COUNT % states->recipe_count;
        const vs_mode m = (vs_mode)(i % VS_MODE_COUNT);
        const vs_kind kind = results->rows[row].kind;
        const bool asked = vs_kind_is_operand(kind) ? m != VS_MODE_WEIGHT && (options->activation || options->both)
                                                    : mode_asked(options, kind, m);
        if (asked) results->rows[row].recipes[p].output[m] = vs_sqnr_pool_result(&w.sums.pools[i]);
    }
    vs_reruns_free(w.reruns, runner);
    vs_sums_release(&w.sums);
    return status;
}
