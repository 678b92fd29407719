#include "run/state.h"

#include <stdlib.h>
#include <string.h>

#include "half/real.h"
#include "util/util.h"

static bool is_smooth(vs_state_kind kind) { return kind == VS_STATE_SQ; }

static bool is_plain(vs_state_kind kind) { return kind == VS_STATE_PTQ || kind == VS_STATE_WEIGHTS || kind == VS_STATE_ACTS; }

static bool is_state(const vs_config *c, const char *name) {
    for (size_t i = 0; i < c->state_count; i++)
        if (strcmp(c->states[i].name, name) == 0) return true;
    return false;
}

size_t vs_states_count_variants(const vs_config *c, bool recipes) {
    bool plain = false;
    size_t smooth = 0;
    for (size_t i = 0; i < c->state_count; i++) {
        plain |= is_plain(c->states[i].kind);
        smooth += is_smooth(c->states[i].kind);
    }
    for (size_t i = 0; recipes && i < c->analyze.recipes.count; i++) {
        const char *name = c->analyze.recipes.items[i];
        plain |= !is_state(c, name) && strcmp(name, "ptq") == 0;
        smooth += !is_state(c, name) && strcmp(name, "sq") == 0;
    }
    return smooth + plain;
}

/* The plain variant (ptq, weights, acts) is built once; every smoothed state has one of its own. */
static vs_status variant_for(vs_states *s, const vs_state_config *sc, const vs_recipe_config *recipe, const vs_weights *base,
                             const vs_calibration *calibration, vs_variant **plain, const vs_variant **out, vs_error *err) {
    if (sc->kind == VS_STATE_FP32) {
        *out = NULL;
        return VS_OK;
    }
    if (!is_smooth(sc->kind) && *plain) {
        *out = *plain;
        return VS_OK;
    }
    const vs_variant_options options = { .smooth = is_smooth(sc->kind), .alpha = sc->alpha, .scope = sc->scope };
    vs_variant *v = NULL;
    vs_status status = vs_variant_create(&v, base, calibration, recipe, &options, err);
    if (status != VS_OK) return status;
    s->variants[s->variant_count++] = v;
    if (!is_smooth(sc->kind)) *plain = v;
    *out = v;
    return VS_OK;
}

/* Policy fused: how an engine in half precision is expected to run it (docs/fp16-reference.md 3 and 7). */
static vs_status make_half(vs_states *s, const vs_weights *base, vs_error *err) {
    static char name[] = "fused";
    static const vs_policy_config fused = { .name = name, .scale = VS_SCALE_AFTER };
    if (s->half) return VS_OK;
    const vs_status status = vs_half_weights_create(&s->half, base, VS_HALF_FP16, err);
    if (status != VS_OK) return status;
    s->half_model = vs_calloc(1, sizeof *s->half_model);
    if (!s->half_model) return vs_fail(err, VS_ERR_NOMEM, "no memory for states");
    *s->half_model = (vs_half_model){ .weights = s->half, .policy = &fused };
    return VS_OK;
}

static vs_state make_state(const vs_state_config *sc, const vs_weights *base, const vs_variant *v) {
    const bool weights = sc->kind == VS_STATE_PTQ || sc->kind == VS_STATE_SQ || sc->kind == VS_STATE_WEIGHTS;
    const bool inputs = sc->kind == VS_STATE_PTQ || sc->kind == VS_STATE_SQ || sc->kind == VS_STATE_ACTS;
    return (vs_state){ sc->name, sc->kind, v && weights ? &v->weights : base, inputs ? v : NULL, NULL };
}

static size_t find_state(const vs_states *s, const char *name) {
    for (size_t i = 0; i < s->state_count; i++)
        if (strcmp(s->states[i].name, name) == 0) return i;
    return SIZE_MAX;
}

static vs_status add_recipe(vs_states *s, const vs_config *config, size_t index, const vs_weights *base,
                            const vs_calibration *calibration, vs_variant **plain, vs_error *err) {
    char *name = config->analyze.recipes.items[index];
    const vs_mark mark = config->analyze.recipes.marks[index];
    const size_t at = find_state(s, name);
    s->recipe_state[s->recipe_count] = at;
    if (at != SIZE_MAX) {
        const vs_state_kind kind = s->states[at].kind;
        if (kind != VS_STATE_PTQ && kind != VS_STATE_SQ)
            return vs_config_fail(config, mark, err, "analyze.recipes: '%s' is a state of kind %s; recipes are ptq or sq states",
                                  name, vs_state_kind_name(kind));
        s->recipes[s->recipe_count++] = s->states[at];
        return VS_OK;
    }
    const bool ptq = strcmp(name, "ptq") == 0;
    if (!ptq && strcmp(name, "sq") != 0)
        return vs_config_fail(config, mark, err, "analyze.recipes: '%s' is no state of this run", name);
    const vs_state_config sc = { .kind = ptq ? VS_STATE_PTQ : VS_STATE_SQ, .name = name, .alpha = 0.5 };
    const vs_variant *v = NULL;
    vs_status status = variant_for(s, &sc, &config->recipe, base, calibration, plain, &v, err);
    if (status == VS_OK) s->recipes[s->recipe_count++] = make_state(&sc, base, v);
    return status;
}

vs_status vs_states_create(vs_states *s, const vs_config *config, const vs_weights *base, const vs_calibration *calibration,
                           vs_error *err) {
    const size_t most = config->state_count + config->analyze.recipes.count + 1;
    *s = (vs_states){ .states = vs_calloc(most, sizeof(vs_state)),
                      .recipes = vs_calloc(most, sizeof(vs_state)),
                      .recipe_state = vs_calloc(most, sizeof(size_t)),
                      .variants = vs_calloc(most, sizeof(vs_variant *)) };
    vs_status status = VS_OK;
    if (!s->states || !s->recipes || !s->recipe_state || !s->variants) {
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for states");
        goto out;
    }
    s->states[s->state_count++] = (vs_state){ "fp32", VS_STATE_FP32, base, NULL, NULL };
    vs_variant *plain = NULL;
    for (size_t i = 0; i < config->state_count && status == VS_OK; i++) {
        const vs_state_config *sc = &config->states[i];
        if (sc->kind == VS_STATE_FP32) {
            s->states[0].name = sc->name;
            continue;
        }
        if (sc->kind == VS_STATE_FP16) {
            status = make_half(s, base, err);
            s->states[s->state_count++] = (vs_state){ sc->name, sc->kind, base, NULL, s->half_model };
            continue;
        }
        const vs_variant *v = NULL;
        status = variant_for(s, sc, &config->recipe, base, calibration, &plain, &v, err);
        if (status == VS_OK) s->states[s->state_count++] = make_state(sc, base, v);
    }
    for (size_t i = 0; i < config->analyze.recipes.count && status == VS_OK; i++)
        status = add_recipe(s, config, i, base, calibration, &plain, err);
out:
    if (status != VS_OK) vs_states_release(s);
    return status;
}

void vs_states_release(vs_states *s) {
    for (size_t i = 0; s->variants && i < s->variant_count; i++) vs_variant_free(s->variants[i]);
    vs_half_weights_free(s->half);
    free(s->half_model);
    free(s->variants);
    free(s->states);
    free(s->recipes);
    free(s->recipe_state);
    *s = (vs_states){ 0 };
}

void vs_state_apply(const vs_state *state, const vs_backend *backend, const vs_tap *tap) {
    const vs_site *site = tap->input && state->variant
                              ? vs_variant_site(state->variant, state->weights->model->graph->nodes[tap->node].site)
                              : NULL;
    if (!site) return;
    vs_site_smooth_running(backend, site, tap->x, tap->x);
    vs_site_quantize(backend, site, tap->x, tap->x, 1, NULL);
}

static vs_status apply_tap(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const vs_state_tap *c = context;
    vs_state_apply(c->state, c->backend, tap);
    return VS_OK;
}

vs_tapper vs_state_tapper(vs_state_tap *context) { return (vs_tapper){ context->state->variant ? apply_tap : NULL, context }; }

static bool same_site(const vs_state *a, const vs_state *b, size_t site) {
    const vs_site *x = vs_variant_site(a->variant, site), *y = vs_variant_site(b->variant, site);
    if (x->smooth || y->smooth || x->grid_count != y->grid_count) return false;
    return x->grid_count == 0 || memcmp(x->grids, y->grids, x->grid_count * sizeof *x->grids) == 0;
}

size_t vs_states_first_alike(const vs_states *s, size_t recipe, size_t site) {
    for (size_t p = 0; p < recipe; p++)
        if (same_site(&s->recipes[p], &s->recipes[recipe], site)) return p;
    return recipe;
}

vs_status vs_state_forward(const vs_state *state, vs_session *session, const float *pixels, vs_error *err) {
    if (state->half && state->half->real) return vs_half_real_forward(session, state->half, pixels, NULL, NULL, err);
    if (state->half) return vs_half_forward(session, state->half, pixels, NULL, err);
    vs_state_tap tap = { state, state->weights->backend };
    return vs_forward(session, state->weights, pixels, vs_state_tapper(&tap), err);
}

vs_scratch_fn vs_states_scratch(const vs_states *states) {
    vs_scratch_fn scratch = NULL;
    for (size_t i = 0; i < states->state_count; i++) {
        const vs_half_model *half = states->states[i].half;
        if (half && !half->real) return vs_half_scratch; /* half kernels take less */
        if (half) scratch = vs_half_real_scratch;
    }
    return scratch;
}
