/* Attention as rows (docs/vit-models.md 2.4, 2.5, docs/fp16-reference.md 2). */
#include <math.h>

#include "half/machine.h"

static void view_operands(vs_half_run *r) {
    const size_t c = r->arch->width;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *at = r->lanes[l].at;
        for (size_t i = 0; i < 3; i++)
            at[VS_PLACE_Q + i] =
                (vs_half_tensor){ vs_mat_view(r->backend, at[VS_PLACE_QKV].x, 0, at[VS_PLACE_QKV].x.rows, i * c, c),
                                  at[VS_PLACE_QKV].f32 };
    }
}

/* What stands at `from` is what `to` means from now on. */
static void become(vs_half_run *r, vs_half_place to, vs_half_place from) {
    for (size_t l = 0; l < r->lane_count; l++) r->lanes[l].at[to] = r->lanes[l].at[from];
}

static void rotate(vs_half_run *r, vs_half_row row, vs_half_place x, vs_half_place y) {
    vs_half_shape(r, y, r->images * r->tokens, r->arch->width);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const bool half = r->tables && !vs_half_in_f32(r, lane, row);
        r->backend->ops->rope(
            r->backend, vs_half_read(r, lane, row, 0, x), half ? r->cosines : vs_session_given(r->session, VS_GIVEN_COSINES),
            half ? r->sines : vs_session_given(r->session, VS_GIVEN_SINES), r->images, r->arch->heads, lane->at[y].x);
        vs_half_store(r, lane, row, y);
    }
    vs_half_compare(r, row, y);
    become(r, x, y);
}

/* Scores stored, then softmax as an operation of its own: the scale is a row behind or in front of the product. */
static bool attention_is_apart(const vs_half_run *r) { return r->model->policy->attention == VS_OPERATION_DECOMPOSED; }

static void scale_operands(vs_half_run *r) {
    const vs_half_scale scale = r->model->policy->scale;
    if (!attention_is_apart(r) || scale == VS_SCALE_AFTER) return;
    const vs_half_operand factor = vs_half_of_constant(r, scale == VS_SCALE_BOTH ? VS_CONSTANT_ROOT : VS_CONSTANT_SCALE);
    vs_half_element(r, VS_ROW_QSCALE, VS_ELEMENT_MUL, VS_PLACE_Q, factor, VS_PLACE_Q_OUT);
    become(r, VS_PLACE_Q, VS_PLACE_Q_OUT);
    if (scale != VS_SCALE_BOTH) return;
    vs_half_element(r, VS_ROW_KSCALE, VS_ELEMENT_MUL, VS_PLACE_K, factor, VS_PLACE_K_OUT);
    become(r, VS_PLACE_K, VS_PLACE_K_OUT);
}

/* q k^T of every image and head. */
static void multiply_scores(const vs_half_run *r, vs_mat q, vs_mat k, vs_mat out) {
    const vs_backend *be = r->backend;
    const size_t t = r->tokens, heads = r->arch->heads, d = r->arch->width / heads;
    for (size_t i = 0; i < r->images * heads; i++)
        be->ops->linear(be, vs_mat_view(be, q, i / heads * t, t, i % heads * d, d),
                        vs_mat_view(be, k, i / heads * t, t, i % heads * d, d), NULL, vs_mat_view(be, out, i * t, t, 0, t));
}

/* k counts without its mean over tokens, which adds one number to all scores of a query and is nothing to softmax; rotated keys
 * have no such part. Ones in the place of probabilities sum over tokens. */
static void compare_keys(const vs_half_run *r) {
    if (r->lane_count < VS_HALF_LANES || r->arch->position == VS_POSITION_ROPE) return;
    const vs_backend *be = r->backend;
    const vs_half_tensor *reference = r->lanes[1].at;
    const vs_mat ones = reference[VS_PLACE_SCORES].x, sums = reference[VS_PLACE_SUMS].x;
    vs_mat without[VS_HALF_LANES];
    multiply_scores(r, reference[VS_PLACE_Q].x, reference[VS_PLACE_K].x, ones);
    be->ops->exp_rows(be, ones, 0, ones, sums); /* every sum is T */
    for (size_t l = 0; l < VS_HALF_LANES; l++) {
        const vs_mat k = r->lanes[l].at[VS_PLACE_K].x, mean = r->lanes[l].at[VS_PLACE_BRANCH].x;
        without[l] = (vs_mat){ r->casts[l], k.rows, k.cols, k.cols };
        be->ops->attention_apply(be, ones, k, r->images, r->arch->heads, mean);
        be->ops->elementwise(be, VS_ELEMENT_DIV, mean, vs_mat_view(be, sums, 0, mean.rows, 0, 1), mean);
        be->ops->elementwise(be, VS_ELEMENT_SUB, k, mean, without[l]);
    }
    vs_half_compare_part(r, VS_ROW_QKV, VS_PART_K, without[1], without[0]);
}

static void score(vs_half_run *r) {
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        multiply_scores(r, vs_half_read(r, lane, VS_ROW_SCORES, 0, VS_PLACE_Q),
                        vs_half_read(r, lane, VS_ROW_SCORES, 1, VS_PLACE_K), lane->at[VS_PLACE_SCORES].x);
        vs_half_store(r, lane, VS_ROW_SCORES, VS_PLACE_SCORES);
    }
    vs_half_compare(r, VS_ROW_SCORES, VS_PLACE_SCORES);
}

static void softmax(vs_half_run *r) {
    const vs_backend *be = r->backend;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        be->ops->softmax_rows(be, vs_half_read(r, lane, VS_ROW_SOFTMAX, 0, VS_PLACE_SCORES), lane->at[VS_PLACE_PROBS].x);
        vs_half_store(r, lane, VS_ROW_SOFTMAX, VS_PLACE_PROBS);
    }
    vs_half_compare(r, VS_ROW_SOFTMAX, VS_PLACE_PROBS);
}

/* h(s - max), h(e^it), and their quotient with the float32 sum of what was stored. */
static void softmax_apart(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const vs_half_row sub = VS_ROW_SOFTMAX_SUB, out = VS_ROW_SOFTMAX;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat scores = vs_half_read(r, lane, sub, 0, VS_PLACE_SCORES), largest = lane->at[VS_PLACE_SUMS].x;
        be->ops->row_max(be, scores, largest);
        be->ops->elementwise(be, VS_ELEMENT_SUB, scores, largest, lane->at[VS_PLACE_PROBS].x);
        vs_half_store(r, lane, sub, VS_PLACE_PROBS);
    }
    vs_half_compare(r, sub, VS_PLACE_PROBS);
    vs_half_element(r, VS_ROW_SOFTMAX_EXP, VS_ELEMENT_EXP, VS_PLACE_PROBS, (vs_half_operand){ 0 }, VS_PLACE_PROBS);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat e = vs_half_read(r, lane, out, 0, VS_PLACE_PROBS), sum = lane->at[VS_PLACE_SUMS].x;
        be->ops->row_sum(be, e, sum);
        be->ops->elementwise(be, VS_ELEMENT_DIV, e, sum, lane->at[VS_PLACE_PROBS].x);
        vs_half_store(r, lane, out, VS_PLACE_PROBS);
    }
    vs_half_compare(r, out, VS_PLACE_PROBS);
}

static void attend_apart(vs_half_run *r) {
    const vs_backend *be = r->backend;
    score(r);
    if (r->model->policy->scale == VS_SCALE_AFTER)
        vs_half_element(r, VS_ROW_SCALE, VS_ELEMENT_MUL, VS_PLACE_SCORES, vs_half_of_constant(r, VS_CONSTANT_SCALE),
                        VS_PLACE_SCORES);
    if (r->model->policy->softmax == VS_SOFTMAX_HALF)
        softmax_apart(r);
    else
        softmax(r);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        be->ops->attention_apply(be, vs_half_read(r, lane, VS_ROW_PV, 0, VS_PLACE_PROBS),
                                 vs_half_read(r, lane, VS_ROW_PV, 1, VS_PLACE_V), r->images, r->arch->heads,
                                 lane->at[VS_PLACE_BRANCH].x);
        vs_half_store(r, lane, VS_ROW_PV, VS_PLACE_BRANCH);
    }
    vs_half_compare(r, VS_ROW_PV, VS_PLACE_BRANCH);
}

/* Scores never leave the operation; e^(s - max) is rounded as an operand of the second product, whose result the float32 sum
 * divides. With `probs: softmax` it divides in front of the rounding. */
static void attend_lane(const vs_half_run *r, vs_half_lane *lane) {
    const vs_backend *be = r->backend;
    const size_t t = r->tokens, heads = r->arch->heads, d = r->arch->width / heads;
    const vs_mat scores = lane->at[VS_PLACE_SCORES].x, sums = lane->at[VS_PLACE_SUMS].x, out = lane->at[VS_PLACE_BRANCH].x;
    const bool first = r->model->policy->probs == VS_PROBS_SOFTMAX;
    multiply_scores(r, vs_half_read(r, lane, VS_ROW_PV, 0, VS_PLACE_Q), vs_half_read(r, lane, VS_ROW_PV, 1, VS_PLACE_K), scores);
    be->ops->exp_rows(be, scores, 1 / sqrt((double)d), scores, sums);
    if (first) be->ops->elementwise(be, VS_ELEMENT_DIV, scores, sums, scores);
    if (!vs_half_in_f32(r, lane, VS_ROW_PV)) be->ops->round_half(be, scores, r->model->weights->format, scores, 1, NULL);
    be->ops->attention_apply(be, scores, vs_half_read(r, lane, VS_ROW_PV, 0, VS_PLACE_V), r->images, heads, out);
    for (size_t i = 0; i < r->images * heads && !first; i++) {
        const vs_mat part = vs_mat_view(be, out, i / heads * t, t, i % heads * d, d);
        be->ops->elementwise(be, VS_ELEMENT_DIV, part, vs_mat_view(be, sums, i * t, t, 0, 1), part);
    }
    vs_half_store(r, lane, VS_ROW_PV, VS_PLACE_BRANCH);
}

static void attend(vs_half_run *r) {
    if (attention_is_apart(r)) {
        attend_apart(r);
        return;
    }
    for (size_t l = 0; l < r->lane_count; l++) attend_lane(r, &r->lanes[l]);
    vs_half_compare(r, VS_ROW_PV, VS_PLACE_BRANCH);
}

void vs_half_attention(vs_half_run *r) {
    const size_t rows = r->images * r->arch->heads * r->tokens;
    vs_half_shape(r, VS_PLACE_SCORES, rows, r->tokens);
    vs_half_shape(r, VS_PLACE_PROBS, rows, r->tokens);
    vs_half_shape(r, VS_PLACE_SUMS, rows, 1);
    vs_half_shape(r, VS_PLACE_BRANCH, r->images * r->tokens, r->arch->width);
    vs_half_linear(r, VS_ROW_QKV, VS_KIND_QKV, VS_PLACE_NORMED, VS_PLACE_QKV);
    view_operands(r);
    compare_keys(r);
    if (r->arch->position == VS_POSITION_ROPE) {
        rotate(r, VS_ROW_ROPE_Q, VS_PLACE_Q, VS_PLACE_Q_OUT);
        rotate(r, VS_ROW_ROPE_K, VS_PLACE_K, VS_PLACE_K_OUT);
    }
    for (size_t i = 0; i < 2 * VS_HALF_PARTS; i++) /* before and behind a quantizer that is not there */
        vs_half_show(r, (vs_kind)(VS_KIND_Q + i / 2), i % 2 == 0, (vs_half_place)(VS_PLACE_Q + i / 2));
    scale_operands(r);
    attend(r);
}
