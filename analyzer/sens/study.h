/* A whole study: from a configuration to results in memory. Files and pictures are the caller's business. */
#ifndef VS_STUDY_H
#define VS_STUDY_H

#include "analysis.h"
#include "cache.h"
#include "config.h"
#include "evaluate.h"
#include "image_notes.h"
#include "plant.h"
#include "results.h"

typedef struct vs_study_options {
    const char *backend;      /* "cpu", "cuda", "ref" */
    vs_arithmetic arithmetic; /* of products */
    vs_model *model;          /* to study instead of the configuration's checkpoint, or NULL; the study owns it from then on */
    size_t threads;           /* workers; 0: what suits the backend */
    size_t batch;             /* images in one session, at most VS_MAX_BATCH; 0: what suits the backend */
    size_t memory;            /* bytes of a device that may be used; 0: no limit */
    const vs_stop *stop;
    vs_progress progress;
    bool tells_memory; /* what a large study will take, through progress.note, before its weights are read */
    vs_cache *cache;   /* of a batch: what is equal in several of its runs is computed once; NULL: a run of its own */
} vs_study_options;

typedef struct vs_stage_time {
    const char *stage;
    double seconds;
} vs_stage_time;
enum { VS_MAX_STAGES = 16 };

typedef struct vs_study {
    const vs_config *config; /* borrowed */
    vs_backend *backend;
    vs_model *model;
    bool outline; /* the model is names and shapes alone: its values are not read yet */
    vs_weights *weights;
    vs_imageset calibration_set, analysis_set, evaluation_set;
    vs_image_notes image_notes;
    vs_calibration *calibration;
    vs_float_maps *float_maps; /* for later runs of a batch, or from an earlier one; else NULL */
    bool planted;              /* the model is as the configuration says */
    vs_states states;
    vs_point *points;
    size_t point_count;
    vs_surface_capture *captures;
    size_t capture_count;
    vs_evaluation evaluation;
    vs_evaluation half_maps; /* maps under fp32 and the policies of results.fp16 */
    vs_results results;      /* its names and numbers are owned by the study */
    char **image_names;
    vs_stage_time stages[VS_MAX_STAGES];
    size_t stage_count;
    double stage_start;
    double
        forward_seconds; /* of one image, as calibration took, of this run or an earlier one; estimates what a sweep will take */
    vs_study_options options;
} vs_study;

/* How a configuration's model is read; strings are borrowed from it. */
vs_model_options vs_study_model_options(const vs_config *config, bool shapes_only);
/* Takes mean and std from the files beside the weights where the configuration does not write them; what is then resolved is the
 * configuration's. Before anything reads it: results, digests and caches follow from it. */
VS_NODISCARD vs_status vs_study_adopt_input(vs_config *config, vs_error *err);
/* Opens backend, model and image sets; plants; checks names and sizes. Everything that can be wrong in a configuration
 * is found here, before the long work. */
VS_NODISCARD vs_status vs_study_open(vs_study *study, const vs_config *config, const vs_study_options *options, vs_error *err);
/* Calibration, analysis, evaluation, rankings. */
VS_NODISCARD vs_status vs_study_run(vs_study *study, vs_error *err);
void vs_study_release(vs_study *study);

/* The runner of a study's float model (for capture and benchmarks). */
vs_runner vs_study_runner(const vs_study *study);
/* Calibration and states only, without analysis (for capture of a quantized state). */
VS_NODISCARD vs_status vs_study_prepare_states(vs_study *study, vs_error *err);

#endif
