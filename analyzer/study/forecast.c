#include "study/forecast.h"

#include <math.h>
#include <omp.h>

#include "edit/plant_kinds.h"
#include "study/layer_name.h"
#include "study/study.h"
#include "util/util.h"

/* In forward passes of the float model, seen on demo models and ViT-S, cpu: statistics of every channel; a row-by-row pass in
 * half precision; a diagnosis where nothing is wrong, and where everything is. */
static const double CALIBRATION = 1.5, HALF = 4, FEWEST_RUNS = 4, MOST_RUNS = 60;

static void add(vs_forecast *f, const char *name, size_t images, double forwards) {
    if (f->stage_count == VS_MAX_STAGES) return;
    f->stages[f->stage_count++] = (vs_forecast_stage){ name, images, forwards };
    f->forwards += forwards;
}

static double planting(const vs_study *s) {
    const double images = (double)s->calibration_set.count, depth = (double)s->model->arch.depth;
    double forwards = 0;
    for (size_t k = 0; k < s->config->model.plant_count; k++) {
        const vs_plant_config *p = &s->config->model.plants[k];
        if (!vs_plant_rules_of(p->kind)->observe) continue;
        if (p->block_count == 0) forwards += images * (depth + 1) / 2; /* a measured block needs those before it */
        for (size_t i = 0; i < p->block_count; i++) forwards += images * (double)(p->blocks[i] + 1) / depth;
    }
    return forwards;
}

static bool is_row(const vs_study *s, const vs_point *p) {
    return vs_recipe_quantizes(&s->config->recipe, p->kind) && vs_layer_listed(s->model, p, &s->config->analyze.layers);
}

/* Each layer alone, from its block on; at most: recipes may have a layer in common. */
static double sweep(const vs_study *s, size_t modes, bool spared) {
    const double depth = (double)s->model->arch.depth, recipes = (double)s->config->analyze.recipes.count;
    double forwards = 2;
    for (size_t i = 0; i < s->point_count; i++) {
        const vs_point *p = &s->points[i];
        if (!is_row(s, p)) continue;
        const double block = vs_kind_is_head(p->kind) ? depth : fmax(p->block, 0), share = (depth - block) / depth;
        forwards += recipes * share * (double)(spared || vs_kind_is_operand(p->kind) ? 1 : modes);
    }
    return forwards;
}

static size_t float_states(const vs_config *c) {
    size_t n = 1; /* fp32 runs, listed or not */
    for (size_t i = 0; i < c->state_count; i++) n += c->states[i].kind != VS_STATE_FP32 && c->states[i].kind != VS_STATE_FP16;
    return n;
}

static size_t half_states(const vs_config *c) {
    size_t n = 0;
    for (size_t i = 0; i < c->state_count; i++) n += c->states[i].kind == VS_STATE_FP16;
    return n;
}

static void analysis(vs_forecast *f, const vs_study *s) {
    const vs_analyze_config *c = &s->config->analyze;
    const size_t images = vs_study_analysis_images(s), modes = (size_t)c->mode_weight + c->mode_activation + c->mode_both;
    const double n = (double)images, recipes = (double)c->recipes.count;
    add(f, "analysis", images,
        n * (2 * (double)float_states(s->config) + HALF * (double)half_states(s->config) + recipes * (double)modes));
    if (c->output && recipes > 0) add(f, "output", images, n * sweep(s, modes, false));
    if (c->spared && recipes > 0) add(f, "spared", images, n * (sweep(s, modes, true) + 10 * recipes)); /* 8 for the floor */
    if (c->cumulative) add(f, "propagation", images, n * 3);
}

static void half_precision(vs_forecast *f, const vs_study *s) {
    const vs_fp16_config *c = &s->config->fp16;
    const bool task = s->evaluation_set.count && s->model->arch.head != VS_HEAD_NONE;
    const double images = (double)vs_study_analysis_images(s), evaluated = task ? (double)s->evaluation_set.count : 0;
    double policies = 0;
    for (size_t i = 0; i < c->policy_count; i++) { /* an unknown place of the scale: all three */
        const vs_half_scale scale = c->policies[i].scale == VS_SCALE_AUTO ? c->scale : c->policies[i].scale;
        policies += c->policies[i].attention == VS_OPERATION_DECOMPOSED && scale == VS_SCALE_AUTO ? 3 : 1;
    }
    const double fewest = policies * HALF * (FEWEST_RUNS * images + evaluated);
    add(f, "fp16", task ? s->evaluation_set.count : vs_study_analysis_images(s), fewest);
    f->most_forwards = f->forwards + policies * HALF * ((MOST_RUNS - FEWEST_RUNS) * images + 2 * evaluated);
}

void vs_forecast_make(vs_forecast *f, const vs_study *s) {
    const vs_config *c = s->config;
    const size_t calibration = s->calibration_set.count;
    const bool all = s->options.purpose == VS_FOR_ALL, states = s->options.purpose != VS_FOR_FLOAT;
    *f = (vs_forecast){ 0 };
    add(f, "checks", 0, 0);
    add(f, "loading", 0, 0);
    if (c->model.plant_count && !s->planted) add(f, "planting", vs_plant_needs_images(c) ? calibration : 0, planting(s));
    if (states && vs_study_needs_calibration(c)) {
        add(f, "calibration", calibration, CALIBRATION * (double)calibration);
        add(f, "quantizing", 0, 0);
        if (c->recipe.observer != VS_OBSERVER_MINMAX) add(f, "observers", calibration, CALIBRATION * (double)calibration);
    }
    if (all && s->analysis_set.count) analysis(f, s);
    if (all && s->evaluation_set.count)
        add(f, "evaluation", s->evaluation_set.count,
            (double)s->evaluation_set.count * ((double)float_states(c) + HALF * (double)half_states(c)));
    if (all && c->fp16.set) half_precision(f, s);
    if (s->options.last_stage) add(f, s->options.last_stage, s->options.last_images, (double)s->options.last_images);
    if (f->most_forwards < f->forwards) f->most_forwards = f->forwards;
}

/* ---- the price of one forward pass */

typedef struct price {
    const vs_backend *backend;
    const vs_arch *arch;
    size_t tokens, images;
    void *weights, *numbers[4]; /* [largest]: of one worker but the weights */
} price;

/* The operations of one block that take the time. */
static void run_block(const price *p) {
    const vs_backend *be = p->backend;
    const vs_arch *a = p->arch;
    const size_t rows = p->tokens * p->images, c = a->width, wide = vs_arch_fc1_width(a);
    const vs_mat x = vs_mat_of(p->numbers[0], rows, c), qkv = vs_mat_of(p->numbers[1], rows, 3 * c),
                 out = vs_mat_of(p->numbers[2], rows, c);
    const vs_mat hidden = vs_mat_of(p->numbers[1], rows, wide);
    be->ops->linear(be, x, vs_mat_of(p->weights, 3 * c, c), NULL, qkv);
    be->ops->attention(be, vs_mat_view(be, qkv, 0, rows, 0, c), vs_mat_view(be, qkv, 0, rows, c, c),
                       vs_mat_view(be, qkv, 0, rows, 2 * c, c), p->images, a->heads, 1, p->numbers[3], out);
    be->ops->linear(be, out, vs_mat_of(p->weights, c, c), NULL, x);
    be->ops->linear(be, x, vs_mat_of(p->weights, wide, c), NULL, hidden);
    be->ops->gelu(be, hidden, hidden);
    be->ops->linear(be, vs_mat_of(p->numbers[1], rows, a->hidden), vs_mat_of(p->weights, c, a->hidden), NULL, x);
}

static void *zeroes(const vs_backend *be, size_t count) {
    void *p = be->ops->alloc(be, count);
    const size_t chunk = 4096;
    float none[4096] = { 0 };
    for (size_t i = 0; p && i < count; i += chunk)
        if (be->ops->upload(be, (char *)p + i * (size_t)be->scalar, none, count - i < chunk ? count - i : chunk, NULL) != VS_OK)
            break;
    return p;
}

static bool make(price *p) {
    const vs_arch *a = p->arch;
    const size_t wide = vs_arch_fc1_width(a) > 3 * a->width ? vs_arch_fc1_width(a) : 3 * a->width, rows = p->tokens * p->images;
    p->numbers[0] = zeroes(p->backend, rows * a->width);
    p->numbers[1] = zeroes(p->backend, rows * wide);
    p->numbers[2] = zeroes(p->backend, rows * a->width);
    p->numbers[3] = zeroes(p->backend, p->backend->ops->attention_scratch(p->backend, p->tokens, a->heads) + 1);
    return p->numbers[0] && p->numbers[1] && p->numbers[2] && p->numbers[3];
}

static void unmake(price *p) {
    for (size_t i = 0; i < 4; i++) p->backend->ops->free(p->backend, p->numbers[i]);
}

/* Blocks that one worker runs in `budget` seconds after a first; 0: it could not. */
static double blocks_a_second(const price *of, double budget) {
    price p = *of;
    double blocks = 0, seconds = 0;
    if (make(&p)) {
        run_block(&p);
        bool whole = p.backend->ops->sync(p.backend, NULL) == VS_OK;
        for (const double start = vs_now(); whole && seconds < budget; blocks++) {
            run_block(&p);
            whole = p.backend->ops->sync(p.backend, NULL) == VS_OK;
            seconds = vs_now() - start;
        }
        if (!whole) blocks = 0;
    }
    unmake(&p);
    return seconds > 0 ? blocks / seconds : 0;
}

vs_status vs_forecast_price(double *seconds, const vs_study *s, vs_error *err) {
    const double budget = 0.4, rest = 1.15; /* norms, residuals, embedding, head */
    const vs_arch *a = &s->model->arch;
    const size_t widest = vs_arch_fc1_width(a) > 3 * a->width ? vs_arch_fc1_width(a) : 3 * a->width;
    price p = { .backend = s->backend, .arch = a, .tokens = s->results.tokens + a->queries, .images = s->options.batch };
    double rate = 0;
    p.weights = zeroes(s->backend, widest * a->width);
#pragma omp parallel num_threads((int)s->options.threads) reduction(+ : rate)
    if (p.weights) rate += blocks_a_second(&p, budget);
    s->backend->ops->free(s->backend, p.weights);
    *seconds = rate > 0 ? rest * (double)a->depth / (rate * (double)p.images) : 0;
    return rate > 0 ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory to measure a forward pass");
}
