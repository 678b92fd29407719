/* The charts of a finished study (docs/results.md), from its results alone. */
#ifndef VS_CHARTS_H
#define VS_CHARTS_H

#include "render/render.h"
#include "results/results.h"
#include "sens/analysis.h"
#include "util/progress.h"
#include "util/stop.h"

typedef struct vs_chart_job {
    const vs_results *results;
    const vs_surface_capture *captures; /* their hists are drawn; NULL ones are left out */
    size_t capture_count;
    const char *dir;      /* exists */
    const char *half_dir; /* of the chart of the half-precision diagnosis; exists; NULL: dir */
    vs_render_options options;
    const vs_stop *stop;  /* may be NULL */
    vs_progress progress; /* told of every picture */
    size_t pictures;      /* files drawn */
    bool missing;         /* there is no gnuplot: scripts were left */
} vs_chart_job;

/* All of them, or that of the half-precision diagnosis alone; VS_ERR_INTERRUPTED between two where *stop is set. A chart without
 * data has no file. */
VS_NODISCARD vs_status vs_charts_draw(vs_chart_job *job, bool half_only, vs_error *err);

/* sqnr and blind_spot of recipe ptq; of the SmoothQuant recipe as <name>.sq. */
VS_NODISCARD vs_status vs_chart_sqnr(vs_chart_job *job, bool smooth, vs_error *err);
VS_NODISCARD vs_status vs_chart_blind_spot(vs_chart_job *job, bool smooth, vs_error *err);
VS_NODISCARD vs_status vs_chart_propagation(vs_chart_job *job, vs_error *err);
/* hist.<layer> of capture `index`, the first of its layer; input and output side by side. */
VS_NODISCARD vs_status vs_chart_hist(vs_chart_job *job, size_t index, vs_error *err);

/* fp16.headroom: every row of every policy of the half-precision diagnosis, in execution order. */
VS_NODISCARD vs_status vs_chart_headroom(vs_chart_job *job, vs_error *err);
/* norms: the float model's residual stream after each block, by kinds of token. */
VS_NODISCARD vs_status vs_chart_norms(vs_chart_job *job, vs_error *err);

/* Draws a finished description as <dir>/<name> and counts its files. One of chart and slopes is NULL. */
VS_NODISCARD vs_status vs_chart_emit(vs_chart_job *job, const char *name, const vs_chart *chart, const vs_slopes *slopes,
                                     vs_error *err);

#endif
