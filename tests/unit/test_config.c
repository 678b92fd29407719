#include "check.h"
#include "config.h"
#include "util.h"

static const char *const head = "version: 1\nname: t\nmodel: {checkpoint: m.safetensors}\n";

static vs_status parse(vs_config **c, const char *text, const char *set, vs_error *err) {
    const vs_override override = { set };
    *err = (vs_error){ 0 };
    return vs_config_parse(c, text, strlen(text), "dir/c.yaml", &override, set ? 1 : 0, err);
}

/* study.md section 10, word for word. */
static const char *const example =
    "version: 1\n"
    "name: scenes_planted\n"
    "model:\n"
    "  checkpoint: ../data/vit_ti14_scenes.safetensors     # relative to this file\n"
    "  plant: [{kind: spike, blocks: [6,7,8,9,10,11], units: 1, ratio: 256}]\n"
    "data:\n"
    "  calibration: {scenes: {seed: 2, count: 64, size: 224}}   # or images: DIR|GLOB|list.txt\n"
    "  analysis:    {scenes: {seed: 3, count: 8, size: 224}}\n"
    "  evaluation:  {scenes: {seed: 1, count: 512, size: 224}}  # or images: ..., labels: ..., protocol: ade20k\n"
    "  preprocess:  {mean: [123.675,116.28,103.53], std: [58.395,57.12,57.375], resize: none, crop: none}\n"
    "recipe:  {weights: per_channel, inputs: per_tensor_asym, qk: per_tensor_sym, v: per_head_sym, p: none, patch_embed: false, "
    "head: false, bits: {weights: 8, inputs: 8, qk: 8, v: 8}, observer: minmax}\n"
    "states:  [fp32, {sq: {alpha: 0.5, scope: all}}, ptq, weights]\n"
    "analyze: {recipes: [ptq, sq], modes: [weight, activation, both], output: true, spared: false, cumulative: true, layers: "
    "\"*\", images: 8}\n"
    "surfaces: {layers: [blocks.11.mlp.fc2, blocks.3.attn.qkv], tensors: [out, in], image: 0, formats: [png, svg]}\n";

static void the_example_loads(void **state) {
    (void)state;
    vs_config *c = NULL;
    vs_error err;
    assert_int_equal(parse(&c, example, NULL, &err), VS_OK);
    assert_string_equal(c->model.checkpoint, "dir/../data/vit_ti14_scenes.safetensors");
    assert_int_equal(c->model.plants[0].block_count, 6);
    assert_int_equal(c->model.plants[0].blocks[5], 11);
    assert_int_equal(c->data.evaluation.scenes.count, 512);
    assert_int_equal(c->state_count, 4);
    assert_int_equal(c->states[1].kind, VS_STATE_SQ);
    check_close(c->states[1].alpha, 0.5, 0);
    assert_true(c->analyze.output && !c->analyze.spared && c->analyze.mode_both && c->surfaces.svg && c->surfaces.tensor_in);
    assert_int_equal(c->analyze.images, 8);
    assert_int_equal(vs_config_mark(c, "analyze.output").line, 13);
    assert_int_equal(vs_config_check_built(c, &err), VS_OK);
    char *json = vs_config_dump_json(c);
    assert_non_null(strstr(json, "\"ratio\": 256"));
    free(json);
    vs_config_free(c);
}

static void defaults_are_filled_in(void **state) {
    (void)state;
    vs_config *c = NULL;
    vs_error err;
    assert_int_equal(parse(&c, head, NULL, &err), VS_OK);
    assert_int_equal(c->state_count, 3);
    assert_int_equal(c->recipe.bits_qk, 8);
    check_close(c->data.preprocess.mean[1], 116.28, 0);
    assert_string_equal(c->analyze.layers.items[0], "*");
    assert_int_equal(c->analyze.recipes.count, 2);
    assert_false(c->data.analysis.set);
    vs_config_free(c);
}

static void mistakes_are_placed(void **state) {
    (void)state;
    static const struct {
        const char *tail, *message;
    } cases[] = { { "data: {calibratoin: {}}\n",
                    "dir/c.yaml:4:8: unknown key 'calibratoin' in data; did you mean 'calibration'?" },
                  { "statse: [fp32]\n", "dir/c.yaml:4:1: unknown key 'statse' in the configuration; did you mean 'states'?" },
                  { "recipe: {v: per_haed_sym}\n",
                    "dir/c.yaml:4:13: recipe.v must be per_head_sym, per_tensor_sym or none, not 'per_haed_sym'" },
                  { "recipe: {bits: {qk: 9}}\n", "dir/c.yaml:4:21: recipe.bits.qk is 9, out of range: 2 to 8" },
                  { "recipe: {bits: {qk: 4.5}}\n", "dir/c.yaml:4:21: recipe.bits.qk must be a whole number, not '4.5'" },
                  { "analyze: {images: many}\n", "dir/c.yaml:4:19: analyze.images must be a whole number, not 'many'" },
                  { "analyze: {output: yes}\n", "dir/c.yaml:4:19: analyze.output must be false or true, not 'yes'" },
                  { "states: fp32\n", "dir/c.yaml:4:9: states must be a list" },
                  { "states: [fp32, ptqq]\n", "dir/c.yaml:4:16: unknown state 'ptqq' in states; did you mean 'ptq'?" },
                  { "states: [sq, sq]\n", "dir/c.yaml:4:14: two states are called 'sq'; give one a name:" },
                  { "states: [{ptq: {alpha: 0.5}}]\n", "dir/c.yaml:4:17: state ptq has no alpha" },
                  { "states: [{sq: {alpha: 1.5}}]\n", "dir/c.yaml:4:23: sq.alpha is 1.5, out of range: 0 to 1" },
                  { "name: again\n", "dir/c.yaml:4:1: key 'name' appears twice" },
                  { "data: &a {}\n", "dir/c.yaml:4:7: anchors are not allowed" },
                  { "data: *a\n", "dir/c.yaml:4:7: aliases are not allowed" },
                  { "data: !!map {}\n", "dir/c.yaml:4:7: tags are not allowed" },
                  { "---\nversion: 1\n", "dir/c.yaml:4:1: a second document" },
                  { "data: {analysis: {offset: 1}}\n", "dir/c.yaml:4:18: data.analysis needs either scenes or images" },
                  { "data: {analysis: {scenes: {seed: 1}}}\n", "dir/c.yaml:4:27: data.analysis.scenes.count is missing" },
                  { "data: {preprocess: {mean: [1, 2]}}\n", "dir/c.yaml:4:27: data.preprocess.mean needs three numbers" },
                  { "data: {preprocess: {std: [1, 0, 1]}}\n", "dir/c.yaml:4:30: data.preprocess.std is 0, out of range" },
                  { "model2: 1\n", "unknown key 'model2'" },
                  { "data: [\n", "dir/c.yaml:5:1: did not find expected node content" },
                  { "surfaces: {formats: [gif]}\n", "dir/c.yaml:4:22: surfaces.formats must be png or svg, not 'gif'" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        vs_config *c = NULL;
        vs_error err;
        snprintf(text, sizeof text, "%s%s", head, cases[i].tail);
        const vs_status status = parse(&c, text, NULL, &err);
        check_error(status, &err, VS_ERR_CONFIG, cases[i].message);
    }
    vs_config *c = NULL;
    vs_error err;
    check_error(parse(&c, "", NULL, &err), &err, VS_ERR_CONFIG, "the configuration is empty");
    check_error(parse(&c, "[]", NULL, &err), &err, VS_ERR_CONFIG, "dir/c.yaml:1:1: the configuration must be a map");
    check_error(parse(&c, "version: 1\nname: ../x\nmodel: {checkpoint: a}\n", NULL, &err), &err, VS_ERR_CONFIG,
                "dir/c.yaml:2:7: name '../x' must be");
    check_error(parse(&c, "version: 2\nname: x\nmodel: {checkpoint: a}\n", NULL, &err), &err, VS_ERR_CONFIG,
                "dir/c.yaml:1:10: version is 2");
    err = (vs_error){ 0 };
    check_error(vs_config_load(&c, "/nonexistent.yaml", NULL, 0, &err), &err, VS_ERR_NOTFOUND, "/nonexistent.yaml");
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    char text[300] = "data: ";
    for (int i = 0; i < 60; i++) strcat(text, "[");
    vs_config *c = NULL;
    vs_error err;
    check_error(parse(&c, text, NULL, &err), &err, VS_ERR_CONFIG, "nested too deeply");
}

static void overrides(void **state) {
    (void)state;
    vs_config *c = NULL;
    vs_error err;
    assert_int_equal(parse(&c, head, "states=[fp32, {sq: {alpha: 0.7}}]", &err), VS_OK);
    check_close(c->states[1].alpha, 0.7, 0);
    vs_config_free(c);
    assert_int_equal(parse(&c, head, "states.sq.alpha=0.6", &err), VS_OK); /* reaches into the default list */
    check_close(c->states[1].alpha, 0.6, 0);
    vs_config_free(c);
    assert_int_equal(parse(&c, head, "model.checkpoint=x/y", &err), VS_OK); /* relative to the caller, not to the file */
    assert_string_equal(c->model.checkpoint, "x/y");
    vs_config_free(c);
    check_error(parse(&c, head, "analyze.images=none", &err), &err, VS_ERR_CONFIG,
                "--set analyze.images=none: analyze.images must be a whole number");
    check_error(parse(&c, head, "nonsense", &err), &err, VS_ERR_CONFIG, "--set nonsense: expected KEY=VALUE");
    check_error(parse(&c, head, "states.sqq.alpha=1", &err), &err, VS_ERR_CONFIG, "there is no state 'sqq'");
    check_error(parse(&c, head, "recipe.bitts.qk=1", &err), &err, VS_ERR_CONFIG, "did you mean 'bits'");
}

static void unbuilt_things_are_named(void **state) {
    (void)state;
    static const struct {
        const char *tail, *message;
    } cases[] = { { "states: [sqph]\n", "dir/c.yaml:4:10: state sqph is not built yet" },
                  { "states: [fp16]\n", "dir/c.yaml:4:10: state fp16 is not built yet" },
                  { "states: [{sq: {scope: norm}}]\n", "not built yet" },
                  { "recipe: {observer: mse}\n", "dir/c.yaml:4:20: this value of recipe.observer is not built yet" },
                  { "recipe: {observer: {percentile: 99.9}}\n", "not built yet" },
                  { "recipe: {p: u8}\n", "dir/c.yaml:4:13: this value of recipe.p is not built yet" },
                  { "recipe: {bits: {inputs: 4}}\n", "recipe.bits.inputs is not built yet" },
                  { "fp16: {policies: [fused]}\n", "not built yet" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        vs_config *c = NULL;
        vs_error err;
        snprintf(text, sizeof text, "%s%s", head, cases[i].tail);
        assert_int_equal(parse(&c, text, NULL, &err), VS_OK);
        check_error(vs_config_check_built(c, &err), &err, VS_ERR_UNSUPPORTED, cases[i].message);
        vs_config_free(c);
    }
    vs_config *c = NULL;
    vs_error err;
    check_error(parse(&c, "version: 1\nname: b\nruns: []\n", NULL, &err), &err, VS_ERR_UNSUPPORTED,
                "dir/c.yaml:3:7: batch files");
    check_error(parse(&c, "version: 1\nname: t\nmodel: {checkpoint: m, plant: [{kind: key}]}\n", NULL, &err), &err, VS_OK, "");
    check_error(vs_config_check_built(c, &err), &err, VS_ERR_UNSUPPORTED, "dir/c.yaml:3:32: planting kind key is not built yet");
    vs_config_free(c);
}

static void the_reference_is_current(void **state) {
    (void)state;
    vs_error err = { 0 };
    char *committed = NULL, *made = NULL;
    size_t size = 0, made_size = 0;
    assert_int_equal(vs_read_file(VS_SOURCE_DIR "/docs/config.md", 1 << 20, &committed, &size, &err), VS_OK);
    FILE *f = open_memstream(&made, &made_size);
    assert_int_equal(vs_config_write_reference(f, &err), VS_OK);
    fclose(f);
    if (strcmp(made, committed) != 0)
        fail_msg("docs/config.md is stale: build/release/analyzer/config/vs_config_reference > docs/config.md");
    free(made);
    free(committed);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_example_loads),
                                        cmocka_unit_test(defaults_are_filled_in),
                                        cmocka_unit_test(mistakes_are_placed),
                                        cmocka_unit_test(deep_nesting_is_refused),
                                        cmocka_unit_test(overrides),
                                        cmocka_unit_test(unbuilt_things_are_named),
                                        cmocka_unit_test(the_reference_is_current) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
