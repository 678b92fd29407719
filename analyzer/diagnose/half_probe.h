/* Emulated half-precision runs over the analysis images, many of one model: the float run's output is kept, so that a run costs
 * one pass, and a run that has shown enough stops. */
#ifndef VS_HALF_PROBE_H
#define VS_HALF_PROBE_H

#include "half/half.h"
#include "results/results.h"
#include "run/pool.h"
#include "task/evaluate.h"

typedef struct vs_half_probe_row {
    bool seen;
    double max;             /* max |x| of what a half row stored, before rounding; 0 of a float32 row */
    uint64_t inf, cast_inf; /* overflows of the result, of what was read */
    uint64_t nan;
    double cast_max; /* of what was read in float32 */
    double sqnr;     /* dB, where rows are compared; else NAN */
} vs_half_probe_row;

typedef struct vs_half_probe {
    vs_half_probe_row *rows; /* [vs_half_row_count] */
    vs_sqnr output;          /* not present where an image's pass ended early */
    bool has_task;
    vs_task task; /* of vs_half_probe_task */
} vs_half_probe;

/* A run whose streams are kept: one of the same policy begins where its rows in float32 first differ. */
typedef struct vs_half_kept {
    void **streams; /* [images * depth], as of vs_half_streams; NULL: none are kept */
    const vs_half_weights *weights;
    const vs_policy_config *policy;
    bool *float32;           /* [rows] */
    vs_half_probe_row *rows; /* [rows] */
} vs_half_kept;

typedef struct vs_half_prober {
    const vs_runner *runner;
    const vs_imageset *set;
    vs_half_rows *graph_rows; /* of the model */
    size_t images, rows;      /* rows: how many */
    size_t patches;           /* of the first image */
    void **floats;            /* [images]: the float run's output, in the backend's memory */
    size_t *image_tokens;     /* [images] */
    vs_half_kept kept;
    vs_float_maps *maps; /* the float run's, of the images; NULL until a task is asked for */
    size_t runs;         /* so far, the float run not among them */
    /* Progress counts runs instead of a run's images, where these have a name: those before, and how many there may be. */
    char stage[64];
    size_t stage_first, stage_most;
} vs_half_prober;

/* Runs the float model on the first `images` of the set. */
VS_NODISCARD vs_status vs_half_prober_create(vs_half_prober *prober, const vs_runner *runner, const vs_imageset *set,
                                             size_t images, vs_error *err);
void vs_half_prober_release(vs_half_prober *prober);

/* One run; rows are compared with the float run's unless model->counts_only. The caller releases the probe, after an error too.
 */
VS_NODISCARD vs_status vs_half_probe_run(vs_half_probe *out, vs_half_prober *prober, const vs_half_model *model, vs_error *err);
/* The same, and the task metric on the same images, where the model has a head and the pass does not end early. */
VS_NODISCARD vs_status vs_half_probe_task(vs_half_probe *out, vs_half_prober *prober, const vs_half_model *model, vs_error *err);
/* The same, and until the next such run others of the policy begin in its middle (model->float32 must be set). */
VS_NODISCARD vs_status vs_half_probe_keep(vs_half_probe *out, vs_half_prober *prober, const vs_half_model *model, vs_error *err);
void vs_half_probe_release(vs_half_probe *probe);
/* SQNR of another float model's output, its weights and sessions those of `runner`, against the prober's. */
VS_NODISCARD vs_status vs_half_probe_float(vs_sqnr *out, vs_half_prober *prober, const vs_runner *runner, vs_error *err);
/* Finite, and at least `target` dB. */
bool vs_half_probe_reaches(const vs_half_probe *probe, double target);

#endif
