/* Advice of the half-precision diagnosis in small: what undoes a planting is found and restores the task. */
#include <stdlib.h>
#include <string.h>

#include "edit/half_change.h"
#include "support/check.h"
#include "support/model.h"
#include "support/small_study.h"

#define V2 VS_SOURCE_DIR "/data/vit_ti14_scenes.safetensors"
#define V3 VS_SOURCE_DIR "/data/vit_ti16_dinov3_scenes.safetensors"

static void run_advice(vs_study *s, vs_config **config, const char *model, const char *policies) {
    char *text = vs_format("version: 1\nname: fp16\nmodel: {checkpoint: %s}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 4, size: 224}}\n"
                           "  analysis: {scenes: {seed: 3, count: 1, size: 224}}\n"
                           "  evaluation: {scenes: {seed: 1, count: 8, size: 224}}\n"
                           "states: [fp32]\nanalyze: {recipes: [], cumulative: false}\nfp16: {policies: [%s], scale: after}\n",
                           model, policies);
    vs_error err = { 0 };
    *config = NULL;
    if (vs_config_parse(config, text, strlen(text), "fp16.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    run_study(s, *config, &(vs_study_options){ .backend = "cpu", .threads = 2, .batch = 1 });
    free(text);
}

/* One that did nothing where it was not tried. */
static const vs_fp16_advice *find(const vs_fp16_results *r, const char *what) {
    static const vs_fp16_advice none = { 0 };
    for (size_t i = 0; i < r->advice_count; i++)
        if (strncmp(r->advice[i].what, what, strlen(what)) == 0) return &r->advice[i];
    return &none;
}

/* The target is reached with nothing in float32, and the task comes back. */
static void check_restored(const vs_study *s, const vs_fp16_advice *a) {
    assert_true(a->reaches && a->has_task);
    check_close(a->task.miou, s->results.tasks[0].miou, 0.2);
}

static void a_scaled_stream_restores(void **state) {
    (void)state;
    vs_study s;
    vs_config *config = NULL;
    run_advice(&s, &config, V3 ", plant: [{kind: residual, gain: 4096}]", "fused");
    const vs_fp16_results *r = &s.results.fp16;
    const vs_fp16_advice *a = find(r, "scale the residual stream by 2^-");
    assert_true(!r->policies[0].finite);
    check_restored(&s, a);
    assert_true(a->float_sqnr == HUGE_VAL); /* a power of two changes no bit of what follows a norm */
    const vs_fp16_advice *fold = find(r, "fold LayerScale");
    assert_true(!fold->reaches && fold->float_sqnr > 100);
    assert_int_equal(r->advice_count, 2); /* one was enough: they are not tried together */
    vs_study_release(&s);
    vs_config_free(config);
}

static void a_key_without_its_shift_restores(void **state) {
    (void)state;
    vs_study s;
    vs_config *config = NULL;
    run_advice(&s, &config, V2 ", plant: [{kind: key, gain: 4096}]", "{name: keys, norm: fused, attention: decomposed}");
    assert_true(!s.results.fp16.policies[0].finite);
    check_restored(&s, find(&s.results.fp16, "undo the shift of K"));
    vs_study_release(&s);
    vs_config_free(config);
}

static void a_sound_model_needs_none(void **state) {
    (void)state;
    vs_study s;
    vs_config *config = NULL;
    run_advice(&s, &config, V2, "fused, decomposed");
    assert_int_equal(s.results.fp16.advice_count, 0);
    vs_study_release(&s);
    vs_config_free(config);
}

/* Every norm of these models reads the stream. */
static void check_eps(const vs_model *m, double eps) {
    size_t norms = 0;
    assert_true(m->arch.eps == eps);
    for (size_t i = 0; i < m->graph->node_count; i++) {
        if (m->graph->nodes[i].op != VS_OP_LAYERNORM) continue;
        assert_true(m->graph->nodes[i].eps == eps);
        norms++;
    }
    assert_int_equal(norms, 2 * m->arch.depth + 1);
}

/* Folding takes LayerScale away, scaling and its inverse give the same bits, and the base stays as it is. */
static void changes_leave_the_base_alone(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_changed_model c;
    vs_error err = { 0 };
    const vs_model_options options = { 0 };
    assert_int_equal(vs_model_load(&m, V3, &options, &err), VS_OK);
    static const char w[] = "blocks.3.attn.proj.weight", gamma[] = "blocks.3.ls1", token[] = "cls_token";
    const float was_w = param_of(m, w)[7], was_gamma = param_of(m, gamma)[0], was_token = param_of(m, token)[5];
    const double eps = m->arch.eps;
    assert_int_equal(vs_changed_model_create(&c, m, &err), VS_OK);
    assert_int_equal(vs_change_fold(&c, &err), VS_OK);
    assert_int_equal(vs_change_stream(&c, -5, &err), VS_OK);
    assert_null(param_of(&c.model, gamma));
    assert_true(param_of(&c.model, w)[7] == (float)((double)was_w * (double)was_gamma) / 32);
    assert_true(param_of(&c.model, token)[5] == was_token / 32);
    check_eps(&c.model, eps / 1024);
    check_eps(m, eps);
    assert_int_equal(vs_change_stream(&c, 5, &err), VS_OK);
    assert_true(param_of(&c.model, token)[5] == was_token);
    check_eps(&c.model, eps);
    vs_changed_model_release(&c);
    assert_true(param_of(m, w)[7] == was_w && param_of(m, gamma)[0] == was_gamma && param_of(m, token)[5] == was_token);
    vs_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(changes_leave_the_base_alone),
                                        cmocka_unit_test(a_scaled_stream_restores),
                                        cmocka_unit_test(a_key_without_its_shift_restores),
                                        cmocka_unit_test(a_sound_model_needs_none) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
