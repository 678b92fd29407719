/* Policies on half kernels beside their emulation: with kernels of plain loops on the cpu (tests/support/host_half.c), so that
 * what calls them is tested where there is no GPU. Noise is another draw of the same level, so levels are compared. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "results/report.h"
#include "study/study.h"
#include "support/check.h"
#include "support/host_half.h"
#include "util/util.h"

#define V2 VS_SOURCE_DIR "/data/vit_ti14_scenes.safetensors"
#define V3 VS_SOURCE_DIR "/data/vit_ti16_dinov3_scenes.safetensors"

static vs_config *make_config(const char *model, const char *fp16) {
    char *text = vs_format("version: 1\nname: real\nmodel: {checkpoint: %s}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 2, size: 112}}\n"
                           "  analysis: {scenes: {seed: 3, count: 2, size: 112}}\n"
                           "  evaluation: {scenes: {seed: 9, count: 2, size: 112}}\n"
                           "states: [fp32]\nanalyze: {recipes: [], cumulative: false}\nfp16: {%s}\n",
                           model, fp16);
    vs_error err = { 0 };
    vs_config *config = NULL;
    if (vs_config_parse(&config, text, strlen(text), "real.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    free(text);
    return config;
}

static void run(vs_study *s, vs_config *config, size_t batch) {
    vs_error err = { 0 };
    const vs_study_options options = { .backend = "cpu", .threads = 2, .batch = batch };
    *s = (vs_study){ 0 };
    if (vs_study_open(s, config, &options, &err) != VS_OK) fail_msg("%s", err.message);
    s->backend->half = &vs_host_half_ops; /* behind the check, which refuses cpu */
    config->fp16.real = true;
    if (vs_study_run(s, &err) != VS_OK) fail_msg("%s", err.message);
}

static void levels_agree(const char *model, const char *fp16, size_t batch) {
    /* dB. In the first half of the model levels are sharp; deep in it few tokens decide them (65 an image here): another draw of
       noise, nowhere twice the amplitude. */
    static const double sharp = 0.5, drawn = 6;
    vs_study s;
    vs_config *config = make_config(model, fp16);
    run(&s, config, batch);
    for (size_t i = 0; i < s.results.fp16.policy_count; i++) {
        const vs_fp16_policy *p = &s.results.fp16.policies[i];
        assert_true(p->real.present && p->real.has_task);
        assert_int_equal(p->real.block_count, s.model->arch.depth);
        assert_int_equal(p->real.finite, p->finite);
        for (size_t b = 0; b < p->real.block_count / 2; b++) {
            const double x = p->real.blocks[b].sqnr, y = p->real.blocks[b].emulated;
            if (!(x == y || fabs(x - y) <= sharp)) fail_msg("%s: %g dB after block %zu, emulated %g", p->name, x, b, y);
        }
        if (!(p->real.largest_difference <= drawn))
            fail_msg("%s: %g dB apart at block %zu", p->name, p->real.largest_difference, p->real.largest_block);
        if (!(p->real.output_difference <= drawn)) fail_msg("%s: output %g dB apart", p->name, p->real.output_difference);
    }
    vs_study_release(&s);
    vs_config_free(config);
}

static void plain_kernels_are_the_emulation(void **state) {
    (void)state;
    levels_agree(V2, "policies: [fused, decomposed]", 2);
    levels_agree(V3, "policies: [fused, strict]", 1);
}

static void failures_are_the_emulation_s(void **state) {
    (void)state;
    levels_agree(V3 ", plant: [{kind: residual, gain: 64}]", "policies: [fused, decomposed], scale: after", 2);
    levels_agree(V2 ", plant: [{kind: key, gain: 8192}]", "policies: [fused, decomposed], scale: after", 2);
}

static void results_tell(void **state) {
    (void)state;
    static const char *const keys[] = { "\"real\"", "\"blocks.11.add2\"", "\"emulated\"", "\"largest_difference_db\"",
                                        "\"output_difference_db\"" };
    char folder[256], *json = NULL, *summary = NULL;
    size_t size = 0;
    vs_study s;
    vs_error err = { 0 };
    vs_config *config = make_config(V2, "policies: [fused]");
    make_temp_dir(folder, sizeof folder);
    char *path = vs_path_join(folder, "results.json");
    run(&s, config, 1);
    assert_int_equal(vs_report_json(&s.results, folder, &err), VS_OK);
    assert_int_equal(vs_read_file(path, 1 << 24, &json, &size, &err), VS_OK);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_non_null(strstr(json, keys[i]));
    assert_int_equal(vs_report_summary(&s.results, 128, &summary, &err), VS_OK);
    assert_non_null(strstr(summary, "  fused on the GPU's half kernels: noise of block outputs within "));
    (void)remove(path);
    (void)rmdir(folder);
    free(path);
    free(json);
    free(summary);
    vs_study_release(&s);
    vs_config_free(config);
}

/* Policies that keep something in float32 are left out; other backends and formats are refused before anything is read. */
static void what_is_not_run(void **state) {
    (void)state;
    vs_study s = { 0 };
    vs_error err = { 0 };
    vs_config *config = make_config(V2, "policies: [norm_fp32, fused], scale: after");
    run(&s, config, 1);
    assert_false(s.results.fp16.policies[0].real.present);
    assert_true(s.results.fp16.policies[1].real.present);
    vs_study_release(&s);
    check_error(vs_study_open(&s, config, &(vs_study_options){ .backend = "cpu", .threads = 1, .batch = 1 }, &err), &err,
                VS_ERR_BACKEND, "fp16.real: backend cpu has no half kernels");
    vs_study_release(&s);
    vs_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(plain_kernels_are_the_emulation),
                                        cmocka_unit_test(failures_are_the_emulation_s), cmocka_unit_test(results_tell),
                                        cmocka_unit_test(what_is_not_run) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
