/* What stands between a block's feed-forward layers, as rows (docs/vit-models.md 2.4, docs/fp16-reference.md 2). */
#include "half/machine.h"

static void gelu_apart(vs_half_run *r, vs_half_row first, vs_half_place x, vs_half_place y) {
    vs_half_element(r, first + VS_GELU_DIV, VS_ELEMENT_DIV, x, vs_half_of_constant(r, VS_CONSTANT_SQRT2), y);
    vs_half_element(r, first + VS_GELU_ERF, VS_ELEMENT_ERF, y, (vs_half_operand){ 0 }, y);
    vs_half_element(r, first + VS_GELU_ONE, VS_ELEMENT_ADD, y, vs_half_of_constant(r, VS_CONSTANT_ONE), y);
    vs_half_element(r, first + VS_GELU_MUL, VS_ELEMENT_MUL, x, vs_half_of_place(y), y);
    vs_half_element(r, first + VS_GELU_OUT, VS_ELEMENT_MUL, y, vs_half_of_constant(r, VS_CONSTANT_HALF), y);
}

void vs_half_gelu(vs_half_run *r, vs_half_row first, vs_half_place x, vs_half_place y) {
    const vs_half_row row = first + VS_GELU_OUT;
    const vs_mat like = r->lanes[0].at[x].x;
    if (r->model->policy->gelu == VS_OPERATION_DECOMPOSED) {
        gelu_apart(r, first, x, y);
        return;
    }
    vs_half_shape(r, y, like.rows, like.cols);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        r->backend->ops->gelu(r->backend, vs_half_read(r, lane, row, 0, x), lane->at[y].x);
        vs_half_store(r, lane, row, y);
    }
    vs_half_compare(r, row, y);
}

/* The halves of what w12 gave, or where w1 and w2 put theirs. */
static void view_halves(vs_half_run *r) {
    const size_t f = r->arch->hidden;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *at = r->lanes[l].at;
        const vs_half_tensor both = at[VS_PLACE_HIDDEN];
        for (size_t i = 0; i < 2; i++)
            at[VS_PLACE_X1 + i] = (vs_half_tensor){ vs_mat_view(r->backend, both.x, 0, both.x.rows, i * f, f), both.f32 };
    }
}

/* A module of its own: half of the layer's outputs. */
static void multiply_half(vs_half_run *r, vs_half_row row, vs_half_place y) {
    const size_t f = r->arch->hidden;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_linear_weights of = vs_weights_linear(&vs_half_set_of(r, lane, row)->w,
                                                       vs_graph_find(r->graph, VS_KIND_FC1, (int)r->block)),
                                *w = &of;
        vs_half_multiply(r, w, y == VS_PLACE_X1 ? 0 : f, vs_half_read(r, lane, row, 0, VS_PLACE_NORMED), lane->at[y].x);
        vs_half_store(r, lane, row, y);
    }
    vs_half_compare(r, row, y);
}

/* silu(x1) = x1 * sigmoid(x1): in float32 inside, one rounding. */
static void silu(vs_half_run *r) {
    const vs_half_row row = VS_ROW_SILU;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat x = vs_half_read(r, lane, row, 0, VS_PLACE_X1), y = lane->at[VS_PLACE_ACTIVE].x;
        r->backend->ops->elementwise(r->backend, VS_ELEMENT_SIGMOID, x, (vs_mat){ 0 }, y);
        r->backend->ops->elementwise(r->backend, VS_ELEMENT_MUL, x, y, y);
        vs_half_store(r, lane, row, VS_PLACE_ACTIVE);
    }
    vs_half_compare(r, row, VS_PLACE_ACTIVE);
}

static void swiglu(vs_half_run *r) {
    const vs_half_operand none = { 0 };
    const vs_half_place active = VS_PLACE_ACTIVE;
    vs_half_shape(r, VS_PLACE_HIDDEN, r->images * r->tokens, 2 * r->arch->hidden);
    vs_half_shape(r, active, r->images * r->tokens, r->arch->hidden);
    if (!r->arch->gate_apart) vs_half_linear(r, VS_ROW_FC1, VS_KIND_FC1, VS_PLACE_NORMED, VS_PLACE_HIDDEN);
    view_halves(r);
    if (r->arch->gate_apart) {
        vs_half_show(r, VS_KIND_FC1, true, VS_PLACE_NORMED);
        multiply_half(r, VS_ROW_FC1, VS_PLACE_X1);
        multiply_half(r, VS_ROW_W2, VS_PLACE_X2);
        vs_half_show(r, VS_KIND_FC1, false, VS_PLACE_HIDDEN);
    }
    if (r->model->policy->gelu == VS_OPERATION_DECOMPOSED) {
        vs_half_element(r, VS_ROW_SIGMOID, VS_ELEMENT_SIGMOID, VS_PLACE_X1, none, active);
        vs_half_element(r, VS_ROW_SILU, VS_ELEMENT_MUL, VS_PLACE_X1, vs_half_of_place(active), active);
    } else {
        silu(r);
    }
    vs_half_element(r, VS_ROW_GATE, VS_ELEMENT_MUL, active, vs_half_of_place(VS_PLACE_X2), active);
}

void vs_half_feed_forward(vs_half_run *r) {
    if (r->arch->ffn == VS_FFN_SWIGLU) {
        swiglu(r);
        return;
    }
    vs_half_linear(r, VS_ROW_FC1, VS_KIND_FC1, VS_PLACE_NORMED, VS_PLACE_HIDDEN);
    vs_half_gelu(r, VS_ROW_GELU_DIV, VS_PLACE_HIDDEN, VS_PLACE_ACTIVE);
}
