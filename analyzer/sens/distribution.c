/* Distribution of |x| of one tensor of one image, and its surface (study.md section 5). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis_run.h"
#include "util.h"

static vs_status capture(const vs_analysis_run *r, size_t row, vs_tensor tensor, vs_mat x, vs_error *err) {
    const vs_analysis *a = r->a;
    if (a->second_pass || r->job->index != a->options->capture_image) return VS_OK;
    for (size_t i = 0; i < a->options->capture_count; i++) {
        vs_surface_capture *c = &a->options->captures[i];
        if (c->row != row || c->tensor != tensor) continue;
        const size_t n = x.rows * x.cols;
        void *host = vs_calloc(n, (size_t)a->backend->real);
        float *values = vs_calloc(n, sizeof *values);
        c->values[r->state] = values;
        const size_t stacked = a->results->rows[row].kind == VS_KIND_P ? a->model->arch.heads : 1, tokens = x.rows / stacked;
        c->tokens = tokens;
        c->channels = stacked * x.cols; /* probabilities: column head*T + key, as heads are side by side elsewhere */
        vs_status status = host && values ? a->backend->ops->download(a->backend, host, x, err)
                                          : vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
        if (status == VS_OK) status = a->backend->ops->sync(a->backend, err);
        for (size_t k = 0; k < n && status == VS_OK; k++) {
            const size_t r_of = k / x.cols, to = (r_of % tokens * stacked + r_of / tokens) * x.cols + k % x.cols;
            values[to] = fabsf(a->backend->real == VS_REAL_F64 ? (float)((const double *)host)[k] : ((const float *)host)[k]);
        }
        free(host);
        if (status != VS_OK) return status;
    }
    return VS_OK;
}

/* `all` and a later part of the same tensor, whose first column is `shift`: the largest value's first place counts. */
static void join_part(vs_abs_stats *all, const vs_abs_stats *part, size_t shift) {
    const bool larger = part->max > all->max || (isnan(part->max) && !isnan(all->max));
    const bool sooner = !(part->max < all->max) && part->max_row < all->max_row && isnan(part->max) == isnan(all->max);
    if (larger || sooner) *all = (vs_abs_stats){ part->max, part->max_row, shift + part->max_col, all->sum, all->count };
    all->sum += part->sum;
    all->count += part->count;
}

/* Probabilities stand head under head; their channel is head*T + key, their token the query. Other tensors are one part. */
static vs_status abs_stats(const vs_analysis_run *r, size_t row, vs_mat x, vs_dist_slot *slot, vs_error *err) {
    const vs_backend *be = r->a->backend;
    const size_t parts = r->a->results->rows[row].kind == VS_KIND_P ? r->a->model->arch.heads : 1, t = x.rows / parts;
    void *hist = r->a->counters[r->job->worker];
    slot->rows = t;
    be->ops->abs_stats(be, vs_mat_view(be, x, 0, t, 0, x.cols), 1, (vs_abs_stats *[]){ &slot->stats }, hist,
                       (double *[]){ slot->energy });
    vs_status status = be->ops->sync(be, err);
    for (size_t p = 1; p < parts && status == VS_OK; p++) {
        vs_abs_stats part;
        be->ops->abs_stats(be, vs_mat_view(be, x, p * t, t, 0, x.cols), 1, (vs_abs_stats *[]){ &part }, hist,
                           (double *[]){ slot->energy + p * x.cols });
        status = be->ops->sync(be, err);
        if (status == VS_OK) join_part(&slot->stats, &part, p * x.cols);
    }
    return status;
}

static void count_above(const vs_analysis_run *r, size_t row, vs_mat x, const vs_dist_pool *pool, uint64_t *above) {
    const vs_backend *be = r->a->backend;
    const size_t parts = r->a->results->rows[row].kind == VS_KIND_P ? r->a->model->arch.heads : 1, t = x.rows / parts;
    const size_t part = pool->stats.max_col / x.cols;
    be->ops->count_above(be, vs_mat_view(be, x, part * t, t, 0, x.cols), pool->stats.max_col % x.cols,
                         vs_dist_pool_high_above(pool), above);
}

/* First pass: statistics of |x|. Second pass: counts against the pooled maximum. */
vs_status vs_analysis_observe(const vs_analysis_run *r, size_t row, vs_tensor tensor, vs_mat x, vs_error *err) {
    const vs_analysis *a = r->a;
    const vs_backend *be = a->backend;
    vs_dist_pool *pool = &a->dist[vs_dist_index(a, row, r->state, tensor)];
    if (a->second_pass) {
        uint64_t below = 0, above = 0;
        be->ops->count_below(be, x, vs_dist_pool_zero_below(pool), &below);
        count_above(r, row, x, pool, &above);
        vs_status status = be->ops->sync(be, err);
#pragma omp critical(vs_analysis_counts)
        {
            pool->below += below;
            pool->above += above;
        }
        return status;
    }
    vs_dist_slot *slot = &r->slot->dist[vs_dist_index(a, row, r->state, tensor)];
    uint64_t *hist = a->hist[r->job->worker];
    memset(hist, 0, VS_HIST_BINS * sizeof *hist);
    vs_status status = abs_stats(r, row, x, slot, err);
    if (status == VS_OK) status = be->ops->read_counts(be, a->counters[r->job->worker], VS_HIST_BINS, hist, err);
    be->ops->zero_counts(be, a->counters[r->job->worker], VS_HIST_BINS);
#pragma omp critical(vs_analysis_hist)
    for (size_t i = 0; i < VS_HIST_BINS; i++) pool->hist[i] += hist[i];
    return status == VS_OK ? capture(r, row, tensor, x, err) : status;
}

/* An operand that is not quantized is the same before and after: its `out` is its `in`. */
vs_status vs_analysis_copy_in_to_out(const vs_analysis_run *r, size_t row, vs_mat x, vs_error *err) {
    const vs_analysis *a = r->a;
    const size_t in = vs_dist_index(a, row, r->state, VS_TENSOR_IN), out = vs_dist_index(a, row, r->state, VS_TENSOR_OUT);
    if (a->second_pass) return vs_analysis_observe(r, row, VS_TENSOR_OUT, x, err);
    double *energy = r->slot->dist[out].energy;
    memcpy(energy, r->slot->dist[in].energy, a->dist[in].cols * sizeof *energy);
    r->slot->dist[out] = r->slot->dist[in];
    r->slot->dist[out].energy = energy;
#pragma omp critical(vs_analysis_hist)
    for (size_t i = 0; i < VS_HIST_BINS; i++) a->dist[out].hist[i] += a->hist[r->job->worker][i];
    return capture(r, row, VS_TENSOR_OUT, x, err);
}
