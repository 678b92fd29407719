/* Norms of tokens against numbers made by hand, and what a study says it will hold in memory. */
#include "sens/norms.h"
#include "study/footprint.h"
#include "support/check.h"
#include "util/util.h"

enum { WIDTH = 3, PATCHES = 6 };
static const vs_row_rule token_rule = {
    .parts = { { .name = "cls", .count = 1 }, { .name = "reg", .numbered = true, .count = 1 }, { .name = "patch" } },
    .part_count = 3,
    .times = 1
};

/* cls, reg0, then patches on a grid 3 wide, of norms 5, 10 and 1, 2, 3, 11, 1, 20: their median is 2.5. */
static void high_patches_are_listed(void **state) {
    (void)state;
    static const double norms[2 + PATCHES] = { 5, 10, 1, 2, 3, 11, 1, 20 };
    vs_backend *be = NULL;
    vs_error err = { 0 };
    vs_token_slot slot = { 0 };
    vs_token_norms n = { 0 };
    assert_int_equal(vs_backend_open(&be, "ref", &err), VS_OK);
    double x[(2 + PATCHES) * WIDTH];
    for (size_t t = 0; t < 2 + PATCHES; t++) {
        x[t * WIDTH] = 0.6 * norms[t];
        x[t * WIDTH + 1] = 0;
        x[t * WIDTH + 2] = -0.8 * norms[t];
    }
    double half[(2 + PATCHES) * WIDTH]; /* the block before: all patches of norm 2 but the last, of 30 */
    for (size_t t = 0; t < 2 + PATCHES; t++) {
        half[t * WIDTH] = half[t * WIDTH + 1] = 0;
        half[t * WIDTH + 2] = t < 2 ? norms[t] / 2 : t < 1 + PATCHES ? 2 : 30;
    }
    for (size_t image = 0; image < 2; image++) {
        assert_int_equal(vs_norms_measure(&slot, be, 0, (vs_mat){ half, 2 + PATCHES, WIDTH, WIDTH }, 3, &err), VS_OK);
        assert_int_equal(vs_norms_measure(&slot, be, 1, (vs_mat){ x, 2 + PATCHES, WIDTH, WIDTH }, 3, &err), VS_OK);
        assert_int_equal(vs_norms_pool(&n, &token_rule, image, &slot, &err), VS_OK);
    }
    assert_int_equal(n.images, 2);
    assert_int_equal(n.patches, 2 * PATCHES);
    assert_int_equal(n.high, 4); /* 11 / 2.5 and 20 / 2.5 */
    assert_int_equal(n.listed_count, 4);
    assert_string_equal(n.listed[0].name, "patch(1,2)");
    assert_int_equal(n.listed[0].image, 0);
    assert_int_equal(n.listed[1].image, 1); /* equals stay in the images' order */
    assert_string_equal(n.listed[3].name, "patch(1,0)");
    check_close(n.listed[0].norm, 20, 1e-12);
    check_close(n.listed[0].times, 8, 1e-12);
    check_close(n.listed[2].times, 4.4, 1e-12);
    check_close(n.prefix_times[0], 2 * 2.0, 1e-12);
    check_close(n.prefix_times[1], 2 * 4.0, 1e-12);
    assert_int_equal(n.block_count, 2);
    check_close(n.blocks[0].cls, 2 * 2.5, 1e-12);
    check_close(n.blocks[1].registers, 2 * 10.0, 1e-12);
    check_close(n.blocks[0].median, 2 * 2.0, 1e-12);
    check_close(n.blocks[1].median, 2 * 2.5, 1e-12);
    check_close(n.blocks[0].high, 2 * (2.0 + 30.0), 1e-12); /* of the patches that are 11 and 20 in the end */
    check_close(n.blocks[1].high, 2 * (11.0 + 20.0), 1e-12);
    check_close(n.blocks[0].largest, 30, 0);
    free(n.prefix_times);
    free(n.blocks);
    free(slot.norms);
    vs_backend_close(be);
}

static void the_list_is_short(void **state) {
    (void)state;
    enum { COUNT = 100 };
    vs_error err = { 0 };
    vs_token_norms n = { 0 };
    vs_token_slot slot = { .norms = vs_calloc(2 + COUNT, sizeof *slot.norms), .blocks = 1, .tokens = 2 + COUNT, .grid_w = 10 };
    assert_non_null(slot.norms);
    for (size_t t = 0; t < 2 + COUNT; t++) slot.norms[t] = t % 2 ? (double)t * 100 : 1;
    slot.norms[3] = 1;
    assert_int_equal(vs_norms_pool(&n, &token_rule, 0, &slot, &err), VS_OK);
    assert_int_equal(n.high, COUNT / 2 - 1);
    assert_int_equal(n.listed_count, VS_LISTED_NORMS);
    for (size_t i = 1; i < VS_LISTED_NORMS; i++) assert_true(n.listed[i].times < n.listed[i - 1].times);
    check_close(n.listed[0].times, 10100, 0);
    free(n.prefix_times);
    free(n.blocks);
    free(slot.norms);
}

static void memory_is_planned(void **state) {
    (void)state;
    static const char text[] = "version: 1\nname: t\nmodel: {checkpoint: m}\n"
                               "data: {calibration: {scenes: {seed: 1, count: 2}}, analysis: {scenes: {seed: 2, count: 2}}}\n"
                               "states: [fp32, ptq, weights]\nanalyze: {recipes: [ptq, sq]}\n";
    static const char *const backends[] = { "cpu", "ref" };
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_model *m = NULL;
    assert_int_equal(vs_config_parse(&config, text, strlen(text), "t.yaml", NULL, 0, &err), VS_OK);
    assert_int_equal(vs_model_random(&m, "vitti14", 56, 1, &err), VS_OK);
    for (size_t b = 0; b < 2; b++) {
        vs_backend *be = NULL;
        vs_footprint f;
        char line[256];
        assert_int_equal(vs_backend_open(&be, backends[b], &err), VS_OK);
        const vs_footprint_options o = {
            .config = config, .backend = be, .model = m, .height = 56, .width = 70, .threads = 3, .batch = 2, .rows = 84
        };
        assert_int_equal(vs_footprint_estimate(&f, &o, &err), VS_OK);
        const double real = b ? 8 : 4, parameters = (double)m->parameters;
        assert_int_equal(f.state_count, 2); /* ptq, whose weights the state `weights` reads, and sq, which is no state */
        check_close(f.model, 4 * parameters, 0);
        check_close(f.weights, b ? 8 * parameters : 0, 0);
        check_close(f.states, 2 * real * 12 * 12 * 192 * 192, 0);
        check_close(f.counters, 84.0 * 3 * 2 * VS_HIST_BINS * 8, 0);
        assert_true(f.session_count == 3 && f.sessions > 3 * 2 * real * 21 * 192 * 30);
        vs_footprint_text(&f, be, line, sizeof line);
        assert_non_null(strstr(line, "memory: model 0.0 GB, "));
        assert_non_null(strstr(line, "2 quantized states 0."));
        assert_non_null(strstr(line, " in all"));
        vs_backend_close(be);
    }
    vs_model_free(m);
    vs_config_free(config);
}

/* Twice the rows of a run, and its weights; at 518 px the scores alone are more than the study's session. */
static void half_precision_is_planned(void **state) {
    (void)state;
    static const char text[] = "version: 1\nname: t\nmodel: {checkpoint: m}\n"
                               "data: {analysis: {scenes: {seed: 2, count: 2}}}\nstates: [fp32]\n"
                               "analyze: {recipes: []}\nfp16: {policies: [fused]}\n";
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_model *m = NULL;
    vs_backend *be = NULL;
    vs_footprint with, without;
    assert_int_equal(vs_config_parse(&config, text, strlen(text), "t.yaml", NULL, 0, &err), VS_OK);
    assert_int_equal(vs_model_random(&m, "vitti14", 518, 1, &err), VS_OK);
    assert_int_equal(vs_backend_open(&be, "cpu", &err), VS_OK);
    const vs_footprint_options o = {
        .config = config, .backend = be, .model = m, .height = 518, .width = 518, .threads = 2, .batch = 1, .rows = 84
    };
    assert_int_equal(vs_footprint_estimate(&with, &o, &err), VS_OK);
    config->fp16.set = false;
    assert_int_equal(vs_footprint_estimate(&without, &o, &err), VS_OK);
    check_close(with.half_weights, 2 * 4 * (double)m->parameters, 0);
    check_close(without.half_weights, 0, 0);
    const double tokens = 37 * 37 + 1, scores = 4 * 3 * tokens * tokens;
    assert_true(with.sessions > 2 * 4 * scores && with.sessions > without.sessions);
    vs_backend_close(be);
    vs_model_free(m);
    vs_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(high_patches_are_listed), cmocka_unit_test(the_list_is_short),
                                        cmocka_unit_test(memory_is_planned), cmocka_unit_test(half_precision_is_planned) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
