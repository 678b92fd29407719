#include "analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

enum { FLOAT_WORKSPACE = 0, STATE_WORKSPACE = 1, WORKSPACES = 2 };

/* Results of one image, kept until it is pooled. Indices: row r, state s, recipe p. */
typedef struct image_slot {
    vs_error_sums *local;      /* [rows * recipes * VS_LOCAL_COUNT] */
    vs_error_sums *cumulative; /* [rows * states] */
    vs_error_sums *output;     /* [states] */
    vs_dist_slot *dist;        /* [rows * states * VS_TENSOR_COUNT] */
    double *energies;          /* their energy arrays, in one piece */
} image_slot;

typedef struct analysis {
    vs_results *results;
    const vs_runner *runner;
    const vs_backend *backend;
    const vs_model *model;
    const vs_states *states;
    const vs_analysis_options *options;
    size_t rows, state_count, recipe_count;
    size_t *row_of_site; /* [vs_site_count(depth)], SIZE_MAX where a layer is not asked for */
    image_slot *slots;   /* [wave] */
    vs_dist_pool *dist;  /* [rows * states * VS_TENSOR_COUNT] */
    vs_sqnr_pool *local, *cumulative, *output;
    uint64_t **hist; /* [threads]: one tensor's histogram before it is added to the pool's */
    bool second_pass;
} analysis;

static size_t dist_index(const analysis *a, size_t row, size_t state, vs_tensor tensor) {
    return (row * a->state_count + state) * VS_TENSOR_COUNT + tensor;
}

static size_t row_of(const analysis *a, vs_kind kind, int block) {
    const size_t site = vs_site_index(kind, block);
    return site == SIZE_MAX ? SIZE_MAX : a->row_of_site[site];
}

static size_t columns_of(const analysis *a, vs_kind kind, vs_tensor tensor) {
    const vs_linear *l = vs_model_linear(a->model, kind, 0);
    if (kind == VS_KIND_P) return a->model->arch.heads * a->results->tokens;
    if (!l) return a->model->arch.width;
    return tensor == VS_TENSOR_IN ? l->in : l->out;
}

/* ------------------------------------------------------------------ one image at work */

typedef struct run {
    const analysis *a;
    const vs_job *job;
    image_slot *slot;
    size_t state; /* whose tap this is */
} run;

/* Scratch of a session, laid out once: inputs (smoothed; quantized), an output, a smoothed weight, probabilities. */
typedef struct scratch {
    vs_mat input, quantized, output, weight, probs;
} scratch;

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }
static size_t patch_reals(const vs_arch *a) { return 3 * a->patch * a->patch; }
static size_t input_reals(const vs_arch *a, size_t t) {
    return t * larger(larger(a->width, a->hidden), larger(a->classes, patch_reals(a)));
}
static size_t output_reals(const vs_arch *a, size_t t) { return t * larger(larger(3 * a->width, a->hidden), a->classes); }
static size_t weight_reals(const vs_arch *a) {
    return a->width * larger(larger(3 * a->width, a->hidden), larger(a->classes, patch_reals(a)));
}
static size_t scratch_reals(const vs_arch *a, size_t t) { return 2 * input_reals(a, t) + output_reals(a, t) + weight_reals(a); }
static size_t scratch_reals_with_probs(const vs_arch *a, size_t t) { return scratch_reals(a, t) + a->heads * t * t; }

static void *reals_at(const vs_backend *be, void *base, size_t offset) { return (char *)base + offset * (size_t)be->real; }

static scratch scratch_for(const run *r, size_t rows, size_t in, size_t out) {
    const vs_backend *be = r->a->backend;
    const vs_arch *a = &r->a->model->arch;
    void *base = vs_session_scratch(r->job->session);
    const size_t i = input_reals(a, rows), o = output_reals(a, rows);
    return (scratch){ { base, rows, in, in },
                      { reals_at(be, base, i), rows, in, in },
                      { reals_at(be, base, 2 * i), rows, out, out },
                      { reals_at(be, base, 2 * i + o), out, in, in },
                      { reals_at(be, base, 2 * i + o + weight_reals(a)), a->heads * rows, rows, rows } };
}

static vs_status capture(const run *r, size_t row, vs_tensor tensor, vs_mat x, vs_error *err) {
    const analysis *a = r->a;
    if (a->second_pass || r->job->index != a->options->capture_image) return VS_OK;
    for (size_t i = 0; i < a->options->capture_count; i++) {
        vs_surface_capture *c = &a->options->captures[i];
        if (c->row != row || c->tensor != tensor) continue;
        const size_t n = x.rows * x.cols;
        void *host = vs_calloc(n, (size_t)a->backend->real);
        float *values = vs_calloc(n, sizeof *values);
        c->values[r->state] = values;
        const size_t stacked = a->results->rows[row].kind == VS_KIND_P ? a->model->arch.heads : 1, tokens = x.rows / stacked;
        c->tokens = tokens;
        c->channels = stacked * x.cols; /* probabilities: column head*T + key, as heads are side by side elsewhere */
        vs_status status = host && values ? a->backend->ops->download(a->backend, host, x, err)
                                          : vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
        if (status == VS_OK) status = a->backend->ops->sync(a->backend, err);
        for (size_t k = 0; k < n && status == VS_OK; k++) {
            const size_t r_of = k / x.cols, to = (r_of % tokens * stacked + r_of / tokens) * x.cols + k % x.cols;
            values[to] = fabsf(a->backend->real == VS_REAL_F64 ? (float)((const double *)host)[k] : ((const float *)host)[k]);
        }
        free(host);
        if (status != VS_OK) return status;
    }
    return VS_OK;
}

/* Probabilities stand head under head; their channel is head*T + key, their token the query. Other tensors are one part. */
static void abs_stats(const run *r, size_t row, vs_mat x, vs_dist_slot *slot, uint64_t *hist) {
    const vs_backend *be = r->a->backend;
    const size_t parts = r->a->results->rows[row].kind == VS_KIND_P ? r->a->model->arch.heads : 1, t = x.rows / parts;
    slot->rows = t;
    for (size_t p = 0; p < parts; p++) {
        vs_abs_stats part;
        vs_abs_stats *all = &slot->stats;
        be->ops->abs_stats(be, vs_mat_view(be, x, p * t, t, 0, x.cols), &part, hist, slot->energy + p * x.cols);
        const bool first = p == 0 || part.max > all->max || (isnan(part.max) && !isnan(all->max)) ||
                           (!(part.max < all->max) && part.max_row < all->max_row && isnan(part.max) == isnan(all->max));
        const vs_abs_stats was = *all;
        if (first) *all = (vs_abs_stats){ part.max, part.max_row, p * x.cols + part.max_col, 0, 0 };
        all->sum = was.sum + part.sum;
        all->count = was.count + part.count;
    }
}

static void count_above(const run *r, size_t row, vs_mat x, const vs_dist_pool *pool, uint64_t *above) {
    const vs_backend *be = r->a->backend;
    const size_t parts = r->a->results->rows[row].kind == VS_KIND_P ? r->a->model->arch.heads : 1, t = x.rows / parts;
    const size_t part = pool->stats.max_col / x.cols;
    be->ops->count_above(be, vs_mat_view(be, x, part * t, t, 0, x.cols), pool->stats.max_col % x.cols,
                         vs_dist_pool_high_above(pool), above);
}

/* First pass: statistics of |x|. Second pass: counts against the pooled maximum. */
static vs_status observe(const run *r, size_t row, vs_tensor tensor, vs_mat x, vs_error *err) {
    const analysis *a = r->a;
    const vs_backend *be = a->backend;
    vs_dist_pool *pool = &a->dist[dist_index(a, row, r->state, tensor)];
    if (a->second_pass) {
        uint64_t below = 0, above = 0;
        be->ops->count_below(be, x, vs_dist_pool_zero_below(pool), &below);
        count_above(r, row, x, pool, &above);
        vs_status status = be->ops->sync(be, err);
#pragma omp critical(vs_analysis_counts)
        {
            pool->below += below;
            pool->above += above;
        }
        return status;
    }
    vs_dist_slot *slot = &r->slot->dist[dist_index(a, row, r->state, tensor)];
    uint64_t *hist = a->hist[r->job->worker];
    memset(hist, 0, VS_HIST_BINS * sizeof *hist);
    abs_stats(r, row, x, slot, hist);
    vs_status status = be->ops->sync(be, err);
#pragma omp critical(vs_analysis_hist)
    for (size_t i = 0; i < VS_HIST_BINS; i++) pool->hist[i] += hist[i];
    return status == VS_OK ? capture(r, row, tensor, x, err) : status;
}

/* An operand that is not quantized is the same before and after: its `out` is its `in`. */
static vs_status copy_in_to_out(const run *r, size_t row, vs_mat x, vs_error *err) {
    const analysis *a = r->a;
    const size_t in = dist_index(a, row, r->state, VS_TENSOR_IN), out = dist_index(a, row, r->state, VS_TENSOR_OUT);
    if (a->second_pass) return observe(r, row, VS_TENSOR_OUT, x, err);
    double *energy = r->slot->dist[out].energy;
    memcpy(energy, r->slot->dist[in].energy, a->dist[in].cols * sizeof *energy);
    r->slot->dist[out] = r->slot->dist[in];
    r->slot->dist[out].energy = energy;
#pragma omp critical(vs_analysis_hist)
    for (size_t i = 0; i < VS_HIST_BINS; i++) a->dist[out].hist[i] += a->hist[r->job->worker][i];
    return capture(r, row, VS_TENSOR_OUT, x, err);
}

/* ------------------------------------------------------------------ taps */

static vs_status float_tap(void *context, const vs_tap *tap, vs_error *err) {
    const run *r = context;
    const size_t row = row_of(r->a, tap->kind, tap->block);
    if (row == SIZE_MAX) return VS_OK;
    if (!tap->input && vs_kind_is_operand(tap->kind)) return copy_in_to_out(r, row, tap->x, err);
    return observe(r, row, tap->input ? VS_TENSOR_IN : VS_TENSOR_OUT, tap->x, err);
}

/* The float tensor that a state's tensor is compared with. */
static vs_mat float_output(const run *r, vs_kind kind) {
    const vs_workspace *ws = vs_session_workspace(r->job->session, FLOAT_WORKSPACE);
    switch (kind) {
    case VS_KIND_PATCH_EMBED: return vs_session_embedded(r->job->session);
    case VS_KIND_HEAD: return vs_session_logits(r->job->session);
    case VS_KIND_QKV: return ws->qkv;
    case VS_KIND_PROJ: return ws->proj;
    case VS_KIND_FC1: return ws->fc1;
    case VS_KIND_FC2: return ws->fc2;
    default: return ws->attended;
    }
}

/* Where float results wait for the states' that are written to the same place of the session: the output part of the scratch
 * holds what patch_embed gave, the input part the model's output. */
static vs_mat kept_float(const run *r, vs_mat x, bool output_part) {
    const scratch s = scratch_for(r, vs_session_tokens(r->job->session), 1, 1);
    return (vs_mat){ output_part ? s.output.p : s.input.p, x.rows, x.cols, x.cols };
}

static vs_mat reference_output(const run *r, vs_kind kind) {
    const vs_mat x = float_output(r, kind);
    return kind == VS_KIND_PATCH_EMBED ? kept_float(r, x, true) : kind == VS_KIND_HEAD ? kept_float(r, x, false) : x;
}

static void compare_cumulative(const run *r, size_t row, vs_kind kind, vs_mat x) {
    const analysis *a = r->a;
    if (row == SIZE_MAX || a->second_pass || !a->options->cumulative) return;
    a->backend->ops->error_sums(a->backend, reference_output(r, kind), x, &r->slot->cumulative[row * a->state_count + r->state]);
}

static vs_status state_input(const run *r, const vs_tap *tap, size_t row, vs_error *err) {
    const analysis *a = r->a;
    const vs_state *state = &a->states->states[r->state];
    const vs_site *site = state->variant ? vs_variant_site(state->variant, tap->kind, tap->block) : NULL;
    if (tap->kind == VS_KIND_PROJ) /* the attention output, where operands are compared */
        for (vs_kind k = VS_KIND_Q; k <= VS_KIND_P; k++) compare_cumulative(r, row_of(a, k, tap->block), k, tap->x);
    if (site) vs_site_smooth_running(a->backend, site, tap->x, tap->x);
    vs_status status = row == SIZE_MAX ? VS_OK : observe(r, row, VS_TENSOR_IN, tap->x, err);
    if (site && status == VS_OK) {
        vs_quant_counts unused = { 0, 0 };
        vs_quant_counts *counts =
            row == SIZE_MAX || a->second_pass ? &unused : &r->slot->dist[dist_index(a, row, r->state, VS_TENSOR_IN)].counts;
        vs_site_quantize(a->backend, site, tap->x, tap->x, counts);
    }
    return status;
}

static vs_status state_tap(void *context, const vs_tap *tap, vs_error *err) {
    const run *r = context;
    const size_t row = row_of(r->a, tap->kind, tap->block);
    if (tap->input) return state_input(r, tap, row, err);
    if (row == SIZE_MAX) return VS_OK;
    const bool operand = vs_kind_is_operand(tap->kind);
    if (!operand) compare_cumulative(r, row, tap->kind, tap->x);
    if (operand && !r->a->states->states[r->state].variant) return copy_in_to_out(r, row, tap->x, err);
    return observe(r, row, VS_TENSOR_OUT, tap->x, err);
}

/* ------------------------------------------------------------------ each layer quantized alone */

static vs_mat float_input(const run *r, vs_kind kind) {
    const vs_workspace *ws = vs_session_workspace(r->job->session, FLOAT_WORKSPACE);
    switch (kind) {
    case VS_KIND_PATCH_EMBED: return vs_session_patches(r->job->session);
    case VS_KIND_HEAD: return vs_session_features(r->job->session);
    case VS_KIND_QKV: return ws->norm1;
    case VS_KIND_PROJ: return ws->attended;
    case VS_KIND_FC1: return ws->norm2;
    default: return ws->gelu;
    }
}

static const vs_linear_weights *linear_of(const vs_weights *w, vs_kind kind, int block) {
    if (kind == VS_KIND_PATCH_EMBED) return &w->patch;
    if (kind == VS_KIND_HEAD) return &w->head;
    const vs_block_weights *b = &w->blocks[block];
    switch (kind) {
    case VS_KIND_QKV: return &b->qkv;
    case VS_KIND_PROJ: return &b->proj;
    case VS_KIND_FC1: return &b->fc1;
    default: return &b->fc2;
    }
}

static void local_linear(const run *r, size_t row, vs_kind kind, int block, size_t recipe) {
    const analysis *a = r->a;
    const vs_backend *be = a->backend;
    const vs_state *p = &a->states->recipes[recipe];
    const vs_site *site = vs_variant_site(p->variant, kind, block);
    const vs_linear_weights *base = linear_of(a->runner->weights, kind, block), *quantized = linear_of(p->weights, kind, block);
    const vs_mat x = float_input(r, kind), y = float_output(r, kind);
    scratch s = scratch_for(r, x.rows, x.cols, y.cols);
    vs_error_sums *sums = &r->slot->local[(row * a->recipe_count + recipe) * VS_LOCAL_COUNT];

    vs_mat smoothed = x, weight = base->w;
    if (site->smooth) {
        smoothed = s.input;
        weight = s.weight;
        vs_site_smooth(be, site, x, smoothed);
        vs_site_smooth_weight(be, site, base->w, weight);
    }
    vs_site_quantize(be, site, smoothed, s.quantized, NULL);
    be->ops->error_sums(be, smoothed, s.quantized, &sums[VS_LOCAL_INPUT_TENSOR]);
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
        be->ops->error_sums(be, y, s.output, &sums[modes[i].column]);
    }
}

static bool same_grids(const vs_site *a, const vs_site *b) {
    return a->grid_count == b->grid_count && memcmp(a->grids, b->grids, a->grid_count * sizeof *a->grids) == 0;
}

/* One operand quantized, the others float; compared at the attention output. */
static void local_operand(const run *r, size_t row, vs_kind kind, int block, size_t recipe) {
    const analysis *a = r->a;
    const vs_backend *be = a->backend;
    const vs_site *site = vs_variant_site(a->states->recipes[recipe].variant, kind, block);
    vs_error_sums *sums = &r->slot->local[(row * a->recipe_count + recipe) * VS_LOCAL_COUNT];
    for (size_t p = 0; p < recipe; p++) /* SmoothQuant leaves operands as they are: the same grids give the same numbers */
        if (same_grids(site, vs_variant_site(a->states->recipes[p].variant, kind, block))) {
            memcpy(sums, sums - (recipe - p) * VS_LOCAL_COUNT, VS_LOCAL_COUNT * sizeof *sums);
            return;
        }
    const vs_workspace *ws = vs_session_workspace(r->job->session, FLOAT_WORKSPACE);
    const size_t c = a->model->arch.width, which = (size_t)(kind - VS_KIND_Q);
    vs_mat operands[4];
    for (size_t i = 0; i < 3; i++) operands[i] = vs_mat_view(be, ws->qkv, 0, ws->qkv.rows, i * c, c);
    operands[3] = ws->probs;
    const scratch s = scratch_for(r, ws->qkv.rows, c, c);
    const vs_mat quantized = kind == VS_KIND_P ? s.probs : s.quantized, own = ws->probs.p ? s.probs : (vs_mat){ 0 };
    vs_site_quantize(be, site, operands[which], quantized, NULL);
    be->ops->error_sums(be, operands[which], quantized, &sums[VS_LOCAL_INPUT_TENSOR]);
    if (!a->options->activation && !a->options->both) return;
    operands[which] = quantized;
    if (kind == VS_KIND_P)
        vs_forward_attention_apply(r->job->session, quantized, operands[2], s.output);
    else
        vs_forward_attention(r->job->session, operands[0], operands[1], operands[2], own, s.output);
    be->ops->error_sums(be, ws->attended, s.output, &sums[VS_LOCAL_ACTIVATION]);
    sums[VS_LOCAL_BOTH] = sums[VS_LOCAL_ACTIVATION];
}

static void local_layer(const run *r, vs_kind kind, int block) {
    const size_t row = row_of(r->a, kind, block);
    for (size_t p = 0; !r->a->second_pass && row != SIZE_MAX && p < r->a->recipe_count; p++) {
        if (vs_kind_is_operand(kind))
            local_operand(r, row, kind, block, p);
        else
            local_linear(r, row, kind, block, p);
    }
}

static void local_block(const run *r, size_t block) {
    for (vs_kind kind = VS_KIND_QKV; kind <= VS_KIND_FC2; kind++) local_layer(r, kind, (int)block);
}

/* ------------------------------------------------------------------ one image through the model, all states side by side */

static bool interrupted(const analysis *a) { return a->runner->stop && *a->runner->stop; }

/* What the study calls the model's output: logits, or without a head the normed tokens. */
static vs_mat output_of(const run *r) {
    return r->a->model->arch.head == VS_HEAD_NONE ? vs_session_normed(r->job->session) : vs_session_logits(r->job->session);
}

static vs_status finish_image(run *r, vs_error *err) {
    const analysis *a = r->a;
    const vs_backend *be = a->backend;
    r->state = 0;
    vs_status status = vs_forward_head(r->job->session, a->runner->weights, 0, (vs_tapper){ float_tap, r }, err);
    if (status != VS_OK) return status;
    local_layer(r, VS_KIND_HEAD, -1);
    const vs_mat out = output_of(r), reference = kept_float(r, out, false);
    be->ops->copy(be, out, reference);
    for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
        r->state = s;
        status = vs_forward_head(r->job->session, a->states->states[s].weights, s, (vs_tapper){ state_tap, r }, err);
        be->ops->error_sums(be, reference, out, &r->slot->output[s]);
    }
    be->ops->error_sums(be, reference, reference, &r->slot->output[0]);
    return status == VS_OK ? be->ops->sync(be, err) : status;
}

/* Tokens of the float model in stream 0 and of every state in its own: the same where patch_embed stays float. */
static vs_status embed(run *r, vs_error *err) {
    const analysis *a = r->a;
    const vs_backend *be = a->backend;
    vs_session *session = r->job->session;
    const float *pixels = r->job->sample->pixels;
    const vs_variant *v = a->states->variant_count ? a->states->variants[0] : NULL;
    const bool quantized = v && vs_variant_site(v, VS_KIND_PATCH_EMBED, -1)->quantized;
    vs_status status = vs_forward_embed(session, a->runner->weights, pixels, 0, (vs_tapper){ float_tap, r }, err);
    if (status == VS_OK && quantized) {
        local_layer(r, VS_KIND_PATCH_EMBED, -1);
        be->ops->copy(be, vs_session_embedded(session), kept_float(r, vs_session_embedded(session), true));
    }
    for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
        r->state = s;
        if (quantized)
            status = vs_forward_embed(session, a->states->states[s].weights, pixels, s, (vs_tapper){ state_tap, r }, err);
        else
            be->ops->copy(be, vs_session_stream(session, 0), vs_session_stream(session, s));
    }
    return status;
}

static void reset_slot(const analysis *a, image_slot *s) {
    memset(s->local, 0, a->rows * a->recipe_count * VS_LOCAL_COUNT * sizeof *s->local);
    memset(s->cumulative, 0, a->rows * a->state_count * sizeof *s->cumulative);
    for (size_t i = 0; i < a->rows * a->state_count * VS_TENSOR_COUNT; i++) {
        s->dist[i] = (vs_dist_slot){ .energy = s->dist[i].energy };
        memset(s->dist[i].energy, 0, a->dist[i].cols * sizeof *s->dist[i].energy);
    }
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    const analysis *a = context;
    run r = { a, job, &a->slots[job->index % a->runner->wave], 0 };
    if (!a->second_pass) reset_slot(a, r.slot);
    if (a->runner->probabilities && vs_session_tokens(job->session) != a->results->tokens)
        return vs_fail(err, VS_ERR_SHAPE,
                       "with recipe.p all analysis images must have one size: image %zu has %zu tokens, not %zu", job->index,
                       vs_session_tokens(job->session), a->results->tokens);
    vs_status status = embed(&r, err);
    if (status != VS_OK) return status;
    for (size_t b = 0; b < a->model->arch.depth; b++) {
        if (interrupted(a)) return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
        r.state = 0;
        status = vs_forward_block(job->session, a->runner->weights, FLOAT_WORKSPACE, 0, b, (vs_tapper){ float_tap, &r }, err);
        if (status == VS_OK && !a->second_pass) local_block(&r, b);
        for (size_t s = 1; s < a->state_count && status == VS_OK; s++) {
            r.state = s;
            status = vs_forward_block(job->session, a->states->states[s].weights, STATE_WORKSPACE, s, b,
                                      (vs_tapper){ state_tap, &r }, err);
        }
        if (status != VS_OK) return status;
    }
    return a->second_pass && row_of(a, VS_KIND_HEAD, -1) == SIZE_MAX ? VS_OK : finish_image(&r, err);
}

/* ------------------------------------------------------------------ pooling and results */

static vs_status pool_image(void *context, size_t image, vs_error *err) {
    (void)err;
    analysis *a = context;
    const image_slot *s = &a->slots[image % a->runner->wave];
    for (size_t i = 0; i < a->rows * a->recipe_count * VS_LOCAL_COUNT; i++) vs_sqnr_pool_add(&a->local[i], &s->local[i]);
    for (size_t i = 0; i < a->rows * a->state_count; i++) vs_sqnr_pool_add(&a->cumulative[i], &s->cumulative[i]);
    for (size_t i = 0; i < a->state_count; i++) vs_sqnr_pool_add(&a->output[i], &s->output[i]);
    for (size_t i = 0; i < a->rows * a->state_count * VS_TENSOR_COUNT; i++) vs_dist_pool_add(&a->dist[i], image, &s->dist[i]);
    return VS_OK;
}

static vs_status create(analysis *a, vs_error *err) {
    const size_t sites = vs_site_count(a->model->arch.depth), dists = a->rows * a->state_count * VS_TENSOR_COUNT;
    const size_t locals = a->rows * a->recipe_count * VS_LOCAL_COUNT, wave = a->runner->wave;
    a->row_of_site = vs_calloc(sites, sizeof *a->row_of_site);
    a->slots = vs_calloc(wave, sizeof *a->slots);
    a->dist = vs_calloc(dists + 1, sizeof *a->dist);
    a->local = vs_calloc(locals + 1, sizeof *a->local);
    a->cumulative = vs_calloc(a->rows * a->state_count + 1, sizeof *a->cumulative);
    a->output = vs_calloc(a->state_count, sizeof *a->output);
    a->hist = vs_calloc(a->runner->threads, sizeof *a->hist);
    if (!a->row_of_site || !a->slots || !a->dist || !a->local || !a->cumulative || !a->output || !a->hist) goto nomem;
    for (size_t i = 0; i < sites; i++) a->row_of_site[i] = SIZE_MAX;
    for (size_t r = 0; r < a->rows; r++) a->row_of_site[vs_site_index(a->results->rows[r].kind, a->results->rows[r].block)] = r;
    size_t energies = 0;
    for (size_t i = 0; i < dists; i++) {
        const vs_kind kind = a->results->rows[i / (a->state_count * VS_TENSOR_COUNT)].kind;
        const size_t cols = columns_of(a, kind, (vs_tensor)(i % VS_TENSOR_COUNT));
        vs_status status = vs_dist_pool_create(&a->dist[i], cols, err);
        if (status != VS_OK) return status;
        energies += cols;
    }
    for (size_t w = 0; w < wave; w++) {
        image_slot *s = &a->slots[w];
        s->local = vs_calloc(locals + 1, sizeof *s->local);
        s->cumulative = vs_calloc(a->rows * a->state_count + 1, sizeof *s->cumulative);
        s->output = vs_calloc(a->state_count, sizeof *s->output);
        s->dist = vs_calloc(dists + 1, sizeof *s->dist);
        s->energies = vs_calloc(energies + 1, sizeof *s->energies);
        if (!s->local || !s->cumulative || !s->output || !s->dist || !s->energies) goto nomem;
        double *next = s->energies;
        for (size_t i = 0; i < dists; i++) {
            s->dist[i].energy = next;
            next += a->dist[i].cols;
        }
    }
    for (size_t t = 0; t < a->runner->threads; t++)
        if (!(a->hist[t] = vs_calloc(VS_HIST_BINS, sizeof **a->hist))) goto nomem;
    return VS_OK;
nomem:
    return vs_fail(err, VS_ERR_NOMEM, "no memory for the analysis of %zu layers in %zu states", a->rows, a->state_count);
}

static void release(analysis *a) {
    for (size_t w = 0; a->slots && w < a->runner->wave; w++) {
        free(a->slots[w].local);
        free(a->slots[w].cumulative);
        free(a->slots[w].output);
        free(a->slots[w].dist);
        free(a->slots[w].energies);
    }
    for (size_t i = 0; a->dist && i < a->rows * a->state_count * VS_TENSOR_COUNT; i++) vs_dist_pool_release(&a->dist[i]);
    for (size_t t = 0; a->hist && t < a->runner->threads; t++) free(a->hist[t]);
    free(a->hist);
    free(a->row_of_site);
    free(a->slots);
    free(a->dist);
    free(a->local);
    free(a->cumulative);
    free(a->output);
}

static void quantizer_columns(const analysis *a, const vs_dist_pool *pool, const vs_row *row, size_t state, vs_distribution *in) {
    const vs_variant *v = a->states->states[state].variant;
    if (!v || !in->present) return;
    const vs_site *site = vs_variant_site(v, row->kind, row->block);
    in->quantized = true;
    in->qstep = vs_site_step(site, in->max);
    in->qzeroed = (double)pool->counts.zeroed / (double)pool->stats.count;
    in->clipped = (double)pool->counts.clipped / (double)pool->stats.count;
}

/* Rows of patch_embed and of a segmentation head are patches: their first is token 1 + registers. */
static void name_patches(const vs_arch *arch, vs_kind kind, vs_distribution *d) {
    if (kind == VS_KIND_PATCH_EMBED || (kind == VS_KIND_HEAD && arch->head == VS_HEAD_SEGMENTATION))
        d->argmax_token += 1 + arch->registers;
}

static void fill_row(analysis *a, size_t r) {
    vs_row *row = &a->results->rows[r];
    const bool modes[VS_LOCAL_COUNT] = { a->options->weight, a->options->activation, a->options->both, true, true };
    for (size_t p = 0; p < a->recipe_count; p++) {
        vs_row_recipe *out = &row->recipes[p];
        for (size_t l = 0; l < VS_LOCAL_COUNT; l++) {
            const bool has = modes[l] && (vs_kind_is_linear(row->kind) || (l != VS_LOCAL_WEIGHT && l != VS_LOCAL_WEIGHT_TENSOR));
            if (has) out->local[l] = vs_sqnr_pool_result(&a->local[(r * a->recipe_count + p) * VS_LOCAL_COUNT + l]);
        }
        if (vs_kind_is_linear(row->kind)) { /* no data: one number, no spread over images */
            vs_sqnr_pool tensor = { .min = 0 };
            vs_sqnr_pool_add(&tensor, &a->states->recipes[p].variant->weight_sums[vs_site_index(row->kind, row->block)]);
            out->local[VS_LOCAL_WEIGHT_TENSOR] = vs_sqnr_pool_result(&tensor);
        }
        const size_t s = a->states->recipe_state[p];
        if (a->options->cumulative && s != SIZE_MAX)
            out->cumulative = vs_sqnr_pool_result(&a->cumulative[r * a->state_count + s]);
    }
    for (size_t s = 0; s < a->state_count; s++) {
        const vs_dist_pool *in = &a->dist[dist_index(a, r, s, VS_TENSOR_IN)], *out = &a->dist[dist_index(a, r, s, VS_TENSOR_OUT)];
        row->states[s].in = vs_dist_pool_result(in);
        row->states[s].out = vs_dist_pool_result(out);
        name_patches(&a->model->arch, row->kind, &row->states[s].in);
        name_patches(&a->model->arch, row->kind, &row->states[s].out);
        quantizer_columns(a, in, row, s, &row->states[s].in);
        const double reference = row->states[0].out.median;
        row->states[s].has_shift = row->states[s].out.present && reference > 0;
        if (row->states[s].has_shift) row->states[s].median_shift = row->states[s].out.median / reference - 1;
    }
}

vs_status vs_analyze(vs_results *results, const vs_runner *runner, const vs_imageset *set, const vs_states *states,
                     const vs_analysis_options *options, vs_error *err) {
    analysis a = { .results = results,
                   .runner = runner,
                   .backend = runner->weights->backend,
                   .model = runner->weights->model,
                   .states = states,
                   .options = options,
                   .rows = results->row_count,
                   .state_count = states->state_count,
                   .recipe_count = states->recipe_count };
    vs_status status = create(&a, err);
    const vs_session_needs needs = { WORKSPACES, states->state_count,
                                     runner->probabilities ? scratch_reals_with_probs : scratch_reals };
    if (status == VS_OK) status = vs_run_images(runner, set, options->images, "analysis", needs, work, pool_image, &a, err);
    a.second_pass = true;
    if (status == VS_OK) status = vs_run_images(runner, set, options->images, "structure", needs, work, NULL, &a, err);
    for (size_t r = 0; r < a.rows && status == VS_OK; r++) fill_row(&a, r);
    for (size_t s = 0; s < a.state_count && status == VS_OK; s++) results->output_sqnr[s] = vs_sqnr_pool_result(&a.output[s]);
    release(&a);
    return status;
}
