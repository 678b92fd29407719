/* SQNR of every layer quantized alone: a panel a kind, blocks from left to right. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "charts/charts.h"
#include "util/util.h"

enum { SERIES = 3, OUTER = VS_KIND_FC2 - VS_KIND_QKV + 1, MAX_PANELS = OUTER + 1, MOST_OUTER = 32, COLUMNS = 4 };
static const char *const names[SERIES] = { "its weight only, at its output", "its input only, at its output",
                                           "both, at the model's output" };

/* Values of one panel. OUTER holds the layers outside blocks by name. */
typedef struct values {
    size_t length;
    double *x, *y[SERIES];
    bool any[SERIES];
} values;

typedef struct sheet {
    const vs_results *results;
    size_t recipe;
    values of[MAX_PANELS];
    const char *titles[MAX_PANELS], *outer[MOST_OUTER];
    vs_chart_series series[MAX_PANELS][SERIES];
    vs_chart_panel panels[MAX_PANELS];
    size_t panel_count;
    bool infinite, output;
} sheet;

/* Layers outside blocks; room for two, so that models with a plain head look alike. */
static size_t outer_rows(const vs_results *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->row_count; i++) n += r->rows[i].block < 0;
    return n > 2 ? n : 2;
}

static size_t panel_of(const vs_row *row) { return row->block < 0 ? OUTER : (size_t)row->kind - VS_KIND_QKV; }

static vs_status make_values(values *v, size_t length, vs_error *err) {
    v->length = length;
    v->x = vs_calloc(length + 1, sizeof *v->x);
    if (!v->x) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    for (size_t i = 0; i < length; i++) v->x[i] = (double)i;
    for (size_t k = 0; k < SERIES; k++) {
        v->y[k] = vs_calloc(length + 1, sizeof *v->y[k]);
        if (!v->y[k]) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
        for (size_t i = 0; i < length; i++) v->y[k][i] = (double)NAN;
    }
    return VS_OK;
}

static void take_row(sheet *s, const vs_row *row, size_t panel, size_t at) {
    const vs_row_recipe *r = &row->recipes[s->recipe];
    const vs_sqnr *const columns[SERIES] = { &r->local[VS_LOCAL_WEIGHT], &r->local[VS_LOCAL_ACTIVATION],
                                             &r->output[VS_MODE_BOTH] };
    for (size_t k = 0; k < SERIES; k++) {
        if (!columns[k]->present || isnan(columns[k]->pooled)) continue;
        s->of[panel].y[k][at] = columns[k]->pooled;
        s->of[panel].any[k] = true;
        if (isinf(columns[k]->pooled)) s->infinite = true;
        if (k == SERIES - 1) s->output = true;
    }
}

static vs_status collect(sheet *s, vs_error *err) {
    size_t outer = 0;
    for (size_t i = 0; i < s->results->row_count; i++) {
        const vs_row *row = &s->results->rows[i];
        const size_t p = panel_of(row), length = p == OUTER ? outer_rows(s->results) : s->results->arch->depth;
        const size_t at = p == OUTER ? outer : (size_t)row->block;
        if (p >= MAX_PANELS || at >= length || (p == OUTER && outer == MOST_OUTER)) continue;
        if (!s->of[p].x) {
            const vs_status status = make_values(&s->of[p], length, err);
            if (status != VS_OK) return status;
        }
        s->titles[p] = p == OUTER ? "outside the blocks" : vs_arch_kind_name(s->results->arch, row->kind);
        if (p == OUTER) s->outer[outer++] = row->layer;
        take_row(s, row, p, at);
    }
    for (size_t p = 0; p < MAX_PANELS; p++) {
        size_t n = 0;
        for (size_t k = 0; k < SERIES; k++)
            if (s->of[p].any[k])
                s->series[p][n++] = (vs_chart_series){
                    .name = names[k], .style = k, .x = s->of[p].x, .y = s->of[p].y[k], .count = s->of[p].length
                };
        if (n == 0) continue;
        s->panels[s->panel_count] = (vs_chart_panel){ .title = s->titles[p], .series = s->series[p], .series_count = n };
        s->panels[s->panel_count].x_low = -0.6;
        s->panels[s->panel_count].x_high = (double)s->of[p].length - 0.4;
        if (p == OUTER) {
            s->panels[s->panel_count].x_names = s->outer;
            s->panels[s->panel_count].x_name_count = outer;
        }
        s->panel_count++;
    }
    return VS_OK;
}

static char *caption_of(const sheet *s) {
    return vs_format(
        "Each layer quantized alone (recipe %s, %zu images), by kind and block: its weight only and its input only, compared "
        "at its own output (q, k, v: at the attention output)%s. Lower is worse.%s",
        s->results->recipe_names[s->recipe], s->results->analysis_images,
        s->output ? "; both, compared at the model's output" : "",
        s->infinite ? " An arrowhead at the upper edge: no noise at all; at the lower: values that are not finite." : "");
}

static vs_status draw(vs_chart_job *job, sheet *s, bool smooth, vs_error *err) {
    char *heading =
        vs_format("%s: SQNR of each layer quantized alone, %s", job->results->name, job->results->recipe_names[s->recipe]);
    char *caption = caption_of(s);
    const vs_chart chart = { .heading = heading,
                             .caption = caption,
                             .x_label = "block",
                             .y_label = "SQNR [dB]",
                             .panels = s->panels,
                             .panel_count = s->panel_count,
                             .columns = COLUMNS,
                             .panel_width = 230,
                             .panel_height = 170 };
    vs_status status = heading && caption ? vs_chart_emit(job, smooth ? "sqnr.sq" : "sqnr", &chart, NULL, err)
                                          : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(heading);
    free(caption);
    return status;
}

vs_status vs_chart_sqnr(vs_chart_job *job, bool smooth, vs_error *err) {
    const size_t recipe = smooth ? job->results->sq_recipe : job->results->ptq_recipe;
    sheet s = { .results = job->results, .recipe = recipe };
    if (recipe == SIZE_MAX) return VS_OK;
    vs_status status = collect(&s, err);
    if (status == VS_OK && s.panel_count) status = draw(job, &s, smooth, err);
    for (size_t p = 0; p < MAX_PANELS; p++) {
        free(s.of[p].x);
        for (size_t k = 0; k < SERIES; k++) free(s.of[p].y[k]);
    }
    return status;
}
