/* EoMT as rows (docs/vit-models.md 5.6, docs/fp16-reference.md 2): queries join the stream, and of its final-normed rows a query
 * gives a class and a vector, whose product with an upscaled patch is that pixel's mask logit. */
#include "half/machine.h"

/* An engine puts them in front of the tokens and stores the whole. */
void vs_half_join(vs_half_run *r) {
    const vs_arch *a = r->arch;
    const vs_backend *be = r->backend;
    const size_t q = a->queries, t = r->tokens, each = t + q, c = a->width;
    if (q == 0 || r->block + a->joint_blocks != a->depth) return;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat x = vs_half_read(r, lane, VS_ROW_QUERIES, 0, VS_PLACE_STREAM);
        const vs_mat kept = { lane->at[VS_PLACE_NORMED].x.p, x.rows, c, c },
                     to = { lane->at[VS_PLACE_STREAM].x.p, r->images * each, c, c };
        be->ops->copy(be, x, kept);
        for (size_t i = 0; i < r->images; i++) {
            be->ops->copy(be, vs_half_param_mat(vs_half_set_of(r, lane, VS_ROW_QUERIES), "head.queries"),
                          vs_mat_view(be, to, i * each, q, 0, c));
            be->ops->copy(be, vs_mat_view(be, kept, i * t, t, 0, c), vs_mat_view(be, to, i * each + q, t, 0, c));
        }
        lane->at[VS_PLACE_STREAM].x = to;
        vs_half_store(r, lane, VS_ROW_QUERIES, VS_PLACE_STREAM);
    }
    r->tokens = each;
    vs_half_compare(r, VS_ROW_QUERIES, VS_PLACE_STREAM);
}

/* Linear, GELU, linear, GELU, linear. */
static void mask_head(vs_half_run *r) {
    vs_half_linear(r, VS_ROW_MASK1, VS_KIND_MASK1, VS_PLACE_QUERIES, VS_PLACE_MASK);
    vs_half_gelu(r, VS_ROW_MASK_GELU1, VS_PLACE_MASK, VS_PLACE_MASK_ACTIVE);
    vs_half_linear(r, VS_ROW_MASK2, VS_KIND_MASK2, VS_PLACE_MASK_ACTIVE, VS_PLACE_MASK);
    vs_half_gelu(r, VS_ROW_MASK_GELU2, VS_PLACE_MASK, VS_PLACE_MASK_ACTIVE);
    vs_half_linear(r, VS_ROW_MASK3, VS_KIND_MASK3, VS_PLACE_MASK_ACTIVE, VS_PLACE_MASK);
}

/* Its product as other states have it, four pixels a row, which stands unrounded in PIXELS_WORK. */
static void show_product(vs_half_run *r, vs_half_row row, size_t u, size_t rows) {
    if (!r->model->tap) return;
    vs_half_shape(r, VS_PLACE_PIXELS_WORK, rows, 4 * r->arch->width);
    for (size_t l = 0; l < r->lane_count; l++) {
        const vs_mat x = r->lanes[l].at[VS_PLACE_PIXELS_WORK].x;
        if (!vs_half_in_f32(r, &r->lanes[l], row))
            r->backend->ops->round_half(r->backend, x, r->model->weights->format, x, 1, NULL);
    }
    vs_half_show(r, (vs_kind)(VS_KIND_UP1 + u), false, VS_PLACE_PIXELS_WORK);
}

/* A transposed convolution: a product, and four pixels placed for one. From PIXELS to PIXELS_OUT. */
static void enlarge(vs_half_run *r, vs_half_row row, size_t u, size_t h, size_t w) {
    const vs_backend *be = r->backend;
    const size_t n = h * w, c = r->arch->width;
    vs_half_shape(r, VS_PLACE_PIXELS_OUT, r->images * 4 * n, c);
    vs_half_show(r, (vs_kind)(VS_KIND_UP1 + u), true, VS_PLACE_PIXELS);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat x = vs_half_read(r, lane, row, 0, VS_PLACE_PIXELS);
        const vs_linear_weights up =
            vs_weights_linear(&vs_half_set_of(r, lane, row)->w, vs_graph_find(r->graph, (vs_kind)(VS_KIND_UP1 + u), -1));
        const vs_mat four = { lane->at[VS_PLACE_PIXELS_WORK].x.p, r->images * n, 4 * c, 4 * c };
        for (size_t i = 0; i < r->images; i++)
            vs_half_multiply(r, &up, 0, vs_mat_view(be, x, i * n, n, 0, c), vs_mat_view(be, four, i * n, n, 0, 4 * c));
        be->ops->unfold2x2(be, four, r->images, h, w, lane->at[VS_PLACE_PIXELS_OUT].x);
        vs_half_store(r, lane, row, VS_PLACE_PIXELS_OUT);
    }
    vs_half_compare(r, row, VS_PLACE_PIXELS_OUT);
    show_product(r, row, u, r->images * n);
}

/* From PIXELS_WORK to PIXELS. */
static void convolve(vs_half_run *r, vs_half_row row, size_t u, size_t h, size_t w) {
    const vs_backend *be = r->backend;
    vs_half_shape(r, VS_PLACE_PIXELS, r->images * h * w, r->arch->width);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        be->ops->depthwise3x3(be, vs_half_read(r, lane, row, 0, VS_PLACE_PIXELS_WORK),
                              vs_half_param(vs_half_set_of(r, lane, row), "head.upscale.#.conv2.weight", u), r->images, h, w,
                              lane->at[VS_PLACE_PIXELS].x);
        vs_half_store(r, lane, row, VS_PLACE_PIXELS);
    }
    vs_half_compare(r, row, VS_PLACE_PIXELS);
}

static void upscale(vs_half_run *r) {
    static const double norm_eps = 1e-5; /* whatever the backbone's */
    const vs_half_set *half = &r->model->weights->half, *f32 = &r->model->weights->f32;
    size_t h = vs_session_grid_h(r->session), w = vs_session_grid_w(r->session);
    for (size_t u = 0; u < r->arch->upscales; u++) {
        const vs_half_norm norm = { .first = vs_half_up_row(u, VS_UP_NORM),
                                    .half_g = vs_half_param(half, "head.upscale.#.norm.weight", u),
                                    .half_b = vs_half_param(half, "head.upscale.#.norm.bias", u),
                                    .f32_g = vs_half_param(f32, "head.upscale.#.norm.weight", u),
                                    .f32_b = vs_half_param(f32, "head.upscale.#.norm.bias", u),
                                    .eps = norm_eps,
                                    .eps_constant = VS_CONSTANT_HEAD_EPS,
                                    .x = VS_PLACE_PIXELS,
                                    .y = VS_PLACE_PIXELS_OUT,
                                    .work = VS_PLACE_PIXELS_WORK };
        enlarge(r, vs_half_up_row(u, VS_UP_CONV1), u, h, w);
        h *= 2;
        w *= 2;
        vs_half_gelu(r, vs_half_up_row(u, VS_UP_ACT), VS_PLACE_PIXELS_OUT, VS_PLACE_PIXELS_WORK);
        convolve(r, vs_half_up_row(u, VS_UP_CONV2), u, h, w);
        vs_half_run_norm(r, &norm);
        vs_half_swap(r, VS_PLACE_PIXELS, VS_PLACE_PIXELS_OUT);
    }
}

/* Each pixel times each query of its image. */
static void mask_product(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const size_t q = r->arch->queries, c = r->arch->width, m = r->lanes[0].at[VS_PLACE_PIXELS].x.rows / r->images;
    vs_half_shape(r, VS_PLACE_MASKS, r->images * m, q);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat queries = vs_half_read(r, lane, VS_ROW_EINSUM, 0, VS_PLACE_MASK),
                     pixels = vs_half_read(r, lane, VS_ROW_EINSUM, 1, VS_PLACE_PIXELS);
        for (size_t i = 0; i < r->images; i++)
            be->ops->linear(be, vs_mat_view(be, pixels, i * m, m, 0, c), vs_mat_view(be, queries, i * q, q, 0, c), NULL,
                            vs_mat_view(be, lane->at[VS_PLACE_MASKS].x, i * m, m, 0, q));
        vs_half_store(r, lane, VS_ROW_EINSUM, VS_PLACE_MASKS);
    }
    vs_half_compare(r, VS_ROW_EINSUM, VS_PLACE_MASKS);
    vs_half_show(r, VS_KIND_MASKS, false, VS_PLACE_MASKS);
}

/* Of stored mask logits and classes, as the study compares them. */
static void score(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const vs_half_row row = VS_ROW_CLASS_SCORES;
    vs_half_shape(r, VS_PLACE_LOGITS, r->lanes[0].at[VS_PLACE_MASKS].x.rows, r->arch->classes);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat classes = vs_half_read(r, lane, row, 0, VS_PLACE_CLASSES);
        const vs_mat probs = { r->casts[0], classes.rows, classes.cols, classes.cols };
        be->ops->softmax_rows(be, classes, probs);
        be->ops->mask_scores(be, vs_half_read(r, lane, row, 1, VS_PLACE_MASKS), probs, r->images, lane->at[VS_PLACE_LOGITS].x);
        vs_half_store(r, lane, row, VS_PLACE_LOGITS);
        if (l > 0) continue;
        const vs_node *scores = &r->graph->nodes[r->graph->values[r->graph->output].producer];
        be->ops->copy(be, probs, vs_session_value(r->session, scores->in[1], 0, 0));
        be->ops->copy(be, lane->at[VS_PLACE_MASKS].x, vs_session_value(r->session, scores->in[0], 0, 0));
    }
    vs_half_compare(r, row, VS_PLACE_LOGITS);
}

void vs_half_eomt(vs_half_run *r) {
    const size_t q = r->arch->queries, t = r->tokens, n = r->patches, c = r->arch->width;
    vs_half_shape(r, VS_PLACE_QUERIES, r->images * q, c);
    vs_half_shape(r, VS_PLACE_PIXELS, r->images * n, c);
    vs_half_move(r, (vs_half_rows){ VS_PLACE_NORMED, t, 0, 0 }, q, c, (vs_half_rows){ VS_PLACE_QUERIES, q, 0, 0 });
    vs_half_move(r, (vs_half_rows){ VS_PLACE_NORMED, t, t - n, 0 }, n, c, (vs_half_rows){ VS_PLACE_PIXELS, n, 0, 0 });
    vs_half_linear(r, VS_ROW_HEAD_CONV, VS_KIND_HEAD, VS_PLACE_QUERIES, VS_PLACE_CLASSES);
    mask_head(r);
    upscale(r);
    mask_product(r);
    score(r);
}
