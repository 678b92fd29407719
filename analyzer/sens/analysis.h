/* One pass over the analysis images: the float model and every state side by side, block by block, with each layer
 * also quantized alone (docs/study.md 4 and 5). Nothing grows with the number of images. */
#ifndef VS_ANALYSIS_H
#define VS_ANALYSIS_H

#include "run/pool.h"
#include "run/record.h"
#include "run/state.h"

typedef enum vs_side { VS_SIDE_OUT, VS_SIDE_IN, VS_SIDE_COUNT } vs_side;

/* |x| of one layer's tensor in every state, for one image. */
typedef struct vs_surface_capture {
    size_t row;
    vs_side tensor;
    size_t tokens, channels;
    float **values;   /* [state_count], each [tokens * channels]; signed values' magnitudes */
    uint64_t **hists; /* [state_count], pooled over the set, each [VS_HIST_BINS] */
} vs_surface_capture;

typedef struct vs_analysis_options {
    size_t images;                 /* of the set, from the first */
    bool weight, activation, both; /* local modes */
    bool cumulative;
    vs_surface_capture *captures; /* row and tensor are set by the caller; the rest is filled */
    size_t capture_count, capture_image;
} vs_analysis_options;

/* Fills every row's local and cumulative columns and states, output_sqnr and stream of `results`, whose rows, states and recipes
 * are in place. */
VS_NODISCARD vs_status vs_analyze(vs_results *results, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                                  const vs_analysis_options *options, vs_error *err);

#endif
