/* Token x channel images: titles above, tokens down the left, channels along the foot, a colour bar at the right. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/image.h"
#include "render/font.h"
#include "render/surface_script.h"
#include "util/util.h"

enum {
    LETTERS = 3, /* pixels per dot */
    LINE = VS_FONT_HEIGHT * LETTERS + 6,
    HALF = 3 * LETTERS + 1, /* of a capital's height */
    MAX_CELLS = 1600,
    GOOD_WIDTH = 1600, /* smaller matrices are enlarged up to this */
    GOOD_HEIGHT = 1200,
    MAX_ZOOM = 24,
    LEFT = 130,
    TOP = 2 * LINE + 58,
    FOOT = 90,
    BAR = 36,
    BAR_GAP = 30,
    BAR_ROOM = 250,
    TICK = 8,
    MARGIN = 10
};
static const uint8_t ink[3] = { 30, 30, 30 }, pointer[3] = { 200, 40, 30 };

typedef struct layout {
    size_t rows, cols, zoom; /* cells, and pixels per cell */
    size_t image_w, image_h, width, height;
} layout;

/* The largest number of equal cells within the limit. */
static size_t cells_of(size_t n) {
    const size_t each = (n + MAX_CELLS - 1) / MAX_CELLS;
    return (n + each - 1) / each;
}

static layout plan(const vs_surface *s) {
    layout l = { .rows = cells_of(s->tokens), .cols = cells_of(s->channels), .zoom = 1 };
    while (l.zoom < MAX_ZOOM && l.cols * (l.zoom + 1) <= GOOD_WIDTH && l.rows * (l.zoom + 1) <= GOOD_HEIGHT) l.zoom++;
    l.image_w = l.cols * l.zoom;
    l.image_h = l.rows * l.zoom;
    l.width = LEFT + l.image_w + BAR_GAP + BAR + BAR_ROOM;
    l.height = TOP + l.image_h + FOOT;
    const size_t heading = MARGIN + vs_font_width(s->heading, LETTERS) + MARGIN;
    if (heading > l.width) l.width = heading;
    return l;
}

static void write(vs_image *out, double x, double y, const uint8_t color[3], const char *text) {
    if (x < 0) x = 0;
    vs_font_draw(out->pixels, out->width, out->height, (size_t)x, (size_t)fmax(y, 0), LETTERS, color, text);
}

static void fill(vs_image *out, size_t x, size_t y, size_t w, size_t h, const uint8_t color[3]) {
    for (size_t dy = 0; dy < h && y + dy < out->height; dy++)
        for (size_t dx = 0; dx < w && x + dx < out->width; dx++)
            memcpy(out->pixels + 3 * ((y + dy) * out->width + x + dx), color, 3);
}

/* ------------------------------------------------------------------ colours */

static double fraction(const vs_scale *z, double v) {
    if (!isfinite(v)) return 1;
    return z->logarithmic ? log(fmax(v, z->low) / z->low) / log(z->top / z->low) : v / z->top;
}

static void draw_cells(vs_image *out, const layout *l, const float *cells, const vs_scale *z) {
    for (size_t i = 0; i < l->rows; i++)
        for (size_t j = 0; j < l->cols; j++) {
            uint8_t color[3];
            vs_heat_color(fraction(z, (double)cells[i * l->cols + j]), color);
            fill(out, LEFT + j * l->zoom, TOP + i * l->zoom, l->zoom, l->zoom, color);
        }
}

static void draw_bar_tick(vs_image *out, const layout *l, const vs_scale *z, double v, const uint8_t color[3], const char *text) {
    const size_t x = LEFT + l->image_w + BAR_GAP + BAR;
    const double y = TOP + (double)(l->image_h - 1) * (1 - fraction(z, v));
    fill(out, x, (size_t)y, TICK, 2, color);
    write(out, (double)(x + TICK + 4), y - HALF, color, text);
}

/* Room for a number on the bar beside one already written at v. */
static bool apart(const layout *l, const vs_scale *z, double v, double other) {
    return fabs(fraction(z, v) - fraction(z, other)) * (double)l->image_h >= LINE;
}

static void draw_bar(vs_image *out, const layout *l, const vs_scale *z, double step) {
    const size_t x = LEFT + l->image_w + BAR_GAP;
    char text[32];
    for (size_t i = 0; i < l->image_h; i++) {
        uint8_t color[3];
        vs_heat_color(1 - (double)i / (double)(l->image_h > 1 ? l->image_h - 1 : 1), color);
        fill(out, x, TOP + i, BAR, 1, color);
    }
    const bool stepped = step > z->low && step <= z->top;
    if (stepped) {
        snprintf(text, sizeof text, "step %.3g", step);
        draw_bar_tick(out, l, z, step, pointer, text);
    }
    const double ends[2] = { z->top, z->low };
    for (size_t i = 0; i < 2; i++) {
        if (stepped && !apart(l, z, ends[i], step)) continue;
        snprintf(text, sizeof text, ends[i] < 1 ? "%.3g" : "%.4g", ends[i]);
        draw_bar_tick(out, l, z, ends[i], ink, text);
    }
    enum { MOST = 16 };
    for (size_t i = 0; i < MOST; i++) {
        const double v = z->logarithmic ? pow(10, ceil(log10(z->low)) + (double)i) : vs_round_step(z->top) * (double)(i + 1);
        if (v >= z->top) break;
        if (!apart(l, z, v, z->top) || !apart(l, z, v, z->low) || (stepped && !apart(l, z, v, step))) continue;
        snprintf(text, sizeof text, "%.4g", v);
        draw_bar_tick(out, l, z, v, ink, text);
    }
}

/* ------------------------------------------------------------------ axes */

static void draw_row_tick(vs_image *out, size_t y, const char *text) {
    fill(out, LEFT - TICK, y, TICK, 2, ink);
    write(out, LEFT - TICK - 4.0 - (double)vs_font_width(text, LETTERS), (double)y - HALF, ink, text);
}

/* Marked tokens by name as far as there is room, then round numbers. */
static void draw_token_axis(vs_image *out, const vs_surface *s, const layout *l) {
    const size_t step = vs_tick_step(s->tokens);
    double free_from = 0;
    for (size_t i = 0; i < s->mark_count; i++) {
        const double y = TOP + (double)l->image_h * (double)s->marks[i].token / (double)s->tokens;
        if (y < free_from) continue;
        draw_row_tick(out, (size_t)y, s->marks[i].name);
        free_from = y + LINE;
    }
    for (size_t t = s->mark_count ? step : 0; t < s->tokens; t += step) {
        char text[24];
        const double y = TOP + (double)l->image_h * (double)t / (double)s->tokens;
        if (y < free_from) continue;
        snprintf(text, sizeof text, "%zu", t);
        draw_row_tick(out, (size_t)y, text);
    }
    write(out, MARGIN, TOP - LINE - 16.0, ink, "token");
}

static void draw_channel_axis(vs_image *out, const vs_surface *s, const layout *l) {
    size_t step = vs_tick_step(s->channels);
    const size_t foot = TOP + l->image_h;
    double free_from = 0;
    for (size_t c = 0; c < s->channels; c += step) {
        char text[24];
        const double x = LEFT + (double)l->image_w * (double)c / (double)s->channels;
        snprintf(text, sizeof text, "%zu", c);
        const double half = (double)vs_font_width(text, LETTERS) / 2;
        if (x - half < free_from) continue;
        fill(out, (size_t)x, foot, 2, TICK, ink);
        write(out, x - half, (double)(foot + TICK + 4), ink, text);
        free_from = x + half + VS_FONT_ADVANCE * LETTERS;
    }
    write(out, LEFT + ((double)l->image_w - (double)vs_font_width("channel", LETTERS)) / 2, (double)(foot + TICK + 4 + LINE), ink,
          "channel");
}

/* Triangles outside the frame that point at the row and the column of the maximum. */
static void draw_pointers(vs_image *out, const layout *l, const float *cells) {
    size_t best = 0;
    for (size_t i = 1; i < l->rows * l->cols; i++)
        if (cells[i] > cells[best] || (isnan(cells[i]) && !isnan(cells[best]))) best = i;
    const size_t x = LEFT + best % l->cols * l->zoom + l->zoom / 2, y = TOP + best / l->cols * l->zoom + l->zoom / 2;
    for (size_t d = 0; d < 14; d++) {
        fill(out, x - d / 2, TOP - 3 - d, 2 * (d / 2) + 1, 1, pointer);
        fill(out, LEFT + l->image_w + 3 + d, y - d / 2, 1, 2 * (d / 2) + 1, pointer);
    }
}

/* ------------------------------------------------------------------ one image */

static vs_status draw_panel(const vs_surface *s, size_t p, const layout *l, const vs_scale *z, float *cells, const char *path,
                            vs_error *err) {
    const vs_surface_panel *panel = &s->panels[p];
    vs_image out = { 0 };
    vs_status status = vs_image_create(&out, l->width, l->height, 3, err);
    if (status == VS_OK) {
        char text[160];
        memset(out.pixels, 255, out.width * out.height * 3);
        vs_decimate_max(panel->values, s->tokens, s->channels, cells, l->rows, l->cols);
        write(&out, MARGIN, 8, ink, s->heading);
        snprintf(text, sizeof text, "%s: max %.4g, median %.3g (%s colours)", panel->title, panel->max, panel->median,
                 z->logarithmic ? "log" : "linear");
        write(&out, MARGIN, 8 + LINE, ink, text);
        draw_cells(&out, l, cells, z);
        draw_bar(&out, l, z, panel->step);
        draw_token_axis(&out, s, l);
        draw_channel_axis(&out, s, l);
        draw_pointers(&out, l, cells);
        status = vs_png_write(path, &out, err);
    }
    vs_image_release(&out);
    return status;
}

vs_status vs_heatmaps_draw(const vs_surface *s, const char *const *paths, vs_error *err) {
    if (s->panel_count == 0 || s->tokens == 0 || s->channels == 0)
        return vs_fail(err, VS_ERR_SHAPE, "%s: nothing to draw", s->heading);
    const layout l = plan(s);
    const vs_scale z = vs_surface_scale(s);
    float *cells = vs_calloc(l.rows * l.cols, sizeof *cells);
    vs_status status = cells ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a heatmap");
    for (size_t p = 0; p < s->panel_count && status == VS_OK; p++) status = draw_panel(s, p, &l, &z, cells, paths[p], err);
    free(cells);
    return status;
}
