#include "half/machine.h"

#include <stdio.h>
#include <string.h>

#include "util/util.h"

/* Reals of EoMT's head for B images of N patches, M pixels each. */
static size_t eomt_capacity(const vs_arch *a, vs_half_place place, size_t images, size_t pixels) {
    const size_t c = a->width, queries = images * a->queries;
    if (a->head != VS_HEAD_EOMT) return 0;
    switch (place) {
    case VS_PLACE_CLASSES: return queries * (a->classes + 1);
    case VS_PLACE_PIXELS:
    case VS_PLACE_PIXELS_OUT:
    case VS_PLACE_PIXELS_WORK: return images * pixels * c;
    case VS_PLACE_MASKS: return images * pixels * a->queries;
    default: return queries * c;
    }
}

/* Reals of a place for B images of T tokens, queries among them. */
static size_t capacity(const vs_arch *a, vs_half_place place, size_t images, size_t tokens) {
    const size_t patches = tokens - 1 - a->registers - a->queries, c = a->width, rows = images * tokens;
    const size_t pixels = patches << 2 * a->upscales;
    const size_t head_rows = images * (a->head == VS_HEAD_CLASSIFIER ? 1 : patches);
    switch (place) {
    case VS_PLACE_PATCHES: return images * patches * 3 * a->patch * a->patch;
    case VS_PLACE_EMBEDDED: return images * patches * c;
    case VS_PLACE_STATISTIC:
    case VS_PLACE_MEAN: return images * (pixels > tokens ? pixels : tokens);
    case VS_PLACE_QKV: return rows * 3 * c;
    case VS_PLACE_Q:
    case VS_PLACE_K:
    case VS_PLACE_V:
    case VS_PLACE_X1:
    case VS_PLACE_X2: return 0; /* views */
    case VS_PLACE_SCORES:
    case VS_PLACE_PROBS: return rows * a->heads * tokens;
    case VS_PLACE_SUMS: return rows * a->heads;
    case VS_PLACE_HIDDEN: return rows * vs_arch_fc1_width(a);
    case VS_PLACE_ACTIVE: return rows * a->hidden;
    case VS_PLACE_MAPS: return a->head_maps > 1 ? head_rows * (a->head_maps - 1) * c : 0;
    case VS_PLACE_FEATURES: return head_rows * a->head_width;
    case VS_PLACE_LOGITS: return (a->head == VS_HEAD_EOMT ? images * pixels : head_rows) * a->classes;
    default: return place >= VS_PLACE_QUERIES ? eomt_capacity(a, place, images, pixels) : rows * c;
    }
}

static size_t largest_place(const vs_arch *a, size_t images, size_t tokens) {
    size_t largest = 0;
    for (int p = 0; p < VS_PLACE_COUNT; p++) {
        const size_t reals = capacity(a, (vs_half_place)p, images, tokens);
        if (reals > largest) largest = reals;
    }
    return largest;
}

/* Vectors of the processor begin at whole lines. */
static size_t padded(size_t count) { return (count + 15) / 16 * 16; }

/* Of cosines, and as many of sines. */
static size_t table_reals(const vs_arch *a, size_t tokens) {
    return a->position == VS_POSITION_ROPE ? (tokens - 1 - a->registers - a->queries) * (a->width / a->heads / 2) : 0;
}

vs_arch vs_half_arch_of(const vs_graph *g) {
    vs_arch a = { .head_maps = 1 };
    const size_t patch = vs_graph_find(g, VS_KIND_PATCH_EMBED, -1), head = vs_graph_find(g, VS_KIND_HEAD, -1);
    const size_t fc1 = vs_graph_find(g, VS_KIND_FC1, 0), fc2 = vs_graph_find(g, VS_KIND_FC2, 0);
    a.width = g->params[g->nodes[patch].param[0]].rows;
    a.hidden = g->params[g->nodes[fc2].param[0]].cols;
    if (g->params[g->nodes[fc1].param[0]].rows > a.hidden) a.ffn = VS_FFN_SWIGLU;
    a.registers = vs_graph_prefix(g) - 1;
    if (vs_graph_given(g, VS_GIVEN_POSITIONS) == VS_NONE) a.position = VS_POSITION_ROPE;
    for (size_t i = 0; i < g->node_count; i++) {
        const vs_node *n = &g->nodes[i];
        if (n->op == VS_OP_PATCHIFY) a.patch = n->patch;
        if (n->op == VS_OP_ATTENTION) a.heads = n->heads;
        if (n->op == VS_OP_JOIN) a.queries = g->params[n->param[0]].rows;
        if (n->op == VS_OP_UNFOLD) a.upscales++;
        if (n->op == VS_OP_CONCAT) a.head_maps = n->in_count;
    }
    if (head == VS_NONE) return a;
    const vs_param *w = &g->params[g->nodes[head].param[0]];
    const vs_row_rule *rows = vs_value_rule(g, g->nodes[head].in[0]);
    a.head_width = w->cols;
    a.classes = w->rows;
    a.head = a.queries ? VS_HEAD_EOMT : vs_rule_patches(rows) == VS_NONE ? VS_HEAD_CLASSIFIER : VS_HEAD_SEGMENTATION;
    return a;
}

size_t vs_half_scratch(const vs_graph *g, size_t patches, size_t images) {
    const vs_arch of = vs_half_arch_of(g), *a = &of;
    const size_t tokens = patches + 1 + a->registers + a->queries;
    size_t lane = padded(tokens * a->width);
    for (int p = 0; p < VS_PLACE_COUNT; p++) lane += padded(capacity(a, (vs_half_place)p, images, tokens));
    return VS_HALF_LANES * lane + VS_HALF_INPUTS * padded(largest_place(a, images, tokens)) + 2 * padded(table_reals(a, tokens));
}

static void *take(char **at, const vs_backend *be, size_t count) {
    void *p = *at;
    *at += padded(count) * (size_t)be->scalar;
    return p;
}

static void round_tables(vs_half_run *r, char **at, size_t tokens) {
    const vs_backend *be = r->backend;
    const vs_mat cosines = vs_session_given(r->session, VS_GIVEN_COSINES), sines = vs_session_given(r->session, VS_GIVEN_SINES);
    r->tables = r->arch->position == VS_POSITION_ROPE && r->model->policy->tables == VS_TABLES_HALF;
    if (!r->tables) return;
    const size_t reals = table_reals(r->arch, tokens);
    r->cosines = (vs_mat){ take(at, be, reals), cosines.rows, cosines.cols, cosines.cols };
    r->sines = (vs_mat){ take(at, be, reals), sines.rows, sines.cols, sines.cols };
    be->ops->round_half(be, cosines, r->model->weights->format, r->cosines, 1, NULL);
    be->ops->round_half(be, sines, r->model->weights->format, r->sines, 1, NULL);
}

void vs_half_begin(vs_half_run *r, vs_session *s, const vs_half_model *model, vs_half_seen *const *seen) {
    const vs_backend *be = model->weights->backend;
    const vs_arch *a = &model->weights->f32.w.model->arch, sizes = vs_half_arch_of(model->weights->f32.w.model->graph);
    const size_t most = vs_session_tokens(s), t = most - a->queries, n = vs_session_grid_h(s) * vs_session_grid_w(s);
    *r = (vs_half_run){
        .session = s, .backend = be, .arch = a, .graph = model->weights->f32.w.model->graph, .model = model, .seen = seen
    };
    r->tokens = t;
    r->patches = n;
    r->images = vs_session_patches(s).rows / n;
    r->lane_count = (seen || model->tap) && !model->counts_only ? VS_HALF_LANES : 1;
    char *at = vs_session_scratch(s);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        lane->reference = l > 0;
        lane->positions = (vs_mat){ take(&at, be, t * a->width), t, a->width, a->width };
        for (int p = 0; p < VS_PLACE_COUNT; p++)
            lane->at[p].x.p = take(&at, be, capacity(&sizes, (vs_half_place)p, r->images, most));
    }
    for (size_t i = 0; i < VS_HALF_INPUTS; i++) r->casts[i] = take(&at, be, largest_place(&sizes, r->images, most));
    round_tables(r, &at, most);
    const size_t rows = vs_half_row_count(a);
    for (size_t i = 0; seen && i < r->images; i++)
        for (size_t k = 0; k < rows; k++) seen[i][k] = (vs_half_seen){ 0 };
}

static size_t index_of(const vs_half_run *r, vs_half_row row) { return vs_half_row_index(r->arch, row, r->block); }

/* A norm, an attention or a GELU in float32 has one row; EoMT's class scores stand behind a resize, which is outside. */
static bool policy_is_wide(const vs_policy_config *p, vs_half_row row) {
    const vs_half_row norm = vs_half_norm_of(row), gelu = vs_half_gelu_of(row);
    if (row == VS_ROW_NORM_CAT || (norm != VS_ROW_COUNT && row - norm == VS_NORM_OUT)) return p->norm == VS_OPERATION_FLOAT32;
    if (row == VS_ROW_PV) return p->attention == VS_OPERATION_FLOAT32;
    if (row == VS_ROW_SILU || row == VS_ROW_GATE || (gelu != VS_ROW_COUNT && row - gelu == VS_GELU_OUT))
        return p->gelu == VS_OPERATION_FLOAT32;
    return row == VS_ROW_CLASS_SCORES;
}

bool vs_half_in_f32(const vs_half_run *r, const vs_half_lane *lane, vs_half_row row) {
    const bool *float32 = r->model->float32;
    return lane->reference || policy_is_wide(r->model->policy, row) || (float32 && float32[index_of(r, row)]);
}

const vs_half_set *vs_half_set_of(const vs_half_run *r, const vs_half_lane *lane, vs_half_row row) {
    return vs_half_in_f32(r, lane, row) ? &r->model->weights->f32 : &r->model->weights->half;
}

/* ---- parameters ---- */

const void *vs_half_param(const vs_half_set *set, const char *format, size_t number) {
    char name[64];
    const char *dots = strchr(format, '#');
    if (dots)
        (void)snprintf(name, sizeof name, "%.*s%zu%s", (int)(dots - format), format, number, dots + 1);
    else
        (void)snprintf(name, sizeof name, "%s", format);
    const size_t param = vs_graph_param(set->w.model->graph, name);
    return param == VS_NONE ? NULL : set->w.params[param];
}

vs_mat vs_half_param_mat(const vs_half_set *set, const char *name) {
    const vs_graph *g = set->w.model->graph;
    const size_t param = vs_graph_param(g, name);
    return param == VS_NONE ? (vs_mat){ 0 } : vs_mat_of(set->w.params[param], g->params[param].rows, g->params[param].cols);
}

/* ---- places ---- */

static vs_mat shape(vs_half_lane *lane, vs_half_place place, size_t rows, size_t cols) {
    vs_half_tensor *t = &lane->at[place];
    *t = (vs_half_tensor){ { t->x.p, rows, cols, cols }, false };
    return t->x;
}

void vs_half_shape(vs_half_run *r, vs_half_place place, size_t rows, size_t cols) {
    for (size_t l = 0; l < r->lane_count; l++) (void)shape(&r->lanes[l], place, rows, cols);
}

void vs_half_swap(vs_half_run *r, vs_half_place a, vs_half_place b) {
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *at = r->lanes[l].at, kept = at[a];
        at[a] = at[b];
        at[b] = kept;
    }
}

void vs_half_move(vs_half_run *r, vs_half_rows from, size_t count, size_t cols, vs_half_rows to) {
    const vs_backend *be = r->backend;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *at = r->lanes[l].at;
        for (size_t i = 0; i < r->images; i++)
            be->ops->copy(be, vs_mat_view(be, at[from.place].x, i * from.each + from.first, count, from.col, cols),
                          vs_mat_view(be, at[to.place].x, i * to.each + to.first, count, to.col, cols));
        at[to.place].f32 |= at[from.place].f32;
    }
}

/* ---- reading and storing ---- */

vs_mat vs_half_read(const vs_half_run *r, const vs_half_lane *lane, vs_half_row row, size_t input, vs_half_place place) {
    const vs_half_tensor *t = &lane->at[place];
    if (!t->f32 || vs_half_in_f32(r, lane, row)) return t->x;
    const vs_mat cast = { r->casts[input], t->x.rows, t->x.cols, t->x.cols };
    vs_half_counts *counts[VS_MAX_SESSION_IMAGES];
    for (size_t i = 0; r->seen && i < r->images; i++) counts[i] = &r->seen[i][index_of(r, row)].cast[input];
    r->backend->ops->round_half(r->backend, t->x, r->model->weights->format, cast, r->images, r->seen ? counts : NULL);
    return cast;
}

void vs_half_store(const vs_half_run *r, vs_half_lane *lane, vs_half_row row, vs_half_place place) {
    vs_half_tensor *t = &lane->at[place];
    t->f32 = vs_half_in_f32(r, lane, row);
    if (t->f32) return;
    vs_half_counts *counts[VS_MAX_SESSION_IMAGES];
    for (size_t i = 0; r->seen && i < r->images; i++) counts[i] = &r->seen[i][index_of(r, row)].stored;
    r->backend->ops->round_half(r->backend, t->x, r->model->weights->format, t->x, r->images, r->seen ? counts : NULL);
}

void vs_half_compare_part(const vs_half_run *r, vs_half_row row, size_t part, vs_mat x, vs_mat y) {
    vs_error_sums *sums[VS_MAX_SESSION_IMAGES];
    if (!r->seen) return;
    for (size_t i = 0; i < r->images; i++) sums[i] = &r->seen[i][index_of(r, row)].error[part];
    r->backend->ops->error_sums(r->backend, x, y, r->images, sums);
}

size_t vs_half_seen_parts(const vs_half_seen *s) { return s->error[1].signal > 0 || s->error[2].signal > 0 ? VS_HALF_PARTS : 1; }

/* Scores, and their differences to the largest, count without their rows' means, which softmax does not see. */
static vs_mat centred(const vs_half_run *r, const vs_half_lane *lane, vs_mat x, void *room) {
    const vs_backend *be = r->backend;
    const vs_mat mean = { lane->at[VS_PLACE_SUMS].x.p, x.rows, 1, 1 }, out = { room, x.rows, x.cols, x.cols };
    be->ops->row_mean(be, x, mean);
    be->ops->elementwise(be, VS_ELEMENT_SUB, x, mean, out);
    return out;
}

void vs_half_compare(vs_half_run *r, vs_half_row row, vs_half_place place) {
    if (!r->seen) return;
    for (size_t i = 0; i < r->images; i++) r->seen[i][index_of(r, row)].seen = true;
    if (r->lane_count < VS_HALF_LANES) return;
    vs_mat y = r->lanes[0].at[place].x, x = r->lanes[1].at[place].x;
    const size_t c = r->arch->width;
    if (row == VS_ROW_SCORES || row == VS_ROW_SCALE || row == VS_ROW_SOFTMAX_SUB) {
        x = centred(r, &r->lanes[1], x, r->casts[0]);
        y = centred(r, &r->lanes[0], y, r->casts[1]);
    }
    for (size_t part = 0; row == VS_ROW_QKV && part < VS_HALF_PARTS; part++)
        if (part != VS_PART_K || r->arch->position == VS_POSITION_ROPE) /* else attention.c compares it */
            vs_half_compare_part(r, row, part, vs_mat_view(r->backend, x, 0, x.rows, part * c, c),
                                 vs_mat_view(r->backend, y, 0, y.rows, part * c, c));
    if (row != VS_ROW_QKV) vs_half_compare_part(r, row, 0, x, y);
}

void vs_half_show(vs_half_run *r, vs_kind kind, bool input, vs_half_place place) {
    const vs_half_model *m = r->model;
    const bool in_block = (kind >= VS_KIND_QKV && kind <= VS_KIND_BLOCK);
    if (!m->tap || r->status != VS_OK) return;
    const int block = in_block ? (int)r->block : -1;
    const vs_tap tap = { kind, block, input, r->lanes[0].at[place].x, vs_graph_find(r->graph, kind, block) };
    r->status = m->tap(m->tap_context, &tap, r->lane_count > 1 ? r->lanes[1].at[place].x : (vs_mat){ 0 }, r->err);
}

/* ---- rows that are one operation ---- */

vs_half_operand vs_half_of_place(vs_half_place place) { return (vs_half_operand){ .is_place = true, .place = place }; }

vs_half_operand vs_half_of_vector(const vs_half_run *r, const void *half, const void *f32) {
    return (vs_half_operand){ .half = half, .f32 = f32, .cols = r->arch->width };
}

vs_half_operand vs_half_of_constant(const vs_half_run *r, size_t constant) {
    const size_t offset = constant * (size_t)r->backend->scalar;
    const vs_half_weights *w = r->model->weights;
    return (
        vs_half_operand){ .half = (char *)w->half.constants.p + offset, .f32 = (char *)w->f32.constants.p + offset, .cols = 1 };
}

void vs_half_element(vs_half_run *r, vs_half_row row, vs_element op, vs_half_place x, vs_half_operand u, vs_half_place y) {
    const vs_backend *be = r->backend;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat first = vs_half_read(r, lane, row, 0, x);
        const bool f32 = vs_half_in_f32(r, lane, row);
        vs_mat second = { 0 };
        if (u.is_place && u.place == x)
            second = first;
        else if (u.is_place)
            second = vs_half_read(r, lane, row, 1, u.place);
        else if (u.half)
            second = vs_mat_of(f32 ? u.f32 : u.half, 1, u.cols);
        if (y != x && !(u.is_place && y == u.place)) (void)shape(lane, y, first.rows, first.cols);
        be->ops->elementwise(be, op, first, second, lane->at[y].x);
        vs_half_store(r, lane, row, y);
    }
    vs_half_compare(r, row, y);
}

void vs_half_mean(vs_half_run *r, vs_half_row row, vs_half_place x, vs_half_place y) {
    for (size_t l = 0; l < r->lane_count; l++) {
        const vs_mat from = vs_half_read(r, &r->lanes[l], row, 0, x);
        r->backend->ops->row_mean(r->backend, from, shape(&r->lanes[l], y, from.rows, 1));
        vs_half_store(r, &r->lanes[l], row, y);
    }
    vs_half_compare(r, row, y);
}

void vs_half_multiply(const vs_half_run *r, const vs_linear_weights *w, size_t first, vs_mat x, vs_mat y) {
    const char *bias = w->b;
    r->backend->ops->linear(r->backend, x, vs_mat_view(r->backend, w->w, first, y.cols, 0, w->w.cols),
                            bias ? bias + first * (size_t)r->backend->scalar : NULL, y);
}

void vs_half_linear(vs_half_run *r, vs_half_row row, vs_kind kind, vs_half_place x, vs_half_place y) {
    /* image by image in heads of few rows: a product of these may depend on their number in its last bits */
    const size_t parts = vs_kind_is_head(kind) && r->arch->head != VS_HEAD_SEGMENTATION ? r->images : 1;
    const size_t node = vs_graph_find(r->graph, kind, kind >= VS_KIND_QKV && kind <= VS_KIND_BLOCK ? (int)r->block : -1);
    vs_half_show(r, kind, true, x);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_linear_weights of = vs_weights_linear(&vs_half_set_of(r, lane, row)->w, node), *w = &of;
        const vs_mat from = vs_half_read(r, lane, row, 0, x), to = shape(lane, y, from.rows, w->w.rows);
        const size_t rows = from.rows / parts;
        for (size_t i = 0; i < parts; i++)
            vs_half_multiply(r, w, 0, vs_mat_view(r->backend, from, i * rows, rows, 0, from.cols),
                             vs_mat_view(r->backend, to, i * rows, rows, 0, to.cols));
        vs_half_store(r, lane, row, y);
    }
    vs_half_compare(r, row, y);
    vs_half_show(r, kind, false, y);
}
