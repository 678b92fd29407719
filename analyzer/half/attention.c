/* Attention's rows (docs/vit-models.md 2.4, 2.5, docs/fp16-reference.md 2). */
#include <math.h>

#include "half/machine.h"

/* q k^T of every image and head. */
static void multiply_scores(const vs_half_run *r, const vs_node *n, vs_mat q, vs_mat k, vs_mat out) {
    const vs_backend *be = r->backend;
    const size_t heads = n->heads, t = q.rows / r->images, d = q.cols / heads;
    for (size_t i = 0; i < r->images * heads; i++)
        be->ops->linear(be, vs_mat_view(be, q, i / heads * t, t, i % heads * d, d),
                        vs_mat_view(be, k, i / heads * t, t, i % heads * d, d), NULL, vs_mat_view(be, out, i * t, t, 0, t));
}

static vs_mat room_of(const vs_half_step *s, vs_half_room room) {
    return vs_half_room_of(s->run, s->lane, s->run->rows->at[s->row].node, room);
}

void vs_step_scores(const vs_half_step *s) { multiply_scores(s->run, s->node, s->x, s->u, s->y); }

void vs_step_below_max(const vs_half_step *s) {
    const vs_backend *be = s->run->backend;
    const vs_mat largest = room_of(s, VS_ROOM_SUMS);
    be->ops->row_max(be, s->x, largest);
    be->ops->elementwise(be, VS_ELEMENT_SUB, s->x, largest, s->y);
}

/* The sum of what was stored, in float32. */
void vs_step_of_sum(const vs_half_step *s) {
    const vs_backend *be = s->run->backend;
    const vs_mat sum = room_of(s, VS_ROOM_SUMS);
    be->ops->row_sum(be, s->x, sum);
    be->ops->elementwise(be, VS_ELEMENT_DIV, s->x, sum, s->y);
}

void vs_step_softmax(const vs_half_step *s) { s->run->backend->ops->softmax_rows(s->run->backend, s->x, s->y); }

void vs_step_apply(const vs_half_step *s) {
    s->run->backend->ops->attention_apply(s->run->backend, s->x, s->u, s->run->images, s->node->heads, s->y);
}

static void divide_heads(const vs_half_step *s, vs_mat sums) {
    const vs_backend *be = s->run->backend;
    const size_t heads = s->node->heads, t = s->y.rows / s->run->images, d = s->y.cols / heads;
    for (size_t i = 0; i < s->run->images * heads; i++) {
        const vs_mat part = vs_mat_view(be, s->y, i / heads * t, t, i % heads * d, d);
        be->ops->elementwise(be, VS_ELEMENT_DIV, part, vs_mat_view(be, sums, i * t, t, 0, 1), part);
    }
}

/* Scores never leave the operation; e^(s - max) is rounded as an operand of the second product, whose result the float32 sum
 * divides. With `probs: softmax` it divides in front of the rounding. */
void vs_step_attention(const vs_half_step *s) {
    const vs_half_run *r = s->run;
    const vs_backend *be = r->backend;
    const vs_mat scores = room_of(s, VS_ROOM_SCORES), sums = room_of(s, VS_ROOM_SUMS);
    const bool first = r->model->policy->probs == VS_PROBS_SOFTMAX;
    const size_t value = s->node->in[2];
    multiply_scores(r, s->node, s->x, s->u, scores);
    be->ops->exp_rows(be, scores, vs_half_constant_of(r->graph, s->node, VS_CONSTANT_SCALE), scores, sums);
    if (first) be->ops->elementwise(be, VS_ELEMENT_DIV, scores, sums, scores);
    if (!vs_half_in_f32(r, s->lane, s->row)) be->ops->round_half(be, scores, r->model->weights->format, scores, 1, NULL);
    /* q has been read: v takes its place */
    const vs_half_tensor v = { vs_half_value(r, s->lane, value), vs_half_value_f32(r, s->lane, value, 0) };
    be->ops->attention_apply(be, scores, vs_half_read(r, s->lane, s->row, 0, v), r->images, s->node->heads, s->y);
    if (!first) divide_heads(s, sums);
}

/* k counts without its mean over tokens, which adds one number to all scores of a query and is nothing to softmax; rotated keys
 * have no such part. Ones in the place of probabilities sum over tokens. */
void vs_half_compare_keys(const vs_half_run *r, size_t attention) {
    const vs_backend *be = r->backend;
    const vs_node *n = &r->graph->nodes[attention];
    size_t part = 0;
    const size_t row = vs_half_keys(r->rows, attention, &part);
    if (!r->seen || r->lane_count < VS_HALF_LANES || row == VS_NONE) return;
    const vs_half_lane *reference = &r->lanes[1];
    const vs_mat ones = vs_half_room_of(r, reference, attention, VS_ROOM_SCORES),
                 sums = vs_half_room_of(r, reference, attention, VS_ROOM_SUMS);
    vs_mat without[VS_HALF_LANES];
    multiply_scores(r, n, vs_half_value(r, reference, n->in[0]), vs_half_value(r, reference, n->in[1]), ones);
    be->ops->exp_rows(be, ones, 0, ones, sums); /* every sum is T */
    for (size_t l = 0; l < VS_HALF_LANES; l++) {
        const vs_mat k = vs_half_value(r, &r->lanes[l], n->in[1]), mean = vs_half_value(r, &r->lanes[l], n->out);
        without[l] = (vs_mat){ r->casts[l], k.rows, k.cols, k.cols };
        be->ops->attention_apply(be, ones, k, r->images, n->heads, mean);
        be->ops->elementwise(be, VS_ELEMENT_DIV, mean, vs_mat_view(be, sums, 0, mean.rows, 0, 1), mean);
        be->ops->elementwise(be, VS_ELEMENT_SUB, k, mean, without[l]);
    }
    vs_half_compare_part(r, row, part, without[1], without[0]);
}
