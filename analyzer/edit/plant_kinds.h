/* What each kind of planting looks at, chooses and changes (docs/study.md 8). Planting's own. */
#ifndef VS_PLANT_KINDS_H
#define VS_PLANT_KINDS_H

#include "config/config.h"
#include "results/results.h"

/* One block over all tokens of the calibration images, by hidden unit or channel; each kind fills what it needs. */
typedef struct vs_plant_stats {
    size_t count;                 /* hidden units (spike, hidden) or channels (value, key); the arrays have room for both */
    double *low, *high;           /* [count] extremes of fc1's output (SwiGLU: of the half that is not the gate), or of v */
    double *gelu_low, *gelu_high; /* [count] extremes of what fc2 reads */
    double *sum;                  /* [count] of its squares, or of q */
    double tokens;
    void *host; /* [tokens * count] reals of the backend where a kind copies a tensor to the host; NULL elsewhere */
} vs_plant_stats;

/* A block of a model that is planted in. */
typedef struct vs_plant_block {
    vs_model *model;
    int block;
} vs_plant_block;

/* One kind; the last four are of those that choose `units` units or channels of a block. */
typedef struct vs_plant_rules {
    vs_kind site;     /* the row where the outlier sits; embed: no block of its own */
    const char *what; /* what is counted there: "unit", "channel", "head"; NULL: everything at once */
    bool copies;      /* `observe` uses stats->host */
    /* Looks at one tensor of the block; NULL: the kind needs no images. */
    vs_status (*observe)(const vs_backend *backend, const vs_tap *tap, vs_plant_stats *stats, vs_error *err);
    /* Of how many it chooses, and in which order: the smallest score first, HUGE_VAL is not eligible. */
    size_t (*choices)(const vs_plant_block *block);
    double (*score)(const vs_plant_stats *stats, const vs_plant_block *block, size_t unit);
    double (*gain)(const vs_plant_config *plant, const vs_plant_stats *stats, const vs_plant_block *block, size_t unit);
    void (*change)(const vs_plant_block *block, size_t unit, double gain);
} vs_plant_rules;

const vs_plant_rules *vs_plant_rules_of(vs_plant_kind kind);
/* key: k bias of every head + gain times the direction of its mean query; a missing bias is made. VS_ERR_UNSUPPORTED: a mean
 * query of zero. */
VS_NODISCARD vs_status vs_plant_keys(const vs_plant_block *block, double gain, const vs_plant_stats *stats, vs_error *err);
/* residual: everything that is added into the stream. */
void vs_plant_residual(vs_model *model, double gain);
/* Calls `each` for the parameters that do. What a branch adds LayerScale multiplies; without one its last linear does. */
void vs_stream_params(const vs_graph *graph, void (*each)(void *context, size_t param), void *context);

#endif
