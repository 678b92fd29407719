/* The inside of an analysis, shared by analysis.c (the pass over the images), distribution.c (distributions and surfaces of one
 * tensor) and local.c (each layer quantized alone, at its own output). */
#ifndef VS_ANALYSIS_RUN_H
#define VS_ANALYSIS_RUN_H

#include "analysis.h"

enum { VS_ANALYSIS_FLOAT = 0, VS_ANALYSIS_STATE = 1, VS_ANALYSIS_WORKSPACES = 2 };

/* Results of one image, kept until it is pooled. Indices: row r, state s, recipe p. */
typedef struct vs_image_slot {
    vs_error_sums *local;      /* [rows * recipes * VS_LOCAL_COUNT] */
    vs_error_sums *local_proj; /* [rows * recipes] */
    vs_error_sums *cumulative; /* [rows * states] */
    vs_error_sums *stream;     /* [states * depth] */
    vs_error_sums *output;     /* [states] */
    vs_dist_slot *dist;        /* [rows * states * VS_TENSOR_COUNT] */
    double *energies;          /* their energy arrays, in one piece */
} vs_image_slot;

typedef struct vs_analysis {
    vs_results *results;
    const vs_runner *runner;
    const vs_backend *backend;
    const vs_model *model;
    const vs_states *states;
    const vs_analysis_options *options;
    size_t rows, state_count, recipe_count;
    size_t *row_of_site;  /* [vs_site_count(depth)], SIZE_MAX where a layer is not asked for */
    vs_image_slot *slots; /* [wave] */
    vs_dist_pool *dist;   /* [rows * states * VS_TENSOR_COUNT] */
    vs_sqnr_pool *local, *local_proj, *cumulative, *stream, *output;
    uint64_t **hist; /* [threads]: one tensor's histogram before it is added to the pool's */
    void **counters; /* [threads]: of the backend, where that histogram is counted */
    bool second_pass;
} vs_analysis;

static inline size_t vs_dist_index(const vs_analysis *a, size_t row, size_t state, vs_tensor tensor) {
    return (row * a->state_count + state) * VS_TENSOR_COUNT + tensor;
}

static inline size_t vs_row_of(const vs_analysis *a, vs_kind kind, int block) {
    const size_t site = vs_site_index(kind, block);
    return site == SIZE_MAX ? SIZE_MAX : a->row_of_site[site];
}

typedef struct vs_analysis_run {
    const vs_analysis *a;
    const vs_job *job;
    vs_image_slot *slot;
    size_t state; /* whose tap this is */
} vs_analysis_run;

/* Scratch of a session, laid out once: inputs (smoothed; quantized), an output, a smoothed weight, probabilities. */
typedef struct vs_analysis_room {
    vs_mat input, quantized, output, weight, probs;
} vs_analysis_room;

/* Reals of that scratch, for images of t tokens; and with room for probabilities. */
size_t vs_analysis_scratch_reals(const vs_arch *arch, size_t t);
size_t vs_analysis_scratch_reals_with_probs(const vs_arch *arch, size_t t);
vs_analysis_room vs_analysis_scratch(const vs_analysis_run *r, size_t rows, size_t in, size_t out);

/* ---- distribution.c ---- */
/* First pass: statistics of |x|, and the surface where one is asked for. Second pass: counts against the pooled maximum. */
VS_NODISCARD vs_status vs_analysis_observe(const vs_analysis_run *r, size_t row, vs_tensor tensor, vs_mat x, vs_error *err);
/* An operand that is not quantized is the same before and after: its `out` is its `in`. */
VS_NODISCARD vs_status vs_analysis_copy_in_to_out(const vs_analysis_run *r, size_t row, vs_mat x, vs_error *err);

/* ---- local.c ---- */
/* The float model's output of a layer (operands: of the attention) as it stands in the session. */
vs_mat vs_analysis_float_output(const vs_analysis_run *r, vs_kind kind);
/* One layer, or every layer of a block, quantized alone by every recipe: sums of local.* and local_proj. */
void vs_analysis_local_layer(const vs_analysis_run *r, vs_kind kind, int block);
void vs_analysis_local_block(const vs_analysis_run *r, size_t block);
/* After the image's last sync, where the sums are on the host: what operands share with an earlier recipe, and their `both`. */
void vs_analysis_local_finish(const vs_analysis_run *r);

#endif
