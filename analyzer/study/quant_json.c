/* quant.json and smooth/: every grid and factor of every state, enough for an exporter without a new run. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/npy.h"
#include "study/quant_json.h"
#include "util/util.h"
#include "json/json_text.h"

/* The document being built. `failed`: memory ran out somewhere and the tree is not whole. */
typedef struct document {
    const vs_study *study;
    const json_t *recipe; /* the resolved section of the configuration: schemes, bits and observer as they were asked for */
    const char *dir;
    bool several; /* smoothed states: their factors lie in a folder each */
    bool failed;
} document;

static void put(document *d, json_t *o, const char *key, json_t *value) { d->failed |= json_object_set_new(o, key, value) != 0; }

/* A part of the recipe again, or null. */
static json_t *of_recipe(const json_t *recipe, const char *key) {
    json_t *value = json_object_get(recipe, key);
    return value ? json_deep_copy(value) : json_null();
}

/* The recipe's word for what a tensor is; the probabilities' grid is fixed (1/255). */
static const char *recipe_key(vs_kind kind) {
    if (kind == VS_KIND_Q || kind == VS_KIND_K) return "qk";
    return kind == VS_KIND_V ? "v" : kind == VS_KIND_P ? "p" : "inputs";
}

typedef double (*grid_number)(const vs_grid *grid);
static double grid_lo(const vs_grid *g) { return (double)g->lo; }
static double grid_hi(const vs_grid *g) { return (double)g->hi; }
static double grid_scale(const vs_grid *g) { return (double)g->scale; }

static json_t *zero_of(const vs_grid *g) { return json_integer(g->zero); }

/* Each token's step is its own: the site's grid, if it has one, says which codes there are and no more. */
static bool is_run_time(const document *d, vs_kind kind, const vs_site *site) {
    const char *scheme = json_string_value(json_object_get(d->recipe, recipe_key(kind)));
    return site->grid_count == 0 || (scheme && strcmp(scheme, "per_token") == 0);
}

/* One number, or one a head. */
static json_t *reals(document *d, const vs_site *site, grid_number of) {
    if (site->grid_count == 1) return json_real(of(&site->grids[0]));
    json_t *a = json_array();
    for (size_t i = 0; i < site->grid_count; i++) d->failed |= json_array_append_new(a, json_real(of(&site->grids[i]))) != 0;
    return a;
}

static json_t *zeros(document *d, const vs_site *site) {
    if (site->grid_count == 1) return zero_of(&site->grids[0]);
    json_t *a = json_array();
    for (size_t i = 0; i < site->grid_count; i++) d->failed |= json_array_append_new(a, zero_of(&site->grids[i])) != 0;
    return a;
}

static json_t *describe_site(document *d, vs_kind kind, const vs_site *site) {
    json_t *o = json_object();
    const char *key = recipe_key(kind);
    const bool run_time = is_run_time(d, kind, site), fixed = kind == VS_KIND_P || run_time; /* nothing was observed */
    put(d, o, "scheme", of_recipe(d->recipe, key));
    put(d, o, "bits", kind == VS_KIND_P ? json_integer(8) : of_recipe(json_object_get(d->recipe, "bits"), key));
    put(d, o, "observer", fixed ? json_null() : of_recipe(d->recipe, "observer"));
    put(d, o, "lo", run_time ? json_null() : reals(d, site, grid_lo));
    put(d, o, "hi", run_time ? json_null() : reals(d, site, grid_hi));
    put(d, o, "scale", run_time ? json_null() : reals(d, site, grid_scale));
    put(d, o, "zero_point", run_time ? json_null() : zeros(d, site));
    put(d, o, "qmin", site->grid_count ? json_integer(site->grids[0].qmin) : json_null());
    put(d, o, "qmax", site->grid_count ? json_integer(site->grids[0].qmax) : json_null());
    return o;
}

static json_t *describe_weight(document *d, const vs_linear *l, const float *scales) {
    json_t *o = json_object(), *a = json_array();
    for (size_t i = 0; i < l->out; i++) d->failed |= json_array_append_new(a, json_real((double)scales[i])) != 0;
    put(d, o, "scheme", of_recipe(d->recipe, "weights"));
    put(d, o, "bits", of_recipe(json_object_get(d->recipe, "bits"), "weights"));
    put(d, o, "scales", a);
    return o;
}

/* Writes the factors and gives the file's name below the run's folder. */
static vs_status write_factors(const document *d, const char *state, const char *layer, const vs_site *site, size_t count,
                               char **name, vs_error *err) {
    *name = d->several ? vs_format("smooth/%s/%s.npy", state, layer) : vs_format("smooth/%s.npy", layer);
    char *path = *name ? vs_path_join(d->dir, *name) : NULL;
    vs_status status = path ? vs_npy_write(path, VS_NPY_F32, 1, &count, site->smooth_host, err)
                            : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    free(path);
    return status;
}

static vs_status make_smooth_folder(const document *d, const char *state, vs_error *err) {
    char *dir = d->several ? vs_format("%s/smooth/%s", d->dir, state) : vs_format("%s/smooth", d->dir);
    vs_status status = dir ? vs_make_dirs(dir, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    free(dir);
    return status;
}

static bool is_smoothed(const vs_state *state) {
    for (size_t i = 0; state->variant && i < state->variant->count; i++)
        if (state->variant->sites[i].smooth_host) return true;
    return false;
}

/* The variant whose weights the state runs with; NULL: the float model's. */
static const vs_variant *weights_of(const vs_study *s, const vs_state *state) {
    for (size_t i = 0; i < s->states.variant_count; i++)
        if (&s->states.variants[i]->weights == state->weights) return s->states.variants[i];
    return NULL;
}

static void put_settings(document *d, json_t *o, const vs_state *state) {
    const vs_config *c = d->study->config;
    put(d, o, "kind", json_string(vs_state_kind_name(state->kind)));
    if (!is_smoothed(state)) return;
    double alpha = 0.5; /* of a recipe that is no state of its own */
    vs_smooth_scope scope = VS_SCOPE_ALL;
    for (size_t i = 0; i < c->state_count; i++)
        if (strcmp(c->states[i].name, state->name) == 0) {
            alpha = c->states[i].alpha;
            scope = c->states[i].scope;
        }
    put(d, o, "alpha", json_real(alpha));
    put(d, o, "scope", json_string(scope == VS_SCOPE_ALL ? "all" : "norm"));
}

/* What one layer contributes to each of the three maps. */
static vs_status add_layer(document *d, const vs_state *state, const vs_variant *weights, const vs_point *p, json_t *sites,
                           json_t *scales, json_t *smooth, vs_error *err) {
    const size_t index = d->study->model->graph->nodes[p->node].site;
    const vs_site *site = state->variant ? vs_variant_site(state->variant, index) : NULL;
    const vs_linear l = vs_model_linear(d->study->model, p->node);
    vs_status status = VS_OK;
    if (site && site->quantized) put(d, sites, p->name, describe_site(d, p->kind, site));
    if (weights && l.out && index != VS_NONE && weights->row_scales[index])
        put(d, scales, p->name, describe_weight(d, &l, weights->row_scales[index]));
    if (site && site->smooth_host && l.out) {
        char *name = NULL;
        status = write_factors(d, state->name, p->name, site, l.in, &name, err);
        if (status == VS_OK) put(d, smooth, p->name, json_string(name));
        free(name);
    }
    return status;
}

static vs_status add_state(document *d, json_t *states, const vs_state *state, vs_error *err) {
    const vs_study *s = d->study;
    const vs_variant *weights = weights_of(s, state);
    json_t *o = json_object(), *sites = json_object(), *scales = json_object(), *smooth = json_object();
    vs_status status = is_smoothed(state) ? make_smooth_folder(d, state->name, err) : VS_OK;
    for (size_t i = 0; i < s->point_count && status == VS_OK; i++)
        status = add_layer(d, state, weights, &s->points[i], sites, scales, smooth, err);
    put_settings(d, o, state);
    put(d, o, "sites", sites);
    put(d, o, "weights", scales);
    put(d, o, "smooth", smooth);
    put(d, states, state->name, o);
    return status;
}

/* States, then recipes that are none: their layers were quantized too. NULL at the end. */
static const vs_state *nth_state(const vs_states *s, size_t n) {
    if (n < s->state_count) return &s->states[n];
    for (size_t i = 0, k = s->state_count; i < s->recipe_count; i++)
        if (s->recipe_state[i] == SIZE_MAX && k++ == n) return &s->recipes[i];
    return NULL;
}

static size_t count_smoothed(const vs_states *s) {
    size_t count = 0;
    const vs_state *state;
    for (size_t i = 0; (state = nth_state(s, i)) != NULL; i++) count += is_smoothed(state);
    return count;
}

static vs_status write_json(document *d, json_t *root, vs_error *err) {
    char *path = vs_path_join(d->dir, "quant.json"), *text = NULL;
    if (!d->failed) text = vs_json_text(root, JSON_COMPACT | JSON_REAL_PRECISION(9)); /* every float32 comes back */
    vs_status status =
        path && text ? vs_write_file(path, text, strlen(text), err) : vs_fail(err, VS_ERR_NOMEM, "no memory for quant.json");
    free(text);
    free(path);
    return status;
}

vs_status vs_study_write_quant(const vs_study *s, const char *dir, vs_error *err) {
    char *dump = vs_config_dump_json(s->config);
    json_t *config = dump ? json_loads(dump, 0, NULL) : NULL, *states = json_object(), *root = NULL;
    document d = { .study = s,
                   .dir = dir,
                   .recipe = json_object_get(config, "recipe"),
                   .several = count_smoothed(&s->states) > 1,
                   .failed = !config || !states };
    vs_status status = VS_OK;
    const vs_state *state;
    for (size_t i = 0; status == VS_OK && (state = nth_state(&s->states, i)) != NULL; i++)
        status = add_state(&d, states, state, err);
    root = json_pack("{s:i, s:s, s:s, s:o, s:O}", "schema", 1, "name", s->config->name, "backend", s->backend->name, "recipe",
                     of_recipe(config, "recipe"), "states", states);
    if (status == VS_OK) status = write_json(&d, root, err);
    json_decref(root);
    json_decref(states);
    json_decref(config);
    free(dump);
    return status;
}
