/* Which weights a 16-bit format cannot hold, from the model on the host. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/half_round.h"
#include "half/half.h"
#include "util/util.h"

typedef struct lister {
    vs_half_format format;
    vs_half_weight_note *notes;
    size_t count, capacity;
    bool failed;
} lister;

static float round_to(vs_half_format format, float x) { return format == VS_HALF_BF16 ? vs_round_bf16(x) : vs_round_fp16(x); }

static void check(lister *l, const char *where, const char *what, const float *values, size_t count) {
    vs_half_weight_note note = { .of = count };
    for (size_t i = 0; values && i < count; i++) {
        const float x = values[i], y = round_to(l->format, x);
        note.max = fmax(note.max, fabs((double)x));
        note.inf += isfinite(x) && !isfinite(y);
        note.flushed += x != 0 && y == 0;
    }
    if (!note.inf && !note.flushed) return;
    snprintf(note.tensor, sizeof note.tensor, "%s%s", where, what);
    if (vs_grow((void **)&l->notes, &l->capacity, l->count + 1, sizeof *l->notes))
        l->notes[l->count++] = note;
    else
        l->failed = true;
}

static void check_linear(lister *l, const char *where, const char *what, const vs_linear *x) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", where, what);
    check(l, name, ".weight", x->w, x->out * x->in);
    check(l, name, ".bias", x->b, x->out);
}

static void check_block(lister *l, const vs_arch *a, const vs_block *b, size_t index) {
    char at[48];
    snprintf(at, sizeof at, "blocks.%zu.", index);
    check(l, at, "norm1.weight", b->norm1_g, a->width);
    check(l, at, "norm1.bias", b->norm1_b, a->width);
    check_linear(l, at, vs_arch_kind_name(a, VS_KIND_QKV), &b->qkv);
    check_linear(l, at, vs_arch_kind_name(a, VS_KIND_PROJ), &b->proj);
    check(l, at, "ls1", b->ls1, a->width);
    check(l, at, "norm2.weight", b->norm2_g, a->width);
    check(l, at, "norm2.bias", b->norm2_b, a->width);
    check_linear(l, at, vs_arch_kind_name(a, VS_KIND_FC1), &b->fc1);
    check_linear(l, at, vs_arch_kind_name(a, VS_KIND_FC2), &b->fc2);
    check(l, at, "ls2", b->ls2, a->width);
}

static void check_eomt(lister *l, const vs_arch *a, const vs_eomt *e) {
    static const char *const masks[VS_MASK_LINEARS] = { "head.mask_head.0", "head.mask_head.2", "head.mask_head.4" };
    char at[48];
    check(l, "head.", "queries", e->queries, a->queries * a->width);
    for (size_t i = 0; i < VS_MASK_LINEARS; i++) check_linear(l, masks[i], "", &e->mask[i]);
    for (size_t u = 0; u < a->upscales; u++) {
        snprintf(at, sizeof at, "head.upscale.%zu.", u);
        check_linear(l, at, "conv1", &e->up[u]);
        check(l, at, "conv2.weight", e->depthwise[u], 9 * a->width);
        check(l, at, "norm.weight", e->norm_g[u], a->width);
        check(l, at, "norm.bias", e->norm_b[u], a->width);
    }
}

static void check_head(lister *l, const vs_model *m) {
    static const char *const names[] = { [VS_HEAD_NONE] = "",
                                         [VS_HEAD_SEGMENTATION] = "head.conv_seg",
                                         [VS_HEAD_CLASSIFIER] = "head.fc",
                                         [VS_HEAD_EOMT] = "head.class_head" };
    const vs_arch *a = &m->arch;
    check(l, "head.bn", ".weight", m->bn_g, a->head_width);
    check(l, "head.bn", ".bias", m->bn_b, a->head_width);
    check(l, "head.bn", ".running_mean", m->bn_mean, a->head_width);
    check(l, "head.bn", ".running_var", m->bn_var, a->head_width);
    if (a->head != VS_HEAD_NONE) check_linear(l, names[a->head], "", &m->head);
    if (a->head == VS_HEAD_EOMT) check_eomt(l, a, &m->eomt);
}

vs_status vs_half_note_weights(vs_half_weight_note **out, size_t *count, const vs_model *m, vs_half_format format,
                               vs_error *err) {
    const vs_arch *a = &m->arch;
    lister l = { .format = format };
    check_linear(&l, "", "patch_embed.proj", &m->patch);
    check(&l, "", "cls_token", m->cls, a->width);
    check(&l, "", "register_tokens", m->registers, a->registers * a->width);
    check(&l, "", "pos_embed", m->pos, (a->prefix_positions + a->grid * a->grid) * a->width);
    for (size_t i = 0; i < a->depth; i++) check_block(&l, a, &m->blocks[i], i);
    check(&l, "norm", ".weight", m->norm_g, a->width);
    check(&l, "norm", ".bias", m->norm_b, a->width);
    check(&l, "prefix_norm", ".weight", m->prefix_norm_g, a->width);
    check(&l, "prefix_norm", ".bias", m->prefix_norm_b, a->width);
    check_head(&l, m);
    *out = l.notes;
    *count = l.count;
    return l.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a list of weights") : VS_OK;
}
