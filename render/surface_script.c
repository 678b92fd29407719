#include "render/surface_script.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* Nominal pixels; ROOM holds heading, titles and the step's line, FOOT the axes' numbers and names. */
enum { PANEL_WIDTH = 430, COLORBOX_WIDTH = 90, ROOM = 165, BOX = 232, FOOT = 112 };
enum { MAX_TOKENS = 110, MAX_CHANNELS = 150 };
static const double log_decades = 6; /* a log axis shows at most so many below the maximum */

/* ------------------------------------------------------------------ text */

static size_t caption_letters(const vs_surface *s) {
    return (PANEL_WIDTH * s->panel_count + COLORBOX_WIDTH - 60) / VS_CAPTION_LETTER;
}

static size_t caption_lines(const vs_surface *s) { return vs_caption_lines(s->caption, caption_letters(s)); }

vs_figure vs_surface_figure(const vs_surface *s) {
    return (vs_figure){ PANEL_WIDTH * s->panel_count + COLORBOX_WIDTH, ROOM + BOX + FOOT + VS_CAPTION_LINE * caption_lines(s) };
}

static double from_top(const vs_surface *s, double pixels) { return 1 - pixels / (double)vs_surface_figure(s).height; }

static void add_label(vs_text *o, const vs_surface *s, const char *text, double x, double y, int size, const char *color) {
    const vs_figure figure = vs_surface_figure(s);
    vs_script_label(o, figure, text, x * (double)figure.width, y, VS_ALIGN_CENTER, size, color);
}

static void add_heading(vs_text *o, const vs_surface *s) {
    const vs_figure figure = vs_surface_figure(s);
    const double y = (double)figure.height - 8 - VS_CAPTION_LINE * ((double)caption_lines(s) - 0.5);
    add_label(o, s, s->heading, 0.5, 25, vs_heading_size(figure, s->heading, 15), "#101010");
    vs_script_caption(o, figure, s->caption, caption_letters(s), y);
}

/* ------------------------------------------------------------------ scales */

/* One scale for all panels, from the largest finite value and step. A log axis begins in the decade below the
 * smallest median or step, where the bulk lies. */
vs_scale vs_surface_scale(const vs_surface *s) {
    vs_scale z = { .logarithmic = s->log_z };
    for (size_t p = 0; p < s->panel_count; p++) {
        const vs_surface_panel *panel = &s->panels[p];
        for (size_t i = 0; i < s->tokens * s->channels; i++)
            if (isfinite(panel->values[i]) && (double)panel->values[i] > z.top) z.top = (double)panel->values[i];
        if (isfinite(panel->step) && panel->step > z.top) z.top = panel->step;
    }
    if (!(z.top > 0)) z.top = 1;
    if (!s->log_z) return z;
    double bulk = z.top / 10;
    for (size_t p = 0; p < s->panel_count; p++) {
        const double both[2] = { s->panels[p].median, s->panels[p].step };
        for (size_t i = 0; i < 2; i++)
            if (both[i] > 0 && both[i] < bulk) bulk = both[i];
    }
    z.low = fmax(pow(10, floor(log10(bulk / 2))), z.top * pow(10, -log_decades));
    return z;
}

static void add_palette(vs_text *o) {
    enum { ANCHORS = 9 };
    vs_text_add(o, "set palette defined (");
    for (size_t i = 0; i < ANCHORS; i++) {
        uint8_t c[3];
        vs_heat_color((double)i / (ANCHORS - 1), c);
        vs_text_add(o, "%s%zu '#%02x%02x%02x'", i ? ", " : "", i, c[0], c[1], c[2]);
    }
    vs_text_add(o, ")\n");
}

/* Heights are written once for the z axis and the colour bar. */
static void add_height_ticks(vs_text *o, const vs_scale *z) {
    static const char *const axes[] = { "ztics nomirror offset 0.3,0", "cbtics scale 0 offset -0.6,0" };
    for (size_t a = 0; a < 2; a++) {
        vs_text_add(o, "set %s ", axes[a]);
        if (!z->logarithmic) {
            vs_text_add(o, "%g\n", vs_round_step(z->top));
            continue;
        }
        vs_script_decades(o, z->low, z->top, true);
        vs_text_add(o, "\n");
    }
}

/* Marked tokens by name; neighbours too close to be written apart share one label, "cls-reg3". */
static void add_token_ticks(vs_text *o, const vs_surface *s) {
    const size_t near = s->tokens / 25, step = vs_tick_step(s->tokens);
    const char *comma = "";
    size_t after = step;
    vs_text_add(o, "set xtics nomirror offset -0.2,-0.3 (");
    for (size_t i = 0, j; i < s->mark_count; i = j) {
        for (j = i + 1; j < s->mark_count && s->marks[j].token <= s->marks[j - 1].token + near;) j++;
        vs_text_add(o, "%s", comma);
        comma = ", ";
        char *name =
            j - i > 1 ? vs_format("%s\xE2\x80\x93%s", s->marks[i].name, s->marks[j - 1].name) : vs_strdup(s->marks[i].name);
        if (!name)
            o->failed = true;
        else
            vs_script_quote(o, name);
        free(name);
        vs_text_add(o, " %zu", s->marks[i].token);
        while (after <= s->marks[j - 1].token + 2 * near) after += step;
    }
    if (s->mark_count == 0) after = 0;
    for (size_t t = after; t < s->tokens; t += step, comma = ", ") vs_text_add(o, "%s'%zu' %zu", comma, t, t);
    vs_text_add(o, ")\n");
}

static double last_of(size_t n) { return n > 1 ? (double)(n - 1) : 1; }

static void add_ranges(vs_text *o, const vs_surface *s, const vs_scale *z) {
    vs_text_add(o, "set xrange [0:%g]\nset yrange [0:%g]\nset zrange [%.9g:%.9g]\nset cbrange [%.9g:%.9g]\n", last_of(s->tokens),
                last_of(s->channels), z->low, z->top, z->low, z->top);
    vs_text_add(o, "set xyplane at %.9g\nset view 56, 325, 1, 1\n", z->low);
    if (z->logarithmic) vs_text_add(o, "set logscale z\nset logscale cb\n");
}

static void hide_axes(vs_text *o) {
    vs_text_add(o, "unset border\nunset tics\nunset xlabel\nunset ylabel\nunset colorbox\nunset label\n");
}

static void show_axes(vs_text *o, const vs_surface *s, const vs_scale *z) {
    const size_t step = vs_tick_step(s->channels);
    vs_text_add(o, "set border 21 lc rgb '#909090' lw 0.6\nset tics textcolor rgb '#303030' font ',9'\n");
    vs_text_add(o, "set xlabel 'token' offset 0,-0.2 font ',10' tc rgb '#303030' rotate parallel\n"
                   "set ylabel 'channel' offset 0,-0.2 font ',10' tc rgb '#303030' rotate parallel\n");
    add_token_ticks(o, s);
    vs_text_add(o, "set ytics nomirror offset 0.4,-0.3 %zu,%zu\n", step, step);
    add_height_ticks(o, z);
}

/* ------------------------------------------------------------------ cells */

typedef struct cells {
    size_t rows, cols; /* tokens, channels; at least 2: a line is drawn as a strip */
    double *token, *channel, *height;
} cells;

static void free_cells(cells *g) {
    free(g->token);
    free(g->channel);
    free(g->height);
    *g = (cells){ 0 };
}

/* Places of `count` cells along an axis of n, from its first to its last number. */
static void place_cells(double *at, size_t count, size_t n) {
    for (size_t i = 0; i < count; i++) {
        const size_t place = n > 1 ? i * (n - 1) / (count - 1) : i;
        at[i] = (double)place;
    }
}

/* The panel's maxima on a bounded grid; what is not finite stands at the top. */
static vs_status make_cells(cells *g, const vs_surface *s, size_t panel, const vs_scale *z, vs_error *err) {
    const size_t t = s->tokens < MAX_TOKENS ? s->tokens : MAX_TOKENS, c = s->channels < MAX_CHANNELS ? s->channels : MAX_CHANNELS;
    float *pooled = vs_calloc(t * c, sizeof *pooled);
    *g = (cells){ .rows = t > 1 ? t : 2, .cols = c > 1 ? c : 2 };
    g->token = vs_calloc(g->rows, sizeof *g->token);
    g->channel = vs_calloc(g->cols, sizeof *g->channel);
    g->height = vs_calloc(g->rows * g->cols, sizeof *g->height);
    if (!pooled || !g->token || !g->channel || !g->height) {
        free(pooled);
        free_cells(g);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
    }
    vs_decimate_max(s->panels[panel].values, s->tokens, s->channels, pooled, t, c);
    place_cells(g->token, g->rows, s->tokens);
    place_cells(g->channel, g->cols, s->channels);
    for (size_t i = 0; i < g->rows; i++)
        for (size_t j = 0; j < g->cols; j++) {
            const double v = (double)pooled[(t > 1 ? i : 0) * c + (c > 1 ? j : 0)];
            g->height[i * g->cols + j] = !isfinite(v) || v > z->top ? z->top : v < z->low ? z->low : v;
        }
    free(pooled);
    return VS_OK;
}

static bool rises_near(const cells *g, size_t i, size_t j, double step) {
    for (size_t a = i > 0 ? i - 1 : 0; a <= i + 1 && a < g->rows; a++)
        for (size_t b = j > 0 ? j - 1 : 0; b <= j + 1 && b < g->cols; b++)
            if (g->height[a * g->cols + b] > step) return true;
    return false;
}

/* A data block of gnuplot's nonuniform matrices: the cells, cut at `step` from above (BELOW) or from below (ABOVE, with
 * holes where nothing rises). */
typedef enum part { WHOLE, BELOW, ABOVE } part;

static void add_cells(vs_text *o, const char *name, size_t panel, const cells *g, part which, double step) {
    vs_text_add(o, "$%s%zu << EOD\n%zu", name, panel, g->rows);
    for (size_t i = 0; i < g->rows; i++) vs_text_add(o, " %.9g", g->token[i]);
    for (size_t j = 0; j < g->cols; j++) {
        vs_text_add(o, "\n%.9g", g->channel[j]);
        for (size_t i = 0; i < g->rows; i++) {
            const double v = g->height[i * g->cols + j];
            if (which == ABOVE && !rises_near(g, i, j, step))
                vs_text_add(o, " NaN");
            else
                vs_text_add(o, " %.4g", which == BELOW ? fmin(v, step) : which == ABOVE ? fmax(v, step) : v);
        }
    }
    vs_text_add(o, "\nEOD\n");
}

static bool has_plane(const vs_surface *s, size_t panel, const vs_scale *z) {
    const double step = s->panels[panel].step;
    return step > z->low && isfinite(step);
}

static vs_status add_data(vs_text *o, const vs_surface *s, size_t panel, const vs_scale *z, vs_error *err) {
    cells g;
    const vs_status status = make_cells(&g, s, panel, z, err);
    if (status != VS_OK) return status;
    const double step = s->panels[panel].step;
    if (has_plane(s, panel, z)) {
        add_cells(o, "below", panel, &g, BELOW, step);
        add_cells(o, "above", panel, &g, ABOVE, step);
    } else {
        add_cells(o, "cells", panel, &g, WHOLE, 0);
    }
    free_cells(&g);
    return VS_OK;
}

/* ------------------------------------------------------------------ panels */

static void add_titles(vs_text *o, const vs_surface *s, size_t p, double middle) {
    const vs_surface_panel *panel = &s->panels[p];
    char text[128];
    add_label(o, s, panel->title, middle, 58, 13, "#101010");
    snprintf(text, sizeof text, "max %.4g,  median %.3g", panel->max, panel->median);
    add_label(o, s, text, middle, 78, 10, "#404040");
    if (!(panel->step > 0)) return;
    snprintf(text, sizeof text, "plane: quantizer step %.3g", panel->step);
    add_label(o, s, text, middle, 95, 10, "#c0392b");
}

/* Drawn twice: between the antialiased edges of neighbours what lies behind would shine through. */
static void splot(vs_text *o, const char *name, size_t panel) {
    vs_text_add(o, "splot $corner nonuniform matrix with pm3d");
    for (size_t i = 0; i < 2; i++) vs_text_add(o, ", $%s%zu nonuniform matrix with pm3d", name, panel);
    vs_text_add(o, "\n");
}

/* Seen from above, all that lies above a plane hides it and all below is behind it: three layers, back to front. */
static void add_surface(vs_text *o, const vs_surface *s, size_t p, const vs_scale *z) {
    if (!has_plane(s, p, z)) {
        splot(o, "cells", p);
        return;
    }
    const double x = last_of(s->tokens), y = last_of(s->channels), h = s->panels[p].step;
    splot(o, "below", p);
    hide_axes(o);
    vs_text_add(o,
                "set object 1 polygon from 0,0,%.9g to %g,0,%.9g to %g,%g,%.9g to 0,%g,%.9g to 0,0,%.9g back fs transparent "
                "solid 0.28 border lc rgb '#c0392b' fc rgb '#c0392b' lw 0.7\n",
                h, x, h, x, y, h, y, h, h);
    splot(o, "above", p);
    vs_text_add(o, "unset object 1\n");
}

static void add_panel(vs_text *o, const vs_surface *s, vs_surface_layer layer, size_t p, const vs_scale *z) {
    const vs_figure figure = vs_surface_figure(s);
    const double left = (double)(PANEL_WIDTH * p) / (double)figure.width, width = (double)PANEL_WIDTH / (double)figure.width;
    vs_text_add(
        o, "set lmargin at screen %.5f\nset rmargin at screen %.5f\nset bmargin at screen %.5f\nset tmargin at screen %.5f\n",
        left + 0.27 * width, left + 0.83 * width, from_top(s, ROOM + BOX), from_top(s, ROOM));
    hide_axes(o);
    if (layer != VS_LAYER_RASTER) {
        show_axes(o, s, z);
        if (p == 0) add_heading(o, s);
        add_titles(o, s, p, left + 0.53 * width);
        if (p + 1 == s->panel_count)
            vs_text_add(o, "set colorbox user origin screen %.5f,%.5f size screen %.5f,%.5f noborder\n",
                        1 - 0.80 * COLORBOX_WIDTH / (double)figure.width, from_top(s, ROOM + BOX), 13.0 / (double)figure.width,
                        BOX / (double)figure.height);
    }
    if (layer == VS_LAYER_VECTOR) /* an invisible surface keeps the axes and the colour bar */
        vs_text_add(o, "splot $corner nonuniform matrix with pm3d\n");
    else
        add_surface(o, s, p, z);
}

static void add_terminal(vs_text *o, const vs_surface *s, vs_surface_layer layer, size_t zoom, const char *path) {
    const vs_figure figure = vs_surface_figure(s);
    if (layer == VS_LAYER_VECTOR)
        vs_text_add(o, "set terminal svg size %zu,%zu font 'sans-serif,11' noenhanced\n", figure.width, figure.height);
    else
        vs_text_add(o, "set terminal pngcairo size %zu,%zu font 'sans-serif,11' fontscale %zu linewidth %zu noenhanced %s\n",
                    figure.width * zoom, figure.height * zoom, zoom, zoom,
                    layer == VS_LAYER_RASTER ? "transparent" : "background 'white'");
    vs_text_add(o, "set output ");
    vs_script_path(o, path);
    vs_text_add(o, "\nset encoding utf8\nset pm3d depthorder corners2color max border lw 0.1 lc rgb '#202020'\nunset key\n");
    add_palette(o);
}

vs_status vs_surface_script(vs_text *o, const vs_surface *s, vs_surface_layer layer, size_t zoom, const char *path,
                            vs_error *err) {
    const vs_scale z = vs_surface_scale(s);
    add_terminal(o, s, layer, zoom, path);
    for (size_t p = 0; p < s->panel_count && layer != VS_LAYER_VECTOR; p++) {
        const vs_status status = add_data(o, s, p, &z, err);
        if (status != VS_OK) return status;
    }
    vs_text_add(o, "$corner << EOD\n2 0 1e-9\n0 %.9g %.9g\n1e-9 %.9g %.9g\nEOD\n", z.low, z.low, z.low, z.low);
    vs_text_add(o, "set multiplot\n");
    add_ranges(o, s, &z);
    for (size_t p = 0; p < s->panel_count; p++) add_panel(o, s, layer, p, &z);
    vs_text_add(o, "unset multiplot\nset output\n");
    return o->failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a gnuplot script") : VS_OK;
}
