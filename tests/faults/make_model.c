/* make_model FILE: a ViT of two blocks with a segmentation head, in timm's names, with seeded random weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/util.h"

enum { WIDTH = 64, HIDDEN = 128, PATCH = 8, GRID = 4, BLOCKS = 2, CLASSES = 11 };

typedef struct model {
    vs_text header;
    float *values;
    size_t count, capacity;
    vs_rng rng;
} model;

static void add(model *m, const char *name, const char *shape, size_t count, double scale, double center) {
    if (!vs_grow((void **)&m->values, &m->capacity, m->count + count, sizeof *m->values)) exit(1);
    for (size_t i = 0; i < count; i++) m->values[m->count + i] = (float)(center + scale * vs_rng_normal(&m->rng));
    vs_text_add(&m->header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", m->count ? "," : "{", name,
                shape, 4 * m->count, 4 * (m->count + count));
    m->count += count;
}

static void add_vector(model *m, const char *module, const char *part, size_t count, double scale, double center) {
    char name[128], shape[32];
    (void)snprintf(name, sizeof name, "%s.%s", module, part);
    (void)snprintf(shape, sizeof shape, "%zu", count);
    add(m, name, shape, count, scale, center);
}

static void add_linear(model *m, const char *module, size_t out, size_t in, const char *kernel) {
    char name[128], shape[64];
    (void)snprintf(name, sizeof name, "%s.weight", module);
    (void)snprintf(shape, sizeof shape, "%zu,%zu%s", out, in, kernel);
    const size_t count = out * in * (kernel[0] && kernel[1] != '1' ? PATCH * PATCH : 1);
    add(m, name, shape, count, 1 / sqrt((double)(count / out)), 0);
    add_vector(m, module, "bias", out, 0.1, 0);
}

static void add_norm(model *m, const char *module) {
    add_vector(m, module, "weight", WIDTH, 0.1, 1);
    add_vector(m, module, "bias", WIDTH, 0.1, 0);
}

static void add_block(model *m, int block) {
    static const struct {
        const char *name;
        size_t out, in;
    } linears[] = { { "attn.qkv", 3 * WIDTH, WIDTH },
                    { "attn.proj", WIDTH, WIDTH },
                    { "mlp.fc1", HIDDEN, WIDTH },
                    { "mlp.fc2", WIDTH, HIDDEN } };
    char module[96];
    for (int i = 1; i <= 2; i++) {
        (void)snprintf(module, sizeof module, "backbone.blocks.%d.norm%d", block, i);
        add_norm(m, module);
    }
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++) {
        (void)snprintf(module, sizeof module, "backbone.blocks.%d.%s", block, linears[i].name);
        add_linear(m, module, linears[i].out, linears[i].in, "");
    }
}

int main(int argc, char **argv) {
    model m = { .rng = { 5 } };
    if (argc != 2) return 2;
    add_linear(&m, "backbone.patch_embed.proj", WIDTH, 3, ",8,8");
    add(&m, "backbone.cls_token", "1,1,64", WIDTH, 1, 0);
    add(&m, "backbone.pos_embed", "1,17,64", (GRID * GRID + 1) * (size_t)WIDTH, 0.5, 0);
    for (int b = 0; b < BLOCKS; b++) add_block(&m, b);
    add_norm(&m, "backbone.norm");
    add_linear(&m, "conv_seg", CLASSES, WIDTH, ",1,1");
    vs_text_add(&m.header, "}");
    FILE *file = m.header.failed ? NULL : fopen(argv[1], "wb");
    if (!file) return 1;
    for (int i = 0; i < 8; i++) (void)fputc((int)(m.header.size >> (8 * i) & 255), file);
    (void)fwrite(m.header.bytes, 1, m.header.size, file);
    (void)fwrite(m.values, sizeof *m.values, m.count, file);
    const int code = fclose(file) == 0 ? 0 : 1;
    free(m.header.bytes);
    free(m.values);
    return code;
}
