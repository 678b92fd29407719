/* States (the whole model, quantized one way) and recipes (states whose layers are also measured one at a time). */
#ifndef VS_STATE_H
#define VS_STATE_H

#include "half/half.h"
#include "quant/quant.h"
#include "run/pool.h"

/* A model to run: which weights, and what is done to the inputs of its layers. */
typedef struct vs_state {
    const char *name; /* borrowed from the configuration */
    vs_state_kind kind;
    const vs_weights *weights; /* the float model's or a variant's */
    const vs_variant *variant; /* its sites quantize the inputs; NULL: inputs stay float */
    const vs_half_model *half; /* run in half precision instead; else NULL */
} vs_state;

/* All states and recipes of a run. states[0] is always fp32. Several states share a variant: `weights` and `acts` are
 * halves of plain ptq. */
typedef struct vs_states {
    vs_state *states;
    size_t state_count;
    vs_state *recipes;    /* ptq and sq states measured layer by layer */
    size_t *recipe_state; /* the recipe's index in states, SIZE_MAX when it is not run as a whole model */
    size_t recipe_count;
    vs_variant **variants;
    size_t variant_count;
    vs_half_weights *half;     /* of a state fp16; else NULL */
    vs_half_model *half_model; /* policy fused on them */
} vs_states;

/* How many variants vs_states_create will make; `recipes`: for recipes that are no states, too. */
size_t vs_states_count_variants(const vs_config *config, bool recipes);
VS_NODISCARD vs_status vs_states_create(vs_states *out, const vs_config *config, const vs_weights *base,
                                        const vs_calibration *calibration, vs_error *err);
void vs_states_release(vs_states *states);

/* The state's own change to a tensor that a layer is about to read, in place: division by s, then its grid. */
void vs_state_apply(const vs_state *state, const vs_backend *backend, const vs_tap *tap);
/* A tapper that applies a state (context: vs_state_tap) and nothing else. */
typedef struct vs_state_tap {
    const vs_state *state;
    const vs_backend *backend;
} vs_state_tap;
vs_tapper vs_state_tapper(vs_state_tap *context);

/* The whole model as the state runs it, in a session with the scratch that vs_states_scratch says (NULL: none). */
VS_NODISCARD vs_status vs_state_forward(const vs_state *state, vs_session *session, const float *pixels, vs_error *err);
vs_scratch_fn vs_states_scratch(const vs_states *states);

/* The first recipe that does the same to a layer as `recipe`, so that one measurement serves both: q, k and v, which SmoothQuant
 * leaves alone, and under scope norm proj and fc2. `recipe` itself where there is none before it. */
size_t vs_states_first_alike(const vs_states *states, size_t recipe, size_t site);

#endif
