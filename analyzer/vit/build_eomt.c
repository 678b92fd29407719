/* EoMT (docs/vit-models.md 5.6): queries pass through the last blocks with the tokens. Of the final-normed rows, a query gives a
 * class and, by a small MLP, the vector whose product with an upscaled patch is that pixel's mask logit. */
#include <stdio.h>

#include "vit/build_vit.h"

#define ONE(value) .in = { (value) }, .in_count = 1
#define NO_PARAMS                                                                                                                \
    { VS_NONE, VS_NONE, VS_NONE }

static vs_row_part queries_of(const vs_vit *v) {
    return (vs_row_part){ .name = "query", .numbered = true, .count = v->arch->queries };
}

size_t vs_eomt_join(vs_vit *v, size_t x) {
    vs_row_rule rows = { .parts = { queries_of(v) }, .part_count = 1 };
    const vs_row_rule tokens = v->b.failed ? rows : v->b.graph->rules[v->tokens];
    for (size_t i = 0; i < tokens.part_count && rows.part_count < VS_ROW_PARTS; i++)
        rows.parts[rows.part_count++] = tokens.parts[i];
    v->tokens = vs_build_rule(&v->b, rows);
    const size_t queries = vs_build_param(&v->b, "head.queries", "", v->arch->queries, v->arch->width, false);
    const vs_node n = { .op = VS_OP_JOIN, ONE(x), .param = { queries, VS_NONE, VS_NONE } };
    return vs_build_node(&v->b, n, "head.queries", v->tokens, vs_build_cols_of(&v->b, x), x);
}

/* Image by image: a product of few rows may depend on their number in its last bits. */
static size_t linear(vs_vit *v, const char *name, vs_kind kind, size_t x, size_t out) {
    const size_t y = vs_build_linear(&v->b, name, kind, x, out);
    if (vs_build_last(&v->b)) vs_build_last(&v->b)->by_image = true;
    return y;
}

static size_t mask_head(vs_vit *v, size_t x) {
    const size_t c = v->arch->width;
    x = linear(v, "head.mask_head.0", VS_KIND_MASK1, x, c);
    x = linear(v, "head.mask_head.2", VS_KIND_MASK2, vs_build_same(&v->b, VS_OP_GELU, "head.mask_head.1.gelu", x, false), c);
    return linear(v, "head.mask_head.4", VS_KIND_MASK3, vs_build_same(&v->b, VS_OP_GELU, "head.mask_head.3.gelu", x, false), c);
}

/* A transposed convolution of stride 2 as a product and four cells placed for one, GELU, 3x3 in each channel, norm. */
static size_t upscale(vs_vit *v, size_t x, size_t level) {
    static const double eps = 1e-5; /* whatever the backbone's */
    const size_t c = v->arch->width;
    char conv1[40], act[40], conv2[40], norm[40];
    (void)snprintf(conv1, sizeof conv1, "head.upscale.%zu.conv1", level);
    (void)snprintf(act, sizeof act, "head.upscale.%zu.act", level);
    (void)snprintf(conv2, sizeof conv2, "head.upscale.%zu.conv2", level);
    (void)snprintf(norm, sizeof norm, "head.upscale.%zu.norm", level);
    const size_t cells =
        vs_build_rule(&v->b, (vs_row_rule){ .parts = { { .name = "pixel", .level = level + 1 } }, .part_count = 1 });
    const size_t four = linear(v, conv1, (vs_kind)(VS_KIND_UP1 + level), x, 4 * c);
    const vs_node place = { .op = VS_OP_UNFOLD, ONE(four), .param = NO_PARAMS, .level = level };
    const size_t wide = vs_build_passing(&v->b, vs_build_node(&v->b, place, conv1, cells, (vs_extent){ c, 0 }, VS_NONE)),
                 active = vs_build_same(&v->b, VS_OP_GELU, act, wide, true);
    const size_t kernel = vs_build_param(&v->b, conv2, ".weight", 9, c, false);
    const vs_node convolve = { .op = VS_OP_DEPTHWISE, ONE(active), .param = { kernel, VS_NONE, VS_NONE }, .level = level + 1 };
    const size_t y = vs_build_node(&v->b, convolve, conv2, cells, (vs_extent){ c, 0 }, VS_NONE);
    const size_t gain = vs_build_param(&v->b, norm, ".weight", 1, c, false),
                 shift = vs_build_param(&v->b, norm, ".bias", 1, c, false);
    const vs_node n = { .op = VS_OP_LAYERNORM, ONE(y), .param = { gain, shift, VS_NONE }, .eps = eps };
    return vs_build_node(&v->b, n, norm, cells, (vs_extent){ c, 0 }, y);
}

size_t vs_eomt_head(vs_vit *v, size_t normed) {
    const vs_arch *a = v->arch;
    const size_t queries = vs_build_rule(&v->b, (vs_row_rule){ .parts = { queries_of(v) }, .part_count = 1 });
    const size_t classes =
        linear(v, "head.class_head", VS_KIND_HEAD, vs_build_rows(&v->b, "head.class_rows", normed, queries), a->classes + 1);
    /* rows of their own: a quantizer in front of one linear must not be seen by the other */
    const size_t vectors = mask_head(v, vs_build_rows(&v->b, "head.mask_rows", normed, queries));
    const vs_row_rule grid = { .parts = { { .name = "pixel" } }, .part_count = 1 };
    size_t pixels = vs_build_rows(&v->b, "head.patch_rows", normed, vs_build_rule(&v->b, grid));
    for (size_t level = 0; level < a->upscales; level++) pixels = upscale(v, pixels, level);
    const vs_node product = { .op = VS_OP_PRODUCT, .in = { pixels, vectors }, .in_count = 2, .param = NO_PARAMS };
    const size_t masks =
        vs_build_node(&v->b, product, "head.einsum", vs_build_rule_of(&v->b, pixels), (vs_extent){ a->queries, 0 }, VS_NONE);
    vs_build_show(&v->b, VS_KIND_MASKS, VS_SHOW_OUTPUT, "masks");
    const size_t probs = vs_build_same(&v->b, VS_OP_SOFTMAX, "head.class_probs", classes, false);
    const vs_node score = { .op = VS_OP_SCORES, .in = { masks, probs }, .in_count = 2, .param = NO_PARAMS };
    const size_t y =
        vs_build_node(&v->b, score, "head.scores", vs_build_rule_of(&v->b, masks), (vs_extent){ a->classes, 0 }, VS_NONE);
    vs_build_show(&v->b, VS_KIND_LOGITS, VS_SHOW_OUTPUT, "logits");
    return y;
}
