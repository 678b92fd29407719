/* Damage at the model's output (docs/study.md 4): every layer alone quantized, every layer alone left float. */
#ifndef VS_SWEEP_H
#define VS_SWEEP_H

#include "sens/rerun.h"

typedef struct vs_sweep_options {
    size_t images;                 /* of the set, from the first */
    bool weight, activation, both; /* modes of output.* */
} vs_sweep_options;

/* What a sweep costs, counted in whole forward passes over all images (a re-run of block 9 of 12 counts a quarter). */
typedef struct vs_sweep_cost {
    size_t reruns;
    double forwards;
} vs_sweep_cost;
vs_sweep_cost vs_output_cost(const vs_results *results, const vs_states *states, const vs_sweep_options *options);
vs_sweep_cost vs_spared_cost(const vs_results *results, const vs_states *states, const vs_sweep_options *options);

/* Fills output[] of every row and recipe. */
VS_NODISCARD vs_status vs_sweep_output(vs_results *results, const vs_runner *runner, const vs_imageset *set,
                                       const vs_states *states, const vs_sweep_options *options, vs_error *err);
/* Fills spared and spared_gain of every row and recipe, and spared_floor of every recipe: the standard deviation of the quantized
 * model's output SQNR over 8 runs whose (normalised) pixels are multiplied by 1 + 1e-6 N(0,1), seeded. */
VS_NODISCARD vs_status vs_sweep_spared(vs_results *results, const vs_runner *runner, const vs_imageset *set,
                                       const vs_states *states, const vs_sweep_options *options, vs_error *err);
/* Fills `propagations`: the `count` worst rows of recipe ptq (by output.both where it was run, else by local.both), each alone
 * quantized, compared on the residual stream after every block from its own on. */
VS_NODISCARD vs_status vs_sweep_propagation(vs_results *results, const vs_runner *runner, const vs_imageset *set,
                                            const vs_states *states, const vs_sweep_options *options, size_t count,
                                            vs_error *err);

#endif
