#include "run/sums.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

vs_status vs_sums_create(vs_sums *s, size_t wave, size_t count, vs_error *err) {
    size_t all = 0;
    *s = (vs_sums){ .wave = wave, .count = count };
    if (!vs_size_mul(&all, wave, count + 1)) return vs_fail(err, VS_ERR_NOMEM, "no memory for SQNR sums");
    s->slots = vs_calloc(all, sizeof *s->slots);
    s->pools = vs_calloc(count + 1, sizeof *s->pools);
    if (s->slots && s->pools) return VS_OK;
    vs_sums_release(s);
    return vs_fail(err, VS_ERR_NOMEM, "no memory for SQNR sums");
}

void vs_sums_release(vs_sums *s) {
    free(s->slots);
    free(s->pools);
    *s = (vs_sums){ 0 };
}

vs_error_sums *vs_sums_slot(const vs_sums *s, size_t image) { return s->slots + image % s->wave * s->count; }

void vs_sums_out(const vs_sums *s, const vs_job *job, size_t index, vs_error_sums **out) {
    for (size_t i = 0; i < job->images; i++) out[i] = vs_sums_slot(s, job->first + i) + index;
}

void vs_sums_reset(const vs_sums *s, const vs_job *job) {
    for (size_t i = 0; i < job->images; i++) memset(vs_sums_slot(s, job->first + i), 0, s->count * sizeof *s->slots);
}

void vs_sums_pool(vs_sums *s, size_t image) {
    const vs_error_sums *slot = vs_sums_slot(s, image);
    for (size_t i = 0; i < s->count; i++) vs_sqnr_pool_add(&s->pools[i], &slot[i]);
}
