/* What runs of a batch share, and that nothing is kept that no later run needs (leaks show under the sanitizers). */
#include "study/cache.h"
#include "support/check.h"
#include "util/util.h"

static const char *const text =
    "version: 1\nname: b\n"
    "defaults:\n"
    "  model: {checkpoint: m}\n"
    "  data: {calibration: {scenes: {seed: 2, count: 3}}, evaluation: {scenes: {seed: 1, count: 3}}}\n"
    "runs:\n"
    "  - name: plain\n"
    "  - {name: bits, recipe: {bits: {weights: 4}}}\n"
    "  - {name: other_set, data: {calibration: {scenes: {count: 4}}}}\n"
    "  - {name: planted, model: {plant: [{kind: spike}]}}\n"
    "  - {name: planted_on_more, model: {plant: [{kind: spike}]}, data: {calibration: {scenes: {count: 4}}}}\n"
    "  - {name: planted_bits, model: {plant: [{kind: spike}]}, recipe: {bits: {inputs: 4}}}\n"
    "  - {name: probabilities, recipe: {p: u8}}\n"
    "  - {name: planted_probabilities, model: {plant: [{kind: spike}]}, recipe: {p: u8}}\n";
enum { PLAIN, BITS, OTHER_SET, PLANTED, PLANTED_ON_MORE, PLANTED_BITS, PROBABILITIES, PLANTED_PROBABILITIES, RUNS };

static vs_cache *create(vs_batch *b) {
    vs_error err = { 0 };
    vs_cache *cache = NULL;
    assert_int_equal(vs_batch_parse(b, text, strlen(text), "b.yaml", NULL, 0, &err), VS_OK);
    assert_int_equal(b->run_count, RUNS);
    assert_int_equal(vs_cache_create(&cache, b->runs, b->run_count, &err), VS_OK);
    return cache;
}

static vs_float_maps *make_maps(void) {
    vs_error err = { 0 };
    vs_float_maps *maps = NULL;
    assert_int_equal(vs_float_maps_create(&maps, 2, &err), VS_OK);
    return maps;
}

static void equal_parts_are_shared(void **state) {
    (void)state;
    vs_batch b;
    vs_cache *cache = create(&b);
    static const bool model[RUNS] = { [PLAIN] = true, [BITS] = true, [OTHER_SET] = true, [PLANTED] = true },
                      calibration[RUNS] = { [PLAIN] = true, [PLANTED] = true },
                      maps[RUNS] = { [PLAIN] = true, [BITS] = true, [PLANTED] = true };
    for (size_t i = 0; i < RUNS; i++) {
        vs_cache_begin(cache, i);
        assert_int_equal(vs_cache_wanted(cache, VS_SHARED_MODEL), model[i]);
        assert_int_equal(vs_cache_wanted(cache, VS_SHARED_CALIBRATION), calibration[i]);
        assert_int_equal(vs_cache_wanted(cache, VS_SHARED_FLOAT_MAPS), maps[i]);
    }
    vs_cache_free(cache);
    vs_batch_release(&b);
}

static void values_travel_to_the_run_that_needs_them(void **state) {
    (void)state;
    vs_batch b;
    vs_cache *cache = create(&b);
    vs_float_maps *maps = make_maps();
    vs_cache_begin(cache, PLAIN);
    assert_null(vs_cache_take(cache, VS_SHARED_FLOAT_MAPS));
    vs_cache_give(cache, VS_SHARED_FLOAT_MAPS, maps);
    vs_cache_begin(cache, BITS);
    assert_null(vs_cache_take(cache, VS_SHARED_CALIBRATION));
    assert_ptr_equal(vs_cache_take(cache, VS_SHARED_FLOAT_MAPS), maps);
    assert_null(vs_cache_take(cache, VS_SHARED_FLOAT_MAPS)); /* it has one owner */
    vs_cache_give(cache, VS_SHARED_FLOAT_MAPS, maps);
    vs_cache_begin(cache, PLANTED); /* the run between failed before it took them; no run needs them now */
    assert_null(vs_cache_take(cache, VS_SHARED_FLOAT_MAPS));
    vs_cache_give(cache, VS_SHARED_FLOAT_MAPS, make_maps());
    vs_cache_begin(cache, PLANTED_BITS);
    vs_cache_give(cache, VS_SHARED_MODEL, vs_calloc(1, sizeof(vs_planted))); /* the last run: freed at once */
    vs_cache_free(cache);                                                    /* and what lies there */
    vs_batch_release(&b);
}

static void a_single_run_has_no_cache(void **state) {
    (void)state;
    assert_null(vs_cache_take(NULL, VS_SHARED_MODEL));
    assert_false(vs_cache_wanted(NULL, VS_SHARED_MODEL));
    vs_cache_give(NULL, VS_SHARED_FLOAT_MAPS, make_maps());
    vs_cache_give(NULL, VS_SHARED_FLOAT_MAPS, NULL);
    vs_cache_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(equal_parts_are_shared),
                                        cmocka_unit_test(values_travel_to_the_run_that_needs_them),
                                        cmocka_unit_test(a_single_run_has_no_cache) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
