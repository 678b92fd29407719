/* Models of any architecture with seeded random weights. */
#ifndef VS_RANDOM_MODEL_H
#define VS_RANDOM_MODEL_H

#include <math.h>
#include <string.h>

#include "support/check.h"
#include "util/util.h"
#include "vit/build_vit.h"
#include "vit/position.h"

/* The architecture of a geometry that bench knows, with positions for a grid of side x side patches. */
static inline vs_arch arch_of_geometry(const char *geometry, size_t side) {
    vs_model *m = NULL;
    vs_error err = { 0 };
    const size_t patch = strstr(geometry, "14") ? 14 : 16;
    if (vs_model_random(&m, geometry, patch * side, 5, &err) != VS_OK) fail_msg("%s", err.message);
    const vs_arch arch = m->arch;
    vs_model_free(m);
    return arch;
}

static inline bool is_last(const char *name, const char *part) {
    const size_t n = strlen(name), m = strlen(part);
    return n >= m && strcmp(name + n - m, part) == 0;
}

/* Gains and variances around 1, LayerScale around 0.5, weights that keep the size of what passes. */
static inline float *random_param(const vs_param *p, vs_rng *rng) {
    const bool near_one = (strstr(p->name, "norm") && is_last(p->name, ".weight")) || strcmp(p->name, "head.bn.weight") == 0 ||
                          is_last(p->name, ".running_var");
    const bool scale = is_last(p->name, ".ls1") || is_last(p->name, ".ls2");
    const double center = near_one ? 1 : scale ? 0.5 : 0;
    const double spread = !near_one && is_last(p->name, ".weight") ? 1 / sqrt((double)p->cols) : 0.1;
    float *v = vs_calloc(p->rows * p->cols, sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < p->rows * p->cols; i++) v[i] = (float)(center + spread * vs_rng_normal(rng));
    return v;
}

static inline vs_model *random_model(const vs_arch *arch, uint64_t seed) {
    vs_rng rng = { seed };
    vs_error err = { 0 };
    vs_model *m = vs_calloc(1, sizeof *m);
    assert_non_null(m);
    m->arch = *arch;
    m->path = vs_strdup("random");
    if (vs_vit_graph(&m->graph, arch, &err) != VS_OK) fail_msg("%s", err.message);
    m->params = vs_calloc(m->graph->param_count, sizeof *m->params);
    m->sources = vs_calloc(m->graph->node_count, sizeof *m->sources);
    assert_true(m->path && m->params && m->sources);
    for (size_t i = 0; i < m->graph->param_count; i++) {
        const vs_param *p = &m->graph->params[i];
        if (p->fold != VS_FOLD_TENSOR) continue;
        m->params[i] = random_param(p, &rng);
        if (is_last(p->name, "periods")) vs_position_periods(arch->rope_theta, p->cols, m->params[i]);
    }
    for (size_t i = 0; i < m->graph->node_count; i++)
        if (m->graph->nodes[i].op == VS_OP_LINEAR)
            m->sources[i] = (vs_source){ .fqn = { vs_strdup(m->graph->nodes[i].name) }, .count = 1 };
    return m;
}

#endif
