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
    linear_release(&m->patch);
    linear_release(&m->head);
    float *vectors[] = { m->cls,           m->registers,     m->pos,  m->periods, m->norm_g,  m->norm_b,
                         m->prefix_norm_g, m->prefix_norm_b, m->bn_g, m->bn_b,    m->bn_mean, m->bn_var };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) free(vectors[i]);
    free(m->path);
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

size_t vs_largest_weight(const vs_arch *a) {
    const size_t sizes[] = { 3 * a->width * a->width, vs_arch_fc1_width(a) * a->width, 3 * a->patch * a->patch * a->width,
                             a->classes * a->head_width };
    size_t largest = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > largest) largest = sizes[i];
    return largest;
}
