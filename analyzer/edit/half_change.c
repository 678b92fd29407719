#include "edit/half_change.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "edit/plant_kinds.h"
#include "util/util.h"

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a changed model"); }

/* A copy of `count` numbers of `size` bytes, zeros where there are none. */
static void *own(vs_changed_model *c, const void *from, size_t count, size_t size) {
    if (!vs_grow((void **)&c->owned, &c->capacity, c->owned_count + 1, sizeof *c->owned)) return NULL;
    void *p = vs_calloc(count ? count : 1, size);
    if (!p) return NULL;
    if (from) memcpy(p, from, count * size);
    return c->owned[c->owned_count++] = p;
}

/* In place of a tensor its copy; a tensor that is not there stays so. */
static bool own_tensor(vs_changed_model *c, float **tensor, size_t count) {
    return !*tensor || (*tensor = own(c, *tensor, count, sizeof **tensor)) != NULL;
}

static bool own_param(vs_changed_model *c, size_t param) {
    const vs_param *p = &c->model.graph->params[param];
    return own_tensor(c, &c->model.params[param], p->rows * p->cols);
}

/* The graph is the base's but for its nodes, whose attributes may change. */
static bool own_graph(vs_changed_model *c, const vs_graph *base) {
    if (!(c->model.graph = own(c, base, 1, sizeof *base))) return false;
    c->model.graph->nodes = own(c, base->nodes, base->node_count, sizeof *base->nodes);
    return c->model.graph->nodes != NULL;
}

vs_status vs_changed_model_create(vs_changed_model *c, const vs_model *base, vs_error *err) {
    *c = (vs_changed_model){ .model = *base };
    c->model.params = own(c, base->params, base->graph->param_count, sizeof *base->params);
    return c->model.params && own_graph(c, base->graph) ? VS_OK : no_memory(err);
}

void vs_changed_model_release(vs_changed_model *c) {
    for (size_t i = 0; i < c->owned_count; i++) free(c->owned[i]);
    free(c->owned);
    *c = (vs_changed_model){ 0 };
}

static void fold(const vs_linear *l, const float *gamma) {
    for (size_t o = 0; o < l->out; o++) {
        for (size_t i = 0; i < l->in; i++) l->w[o * l->in + i] = (float)((double)l->w[o * l->in + i] * (double)gamma[o]);
        if (l->b) l->b[o] = (float)((double)l->b[o] * (double)gamma[o]);
    }
}

/* LayerScale into the linear whose output it multiplies. */
static bool fold_branch(vs_changed_model *c, vs_node *add) {
    const vs_graph *g = c->model.graph;
    const size_t last = g->values[add->in[1]].producer;
    for (size_t i = 0; i < 2; i++)
        if (!own_param(c, g->nodes[last].param[i])) return false;
    const vs_linear l = vs_model_linear(&c->model, last);
    fold(&l, c->model.params[add->param[0]]);
    c->model.params[add->param[0]] = NULL;
    add->param[0] = VS_NONE;
    return true;
}

vs_status vs_change_fold(vs_changed_model *c, vs_error *err) {
    vs_graph *g = c->model.graph;
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == VS_OP_SCALE_ADD && g->nodes[i].param[0] != VS_NONE && !fold_branch(c, &g->nodes[i]))
            return no_memory(err);
    c->model.arch.layer_scale = false;
    return VS_OK;
}

typedef struct owner {
    vs_changed_model *changed;
    bool whole;
} owner;

static void own_each(void *context, size_t param) {
    owner *o = context;
    o->whole = o->whole && own_param(o->changed, param);
}

/* The norms of the stream see it as it was where eps is scaled with it. */
static void scale_eps(vs_model *m, int exponent) {
    vs_graph *g = m->graph;
    for (size_t i = 0; i < g->node_count; i++) {
        const size_t root = g->values[g->nodes[i].in[0]].root;
        bool stream = false;
        for (size_t s = 0; s + 1 < g->segment_count; s++) stream |= g->values[g->segments[s].stream].root == root;
        if (stream && g->nodes[i].op == VS_OP_LAYERNORM) g->nodes[i].eps = ldexp(g->nodes[i].eps, exponent);
    }
}

vs_status vs_change_stream(vs_changed_model *c, int exponent, vs_error *err) {
    owner o = { c, true };
    vs_stream_params(c->model.graph, own_each, &o);
    if (!o.whole) return no_memory(err);
    vs_plant_residual(&c->model, ldexp(1, exponent));
    scale_eps(&c->model, 2 * exponent);
    c->model.arch.eps = ldexp(c->model.arch.eps, 2 * exponent);
    return VS_OK;
}

vs_status vs_change_keys(vs_changed_model *c, const double *means, vs_error *err) {
    const vs_graph *g = c->model.graph;
    const size_t width = c->model.arch.width;
    for (size_t i = 0; i < c->model.arch.depth; i++) {
        float **b = &c->model.params[g->nodes[vs_graph_find(g, VS_KIND_QKV, (int)i)].param[1]];
        if (!(*b = own(c, *b, 3 * width, sizeof **b))) return no_memory(err);
        for (size_t k = 0; k < width; k++) (*b)[width + k] = (float)((double)(*b)[width + k] - means[i * width + k]);
    }
    return VS_OK;
}
