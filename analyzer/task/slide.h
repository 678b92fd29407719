/* The class map of an image from the logits of its windows (docs/vit-models.md 6.2): each window's logits are resized bilinearly
 * to the window, summed and divided by how many windows cover a pixel, resized to the image's own size; then the largest class.
 */
#ifndef VS_SLIDE_H
#define VS_SLIDE_H

#include "images/window.h"
#include "task/predict.h"

/* The head's logits of one window, [h*w, classes] row-major, of the grid that the padded window has: they are resized straight to
 * the window without its padding, as mmseg does (docs/vit-models.md 5.1). */
typedef struct vs_window_logits {
    vs_window window;
    const void *logits;
    vs_scalar scalar;
    size_t h, w;
    size_t queries; /* not 0: `logits` are mask logits [h*w, queries] and a pixel's scores, once those are resized, are */
    const double *class_probs; /* sum_q sigmoid(mask_q) class_probs[q, k]; [queries, classes]. Others: 0 and NULL */
} vs_window_logits;

/* classes out [size.height * size.width]. Row by row: the logits of a whole image are never in memory at once. Bands of rows are
 * shared by `threads` (>= 1) threads. */
VS_NODISCARD vs_status vs_slide_map(const vs_window_logits *windows, size_t count, size_t classes, vs_image_size size,
                                    size_t threads, uint16_t *out, vs_error *err);
/* The averaged logits of one row of the scaled image, out [scaled_width * classes]; scratch [largest w of a window
 * times classes or queries]. */
void vs_slide_row(const vs_window_logits *windows, size_t count, size_t classes, size_t scaled_width, size_t y, double *scratch,
                  double *out);

#endif
