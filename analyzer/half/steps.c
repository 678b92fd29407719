/* What rows compute (docs/fp16-reference.md 2.3); attention's in attention.c. */
#include "half/machine.h"

void vs_step_element(const vs_half_step *s) {
    s->run->backend->ops->elementwise(s->run->backend, s->form->element, s->x, s->u, s->y);
}

void vs_step_row_mean(const vs_half_step *s) { s->run->backend->ops->row_mean(s->run->backend, s->x, s->y); }

void vs_step_same(const vs_half_step *s) {
    if (s->x.p != s->y.p) s->run->backend->ops->copy(s->run->backend, s->x, s->y);
}

static const vs_half_set *set_of(const vs_half_step *s) { return vs_half_set_of(s->run, s->lane, s->row); }

static vs_mat param_of(const vs_half_step *s, size_t index) {
    const size_t param = s->node->param[index];
    const vs_param *p = &s->run->graph->params[param];
    return vs_mat_of(set_of(s)->w.params[param], p->rows, p->cols);
}

/* Tables of the session, which half rows may round. */
static vs_mat given_of(const vs_half_step *s, size_t input) {
    const vs_half_run *r = s->run;
    const size_t value = s->node->in[input];
    const vs_given given = r->graph->values[value].given;
    if (r->tables && !vs_half_in_f32(r, s->lane, s->row) && given == VS_GIVEN_COSINES) return r->cosines;
    if (r->tables && !vs_half_in_f32(r, s->lane, s->row) && given == VS_GIVEN_SINES) return r->sines;
    return vs_session_value(r->session, value, 0, 0);
}

void vs_step_whole(const vs_half_step *s) {
    const vs_half_run *r = s->run;
    const vs_node *n = s->node;
    const vs_mat operands[] = { s->x, s->u };
    vs_node_work work = vs_half_work(r, s->lane, r->rows->at[s->row].node);
    work.out = s->y;
    for (size_t i = 0; i < 2 && i < n->in_count; i++) work.in[i] = operands[i];
    for (size_t i = 0; i < n->in_count; i++)
        if (r->graph->values[n->in[i]].given != VS_GIVEN_NOT) work.in[i] = given_of(s, i);
    for (size_t i = 0; i < VS_NODE_PARAMS; i++) work.param[i] = n->param[i] == VS_NONE ? NULL : set_of(s)->w.params[n->param[i]];
    vs_node_compute(&work);
}

/* ---- linear layers */

/* Image by image where rows are few: a product of these may depend on their number in its last bits. */
static size_t products_of(const vs_half_step *s) {
    const bool few = vs_rule_patches(vs_value_rule(s->run->graph, s->node->in[0])) == VS_NONE;
    return s->node->by_image || few ? s->run->images : 1;
}

static void multiply(const vs_half_step *s, vs_mat y) {
    const vs_backend *be = s->run->backend;
    const size_t first = s->run->rows->at[s->row].column, parts = products_of(s), rows = s->x.rows / parts;
    const vs_mat w = param_of(s, 0);
    const char *bias = s->node->param[1] == VS_NONE ? NULL : set_of(s)->w.params[s->node->param[1]];
    if (bias) bias += first * (size_t)be->scalar;
    for (size_t i = 0; i < parts; i++)
        be->ops->linear(be, vs_mat_view(be, s->x, i * rows, rows, 0, s->x.cols), vs_mat_view(be, w, first, y.cols, 0, w.cols),
                        bias, vs_mat_view(be, y, i * rows, rows, 0, y.cols));
}

/* A transposed convolution is a product, and cells placed for each other. */
void vs_step_linear(const vs_half_step *s) {
    const vs_half_run *r = s->run;
    const size_t node = r->rows->at[s->row].node;
    if (!vs_half_is_placed(r->rows, node)) {
        multiply(s, s->y);
        return;
    }
    const vs_node_work place = vs_half_work(r, s->lane, node + 1);
    multiply(s, place.in[0]);
    vs_node_compute(&place);
}

/* ---- tokens */

void vs_step_tokens(const vs_half_step *s) {
    s->run->backend->ops->tokens(s->run->backend, s->x, param_of(s, 1), (vs_mat){ 0 }, s->run->images, s->y);
}

/* The stored positions of prefix tokens, the session's grid behind them: an engine adds them after it has put all together. */
void vs_step_positions(const vs_half_step *s) {
    const vs_half_run *r = s->run;
    const vs_backend *be = r->backend;
    const vs_mat all = vs_half_room_of(r, s->lane, r->rows->at[s->row].node, VS_ROOM_WORK), grid = given_of(s, 1);
    const size_t t = all.rows, n = grid.rows;
    be->ops->copy(be, param_of(s, 2), vs_mat_view(be, all, 0, t - n, 0, all.cols));
    be->ops->copy(be, grid, vs_mat_view(be, all, t - n, n, 0, all.cols));
    if (!vs_half_in_f32(r, s->lane, s->row)) be->ops->round_half(be, all, r->model->weights->format, all, 1, NULL);
    for (size_t i = 0; i < r->images; i++)
        be->ops->elementwise(be, VS_ELEMENT_ADD, vs_mat_view(be, s->x, i * t, t, 0, s->x.cols), all,
                             vs_mat_view(be, s->y, i * t, t, 0, s->y.cols));
}

/* ---- others */

/* x * sigmoid(x): in float32 inside, one rounding. */
void vs_step_silu(const vs_half_step *s) {
    const vs_backend *be = s->run->backend;
    be->ops->elementwise(be, VS_ELEMENT_SIGMOID, s->x, (vs_mat){ 0 }, s->y);
    be->ops->elementwise(be, VS_ELEMENT_MUL, s->x, s->y, s->y);
}

/* Every row of ones times patches is their sum, which N divides. e^0 of what is finite are ones, and their sums N. */
void vs_step_mean_of_patches(const vs_half_step *s) {
    const vs_half_run *r = s->run;
    const vs_backend *be = r->backend;
    const size_t node = r->rows->at[s->row].node, n = r->patches, c = s->x.cols;
    const vs_mat ones = vs_half_room_of(r, s->lane, node, VS_ROOM_SCORES), sums = vs_half_room_of(r, s->lane, node, VS_ROOM_SUMS),
                 room = vs_half_room_of(r, s->lane, node, VS_ROOM_WORK);
    be->ops->exp_rows(be, given_of(s, 1), 0, ones, sums);
    for (size_t i = 0; i < r->images; i++) {
        be->ops->attention_apply(be, ones, vs_mat_view(be, s->x, i * n, n, 0, c), 1, 1, room);
        be->ops->elementwise(be, VS_ELEMENT_DIV, vs_mat_view(be, room, 0, 1, 0, c), vs_mat_view(be, sums, 0, 1, 0, 1),
                             vs_mat_view(be, s->y, i, 1, 0, c));
    }
}
