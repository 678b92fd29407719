/* What a study will do, stage by stage, before it does it: for the numbers of progress and for --dry-run. */
#ifndef VS_FORECAST_H
#define VS_FORECAST_H

#include <stddef.h>

#include "vitscope/status.h"

struct vs_study;

enum { VS_MAX_STAGES = 16 };

/* Work is counted in forward passes of the float model over one image: what a pass of another kind takes is given in those, by
 * measurement (docs/performance.md), and the whole is good to a factor of two. */
typedef struct vs_forecast_stage {
    const char *name;
    size_t images;   /* of a set, or windows cut from them; 0: none are looked at */
    double forwards; /* 0: not counted in those */
} vs_forecast_stage;

typedef struct vs_forecast {
    vs_forecast_stage stages[VS_MAX_STAGES];
    size_t stage_count;
    double forwards;
    double most_forwards; /* where the half-precision diagnosis has much to explain; else the same */
} vs_forecast;

/* Of a study whose outline is there. */
void vs_forecast_make(vs_forecast *out, const struct vs_study *study);
/* Seconds that one forward pass of one image takes here, all workers at their work: measured on the operations of a block with
 * made-up numbers, in about half a second. */
VS_NODISCARD vs_status vs_forecast_price(double *seconds, const struct vs_study *study, vs_error *err);

#endif
