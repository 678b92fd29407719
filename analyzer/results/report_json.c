/* results.json: the schema of docs/results.md. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/report.h"
#include "util/util.h"
#include "json/json_text.h"

/* The document being built. `failed`: memory ran out somewhere and the tree is not whole. */
typedef struct document {
    const vs_results *results;
    bool failed;
} document;

static void put(document *d, json_t *o, const char *key, json_t *value) { d->failed |= json_object_set_new(o, key, value) != 0; }
static void append(document *d, json_t *a, json_t *value) { d->failed |= json_array_append_new(a, value) != 0; }

static json_t *number(double v) {
    if (isnan(v)) return json_null();
    if (isinf(v)) return json_string(v > 0 ? "inf" : "-inf");
    return json_real(v);
}

static json_t *integer(size_t v) { return json_integer((json_int_t)v); }
static json_t *rank(size_t v) { return v ? integer(v) : json_null(); }
static json_t *pooled(const vs_sqnr *s) { return s->present ? number(s->pooled) : json_null(); }

static json_t *spread(document *d, const vs_sqnr *s, bool with_pooled) {
    if (!s->present) return json_null();
    json_t *o = json_object();
    if (with_pooled) put(d, o, "pooled", number(s->pooled));
    put(d, o, "mean", number(s->mean));
    put(d, o, "std", number(s->std));
    put(d, o, "min", number(s->min));
    if (s->nonfinite) put(d, o, "nonfinite", integer((size_t)s->nonfinite));
    return o;
}

static json_t *recipe(document *d, const vs_row_recipe *r) {
    json_t *o = json_object(), *local = json_object(), *output = json_object(), *spared = json_object(), *images = json_object();
    for (size_t i = 0; i < VS_LOCAL_COUNT; i++) {
        put(d, local, vs_local_names[i], pooled(&r->local[i]));
        char key[64];
        snprintf(key, sizeof key, "local.%s", vs_local_names[i]);
        if (i != VS_LOCAL_WEIGHT_TENSOR) put(d, images, key, spread(d, &r->local[i], false));
    }
    put(d, images, "local_proj", spread(d, &r->local_proj, false));
    for (size_t i = 0; i < VS_MODE_COUNT; i++) {
        put(d, output, vs_local_names[i], pooled(&r->output[i]));
        char key[64];
        snprintf(key, sizeof key, "output.%s", vs_local_names[i]);
        put(d, images, key, spread(d, &r->output[i], false));
    }
    put(d, spared, "both", pooled(&r->spared));
    put(d, spared, "gain", r->spared.present ? number(r->spared_gain) : json_null());
    put(d, images, "spared.both", spread(d, &r->spared, false));
    put(d, images, "cumulative", spread(d, &r->cumulative, false));
    put(d, o, "local", local);
    put(d, o, "local_proj", pooled(&r->local_proj));
    put(d, o, "output", output);
    put(d, o, "spared", spared);
    put(d, o, "cumulative", pooled(&r->cumulative));
    put(d, o, "per_image", images);
    return o;
}

static json_t *distribution(document *doc, const vs_row *x, const vs_distribution *d, bool is_input) {
    const vs_results *r = doc->results;
    if (!d->present) return json_null();
    json_t *o = json_object(), *at = json_object(), *top = json_array();
    char token[32];
    vs_rule_name(&x->rows, d->argmax_token, r->grid_w, token, sizeof token);
    put(doc, at, "image", integer(d->argmax_image));
    put(doc, at, "token", vs_json_string(token));
    put(doc, at, "channel", integer(d->argmax_channel));
    for (size_t i = 0; i < d->top_count; i++) {
        json_t *c = json_object();
        put(doc, c, "channel", integer(d->top[i].channel));
        put(doc, c, "share", number(d->top[i].share));
        append(doc, top, c);
    }
    const struct {
        const char *key;
        double value;
    } numbers[] = { { "max", d->max },   { "median", d->median }, { "mean", d->mean }, { "p99", d->p99 },
                    { "p999", d->p999 }, { "ratio", d->ratio },   { "step", d->step }, { "zeroed", d->zeroed } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put(doc, o, numbers[i].key, number(numbers[i].value));
    put(doc, o, "argmax", at);
    put(doc, o, "structure", number(d->structure));
    put(doc, o, "shape", json_string(d->shape));
    put(doc, o, "top_channels", top);
    if (is_input) {
        put(doc, o, "qstep", d->quantized ? number(d->qstep) : json_null());
        put(doc, o, "qzeroed", d->quantized ? number(d->qzeroed) : json_null());
        put(doc, o, "clipped", d->quantized ? number(d->clipped) : json_null());
    }
    return o;
}

static json_t *row(document *d, const vs_row *x) {
    const vs_results *r = d->results;
    json_t *o = json_object(), *fqn = json_array(), *sqnr = json_object(), *states = json_object();
    for (size_t i = 0; i < x->fqn_count; i++) append(d, fqn, vs_json_string(x->fqn[i]));
    for (size_t i = 0; i < r->recipe_count; i++) put(d, sqnr, r->recipe_names[i], recipe(d, &x->recipes[i]));
    for (size_t i = 0; i < r->state_count; i++) {
        json_t *s = json_object();
        put(d, s, "out", distribution(d, x, &x->states[i].out, false));
        put(d, s, "in", distribution(d, x, &x->states[i].in, true));
        put(d, s, "median_shift", x->states[i].has_shift ? number(x->states[i].median_shift) : json_null());
        put(d, states, r->state_names[i], s);
    }
    put(d, o, "layer", json_string(x->layer));
    put(d, o, "fqn", fqn);
    put(d, o, "kind", json_string(vs_arch_kind_name(r->arch, x->kind)));
    put(d, o, "block", json_integer(x->block));
    put(d, o, "macs", x->macs == floor(x->macs) ? json_integer((json_int_t)x->macs) : number(x->macs));
    put(d, o, "planted", json_boolean(x->planted));
    put(d, o, "sqnr", sqnr);
    put(d, o, "states", states);
    return o;
}

static json_t *model(document *d) {
    const vs_results *r = d->results;
    json_t *o = json_object();
    put(d, o, "layout", json_string(r->arch->layout));
    put(d, o, "arch", json_string(r->arch->name));
    put(d, o, "width", integer(r->arch->width));
    put(d, o, "depth", integer(r->arch->depth));
    put(d, o, "heads", integer(r->arch->heads));
    put(d, o, "patch", integer(r->arch->patch));
    put(d, o, "registers", integer(r->arch->registers));
    put(d, o, "tokens", integer(r->tokens));
    return o;
}

static json_t *rankings(document *d, const vs_ranking_set *set) {
    const vs_results *r = d->results;
    json_t *o = json_object();
    for (size_t i = 0; i < set->ranking_count; i++) {
        json_t *a = json_array();
        for (size_t k = 0; k < set->rankings[i].count; k++) append(d, a, json_string(r->rows[set->rankings[i].rows[k]].layer));
        put(d, o, set->rankings[i].mode, a);
    }
    return o;
}

/* agreement, blind_spot and harmless of one recipe, into `o`. */
static void conclusions(document *d, const vs_ranking_set *set, json_t *o) {
    const vs_results *r = d->results;
    json_t *agreement = json_array(), *blind = json_array(), *harmless = json_array();
    for (size_t i = 0; i < set->agreement_count; i++) {
        const vs_agreement *a = &set->agreements[i];
        json_t *x = json_object();
        put(d, x, "a", json_string(a->a));
        put(d, x, "b", json_string(a->b));
        put(d, x, "spearman", a->defined ? number(a->spearman) : json_null());
        put(d, x, "overlap10", integer(a->overlap10));
        append(d, agreement, x);
    }
    for (size_t i = 0; i < set->blind_count; i++) {
        const vs_blind_spot *b = &set->blind[i];
        json_t *x = json_object();
        put(d, x, "layer", json_string(r->rows[b->row].layer));
        put(d, x, "gap", number(b->gap));
        put(d, x, "weights", rank(b->weights));
        put(d, x, "activations", rank(b->activations));
        put(d, x, "output", rank(b->output));
        put(d, x, "flagged", json_boolean(b->flagged));
        append(d, blind, x);
    }
    for (size_t i = 0; i < set->harmless_count; i++) {
        const vs_harmless *h = &set->harmless[i];
        json_t *x = json_object();
        put(d, x, "layer", json_string(r->rows[h->row].layer));
        put(d, x, "outliers", rank(h->outliers));
        put(d, x, "outliers_in", rank(h->outliers_in));
        put(d, x, "activations", rank(h->activations));
        put(d, x, "output", rank(h->output));
        append(d, harmless, x);
    }
    put(d, o, "agreement", agreement);
    put(d, o, "blind_spot", blind);
    put(d, o, "harmless", harmless);
}

/* Every state has its keys, measured or not. */
static json_t *task_values(document *d, const vs_task *t) {
    json_t *x = json_object(), *iou = t->has_labels ? json_array() : json_null();
    for (size_t k = 0; t->has_labels && k < d->results->class_count; k++) append(d, iou, number(t->iou[k]));
    put(d, x, "miou", t->has_labels ? number(t->miou) : json_null());
    put(d, x, "aacc", t->has_labels ? number(t->aacc) : json_null());
    put(d, x, "macc", t->has_labels ? number(t->macc) : json_null());
    put(d, x, "agreement", t->has_agreement ? number(t->agreement) : json_null());
    put(d, x, "iou", iou);
    return x;
}

static json_t *task(document *d) {
    const vs_results *r = d->results;
    static const vs_task none = { 0 };
    json_t *o = json_object();
    for (size_t s = 0; s < r->state_count; s++) {
        const vs_task *t = r->has_task ? &r->tasks[s] : &none;
        put(d, o, r->state_names[s], task_values(d, t));
    }
    return o;
}

static json_t *classes(document *d) {
    const vs_results *r = d->results;
    if (!r->class_names) return json_null();
    json_t *a = json_array();
    for (size_t i = 0; i < r->class_count; i++) append(d, a, vs_json_string(r->class_names[i]));
    return a;
}

static json_t *planted(document *d) {
    const vs_results *r = d->results;
    json_t *a = json_array();
    for (size_t i = 0; i < r->plant_count; i++) {
        const vs_plant_result *p = &r->plants[i];
        json_t *o = json_object(), *channels = json_array(), *gains = json_array();
        for (size_t k = 0; k < p->count; k++) {
            if (p->channels) append(d, channels, integer(p->channels[k]));
            append(d, gains, number(p->gain[k]));
        }
        put(d, o, "kind", json_string(p->kind));
        put(d, o, "layer", json_string(p->layer));
        put(d, o, "block", p->block < 0 ? json_null() : json_integer(p->block));
        put(d, o, "what", p->what ? json_string(p->what) : json_null());
        put(d, o, "channels", channels);
        put(d, o, "gain", gains);
        append(d, a, o);
    }
    return a;
}

/* A recipe that is not run as a state has its spared_floor alone. */
static json_t *output_sqnr(document *d) {
    const vs_results *r = d->results;
    json_t *o = json_object();
    for (size_t s = 0; s < r->state_count; s++) put(d, o, r->state_names[s], spread(d, &r->output_sqnr[s], true));
    for (size_t i = 0; i < r->recipe_count; i++) {
        const double floor = r->spared_floor ? r->spared_floor[i] : (double)NAN;
        json_t *x = json_object_get(o, r->recipe_names[i]);
        if (!x && !isnan(floor)) put(d, o, r->recipe_names[i], x = json_object());
        if (json_is_object(x)) put(d, x, "spared_floor", number(floor));
    }
    return o;
}

static json_t *evaluation_sqnr(document *d) {
    const vs_results *r = d->results;
    json_t *o = json_object();
    for (size_t s = 0; s < r->state_count; s++) put(d, o, r->state_names[s], spread(d, &r->evaluation_sqnr[s], true));
    return o;
}

static json_t *stream(document *d, const vs_sqnr *blocks) {
    json_t *a = json_array();
    for (size_t b = 0; b < d->results->arch->depth; b++) append(d, a, pooled(&blocks[b]));
    return a;
}

/* The residual stream after each block: of the whole states, and of the worst layers alone. */
static json_t *propagation(document *d) {
    const vs_results *r = d->results;
    json_t *o = json_object(), *states = json_object(), *alone = json_array();
    for (size_t s = 0; s < r->state_count && r->stream; s++)
        if (s != r->fp32_state) put(d, states, r->state_names[s], stream(d, r->stream + s * r->arch->depth));
    for (size_t i = 0; i < r->propagation_count; i++) {
        const vs_propagation *p = &r->propagations[i];
        json_t *x = json_object();
        put(d, x, "layer", json_string(r->rows[p->row].layer));
        put(d, x, "recipe", json_string(r->recipe_names[p->recipe]));
        put(d, x, "stream", stream(d, p->stream));
        append(d, alone, x);
    }
    put(d, o, "states", states);
    put(d, o, "alone", alone);
    return o;
}

static json_t *block_norms(document *d, const vs_token_norms *n) {
    json_t *a = json_array();
    for (size_t b = 0; b < n->block_count; b++) {
        const vs_block_norms *k = &n->blocks[b];
        json_t *x = json_object();
        put(d, x, "cls", number(k->cls / (double)n->images));
        put(d, x, "registers", d->results->arch->registers ? number(k->registers / (double)n->images) : json_null());
        put(d, x, "median", number(k->median / (double)n->images));
        put(d, x, "high", n->high ? number(k->high / (double)n->high) : json_null());
        put(d, x, "largest", number(k->largest));
        append(d, a, x);
    }
    return a;
}

static json_t *token_norms(document *d) {
    const vs_token_norms *n = &d->results->norms;
    if (!n->images) return json_null();
    json_t *o = json_object(), *prefix = json_array(), *listed = json_array();
    for (size_t i = 0; i <= d->results->arch->registers; i++) {
        char token[32];
        vs_rule_name(&d->results->token_rows, i, 1, token, sizeof token);
        json_t *x = json_object();
        put(d, x, "token", json_string(token));
        put(d, x, "times", number(n->prefix_times[i] / (double)n->images));
        append(d, prefix, x);
    }
    for (size_t i = 0; i < n->listed_count; i++) {
        json_t *x = json_object();
        put(d, x, "image", integer(n->listed[i].image));
        put(d, x, "token", json_string(n->listed[i].name));
        put(d, x, "norm", number(n->listed[i].norm));
        put(d, x, "times", number(n->listed[i].times));
        append(d, listed, x);
    }
    put(d, o, "limit", integer(VS_HIGH_NORM));
    put(d, o, "patches", integer(n->patches));
    put(d, o, "high", integer(n->high));
    put(d, o, "prefix", prefix);
    put(d, o, "listed", listed);
    put(d, o, "blocks", block_norms(d, n));
    return o;
}

static json_t *place(document *d, const vs_half_place_result *p) {
    if (!p->present) return json_null();
    json_t *o = json_object();
    put(d, o, "image", integer(p->image));
    put(d, o, "token", json_string(p->token));
    put(d, o, "channel", integer(p->channel));
    return o;
}

static json_t *fp16_row(document *d, const vs_fp16_row *r) {
    json_t *o = json_object();
    put(d, o, "row", json_string(r->name));
    put(d, o, "max", number(r->max));
    put(d, o, "headroom", number(r->headroom));
    put(d, o, "inf", integer((size_t)r->inf));
    put(d, o, "cast_inf", integer((size_t)r->cast_inf));
    put(d, o, "nan", integer((size_t)r->nan));
    put(d, o, "subnormal", integer((size_t)r->subnormal));
    put(d, o, "flushed", integer((size_t)r->flushed));
    put(d, o, "first", place(d, &r->first));
    put(d, o, "largest", place(d, &r->largest));
    put(d, o, "sqnr", pooled(&r->sqnr));
    return o;
}

static json_t *fp16_first_bad(document *d, const vs_fp16_policy *p) {
    if (p->first_bad >= p->row_count) return json_null();
    json_t *o = json_object();
    put(d, o, "row", json_string(p->rows[p->first_bad].name));
    put(d, o, "why", json_string(p->why));
    put(d, o, "value", number(p->bad_value));
    return o;
}

static json_t *fp16_chain(document *d, const vs_fp16_diagnosis *g) {
    json_t *a = json_array();
    for (size_t i = 0; i < g->chain_count; i++) {
        json_t *o = json_object();
        put(d, o, "row", json_string(g->chain[i].row));
        put(d, o, "why", json_string(g->chain[i].why));
        put(d, o, "value", number(g->chain[i].value));
        put(d, o, "class", json_string(g->chain[i].class_name));
        append(d, a, o);
    }
    return a;
}

static json_t *fp16_keep(document *d, const vs_fp16_diagnosis *g) {
    json_t *a = json_array();
    for (size_t i = 0; i < g->keep_count; i++) {
        const vs_fp16_keep *k = &g->keep[i];
        json_t *o = json_object(), *without = k->has_without ? json_object() : json_null();
        if (k->has_without) {
            put(d, without, "sqnr", number(k->without_sqnr));
            put(d, without, "task", k->has_task ? task_values(d, &k->without_task) : json_null());
        }
        put(d, o, "row", json_string(k->row));
        put(d, o, "why", json_string(k->needed ? "needed" : "headroom"));
        put(d, o, "without", without);
        append(d, a, o);
    }
    return a;
}

static void fp16_diagnosis(document *d, const vs_fp16_diagnosis *g, json_t *o) {
    json_t *cause = json_object(), *classes = json_array(), *verified = g->verified ? json_object() : json_null();
    for (size_t i = 0; i < g->class_count; i++) append(d, classes, json_string(g->classes[i]));
    put(d, cause, "classes", classes);
    put(d, cause, "sqnr", number(g->cause_sqnr));
    put(d, cause, "words", json_string(g->words));
    if (g->verified) {
        put(d, verified, "sqnr", number(g->verified_sqnr));
        put(d, verified, "task", task_values(d, &g->verified_task));
    }
    put(d, o, "chain", fp16_chain(d, g));
    put(d, o, "cause", cause);
    put(d, o, "target", number(g->target));
    put(d, o, "wide", number(g->wide));
    put(d, o, "lin", number(g->lin));
    put(d, o, "keep", fp16_keep(d, g));
    put(d, o, "keep_reaches", json_boolean(g->reached));
    put(d, o, "keep_minimal", json_boolean(g->minimal));
    put(d, o, "keep_sqnr", number(g->keep_sqnr));
    put(d, o, "keep_task", g->has_whole_task ? task_values(d, &g->whole_task) : json_null());
    put(d, o, "verified", verified);
    put(d, o, "macs_share", number(g->macs_share));
    put(d, o, "runs", integer(g->runs));
}

static json_t *fp16_real(document *d, const vs_fp16_real *r) {
    json_t *o = json_object(), *blocks = json_array();
    for (size_t i = 0; i < r->block_count; i++) {
        json_t *one = json_object();
        put(d, one, "row", json_string(r->blocks[i].row));
        put(d, one, "sqnr", number(r->blocks[i].sqnr));
        put(d, one, "emulated", number(r->blocks[i].emulated));
        append(d, blocks, one);
    }
    put(d, o, "sqnr", pooled(&r->sqnr));
    put(d, o, "task", r->has_task ? task_values(d, &r->task) : json_null());
    put(d, o, "classes_predicted", r->has_task ? integer(r->classes_predicted) : json_null());
    put(d, o, "finite", r->block_count ? json_boolean(r->finite) : json_null());
    put(d, o, "blocks", blocks);
    put(d, o, "largest_difference_db", r->block_count ? number(r->largest_difference) : json_null());
    put(d, o, "output_difference_db", r->block_count ? number(r->output_difference) : json_null());
    return o;
}

static json_t *fp16_policy(document *d, const vs_fp16_policy *p) {
    json_t *o = json_object(), *rows = json_array();
    for (size_t i = 0; i < p->row_count; i++) append(d, rows, fp16_row(d, &p->rows[i]));
    put(d, o, "scale", p->scale ? json_string(p->scale) : json_null());
    put(d, o, "sqnr", pooled(&p->sqnr));
    put(d, o, "task", p->has_task ? task_values(d, &p->task) : json_null());
    put(d, o, "classes_predicted", p->has_task ? integer(p->classes_predicted) : json_null());
    put(d, o, "finite", p->analyzed ? json_boolean(p->finite) : json_null());
    put(d, o, "rows", rows);
    put(d, o, "first_bad", fp16_first_bad(d, p));
    if (p->diagnosis.present) fp16_diagnosis(d, &p->diagnosis, o);
    if (p->real.present) put(d, o, "real", fp16_real(d, &p->real));
    return o;
}

static json_t *fp16_weights(document *d, const vs_fp16_results *r) {
    json_t *a = json_array();
    for (size_t i = 0; i < r->weight_count; i++) {
        const vs_half_weight_note *w = &r->weights[i];
        json_t *o = json_object();
        put(d, o, "tensor", json_string(w->tensor));
        put(d, o, "inf", integer((size_t)w->inf));
        put(d, o, "flushed", integer((size_t)w->flushed));
        put(d, o, "of", integer(w->of));
        put(d, o, "max", number(w->max));
        append(d, a, o);
    }
    return a;
}

static json_t *fp16_advice(document *d, const vs_fp16_results *r) {
    json_t *a = json_array();
    for (size_t i = 0; i < r->advice_count; i++) {
        const vs_fp16_advice *v = &r->advice[i];
        json_t *o = json_object();
        put(d, o, "policy", json_string(r->policies[v->policy].name));
        put(d, o, "what", json_string(v->what));
        put(d, o, "sqnr", number(v->sqnr));
        put(d, o, "task", v->has_task ? task_values(d, &v->task) : json_null());
        put(d, o, "reaches", json_boolean(v->reaches));
        put(d, o, "float_sqnr", number(v->float_sqnr));
        append(d, a, o);
    }
    return a;
}

static json_t *fp16(document *d) {
    const vs_fp16_results *r = &d->results->fp16;
    json_t *o = json_object(), *policies = json_object();
    for (size_t i = 0; i < r->policy_count; i++) put(d, policies, r->policies[i].name, fp16_policy(d, &r->policies[i]));
    put(d, o, "format", json_string(r->format));
    if (*r->not_run) put(d, o, "not_run", vs_json_string(r->not_run));
    put(d, o, "weights", fp16_weights(d, r));
    put(d, o, "policies", policies);
    put(d, o, "advice", fp16_advice(d, r));
    put(d, o, "advice_runs", integer(r->advice_runs));
    return o;
}

vs_status vs_report_json(const vs_results *r, const char *dir, vs_error *err) {
    document doc = { r, false }, *d = &doc;
    json_t *o = json_object(), *layers = json_array(), *images = json_array();
    for (size_t i = 0; i < r->row_count; i++) append(d, layers, row(d, &r->rows[i]));
    for (size_t i = 0; i < r->analysis_images; i++) append(d, images, vs_json_string(r->image_names[i]));
    put(d, o, "schema", json_integer(1));
    put(d, o, "name", vs_json_string(r->name));
    put(d, o, "model", model(d));
    put(d, o, "analysis_images", images);
    put(d, o, "evaluation_images", integer(r->evaluation_images));
    put(d, o, "histogram_relative_error", number(r->histogram_error));
    put(d, o, "layers", layers);
    put(d, o, "output_sqnr", output_sqnr(d));
    if (r->evaluation_sqnr) put(d, o, "evaluation_sqnr", evaluation_sqnr(d));
    put(d, o, "propagation", propagation(d));
    put(d, o, "token_norms", token_norms(d));
    put(d, o, "rankings", rankings(d, &r->ptq_rankings));
    if (r->sq_recipe != SIZE_MAX) {
        json_t *sq = json_object();
        put(d, sq, "rankings", rankings(d, &r->sq_rankings));
        conclusions(d, &r->sq_rankings, sq);
        put(d, o, "sq", sq);
    }
    conclusions(d, &r->ptq_rankings, o);
    put(d, o, "classes", classes(d));
    put(d, o, "task", task(d));
    put(d, o, "planted", planted(d));
    if (r->fp16.policy_count || *r->fp16.not_run) put(d, o, "fp16", fp16(d));
    char *text = doc.failed ? NULL : vs_json_text(o, JSON_INDENT(1) | JSON_REAL_PRECISION((size_t)vs_report_digits(r)));
    json_decref(o);
    if (!text) return vs_fail(err, VS_ERR_NOMEM, "no memory for results.json");
    const vs_status status = vs_report_write(dir, "results.json", text, strlen(text), err);
    free(text);
    return status;
}
