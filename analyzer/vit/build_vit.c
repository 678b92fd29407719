/* A Vision Transformer, one operation a line (docs/vit-models.md 2.2 to 2.6). */
#include "vit/build_vit.h"

#include <stdio.h>

#define ONE(value) .in = { (value) }, .in_count = 1
#define NO_PARAMS                                                                                                                \
    { VS_NONE, VS_NONE, VS_NONE }

/* A model whose heads nobody knows can be looked at, not run. */
static size_t heads_of(const vs_arch *a) { return a->heads ? a->heads : 1; }

/* ---- embedding */

static void make_rules(vs_vit *v) {
    const vs_arch *a = v->arch;
    const vs_row_part patch = { .name = "patch" };
    vs_row_rule tokens = { .parts = { { .name = "cls", .count = 1 } }, .part_count = 1 };
    if (a->distilled)
        tokens.parts[tokens.part_count++] = (vs_row_part){ .name = "dist", .count = 1 };
    else if (a->registers)
        tokens.parts[tokens.part_count++] = (vs_row_part){ .name = "reg", .numbered = true, .count = a->registers };
    tokens.parts[tokens.part_count++] = patch;
    v->patches = vs_build_rule(&v->b, (vs_row_rule){ .parts = { patch }, .part_count = 1 });
    v->tokens = vs_build_rule(&v->b, tokens);
}

/* Class token and registers in front of the patches, with learned positions where the model has them. */
static size_t put_tokens(vs_vit *v, size_t patches) {
    const vs_arch *a = v->arch;
    const size_t c = a->width, prefix = 1 + a->registers;
    const bool learned = a->position != VS_POSITION_ROPE;
    const size_t cls = vs_build_param(&v->b, "cls_token", "", 1, c, false),
                 reg = a->registers ? vs_build_param(&v->b, "register_tokens", "", a->registers, c, false) : VS_NONE,
                 pos = learned ? vs_build_param(&v->b, "pos_embed", "", a->prefix_positions + a->grid * a->grid, c, false)
                               : VS_NONE;
    const size_t from[VS_FOLD_SOURCES] = { cls, reg, a->prefix_positions ? pos : VS_NONE, VS_NONE };
    const size_t with = vs_build_fold(&v->b, "prefix", VS_FOLD_PREFIX, prefix, c, from, 0),
                 tokens = vs_build_fold(&v->b, "prefix.tokens", VS_FOLD_TOKENS, prefix, c, from, 0),
                 positions = vs_build_fold(&v->b, "prefix.positions", VS_FOLD_POSITIONS, prefix, c, from, 0);
    const size_t grid = learned ? vs_build_given(&v->b, VS_GIVEN_POSITIONS, v->patches, (vs_extent){ c, 0 }, pos) : VS_NONE;
    const vs_node n = {
        .op = VS_OP_TOKENS, .in = { patches, grid }, .in_count = learned ? 2 : 1, .param = { with, tokens, positions }
    };
    const size_t x = vs_build_node(&v->b, n, "tokens", v->tokens, (vs_extent){ c, 0 }, VS_NONE);
    vs_build_show(&v->b, VS_KIND_EMBED, VS_SHOW_OUTPUT, "embed");
    return x;
}

static size_t embed(vs_vit *v) {
    const vs_arch *a = v->arch;
    const size_t p = a->patch, half = a->width / heads_of(a) / 2;
    const size_t channels =
        vs_build_rule(&v->b, (vs_row_rule){ .parts = { { .name = "channel", .numbered = true, .count = 3 } }, .part_count = 1 });
    const size_t pixels = vs_build_given(&v->b, VS_GIVEN_PIXELS, channels, (vs_extent){ 0, p * p }, VS_NONE);
    const vs_node patchify = { .op = VS_OP_PATCHIFY, ONE(pixels), .param = NO_PARAMS, .patch = p };
    const size_t patches = vs_build_node(&v->b, patchify, "patches", v->patches, (vs_extent){ 3 * p * p, 0 }, VS_NONE);
    const size_t embedded = vs_build_linear(&v->b, "patch_embed.proj", VS_KIND_PATCH_EMBED, patches, a->width);
    const size_t x = put_tokens(v, embedded);
    if (a->position == VS_POSITION_ROPE) {
        const size_t periods = vs_build_param(&v->b, "rope_embed.periods", "", 1, half / 2 ? half / 2 : 1, false);
        v->cosines = vs_build_given(&v->b, VS_GIVEN_COSINES, v->patches, (vs_extent){ half, 0 }, periods);
        v->sines = vs_build_given(&v->b, VS_GIVEN_SINES, v->patches, (vs_extent){ half, 0 }, periods);
    }
    return x;
}

/* ---- a block */

static size_t rotate(vs_vit *v, const char *name, size_t x) {
    const vs_node n = {
        .op = VS_OP_ROPE, .in = { x, v->cosines, v->sines }, .in_count = 3, .param = NO_PARAMS, .heads = heads_of(v->arch)
    };
    return vs_build_node(&v->b, n, name, vs_build_rule_of(&v->b, x), vs_build_cols_of(&v->b, x), VS_NONE);
}

/* softmax(q k^T / sqrt(D)), kept where a session wants to see it. */
static size_t probabilities(vs_vit *v, size_t q, size_t k) {
    vs_row_rule rows = { 0 };
    vs_extent tokens = { 0, 0 };
    if (!v->b.failed) rows = v->b.graph->rules[vs_build_rule_of(&v->b, q)];
    for (size_t i = 0; i < rows.part_count; i++) {
        tokens.fixed += rows.parts[i].count;
        tokens.cells += rows.parts[i].count == 0;
    }
    rows.times = heads_of(v->arch);
    const vs_node n = { .op = VS_OP_PROBS, .in = { q, k }, .in_count = 2, .param = NO_PARAMS, .heads = heads_of(v->arch) };
    const size_t p = vs_build_node(&v->b, n, "attn.probs", vs_build_rule(&v->b, rows), tokens, VS_NONE);
    if (!v->b.failed) v->b.graph->values[p].optional = true;
    return p;
}

static size_t attention(vs_vit *v, size_t x) {
    const size_t c = v->arch->width, heads = heads_of(v->arch);
    const size_t qkv = vs_build_linear(&v->b, "attn.qkv", VS_KIND_QKV, x, 3 * c);
    size_t q = vs_build_view(&v->b, qkv, 0, c), k = vs_build_view(&v->b, qkv, c, c);
    const size_t values = vs_build_view(&v->b, qkv, 2 * c, c);
    if (v->arch->position == VS_POSITION_ROPE) {
        q = rotate(v, "rope.q", q);
        k = rotate(v, "rope.k", k);
    }
    q = vs_build_operand(&v->b, "attn.q", VS_KIND_Q, q, heads);
    k = vs_build_operand(&v->b, "attn.k", VS_KIND_K, k, heads);
    const size_t w = vs_build_operand(&v->b, "attn.v", VS_KIND_V, values, heads);
    const size_t p = vs_build_operand(&v->b, "attn.p", VS_KIND_P, probabilities(v, q, k), heads);
    const vs_node n = { .op = VS_OP_ATTENTION, .in = { q, k, w, p }, .in_count = 4, .param = NO_PARAMS, .heads = heads };
    const size_t y = vs_build_node(&v->b, n, "attn.pv", vs_build_rule_of(&v->b, q), (vs_extent){ c, 0 }, VS_NONE);
    return vs_build_linear(&v->b, "attn.proj", VS_KIND_PROJ, y, c);
}

/* fc2(gelu(fc1 x)), or w3(silu(x1) * x2) of [x1 | x2] = w12 x. */
static size_t feed_forward(vs_vit *v, size_t x) {
    const vs_arch *a = v->arch;
    if (a->ffn != VS_FFN_SWIGLU) {
        const vs_op gelu = a->ffn == VS_FFN_GELU_TANH ? VS_OP_GELU_TANH : VS_OP_GELU;
        const size_t hidden = vs_build_linear(&v->b, "mlp.fc1", VS_KIND_FC1, x, a->hidden);
        return vs_build_linear(&v->b, "mlp.fc2", VS_KIND_FC2, vs_build_same(&v->b, gelu, "mlp.gelu", hidden, false), a->width);
    }
    const size_t both = vs_build_linear(&v->b, "mlp.w12", VS_KIND_FC1, x, 2 * a->hidden);
    if (vs_build_last(&v->b)) vs_build_last(&v->b)->halves = a->gate_apart;
    const vs_node n = { .op = VS_OP_SILU_MUL, ONE(both), .param = NO_PARAMS };
    const size_t gated = vs_build_node(&v->b, n, "mlp.silu", vs_build_rule_of(&v->b, x), (vs_extent){ a->hidden, 0 }, VS_NONE);
    return vs_build_linear(&v->b, "mlp.w3", VS_KIND_FC2, gated, a->width);
}

static size_t layer_scale(vs_vit *v, const char *name) {
    return v->arch->layer_scale ? vs_build_param(&v->b, name, "", 1, v->arch->width, false) : VS_NONE;
}

/* x + ls1 attention(norm1 x), then x + ls2 mlp(norm2 x). */
static size_t block(vs_vit *v, size_t x, size_t index) {
    char name[32];
    v->b.block = (int)index;
    const size_t attended = attention(v, vs_build_layernorm(&v->b, "norm1", x, v->arch->eps));
    x = vs_build_add(&v->b, "add1", x, attended, layer_scale(v, "ls1"));
    const size_t fed = feed_forward(v, vs_build_layernorm(&v->b, "norm2", x, v->arch->eps));
    x = vs_build_add(&v->b, "add2", x, fed, layer_scale(v, "ls2"));
    (void)snprintf(name, sizeof name, "blocks.%zu", index);
    vs_build_show(&v->b, VS_KIND_BLOCK, VS_SHOW_OUTPUT, name);
    vs_vit_collect(v, x, index);
    v->b.block = -1;
    return x;
}

/* ---- the whole */

vs_status vs_vit_graph(vs_graph **out, const vs_arch *a, vs_error *err) {
    vs_vit v = { .arch = a, .norm_g = VS_NONE, .norm_b = VS_NONE, .prefix_g = VS_NONE, .prefix_b = VS_NONE };
    *out = NULL;
    vs_status status = vs_build_begin(&v.b, err);
    if (status != VS_OK) return status;
    make_rules(&v);
    size_t x = embed(&v);
    for (size_t i = 0; i < a->depth; i++) {
        if (a->queries && i + a->joint_blocks == a->depth) x = vs_eomt_join(&v, x);
        vs_build_segment(&v.b, x);
        x = block(&v, x, i);
    }
    vs_build_segment(&v.b, x);
    vs_vit_head(&v, x);
    vs_build_segment(&v.b, VS_NONE);
    return vs_build_end(&v.b, out, err);
}
