/* The diagnosis's parts that need no model: lists that shrink, classes and units by name, what rows read. */
#include <string.h>

#include "diagnose/half_diag_inside.h"
#include "diagnose/half_shrink.h"
#include "half/classes.h"
#include "support/check.h"
#include "util/util.h"

enum { ENTRIES = 12 };

typedef struct rule {
    bool needed[ENTRIES];
    bool either[ENTRIES]; /* one of these must stay */
    bool fixed[ENTRIES];
    size_t calls, singles;
    size_t tests; /* that may be spent; 0: as many as it takes */
    bool minimal; /* out */
} rule;

static vs_status serves_rule(void *context, const bool *on, size_t reserve, bool single, vs_shrink_answer *answer,
                             vs_error *err) {
    rule *r = context;
    bool one = false, asks = false, serves = true;
    (void)err;
    *answer = VS_SHRINK_UNKNOWN;
    if (r->tests && r->calls + reserve >= r->tests) return VS_OK;
    r->calls++;
    r->singles += single;
    for (size_t i = 0; i < ENTRIES; i++) {
        serves &= on[i] || !r->needed[i];
        one |= on[i] && r->either[i];
        asks |= r->either[i];
    }
    *answer = serves && (one || !asks) ? VS_SHRINK_SERVES : VS_SHRINK_FAILS;
    return VS_OK;
}

static void shrink(rule *r, bool *on) {
    vs_error err = { 0 };
    for (size_t i = 0; i < ENTRIES; i++) on[i] = true;
    assert_int_equal(vs_shrink(on, r->fixed, ENTRIES, serves_rule, r, &err), VS_OK);
    assert_int_equal(vs_shrink_singly(on, r->fixed, ENTRIES, serves_rule, r, &r->minimal, &err), VS_OK);
}

static void lists_shrink_to_what_is_needed(void **state) {
    (void)state;
    bool on[ENTRIES];
    rule r = { .needed = { [3] = true, [4] = true, [8] = true } };
    shrink(&r, on);
    for (size_t i = 0; i < ENTRIES; i++) assert_int_equal(on[i], r.needed[i]);
    /* nothing at all, two bisections of 12, groups of the 6 that are left, then the 3 again */
    assert_true(r.calls <= 1 + 2 * 4 + 2 * 6 - 1 + 3);
    assert_true(r.minimal);
    rule known = { .needed = { [3] = true, [4] = true, [8] = true }, .fixed = { [3] = true, [4] = true, [8] = true } };
    shrink(&known, on);
    for (size_t i = 0; i < ENTRIES; i++) assert_int_equal(on[i], known.needed[i]);
    assert_int_equal(known.calls, 1 + 3); /* what is fixed alone, then each of it */
    rule wrong = { .needed = { [3] = true }, .fixed = { [3] = true, [8] = true } };
    shrink(&wrong, on); /* what is fixed is tried in the end */
    for (size_t i = 0; i < ENTRIES; i++) assert_int_equal(on[i], i == 3);
}

/* The prefix goes first, so the last of the alternatives stays; without need nothing does, with need everything. */
static void what_stays_is_minimal(void **state) {
    (void)state;
    bool on[ENTRIES];
    rule either = { .either = { [2] = true, [6] = true, [9] = true } }, none = { .calls = 0 }, all = { .calls = 0 };
    shrink(&either, on);
    for (size_t i = 0; i < ENTRIES; i++) assert_int_equal(on[i], i == 9);
    shrink(&none, on);
    for (size_t i = 0; i < ENTRIES; i++) assert_false(on[i]);
    for (size_t i = 0; i < ENTRIES; i++) all.needed[i] = true;
    shrink(&all, on);
    for (size_t i = 0; i < ENTRIES; i++) assert_true(on[i]);
    assert_true(all.singles >= ENTRIES);
}

/* Where tests run out what was not tried stays, and what was tried is kept back for every entry that is listed. */
static void tests_run_out(void **state) {
    (void)state;
    bool on[ENTRIES];
    for (size_t tests = 1; tests <= 30; tests++) {
        rule r = { .needed = { [3] = true, [4] = true, [8] = true }, .tests = tests };
        shrink(&r, on);
        assert_true(r.calls <= tests);
        size_t listed = 0;
        for (size_t i = 0; i < ENTRIES; i++) {
            assert_true(on[i] || !r.needed[i]);
            listed += on[i];
        }
        assert_true(r.minimal || tests < 24); /* of the first test of this file */
        if (r.minimal) assert_int_equal(listed, 3);
    }
}

static vs_status fails(void *context, const bool *on, size_t reserve, bool single, vs_shrink_answer *answer, vs_error *err) {
    (void)context;
    (void)on;
    (void)reserve;
    (void)single;
    *answer = VS_SHRINK_FAILS;
    return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
}

static void errors_end_it(void **state) {
    (void)state;
    vs_error err = { 0 };
    bool on[2] = { true, true };
    const bool fixed[2] = { false, false };
    bool minimal = false;
    assert_int_equal(vs_shrink(on, fixed, 2, fails, NULL, &err), VS_ERR_INTERRUPTED);
    assert_int_equal(vs_shrink_singly(on, fixed, 2, fails, NULL, &minimal, &err), VS_ERR_INTERRUPTED);
    assert_int_equal(vs_shrink(on, fixed, 0, fails, NULL, &err), VS_OK);
    assert_int_equal(vs_shrink_singly(on, fixed, 0, fails, NULL, &minimal, &err), VS_OK);
    assert_true(minimal);
}

static void rows_have_classes_and_units(void **state) {
    (void)state;
    static const struct {
        const char *row;
        vs_half_class is;
        const char *unit;
    } cases[] = { { "tokens", VS_CLASS_RESIDUAL, "tokens" },
                  { "pos_add", VS_CLASS_RESIDUAL, "pos_add" },
                  { "patch_embed.proj", VS_CLASS_LINEAR, "patch_embed.proj" },
                  { "blocks.3.norm1.square", VS_CLASS_NORM, "blocks.3.norm1" },
                  { "blocks.11.norm2.out", VS_CLASS_NORM, "blocks.11.norm2" },
                  { "norm.var", VS_CLASS_NORM, "norm" },
                  { "blocks.0.attn.qkv", VS_CLASS_LINEAR, "blocks.0.attn.qkv" },
                  { "blocks.0.rope.q", VS_CLASS_SCORES, "blocks.0.attn.scores" },
                  { "blocks.0.attn.scale", VS_CLASS_SCORES, "blocks.0.attn.scores" },
                  { "blocks.0.attn.softmax", VS_CLASS_SOFTMAX, "blocks.0.attn.softmax" },
                  { "blocks.0.attn.pv", VS_CLASS_LINEAR, "blocks.0.attn.pv" },
                  { "blocks.10.ls2", VS_CLASS_RESIDUAL, "blocks.10.ls2" },
                  { "blocks.10.add1", VS_CLASS_RESIDUAL, "blocks.10.add1" },
                  { "blocks.10.mlp.gelu.erf", VS_CLASS_GELU, "blocks.10.mlp.gelu" },
                  { "blocks.10.mlp.gelu", VS_CLASS_GELU, "blocks.10.mlp.gelu" },
                  { "blocks.10.mlp.silu.mul", VS_CLASS_GELU, "blocks.10.mlp.silu" },
                  { "blocks.10.mlp.gate", VS_CLASS_GELU, "blocks.10.mlp.silu" },
                  { "blocks.10.mlp.fc2", VS_CLASS_LINEAR, "blocks.10.mlp.fc2" },
                  { "head.bn", VS_CLASS_NORM, "head.bn" },
                  { "head.conv_seg", VS_CLASS_LINEAR, "head.conv_seg" },
                  { "blocks.8.norm.square", VS_CLASS_NORM, "blocks.8.norm" },
                  { "cls_norm.square", VS_CLASS_NORM, "cls_norm" },
                  { "norm.cat", VS_CLASS_NORM, "norm" },
                  { "head.queries", VS_CLASS_RESIDUAL, "head.queries" },
                  { "head.mask_head.1.gelu.erf", VS_CLASS_GELU, "head.mask_head.1.gelu" },
                  { "head.mask_head.2", VS_CLASS_LINEAR, "head.mask_head.2" },
                  { "head.upscale.0.act", VS_CLASS_GELU, "head.upscale.0.act" },
                  { "head.upscale.0.norm.square", VS_CLASS_NORM, "head.upscale.0.norm" },
                  { "head.einsum", VS_CLASS_LINEAR, "head.einsum" },
                  { "head.fusion.add", VS_CLASS_RESIDUAL, "head.fusion.add" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char unit[64];
        vs_half_unit_of(cases[i].row, unit, sizeof unit);
        assert_int_equal(vs_half_class_of(cases[i].row), cases[i].is);
        assert_string_equal(unit, cases[i].unit);
    }
}

static const vs_arch arch = { .width = 8,
                              .heads = 2,
                              .depth = 2,
                              .hidden = 32,
                              .patch = 4,
                              .registers = 1,
                              .classes = 3,
                              .head = VS_HEAD_SEGMENTATION,
                              .head_maps = 1,
                              .head_width = 8,
                              .head_norm = true };

static void expect_reads(const bool *present, size_t row, size_t a, size_t b) {
    size_t from[VS_HALF_READS];
    const size_t count = vs_half_reads(&arch, present, row, from);
    assert_int_equal(count, b != SIZE_MAX ? 2 : a != SIZE_MAX ? 1 : 0);
    if (count > 0) assert_int_equal(from[0], a);
    if (count > 1) assert_int_equal(from[1], b);
}

static size_t at(vs_half_row row, size_t block) { return vs_half_row_index(&arch, row, block); }

/* Through rows that a policy does not have to those that give what they would. */
static void rows_read_what_is_there(void **state) {
    (void)state;
    enum { MOST = 4 * VS_ROW_COUNT };
    bool all[MOST], some[MOST];
    const size_t n = vs_half_row_count(&arch);
    assert_true(n <= MOST);
    for (size_t i = 0; i < n; i++) all[i] = some[i] = true;
    expect_reads(all, at(VS_ROW_PATCH_EMBED, 0), SIZE_MAX, SIZE_MAX);
    expect_reads(all, at(VS_ROW_NORM1 + VS_NORM_CENTER, 0), at(VS_ROW_POS_ADD, 0), at(VS_ROW_NORM1 + VS_NORM_MEAN, 0));
    expect_reads(all, at(VS_ROW_NORM1 + VS_NORM_DIV, 1), at(VS_ROW_NORM1 + VS_NORM_CENTER, 1), at(VS_ROW_NORM1 + VS_NORM_STD, 1));
    expect_reads(all, at(VS_ROW_ADD1, 1), at(VS_ROW_ADD2, 0), at(VS_ROW_LS1, 1));
    expect_reads(all, at(VS_ROW_NORM + VS_NORM_MEAN, 0), at(VS_ROW_ADD2, 1), SIZE_MAX);
    expect_reads(all, at(VS_ROW_HEAD_CONV, 0), at(VS_ROW_HEAD_BN, 0), SIZE_MAX);
    /* fused, without positions, rotation and LayerScale */
    for (size_t block = 0; block < 2; block++) {
        for (unsigned k = 0; k < VS_NORM_OUT; k++) some[at(VS_ROW_NORM1 + k, block)] = some[at(VS_ROW_NORM2 + k, block)] = false;
        for (vs_half_row r = VS_ROW_ROPE_Q; r <= VS_ROW_SOFTMAX; r++) some[at(r, block)] = false;
        for (vs_half_row r = VS_ROW_GELU_DIV; r < VS_ROW_GELU_OUT; r++) some[at(r, block)] = false;
        some[at(VS_ROW_LS1, block)] = some[at(VS_ROW_LS2, block)] = false;
    }
    for (unsigned k = 0; k < VS_NORM_OUT; k++) some[at(VS_ROW_NORM + k, 0)] = false;
    some[at(VS_ROW_POS_ADD, 0)] = some[at(VS_ROW_HEAD_BN, 0)] = false;
    expect_reads(some, at(VS_ROW_NORM1 + VS_NORM_OUT, 0), at(VS_ROW_TOKENS, 0), SIZE_MAX);
    expect_reads(some, at(VS_ROW_NORM2 + VS_NORM_OUT, 1), at(VS_ROW_ADD1, 1), SIZE_MAX);
    expect_reads(some, at(VS_ROW_PV, 1), at(VS_ROW_QKV, 1), at(VS_ROW_QKV, 1));
    expect_reads(some, at(VS_ROW_ADD2, 1), at(VS_ROW_ADD1, 1), at(VS_ROW_FC2, 1));
    expect_reads(some, at(VS_ROW_GELU_OUT, 0), at(VS_ROW_FC1, 0), SIZE_MAX);
    expect_reads(some, at(VS_ROW_HEAD_CONV, 0), at(VS_ROW_NORM + VS_NORM_OUT, 0), SIZE_MAX);
}

/* By SQNR alone: mask logits that lose 20 dB are to blame, scores that are made of them outside are not. */
static void scores_outside_are_not_to_blame(void **state) {
    (void)state;
    static const vs_arch eomt = {
        .depth = 1, .head = VS_HEAD_EOMT, .head_maps = 1, .queries = 2, .joint_blocks = 1, .upscales = 1
    };
    const size_t n = vs_half_row_count(&eomt), scores = vs_half_output_index(&eomt), masks = scores - 1;
    vs_half_probe probe = { .rows = vs_calloc(n, sizeof *probe.rows), .output = { .present = true, .pooled = 20 } };
    vs_error err = { 0 };
    vs_diag_bad bad;
    assert_non_null(probe.rows);
    for (size_t i = 0; i < n; i++) probe.rows[i] = (vs_half_probe_row){ .seen = true, .max = 1, .sqnr = 50 };
    probe.rows[scores].sqnr = 20;
    assert_int_equal(vs_diag_first_bad(&bad, &eomt, &probe, &err), VS_OK);
    assert_true(bad.row == SIZE_MAX);
    probe.rows[masks].sqnr = 30;
    assert_int_equal(vs_diag_first_bad(&bad, &eomt, &probe, &err), VS_OK);
    assert_true(bad.row == masks);
    assert_string_equal(bad.why, "sqnr");
    free(probe.rows);
}

/* A model of 2 blocks and 18 tokens, counted by hand. */
static void products_are_counted(void **state) {
    (void)state;
    double sum = 0;
    for (size_t i = 0; i < vs_half_row_count(&arch); i++) sum += vs_half_macs(&arch, i, 18);
    check_close(sum, 16 * 8 * 48 + 2 * (18 * 8 * 8 * 4 + 2 * 18 * 18 * 8 + 2 * 18 * 8 * 32) + 16 * 8 * 3, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_shrink_to_what_is_needed),
        cmocka_unit_test(what_stays_is_minimal),
        cmocka_unit_test(tests_run_out),
        cmocka_unit_test(errors_end_it),
        cmocka_unit_test(rows_have_classes_and_units),
        cmocka_unit_test(rows_read_what_is_there),
        cmocka_unit_test(scores_outside_are_not_to_blame),
        cmocka_unit_test(products_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
