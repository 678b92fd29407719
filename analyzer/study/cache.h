/* What runs of one batch have in common: each is computed by the first run that needs it and lies here between two runs.
 * A value belongs to the run at work or to the cache, never to both, so it needs no lock and no count. Results are the same bytes
 * with and without a cache. */
#ifndef VS_CACHE_H
#define VS_CACHE_H

#include "edit/plant.h"
#include "quant/quant.h"
#include "task/evaluate.h"

typedef enum vs_shared {
    VS_SHARED_MODEL,       /* vs_planted: checkpoint and plantings are equal */
    VS_SHARED_CALIBRATION, /* vs_calibration: and calibration set, preprocessing and what the observer looks at */
    VS_SHARED_FLOAT_MAPS,  /* vs_float_maps: model, evaluation set and preprocessing are equal */
    VS_SHARED_COUNT
} vs_shared;

/* A model with what was planted in it. */
typedef struct vs_planted {
    vs_model *model;
    vs_plant_result *plants;
    size_t plant_count;
} vs_planted;

typedef struct vs_cache vs_cache;

/* `runs`: those that will be run, in order, all on one backend. Only their keys are kept. */
VS_NODISCARD vs_status vs_cache_create(vs_cache **out, vs_config *const *runs, size_t count, vs_error *err);
void vs_cache_free(vs_cache *cache);
/* Run `run` begins: what neither it nor a later one needs is freed. */
void vs_cache_begin(vs_cache *cache, size_t run);
/* What an earlier run left for the run at work; the caller owns it. NULL: nothing, or no cache. */
void *vs_cache_take(vs_cache *cache, vs_shared what);
/* True if a later run needs what the run at work has. */
bool vs_cache_wanted(const vs_cache *cache, vs_shared what);
/* Leaves a value for a later run, or frees it where none needs it. `value` and `cache` may be NULL. */
void vs_cache_give(vs_cache *cache, vs_shared what, void *value);

#endif
