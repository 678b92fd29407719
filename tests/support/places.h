/* Whether an arena's plan holds, found anew from the graph's nodes and by trying all pairs of values. */
#ifndef VS_SUPPORT_PLACES_H
#define VS_SUPPORT_PLACES_H

#include <stdio.h>
#include <stdlib.h>

#include "graph/arena.h"

/* What a value takes of its region, first real to behind its last; and the nodes that need its memory. */
typedef struct place {
    size_t memory, column, from, to, first, last;
} place;

static inline size_t memory_of(const vs_graph *g, size_t value) {
    while (g->values[value].alias != VS_NONE || g->values[value].view != VS_NONE)
        value = g->values[value].view != VS_NONE ? g->values[value].view : g->values[value].alias;
    return value;
}

static inline size_t column_in_memory(const vs_graph *g, size_t value) {
    size_t column = 0;
    for (const vs_value *v = &g->values[value]; v->alias != VS_NONE || v->view != VS_NONE;
         v = &g->values[v->view != VS_NONE ? v->view : v->alias])
        column += v->view != VS_NONE ? v->column : 0;
    return column;
}

/* From the first node that has to do with it to the last; given values and the output stay. */
static inline void find_life(const vs_graph *g, size_t memory, size_t *first, size_t *last) {
    const bool given = g->values[memory].given != VS_GIVEN_NOT;
    *first = SIZE_MAX;
    *last = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        bool uses = memory_of(g, g->nodes[n].out) == memory;
        for (size_t i = 0; i < g->nodes[n].in_count; i++) uses |= memory_of(g, g->nodes[n].in[i]) == memory;
        if (uses && *first == SIZE_MAX) *first = n;
        if (uses) *last = n;
    }
    if (given) *first = 0;
    if (given || memory_of(g, g->output) == memory) *last = g->node_count - 1;
}

static inline place place_of(const vs_graph *g, const vs_arena *arena, const vs_arena_options *o, size_t value) {
    place p = { .memory = memory_of(g, value), .column = column_in_memory(g, value) };
    const size_t rows = vs_arena_rows(g, value, o->images, o->patches), ld = vs_value_cols(g, p.memory, o->patches);
    p.from = arena->slots[value].offset + p.column;
    p.to = p.from + (rows - 1) * ld + vs_value_cols(g, value, o->patches);
    if (rows == 0) p.from = p.to = 0;
    find_life(g, p.memory, &p.first, &p.last);
    return p;
}

/* In a session all stays but a block's values, which another block's may follow, and passing ones. */
static inline bool live_together(const vs_graph *g, vs_region region, const place *a, const place *b, bool plain) {
    if (plain || region == VS_REGION_PASSING) return a->first <= b->last && b->first <= a->last;
    return region != VS_REGION_WORKSPACE || g->nodes[a->first].segment == g->nodes[b->first].segment;
}

/* What is wrong with one value's place alone; NULL: nothing. */
static inline const char *wrong_place(const vs_graph *g, const vs_arena *arena, const vs_arena_options *o, size_t value,
                                      const place *p) {
    const vs_value *v = &g->values[value];
    const vs_arena_slot *slot = &arena->slots[value], *memory = &arena->slots[p->memory];
    if (slot->there != (o->probabilities || !v->optional)) return "is there or is not";
    if (!slot->there) return NULL;
    if (!memory->there || slot->region != memory->region || slot->offset != memory->offset) return "is not where its memory is";
    if (v->root != p->memory || v->at != p->column) return "has another root";
    if (p->to > arena->sizes[slot->region]) return "ends behind its region";
    const bool stays = o->plain || g->values[p->memory].given != VS_GIVEN_NOT || slot->region == VS_REGION_STREAM;
    return stays || g->nodes[p->first].segment == g->nodes[p->last].segment ? NULL : "outlives its segment";
}

/* False: something is wrong, and `text` says what. */
static inline bool plan_holds(const vs_graph *g, const vs_arena *arena, const vs_arena_options *o, char *text, size_t size) {
    place *p = calloc(g->value_count + 1, sizeof *p);
    bool holds = p != NULL;
    for (size_t v = 0; v < g->value_count && holds; v++) {
        const vs_region region = arena->slots[v].region;
        p[v] = place_of(g, arena, o, v);
        const char *wrong = wrong_place(g, arena, o, v, &p[v]);
        if (wrong) (void)snprintf(text, size, "value %zu %s", v, wrong);
        holds = !wrong;
        for (size_t w = 0; w < v && holds && arena->slots[v].there; w++) {
            if (!arena->slots[w].there || arena->slots[w].region != region || p[w].memory == p[v].memory) continue;
            const bool apart = p[v].from >= p[w].to || p[w].from >= p[v].to;
            holds = apart || !live_together(g, region, &p[v], &p[w], o->plain);
            if (!holds) (void)snprintf(text, size, "values %zu and %zu meet", w, v);
        }
    }
    free(p);
    return holds;
}

#endif
