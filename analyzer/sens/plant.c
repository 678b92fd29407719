#include "plant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* What planting needs to know of one block's hidden units, over all tokens of the calibration images. */
typedef struct unit_stats {
    size_t units;
    double *fc1_max;  /* largest fc1 output */
    double *gelu_max; /* largest GELU output */
    double *gelu_sq;  /* sum of GELU^2 */
    double tokens;
} unit_stats;

typedef struct context {
    const vs_runner *runner;
    int block;
    unit_stats *slots; /* [wave]: pooled in image order, so sums do not depend on threads */
    unit_stats total;
} context;

static vs_status unit_stats_create(unit_stats *s, size_t units, vs_error *err) {
    *s = (unit_stats){ .units = units, .fc1_max = vs_calloc(3 * units, sizeof(double)) };
    if (!s->fc1_max) return vs_fail(err, VS_ERR_NOMEM, "no memory for planting");
    s->gelu_max = s->fc1_max + units;
    s->gelu_sq = s->gelu_max + units;
    return VS_OK;
}

static void unit_stats_reset(unit_stats *s) {
    for (size_t i = 0; i < s->units; i++) {
        s->fc1_max[i] = s->gelu_max[i] = -HUGE_VAL;
        s->gelu_sq[i] = 0;
    }
    s->tokens = 0;
}

typedef struct observer {
    const vs_backend *backend;
    int block;
    unit_stats *stats;
    double *lows;
} observer;

static vs_status observe(void *ctx, const vs_tap *tap, vs_error *err) {
    (void)err;
    const observer *o = ctx;
    if (tap->block != o->block) return VS_OK;
    if (tap->kind == VS_KIND_FC1 && !tap->input) o->backend->ops->channel_minmax(o->backend, tap->x, o->lows, o->stats->fc1_max);
    if (tap->kind == VS_KIND_FC2 && tap->input) {
        o->backend->ops->channel_minmax(o->backend, tap->x, o->lows, o->stats->gelu_max);
        o->backend->ops->channel_energy(o->backend, tap->x, o->stats->gelu_sq);
        o->stats->tokens = (double)tap->x.rows;
    }
    return VS_OK;
}

static vs_status work(void *ctx, const vs_job *job, vs_error *err) {
    const context *c = ctx;
    unit_stats *slot = &c->slots[job->index % c->runner->wave];
    unit_stats_reset(slot);
    double *lows = vs_calloc(slot->units, sizeof *lows);
    if (!lows) return vs_fail(err, VS_ERR_NOMEM, "no memory for planting");
    observer o = { c->runner->weights->backend, c->block, slot, lows };
    const vs_tapper tapper = { observe, &o };
    vs_status status = vs_forward_embed(job->session, c->runner->weights, job->sample->pixels, 0, tapper, err);
    for (int b = 0; b <= c->block && status == VS_OK; b++)
        status = vs_forward_block(job->session, c->runner->weights, 0, 0, (size_t)b, tapper, err);
    if (status == VS_OK) status = o.backend->ops->sync(o.backend, err);
    free(lows);
    return status;
}

static vs_status pool(void *ctx, size_t image, vs_error *err) {
    (void)err;
    context *c = ctx;
    const unit_stats *slot = &c->slots[image % c->runner->wave];
    for (size_t i = 0; i < slot->units; i++) {
        c->total.fc1_max[i] = fmax(c->total.fc1_max[i], slot->fc1_max[i]);
        c->total.gelu_max[i] = fmax(c->total.gelu_max[i], slot->gelu_max[i]);
        c->total.gelu_sq[i] += slot->gelu_sq[i];
    }
    c->total.tokens += slot->tokens;
    return VS_OK;
}

static double gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }

/* fc1 row and bias x g, fc2 column / g: the function hardly moves, fc2's input gains an outlier. */
static void scale_unit(vs_block *b, size_t unit, double g) {
    for (size_t j = 0; j < b->fc1.in; j++) b->fc1.w[unit * b->fc1.in + j] = (float)((double)b->fc1.w[unit * b->fc1.in + j] * g);
    if (b->fc1.b) b->fc1.b[unit] = (float)((double)b->fc1.b[unit] * g);
    for (size_t o = 0; o < b->fc2.out; o++) b->fc2.w[o * b->fc2.in + unit] = (float)((double)b->fc2.w[o * b->fc2.in + unit] / g);
}

static double column_energy(const vs_linear *l, size_t column) {
    double sum = 0;
    for (size_t o = 0; o < l->out; o++) sum += (double)l->w[o * l->in + column] * (double)l->w[o * l->in + column];
    return sum;
}

/* spike: how little a unit matters, smaller first. hidden: its largest fc1 output, larger first. HUGE_VAL: not eligible. */
static double score(vs_plant_kind kind, const unit_stats *s, const vs_block *b, size_t unit) {
    if (kind == VS_PLANT_HIDDEN) return -s->fc1_max[unit];
    if (!(s->fc1_max[unit] >= 1)) return HUGE_VAL;
    return s->gelu_sq[unit] / s->tokens * column_energy(&b->fc2, unit);
}

static vs_status plant_block(vs_block *b, const vs_config *config, const vs_plant_config *p, int block, const unit_stats *s,
                             vs_plant_result *r, vs_error *err) {
    const size_t units = (size_t)p->units;
    double *scores = vs_calloc(s->units, sizeof *scores);
    r->channels = vs_calloc(units, sizeof *r->channels);
    r->gain = vs_calloc(units, sizeof *r->gain);
    vs_status status = scores && r->channels && r->gain ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for planting");
    double largest_gelu = 0;
    for (size_t u = 0; u < s->units && status == VS_OK; u++) {
        scores[u] = score(p->kind, s, b, u);
        largest_gelu = fmax(largest_gelu, s->gelu_max[u]);
    }
    while (status == VS_OK && r->count < units) {
        size_t best = SIZE_MAX;
        for (size_t u = 0; u < s->units; u++)
            if (scores[u] < HUGE_VAL && (best == SIZE_MAX || scores[u] < scores[best])) best = u;
        if (best == SIZE_MAX) {
            status = vs_config_fail(config, p->mark, err,
                                    "cannot plant %zu units in blocks.%d: only %zu hidden units reach an fc1 output of 1", units,
                                    block, r->count);
            break;
        }
        r->channels[r->count] = best;
        r->gain[r->count++] = p->kind == VS_PLANT_SPIKE ? p->ratio * largest_gelu / gelu(s->fc1_max[best]) : p->gain;
        scores[best] = HUGE_VAL;
    }
    for (size_t i = 0; i < r->count && status == VS_OK; i++) scale_unit(b, r->channels[i], r->gain[i]);
    free(scores);
    return status;
}

static vs_status measure_block(const vs_plant_target *t, const vs_imageset *set, context *c, vs_error *err) {
    vs_weights *weights = NULL;
    vs_status status = vs_weights_bind(&weights, t->backend, t->model, err); /* the model as planted so far */
    if (status != VS_OK) return status;
    vs_runner runner = t->runner;
    runner.weights = weights;
    context at_work = *c; /* its arrays are shared */
    at_work.runner = &runner;
    unit_stats_reset(&at_work.total);
    status = vs_run_images(&runner, set, set->count, "planting", (vs_session_needs){ 1, 1, NULL }, work, pool, &at_work, err);
    c->total.tokens = at_work.total.tokens;
    vs_weights_free(weights);
    return status;
}

static bool listed(const vs_plant_config *p, size_t block) {
    if (p->block_count == 0) return true;
    for (size_t i = 0; i < p->block_count; i++)
        if ((size_t)p->blocks[i] == block) return true;
    return false;
}

static vs_status check_blocks(const vs_config *config, const vs_plant_config *p, size_t depth, vs_error *err) {
    for (size_t i = 0; i < p->block_count; i++)
        if (p->blocks[i] < 0 || (size_t)p->blocks[i] >= depth) {
            char place[1024];
            return vs_fail(err, VS_ERR_NOTFOUND, "%s: plant: there is no block %lld; the model has blocks 0 to %zu",
                           vs_config_place(config, p->mark, place, sizeof place), (long long)p->blocks[i], depth - 1);
        }
    return VS_OK;
}

vs_status vs_plant(vs_plant_target *t, const vs_config *config, const vs_imageset *set, vs_plant_result **plants,
                   size_t *plant_count, vs_error *err) {
    const size_t depth = t->model->arch.depth, hidden = t->model->arch.hidden;
    context c = { .slots = vs_calloc(t->runner.wave, sizeof *c.slots) };
    size_t capacity = 0;
    vs_status status = c.slots ? unit_stats_create(&c.total, hidden, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for planting");
    for (size_t i = 0; i < t->runner.wave && status == VS_OK; i++) status = unit_stats_create(&c.slots[i], hidden, err);
    for (size_t k = 0; k < config->model.plant_count && status == VS_OK; k++) {
        const vs_plant_config *p = &config->model.plants[k];
        status = check_blocks(config, p, depth, err);
        for (size_t b = 0; b < depth && status == VS_OK; b++) {
            if (!listed(p, b)) continue;
            c.block = (int)b;
            status = measure_block(t, set, &c, err);
            if (status != VS_OK) break;
            if (!vs_grow((void **)plants, &capacity, *plant_count + 1, sizeof **plants)) {
                status = vs_fail(err, VS_ERR_NOMEM, "no memory for planting");
                break;
            }
            vs_plant_result *r = &(*plants)[(*plant_count)++];
            *r = (vs_plant_result){ .kind = vs_plant_kind_name(p->kind), .row_block = b };
            snprintf(r->layer, sizeof r->layer, "blocks.%zu.mlp.fc2", b);
            status = plant_block(&t->model->blocks[b], config, p, (int)b, &c.total, r, err);
        }
    }
    for (size_t i = 0; c.slots && i < t->runner.wave; i++) free(c.slots[i].fc1_max);
    free(c.slots);
    free(c.total.fc1_max);
    return status;
}

void vs_plants_free(vs_plant_result *plants, size_t count) {
    for (size_t i = 0; plants && i < count; i++) {
        free(plants[i].channels);
        free(plants[i].gain);
    }
    free(plants);
}
