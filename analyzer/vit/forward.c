/* The forward pass, one formula a line; shapes and sources in vit-models.md 2.2 to 2.6. */
#include <math.h>

#include "session.h"

/* Shows a tensor to the tap, if anybody looks. */
static vs_status show(vs_tapper tapper, vs_kind kind, int block, bool input, vs_mat x, vs_error *err) {
    if (!tapper.fn) return VS_OK;
    const vs_tap tap = { kind, block, input, x };
    return tapper.fn(tapper.context, &tap, err);
}

static vs_status linear(const vs_session *s, const vs_linear_weights *l, vs_kind kind, int block, vs_mat x, vs_mat y,
                        vs_tapper tapper, vs_error *err) {
    vs_status status = show(tapper, kind, block, true, x, err);
    if (status != VS_OK) return status;
    s->backend->ops->linear(s->backend, x, l->w, l->b, y);
    return show(tapper, kind, block, false, y, err);
}

vs_status vs_forward_embed(vs_session *s, const vs_weights *w, const float *pixels, size_t stream, vs_tapper tapper,
                           vs_error *err) {
    const vs_backend_ops *ops = s->backend->ops;
    const size_t count = s->options.images * 3 * s->options.height * s->options.width;
    vs_status status = ops->upload(s->backend, s->pixels, pixels, count, err);
    if (status != VS_OK) return status;
    ops->patchify(s->backend, s->pixels, s->options.images, s->h, s->w, s->model->arch.patch, s->patches);
    status = linear(s, &w->patch, VS_KIND_PATCH_EMBED, -1, s->patches, s->embedded, tapper, err);
    if (status != VS_OK) return status;
    ops->tokens(s->backend, s->embedded, w->prefix, s->pos, s->options.images, s->streams[stream]);
    return show(tapper, VS_KIND_EMBED, -1, false, s->streams[stream], err);
}

void vs_forward_attention(const vs_session *s, vs_mat q, vs_mat k, vs_mat v, vs_mat out) {
    const vs_arch *a = &s->model->arch;
    const size_t head_width = a->width / a->heads;
    const double scale = 1.0 / sqrt((double)head_width);
    s->backend->ops->attention(s->backend, q, k, v, s->options.images, a->heads, scale, s->attention, out);
}

static vs_status attention(vs_session *s, const vs_workspace *ws, int block, vs_tapper tapper, vs_error *err) {
    static const vs_kind kinds[3] = { VS_KIND_Q, VS_KIND_K, VS_KIND_V };
    const size_t c = s->model->arch.width;
    vs_mat operand[3];
    for (size_t i = 0; i < 3; i++) {
        operand[i] = vs_mat_view(s->backend, ws->qkv, 0, ws->qkv.rows, i * c, c);
        vs_status status = show(tapper, kinds[i], block, true, operand[i], err);
        if (status == VS_OK) status = show(tapper, kinds[i], block, false, operand[i], err);
        if (status != VS_OK) return status;
    }
    vs_forward_attention(s, operand[0], operand[1], operand[2], ws->attended);
    return VS_OK;
}

vs_status vs_forward_block(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t block, vs_tapper tapper,
                           vs_error *err) {
    const vs_backend *be = s->backend;
    const vs_workspace *ws = &s->workspaces[workspace];
    const vs_block_weights *bw = &w->blocks[block];
    const vs_mat x = s->streams[stream];
    const double eps = s->model->arch.eps;
    const int b = (int)block;

    be->ops->layernorm(be, x, bw->norm1_g, bw->norm1_b, eps, ws->norm1);
    vs_status status = linear(s, &bw->qkv, VS_KIND_QKV, b, ws->norm1, ws->qkv, tapper, err);
    if (status == VS_OK) status = attention(s, ws, b, tapper, err);
    if (status == VS_OK) status = linear(s, &bw->proj, VS_KIND_PROJ, b, ws->attended, ws->proj, tapper, err);
    if (status != VS_OK) return status;
    be->ops->scale_add(be, x, ws->proj, bw->ls1, x);

    be->ops->layernorm(be, x, bw->norm2_g, bw->norm2_b, eps, ws->norm2);
    status = linear(s, &bw->fc1, VS_KIND_FC1, b, ws->norm2, ws->fc1, tapper, err);
    if (status != VS_OK) return status;
    be->ops->gelu(be, ws->fc1, ws->gelu);
    status = linear(s, &bw->fc2, VS_KIND_FC2, b, ws->gelu, ws->fc2, tapper, err);
    if (status != VS_OK) return status;
    be->ops->scale_add(be, x, ws->fc2, bw->ls2, x);
    return show(tapper, VS_KIND_BLOCK, b, false, x, err);
}

/* What the head reads: normalised patch tokens (segmentation) or the class token. */
static void gather_features(const vs_session *s, const vs_weights *w) {
    const bool segmentation = s->model->arch.head == VS_HEAD_SEGMENTATION;
    const size_t first = segmentation ? s->t - s->n : 0, rows = segmentation ? s->n : 1, c = s->model->arch.width;
    for (size_t i = 0; i < s->options.images; i++) {
        const vs_mat from = vs_mat_view(s->backend, s->normed, i * s->t + first, rows, 0, c);
        const vs_mat to = vs_mat_view(s->backend, s->features, i * rows, rows, 0, c);
        if (segmentation)
            s->backend->ops->affine(s->backend, from, w->head_scale, w->head_shift, to);
        else
            s->backend->ops->copy(s->backend, from, to);
    }
}

vs_status vs_forward_head(vs_session *s, const vs_weights *w, size_t stream, vs_tapper tapper, vs_error *err) {
    s->backend->ops->layernorm(s->backend, s->streams[stream], w->norm_g, w->norm_b, s->model->arch.eps, s->normed);
    vs_status status = show(tapper, VS_KIND_NORM, -1, false, s->normed, err);
    if (status != VS_OK || s->model->arch.head == VS_HEAD_NONE) return status;
    gather_features(s, w);
    status = linear(s, &w->head, VS_KIND_HEAD, -1, s->features, s->logits, tapper, err);
    return status == VS_OK ? show(tapper, VS_KIND_LOGITS, -1, false, s->logits, err) : status;
}

vs_status vs_forward(vs_session *s, const vs_weights *w, const float *pixels, vs_tapper tapper, vs_error *err) {
    vs_status status = vs_forward_embed(s, w, pixels, 0, tapper, err);
    for (size_t b = 0; b < s->model->arch.depth && status == VS_OK; b++) status = vs_forward_block(s, w, 0, 0, b, tapper, err);
    return status == VS_OK ? vs_forward_head(s, w, 0, tapper, err) : status;
}
