/* Class maps from logits, and the counts that task metrics are made of (docs/vit-models.md 5.1, 6.3). */
#ifndef VS_PREDICT_H
#define VS_PREDICT_H

#include "run/pool.h"

/* Resizes logits [h*w, classes] (row-major, `scalar` type) bilinearly (align_corners false) to height x width and takes the
 * largest class of each pixel, the lowest index on ties. NaN counts as largest. classes out [height*width]. */
VS_NODISCARD vs_status vs_predict_map(const void *logits, vs_scalar scalar, size_t h, size_t w, size_t classes, size_t height,
                                      size_t width, uint16_t *out, vs_error *err);

/* value = (1 - weight) * lower + weight * upper. */
typedef struct vs_bilinear {
    size_t lower, upper;
    double weight;
} vs_bilinear;
/* torch: src = max((dst + 0.5) * in / out - 0.5, 0), upper index clamped (align_corners false). */
vs_bilinear vs_bilinear_source(size_t dst, size_t in, size_t out);
/* The largest value's index, the lowest on ties; NaN counts as largest. */
size_t vs_argmax(const double *values, size_t count);

/* Areas of intersection, prediction and label per class, summed over a set; and pixels equal to another map. */
typedef struct vs_confusion {
    size_t classes;
    uint64_t *intersect, *predicted, *labelled; /* [classes] */
    uint64_t *shown;                            /* [classes]: predicted, whether labelled or not */
    uint64_t agree, pixels;                     /* against the float map, all pixels */
} vs_confusion;
VS_NODISCARD vs_status vs_confusion_create(vs_confusion *c, size_t classes, vs_error *err);
void vs_confusion_release(vs_confusion *c);
/* As mmseg counts: pixels labelled 255 are left out; those of a class beyond the head's count as predicted only. labels NULL:
 * none. */
void vs_confusion_add(vs_confusion *c, const uint16_t *map, const uint16_t *float_map, const uint8_t *labels, size_t pixels);
void vs_confusion_merge(vs_confusion *into, const vs_confusion *from);

#endif
