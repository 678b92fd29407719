/* The forward pass, one formula a line; shapes and sources in docs/vit-models.md 2.2 to 2.6. */
#include <math.h>

#include "vit/eomt.h"
#include "vit/head.h"
#include "vit/session.h"

vs_status vs_forward_show(vs_tapper tapper, vs_kind kind, int block, bool input, vs_mat x, vs_error *err) {
    if (!tapper.fn) return VS_OK;
    const vs_tap tap = { kind, block, input, x };
    return tapper.fn(tapper.context, &tap, err);
}

static vs_status linear(const vs_session *s, const vs_linear_weights *l, vs_kind kind, int block, vs_mat x, vs_mat y,
                        vs_tapper tapper, vs_error *err) {
    vs_status status = vs_forward_show(tapper, kind, block, true, x, err);
    if (status != VS_OK) return status;
    s->backend->ops->linear(s->backend, x, l->w, l->b, y);
    return vs_forward_show(tapper, kind, block, false, y, err);
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
    s->streams[stream].rows = s->options.images * s->t; /* without the queries of the last run */
    ops->tokens(s->backend, s->embedded, w->prefix, s->pos, s->options.images, s->streams[stream]);
    status = vs_forward_show(tapper, VS_KIND_EMBED, -1, false, s->streams[stream], err);
    if (status == VS_OK && s->model->arch.depth == s->model->arch.joint_blocks) vs_eomt_join(s, w, stream);
    return status;
}

static double score_scale(const vs_arch *a) {
    const size_t head_width = a->width / a->heads;
    return 1.0 / sqrt((double)head_width);
}

void vs_forward_attention_apply(const vs_session *s, vs_mat probs, vs_mat v, vs_mat out) {
    s->backend->ops->attention_apply(s->backend, probs, v, s->options.images, s->model->arch.heads, out);
}

void vs_forward_attention(const vs_session *s, vs_mat q, vs_mat k, vs_mat v, vs_mat probs, vs_mat out) {
    const vs_arch *a = &s->model->arch;
    const vs_backend_ops *ops = s->backend->ops;
    if (!probs.p) {
        ops->attention(s->backend, q, k, v, s->options.images, a->heads, score_scale(a), s->attention, out);
        return;
    }
    ops->attention_probs(s->backend, q, k, s->options.images, a->heads, score_scale(a), probs);
    vs_forward_attention_apply(s, probs, v, out);
}

static vs_status attention(vs_session *s, const vs_workspace *ws, int block, vs_tapper tapper, vs_error *err) {
    static const vs_kind kinds[3] = { VS_KIND_Q, VS_KIND_K, VS_KIND_V };
    const vs_mat operand[3] = { ws->q, ws->k, ws->v };
    for (size_t i = 0; i < 3; i++) {
        vs_status status = vs_forward_show(tapper, kinds[i], block, true, operand[i], err);
        if (status == VS_OK) status = vs_forward_show(tapper, kinds[i], block, false, operand[i], err);
        if (status != VS_OK) return status;
    }
    if (!ws->probs.p) {
        vs_forward_attention(s, operand[0], operand[1], operand[2], ws->probs, ws->attended);
        return VS_OK;
    }
    const vs_arch *a = &s->model->arch;
    s->backend->ops->attention_probs(s->backend, operand[0], operand[1], s->options.images, a->heads, score_scale(a), ws->probs);
    vs_status status = vs_forward_show(tapper, VS_KIND_P, block, true, ws->probs, err);
    if (status == VS_OK) status = vs_forward_show(tapper, VS_KIND_P, block, false, ws->probs, err);
    if (status == VS_OK) vs_forward_attention_apply(s, ws->probs, operand[2], ws->attended);
    return status;
}

/* One block at work: where its tensors are, and the layer it began with. */
typedef struct block_run {
    vs_session *s;
    const vs_block_weights *w;
    const vs_workspace *ws;
    vs_mat x; /* the residual stream */
    int block;
    vs_kind first;
    vs_tapper tapper;
} block_run;

static vs_status block_linear(const block_run *r, const vs_linear_weights *l, vs_kind kind, vs_mat x, vs_mat y, vs_error *err) {
    if (kind != r->first) return linear(r->s, l, kind, r->block, x, y, r->tapper, err);
    r->s->backend->ops->linear(r->s->backend, x, l->w, l->b, y); /* its input is the caller's */
    return vs_forward_show(r->tapper, kind, r->block, false, y, err);
}

/* q and k as attention reads them, from what qkv gave. */
static void rotate(const vs_session *s, const vs_workspace *ws) {
    const vs_mat to[2] = { ws->q, ws->k };
    for (size_t i = 0; i < 2 && s->cosines.p; i++) {
        const vs_mat from = vs_mat_view(s->backend, ws->qkv, 0, ws->qkv.rows, i * to[i].cols, to[i].cols);
        s->backend->ops->rope(s->backend, from, s->cosines, s->sines, s->options.images, s->model->arch.heads, to[i]);
    }
}

/* The attention half, from qkv, the operands or proj on. */
static vs_status block_attention(const block_run *r, vs_error *err) {
    const vs_backend *be = r->s->backend;
    vs_status status = VS_OK;
    if (r->first <= VS_KIND_QKV) {
        status = block_linear(r, &r->w->qkv, VS_KIND_QKV, r->ws->norm1, r->ws->qkv, err);
        rotate(r->s, r->ws);
    }
    if (status == VS_OK && r->first != VS_KIND_PROJ) status = attention(r->s, r->ws, r->block, r->tapper, err);
    if (status == VS_OK) status = block_linear(r, &r->w->proj, VS_KIND_PROJ, r->ws->attended, r->ws->proj, err);
    if (status != VS_OK) return status;
    be->ops->scale_add(be, r->x, r->ws->proj, r->w->ls1, r->x);
    be->ops->layernorm(be, r->x, r->w->norm2_g, r->w->norm2_b, r->s->model->arch.eps, r->ws->norm2);
    return VS_OK;
}

static vs_status block_mlp(const block_run *r, vs_error *err) {
    const vs_backend *be = r->s->backend;
    if (r->first != VS_KIND_FC2) {
        vs_status status = block_linear(r, &r->w->fc1, VS_KIND_FC1, r->ws->norm2, r->ws->fc1, err);
        if (status != VS_OK) return status;
        if (r->s->model->arch.ffn == VS_FFN_SWIGLU)
            be->ops->silu_mul(be, r->ws->fc1, r->ws->gelu);
        else
            be->ops->gelu(be, r->ws->fc1, r->ws->gelu);
    }
    vs_status status = block_linear(r, &r->w->fc2, VS_KIND_FC2, r->ws->gelu, r->ws->fc2, err);
    if (status != VS_OK) return status;
    be->ops->scale_add(be, r->x, r->ws->fc2, r->w->ls2, r->x);
    return vs_forward_show(r->tapper, VS_KIND_BLOCK, r->block, false, r->x, err);
}

/* What the next blocks and the head need of this one. */
static void end_block(vs_session *s, const vs_weights *w, size_t stream, size_t block) {
    const vs_arch *a = &s->model->arch;
    vs_head_collect(s, w, stream, block);
    if (block + 1 < a->depth && block + 1 + a->joint_blocks == a->depth) vs_eomt_join(s, w, stream);
}

static block_run begin_block(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t block, vs_kind first,
                             vs_tapper tapper) {
    vs_session_begin_block(s, workspace, block);
    return (block_run){ s, &w->blocks[block], &s->workspaces[workspace], s->streams[stream], (int)block, first, tapper };
}

vs_status vs_forward_block_from(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t block, vs_kind first,
                                vs_tapper tapper, vs_error *err) {
    const block_run r = begin_block(s, w, workspace, stream, block, first, tapper);
    vs_status status = first <= VS_KIND_PROJ ? block_attention(&r, err) : VS_OK;
    if (status == VS_OK) status = block_mlp(&r, err);
    if (status == VS_OK) end_block(s, w, stream, block);
    return status;
}

vs_status vs_forward_block(vs_session *s, const vs_weights *w, size_t workspace, size_t stream, size_t block, vs_tapper tapper,
                           vs_error *err) {
    const block_run r = begin_block(s, w, workspace, stream, block, VS_KIND_EMBED, tapper); /* from before its first layer */
    s->backend->ops->layernorm(s->backend, r.x, r.w->norm1_g, r.w->norm1_b, s->model->arch.eps, r.ws->norm1);
    vs_status status = block_attention(&r, err);
    if (status == VS_OK) status = block_mlp(&r, err);
    if (status == VS_OK) end_block(s, w, stream, block);
    return status;
}

vs_status vs_forward_head(vs_session *s, const vs_weights *w, size_t stream, vs_tapper tapper, vs_error *err) {
    vs_head_normalize(s, w, stream);
    vs_status status = vs_forward_show(tapper, VS_KIND_NORM, -1, false, s->normed, err);
    if (status != VS_OK || s->model->arch.head == VS_HEAD_NONE) return status;
    if (s->model->arch.head == VS_HEAD_EOMT) return vs_eomt_forward(s, w, tapper, err);
    vs_head_gather(s, w, stream);
    status = linear(s, &w->head, VS_KIND_HEAD, -1, s->features, s->logits, tapper, err);
    return status == VS_OK ? vs_forward_show(tapper, VS_KIND_LOGITS, -1, false, s->logits, err) : status;
}

vs_status vs_forward(vs_session *s, const vs_weights *w, const float *pixels, vs_tapper tapper, vs_error *err) {
    vs_status status = vs_forward_embed(s, w, pixels, 0, tapper, err);
    for (size_t b = 0; b < s->model->arch.depth && status == VS_OK; b++) status = vs_forward_block(s, w, 0, 0, b, tapper, err);
    return status == VS_OK ? vs_forward_head(s, w, 0, tapper, err) : status;
}
