#include "sens/rerun.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static const vs_tapper no_tap = { NULL, NULL };

static size_t scratch_reals(const vs_arch *a, size_t tokens, size_t images) {
    const size_t tokens_out = images * tokens * a->width, head_out = vs_arch_head_reals(a, images * tokens);
    return vs_largest_weight(a) + (tokens_out > head_out ? tokens_out : head_out);
}

vs_session_needs vs_rerun_needs(void) { return (vs_session_needs){ VS_RERUN_WORKSPACES, VS_RERUN_STREAMS, scratch_reals }; }

vs_status vs_reruns_create(vs_rerun **out, const vs_runner *runner, vs_error *err) {
    vs_rerun *reruns = *out = vs_calloc(runner->threads, sizeof *reruns);
    for (size_t i = 0; reruns && i < runner->threads; i++) {
        reruns[i] = (vs_rerun){ .backend = runner->weights->backend, .base = runner->weights, .stop = runner->stop };
        reruns[i].blocks = vs_calloc(runner->weights->model->arch.depth, sizeof *reruns[i].blocks);
        if (!reruns[i].blocks) reruns = NULL;
    }
    return reruns ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for re-runs");
}

void vs_reruns_free(vs_rerun *reruns, const vs_runner *runner) {
    for (size_t i = 0; reruns && i < runner->threads; i++) free(reruns[i].blocks);
    free(reruns);
}

/* ------------------------------------------------------------------ the changed layer */

static vs_weights *start_from(vs_rerun *r, const vs_weights *weights) {
    r->changed = *weights;
    memcpy(r->blocks, weights->blocks, weights->model->arch.depth * sizeof *r->blocks);
    r->changed.blocks = r->blocks;
    return &r->changed;
}

const vs_weights *vs_rerun_weights(vs_rerun *r, const vs_state *recipe, vs_kind kind, int block, vs_mode mode) {
    if (!vs_kind_is_linear(kind)) return r->base;
    vs_weights *w = start_from(r, r->base);
    vs_linear_weights l = *vs_weights_linear(mode == VS_MODE_ACTIVATION ? r->base : recipe->weights, kind, block);
    const vs_site *site = vs_variant_site(recipe->variant, kind, block);
    if (mode == VS_MODE_ACTIVATION && site->smooth) {
        const vs_mat smoothed = { r->weight_scratch, l.w.rows, l.w.cols, l.w.cols };
        vs_site_smooth_weight(r->backend, site, l.w, smoothed);
        l.w = smoothed;
    }
    vs_weights_set_linear(w, kind, block, l);
    return w;
}

static void change_input(const vs_backend *be, const vs_site *site, vs_mode mode, vs_mat x) {
    vs_site_smooth(be, site, x, x);
    if (mode != VS_MODE_WEIGHT) vs_site_quantize(be, site, x, x, 1, NULL);
}

static vs_status only_tap(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const vs_only_tap *c = context;
    if (tap->input && tap->kind == c->kind && tap->block == c->block)
        change_input(c->backend, vs_variant_site(c->recipe->variant, tap->kind, tap->block), c->mode, tap->x);
    return VS_OK;
}

vs_tapper vs_only_tapper(vs_only_tap *context) { return (vs_tapper){ only_tap, context }; }

/* ------------------------------------------------------------------ running on */

static bool interrupted(const vs_rerun *r) { return vs_stopped(r->stop); }

/* Blocks first..depth-1 and the head on a stream, compared with the float output. */
static vs_status run_on(const vs_rerun *r, const vs_weights *w, size_t stream, size_t first, vs_tapper tapper,
                        vs_error_sums *const *sums, vs_error *err) {
    vs_session *s = r->job->session;
    vs_status status = interrupted(r) ? vs_fail(err, VS_ERR_INTERRUPTED, "interrupted") : VS_OK;
    for (size_t b = first; b < r->base->model->arch.depth && status == VS_OK; b++)
        status = vs_forward_block(s, w, VS_RERUN_WORKSPACE, stream, b, tapper, err);
    if (status == VS_OK) status = vs_forward_head(s, w, stream, tapper, err);
    if (status == VS_OK && sums)
        r->backend->ops->error_sums(r->backend, r->reference, vs_session_output(r->job->session), r->job->images, sums);
    return status;
}

static void copy_stream(const vs_rerun *r, size_t from, size_t to) { vs_session_copy_stream(r->job->session, from, to); }

vs_status vs_rerun_begin(vs_rerun *r, const vs_job *job, vs_error *err) {
    const vs_arch *a = &r->base->model->arch;
    r->job = job;
    r->weight_scratch = vs_session_scratch(job->session);
    vs_status status = vs_forward_embed(job->session, r->base, job->pixels, VS_RERUN_BASE, no_tap, err);
    if (status != VS_OK) return status;
    copy_stream(r, VS_RERUN_BASE, VS_RERUN_STREAM);
    status = run_on(r, r->base, VS_RERUN_STREAM, 0, no_tap, NULL, err);
    const vs_mat out = vs_session_output(r->job->session);
    r->reference =
        (vs_mat){ (char *)r->weight_scratch + vs_largest_weight(a) * (size_t)r->backend->scalar, out.rows, out.cols, out.cols };
    r->backend->ops->copy(r->backend, out, r->reference);
    return status;
}

vs_status vs_rerun_block(vs_rerun *r, size_t block, vs_error *err) {
    vs_session *s = r->job->session;
    copy_stream(r, VS_RERUN_BASE, VS_RERUN_BLOCK_INPUT);
    vs_status status = vs_forward_block(s, r->base, VS_RERUN_BASE_WORKSPACE, VS_RERUN_BASE, block, no_tap, err);
    if (status != VS_OK) return status;
    vs_session_shape_stream(s, VS_RERUN_BLOCK_INPUT, VS_RERUN_MIDDLE);
    r->backend->ops->scale_add(r->backend, vs_session_stream(s, VS_RERUN_BLOCK_INPUT),
                               vs_session_workspace(s, VS_RERUN_BASE_WORKSPACE)->proj, r->base->blocks[block].ls1,
                               vs_session_stream(s, VS_RERUN_MIDDLE));
    return VS_OK;
}

static vs_mat input_of(const vs_workspace *ws, vs_kind kind) {
    switch (kind) {
    case VS_KIND_QKV: return ws->norm1;
    case VS_KIND_PROJ: return ws->attended;
    case VS_KIND_FC1: return ws->norm2;
    case VS_KIND_FC2: return ws->gelu;
    default: return (vs_mat){ 0 };
    }
}

/* Float operands, or the float input of a linear, from the base workspace to the other. */
static vs_mat put_input(const vs_rerun *r, vs_kind kind) {
    const vs_workspace *from = vs_session_workspace(r->job->session, VS_RERUN_BASE_WORKSPACE),
                       *to = vs_session_workspace(r->job->session, VS_RERUN_WORKSPACE);
    const vs_mat sources[] = { from->q, from->k, from->v }, targets[] = { to->q, to->k, to->v };
    const vs_mat x = input_of(to, kind);
    if (x.p) r->backend->ops->copy(r->backend, input_of(from, kind), x);
    for (size_t i = 0; i < 3 && !x.p; i++) r->backend->ops->copy(r->backend, sources[i], targets[i]);
    return x;
}

static vs_status alone_in_block(vs_rerun *r, const vs_weights *w, vs_only_tap *only, vs_error_sums *const *sums, vs_error *err) {
    vs_session *s = r->job->session;
    const bool operand = vs_kind_is_operand(only->kind), mlp = only->kind == VS_KIND_FC1 || only->kind == VS_KIND_FC2;
    vs_session_begin_block(s, VS_RERUN_WORKSPACE, (size_t)only->block);
    const vs_mat x = put_input(r, only->kind);
    if (!operand) change_input(r->backend, vs_variant_site(only->recipe->variant, only->kind, only->block), only->mode, x);
    copy_stream(r, mlp ? VS_RERUN_MIDDLE : VS_RERUN_BLOCK_INPUT, VS_RERUN_STREAM);
    vs_session_copy_collected(s, VS_RERUN_BASE, VS_RERUN_STREAM); /* this block's and later ones are collected again */
    vs_status status = vs_forward_block_from(s, w, VS_RERUN_WORKSPACE, VS_RERUN_STREAM, (size_t)only->block,
                                             operand ? VS_KIND_Q : only->kind, operand ? vs_only_tapper(only) : no_tap, err);
    if (status == VS_OK) status = run_on(r, r->base, VS_RERUN_STREAM, (size_t)only->block + 1, no_tap, sums, err);
    return status;
}

vs_status vs_rerun_alone(vs_rerun *r, const vs_state *recipe, vs_kind kind, int block, vs_mode mode, vs_error_sums *const *sums,
                         vs_error *err) {
    vs_only_tap only = { r->backend, recipe, kind, block, mode };
    const vs_weights *w = vs_rerun_weights(r, recipe, kind, block, mode);
    const size_t depth = r->base->model->arch.depth;
    if (block >= 0) return alone_in_block(r, w, &only, sums, err);
    if (vs_kind_is_head(kind)) return run_on(r, w, VS_RERUN_BASE, depth, vs_only_tapper(&only), sums, err);
    vs_status status = vs_forward_embed(r->job->session, w, r->job->pixels, VS_RERUN_STREAM, vs_only_tapper(&only), err);
    return status == VS_OK ? run_on(r, r->base, VS_RERUN_STREAM, 0, no_tap, sums, err) : status;
}

/* ------------------------------------------------------------------ all but one */

typedef struct spare_tap {
    const vs_state *recipe;
    const vs_backend *backend;
    vs_kind kind;
    int block;
} spare_tap;

static vs_status all_but_one(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const spare_tap *c = context;
    if (tap->kind != c->kind || tap->block != c->block) vs_state_apply(c->recipe, c->backend, tap);
    return VS_OK;
}

/* The recipe's weights with one linear, and the norm in front of it that may hold its smoothing, float again. */
static const vs_weights *spared_weights(vs_rerun *r, const vs_state *recipe, vs_kind kind, int block) {
    vs_weights *w = start_from(r, recipe->weights);
    if (!vs_kind_is_linear(kind)) return w;
    vs_weights_set_linear(w, kind, block, *vs_weights_linear(r->base, kind, block));
    if (kind == VS_KIND_QKV) {
        w->blocks[block].norm1_g = r->base->blocks[block].norm1_g;
        w->blocks[block].norm1_b = r->base->blocks[block].norm1_b;
    } else if (kind == VS_KIND_FC1) {
        w->blocks[block].norm2_g = r->base->blocks[block].norm2_g;
        w->blocks[block].norm2_b = r->base->blocks[block].norm2_b;
    }
    return w;
}

vs_status vs_rerun_spared(vs_rerun *r, const vs_state *recipe, vs_kind kind, int block, vs_error_sums *const *sums,
                          vs_error *err) {
    spare_tap spare = { recipe, r->backend, kind, block };
    const vs_tapper tapper = { all_but_one, &spare };
    const vs_weights *w = spared_weights(r, recipe, kind, block);
    const size_t depth = r->base->model->arch.depth;
    if (kind == VS_KIND_PATCH_EMBED) {
        vs_status status = vs_forward_embed(r->job->session, w, r->job->pixels, VS_RERUN_STREAM, tapper, err);
        return status == VS_OK ? run_on(r, w, VS_RERUN_STREAM, 0, tapper, sums, err) : status;
    }
    copy_stream(r, VS_RERUN_BASE, VS_RERUN_STREAM);
    return run_on(r, w, VS_RERUN_STREAM, block < 0 ? depth : (size_t)block, tapper, sums, err);
}
