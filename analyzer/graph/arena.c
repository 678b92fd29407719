#include "graph/arena.h"

#include <stdlib.h>

#include "util/util.h"

/* Vectors of the processor begin at whole lines; a plain pass may be one in halves on a GPU, whose products ask for more. */
enum { ALIGN_REALS = 16, ALIGN_PLAIN = 64 };

/* Memory of one root for as long as it is needed: nodes [from, to]. */
typedef struct piece {
    size_t from, to, reals, offset;
} piece;

typedef struct planner {
    const vs_graph *g;
    const vs_arena_options *o;
    vs_arena *arena;
    size_t *reals; /* [values]: of roots, the most that stands there */
} planner;

size_t vs_arena_rows(const vs_graph *g, size_t value, size_t images, size_t patches) {
    const size_t rows = vs_value_rows(g, value, patches);
    return g->values[value].given > VS_GIVEN_PIXELS ? rows : images * rows;
}

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a session"); }

static bool count_rows(const planner *p, size_t value, size_t *rows) {
    const vs_row_rule *r = vs_value_rule(p->g, value);
    *rows = 0;
    for (size_t i = 0; i < r->part_count; i++) {
        size_t part = r->parts[i].count;
        if (part == 0 && !vs_size_mul(&part, p->o->patches, (size_t)1 << 2 * r->parts[i].level)) return false;
        if (!vs_size_add(rows, *rows, part)) return false;
    }
    const bool once = p->g->values[value].given > VS_GIVEN_PIXELS;
    return vs_size_mul(rows, *rows, r->times) && vs_size_mul(rows, *rows, once ? 1 : p->o->images);
}

/* Rows of a value, each as wide as those of its memory. */
static bool count_reals(const planner *p, size_t value, size_t *reals) {
    const vs_extent e = p->g->values[p->g->values[value].root].cols;
    size_t rows = 0, cols = 0;
    return count_rows(p, value, &rows) && vs_size_mul(&cols, e.cells, p->o->patches) && vs_size_add(&cols, cols, e.fixed) &&
           vs_size_mul(reals, rows, cols);
}

/* False: all of them together cannot be counted. Else sums of some can. */
static bool measure(const planner *p) {
    const vs_graph *g = p->g;
    const size_t align = p->o->plain ? ALIGN_PLAIN : ALIGN_REALS;
    size_t total = 0;
    for (size_t v = 0; v < g->value_count; v++) {
        size_t count = 0, *most = &p->reals[g->values[v].root];
        if (!count_reals(p, v, &count) || !vs_size_add(&count, count, align - 1)) return false;
        count -= count % align;
        if (count > *most) *most = count;
    }
    for (size_t v = 0; v < g->value_count; v++)
        if (!vs_size_add(&total, total, p->reals[v])) return false;
    return true;
}

static bool is_root(const vs_graph *g, size_t v) { return g->values[v].alias == VS_NONE && g->values[v].view == VS_NONE; }

static vs_region region_of(const planner *p, size_t root) {
    const vs_graph *g = p->g;
    const vs_value *v = &g->values[root];
    if (v->given != VS_GIVEN_NOT) return VS_REGION_SESSION;
    if (p->o->plain) return VS_REGION_PASSING;
    const size_t from = g->nodes[v->producer].segment, to = g->nodes[v->last].segment;
    if (from != to) return VS_REGION_STREAM;
    if (v->passing) return VS_REGION_PASSING;
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
static vs_status pack(const planner *p, vs_error *err) {
    const vs_graph *g = p->g;
    piece *pieces = vs_calloc(g->value_count, sizeof *pieces);
    if (!pieces) return no_memory(err);
    size_t count = 0, end = 0;
    for (size_t v = 0; v < g->value_count; v++) {
        const vs_value *x = &g->values[v];
        const vs_arena_slot *slot = &p->arena->slots[v];
        if (!is_root(g, v) || !slot->there || slot->region != VS_REGION_PASSING) continue;
        pieces[count] = (piece){ x->producer, x->last, p->reals[v], 0 };
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
static void line_up(const planner *p) {
    const vs_graph *g = p->g;
    size_t used = 0, segment = 0;
    for (size_t v = 0; v < g->value_count; v++) {
        vs_arena_slot *slot = &p->arena->slots[v];
        if (!is_root(g, v) || !slot->there || slot->region == VS_REGION_PASSING) continue;
        size_t *size = &p->arena->sizes[slot->region];
        if (slot->region != VS_REGION_WORKSPACE) {
            slot->offset = *size;
            *size += p->reals[v];
            continue;
        }
        const size_t own = g->nodes[g->values[v].producer].segment;
        if (own != segment) used = 0;
        segment = own;
        slot->offset = used;
        used += p->reals[v];
        if (used > *size) *size = used;
    }
}

static vs_status place(const planner *p, vs_error *err) {
    const vs_graph *g = p->g;
    vs_arena *arena = p->arena;
    if (!measure(p)) return no_memory(err);
    for (size_t v = 0; v < g->value_count; v++)
        arena->slots[v] = (vs_arena_slot){ region_of(p, g->values[v].root), 0, !g->values[v].optional || p->o->probabilities };
    line_up(p);
    const vs_status status = pack(p, err);
    for (size_t v = 0; v < g->value_count; v++) arena->slots[v].offset = arena->slots[g->values[v].root].offset;
    return status;
}

vs_status vs_arena_plan(vs_arena *arena, const vs_graph *g, const vs_arena_options *o, vs_error *err) {
    *arena = (vs_arena){ .slots = vs_calloc(g->value_count, sizeof *arena->slots) };
    const planner p = { g, o, arena, vs_calloc(g->value_count, sizeof *p.reals) };
    const vs_status status = arena->slots && p.reals ? place(&p, err) : no_memory(err);
    free(p.reals);
    return status;
}

void vs_arena_release(vs_arena *arena) {
    free(arena->slots);
    *arena = (vs_arena){ 0 };
}
