/* SQNR sums of many numbers an image, kept in slots until they are pooled in image order. */
#ifndef VS_SUMS_H
#define VS_SUMS_H

#include "run/pool.h"
#include "run/record.h"

typedef struct vs_sums {
    vs_error_sums *slots; /* [wave * count] */
    vs_sqnr_pool *pools;  /* [count] */
    size_t wave, count;
} vs_sums;

VS_NODISCARD vs_status vs_sums_create(vs_sums *sums, size_t wave, size_t count, vs_error *err);
void vs_sums_release(vs_sums *sums);
/* The sums of one image. */
vs_error_sums *vs_sums_slot(const vs_sums *sums, size_t image);
/* Number `index` of every image of a job, for an operation that gives one an image: out [VS_MAX_BATCH]. */
void vs_sums_out(const vs_sums *sums, const vs_job *job, size_t index, vs_error_sums **out);
void vs_sums_reset(const vs_sums *sums, const vs_job *job);
void vs_sums_pool(vs_sums *sums, size_t image);

#endif
