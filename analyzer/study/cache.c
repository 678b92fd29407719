#include "study/cache.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

typedef struct entry {
    char key[65];
    vs_shared what;
    void *value;
} entry;

struct vs_cache {
    char (*keys)[VS_SHARED_COUNT][65]; /* [run_count]: digests of the configuration that the value follows from */
    size_t run_count, run;
    entry *entries;
    size_t count, capacity;
};

static void free_value(vs_shared what, void *value) {
    vs_planted *planted = value;
    switch (what) {
    case VS_SHARED_MODEL:
        if (!planted) return;
        vs_plants_free(planted->plants, planted->plant_count);
        vs_model_free(planted->model);
        free(planted);
        return;
    case VS_SHARED_CALIBRATION: vs_calibration_free(value); return;
    case VS_SHARED_FLOAT_MAPS: vs_float_maps_free(value); return;
    case VS_SHARED_COUNT: return;
    }
}

/* The one list of what a shared value follows from. A key counts for a value always, where plantings looked at images with the
 * model, or where the observer looks at what the states' quantizers read. `recipe.p` decides how a session computes attention, so
 * it counts for whatever came out of one. */
typedef enum condition { ALWAYS, PLANTED, OBSERVED } condition;
typedef struct dependence {
    vs_shared what;
    condition when;
    const char *key;
} dependence;

static const dependence dependences[] = {
    { VS_SHARED_MODEL, ALWAYS, "model" },
    { VS_SHARED_MODEL, PLANTED, "recipe.p" },
    { VS_SHARED_MODEL, PLANTED, "data.calibration" },
    { VS_SHARED_MODEL, PLANTED, "data.preprocess" },
    { VS_SHARED_CALIBRATION, ALWAYS, "model" },
    { VS_SHARED_CALIBRATION, ALWAYS, "recipe.p" },
    { VS_SHARED_CALIBRATION, ALWAYS, "data.calibration" },
    { VS_SHARED_CALIBRATION, ALWAYS, "data.preprocess" },
    { VS_SHARED_CALIBRATION, ALWAYS, "recipe.observer" },
    { VS_SHARED_CALIBRATION, ALWAYS, "recipe.patch_embed" },
    { VS_SHARED_CALIBRATION, ALWAYS, "recipe.head" },
    { VS_SHARED_CALIBRATION, OBSERVED, "recipe" },
    { VS_SHARED_CALIBRATION, OBSERVED, "states" },
    { VS_SHARED_CALIBRATION, OBSERVED, "analyze.recipes" },
    { VS_SHARED_FLOAT_MAPS, ALWAYS, "model" },
    { VS_SHARED_FLOAT_MAPS, ALWAYS, "recipe.p" },
    { VS_SHARED_FLOAT_MAPS, ALWAYS, "data.evaluation" },
    { VS_SHARED_FLOAT_MAPS, ALWAYS, "data.preprocess" },
    { VS_SHARED_FLOAT_MAPS, PLANTED, "data.calibration" },
};
enum { DEPENDENCES = sizeof dependences / sizeof *dependences };

static bool applies(const vs_config *c, condition when) {
    return when == ALWAYS || (when == PLANTED && c->model.plant_count) ||
           (when == OBSERVED && c->recipe.observer != VS_OBSERVER_MINMAX);
}

static vs_status make_key(const vs_config *c, vs_shared what, char hex[65], vs_error *err) {
    const char *keys[DEPENDENCES];
    size_t n = 0;
    for (size_t i = 0; i < DEPENDENCES; i++)
        if (dependences[i].what == what && applies(c, dependences[i].when)) keys[n++] = dependences[i].key;
    return vs_config_digest(c, keys, n, hex, err);
}

vs_status vs_cache_create(vs_cache **out, vs_config *const *runs, size_t count, vs_error *err) {
    *out = NULL;
    vs_cache *c = vs_calloc(1, sizeof *c);
    if (c) c->keys = vs_calloc(count + 1, sizeof *c->keys);
    vs_status status = c && c->keys ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a batch");
    for (size_t i = 0; i < count && status == VS_OK; i++)
        for (size_t k = 0; k < VS_SHARED_COUNT && status == VS_OK; k++)
            status = make_key(runs[i], (vs_shared)k, c->keys[i][k], err);
    if (status != VS_OK) {
        vs_cache_free(c);
        return status;
    }
    c->run_count = count;
    *out = c;
    return VS_OK;
}

static bool needed(const vs_cache *c, vs_shared what, const char *key, size_t from) {
    for (size_t i = from; i < c->run_count; i++)
        if (strcmp(c->keys[i][what], key) == 0) return true;
    return false;
}

static void remove_entry(vs_cache *c, size_t i) { c->entries[i] = c->entries[--c->count]; }

void vs_cache_begin(vs_cache *c, size_t run) {
    c->run = run;
    for (size_t i = c->count; i-- > 0;) {
        const entry e = c->entries[i];
        if (needed(c, e.what, e.key, run)) continue;
        free_value(e.what, e.value);
        remove_entry(c, i);
    }
}

void *vs_cache_take(vs_cache *c, vs_shared what) {
    for (size_t i = 0; c && i < c->count; i++) {
        void *value = c->entries[i].value;
        if (c->entries[i].what != what || strcmp(c->entries[i].key, c->keys[c->run][what]) != 0) continue;
        remove_entry(c, i);
        return value;
    }
    return NULL;
}

bool vs_cache_wanted(const vs_cache *c, vs_shared what) {
    return c && c->run < c->run_count && needed(c, what, c->keys[c->run][what], c->run + 1);
}

void vs_cache_give(vs_cache *c, vs_shared what, void *value) {
    if (!value) return;
    if (!vs_cache_wanted(c, what) || !vs_grow((void **)&c->entries, &c->capacity, c->count + 1, sizeof *c->entries)) {
        free_value(what, value);
        return;
    }
    entry *e = &c->entries[c->count++];
    *e = (entry){ .what = what, .value = value };
    memcpy(e->key, c->keys[c->run][what], sizeof e->key);
}

void vs_cache_free(vs_cache *c) {
    if (!c) return;
    for (size_t i = 0; i < c->count; i++) free_value(c->entries[i].what, c->entries[i].value);
    free(c->entries);
    free(c->keys);
    free(c);
}
