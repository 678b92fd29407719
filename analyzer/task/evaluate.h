/* Task metrics of every state on the evaluation set (docs/study.md 7). */
#ifndef VS_EVALUATE_H
#define VS_EVALUATE_H

#include "results/results.h"
#include "run/state.h"
#include "task/map_capture.h"
#include "task/predict.h"

typedef struct vs_evaluation {
    vs_task *tasks; /* [state_count] */
    size_t state_count, classes;
    vs_map_capture *captures; /* the first images of the set */
    size_t capture_count;
} vs_evaluation;

/* What the float model predicts for each image of a set, kept for another evaluation of the same model and set. Within a limit on
 * memory that is shared out evenly: larger images are predicted again. */
typedef struct vs_float_maps {
    size_t images;
    size_t *pixels;  /* [images]: of each map */
    uint16_t **maps; /* [images]: NULL where it is not kept */
} vs_float_maps;
VS_NODISCARD vs_status vs_float_maps_create(vs_float_maps **out, size_t images, vs_error *err);
/* Keeps a copy of an image's map in place of what was there. */
VS_NODISCARD vs_status vs_float_maps_put(vs_float_maps *maps, size_t image, const uint16_t *map, size_t pixels, vs_error *err);
void vs_float_maps_free(vs_float_maps *maps);

/* Segmentation heads give maps; a classifier gives one class an image (agreement, and accuracy where labels exist).
 * `keep` maps of the first images are kept for drawing. `floats` (may be NULL) is read where it has a map and filled where not.
 */
VS_NODISCARD vs_status vs_evaluate(vs_evaluation *out, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                                   size_t keep, vs_float_maps *floats, vs_error *err);
/* The same for a set that is cut into windows (preprocess.mmseg) and a segmentation head: one map an image, of its own size. */
VS_NODISCARD vs_status vs_evaluate_windows(vs_evaluation *out, const vs_runner *runner, const vs_imageset *set,
                                           const vs_states *states, size_t keep, vs_error *err);
/* Pixels of one of the job's maps, and the maps, one image after another, of the outputs that its session holds: resized to the
 * image, or one class for a classifier. */
size_t vs_job_map_pixels(const vs_runner *runner, const vs_job *job);
VS_NODISCARD vs_status vs_job_maps(const vs_runner *runner, const vs_job *job, uint16_t *maps, vs_error *err);
/* mIoU, mAcc, aAcc and agreement in percent (docs/vit-models.md 6.3); t->iou is new, NAN for a class in neither labels nor
 * predictions. */
VS_NODISCARD vs_status vs_task_of_counts(vs_task *task, const vs_confusion *counts, bool has_labels, vs_error *err);
void vs_evaluation_release(vs_evaluation *evaluation);

#endif
