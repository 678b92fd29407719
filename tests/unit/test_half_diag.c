/* The diagnosis's parts that need no model: lists that shrink, classes and units by name, what rows
 * read, where a pass may begin. */
#include <string.h>

#include "diagnose/half_diag_inside.h"
#include "diagnose/half_shrink.h"
#include "half/classes.h"
#include "support/archs.h"
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
                              .grid = 4,
                              .prefix_positions = 1,
                              .layer_scale = true,
                              .classes = 3,
                              .head = VS_HEAD_SEGMENTATION,
                              .head_maps = 1,
                              .head_width = 8,
                              .head_norm = true };

static const vs_policy_config strict = {
    .norm = VS_OPERATION_DECOMPOSED, .attention = VS_OPERATION_DECOMPOSED, .gelu = VS_OPERATION_DECOMPOSED, .scale = VS_SCALE_BOTH
};

typedef struct listed {
    vs_graph *graph;
    vs_half_rows *rows;
    size_t count;
} listed;

static listed list_rows(const vs_arch *a) {
    listed l = { .graph = graph_of(a) };
    vs_error err = { 0 };
    assert_int_equal(vs_half_rows_create(&l.rows, l.graph, &err), VS_OK);
    l.count = vs_half_row_count(l.rows);
    return l;
}

static void free_list(listed *l) {
    vs_half_rows_free(l->rows);
    vs_graph_free(l->graph);
}

static size_t at(const listed *l, const char *name) {
    char text[64];
    for (size_t i = 0; i < l->count; i++) {
        vs_half_row_name(l->rows, &strict, i, text, sizeof text);
        if (strcmp(text, name) == 0) return i;
    }
    fail_msg("there is no row %s", name);
    return 0;
}

/* a, b: NULL where it reads less. */
static void expect_reads(const listed *l, const bool *present, const char *row, const char *a, const char *b) {
    size_t from[VS_HALF_READS];
    const size_t count = vs_half_reads(l->rows, present, at(l, row), from);
    assert_int_equal(count, b ? 2 : a ? 1 : 0);
    if (a) assert_int_equal(from[0], at(l, a));
    if (b) assert_int_equal(from[1], at(l, b));
}

static bool is_of(const char *name, const char *const *parts, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

/* Through rows that a policy does not have to those that give what they would. */
static void rows_read_what_is_there(void **state) {
    (void)state;
    static const char *const gone[] = { "norm",     "attn.qscale", "attn.kscale", "attn.sc", "attn.softmax",
                                        "mlp.gelu", ".ls1",        ".ls2",        "pos_add", "head.bn" };
    listed l = list_rows(&arch);
    bool *all = vs_calloc(l.count, sizeof *all), *some = vs_calloc(l.count, sizeof *some);
    char name[64];
    assert_true(all && some);
    for (size_t i = 0; i < l.count; i++) {
        vs_half_row_name(l.rows, &strict, i, name, sizeof name);
        all[i] = true;
        some[i] = strstr(name, ".out") || !is_of(name, gone, sizeof gone / sizeof *gone);
        if (strstr(name, "softmax")) some[i] = false;
    }
    expect_reads(&l, all, "patch_embed.proj", NULL, NULL);
    expect_reads(&l, all, "blocks.0.norm1.center", "pos_add", "blocks.0.norm1.mean");
    expect_reads(&l, all, "blocks.1.norm1.div", "blocks.1.norm1.center", "blocks.1.norm1.std");
    expect_reads(&l, all, "blocks.1.norm1.square", "blocks.1.norm1.center", NULL);
    expect_reads(&l, all, "blocks.1.add1", "blocks.0.add2", "blocks.1.ls1");
    expect_reads(&l, all, "blocks.1.mlp.gelu.mul", "blocks.1.mlp.fc1", "blocks.1.mlp.gelu.one");
    expect_reads(&l, all, "norm.mean", "blocks.1.add2", NULL);
    expect_reads(&l, all, "head.conv_seg", "head.bn", NULL);
    /* fused, without positions and LayerScale */
    expect_reads(&l, some, "blocks.0.norm1.out", "tokens", NULL);
    expect_reads(&l, some, "blocks.1.norm2.out", "blocks.1.add1", NULL);
    expect_reads(&l, some, "blocks.1.attn.pv", "blocks.1.attn.qkv", "blocks.1.attn.qkv");
    expect_reads(&l, some, "blocks.1.add2", "blocks.1.add1", "blocks.1.mlp.fc2");
    expect_reads(&l, some, "blocks.0.mlp.gelu.out", "blocks.0.mlp.fc1", NULL);
    expect_reads(&l, some, "head.conv_seg", "norm.out", NULL);
    free(all);
    free(some);
    free_list(&l);
}

/* By SQNR alone: mask logits that lose 20 dB are to blame, scores that are made of them outside are not. */
static void scores_outside_are_not_to_blame(void **state) {
    (void)state;
    listed l = list_rows(&arch_eomt);
    const size_t scores = vs_half_output_row(l.rows), masks = at(&l, "head.einsum");
    vs_half_probe probe = { .rows = vs_calloc(l.count, sizeof *probe.rows), .output = { .present = true, .pooled = 20 } };
    vs_error err = { 0 };
    vs_diag_bad bad;
    assert_non_null(probe.rows);
    for (size_t i = 0; i < l.count; i++) probe.rows[i] = (vs_half_probe_row){ .seen = true, .max = 1, .sqnr = 50 };
    probe.rows[scores].sqnr = 20;
    assert_int_equal(vs_diag_first_bad(&bad, l.rows, &probe, &err), VS_OK);
    assert_true(bad.row == SIZE_MAX);
    probe.rows[masks].sqnr = 30;
    assert_int_equal(vs_diag_first_bad(&bad, l.rows, &probe, &err), VS_OK);
    assert_true(bad.row == masks);
    assert_string_equal(bad.why, "sqnr");
    free(probe.rows);
    free_list(&l);
}

/* A model of 2 blocks and 18 tokens, counted by hand. */
static void products_are_counted(void **state) {
    (void)state;
    listed l = list_rows(&arch);
    double sum = 0;
    for (size_t i = 0; i < l.count; i++) sum += vs_half_macs(l.rows, i, 16);
    check_close(sum, 16 * 8 * 48 + 2 * (18 * 8 * 8 * 4 + 2 * 18 * 18 * 8 + 2 * 18 * 8 * 32) + 16 * 8 * 3, 0);
    free_list(&l);
}

/* Kept streams begin a pass where segments hand on nothing else. */
static void streams_are_all_that_is_handed_on(void **state) {
    (void)state;
    static const struct {
        const vs_arch *arch;
        bool can;
    } cases[] = { { &arch_plain, true },
                  { &arch_classifier, true },
                  { &arch_vit_s, true },
                  { &arch_dinov3, false }, /* maps of four blocks */
                  { &arch_eomt, false } }; /* queries on the way */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_graph *g = graph_of(cases[i].arch);
        assert_int_equal(vs_half_can_resume(g), cases[i].can);
        assert_int_equal(vs_half_blocks(g), cases[i].arch->depth);
        vs_graph_free(g);
    }
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
        cmocka_unit_test(streams_are_all_that_is_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
