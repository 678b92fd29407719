/* Images at work: several of one size in a session, each worker with a session of its own. */
#ifndef VS_POOL_H
#define VS_POOL_H

#include "images/imageset.h"
#include "util/progress.h"
#include "util/stop.h"
#include "vitscope/vit.h"

/* Images in one session, at most. */
enum { VS_MAX_BATCH = VS_MAX_SESSION_IMAGES };

/* How work is run; shared by every stage of a study. */
typedef struct vs_runner {
    const vs_weights *weights; /* of the float model */
    size_t threads;            /* workers; >= 1 */
    size_t batch;              /* images in one session, at most; 1 to VS_MAX_BATCH */
    size_t wave;               /* images whose results are held before they are pooled; >= 1 */
    size_t memory;             /* bytes that the backend may hold in all; 0: as many as there are */
    const vs_stop *stop;       /* set from outside to stop; may be NULL */
    vs_progress progress;
    bool probabilities; /* sessions keep them: a recipe quantizes them, and every state must compute alike */
} vs_runner;

/* Reals of session scratch for some images of N patches. */
typedef size_t (*vs_scratch_fn)(const vs_graph *graph, size_t patches, size_t images);
/* Memory that the sessions of a stage need besides the forward pass, as a function of N and the images in a session. */
typedef struct vs_session_needs {
    size_t workspaces, streams;
    vs_scratch_fn scratch; /* NULL: none */
} vs_session_needs;

/* Images at work: `first` and those behind it, all of one size. */
typedef struct vs_job {
    vs_session *session;      /* of this worker, fit for them */
    const float *pixels;      /* [images, 3, height, width], normalised */
    const vs_sample *samples; /* [images] */
    size_t images, first, worker;
    size_t helpers;         /* threads that may share work on the host, an image each; 1 where workers fill the processors */
    struct vs_stage *stage; /* where vs_job_progress counts */
} vs_job;

typedef vs_status (*vs_job_fn)(void *context, const vs_job *job, vs_error *err); /* not called once the runner is stopped */
typedef vs_status (*vs_pool_fn)(void *context, size_t image, vs_error *err);     /* called in image order */

/* Says that `done` of `total` parts of these images are finished. */
void vs_job_progress(const vs_job *job, size_t done, size_t total);

/* Runs `work` on images 0..count-1 of the set, up to `runner->batch` of one size in a session, `runner->threads` sessions at a
 * time, and `pool` (may be NULL) on each image in order, a wave at a time. The first error in image order wins; then nothing of
 * its wave is pooled.
 * `slot` of an image, where its results may be kept until pooled, is image % runner->wave: what is kept image by image does not
 * depend on the number of threads, nor on the batch where the backend computes an image alike in any batch.
 * Where sessions do not fit in memory, the batch is halved, then one thread goes on alone; the progress is told. `work` is called
 * at most once for an image: only images that were waiting for a session are tried again. */
VS_NODISCARD vs_status vs_run_images(const vs_runner *runner, const vs_imageset *set, size_t count, const char *stage,
                                     vs_session_needs needs, vs_job_fn work, vs_pool_fn pool, void *context, vs_error *err);

#endif
