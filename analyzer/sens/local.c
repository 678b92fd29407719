/* Each layer quantized alone, with the float model's input, compared at its own output (docs/study.md 4). */
#include <string.h>

#include "sens/analysis_run.h"

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static size_t patch_reals(const vs_arch *a) { return 3 * a->patch * a->patch; }
static size_t input_reals(const vs_arch *a, size_t t) {
    return larger(t * larger(larger(a->width, a->hidden), patch_reals(a)), vs_arch_head_reals(a, t));
}
static size_t output_reals(const vs_arch *a, size_t t) {
    return larger(t * larger(3 * a->width, vs_arch_fc1_width(a)), vs_arch_head_reals(a, t));
}
/* What EoMT's linears give, kept while the states' heads run. */
static size_t kept_head_reals(const vs_arch *a, size_t t) {
    return a->head == VS_HEAD_EOMT ? 2 * vs_arch_head_reals(a, t) + (1 + VS_MASK_LINEARS) * t * larger(a->width, a->classes + 1)
                                   : 0;
}
size_t vs_analysis_scratch_reals(const vs_arch *a, size_t t, size_t images) {
    return 2 * input_reals(a, t * images) + output_reals(a, t * images) + vs_largest_weight(a) + kept_head_reals(a, t * images);
}
size_t vs_analysis_scratch_reals_with_probs(const vs_arch *a, size_t t, size_t images) {
    return vs_analysis_scratch_reals(a, t, images) + images * a->heads * t * t;
}

static void *reals_at(const vs_backend *be, void *base, size_t offset) { return (char *)base + offset * (size_t)be->scalar; }

vs_analysis_room vs_analysis_scratch(const vs_analysis_run *r, size_t rows, size_t in, size_t out) {
    const vs_backend *be = r->a->backend;
    const vs_arch *a = &r->a->model->arch;
    void *base = vs_session_scratch(r->job->session);
    const size_t all = r->job->images * vs_session_tokens(r->job->session), t = rows / r->job->images;
    const size_t i = input_reals(a, all), o = output_reals(a, all); /* of the most rows: a head's are not the tokens */
    return (vs_analysis_room){ { base, rows, in, in },
                               { reals_at(be, base, i), rows, in, in },
                               { reals_at(be, base, 2 * i), rows, out, out },
                               { reals_at(be, base, 2 * i + o), out, in, in },
                               { reals_at(be, base, 2 * i + o + vs_largest_weight(a)), a->heads * rows, t, t } };
}

vs_mat vs_analysis_kept_head(const vs_analysis_run *r, vs_kind kind) {
    const vs_session *s = r->job->session;
    const vs_arch *a = &r->a->model->arch;
    const size_t rows = r->job->images * vs_session_tokens(s);
    size_t at = 2 * input_reals(a, rows) + output_reals(a, rows) + vs_largest_weight(a);
    for (vs_kind k = VS_KIND_HEAD; k < kind; k++) {
        const vs_mat before = vs_session_head_output(s, k);
        at += before.rows * before.cols;
    }
    const vs_mat x = vs_session_head_output(s, kind);
    return (vs_mat){ reals_at(r->a->backend, vs_session_scratch(s), at), x.rows, x.cols, x.cols };
}

/* The float tensor that a state's tensor is compared with. */
vs_mat vs_analysis_float_output(const vs_analysis_run *r, vs_kind kind) {
    const vs_workspace *ws = vs_session_workspace(r->job->session, VS_ANALYSIS_FLOAT);
    if (vs_kind_is_head(kind)) return vs_session_head_output(r->job->session, kind);
    switch (kind) {
    case VS_KIND_PATCH_EMBED: return vs_session_embedded(r->job->session);
    case VS_KIND_QKV: return ws->qkv;
    case VS_KIND_PROJ: return ws->proj;
    case VS_KIND_FC1: return ws->fc1;
    case VS_KIND_FC2: return ws->fc2;
    default: return ws->attended;
    }
}

static vs_mat float_input(const vs_analysis_run *r, vs_kind kind) {
    const vs_workspace *ws = vs_session_workspace(r->job->session, VS_ANALYSIS_FLOAT);
    if (vs_kind_is_head(kind)) return vs_session_head_input(r->job->session, kind);
    switch (kind) {
    case VS_KIND_PATCH_EMBED: return vs_session_patches(r->job->session);
    case VS_KIND_QKV: return ws->norm1;
    case VS_KIND_PROJ: return ws->attended;
    case VS_KIND_FC1: return ws->norm2;
    default: return ws->gelu;
    }
}

static void local_linear(const vs_analysis_run *r, size_t row, vs_kind kind, int block, size_t recipe) {
    const vs_analysis *a = r->a;
    const vs_backend *be = a->backend;
    const vs_state *p = &a->states->recipes[recipe];
    const vs_site *site = vs_variant_site(p->variant, kind, block);
    const vs_linear_weights *base = vs_weights_linear(a->runner->weights, kind, block),
                            *quantized = vs_weights_linear(p->weights, kind, block);
    const vs_mat x = float_input(r, kind), y = vs_analysis_float_output(r, kind);
    vs_analysis_room s = vs_analysis_scratch(r, x.rows, x.cols, y.cols);
    const size_t sums = vs_local_index(a, row, recipe);

    vs_mat smoothed = x, weight = base->w;
    if (site->smooth) {
        smoothed = s.input;
        weight = s.weight;
        vs_site_smooth(be, site, x, smoothed);
        vs_site_smooth_weight(be, site, base->w, weight);
    }
    vs_site_quantize(be, site, smoothed, s.quantized, 1, NULL);
    vs_analysis_compare(r, sums + VS_LOCAL_INPUT_TENSOR, smoothed, s.quantized);
    const struct {
        bool run;
        vs_local column;
        vs_mat x, w;
    } modes[] = {
        { a->options->weight, VS_LOCAL_WEIGHT, smoothed, quantized->w },
        { a->options->activation, VS_LOCAL_ACTIVATION, s.quantized, weight },
        { a->options->both, VS_LOCAL_BOTH, s.quantized, quantized->w },
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (!modes[i].run) continue;
        be->ops->linear(be, modes[i].x, modes[i].w, base->b, s.output);
        vs_analysis_compare(r, sums + modes[i].column, y, s.output);
    }
    if (!a->options->activation || !vs_site_has_ends(site)) return;
    vs_site_quantize_endless(be, site, smoothed, s.quantized, 1);
    be->ops->linear(be, s.quantized, weight, base->b, s.output);
    vs_analysis_compare(r, sums + VS_LOCAL_UNCLIPPED, y, s.output);
}

/* One operand quantized, the others float; compared at the attention output, and behind float proj. */
static void attend(const vs_analysis_run *r, vs_kind kind, const vs_mat operands[4], vs_mat probabilities, vs_mat out) {
    if (kind == VS_KIND_P)
        vs_forward_attention_apply(r->job->session, operands[3], operands[2], out);
    else
        vs_forward_attention(r->job->session, operands[0], operands[1], operands[2], probabilities, out);
}

static void local_operand(const vs_analysis_run *r, size_t row, vs_kind kind, int block, size_t recipe) {
    const vs_analysis *a = r->a;
    const vs_backend *be = a->backend;
    const vs_site *site = vs_variant_site(a->states->recipes[recipe].variant, kind, block);
    const size_t sums = vs_local_index(a, row, recipe);
    const vs_workspace *ws = vs_session_workspace(r->job->session, VS_ANALYSIS_FLOAT);
    const size_t c = a->model->arch.width, which = (size_t)(kind - VS_KIND_Q);
    vs_mat operands[] = { ws->q, ws->k, ws->v, ws->probs };
    const vs_analysis_room s = vs_analysis_scratch(r, ws->qkv.rows, c, c);
    const vs_mat quantized = kind == VS_KIND_P ? s.probs : s.quantized, own = ws->probs.p ? s.probs : (vs_mat){ 0 };
    vs_site_quantize(be, site, operands[which], quantized, 1, NULL);
    vs_analysis_compare(r, sums + VS_LOCAL_INPUT_TENSOR, operands[which], quantized);
    if (!a->options->activation && !a->options->both) return;
    const vs_mat whole = operands[which];
    operands[which] = quantized;
    attend(r, kind, operands, own, s.output);
    vs_analysis_compare(r, sums + VS_LOCAL_ACTIVATION, ws->attended, s.output);
    const vs_linear_weights *proj = &a->runner->weights->blocks[block].proj;
    const vs_mat projected = { s.input.p, s.output.rows, c, c };
    be->ops->linear(be, s.output, proj->w, proj->b, projected);
    vs_analysis_compare(r, vs_local_proj_index(a, row, recipe), ws->proj, projected);
    if (!a->options->activation || !vs_site_has_ends(site)) return;
    vs_site_quantize_endless(be, site, whole, quantized, 1);
    attend(r, kind, operands, own, s.output);
    vs_analysis_compare(r, sums + VS_LOCAL_UNCLIPPED, ws->attended, s.output);
}

void vs_analysis_local_layer(const vs_analysis_run *r, vs_kind kind, int block) {
    const size_t row = vs_row_of(r->a, kind, block);
    for (size_t p = 0; !r->a->second_pass && row != SIZE_MAX && p < r->a->recipe_count; p++) {
        if (vs_kind_is_operand(kind) && vs_states_first_alike(r->a->states, p, kind, block) == p)
            local_operand(r, row, kind, block, p);
        else if (!vs_kind_is_operand(kind))
            local_linear(r, row, kind, block, p);
    }
}

void vs_analysis_local_block(const vs_analysis_run *r, size_t block) {
    for (vs_kind kind = VS_KIND_QKV; kind <= VS_KIND_FC2; kind++) vs_analysis_local_layer(r, kind, (int)block);
}

static void finish_row(const vs_analysis *a, size_t row, vs_error_sums *sums) {
    const vs_row *x = &a->results->rows[row];
    for (size_t p = 0; vs_kind_is_operand(x->kind) && p < a->recipe_count; p++) {
        const size_t from = vs_states_first_alike(a->states, p, x->kind, x->block);
        vs_error_sums *local = sums + vs_local_index(a, row, p);
        if (from != p) {
            memcpy(local, sums + vs_local_index(a, row, from), VS_LOCAL_COUNT * sizeof *local);
            sums[vs_local_proj_index(a, row, p)] = sums[vs_local_proj_index(a, row, from)];
        }
        local[VS_LOCAL_BOTH] = local[VS_LOCAL_ACTIVATION];
    }
}

void vs_analysis_local_finish(const vs_analysis_run *r) {
    for (size_t i = 0; i < r->job->images; i++)
        for (size_t row = 0; row < r->a->rows; row++) finish_row(r->a, row, vs_sums_slot(&r->a->sums, r->job->first + i));
}
