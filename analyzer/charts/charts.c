#include "charts/charts.h"

#include <stdlib.h>

#include "util/util.h"

vs_status vs_chart_emit(vs_chart_job *job, const char *name, const vs_chart *chart, const vs_slopes *slopes, vs_error *err) {
    char *stem = vs_path_join(job->dir, name);
    vs_render_outcome outcome = VS_RENDERED;
    vs_status status = !stem   ? vs_fail(err, VS_ERR_NOMEM, "no memory for a path")
                       : chart ? vs_chart_draw(chart, stem, &job->options, &outcome, err)
                               : vs_slopes_draw(slopes, stem, &job->options, &outcome, err);
    if (status == VS_OK && outcome == VS_RENDER_NO_GNUPLOT)
        job->missing = true;
    else if (status == VS_OK)
        job->pictures += (size_t)job->options.png + (size_t)job->options.svg;
    if (status == VS_OK && job->progress.update)
        job->progress.update(job->progress.context, "pictures", (double)job->pictures, 0);
    free(stem);
    return status;
}

static vs_status go_on(const vs_chart_job *job, vs_error *err) {
    return vs_stopped(job->stop) ? vs_fail(err, VS_ERR_INTERRUPTED, "interrupted") : VS_OK;
}

static bool first_of_layer(const vs_chart_job *job, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (job->captures[i].row == job->captures[index].row) return false;
    return true;
}

static vs_status draw_half(vs_chart_job *job, vs_error *err) {
    const char *dir = job->dir;
    if (job->half_dir) job->dir = job->half_dir;
    vs_status status = go_on(job, err);
    if (status == VS_OK) status = vs_chart_headroom(job, err);
    job->dir = dir;
    return status;
}

vs_status vs_charts_draw(vs_chart_job *job, bool half_only, vs_error *err) {
    vs_status status = draw_half(job, err);
    if (half_only) return status;
    for (int smooth = 0; smooth < 2 && status == VS_OK; smooth++) {
        status = go_on(job, err);
        if (status == VS_OK) status = vs_chart_sqnr(job, smooth == 1, err);
        if (status == VS_OK) status = go_on(job, err);
        if (status == VS_OK) status = vs_chart_blind_spot(job, smooth == 1, err);
    }
    if (status == VS_OK) status = go_on(job, err);
    if (status == VS_OK) status = vs_chart_propagation(job, err);
    if (status == VS_OK) status = go_on(job, err);
    if (status == VS_OK) status = vs_chart_norms(job, err);
    for (size_t i = 0; i < job->capture_count && status == VS_OK; i++) {
        if (!first_of_layer(job, i)) continue;
        status = go_on(job, err);
        if (status == VS_OK) status = vs_chart_hist(job, i, err);
    }
    return status;
}
