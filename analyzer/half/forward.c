/* The forward pass as rows: formulas of docs/vit-models.md 2.2 to 2.6, operations of docs/fp16-reference.md 2. */
#include "half/machine.h"

/* ---- embedding ---- */

static void start_patches(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const vs_mat patches = vs_session_patches(r->session);
    vs_half_shape(r, VS_PLACE_PATCHES, patches.rows, patches.cols);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_tensor *t = &r->lanes[l].at[VS_PLACE_PATCHES];
        t->f32 = r->lanes[l].reference;
        if (t->f32)
            be->ops->copy(be, patches, t->x);
        else /* the normalised image is rounded on entry */
            be->ops->round_half(be, patches, r->model->weights->format, t->x, 1, NULL);
    }
}

static void put_tokens(vs_half_run *r) {
    const vs_backend *be = r->backend;
    vs_half_shape(r, VS_PLACE_STREAM, r->images * r->tokens, r->arch->width);
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_half_set *set = vs_half_set_of(r, lane, VS_ROW_TOKENS);
        be->ops->tokens(be, vs_half_read(r, lane, VS_ROW_TOKENS, 0, VS_PLACE_EMBEDDED), vs_half_param_mat(set, "prefix.tokens"),
                        (vs_mat){ 0 }, r->images, lane->at[VS_PLACE_STREAM].x);
        vs_half_store(r, lane, VS_ROW_TOKENS, VS_PLACE_STREAM);
    }
    vs_half_compare(r, VS_ROW_TOKENS, VS_PLACE_STREAM);
}

/* The stored positions of prefix tokens, the session's grid behind them. */
static void add_positions(vs_half_run *r) {
    const vs_backend *be = r->backend;
    const vs_mat grid = vs_session_given(r->session, VS_GIVEN_POSITIONS);
    const size_t t = r->tokens, n = r->patches;
    for (size_t l = 0; l < r->lane_count; l++) {
        vs_half_lane *lane = &r->lanes[l];
        const vs_mat all = lane->positions, x = vs_half_read(r, lane, VS_ROW_POS_ADD, 0, VS_PLACE_STREAM);
        be->ops->copy(be, vs_half_param_mat(vs_half_set_of(r, lane, VS_ROW_POS_ADD), "prefix.positions"),
                      vs_mat_view(be, all, 0, t - n, 0, all.cols));
        be->ops->copy(be, grid, vs_mat_view(be, all, t - n, n, 0, all.cols));
        if (!vs_half_in_f32(r, lane, VS_ROW_POS_ADD)) be->ops->round_half(be, all, r->model->weights->format, all, 1, NULL);
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
    vs_half_show(r, VS_KIND_EMBED, false, VS_PLACE_STREAM);
}

/* ---- blocks ---- */

static void add_branch(vs_half_run *r, vs_half_row ls, vs_half_row add, vs_half_place branch, const void *half, const void *f32) {
    if (f32) vs_half_element(r, ls, VS_ELEMENT_MUL, branch, vs_half_of_vector(r, half, f32), VS_PLACE_SCALED);
    vs_half_element(r, add, VS_ELEMENT_ADD, VS_PLACE_STREAM, vs_half_of_place(f32 ? VS_PLACE_SCALED : branch), VS_PLACE_STREAM);
}

static void block(vs_half_run *r) {
    const vs_half_set *half = &r->model->weights->half, *f32 = &r->model->weights->f32;
    const size_t b = r->block;
    vs_half_join(r);
    vs_half_norm_stream(r, VS_ROW_NORM1, vs_half_param(half, "blocks.#.norm1.weight", b),
                        vs_half_param(half, "blocks.#.norm1.bias", b), vs_half_param(f32, "blocks.#.norm1.weight", b),
                        vs_half_param(f32, "blocks.#.norm1.bias", b));
    vs_half_attention(r);
    vs_half_linear(r, VS_ROW_PROJ, VS_KIND_PROJ, VS_PLACE_BRANCH, VS_PLACE_WORK);
    add_branch(r, VS_ROW_LS1, VS_ROW_ADD1, VS_PLACE_WORK, vs_half_param(half, "blocks.#.ls1", b),
               vs_half_param(f32, "blocks.#.ls1", b));
    vs_half_norm_stream(r, VS_ROW_NORM2, vs_half_param(half, "blocks.#.norm2.weight", b),
                        vs_half_param(half, "blocks.#.norm2.bias", b), vs_half_param(f32, "blocks.#.norm2.weight", b),
                        vs_half_param(f32, "blocks.#.norm2.bias", b));
    vs_half_feed_forward(r);
    vs_half_linear(r, VS_ROW_FC2, VS_KIND_FC2, VS_PLACE_ACTIVE, VS_PLACE_WORK);
    add_branch(r, VS_ROW_LS2, VS_ROW_ADD2, VS_PLACE_WORK, vs_half_param(half, "blocks.#.ls2", b),
               vs_half_param(f32, "blocks.#.ls2", b));
    vs_half_show(r, VS_KIND_BLOCK, false, VS_PLACE_STREAM);
    vs_half_collect(r);
}

bool vs_half_can_resume(const vs_arch *a) { return a->queries == 0 && a->head_maps < 2; }

/* Of every image, in front of the block at work; where a stream is not kept nothing is done. */
static void hand_over(const vs_half_run *r, bool keep) {
    const vs_mat all = r->lanes[0].at[VS_PLACE_STREAM].x;
    for (size_t i = 0; i < r->images; i++) {
        void *at = r->model->streams->at[i * r->arch->depth + r->block];
        const vs_mat own = vs_mat_view(r->backend, all, i * r->tokens, r->tokens, 0, all.cols);
        const vs_mat kept = { at, r->tokens, all.cols, all.cols };
        if (at) r->backend->ops->copy(r->backend, keep ? own : kept, keep ? kept : own);
    }
}

static void resume(vs_half_run *r, size_t first) {
    vs_half_shape(r, VS_PLACE_STREAM, r->images * r->tokens, r->arch->width);
    r->block = first - 1;
    r->lanes[0].at[VS_PLACE_STREAM].f32 = vs_half_in_f32(r, &r->lanes[0], VS_ROW_ADD2);
    r->block = first;
    hand_over(r, false);
}

/* Whether a block has shown what the caller wanted to know: counts are brought over first. */
static vs_status has_enough(const vs_half_run *r, bool *enough, vs_error *err) {
    *enough = false;
    if (!r->seen || !(r->model->largest > 0)) return VS_OK;
    const vs_status status = r->backend->ops->sync(r->backend, err);
    const size_t first = r->block ? vs_half_row_index(r->arch, VS_ROW_BLOCK_FIRST, r->block) : 0;
    const size_t last = vs_half_row_index(r->arch, VS_ROW_BLOCK_LAST, r->block);
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
    vs_status status = vs_forward_embed(s, &model->weights->f32.w, pixels, 0, (vs_tapper){ NULL, NULL }, err);
    if (status != VS_OK) return status;
    vs_half_begin(r, s, model, seen);
    r->err = err;
    if (model->streams && model->streams->first)
        resume(r, model->streams->first);
    else
        embed(r);
    bool enough = false;
    for (; r->block < r->arch->depth && status == VS_OK && !enough; r->block++) {
        if (model->streams && model->streams->keep) hand_over(r, true);
        block(r);
        status = r->status;
        if (status == VS_OK) status = has_enough(r, &enough, err);
        if (enough) return status;
    }
    r->block = 0;
    if (status != VS_OK) return status;
    vs_half_head(r);
    return r->status;
}
