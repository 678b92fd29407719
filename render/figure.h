/* What every gnuplot figure shares: captions, terminals, ticks, and pictures that appear under their names only when whole.
 * Places are nominal pixels from the top left of the figure. */
#ifndef VS_FIGURE_H
#define VS_FIGURE_H

#include "render/gnuplot.h"

/* Figure size in pixels (PNG, before zoom) and user units (SVG). */
typedef struct vs_figure {
    size_t width, height;
} vs_figure;

enum { VS_FIGURE_ZOOM = 2 };    /* pictures have twice the figure's nominal resolution */
enum { VS_CAPTION_LINE = 18 };  /* height of a caption's line */
enum { VS_CAPTION_LETTER = 7 }; /* width of its letters, on the safe side */

/* Lines of a caption broken at spaces into at most `letters` characters. */
size_t vs_caption_lines(const char *text, size_t letters);

typedef enum vs_align { VS_ALIGN_LEFT, VS_ALIGN_CENTER, VS_ALIGN_RIGHT } vs_align;
void vs_script_label(vs_text *script, vs_figure figure, const char *text, double x, double y, vs_align align, int size,
                     const char *color);
/* The size of letters, at most `largest`, at which a heading fits the figure. */
int vs_heading_size(vs_figure figure, const char *text, int largest);
/* The heading, smaller where it is long. */
void vs_script_heading(vs_text *script, vs_figure figure, const char *text);
/* The caption's lines centred, the first at height y. */
void vs_script_caption(vs_text *script, vs_figure figure, const char *text, size_t letters, double y);

/* A round step that gives four to eight ticks on n places. */
size_t vs_tick_step(size_t n);
/* "(0.1 0.1, 1 1, ...)": powers of ten from low to top, thinned to at most eight; not named: without numbers. */
void vs_script_decades(vs_text *script, double low, double top, bool named);
/* A round step for a height: 1, 2 or 5 times a power of ten. */
double vs_round_step(double top);

/* Terminal and output of a chart. */
void vs_script_terminal(vs_text *script, vs_figure figure, bool svg, const char *path);

/* Appends the script that draws `what` into `path`. */
typedef vs_status (*vs_script_fn)(vs_text *script, const void *what, bool svg, const char *path, vs_error *err);

/* Fails where a file does not end as its format ends: on a full disk gnuplot writes half a file and still exits with 0. */
VS_NODISCARD vs_status vs_figure_check_whole(const char *path, bool svg, vs_error *err);
/* Draws <stem>.png or <stem>.svg; *missing: there is no gnuplot. */
VS_NODISCARD vs_status vs_figure_file(vs_script_fn make, const void *what, const char *stem, bool svg, const char *gnuplot,
                                      bool *missing, vs_error *err);
/* For a machine that has gnuplot: <stem>.gp, the script that draws the PNG, data inside. */
VS_NODISCARD vs_status vs_figure_leave_script(vs_script_fn make, const void *what, const char *stem, vs_error *err);
/* The asked formats of a figure that is all script, or the script. */
VS_NODISCARD vs_status vs_figure_draw(vs_script_fn make, const void *what, const char *stem, const vs_render_options *options,
                                      vs_render_outcome *outcome, vs_error *err);

#endif
