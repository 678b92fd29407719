/* A small EoMT model in lightly-train's names, with seeded random weights, as a safetensors file. */
#ifndef VS_EOMT_FILE_H
#define VS_EOMT_FILE_H

#include "support/check.h"
#include "util/util.h"
#include "vitscope/vit.h"

enum { EOMT_C = 64, EOMT_DEPTH = 5, EOMT_HIDDEN = 128, EOMT_PATCH = 8, EOMT_QUERIES = 6, EOMT_CLASSES = 4, EOMT_JOINT = 3 };

typedef struct eomt_file {
    vs_text header;
    float *values;
    size_t count, capacity;
    vs_rng rng;
    const char *without; /* a tensor that is left out, or NULL */
} eomt_file;

static inline void eomt_add(eomt_file *f, const char *name, const char *shape, size_t count, double scale, double center) {
    if (f->without && strcmp(name, f->without) == 0) return;
    assert_true(vs_grow((void **)&f->values, &f->capacity, f->count + count, sizeof *f->values));
    for (size_t i = 0; i < count; i++) f->values[f->count + i] = (float)(center + scale * vs_rng_normal(&f->rng));
    vs_text_add(&f->header, "%s\"model.%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", f->count ? "," : "{",
                name, shape, 4 * f->count, 4 * (f->count + count));
    f->count += count;
}

static inline void eomt_layer(eomt_file *f, const char *module, size_t out, size_t in, double scale) {
    char name[160], shape[64];
    snprintf(name, sizeof name, "%s.weight", module);
    snprintf(shape, sizeof shape, "%zu,%zu", out, in);
    eomt_add(f, name, shape, out * in, scale / sqrt((double)in), 0);
    snprintf(name, sizeof name, "%s.bias", module);
    snprintf(shape, sizeof shape, "%zu", out);
    eomt_add(f, name, shape, out, 0.1, 0);
}

static inline void eomt_norm(eomt_file *f, const char *module) {
    char name[160];
    snprintf(name, sizeof name, "%s.weight", module);
    eomt_add(f, name, "64", EOMT_C, 0.1, 1);
    snprintf(name, sizeof name, "%s.bias", module);
    eomt_add(f, name, "64", EOMT_C, 0.1, 0);
}

static inline void eomt_block(eomt_file *f, size_t b) {
    static const char *const norms[] = { "norm1", "norm2" }, *const scales[] = { "ls1.gamma", "ls2.gamma" };
    static const struct {
        const char *name;
        size_t out, in;
    } layers[] = { { "attn.qkv", 3 * EOMT_C, EOMT_C },
                   { "attn.proj", EOMT_C, EOMT_C },
                   { "mlp.fc1", EOMT_HIDDEN, EOMT_C },
                   { "mlp.fc2", EOMT_C, EOMT_HIDDEN } };
    char name[128];
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "backbone.blocks.%zu.%s", b, norms[i]);
        eomt_norm(f, name);
        snprintf(name, sizeof name, "backbone.blocks.%zu.%s", b, scales[i]);
        eomt_add(f, name, "64", EOMT_C, 0.1, 0.5);
    }
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "backbone.blocks.%zu.%s", b, layers[i].name);
        eomt_layer(f, name, layers[i].out, layers[i].in, 1);
    }
}

static inline void eomt_head(eomt_file *f) {
    char name[128];
    eomt_add(f, "queries.weight", "6,64", EOMT_QUERIES * EOMT_C, 1, 0);
    eomt_layer(f, "class_head", EOMT_CLASSES + 1, EOMT_C, 4);
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "mask_head.%zu", 2 * i);
        eomt_layer(f, name, EOMT_C, EOMT_C, 1);
    }
    for (size_t u = 0; u < 2; u++) {
        snprintf(name, sizeof name, "upscale.%zu.conv1.weight", u);
        eomt_add(f, name, "64,64,2,2", EOMT_C * EOMT_C * 4, 1 / sqrt(EOMT_C), 0);
        snprintf(name, sizeof name, "upscale.%zu.conv1.bias", u);
        eomt_add(f, name, "64", EOMT_C, 0.1, 0);
        snprintf(name, sizeof name, "upscale.%zu.conv2.weight", u);
        eomt_add(f, name, "64,1,3,3", EOMT_C * 9, 1.0 / 3, 0);
        snprintf(name, sizeof name, "upscale.%zu.norm", u);
        eomt_norm(f, name);
    }
}

/* DINOv3's: registers, rotary positions and a norm of their own for class token and registers. */
static inline void eomt_untied(eomt_file *f) {
    eomt_add(f, "backbone.storage_tokens", "1,4,64", 4 * EOMT_C, 0.5, 0);
    eomt_add(f, "backbone.rope_embed.periods", "16", 16, 0, 2);
    eomt_norm(f, "backbone.cls_norm");
}

/* `meta`: the text of safetensors' metadata object, or NULL. */
static inline void write_eomt_on(const char *path, const char *meta, const char *without, bool untied) {
    eomt_file f = { .rng = { 8 }, .without = without };
    vs_error err = { 0 };
    eomt_add(&f, "backbone.cls_token", "1,1,64", EOMT_C, 0.5, 0);
    if (untied)
        eomt_untied(&f);
    else
        eomt_add(&f, "backbone.pos_embed", "1,50,64", 50 * EOMT_C, 0.3, 0);
    eomt_add(&f, "backbone.mask_token", "1,64", EOMT_C, 0.5, 0);
    eomt_add(&f, "backbone.patch_embed.proj.weight", "64,3,8,8", EOMT_C * 3 * EOMT_PATCH * EOMT_PATCH, 0.07, 0);
    eomt_add(&f, "backbone.patch_embed.proj.bias", "64", EOMT_C, 0.1, 0);
    for (size_t b = 0; b < EOMT_DEPTH; b++) eomt_block(&f, b);
    eomt_norm(&f, "backbone.norm");
    eomt_head(&f);
    if (meta) vs_text_add(&f.header, ",\"__metadata__\":%s", meta);
    vs_text_add(&f.header, "}");
    const size_t size = 8 + f.header.size + 4 * f.count;
    char *bytes = vs_calloc(size, 1);
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)(f.header.size >> (8 * i));
    memcpy(bytes + 8, f.header.bytes, f.header.size);
    memcpy(bytes + 8 + f.header.size, f.values, 4 * f.count);
    assert_int_equal(vs_write_file(path, bytes, size, &err), VS_OK);
    free(bytes);
    free(f.header.bytes);
    free(f.values);
}

static inline void write_eomt(const char *path, const char *meta, const char *without) {
    write_eomt_on(path, meta, without, false);
}

/* The same as a model; the file is made in folder and gone again. */
static inline vs_model *load_small_eomt(const char *folder) {
    vs_error err = { 0 };
    vs_model *m = NULL;
    char *path = vs_path_join(folder, "eomt.safetensors");
    write_eomt(path, NULL, NULL);
    if (vs_model_load(&m, path, &(vs_model_options){ .check_values = true }, &err) != VS_OK) fail_msg("%s", err.message);
    (void)remove(path);
    free(path);
    return m;
}

#endif
