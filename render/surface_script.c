#include "surface_script.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

enum { PANEL_WIDTH = 430, COLORBOX_WIDTH = 90, FIGURE_HEIGHT = 480, MAX_TOKENS = 110, MAX_CHANNELS = 150, CAPTION_LETTER = 7 };
static const double log_decades = 5; /* a log axis shows so many below the maximum */

vs_figure vs_surface_figure(const vs_surface *s) {
    return (vs_figure){ PANEL_WIDTH * s->panel_count + COLORBOX_WIDTH, FIGURE_HEIGHT };
}

/* The common scale: the largest finite value of all panels and their steps. */
static double top_of(const vs_surface *s) {
    double top = 0;
    for (size_t p = 0; p < s->panel_count; p++) {
        const size_t n = s->tokens * s->channels;
        for (size_t i = 0; i < n; i++)
            if (isfinite(s->panels[p].values[i]) && (double)s->panels[p].values[i] > top) top = (double)s->panels[p].values[i];
        if (s->panels[p].step > top) top = s->panels[p].step;
    }
    return top > 0 ? top : 1;
}

/* A round step that gives four to eight ticks. */
static size_t tick_step(size_t n) {
    static const size_t nice[] = { 1, 2, 5 };
    for (size_t decade = 1;; decade *= 10)
        for (size_t i = 0; i < 3; i++)
            if (n / (nice[i] * decade) <= 5) return nice[i] * decade;
}

/* The same for a height: 1, 2 or 5 times a power of ten. */
static double round_step(double top) {
    const double decade = pow(10, floor(log10(top / 5)));
    return top / 5 <= 2 * decade ? 2 * decade : top / 5 <= 5 * decade ? 5 * decade : 10 * decade;
}

static void add_palette(vs_script *o) { /* viridis, its published anchor colours: even in lightness, readable in grey */
    vs_script_add(o, "set palette defined (0 '#440154', 1 '#472d7b', 2 '#3b528b', 3 '#2c728e', 4 '#21918c', 5 '#28ae80', 6 "
                     "'#5ec962', 7 '#addc30', 8 '#fde725')\n");
}

static void add_axes(vs_script *o, const vs_surface *s, double low, double top, bool visible) {
    const double last_token = s->tokens > 1 ? (double)(s->tokens - 1) : 1,
                 last_channel = s->channels > 1 ? (double)(s->channels - 1) : 1;
    vs_script_add(o, "set xrange [0:%g]\nset yrange [0:%g]\nset zrange [%g:%g]\nset cbrange [%g:%g]\n", last_token, last_channel,
                  low, top, low, top);
    vs_script_add(o, "set xyplane at %g\nset view 58, 325, 1, 1\n", low);
    if (s->log_z) vs_script_add(o, "set logscale z\nset logscale cb\n");
    if (!visible) {
        vs_script_add(o, "unset border\nunset tics\nunset colorbox\n");
        return;
    }
    vs_script_add(o, "set border 21 lc rgb '#909090' lw 0.6\nset tics textcolor rgb '#303030' font ',9'\n");
    vs_script_add(o, "set xlabel 'token' offset 0,-0.4 font ',10'\nset ylabel 'channel' offset 0,-0.4 font ',10'\n");
    const size_t token_step = tick_step(s->tokens), channel_step = tick_step(s->channels);
    vs_script_add(o, "set xtics offset -0.2,-0.3 (");
    for (size_t i = 0; i < s->mark_count; i++) { /* registers lie beside CLS: only the first and the last are written */
        if (i > 0 && i + 1 < s->mark_count) continue;
        vs_script_quote(o, s->marks[i].name);
        vs_script_add(o, " %zu, ", s->marks[i].token);
    }
    for (size_t t = token_step; t < s->tokens; t += token_step) vs_script_add(o, "%s'%zu' %zu", t > token_step ? ", " : "", t, t);
    if (token_step >= s->tokens) vs_script_add(o, "'' 0");
    vs_script_add(o, ")\nset ytics offset 0.4,-0.3 %zu,%zu\n", channel_step, channel_step);
    if (s->log_z)
        vs_script_add(o, "set ztics 10 format '%%.0e'\nset cbtics 10 format '%%.0e'\n");
    else
        vs_script_add(o, "set ztics %g\nset cbtics %g\n", round_step(top), round_step(top));
}

/* One panel's cells: rows of channels with their coordinates, as gnuplot's nonuniform matrix. */
static vs_status add_data(vs_script *o, const vs_surface *s, size_t panel, double low, double top, vs_error *err) {
    const size_t t = s->tokens < MAX_TOKENS ? s->tokens : MAX_TOKENS, c = s->channels < MAX_CHANNELS ? s->channels : MAX_CHANNELS;
    float *cells = vs_calloc(t * c, sizeof *cells);
    if (!cells) return vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
    vs_decimate_max(s->panels[panel].values, s->tokens, s->channels, cells, t, c);
    const size_t rows = t > 1 ? t : 2, cols = c > 1 ? c : 2; /* a line is drawn as a strip */
    vs_script_add(o, "$p%zu << EOD\n%zu", panel, rows);
    for (size_t i = 0; i < rows; i++) vs_script_add(o, " %zu", t > 1 ? i * (s->tokens - 1) / (t - 1) : i);
    vs_script_add(o, "\n");
    for (size_t j = 0; j < cols; j++) {
        vs_script_add(o, "%zu", c > 1 ? j * (s->channels - 1) / (c - 1) : j);
        for (size_t i = 0; i < rows; i++) {
            double v = (double)cells[(t > 1 ? i : 0) * c + (c > 1 ? j : 0)];
            if (!isfinite(v) || v > top) v = top;
            vs_script_add(o, " %.4g", v < low ? low : v);
        }
        vs_script_add(o, "\n");
    }
    vs_script_add(o, "EOD\n");
    free(cells);
    return VS_OK;
}

/* A plane as a mesh that the surface can hide and pierce. */
static void add_step_plane(vs_script *o, const vs_surface *s, size_t panel) {
    enum { LINES = 8 };
    const double step = s->panels[panel].step, x = s->tokens > 1 ? (double)(s->tokens - 1) : 1,
                 y = s->channels > 1 ? (double)(s->channels - 1) : 1;
    vs_script_add(o, "$s%zu << EOD\n%d", panel, LINES + 1);
    for (int i = 0; i <= LINES; i++) vs_script_add(o, " %g", x * i / LINES);
    vs_script_add(o, "\n");
    for (int j = 0; j <= LINES; j++) {
        vs_script_add(o, "%g", y * j / LINES);
        for (int i = 0; i <= LINES; i++) vs_script_add(o, " %.6g", step);
        vs_script_add(o, "\n");
    }
    vs_script_add(o, "EOD\n");
}

/* Words of the caption in lines of at most `letters`, from the bottom up. */
static void add_caption(vs_script *o, const char *caption, size_t letters) {
    char line[512];
    const size_t limit = letters < sizeof line - 1 ? letters : sizeof line - 1, length = strlen(caption);
    const size_t lines = (length + limit - 1) / limit;
    double y = 0.015 + 0.035 * (double)lines;
    while (*caption) {
        size_t n = strlen(caption);
        if (n > limit) {
            n = limit;
            while (n > 0 && caption[n] != ' ') n--;
            if (n == 0) n = limit;
        }
        memcpy(line, caption, n);
        line[n] = '\0';
        vs_script_add(o, "set label ");
        vs_script_quote(o, line);
        vs_script_add(o, " at screen 0.5,%g center font ',10' tc rgb '#404040' noenhanced\n", y);
        y -= 0.038;
        caption += n + (caption[n] == ' ');
    }
}

static void add_panel(vs_script *o, const vs_surface *s, vs_surface_layer layer, size_t p, double low) {
    const vs_figure figure = vs_surface_figure(s);
    const vs_surface_panel *panel = &s->panels[p];
    const double left = (double)(PANEL_WIDTH * p) / (double)figure.width, width = (double)PANEL_WIDTH / (double)figure.width;
    vs_script_add(
        o, "set lmargin at screen %.5f\nset rmargin at screen %.5f\nset bmargin at screen 0.30\nset tmargin at screen 0.80\n",
        left + 0.27 * width, left + 0.83 * width);
    if (layer != VS_LAYER_RASTER) {
        char title[256];
        snprintf(title, sizeof title, "max %.4g    median %.3g", panel->max, panel->median);
        vs_script_add(o, "set label 11 ");
        vs_script_quote(o, panel->title);
        vs_script_add(o, " at screen %.5f,0.885 center font ',13' tc rgb '#101010' noenhanced\nset label 12 ",
                      left + 0.53 * width);
        vs_script_quote(o, title);
        vs_script_add(o, " at screen %.5f,0.842 center font ',10' tc rgb '#404040'\n", left + 0.53 * width);
        if (panel->step > 0) {
            snprintf(title, sizeof title, "grid step %.3g", panel->step);
            vs_script_add(o, "set label 13 ");
            vs_script_quote(o, title);
            vs_script_add(o, " at screen %.5f,0.808 center font ',10' tc rgb '#c0392b'\n", left + 0.53 * width);
        } else {
            vs_script_add(o, "unset label 13\n");
        }
    }
    const bool last = p + 1 == s->panel_count;
    if (layer != VS_LAYER_RASTER && last)
        vs_script_add(o, "set colorbox user origin screen %.5f,0.22 size screen %.5f,0.5 noborder\n",
                      1 - 0.80 * COLORBOX_WIDTH / (double)figure.width, 14.0 / (double)figure.width);
    else
        vs_script_add(o, "unset colorbox\n");
    if (layer == VS_LAYER_VECTOR) { /* an invisible surface keeps the axes and the colour bar */
        vs_script_add(o, "splot $corner nonuniform matrix using 1:2:(%.6g):(%.6g) with pm3d notitle\n", low, low);
        return;
    }
    vs_script_add(o, "splot $p%zu nonuniform matrix using 1:2:3 with pm3d notitle", p);
    if (panel->step > 0) vs_script_add(o, ", $s%zu nonuniform matrix using 1:2:3 with lines lc rgb '#c0392b' lw 0.7 notitle", p);
    vs_script_add(o, "\n");
}

vs_status vs_surface_script(vs_script *o, const vs_surface *s, vs_surface_layer layer, size_t zoom, const char *path,
                            vs_error *err) {
    const vs_figure figure = vs_surface_figure(s);
    const double top = top_of(s), low = s->log_z ? top * pow(10, -log_decades) : 0;
    if (layer == VS_LAYER_VECTOR)
        vs_script_add(o, "set terminal svg size %zu,%zu font 'sans,11' noenhanced\n", figure.width, figure.height);
    else
        vs_script_add(o, "set terminal pngcairo size %zu,%zu font 'sans,11' fontscale %zu linewidth %zu noenhanced %s\n",
                      figure.width * zoom, figure.height * zoom, zoom, zoom,
                      layer == VS_LAYER_RASTER ? "transparent" : "background 'white'");
    vs_script_add(o, "set output ");
    vs_script_quote(o, path);
    vs_script_add(o, "\nset encoding utf8\nset pm3d depthorder corners2color max border lw 0.1 lc rgb '#202020'\nunset key\n");
    add_palette(o);
    vs_status status = VS_OK;
    for (size_t p = 0; p < s->panel_count && layer != VS_LAYER_VECTOR && status == VS_OK; p++) {
        status = add_data(o, s, p, low, top, err);
        if (s->panels[p].step > 0) add_step_plane(o, s, p);
    }
    if (status != VS_OK) return status;
    if (layer == VS_LAYER_VECTOR) vs_script_add(o, "$corner << EOD\n2 0 1e-9\n0 0 0\n1e-9 0 0\nEOD\n");
    vs_script_add(o, "set multiplot\n");
    add_axes(o, s, low, top, layer != VS_LAYER_RASTER);
    for (size_t p = 0; p < s->panel_count; p++) {
        if (p == 0 && layer != VS_LAYER_RASTER) {
            vs_script_add(o, "set label ");
            vs_script_quote(o, s->heading);
            vs_script_add(o, " at screen 0.5,0.955 center font ',15' tc rgb '#101010' noenhanced\n");
            if (s->caption) add_caption(o, s->caption, figure.width / CAPTION_LETTER);
        }
        add_panel(o, s, layer, p, low);
        if (p == 0 && layer != VS_LAYER_RASTER) vs_script_add(o, "unset label\n");
    }
    vs_script_add(o, "unset multiplot\nset output\n");
    return o->failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a gnuplot script") : VS_OK;
}
