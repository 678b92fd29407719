#include <math.h>
#include <stdio.h>

#include "util/util.h"
#include "vitscope/vit.h"

static const char *const kind_names[] = {
    [VS_KIND_PATCH_EMBED] = "patch_embed.proj",
    [VS_KIND_EMBED] = "embed",
    [VS_KIND_QKV] = "attn.qkv",
    [VS_KIND_Q] = "attn.q",
    [VS_KIND_K] = "attn.k",
    [VS_KIND_V] = "attn.v",
    [VS_KIND_P] = "attn.p",
    [VS_KIND_PROJ] = "attn.proj",
    [VS_KIND_FC1] = "mlp.fc1",
    [VS_KIND_FC2] = "mlp.fc2",
    [VS_KIND_BLOCK] = "block",
    [VS_KIND_NORM] = "norm",
    [VS_KIND_HEAD] = "head",
    [VS_KIND_MASK1] = "head.mask_head.0",
    [VS_KIND_MASK2] = "head.mask_head.2",
    [VS_KIND_MASK3] = "head.mask_head.4",
    [VS_KIND_UP1] = "head.upscale.0.conv1",
    [VS_KIND_UP2] = "head.upscale.1.conv1",
    [VS_KIND_UP3] = "head.upscale.2.conv1",
    [VS_KIND_MASKS] = "masks",
    [VS_KIND_LOGITS] = "logits",
};

const char *vs_kind_name(vs_kind kind) { return kind_names[kind]; }

const char *vs_arch_kind_name(const vs_arch *a, vs_kind kind) {
    if (a->ffn == VS_FFN_SWIGLU && kind == VS_KIND_FC1) return "mlp.w12";
    if (a->ffn == VS_FFN_SWIGLU && kind == VS_KIND_FC2) return "mlp.w3";
    return vs_kind_name(kind);
}

bool vs_kind_is_operand(vs_kind kind) { return kind >= VS_KIND_Q && kind <= VS_KIND_P; }

bool vs_kind_is_head(vs_kind kind) { return kind >= VS_KIND_HEAD && kind <= VS_KIND_UP3; }

bool vs_kind_is_linear(vs_kind kind) {
    return kind == VS_KIND_PATCH_EMBED || kind == VS_KIND_QKV || kind == VS_KIND_PROJ || kind == VS_KIND_FC1 ||
           kind == VS_KIND_FC2 || vs_kind_is_head(kind);
}

size_t vs_linear_names(const vs_linear *l, vs_kind kind, const char *names[VS_MAX_PARTS]) {
    if (l->fqn_count == 3 && kind >= VS_KIND_Q && kind <= VS_KIND_V) {
        names[0] = l->fqn[kind - VS_KIND_Q];
        return 1;
    }
    for (size_t i = 0; i < l->fqn_count; i++) names[i] = l->fqn[i];
    return l->fqn_count;
}

/* docs/study.md 1: a linear T*in*out, q and k T*T*C/2 each, v T*T*C. */
static double macs_of(const vs_model *m, vs_kind kind, int block, size_t tokens) {
    const vs_arch *a = &m->arch;
    const double t = (double)(tokens + (block < 0 ? 0 : vs_arch_queries_at(a, (size_t)block))), c = (double)m->arch.width;
    if (kind == VS_KIND_Q || kind == VS_KIND_K) return t * t * c / 2;
    if (kind == VS_KIND_V) return t * t * c;
    const vs_linear *l = vs_model_linear(m, kind, block);
    if (!l) return 0;
    const double patches = t - 1 - (double)m->arch.registers;
    double rows = t;
    if (kind == VS_KIND_PATCH_EMBED)
        rows = patches;
    else if (kind >= VS_KIND_UP1 && vs_kind_is_head(kind))
        rows = patches * pow(4, kind - VS_KIND_UP1);
    else if (vs_kind_is_head(kind))
        rows = a->head == VS_HEAD_CLASSIFIER ? 1 : a->head == VS_HEAD_EOMT ? (double)a->queries : patches;
    return rows * (double)l->in * (double)l->out;
}

static const char *head_name(const vs_arch *a) {
    return a->head == VS_HEAD_SEGMENTATION ? "head.conv_seg" : a->head == VS_HEAD_EOMT ? "head.class_head" : "head.fc";
}

vs_status vs_points_make(const vs_model *m, size_t tokens, bool probabilities, vs_point **points, size_t *count, vs_error *err) {
    static const vs_kind in_block[] = { VS_KIND_QKV,  VS_KIND_Q,   VS_KIND_K,   VS_KIND_V,    VS_KIND_P,
                                        VS_KIND_PROJ, VS_KIND_FC1, VS_KIND_FC2, VS_KIND_BLOCK };
    enum { PER_BLOCK = sizeof in_block / sizeof *in_block };
    *points = vs_calloc(m->arch.depth * PER_BLOCK + 5 + VS_HEAD_SITES, sizeof **points);
    if (!*points) return vs_fail(err, VS_ERR_NOMEM, "no memory for the list of layers");
    size_t n = 0;
    const vs_kind before[] = { VS_KIND_PATCH_EMBED, VS_KIND_EMBED };
    for (size_t i = 0; i < 2; i++) {
        vs_point *p = &(*points)[n++];
        *p = (vs_point){ .kind = before[i], .block = -1, .macs = macs_of(m, before[i], -1, tokens) };
        snprintf(p->name, sizeof p->name, "%s", vs_kind_name(before[i]));
    }
    for (size_t b = 0; b < m->arch.depth; b++)
        for (size_t i = 0; i < PER_BLOCK; i++) {
            if (in_block[i] == VS_KIND_P && !probabilities) continue;
            vs_point *p = &(*points)[n++];
            *p = (vs_point){ .kind = in_block[i], .block = (int)b, .macs = macs_of(m, in_block[i], (int)b, tokens) };
            if (in_block[i] == VS_KIND_BLOCK)
                snprintf(p->name, sizeof p->name, "blocks.%zu", b);
            else
                snprintf(p->name, sizeof p->name, "blocks.%zu.%s", b, vs_arch_kind_name(&m->arch, in_block[i]));
        }
    for (vs_kind kind = VS_KIND_NORM; kind <= VS_KIND_LOGITS; kind++) {
        if (kind != VS_KIND_NORM && m->arch.head == VS_HEAD_NONE) continue;
        if (vs_kind_is_head(kind) && !vs_model_linear(m, kind, -1)) continue;
        if (kind == VS_KIND_MASKS && m->arch.head != VS_HEAD_EOMT) continue;
        vs_point *p = &(*points)[n++];
        *p = (vs_point){ .kind = kind, .block = -1, .macs = macs_of(m, kind, -1, tokens) };
        snprintf(p->name, sizeof p->name, "%s", kind == VS_KIND_HEAD ? head_name(&m->arch) : vs_kind_name(kind));
    }
    *count = n;
    return VS_OK;
}

void vs_token_name(const vs_arch *arch, size_t token, size_t grid_w, char *text, size_t size) {
    if (token == 0)
        snprintf(text, size, "cls");
    else if (token == 1 && arch->distilled)
        snprintf(text, size, "dist");
    else if (token <= arch->registers)
        snprintf(text, size, "reg%zu", token - 1);
    else {
        const size_t n = token - 1 - arch->registers;
        snprintf(text, size, "patch(%zu,%zu)", n / grid_w, n % grid_w);
    }
}

void vs_row_name(const vs_arch *a, vs_kind kind, int block, size_t row, size_t grid_w, char *text, size_t size) {
    const bool in_block = block >= 0 && kind >= VS_KIND_QKV && kind <= VS_KIND_FC2;
    const size_t queries = in_block ? vs_arch_queries_at(a, (size_t)block) : kind == VS_KIND_NORM ? a->queries : 0;
    if (a->head == VS_HEAD_EOMT && vs_kind_is_head(kind) && kind >= VS_KIND_UP1)
        snprintf(text, size, "pixel(%zu,%zu)", row / (grid_w << (kind - VS_KIND_UP1)), row % (grid_w << (kind - VS_KIND_UP1)));
    else if (row < queries || (a->head == VS_HEAD_EOMT && vs_kind_is_head(kind)))
        snprintf(text, size, "query%zu", row);
    else
        vs_token_name(a, row - queries, grid_w, text, size);
}
