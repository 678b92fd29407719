/* Two rankings side by side. The plot's coordinates are the figure's nominal pixels. */
#include <math.h>
#include <stdlib.h>

#include "render/figure.h"

enum { WIDTH = 760, AXIS = 250, TOP = 100, HEIGHT = 520, FOOT = 24, LABEL_LINE = 16, LEADER = 52 };
static const double left_axis = AXIS, right_axis = WIDTH - AXIS;

typedef struct end_label {
    const vs_slope *slope;
    double axis, label; /* heights of the end and of its label */
} end_label;

static size_t letters(void) { return (WIDTH - 40) / VS_CAPTION_LETTER; }

static vs_figure figure_of(const vs_slopes *s) {
    return (vs_figure){ WIDTH, TOP + HEIGHT + FOOT + VS_CAPTION_LINE * vs_caption_lines(s->caption, letters()) + 8 };
}

static double height_of(size_t rank, size_t count) {
    return TOP + (count > 1 ? HEIGHT * (double)(rank - 1) / (double)(count - 1) : 0);
}

static bool drawn(const vs_slopes *s, const vs_slope *x) {
    return x->left > 0 && x->left <= s->left_count && x->right > 0 && x->right <= s->right_count;
}

/* Blank lines part the segments. False: there is none. */
static bool add_segments(vs_text *o, const vs_slopes *s, bool marked) {
    bool any = false;
    vs_text_add(o, "$%s << EOD\n", marked ? "strong" : "thin");
    for (size_t i = 0; i < s->slope_count; i++) {
        const vs_slope *x = &s->slopes[i];
        if (x->marked != marked || !drawn(s, x)) continue;
        vs_text_add(o, "%s%g %.6g\n%g %.6g\n", any ? "\n" : "", left_axis, height_of(x->left, s->left_count), right_axis,
                    height_of(x->right, s->right_count));
        any = true;
    }
    vs_text_add(o, "EOD\n");
    return any;
}

/* Labels in order of height, pushed down from their neighbours and back up from the lower edge. */
static void spread(end_label *ends, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const end_label x = ends[i];
        size_t j = i;
        for (; j > 0 && ends[j - 1].axis > x.axis; j--) ends[j] = ends[j - 1];
        ends[j] = x;
    }
    for (size_t i = 0; i < n; i++) {
        ends[i].label = ends[i].axis;
        if (i > 0) ends[i].label = fmax(ends[i].label, ends[i - 1].label + LABEL_LINE);
    }
    double limit = TOP + HEIGHT + 8;
    for (size_t i = n; i-- > 0; limit = ends[i].label - LABEL_LINE) ends[i].label = fmin(ends[i].label, limit);
}

static void add_end(vs_text *o, vs_figure f, const end_label *e, bool left) {
    const double outward = left ? -1 : 1, axis = left ? left_axis : right_axis;
    const size_t rank = left ? e->slope->left : e->slope->right;
    const double from = axis + outward * 5, to = axis + outward * LEADER;
    vs_text_add(o, "set arrow from %g,%.6g to %g,%.6g nohead lw 0.7 lc rgb '#606060'\n", from, e->axis, to, e->label);
    char *text = left ? vs_format("%s  %zu", e->slope->name, rank) : vs_format("%zu  %s", rank, e->slope->name);
    if (text)
        vs_script_label(o, f, text, to + outward * 4, e->label, left ? VS_ALIGN_RIGHT : VS_ALIGN_LEFT, 10, "#101010");
    else
        o->failed = true;
    free(text);
}

static bool crosses(const end_label *ends, size_t n, double y) {
    for (size_t i = 0; i < n; i++)
        if (y > fmin(ends[i].axis, ends[i].label) - 9 && y < fmax(ends[i].axis, ends[i].label) + 9) return true;
    return false;
}

/* The axis with round ranks beside it, as far as the marked ends leave room. */
static void add_axis(vs_text *o, const vs_slopes *s, bool left, const end_label *ends, size_t n) {
    const vs_figure f = figure_of(s);
    const double outward = left ? -1 : 1, x = left ? left_axis : right_axis;
    const size_t count = left ? s->left_count : s->right_count, nice = vs_tick_step(count), step = nice < 5 ? 5 : nice;
    vs_text_add(o, "set arrow from %g,%d to %g,%d nohead lw 1.2 lc rgb '#303030' front\n", x, TOP, x, TOP + HEIGHT);
    for (size_t rank = 1; rank <= count; rank = rank == 1 ? step : rank + step) {
        char text[24];
        const double y = height_of(rank, count);
        if (crosses(ends, n, y)) continue;
        snprintf(text, sizeof text, "%zu", rank);
        vs_text_add(o, "set arrow from %g,%.6g to %g,%.6g nohead lw 0.8 lc rgb '#303030'\n", x, y, x + outward * 4, y);
        vs_script_label(o, f, text, x + outward * 7, y, left ? VS_ALIGN_RIGHT : VS_ALIGN_LEFT, 8, "#606060");
    }
    vs_script_label(o, f, left ? s->left_title : s->right_title, x, TOP - 42, VS_ALIGN_CENTER, 12, "#101010");
    vs_script_label(o, f, "rank 1 = worst", x, TOP - 22, VS_ALIGN_CENTER, 9, "#606060");
}

static vs_status add_side(vs_text *o, const vs_slopes *s, bool left, vs_error *err) {
    end_label *ends = vs_calloc(s->slope_count + 1, sizeof *ends);
    size_t n = 0;
    if (!ends) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    for (size_t i = 0; i < s->slope_count; i++) {
        const vs_slope *x = &s->slopes[i];
        if (!x->marked || !drawn(s, x)) continue;
        ends[n++] =
            (end_label){ .slope = x, .axis = left ? height_of(x->left, s->left_count) : height_of(x->right, s->right_count) };
    }
    spread(ends, n);
    for (size_t i = 0; i < n; i++) add_end(o, figure_of(s), &ends[i], left);
    add_axis(o, s, left, ends, n);
    free(ends);
    return VS_OK;
}

static vs_status script(vs_text *o, const void *what, bool svg, const char *path, vs_error *err) {
    const vs_slopes *s = what;
    const vs_figure f = figure_of(s);
    const size_t lines = vs_caption_lines(s->caption, letters());
    vs_script_terminal(o, f, svg, path);
    vs_text_add(o,
                "unset border\nunset tics\nset lmargin at screen 0\nset rmargin at screen 1\nset tmargin at screen 1\n"
                "set bmargin at screen 0\nset xrange [0:%zu]\nset yrange [%zu:0]\n",
                f.width, f.height);
    vs_script_heading(o, f, s->heading);
    vs_script_caption(o, f, s->caption, letters(), (double)f.height - 8 - VS_CAPTION_LINE * ((double)lines - 0.5));
    for (int left = 0; left < 2; left++) {
        const vs_status status = add_side(o, s, left == 1, err);
        if (status != VS_OK) return status;
    }
    const bool thin = add_segments(o, s, false), strong = add_segments(o, s, true);
    vs_text_add(o, "plot ");
    if (thin) vs_text_add(o, "$thin using 1:2 with lines lw %g lc rgb '#b4b4b4'", s->slope_count > 100 ? 0.5 : 0.8);
    if (strong) vs_text_add(o, "%s$strong using 1:2 with linespoints lw 2 pt 7 ps 0.6 lc rgb '#a31515'", thin ? ", " : "");
    if (!thin && !strong) vs_text_add(o, "-1e30");
    vs_text_add(o, "\nset output\n");
    return o->failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a gnuplot script") : VS_OK;
}

vs_status vs_slopes_draw(const vs_slopes *s, const char *stem, const vs_render_options *options, vs_render_outcome *outcome,
                         vs_error *err) {
    *outcome = VS_RENDERED;
    if (s->slope_count == 0) return vs_fail(err, VS_ERR_SHAPE, "%s: nothing to draw", stem);
    return vs_figure_draw(script, s, stem, options, outcome, err);
}
