/* What a study will hold in memory, from shapes alone: told before the weights are read. */
#ifndef VS_FOOTPRINT_H
#define VS_FOOTPRINT_H

#include "config/config.h"
#include "results/results.h"
#include "vitscope/vit.h"

typedef struct vs_footprint_options {
    const vs_config *config;
    const vs_backend *backend;
    const vs_model *model; /* shapes are enough */
    size_t height, width;  /* of an image */
    size_t threads, batch, rows;
} vs_footprint_options;

/* Bytes. */
typedef struct vs_footprint {
    double model;        /* float32, on the host */
    double weights;      /* the backend's copy; 0 where it reads the model's own */
    double states;       /* quantized weights */
    double half_weights; /* of the half-precision diagnosis */
    double sessions;     /* of the analysis or of the half-precision diagnosis, whichever has the larger */
    double counters;
    size_t state_count, session_count;
} vs_footprint;

VS_NODISCARD vs_status vs_footprint_estimate(vs_footprint *out, const vs_footprint_options *options, vs_error *err);
double vs_footprint_total(const vs_footprint *f);
/* "memory: ...", one line. */
void vs_footprint_text(const vs_footprint *f, const vs_backend *backend, char *text, size_t size);

#endif
