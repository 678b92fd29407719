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

static bool own_linear(vs_changed_model *c, vs_linear *l) {
    return own_tensor(c, &l->w, l->out * l->in) && own_tensor(c, &l->b, l->out);
}

vs_status vs_changed_model_create(vs_changed_model *c, const vs_model *base, vs_error *err) {
    *c = (vs_changed_model){ .model = *base };
    c->model.blocks = own(c, base->blocks, base->arch.depth, sizeof *base->blocks);
    return c->model.blocks ? VS_OK : no_memory(err);
}

void vs_changed_model_release(vs_changed_model *c) {
    for (size_t i = 0; i < c->owned_count; i++) free(c->owned[i]);
    free(c->owned);
    *c = (vs_changed_model){ 0 };
}

static void fold(vs_linear *l, const float *gamma) {
    for (size_t o = 0; o < l->out; o++) {
        for (size_t i = 0; i < l->in; i++) l->w[o * l->in + i] = (float)((double)l->w[o * l->in + i] * (double)gamma[o]);
        if (l->b) l->b[o] = (float)((double)l->b[o] * (double)gamma[o]);
    }
}

static bool fold_branch(vs_changed_model *c, vs_linear *last, float **gamma) {
    if (!*gamma) return true;
    if (!own_linear(c, last)) return false;
    fold(last, *gamma);
    *gamma = NULL;
    return true;
}

vs_status vs_change_fold(vs_changed_model *c, vs_error *err) {
    for (size_t i = 0; i < c->model.arch.depth; i++) {
        vs_block *b = &c->model.blocks[i];
        if (!fold_branch(c, &b->proj, &b->ls1) || !fold_branch(c, &b->fc2, &b->ls2)) return no_memory(err);
    }
    c->model.arch.layer_scale = false;
    return VS_OK;
}

static bool own_branch(vs_changed_model *c, vs_linear *last, float **gamma) {
    return *gamma ? own_tensor(c, gamma, last->out) : own_linear(c, last);
}

vs_status vs_change_stream(vs_changed_model *c, int exponent, vs_error *err) {
    vs_model *m = &c->model;
    const size_t width = m->arch.width, grid = m->arch.grid;
    bool whole = own_linear(c, &m->patch) && own_tensor(c, &m->cls, width) &&
                 own_tensor(c, &m->registers, m->arch.registers * width) &&
                 own_tensor(c, &m->pos, (m->arch.prefix_positions + grid * grid) * width) &&
                 own_tensor(c, &m->eomt.queries, m->arch.queries * width);
    for (size_t i = 0; i < m->arch.depth && whole; i++)
        whole = own_branch(c, &m->blocks[i].proj, &m->blocks[i].ls1) && own_branch(c, &m->blocks[i].fc2, &m->blocks[i].ls2);
    if (!whole) return no_memory(err);
    vs_plant_residual(m, ldexp(1, exponent));
    m->arch.eps = ldexp(m->arch.eps, 2 * exponent);
    return VS_OK;
}

vs_status vs_change_keys(vs_changed_model *c, const double *means, vs_error *err) {
    const size_t width = c->model.arch.width;
    for (size_t i = 0; i < c->model.arch.depth; i++) {
        vs_linear *l = &c->model.blocks[i].qkv;
        if (!(l->b = own(c, l->b, l->out, sizeof *l->b))) return no_memory(err);
        for (size_t k = 0; k < width; k++) l->b[width + k] = (float)((double)l->b[width + k] - means[i * width + k]);
    }
    return VS_OK;
}
