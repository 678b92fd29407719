/* Positions: grids resized as the code base that wrote the checkpoint does it (docs/vit-models.md 3), and rotations. */
#ifndef VS_POSITION_H
#define VS_POSITION_H

#include "vitscope/vit.h"

/* out [h * w, C] float64. The stored grid is copied when the size is the trained one. */
VS_NODISCARD vs_status vs_position_grid(const vs_model *model, size_t h, size_t w, double *out, vs_error *err);

/* Rotary positions (docs/vit-models.md 2.5): cosines and sines [h * w, D / 2] float64 of the angles of each patch, the row's
 * first. */
void vs_position_rotation(const vs_model *model, size_t h, size_t w, double *cosines, double *sines);
/* periods [D / 4] = theta^(2k / (D/2)), rounded to float32 as the code bases that compute them do. */
void vs_position_periods(double theta, size_t count, float *periods);

#endif
