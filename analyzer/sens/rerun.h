/* The model run again with one layer changed (docs/study.md 4: output.* and spared), from that layer on and not from the
 * image. Every re-run computes the same operations on the same operands as a whole run with that layer changed, so the results
 * are the same bits. */
#ifndef VS_RERUN_H
#define VS_RERUN_H

#include "results/results.h"
#include "run/pool.h"
#include "run/state.h"

/* Two workspaces: the running model's block, and the re-run's. */
enum { VS_RERUN_BASE_WORKSPACE, VS_RERUN_WORKSPACE, VS_RERUN_WORKSPACES };
/* The running model; its block's input; the re-run. */
enum { VS_RERUN_BASE, VS_RERUN_BLOCK_INPUT, VS_RERUN_STREAM, VS_RERUN_STREAMS };

/* One worker's room for changed weights, and the images at work. */
typedef struct vs_rerun {
    const vs_backend *backend;
    const vs_weights *base; /* the float model */
    const vs_stop *stop;
    const vs_job *job;
    vs_weights changed; /* `base` (or a state's weights) with one layer replaced; params are `params` */
    const void **params;
    void *weight_scratch; /* reals of the largest linear's weight: W * s unquantized */
    vs_mat reference;     /* the float model's output */
} vs_rerun;

/* One for every worker of the runner. */
VS_NODISCARD vs_status vs_reruns_create(vs_rerun **reruns, const vs_runner *runner, vs_error *err);
void vs_reruns_free(vs_rerun *reruns, const vs_runner *runner);
/* What their sessions hold: the streams and workspaces above, a weight and the reference output in scratch. */
vs_session_needs vs_rerun_needs(void);

/* Begins a job: the float model's whole output into `reference`; stream VS_RERUN_BASE holds the tokens before block 0. */
VS_NODISCARD vs_status vs_rerun_begin(vs_rerun *rerun, const vs_job *job, vs_error *err);
/* Block `block` of the float model on stream VS_RERUN_BASE, with what its re-runs need kept beside. */
VS_NODISCARD vs_status vs_rerun_block(vs_rerun *rerun, size_t block, vs_error *err);
/* The layer at `site` (of the block that vs_rerun_block ran last; or outside blocks) alone quantized as `recipe` says in `mode`,
 * the rest float: SQNR sums at the model's output, sums[i] of image i, valid after a sync. The head is measured after the last
 * block. */
VS_NODISCARD vs_status vs_rerun_alone(vs_rerun *rerun, const vs_state *recipe, size_t site, vs_mode mode,
                                      vs_error_sums *const *sums, vs_error *err);

/* The model as `recipe` quantizes it, but the layer at `site` left float, from the quantized stream VS_RERUN_BASE as it stands
 * before that layer's segment; VS_NONE: the whole of it, from block 0. */
VS_NODISCARD vs_status vs_rerun_spared(vs_rerun *rerun, const vs_state *recipe, size_t site, vs_error_sums *const *sums,
                                       vs_error *err);

/* `weights` with the linear of one layer replaced as `mode` and `recipe` ask (operands: as they are). Valid until the next call.
 */
const vs_weights *vs_rerun_weights(vs_rerun *rerun, const vs_state *recipe, size_t site, vs_mode mode);
/* Quantizes (or only smooths) the input of one layer, as `mode` asks. */
typedef struct vs_only_tap {
    const vs_backend *backend;
    const vs_state *recipe;
    size_t node;
    vs_mode mode;
} vs_only_tap;
vs_tapper vs_only_tapper(vs_only_tap *context);

#endif
