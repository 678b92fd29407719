/* results.json: the schema of study.md section 9. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static void put(json_t *o, const char *key, json_t *value) { json_object_set_new(o, key, value ? value : json_null()); }

static json_t *number(double v) {
    if (isnan(v)) return json_null();
    if (isinf(v)) return json_string(v > 0 ? "inf" : "-inf");
    return json_real(v);
}

static json_t *integer(size_t v) { return json_integer((json_int_t)v); }
static json_t *rank(size_t v) { return v ? integer(v) : json_null(); }
static json_t *pooled(const vs_sqnr *s) { return s->present ? number(s->pooled) : json_null(); }

static json_t *spread(const vs_sqnr *s) {
    if (!s->present) return json_null();
    json_t *o = json_object();
    put(o, "mean", number(s->mean));
    put(o, "std", number(s->std));
    put(o, "min", number(s->min));
    if (s->nonfinite) put(o, "nonfinite", integer((size_t)s->nonfinite));
    return o;
}

static json_t *nulls(const char *const *keys, size_t count) {
    json_t *o = json_object();
    for (size_t i = 0; i < count; i++) put(o, keys[i], NULL);
    return o;
}

static json_t *recipe(const vs_row_recipe *r) {
    static const char *const output_keys[] = { "weight", "activation", "both" }, *const spared_keys[] = { "both", "gain" };
    json_t *o = json_object(), *local = json_object(), *images = json_object();
    for (size_t i = 0; i < VS_LOCAL_COUNT; i++) {
        put(local, vs_local_names[i], pooled(&r->local[i]));
        char key[64] = "local.";
        strncat(key, vs_local_names[i], sizeof key - strlen(key) - 1);
        if (i != VS_LOCAL_WEIGHT_TENSOR) put(images, key, spread(&r->local[i]));
    }
    put(images, "cumulative", spread(&r->cumulative));
    put(o, "local", local);
    put(o, "output", nulls(output_keys, 3));
    put(o, "spared", nulls(spared_keys, 2));
    put(o, "cumulative", pooled(&r->cumulative));
    put(o, "per_image", images);
    return o;
}

static json_t *distribution(const vs_results *r, const vs_distribution *d, bool is_input) {
    if (!d->present) return json_null();
    json_t *o = json_object(), *at = json_object(), *top = json_array();
    char token[32];
    vs_token_name(r->arch, d->argmax_token, r->grid_w, token, sizeof token);
    put(at, "image", integer(d->argmax_image));
    put(at, "token", json_string(token));
    put(at, "channel", integer(d->argmax_channel));
    for (size_t i = 0; i < d->top_count; i++) {
        json_t *c = json_object();
        put(c, "channel", integer(d->top[i].channel));
        put(c, "share", number(d->top[i].share));
        json_array_append_new(top, c);
    }
    const struct {
        const char *key;
        double value;
    } numbers[] = { { "max", d->max },   { "median", d->median }, { "mean", d->mean }, { "p99", d->p99 },
                    { "p999", d->p999 }, { "ratio", d->ratio },   { "step", d->step }, { "zeroed", d->zeroed } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) put(o, numbers[i].key, number(numbers[i].value));
    put(o, "argmax", at);
    put(o, "structure", number(d->structure));
    put(o, "shape", json_string(d->shape));
    put(o, "top_channels", top);
    if (is_input) {
        put(o, "qstep", d->quantized ? number(d->qstep) : NULL);
        put(o, "qzeroed", d->quantized ? number(d->qzeroed) : NULL);
        put(o, "clipped", d->quantized ? number(d->clipped) : NULL);
    }
    return o;
}

static json_t *row(const vs_results *r, const vs_row *x) {
    json_t *o = json_object(), *fqn = json_array(), *sqnr = json_object(), *states = json_object();
    for (size_t i = 0; i < x->fqn_count; i++) json_array_append_new(fqn, json_string(x->fqn[i]));
    for (size_t i = 0; i < r->recipe_count; i++) put(sqnr, r->recipe_names[i], recipe(&x->recipes[i]));
    for (size_t i = 0; i < r->state_count; i++) {
        json_t *s = json_object();
        put(s, "out", distribution(r, &x->states[i].out, false));
        put(s, "in", distribution(r, &x->states[i].in, true));
        put(s, "median_shift", x->states[i].has_shift ? number(x->states[i].median_shift) : NULL);
        put(states, r->state_names[i], s);
    }
    put(o, "layer", json_string(x->layer));
    put(o, "fqn", fqn);
    put(o, "kind", json_string(vs_kind_name(x->kind)));
    put(o, "block", json_integer(x->block));
    put(o, "macs", json_integer((json_int_t)x->macs));
    put(o, "planted", json_boolean(x->planted));
    put(o, "sqnr", sqnr);
    put(o, "states", states);
    return o;
}

static json_t *model(const vs_results *r) {
    json_t *o = json_object();
    put(o, "layout", json_string(r->arch->layout));
    put(o, "arch", json_string(r->arch->name));
    put(o, "width", integer(r->arch->width));
    put(o, "depth", integer(r->arch->depth));
    put(o, "heads", integer(r->arch->heads));
    put(o, "patch", integer(r->arch->patch));
    put(o, "registers", integer(r->arch->registers));
    put(o, "tokens", integer(r->tokens));
    return o;
}

static json_t *rankings(const vs_results *r, const vs_ranking_set *set) {
    json_t *o = json_object();
    for (size_t i = 0; i < set->ranking_count; i++) {
        json_t *a = json_array();
        for (size_t k = 0; k < set->rankings[i].count; k++)
            json_array_append_new(a, json_string(r->rows[set->rankings[i].rows[k]].layer));
        put(o, set->rankings[i].mode, a);
    }
    return o;
}

/* agreement, blind_spot and harmless of one recipe, into `o`. */
static void conclusions(const vs_results *r, const vs_ranking_set *set, json_t *o) {
    json_t *agreement = json_array(), *blind = json_array(), *harmless = json_array();
    for (size_t i = 0; i < set->agreement_count; i++) {
        const vs_agreement *a = &set->agreements[i];
        json_t *x = json_object();
        put(x, "a", json_string(a->a));
        put(x, "b", json_string(a->b));
        put(x, "spearman", a->defined ? number(a->spearman) : NULL);
        put(x, "overlap10", integer(a->overlap10));
        json_array_append_new(agreement, x);
    }
    for (size_t i = 0; i < set->blind_count; i++) {
        const vs_blind_spot *b = &set->blind[i];
        json_t *x = json_object();
        put(x, "layer", json_string(r->rows[b->row].layer));
        put(x, "gap", number(b->gap));
        put(x, "weights", rank(b->weights));
        put(x, "activations", rank(b->activations));
        put(x, "output", NULL);
        put(x, "flagged", json_boolean(b->flagged));
        json_array_append_new(blind, x);
    }
    for (size_t i = 0; i < set->harmless_count; i++) {
        const vs_harmless *h = &set->harmless[i];
        json_t *x = json_object();
        put(x, "layer", json_string(r->rows[h->row].layer));
        put(x, "outliers", rank(h->outliers));
        put(x, "outliers_in", rank(h->outliers_in));
        put(x, "activations", rank(h->activations));
        put(x, "output", NULL);
        json_array_append_new(harmless, x);
    }
    put(o, "agreement", agreement);
    put(o, "blind_spot", blind);
    put(o, "harmless", harmless);
}

static json_t *task(const vs_results *r) {
    if (!r->has_task) return json_null();
    json_t *o = json_object();
    for (size_t s = 0; s < r->state_count; s++) {
        const vs_task *t = &r->tasks[s];
        json_t *x = json_object(), *iou = json_array();
        put(x, "miou", t->has_labels ? number(t->miou) : NULL);
        put(x, "aacc", t->has_labels ? number(t->aacc) : NULL);
        put(x, "macc", t->has_labels ? number(t->macc) : NULL);
        put(x, "agreement", t->has_agreement ? number(t->agreement) : NULL);
        for (size_t k = 0; t->has_labels && k < r->class_count; k++) json_array_append_new(iou, number(t->iou[k]));
        put(x, "iou", iou);
        put(o, r->state_names[s], x);
    }
    return o;
}

static json_t *planted(const vs_results *r) {
    json_t *a = json_array();
    for (size_t i = 0; i < r->plant_count; i++) {
        const vs_plant_result *p = &r->plants[i];
        json_t *o = json_object(), *channels = json_array(), *gains = json_array();
        for (size_t k = 0; k < p->count; k++) {
            json_array_append_new(channels, integer(p->channels[k]));
            json_array_append_new(gains, number(p->gain[k]));
        }
        put(o, "kind", json_string(p->kind));
        put(o, "layer", json_string(p->layer));
        put(o, "block", integer(p->row_block));
        put(o, "channels", channels);
        put(o, "gain", gains);
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *output_sqnr(const vs_results *r) {
    json_t *o = json_object();
    for (size_t s = 0; s < r->state_count; s++) {
        json_t *x = spread(&r->output_sqnr[s]);
        if (json_is_object(x)) put(x, "pooled", number(r->output_sqnr[s].pooled));
        put(o, r->state_names[s], x);
    }
    return o;
}

vs_status vs_report_json(const vs_results *r, const char *dir, vs_error *err) {
    json_t *o = json_object(), *layers = json_array(), *images = json_array();
    for (size_t i = 0; i < r->row_count; i++) json_array_append_new(layers, row(r, &r->rows[i]));
    for (size_t i = 0; i < r->analysis_images; i++) json_array_append_new(images, json_string(r->image_names[i]));
    put(o, "schema", json_integer(1));
    put(o, "name", json_string(r->name));
    put(o, "model", model(r));
    put(o, "analysis_images", images);
    put(o, "evaluation_images", integer(r->evaluation_images));
    put(o, "histogram_relative_error", number(r->histogram_error));
    put(o, "layers", layers);
    put(o, "output_sqnr", output_sqnr(r));
    put(o, "rankings", rankings(r, &r->ptq_rankings));
    conclusions(r, &r->ptq_rankings, o);
    if (r->sq_recipe != SIZE_MAX) {
        json_t *sq = json_object();
        put(sq, "rankings", rankings(r, &r->sq_rankings));
        conclusions(r, &r->sq_rankings, sq);
        put(o, "sq", sq);
    }
    put(o, "task", task(r));
    put(o, "planted", planted(r));
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION((size_t)vs_report_digits(r)));
    json_decref(o);
    if (!text) return vs_fail(err, VS_ERR_NOMEM, "no memory for results.json");
    const vs_status status = vs_report_write(dir, "results.json", text, strlen(text), err);
    free(text);
    return status;
}
