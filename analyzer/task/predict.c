#include "task/predict.h"

#include <math.h>
#include <stdlib.h>

#include "util/util.h"

vs_bilinear vs_bilinear_source(size_t dst, size_t in, size_t out) {
    const double src = fmax(((double)dst + 0.5) * (double)in / (double)out - 0.5, 0);
    const size_t lower = (size_t)src < in ? (size_t)src : in - 1;
    return (vs_bilinear){ lower, lower + 1 < in ? lower + 1 : lower, src - (double)lower };
}

size_t vs_argmax(const double *values, size_t count) {
    size_t at = 0;
    for (size_t k = 1; k < count; k++)
        if (values[k] > values[at] || (isnan(values[k]) && !isnan(values[at]))) at = k;
    return at;
}

/* Blends two rows of logits: row [w * classes]. */
static void blend_rows(const void *logits, vs_scalar scalar, size_t row_len, vs_bilinear t, double *row) {
    for (size_t i = 0; i < row_len; i++) {
        double a, b;
        if (scalar == VS_SCALAR_F64) {
            const double *l = logits;
            a = l[t.lower * row_len + i];
            b = l[t.upper * row_len + i];
        } else {
            const float *l = logits;
            a = (double)l[t.lower * row_len + i];
            b = (double)l[t.upper * row_len + i];
        }
        row[i] = (1 - t.weight) * a + t.weight * b;
    }
}

vs_status vs_predict_map(const void *logits, vs_scalar scalar, size_t h, size_t w, size_t classes, size_t height, size_t width,
                         uint16_t *out, vs_error *err) {
    double *row = vs_calloc(w * classes, sizeof *row);
    if (!row) return vs_fail(err, VS_ERR_NOMEM, "no memory for a class map");
    for (size_t y = 0; y < height; y++) {
        blend_rows(logits, scalar, w * classes, vs_bilinear_source(y, h, height), row);
        for (size_t x = 0; x < width; x++) {
            const vs_bilinear t = vs_bilinear_source(x, w, width);
            const double *a = row + t.lower * classes, *b = row + t.upper * classes;
            double best = -HUGE_VAL;
            size_t arg = 0;
            for (size_t k = 0; k < classes; k++) {
                const double v = (1 - t.weight) * a[k] + t.weight * b[k];
                if (v > best || (isnan(v) && !isnan(best))) {
                    best = v;
                    arg = k;
                }
            }
            out[y * width + x] = (uint16_t)arg;
        }
    }
    free(row);
    return VS_OK;
}

vs_status vs_confusion_create(vs_confusion *c, size_t classes, vs_error *err) {
    *c = (vs_confusion){ .classes = classes, .intersect = vs_calloc(4 * classes, sizeof *c->intersect) };
    if (!c->intersect) return vs_fail(err, VS_ERR_NOMEM, "no memory for task counts");
    c->predicted = c->intersect + classes;
    c->labelled = c->predicted + classes;
    c->shown = c->labelled + classes;
    return VS_OK;
}

void vs_confusion_release(vs_confusion *c) {
    free(c->intersect);
    *c = (vs_confusion){ 0 };
}

void vs_confusion_add(vs_confusion *c, const uint16_t *map, const uint16_t *float_map, const uint8_t *labels, size_t pixels) {
    for (size_t i = 0; i < pixels; i++) {
        c->agree += map[i] == float_map[i];
        c->shown[map[i]]++;
    }
    c->pixels += pixels;
    for (size_t i = 0; labels && i < pixels; i++) {
        if (labels[i] == 255) continue;
        c->predicted[map[i]]++;
        if (labels[i] >= c->classes) continue;
        c->labelled[labels[i]]++;
        c->intersect[labels[i]] += map[i] == labels[i];
    }
}

void vs_confusion_merge(vs_confusion *into, const vs_confusion *from) {
    for (size_t k = 0; k < into->classes; k++) {
        into->intersect[k] += from->intersect[k];
        into->predicted[k] += from->predicted[k];
        into->labelled[k] += from->labelled[k];
        into->shown[k] += from->shown[k];
    }
    into->agree += from->agree;
    into->pixels += from->pixels;
}
