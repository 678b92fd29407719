#include "vit/head.h"

static bool reads_patches(const vs_arch *a) { return a->head == VS_HEAD_SEGMENTATION; }

/* Rows of one image that the head reads: its patches, or its class token. */
static size_t head_rows(const vs_session *s) { return reads_patches(&s->model->arch) ? s->n : 1; }

static vs_mat tokens_of(const vs_session *s, vs_mat x, size_t image) {
    const size_t first = reads_patches(&s->model->arch) ? s->t - s->n : 0;
    return vs_mat_view(s->backend, x, image * s->t + first, head_rows(s), 0, x.cols);
}

/* Tokens [first, first + count) of every image with a norm. */
static void normalize(const vs_session *s, vs_mat x, size_t first, size_t count, const void *gain, const void *shift) {
    const vs_backend *be = s->backend;
    for (size_t i = 0; i < s->options.images; i++)
        be->ops->layernorm(be, vs_mat_view(be, x, i * s->t + first, count, 0, x.cols), gain, shift, s->model->arch.eps,
                           vs_mat_view(be, s->normed, i * s->t + first, count, 0, x.cols));
}

void vs_head_normalize(vs_session *s, const vs_weights *w, size_t stream) {
    const vs_mat x = s->streams[stream];
    const size_t prefix = s->t - s->n;
    if (!w->prefix_norm_g || s->model->arch.queries) { /* lightly-train's EoMT has one norm for all rows */
        s->backend->ops->layernorm(s->backend, x, w->norm_g, w->norm_b, s->model->arch.eps, s->normed);
        return;
    }
    normalize(s, x, 0, prefix, w->prefix_norm_g, w->prefix_norm_b);
    normalize(s, x, prefix, s->n, w->norm_g, w->norm_b);
}

void vs_head_collect(vs_session *s, const vs_weights *w, size_t stream, size_t block) {
    const vs_arch *a = &s->model->arch;
    const size_t first = a->depth - a->head_maps;
    if (a->head_maps < 2 || block < first || block + 1 == a->depth) return;
    const size_t rows = head_rows(s), c = a->width;
    vs_head_normalize(s, w, stream);
    for (size_t i = 0; i < s->options.images; i++)
        s->backend->ops->copy(s->backend, tokens_of(s, s->normed, i),
                              vs_mat_view(s->backend, s->collected[stream], i * rows, rows, (block - first) * c, c));
}

static const void *reals_at(const vs_session *s, const void *base, size_t offset) {
    return (const char *)base + offset * (size_t)s->backend->scalar;
}

/* Map `map` of one image: the stored statistics of its own channels. */
static void put_map(const vs_session *s, const vs_weights *w, size_t image, size_t map, vs_mat from) {
    const size_t rows = head_rows(s), c = s->model->arch.width;
    const vs_mat to = vs_mat_view(s->backend, s->features, image * rows, rows, map * c, c);
    if (s->model->arch.head_norm)
        s->backend->ops->affine(s->backend, from, reals_at(s, w->head_scale, map * c), reals_at(s, w->head_shift, map * c), to);
    else
        s->backend->ops->copy(s->backend, from, to);
}

/* The mean over patches is a product with a matrix of 1/N: every row of it is the mean. */
static void put_mean(const vs_session *s, size_t image) {
    const size_t c = s->model->arch.width;
    const vs_mat patches = vs_mat_view(s->backend, s->normed, image * s->t + s->t - s->n, s->n, 0, c);
    s->backend->ops->attention_apply(s->backend, s->pooling, patches, 1, 1, s->pooled);
    s->backend->ops->copy(s->backend, vs_mat_view(s->backend, s->pooled, 0, 1, 0, c),
                          vs_mat_view(s->backend, s->features, image, 1, s->model->arch.head_maps * c, c));
}

void vs_head_gather(vs_session *s, const vs_weights *w, size_t stream) {
    const vs_arch *a = &s->model->arch;
    const size_t rows = head_rows(s), last = a->head_maps - 1;
    for (size_t i = 0; i < s->options.images; i++) {
        for (size_t m = 0; m < last; m++)
            put_map(s, w, i, m, vs_mat_view(s->backend, s->collected[stream], i * rows, rows, m * a->width, a->width));
        put_map(s, w, i, last, tokens_of(s, s->normed, i));
        if (a->head_mean) put_mean(s, i);
    }
}
