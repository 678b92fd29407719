#include "half/machine.h"

#include "util/util.h"

/* ---- memory: of each lane the graph's values and rooms, then inputs as they are read, then tables */

enum { ALIGN_REALS = 16 }; /* vectors of the processor begin at whole lines */

/* More than there can be stays more than there can be. */
static size_t padded(size_t count) {
    return count > SIZE_MAX - ALIGN_REALS ? SIZE_MAX : (count + ALIGN_REALS - 1) / ALIGN_REALS * ALIGN_REALS;
}

static size_t sum(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

static size_t product(size_t a, size_t b) {
    size_t all = 0;
    return vs_size_mul(&all, a, b) ? all : SIZE_MAX;
}

static size_t reals_of(vs_half_shape shape) { return padded(product(shape.rows, shape.cols)); }

/* The rooms of the node that needs most. */
static size_t room_reals(const vs_graph *g, size_t images, size_t patches) {
    size_t most = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        vs_half_shape shapes[VS_ROOMS];
        size_t all = 0;
        vs_half_rooms_of(g, &g->nodes[n], images, patches, shapes);
        for (size_t i = 0; i < VS_ROOMS; i++) all = sum(all, reals_of(shapes[i]));
        if (all > most) most = all;
    }
    return most;
}

/* The largest of what rows read. */
static size_t largest_read(const vs_graph *g, size_t images, size_t patches) {
    size_t largest = 0;
    for (size_t n = 0; n < g->node_count; n++) {
        vs_half_shape shapes[VS_ROOMS];
        const size_t out = g->nodes[n].out;
        vs_half_rooms_of(g, &g->nodes[n], images, patches, shapes);
        if (!g->values[out].optional)
            shapes[VS_ROOM_OUT] =
                (vs_half_shape){ product(images, vs_value_rows(g, out, patches)), vs_value_cols(g, out, patches) };
        for (size_t i = 0; i < VS_ROOMS; i++)
            if (reals_of(shapes[i]) > largest) largest = reals_of(shapes[i]);
    }
    return largest;
}

/* Of cosines, and as many of sines. */
static size_t table_reals(const vs_graph *g, size_t patches) {
    const size_t cosines = vs_graph_given(g, VS_GIVEN_COSINES);
    return cosines == VS_NONE ? 0 : padded(product(patches, vs_value_cols(g, cosines, patches)));
}

size_t vs_half_scratch(const vs_graph *g, size_t patches, size_t images) {
    const size_t lane = sum(vs_pass_elements(g, patches, images), room_reals(g, images, patches)),
                 casts = product(VS_HALF_INPUTS, largest_read(g, images, patches)), tables = product(2, table_reals(g, patches));
    return sum(product(VS_HALF_LANES, lane), sum(casts, tables));
}

static void *take(char **at, const vs_backend *be, size_t count) {
    void *p = *at;
    *at += count * (size_t)be->scalar;
    return p;
}

/* Has a half row of the rotation read what it stores. */
static void round_tables(vs_half_run *r, char **at) {
    const vs_backend *be = r->backend;
    const vs_mat cosines = vs_session_given(r->session, VS_GIVEN_COSINES), sines = vs_session_given(r->session, VS_GIVEN_SINES);
    const size_t reals = table_reals(r->graph, r->patches);
    r->tables = cosines.p && r->model->policy->tables == VS_TABLES_HALF;
    if (!r->tables) return;
    r->cosines = (vs_mat){ take(at, be, reals), cosines.rows, cosines.cols, cosines.cols };
    r->sines = (vs_mat){ take(at, be, reals), sines.rows, sines.cols, sines.cols };
    be->ops->round_half(be, cosines, r->model->weights->format, r->cosines, 1, NULL);
    be->ops->round_half(be, sines, r->model->weights->format, r->sines, 1, NULL);
}

void vs_half_begin(vs_half_run *r, vs_session *s, const vs_half_model *model, vs_half_seen *const *seen) {
    const vs_backend *be = model->weights->backend;
    const vs_half_rows *rows = model->weights->rows;
    const vs_graph *g = rows->graph;
    *r = (vs_half_run){ .session = s, .backend = be, .graph = g, .rows = rows, .model = model, .seen = seen };
    r->patches = vs_session_grid_h(s) * vs_session_grid_w(s);
    r->images = vs_session_images(s);
    r->lane_count = (seen || model->tap) && !model->counts_only ? VS_HALF_LANES : 1;
    const size_t rooms = room_reals(g, r->images, r->patches), cast = largest_read(g, r->images, r->patches);
    char *at = vs_session_scratch(s);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        lane->reference = l > 0;
        lane->values = take(&at, be, vs_session_pass_elements(s));
        lane->rooms = take(&at, be, rooms);
    }
    for (size_t i = 0; i < VS_HALF_INPUTS; i++) r->casts[i] = take(&at, be, cast);
    round_tables(r, &at);
    for (size_t i = 0; seen && i < r->images; i++)
        for (size_t k = 0; k < rows->count; k++) seen[i][k] = (vs_half_seen){ 0 };
}

/* ---- what is stored how */

static const vs_node *node_of(const vs_half_run *r, size_t row) { return &r->graph->nodes[r->rows->at[row].node]; }

vs_half_case vs_half_case_of(const vs_half_run *r, size_t row) {
    return (vs_half_case){ r->model->policy, &r->model->weights->f32.w, node_of(r, row) };
}

static const vs_half_form *form_of(const vs_half_run *r, size_t row) {
    const vs_half_case of = vs_half_case_of(r, row);
    return vs_half_form_of(&r->rows->at[row], &of);
}

/* A norm, an attention or a GELU in float32 has its last row alone. */
static bool policy_is_wide(const vs_half_run *r, size_t row) {
    const vs_half_op *op = vs_half_op_of(node_of(r, row)->op);
    return op->outside || (op->under && op->under(r->model->policy) == VS_OPERATION_FLOAT32);
}

bool vs_half_in_f32(const vs_half_run *r, const vs_half_lane *lane, size_t row) {
    const bool *float32 = r->model->float32;
    return lane->reference || policy_is_wide(r, row) || (float32 && float32[row]);
}

const vs_half_set *vs_half_set_of(const vs_half_run *r, const vs_half_lane *lane, size_t row) {
    return vs_half_in_f32(r, lane, row) ? &r->model->weights->f32 : &r->model->weights->half;
}

/* What is put together counts as float32 where one part of it is. */
bool vs_half_value_f32(const vs_half_run *r, const vs_half_lane *lane, size_t value, size_t column) { // NOLINT(misc-no-recursion)
    const vs_value *v = &r->graph->values[value];
    if (v->view != VS_NONE) return vs_half_value_f32(r, lane, v->view, column + v->column);
    if (v->producer == VS_NONE) return lane->reference;
    const vs_node *n = &r->graph->nodes[v->producer];
    const vs_half_case of = { r->model->policy, &r->model->weights->f32.w, n };
    const size_t row = vs_half_giver(r->rows, NULL, &of, value, column);
    if (row != VS_NONE) return vs_half_in_f32(r, lane, row);
    bool f32 = vs_half_op_of(n->op)->outside;
    for (size_t i = 0; i < n->in_count; i++) f32 |= vs_half_value_f32(r, lane, n->in[i], n->in_count > 1 ? 0 : column);
    return f32;
}

/* ---- what stands where */

vs_mat vs_half_value(const vs_half_run *r, const vs_half_lane *lane, size_t value) {
    vs_slot slot;
    if (r->graph->values[value].given != VS_GIVEN_NOT) return vs_session_value(r->session, value, 0, 0);
    if (!vs_session_pass_slot(r->session, value, &slot)) return (vs_mat){ 0 };
    return (vs_mat){ lane->values + slot.at * (size_t)r->backend->scalar, slot.rows, slot.cols, slot.ld };
}

vs_mat vs_half_room_of(const vs_half_run *r, const vs_half_lane *lane, size_t node, vs_half_room room) {
    vs_half_shape shapes[VS_ROOMS];
    char *at = lane->rooms;
    vs_half_rooms_of(r->graph, &r->graph->nodes[node], r->images, r->patches, shapes);
    for (vs_half_room i = VS_ROOM_OUT; i < room; i++) (void)take(&at, r->backend, reals_of(shapes[i]));
    return (vs_mat){ at, shapes[room].rows, shapes[room].cols, shapes[room].cols };
}

static vs_mat columns(const vs_half_run *r, vs_mat x, size_t first, size_t count) {
    return vs_mat_view(r->backend, x, 0, x.rows, first, count);
}

vs_mat vs_half_result(const vs_half_run *r, const vs_half_lane *lane, size_t row) {
    const vs_half_row *of = &r->rows->at[row];
    const vs_half_room room = form_of(r, row)->to;
    if (room != VS_ROOM_OUT) return vs_half_room_of(r, lane, of->node, room);
    const vs_mat out = vs_half_value(r, lane, of->out);
    return of->cols ? columns(r, out, of->column, of->cols) : out;
}

/* ---- reading and storing */

vs_mat vs_half_read(const vs_half_run *r, const vs_half_lane *lane, size_t row, size_t input, vs_half_tensor t) {
    if (!t.f32 || vs_half_in_f32(r, lane, row)) return t.x;
    const vs_mat cast = { r->casts[input], t.x.rows, t.x.cols, t.x.cols };
    vs_half_counts *counts[VS_MAX_SESSION_IMAGES];
    for (size_t i = 0; r->seen && i < r->images; i++) counts[i] = &r->seen[i][row].cast[input];
    r->backend->ops->round_half(r->backend, t.x, r->model->weights->format, cast, r->images, r->seen ? counts : NULL);
    return cast;
}

static void store(const vs_half_run *r, const vs_half_lane *lane, size_t row, vs_mat y) {
    vs_half_counts *counts[VS_MAX_SESSION_IMAGES];
    if (vs_half_in_f32(r, lane, row)) return;
    for (size_t i = 0; r->seen && i < r->images; i++) counts[i] = &r->seen[i][row].stored;
    r->backend->ops->round_half(r->backend, y, r->model->weights->format, y, r->images, r->seen ? counts : NULL);
}

/* ---- operands */

/* Where a row is missing, what it would have read first. */
static vs_half_operand settle(const vs_half_run *r, size_t first, vs_half_operand operand) {
    while (operand.from == VS_FROM_ROW && !form_of(r, first + operand.index))
        operand = r->rows->at[first + operand.index].forms[0].x;
    return operand;
}

/* Rows of every image that belong together, one under the other. */
static vs_mat take_rows(const vs_half_run *r, const vs_half_lane *lane, size_t node) {
    const vs_backend *be = r->backend;
    const vs_node *n = &r->graph->nodes[node];
    const vs_row_rule *in = vs_value_rule(r->graph, n->in[0]), taken = vs_half_taken(r->graph, n);
    const vs_mat x = vs_half_value(r, lane, n->in[0]);
    const size_t each = vs_rule_rows(in, r->patches), count = vs_rule_rows(&taken, r->patches);
    if (count == each) return x;
    const vs_mat to = vs_half_room_of(r, lane, node, VS_ROOM_TAKEN);
    const size_t first = vs_rule_first(in, vs_rule_find(in, &taken), r->patches);
    for (size_t i = 0; i < r->images; i++)
        be->ops->copy(be, vs_mat_view(be, x, i * each + first, count, 0, x.cols),
                      vs_mat_view(be, to, i * count, count, 0, x.cols));
    return to;
}

/* What the node makes of its inputs, before it is stored. */
static vs_half_tensor put_together(const vs_half_run *r, const vs_half_lane *lane, size_t node) {
    const vs_node *n = &r->graph->nodes[node];
    const vs_node_work work = vs_half_work(r, lane, node);
    bool f32 = false;
    for (size_t i = 0; i < n->in_count; i++) f32 |= vs_half_value_f32(r, lane, n->in[i], 0);
    vs_node_compute(&work);
    return (vs_half_tensor){ work.out, f32 };
}

static vs_half_tensor half_of(const vs_half_run *r, const vs_half_lane *lane, size_t value, bool right) {
    const vs_mat x = vs_half_value(r, lane, value);
    const size_t cols = x.cols / 2, first = right ? cols : 0;
    return (vs_half_tensor){ columns(r, x, first, cols), vs_half_value_f32(r, lane, value, first) };
}

static vs_half_tensor tensor_of(const vs_half_run *r, const vs_half_lane *lane, size_t row, vs_half_operand operand) {
    const size_t node = r->rows->at[row].node, other = r->rows->first[node] + operand.index;
    const vs_node *n = &r->graph->nodes[node];
    switch (operand.from) {
    case VS_FROM_ROW: return (vs_half_tensor){ vs_half_result(r, lane, other), vs_half_in_f32(r, lane, other) };
    case VS_FROM_LEFT:
    case VS_FROM_RIGHT: return half_of(r, lane, n->in[operand.index], operand.from == VS_FROM_RIGHT);
    case VS_FROM_TAKEN: return (vs_half_tensor){ take_rows(r, lane, node), vs_half_value_f32(r, lane, n->in[0], 0) };
    case VS_FROM_WHOLE: return put_together(r, lane, node);
    default: break;
    }
    const size_t value = n->in[operand.index];
    return (vs_half_tensor){ vs_half_value(r, lane, value), vs_half_value_f32(r, lane, value, 0) };
}

/* A vector or a number that is stored with the weights. */
static vs_mat stored(const vs_half_run *r, const vs_half_lane *lane, size_t row, vs_half_operand operand) {
    const vs_half_set *set = vs_half_set_of(r, lane, row);
    const vs_node *n = node_of(r, row);
    if (operand.from == VS_FROM_PARAM) {
        const size_t param = n->param[operand.index];
        return vs_mat_of(set->w.params[param], 1, r->graph->params[param].cols);
    }
    const double value = vs_half_constant_of(r->graph, n, (vs_half_constant)operand.index);
    return vs_mat_view(r->backend, set->constants, 0, 1, vs_half_constant_at(r->rows, value), 1);
}

static vs_mat read_operand(const vs_half_run *r, const vs_half_lane *lane, size_t row, size_t input, vs_half_operand operand) {
    if (operand.from == VS_FROM_NOTHING) return (vs_mat){ 0 };
    if (operand.from == VS_FROM_PARAM || operand.from == VS_FROM_CONSTANT) return stored(r, lane, row, operand);
    return vs_half_read(r, lane, row, input, tensor_of(r, lane, row, operand));
}

/* ---- comparing */

void vs_half_compare_part(const vs_half_run *r, size_t row, size_t part, vs_mat x, vs_mat y) {
    vs_error_sums *sums[VS_MAX_SESSION_IMAGES];
    if (!r->seen) return;
    for (size_t i = 0; i < r->images; i++) sums[i] = &r->seen[i][row].error[part];
    r->backend->ops->error_sums(r->backend, x, y, r->images, sums);
}

size_t vs_half_seen_parts(const vs_half_seen *s) { return s->error[1].signal > 0 || s->error[2].signal > 0 ? VS_HALF_PARTS : 1; }

/* Scores, and their differences to the largest, count without their rows' means, which softmax does not see. */
static vs_mat centred(const vs_half_run *r, const vs_half_lane *lane, size_t row, vs_mat x, void *room) {
    const vs_backend *be = r->backend;
    const vs_mat mean = vs_half_room_of(r, lane, r->rows->at[row].node, VS_ROOM_SUMS), out = { room, x.rows, x.cols, x.cols };
    be->ops->row_mean(be, x, mean);
    be->ops->elementwise(be, VS_ELEMENT_SUB, x, mean, out);
    return out;
}

/* Once all lanes have stored it. */
static void compare(const vs_half_run *r, size_t row, const vs_half_form *form) {
    const vs_half_row *of = &r->rows->at[row];
    if (!r->seen) return;
    for (size_t i = 0; i < r->images; i++) r->seen[i][row].seen = true;
    if (r->lane_count < VS_HALF_LANES) return;
    vs_mat y = vs_half_result(r, &r->lanes[0], row), x = vs_half_result(r, &r->lanes[1], row);
    if (form->centred) {
        x = centred(r, &r->lanes[1], row, x, r->casts[0]);
        y = centred(r, &r->lanes[0], row, y, r->casts[1]);
    }
    if (of->part_count == 0 && !of->keys[0]) vs_half_compare_part(r, row, 0, x, y);
    for (size_t part = 0; part < of->part_count; part++) {
        const vs_value *v = &r->graph->values[of->parts[part]];
        if (!of->keys[part])
            vs_half_compare_part(r, row, part, columns(r, x, v->column, v->cols.fixed), columns(r, y, v->column, v->cols.fixed));
    }
}

/* ---- nodes at work */

vs_node_work vs_half_work(const vs_half_run *r, const vs_half_lane *lane, size_t node) {
    const vs_node *n = &r->graph->nodes[node];
    vs_node_work work = { .backend = r->backend,
                          .graph = r->graph,
                          .node = n,
                          .images = r->images,
                          .grid_h = vs_session_grid_h(r->session),
                          .grid_w = vs_session_grid_w(r->session),
                          .out = vs_half_value(r, lane, n->out),
                          .scratch = vs_half_room_of(r, lane, node, VS_ROOM_WORK).p };
    for (size_t i = 0; i < n->in_count; i++) work.in[i] = vs_half_value(r, lane, n->in[i]);
    return work;
}

static bool is_same(vs_half_operand a, vs_half_operand b) { return a.from == b.from && a.index == b.index; }

void vs_half_run_row(vs_half_run *r, size_t row) {
    const vs_half_form *form = form_of(r, row);
    const size_t node = r->rows->at[row].node, first = r->rows->first[node];
    if (!form) return;
    const vs_half_operand x = settle(r, first, form->x), u = settle(r, first, form->u);
    for (size_t l = 0; l < r->lane_count; l++) {
        const vs_half_lane *lane = &r->lanes[l];
        vs_half_step s = { r, lane, row, &r->graph->nodes[node], form, .y = vs_half_result(r, lane, row) };
        s.x = read_operand(r, lane, row, 0, x);
        s.u = is_same(x, u) ? s.x : read_operand(r, lane, row, 1, u);
        form->compute(&s);
        store(r, lane, row, s.y);
    }
    compare(r, row, form);
}

void vs_half_run_moving(vs_half_run *r, size_t node) {
    for (size_t l = 0; l < r->lane_count; l++) {
        const vs_node_work work = vs_half_work(r, &r->lanes[l], node);
        vs_node_compute(&work);
    }
}
