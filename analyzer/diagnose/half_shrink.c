#include "diagnose/half_shrink.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

typedef struct shrinker {
    bool *on, *trial; /* [count] */
    const bool *fixed;
    size_t count;
    vs_shrink_fn serves;
    void *context;
    vs_error *err;
} shrinker;

static size_t count_on(const shrinker *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) n += s->on[i];
    return n;
}

/* Tries s->trial, which is what the list becomes where it serves. */
static vs_status try_list(shrinker *s, bool single, bool *good) {
    vs_shrink_answer answer = VS_SHRINK_FAILS;
    const vs_status status = s->serves(s->context, s->trial, count_on(s), single, &answer, s->err);
    *good = status == VS_OK && answer == VS_SHRINK_SERVES;
    if (*good) memcpy(s->on, s->trial, s->count * sizeof *s->on);
    return status;
}

/* Free entries of [first, last). */
static size_t count_free(const shrinker *s, size_t first, size_t last) {
    size_t n = 0;
    for (size_t i = first; i < last; i++) n += s->on[i] && !s->fixed[i];
    return n;
}

/* Tries without the free entries of [first, last). */
static vs_status try_without(shrinker *s, size_t first, size_t last, bool *good) {
    const size_t free_entries = count_free(s, first, last);
    *good = true;
    if (free_entries == 0) return VS_OK;
    memcpy(s->trial, s->on, s->count * sizeof *s->trial);
    for (size_t i = first; i < last; i++) s->trial[i] &= s->fixed[i];
    return try_list(s, free_entries == 1, good);
}

static vs_status drop_end(shrinker *s, bool last) {
    size_t low = 0, high = 0; /* `low` entries can go; more than `high` cannot */
    vs_status status = VS_OK;
    while (high < s->count && !s->fixed[last ? s->count - 1 - high : high]) high++;
    while (low < high && status == VS_OK) {
        const size_t middle = low + (high - low + 1) / 2;
        bool good = false;
        status = last ? try_without(s, s->count - middle, s->count, &good) : try_without(s, 0, middle, &good);
        if (good)
            low = middle;
        else
            high = middle - 1;
    }
    return status;
}

/* No deeper than the halvings of the list. */
static vs_status drop_group(shrinker *s, size_t first, size_t last) { // NOLINT(misc-no-recursion)
    const size_t free_entries = count_free(s, first, last);
    bool good = false;
    if (free_entries == 0) return VS_OK;
    vs_status status = try_without(s, first, last, &good);
    if (status != VS_OK || good || free_entries == 1) return status;
    size_t middle = last;
    while (count_free(s, middle, last) < free_entries / 2) middle--;
    status = drop_group(s, middle, last);
    return status == VS_OK ? drop_group(s, first, middle) : status;
}

vs_status vs_shrink(bool *on, const bool *fixed, size_t count, vs_shrink_fn serves, void *context, vs_error *err) {
    if (count == 0) return VS_OK;
    shrinker s = { on, vs_calloc(count, sizeof *s.trial), fixed, count, serves, context, err };
    if (!s.trial) return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of layers");
    bool good = false;
    vs_status status = try_without(&s, 0, count, &good);
    if (status == VS_OK) status = drop_end(&s, false);
    if (status == VS_OK) status = drop_end(&s, true);
    if (status == VS_OK) status = drop_group(&s, 0, count);
    free(s.trial);
    return status;
}

/* ---- singly ---- */

/* Entries that are fixed, or those that are not. */
static vs_status drop_each(shrinker *s, bool fixed, bool *dropped, bool *minimal) {
    vs_status status = VS_OK;
    for (size_t i = s->count; i-- > 0 && status == VS_OK;) {
        vs_shrink_answer answer = VS_SHRINK_FAILS;
        if (!s->on[i] || s->fixed[i] != fixed) continue;
        s->on[i] = false;
        status = s->serves(s->context, s->on, 0, true, &answer, s->err);
        s->on[i] = answer != VS_SHRINK_SERVES;
        *dropped |= answer == VS_SHRINK_SERVES;
        *minimal &= fixed || answer != VS_SHRINK_UNKNOWN;
    }
    return status;
}

vs_status vs_shrink_singly(bool *on, const bool *fixed, size_t count, vs_shrink_fn serves, void *context, bool *minimal,
                           vs_error *err) {
    shrinker s = { on, NULL, fixed, count, serves, context, err };
    vs_status status = VS_OK;
    *minimal = true;
    for (bool dropped = true; dropped && status == VS_OK;) {
        dropped = false;
        *minimal = true;
        status = drop_each(&s, false, &dropped, minimal);
        if (status == VS_OK) status = drop_each(&s, true, &dropped, minimal);
    }
    return status;
}
