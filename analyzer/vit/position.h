/* Position grids resized as the code base that wrote the checkpoint does it (vit-models.md section 3). */
#ifndef VS_POSITION_H
#define VS_POSITION_H

#include "vitscope/vit.h"

/* out [h * w, C] float64. The stored grid is copied when the size is the trained one. */
VS_NODISCARD vs_status vs_position_grid(const vs_model *model, size_t h, size_t w, double *out, vs_error *err);

#endif
