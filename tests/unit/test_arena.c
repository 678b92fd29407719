/* Where values stand: no two in one place while both are needed, whatever the graph, the images and the mode. */
#include "support/archs.h"
#include "support/check.h"
#include "support/places.h"

static void check_plan(const vs_arch *arch, const vs_arena_options *o, size_t *total) {
    vs_graph *g = graph_of(arch);
    vs_arena arena;
    vs_error err = { 0 };
    char text[64];
    assert_int_equal(vs_arena_plan(&arena, g, o, &err), VS_OK);
    if (!plan_holds(g, &arena, o, text, sizeof text)) fail_msg("%s", text);
    *total = 0;
    for (size_t r = 0; r < VS_REGION_COUNT; r++) *total += arena.sizes[r];
    vs_arena_release(&arena);
    vs_graph_free(g);
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
