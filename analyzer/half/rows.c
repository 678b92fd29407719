#include <stdio.h>

#include "half.h"

static const size_t FIRST = VS_ROW_NORM1, LAST = VS_ROW_ADD2, IN_BLOCK = VS_ROW_ADD2 - VS_ROW_NORM1 + 1;

size_t vs_half_row_count(const vs_arch *a) { return VS_ROW_COUNT - IN_BLOCK + a->depth * IN_BLOCK; }

size_t vs_half_row_index(const vs_arch *a, vs_half_row row, size_t block) {
    const size_t at = (size_t)row;
    if (at < FIRST) return at;
    return at > LAST ? at + (a->depth - 1) * IN_BLOCK : at + block * IN_BLOCK;
}

vs_half_row vs_half_row_at(const vs_arch *a, size_t index, int *block) {
    *block = -1;
    if (index < FIRST) return (vs_half_row)index;
    if (index >= FIRST + a->depth * IN_BLOCK) return (vs_half_row)(index - (a->depth - 1) * IN_BLOCK);
    *block = (int)((index - FIRST) / IN_BLOCK);
    return (vs_half_row)(FIRST + (index - FIRST) % IN_BLOCK);
}

static const char *const norm_names[VS_NORM_ROWS] = { "mean", "center", "square", "var", "eps", "std", "div", "mul", "out" };

static const char *plain_name(vs_half_row row) {
    switch (row) {
    case VS_ROW_PATCH_EMBED: return "patch_embed.proj";
    case VS_ROW_TOKENS: return "tokens";
    case VS_ROW_POS_ADD: return "pos_add";
    case VS_ROW_QKV: return "attn.qkv";
    case VS_ROW_ROPE_Q: return "rope.q";
    case VS_ROW_ROPE_K: return "rope.k";
    case VS_ROW_QSCALE: return "attn.qscale";
    case VS_ROW_KSCALE: return "attn.kscale";
    case VS_ROW_SCORES: return "attn.scores";
    case VS_ROW_SCALE: return "attn.scale";
    case VS_ROW_SOFTMAX: return "attn.softmax";
    case VS_ROW_PV: return "attn.pv";
    case VS_ROW_PROJ: return "attn.proj";
    case VS_ROW_LS1: return "ls1";
    case VS_ROW_ADD1: return "add1";
    case VS_ROW_FC1: return "mlp.fc1";
    case VS_ROW_GELU_DIV: return "mlp.gelu.div";
    case VS_ROW_GELU_ERF: return "mlp.gelu.erf";
    case VS_ROW_GELU_ONE: return "mlp.gelu.one";
    case VS_ROW_GELU_MUL: return "mlp.gelu.mul";
    case VS_ROW_GELU_OUT: return "mlp.gelu.out";
    case VS_ROW_FC2: return "mlp.fc2";
    case VS_ROW_LS2: return "ls2";
    case VS_ROW_ADD2: return "add2";
    case VS_ROW_HEAD_BN: return "head.bn";
    default: return "head.conv_seg";
    }
}

/* The norm that a row belongs to; NULL: none. */
static const char *norm_of(vs_half_row row, size_t *part) {
    static const vs_half_row firsts[] = { VS_ROW_NORM1, VS_ROW_NORM2, VS_ROW_NORM };
    static const char *const names[] = { "norm1", "norm2", "norm" };
    for (size_t i = 0; i < 3; i++) {
        *part = (size_t)row - (size_t)firsts[i];
        if (row >= firsts[i] && *part < VS_NORM_ROWS) return names[i];
    }
    return NULL;
}

void vs_half_row_name(const vs_arch *a, const vs_policy_config *policy, size_t index, char *text, size_t size) {
    int block = -1;
    size_t part = 0;
    const vs_half_row row = vs_half_row_at(a, index, &block);
    char where[32] = "";
    if (block >= 0) snprintf(where, sizeof where, "blocks.%d.", block);
    const char *norm = norm_of(row, &part);
    const char *name = row == VS_ROW_GELU_OUT && policy->gelu != VS_OPERATION_DECOMPOSED ? "mlp.gelu" : plain_name(row);
    if (norm)
        snprintf(text, size, "%s%s.%s", where, norm, norm_names[part]);
    else
        snprintf(text, size, "%s%s", where, name);
}

vs_half_shape vs_half_row_shape(vs_half_row row) {
    switch (row) {
    case VS_ROW_PATCH_EMBED:
    case VS_ROW_HEAD_BN:
    case VS_ROW_HEAD_CONV: return VS_SHAPE_PATCHES;
    case VS_ROW_SCORES:
    case VS_ROW_SCALE:
    case VS_ROW_SOFTMAX: return VS_SHAPE_SCORES;
    default: return VS_SHAPE_TOKENS;
    }
}
