/* Pictures. Knows arrays and captions, no models: the caller says what a token or a state is called. */
#ifndef VS_RENDER_H
#define VS_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

/* One |x| surface: values [tokens, channels] row-major, non-negative (NaN and infinities are drawn at the top). Borrowed. */
typedef struct vs_surface_panel {
    const float *values;
    const char *title;  /* "fp32", "ptq", "sq 0.5" */
    double max, median; /* of these values, for the title */
    double step;        /* > 0: drawn as a translucent plane (the quantizer's step) */
} vs_surface_panel;

/* A token worth marking on the axis: "cls" at 0, "reg0" at 1... */
typedef struct vs_token_mark {
    size_t token;
    const char *name;
} vs_token_mark;

typedef struct vs_surface {
    const char *heading; /* "blocks.11.mlp.fc2  |output|, scene 0" */
    const char *caption; /* a sentence made from the numbers by the caller; may be NULL */
    size_t tokens, channels;
    const vs_surface_panel *panels;
    size_t panel_count;
    const vs_token_mark *marks;
    size_t mark_count;
    bool log_z;
} vs_surface;

typedef struct vs_render_options {
    const char *gnuplot; /* program, NULL for "gnuplot" on PATH */
    bool png, svg;
} vs_render_options;

typedef enum vs_render_outcome { VS_RENDERED, VS_RENDER_NO_GNUPLOT } vs_render_outcome;

/* Draws the panels side by side on one z and one colour scale into <stem>.png and <stem>.svg.
 * Without gnuplot: VS_OK, *outcome says so, and <stem>.gp (script with its data inline) is left for later.
 * gnuplot failing is VS_ERR_IO with its complaint. */
VS_NODISCARD vs_status vs_surface_draw(const vs_surface *surface, const char *stem, const vs_render_options *options,
                                       vs_render_outcome *outcome, vs_error *err);

/* Reduces [tokens, channels] to at most out_tokens x out_channels cells, each the maximum of what it covers. */
void vs_decimate_max(const float *in, size_t tokens, size_t channels, float *out, size_t out_tokens, size_t out_channels);

/* Every panel as a token x channel image on one colour scale (linear or logarithmic as the surface) with a colour bar, the
 * marked tokens, the step on the bar and arrows at the maximum's row and column. paths [panel_count], PNG. Large matrices are
 * reduced by maximum, small ones enlarged by whole numbers. */
VS_NODISCARD vs_status vs_heatmaps_draw(const vs_surface *surface, const char *const *paths, vs_error *err);

/* ---- charts, readable without colour: a style is a dash, a marker and a lightness ---- */

/* One line. NaN leaves a gap; an infinite y stands at the edge of the panel as an arrowhead. */
typedef struct vs_chart_series {
    const char *name;
    size_t style;    /* equal styles look equal in every panel; VS_CHART_STYLES differ */
    const double *x; /* [count] rising; with vs_chart.steps [count + 1] edges */
    const double *y; /* [count] */
    size_t count;
    bool alarm; /* red, and not in the legend above */
} vs_chart_series;
enum { VS_CHART_STYLES = 8 };

/* A vertical line at x in the look of a style, its name written along it. */
typedef struct vs_chart_rule {
    double x;
    const char *name;
    size_t style;
    bool right; /* the name stands right of the line */
} vs_chart_rule;

/* A point picked out: a ring at (x, y) and its name beside it. */
typedef struct vs_chart_note {
    double x, y;
    const char *text;
} vs_chart_note;

typedef struct vs_chart_panel {
    const char *title;
    const vs_chart_series *series;
    size_t series_count;
    const vs_chart_rule *rules;
    size_t rule_count;
    const char *const *x_names; /* names of x = 0, 1, ...; NULL: numbers */
    size_t x_name_count;
    double x_low, x_high;       /* low >= high: from the data */
    const vs_chart_note *notes; /* with vs_chart.dots; the first stands lowest */
    size_t note_count;
} vs_chart_panel;

/* Panels in rows of `columns` on one y scale, from the data where y_low >= y_high. */
typedef struct vs_chart {
    const char *heading, *caption, *x_label, *y_label;
    const vs_chart_panel *panels;
    size_t panel_count, columns;
    size_t panel_width, panel_height; /* nominal pixels inside the axes */
    double y_low, y_high;
    bool log_x, log_y;  /* values at or below a logarithmic axis stand on it */
    bool steps;         /* y holds between edges, drawn as stairs without markers */
    bool legend_beside; /* right of each panel, which has its own names; otherwise one above all */
    bool dots;          /* markers alone, and a line at y = level with a red ground below it */
    double level;
} vs_chart;
VS_NODISCARD vs_status vs_chart_draw(const vs_chart *chart, const char *stem, const vs_render_options *options,
                                     vs_render_outcome *outcome, vs_error *err);

/* Two rankings joined by lines, rank 1 on top. */
typedef struct vs_slope {
    const char *name;
    size_t left, right; /* ranks from 1 */
    bool marked;        /* drawn strong and named at both ends; the others are thin and grey */
} vs_slope;
typedef struct vs_slopes {
    const char *heading, *caption, *left_title, *right_title;
    size_t left_count, right_count; /* lengths of the two rankings */
    const vs_slope *slopes;
    size_t slope_count;
} vs_slopes;
VS_NODISCARD vs_status vs_slopes_draw(const vs_slopes *slopes, const char *stem, const vs_render_options *options,
                                      vs_render_outcome *outcome, vs_error *err);

/* A predicted-map sheet: panels of equal size side by side, a caption above each, a class legend below. */
typedef struct vs_map_panel {
    const char *title;
    const uint8_t *rgb;     /* [height*width*3]: a photograph, or NULL */
    const uint8_t *classes; /* [height*width]: class indices, or NULL; 255 is drawn grey */
} vs_map_panel;
typedef struct vs_map_sheet {
    size_t width, height;
    const vs_map_panel *panels;
    size_t panel_count;
    const char *const *class_names; /* may be NULL */
    size_t class_count;
} vs_map_sheet;
VS_NODISCARD vs_status vs_map_draw(const vs_map_sheet *sheet, const char *path, vs_error *err);

/* Colour of a class, RGB; fixed, distinct for the first 20, deterministic after. */
void vs_class_color(size_t index, uint8_t rgb[3]);
/* Colour of a magnitude, t in [0, 1] (clamped; NaN is the top): viridis, rising in lightness, so that it reads in grey. */
void vs_heat_color(double t, uint8_t rgb[3]);

#endif
