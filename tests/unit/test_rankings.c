/* Rankings and reports of a small made-up study. */
#include <jansson.h>

#include "results/results.h"
#include "support/check.h"
#include "support/made_up.h"
#include "util/util.h"

enum { ROWS = 4, STATES = 2 };

typedef struct study {
    vs_arch arch;
    char names[ROWS][MADE_NAME];
    vs_row rows[ROWS];
    vs_row_recipe recipes[ROWS];
    vs_row_state states[ROWS][STATES];
    vs_sqnr output[STATES];
    const char *state_names[STATES], *recipe_names[1];
    vs_results results;
} study;

/* weights 40 50 inf -, activations 20 45 1 30, output ratios 10 5 3 100, input ratios 2 inf 5 1 */
static void build(study *s) {
    static const double w[] = { 40, 50, HUGE_VAL, 0 }, a[] = { 20, 45, 1, 30 }, out[] = { 10, 5, 3, 100 },
                        in[] = { 2, HUGE_VAL, 5, 1 };
    static const vs_kind kinds[] = { VS_KIND_QKV, VS_KIND_FC1, VS_KIND_FC2, VS_KIND_Q };
    *s = (study){ .arch = made_arch(1) };
    for (size_t i = 0; i < ROWS; i++) {
        s->recipes[i].local[VS_LOCAL_WEIGHT] = sqnr(w[i]);
        s->recipes[i].local[VS_LOCAL_WEIGHT].present = i != 3;
        s->recipes[i].local[VS_LOCAL_ACTIVATION] = sqnr(a[i]);
        s->states[i][0].out = (vs_distribution){ .present = true, .max = 1, .ratio = out[i], .shape = "spike" };
        s->states[i][0].in = (vs_distribution){ .present = true, .max = 1, .ratio = in[i], .shape = "ridge" };
        s->rows[i] = made_row(s->names[i], kinds[i], 0, &s->recipes[i], s->states[i]);
        s->rows[i].macs = 1e6;
        s->rows[i].fqn[0] = "m,\"x\"";
        s->rows[i].fqn_count = 1;
        s->rows[i].planted = i == 2;
    }
    s->state_names[0] = "fp32";
    s->state_names[1] = "ptq";
    s->recipe_names[0] = "ptq";
    s->output[0] = sqnr(HUGE_VAL);
    s->results = made_results(&s->arch, s->state_names, STATES, s->recipe_names, 1);
    s->results.rows = s->rows;
    s->results.row_count = ROWS;
    s->results.output_sqnr = s->output;
    vs_error err = { 0 };
    assert_int_equal(vs_rankings_compute(&s->results, &err), VS_OK);
}

static double spearman(const double *a, const double *b) {
    vs_error err = { 0 };
    double rho = 0;
    assert_int_equal(vs_spearman(&rho, a, b, 5, &err), VS_OK);
    return rho;
}

static void spearman_by_hand(void **state) {
    (void)state;
    const double a[] = { 1, 2, 3, 4, 5 }, b[] = { 2, 1, 4, 3, 5 }, tied[] = { 1, 1, 2, 2, 3 }, flat[] = { 1, 1, 1, 1, 1 };
    check_close(spearman(a, b), 1 - 6.0 * 4 / (5 * 24), 1e-12);
    check_close(spearman(a, a), 1, 1e-12);
    check_close(spearman(a, tied), 9 / sqrt(10 * 9.0), 1e-12); /* ranks 1.5 1.5 3.5 3.5 5 */
    assert_true(isnan(spearman(a, flat)));
}

static void order_and_conclusions(void **state) {
    (void)state;
    study s;
    build(&s);
    const vs_ranking_set *set = &s.results.ptq_rankings;
    assert_string_equal(set->rankings[0].mode, "weights");
    assert_int_equal(set->rankings[0].count, 3); /* an operand has no weight */
    const size_t activations[] = { 2, 0, 3, 1 }, outliers[] = { 3, 0, 1, 2 }, inputs[] = { 1, 2, 0, 3 };
    assert_memory_equal(set->rankings[1].rows, activations, sizeof activations);
    assert_memory_equal(set->rankings[2].rows, outliers, sizeof outliers);
    assert_memory_equal(set->rankings[3].rows, inputs, sizeof inputs);
    assert_int_equal(set->rankings[4].count, 0);
    assert_int_equal(set->blind_count, 3);
    assert_int_equal(set->blind[0].row, 2);                                                /* inf - 1 */
    assert_true(set->blind[0].flagged && set->blind[1].flagged && !set->blind[2].flagged); /* inf, 20, 5 dB */
    assert_int_equal(set->blind[1].weights, 1);
    assert_int_equal(set->blind[1].activations, 2);
    assert_int_equal(set->harmless_count, 0); /* with four rows everything is in the first ten */
    vs_ranking_set_release(&s.results.ptq_rankings);
}

/* Every key of the object is written in docs/results.md; no number is NaN (jansson cannot hold one). */
static void keys_are_documented(const json_t *o, const char *docs) {
    const char *key;
    json_t *value;
    if (json_is_array(o)) {
        for (size_t i = 0; i < json_array_size(o); i++) keys_are_documented(json_array_get(o, i), docs);
        return;
    }
    json_object_foreach(json_is_object(o) ? (json_t *)(uintptr_t)o : NULL, key, value) {
        char quoted[100];
        snprintf(quoted, sizeof quoted, "`%s`", key);
        if (!strstr(docs, quoted)) fail_msg("key %s is not in docs/results.md", quoted);
        keys_are_documented(value, docs);
    }
}

static void reports_hold_the_numbers(void **state) {
    (void)state;
    study s;
    build(&s);
    char dir[256], path[320], *docs = NULL, *csv = NULL, *text = NULL, *summary = NULL;
    size_t size = 0;
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    assert_int_equal(vs_report_json(&s.results, dir, &err), VS_OK);
    assert_int_equal(vs_report_csv(&s.results, dir, &err), VS_OK);
    assert_int_equal(vs_report_rankings(&s.results, dir, &err), VS_OK);
    assert_int_equal(vs_report_summary(&s.results, 128, &summary, &err), VS_OK);
    snprintf(path, sizeof path, "%s/results.json", dir);
    json_t *o = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    json_t *layer = json_array_get(json_object_get(o, "layers"), 2),
           *local = json_object_get(json_object_get(json_object_get(json_object_get(layer, "sqnr"), "ptq"), "local"), "weight");
    assert_string_equal(json_string_value(local), "inf");
    assert_true(json_is_null(json_object_get(
        json_object_get(json_object_get(json_object_get(json_array_get(json_object_get(o, "layers"), 3), "sqnr"), "ptq"),
                        "local"),
        "weight")));
    assert_true(json_is_null(json_object_get(json_object_get(json_object_get(o, "task"), "fp32"), "miou")));
    assert_string_equal(json_string_value(json_array_get(json_object_get(json_object_get(o, "rankings"), "activations"), 0)),
                        "blocks.0.mlp.fc2");
    assert_int_equal(vs_read_file(VS_SOURCE_DIR "/docs/results.md", 1 << 20, &docs, &size, &err), VS_OK);
    keys_are_documented(o, docs);
    json_decref(o);
    unlink(path);
    snprintf(path, sizeof path, "%s/layers.csv", dir);
    assert_int_equal(vs_read_file(path, 1 << 20, &csv, &size, &err), VS_OK);
    assert_int_equal(strncmp(csv, "layer,fqn,kind,block,macs,ptq.local.weight,", 43), 0);
    assert_non_null(strstr(csv, "blocks.0.attn.qkv,\"m,\"\"x\"\"\",attn.qkv,0,1000000,40,20,"));
    unlink(path);
    snprintf(path, sizeof path, "%s/ranking.activations.txt", dir);
    assert_int_equal(vs_read_file(path, 1 << 20, &text, &size, &err), VS_OK);
    assert_non_null(strstr(text, "# polarity: worst first; lower is worse\n"));
    assert_non_null(strstr(text, "\n1\tblocks.0.mlp.fc2\t1\n2\tblocks.0.attn.qkv\t20\n"));
    static const char *const modes[] = { "weights", "activations", "outliers", "outliers_in", "output", "spared", "cumulative" };
    for (size_t i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "%s/ranking.%s.txt", dir, modes[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    assert_non_null(
        strstr(summary, "Precision is lost in the inputs of blocks.0.mlp.fc2 (1.0 dB), blocks.0.attn.qkv (20.0 dB)."));
    assert_non_null(strstr(summary, "PLANTED"));
    free(docs);
    free(csv);
    free(text);
    free(summary);
    vs_ranking_set_release(&s.results.ptq_rankings);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(spearman_by_hand), cmocka_unit_test(order_and_conclusions),
                                        cmocka_unit_test(reports_hold_the_numbers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
