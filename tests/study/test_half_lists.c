/* The half-precision diagnosis of the demo models with a scaled residual stream: first bad rows, causes and keep lists
 * (docs/fp16-reference.md 5). By default one small case, whose results do not depend on threads or batch; "all": the lists and
 * rows of the page.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diagnose/half_probe.h"
#include "half/classes.h"
#include "support/check.h"
#include "support/small_study.h"

#define V3 "vit_ti16_dinov3_scenes"
#define V2 "vit_ti14_scenes"

/* Of a policy's diagnosis (docs/fp16-reference.md 4). */
enum { MOST_RUNS = 60 };

/* `fp16`: policies and scale; `evaluation`: "evaluation: {...}" or nothing. */
static vs_config *make_scaled(const char *model, const char *plant, const char *fp16, const char *images,
                              const char *evaluation) {
    char *text = vs_format("version: 1\nname: half\nmodel: {checkpoint: " VS_SOURCE_DIR "/data/%s.safetensors, plant: [%s]}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 1, size: 56}}\n  analysis: {scenes: {seed: 3, %s}}\n"
                           "  %s\nstates: [fp32]\nanalyze: {recipes: [], cumulative: false}\nfp16: {%s}\n",
                           model, plant, images, evaluation, fp16);
    vs_error err = { 0 };
    vs_config *config = NULL;
    assert_non_null(text);
    if (vs_config_parse(&config, text, strlen(text), "half.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    free(text);
    return config;
}

static vs_config *make_config(const char *model, const char *plant, const char *policy, const char *images,
                              const char *evaluation) {
    char *fp16 = vs_format("policies: [%s], scale: after", policy);
    assert_non_null(fp16);
    vs_config *config = make_scaled(model, plant, fp16, images, evaluation);
    free(fp16);
    return config;
}

static void run(vs_study *s, const vs_config *config) {
    run_study(s, config, &(vs_study_options){ .backend = "cpu", .batch = 1 });
}

static bool has_class(const vs_fp16_diagnosis *g, const char *name) {
    for (size_t i = 0; i < g->class_count; i++)
        if (strcmp(g->classes[i], name) == 0) return true;
    return false;
}

/* What holds for every diagnosis, its advice among the runs. */
static void check_diagnosis(const vs_fp16_results *r, size_t policy) {
    const vs_fp16_policy *p = &r->policies[policy];
    const vs_fp16_diagnosis *g = &p->diagnosis;
    size_t runs = g->runs;
    for (size_t i = 0; i < r->advice_count; i++) runs += r->advice[i].policy == policy;
    assert_true(g->present);
    assert_true(g->reached);
    assert_true(runs <= MOST_RUNS);
    assert_true(g->minimal); /* they were enough */
    for (size_t i = 0; i < g->keep_count; i++) assert_true(g->keep[i].has_without);
    assert_true(g->keep_sqnr >= g->target && g->cause_sqnr >= g->target);
    assert_true(g->target <= 40);
    for (size_t i = 0; i < g->keep_count; i++) assert_int_equal(g->keep[i].needed, !(g->keep[i].without_sqnr >= g->target));
    if (g->chain_count) assert_string_equal(g->chain[0].row, p->rows[p->first_bad].name);
    for (size_t i = 0; i < g->class_count; i++) assert_non_null(strstr(g->words, g->classes[i]));
    if (!g->chain_count || !g->class_count || strcmp(g->chain[0].why, "sqnr") != 0) return;
    const char *first = vs_half_class_names[vs_half_class_of(g->chain[0].row)];
    assert_int_equal(has_class(g, first), strstr(g->words, "may stay in half") == NULL);
}

static void threads_and_batches_do_not_show(void **state) {
    (void)state;
    char folder[256], first[65] = "", hex[65];
    make_temp_dir(folder, sizeof folder);
    vs_config *config = make_config(V3, "{kind: residual, gain: 4096}", "fused", "count: 3, size: 64",
                                    "evaluation: {scenes: {seed: 1, count: 3, size: 64}}");
    for (size_t batch = 1; batch <= 2; batch++) {
        vs_study s = { 0 };
        run_batches_of(&s, config, "cpu", batch);
        const vs_fp16_diagnosis *g = &s.results.fp16.policies[0].diagnosis;
        check_diagnosis(&s.results.fp16, 0);
        assert_string_equal(g->chain[0].why, "overflow");
        assert_true(has_class(g, "residual"));
        assert_true(g->keep_count > 0 && g->verified && g->has_whole_task);
        hash_results(&s, folder, batch == 1 ? first : hex);
        vs_study_release(&s);
    }
    assert_string_equal(hex, first);
    vs_config_free(config);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- what a list says of its entries, from runs of its own ---- */

/* Whether a row is of an entry of the list, other than `without`. */
static bool is_kept(const vs_fp16_diagnosis *g, const char *row, size_t without) {
    char unit[64];
    vs_half_unit_of(row, unit, sizeof unit);
    for (size_t e = 0; e < g->keep_count; e++)
        if (e != without && strcmp(g->keep[e].row, unit) == 0) return true;
    return false;
}

/* A run to its end with the list in float32 but for one entry; *margin: every half row keeps its bit of headroom. */
static double run_without(vs_half_prober *prober, const vs_half_weights *weights, const vs_policy_config *policy,
                          const vs_fp16_diagnosis *g, size_t without, bool *margin) {
    bool *float32 = vs_calloc(prober->rows, sizeof *float32);
    vs_half_probe probe = { 0 };
    vs_error err = { 0 };
    char name[64];
    assert_non_null(float32);
    for (size_t i = 0; i < prober->rows; i++) {
        vs_half_row_name(prober->graph_rows, policy, i, name, sizeof name);
        float32[i] = is_kept(g, name, without);
    }
    const vs_half_model model = { .weights = weights, .policy = policy, .float32 = float32, .counts_only = true };
    if (vs_half_probe_run(&probe, prober, &model, &err) != VS_OK) fail_msg("%s", err.message);
    *margin = true;
    for (size_t i = 0; i < prober->rows; i++) *margin &= !(probe.rows[i].max > 32752) && !probe.rows[i].cast_inf;
    const double sqnr = vs_half_probe_reaches(&probe, -HUGE_VAL) ? probe.output.pooled : -HUGE_VAL;
    vs_half_probe_release(&probe);
    free(float32);
    return sqnr;
}

static void check_entries(const char *plant, const char *policy) {
    vs_config *config = make_config(V3, plant, policy, "count: 2, size: 64", "");
    vs_study s = { 0 };
    vs_error err = { 0 };
    vs_half_weights *weights = NULL;
    vs_half_prober prober = { 0 };
    bool margin = false;
    run(&s, config);
    const vs_runner runner = vs_study_runner(&s);
    const vs_policy_config *own = &s.config->fp16.policies[0];
    const vs_fp16_diagnosis *g = &s.results.fp16.policies[0].diagnosis;
    check_diagnosis(&s.results.fp16, 0);
    if (vs_half_weights_create(&weights, s.weights, VS_HALF_FP16, &err) != VS_OK ||
        vs_half_prober_create(&prober, &runner, &s.analysis_set, 2, &err) != VS_OK)
        fail_msg("%s", err.message);
    assert_true(g->keep_count > 0 && g->minimal);
    assert_true(run_without(&prober, weights, own, g, SIZE_MAX, &margin) == g->keep_sqnr && margin);
    for (size_t e = 0; e < g->keep_count; e++) {
        const double sqnr = run_without(&prober, weights, own, g, e, &margin);
        if (!g->keep[e].has_without || g->keep[e].without_sqnr != sqnr || g->keep[e].needed != !(sqnr >= g->target))
            fail_msg("without %s %g dB, said %g", g->keep[e].row, sqnr, g->keep[e].without_sqnr);
        if (sqnr >= g->target && margin) fail_msg("%s can go", g->keep[e].row);
    }
    vs_half_prober_release(&prober);
    vs_half_weights_free(weights);
    vs_study_release(&s);
    vs_config_free(config);
}

static void entries_are_as_said(void **state) {
    (void)state;
    check_entries("{kind: residual, gain: 4096}", "fused");
    check_entries("{kind: residual, gain: 32}", "decomposed");
}

/* ---- the page's lists ---- */

static const double RESTORED = 0.2; /* points of mIoU on 512 images (issue) */

typedef struct entry {
    const char *row;
    bool needed;
} entry;

static void check_list(const char *gain, const char *policy, const entry *want, size_t count) {
    char *plant = vs_format("{kind: residual, gain: %s}", gain);
    vs_config *config =
        make_config(V3, plant, policy, "count: 4, size: 224", "evaluation: {scenes: {seed: 1, count: 512, size: 224}}");
    vs_study s = { 0 };
    run(&s, config);
    const vs_fp16_policy *p = &s.results.fp16.policies[0];
    const vs_fp16_diagnosis *g = &p->diagnosis;
    check_diagnosis(&s.results.fp16, 0);
    assert_int_equal(g->keep_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(g->keep[i].row, want[i].row);
        assert_int_equal(g->keep[i].needed, want[i].needed);
    }
    assert_true(g->verified);
    assert_true(fabs(g->verified_task.miou - s.results.tasks[0].miou) <= RESTORED);
    vs_study_release(&s);
    vs_config_free(config);
    free(plant);
}

static void list_of_a_stream_that_overflows(void **state) {
    (void)state;
    static const entry want[] = { { "blocks.10.add2", false },
                                  { "blocks.11.add1", false },
                                  { "blocks.11.ls2", true },
                                  { "blocks.11.add2", true },
                                  { "norm", true } };
    check_list("4096", "fused", want, 5);
}

static void list_of_every_norm(void **state) {
    (void)state;
    enum { NORMS = 25 };
    char names[NORMS][32];
    entry want[NORMS];
    for (size_t i = 0; i < NORMS; i++) {
        snprintf(names[i], sizeof names[i], i + 1 < NORMS ? "blocks.%zu.norm%zu" : "norm", i / 2, i % 2 + 1);
        want[i] = (entry){ names[i], true };
    }
    check_list("256", "decomposed", want, NORMS);
}

static void first_bad_rows(void **state) {
    (void)state;
    static const struct {
        const char *model, *plant, *policy, *row, *classes[2];
    } cases[] = {
        { V3, "{kind: residual, gain: 4}", "decomposed", "norm.square", { "norm", NULL } },
        { V2, "{kind: residual, gain: 8}", "decomposed", "norm.square", { "norm", NULL } },
        { V2, "{kind: residual, gain: 64}", "decomposed", "blocks.11.norm1.square", { "norm", NULL } },
        { V3, "{kind: residual, gain: 1024}", "fused", "blocks.11.ls2", { "residual", "norm" } },
        { V2,
          "{kind: key, gain: 4096}",
          "{name: key, norm: fused, attention: decomposed}",
          "blocks.7.attn.scores",
          { "scores", NULL } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_config *config = make_config(cases[i].model, cases[i].plant, cases[i].policy, "count: 4, size: 224", "");
        vs_study s = { 0 };
        run(&s, config);
        const vs_fp16_policy *p = &s.results.fp16.policies[0];
        check_diagnosis(&s.results.fp16, 0);
        assert_string_equal(p->diagnosis.chain[0].row, cases[i].row);
        assert_string_equal(p->diagnosis.chain[0].why, "overflow");
        for (size_t k = 0; k < 2 && cases[i].classes[k]; k++) assert_true(has_class(&p->diagnosis, cases[i].classes[k]));
        vs_study_release(&s);
        vs_config_free(config);
    }
}

/* Lists of many entries that nothing but runs can tell apart: scores and softmax of every block, each scale, both norms. */
static void key_lists_take_few_runs(void **state) {
    (void)state;
    static const char *const gains[] = { "2048", "4096", "8192", "16384" };
    for (size_t i = 0; i < sizeof gains / sizeof *gains; i++) {
        char *plant = vs_format("{kind: key, gain: %s}", gains[i]);
        assert_non_null(plant);
        vs_config *config =
            make_scaled(V2, plant, "policies: [decomposed, strict, {name: key, norm: fused, attention: decomposed}], scale: auto",
                        "count: 4, size: 224", "");
        vs_study s = { 0 };
        run(&s, config);
        assert_int_equal(s.results.fp16.policy_count, 9);
        for (size_t p = 0; p < s.results.fp16.policy_count; p++) {
            const vs_fp16_diagnosis *g = &s.results.fp16.policies[p].diagnosis;
            printf("key %s, %s: %zu entries, %zu runs\n", gains[i], s.results.fp16.policies[p].name, g->keep_count, g->runs);
            check_diagnosis(&s.results.fp16, p);
        }
        vs_study_release(&s);
        vs_config_free(config);
        free(plant);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest quick[] = { cmocka_unit_test(threads_and_batches_do_not_show),
                                        cmocka_unit_test(entries_are_as_said) };
    const struct CMUnitTest all[] = { cmocka_unit_test(first_bad_rows), cmocka_unit_test(list_of_a_stream_that_overflows),
                                      cmocka_unit_test(list_of_every_norm), cmocka_unit_test(key_lists_take_few_runs) };
    if (argc > 1 && strcmp(argv[1], "all") == 0) return cmocka_run_group_tests(all, NULL, NULL);
    return cmocka_run_group_tests(quick, NULL, NULL);
}
