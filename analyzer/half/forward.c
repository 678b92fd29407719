/* The forward pass as rows: formulas of vit-models.md 2.2 to 2.6, operations of fp16.md section 2. */
#include <math.h>

#include "machine.h"

/* ---- norms ---- */

/* h(x - mu), h(c^2), var, h(var + eps), h(sqrt), h(c / s), h(* g), h(+ b) */
static void norm_apart(vs_half_run *r, vs_half_row first, vs_half_norm_weights w) {
    const vs_half_operand none = { 0 };
    vs_half_mean(r, first + VS_NORM_MEAN, VS_PLACE_STREAM, VS_PLACE_MEAN);
    vs_half_element(r, first + VS_NORM_CENTER, VS_ELEMENT_SUB, VS_PLACE_STREAM, vs_half_of_place(VS_PLACE_MEAN), VS_PLACE_NORMED);
    vs_half_element(r, first + VS_NORM_SQUARE, VS_ELEMENT_MUL, VS_PLACE_NORMED, vs_half_of_place(VS_PLACE_NORMED), VS_PLACE_WORK);
    vs_half_mean(r, first + VS_NORM_VAR, VS_PLACE_WORK, VS_PLACE_STATISTIC);
    vs_half_element(r, first + VS_NORM_EPS, VS_ELEMENT_ADD, VS_PLACE_STATISTIC, vs_half_of_constant(r, VS_CONSTANT_EPS),
                    VS_PLACE_STATISTIC);
    vs_half_element(r, first + VS_NORM_STD, VS_ELEMENT_SQRT, VS_PLACE_STATISTIC, none, VS_PLACE_STATISTIC);
    vs_half_element(r, first + VS_NORM_DIV, VS_ELEMENT_DIV, VS_PLACE_NORMED, vs_half_of_place(VS_PLACE_STATISTIC),
                    VS_PLACE_NORMED);
    vs_half_element(r, first + VS_NORM_MUL, VS_ELEMENT_MUL, VS_PLACE_NORMED, vs_half_of_vector(r, w.half_g, w.wide_g),
                    VS_PLACE_NORMED);
    vs_half_element(r, first + VS_NORM_OUT, VS_ELEMENT_ADD, VS_PLACE_NORMED, vs_half_of_vector(r, w.half_b, w.wide_b),
                    VS_PLACE_NORMED);
}

static void norm(vs_half_run *r, vs_half_row first, vs_half_norm_weights w) {
    if (r->model->policy->norm == VS_OPERATION_DECOMPOSED) {
        norm_apart(r, first, w);
        return;
    }
    const vs_half_row row = first + VS_NORM_OUT;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const bool wide = vs_half_is_wide(r, lane, row);
        r->backend->ops->layernorm(r->backend, vs_half_read(r, lane, row, 0, VS_PLACE_STREAM), wide ? w.wide_g : w.half_g,
                                   wide ? w.wide_b : w.half_b, r->arch->eps, lane->at[VS_PLACE_NORMED].x);
        vs_half_store(r, lane, row, VS_PLACE_NORMED);
    }
    vs_half_compare(r, row, VS_PLACE_NORMED);
}

/* ---- embedding ---- */

static void start_patches(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const vs_mat patches = vs_session_patches(r->session);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *t = &r->lanes[l].at[VS_PLACE_PATCHES];
        t->wide = r->lanes[l].reference;
        if (t->wide)
            be->ops->copy(be, patches, t->x);
        else /* the normalised image is rounded on entry */
            be->ops->round_half(be, patches, r->model->weights->format, t->x, 1, NULL);
    }
}

static void put_tokens(vs_half_run *r) {
    const vs_backend *be = r->backend;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_half_set *set = vs_half_set_of(r, lane, VS_ROW_TOKENS);
        be->ops->tokens(be, vs_half_read(r, lane, VS_ROW_TOKENS, 0, VS_PLACE_EMBEDDED), set->w.prefix, (vs_mat){ 0 }, r->images,
                        lane->at[VS_PLACE_STREAM].x);
        vs_half_store(r, lane, VS_ROW_TOKENS, VS_PLACE_STREAM);
    }
    vs_half_compare(r, VS_ROW_TOKENS, VS_PLACE_STREAM);
}

/* The stored positions of prefix tokens, the session's grid behind them. */
static void add_positions(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const vs_mat grid = vs_session_positions(r->session);
    const size_t t = r->tokens, n = r->patches;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat all = lane->positions, x = vs_half_read(r, lane, VS_ROW_POS_ADD, 0, VS_PLACE_STREAM);
        be->ops->copy(be, vs_half_set_of(r, lane, VS_ROW_POS_ADD)->positions, vs_mat_view(be, all, 0, t - n, 0, all.cols));
        be->ops->copy(be, grid, vs_mat_view(be, all, t - n, n, 0, all.cols));
        if (!vs_half_is_wide(r, lane, VS_ROW_POS_ADD)) be->ops->round_half(be, all, r->model->weights->format, all, 1, NULL);
        for (size_t i = 0; i < r->images; i++)
            be->ops->elementwise(be, VS_ELEMENT_ADD, vs_mat_view(be, x, i * t, t, 0, x.cols), all,
                                 vs_mat_view(be, lane->at[VS_PLACE_STREAM].x, i * t, t, 0, x.cols));
        vs_half_store(r, lane, VS_ROW_POS_ADD, VS_PLACE_STREAM);
    }
    vs_half_compare(r, VS_ROW_POS_ADD, VS_PLACE_STREAM);
}

static void embed(vs_half_run *r) {
    start_patches(r);
    vs_half_linear(r, VS_ROW_PATCH_EMBED, VS_KIND_PATCH_EMBED, VS_PLACE_PATCHES, VS_PLACE_EMBEDDED);
    put_tokens(r);
    if (r->arch->position != VS_POSITION_ROPE) add_positions(r);
}

/* ---- attention ---- */

static void view_operands(vs_half_run *r) {
    const size_t c = r->arch->width;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *at = r->lanes[l].at;
        for (size_t i = 0; i < 3; i++)
            at[VS_PLACE_Q + i] =
                (vs_half_tensor){ vs_mat_view(r->backend, at[VS_PLACE_QKV].x, 0, at[VS_PLACE_QKV].x.rows, i * c, c),
                                  at[VS_PLACE_QKV].wide };
    }
}

/* What stands at `from` is what `to` means from now on. */
static void become(vs_half_run *r, vs_half_place to, vs_half_place from) {
    for (size_t l = 0; l < r->lane_count; l++) r->lanes[l].at[to] = r->lanes[l].at[from];
}

static void rotate(vs_half_run *r, vs_half_row row, vs_half_place x, vs_half_place y) {
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        r->backend->ops->rope(r->backend, vs_half_read(r, lane, row, 0, x), vs_session_cosines(r->session),
                              vs_session_sines(r->session), r->images, r->arch->heads, lane->at[y].x);
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

static void attend_apart(vs_half_run *r) {
    const vs_backend *be = r->backend;
    score(r);
    if (r->model->policy->scale == VS_SCALE_AFTER)
        vs_half_element(r, VS_ROW_SCALE, VS_ELEMENT_MUL, VS_PLACE_SCORES, vs_half_of_constant(r, VS_CONSTANT_SCALE),
                        VS_PLACE_SCORES);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        be->ops->softmax_rows(be, vs_half_read(r, lane, VS_ROW_SOFTMAX, 0, VS_PLACE_SCORES), lane->at[VS_PLACE_PROBS].x);
        vs_half_store(r, lane, VS_ROW_SOFTMAX, VS_PLACE_PROBS);
    }
    vs_half_compare(r, VS_ROW_SOFTMAX, VS_PLACE_PROBS);
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
 * divides. */
static void attend_lane(const vs_half_run *r, vs_half_lane *lane) {
    const vs_backend *be = r->backend;
    const size_t t = r->tokens, heads = r->arch->heads, d = r->arch->width / heads;
    const vs_mat scores = lane->at[VS_PLACE_SCORES].x, sums = lane->at[VS_PLACE_SUMS].x, out = lane->at[VS_PLACE_BRANCH].x;
    multiply_scores(r, vs_half_read(r, lane, VS_ROW_PV, 0, VS_PLACE_Q), vs_half_read(r, lane, VS_ROW_PV, 1, VS_PLACE_K), scores);
    be->ops->exp_rows(be, scores, 1 / sqrt((double)d), scores, sums);
    if (!vs_half_is_wide(r, lane, VS_ROW_PV)) be->ops->round_half(be, scores, r->model->weights->format, scores, 1, NULL);
    be->ops->attention_apply(be, scores, vs_half_read(r, lane, VS_ROW_PV, 0, VS_PLACE_V), r->images, heads, out);
    for (size_t i = 0; i < r->images * heads; i++) {
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

/* ---- feed-forward ---- */

static void gelu(vs_half_run *r) {
    if (r->model->policy->gelu == VS_OPERATION_DECOMPOSED) {
        vs_half_element(r, VS_ROW_GELU_DIV, VS_ELEMENT_DIV, VS_PLACE_HIDDEN, vs_half_of_constant(r, VS_CONSTANT_SQRT2),
                        VS_PLACE_ACTIVE);
        vs_half_element(r, VS_ROW_GELU_ERF, VS_ELEMENT_ERF, VS_PLACE_ACTIVE, (vs_half_operand){ 0 }, VS_PLACE_ACTIVE);
        vs_half_element(r, VS_ROW_GELU_ONE, VS_ELEMENT_ADD, VS_PLACE_ACTIVE, vs_half_of_constant(r, VS_CONSTANT_ONE),
                        VS_PLACE_ACTIVE);
        vs_half_element(r, VS_ROW_GELU_MUL, VS_ELEMENT_MUL, VS_PLACE_HIDDEN, vs_half_of_place(VS_PLACE_ACTIVE), VS_PLACE_ACTIVE);
        vs_half_element(r, VS_ROW_GELU_OUT, VS_ELEMENT_MUL, VS_PLACE_ACTIVE, vs_half_of_constant(r, VS_CONSTANT_HALF),
                        VS_PLACE_ACTIVE);
        return;
    }
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        r->backend->ops->gelu(r->backend, vs_half_read(r, lane, VS_ROW_GELU_OUT, 0, VS_PLACE_HIDDEN),
                              lane->at[VS_PLACE_ACTIVE].x);
        vs_half_store(r, lane, VS_ROW_GELU_OUT, VS_PLACE_ACTIVE);
    }
    vs_half_compare(r, VS_ROW_GELU_OUT, VS_PLACE_ACTIVE);
}

/* ---- blocks ---- */

static void add_branch(vs_half_run *r, vs_half_row ls, vs_half_row add, vs_half_place branch, const void *half,
                       const void *wide) {
    if (wide) vs_half_element(r, ls, VS_ELEMENT_MUL, branch, vs_half_of_vector(r, half, wide), VS_PLACE_SCALED);
    vs_half_element(r, add, VS_ELEMENT_ADD, VS_PLACE_STREAM, vs_half_of_place(wide ? VS_PLACE_SCALED : branch), VS_PLACE_STREAM);
}

static void block(vs_half_run *r) {
    const vs_block_weights *half = &r->model->weights->half.w.blocks[r->block],
                           *wide = &r->model->weights->wide.w.blocks[r->block];
    norm(r, VS_ROW_NORM1, (vs_half_norm_weights){ half->norm1_g, half->norm1_b, wide->norm1_g, wide->norm1_b });
    vs_half_linear(r, VS_ROW_QKV, VS_KIND_QKV, VS_PLACE_NORMED, VS_PLACE_QKV);
    view_operands(r);
    compare_keys(r);
    if (r->arch->position == VS_POSITION_ROPE) {
        rotate(r, VS_ROW_ROPE_Q, VS_PLACE_Q, VS_PLACE_Q_OUT);
        rotate(r, VS_ROW_ROPE_K, VS_PLACE_K, VS_PLACE_K_OUT);
    }
    scale_operands(r);
    attend(r);
    vs_half_linear(r, VS_ROW_PROJ, VS_KIND_PROJ, VS_PLACE_BRANCH, VS_PLACE_WORK);
    add_branch(r, VS_ROW_LS1, VS_ROW_ADD1, VS_PLACE_WORK, half->ls1, wide->ls1);
    norm(r, VS_ROW_NORM2, (vs_half_norm_weights){ half->norm2_g, half->norm2_b, wide->norm2_g, wide->norm2_b });
    vs_half_linear(r, VS_ROW_FC1, VS_KIND_FC1, VS_PLACE_NORMED, VS_PLACE_HIDDEN);
    gelu(r);
    vs_half_linear(r, VS_ROW_FC2, VS_KIND_FC2, VS_PLACE_ACTIVE, VS_PLACE_WORK);
    add_branch(r, VS_ROW_LS2, VS_ROW_ADD2, VS_PLACE_WORK, half->ls2, wide->ls2);
}

/* ---- head ---- */

static void gather(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const size_t t = r->tokens, n = r->patches;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *at = r->lanes[l].at;
        at[VS_PLACE_FEATURES].wide = at[VS_PLACE_NORMED].wide;
        for (size_t i = 0; i < r->images; i++)
            be->ops->copy(be, vs_mat_view(be, at[VS_PLACE_NORMED].x, i * t + t - n, n, 0, r->arch->width),
                          vs_mat_view(be, at[VS_PLACE_FEATURES].x, i * n, n, 0, r->arch->width));
    }
}

static void batchnorm(vs_half_run *r) {
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_weights *w = &vs_half_set_of(r, lane, VS_ROW_HEAD_BN)->w;
        r->backend->ops->affine(r->backend, vs_half_read(r, lane, VS_ROW_HEAD_BN, 0, VS_PLACE_FEATURES), w->head_scale,
                                w->head_shift, lane->at[VS_PLACE_FEATURES].x);
        vs_half_store(r, lane, VS_ROW_HEAD_BN, VS_PLACE_FEATURES);
    }
    vs_half_compare(r, VS_ROW_HEAD_BN, VS_PLACE_FEATURES);
}

static void head(vs_half_run *r) {
    const vs_weights *half = &r->model->weights->half.w, *wide = &r->model->weights->wide.w;
    norm(r, VS_ROW_NORM, (vs_half_norm_weights){ half->norm_g, half->norm_b, wide->norm_g, wide->norm_b });
    if (r->arch->head == VS_HEAD_NONE) return;
    gather(r);
    if (r->arch->head_norm) batchnorm(r);
    vs_half_linear(r, VS_ROW_HEAD_CONV, VS_KIND_HEAD, VS_PLACE_FEATURES, VS_PLACE_LOGITS);
    r->backend->ops->copy(r->backend, r->lanes[0].at[VS_PLACE_LOGITS].x, vs_session_logits(r->session));
}

vs_status vs_half_check(const vs_model *m, const char *backend, const vs_backend_ops *ops, vs_error *err) {
    const vs_arch *a = &m->arch;
    const char *what = NULL;
    if (!ops->round_half || !ops->elementwise || !ops->row_mean || !ops->exp_rows)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "the half-precision diagnosis is not built for backend %s yet", backend);
    if (a->ffn != VS_FFN_GELU) what = "SwiGLU";
    if (a->prefix_norm) what = "norms of their own for class and register tokens";
    if (a->head == VS_HEAD_EOMT || a->head == VS_HEAD_CLASSIFIER || a->head_maps > 1)
        what = "a head other than a linear segmentation head on the last block";
    return what ? vs_fail(err, VS_ERR_UNSUPPORTED, "%s: the half-precision diagnosis is not built yet for %s", m->path, what)
                : VS_OK;
}

/* Whether a block has shown what the caller wanted to know: counts are brought over first. */
static vs_status has_enough(const vs_half_run *r, bool *enough, vs_error *err) {
    *enough = false;
    if (!r->seen || !(r->model->largest > 0)) return VS_OK;
    const vs_status status = r->backend->ops->sync(r->backend, err);
    const size_t first = r->block ? vs_half_row_index(r->arch, VS_ROW_NORM1, r->block) : 0;
    const size_t last = vs_half_row_index(r->arch, VS_ROW_ADD2, r->block);
    for (size_t i = 0; i < r->images && status == VS_OK; i++)
        for (size_t k = first; k <= last; k++) {
            const vs_half_seen *s = &r->seen[i][k];
            *enough |= s->stored.inf || s->cast[0].inf || s->cast[1].inf || s->stored.max > r->model->largest;
        }
    return status;
}

vs_status vs_half_forward(vs_session *s, const vs_half_model *model, const float *pixels, vs_half_seen *const *seen,
                          vs_error *err) {
    vs_half_run run, *r = &run;
    /* for its patches alone */
    vs_status status = vs_forward_embed(s, &model->weights->wide.w, pixels, 0, (vs_tapper){ NULL, NULL }, err);
    if (status != VS_OK) return status;
    vs_half_begin(r, s, model, seen);
    embed(r);
    bool enough = false;
    for (r->block = 0; r->block < r->arch->depth && status == VS_OK && !enough; r->block++) {
        block(r);
        status = has_enough(r, &enough, err);
        if (enough) return status;
    }
    r->block = 0;
    if (status == VS_OK) head(r);
    return status;
}
