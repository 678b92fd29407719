/* The final norm and heads on normed tokens, as rows (docs/vit-models.md 2.6, 5; docs/fp16-reference.md 2). */
#include "half/machine.h"

/* ---- the final norm ---- */

static bool is_split(const vs_arch *a) { return a->prefix_norm && !a->queries; } /* lightly-train's EoMT has one for all rows */

/* Tokens [first, first + count) of every image with a norm. After a block the place of its branch is free. */
static void norm_some(vs_half_run *r, vs_half_row row, size_t first, size_t count, bool prefix) {
    const vs_half_set *half = &r->model->weights->half, *f32 = &r->model->weights->f32;
    const char *g = prefix ? "prefix_norm.weight" : "norm.weight", *b = prefix ? "prefix_norm.bias" : "norm.bias";
    const vs_half_norm n = { .first = row,
                             .half_g = vs_half_param(half, g, 0),
                             .half_b = vs_half_param(half, b, 0),
                             .f32_g = vs_half_param(f32, g, 0),
                             .f32_b = vs_half_param(f32, b, 0),
                             .eps = r->arch->eps,
                             .eps_constant = VS_CONSTANT_EPS,
                             .x = VS_PLACE_BRANCH,
                             .y = VS_PLACE_SCALED,
                             .work = VS_PLACE_WORK };
    const size_t t = r->tokens, c = r->arch->width;
    vs_half_shape(r, VS_PLACE_BRANCH, r->images * count, c);
    vs_half_move(r, (vs_half_rows){ VS_PLACE_STREAM, t, first, 0 }, count, c, (vs_half_rows){ VS_PLACE_BRANCH, count, 0, 0 });
    vs_half_run_norm(r, &n);
    vs_half_move(r, (vs_half_rows){ VS_PLACE_SCALED, count, 0, 0 }, count, c, (vs_half_rows){ VS_PLACE_NORMED, t, first, 0 });
}

/* All tokens, from the rows of one norm, or of two. */
static void normalize(vs_half_run *r, vs_half_row prefix, vs_half_row norm) {
    const vs_half_set *half = &r->model->weights->half, *f32 = &r->model->weights->f32;
    const size_t t = r->tokens, n = r->patches;
    if (!is_split(r->arch)) {
        vs_half_norm_stream(r, norm, vs_half_param(half, "norm.weight", 0), vs_half_param(half, "norm.bias", 0),
                            vs_half_param(f32, "norm.weight", 0), vs_half_param(f32, "norm.bias", 0));
        return;
    }
    vs_half_shape(r, VS_PLACE_NORMED, r->images * t, r->arch->width);
    norm_some(r, prefix, 0, t - n, true);
    norm_some(r, norm, t - n, n, false);
}

/* ---- what the head reads ---- */

static bool reads_patches(const vs_arch *a) { return a->head == VS_HEAD_SEGMENTATION; }
static size_t head_rows(const vs_half_run *r) { return reads_patches(r->arch) ? r->patches : 1; }
static size_t first_token(const vs_half_run *r) { return reads_patches(r->arch) ? r->tokens - r->patches : 0; }

void vs_half_collect(vs_half_run *r) {
    const vs_arch *a = r->arch;
    const size_t first = a->depth - a->head_maps, rows = head_rows(r), c = a->width;
    if (a->head_maps < 2 || r->block < first || r->block + 1 == a->depth) return;
    if (r->block == first) vs_half_shape(r, VS_PLACE_MAPS, r->images * rows, (a->head_maps - 1) * c);
    normalize(r, VS_ROW_MAP_PREFIX_NORM, VS_ROW_MAP_NORM);
    vs_half_move(r, (vs_half_rows){ VS_PLACE_NORMED, r->tokens, first_token(r), 0 }, rows, c,
                 (vs_half_rows){ VS_PLACE_MAPS, rows, 0, (r->block - first) * c });
}

/* Ones [N, N] and sums N [N, 1] from what is finite, the image's own pixels: e^0. */
static vs_mat make_ones(const vs_half_run *r, const vs_half_lane *lane, vs_mat *sums) {
    const vs_backend *be = r->backend;
    const size_t n = r->patches;
    const vs_mat ones = { lane->at[VS_PLACE_SCORES].x.p, n, n, n }, all = vs_session_patches(r->session);
    const vs_mat pixels = vs_mat_view(be, all, 0, n, 0, all.cols);
    *sums = (vs_mat){ lane->at[VS_PLACE_SUMS].x.p, n, 1, 1 };
    be->ops->linear(be, pixels, pixels, NULL, ones);
    be->ops->exp_rows(be, ones, 0, ones, *sums);
    return ones;
}

/* The mean over an image's patches: every row of ones times patches is their sum, which N divides. */
static void average(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const size_t n = r->patches, t = r->tokens, c = r->arch->width;
    vs_half_shape(r, VS_PLACE_BRANCH, r->images * n, c);
    vs_half_shape(r, VS_PLACE_SCALED, r->images, c);
    vs_half_move(r, (vs_half_rows){ VS_PLACE_NORMED, t, t - n, 0 }, n, c, (vs_half_rows){ VS_PLACE_BRANCH, n, 0, 0 });
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        vs_mat sums;
        const vs_mat ones = make_ones(r, lane, &sums), x = vs_half_read(r, lane, VS_ROW_HEAD_MEAN, 0, VS_PLACE_BRANCH);
        const vs_mat room = { lane->at[VS_PLACE_WORK].x.p, n, c, c };
        for (size_t i = 0; i < r->images; i++) {
            be->ops->attention_apply(be, ones, vs_mat_view(be, x, i * n, n, 0, c), 1, 1, room);
            be->ops->elementwise(be, VS_ELEMENT_DIV, vs_mat_view(be, room, 0, 1, 0, c), vs_mat_view(be, sums, 0, 1, 0, 1),
                                 vs_mat_view(be, lane->at[VS_PLACE_SCALED].x, i, 1, 0, c));
        }
        vs_half_store(r, lane, VS_ROW_HEAD_MEAN, VS_PLACE_SCALED);
    }
    vs_half_compare(r, VS_ROW_HEAD_MEAN, VS_PLACE_SCALED);
}

/* Maps side by side, the last block's behind those that were kept, then the mean. */
static void gather(vs_half_run *r) {
    const vs_arch *a = r->arch;
    const size_t rows = head_rows(r), c = a->width, kept = (a->head_maps - 1) * c;
    const vs_half_place to = VS_PLACE_FEATURES;
    if (a->head_mean) average(r);
    vs_half_shape(r, to, r->images * rows, a->head_width);
    if (kept) vs_half_move(r, (vs_half_rows){ VS_PLACE_MAPS, rows, 0, 0 }, rows, kept, (vs_half_rows){ to, rows, 0, 0 });
    vs_half_move(r, (vs_half_rows){ VS_PLACE_NORMED, r->tokens, first_token(r), 0 }, rows, c,
                 (vs_half_rows){ to, rows, 0, kept });
    if (a->head_mean) vs_half_move(r, (vs_half_rows){ VS_PLACE_SCALED, 1, 0, 0 }, 1, c, (vs_half_rows){ to, 1, 0, kept + c });
}

/* ---- heads ---- */

static void batchnorm(vs_half_run *r) {
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_half_set *w = vs_half_set_of(r, lane, VS_ROW_HEAD_BN);
        r->backend->ops->affine(r->backend, vs_half_read(r, lane, VS_ROW_HEAD_BN, 0, VS_PLACE_FEATURES),
                                vs_half_param(w, "head.bn.scale", 0), vs_half_param(w, "head.bn.shift", 0),
                                lane->at[VS_PLACE_FEATURES].x);
        vs_half_store(r, lane, VS_ROW_HEAD_BN, VS_PLACE_FEATURES);
    }
    vs_half_compare(r, VS_ROW_HEAD_BN, VS_PLACE_FEATURES);
}

/* Tokens of both norms side by side again: an operation of the graph where they are its output. */
static void join_norms(vs_half_run *r) {
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat from = vs_half_read(r, lane, VS_ROW_NORM_CAT, 0, VS_PLACE_NORMED), to = lane->at[VS_PLACE_NORMED].x;
        if (from.p != to.p) r->backend->ops->copy(r->backend, from, to);
        vs_half_store(r, lane, VS_ROW_NORM_CAT, VS_PLACE_NORMED);
    }
    vs_half_compare(r, VS_ROW_NORM_CAT, VS_PLACE_NORMED);
}

void vs_half_head(vs_half_run *r) {
    const vs_arch *a = r->arch;
    const vs_half_place out = a->head == VS_HEAD_NONE ? VS_PLACE_NORMED : VS_PLACE_LOGITS;
    normalize(r, VS_ROW_PREFIX_NORM, VS_ROW_NORM);
    if (a->head != VS_HEAD_NONE) vs_half_show(r, VS_KIND_NORM, false, VS_PLACE_NORMED);
    if (a->head == VS_HEAD_EOMT) {
        vs_half_eomt(r);
    } else if (a->head != VS_HEAD_NONE) {
        gather(r);
        if (a->head_norm) batchnorm(r);
        vs_half_linear(r, VS_ROW_HEAD_CONV, VS_KIND_HEAD, VS_PLACE_FEATURES, VS_PLACE_LOGITS);
    } else if (is_split(a)) {
        join_norms(r);
    }
    vs_half_show(r, a->head == VS_HEAD_NONE ? VS_KIND_NORM : VS_KIND_LOGITS, false, out);
    r->backend->ops->copy(r->backend, r->lanes[0].at[out].x, vs_session_output(r->session));
}
