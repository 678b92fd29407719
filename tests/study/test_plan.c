/* What a study says beforehand: memory of its states, time of its sweeps; and that long lists are no long work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/small_study.h"

/* What is told is what is made, for any states and recipes. */
static void variants_are_counted(void **state) {
    (void)state;
    static const struct {
        const char *states;
        size_t count;
    } cases[] = { { "states: [fp32]\nanalyze: {recipes: []}", 0 },
                  { "states: [fp32, acts]\nanalyze: {recipes: []}", 1 },
                  { "states: [fp32, ptq, weights, acts, fp16]\nanalyze: {recipes: [ptq]}", 1 },
                  { "states: [fp32, weights]\nanalyze: {recipes: [ptq, sq]}", 2 },
                  { "states: [fp32, sq, {sq: {name: a3, alpha: 0.3}}, ptq]\nanalyze: {recipes: [a3, ptq, sq]}", 3 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_error err = { 0 };
        vs_config *config = NULL;
        vs_study s = { 0 };
        char *text = vs_format("version: 1\nname: t\nmodel: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\n"
                               "data:\n  calibration: {scenes: {seed: 2, count: 1, size: 56}}\n"
                               "  analysis: {scenes: {seed: 3, count: 1, size: 56}}\n%s\n",
                               VS_SOURCE_DIR, cases[i].states);
        if (vs_config_parse(&config, text, strlen(text), "t.yaml", NULL, 0, &err) != VS_OK ||
            vs_study_open(&s, config, &(vs_study_options){ .backend = "cpu", .threads = 1, .batch = 1 }, &err) != VS_OK ||
            vs_study_prepare_states(&s, &err) != VS_OK)
            fail_msg("%s", err.message);
        assert_int_equal(vs_states_count_variants(config, true), cases[i].count);
        assert_int_equal(s.states.variant_count, cases[i].count);
        vs_study_release(&s);
        vs_config_free(config);
        free(text);
    }
}

/* ------------------------------------------------------------------ time */

static void keep_cost(void *context, const char *text) {
    char *kept = context;
    if (strstr(text, "re-runs")) snprintf(kept, 200, "%s", text);
}

/* The second run takes the first one's calibration, and what it took. */
static void a_cached_calibration_has_its_time(void **state) {
    (void)state;
    static const char body[] = "data:\n  calibration: {scenes: {seed: 2, count: 1, size: 56}}\n"
                               "  analysis: {scenes: {seed: 3, count: 1, size: 56}}\n"
                               "states: [fp32]\nanalyze: {recipes: [ptq], layers: [\"blocks.11.mlp.*\"], output: true}\n";
    vs_error err = { 0 };
    vs_config *runs[2] = { NULL, NULL };
    vs_cache *cache = NULL;
    char *text =
        vs_format("version: 1\nname: t\nmodel: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\n%s", VS_SOURCE_DIR, body);
    for (size_t i = 0; i < 2; i++)
        if (vs_config_parse(&runs[i], text, strlen(text), "t.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(vs_cache_create(&cache, runs, 2, &err), VS_OK);
    double seconds[2] = { 0 };
    for (size_t i = 0; i < 2; i++) {
        char cost[200] = "";
        vs_study s;
        vs_cache_begin(cache, i);
        run_study(
            &s, runs[i],
            &(vs_study_options){
                .backend = "cpu", .threads = 1, .batch = 1, .cache = cache, .progress = { .note = keep_cost, .context = cost } });
        seconds[i] = s.forward_seconds;
        assert_non_null(strstr(cost, "output: "));
        assert_null(strstr(cost, "about 0 s"));
        vs_study_release(&s);
    }
    assert_true(seconds[0] > 0 && seconds[1] == seconds[0]);
    vs_cache_free(cache);
    vs_config_free(runs[0]);
    vs_config_free(runs[1]);
    free(text);
}

/* ------------------------------------------------------------------ lists */

/* Half of a million, in their own order; by insertion this would be some 10^11 steps. */
static void a_large_sample_is_drawn(void **state) {
    (void)state;
    enum { ALL = 1000000, DRAWN = ALL / 2 };
    static const char text[] = "version: 1\nname: t\nmodel: {checkpoint: m}\n"
                               "data: {analysis: {scenes: {seed: 2, count: 2}}}\nstates: [fp32]\nanalyze: {recipes: []}\n";
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_imageset set;
    if (vs_config_parse(&config, text, strlen(text), "t.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    config->data.analysis.scenes.count = ALL;
    config->data.analysis.sample.set = true;
    config->data.analysis.sample.count = DRAWN;
    config->data.analysis.sample.seed = 7;
    assert_int_equal(vs_imageset_open(&set, config, &config->data.analysis, "analysis", 14, &err), VS_OK);
    assert_int_equal(set.count, DRAWN);
    size_t low = 0;
    for (size_t i = 0; i < DRAWN; i++) {
        if (i > 0) assert_true(set.order[i - 1] < set.order[i]);
        low += set.order[i] < ALL / 2;
    }
    assert_true(set.order[DRAWN - 1] < ALL);
    assert_true(low > DRAWN / 2 - 2000 && low < DRAWN / 2 + 2000); /* drawn from everywhere: 5 standard deviations */
    vs_imageset_release(&set);
    vs_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(variants_are_counted),
                                        cmocka_unit_test(a_cached_calibration_has_its_time),
                                        cmocka_unit_test(a_large_sample_is_drawn) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
