/* Models of named geometries with seeded random weights: for benchmarks and tests, where only shapes matter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/build_vit.h"
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

static bool is_gain(const char *name) { return strstr(name, "norm") && strstr(name, ".weight"); }

/* Weights of variance 1 / in keep the size of what passes. */
static float *fill(maker *m, const vs_param *p) {
    const vs_arch *a = &m->model->arch;
    const size_t count = p->rows * p->cols;
    const char *dot = strrchr(p->name, '.'), *last = dot ? dot + 1 : p->name;
    if (strcmp(last, "periods") == 0) {
        float *periods = vs_calloc(count, sizeof *periods);
        m->failed |= !periods;
        if (periods) vs_position_periods(a->rope_theta, count, periods);
        return periods;
    }
    if (strcmp(p->name, "pos_embed") == 0) return values(m, count, 0, 0.5);
    if (p->rows > 1 && strcmp(last, "weight") == 0) return values(m, count, 0, 1 / sqrt((double)p->cols));
    if (is_gain(p->name)) return values(m, count, 1, 0.1);
    if (strcmp(last, "ls1") == 0 || strcmp(last, "ls2") == 0) return values(m, count, 0.5, 0.1);
    if (strcmp(last, "bias") == 0) return values(m, count, 0, strstr(p->name, "norm") ? 0.1 : 0.02);
    return values(m, count, 0, 1); /* class token, registers */
}

static void make(maker *m) {
    vs_model *v = m->model;
    const vs_graph *g = v->graph;
    for (size_t i = 0; i < g->param_count; i++)
        if (g->params[i].fold == VS_FOLD_TENSOR) v->params[i] = fill(m, &g->params[i]);
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].op != VS_OP_LINEAR) continue;
        v->sources[i] = (vs_source){ .fqn = { vs_strdup(g->nodes[i].name) }, .count = 1 };
        m->failed |= !v->sources[i].fqn[0];
    }
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
    snprintf(model->dtypes, sizeof model->dtypes, "F32");
    vs_status status = vs_vit_graph(&model->graph, &model->arch, err);
    if (status != VS_OK) {
        vs_model_free(model);
        return status;
    }
    model->params = vs_calloc(model->graph->param_count, sizeof *model->params);
    model->sources = vs_calloc(model->graph->node_count, sizeof *model->sources);
    m.failed = !model->path || !model->params || !model->sources;
    if (!m.failed) make(&m);
    if (m.failed) {
        vs_model_free(model);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the weights of %s", name);
    }
    *out = model;
    return VS_OK;
}
