/* The final norm and the heads that read normed rows (docs/vit-models.md 2.6, 4.2, 5). */
#include "vit/build_vit.h"

#define NO_PARAMS                                                                                                                \
    { VS_NONE, VS_NONE, VS_NONE }

static void final_norm_params(vs_vit *v) {
    const int block = v->b.block;
    const size_t c = v->arch->width;
    if (v->norm_g != VS_NONE) return;
    v->b.block = -1; /* they are the model's, whichever block reads them */
    v->norm_g = vs_build_param(&v->b, "norm", ".weight", 1, c, false);
    v->norm_b = vs_build_param(&v->b, "norm", ".bias", 1, c, false);
    if (v->arch->prefix_norm) {
        v->prefix_g = vs_build_param(&v->b, "prefix_norm", ".weight", 1, c, false);
        v->prefix_b = vs_build_param(&v->b, "prefix_norm", ".bias", 1, c, false);
    }
    v->b.block = block;
}

size_t vs_vit_normalize(vs_vit *v, size_t x, bool passing) {
    const double eps = v->arch->eps;
    const size_t tokens = vs_build_rule_of(&v->b, x);
    final_norm_params(v);
    if (!v->arch->prefix_norm || v->arch->queries) { /* lightly-train's mask heads have one norm for all rows */
        const size_t y = vs_build_layernorm_rows(&v->b, "norm", v->norm_g, v->norm_b, x, tokens, eps);
        return passing ? vs_build_passing(&v->b, y) : y;
    }
    vs_row_rule prefix = { 0 };
    if (!v->b.failed) prefix = v->b.graph->rules[tokens];
    if (prefix.part_count) prefix.part_count--; /* all but the patches */
    const size_t front =
                     vs_build_layernorm_rows(&v->b, "cls_norm", v->prefix_g, v->prefix_b, x, vs_build_rule(&v->b, prefix), eps),
                 rest = vs_build_layernorm_rows(&v->b, "norm", v->norm_g, v->norm_b, x, v->patches, eps);
    const vs_node both = { .op = VS_OP_STACK,
                           .in = { vs_build_passing(&v->b, front), vs_build_passing(&v->b, rest) },
                           .in_count = 2,
                           .param = NO_PARAMS };
    const size_t y = vs_build_node(&v->b, both, "norm.cat", tokens, vs_build_cols_of(&v->b, x), VS_NONE);
    return passing ? vs_build_passing(&v->b, y) : y;
}

/* What the head reads of normed tokens: patches, or the class token. */
static size_t head_rows(vs_vit *v, size_t normed) {
    const vs_row_rule cls = { .parts = { { .name = "cls", .count = 1 } }, .part_count = 1 };
    return vs_build_rows(&v->b, "head.rows", normed,
                         v->arch->head == VS_HEAD_SEGMENTATION ? v->patches : vs_build_rule(&v->b, cls));
}

void vs_vit_collect(vs_vit *v, size_t x, size_t block) {
    const vs_arch *a = v->arch;
    if (a->head_maps < 2 || block < a->depth - a->head_maps || block + 1 == a->depth) return;
    v->maps[v->map_count++] = head_rows(v, vs_vit_normalize(v, x, true));
}

static size_t mean_of_patches(vs_vit *v, size_t normed) {
    const vs_row_rule one = { .parts = { { .name = "mean of patches", .count = 1 } }, .part_count = 1 };
    const size_t with = vs_build_given(&v->b, VS_GIVEN_MEAN, v->patches, (vs_extent){ 0, 1 }, VS_NONE);
    const vs_node n = { .op = VS_OP_MEAN, .in = { normed, with }, .in_count = 2, .param = NO_PARAMS };
    return vs_build_node(&v->b, n, "head.mean", vs_build_rule(&v->b, one), vs_build_cols_of(&v->b, normed), VS_NONE);
}

/* Maps side by side, the last block's behind those that were kept, then the mean. */
static size_t features(vs_vit *v, size_t normed) {
    const vs_arch *a = v->arch;
    vs_node n = { .op = VS_OP_CONCAT, .param = NO_PARAMS };
    for (size_t i = 0; i < v->map_count; i++) n.in[n.in_count++] = v->maps[i];
    const size_t mean = a->head_mean ? mean_of_patches(v, normed) : VS_NONE, last = head_rows(v, normed);
    n.in[n.in_count++] = last;
    if (a->head_mean) n.in[n.in_count++] = mean;
    if (n.in_count == 1) return last;
    (void)vs_build_passing(&v->b, last); /* no layer reads it, so no re-run begins behind it */
    return vs_build_node(&v->b, n, "head.features", vs_build_rule_of(&v->b, last), (vs_extent){ a->head_width, 0 }, VS_NONE);
}

static size_t batchnorm(vs_vit *v, size_t x) {
    static const double eps = 1e-5; /* PyTorch's default, docs/vit-models.md 5.1 */
    const size_t c = v->arch->head_width, gain = vs_build_param(&v->b, "head.bn", ".weight", 1, c, false),
                 shift = vs_build_param(&v->b, "head.bn", ".bias", 1, c, false),
                 mean = vs_build_param(&v->b, "head.bn", ".running_mean", 1, c, false),
                 variance = vs_build_param(&v->b, "head.bn", ".running_var", 1, c, false);
    const size_t from[VS_FOLD_SOURCES] = { gain, shift, mean, variance };
    const vs_node n = { .op = VS_OP_AFFINE,
                        .in = { x },
                        .in_count = 1,
                        .param = { vs_build_fold(&v->b, "head.bn.scale", VS_FOLD_SCALE, 1, c, from, eps),
                                   vs_build_fold(&v->b, "head.bn.shift", VS_FOLD_SHIFT, 1, c, from, eps), VS_NONE } };
    return vs_build_node(&v->b, n, "head.bn", vs_build_rule_of(&v->b, x), vs_build_cols_of(&v->b, x), x);
}

static size_t linear_head(vs_vit *v, size_t normed) {
    const vs_arch *a = v->arch;
    size_t x = features(v, normed);
    if (a->head_norm) x = batchnorm(v, x);
    x = vs_build_linear(&v->b, a->head == VS_HEAD_SEGMENTATION ? "head.conv_seg" : "head.fc", VS_KIND_HEAD, x, a->classes);
    x = vs_build_same(&v->b, VS_OP_RESULT, "logits", x, true);
    vs_build_show(&v->b, VS_KIND_LOGITS, VS_SHOW_OUTPUT, NULL);
    return x;
}

void vs_vit_head(vs_vit *v, size_t x) {
    const size_t normed = vs_vit_normalize(v, x, false);
    vs_build_show(&v->b, VS_KIND_NORM, VS_SHOW_OUTPUT, "norm");
    const size_t y = v->arch->head == VS_HEAD_NONE   ? normed
                     : v->arch->head == VS_HEAD_EOMT ? vs_eomt_head(v, normed)
                                                     : linear_head(v, normed);
    if (!v->b.failed) v->b.graph->output = y;
}
