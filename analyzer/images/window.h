/* mmseg's test pipeline (docs/vit-models.md 6.1, 6.2) and lightly-train's tiles (5.6): where the windows of an image lie, and
 * what the model is given of one. */
#ifndef VS_WINDOW_H
#define VS_WINDOW_H

#include "config/config.h"
#include "io/image.h"

/* Part of a scaled image. */
typedef struct vs_window {
    size_t image; /* of the set */
    size_t x, y, width, height;
    size_t index, count; /* among the image's windows, row by row */
} vs_window;

/* An image as its file has it, and scaled. */
typedef struct vs_image_size {
    size_t width, height, scaled_width, scaled_height;
} vs_image_size;

/* slide: origins 0, stride, 2*stride..., the last window shifted back to the border; a side shorter than the crop is taken whole.
 * whole: one window. tiles: squares of the short side, as few as cover the long one. `room` windows fit in `out` (NULL: none are
 * written); returns their number. */
size_t vs_windows_of(const vs_preprocess_config *config, vs_image_size size, size_t image, vs_window *out, size_t room);
/* Fills the scaled size: mmcv's keep-ratio size or, of tiles, torchvision's Resize(short). */
VS_NODISCARD vs_status vs_window_scaled_size(const vs_preprocess_config *config, vs_image_size *size, vs_error *err);
/* The window normalised and centred among zeros up to whole patches (CenterPadding, docs/vit-models.md 5.1): pixels [3, H, W] is
 * new; `shown` is the same as bytes, its border the mean colour. */
VS_NODISCARD vs_status vs_window_cut(const vs_preprocess_config *config, const vs_image *scaled, const vs_window *window,
                                     size_t patch, vs_image *shown, float **pixels, vs_error *err);
/* A tile of an image: scaled in float64 without rounding to bytes (torchvision on float tensors), normalised; out as above. */
VS_NODISCARD vs_status vs_tile_cut(const vs_preprocess_config *config, const vs_image *in, vs_image_size size,
                                   const vs_window *tile, vs_image *shown, float **pixels, vs_error *err);

#endif
