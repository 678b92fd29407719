#include "results/answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum {
    FEW = 6,   /* layers that a reader can look after one by one */
    FIRST = 5, /* named where the loss is spread */
    GAINERS = 3,
    WORST = 3
};
static const double most = 0.8;                     /* of the noise: what remains is 7 dB lower */
static const double half = 0.5;                     /* of the noise: more than all others together */
static const double alike = 3;                      /* dB: a layer so near to the last one named is named too */
static const double one_part = 6;                   /* dB: the worse of weight and input then has 80 % of the two's noise */
static const double poor = 20;                      /* dB: noise of a tenth of the signal's amplitude */
static const double loud_gap = 12;                  /* dB: the blind spot's threshold */
static const double adds_up = 3;                    /* dB between a sum of noises and their measured whole that need no word */
static const double clip_gain = 3.0102999566398120; /* dB: half of the noise */

bool vs_answer_is_clipped(const vs_row_recipe *x) {
    const vs_sqnr *with = &x->local[VS_LOCAL_ACTIVATION], *without = &x->local[VS_LOCAL_UNCLIPPED];
    return with->present && without->present && without->pooled > with->pooled && without->pooled - with->pooled > clip_gain;
}

/* dB by which quantizing the input alone is worse than the weight alone; false where they are not both known. */
static bool gap_of(const vs_sqnr *weight, const vs_sqnr *input, double *gap) {
    if (!weight->present || !input->present || isnan(weight->pooled) || isnan(input->pooled)) return false;
    *gap = weight->pooled == input->pooled ? 0 : weight->pooled - input->pooled;
    return true;
}

/* At the output where both were carried there, else at the layer's own. */
static vs_answer_part part_of(const vs_row_recipe *x) {
    double gap = 0;
    if (!gap_of(&x->output[VS_MODE_WEIGHT], &x->output[VS_MODE_ACTIVATION], &gap) &&
        !gap_of(&x->local[VS_LOCAL_WEIGHT], &x->local[VS_LOCAL_ACTIVATION], &gap))
        return VS_ANSWER_UNKNOWN;
    return gap > one_part ? VS_ANSWER_INPUT : gap < -one_part ? VS_ANSWER_WEIGHT : VS_ANSWER_BOTH;
}

static const vs_sqnr *measured(const vs_row_recipe *x, vs_answer_place place, vs_answer_part part) {
    static const vs_mode outputs[] = {
        [VS_ANSWER_BOTH] = VS_MODE_BOTH, [VS_ANSWER_INPUT] = VS_MODE_ACTIVATION, [VS_ANSWER_WEIGHT] = VS_MODE_WEIGHT
    };
    static const vs_local locals[] = {
        [VS_ANSWER_BOTH] = VS_LOCAL_BOTH, [VS_ANSWER_INPUT] = VS_LOCAL_ACTIVATION, [VS_ANSWER_WEIGHT] = VS_LOCAL_WEIGHT
    };
    return place == VS_ANSWER_SPARED   ? &x->spared
           : place == VS_ANSWER_OUTPUT ? &x->output[outputs[part]]
                                       : &x->local[locals[part]];
}

static int by_damage(const void *a, const void *b) {
    const vs_answer_layer *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int by_gain(const void *a, const void *b) {
    const vs_answer_layer *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static vs_answer_layer layer_of(const vs_row_recipe *x, size_t row, vs_answer_place place, vs_answer_part part, double value) {
    const vs_answer_part of = part == VS_ANSWER_BOTH || place == VS_ANSWER_SPARED ? part_of(x) : part;
    return (vs_answer_layer){ .row = row,
                              .value = value,
                              .part = of,
                              .clipped = of != VS_ANSWER_WEIGHT && vs_answer_is_clipped(x),
                              .has_gain = x->spared.present && !isnan(x->spared_gain),
                              .gain = x->spared_gain };
}

/* Every row with the value, worst first, as a finding that says nothing yet; NULL without any. */
static vs_status gather(vs_answer *answer, const vs_results *r, vs_answer_place place, vs_answer_part part,
                        vs_answer_finding **found, vs_error *err) {
    vs_answer_finding *f = &answer->findings[answer->finding_count];
    *found = NULL;
    *f = (vs_answer_finding){ .place = place, .part = part, .layers = vs_calloc(r->row_count + 1, sizeof *f->layers) };
    if (!f->layers) return vs_fail(err, VS_ERR_NOMEM, "no memory for the answer");
    for (size_t i = 0; i < r->row_count; i++) {
        const vs_row_recipe *x = &r->rows[i].recipes[answer->recipe];
        const vs_sqnr *s = measured(x, place, part);
        const double value = place == VS_ANSWER_SPARED ? x->spared_gain : s->pooled;
        if (s->present && !isnan(value)) f->layers[f->count++] = layer_of(x, i, place, part, value);
    }
    if (f->count == 0) {
        free(f->layers);
        *f = (vs_answer_finding){ 0 };
        return VS_OK;
    }
    qsort(f->layers, f->count, sizeof *f->layers, place == VS_ANSWER_SPARED ? by_gain : by_damage);
    answer->finding_count++;
    *found = f;
    return VS_OK;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Names the first `n`. */
static void name(vs_answer_finding *f, vs_answer_verdict verdict, size_t n) {
    f->verdict = verdict;
    f->named = least(n, f->count);
    for (size_t i = 0; i < f->named; i++) f->share += f->layers[i].share;
}

/* The noise is summed relative to the worst layer's, so that no exponent is too large. */
static void judge_output(vs_answer_finding *f) {
    const double worst = f->layers[0].value;
    if (isinf(worst)) {
        size_t ruined = 0;
        while (worst < 0 && ruined < f->count && isinf(f->layers[ruined].value) && f->layers[ruined].value < 0) ruined++;
        name(f, worst < 0 ? VS_ANSWER_RUINED : VS_ANSWER_NOTHING, ruined);
        return;
    }
    double sum = 0;
    for (size_t i = 0; i < f->count; i++) sum += f->layers[i].share = pow(10, (worst - f->layers[i].value) / 10);
    for (size_t i = 0; i < f->count; i++) f->layers[i].share /= sum;
    size_t few = 0;
    for (double share = 0; few < f->count && share < most; few++) share += f->layers[few].share;
    const bool are_few = few <= FEW && 4 * few <= f->count;
    while (are_few && few < FEW && few < f->count && f->layers[few].value - f->layers[few - 1].value < alike) few++;
    if (f->count <= FIRST)
        name(f, VS_ANSWER_LISTED, f->count);
    else if (are_few)
        name(f, VS_ANSWER_FEW, few);
    else if (f->layers[0].share > half)
        name(f, VS_ANSWER_FEW, 1);
    else
        name(f, VS_ANSWER_SPREAD, FIRST);
}

static void judge_spared(vs_answer_finding *f, double chance) {
    size_t gains = 0;
    while (gains < f->count && f->layers[gains].value > (isnan(chance) ? 0 : chance)) gains++;
    name(f, gains ? VS_ANSWER_LISTED : VS_ANSWER_NOTHING, least(gains, GAINERS));
}

/* The row whose weight an input is held against: its own, an operand's the qkv that makes it. SIZE_MAX: not looked at. */
static size_t weight_beside(const vs_results *r, size_t row) {
    const vs_row *x = &r->rows[row];
    if (!vs_kind_is_operand(x->kind)) return row;
    for (size_t i = 0; i < r->row_count; i++)
        if (r->rows[i].kind == VS_KIND_QKV && r->rows[i].block == x->block) return i;
    return SIZE_MAX;
}

static bool is_lost(const vs_answer_finding *f, const vs_results *r, size_t recipe, size_t layer) {
    const size_t row = f->layers[layer].row, beside = f->part == VS_ANSWER_INPUT ? weight_beside(r, row) : SIZE_MAX;
    double gap = 0;
    if (f->layers[layer].value < poor) return true;
    return beside != SIZE_MAX &&
           gap_of(&r->rows[beside].recipes[recipe].local[VS_LOCAL_WEIGHT],
                  &r->rows[row].recipes[recipe].local[VS_LOCAL_ACTIVATION], &gap) &&
           gap > loud_gap;
}

/* Lost: little is left, or the input alone loses far more than the weight. Those move to the front. */
static vs_status judge_local(vs_answer_finding *f, const vs_results *r, size_t recipe, vs_error *err) {
    vs_answer_layer *order = vs_calloc(f->count, sizeof *order);
    if (!order) return vs_fail(err, VS_ERR_NOMEM, "no memory for the answer");
    size_t lost = 0, front = 0, back = 0;
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < f->count; i++) {
            const bool counts = is_lost(f, r, recipe, i);
            if (pass == 0)
                lost += counts;
            else
                order[counts ? front++ : lost + back++] = f->layers[i];
        }
    memcpy(f->layers, order, f->count * sizeof *order);
    free(order);
    name(f, lost ? VS_ANSWER_LISTED : VS_ANSWER_NOTHING, lost ? lost : WORST);
    return VS_OK;
}

/* Do the layers' noises give the whole model's? Known where every layer was looked at and the recipe ran as a state. */
static void compare_sum(vs_answer *a, const vs_results *r, const vs_answer_finding *f) {
    if (f->part != VS_ANSWER_BOTH || r->row_count < r->quantized_count || f->count < r->row_count || a->state == SIZE_MAX) return;
    const vs_sqnr *whole = &r->output_sqnr[a->state];
    if (!isfinite(f->layers[0].value) || !whole->present || !isfinite(whole->pooled)) return;
    a->whole = whole->pooled;
    a->sum = f->layers[0].value + 10 * log10(f->layers[0].share); /* the first one's noise over its share: of all */
    a->disagrees = fabs(a->sum - a->whole) > adds_up;
}

/* The layer that a look at the layers' own outputs would have named. */
static void contrast_local(vs_answer *a, const vs_results *r, const vs_answer_finding *f) {
    const vs_local column = f->part == VS_ANSWER_WEIGHT  ? VS_LOCAL_WEIGHT
                            : f->part == VS_ANSWER_INPUT ? VS_LOCAL_ACTIVATION
                                                         : VS_LOCAL_BOTH;
    if (f->verdict != VS_ANSWER_FEW && f->verdict != VS_ANSWER_SPREAD) return;
    for (size_t i = 0; i < r->row_count; i++) {
        const vs_sqnr *s = &r->rows[i].recipes[a->recipe].local[column];
        if (!s->present || isnan(s->pooled) || (a->worst_local != SIZE_MAX && !(s->pooled < a->worst_local_db))) continue;
        a->worst_local = i;
        a->worst_local_db = s->pooled;
    }
    size_t at = 0;
    while (at < f->count && f->layers[at].row != a->worst_local) at++;
    if (at < f->named || at == f->count)
        a->worst_local = SIZE_MAX;
    else
        a->worst_local_share = f->layers[at].share;
}

static const vs_answer_part apart[] = { VS_ANSWER_INPUT, VS_ANSWER_WEIGHT };
enum { APART = sizeof apart / sizeof *apart };

/* Input and weight together where that was run, else each for itself. */
static vs_status look_at_output(vs_answer *a, const vs_results *r, bool *found, vs_error *err) {
    vs_answer_finding *f = NULL;
    vs_status status = gather(a, r, VS_ANSWER_OUTPUT, VS_ANSWER_BOTH, &f, err);
    *found = f != NULL;
    if (f) {
        judge_output(f);
        compare_sum(a, r, f);
        contrast_local(a, r, f);
        return VS_OK;
    }
    for (size_t i = 0; i < APART && status == VS_OK; i++) {
        status = gather(a, r, VS_ANSWER_OUTPUT, apart[i], &f, err);
        if (!f) continue;
        judge_output(f);
        if (!*found) contrast_local(a, r, f);
        *found = true;
    }
    return status;
}

static vs_status look_at_spared(vs_answer *a, const vs_results *r, vs_error *err) {
    vs_answer_finding *f = NULL;
    vs_status status = gather(a, r, VS_ANSWER_SPARED, VS_ANSWER_BOTH, &f, err);
    if (f && r->spared_floor) a->chance = 2 * r->spared_floor[a->recipe];
    if (f) judge_spared(f, a->chance);
    return status;
}

/* Input and weight each for itself where that was run, else together. */
static vs_status look_at_local(vs_answer *a, const vs_results *r, vs_error *err) {
    vs_answer_finding *f = NULL;
    bool found = false;
    vs_status status = VS_OK;
    for (size_t i = 0; i < APART && status == VS_OK; i++) {
        status = gather(a, r, VS_ANSWER_LOCAL, apart[i], &f, err);
        if (f) status = judge_local(f, r, a->recipe, err);
        found |= f != NULL;
    }
    if (found || status != VS_OK) return status;
    status = gather(a, r, VS_ANSWER_LOCAL, VS_ANSWER_BOTH, &f, err);
    return f ? judge_local(f, r, a->recipe, err) : status;
}

vs_status vs_answer_make(vs_answer *a, const vs_results *r, vs_error *err) {
    *a = (vs_answer){ .recipe = r->ptq_recipe != SIZE_MAX ? r->ptq_recipe : r->sq_recipe,
                      .state = SIZE_MAX,
                      .chance = (double)NAN,
                      .worst_local = SIZE_MAX };
    if (a->recipe == SIZE_MAX) return VS_OK;
    for (size_t s = 0; s < r->state_count; s++)
        if (strcmp(r->state_names[s], r->recipe_names[a->recipe]) == 0) a->state = s;
    bool output = false;
    vs_status status = look_at_output(a, r, &output, err);
    if (status == VS_OK) status = look_at_spared(a, r, err);
    if (status == VS_OK && !output) status = look_at_local(a, r, err);
    if (status != VS_OK) vs_answer_release(a);
    return status;
}

void vs_answer_release(vs_answer *a) {
    for (size_t i = 0; i < a->finding_count; i++) free(a->findings[i].layers);
    *a = (vs_answer){ .recipe = SIZE_MAX, .state = SIZE_MAX };
}

const vs_answer_finding *vs_answer_find(const vs_answer *a, vs_answer_place place, vs_answer_part part) {
    for (size_t i = 0; i < a->finding_count; i++)
        if (a->findings[i].place == place && a->findings[i].part == part) return &a->findings[i];
    return NULL;
}
