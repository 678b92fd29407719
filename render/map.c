/* Sheets of photographs and class maps, side by side. */
#include <stdlib.h>
#include <string.h>

#include "io/image.h"
#include "render/font.h"
#include "render/render.h"
#include "util/util.h"

enum { GAP = 12, TITLE = 30, SCALE = 2, SWATCH = 14, LEGEND_LINE = 24, MIN_PANEL = 224 };
static const uint8_t ink[3] = { 30, 30, 30 }, ignored[3] = { 150, 150, 150 };

typedef struct layout {
    size_t zoom, panel_w, panel_h, width, height, legend_top, legend_columns, legend_cell;
} layout;

static bool used_class(const vs_map_sheet *s, size_t k) {
    for (size_t p = 0; p < s->panel_count; p++)
        for (size_t i = 0; s->panels[p].classes && i < s->width * s->height; i++)
            if (s->panels[p].classes[i] == k) return true;
    return false;
}

static void name_class(const vs_map_sheet *s, size_t k, char *text, size_t size) {
    if (s->class_names)
        snprintf(text, size, "%s", s->class_names[k]);
    else
        snprintf(text, size, "class %zu", k);
}

static layout plan(const vs_map_sheet *s, size_t legend_count) {
    layout l = { .zoom = 1 };
    while (s->width * l.zoom < MIN_PANEL) l.zoom++;
    l.panel_w = s->width * l.zoom;
    l.panel_h = s->height * l.zoom;
    l.width = GAP + s->panel_count * (l.panel_w + GAP);
    for (size_t k = 0; k < s->class_count; k++) {
        char name[64];
        name_class(s, k, name, sizeof name);
        const size_t w = SWATCH + 8 + vs_font_width(name, SCALE) + GAP;
        if (w > l.legend_cell) l.legend_cell = w;
    }
    if (l.legend_cell == 0) l.legend_cell = l.width;
    l.legend_columns = (l.width - GAP) / l.legend_cell ? (l.width - GAP) / l.legend_cell : 1;
    l.legend_top = TITLE + l.panel_h + GAP;
    l.height = l.legend_top + (legend_count + l.legend_columns - 1) / l.legend_columns * LEGEND_LINE + GAP;
    return l;
}

/* A title too long for its panel ends in two dots. */
static void fit_title(const char *title, size_t width, char *text, size_t size) {
    size_t room = width / (VS_FONT_ADVANCE * SCALE);
    if (room >= size) room = size - 1;
    const bool fits = strlen(title) <= room;
    snprintf(text, size, "%.*s%s", (int)(fits || room < 2 ? room : room - 2), title, fits || room < 2 ? "" : "..");
}

static void draw_panel(const vs_map_sheet *s, const vs_map_panel *p, const layout *l, size_t left, vs_image *out) {
    char title[128];
    fit_title(p->title ? p->title : "", l->panel_w, title, sizeof title);
    vs_font_draw(out->pixels, out->width, out->height, left, 8, SCALE, ink, title);
    for (size_t y = 0; y < l->panel_h; y++)
        for (size_t x = 0; x < l->panel_w; x++) {
            const size_t i = y / l->zoom * s->width + x / l->zoom;
            uint8_t *to = out->pixels + 3 * ((TITLE + y) * out->width + left + x);
            if (p->rgb)
                memcpy(to, p->rgb + 3 * i, 3);
            else if (p->classes && p->classes[i] == 255)
                memcpy(to, ignored, 3);
            else if (p->classes)
                vs_class_color(p->classes[i], to);
        }
}

static void draw_legend(const vs_map_sheet *s, const layout *l, vs_image *out) {
    size_t n = 0;
    for (size_t k = 0; k < s->class_count; k++) {
        if (!used_class(s, k)) continue;
        const size_t x = GAP + n % l->legend_columns * l->legend_cell, y = l->legend_top + n / l->legend_columns * LEGEND_LINE;
        char name[64];
        name_class(s, k, name, sizeof name);
        for (size_t dy = 0; dy < SWATCH; dy++)
            for (size_t dx = 0; dx < SWATCH && x + dx < out->width; dx++)
                vs_class_color(k, out->pixels + 3 * ((y + dy) * out->width + x + dx));
        vs_font_draw(out->pixels, out->width, out->height, x + SWATCH + 8, y, SCALE, ink, name);
        n++;
    }
}

vs_status vs_map_draw(const vs_map_sheet *s, const char *path, vs_error *err) {
    if (s->panel_count == 0 || s->width == 0 || s->height == 0) return vs_fail(err, VS_ERR_SHAPE, "%s: nothing to draw", path);
    size_t legend = 0;
    for (size_t k = 0; k < s->class_count; k++) legend += used_class(s, k);
    const layout l = plan(s, legend);
    vs_image sheet = { 0 };
    vs_status status = vs_image_create(&sheet, l.width, l.height, 3, err);
    if (status == VS_OK) {
        memset(sheet.pixels, 255, l.width * l.height * 3);
        for (size_t p = 0; p < s->panel_count; p++) draw_panel(s, &s->panels[p], &l, GAP + p * (l.panel_w + GAP), &sheet);
        draw_legend(s, &l, &sheet);
        status = vs_png_write(path, &sheet, err);
    }
    vs_image_release(&sheet);
    return status;
}
