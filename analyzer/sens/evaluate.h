/* Task metrics of every state on the evaluation set (study.md section 7). */
#ifndef VS_EVALUATE_H
#define VS_EVALUATE_H

#include "predict.h"
#include "results.h"
#include "state.h"

/* Class maps of one image under each state, kept for drawing. */
typedef struct vs_map_capture {
    char *name;
    size_t width, height;
    uint8_t *rgb, *labels; /* labels may be NULL */
    uint8_t **maps;        /* [state_count] */
} vs_map_capture;

typedef struct vs_evaluation {
    vs_task *tasks; /* [state_count] */
    size_t state_count, classes;
    vs_map_capture *captures; /* the first images of the set */
    size_t capture_count;
} vs_evaluation;

/* Segmentation heads give maps; a classifier gives one class an image (agreement, and accuracy where labels exist).
 * `keep` maps of the first images are kept. */
VS_NODISCARD vs_status vs_evaluate(vs_evaluation *out, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                                   size_t keep, vs_error *err);
void vs_evaluation_release(vs_evaluation *evaluation);

#endif
