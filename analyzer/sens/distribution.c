/* Distribution of |x| of one tensor of one image, and its surface (docs/study.md 5). */
#include <math.h>
#include <stdlib.h>

#include "sens/analysis_run.h"
#include "util/util.h"

/* Heads stand one under the other in probabilities; other tensors are one part. */
static size_t parts_of(const vs_analysis *a, size_t row) {
    return vs_value_rule(a->graph, a->graph->nodes[a->results->rows[row].node].out)->times;
}

static vs_status capture_one(const vs_analysis_run *r, size_t row, vs_surface_capture *c, vs_mat x, vs_error *err) {
    const vs_analysis *a = r->a;
    const size_t n = x.rows * x.cols, stacked = parts_of(a, row), tokens = x.rows / stacked;
    void *host = vs_calloc(n, (size_t)a->backend->scalar);
    float *values = vs_calloc(n, sizeof *values);
    c->values[r->state] = values;
    c->tokens = tokens;
    c->channels = stacked * x.cols; /* probabilities: column head*T + key, as heads are side by side elsewhere */
    vs_status status = host && values ? a->backend->ops->download(a->backend, host, x, err)
                                      : vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
    if (status == VS_OK) status = a->backend->ops->sync(a->backend, err);
    for (size_t k = 0; k < n && status == VS_OK; k++) {
        const size_t r_of = k / x.cols, to = (r_of % tokens * stacked + r_of / tokens) * x.cols + k % x.cols;
        values[to] = fabsf(a->backend->scalar == VS_SCALAR_F64 ? (float)((const double *)host)[k] : ((const float *)host)[k]);
    }
    free(host);
    return status;
}

vs_status vs_analysis_capture(const vs_analysis_run *r, size_t row, vs_side tensor, vs_mat x, vs_error *err) {
    const vs_analysis *a = r->a;
    const size_t image = a->options->capture_image - r->job->first, each = x.rows / r->job->images;
    if (a->second_pass || a->options->capture_image < r->job->first || image >= r->job->images) return VS_OK;
    vs_status status = VS_OK;
    for (size_t i = 0; i < a->options->capture_count && status == VS_OK; i++) {
        vs_surface_capture *c = &a->options->captures[i];
        if (c->row == row && c->tensor == tensor)
            status = capture_one(r, row, c, vs_mat_view(a->backend, x, image * each, each, 0, x.cols), err);
    }
    return status;
}

/* `all` and a later part of the same tensor, whose first column is `shift`: the largest value's first place counts. */
static void join_part(vs_abs_stats *all, const vs_abs_stats *part, size_t shift) {
    const bool larger = part->max > all->max || (isnan(part->max) && !isnan(all->max));
    const bool sooner = !(part->max < all->max) && part->max_row < all->max_row && isnan(part->max) == isnan(all->max);
    if (larger || sooner) *all = (vs_abs_stats){ part->max, part->max_row, shift + part->max_col, all->sum, all->count };
    all->sum += part->sum;
    all->count += part->count;
}

/* Probabilities of one image: their channel is head*T + key, their token the query. */
static vs_status abs_stats_of_heads(const vs_analysis_run *r, size_t row, vs_mat x, vs_image_slot *image, vs_dist_slot *slot,
                                    void *hist, vs_error *err) {
    const vs_backend *be = r->a->backend;
    const size_t heads = parts_of(r->a, row), t = x.rows / heads;
    for (size_t h = 0; h < heads; h++) {
        vs_abs_stats *out = &image->heads[h];
        double *energy = slot->energy + h * x.cols;
        be->ops->abs_stats(be, vs_mat_view(be, x, h * t, t, 0, x.cols), 1, &out, hist, &energy);
    }
    vs_status status = be->ops->sync(be, err);
    slot->stats = image->heads[0];
    for (size_t h = 1; h < heads && status == VS_OK; h++) join_part(&slot->stats, &image->heads[h], h * x.cols);
    return status;
}

static vs_status abs_stats(const vs_analysis_run *r, size_t row, size_t index, vs_mat x, vs_error *err) {
    const vs_backend *be = r->a->backend;
    void *hist = (uint64_t *)r->a->hists + index * VS_HIST_BINS;
    const size_t images = r->job->images, each = x.rows / images, parts = parts_of(r->a, row);
    vs_abs_stats *out[VS_MAX_BATCH];
    double *energy[VS_MAX_BATCH];
    vs_status status = VS_OK;
    for (size_t i = 0; i < images && status == VS_OK; i++) {
        vs_image_slot *image = vs_analysis_slot(r, i);
        vs_dist_slot *slot = &image->dist[index];
        slot->rows = each / parts;
        out[i] = &slot->stats;
        energy[i] = slot->energy;
        if (parts > 1) status = abs_stats_of_heads(r, row, vs_mat_view(be, x, i * each, each, 0, x.cols), image, slot, hist, err);
    }
    if (parts == 1) be->ops->abs_stats(be, x, images, out, hist, energy);
    return status;
}

static void count_above(const vs_analysis_run *r, size_t row, vs_mat x, const vs_dist_pool *pool, uint64_t *above) {
    const vs_backend *be = r->a->backend;
    const double threshold = vs_dist_pool_high_above(pool);
    const size_t parts = parts_of(r->a, row), t = x.rows / (parts * r->job->images), part = pool->stats.max_col / x.cols;
    if (parts == 1) {
        be->ops->count_above(be, x, pool->stats.max_col, threshold, above);
        return;
    }
    for (size_t i = 0; i < r->job->images; i++)
        be->ops->count_above(be, vs_mat_view(be, x, (i * parts + part) * t, t, 0, x.cols), pool->stats.max_col % x.cols,
                             threshold, above);
}

vs_status vs_analysis_observe(const vs_analysis_run *r, size_t row, vs_side tensor, vs_mat x, vs_error *err) {
    const vs_analysis *a = r->a;
    const size_t index = vs_dist_index(a, row, r->state, tensor);
    if (a->second_pass) {
        const vs_dist_pool *pool = &a->dist[index];
        vs_dist_counts *counts = &a->counts[r->job->worker][index];
        a->backend->ops->count_below(a->backend, x, vs_dist_pool_zero_below(pool), &counts->below);
        count_above(r, row, x, pool, &counts->above);
        return VS_OK;
    }
    vs_status status = abs_stats(r, row, index, x, err);
    return status == VS_OK ? vs_analysis_capture(r, row, tensor, x, err) : status;
}
