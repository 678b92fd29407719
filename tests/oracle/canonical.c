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

/* A parameter of the model, called `as` where its hub name is another. */
static void parameter(const vs_model *m, const char *base, const char *name, const char *as) {
    char text[128];
    snprintf(text, sizeof text, "%s%s", base, name);
    const size_t i = vs_graph_param(m->graph, text);
    if (i == VS_NONE) return;
    const vs_param *p = &m->graph->params[i];
    snprintf(text, sizeof text, "%s%s", base, as);
    line(text, m->params[i], p->rows * p->cols);
}

static void linear(const vs_model *m, const char *name, vs_kind kind, int block) {
    const vs_linear l = vs_model_linear(m, vs_graph_find(m->graph, kind, block));
    char text[128];
    snprintf(text, sizeof text, "%s.weight", name);
    line(text, l.w, l.out * l.in);
    snprintf(text, sizeof text, "%s.bias", name);
    line(text, l.b, l.out);
}

static void block(const vs_model *m, int i) {
    static const char *const vectors[][2] = {
        { "norm1.weight", "norm1.weight" }, { "norm1.bias", "norm1.bias" }, { "norm2.weight", "norm2.weight" },
        { "norm2.bias", "norm2.bias" },     { "ls1", "ls1.gamma" },         { "ls2", "ls2.gamma" }
    };
    char base[32], text[128];
    snprintf(base, sizeof base, "blocks.%d.", i);
    for (size_t v = 0; v < sizeof vectors / sizeof *vectors; v++) parameter(m, base, vectors[v][0], vectors[v][1]);
    for (vs_kind k = VS_KIND_QKV; k <= VS_KIND_FC2; k++) {
        snprintf(text, sizeof text, "%s%s", base, vs_arch_kind_name(&m->arch, k));
        if (vs_kind_is_linear(k)) linear(m, text, k, i);
    }
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
    linear(m, "patch_embed.proj", VS_KIND_PATCH_EMBED, -1);
    parameter(m, "", "cls_token", "cls_token");
    parameter(m, "", "register_tokens", m->arch.distilled ? "dist_token" : "register_tokens");
    parameter(m, "", "pos_embed", "pos_embed");
    parameter(m, "", "rope_embed.periods", "rope_embed.periods");
    for (size_t i = 0; i < m->arch.depth; i++) block(m, (int)i);
    parameter(m, "", "prefix_norm.weight", "cls_norm.weight");
    parameter(m, "", "prefix_norm.bias", "cls_norm.bias");
    parameter(m, "", "norm.weight", "norm.weight");
    parameter(m, "", "norm.bias", "norm.bias");
    linear(m, "head", VS_KIND_HEAD, -1);
    vs_model_free(m);
    return 0;
}
