/* Headroom of the rows of a half-precision run through the depth of the model, a panel a policy. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "charts/charts.h"
#include "half/classes.h"
#include "util/util.h"

typedef enum kind { RESIDUAL, NORM, ATTENTION, ACTIVATION, LINEAR, SPOILT, KINDS } kind;
static const struct {
    const char *name;
    size_t style;
} kinds[KINDS] = {
    [RESIDUAL] = { "residual stream", 0 }, [NORM] = { "norm", 2 },     [ATTENTION] = { "attention", 4 },
    [ACTIVATION] = { "GELU or SiLU", 5 },  [LINEAR] = { "linear", 3 }, [SPOILT] = { "holds inf or NaN from before", 7 },
};
enum { NOTES = 2, BUCKETS = 2 * KINDS }; /* of each kind the rows that hold, then those that overflow */
static const double highest = 18;        /* bits: what lies above is in no danger */
static const double NOTE_BITS = 5;       /* below the lowest point, for its name */

/* One policy. */
typedef struct panel {
    double *x, *y; /* [rows]; [BUCKETS * rows], NAN where a row is not of that bucket */
    vs_chart_series series[BUCKETS];
    vs_chart_note notes[NOTES];
    char *texts[NOTES], *title;
} panel;

typedef struct sheet {
    const vs_results *results;
    panel *of;
    vs_chart_panel *panels;
    const char **names; /* of x: "embed", blocks, "end" */
    char (*digits)[24];
    size_t count;
    double low;
} sheet;

static bool overflows(const vs_fp16_row *r) { return r->inf || r->cast_inf; }

static kind kind_of(const vs_fp16_row *r) {
    static const kind of[VS_CLASS_COUNT] = {
        [VS_CLASS_NORM] = NORM,       [VS_CLASS_SCORES] = ATTENTION,  [VS_CLASS_SOFTMAX] = ATTENTION,
        [VS_CLASS_GELU] = ACTIVATION, [VS_CLASS_RESIDUAL] = RESIDUAL, [VS_CLASS_LINEAR] = LINEAR
    };
    return r->sqnr.nonfinite && !overflows(r) ? SPOILT : of[vs_half_class_of(r->name)];
}

/* N + 1 of "blocks.N."; 0 of a row outside. */
static size_t block_place(const vs_fp16_policy *p, size_t row) {
    unsigned block = 0;
    return row < p->row_count && sscanf(p->rows[row].name, "blocks.%u.", &block) == 1 ? block + 1 : 0;
}

/* 0 before the blocks, N + 1, depth + 1 behind them; queries join in front of a block, and stand in it. */
static size_t place_of(const vs_results *r, const vs_fp16_policy *p, size_t row) {
    const size_t own = block_place(p, row);
    if (own) return own;
    if (row && block_place(p, row - 1) && block_place(p, row + 1)) return block_place(p, row + 1);
    return 2 * row < p->row_count ? 0 : r->arch->depth + 1;
}

/* The rows of a block side by side within its unit of x. */
static void place_rows(const sheet *s, const vs_fp16_policy *p, panel *to) {
    for (size_t first = 0, end = 0; first < p->row_count; first = end) {
        const size_t place = place_of(s->results, p, first);
        for (end = first + 1; end < p->row_count && place_of(s->results, p, end) == place;) end++;
        for (size_t i = first; i < end; i++) to->x[i] = (double)place - 0.5 + ((double)(i - first) + 0.5) / (double)(end - first);
    }
}

static void fill(sheet *s, const vs_fp16_policy *p, panel *to) {
    place_rows(s, p, to);
    for (size_t i = 0; i < BUCKETS * p->row_count; i++) to->y[i] = (double)NAN;
    for (size_t i = 0; i < p->row_count; i++) {
        const vs_fp16_row *r = &p->rows[i];
        const size_t bucket = 2 * (size_t)kind_of(r) + overflows(r);
        if (!isfinite(r->headroom)) continue; /* nothing but zeros */
        to->y[bucket * p->row_count + i] = r->headroom;
        s->low = fmin(s->low, r->headroom);
    }
    for (size_t k = 0; k < BUCKETS; k++)
        to->series[k] = (vs_chart_series){ .name = kinds[k / 2].name,
                                           .style = kinds[k / 2].style,
                                           .x = to->x,
                                           .y = to->y + k * p->row_count,
                                           .count = p->row_count,
                                           .alarm = k % 2 == 1 };
}

static char *note_of(const vs_fp16_row *r, const vs_half_place_result *at, const char *words) {
    const char *what = vs_fp16_row_of_keys(r) ? "key" : "channel";
    if (!at->present) return vs_format("%s%s", words, r->name);
    return vs_format("%s%s, %s, %s %zu", words, r->name, at->token, what, at->channel);
}

/* The row with the least headroom, and the first that overflows. */
static vs_status add_notes(const vs_fp16_policy *p, panel *to, size_t *count, vs_error *err) {
    size_t worst = SIZE_MAX, first = SIZE_MAX;
    for (size_t i = 0; i < p->row_count; i++) {
        if (!isfinite(p->rows[i].headroom)) continue;
        if (worst == SIZE_MAX || p->rows[i].headroom < p->rows[worst].headroom) worst = i;
        if (first == SIZE_MAX && overflows(&p->rows[i])) first = i;
    }
    const size_t picked[NOTES] = { worst, first };
    *count = 0;
    for (size_t i = 0; i < NOTES; i++) {
        if (picked[i] == SIZE_MAX || (i && picked[i] == picked[0])) continue;
        const vs_fp16_row *r = &p->rows[picked[i]];
        char *text = note_of(r, i && r->first.present ? &r->first : &r->largest, i ? "first: " : "least: ");
        if (!text) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
        to->texts[*count] = text;
        to->notes[(*count)++] = (vs_chart_note){ to->x[picked[i]], r->headroom, text };
    }
    return VS_OK;
}

static char *title_of(const vs_fp16_policy *p) {
    size_t rows = 0;
    for (size_t i = 0; i < p->row_count; i++) rows += overflows(&p->rows[i]);
    char task[96] = "";
    if (p->has_task && p->task.has_labels)
        snprintf(task, sizeof task, "; mIoU %.2f %%, %zu class%s predicted", p->task.miou, p->classes_predicted,
                 p->classes_predicted == 1 ? "" : "es");
    else if (p->has_task && p->task.has_agreement)
        snprintf(task, sizeof task, "; agreement %.2f %%, %zu class%s predicted", p->task.agreement, p->classes_predicted,
                 p->classes_predicted == 1 ? "" : "es");
    return vs_format("%s: %zu of %zu rows overflow%s%s", p->name, rows, p->row_count, p->finite ? "" : ", output not finite",
                     task);
}

static vs_status add_panel(sheet *s, const vs_fp16_policy *p, vs_error *err) {
    panel *to = &s->of[s->count];
    size_t cells = 0, notes = 0;
    if (!vs_size_mul(&cells, p->row_count, BUCKETS)) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    to->x = vs_calloc(p->row_count, sizeof *to->x);
    to->y = vs_calloc(cells, sizeof *to->y);
    to->title = title_of(p);
    s->count++;
    if (!to->x || !to->y || !to->title) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    fill(s, p, to);
    const vs_status status = add_notes(p, to, &notes, err);
    s->panels[s->count - 1] = (vs_chart_panel){ .title = to->title,
                                                .series = to->series,
                                                .series_count = BUCKETS,
                                                .x_names = s->names,
                                                .x_name_count = s->results->arch->depth + 2,
                                                .notes = to->notes,
                                                .note_count = notes };
    return status;
}

/* Every block has a place; of many only some have a number. */
static void name_places(const sheet *s) {
    const size_t depth = s->results->arch->depth, step = 1 + depth / 16;
    for (size_t b = 0; b < depth; b++) {
        if (b % step == 0) snprintf(s->digits[b], sizeof *s->digits, "%zu", b);
        s->names[b + 1] = s->digits[b];
    }
    s->names[0] = "embed";
    s->names[depth + 1] = "end";
}

static vs_status draw(vs_chart_job *job, const sheet *s, vs_error *err) {
    const vs_results *r = job->results;
    const bool half = strcmp(r->fp16.format, "fp16") == 0;
    char *heading = vs_format("%s: headroom of every %s row through the depth of the model", r->name, half ? "FP16" : "BF16");
    char *caption = vs_format(
        "log2(%s / largest |x| before rounding) of every stored result, in execution order within each block (%zu images); "
        "values "
        "above %g bits are drawn there. Red: rows with values that became infinite, by themselves or on being read. Below 0 bits "
        "%s ends. Ringed: the row with the least headroom, and the first that overflows, with token and channel.",
        half ? "65504" : "3.39e38", r->analysis_images, highest, half ? "half precision" : "bfloat16");
    const vs_chart chart = { .heading = heading,
                             .caption = caption,
                             .x_label = "block",
                             .y_label = "headroom [bits]",
                             .panels = s->panels,
                             .panel_count = s->count,
                             .columns = 1,
                             .panel_width = 760,
                             .panel_height = 210,
                             .y_low = fmin(s->low, 0) - NOTE_BITS,
                             .y_high = half ? highest : 128,
                             .dots = true };
    const vs_status status = heading && caption ? vs_chart_emit(job, "fp16.headroom", &chart, NULL, err)
                                                : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(heading);
    free(caption);
    return status;
}

static void release(sheet *s) {
    for (size_t i = 0; s->of && i < s->count; i++) {
        for (size_t k = 0; k < NOTES; k++) free(s->of[i].texts[k]);
        free(s->of[i].x);
        free(s->of[i].y);
        free(s->of[i].title);
    }
    free(s->of);
    free(s->panels);
    free(s->names);
    free(s->digits);
}

vs_status vs_chart_headroom(vs_chart_job *job, vs_error *err) {
    const vs_fp16_results *f = &job->results->fp16;
    const size_t depth = job->results->arch->depth;
    if (!f->policy_count) return VS_OK;
    sheet s = { .results = job->results,
                .of = vs_calloc(f->policy_count, sizeof *s.of),
                .panels = vs_calloc(f->policy_count, sizeof *s.panels),
                .names = vs_calloc(depth + 2, sizeof *s.names),
                .digits = vs_calloc(depth + 2, sizeof *s.digits) };
    vs_status status = s.of && s.panels && s.names && s.digits ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    if (status == VS_OK) name_places(&s);
    for (size_t i = 0; i < f->policy_count && status == VS_OK; i++)
        if (f->policies[i].row_count) status = add_panel(&s, &f->policies[i], err);
    if (status == VS_OK && s.count) status = draw(job, &s, err);
    release(&s);
    return status;
}
