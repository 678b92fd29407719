#include "graph/arena.h"

#include <stdlib.h>

#include "util/util.h"

/* Vectors of the processor begin at whole lines; a plain pass may be one in halves on a GPU, whose products ask for more. */
enum { ALIGN_REALS = 16, ALIGN_PLAIN = 64 };

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
    const size_t align = p->o->plain ? ALIGN_PLAIN : ALIGN_REALS;
    size_t out = count;
    add(p, &out, align - 1);
    return out - out % align;
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
    if (g->values[root].given != VS_GIVEN_NOT) return VS_REGION_SESSION;
    if (p->o->plain) return VS_REGION_PASSING;
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

/* Values that share memory. */
static vs_status pack(planner *p, vs_error *err) {
    const vs_graph *g = p->g;
    piece *pieces = vs_calloc(g->value_count + 1, sizeof *pieces);
    if (!pieces) return vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
    size_t count = 0, end = 0;
    for (size_t v = 0; v < g->value_count; v++) {
        const vs_value *x = &g->values[v];
        const vs_arena_slot *slot = &p->arena->slots[v];
        if (!is_root(g, v) || !slot->there || slot->region != VS_REGION_PASSING) continue;
        pieces[count] = (piece){ v, x->producer, x->last == VS_NONE ? x->producer : x->last, p->reals[v], 0 };
        fit(pieces, count);
        p->arena->slots[v].offset = pieces[count].offset;
        if (pieces[count].offset + pieces[count].reals > end) end = pieces[count].offset + pieces[count].reals;
        count++;
    }
    p->arena->sizes[VS_REGION_PASSING] = end;
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
        status = pack(&p, err);
    }
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
