/* Outliers planted on purpose, so that the right answer is known (docs/study.md 8). */
#ifndef VS_PLANT_H
#define VS_PLANT_H

#include "results/results.h"
#include "run/pool.h"

typedef struct vs_plant_target {
    vs_model *model;
    const vs_backend *backend;
    vs_runner runner; /* its weights are replaced while planting */
} vs_plant_target;

/* The first planting that is chosen on calibration images, NULL if none is. */
const vs_plant_config *vs_plant_needs_images(const vs_config *config);
/* Plantings that the model cannot have, from its shapes alone. VS_ERR_NOTFOUND: a block that is not there. */
VS_NODISCARD vs_status vs_plant_check(const vs_config *config, vs_model *model, vs_error *err);
/* Changes the model's weights block by block, each block measured in the model as planted so far on the calibration images
 * (an empty set will do where vs_plant_needs_images gives NULL). Weights bound before are stale afterwards. Appends to *plants
 * (count *plant_count), which the caller frees with vs_plants_free. */
VS_NODISCARD vs_status vs_plant(const vs_plant_target *target, const vs_config *config, const vs_imageset *calibration,
                                vs_plant_result **plants, size_t *plant_count, vs_error *err);
void vs_plants_free(vs_plant_result *plants, size_t count);

#endif
