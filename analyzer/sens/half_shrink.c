#include "half_shrink.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

typedef struct shrinker {
    bool *on, *trial; /* [count] */
    size_t count;
    vs_shrink_fn serves;
    void *context;
    vs_error *err;
} shrinker;

/* Tries without the first, or the last, n entries; they stay off where that serves. */
static vs_status try_end(shrinker *s, bool last, size_t n, bool *good) {
    memcpy(s->trial, s->on, s->count * sizeof *s->trial);
    for (size_t i = 0; i < n; i++) s->trial[last ? s->count - 1 - i : i] = false;
    const vs_status status = s->serves(s->context, s->trial, false, good, s->err);
    if (status == VS_OK && *good) memcpy(s->on, s->trial, s->count * sizeof *s->on);
    return status;
}

static vs_status drop_end(shrinker *s, bool last) {
    size_t low = 0, high = s->count; /* the first `low` can go; `high` and more cannot, all of them perhaps */
    vs_status status = VS_OK;
    while (low < high && status == VS_OK) {
        const size_t middle = low + (high - low + 1) / 2;
        bool good = false;
        status = try_end(s, last, middle, &good);
        if (good)
            low = middle;
        else
            high = middle - 1;
    }
    return status;
}

static vs_status drop_singly(shrinker *s, bool *dropped) {
    vs_status status = VS_OK;
    *dropped = false;
    for (size_t i = s->count; i-- > 0 && status == VS_OK;) {
        if (!s->on[i]) continue;
        bool good = false;
        s->on[i] = false;
        status = s->serves(s->context, s->on, true, &good, s->err);
        s->on[i] = !good;
        *dropped |= good;
    }
    return status;
}

vs_status vs_shrink(bool *on, size_t count, vs_shrink_fn serves, void *context, vs_error *err) {
    if (count == 0) return VS_OK;
    shrinker s = { on, vs_calloc(count, sizeof *s.trial), count, serves, context, err };
    if (!s.trial) return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of layers");
    vs_status status = drop_end(&s, false);
    if (status == VS_OK) status = drop_end(&s, true);
    bool dropped = true;
    while (status == VS_OK && dropped) status = drop_singly(&s, &dropped);
    free(s.trial);
    return status;
}
