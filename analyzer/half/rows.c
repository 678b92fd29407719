#include <stdio.h>

#include "half/half.h"

static const size_t FIRST = VS_ROW_BLOCK_FIRST, LAST = VS_ROW_BLOCK_LAST, IN_BLOCK = VS_ROW_BLOCK_LAST - VS_ROW_BLOCK_FIRST + 1;

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

size_t vs_half_output_index(const vs_arch *a) {
    switch (a->head) {
    case VS_HEAD_NONE: return vs_half_row_index(a, a->prefix_norm ? VS_ROW_NORM_CAT : VS_ROW_NORM + VS_NORM_OUT, 0);
    case VS_HEAD_EOMT: return vs_half_row_index(a, VS_ROW_CLASS_SCORES, 0);
    default: return vs_half_row_index(a, VS_ROW_HEAD_CONV, 0);
    }
}

vs_half_row vs_half_up_row(size_t upscale, size_t part) { return (vs_half_row)(VS_ROW_UP + upscale * VS_UP_ROWS + part); }

/* ---- names ---- */

/* Rows that belong to one operation and begin with `first`. */
typedef struct group {
    vs_half_row first;
    const char *name;
} group;

#define UP_ROW(u, part) ((vs_half_row)(VS_ROW_UP + (u)*VS_UP_ROWS + (part)))

static const group norms[] = { { VS_ROW_NORM1, "norm1" },
                               { VS_ROW_NORM2, "norm2" },
                               { VS_ROW_MAP_PREFIX_NORM, "cls_norm" },
                               { VS_ROW_MAP_NORM, "norm" },
                               { VS_ROW_PREFIX_NORM, "cls_norm" },
                               { VS_ROW_NORM, "norm" },
                               { UP_ROW(0, VS_UP_NORM), "head.upscale.0.norm" },
                               { UP_ROW(1, VS_UP_NORM), "head.upscale.1.norm" },
                               { UP_ROW(2, VS_UP_NORM), "head.upscale.2.norm" } };
static const group gelus[] = { { VS_ROW_GELU_DIV, "mlp.gelu" },
                               { VS_ROW_MASK_GELU1, "head.mask_head.1.gelu" },
                               { VS_ROW_MASK_GELU2, "head.mask_head.3.gelu" },
                               { UP_ROW(0, VS_UP_ACT), "head.upscale.0.act" },
                               { UP_ROW(1, VS_UP_ACT), "head.upscale.1.act" },
                               { UP_ROW(2, VS_UP_ACT), "head.upscale.2.act" } };
static const char *const norm_parts[VS_NORM_ROWS] = { "mean", "center", "square", "var", "eps", "std", "div", "mul", "out" };
static const char *const gelu_parts[VS_GELU_ROWS] = { "div", "erf", "one", "mul", "out" };

static const group *find(const group *groups, size_t count, size_t length, vs_half_row row) {
    for (size_t i = 0; i < count; i++)
        if (row >= groups[i].first && (size_t)(row - groups[i].first) < length) return &groups[i];
    return NULL;
}

static const group *norm_with(vs_half_row row) { return find(norms, sizeof norms / sizeof *norms, VS_NORM_ROWS, row); }
static const group *gelu_with(vs_half_row row) { return find(gelus, sizeof gelus / sizeof *gelus, VS_GELU_ROWS, row); }

vs_half_row vs_half_norm_of(vs_half_row row) {
    const group *norm = norm_with(row);
    return norm ? norm->first : VS_ROW_COUNT;
}

vs_half_row vs_half_gelu_of(vs_half_row row) {
    const group *gelu = gelu_with(row);
    return gelu ? gelu->first : VS_ROW_COUNT;
}

static const char *swiglu_name(const vs_arch *a, vs_half_row row) {
    if (row == VS_ROW_FC2) return "mlp.w3";
    return a->gate_apart ? "mlp.w1" : "mlp.w12";
}

static const char *head_name(const vs_arch *a) {
    return a->head == VS_HEAD_EOMT ? "head.class_head" : a->head == VS_HEAD_CLASSIFIER ? "head.fc" : "head.conv_seg";
}

static const char *plain_name(const vs_arch *a, const vs_policy_config *policy, vs_half_row row) {
    switch (row) {
    case VS_ROW_PATCH_EMBED: return "patch_embed.proj";
    case VS_ROW_TOKENS: return "tokens";
    case VS_ROW_POS_ADD: return "pos_add";
    case VS_ROW_QUERIES: return "head.queries";
    case VS_ROW_QKV: return "attn.qkv";
    case VS_ROW_ROPE_Q: return "rope.q";
    case VS_ROW_ROPE_K: return "rope.k";
    case VS_ROW_QSCALE: return "attn.qscale";
    case VS_ROW_KSCALE: return "attn.kscale";
    case VS_ROW_SCORES: return "attn.scores";
    case VS_ROW_SCALE: return "attn.scale";
    case VS_ROW_SOFTMAX_SUB: return "attn.softmax.sub";
    case VS_ROW_SOFTMAX_EXP: return "attn.softmax.exp";
    case VS_ROW_SOFTMAX: return policy->softmax == VS_SOFTMAX_HALF ? "attn.softmax.out" : "attn.softmax";
    case VS_ROW_PV: return "attn.pv";
    case VS_ROW_PROJ: return "attn.proj";
    case VS_ROW_LS1: return "ls1";
    case VS_ROW_ADD1: return "add1";
    case VS_ROW_FC1: return a->ffn == VS_FFN_SWIGLU ? swiglu_name(a, row) : "mlp.fc1";
    case VS_ROW_W2: return "mlp.w2";
    case VS_ROW_SIGMOID: return "mlp.silu.sigmoid";
    case VS_ROW_SILU: return policy->gelu == VS_OPERATION_DECOMPOSED ? "mlp.silu.mul" : "mlp.silu";
    case VS_ROW_GATE: return "mlp.gate";
    case VS_ROW_FC2: return a->ffn == VS_FFN_SWIGLU ? swiglu_name(a, row) : "mlp.fc2";
    case VS_ROW_LS2: return "ls2";
    case VS_ROW_ADD2: return "add2";
    case VS_ROW_NORM_CAT: return "norm.cat";
    case VS_ROW_HEAD_MEAN: return "head.mean";
    case VS_ROW_HEAD_BN: return "head.bn";
    case VS_ROW_HEAD_CONV: return head_name(a);
    case VS_ROW_MASK1: return "head.mask_head.0";
    case VS_ROW_MASK2: return "head.mask_head.2";
    case VS_ROW_MASK3: return "head.mask_head.4";
    case VS_ROW_EINSUM: return "head.einsum";
    default: return "head.scores";
    }
}

/* Convolutions of upscale blocks, whose norms and activations are groups. */
static bool name_convolution(vs_half_row row, char *text, size_t size) {
    if (row < VS_ROW_UP || row >= VS_ROW_EINSUM) return false;
    const size_t u = (size_t)(row - VS_ROW_UP) / VS_UP_ROWS, part = (size_t)(row - VS_ROW_UP) % VS_UP_ROWS;
    snprintf(text, size, "head.upscale.%zu.%s", u, part == VS_UP_CONV1 ? "conv1" : "conv2");
    return true;
}

void vs_half_row_name(const vs_arch *a, const vs_policy_config *policy, size_t index, char *text, size_t size) {
    int block = -1;
    const vs_half_row row = vs_half_row_at(a, index, &block);
    const group *norm = norm_with(row), *gelu = gelu_with(row);
    char where[32] = "";
    if (block >= 0 && row != VS_ROW_QUERIES) snprintf(where, sizeof where, "blocks.%d.", block);
    if (norm)
        snprintf(text, size, "%s%s.%s", where, norm->name, norm_parts[row - norm->first]);
    else if (gelu && policy->gelu != VS_OPERATION_DECOMPOSED && row - gelu->first == VS_GELU_OUT)
        snprintf(text, size, "%s%s", where, gelu->name);
    else if (gelu)
        snprintf(text, size, "%s%s.%s", where, gelu->name, gelu_parts[row - gelu->first]);
    else if (!name_convolution(row, text, size))
        snprintf(text, size, "%s%s", where, plain_name(a, policy, row));
}

/* ---- places ---- */

static void name_pixel(size_t row, size_t width, char *text, size_t size) {
    snprintf(text, size, "pixel(%zu,%zu)", row / width, row % width);
}

/* Of EoMT's head; false elsewhere. */
static bool name_head_place(const vs_arch *a, vs_half_row r, size_t row, size_t grid_w, char *text, size_t size) {
    if (r < VS_ROW_HEAD_CONV || a->head != VS_HEAD_EOMT) return false;
    if (r >= VS_ROW_EINSUM)
        name_pixel(row, grid_w << a->upscales, text, size);
    else if (r >= VS_ROW_UP) /* conv1's result counts where its pixels stand */
        name_pixel(row, grid_w << ((size_t)(r - VS_ROW_UP) / VS_UP_ROWS + 1), text, size);
    else
        snprintf(text, size, "query%zu", row);
    return true;
}

size_t vs_half_queries_at(const vs_arch *a, size_t block) { return block + a->joint_blocks >= a->depth ? a->queries : 0; }

static void name_token(const vs_arch *a, size_t row, size_t grid_w, char *text, size_t size) {
    const size_t prefix = 1 + a->registers;
    if (row == 0)
        (void)snprintf(text, size, "cls");
    else if (row < prefix && a->distilled)
        (void)snprintf(text, size, "dist");
    else if (row < prefix)
        (void)snprintf(text, size, "reg%zu", row - 1);
    else
        (void)snprintf(text, size, "patch(%zu,%zu)", (row - prefix) / grid_w, (row - prefix) % grid_w);
}

static bool is_of_patches(const vs_arch *a, vs_half_row r, vs_half_row norm) {
    const bool split = a->prefix_norm && !a->queries; /* patches have a norm of their own */
    if (a->head == VS_HEAD_SEGMENTATION && (r == VS_ROW_HEAD_BN || r == VS_ROW_HEAD_CONV)) return true;
    return r == VS_ROW_PATCH_EMBED || (split && (norm == VS_ROW_NORM || norm == VS_ROW_MAP_NORM));
}

void vs_half_place_name(const vs_arch *a, size_t index, size_t row, size_t grid_w, size_t tokens, char *text, size_t size) {
    int block = -1;
    const vs_half_row r = vs_half_row_at(a, index, &block), norm = vs_half_norm_of(r);
    const size_t queries = block >= 0 ? vs_half_queries_at(a, (size_t)block) : norm == VS_ROW_NORM ? a->queries : 0;
    if (name_head_place(a, r, row, grid_w, text, size)) return;
    if (r >= VS_ROW_SCORES && r <= VS_ROW_SOFTMAX) row %= tokens - a->queries + queries; /* head by head */
    if (is_of_patches(a, r, norm)) row += 1 + a->registers;
    if (r == VS_ROW_HEAD_MEAN)
        snprintf(text, size, "mean of patches");
    else if (row < queries)
        snprintf(text, size, "query%zu", row);
    else
        name_token(a, row - queries, grid_w, text, size);
}
