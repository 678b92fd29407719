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

#endif
