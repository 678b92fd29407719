/* A graph with anything in it: made of bytes alone, or a good one that bytes change. What the checker accepts is planned, named,
 * counted and, where it is small, computed, each value in memory of its own size. */
#include <stdlib.h>
#include <string.h>

#include "support/places.h"
#include "util/util.h"
#include "vit/build_vit.h"

enum { IMAGES = 2, GRID_H = 2, GRID_W = 3, PATCHES = GRID_H * GRID_W, MOST_REALS = 1 << 14, MOST_MACS = 1 << 20 };

/* ---- bytes */

typedef struct reader {
    const uint8_t *bytes;
    size_t size, at;
} reader;

static uint8_t byte_of(reader *r) { return r->at < r->size ? r->bytes[r->at++] : 0; }

/* Small in most cases, so that indices meet. */
static size_t number(reader *r) {
    static const size_t large[] = { VS_NONE,
                                    VS_NONE - 1,
                                    (size_t)1 << 24,
                                    ((size_t)1 << 24) + 1,
                                    (size_t)1 << 32,
                                    SIZE_MAX / 2 + 1,
                                    (size_t)1 << 62,
                                    1 << 12,
                                    ((size_t)1 << 12) + 1,
                                    1 << 16,
                                    255,
                                    256 };
    const uint8_t b = byte_of(r);
    return b < 255 - sizeof large / sizeof *large ? b : large[b % (sizeof large / sizeof *large)];
}

/* ---- fields */

static void change_rule(reader *r, vs_row_rule *x) {
    const uint8_t field = byte_of(r);
    vs_row_part *part = &x->parts[field / 8 % VS_ROW_PARTS];
    switch (field % 8) {
    case 0: part->name = byte_of(r) % 4 ? "part" : NULL; break;
    case 1: part->numbered = byte_of(r) & 1; break;
    case 2: part->level = number(r); break;
    case 3: x->part_count = number(r); break;
    case 4: x->times = number(r); break;
    default: part->count = number(r);
    }
}

static void change_value(reader *r, vs_value *x) {
    switch (byte_of(r) % 12) {
    case 0: x->rows = number(r); break;
    case 1: x->cols.fixed = number(r); break;
    case 2: x->cols.cells = number(r); break;
    case 3: x->given = (vs_given)byte_of(r); break;
    case 4: x->param = number(r); break;
    case 5: x->alias = number(r); break;
    case 6: x->view = number(r); break;
    case 7: x->column = number(r); break;
    case 8: x->optional = byte_of(r) & 1; break;
    case 9: x->passing = byte_of(r) & 1; break;
    case 10: x->root = x->last = number(r); break;
    default: x->alias = x->view = VS_NONE;
    }
}

static void change_param(reader *r, vs_param *x) {
    const uint8_t field = byte_of(r);
    switch (field % 8) {
    case 0: x->rows = number(r); break;
    case 1: x->cols = number(r); break;
    case 2: x->optional = byte_of(r) & 1; break;
    case 3: x->fold = (vs_fold)byte_of(r); break;
    case 4: x->eps = (double)number(r); break;
    case 5: memset(x->name, byte_of(r), sizeof x->name); break;
    case 6: x->name[field / 8] = (char)byte_of(r); break;
    default: x->from[field / 8 % VS_FOLD_SOURCES] = number(r);
    }
}

static void change_node(reader *r, vs_node *x) {
    const uint8_t field = byte_of(r);
    switch (field % 16) {
    case 0: x->op = (vs_op)byte_of(r); break;
    case 1: x->kind = (vs_kind)byte_of(r); break;
    case 2: x->shown = (vs_shown)byte_of(r); break;
    case 3: x->block = (int)number(r); break;
    case 4: memset(field & 16 ? x->name : x->label, byte_of(r), sizeof x->name); break;
    case 5: x->name[field / 16] = (char)byte_of(r); break;
    case 6: x->in_count = number(r); break;
    case 7: x->out = number(r); break;
    case 8: x->heads = number(r); break;
    case 9: x->patch = number(r); break;
    case 10: x->level = number(r); break;
    case 11: x->eps = field & 16 ? -1 : (double)number(r); break;
    case 12: x->by_image = x->halves = byte_of(r) & 1; break;
    case 13: x->param[field / 16 % VS_NODE_PARAMS] = number(r); break;
    default: x->in[field / 16 % VS_NODE_INPUTS] = number(r);
    }
}

static void change_segment(reader *r, vs_segment *x) {
    switch (byte_of(r) % 3) {
    case 0: x->first = number(r); break;
    case 1: x->end = number(r); break;
    default: x->stream = number(r);
    }
}

static void change(reader *r, vs_graph *g) {
    const uint8_t what = byte_of(r), index = byte_of(r);
    switch (what % 8) {
    case 0:
        if (g->rule_count) change_rule(r, &g->rules[index % g->rule_count]);
        break;
    case 1:
        if (g->param_count) change_param(r, &g->params[index % g->param_count]);
        break;
    case 2:
        if (g->segment_count) change_segment(r, &g->segments[index % g->segment_count]);
        break;
    case 3: g->output = number(r); break;
    case 4:
    case 5:
        if (g->value_count) change_value(r, &g->values[index % g->value_count]);
        break;
    default:
        if (g->node_count) change_node(r, &g->nodes[index % g->node_count]);
    }
}

/* ---- a graph */

static const vs_arch plain = {
    .width = 4, .depth = 1, .heads = 2, .hidden = 6, .patch = 1, .grid = 2, .prefix_positions = 1, .eps = 1e-6
};
static const vs_arch rotary = { .width = 8,
                                .depth = 2,
                                .heads = 2,
                                .hidden = 6,
                                .patch = 1,
                                .registers = 2,
                                .ffn = VS_FFN_SWIGLU,
                                .layer_scale = true,
                                .prefix_norm = true,
                                .position = VS_POSITION_ROPE,
                                .eps = 1e-5,
                                .head = VS_HEAD_SEGMENTATION,
                                .head_maps = 2,
                                .head_norm = true,
                                .head_width = 16,
                                .classes = 3 };
static const vs_arch classifier = { .width = 4,
                                    .depth = 1,
                                    .heads = 1,
                                    .hidden = 6,
                                    .patch = 1,
                                    .grid = 2,
                                    .prefix_positions = 1,
                                    .head = VS_HEAD_CLASSIFIER,
                                    .head_maps = 1,
                                    .head_mean = true,
                                    .head_width = 8,
                                    .classes = 3 };
static const vs_arch masks = { .width = 4,
                               .depth = 2,
                               .heads = 2,
                               .hidden = 6,
                               .patch = 1,
                               .grid = 2,
                               .prefix_positions = 1,
                               .head = VS_HEAD_EOMT,
                               .head_maps = 1,
                               .head_width = 4,
                               .classes = 2,
                               .queries = 3,
                               .joint_blocks = 1,
                               .upscales = 1 };

/* Arrays of just their size, so that the sanitizer sees every step beside them. */
static vs_graph *bare_graph(reader *r) {
    vs_graph *g = vs_calloc(1, sizeof *g);
    if (!g) return NULL;
    *g = (vs_graph){ .rule_count = byte_of(r) % 8,
                     .value_count = byte_of(r) % 32,
                     .param_count = byte_of(r) % 8,
                     .node_count = byte_of(r) % 16,
                     .segment_count = byte_of(r) % 4,
                     .output = number(r) };
    g->rules = vs_calloc(g->rule_count, sizeof *g->rules);
    g->values = vs_calloc(g->value_count, sizeof *g->values);
    g->params = vs_calloc(g->param_count, sizeof *g->params);
    g->nodes = vs_calloc(g->node_count, sizeof *g->nodes);
    g->segments = vs_calloc(g->segment_count, sizeof *g->segments);
    for (size_t i = 0; i < g->value_count; i++) g->values[i].alias = g->values[i].view = g->values[i].param = VS_NONE;
    for (size_t i = 0; i < g->node_count; i++)
        for (size_t k = 0; k < VS_NODE_PARAMS; k++) g->nodes[i].param[k] = VS_NONE;
    return g;
}

static void shrink(void **items, size_t count, size_t size) {
    void *exact = realloc(*items, count ? count * size : 1);
    if (exact) *items = exact;
}

static vs_graph *make_graph(reader *r) {
    static const vs_arch *const good[] = { &plain, &rotary, &classifier, &masks };
    const uint8_t which = byte_of(r);
    vs_graph *g = NULL;
    vs_error err = { 0 };
    if (which % 5 == 4) return bare_graph(r);
    if (vs_vit_graph(&g, good[which % 5], &err) != VS_OK) abort(); /* as it is, it is good */
    shrink((void **)&g->rules, g->rule_count, sizeof *g->rules);
    shrink((void **)&g->values, g->value_count, sizeof *g->values);
    shrink((void **)&g->params, g->param_count, sizeof *g->params);
    shrink((void **)&g->nodes, g->node_count, sizeof *g->nodes);
    shrink((void **)&g->segments, g->segment_count, sizeof *g->segments);
    return g;
}

/* ---- what is done with a good one */

static void plan(const vs_graph *g, size_t images, size_t patches, bool probabilities, bool flat) {
    const vs_arena_options o = { images, patches, probabilities, flat };
    vs_arena arena;
    vs_error err = { 0 };
    char text[64];
    if (vs_arena_plan(&arena, g, &o, &err) == VS_OK && !plan_holds(g, &arena, &o, text, sizeof text)) {
        (void)fprintf(stderr, "%zu images of %zu patches: %s\n", images, patches, text);
        abort();
    }
    vs_arena_release(&arena);
}

static void ask(const vs_graph *g, reader *r) {
    const size_t patches = number(r);
    char text[8];
    for (size_t i = 0; i < g->node_count; i++) {
        if (!(vs_node_macs(g, i, patches) >= 0)) abort();
        const size_t linear = vs_graph_linear_of(g, i), norm = vs_graph_norm_of(g, i);
        if ((linear != VS_NONE && linear > i) || (norm != VS_NONE && norm >= i)) abort();
    }
    for (size_t i = 0; i < g->rule_count; i++) vs_rule_name(&g->rules[i], number(r), 1 + byte_of(r), text, sizeof text);
    (void)vs_graph_site_reals(g, patches, true);
}

/* Reals of everything, to know whether it is small. */
static bool is_small(const vs_graph *g) {
    double reals = 0, macs = 0;
    for (size_t v = 0; v < g->value_count; v++)
        reals += IMAGES * (double)vs_value_rows(g, v, PATCHES) * (double)vs_value_cols(g, g->values[v].root, PATCHES);
    for (size_t p = 0; p < g->param_count; p++) reals += (double)g->params[p].rows * (double)g->params[p].cols;
    for (size_t n = 0; n < g->node_count; n++) macs += vs_node_macs(g, n, PATCHES);
    return reals <= MOST_REALS && macs <= MOST_MACS;
}

static double *some_reals(size_t count) {
    double *x = malloc(count ? count * sizeof *x : 1);
    for (size_t i = 0; x && i < count; i++) x[i] = (double)(i % 7) / 7;
    return x;
}

static vs_mat matrix_of(const vs_graph *g, double *const *memory, size_t value) {
    const vs_value *v = &g->values[value];
    return (vs_mat){ memory[v->root] + v->at, vs_arena_rows(g, value, IMAGES, PATCHES), vs_value_cols(g, value, PATCHES),
                     vs_value_cols(g, v->root, PATCHES) };
}

static void compute(const vs_graph *g, const vs_backend *be, size_t node, double *const *memory, double *const *params,
                    bool probabilities) {
    const vs_node *n = &g->nodes[node];
    vs_node_work work = { .backend = be, .graph = g, .node = n, .images = IMAGES, .grid_h = GRID_H, .grid_w = GRID_W };
    if (g->values[n->out].optional && !probabilities) return;
    for (size_t i = 0; i < n->in_count; i++)
        if (!g->values[n->in[i]].optional || probabilities) work.in[i] = matrix_of(g, memory, n->in[i]);
    work.out = matrix_of(g, memory, n->out);
    for (size_t i = 0; i < VS_NODE_PARAMS; i++)
        if (n->param[i] != VS_NONE) work.param[i] = params[n->param[i]];
    double *scratch = some_reals(vs_node_scratch(g, node, be, IMAGES, PATCHES));
    work.scratch = scratch;
    vs_node_compute(&work);
    free(scratch);
}

static void run(const vs_graph *g, bool probabilities) {
    static vs_backend *be;
    vs_error err = { 0 };
    if (!be && vs_backend_open(&be, "ref", &err) != VS_OK) abort();
    double **memory = vs_calloc(g->value_count, sizeof *memory), **params = vs_calloc(g->param_count, sizeof *params);
    if (!memory || !params) abort();
    for (size_t v = 0; v < g->value_count; v++) {
        size_t most = 0;
        for (size_t w = 0; w < g->value_count; w++)
            if (g->values[w].root == v && vs_arena_rows(g, w, IMAGES, PATCHES) > most)
                most = vs_arena_rows(g, w, IMAGES, PATCHES);
        if (g->values[v].root == v) memory[v] = some_reals(most * vs_value_cols(g, v, PATCHES));
    }
    for (size_t p = 0; p < g->param_count; p++) params[p] = some_reals(g->params[p].rows * g->params[p].cols);
    for (size_t n = 0; n < g->node_count; n++) compute(g, be, n, memory, params, probabilities);
    for (size_t v = 0; v < g->value_count; v++) free(memory[v]);
    for (size_t p = 0; p < g->param_count; p++) free(params[p]);
    free(memory);
    free(params);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    reader r = { bytes, size, 0 };
    vs_error err = { 0 };
    vs_graph *g = make_graph(&r);
    if (!g) return 0;
    while (r.at < r.size) change(&r, g);
    if (vs_graph_check(g, &err) == VS_OK) {
        r.at = 0;
        ask(g, &r);
        for (size_t mode = 0; mode < 4; mode++) {
            plan(g, IMAGES, PATCHES, mode & 1, mode & 2);
            plan(g, number(&r), number(&r), mode & 1, mode & 2);
        }
        for (size_t p = 0; p < 2 && is_small(g); p++) run(g, p == 1);
    }
    vs_graph_free(g);
    return 0;
}
