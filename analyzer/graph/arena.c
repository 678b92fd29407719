#include "graph/arena.h"

#include <stdlib.h>

#include "util/util.h"

enum { ALIGN_REALS = 16 }; /* vectors of the processor begin at whole lines */

/* Memory of one root for as long as it is needed: nodes [from, to]. */
typedef struct piece {
    size_t root, from, to, reals, offset;
} piece;

typedef struct planner {
    const vs_graph *g;
    const vs_arena_options *o;
    vs_arena *arena;
    size_t *reals; /* [values]: of roots, the most that stands there */
    bool overflow;
} planner;

size_t vs_arena_rows(const vs_graph *g, size_t value, size_t images, size_t patches) {
    const size_t rows = vs_value_rows(g, value, patches);
    return g->values[value].given > VS_GIVEN_PIXELS ? rows : images * rows;
}

static void add(planner *p, size_t *sum, size_t more) {
    if (!vs_size_add(sum, *sum, more)) p->overflow = true;
}

static size_t padded(planner *p, size_t count) {
    size_t out = count;
    add(p, &out, ALIGN_REALS - 1);
    return out - out % ALIGN_REALS;
}

static void measure(planner *p) {
    for (size_t v = 0; v < p->g->value_count; v++) {
        const size_t root = p->g->values[v].root;
        size_t count = 0;
        if (!vs_size_mul(&count, vs_arena_rows(p->g, v, p->o->images, p->o->patches), vs_value_cols(p->g, v, p->o->patches)))
            p->overflow = true;
        count = padded(p, count);
        if (p->g->values[v].view == VS_NONE && count > p->reals[root]) p->reals[root] = count;
    }
}

static bool is_root(const vs_graph *g, size_t v) { return g->values[v].alias == VS_NONE && g->values[v].view == VS_NONE; }

/* Segments of its first and its last use. */
static void span_of(const vs_graph *g, size_t root, size_t *from, size_t *to) {
    const vs_value *v = &g->values[root];
    *from = v->producer == VS_NONE ? 0 : g->nodes[v->producer].segment;
    *to = v->last == VS_NONE ? *from : g->nodes[v->last].segment;
}

static vs_region region_of(const planner *p, size_t root) {
    const vs_graph *g = p->g;
    size_t from, to;
    span_of(g, root, &from, &to);
    if (p->o->plain || g->values[root].given != VS_GIVEN_NOT) return VS_REGION_SESSION;
    if (from != to) return VS_REGION_STREAM;
    if (g->values[root].passing) return VS_REGION_PASSING;
    return from == 0 || from + 1 == g->segment_count ? VS_REGION_SESSION : VS_REGION_WORKSPACE;
}

/* First fit: the lowest place where it meets nothing that lives with it. */
static void fit(piece *pieces, size_t count) {
    piece *x = &pieces[count];
    x->offset = 0;
    for (size_t i = 0; i < count; i++) {
        const piece *y = &pieces[i];
        const bool together = x->from <= y->to && y->from <= x->to;
        if (!together || x->offset >= y->offset + y->reals || y->offset >= x->offset + x->reals) continue;
        x->offset = y->offset + y->reals;
        i = (size_t)-1; /* from the start: it may meet an earlier one now */
    }
}

/* Values that share memory: passing ones of a segment, or of a plain pass all that no one gave. */
static vs_status pack(planner *p, vs_region region, size_t base, vs_error *err) {
    const vs_graph *g = p->g;
    piece *pieces = vs_calloc(g->value_count + 1, sizeof *pieces);
    if (!pieces) return vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
    size_t count = 0, end = 0;
    for (size_t v = 0; v < g->value_count; v++) {
        const vs_value *x = &g->values[v];
        const vs_arena_slot *slot = &p->arena->slots[v];
        if (!is_root(g, v) || !slot->there || slot->region != region || x->given != VS_GIVEN_NOT) continue;
        pieces[count] = (piece){ v, x->producer, x->last == VS_NONE ? x->producer : x->last, p->reals[v], 0 };
        fit(pieces, count);
        p->arena->slots[v].offset = base + pieces[count].offset;
        if (pieces[count].offset + pieces[count].reals > end) end = pieces[count].offset + pieces[count].reals;
        count++;
    }
    add(p, &end, base);
    p->arena->sizes[region] = end;
    free(pieces);
    return VS_OK;
}

/* One behind the other; those of a block begin where those of any block do. */
static void line_up(planner *p) {
    const vs_graph *g = p->g;
    size_t used = 0, segment = 0;
    for (size_t v = 0; v < g->value_count; v++) {
        vs_arena_slot *slot = &p->arena->slots[v];
        if (!is_root(g, v) || !slot->there || slot->region == VS_REGION_PASSING) continue;
        if (slot->region == VS_REGION_SESSION && p->o->plain && g->values[v].given == VS_GIVEN_NOT) continue; /* packed */
        size_t *size = &p->arena->sizes[slot->region];
        if (slot->region != VS_REGION_WORKSPACE) {
            slot->offset = *size;
            add(p, size, p->reals[v]);
            continue;
        }
        const size_t own = g->nodes[g->values[v].producer].segment;
        if (own != segment) used = 0;
        segment = own;
        slot->offset = used;
        add(p, &used, p->reals[v]);
        if (used > *size) *size = used;
    }
}

vs_status vs_arena_plan(vs_arena *arena, const vs_graph *g, const vs_arena_options *o, vs_error *err) {
    *arena = (vs_arena){ .slots = vs_calloc(g->value_count + 1, sizeof *arena->slots) };
    planner p = { g, o, arena, vs_calloc(g->value_count + 1, sizeof *p.reals), false };
    vs_status status = VS_OK;
    if (!arena->slots || !p.reals) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
    if (status == VS_OK) {
        measure(&p);
        for (size_t v = 0; v < g->value_count; v++)
            arena->slots[v] = (vs_arena_slot){ region_of(&p, g->values[v].root), 0, !g->values[v].optional || o->probabilities };
        line_up(&p);
        status = pack(&p, VS_REGION_PASSING, 0, err);
    }
    if (status == VS_OK && o->plain) status = pack(&p, VS_REGION_SESSION, arena->sizes[VS_REGION_SESSION], err);
    for (size_t v = 0; status == VS_OK && v < g->value_count; v++)
        arena->slots[v].offset = arena->slots[g->values[v].root].offset;
    if (status == VS_OK && p.overflow) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
    free(p.reals);
    return status;
}

void vs_arena_release(vs_arena *arena) {
    free(arena->slots);
    *arena = (vs_arena){ 0 };
}
