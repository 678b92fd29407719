/* Images in parallel: one image is one unit of work, each worker has a session of its own. */
#ifndef VS_POOL_H
#define VS_POOL_H

#include <signal.h>

#include "imageset.h"
#include "vitscope/vit.h"

/* Told after every finished image; called by one thread at a time. */
typedef struct vs_progress {
    void (*update)(void *context, const char *stage, size_t done, size_t total);
    void *context;
} vs_progress;

/* How work is run; shared by every stage of a study. */
typedef struct vs_runner {
    const vs_weights *weights;         /* of the float model */
    size_t threads;                    /* >= 1 */
    size_t wave;                       /* images whose results are held before they are pooled; >= 1 */
    const volatile sig_atomic_t *stop; /* set from outside to stop; may be NULL */
    vs_progress progress;              /* update may be NULL */
    bool probabilities;                /* sessions keep them: a recipe quantizes them, and every state must compute alike */
} vs_runner;

/* Memory that the sessions of a stage need besides the forward pass, as a function of T. */
typedef struct vs_session_needs {
    size_t workspaces, streams;
    size_t (*scratch)(const vs_arch *arch, size_t tokens); /* NULL: none */
} vs_session_needs;

/* One image at work. */
typedef struct vs_job {
    vs_session *session; /* of this worker, fit for the image's size */
    const vs_sample *sample;
    size_t worker, index;
} vs_job;

typedef vs_status (*vs_job_fn)(void *context, const vs_job *job, vs_error *err);
typedef vs_status (*vs_pool_fn)(void *context, size_t image, vs_error *err); /* called in image order */

/* Runs `work` on images 0..count-1 of the set, `runner->threads` at a time, and `pool` (may be NULL) on each in image
 * order, a wave at a time: results do not depend on the number of threads. The first error in image order wins.
 * `slot` of an image, where its results may be kept until pooled, is image % runner->wave. */
VS_NODISCARD vs_status vs_run_images(const vs_runner *runner, const vs_imageset *set, size_t count, const char *stage,
                                     vs_session_needs needs, vs_job_fn work, vs_pool_fn pool, void *context, vs_error *err);

#endif
