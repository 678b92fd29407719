/* Procedural labelled scenes: the demo's data source. Scene i of a seed depends on (seed, i, size) alone.
 * Classes: 0 sky 1 mountain 2 grass 3 road 4 water 5 building 6 foliage 7 trunk 8 car 9 person 10 sun.
 * Built without floating-point contraction so that every machine makes the same bytes. */
#ifndef VS_SCENES_H
#define VS_SCENES_H

#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

enum { VS_SCENE_CLASSES = 11, VS_SCENE_MIN_SIZE = 32, VS_SCENE_MAX_SIZE = 4096 };

extern const char *const vs_scene_class_names[VS_SCENE_CLASSES];

/* rgb [size*size*3] and labels [size*size] (may be NULL) are the caller's. */
VS_NODISCARD vs_status vs_scene_render(uint64_t seed, uint64_t index, size_t size, uint8_t *rgb, uint8_t *labels, vs_error *err);

#endif
