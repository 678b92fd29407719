/* The inside of an analysis, shared by analysis.c (the pass over the images), distribution.c (distributions and surfaces of one
 * tensor) and local.c (each layer quantized alone, at its own output). */
#ifndef VS_ANALYSIS_RUN_H
#define VS_ANALYSIS_RUN_H

#include "run/sums.h"
#include "sens/analysis.h"
#include "sens/norms.h"

enum { VS_ANALYSIS_FLOAT = 0, VS_ANALYSIS_STATE = 1, VS_ANALYSIS_WORKSPACES = 2 };

/* Distributions in one image, kept until they are pooled. */
typedef struct vs_image_slot {
    vs_dist_slot *dist;  /* [rows * states * VS_SIDE_COUNT] */
    double *energies;    /* their energy arrays, in one piece */
    vs_abs_stats *heads; /* [heads]: of one tensor of probabilities */
    vs_token_slot tokens;
} vs_image_slot;

/* The second pass's counts of one tensor. */
typedef struct vs_dist_counts {
    uint64_t below, above;
} vs_dist_counts;

/* Indices: row r, state s, recipe p. */
typedef struct vs_analysis {
    vs_results *results;
    const vs_runner *runner;
    const vs_backend *backend;
    const vs_model *model;
    const vs_states *states;
    const vs_analysis_options *options;
    size_t rows, state_count, recipe_count;
    const vs_graph *graph;
    size_t *row_of_site;     /* [graph->site_count], SIZE_MAX where a layer is not asked for */
    vs_sums sums;            /* every SQNR, in this order: local, local_proj, cumulative, stream, output */
    vs_image_slot *slots;    /* [wave] */
    vs_dist_pool *dist;      /* [rows * states * VS_SIDE_COUNT] */
    void *hists;             /* in backend memory: theirs, [.. * VS_HIST_BINS], added to by all images and threads */
    vs_dist_counts **counts; /* [threads], each [rows * states * VS_SIDE_COUNT] */
    bool second_pass;
} vs_analysis;

static inline size_t vs_dist_index(const vs_analysis *a, size_t row, size_t state, vs_side tensor) {
    return (row * a->state_count + state) * VS_SIDE_COUNT + tensor;
}

/* Where `sums` has local.* of a row and recipe (one number a column), and the rest. */
static inline size_t vs_local_index(const vs_analysis *a, size_t row, size_t recipe) {
    return (row * a->recipe_count + recipe) * VS_LOCAL_COUNT;
}
static inline size_t vs_local_proj_index(const vs_analysis *a, size_t row, size_t recipe) {
    return vs_local_index(a, a->rows, 0) + row * a->recipe_count + recipe;
}
static inline size_t vs_cumulative_index(const vs_analysis *a, size_t row, size_t state) {
    return vs_local_proj_index(a, a->rows, 0) + row * a->state_count + state;
}
static inline size_t vs_stream_index(const vs_analysis *a, size_t state, size_t block) {
    return vs_cumulative_index(a, a->rows, 0) + state * a->model->arch.depth + block;
}
static inline size_t vs_output_index(const vs_analysis *a, size_t state) { return vs_stream_index(a, a->state_count, 0) + state; }

static inline size_t vs_row_of(const vs_analysis *a, size_t node) {
    const size_t site = a->graph->nodes[node].site;
    return site == VS_NONE ? SIZE_MAX : a->row_of_site[site];
}

typedef struct vs_analysis_run {
    const vs_analysis *a;
    const vs_job *job;
    size_t state; /* whose tap this is */
} vs_analysis_run;

/* Of image `image` of the job. */
static inline vs_image_slot *vs_analysis_slot(const vs_analysis_run *r, size_t image) {
    return &r->a->slots[(r->job->first + image) % r->a->runner->wave];
}

/* An operand that is not quantized is the same before and after: only its `in` is measured. */
static inline bool vs_out_is_in(const vs_analysis *a, vs_kind kind, size_t state) {
    return vs_kind_is_operand(kind) && !a->states->states[state].variant;
}

/* Scratch of a session, laid out once: inputs (smoothed; quantized), an output, a smoothed weight, probabilities. */
typedef struct vs_analysis_room {
    vs_mat input, quantized, output, weight, probs;
} vs_analysis_room;

/* Reals of that scratch, for images of N patches; and with room for probabilities. */
size_t vs_analysis_scratch_reals(const vs_graph *graph, size_t patches, size_t images);
size_t vs_analysis_scratch_reals_with_probs(const vs_graph *graph, size_t patches, size_t images);
/* The one for a study, with a half-precision state's whole run in it or not. */
vs_scratch_fn vs_analysis_scratch_of(bool probabilities, bool half);
/* Where a float value outside blocks waits for the states', which are written to its place in the session: in the same scratch,
 * while no layer is measured alone. */
vs_mat vs_analysis_kept(const vs_analysis_run *r, size_t value);
/* Keeps what the sites of a segment give, and the model's output. */
void vs_analysis_keep(const vs_analysis_run *r, size_t segment);
vs_analysis_room vs_analysis_scratch(const vs_analysis_run *r, size_t rows, size_t in, size_t out);

/* ---- distribution.c ---- */
/* First pass: statistics of |x|, and the surface where one is asked for. Second pass: counts against the pooled maximum. */
VS_NODISCARD vs_status vs_analysis_observe(const vs_analysis_run *r, size_t row, vs_side tensor, vs_mat x, vs_error *err);
/* The surface where one is asked for, which vs_analysis_observe captures too. */
VS_NODISCARD vs_status vs_analysis_capture(const vs_analysis_run *r, size_t row, vs_side tensor, vs_mat x, vs_error *err);

/* ---- analysis.c ---- */
/* SQNR sums number `index` of every image of the job. */
void vs_analysis_compare(const vs_analysis_run *r, size_t index, vs_mat x, vs_mat y);

/* ---- local.c ---- */
/* A value of the float model as it stands in the session. */
vs_mat vs_analysis_float_value(const vs_analysis_run *r, size_t value);
/* Every layer of a segment quantized alone by every recipe: sums of local.* and local_proj. */
void vs_analysis_local_segment(const vs_analysis_run *r, size_t segment);
/* After the job's last sync, where the sums are on the host: what operands share with an earlier recipe, and their `both`. */
void vs_analysis_local_finish(const vs_analysis_run *r);

#endif
