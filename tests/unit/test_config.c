#include "config/config.h"
#include "support/check.h"
#include "util/util.h"

static const char *const head = "version: 1\nname: t\nmodel: {checkpoint: m.safetensors}\n";

static vs_status parse(vs_config **c, const char *text, const char *set, vs_error *err) {
    const vs_override override = { set };
    *err = (vs_error){ 0 };
    return vs_config_parse(c, text, strlen(text), "dir/c.yaml", &override, set ? 1 : 0, err);
}

/* The example of docs/study.md 10. */
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

/* The whole message, for places and words that a part would not pin down. */
static void check_whole(const char *text, const char *set, const char *message) {
    vs_config *c = NULL;
    vs_error err;
    const vs_status status = parse(&c, text, set, &err);
    assert_string_equal(err.message, message);
    assert_int_equal(status, VS_ERR_CONFIG);
    assert_null(c);
}

static void messages_are_whole(void **state) {
    (void)state;
    static const struct {
        const char *tail, *message;
    } cases[] = {
        { "states: [fp32, {sqq: {alpha: 1}}]\n", "dir/c.yaml:4:17: unknown state 'sqq' in states; did you mean 'sq'?" },
        { "states:\n  - fp32\n  - sq:\n      alfa: 1\n", "dir/c.yaml:7:7: unknown key 'alfa' in sq; did you mean 'alpha'?" },
        { "states: []\n", "dir/c.yaml:4:9: states is empty" },
        { "states: [[sq]]\n", "dir/c.yaml:4:10: a state must be a kind, or {kind: {...}}" },
        { "states: [{sq: {name: a}}, {sq: {name: a}}]\n", "dir/c.yaml:4:28: two states are called 'a'; give one a name:" },
        { "recipe: {observer: {percentile: 101}}\n",
          "dir/c.yaml:4:33: recipe.observer.percentile is 101, out of range: 50 to 100" },
        { "recipe: {observer: {quantile: 9}}\n", "dir/c.yaml:4:20: recipe.observer must be minmax, mse or {percentile: NUMBER}" },
        { "data: {preprocess: {resize: {short: 0}}}\n",
          "dir/c.yaml:4:37: data.preprocess.resize.short is 0, out of range: 1 to 32768" },
        { "data: {preprocess: {crop: 224}}\n", "dir/c.yaml:4:27: data.preprocess.crop must be a map" },
        { "data: {analysis: {scenes: {seed: 1, count: 2}, images: x}}\n",
          "dir/c.yaml:4:18: data.analysis needs either scenes or images" },
        { "data: {analysis: {scenes: {seed: -1, count: 2}}}\n",
          "dir/c.yaml:4:34: data.analysis.scenes.seed is -1, out of range: 0 to 9007199254740992" },
        { "surfaces: [blocks.0.mlp.fc2]\n", "dir/c.yaml:4:11: surfaces must be a map" },
        { "surfaces:\n", "dir/c.yaml:4:10: surfaces must be a map" },
        { "analyze: {layers: [a, '']}\n", "dir/c.yaml:4:23: analyze.layers is empty" },
        { "? [a]\n: b\n", "dir/c.yaml:4:3: a key must be plain text" },
        { "data: {\"a\\0b\": 1}\n", "dir/c.yaml:4:8: a NUL character" },
        { "# \xc3\xa4\xc3\xb6 \xff\n", "dir/c.yaml:4:6: invalid leading UTF-8 octet" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        snprintf(text, sizeof text, "%s%s", head, cases[i].tail);
        check_whole(text, NULL, cases[i].message);
    }
    check_whole("null\n", NULL, "dir/c.yaml:1:1: the configuration must be a map");
    check_whole("---\n...\n", NULL, "dir/c.yaml:2:1: the configuration must be a map");
    check_whole("name: x\nmodel: {checkpoint: a}\n", NULL, "dir/c.yaml:1:1: version is missing");
    check_whole("version: 1\nname: x\nmodel: {head: a}\n", NULL, "dir/c.yaml:3:8: model.checkpoint is missing");
    static const char *const plants[][2] = {
        { "{kind: spik}",
          "dir/c.yaml:3:39: model.plant.kind must be spike, hidden, norm1, norm2, value, key or residual, not 'spik'" },
        { "{kind: spike, gain: 2}", "dir/c.yaml:3:46: planting kind spike has no gain" },
        { "{kind: hidden, ratio: 2}", "dir/c.yaml:3:47: planting kind hidden has no ratio" },
        { "{kind: norm1, ratio: 2}", "dir/c.yaml:3:46: planting kind norm1 has no ratio" },
        { "{kind: key, units: 2}", "dir/c.yaml:3:44: planting kind key has no units" },
        { "{kind: residual, blocks: [1]}", "dir/c.yaml:3:49: planting kind residual has no blocks" },
        { "{kind: residual, blocks: all}", "dir/c.yaml:3:49: planting kind residual has no blocks" },
        { "{kind: residual, units: 3}", "dir/c.yaml:3:49: planting kind residual has no units" },
        { "{kind: spike, blocks: [6, 7, 6]}", "dir/c.yaml:3:61: block 6 is listed twice" },
        { "{kind: spike, blocks: some}", "dir/c.yaml:3:54: model.plant.blocks must be a list" },
        { "{units: 1}", "dir/c.yaml:3:32: model.plant.kind is missing" },
    };
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        char text[1000];
        snprintf(text, sizeof text, "version: 1\nname: t\nmodel: {checkpoint: m, plant: [%s]}\n", plants[i][0]);
        check_whole(text, NULL, plants[i][1]);
    }
}

static void huge_files_are_refused(void **state) {
    (void)state;
    const size_t limit = 1 << 20;
    char *text = malloc(limit + 2), dir[200], path[300];
    assert_non_null(text);
    memset(text, '#', limit + 1);
    text[limit + 1] = '\0';
    check_whole(text, NULL, "dir/c.yaml:1:1: more than 1 MiB");
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/big.yaml", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    vs_config *c = NULL;
    vs_error err = { 0 };
    check_error(vs_config_load(&c, path, NULL, 0, &err), &err, VS_ERR_CONFIG, "big.yaml:1:1: more than 1 MiB");
    unlink(path);
    rmdir(dir);
    size_t used = (size_t)snprintf(text, limit, "%s", head); /* keys are compared each with each: their number is bounded */
    for (int i = 0; i < 257; i++) used += (size_t)snprintf(text + used, limit - used, "k%05d: 1\n", i);
    check_whole(text, NULL, "dir/c.yaml:257:1: too many keys");
    free(text);
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
    assert_int_equal(parse(&c, head, "fp16={}", &err), VS_OK); /* a section where there is none */
    assert_true(c->fp16.set && !c->fp16.real);
    vs_config_free(c);
    char text[1000];
    snprintf(text, sizeof text, "%sfp16: {real: true}\n", head);
    assert_int_equal(parse(&c, text, "fp16={}", &err), VS_OK); /* and left alone where there is */
    assert_true(c->fp16.set && c->fp16.real);
    vs_config_free(c);
    check_error(parse(&c, head, "analyze.images=none", &err), &err, VS_ERR_CONFIG,
                "--set analyze.images=none: analyze.images must be a whole number");
    check_error(parse(&c, head, "nonsense", &err), &err, VS_ERR_CONFIG, "--set nonsense: expected KEY=VALUE");
    check_error(parse(&c, head, "states.sqq.alpha=1", &err), &err, VS_ERR_CONFIG, "there is no state 'sqq'");
    check_error(parse(&c, head, "recipe.bitts.qk=1", &err), &err, VS_ERR_CONFIG, "did you mean 'bits'");
    check_whole(head, "recipe={qkk: none}", "--set recipe={qkk: none}: unknown key 'qkk' in recipe; did you mean 'qk'?");
    check_whole(head, "name=", "--set name=: the value is empty");
    check_whole(head, "name=[a", "--set name=[a: did not find expected ',' or ']' while parsing a flow sequence");
    check_whole(head, "name.x=1", "--set name.x=1: 'name' is no map");
    check_whole(head, "states.sq=1", "--set states.sq=1: expected states.NAME.KEY=VALUE");
    check_whole(head, "data.analysis.scenes.seed=1", "--set data.analysis.scenes.seed=1: data.analysis.scenes.count is missing");
}

/* A state as a list can hold it, and states.NAME.alpha reaching into it. */
static void overrides_reach_into_states(void **state) {
    (void)state;
    static const struct {
        const char *states, *set;
        double alpha; /* -1: refused */
    } cases[] = {
        { "[sq]", "states.sq.alpha=0.6", 0.6 },
        { "[sq: ]", "states.sq.alpha=0.6", 0.6 },
        { "[{sq: {scope: all}}]", "states.sq.alpha=0.6", 0.6 },
        { "[{sq: {name: a.b}}]", "states.a.b.alpha=0.6", 0.6 },
        { "[{sq: {name: a}}, {sq: {name: a.b}}]", "states.a.b.alpha=0.6", 0.5 },
        { "[{sq: 5}]", "states.sq.alpha=0.6", -1 },
        { "[{sq: [a]}]", "states.sq.alpha=0.6", -1 },
        { "[[sq]]", "states.sq.alpha=0.6", -1 },
        { "[ptq]", "states.ptq.alpha=0.6", -1 },
        { "sq", "states.sq.alpha=0.6", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        vs_config *c = NULL;
        vs_error err;
        snprintf(text, sizeof text, "%sstates: %s\n", head, cases[i].states);
        const vs_status status = parse(&c, text, cases[i].set, &err);
        assert_int_equal(status, cases[i].alpha < 0 ? VS_ERR_CONFIG : VS_OK);
        if (c) check_close(c->states[0].alpha, cases[i].alpha, 0);
        if (c && c->state_count > 1) check_close(c->states[1].alpha, 0.6, 0);
        vs_config_free(c);
    }
}

/* Each message names the override that it is about, whatever came after it. */
static void overrides_are_told_apart(void **state) {
    (void)state;
    const vs_override bad[] = { { "name=abc" }, { "analyze.images=zero" }, { "recipe.qk=none" } };
    vs_config *c = NULL;
    vs_error err = { 0 };
    check_error(vs_config_parse(&c, head, strlen(head), "c.yaml", bad, 3, &err), &err, VS_ERR_CONFIG,
                "--set analyze.images=zero: analyze.images must be");
    const vs_override unbuilt[] = { { "states=[fp32, sqph]" }, { "name=abc" } };
    err = (vs_error){ 0 };
    assert_int_equal(vs_config_parse(&c, head, strlen(head), "c.yaml", unbuilt, 2, &err), VS_OK);
    assert_int_equal(vs_config_check_built(c, &err), VS_ERR_CONFIG);
    assert_string_equal(err.message, "--set states=[fp32, sqph]: state sqph is not built yet");
    char place[100];
    assert_string_equal(vs_config_place(c, vs_config_mark(c, "name"), place, sizeof place), "--set name=abc");
    assert_string_equal(vs_config_place(c, vs_config_mark(c, "version"), place, sizeof place), "c.yaml:1:10");
    assert_string_equal(vs_config_place(c, vs_config_mark(c, "recipe.qk"), place, sizeof place), "c.yaml");
    err = (vs_error){ 0 };
    vs_config_fail(c, c->states[1].mark, &err, "no");
    assert_string_equal(err.message, "--set states=[fp32, sqph]: no");
    vs_config_free(c);
}

/* The dump holds every default, in the order of the table, and stays JSON whatever the folder is called. */
static void the_dump_is_complete(void **state) {
    (void)state;
    vs_config *c = NULL;
    vs_error err = { 0 };
    const char *text =
        "version: 1\nname: t\nmodel: {checkpoint: m, plant: [{kind: spike}, {kind: hidden}, {kind: residual, gain: 3}]}\n";
    assert_int_equal(vs_config_parse(&c, text, strlen(text), "d\xff/c.yaml", NULL, 0, &err), VS_OK);
    char *json = vs_config_dump_json(c);
    assert_non_null(json);
    static const char *const parts[] = { "\"version\": 1",
                                         "\"name\": \"t\"",
                                         "\"checkpoint\": \"d?/m\"",
                                         "\"ratio\": 256",
                                         "\"gain\": 256",
                                         "\"calibration\": null",
                                         "\"mean\": [",
                                         "\"resize\": \"none\"",
                                         "\"allow_overlap\": false",
                                         "\"weights\": \"per_channel\"",
                                         "\"qk\": 8",
                                         "\"observer\": \"minmax\"",
                                         "\"states\": [",
                                         "\"alpha\": 0.5",
                                         "\"recipes\": [",
                                         "\"modes\": [",
                                         "\"spared\": false",
                                         "\"formats\": [",
                                         "\"z\": \"linear\"",
                                         "\"npy\": false" };
    const char *at = json;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *found = strstr(at, parts[i]);
        if (!found) fail_msg("%s is missing or out of order in %s", parts[i], json);
        at = found;
    }
    const char *residual = strstr(json, "\"residual\""); /* the last planting: no key that means nothing to it */
    assert_non_null(residual);
    assert_true(strstr(residual, "\"gain\": 3") && !strstr(residual, "\"blocks\"") && !strstr(residual, "\"units\""));
    free(json);
    vs_config_free(c);
}

static void unbuilt_things_are_named(void **state) {
    (void)state;
    static const struct {
        const char *tail, *message;
    } cases[] = { { "states: [sqph]\n", "dir/c.yaml:4:10: state sqph is not built yet" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        vs_config *c = NULL;
        vs_error err;
        snprintf(text, sizeof text, "%s%s", head, cases[i].tail);
        assert_int_equal(parse(&c, text, NULL, &err), VS_OK);
        check_error(vs_config_check_built(c, &err), &err, VS_ERR_CONFIG, cases[i].message);
        vs_config_free(c);
    }
    vs_config *c = NULL;
    vs_error err;
    check_error(parse(&c, "version: 1\nname: b\nruns: []\n", NULL, &err), &err, VS_ERR_CONFIG,
                "dir/c.yaml:3:7: this is a batch file ('runs'); give the configuration of a single run");
    check_error(parse(&c, "version: 1\nname: b\nmodel: {checkpoint: m}\npublished: {ptq: 1}\n", NULL, &err), &err, VS_ERR_CONFIG,
                "dir/c.yaml:4:12: published belongs to the runs of a batch file");
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_example_loads),        cmocka_unit_test(defaults_are_filled_in),
                                        cmocka_unit_test(mistakes_are_placed),      cmocka_unit_test(messages_are_whole),
                                        cmocka_unit_test(huge_files_are_refused),   cmocka_unit_test(overrides_reach_into_states),
                                        cmocka_unit_test(overrides_are_told_apart), cmocka_unit_test(the_dump_is_complete),
                                        cmocka_unit_test(deep_nesting_is_refused),  cmocka_unit_test(overrides),
                                        cmocka_unit_test(unbuilt_things_are_named), cmocka_unit_test(the_reference_is_current) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
