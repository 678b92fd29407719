#include "vit/eomt.h"

static const double norm_eps = 1e-5; /* of the upscale blocks, whatever the backbone's */

void vs_eomt_join(vs_session *s, const vs_weights *w, size_t stream) {
    const size_t q = s->model->arch.queries, images = s->options.images;
    vs_mat *x = &s->streams[stream];
    if (q == 0) return;
    const vs_mat kept = vs_mat_view(s->backend, s->normed, 0, x->rows, 0, x->cols);
    s->backend->ops->copy(s->backend, *x, kept);
    x->rows = images * (s->t + q);
    for (size_t i = 0; i < images; i++) {
        const size_t first = i * (s->t + q);
        s->backend->ops->copy(s->backend, w->queries, vs_mat_view(s->backend, *x, first, q, 0, x->cols));
        s->backend->ops->copy(s->backend, vs_mat_view(s->backend, kept, i * s->t, s->t, 0, x->cols),
                              vs_mat_view(s->backend, *x, first + q, s->t, 0, x->cols));
    }
}

void vs_eomt_plan(vs_session *s, void *planner, vs_mat (*take)(void *planner, size_t rows, size_t cols)) {
    const vs_arch *a = &s->model->arch;
    vs_eomt_room *e = &s->eomt;
    const size_t c = a->width, queries = s->options.images * a->queries;
    size_t pixels = s->options.images * s->n;
    e->class_in = take(planner, queries, c);
    e->class_logits = take(planner, queries, a->classes + 1);
    e->class_probs = take(planner, queries, a->classes + 1);
    for (size_t i = 0; i < VS_MASK_LINEARS; i++) {
        e->mask_in[i] = take(planner, queries, c);
        e->mask_out[i] = take(planner, queries, c);
    }
    for (size_t u = 0; u < a->upscales; u++) {
        e->up_in[u] = take(planner, pixels, c);
        e->up_out[u] = take(planner, pixels, 4 * c);
        pixels *= 4;
    }
    e->unfolded = take(planner, pixels, c);
    e->upscaled = take(planner, pixels, c);
    e->masks = take(planner, pixels, a->queries);
    s->logits = take(planner, pixels, a->classes);
}

/* `count` normed rows of every image, from its row `first` on. */
static void gather(const vs_session *s, size_t first, size_t count, vs_mat to) {
    const size_t each = s->t + s->model->arch.queries;
    for (size_t i = 0; i < s->options.images; i++)
        s->backend->ops->copy(s->backend, vs_mat_view(s->backend, s->normed, i * each + first, count, 0, to.cols),
                              vs_mat_view(s->backend, to, i * count, count, 0, to.cols));
}

/* Image by image: a product of few rows may depend on their number in its last bits. */
static vs_status head_linear(const vs_session *s, const vs_linear_weights *l, vs_kind kind, vs_mat x, vs_mat y, vs_tapper tapper,
                             vs_error *err) {
    const size_t images = s->options.images, rows = x.rows / images;
    vs_status status = vs_forward_show(tapper, kind, -1, true, x, err);
    if (status != VS_OK) return status;
    for (size_t i = 0; i < images; i++)
        s->backend->ops->linear(s->backend, vs_mat_view(s->backend, x, i * rows, rows, 0, x.cols), l->w, l->b,
                                vs_mat_view(s->backend, y, i * rows, rows, 0, y.cols));
    return vs_forward_show(tapper, kind, -1, false, y, err);
}

static vs_status mask_head(vs_session *s, const vs_weights *w, vs_tapper tapper, vs_error *err) {
    const vs_eomt_room *e = &s->eomt;
    vs_status status = VS_OK;
    gather(s, 0, s->model->arch.queries, e->mask_in[0]); /* apart from the class head's: a tap may change either */
    for (size_t i = 0; i < VS_MASK_LINEARS && status == VS_OK; i++) {
        if (i > 0) s->backend->ops->gelu(s->backend, e->mask_out[i - 1], e->mask_in[i]);
        status = head_linear(s, &w->mask[i], (vs_kind)(VS_KIND_MASK1 + i), e->mask_in[i], e->mask_out[i], tapper, err);
    }
    return status;
}

static vs_status upscale(vs_session *s, const vs_weights *w, vs_tapper tapper, vs_error *err) {
    const vs_arch *a = &s->model->arch;
    const vs_backend *be = s->backend;
    const vs_eomt_room *e = &s->eomt;
    size_t height = s->h, width = s->w;
    vs_status status = VS_OK;
    gather(s, a->queries + s->t - s->n, s->n, e->up_in[0]);
    for (size_t u = 0; u < a->upscales && status == VS_OK; u++) {
        status = head_linear(s, &w->up[u], (vs_kind)(VS_KIND_UP1 + u), e->up_in[u], e->up_out[u], tapper, err);
        if (status != VS_OK) return status;
        const vs_mat wide = vs_mat_view(be, e->unfolded, 0, 4 * e->up_in[u].rows, 0, a->width);
        const vs_mat out = u + 1 < a->upscales ? e->up_in[u + 1] : e->upscaled;
        be->ops->unfold2x2(be, e->up_out[u], s->options.images, height, width, wide);
        height *= 2;
        width *= 2;
        be->ops->gelu(be, wide, wide);
        be->ops->depthwise3x3(be, wide, w->depthwise[u], s->options.images, height, width, out);
        be->ops->layernorm(be, out, w->up_norm_g[u], w->up_norm_b[u], norm_eps, out);
    }
    return status;
}

/* Mask logits: each pixel times each query of its image. */
static void mask_product(const vs_session *s) {
    const vs_eomt_room *e = &s->eomt;
    const vs_mat queries = e->mask_out[VS_MASK_LINEARS - 1];
    const size_t images = s->options.images, pixels = e->masks.rows / images, q = e->masks.cols;
    for (size_t i = 0; i < images; i++)
        s->backend->ops->linear(s->backend, vs_mat_view(s->backend, e->upscaled, i * pixels, pixels, 0, queries.cols),
                                vs_mat_view(s->backend, queries, i * q, q, 0, queries.cols), NULL,
                                vs_mat_view(s->backend, e->masks, i * pixels, pixels, 0, q));
}

vs_status vs_eomt_forward(vs_session *s, const vs_weights *w, vs_tapper tapper, vs_error *err) {
    const vs_eomt_room *e = &s->eomt;
    gather(s, 0, s->model->arch.queries, e->class_in);
    vs_status status = head_linear(s, &w->head, VS_KIND_HEAD, e->class_in, e->class_logits, tapper, err);
    if (status == VS_OK) status = mask_head(s, w, tapper, err);
    if (status == VS_OK) status = upscale(s, w, tapper, err);
    if (status != VS_OK) return status;
    mask_product(s);
    status = vs_forward_show(tapper, VS_KIND_MASKS, -1, false, e->masks, err);
    if (status != VS_OK) return status;
    s->backend->ops->softmax_rows(s->backend, e->class_logits, e->class_probs);
    s->backend->ops->mask_scores(s->backend, e->masks, e->class_probs, s->options.images, s->logits);
    return vs_forward_show(tapper, VS_KIND_LOGITS, -1, false, s->logits, err);
}

vs_mat vs_session_masks(const vs_session *s) { return s->eomt.masks; }
vs_mat vs_session_class_probs(const vs_session *s) { return s->eomt.class_probs; }

vs_mat vs_session_head_input(const vs_session *s, vs_kind kind) {
    if (s->model->arch.head != VS_HEAD_EOMT) return s->features;
    if (kind >= VS_KIND_UP1) return s->eomt.up_in[kind - VS_KIND_UP1];
    return kind >= VS_KIND_MASK1 ? s->eomt.mask_in[kind - VS_KIND_MASK1] : s->eomt.class_in;
}

vs_mat vs_session_head_output(const vs_session *s, vs_kind kind) {
    if (s->model->arch.head != VS_HEAD_EOMT) return s->logits;
    if (kind >= VS_KIND_UP1) return s->eomt.up_out[kind - VS_KIND_UP1];
    return kind >= VS_KIND_MASK1 ? s->eomt.mask_out[kind - VS_KIND_MASK1] : s->eomt.class_logits;
}
