/* Which weights a 16-bit format cannot hold, from the model on the host. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/half_round.h"
#include "half/half.h"
#include "util/util.h"

typedef struct lister {
    vs_half_format format;
    vs_half_weight_note *notes;
    size_t count, capacity;
    bool failed;
} lister;

static float round_to(vs_half_format format, float x) { return format == VS_HALF_BF16 ? vs_round_bf16(x) : vs_round_fp16(x); }

static void check(lister *l, const char *name, const float *values, size_t count) {
    vs_half_weight_note note = { .of = count };
    for (size_t i = 0; values && i < count; i++) {
        const float x = values[i], y = round_to(l->format, x);
        note.max = fmax(note.max, fabs((double)x));
        note.inf += isfinite(x) && !isfinite(y);
        note.flushed += x != 0 && y == 0;
    }
    if (!note.inf && !note.flushed) return;
    snprintf(note.tensor, sizeof note.tensor, "%s", name);
    if (vs_grow((void **)&l->notes, &l->capacity, l->count + 1, sizeof *l->notes))
        l->notes[l->count++] = note;
    else
        l->failed = true;
}

/* Periods are of no use in half: what rotates is made of them in float32. */
static bool is_stored(const vs_graph *g, size_t param) {
    if (g->params[param].fold != VS_FOLD_TENSOR) return false;
    for (size_t v = 0; v < g->value_count; v++)
        if (g->values[v].param == param && g->values[v].given != VS_GIVEN_POSITIONS) return false;
    return true;
}

/* The last segment that uses it: norms that several blocks share are the head's. */
static size_t segment_of(const vs_graph *g, size_t param) {
    size_t segment = 0;
    for (size_t n = 0; n < g->node_count; n++)
        for (size_t i = 0; i < VS_NODE_PARAMS; i++) {
            const size_t used = g->nodes[n].param[i];
            bool uses = used == param;
            for (size_t k = 0; used != VS_NONE && k < VS_FOLD_SOURCES && g->params[used].fold != VS_FOLD_TENSOR; k++)
                uses |= g->params[used].from[k] == param;
            if (uses) segment = g->nodes[n].segment;
        }
    return segment;
}

vs_status vs_half_note_weights(vs_half_weight_note **out, size_t *count, const vs_model *m, vs_half_format format,
                               vs_error *err) {
    const vs_graph *g = m->graph;
    lister l = { .format = format };
    for (size_t head = 0; head < 2; head++)
        for (size_t i = 0; i < g->param_count; i++)
            if (is_stored(g, i) && (segment_of(g, i) + 1 == g->segment_count) == (head == 1))
                check(&l, g->params[i].name, m->params[i], g->params[i].rows * g->params[i].cols);
    *out = l.notes;
    *count = l.count;
    return l.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a list of weights") : VS_OK;
}
