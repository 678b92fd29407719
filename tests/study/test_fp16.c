/* The half-precision diagnosis in small: known overflows are found in the right row, batches do not show in the results, ref and
 * cpu agree, and what cannot be run is refused by name. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "support/small_study.h"

static char folder[256];

#define V2 VS_SOURCE_DIR "/data/vit_ti14_scenes.safetensors"
#define V3 VS_SOURCE_DIR "/data/vit_ti16_dinov3_scenes.safetensors"

static vs_config *make_config(const char *model, size_t images, size_t size, const char *fp16) {
    char *text = vs_format("version: 1\nname: fp16\nmodel: {checkpoint: %s}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 4, size: %zu}}\n"
                           "  analysis: {scenes: {seed: 3, count: %zu, size: %zu}}\n"
                           "  evaluation: {scenes: {seed: 9, count: %zu, size: %zu}}\n"
                           "states: [fp32]\nanalyze: {recipes: [], cumulative: false}\nfp16: {%s}\n",
                           model, size, images, size, images, size, fp16);
    vs_error err = { 0 };
    vs_config *config = NULL;
    if (vs_config_parse(&config, text, strlen(text), "fp16.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    free(text);
    return config;
}

static const char *first_bad(const vs_fp16_policy *p) { return p->first_bad < p->row_count ? p->rows[p->first_bad].name : ""; }

/* The residual stream scaled: squares leave the range first where a norm is taken apart, the stream itself where it is not. */
static void overflows_are_found(void **state) {
    (void)state;
    static const struct {
        const char *model, *fused, *decomposed;
    } cases[] = { { V3, "", "" },
                  { V3 ", plant: [{kind: residual, gain: 4}]", "", "norm.square" },
                  { V3 ", plant: [{kind: residual, gain: 4096}]", "blocks.11.ls2", "blocks.0.norm1.square" },
                  { V2 ", plant: [{kind: residual, gain: 64}]", "", "blocks.11.norm1.square" },
                  { V2 ", plant: [{kind: key, gain: 16384}]", "blocks.0.attn.qkv", "blocks.0.attn.scores" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_study s;
        vs_config *config = make_config(cases[i].model, 1, 112, "policies: [fused, decomposed], scale: after");
        run_batches_of(&s, config, "cpu", 1);
        const vs_fp16_results *r = &s.results.fp16;
        assert_int_equal(r->policy_count, 2);
        assert_string_equal(first_bad(&r->policies[0]), cases[i].fused);
        assert_string_equal(first_bad(&r->policies[1]), cases[i].decomposed);
        if (!*cases[i].fused && i < 4) assert_true(r->policies[0].sqnr.pooled > 50 && r->policies[0].finite);
        vs_study_release(&s);
        vs_config_free(config);
    }
}

/* Every overflow of a row lies where its largest value is, or before; headroom is negative exactly where values overflow. */
static void counts_and_headroom_agree(void **state) {
    (void)state;
    vs_study s;
    vs_config *config = make_config(V3 ", plant: [{kind: residual, gain: 300}]", 1, 64, "policies: [fused, decomposed, strict]");
    run_batches_of(&s, config, "cpu", 1);
    assert_int_equal(s.results.fp16.policy_count, 7); /* fused has no scale, the others three */
    assert_string_equal(s.results.fp16.policies[1].name, "decomposed.after");
    for (size_t i = 0; i < s.results.fp16.policy_count; i++) {
        const vs_fp16_policy *p = &s.results.fp16.policies[i];
        for (size_t k = 0; k < p->row_count; k++) {
            const vs_fp16_row *row = &p->rows[k];
            if ((row->inf > 0) != (row->max >= 65520)) fail_msg("%s %s: inf and max disagree", p->name, row->name);
            if (row->inf && !row->first.present) fail_msg("%s %s: an overflow without a place", p->name, row->name);
        }
    }
    vs_study_release(&s);
    vs_config_free(config);
}

static void batches_do_not_show(void **state) {
    (void)state;
    vs_config *config = make_config(V3 ", plant: [{kind: residual, gain: 100}]", 4, 64, "policies: [fused, strict], scale: both");
    check_batches_do_not_show(config, "cpu", folder);
    vs_config_free(config);
}

/* Which way a value near a tie rounds depends on a sum's last bits, and one such value changes all behind it: deep in the model
 * the noise of cpu and of ref are two draws of one level. Its power in T numbers deviates by sqrt(2 / T) of itself, so two levels
 * in dB lie 10 log10(e) sqrt(4 / T) apart; T is the tokens, as the smallest rows have one number for each and in the others a
 * token's errors share their scale. Where only part of the numbers is drawn anew, the root of that part; in block 0 few are
 * turned. Four deviations are allowed. */
static double apart(size_t tokens, double anew) { return 4 * 10 * log10(exp(1)) * sqrt(4 * anew / (double)tokens); }

/* Before and in block 0. */
static bool is_early(const char *row) {
    return strncmp(row, "blocks.0.", 9) == 0 || strcmp(row, "patch_embed.proj") == 0 || strcmp(row, "tokens") == 0 ||
           strcmp(row, "pos_add") == 0;
}

static void policies_agree(const vs_fp16_policy *p, const vs_fp16_policy *q, size_t tokens) {
    static const double FEW = 1.0 / 16, PEAK = 6, BLOCKS = 12; /* a draw within PEAK times its level; draws in a mean over rows */
    double sum = 0;
    assert_int_equal(p->row_count, q->row_count);
    assert_string_equal(first_bad(p), first_bad(q));
    for (size_t k = 0; k < p->row_count; k++) {
        const char *name = p->rows[k].name;
        const double x = p->rows[k].sqnr.pooled, y = q->rows[k].sqnr.pooled, max = q->rows[k].max;
        const double noise = max * pow(10, -fmin(x, y) / 20); /* a row's level is no more than its largest value */
        assert_string_equal(name, q->rows[k].name);
        if (!(fabs(p->rows[k].max - max) <= 2 * PEAK * noise)) fail_msg("%s %s: max", p->name, name);
        if (!(x == y || fabs(x - y) <= apart(tokens, is_early(name) ? FEW : 1)))
            fail_msg("%s %s: %g dB, ref %g", p->name, name, x, y);
        sum += x == y ? 0 : x - y;
    }
    const double mean = sum / (double)p->row_count;
    if (!(fabs(mean) <= apart(tokens, 1) / sqrt(BLOCKS))) fail_msg("%s: %g dB apart on average", p->name, mean);
}

static void ref_agrees(const char *model, size_t size, const char *fp16) {
    vs_study a, b;
    vs_config *config = make_config(model, 1, size, fp16);
    run_batches_of(&a, config, "cpu", 1);
    run_batches_of(&b, config, "ref", 1);
    assert_int_equal(a.results.fp16.policy_count, b.results.fp16.policy_count);
    for (size_t i = 0; i < a.results.fp16.policy_count; i++)
        policies_agree(&a.results.fp16.policies[i], &b.results.fp16.policies[i], a.results.tokens);
    vs_study_release(&a);
    vs_study_release(&b);
    vs_config_free(config);
}

static void cpu_is_ref(void **state) {
    (void)state;
    ref_agrees(V2, 56, "policies: [fused, strict, norm_fp32, attention_fp32], scale: after");
    ref_agrees(V3, 64, "policies: [fused, strict], scale: both");
    ref_agrees(V2, 56, "policies: [strict], scale: before, format: bf16");
}

static void what_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = { { "fp16: {policies: [fusde]}", "c.yaml:4:19: unknown policy 'fusde' in fp16.policies; did you mean 'fused'?" },
                  { "fp16: {policies: []}", "c.yaml:4:18: fp16.policies is empty" },
                  { "fp16: {policies: [fused, fused]}", "c.yaml:4:26: two policies are called 'fused'" },
                  { "fp16: {policies: [{norm: fused}]}", "fp16.policies.name is missing" },
                  { "fp16: {policies: [{name: x, gelu: float32}]}", "gelu must be fused or decomposed, not 'float32'" },
                  { "fp16: {scale: sideways}", "scale must be auto, after, before or both, not 'sideways'" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = vs_format("version: 1\nname: x\nmodel: {checkpoint: a}\n%s\n", cases[i].text);
        vs_config *config = NULL;
        vs_error err = { 0 };
        check_error(vs_config_parse(&config, text, strlen(text), "c.yaml", NULL, 0, &err), &err, VS_ERR_CONFIG, cases[i].message);
        free(text);
    }
}

int main(void) {
    make_temp_dir(folder, sizeof folder);
    const struct CMUnitTest tests[] = { cmocka_unit_test(overflows_are_found), cmocka_unit_test(counts_and_headroom_agree),
                                        cmocka_unit_test(batches_do_not_show), cmocka_unit_test(cpu_is_ref),
                                        cmocka_unit_test(what_is_refused) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
