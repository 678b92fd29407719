/* Histograms are integers: whatever the order in which images are added, the sums are the same. */
#include <stdlib.h>
#include <string.h>

#include "run/calibrate.h"
#include "util/util.h"

typedef struct observers {
    const vs_runner *runner;
    vs_variant *const *variants;
    size_t count, sites;
    uint64_t **counts; /* [count * sites], each [grid_count * VS_OBSERVER_BINS]; NULL where nothing is observed */
    uint64_t **own;    /* [threads], one tensor's histogram */
} observers;

typedef struct worker {
    const observers *o;
    const vs_job *job;
} worker;

static size_t scratch_reals(const vs_graph *g, size_t patches, size_t images) {
    return images * vs_graph_site_reals(g, patches, true);
}

/* Equal parts of the columns of x, each into the histogram of its grid. */
static vs_status count_site(const worker *w, const vs_site *site, vs_mat x, uint64_t *counts, vs_error *err) {
    const vs_backend *be = w->o->runner->weights->backend;
    uint64_t *own = w->o->own[w->job->worker];
    const size_t d = x.cols / site->grid_count;
    for (size_t g = 0; g < site->grid_count; g++) {
        if (!vs_observer_applies(site->scheme, site->ranges[g])) continue;
        const vs_range span = vs_observer_span(site->scheme, site->ranges[g]);
        memset(own, 0, VS_OBSERVER_BINS * sizeof *own);
        be->ops->range_histogram(be, vs_mat_view(be, x, 0, x.rows, g * d, d), span.lo, span.hi, VS_OBSERVER_BINS, own);
        vs_status status = be->ops->sync(be, err);
        if (status != VS_OK) return status;
#pragma omp critical(vs_observe_counts)
        for (size_t i = 0; i < VS_OBSERVER_BINS; i++) counts[g * VS_OBSERVER_BINS + i] += own[i];
    }
    return VS_OK;
}

static vs_status see(void *context, const vs_tap *tap, vs_error *err) {
    const worker *w = context;
    const observers *o = w->o;
    const vs_backend *be = o->runner->weights->backend;
    const size_t at = tap->input ? o->runner->weights->model->graph->nodes[tap->node].site : VS_NONE;
    vs_status status = VS_OK;
    for (size_t v = 0; at < o->sites && v < o->count && status == VS_OK; v++) {
        const vs_site *site = &o->variants[v]->sites[at];
        if (!o->counts[v * o->sites + at]) continue;
        vs_mat x = tap->x;
        if (site->smooth) {
            x = (vs_mat){ vs_session_scratch(w->job->session), tap->x.rows, tap->x.cols, tap->x.cols };
            vs_site_smooth(be, site, tap->x, x);
        }
        status = count_site(w, site, x, o->counts[v * o->sites + at], err);
    }
    return status;
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    const observers *o = context;
    worker w = { o, job };
    return vs_forward(job->session, o->runner->weights, job->pixels, (vs_tapper){ see, &w }, err);
}

static vs_status create(observers *o, vs_error *err) {
    o->counts = vs_calloc(o->count * o->sites, sizeof *o->counts);
    o->own = vs_calloc(o->runner->threads, sizeof *o->own);
    if (!o->counts || !o->own) goto nomem;
    for (size_t i = 0; i < o->count * o->sites; i++) {
        const vs_site *site = &o->variants[i / o->sites]->sites[i % o->sites];
        if (!site->quantized || site->scheme == VS_SCHEME_TOKEN || site->scheme == VS_SCHEME_UNIT) continue;
        o->counts[i] = vs_calloc(site->grid_count * VS_OBSERVER_BINS, sizeof **o->counts);
        if (!o->counts[i]) goto nomem;
    }
    for (size_t t = 0; t < o->runner->threads; t++)
        if (!(o->own[t] = vs_calloc(VS_OBSERVER_BINS, sizeof **o->own))) goto nomem;
    return VS_OK;
nomem:
    return vs_fail(err, VS_ERR_NOMEM, "no memory for the histograms of observers");
}

vs_status vs_observe_variants(vs_variant *const *variants, size_t count, const vs_recipe_config *recipe, const vs_runner *runner,
                              const vs_imageset *set, vs_error *err) {
    observers o = { .runner = runner, .variants = variants, .count = count, .sites = runner->weights->model->graph->site_count };
    vs_status status = create(&o, err);
    const vs_session_needs needs = { 1, 1, scratch_reals };
    if (status == VS_OK) status = vs_run_images(runner, set, set->count, "observers", needs, work, NULL, &o, err);
    for (size_t i = 0; status == VS_OK && i < count * o.sites; i++)
        for (size_t g = 0; o.counts[i] && g < variants[i / o.sites]->sites[i % o.sites].grid_count; g++)
            vs_variant_observe(variants[i / o.sites], i % o.sites, g, recipe, o.counts[i] + g * VS_OBSERVER_BINS);
    for (size_t i = 0; o.counts && i < count * o.sites; i++) free(o.counts[i]);
    for (size_t t = 0; o.own && t < runner->threads; t++) free(o.own[t]);
    free(o.counts);
    free(o.own);
    return status;
}
