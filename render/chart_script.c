/* Charts of lines in panels. Figure, top down: heading, legend, rows of panels (title, axes, numbers, name), caption. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "render/figure.h"

/* Nominal pixels. LEFT holds the y axis's numbers and name. */
enum {
    LEFT = 78,
    RIGHT = 26,
    GAP = 22,
    HEADING = 44,
    LEGEND_LINE = 22,
    TITLE = 26,
    FEET = 46,
    BESIDE = 14,
    SAMPLE = 34,
    LETTER = 7
};

typedef struct style {
    const char *color, *dash;
    int marker;
} style;
static const style styles[VS_CHART_STYLES] = {
    { "#000000", "solid", 7 },         { "#c8382a", "(9,4)", 4 },  { "#2471a3", "(2,3)", 9 },
    { "#d99000", "(10,3,2,3)", 13 },   { "#6a3d9a", "(16,5)", 6 }, { "#3f9b4f", "(5,3,2,3,2,3)", 5 },
    { "#7b4a2d", "(2,2,8,2,8,2)", 8 }, { "#8c8c8c", "solid", 12 },
};

static const style *look(size_t index) { return &styles[index % VS_CHART_STYLES]; }
static const char alarm_color[] = "#d00000", alarm_ground[] = "#fbe3e0";
static const double dot_size = 0.5;

typedef struct range {
    double low, high;
} range;

/* ------------------------------------------------------------------ layout */

typedef struct layout {
    vs_figure figure;
    size_t columns, pitch_y, top, letters;
    size_t legend_cell, legend_columns, legend_lines;
} layout;

/* One legend for all panels: the first series of each style speaks for it. */
static size_t legend_entries(const vs_chart *c, const vs_chart_series *entries[VS_CHART_STYLES]) {
    const vs_chart_series *of[VS_CHART_STYLES] = { NULL };
    for (size_t p = 0; p < c->panel_count; p++)
        for (size_t i = 0; i < c->panels[p].series_count; i++) {
            const vs_chart_series *s = &c->panels[p].series[i];
            if (!s->alarm && !of[s->style % VS_CHART_STYLES]) of[s->style % VS_CHART_STYLES] = s;
        }
    size_t n = 0;
    for (size_t k = 0; k < VS_CHART_STYLES; k++)
        if (of[k]) entries[n++] = of[k];
    return n;
}

/* Width of the legends beside a column's panels. */
static size_t beside_width(const vs_chart *c, size_t columns, size_t column) {
    size_t width = 0;
    for (size_t p = column; p < c->panel_count && c->legend_beside; p += columns)
        for (size_t i = 0; i < c->panels[p].series_count; i++) {
            const size_t w = BESIDE + SAMPLE + 8 + LETTER * strlen(c->panels[p].series[i].name);
            if (w > width) width = w;
        }
    return width;
}

/* Left edge of a column's axes; of the one behind the last: where the next would be. */
static size_t column_left(const vs_chart *c, size_t columns, size_t column) {
    size_t left = LEFT;
    for (size_t i = 0; i < column; i++) left += c->panel_width + beside_width(c, columns, i) + GAP;
    return left;
}

static void plan_legend(const vs_chart *c, layout *l) {
    const vs_chart_series *entries[VS_CHART_STYLES];
    const size_t n = legend_entries(c, entries);
    for (size_t i = 0; i < n; i++) {
        const size_t cell = SAMPLE + 24 + LETTER * strlen(entries[i]->name);
        if (cell > l->legend_cell) l->legend_cell = cell;
    }
    if (n == 0 || l->legend_cell == 0) return;
    l->legend_columns = (l->figure.width - 20) / l->legend_cell;
    if (l->legend_columns == 0) l->legend_columns = 1;
    if (l->legend_columns > n) l->legend_columns = n;
    l->legend_lines = (n + l->legend_columns - 1) / l->legend_columns;
}

static layout plan(const vs_chart *c) {
    layout l = { .columns = c->columns < c->panel_count ? c->columns : c->panel_count, .legend_columns = 1 };
    const size_t rows = (c->panel_count + l.columns - 1) / l.columns;
    l.pitch_y = c->panel_height + TITLE + FEET;
    l.figure.width = column_left(c, l.columns, l.columns) - GAP + RIGHT;
    if (!c->legend_beside) plan_legend(c, &l);
    l.top = HEADING + LEGEND_LINE * l.legend_lines;
    l.letters = (l.figure.width - 40) / VS_CAPTION_LETTER;
    l.figure.height = l.top + rows * l.pitch_y + 6 + VS_CAPTION_LINE * vs_caption_lines(c->caption, l.letters) + 8;
    return l;
}

/* ------------------------------------------------------------------ ranges */

static void widen(range *r, double v, bool logarithmic) {
    if (!isfinite(v) || (logarithmic && !(v > 0))) return;
    if (v < r->low) r->low = v;
    if (v > r->high) r->high = v;
}

static range settle(range r, bool logarithmic) {
    if (!(r.low <= r.high)) return logarithmic ? (range){ 0.1, 1 } : (range){ 0, 1 };
    if (logarithmic) return r.low < r.high ? r : (range){ r.low / 2, r.high * 2 };
    const double room = r.low < r.high ? 0.03 * (r.high - r.low) : 0.5;
    return (range){ r.low - room, r.high + room };
}

static range x_range(const vs_chart *c, const vs_chart_panel *p) {
    if (p->x_low < p->x_high) return (range){ p->x_low, p->x_high };
    range r = { HUGE_VAL, -HUGE_VAL };
    for (size_t i = 0; i < p->series_count; i++)
        for (size_t k = 0; k < p->series[i].count + (c->steps && p->series[i].count); k++) widen(&r, p->series[i].x[k], c->log_x);
    if (p->x_names) r = (range){ -0.5, (double)p->x_name_count - 0.5 };
    for (size_t i = 0; i < p->rule_count; i++) widen(&r, p->rules[i].x, c->log_x);
    return settle(r, c->log_x);
}

static range y_range(const vs_chart *c) {
    if (c->y_low < c->y_high) return (range){ c->y_low, c->y_high };
    range r = { HUGE_VAL, -HUGE_VAL };
    for (size_t p = 0; p < c->panel_count; p++)
        for (size_t i = 0; i < c->panels[p].series_count; i++)
            for (size_t k = 0; k < c->panels[p].series[i].count; k++) widen(&r, c->panels[p].series[i].y[k], c->log_y);
    return settle(r, c->log_y);
}

/* ------------------------------------------------------------------ data */

static double clamp(double v, range r) { return v < r.low ? r.low : v > r.high ? r.high : v; }

/* A data block; a blank line breaks the line. Nothing but finite numbers is written. False: there is no point. */
static bool add_points(vs_text *o, const vs_chart_series *s, range x, range y) {
    bool any = false, broken = true;
    for (size_t i = 0; i < s->count; i++) {
        if (isfinite(s->y[i]) && isfinite(s->x[i])) {
            vs_text_add(o, "%.9g %.6g\n", clamp(s->x[i], x), clamp(s->y[i], y));
            any = true;
            broken = false;
        } else if (!broken) {
            vs_text_add(o, "\n");
            broken = true;
        }
    }
    return any;
}

/* Stairs that stand on the foot of the panel; where a value is not above it there is no line. */
static bool add_stairs(vs_text *o, const vs_chart_series *s, range x, range y) {
    bool any = false, up = false;
    for (size_t i = 0; i < s->count; i++) {
        const bool inside = isfinite(s->x[i]) && isfinite(s->x[i + 1]) && s->x[i + 1] > x.low && s->x[i] < x.high;
        const bool rises = inside && isfinite(s->y[i]) && s->y[i] > y.low;
        const double left = clamp(s->x[i], x), right = clamp(s->x[i + 1], x), height = clamp(s->y[i], y);
        if (rises && !up && s->x[i] > x.low) vs_text_add(o, "%.9g %.6g\n", left, y.low);
        if (!rises && up && inside) vs_text_add(o, "%.9g %.6g\n", left, y.low);
        if (!rises && up) vs_text_add(o, "\n");
        if (rises) vs_text_add(o, "%.9g %.6g\n%.9g %.6g\n", left, height, right, height);
        up = rises;
        any = any || rises;
    }
    return any;
}

static bool add_series(vs_text *o, const vs_chart *c, const vs_chart_series *s, size_t index, range x, range y) {
    vs_text_add(o, "$s%zu << EOD\n", index);
    const bool any = c->steps ? add_stairs(o, s, x, y) : add_points(o, s, x, y);
    vs_text_add(o, "EOD\n");
    return any;
}

/* Infinite values: an arrowhead that leaves the panel. */
static void add_arrows(vs_text *o, const vs_chart_series *s) {
    for (size_t i = 0; i < s->count; i++) {
        if (!isinf(s->y[i]) || !isfinite(s->x[i])) continue;
        const bool up = s->y[i] > 0;
        vs_text_add(
            o, "set arrow from first %.9g,graph %g to first %.9g,graph %g head filled size screen 0.006,25 lw 1 lc rgb '%s'\n",
            s->x[i], up ? 0.93 : 0.07, s->x[i], up ? 1.0 : 0.0, look(s->style)->color);
    }
}

/* Pixels from the left edge. */
static double rule_place(const vs_chart *c, range x, double at) {
    const double part = c->log_x ? log(at / x.low) / log(x.high / x.low) : (at - x.low) / (x.high - x.low);
    return part * (double)c->panel_width;
}

/* Of a rule's name, beside its line. */
static double name_place(const vs_chart *c, range x, const vs_chart_rule *r) {
    return rule_place(c, x, r->x) + (r->right ? 8 : -8);
}

/* How many earlier names are so near that this one must stand above them. */
static size_t rule_level(const vs_chart *c, const vs_chart_panel *p, range x, size_t index) {
    size_t level = 0;
    for (size_t i = 0; i < index; i++) level += fabs(name_place(c, x, &p->rules[i]) - name_place(c, x, &p->rules[index])) < 15;
    return level;
}

static void add_rules(vs_text *o, const vs_chart *c, const vs_chart_panel *p, range x) {
    for (size_t i = 0; i < p->rule_count; i++) {
        const vs_chart_rule *r = &p->rules[i];
        const style *k = look(r->style);
        if (!isfinite(r->x) || r->x < x.low || r->x > x.high) continue;
        vs_text_add(o, "set arrow from first %.9g,graph 0 to first %.9g,graph 1 nohead lw 1.1 dt %s lc rgb '%s' back\n", r->x,
                    r->x, k->dash, k->color);
        vs_text_add(o, "set label ");
        vs_script_quote(o, r->name);
        vs_text_add(o, " at first %.9g,graph %g left rotate by 90 offset character %g,0 font ',9' tc rgb '%s' front\n", r->x,
                    0.02 + 0.3 * (double)rule_level(c, p, x, i), r->right ? 0.9 : -0.9, k->color);
    }
}

/* The line that nothing should fall under, and the ground below it. */
static void add_level(vs_text *o, const vs_chart *c, range y) {
    const double at = clamp(c->level, y);
    vs_text_add(o, "set object 1 rectangle from graph 0,graph 0 to graph 1,first %.9g fc rgb '%s' fs solid noborder behind\n", at,
                alarm_ground);
    vs_text_add(o, "set arrow from graph 0,first %.9g to graph 1,first %.9g nohead lw 1.4 lc rgb '%s' back\n", at, at,
                alarm_color);
}

/* Towards the middle of the panel; the first below its ring, the others above, so that two neighbours do not meet. */
static void add_notes(vs_text *o, const vs_chart_panel *p, range x, range y) {
    for (size_t i = 0; i < p->note_count; i++) {
        const vs_chart_note *n = &p->notes[i];
        if (!isfinite(n->x) || !isfinite(n->y)) continue;
        const double at = clamp(n->x, x), height = clamp(n->y, y);
        const bool left = at < (x.low + x.high) / 2;
        vs_text_add(o, "set label ");
        vs_script_quote(o, n->text);
        vs_text_add(o, " at first %.9g,first %.6g %s offset character %g,%g point pt 6 ps 1.1 lc rgb '%s' font ',9' front\n", at,
                    height, left ? "left" : "right", left ? 1.0 : -1.0, i ? 0.6 : -0.9, alarm_color);
    }
}

/* ------------------------------------------------------------------ legends */

static void add_entry(vs_text *o, vs_figure f, const vs_chart *c, const vs_chart_series *s, double x, double y) {
    const style *k = look(s->style);
    const double w = (double)f.width, v = 1 - y / (double)f.height;
    if (!c->dots)
        vs_text_add(o, "set arrow from screen %.5f,%.5f to screen %.5f,%.5f nohead lw 1.6 dt %s lc rgb '%s' front\n", x / w, v,
                    (x + SAMPLE) / w, v, k->dash, k->color);
    if (!c->steps)
        vs_text_add(o, "set label '' at screen %.5f,%.5f point pt %d ps 0.6 lc rgb '%s' front\n", (x + 0.5 * SAMPLE) / w, v,
                    k->marker, k->color);
    vs_script_label(o, f, s->name, x + SAMPLE + 6, y, VS_ALIGN_LEFT, 10, "#202020");
}

static void add_legend_above(vs_text *o, const vs_chart *c, const layout *l) {
    const vs_chart_series *entries[VS_CHART_STYLES];
    const size_t n = legend_entries(c, entries);
    for (size_t i = 0; i < n; i++) {
        const size_t line = i / l->legend_columns, first = line * l->legend_columns;
        const size_t here = n - first < l->legend_columns ? n - first : l->legend_columns;
        const double x =
            0.5 * ((double)l->figure.width - (double)(here * l->legend_cell)) + (double)((i - first) * l->legend_cell);
        add_entry(o, l->figure, c, entries[i], x + 8, HEADING + LEGEND_LINE * ((double)line + 0.4));
    }
}

/* ------------------------------------------------------------------ panels */

static void add_x_ticks(vs_text *o, const vs_chart *c, const vs_chart_panel *p, range x) {
    vs_text_add(o, "set format x '%%g'\nset xtics nomirror out scale 0.6 offset 0,0.35 ");
    if (p->x_names) {
        vs_text_add(o, "(");
        for (size_t i = 0; i < p->x_name_count; i++) {
            vs_text_add(o, "%s", i ? ", " : "");
            vs_script_quote(o, p->x_names[i]);
            vs_text_add(o, " %zu", i);
        }
        vs_text_add(o, ")\n");
    } else if (c->log_x) {
        vs_script_decades(o, x.low, x.high, true);
        vs_text_add(o, "\n");
    } else {
        const size_t step = vs_tick_step((size_t)fmin(fmax(x.high - x.low, 1), 1e9));
        vs_text_add(o, "%g,%zu\n", ceil(x.low / (double)step) * (double)step, step);
    }
}

static void add_axes(vs_text *o, const vs_chart *c, const vs_chart_panel *p, range x, range y, bool first, bool last_row) {
    vs_text_add(o, "unset logscale\nset xrange [%.9g:%.9g]\nset yrange [%.9g:%.9g]\n", x.low, x.high, y.low, y.high);
    if (c->log_x) vs_text_add(o, "set logscale x\n");
    if (c->log_y) vs_text_add(o, "set logscale y\n");
    add_x_ticks(o, c, p, x);
    vs_text_add(o, "set format y '%s'\nset ytics nomirror out scale 0.6 offset 0.4,0 ", first ? "%g" : "");
    if (c->log_y)
        vs_script_decades(o, y.low, y.high, first);
    else
        vs_text_add(o, "autofreq");
    vs_text_add(o, "\nunset xlabel\n");
    if (!last_row || (p->x_names && !c->dots) || !c->x_label) return;
    vs_text_add(o, "set xlabel ");
    vs_script_quote(o, c->x_label);
    vs_text_add(o, " offset 0,0.8 font ',10' tc rgb '#202020'\n");
}

/* At a fixed distance, however long the numbers are. */
static void add_y_name(vs_text *o, const vs_chart *c, const layout *l, double top) {
    vs_text_add(o, "set label ");
    vs_script_quote(o, c->y_label ? c->y_label : "");
    vs_text_add(o, " at screen %.5f,%.5f center rotate by 90 font ',10' tc rgb '#202020'\n", 16 / (double)l->figure.width,
                1 - (top + (double)c->panel_height / 2) / (double)l->figure.height);
}

/* Smaller where points are near, so that dashes show between them. */
static double marker_size(const vs_chart *c, const vs_chart_series *s) {
    static const double normal = 0.6, smallest = 0.3, roomy = 10;
    const double pitch = (double)c->panel_width / (double)(s->count > 1 ? s->count - 1 : 1);
    return fmax(smallest, fmin(normal, normal * pitch / roomy));
}

static void add_plot(vs_text *o, const vs_chart *c, const vs_chart_panel *p, const bool *any) {
    const char *comma = "plot ";
    for (size_t i = 0; i < p->series_count; i++) {
        const style *k = look(p->series[i].style);
        if (!any[i]) continue;
        const char *color = p->series[i].alarm ? alarm_color : k->color;
        vs_text_add(o, "%s$s%zu using 1:2 with %s lw %g dt %s lc rgb '%s'", comma, i,
                    c->dots    ? "points"
                    : c->steps ? "lines"
                               : "linespoints",
                    c->dots ? 1.0 : 1.6, c->dots ? "solid" : k->dash, color);
        if (!c->steps) vs_text_add(o, " pt %d ps %.2f", k->marker, c->dots ? dot_size : marker_size(c, &p->series[i]));
        comma = ", ";
    }
    vs_text_add(o, comma[0] == 'p' ? "plot -1e30 lc rgb 'white'\n" : "\n"); /* empty axes where nothing is finite */
}

static vs_status add_panel(vs_text *o, const vs_chart *c, const layout *l, size_t index, vs_error *err) {
    const vs_chart_panel *p = &c->panels[index];
    const size_t columns = l->columns, column = index % columns;
    const size_t row = index / columns;
    const double left = (double)column_left(c, columns, column), top = (double)(l->top + row * l->pitch_y + TITLE);
    const double w = (double)l->figure.width, h = (double)l->figure.height;
    const range x = x_range(c, p), y = y_range(c);
    bool *any = vs_calloc(p->series_count + 1, sizeof *any);
    if (!any) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    vs_text_add(o, "unset label\nunset arrow\nunset object\n");
    if (index == 0) {
        vs_script_heading(o, l->figure, c->heading);
        if (!c->legend_beside) add_legend_above(o, c, l);
        const size_t lines = vs_caption_lines(c->caption, l->letters);
        vs_script_caption(o, l->figure, c->caption, l->letters, h - 8 - VS_CAPTION_LINE * ((double)lines - 0.5));
    }
    vs_text_add(
        o, "set lmargin at screen %.5f\nset rmargin at screen %.5f\nset tmargin at screen %.5f\nset bmargin at screen %.5f\n",
        left / w, (left + (double)c->panel_width) / w, 1 - top / h, 1 - (top + (double)c->panel_height) / h);
    vs_script_label(o, l->figure, p->title, left + (double)c->panel_width / 2, top - 11, VS_ALIGN_CENTER, 11, "#101010");
    const bool below = index + columns < c->panel_count;
    add_axes(o, c, p, x, y, column == 0, !below);
    if (column == 0) add_y_name(o, c, l, top);
    add_rules(o, c, p, x);
    if (c->dots) add_level(o, c, y);
    add_notes(o, p, x, y);
    for (size_t i = 0; i < p->series_count; i++) {
        any[i] = add_series(o, c, &p->series[i], i, x, y);
        add_arrows(o, &p->series[i]);
        if (c->legend_beside)
            add_entry(o, l->figure, c, &p->series[i], left + (double)c->panel_width + 14, top + 10 + 19 * (double)i);
    }
    add_plot(o, c, p, any);
    free(any);
    return VS_OK;
}

static vs_status script(vs_text *o, const void *what, bool svg, const char *path, vs_error *err) {
    const vs_chart *c = what;
    const layout l = plan(c);
    vs_script_terminal(o, l.figure, svg, path);
    vs_text_add(o, "set border 3 lc rgb '#606060' lw 0.8\nset tics textcolor rgb '#303030' font ',9'\n"
                   "set grid ytics lt 1 lw 0.5 lc rgb '#dddddd'\nset multiplot\n");
    vs_status status = VS_OK;
    for (size_t p = 0; p < c->panel_count && status == VS_OK; p++) status = add_panel(o, c, &l, p, err);
    vs_text_add(o, "unset multiplot\nset output\n");
    if (status == VS_OK && o->failed) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a gnuplot script");
    return status;
}

vs_status vs_chart_draw(const vs_chart *c, const char *stem, const vs_render_options *options, vs_render_outcome *outcome,
                        vs_error *err) {
    *outcome = VS_RENDERED;
    if (c->panel_count == 0 || c->columns == 0 || c->panel_width == 0 || c->panel_height == 0)
        return vs_fail(err, VS_ERR_SHAPE, "%s: nothing to draw", stem);
    return vs_figure_draw(script, c, stem, options, outcome, err);
}
