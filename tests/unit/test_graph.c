/* The graph by itself: what the checker refuses and how it says so, rules of rows, what follows from a graph. */
#include <time.h>

#include "graph/build.h"
#include "support/archs.h"
#include "support/check.h"
#include "util/util.h"

/* ---- memory that ends */

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *block);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *block);

static long until_failure = -1; /* -1: never */
static long live;

static bool fails(void) { return until_failure >= 0 && until_failure-- == 0; }

void *__wrap_calloc(size_t count, size_t size) {
    void *block = fails() ? NULL : __real_calloc(count, size);
    live += block != NULL;
    return block;
}

void *__wrap_realloc(void *old, size_t size) {
    void *block = fails() ? NULL : __real_realloc(old, size);
    live += block && !old;
    return block;
}

void __wrap_free(void *block) {
    live -= block != NULL;
    __real_free(block);
}

/* Every allocation fails once, and all behind it succeed: what is built then is thrown away whole. */
static void memory_may_end_anywhere(void **state) {
    (void)state;
    for (size_t a = 0; a < ARCHS; a++) {
        vs_graph *g = NULL;
        for (long n = 0; !g; n++) {
            vs_error err = { 0 };
            const long before = live;
            until_failure = n;
            const vs_status status = vs_vit_graph(&g, archs[a], &err);
            const bool failed = until_failure < 0;
            until_failure = -1;
            assert_int_equal(status == VS_OK, !failed);
            assert_int_equal(g != NULL, !failed);
            if (!failed) break;
            check_error(status, &err, VS_ERR_NOMEM, "no memory for a model's graph");
            assert_int_equal(live, before);
        }
        vs_graph_free(g);
    }
}

/* ---- rows */

static const vs_row_rule joint = { .parts = { { .name = "query", .numbered = true, .count = 3 },
                                              { .name = "cls", .count = 1 },
                                              { .name = "reg", .numbered = true, .count = 2 },
                                              { .name = "patch" } },
                                   .part_count = 4,
                                   .times = 1 };

static void rules_count_and_name_rows(void **state) {
    (void)state;
    static const struct {
        size_t row;
        const char *name;
    } names[] = { { 0, "query0" }, { 2, "query2" },     { 3, "cls" },        { 4, "reg0" },
                  { 5, "reg1" },   { 6, "patch(0,0)" }, { 12, "patch(1,2)" } };
    const vs_row_rule fine = { .parts = { { .name = "pixel", .level = 2 } }, .part_count = 1, .times = 1 };
    char text[32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        vs_rule_name(&joint, names[i].row, 4, text, sizeof text);
        assert_string_equal(text, names[i].name);
    }
    vs_rule_name(&fine, 16 + 3, 4, text, sizeof text);
    assert_string_equal(text, "pixel(1,3)");
    assert_int_equal(vs_rule_rows(&joint, 8), 3 + 1 + 2 + 8);
    assert_int_equal(vs_rule_first(&joint, 2, 8), 4);
    assert_int_equal(vs_part_rows(&fine.parts[0], 8), 16 * 8);
    vs_row_rule heads = joint;
    heads.times = 6;
    assert_int_equal(vs_rule_rows(&heads, 8), 6 * 14);
    assert_int_equal(vs_rule_first(&heads, 4, 8), 14);
}

static void rules_are_found_in_others(void **state) {
    (void)state;
    const vs_row_rule tokens = { .parts = { { .name = "cls", .count = 1 }, { .name = "other", .count = 2 }, { .name = "cell" } },
                                 .part_count = 3,
                                 .times = 1 };
    const vs_row_rule patches = { .parts = { { .name = "patch" } }, .part_count = 1, .times = 1 };
    vs_row_rule other = patches;
    assert_int_equal(vs_rule_find(&joint, &tokens), 1); /* whatever they are called */
    assert_int_equal(vs_rule_find(&joint, &patches), 3);
    assert_int_equal(vs_rule_find(&joint, &joint), 0);
    assert_int_equal(vs_rule_find(&tokens, &joint), VS_NONE);
    other.parts[0].level = 1;
    assert_int_equal(vs_rule_find(&joint, &other), VS_NONE);
    other = patches;
    other.times = 2;
    assert_int_equal(vs_rule_find(&joint, &other), VS_NONE);
    assert_int_equal(vs_rule_patches(&joint), 3);
    other.parts[0].level = 1;
    assert_int_equal(vs_rule_patches(&other), VS_NONE);
}

/* ---- builder */

/* Patches, a linear; a second one with GELU, which passes, and a sum. */
static vs_status build_small(vs_graph **g, vs_error *err) {
    vs_builder b;
    vs_status status = vs_build_begin(&b, err);
    if (status != VS_OK) return status;
    const size_t channels = vs_build_rule(&b, (vs_row_rule){ .parts = { { .name = "channel", .count = 3 } }, .part_count = 1 }),
                 grid = vs_build_rule(&b, (vs_row_rule){ .parts = { { .name = "patch" } }, .part_count = 1 });
    const size_t pixels = vs_build_given(&b, VS_GIVEN_PIXELS, channels, (vs_extent){ 0, 4 }, VS_NONE);
    const vs_node cut = {
        .op = VS_OP_PATCHIFY, .in = { pixels }, .in_count = 1, .param = { VS_NONE, VS_NONE, VS_NONE }, .patch = 2
    };
    size_t x = vs_build_node(&b, cut, "patches", grid, (vs_extent){ 12, 0 }, VS_NONE);
    x = vs_build_linear(&b, "embed", VS_KIND_PATCH_EMBED, x, 8);
    vs_build_segment(&b, x);
    const size_t u = vs_build_passing(&b, vs_build_linear(&b, "fc", VS_KIND_FC1, x, 8));
    x = vs_build_add(&b, "add", x, vs_build_same(&b, VS_OP_GELU, "gelu", u, true), VS_NONE);
    vs_build_segment(&b, VS_NONE);
    b.graph->output = x;
    return vs_build_end(&b, g, err);
}

static void what_follows_is_filled_in(void **state) {
    (void)state;
    vs_graph *g = NULL;
    vs_error err = { 0 };
    assert_int_equal(build_small(&g, &err), VS_OK);
    assert_int_equal(g->node_count, 5);
    assert_true(g->nodes[1].segment == 0 && g->nodes[2].segment == 1 && g->nodes[4].segment == 1);
    assert_true(g->site_count == 2 && g->sites[1].node == 2 && g->sites[1].what == VS_SITE_LINEAR);
    assert_true(g->nodes[2].site == 1 && g->nodes[3].site == VS_NONE);
    const size_t u = g->nodes[2].out, x = g->nodes[1].out;
    assert_true(g->values[g->nodes[3].out].root == u && g->values[u].producer == 2 && g->values[u].last == 4);
    assert_true(g->values[g->output].root == x && g->values[x].last == 4);
    assert_int_equal(vs_graph_find(g, VS_KIND_FC1, -1), 2);
    assert_int_equal(vs_graph_find(g, VS_KIND_FC2, -1), VS_NONE);
    assert_int_equal(vs_graph_find(g, VS_KIND_FC1, 0), VS_NONE);
    assert_string_equal(g->params[vs_graph_param(g, "fc.bias")].name, "fc.bias");
    assert_int_equal(vs_graph_param(g, "fc"), VS_NONE);
    check_close(vs_node_macs(g, 2, 6), 6 * 8 * 8, 0);
    check_close(vs_node_macs(g, 3, 6), 0, 0);
    assert_int_equal(vs_graph_site_reals(g, 6, true), 6 * 12);
    assert_int_equal(vs_graph_site_reals(g, 6, false), 6 * 8);
    vs_graph_free(g);
}

static void an_empty_graph_is_refused(void **state) {
    (void)state;
    vs_builder b;
    vs_graph *g = NULL;
    vs_error err = { 0 };
    assert_int_equal(vs_build_begin(&b, &err), VS_OK);
    check_error(vs_build_end(&b, &g, &err), &err, VS_ERR_FORMAT, "its segments do not hold its nodes");
    assert_null(g);
}

/* ---- what is refused: a good graph, with one thing wrong */

static vs_node *at(vs_graph *g, const char *name) {
    for (size_t i = 0; i < g->node_count; i++)
        if (strcmp(g->nodes[i].name, name) == 0) return &g->nodes[i];
    fail_msg("there is no node '%s'", name);
    return g->nodes;
}

static vs_value *in_of(vs_graph *g, const char *name, size_t i) { return &g->values[at(g, name)->in[i]]; }
static vs_value *out_of(vs_graph *g, const char *name) { return &g->values[at(g, name)->out]; }
static vs_param *param_of(vs_graph *g, const char *name, size_t i) { return &g->params[at(g, name)->param[i]]; }
static vs_row_rule *rows_of(vs_graph *g, const char *name) { return &g->rules[out_of(g, name)->rows]; }
static void read_from(vs_graph *g, const char *name, size_t i, const char *from) { at(g, name)->in[i] = at(g, from)->out; }

static void reads_what_comes_later(vs_graph *g) { read_from(g, "blocks.0.mlp.w12", 0, "blocks.0.mlp.silu"); }
static void reads_what_is_its_own(vs_graph *g) { read_from(g, "blocks.0.mlp.silu", 0, "blocks.0.mlp.silu"); }
static void reads_no_value(vs_graph *g) { at(g, "blocks.0.norm1")->in[0] = g->value_count; }
static void reads_too_much(vs_graph *g) { at(g, "blocks.0.norm1")->in_count = 2; }
static void reads_nothing(vs_graph *g) { at(g, "blocks.0.norm1")->in_count = 0; }
static void gives_twice(vs_graph *g) { at(g, "blocks.0.mlp.silu")->out = at(g, "blocks.0.mlp.w12")->out; }
static void gives_a_view(vs_graph *g) { at(g, "blocks.0.rope.q")->out = at(g, "blocks.0.rope.q")->in[0]; }
static void gives_no_value(vs_graph *g) { at(g, "blocks.0.norm1")->out = VS_NONE; }
static void gives_one_less(vs_graph *g) { g->segments[g->segment_count - 1].end = --g->node_count; }
static void reads_the_old_stream(vs_graph *g) { at(g, "blocks.0.norm2")->in[0] = at(g, "blocks.0.norm1")->in[0]; }
static void reads_the_old_operand(vs_graph *g) { read_from(g, "blocks.0.attn.pv", 0, "blocks.0.rope.q"); }
static void reads_an_old_view(vs_graph *g) { at(g, "blocks.0.attn.pv")->in[1] = at(g, "blocks.0.attn.k")->in[0]; }
static void reads_what_it_writes(vs_graph *g) { at(g, "blocks.0.add1")->in[1] = at(g, "blocks.0.add1")->in[0]; }
static void reads_what_has_passed(vs_graph *g) { read_from(g, "head.features", 0, "blocks.1.norm.cat"); }
static void reads_probabilities(vs_graph *g) { read_from(g, "blocks.0.attn.proj", 0, "blocks.0.attn.p"); }
static void reads_a_table(vs_graph *g) { at(g, "blocks.0.norm1")->in[0] = at(g, "blocks.0.rope.q")->in[1]; }
static void reads_no_table(vs_graph *g) { read_from(g, "tokens", 1, "patch_embed.proj"); }
static void stands_over_others(vs_graph *g) { out_of(g, "blocks.0.add1")->alias = at(g, "blocks.0.add1")->in[1]; }
static void linear_in_place(vs_graph *g) { out_of(g, "blocks.0.attn.proj")->alias = at(g, "blocks.0.attn.proj")->in[0]; }
static void some_rows_in_place(vs_graph *g) { out_of(g, "cls_norm")->alias = at(g, "cls_norm")->in[0]; }
static void leaves_a_parameter(vs_graph *g) { at(g, "blocks.0.add2")->param[0] = VS_NONE; }
static void lacks_a_parameter(vs_graph *g) { at(g, "blocks.0.norm1")->param[0] = VS_NONE; }
static void has_a_parameter(vs_graph *g) { at(g, "blocks.0.mlp.silu")->param[0] = 0; }
static void has_no_parameter(vs_graph *g) { at(g, "blocks.0.norm1")->param[1] = g->param_count; }
static void no_operation(vs_graph *g) { at(g, "blocks.0.norm1")->op = VS_OP_COUNT; }
static void no_kind(vs_graph *g) { at(g, "blocks.0.norm1")->kind = (vs_kind)(VS_KIND_NONE + 1); }
static void no_name(vs_graph *g) { memset(at(g, "blocks.0.norm1")->label, 'x', sizeof g->nodes->label); }
static void no_eps(vs_graph *g) { at(g, "blocks.0.norm1")->eps = (double)NAN; }
static void no_level(vs_graph *g) { at(g, "head.upscale.0.conv1")->level = 99; }
static void gap_of_segments(vs_graph *g) { g->segments[1].first++; }
static void segments_end_early(vs_graph *g) { g->segments[g->segment_count - 1].end--; }
static void one_segment(vs_graph *g) { g->segment_count = 1; }
static void empty_segment(vs_graph *g) { g->segments[0].end = 0; }
static void stream_at_the_end(vs_graph *g) { g->segments[g->segment_count - 1].stream = 0; }
static void stream_of_another(vs_graph *g) { g->segments[1].stream = g->segments[0].stream; }
static void stream_nobody_reads(vs_graph *g) { g->segments[0].stream = at(g, "patch_embed.proj")->out; }
static void no_output(vs_graph *g) { g->output = VS_NONE; }
static void output_of_a_block(vs_graph *g) { g->output = at(g, "blocks.0.add2")->out; }
static void output_passes(vs_graph *g) { g->values[g->values[g->output].root].passing = true; }
static void rule_of_nothing(vs_graph *g) { rows_of(g, "patches")->part_count = 0; }
static void rule_of_much(vs_graph *g) { rows_of(g, "patches")->part_count = VS_ROW_PARTS + 1; }
static void rule_of_no_times(vs_graph *g) { rows_of(g, "patches")->times = 0; }
static void names_twice(vs_graph *g) { strcpy(param_of(g, "blocks.0.norm1", 0)->name, "cls_token"); }
static void endless_name(vs_graph *g) { memset(g->params[1].name, 'x', sizeof g->params[1].name); }
static void empty_parameter(vs_graph *g) { param_of(g, "blocks.0.norm1", 0)->rows = 0; }
static void fold_of_nothing(vs_graph *g) { param_of(g, "tokens", 0)->from[0] = VS_NONE; }
static void fold_of_folds(vs_graph *g) { param_of(g, "head.bn", 1)->from[0] = at(g, "head.bn")->param[0]; }
static void fold_of_less(vs_graph *g) { param_of(g, "tokens", 1)->from[1] = VS_NONE; }
static void value_of_no_rule(vs_graph *g) { out_of(g, "blocks.0.norm1")->rows = g->rule_count; }
static void value_of_no_columns(vs_graph *g) { out_of(g, "blocks.0.norm1")->cols.fixed = 0; }
static void value_on_a_later_one(vs_graph *g) { out_of(g, "blocks.0.norm1")->alias = at(g, "blocks.0.norm1")->out; }
static void value_on_pixels(vs_graph *g) { out_of(g, "patches")->alias = at(g, "patches")->in[0]; }
static void view_in_other_sessions(vs_graph *g) { in_of(g, "blocks.0.attn.v", 0)->optional = true; }
static void view_behind_the_end(vs_graph *g) { in_of(g, "blocks.0.attn.v", 0)->column++; }
static void some_have_gate(vs_graph *g) { out_of(g, "blocks.0.mlp.silu")->optional = true; }

static void other_weight_rows(vs_graph *g) { param_of(g, "blocks.0.mlp.w12", 0)->rows++; }
static void other_weight_cols(vs_graph *g) { param_of(g, "blocks.0.mlp.w12", 0)->cols++; }
static void other_bias(vs_graph *g) { param_of(g, "blocks.0.mlp.w12", 1)->cols--; }
static void other_gain(vs_graph *g) { param_of(g, "blocks.0.norm1", 0)->cols++; }
static void other_gamma(vs_graph *g) { param_of(g, "blocks.0.add1", 0)->rows = 2; }
static void other_half(vs_graph *g) { out_of(g, "blocks.0.mlp.silu")->cols.fixed++; }
static void other_heads(vs_graph *g) { at(g, "blocks.0.attn.probs")->heads = 3; }
static void other_probabilities(vs_graph *g) { out_of(g, "blocks.0.attn.probs")->cols.cells = 2; }
static void other_rotation(vs_graph *g) { at(g, "blocks.0.rope.k")->heads = 1; }
static void other_terms(vs_graph *g) { read_from(g, "blocks.0.add2", 1, "blocks.0.mlp.w12"); }
static void other_patch(vs_graph *g) { at(g, "patches")->patch = 3; }
static void other_channels(vs_graph *g) { rows_of(g, "patches")->parts[0].level = 1; }
static void other_prefix(vs_graph *g) { rows_of(g, "tokens")->parts[1].count++; }
static void other_stack(vs_graph *g) { read_from(g, "norm.cat", 0, "norm"); }
static void other_features(vs_graph *g) { out_of(g, "head.features")->cols.fixed++; }
static void other_factor(vs_graph *g) { read_from(g, "head.einsum", 1, "head.class_head"); }
static void other_scores(vs_graph *g) { out_of(g, "head.scores")->cols.fixed = 7; }
static void other_kernel(vs_graph *g) { param_of(g, "head.upscale.0.conv2", 0)->rows = 8; }
static void other_cells(vs_graph *g) { out_of(g, "head.upscale.0.conv1")->cols.fixed = 60; }
static void other_queries(vs_graph *g) { param_of(g, "head.queries", 0)->rows++; }
static void other_mean(vs_graph *g) { in_of(g, "head.mean", 1)->cols.cells = 2; }
static void other_scale(vs_graph *g) { param_of(g, "head.bn", 0)->cols++; }

static const struct {
    const vs_arch *arch;
    void (*edit)(vs_graph *g);
    const char *message;
} wrong[] = {
    { &arch_dinov3, reads_what_comes_later, "node 'blocks.0.mlp.w12': input 0 is read before it is given" },
    { &arch_dinov3, reads_what_is_its_own, "node 'blocks.0.mlp.silu': input 0 is read before it is given" },
    { &arch_dinov3, reads_no_value, "node 'blocks.0.norm1': input 0 is no value" },
    { &arch_dinov3, reads_too_much, "node 'blocks.0.norm1': 2 inputs for 'layernorm'" },
    { &arch_dinov3, reads_nothing, "node 'blocks.0.norm1': 0 inputs for 'layernorm'" },
    { &arch_dinov3, gives_twice, "node 'blocks.0.mlp.silu': its output stands in front of an earlier node's" },
    { &arch_dinov3, gives_a_view, "node 'blocks.0.rope.q': its output is given already" },
    { &arch_dinov3, gives_no_value, "node 'blocks.0.norm1': its output is no value" },
    { &arch_dinov3, gives_one_less, "graph: no node gives value" },
    { &arch_dinov3, reads_the_old_stream, "node 'blocks.0.norm2': input 0 was written over by 'blocks.0.add1'" },
    { &arch_dinov3, reads_the_old_operand, "node 'blocks.0.attn.pv': input 0 was written over by 'blocks.0.attn.q'" },
    { &arch_plain, reads_an_old_view, "node 'blocks.0.attn.pv': input 1 was written over by 'blocks.0.attn.k'" },
    { &arch_dinov3, reads_what_it_writes, "node 'blocks.0.add1': it writes over its input 1" },
    { &arch_dinov3, reads_what_has_passed, "node 'head.features': input 0 is of another segment, which it does not outlive" },
    { &arch_dinov3, reads_probabilities, "node 'blocks.0.attn.proj': input 0 is there in some sessions only" },
    { &arch_dinov3, reads_a_table, "node 'blocks.0.norm1': input 0 is given to the session" },
    { &arch_plain, reads_no_table, "node 'tokens': input 1 is computed" },
    { &arch_dinov3, stands_over_others, "node 'blocks.0.add1': 'scale_add' cannot stand where another value stands" },
    { &arch_dinov3, linear_in_place, "node 'blocks.0.attn.proj': 'linear' cannot stand where another value stands" },
    { &arch_dinov3, some_rows_in_place, "node 'cls_norm': some rows cannot stand where all stood" },
    { &arch_dinov3, leaves_a_parameter, "graph: no node uses parameter 'blocks.0.ls2'" },
    { &arch_dinov3, lacks_a_parameter, "node 'blocks.0.norm1': parameter 0 is missing, or one too many" },
    { &arch_dinov3, has_a_parameter, "node 'blocks.0.mlp.silu': parameter 0 is missing, or one too many" },
    { &arch_dinov3, has_no_parameter, "node 'blocks.0.norm1': parameter 1 is missing, or one too many" },
    { &arch_dinov3, no_operation, "node 'blocks.0.norm1': no operation of this program" },
    { &arch_dinov3, no_kind, "node 'blocks.0.norm1': no operation of this program" },
    { &arch_dinov3, no_name, "node 'blocks.0.norm1': a name without an end" },
    { &arch_dinov3, no_eps, "node 'blocks.0.norm1': attributes of no size" },
    { &arch_eomt, no_level, "node 'head.upscale.0.conv1': attributes of no size" },
    { &arch_dinov3, gap_of_segments, "graph: segment 1 is no run of nodes" },
    { &arch_dinov3, segments_end_early, "graph: its segments do not hold its nodes" },
    { &arch_dinov3, one_segment, "graph: segment 0 hands over no stream" },
    { &arch_dinov3, empty_segment, "graph: segment 0 is no run of nodes" },
    { &arch_dinov3, stream_at_the_end, "hands over no stream" },
    { &arch_dinov3, stream_of_another, "graph: segment 1 does not give its stream" },
    { &arch_plain, stream_nobody_reads, "graph: nothing reads the stream of segment 0" },
    { &arch_dinov3, no_output, "graph: it has no output" },
    { &arch_dinov3, output_of_a_block, "graph: its last segment does not give its output" },
    { &arch_dinov3, output_passes, "graph: its output does not stay" },
    { &arch_dinov3, rule_of_nothing, "of rows is none" },
    { &arch_dinov3, rule_of_much, "of rows is none" },
    { &arch_dinov3, rule_of_no_times, "of rows is none" },
    { &arch_dinov3, names_twice, "graph: parameter 'cls_token' is there twice" },
    { &arch_dinov3, endless_name, "graph: parameter 1 has no name" },
    { &arch_dinov3, empty_parameter, "graph: parameter 'blocks.0.norm1.weight' has no shape or no source" },
    { &arch_dinov3, fold_of_nothing, "graph: parameter 'prefix' has no shape or no source" },
    { &arch_dinov3, fold_of_folds, "graph: parameter 'head.bn.shift' has no shape or no source" },
    { &arch_dinov3, fold_of_less, "graph: parameter 'prefix.tokens' has no shape or no source" },
    { &arch_dinov3, value_of_no_rule, "is none" },
    { &arch_dinov3, value_of_no_columns, "is none" },
    { &arch_dinov3, value_on_a_later_one, "is none" },
    { &arch_dinov3, value_on_pixels, "is none" },
    { &arch_dinov3, view_in_other_sessions, "is none" },
    { &arch_dinov3, view_behind_the_end, "is no columns of value" },
    { &arch_dinov3, some_have_gate, "node 'blocks.0.mlp.silu': its output is no probabilities" },
    { &arch_dinov3, other_weight_rows,
      "node 'blocks.0.mlp.w12': its weight has another number of rows than its output has columns" },
    { &arch_dinov3, other_weight_cols, "node 'blocks.0.mlp.w12': its weight has another number of columns than its input" },
    { &arch_dinov3, other_bias, "node 'blocks.0.mlp.w12': its bias is no vector of its output" },
    { &arch_dinov3, other_gain, "node 'blocks.0.norm1': its gain or shift is of other columns" },
    { &arch_dinov3, other_gamma, "node 'blocks.0.add1': its factor is of other columns" },
    { &arch_dinov3, other_half, "node 'blocks.0.mlp.silu': it does not halve its columns" },
    { &arch_dinov3, other_heads, "node 'blocks.0.attn.probs': its operands are no heads of one shape" },
    { &arch_dinov3, other_probabilities, "node 'blocks.0.attn.probs': its output is no row of tokens for every head and token" },
    { &arch_dinov3, other_rotation, "node 'blocks.0.rope.k': its tables are not half as wide as a head" },
    { &arch_dinov3, other_terms, "node 'blocks.0.add2': its terms are of other shapes than its sum" },
    { &arch_plain, other_patch, "node 'patches': its patches do not fill the image" },
    { &arch_plain, other_channels, "node 'patches': it gives no patches" },
    { &arch_dinov3, other_prefix, "node 'tokens': its prefix tokens are others than its output has" },
    { &arch_dinov3, other_stack, "node 'norm.cat': its inputs' rows are not its output's" },
    { &arch_dinov3, other_features, "node 'head.features': its inputs' columns are not its output's" },
    { &arch_eomt, other_factor, "node 'head.einsum': its factors have other columns" },
    { &arch_eomt, other_scores, "node 'head.scores': it gives more columns than its factor has" },
    { &arch_eomt, other_kernel, "node 'head.upscale.0.conv2': its kernel is no 3x3 of every channel" },
    { &arch_eomt, other_cells, "node 'head.upscale.0.conv1': its weight has another number of rows" },
    { &arch_eomt, other_queries, "node 'head.queries': its parameter has another number of rows" },
    { &arch_classifier, other_mean, "node 'head.mean': it has nothing to average with" },
    { &arch_dinov3, other_scale, "graph: parameter 'head.bn.scale' has no shape or no source" },
};

static void broken_graphs_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vs_graph *g = graph_of(wrong[i].arch);
        vs_error err = { 0 };
        assert_int_equal(vs_graph_check(g, &err), VS_OK); /* a second time, too */
        wrong[i].edit(g);
        check_error(vs_graph_check(g, &err), &err, VS_ERR_FORMAT, wrong[i].message);
        vs_graph_free(g);
    }
}

/* ---- what a graph tells */

static void names_are_unique(void **state) {
    (void)state;
    for (size_t a = 0; a < ARCHS; a++) {
        vs_graph *g = graph_of(archs[a]);
        for (size_t i = 0; i < g->param_count; i++) assert_int_equal(vs_graph_param(g, g->params[i].name), i);
        for (size_t i = 0; i < g->node_count; i++)
            for (size_t k = 0; k < i && g->nodes[i].shown != VS_SHOW_NOTHING; k++)
                if (g->nodes[k].shown != VS_SHOW_NOTHING && strcmp(g->nodes[k].label, g->nodes[i].label) == 0)
                    fail_msg("arch %zu: '%s' is there twice", a, g->nodes[i].label);
        vs_graph_free(g);
    }
}

static void layers_know_what_stands_in_front(void **state) {
    (void)state;
    vs_graph *g = graph_of(&arch_dinov3);
    const size_t qkv = vs_graph_find(g, VS_KIND_QKV, 1);
    for (vs_kind kind = VS_KIND_QKV; kind <= VS_KIND_V; kind++)
        assert_int_equal(vs_graph_linear_of(g, vs_graph_find(g, kind, 1)), qkv);
    assert_int_equal(vs_graph_linear_of(g, vs_graph_find(g, VS_KIND_BLOCK, 1)), VS_NONE);
    assert_string_equal(g->nodes[vs_graph_norm_of(g, qkv)].name, "blocks.1.norm1");
    assert_string_equal(g->nodes[vs_graph_norm_of(g, vs_graph_find(g, VS_KIND_FC1, 1))].name, "blocks.1.norm2");
    assert_int_equal(vs_graph_norm_of(g, vs_graph_find(g, VS_KIND_FC2, 1)), VS_NONE);
    assert_int_equal(vs_graph_norm_of(g, vs_graph_find(g, VS_KIND_HEAD, -1)), VS_NONE);
    assert_int_equal(g->nodes[qkv].segment, vs_graph_block(g, 1));
    /* of a norm that two layers read, neither may change it */
    read_from(g, "blocks.1.attn.proj", 0, "blocks.1.norm1");
    vs_error err = { 0 };
    assert_int_equal(vs_graph_check(g, &err), VS_OK);
    assert_int_equal(vs_graph_norm_of(g, qkv), VS_NONE);
    assert_int_equal(vs_graph_norm_of(g, vs_graph_find(g, VS_KIND_PROJ, 1)), VS_NONE);
    vs_graph_free(g);
}

/* docs/study.md 1. */
static void multiply_accumulates_are_those_of_the_formulas(void **state) {
    (void)state;
    const vs_arch *a = &arch_vit_s;
    vs_graph *g = graph_of(a);
    const size_t patches = 16 * 16;
    const double n = 256, t = 257, c = 384, f = 1536;
    double sum = 0, of_kind[VS_KIND_NONE + 1] = { 0 };
    for (size_t i = 0; i < g->node_count; i++) {
        sum += vs_node_macs(g, i, patches);
        of_kind[g->nodes[i].kind] += vs_node_macs(g, i, patches);
    }
    check_close(of_kind[VS_KIND_PATCH_EMBED], n * 3 * 14 * 14 * c, 0);
    check_close(of_kind[VS_KIND_QKV], 12 * t * c * 3 * c, 0);
    check_close(of_kind[VS_KIND_Q], 12 * t * t * c / 2, 0);
    check_close(of_kind[VS_KIND_K], 12 * t * t * c / 2, 0);
    check_close(of_kind[VS_KIND_V], 12 * t * t * c, 0);
    check_close(of_kind[VS_KIND_P], 0, 0);
    check_close(of_kind[VS_KIND_PROJ], 12 * t * c * c, 0);
    check_close(of_kind[VS_KIND_FC1], 12 * t * c * f, 0);
    check_close(of_kind[VS_KIND_FC2], 12 * t * f * c, 0);
    check_close(sum, n * 588 * c + 12 * (12 * t * c * c + 2 * t * t * c), 0);
    vs_graph_free(g);
}

/* A head's are its own rows': queries, and patches upscaled. */
static void multiply_accumulates_of_a_mask_head(void **state) {
    (void)state;
    vs_graph *g = graph_of(&arch_eomt);
    static const struct {
        vs_kind kind;
        double macs;
    } want[] = { { VS_KIND_HEAD, 3 * 16 * 6 },
                 { VS_KIND_MASK2, 3 * 16 * 16 },
                 { VS_KIND_UP1, 4 * 16 * 64 },
                 { VS_KIND_UP2, 4 * 4 * 16 * 64.0 },
                 { VS_KIND_LOGITS, 0 } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        check_close(vs_node_macs(g, vs_graph_find(g, want[i].kind, -1), 4), want[i].macs, 0);
    /* the queries pass through the last blocks */
    check_close(vs_node_macs(g, vs_graph_find(g, VS_KIND_PROJ, 1), 4), 6 * 16 * 16, 0);
    check_close(vs_node_macs(g, vs_graph_find(g, VS_KIND_PROJ, 2), 4), 9 * 16 * 16, 0);
    vs_graph_free(g);
}

static void large_graphs_take_no_time(void **state) {
    (void)state;
    vs_arch deep = arch_vit_l;
    for (size_t depth = 24; depth <= 1200; depth *= 50) {
        deep.depth = depth;
        const clock_t start = clock();
        vs_graph *g = graph_of(&deep);
        print_message("%zu blocks: %zu nodes in %.1f ms\n", depth, g->node_count,
                      1e3 * (double)(clock() - start) / CLOCKS_PER_SEC);
        vs_graph_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(rules_count_and_name_rows),
                                        cmocka_unit_test(rules_are_found_in_others),
                                        cmocka_unit_test(what_follows_is_filled_in),
                                        cmocka_unit_test(an_empty_graph_is_refused),
                                        cmocka_unit_test(broken_graphs_are_refused),
                                        cmocka_unit_test(memory_may_end_anywhere),
                                        cmocka_unit_test(names_are_unique),
                                        cmocka_unit_test(layers_know_what_stands_in_front),
                                        cmocka_unit_test(multiply_accumulates_are_those_of_the_formulas),
                                        cmocka_unit_test(multiply_accumulates_of_a_mask_head),
                                        cmocka_unit_test(large_graphs_take_no_time) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
