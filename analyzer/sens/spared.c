/* Every layer but one quantized. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/sums.h"
#include "sens/sweep.h"
#include "util/util.h"

enum { FLOOR_RUNS = 8 };
static const double nudge = 1e-6; /* of a pixel, relative */
static const uint64_t floor_seed = 1;

/* Sums of a recipe: one a row, then the quantized model's own, then its runs on nudged pixels. */
typedef struct spared {
    vs_results *results;
    const vs_runner *runner;
    const vs_states *states;
    vs_rerun *reruns; /* [threads] */
    vs_sums sums;     /* [recipes * per_recipe] */
    size_t per_recipe;
} spared;

vs_sweep_cost vs_spared_cost(const vs_results *r, const vs_states *s, const vs_sweep_options *o) {
    const double depth = (double)r->arch->depth, recipes = (double)s->recipe_count;
    double forwards = 1 + (2 + FLOOR_RUNS) * recipes;
    for (size_t i = 0; i < r->row_count; i++)
        forwards += recipes * (vs_kind_is_head(r->rows[i].kind) ? 0 : (depth - fmax(r->rows[i].block, 0)) / depth);
    return (vs_sweep_cost){ o->images * s->recipe_count * (r->row_count + 1 + FLOOR_RUNS), (double)o->images * forwards };
}

static vs_status embed(const vs_rerun *r, const vs_state *recipe, const float *pixels, vs_error *err) {
    vs_state_tap tap = { recipe, r->backend };
    return vs_forward_embed(r->job->session, recipe->weights, pixels, VS_RERUN_BASE, vs_state_tapper(&tap), err);
}

/* One number of a recipe: a row's, or one behind them. */
static vs_status measure(const spared *w, vs_rerun *r, size_t recipe, size_t site, size_t number, vs_error *err) {
    vs_error_sums *out[VS_MAX_BATCH];
    vs_sums_out(&w->sums, r->job, recipe * w->per_recipe + number, out);
    return vs_rerun_spared(r, &w->states->recipes[recipe], site, out, err);
}

/* Rows of a segment. */
static vs_status spare_rows(const spared *w, vs_rerun *r, size_t recipe, size_t segment, vs_error *err) {
    const vs_graph *g = r->base->model->graph;
    vs_status status = VS_OK;
    for (size_t i = 0; i < w->results->row_count && status == VS_OK; i++) {
        const vs_row *x = &w->results->rows[i];
        if (g->nodes[x->node].segment == segment) status = measure(w, r, recipe, x->site, i, err);
    }
    return status;
}

static vs_status measure_recipe(const spared *w, vs_rerun *r, size_t recipe, vs_error *err) {
    const vs_state *p = &w->states->recipes[recipe];
    const size_t depth = w->results->arch->depth;
    vs_state_tap tap = { p, r->backend };
    vs_status status = embed(r, p, r->job->pixels, err);
    if (status == VS_OK) status = measure(w, r, recipe, VS_NONE, w->results->row_count, err);
    if (status == VS_OK) status = spare_rows(w, r, recipe, 0, err);
    for (size_t b = 0; b < depth && status == VS_OK; b++) {
        status = spare_rows(w, r, recipe, vs_graph_block(r->base->model->graph, b), err);
        if (status == VS_OK)
            status = vs_forward_block(r->job->session, p->weights, VS_RERUN_BASE_WORKSPACE, VS_RERUN_BASE, b,
                                      vs_state_tapper(&tap), err);
        if (status == VS_OK) status = r->backend->ops->sync(r->backend, err);
        vs_job_progress(r->job, recipe * depth + b + 1, w->states->recipe_count * depth);
    }
    return status == VS_OK ? spare_rows(w, r, recipe, r->base->model->graph->segment_count - 1, err) : status;
}

/* pixels[i] = (1 + nudge N(0,1)) times the job's; the numbers belong to the run and the image. */
static void nudge_pixels(const vs_job *job, size_t run, float *pixels) {
    const size_t n = 3 * job->samples->image.width * job->samples->image.height;
    for (size_t k = 0; k < job->images; k++) {
        vs_rng rng = { (floor_seed << 48) + ((uint64_t)run << 32) + job->first + k };
        for (size_t i = k * n; i < (k + 1) * n; i++)
            pixels[i] = (float)((double)job->pixels[i] * (1 + nudge * vs_rng_normal(&rng)));
    }
}

/* The quantized model on almost the same pixels: how far its output moves by chance alone. */
static vs_status measure_floor(const spared *w, vs_rerun *r, size_t recipe, vs_error *err) {
    const vs_image *image = &r->job->samples->image;
    float *pixels = vs_calloc(r->job->images * 3 * image->width * image->height, sizeof *pixels);
    vs_status status = pixels ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for an image");
    for (size_t run = 0; run < FLOOR_RUNS && status == VS_OK; run++) {
        nudge_pixels(r->job, run, pixels);
        status = embed(r, &w->states->recipes[recipe], pixels, err);
        if (status == VS_OK) status = measure(w, r, recipe, VS_NONE, w->results->row_count + 1 + run, err);
    }
    free(pixels);
    return status;
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    const spared *w = context;
    vs_rerun *r = &w->reruns[job->worker];
    vs_sums_reset(&w->sums, job);
    vs_status status = vs_rerun_begin(r, job, err);
    for (size_t p = 0; p < w->states->recipe_count && status == VS_OK; p++) {
        status = measure_recipe(w, r, p, err);
        if (status == VS_OK) status = measure_floor(w, r, p, err);
    }
    return status == VS_OK ? r->backend->ops->sync(r->backend, err) : status;
}

static vs_status pool(void *context, size_t image, vs_error *err) {
    (void)err;
    vs_sums_pool(&((spared *)context)->sums, image);
    return VS_OK;
}

/* Standard deviation (divisor n) of the runs' pooled SQNR. */
static double spread(const vs_sqnr_pool *runs) {
    double mean = 0, square = 0, db[FLOOR_RUNS];
    for (size_t i = 0; i < FLOOR_RUNS; i++) mean += (db[i] = vs_sqnr_db(&runs[i].sums)) / FLOOR_RUNS;
    for (size_t i = 0; i < FLOOR_RUNS; i++) square += (db[i] - mean) * (db[i] - mean) / FLOOR_RUNS;
    return isfinite(mean) ? sqrt(square) : (double)NAN;
}

static void fill(const spared *w, size_t recipe) {
    const vs_sqnr_pool *pools = w->sums.pools + recipe * w->per_recipe;
    const double all = vs_sqnr_pool_result(&pools[w->results->row_count]).pooled;
    for (size_t i = 0; i < w->results->row_count; i++) {
        vs_row_recipe *out = &w->results->rows[i].recipes[recipe];
        out->spared = vs_sqnr_pool_result(&pools[i]);
        out->spared_gain = out->spared.pooled == all ? 0 : out->spared.pooled - all;
    }
    w->results->spared_floor[recipe] = spread(pools + w->results->row_count + 1);
}

vs_status vs_sweep_spared(vs_results *results, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                          const vs_sweep_options *options, vs_error *err) {
    spared w = { .results = results, .runner = runner, .states = states, .per_recipe = results->row_count + 1 + FLOOR_RUNS };
    vs_status status = vs_sums_create(&w.sums, runner->wave, states->recipe_count * w.per_recipe, err);
    if (status == VS_OK) status = vs_reruns_create(&w.reruns, runner, err);
    if (status == VS_OK) status = vs_run_images(runner, set, options->images, "spared", vs_rerun_needs(), work, pool, &w, err);
    for (size_t p = 0; p < states->recipe_count && status == VS_OK; p++) fill(&w, p);
    vs_reruns_free(w.reruns, runner);
    vs_sums_release(&w.sums);
    return status;
}
