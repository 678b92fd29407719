/* Where values stand: no two in one place while both are needed, whatever the graph, the images and the mode. */
#include "graph/arena.h"
#include "support/archs.h"
#include "support/check.h"

/* What a value takes of its region, first real to behind its last; and the nodes that need it. */
typedef struct place {
    vs_region region;
    size_t from, to, first, last;
} place;

static bool is_computed(const vs_graph *g, size_t value) { return g->values[value].given == VS_GIVEN_NOT; }

/* The memory that a value shares, found anew. */
static size_t memory_of(const vs_graph *g, size_t value, size_t *column) {
    const vs_value *v = &g->values[value];
    *column = 0;
    for (; v->alias != VS_NONE || v->view != VS_NONE; v = &g->values[value]) {
        if (v->view != VS_NONE) *column += v->column;
        value = v->view != VS_NONE ? v->view : v->alias;
    }
    return value;
}

/* From the node that gives it to the last that reads it or anything in its memory; given values and the output stay. */
static void find_life(const vs_graph *g, size_t memory, place *p) {
    size_t column;
    p->first = SIZE_MAX;
    p->last = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        bool uses = memory_of(g, g->nodes[n].out, &column) == memory;
        for (size_t i = 0; i < g->nodes[n].in_count; i++) uses |= memory_of(g, g->nodes[n].in[i], &column) == memory;
        if (uses && p->first == SIZE_MAX) p->first = n;
        if (uses) p->last = n;
    }
    if (memory_of(g, g->output, &column) == memory || !is_computed(g, memory)) p->last = SIZE_MAX;
    if (!is_computed(g, memory)) p->first = 0;
}

static place place_of(const vs_graph *g, const vs_arena *arena, const vs_arena_options *o, size_t value) {
    const vs_arena_slot *slot = &arena->slots[value];
    size_t column = 0;
    const size_t memory = memory_of(g, value, &column);
    const size_t rows = vs_arena_rows(g, value, o->images, o->patches), ld = vs_value_cols(g, memory, o->patches);
    place p = { .region = slot->region, .from = slot->offset + column };
    p.to = p.from + (rows - 1) * ld + vs_value_cols(g, value, o->patches);
    assert_int_equal(slot->offset, arena->slots[memory].offset);
    assert_int_equal(g->values[value].root, memory);
    assert_int_equal(g->values[value].at, column);
    assert_true(p.to <= arena->sizes[p.region]);
    find_life(g, memory, &p);
    return p;
}

static size_t segment_at(const vs_graph *g, size_t node) { return g->nodes[node == SIZE_MAX ? g->node_count - 1 : node].segment; }

/* In a session all stays but a block's values, which another block's may follow, and passing ones. */
static bool live_together(const vs_graph *g, const place *a, const place *b, bool plain) {
    if (plain || a->region == VS_REGION_PASSING) return a->first <= b->last && b->first <= a->last;
    return a->region != VS_REGION_WORKSPACE || segment_at(g, a->first) == segment_at(g, b->first);
}

static void check_plan(const vs_arch *arch, const vs_arena_options *o, size_t *total) {
    vs_graph *g = graph_of(arch);
    vs_arena arena;
    vs_error err = { 0 };
    size_t column;
    assert_int_equal(vs_arena_plan(&arena, g, o, &err), VS_OK);
    place *p = calloc(g->value_count, sizeof *p);
    for (size_t v = 0; v < g->value_count; v++) {
        assert_int_equal(arena.slots[v].there, o->probabilities || !g->values[v].optional);
        if (!arena.slots[v].there) continue;
        p[v] = place_of(g, &arena, o, v);
        /* what outlives its segment is a stream's */
        if (!o->plain && is_computed(g, g->values[v].root) && p[v].region != VS_REGION_STREAM)
            assert_int_equal(segment_at(g, p[v].first), segment_at(g, p[v].last));
        for (size_t w = 0; w < v; w++) {
            if (!arena.slots[w].there || p[w].region != p[v].region || memory_of(g, w, &column) == g->values[v].root) continue;
            if (live_together(g, &p[v], &p[w], o->plain) && p[v].from < p[w].to && p[w].from < p[v].to)
                fail_msg("values %zu and %zu of %zu meet: [%zu, %zu) and [%zu, %zu)", w, v, g->value_count, p[w].from, p[w].to,
                         p[v].from, p[v].to);
        }
    }
    *total = 0;
    for (size_t r = 0; r < VS_REGION_COUNT; r++) *total += arena.sizes[r];
    vs_arena_release(&arena);
    vs_graph_free(g);
    free(p);
}

static void no_two_values_meet(void **state) {
    (void)state;
    for (size_t a = 0; a < ARCHS; a++)
        for (size_t images = 1; images <= 3; images += 2)
            for (size_t probabilities = 0; probabilities < 2; probabilities++) {
                size_t session = 0, plain = 0;
                check_plan(archs[a], &(vs_arena_options){ images, 6, probabilities == 1, false }, &session);
                check_plan(archs[a], &(vs_arena_options){ images, 6, probabilities == 1, true }, &plain);
                if (plain >= session) fail_msg("arch %zu: %zu reals plain, %zu in a session", a, plain, session);
            }
}

/* A plain pass needs the widest moment of a block, not the sum of blocks. */
static void a_plain_pass_does_not_grow_with_depth(void **state) {
    (void)state;
    vs_arch shallow = arch_vit_l, deep = arch_vit_l;
    size_t one = 0, other = 0;
    shallow.depth = 2;
    deep.depth = 9;
    check_plan(&shallow, &(vs_arena_options){ 1, 20, false, true }, &one);
    check_plan(&deep, &(vs_arena_options){ 1, 20, false, true }, &other);
    assert_int_equal(one, other);
}

static void sizes_that_cannot_be_counted_are_refused(void **state) {
    (void)state;
    static const vs_arena_options huge[] = { { SIZE_MAX, 4, false, false },
                                             { 1, SIZE_MAX / 4, false, true },
                                             { SIZE_MAX / 100, 5, true, false },
                                             { (size_t)1 << 31, (size_t)1 << 31, true, true } };
    vs_graph *g = graph_of(&arch_eomt);
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        vs_arena arena;
        vs_error err = { 0 };
        check_error(vs_arena_plan(&arena, g, &huge[i], &err), &err, VS_ERR_NOMEM, "no memory for a session");
        vs_arena_release(&arena);
    }
    vs_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_two_values_meet),
                                        cmocka_unit_test(a_plain_pass_does_not_grow_with_depth),
                                        cmocka_unit_test(sizes_that_cannot_be_counted_are_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
