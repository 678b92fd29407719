/* How damage travels: SQNR of the residual stream after each block, of whole quantized models and of culprits alone. */
#include <math.h>
#include <stdlib.h>

#include "charts/charts.h"
#include "util/util.h"

enum { MAX_CULPRITS = VS_CHART_STYLES };

typedef struct sheet {
    const vs_results *results;
    double *x, *y; /* [depth]; [lines * depth] */
    char **names;  /* of culprits, owned */
    vs_chart_series *series;
    size_t lines, state_lines, infinite;
} sheet;

/* A line of the stream; left out where nothing was measured. */
static bool add_line(sheet *s, const vs_sqnr *stream, const char *name, size_t style) {
    const size_t depth = s->results->arch->depth;
    double *y = s->y + s->lines * depth;
    bool any = false;
    for (size_t b = 0; b < depth; b++) {
        y[b] = stream[b].present ? stream[b].pooled : (double)NAN;
        any = any || !isnan(y[b]);
        s->infinite += isinf(y[b]) != 0;
    }
    if (any) s->series[s->lines++] = (vs_chart_series){ .name = name, .style = style, .x = s->x, .y = y, .count = depth };
    return any;
}

static void add_states(sheet *s) {
    const vs_results *r = s->results;
    for (size_t k = 0; r->stream && k < r->state_count; k++)
        if (k != r->fp32_state) add_line(s, r->stream + k * r->arch->depth, r->state_names[k], k);
    s->state_lines = s->lines;
}

/* The first of them: the list goes from the worst. */
static vs_status add_culprits(sheet *s, vs_error *err) {
    const vs_results *r = s->results;
    bool several = false;
    for (size_t i = 1; i < r->propagation_count; i++) several = several || r->propagations[i].recipe != r->propagations[0].recipe;
    for (size_t i = 0, style = 0; i < r->propagation_count && style < MAX_CULPRITS; i++) {
        const vs_propagation *p = &r->propagations[i];
        const char *layer = r->rows[p->row].layer;
        s->names[i] = several ? vs_format("%s, %s", layer, r->recipe_names[p->recipe]) : vs_strdup(layer);
        if (!s->names[i]) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
        if (p->stream) style += add_line(s, p->stream, s->names[i], style);
    }
    return VS_OK;
}

static char *caption_of(const sheet *s) {
    const bool states = s->state_lines > 0, culprits = s->lines > s->state_lines;
    return vs_format(
        "SQNR of the residual stream after each block, against the float model (%zu images).%s%s%s", s->results->analysis_images,
        states ? " Whole model: every layer quantized, a line a state." : "",
        culprits ? " One layer alone: only that layer's weight and input are quantized; the line begins at its block, and what "
                   "rises again is healed by later blocks."
                 : "",
        s->infinite ? " An arrowhead at the upper edge: no noise at all; at the lower: values that are not finite." : "");
}

static vs_status draw(vs_chart_job *job, const sheet *s, vs_error *err) {
    vs_chart_panel panels[2];
    size_t n = 0;
    if (s->state_lines)
        panels[n++] = (vs_chart_panel){ .title = "whole model quantized", .series = s->series, .series_count = s->state_lines };
    if (s->lines > s->state_lines)
        panels[n++] = (vs_chart_panel){ .title = "one layer alone quantized",
                                        .series = s->series + s->state_lines,
                                        .series_count = s->lines - s->state_lines };
    if (n == 0) return VS_OK;
    for (size_t i = 0; i < n; i++) {
        panels[i].x_low = -0.3;
        panels[i].x_high = (double)job->results->arch->depth - 0.7;
    }
    char *heading = vs_format("%s: how the damage travels through the blocks", job->results->name), *caption = caption_of(s);
    const vs_chart chart = { .heading = heading,
                             .caption = caption,
                             .x_label = "after block",
                             .y_label = "SQNR of the residual stream [dB]",
                             .panels = panels,
                             .panel_count = n,
                             .columns = 2,
                             .panel_width = 330,
                             .panel_height = 270,
                             .legend_beside = true };
    vs_status status = heading && caption ? vs_chart_emit(job, "propagation", &chart, NULL, err)
                                          : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(heading);
    free(caption);
    return status;
}

vs_status vs_chart_propagation(vs_chart_job *job, vs_error *err) {
    const vs_results *r = job->results;
    const size_t depth = r->arch->depth, most = r->state_count + r->propagation_count;
    size_t cells = 0;
    if (!vs_size_mul(&cells, most + 1, depth + 1)) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    sheet s = { .results = r,
                .x = vs_calloc(depth + 1, sizeof *s.x),
                .y = vs_calloc(cells, sizeof *s.y),
                .names = vs_calloc(r->propagation_count + 1, sizeof *s.names),
                .series = vs_calloc(most + 1, sizeof *s.series) };
    vs_status status = s.x && s.y && s.names && s.series ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    if (status == VS_OK) {
        for (size_t b = 0; b < depth; b++) s.x[b] = (double)b;
        add_states(&s);
        status = add_culprits(&s, err);
    }
    if (status == VS_OK) status = draw(job, &s, err);
    for (size_t i = 0; s.names && i < r->propagation_count; i++) free(s.names[i]);
    free(s.x);
    free(s.y);
    free(s.names);
    free(s.series);
    return status;
}
