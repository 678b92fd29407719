/* Batch files (docs/study.md 10): merging, places, and what is refused. */
#include "config/config.h"
#include "support/check.h"
#include "util/util.h"

static const char *const head = "version: 1\nname: b\n";

static vs_status parse(vs_batch *b, const char *text, const char *set, vs_error *err) {
    const vs_override override = { set };
    *err = (vs_error){ 0 };
    return vs_batch_parse(b, text, strlen(text), "dir/b.yaml", &override, set ? 1 : 0, err);
}

/* Lines count from 1: defaults is line 3, the first run line 9. */
static const char *const two_runs =
    "version: 1\n"
    "name: b\n"
    "defaults:\n"
    "  model: {checkpoint: m.safetensors, heads: 3, plant: [{kind: hidden, gain: 4}, {kind: spike}]}\n"
    "  recipe: {bits: {weights: 4, inputs: 5}, qk: none}\n"
    "  states: [fp32, ptq, sq]\n"
    "  analyze: {layers: [a, b, c]}\n"
    "runs:\n"
    "  - name: one\n"
    "    published: {fp32: 47.83, sq: 47.84, ptq: 7.38}\n"
    "  - name: two\n"
    "    model: {plant: [{kind: spike, ratio: 9}]}\n"
    "    recipe: {bits: {inputs: 6}}\n"
    "    states: [ptq]\n"
    "    analyze: {layers: x, output: true}\n";

static void maps_merge_and_lists_replace(void **state) {
    (void)state;
    vs_batch b = { 0 };
    vs_error err;
    assert_int_equal(parse(&b, two_runs, NULL, &err), VS_OK);
    assert_string_equal(b.file->name, "b");
    assert_int_equal(b.run_count, 2);
    const vs_config *one = b.runs[0], *two = b.runs[1];
    assert_string_equal(one->name, "one");
    assert_string_equal(two->name, "two");
    assert_string_equal(two->model.checkpoint, "dir/m.safetensors"); /* of the defaults, relative to the file */
    assert_int_equal(two->model.heads, 3);
    assert_int_equal(one->model.plant_count, 2);
    assert_int_equal(two->model.plant_count, 1);
    check_close(two->model.plants[0].ratio, 9, 0);
    assert_int_equal(one->recipe.bits_inputs, 5);
    assert_int_equal(two->recipe.bits_inputs, 6);
    assert_int_equal(two->recipe.bits_weights, 4);
    assert_int_equal(two->recipe.bits_qk, 8); /* neither says it */
    assert_int_equal(two->recipe.qk, VS_QK_NONE);
    assert_int_equal(one->state_count, 3);
    assert_int_equal(two->state_count, 1);
    assert_int_equal(one->analyze.layers.count, 3);
    assert_int_equal(two->analyze.layers.count, 1);
    assert_true(two->analyze.output && !one->analyze.output);
    assert_int_equal(one->published_count, 3);
    assert_string_equal(one->published[2].state, "ptq");
    check_close(one->published[2].value, 7.38, 0);
    assert_int_equal(two->published_count, 0);
    vs_batch_release(&b);
}

static void values_keep_their_places(void **state) {
    (void)state;
    vs_batch b = { 0 };
    vs_error err;
    assert_int_equal(parse(&b, two_runs, "recipe.v=none", &err), VS_OK);
    static const struct {
        const char *key;
        int line, column;
    } places[] = { { "recipe.bits.weights", 5, 28 },
                   { "recipe.bits.inputs", 13, 29 },
                   { "recipe.bits", 13, 20 }, /* where the run touched it */
                   { "model.checkpoint", 4, 23 },
                   { "name", 11, 11 },
                   { "version", 1, 10 },
                   { "recipe.v", 0, 1 } };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const vs_mark m = vs_config_mark(b.runs[1], places[i].key);
        if (m.line != places[i].line || m.column != places[i].column) fail_msg("%s is at %d:%d", places[i].key, m.line, m.column);
    }
    assert_int_equal(b.runs[1]->analyze.layers.marks[0].line, 15);
    assert_int_equal(b.runs[0]->analyze.layers.marks[2].line, 7);
    assert_int_equal(b.runs[0]->published[1].mark.line, 10);
    vs_batch_release(&b);
}

static void one_run_is_no_batch(void **state) {
    (void)state;
    vs_batch b = { 0 };
    vs_error err;
    assert_int_equal(parse(&b, "version: 1\nname: t\nmodel: {checkpoint: m}\n", "analyze.images=2", &err), VS_OK);
    assert_null(b.file);
    assert_int_equal(b.run_count, 1);
    assert_int_equal(b.runs[0]->analyze.images, 2);
    vs_batch_release(&b);
}

static void mistakes_are_placed(void **state) {
    (void)state;
    static const struct {
        const char *tail, *set, *message;
    } cases[] = {
        { "runs: []\n", NULL, "dir/b.yaml:3:7: runs is empty" },
        { "runs: {a: b}\n", NULL, "dir/b.yaml:3:7: runs must be a list" },
        { "runs: [a]\n", NULL, "dir/b.yaml:3:8: a run must be a map" },
        { "runs: [{model: {checkpoint: m}}]\n", NULL, "dir/b.yaml:3:8: the run's name is missing" },
        { "runs: [{name: a}]\n", NULL, "dir/b.yaml:3:8: model is missing" },
        { "runs: [{name: ../a, model: {checkpoint: m}}]\n", NULL,
          "dir/b.yaml:3:15: name '../a' must be letters, digits, '.', '_', '-' (at most 100, no leading dot): it names files" },
        { "defaults: {model: {checkpoint: m}}\n", NULL, "dir/b.yaml:1:1: runs is missing" },
        { "defaults: [a]\nruns: [{name: a}]\n", NULL, "dir/b.yaml:3:11: defaults must be a map" },
        { "defaults: {name: x}\nruns: [{name: a}]\n", NULL, "dir/b.yaml:3:18: defaults.name: the name belongs to each run" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a}, {name: c}, {name: a}]\n", NULL,
          "dir/b.yaml:4:37: two runs are called 'a'" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a}, {name: c}]\n", "name=x",
          "--set name=x: two runs are called 'x'" },
        { "defautls: {}\nruns: [{name: a}]\n", NULL,
          "dir/b.yaml:3:1: unknown key 'defautls' in the configuration; did you mean 'defaults'?" },
        { "defaults: {modle: {checkpoint: m}}\nruns: [{name: a}]\n", NULL,
          "dir/b.yaml:3:12: unknown key 'modle' in the configuration; did you mean 'model'?" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a}, {name: c, recipe: {qq: 1}}]\n", NULL,
          "dir/b.yaml:4:38: unknown key 'qq' in recipe; did you mean 'qk'?" },
        { "defaults: {model: {checkpoint: m}, recipe: {bits: {qk: 9}}}\nruns: [{name: a, recipe: {bits: {v: 2}}}]\n", NULL,
          "dir/b.yaml:3:56: recipe.bits.qk is 9, out of range: 2 to 8" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a, published: {ptqq: 1}}]\n", NULL,
          "dir/b.yaml:4:30: published: there is no state 'ptqq' in this run; did you mean 'ptq'?" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a, published: {ptq: much}}]\n", NULL,
          "dir/b.yaml:4:35: published.ptq must be a number, not 'much'" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a, published: 3}]\n", NULL,
          "dir/b.yaml:4:29: published must be a map" },
        { "defaults: {model: {checkpoint: m}}\nruns: [{name: a, runs: []}]\n", NULL,
          "dir/b.yaml:4:18: unknown key 'runs' in the configuration; known: version, name, model, data, recipe, states, analyze, "
          "surfaces, fp16 or published" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        vs_batch b = { 0 };
        vs_error err;
        snprintf(text, sizeof text, "%s%s", head, cases[i].tail);
        const vs_status status = parse(&b, text, cases[i].set, &err);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(status, VS_ERR_CONFIG);
        assert_null(b.runs);
    }
}

/* fp32 is run even where it is not listed, under its own name where it has one. */
static void published_names_are_states(void **state) {
    (void)state;
    static const struct {
        const char *states, *published;
        bool good;
    } cases[] = { { "[ptq]", "fp32", true },
                  { "[{fp32: {name: float}}, ptq]", "float", true },
                  { "[{fp32: {name: float}}, ptq]", "fp32", false },
                  { "[{sq: {name: sq6}}]", "sq6", true },
                  { "[{sq: {name: sq6}}]", "sq", false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1000];
        vs_batch b = { 0 };
        vs_error err;
        snprintf(text, sizeof text, "%sruns: [{name: a, model: {checkpoint: m}, states: %s, published: {%s: 1}}]\n", head,
                 cases[i].states, cases[i].published);
        assert_int_equal(parse(&b, text, NULL, &err), cases[i].good ? VS_OK : VS_ERR_CONFIG);
        vs_batch_release(&b);
    }
}

/* A file of the permitted size must not grow without bound when every run takes a copy of the defaults. */
static void copies_are_bounded(void **state) {
    (void)state;
    vs_text t = { 0 };
    vs_text_add(&t, "%sdefaults: {model: {checkpoint: m}, analyze: {layers: [", head);
    for (int i = 0; i < 20000; i++) vs_text_add(&t, "a, ");
    vs_text_add(&t, "a]}}\nruns:\n");
    for (int i = 0; i < 20; i++) vs_text_add(&t, "  - name: r%d\n", i);
    vs_batch b = { 0 };
    vs_error err;
    check_error(parse(&b, t.bytes, NULL, &err), &err, VS_ERR_CONFIG, "dir/b.yaml:5:3: too many values in runs and defaults");
    free(t.bytes);
    t = (vs_text){ 0 };
    vs_text_add(&t, "%sruns:\n", head);
    for (int i = 0; i < 257; i++) vs_text_add(&t, "  - {name: r%d, model: {checkpoint: m}}\n", i);
    check_error(parse(&b, t.bytes, NULL, &err), &err, VS_ERR_CONFIG, "dir/b.yaml:260:5: runs has more than 256 items");
    free(t.bytes);
}

/* Equal sections give equal digests, every digit counts. */
static void digests(void **state) {
    (void)state;
    static const char *const model[] = { "model" }, *const recipe[] = { "recipe", "states" };
    vs_batch b = { 0 };
    vs_error err;
    char text[1000], first[65], second[65];
    snprintf(
        text, sizeof text,
        "%sdefaults: {model: {checkpoint: m, plant: [{kind: spike, ratio: 2.5}]}}\n"
        "runs: [{name: a}, {name: c, recipe: {v: none}}, {name: d, model: {plant: [{kind: spike, ratio: 2.50000000001}]}}]\n",
        head);
    assert_int_equal(parse(&b, text, NULL, &err), VS_OK);
    assert_int_equal(vs_config_digest(b.runs[0], model, 1, first, &err), VS_OK);
    assert_int_equal(vs_config_digest(b.runs[1], model, 1, second, &err), VS_OK);
    assert_string_equal(first, second);
    assert_int_equal(vs_config_digest(b.runs[2], model, 1, second, &err), VS_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(vs_config_digest(b.runs[0], recipe, 2, first, &err), VS_OK);
    assert_int_equal(vs_config_digest(b.runs[1], recipe, 2, second, &err), VS_OK);
    assert_string_not_equal(first, second);
    vs_batch_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(maps_merge_and_lists_replace),
                                        cmocka_unit_test(values_keep_their_places),
                                        cmocka_unit_test(one_run_is_no_batch),
                                        cmocka_unit_test(mistakes_are_placed),
                                        cmocka_unit_test(published_names_are_states),
                                        cmocka_unit_test(copies_are_bounded),
                                        cmocka_unit_test(digests) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
