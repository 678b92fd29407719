/* Models of named geometries with seeded random weights: for benchmarks and tests, where only shapes matter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/position.h"
#include "vitscope/vit.h"

typedef struct geometry {
    const char *name;
    size_t width, depth, heads;
    bool dinov3;
} geometry;

static const geometry geometries[] = {
    { "vitti14", 192, 12, 3, false },        { "vits14", 384, 12, 6, false },       { "vitb14", 768, 12, 12, false },
    { "vitl14", 1024, 24, 16, false },       { "dinov3_vits16", 384, 12, 6, true }, { "dinov3_vitb16", 768, 12, 12, true },
    { "dinov3_vitl16", 1024, 24, 16, true },
};
enum { GEOMETRIES = sizeof geometries / sizeof *geometries, REGISTERS = 4, THETA = 100 };

static size_t patch_of(const geometry *g) { return g->dinov3 ? 16 : 14; }

const char *vs_geometry_name(size_t index) { return index < GEOMETRIES ? geometries[index].name : NULL; }

static const geometry *find(const char *name) {
    for (size_t i = 0; i < GEOMETRIES; i++)
        if (strcmp(geometries[i].name, name) == 0) return &geometries[i];
    return NULL;
}

typedef struct maker {
    vs_model *model;
    vs_rng rng;
    bool failed; /* no memory */
} maker;

/* count values, uniform around `center` with the given standard deviation. */
static float *values(maker *m, size_t count, double center, double deviation) {
    float *v = m->failed ? NULL : vs_calloc(count, sizeof *v);
    m->failed |= v == NULL;
    const double width = deviation * sqrt(12);
    for (size_t i = 0; v && i < count; i++) v[i] = (float)(center + width * (vs_rng_uniform(&m->rng) - 0.5));
    if (v) m->model->parameters += count;
    return v;
}

/* Weights of variance 1 / in keep the size of what passes. */
static vs_linear linear(maker *m, size_t out, size_t in, char *name) {
    m->failed |= name == NULL;
    return (vs_linear){ .w = values(m, out * in, 0, 1 / sqrt((double)in)),
                        .b = values(m, out, 0, 0.02),
                        .out = out,
                        .in = in,
                        .fqn = { name },
                        .fqn_count = 1 };
}

static void make_block(maker *m, size_t index) {
    vs_block *b = &m->model->blocks[index];
    const size_t c = m->model->arch.width, f = m->model->arch.hidden;
    b->norm1_g = values(m, c, 1, 0.1);
    b->norm1_b = values(m, c, 0, 0.1);
    b->qkv = linear(m, 3 * c, c, vs_format("blocks.%zu.attn.qkv", index));
    b->proj = linear(m, c, c, vs_format("blocks.%zu.attn.proj", index));
    b->ls1 = values(m, c, 0.5, 0.1);
    b->norm2_g = values(m, c, 1, 0.1);
    b->norm2_b = values(m, c, 0, 0.1);
    b->fc1 = linear(m, f, c, vs_format("blocks.%zu.mlp.fc1", index));
    b->fc2 = linear(m, c, f, vs_format("blocks.%zu.mlp.fc2", index));
    b->ls2 = values(m, c, 0.5, 0.1);
}

static void make(maker *m) {
    vs_model *v = m->model;
    const size_t c = v->arch.width;
    v->patch = linear(m, c, 3 * v->arch.patch * v->arch.patch, vs_strdup("patch_embed.proj"));
    v->cls = values(m, c, 0, 1);
    if (v->arch.grid) v->pos = values(m, (1 + v->arch.grid * v->arch.grid) * c, 0, 0.5);
    if (v->arch.registers) v->registers = values(m, v->arch.registers * c, 0, 1);
    if (v->arch.position == VS_POSITION_ROPE) {
        const size_t periods = c / v->arch.heads / 4;
        m->failed |= !(v->periods = vs_calloc(periods, sizeof *v->periods));
        if (v->periods) vs_position_periods(v->arch.rope_theta, periods, v->periods);
    }
    for (size_t i = 0; i < v->arch.depth; i++) make_block(m, i);
    v->norm_g = values(m, c, 1, 0.1);
    v->norm_b = values(m, c, 0, 0.1);
}

static vs_arch arch_of(const geometry *g, size_t size) {
    vs_arch a = { .layout = "timm_dinov2",
                  .width = g->width,
                  .depth = g->depth,
                  .heads = g->heads,
                  .hidden = 4 * g->width,
                  .patch = patch_of(g),
                  .grid = size / patch_of(g),
                  .prefix_positions = 1,
                  .layer_scale = true,
                  .position = VS_POSITION_SIZE_ANTIALIAS,
                  .eps = 1e-6,
                  .head = VS_HEAD_NONE };
    if (g->dinov3) {
        a.layout = "dinov3_hub";
        a.grid = a.prefix_positions = 0;
        a.registers = REGISTERS;
        a.position = VS_POSITION_ROPE;
        a.rope_theta = THETA;
        a.eps = 1e-5;
    }
    snprintf(a.name, sizeof a.name, "%s", g->name);
    return a;
}

vs_status vs_model_random(vs_model **out, const char *name, size_t size, uint64_t seed, vs_error *err) {
    *out = NULL;
    const geometry *g = find(name);
    if (!g) return vs_fail(err, VS_ERR_NOTFOUND, "there is no geometry '%s'", name);
    if (size == 0 || size % patch_of(g))
        return vs_fail(err, VS_ERR_SHAPE, "size %zu is not a multiple of the patch size %zu", size, patch_of(g));
    vs_model *model = vs_calloc(1, sizeof *model);
    if (!model) return vs_fail(err, VS_ERR_NOMEM, "no memory for a model");
    maker m = { model, { seed }, false };
    model->arch = arch_of(g, size);
    model->path = vs_strdup(name);
    model->blocks = vs_calloc(model->arch.depth, sizeof *model->blocks);
    snprintf(model->dtypes, sizeof model->dtypes, "F32");
    m.failed = !model->path || !model->blocks;
    if (!m.failed) make(&m);
    if (m.failed) {
        vs_model_free(model);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the weights of %s", name);
    }
    *out = model;
    return VS_OK;
}
