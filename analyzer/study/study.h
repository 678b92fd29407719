/* A whole study: from a configuration to results in memory. The caller writes files and pictures. */
#ifndef VS_STUDY_H
#define VS_STUDY_H

#include "config/config.h"
#include "edit/plant.h"
#include "images/image_notes.h"
#include "results/results.h"
#include "sens/analysis.h"
#include "study/cache.h"
#include "study/forecast.h"
#include "task/evaluate.h"

/* What a study is opened for; only what that needs is checked. */
typedef enum vs_purpose {
    VS_FOR_ALL,    /* vs_study_run */
    VS_FOR_STATES, /* vs_study_prepare_states */
    VS_FOR_FLOAT   /* the float model alone */
} vs_purpose;

typedef struct vs_study_options {
    vs_purpose purpose;
    const char *backend;      /* "cpu", "cuda", "ref" */
    vs_arithmetic arithmetic; /* of products */
    vs_model *model;          /* to study instead of the configuration's checkpoint, or NULL; the study owns it from then on */
    size_t threads;           /* workers; 0: what suits the backend */
    size_t batch;             /* images in one session, at most VS_MAX_BATCH; 0: what suits the backend */
    size_t memory;            /* bytes of a device that may be used; 0: no limit */
    const vs_stop *stop;
    vs_progress progress;
    bool tells_memory;      /* what a large study will take, through progress.note, before its weights are read */
    const char *last_stage; /* the caller's own, behind the study's (vs_study_begin_stage); NULL: none */
    size_t last_images;     /* it looks at */
    vs_cache *cache;        /* of a batch: what is equal in several of its runs is computed once; NULL: a run of its own */
} vs_study_options;

typedef struct vs_stage_time {
    const char *stage;
    double seconds;
} vs_stage_time;

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
    vs_forecast forecast; /* stages as they were planned */
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
/* Opens backend and image sets and reads the model's shapes; checks all that can be known to be wrong before anything is
 * computed, and makes the forecast. The study can be asked what it will do, loaded and released. */
VS_NODISCARD vs_status vs_study_outline(vs_study *study, const vs_config *config, const vs_study_options *options, vs_error *err);
/* Reads an outlined study's weights and plants; on failure the study is as vs_study_outline left it, to be released. */
VS_NODISCARD vs_status vs_study_load(vs_study *study, vs_error *err);
/* Both; on failure nothing is left to release. */
VS_NODISCARD vs_status vs_study_open(vs_study *study, const vs_config *config, const vs_study_options *options, vs_error *err);
/* Calibration, analysis, evaluation, rankings. */
VS_NODISCARD vs_status vs_study_run(vs_study *study, vs_error *err);
void vs_study_release(vs_study *study);
/* Tells progress that a stage of the forecast begins: of the caller, the last one. */
void vs_study_begin_stage(vs_study *study, const char *name);
bool vs_study_needs_calibration(const vs_config *config);
/* Images that the analysis will look at. */
size_t vs_study_analysis_images(const vs_study *study);
/* "memory: ...", what an outlined study will hold; bytes in *total. False: it cannot be said. */
bool vs_study_memory(const vs_study *study, double *total, char *text, size_t size);

/* The runner of a study's float model (for capture and benchmarks). */
vs_runner vs_study_runner(const vs_study *study);
/* Calibration and states only, without analysis (for capture of a quantized state). */
VS_NODISCARD vs_status vs_study_prepare_states(vs_study *study, vs_error *err);

#endif
