/* Norms as rows (docs/vit-models.md 2.4, docs/fp16-reference.md 2). */
#include "half/machine.h"

/* h(x - mu), h(c^2), var, h(var + eps), h(sqrt), h(c / s), h(* g), h(+ b) */
static void run_apart(vs_half_run *r, const vs_half_norm *n) {
    const vs_half_operand none = { 0 };
    const vs_half_row first = n->first;
    const vs_half_place statistic = VS_PLACE_STATISTIC;
    vs_half_mean(r, first + VS_NORM_MEAN, n->x, VS_PLACE_MEAN);
    vs_half_element(r, first + VS_NORM_CENTER, VS_ELEMENT_SUB, n->x, vs_half_of_place(VS_PLACE_MEAN), n->y);
    vs_half_element(r, first + VS_NORM_SQUARE, VS_ELEMENT_MUL, n->y, vs_half_of_place(n->y), n->work);
    vs_half_mean(r, first + VS_NORM_VAR, n->work, statistic);
    vs_half_element(r, first + VS_NORM_EPS, VS_ELEMENT_ADD, statistic, vs_half_of_constant(r, n->eps_constant), statistic);
    vs_half_element(r, first + VS_NORM_STD, VS_ELEMENT_SQRT, statistic, none, statistic);
    vs_half_element(r, first + VS_NORM_DIV, VS_ELEMENT_DIV, n->y, vs_half_of_place(statistic), n->y);
    vs_half_element(r, first + VS_NORM_MUL, VS_ELEMENT_MUL, n->y, vs_half_of_vector(r, n->half_g, n->f32_g), n->y);
    vs_half_element(r, first + VS_NORM_OUT, VS_ELEMENT_ADD, n->y, vs_half_of_vector(r, n->half_b, n->f32_b), n->y);
}

void vs_half_run_norm(vs_half_run *r, const vs_half_norm *n) {
    const vs_half_row row = n->first + VS_NORM_OUT;
    const vs_mat like = r->lanes[0].at[n->x].x;
    vs_half_shape(r, n->y, like.rows, like.cols);
    if (r->model->policy->norm == VS_OPERATION_DECOMPOSED) {
        run_apart(r, n);
        return;
    }
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const bool f32 = vs_half_in_f32(r, lane, row);
        r->backend->ops->layernorm(r->backend, vs_half_read(r, lane, row, 0, n->x), f32 ? n->f32_g : n->half_g,
                                   f32 ? n->f32_b : n->half_b, n->eps, lane->at[n->y].x);
        vs_half_store(r, lane, row, n->y);
    }
    vs_half_compare(r, row, n->y);
}

void vs_half_norm_stream(vs_half_run *r, vs_half_row first, const void *half_g, const void *half_b, const void *f32_g,
                         const void *f32_b) {
    const vs_half_norm n = { .first = first,
                             .half_g = half_g,
                             .half_b = half_b,
                             .f32_g = f32_g,
                             .f32_b = f32_b,
                             .eps = r->arch->eps,
                             .eps_constant = VS_CONSTANT_EPS,
                             .x = VS_PLACE_STREAM,
                             .y = VS_PLACE_NORMED,
                             .work = VS_PLACE_WORK };
    vs_half_run_norm(r, &n);
}
