/* State fp16 among the others of a study: policy fused of the diagnosis, measured as every state is. */
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/eomt_file.h"
#include "support/small_study.h"

static char folder[256];

static vs_config *make_config(const char *model, const char *more) {
    char *text = vs_format("version: 1\nname: state\nmodel: {checkpoint: %s/data/%s.safetensors}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 2, size: 112}}\n"
                           "  analysis: {scenes: {seed: 3, count: 3, size: 112}}\n"
                           "  evaluation: {scenes: {seed: 9, count: 2, size: 112}}\n%s",
                           VS_SOURCE_DIR, model, more);
    vs_error err = { 0 };
    vs_config *config = NULL;
    if (vs_config_parse(&config, text, strlen(text), "state.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    free(text);
    return config;
}

static const vs_fp16_row *find_row(const vs_fp16_policy *p, const char *name) {
    static const vs_fp16_row none = { 0 };
    for (size_t i = 0; i < p->row_count; i++)
        if (strcmp(p->rows[i].name, name) == 0) return &p->rows[i];
    return &none;
}

/* Largest values are the policy's, rounded: within 2^-11. */
static void check_layers(const vs_study *s, size_t state, const vs_fp16_policy *p) {
    size_t found = 0;
    for (size_t i = 0; i < s->results.row_count; i++) {
        const vs_row *row = &s->results.rows[i];
        const vs_distribution *out = &row->states[state].out;
        const vs_fp16_row *half = find_row(p, row->layer);
        assert_true(out->present && row->states[state].in.present);
        if (!half->name[0]) continue; /* operands, which are no rows */
        check_close(out->max, half->max, half->max / 2048);
        found++;
    }
    assert_true(found >= 4 * s->model->arch.depth);
}

/* Both compare with a float run beside them, on the same images. */
static void check_state(const char *model, const char *recipe) {
    char *more = vs_format("recipe: {%s}\nstates: [fp32, {fp16: {name: half}}, ptq]\nanalyze: {output: false, spared: false}\n"
                           "surfaces: {layers: 'blocks.3.*', tensors: [out, in], image: 1}\nfp16: {policies: [fused]}\n",
                           recipe);
    vs_config *config = make_config(model, more);
    vs_study s;
    char name[64];
    run_batches_of(&s, config, "cpu", 1);
    const vs_results *r = &s.results;
    const vs_fp16_policy *p = &r->fp16.policies[0];
    assert_string_equal(r->state_names[1], "half");
    assert_true(r->output_sqnr[1].pooled == p->sqnr.pooled && p->sqnr.pooled > 40);
    assert_true(r->tasks[1].miou == p->task.miou && r->tasks[1].agreement == p->task.agreement);
    check_layers(&s, 1, p);
    for (size_t b = 0; b < r->arch->depth; b++) {
        snprintf(name, sizeof name, "blocks.%zu.add2", b);
        assert_true(r->stream[r->arch->depth + b].pooled == find_row(p, name)->sqnr.pooled);
    }
    for (size_t i = 0; i < s.capture_count; i++) assert_non_null(s.captures[i].values[1]);
    vs_study_release(&s);
    vs_config_free(config);
    free(more);
}

static void the_state_is_policy_fused(void **state) {
    (void)state;
    check_state("vit_ti14_scenes", "patch_embed: true, head: true");
    check_state("vit_ti16_dinov3_scenes", "");
}

static void batches_do_not_show(void **state) {
    (void)state;
    vs_config *config = make_config("vit_ti14_scenes", "states: [fp16]\nanalyze: {recipes: []}\n"); /* no calibration either */
    check_batches_do_not_show(config, "cpu", folder);
    vs_config_free(config);
}

/* EoMT: blocks with different numbers of tokens, and a head of six linears. */
static void queries_that_join(void **state) {
    (void)state;
    char *path = vs_path_join(folder, "eomt.safetensors");
    write_eomt(path, NULL, NULL);
    char *text = vs_format("version: 1\nname: eomt\nmodel: {checkpoint: %s}\n"
                           "data:\n  analysis: {scenes: {seed: 3, count: 2, size: 56}}\n"
                           "  evaluation: {scenes: {seed: 9, count: 1, size: 56}}\nrecipe: {head: true}\n"
                           "states: [fp32, fp16]\nanalyze: {recipes: []}\nfp16: {policies: [fused]}\n",
                           path);
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_study s;
    assert_int_equal(vs_config_parse(&config, text, strlen(text), "eomt.yaml", NULL, 0, &err), VS_OK);
    run_batches_of(&s, config, "cpu", 2);
    assert_true(s.results.output_sqnr[1].present);
    assert_true(s.results.output_sqnr[1].pooled == s.results.fp16.policies[0].sqnr.pooled);
    for (size_t i = 0; i < s.results.row_count; i++) {
        const vs_row_state *states = s.results.rows[i].states;
        assert_true(states[1].out.present && states[1].in.present);
        check_close(states[1].out.max, states[0].out.max, 0.02 * states[0].out.max); /* a small model's noise */
        check_close(states[1].out.mean, states[0].out.mean, 0.02 * states[0].out.mean);
    }
    vs_study_release(&s);
    vs_config_free(config);
    free(text);
    (void)remove(path);
    free(path);
}

/* Its layers are not quantized one at a time. */
static void it_is_no_recipe(void **state) {
    (void)state;
    vs_config *config = make_config("vit_ti14_scenes", "states: [fp32, fp16]\nanalyze: {recipes: [fp16]}\n");
    const vs_study_options options = { .backend = "cpu", .threads = 1 };
    vs_study s = { 0 };
    vs_error err = { 0 };
    assert_int_equal(vs_study_open(&s, config, &options, &err), VS_OK);
    check_error(vs_study_run(&s, &err), &err, VS_ERR_CONFIG, "'fp16' is a state of kind fp16; recipes are ptq or sq states");
    vs_study_release(&s);
    vs_config_free(config);
}

int main(void) {
    make_temp_dir(folder, sizeof folder);
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_state_is_policy_fused), cmocka_unit_test(batches_do_not_show),
                                        cmocka_unit_test(it_is_no_recipe), cmocka_unit_test(queries_that_join) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
