#include "task/slide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host_scalar.h"
#include "util/util.h"

/* Numbers of one pixel of the grid. */
static size_t depth_of(const vs_window_logits *l, size_t classes) { return l->class_probs ? l->queries : classes; }

/* Row `y` of the window, still as wide as the grid. */
static void blend_grid_rows(const vs_window_logits *l, size_t depth, size_t y, double *out) {
    const vs_bilinear t = vs_bilinear_source(y, l->h, l->window.height);
    const size_t n = l->w * depth, a = t.lower * n, b = t.upper * n;
    for (size_t i = 0; i < n; i++)
        out[i] =
            (1 - t.weight) * vs_host_scalar(l->logits, l->scalar, a + i) + t.weight * vs_host_scalar(l->logits, l->scalar, b + i);
}

/* Masks are resized, scores are not. */
static void add_scores(const vs_window_logits *l, size_t classes, const double *grid_row, double *out) {
    for (size_t x = 0; x < l->window.width; x++) {
        const vs_bilinear t = vs_bilinear_source(x, l->w, l->window.width);
        const double *a = grid_row + t.lower * l->queries, *b = grid_row + t.upper * l->queries;
        double *to = out + (l->window.x + x) * classes;
        for (size_t q = 0; q < l->queries; q++) {
            const double share = 1 / (1 + exp(-((1 - t.weight) * a[q] + t.weight * b[q])));
            const double *probs = l->class_probs + q * classes;
            for (size_t k = 0; k < classes; k++) to[k] += share * probs[k];
        }
    }
}

static void add_window(const vs_window_logits *l, size_t classes, const double *grid_row, double *out) {
    for (size_t x = 0; x < l->window.width; x++) {
        const vs_bilinear t = vs_bilinear_source(x, l->w, l->window.width);
        const double *a = grid_row + t.lower * classes, *b = grid_row + t.upper * classes;
        double *to = out + (l->window.x + x) * classes;
        for (size_t k = 0; k < classes; k++) to[k] += (1 - t.weight) * a[k] + t.weight * b[k];
    }
}

static bool covers(const vs_window *w, size_t y) { return y >= w->y && y - w->y < w->height; }

void vs_slide_row(const vs_window_logits *windows, size_t count, size_t classes, size_t width, size_t y, double *scratch,
                  double *out) {
    memset(out, 0, width * classes * sizeof *out);
    for (size_t i = 0; i < count; i++) {
        if (!covers(&windows[i].window, y)) continue;
        blend_grid_rows(&windows[i], depth_of(&windows[i], classes), y - windows[i].window.y, scratch);
        (windows[i].class_probs ? add_scores : add_window)(&windows[i], classes, scratch, out);
    }
    for (size_t x = 0; x < width; x++) {
        size_t seen = 0;
        for (size_t i = 0; i < count; i++) {
            const vs_window *w = &windows[i].window;
            seen += covers(w, y) && x >= w->x && x - w->x < w->width;
        }
        for (size_t k = 0; k < classes && seen > 1; k++) out[x * classes + k] /= (double)seen;
    }
}

/* Rows of the scaled image at work, the two that the output row lies between. */
typedef struct rows {
    const vs_window_logits *windows;
    size_t count, classes, width;
    size_t held[2]; /* which row each buffer holds */
    double *buffer[2], *scratch;
} rows;

static const double *row_of(rows *r, size_t y, size_t keep) {
    for (size_t i = 0; i < 2; i++)
        if (r->held[i] == y) return r->buffer[i];
    const size_t to = r->held[0] == keep ? 1 : 0;
    vs_slide_row(r->windows, r->count, r->classes, r->width, y, r->scratch, r->buffer[to]);
    r->held[to] = y;
    return r->buffer[to];
}

static void map_row(const rows *r, const double *upper, const double *lower, double weight, size_t width, double *pixel,
                    uint16_t *out) {
    for (size_t x = 0; x < width; x++) {
        const vs_bilinear t = vs_bilinear_source(x, r->width, width);
        const size_t a = t.lower * r->classes, b = t.upper * r->classes;
        if (weight == 0 && t.weight == 0) {
            out[x] = (uint16_t)vs_argmax(upper + a, r->classes);
            continue;
        }
        for (size_t k = 0; k < r->classes; k++)
            pixel[k] = (1 - weight) * ((1 - t.weight) * upper[a + k] + t.weight * upper[b + k]) +
                       weight * ((1 - t.weight) * lower[a + k] + t.weight * lower[b + k]);
        out[x] = (uint16_t)vs_argmax(pixel, r->classes);
    }
}

/* Output rows first..end-1. */
static vs_status map_band(const vs_window_logits *windows, size_t count, size_t classes, vs_image_size size, size_t first,
                          size_t end, uint16_t *out, vs_error *err) {
    size_t widest = 0, grid = 0, row = 0, all = 0;
    size_t deepest = classes;
    for (size_t i = 0; i < count; i++) widest = windows[i].w > widest ? windows[i].w : widest;
    for (size_t i = 0; i < count; i++) deepest = windows[i].queries > deepest ? windows[i].queries : deepest;
    const bool fits = vs_size_mul(&grid, widest, deepest) && vs_size_mul(&row, size.scaled_width, classes) &&
                      vs_size_mul(&all, 2, row) && vs_size_add(&all, all, grid) && vs_size_add(&all, all, classes);
    double *memory = fits ? vs_calloc(all, sizeof *memory) : NULL;
    if (!memory) return vs_fail(err, VS_ERR_NOMEM, "no memory for a class map");
    rows r = { windows, count, classes, size.scaled_width, { SIZE_MAX, SIZE_MAX }, { memory, memory + row }, memory + 2 * row };
    double *pixel = r.scratch + grid;
    for (size_t y = first; y < end; y++) {
        const vs_bilinear t = vs_bilinear_source(y, size.scaled_height, size.height);
        const double *upper = row_of(&r, t.lower, t.upper);
        const double *lower = t.weight == 0 ? upper : row_of(&r, t.upper, t.lower);
        map_row(&r, upper, lower, t.weight, size.width, pixel, out + y * size.width);
    }
    free(memory);
    return VS_OK;
}

vs_status vs_slide_map(const vs_window_logits *windows, size_t count, size_t classes, vs_image_size size, size_t threads,
                       uint16_t *out, vs_error *err) {
    const size_t bands = threads < size.height ? threads : size.height;
    vs_status status = VS_OK;
#pragma omp parallel for schedule(static, 1) num_threads((int)bands)
    for (size_t i = 0; i < bands; i++) {
        vs_error own = { 0 };
        const vs_status one =
            map_band(windows, count, classes, size, i * size.height / bands, (i + 1) * size.height / bands, out, &own);
#pragma omp critical(vs_slide_status)
        if (one != VS_OK) status = vs_fail(err, one, "%s", own.message);
    }
    return status;
}
