#include <stdlib.h>

#include "vitscope/vit.h"

static void linear_release(vs_linear *l) {
    free(l->w);
    free(l->b);
    for (size_t i = 0; i < l->fqn_count; i++) free(l->fqn[i]);
}

static void block_release(vs_block *b) {
    free(b->norm1_g);
    free(b->norm1_b);
    linear_release(&b->qkv);
    linear_release(&b->proj);
    free(b->ls1);
    free(b->norm2_g);
    free(b->norm2_b);
    linear_release(&b->fc1);
    linear_release(&b->fc2);
    free(b->ls2);
}

static void eomt_release(vs_eomt *e) {
    free(e->queries);
    for (size_t i = 0; i < VS_MASK_LINEARS; i++) linear_release(&e->mask[i]);
    for (size_t u = 0; u < VS_MAX_UPSCALES; u++) {
        linear_release(&e->up[u]);
        free(e->depthwise[u]);
        free(e->norm_g[u]);
        free(e->norm_b[u]);
    }
}

void vs_model_free(vs_model *m) {
    if (!m) return;
    for (size_t i = 0; m->blocks && i < m->arch.depth; i++) block_release(&m->blocks[i]);
    free(m->blocks);
    for (size_t i = 0; i < m->tensor_count; i++) free(m->tensors[i].name);
    free(m->tensors);
    for (size_t i = 0; i < m->missing_count; i++) free(m->missing[i]);
    free(m->missing);
    for (size_t i = 0; i < m->class_name_count; i++) free(m->class_names[i]);
    free(m->class_names);
    free(m->class_ids);
    linear_release(&m->patch);
    linear_release(&m->head);
    eomt_release(&m->eomt);
    float *vectors[] = { m->cls,           m->registers,     m->pos,  m->periods, m->norm_g,  m->norm_b,
                         m->prefix_norm_g, m->prefix_norm_b, m->bn_g, m->bn_b,    m->bn_mean, m->bn_var };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) free(vectors[i]);
    free(m->path);
    free(m->prefix);
    free(m->head_note);
    free(m);
}

size_t vs_arch_usual_grid(const vs_arch *a) {
    enum { USUAL_PIXELS = 224 };
    if (a->grid) return a->grid;
    return a->patch < USUAL_PIXELS ? USUAL_PIXELS / a->patch : 1;
}

size_t vs_arch_fc1_width(const vs_arch *a) { return a->ffn == VS_FFN_SWIGLU ? 2 * a->hidden : a->hidden; }

const vs_linear *vs_model_linear(const vs_model *m, vs_kind kind, int block) {
    if (kind == VS_KIND_PATCH_EMBED) return &m->patch;
    if (kind == VS_KIND_HEAD) return m->arch.head == VS_HEAD_NONE ? NULL : &m->head;
    if (vs_kind_is_head(kind)) {
        if (m->arch.head != VS_HEAD_EOMT || kind >= VS_KIND_UP1 + m->arch.upscales) return NULL;
        return kind < VS_KIND_UP1 ? &m->eomt.mask[kind - VS_KIND_MASK1] : &m->eomt.up[kind - VS_KIND_UP1];
    }
    if (block < 0 || (size_t)block >= m->arch.depth) return NULL;
    const vs_block *b = &m->blocks[block];
    switch (kind) {
    case VS_KIND_QKV: return &b->qkv;
    case VS_KIND_PROJ: return &b->proj;
    case VS_KIND_FC1: return &b->fc1;
    case VS_KIND_FC2: return &b->fc2;
    default: return NULL;
    }
}

size_t vs_arch_head_reals(const vs_arch *a, size_t tokens) {
    const size_t widest = a->classes > a->head_width ? a->classes : a->head_width;
    if (a->head != VS_HEAD_EOMT) return tokens * widest;
    return (tokens << 2 * a->upscales) * (widest > a->queries ? widest : a->queries); /* an upscale's 4C stand on a quarter */
}

bool vs_arch_gives_maps(const vs_arch *a) { return a->head == VS_HEAD_SEGMENTATION || a->head == VS_HEAD_EOMT; }

size_t vs_arch_logits_side(const vs_arch *a, size_t side) { return side << a->upscales; }

size_t vs_arch_queries_at(const vs_arch *a, size_t block) { return block + a->joint_blocks >= a->depth ? a->queries : 0; }

size_t vs_arch_tokens(const vs_arch *a, size_t h, size_t w) { return 1 + a->registers + h * w; }

size_t vs_largest_weight(const vs_arch *a) {
    const size_t sizes[] = { 3 * a->width * a->width, vs_arch_fc1_width(a) * a->width, 3 * a->patch * a->patch * a->width,
                             (a->classes + 1) * a->head_width, a->queries ? 4 * a->width * a->width : 0 };
    size_t largest = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > largest) largest = sizes[i];
    return largest;
}
