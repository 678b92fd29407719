/* canonical FILE [HEADS [computed]]: every tensor of a checkpoint as loaded, under its hub name: "name
 * sha256-of-its-float32-bytes". */
#include <stdio.h>
#include <stdlib.h>

#include "util/util.h"
#include "vitscope/vit.h"

static void line(const char *name, const float *values, size_t count) {
    vs_sha256 sha;
    uint8_t digest[32];
    char hex[65];
    if (!values) return;
    vs_sha256_init(&sha);
    vs_sha256_update(&sha, values, count * sizeof *values);
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
    printf("%s %s\n", name, hex);
}

static void linear(const char *base, const char *name, const vs_linear *l) {
    char text[128];
    snprintf(text, sizeof text, "%s%s.weight", base, name);
    line(text, l->w, l->out * l->in);
    snprintf(text, sizeof text, "%s%s.bias", base, name);
    line(text, l->b, l->out);
}

static void block(const vs_model *m, size_t i) {
    const vs_block *b = &m->blocks[i];
    const size_t c = m->arch.width;
    char base[32], text[128];
    snprintf(base, sizeof base, "blocks.%zu.", i);
    const struct {
        const char *name;
        const float *values;
    } vectors[] = { { "norm1.weight", b->norm1_g }, { "norm1.bias", b->norm1_b }, { "norm2.weight", b->norm2_g },
                    { "norm2.bias", b->norm2_b },   { "ls1.gamma", b->ls1 },      { "ls2.gamma", b->ls2 } };
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) {
        snprintf(text, sizeof text, "%s%s", base, vectors[v].name);
        line(text, vectors[v].values, c);
    }
    for (vs_kind k = VS_KIND_QKV; k <= VS_KIND_FC2; k++)
        if (vs_kind_is_linear(k)) linear(base, vs_arch_kind_name(&m->arch, k), vs_model_linear(m, k, (int)i));
}

int main(int argc, char **argv) {
    vs_error err = { 0 };
    vs_model *m = NULL;
    const vs_model_options options = { .heads = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 0,
                                       .rope = argc > 3 ? VS_ROPE_COMPUTED : VS_ROPE_FOUND };
    if (argc < 2) return 2;
    if (vs_model_load(&m, argv[1], &options, &err) != VS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const vs_arch *a = &m->arch;
    linear("", "patch_embed.proj", &m->patch);
    line("cls_token", m->cls, a->width);
    line(a->distilled ? "dist_token" : "register_tokens", m->registers, a->registers * a->width);
    line("pos_embed", m->pos, (a->prefix_positions + a->grid * a->grid) * a->width);
    line("rope_embed.periods", m->periods, a->width / a->heads / 4);
    for (size_t i = 0; i < a->depth; i++) block(m, i);
    line("cls_norm.weight", m->prefix_norm_g, a->width);
    line("cls_norm.bias", m->prefix_norm_b, a->width);
    line("norm.weight", m->norm_g, a->width);
    line("norm.bias", m->norm_b, a->width);
    if (a->head != VS_HEAD_NONE) linear("", "head", &m->head);
    vs_model_free(m);
    return 0;
}
