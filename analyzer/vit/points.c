#include <stdio.h>

#include "util.h"
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
    [VS_KIND_LOGITS] = "logits",
};

const char *vs_kind_name(vs_kind kind) { return kind_names[kind]; }

const char *vs_arch_kind_name(const vs_arch *a, vs_kind kind) {
    if (a->ffn == VS_FFN_SWIGLU && kind == VS_KIND_FC1) return "mlp.w12";
    if (a->ffn == VS_FFN_SWIGLU && kind == VS_KIND_FC2) return "mlp.w3";
    return vs_kind_name(kind);
}

bool vs_kind_is_operand(vs_kind kind) { return kind >= VS_KIND_Q && kind <= VS_KIND_P; }

bool vs_kind_is_linear(vs_kind kind) {
    return kind == VS_KIND_PATCH_EMBED || kind == VS_KIND_QKV || kind == VS_KIND_PROJ || kind == VS_KIND_FC1 ||
           kind == VS_KIND_FC2 || kind == VS_KIND_HEAD;
}

size_t vs_linear_names(const vs_linear *l, vs_kind kind, const char *names[VS_MAX_PARTS]) {
    if (l->fqn_count == 3 && kind >= VS_KIND_Q && kind <= VS_KIND_V) {
        names[0] = l->fqn[kind - VS_KIND_Q];
        return 1;
    }
    for (size_t i = 0; i < l->fqn_count; i++) names[i] = l->fqn[i];
    return l->fqn_count;
}

/* study.md section 1: a linear T*in*out, q and k T*T*C/2 each, v T*T*C. */
static double macs_of(const vs_model *m, vs_kind kind, int block, size_t tokens) {
    const double t = (double)tokens, c = (double)m->arch.width;
    if (kind == VS_KIND_Q || kind == VS_KIND_K) return t * t * c / 2;
    if (kind == VS_KIND_V) return t * t * c;
    const vs_linear *l = vs_model_linear(m, kind, block);
    if (!l) return 0;
    const double patches = t - 1 - (double)m->arch.registers;
    const double rows = kind == VS_KIND_PATCH_EMBED          ? patches
                        : kind != VS_KIND_HEAD               ? t
                        : m->arch.head == VS_HEAD_CLASSIFIER ? 1
                                                             : patches;
    return rows * (double)l->in * (double)l->out;
}

vs_status vs_points_make(const vs_model *m, size_t tokens, bool probabilities, vs_point **points, size_t *count, vs_error *err) {
    static const vs_kind in_block[] = { VS_KIND_QKV,  VS_KIND_Q,   VS_KIND_K,   VS_KIND_V,    VS_KIND_P,
                                        VS_KIND_PROJ, VS_KIND_FC1, VS_KIND_FC2, VS_KIND_BLOCK };
    enum { PER_BLOCK = sizeof in_block / sizeof *in_block };
    *points = vs_calloc(m->arch.depth * PER_BLOCK + 5, sizeof **points);
    if (!*points) return vs_fail(err, VS_ERR_NOMEM, "no memory for the list of layers");
    size_t n = 0;
    const vs_kind before[] = { VS_KIND_PATCH_EMBED, VS_KIND_EMBED }, after[] = { VS_KIND_NORM, VS_KIND_HEAD, VS_KIND_LOGITS };
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
    for (size_t i = 0; i < 3; i++) {
        if (after[i] != VS_KIND_NORM && m->arch.head == VS_HEAD_NONE) continue;
        vs_point *p = &(*points)[n++];
        *p = (vs_point){ .kind = after[i], .block = -1, .macs = macs_of(m, after[i], -1, tokens) };
        const char *name = after[i] != VS_KIND_HEAD               ? vs_kind_name(after[i])
                           : m->arch.head == VS_HEAD_SEGMENTATION ? "head.conv_seg"
                                                                  : "head.fc";
        snprintf(p->name, sizeof p->name, "%s", name);
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
