#include "vit/session.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/position.h"

enum { ALIGN_REALS = 16 };

static size_t patches_of(const vs_session *s) { return s->h * s->w; }

/* ---- the plan */

/* Two passes over the same plan: with base NULL it only counts, then it hands out. */
typedef struct planner {
    char *base;
    size_t scalar, used;
    bool overflow;
} planner;

static void *take(planner *p, size_t copies, size_t count) {
    size_t all = 0;
    void *at = p->base ? p->base + p->used * p->scalar : NULL;
    if (!vs_size_add(&count, count, ALIGN_REALS - 1) || !vs_size_mul(&all, copies, count - count % ALIGN_REALS) ||
        !vs_size_add(&p->used, p->used, all))
        p->overflow = true;
    return at;
}

static size_t operation_reals(const vs_session *s) {
    size_t most = 0;
    for (size_t i = 0; i < s->graph->node_count; i++) {
        const size_t reals = vs_node_scratch(s->graph, i, s->backend, s->options.images, patches_of(s));
        if (reals > most) most = reals;
    }
    return most;
}

static void plan(vs_session *s, planner *p) {
    const size_t copies[VS_REGION_COUNT] = { [VS_REGION_SESSION] = 1,
                                             [VS_REGION_STREAM] = s->options.streams,
                                             [VS_REGION_WORKSPACE] = s->options.workspaces,
                                             [VS_REGION_PASSING] = 1 };
    for (size_t r = 0; r < VS_REGION_COUNT; r++) s->regions[r] = take(p, copies[r], s->arena.sizes[r]);
    s->operation = take(p, 1, operation_reals(s));
    s->scratch = take(p, 1, s->options.scratch);
}

static vs_status plan_pass(vs_arena *pass, const vs_graph *g, size_t patches, size_t images, vs_error *err) {
    const vs_arena_options options = { .images = images, .patches = patches, .plain = true };
    return vs_arena_plan(pass, g, &options, err);
}

/* A session without memory, and how many reals it will take. */
static vs_status outline(vs_session **out, const vs_weights *weights, const vs_session_options *options, size_t *reals,
                         vs_error *err) {
    const size_t patch = weights->model->arch.patch;
    *out = NULL;
    if (options->height == 0 || options->width == 0 || options->height % patch || options->width % patch)
        return vs_fail(err, VS_ERR_SHAPE, "image size %zux%zu is not a multiple of the patch size %zu", options->width,
                       options->height, patch);
    vs_session *s = vs_calloc(1, sizeof *s);
    if (!s) return vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
    s->backend = weights->backend;
    s->model = weights->model;
    s->graph = weights->model->graph;
    s->options = *options;
    s->h = options->height / patch;
    s->w = options->width / patch;
    s->ran = vs_calloc(options->streams + 1, sizeof *s->ran);
    s->values = vs_calloc(s->graph->value_count, sizeof *s->values);
    size_t patches = 0;
    vs_status status = s->ran && s->values && vs_size_mul(&patches, s->h, s->w) ? VS_OK : VS_ERR_NOMEM;
    const vs_arena_options arena = { options->images, patches, options->probabilities, false };
    if (status == VS_OK) status = vs_arena_plan(&s->arena, s->graph, &arena, err);
    if (status == VS_OK && options->scratch) status = plan_pass(&s->pass, s->graph, patches, options->images, err);
    planner p = { NULL, (size_t)s->backend->scalar, 0, false };
    if (status == VS_OK) plan(s, &p);
    size_t bytes = 0;
    if (status == VS_OK && !p.overflow && vs_size_mul(&bytes, p.used, p.scalar)) {
        *reals = p.used;
        *out = s;
        return VS_OK;
    }
    vs_session_free(s);
    return vs_fail(err, VS_ERR_NOMEM, "no memory for a session");
}

vs_status vs_session_bytes(size_t *bytes, const vs_weights *weights, const vs_session_options *options, vs_error *err) {
    vs_session *s = NULL;
    size_t reals = 0;
    vs_status status = outline(&s, weights, options, &reals, err);
    vs_session_free(s);
    *bytes = reals * (size_t)weights->backend->scalar; /* outline has checked the product */
    return status;
}

/* ---- what it is given */

/* The numbers of a given value on the host. */
static vs_status compute(const vs_session *s, vs_given given, double *out, size_t count, vs_error *err) {
    const size_t patches = patches_of(s);
    if (given == VS_GIVEN_POSITIONS) return vs_position_grid(s->model, s->h, s->w, out, err);
    if (given == VS_GIVEN_MEAN) {
        for (size_t i = 0; i < count; i++) out[i] = 1 / (double)patches;
        return VS_OK;
    }
    double *other = vs_calloc(count, sizeof *other);
    if (!other) return vs_fail(err, VS_ERR_NOMEM, "no memory for the rotation");
    const bool first = given == VS_GIVEN_COSINES;
    vs_position_rotation(s->model, s->h, s->w, first ? out : other, first ? other : out);
    free(other);
    return VS_OK;
}

static vs_status give(const vs_session *s, size_t value, vs_error *err) {
    const vs_mat to = vs_session_value(s, value, 0, 0);
    const size_t count = to.rows * to.cols;
    double *host = vs_calloc(count, sizeof *host);
    if (!host) return vs_fail(err, VS_ERR_NOMEM, "no memory for the tables of a session");
    vs_status status = compute(s, s->graph->values[value].given, host, count, err);
    if (status == VS_OK) status = s->backend->ops->upload_f64(s->backend, to.p, host, count, err);
    if (status == VS_OK) status = s->backend->ops->sync(s->backend, err);
    free(host);
    return status;
}

static vs_status give_all(const vs_session *s, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t v = 0; v < s->graph->value_count && status == VS_OK; v++)
        if (s->graph->values[v].given > VS_GIVEN_PIXELS) status = give(s, v, err);
    return status;
}

/* ---- making one */

/* In the first stream and workspace. */
static vs_mat first_of(const vs_session *s, size_t value) {
    const vs_graph *g = s->graph;
    const vs_arena_slot *slot = &s->arena.slots[value];
    const size_t root = g->values[value].root, at = slot->offset + g->values[value].at;
    if (!slot->there) return (vs_mat){ NULL, 0, 0, 0 };
    return (vs_mat){ (char *)s->regions[slot->region] + at * (size_t)s->backend->scalar,
                     vs_arena_rows(g, value, s->options.images, patches_of(s)), vs_value_cols(g, value, patches_of(s)),
                     vs_value_cols(g, root, patches_of(s)) };
}

/* The old session's memory where it is enough; else that is given back before more is taken. */
static vs_status take_reals(vs_session *s, vs_session *old, size_t reals, bool *fresh, vs_error *err) {
    *fresh = !old || old->capacity < reals;
    if (!*fresh) {
        s->reals = old->reals;
        s->capacity = old->capacity;
        old->reals = NULL;
        vs_session_free(old);
        return VS_OK;
    }
    vs_session_free(old);
    s->capacity = reals;
    if ((s->reals = s->backend->ops->alloc(s->backend, reals))) return VS_OK;
    return vs_fail(err, VS_ERR_NOMEM, "no memory for a session: %zu image%s of %zux%zu need%s %.1f GB on backend %s",
                   s->options.images, s->options.images == 1 ? "" : "s", s->options.width, s->options.height,
                   s->options.images == 1 ? "s" : "", (double)reals * (double)s->backend->scalar / 1e9, s->backend->name);
}

/* The widest product of a block, so that the backend has what it takes beside the arena before a forward pass begins. */
static vs_status reserve_products(const vs_session *s, const vs_weights *weights, vs_error *err) {
    const vs_graph *g = s->graph;
    size_t widest = VS_NONE, most = 0;
    if (s->options.workspaces == 0 || s->options.streams == 0) return VS_OK;
    for (size_t i = 0; i < g->node_count; i++) {
        const vs_node *n = &g->nodes[i];
        if (n->op != VS_OP_LINEAR || n->block < 0) continue;
        const size_t cols = vs_value_cols(g, n->out, patches_of(s));
        if (cols > most) widest = i;
        if (cols > most) most = cols;
    }
    if (widest == VS_NONE) return VS_OK;
    const vs_mat x = vs_session_value(s, g->nodes[widest].in[0], 0, 0), y = vs_session_value(s, g->nodes[widest].out, 0, 0);
    return s->backend->ops->reserve(s->backend, x, vs_weights_linear(weights, widest).w, y, err);
}

vs_status vs_session_fit(vs_session **session, const vs_weights *weights, const vs_session_options *options, vs_error *err) {
    vs_session *s = NULL, *old = *session;
    size_t reals = 0;
    *session = NULL;
    vs_status status = outline(&s, weights, options, &reals, err);
    if (status != VS_OK) {
        vs_session_free(old);
        return status;
    }
    bool fresh = false;
    status = take_reals(s, old, reals, &fresh, err);
    planner p = { s->reals, (size_t)s->backend->scalar, 0, false };
    if (status == VS_OK) {
        plan(s, &p);
        for (size_t v = 0; v < s->graph->value_count; v++) s->values[v] = first_of(s, v);
        status = give_all(s, err);
        if (status == VS_OK && fresh) status = reserve_products(s, weights, err);
    }
    if (status != VS_OK) {
        vs_session_free(s);
        return status;
    }
    *session = s;
    return VS_OK;
}

vs_status vs_session_create(vs_session **out, const vs_weights *weights, const vs_session_options *options, vs_error *err) {
    *out = NULL;
    return vs_session_fit(out, weights, options, err);
}

void vs_session_free(vs_session *s) {
    if (!s) return;
    if (s->reals) s->backend->ops->free(s->backend, s->reals);
    vs_arena_release(&s->arena);
    vs_arena_release(&s->pass);
    free(s->ran);
    free(s->values);
    free(s);
}

/* ---- what stands where */

vs_mat vs_session_value(const vs_session *s, size_t value, size_t workspace, size_t stream) {
    const vs_region region = s->arena.slots[value].region;
    const size_t copy = region == VS_REGION_STREAM ? stream : region == VS_REGION_WORKSPACE ? workspace : 0;
    vs_mat x = s->values[value];
    if (copy && x.p) x.p = (char *)x.p + copy * s->arena.sizes[region] * (size_t)s->backend->scalar;
    return x;
}

size_t vs_pass_elements(const vs_graph *g, size_t patches, size_t images) {
    vs_arena pass;
    vs_error err;
    const vs_status status = plan_pass(&pass, g, patches, images, &err);
    const size_t elements = status == VS_OK ? pass.sizes[VS_REGION_PASSING] : SIZE_MAX;
    vs_arena_release(&pass);
    return elements;
}

size_t vs_session_pass_elements(const vs_session *s) { return s->pass.sizes[VS_REGION_PASSING]; }

bool vs_session_pass_slot(const vs_session *s, size_t value, vs_slot *slot) {
    const vs_graph *g = s->graph;
    const vs_arena_slot *at = &s->pass.slots[value];
    const size_t root = g->values[value].root, patches = patches_of(s);
    *slot = (vs_slot){ at->offset + g->values[value].at, vs_arena_rows(g, value, s->options.images, patches),
                       vs_value_cols(g, value, patches), vs_value_cols(g, root, patches) };
    return at->there && at->region == VS_REGION_PASSING;
}

vs_mat vs_session_given(const vs_session *s, vs_given given) {
    const size_t value = vs_graph_given(s->graph, given);
    return value == VS_NONE ? (vs_mat){ NULL, 0, 0, 0 } : vs_session_value(s, value, 0, 0);
}

vs_mat vs_session_stream(const vs_session *s, size_t index) {
    return vs_session_value(s, s->graph->segments[s->ran[index]].stream, 0, index);
}

void vs_session_shape_stream(vs_session *s, size_t from, size_t to) { s->ran[to] = s->ran[from]; }

/* Whether a value is handed on from a segment up to `ran` to a later one, beside the stream. */
static bool is_handed(const vs_session *s, size_t value, size_t ran) {
    const vs_value *v = &s->graph->values[value];
    if (v->alias != VS_NONE || v->view != VS_NONE || s->arena.slots[value].region != VS_REGION_STREAM) return false;
    return s->graph->nodes[v->producer].segment <= ran && value != s->graph->values[s->graph->segments[ran].stream].root;
}

static void copy_handed(const vs_session *s, size_t from, size_t to) {
    for (size_t v = 0; v < s->graph->value_count; v++)
        if (is_handed(s, v, s->ran[from]))
            s->backend->ops->copy(s->backend, vs_session_value(s, v, 0, from), vs_session_value(s, v, 0, to));
}

void vs_session_copy_stream(vs_session *s, size_t from, size_t to) {
    vs_session_shape_stream(s, from, to);
    s->backend->ops->copy(s->backend, vs_session_stream(s, from), vs_session_stream(s, to));
    copy_handed(s, from, to);
}

size_t vs_session_tokens(const vs_session *s) {
    const vs_graph *g = s->graph;
    size_t most = 0;
    for (size_t i = 0; i + 1 < g->segment_count; i++) {
        const size_t rows = vs_value_rows(g, g->segments[i].stream, patches_of(s));
        if (rows > most) most = rows;
    }
    return most;
}

size_t vs_session_images(const vs_session *s) { return s->options.images; }
size_t vs_session_grid_h(const vs_session *s) { return s->h; }
size_t vs_session_grid_w(const vs_session *s) { return s->w; }
void *vs_session_scratch(const vs_session *s) { return s->scratch; }
vs_mat vs_session_output(const vs_session *s) { return vs_session_value(s, s->graph->output, 0, 0); }

vs_mat vs_session_patches(const vs_session *s) {
    return vs_session_value(s, s->graph->nodes[vs_graph_find(s->graph, VS_KIND_PATCH_EMBED, -1)].in[0], 0, 0);
}
