#include "edit/plant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "edit/plant_kinds.h"
#include "util/util.h"

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for planting"); }

/* ---- measuring one block */

typedef struct context {
    vs_runner runner;
    const vs_plant_rules *rules;
    int block;
    vs_plant_stats *slots; /* [wave]: pooled in image order, so sums do not depend on threads */
    vs_plant_stats total;
} context;

static vs_status stats_create(vs_plant_stats *s, size_t room, vs_error *err) {
    size_t count = 0;
    if (!vs_size_mul(&count, room, 5) || !(s->low = vs_calloc(count, sizeof *s->low))) return no_memory(err);
    s->high = s->low + room;
    s->gelu_low = s->high + room;
    s->gelu_high = s->gelu_low + room;
    s->sum = s->gelu_high + room;
    return VS_OK;
}

static void stats_reset(vs_plant_stats *s, size_t count) {
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        s->low[i] = s->gelu_low[i] = HUGE_VAL;
        s->high[i] = s->gelu_high[i] = -HUGE_VAL;
        s->sum[i] = 0;
    }
    s->tokens = 0;
}

static void stats_merge(vs_plant_stats *to, const vs_plant_stats *from) {
    for (size_t i = 0; i < to->count; i++) {
        to->low[i] = fmin(to->low[i], from->low[i]);
        to->high[i] = fmax(to->high[i], from->high[i]);
        to->gelu_low[i] = fmin(to->gelu_low[i], from->gelu_low[i]);
        to->gelu_high[i] = fmax(to->gelu_high[i], from->gelu_high[i]);
        to->sum[i] += from->sum[i];
    }
    to->tokens += from->tokens;
}

static vs_status context_create(context *c, size_t wave, const vs_arch *arch, vs_error *err) {
    const size_t room = arch->hidden > arch->width ? arch->hidden : arch->width;
    if (!(c->slots = vs_calloc(wave, sizeof *c->slots))) return no_memory(err);
    vs_status status = stats_create(&c->total, room, err);
    for (size_t i = 0; i < wave && status == VS_OK; i++) status = stats_create(&c->slots[i], room, err);
    return status;
}

static void context_release(context *c, size_t wave) {
    for (size_t i = 0; c->slots && i < wave; i++) free(c->slots[i].low);
    free(c->slots);
    free(c->total.low);
}

typedef struct observer {
    const context *c;
    const vs_job *job;
} observer;

static vs_plant_stats *slot_of(const context *c, size_t image) { return &c->slots[image % c->runner.wave]; }

/* Image by image: their sums are pooled in order. */
static vs_status observe(void *ctx, const vs_tap *tap, vs_error *err) {
    const observer *o = ctx;
    const vs_backend *be = o->c->runner.weights->backend;
    const size_t each = tap->x.rows / o->job->images;
    vs_status status = VS_OK;
    for (size_t i = 0; tap->block == o->c->block && i < o->job->images && status == VS_OK; i++) {
        vs_tap one = *tap;
        one.x = vs_mat_view(be, tap->x, i * each, each, 0, tap->x.cols);
        status = o->c->rules->observe(be, &one, slot_of(o->c, o->job->first + i), err);
    }
    return status;
}

static vs_status forward(const context *c, const vs_job *job, vs_error *err) {
    observer o = { c, job };
    const vs_backend *be = c->runner.weights->backend;
    const vs_tapper tapper = { observe, &o };
    vs_status status = vs_forward_embed(job->session, c->runner.weights, job->pixels, 0, tapper, err);
    for (int b = 0; b <= c->block && status == VS_OK; b++)
        status = vs_forward_block(job->session, c->runner.weights, 0, 0, (size_t)b, tapper, err);
    return status == VS_OK ? be->ops->sync(be, err) : status;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    const vs_graph *g = c->runner.weights->model->graph;
    const size_t patches = vs_session_grid_h(job->session) * vs_session_grid_w(job->session),
                 tokens = vs_value_rows(g, g->segments[vs_graph_block(g, (size_t)c->block) - 1].stream, patches);
    size_t reals = 0;
    void *host = NULL;
    if (c->rules->copies &&
        (!vs_size_mul(&reals, tokens, c->total.count) || !(host = vs_calloc(reals, (size_t)c->runner.weights->backend->scalar))))
        return no_memory(err);
    for (size_t i = 0; i < job->images; i++) {
        vs_plant_stats *slot = slot_of(c, job->first + i);
        stats_reset(slot, c->total.count);
        slot->tokens = (double)tokens;
        slot->host = host; /* shared: each image is read at once */
    }
    const vs_status status = forward(c, job, err);
    free(host);
    for (size_t i = 0; i < job->images; i++) slot_of(c, job->first + i)->host = NULL;
    return status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    (void)err;
    context *c = ctx;
    stats_merge(&c->total, slot_of(c, image));
    return VS_OK;
}

/* Fills c->total from block c->block of the model as planted so far. */
static vs_status measure_block(const vs_plant_target *t, const vs_imageset *set, context *c, vs_error *err) {
    vs_weights *weights = NULL;
    vs_status status = vs_weights_bind(&weights, t->backend, t->model, err);
    if (status != VS_OK) return status;
    c->runner = t->runner;
    c->runner.weights = weights;
    stats_reset(&c->total, c->rules->choices ? c->rules->choices(&(vs_plant_block){ t->model, c->block }) : t->model->arch.width);
    char stage[40];
    snprintf(stage, sizeof stage, "planting, blocks.%d", c->block);
    status = vs_run_images(&c->runner, set, set->count, stage, (vs_session_needs){ 1, 1, NULL }, work, pool, c, err);
    vs_weights_free(weights);
    return status;
}

/* ---- choosing and changing */

static vs_status result_create(vs_plant_result *r, const char *what, size_t count, vs_error *err) {
    r->what = what;
    if (!(r->gain = vs_calloc(count, sizeof *r->gain))) return no_memory(err);
    return what && !(r->channels = vs_calloc(count, sizeof *r->channels)) ? no_memory(err) : VS_OK;
}

static size_t smallest(const double *scores, size_t count) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        if (scores[i] < HUGE_VAL && (best == SIZE_MAX || scores[i] < scores[best])) best = i;
    return best;
}

static vs_status choose(const vs_plant_block *b, const vs_config *config, const vs_plant_config *p, const context *c,
                        vs_plant_result *r, vs_error *err) {
    const size_t choices = c->rules->choices(b);
    double *scores = vs_calloc(choices, sizeof *scores);
    if (!scores) return no_memory(err);
    for (size_t i = 0; i < choices; i++) scores[i] = c->rules->score(&c->total, b, i);
    vs_status status = VS_OK;
    while (status == VS_OK && r->count < (size_t)p->units) {
        const size_t best = smallest(scores, choices);
        if (best == SIZE_MAX) { /* only spike is so choosy */
            status = vs_config_fail(config, p->mark, err,
                                    "cannot plant %lld units in blocks.%d: only %zu hidden units reach an fc1 output of 1",
                                    (long long)p->units, c->block, r->count);
            break;
        }
        scores[best] = HUGE_VAL;
        r->channels[r->count] = best;
        r->gain[r->count++] = c->rules->gain(p, &c->total, b, best);
    }
    free(scores);
    return status;
}

static vs_status plant_units(const vs_plant_block *b, const vs_config *config, const vs_plant_config *p, const context *c,
                             vs_plant_result *r, vs_error *err) {
    vs_status status = result_create(r, c->rules->what, (size_t)p->units, err);
    if (status == VS_OK) status = choose(b, config, p, c, r, err);
    for (size_t i = 0; i < r->count && status == VS_OK; i++) c->rules->change(b, r->channels[i], r->gain[i]);
    return status;
}

static vs_status plant_keys(const vs_plant_block *b, const vs_config *config, const vs_plant_config *p, const context *c,
                            vs_plant_result *r, vs_error *err) {
    const size_t heads = b->model->arch.heads;
    vs_status status = result_create(r, c->rules->what, heads, err);
    if (status != VS_OK) return status;
    for (; r->count < heads; r->count++) {
        r->channels[r->count] = r->count;
        r->gain[r->count] = p->gain;
    }
    char place[1024];
    status = vs_plant_keys(b, p->gain, &c->total, err);
    if (status != VS_OK) vs_error_prefix(err, "%s: blocks.%d: ", vs_config_place(config, p->mark, place, sizeof place), c->block);
    return status;
}

static vs_status plant_block(const vs_plant_target *t, const vs_config *config, const vs_plant_config *p, const vs_imageset *set,
                             context *c, vs_plant_result *r, vs_error *err) {
    const vs_plant_block b = { t->model, c->block };
    r->block = c->block;
    snprintf(r->layer, sizeof r->layer, "blocks.%d.%s", c->block, vs_arch_kind_name(&t->model->arch, c->rules->site));
    vs_status status = c->rules->observe ? measure_block(t, set, c, err) : VS_OK;
    if (status != VS_OK) return status;
    if (p->kind == VS_PLANT_KEY) return plant_keys(&b, config, p, c, r, err);
    return plant_units(&b, config, p, c, r, err);
}

static vs_status plant_residual(vs_model *m, const vs_plant_config *p, vs_plant_result *r, vs_error *err) {
    r->block = -1;
    snprintf(r->layer, sizeof r->layer, "%s", "embed");
    vs_status status = result_create(r, NULL, 1, err);
    if (status != VS_OK) return status;
    r->gain[r->count++] = p->gain;
    vs_plant_residual(m, p->gain);
    return VS_OK;
}

/* ---- the order of work */

static bool listed(const vs_plant_config *p, size_t block) {
    if (p->block_count == 0) return true;
    for (size_t i = 0; i < p->block_count; i++)
        if ((size_t)p->blocks[i] == block) return true;
    return false;
}

static vs_status check_one(const vs_config *config, const vs_plant_config *p, vs_model *m, vs_error *err) {
    const vs_plant_rules *rules = vs_plant_rules_of(p->kind);
    for (size_t i = 0; i < p->block_count; i++)
        if (p->blocks[i] < 0 || (size_t)p->blocks[i] >= m->arch.depth) {
            char place[1024];
            return vs_fail(err, VS_ERR_NOTFOUND, "%s: plant: there is no block %lld; the model has blocks 0 to %zu",
                           vs_config_place(config, p->mark, place, sizeof place), (long long)p->blocks[i], m->arch.depth - 1);
        }
    if (p->kind == VS_PLANT_KEY && m->arch.position == VS_POSITION_ROPE)
        return vs_config_fail(config, p->mark, err,
                              "cannot plant 'key' in %s: its keys are rotated (RoPE), so a longer k bias does not shift a row of "
                              "scores by a constant",
                              m->arch.name);
    const size_t choices = rules->choices ? rules->choices(&(vs_plant_block){ m, 0 }) : SIZE_MAX;
    if ((size_t)p->units <= choices) return VS_OK;
    return vs_config_fail(config, p->mark, err, "cannot plant %lld %ss in a block: the input of %s has %zu", (long long)p->units,
                          rules->what, vs_arch_kind_name(&m->arch, rules->site), choices);
}

vs_status vs_plant_check(const vs_config *config, vs_model *model, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t k = 0; k < config->model.plant_count && status == VS_OK; k++)
        status = check_one(config, &config->model.plants[k], model, err);
    return status;
}

static vs_plant_result *add_result(vs_plant_result **plants, size_t *count, size_t *capacity, vs_plant_kind kind) {
    if (!vs_grow((void **)plants, capacity, *count + 1, sizeof **plants)) return NULL;
    vs_plant_result *r = &(*plants)[(*count)++];
    *r = (vs_plant_result){ .kind = vs_plant_kind_name(kind) };
    return r;
}

const vs_plant_config *vs_plant_needs_images(const vs_config *config) {
    for (size_t i = 0; i < config->model.plant_count; i++)
        if (vs_plant_rules_of(config->model.plants[i].kind)->observe) return &config->model.plants[i];
    return NULL;
}

vs_status vs_plant(const vs_plant_target *t, const vs_config *config, const vs_imageset *set, vs_plant_result **plants,
                   size_t *plant_count, vs_error *err) {
    const size_t depth = t->model->arch.depth;
    context c = { 0 };
    size_t capacity = *plant_count;
    vs_status status = vs_plant_check(config, t->model, err);
    if (status == VS_OK && vs_plant_needs_images(config)) status = context_create(&c, t->runner.wave, &t->model->arch, err);
    for (size_t k = 0; k < config->model.plant_count && status == VS_OK; k++) {
        const vs_plant_config *p = &config->model.plants[k];
        const bool whole = p->kind == VS_PLANT_RESIDUAL;
        c.rules = vs_plant_rules_of(p->kind);
        for (size_t b = 0; b < (whole ? 1 : depth) && status == VS_OK; b++) {
            if (!listed(p, b)) continue;
            c.block = (int)b;
            vs_plant_result *r = add_result(plants, plant_count, &capacity, p->kind);
            status = !r      ? no_memory(err)
                     : whole ? plant_residual(t->model, p, r, err)
                             : plant_block(t, config, p, set, &c, r, err);
        }
    }
    context_release(&c, t->runner.wave);
    return status;
}

void vs_plants_free(vs_plant_result *plants, size_t count) {
    for (size_t i = 0; plants && i < count; i++) {
        free(plants[i].channels);
        free(plants[i].gain);
    }
    free(plants);
}
