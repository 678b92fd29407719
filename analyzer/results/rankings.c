/* docs/study.md 6. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "results/results.h"
#include "util/util.h"

const char *const vs_local_names[VS_LOCAL_COUNT] = {
    "weight", "activation", "both", "weight_tensor", "input_tensor", "unclipped"
};

enum { TOP = 10 };
static const double flag_gap = 12; /* dB: seen at planted and naturally loud layers, under it everywhere else */

typedef enum mode { WEIGHTS, ACTIVATIONS, OUTLIERS, OUTLIERS_IN, OUTPUT, SPARED, CUMULATIVE, MODES } mode;

static const struct {
    const char *name, *unit, *polarity;
    bool higher_is_worse;
} modes[MODES] = {
    [WEIGHTS] = { "weights", "dB", "lower is worse", false },
    [ACTIVATIONS] = { "activations", "dB", "lower is worse", false },
    [OUTLIERS] = { "outliers", "max/median of |output|, fp32", "higher is worse", true },
    [OUTLIERS_IN] = { "outliers_in", "max/median of |input|, fp32", "higher is worse", true },
    [OUTPUT] = { "output", "dB at the model's output, this layer alone quantized", "lower is worse", false },
    [SPARED] = { "spared", "dB gained at the model's output when this layer alone stays float", "higher is worse", true },
    [CUMULATIVE] = { "cumulative", "dB", "lower is worse", false },
};

static bool value_of(const vs_results *r, size_t row, size_t recipe, mode m, double *value) {
    const vs_row *x = &r->rows[row];
    const vs_sqnr *s = NULL;
    const vs_distribution *d = NULL;
    switch (m) {
    case WEIGHTS: s = &x->recipes[recipe].local[VS_LOCAL_WEIGHT]; break;
    case ACTIVATIONS: s = &x->recipes[recipe].local[VS_LOCAL_ACTIVATION]; break;
    case OUTPUT: s = &x->recipes[recipe].output[VS_MODE_BOTH]; break;
    case SPARED:
        if (x->recipes[recipe].spared.present) *value = x->recipes[recipe].spared_gain;
        return x->recipes[recipe].spared.present && !isnan(*value);
    case CUMULATIVE: s = &x->recipes[recipe].cumulative; break;
    case OUTLIERS:
    case OUTLIERS_IN:
        if (r->fp32_state == SIZE_MAX) return false;
        d = m == OUTLIERS ? &x->states[r->fp32_state].out : &x->states[r->fp32_state].in;
        break;
    case MODES: break;
    }
    if (s ? !s->present : !d || !d->present) return false;
    *value = s ? s->pooled : d->ratio;
    return !isnan(*value); /* it has no place in an order */
}

/* Insertion sort keeps ties in model order. */
static void sort_worst_first(vs_ranking *k, bool higher_is_worse) {
    for (size_t i = 1; i < k->count; i++) {
        const size_t row = k->rows[i];
        const double v = k->values[i];
        size_t j = i;
        for (; j > 0 && (higher_is_worse ? k->values[j - 1] < v : k->values[j - 1] > v); j--) {
            k->rows[j] = k->rows[j - 1];
            k->values[j] = k->values[j - 1];
        }
        k->rows[j] = row;
        k->values[j] = v;
    }
}

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for rankings"); }

static vs_status make_ranking(const vs_results *r, size_t recipe, mode m, vs_ranking *k, vs_error *err) {
    *k = (vs_ranking){ .mode = modes[m].name, .unit = modes[m].unit, .polarity = modes[m].polarity };
    k->rows = vs_calloc(r->row_count + 1, sizeof *k->rows);
    k->values = vs_calloc(r->row_count + 1, sizeof *k->values);
    if (!k->rows || !k->values) return no_memory(err);
    for (size_t i = 0; i < r->row_count; i++) {
        double v = 0;
        if (!value_of(r, i, recipe, m, &v)) continue;
        k->rows[k->count] = i;
        k->values[k->count++] = v;
    }
    sort_worst_first(k, modes[m].higher_is_worse);
    return VS_OK;
}

/* From 1; 0 where the row is not in the ranking. */
static size_t rank_of(const vs_ranking *k, size_t row) {
    for (size_t i = 0; i < k->count; i++)
        if (k->rows[i] == row) return i + 1;
    return 0;
}

static bool in_top(size_t rank) { return rank > 0 && rank <= TOP; }

static void average_ranks(const double *v, double *rank, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double below = 0, equal = 0;
        for (size_t j = 0; j < n; j++) {
            below += v[j] < v[i];
            equal += v[j] == v[i];
        }
        rank[i] = below + (equal + 1) / 2;
    }
}

vs_status vs_spearman(double *rho, const double *a, const double *b, size_t n, vs_error *err) {
    *rho = (double)NAN;
    double *ranks = vs_calloc(2 * n + 1, sizeof *ranks);
    if (!ranks) return no_memory(err);
    double *x = ranks, *y = ranks + n, sxx = 0, syy = 0, sxy = 0;
    average_ranks(a, x, n);
    average_ranks(b, y, n);
    const double mean = ((double)n + 1) / 2;
    for (size_t i = 0; i < n; i++) {
        sxx += (x[i] - mean) * (x[i] - mean);
        syy += (y[i] - mean) * (y[i] - mean);
        sxy += (x[i] - mean) * (y[i] - mean);
    }
    free(ranks);
    if (sxx > 0 && syy > 0) *rho = sxy / sqrt(sxx * syy);
    return VS_OK;
}

/* Over rows both have; "worse" points the same way in both. */
static vs_status compare(const vs_results *r, size_t recipe, mode a, mode b, const vs_ranking *ka, const vs_ranking *kb,
                         vs_agreement *out, vs_error *err) {
    double *v = vs_calloc(2 * (r->row_count + 1), sizeof *v);
    if (!v) return no_memory(err);
    double *va = v, *vb = v + r->row_count + 1;
    size_t n = 0;
    for (size_t i = 0; i < r->row_count; i++)
        if (value_of(r, i, recipe, a, &va[n]) && value_of(r, i, recipe, b, &vb[n])) {
            if (modes[a].higher_is_worse) va[n] = -va[n];
            if (modes[b].higher_is_worse) vb[n] = -vb[n];
            n++;
        }
    *out = (vs_agreement){ .a = ka->mode, .b = kb->mode };
    const vs_status status = vs_spearman(&out->spearman, va, vb, n, err);
    out->defined = !isnan(out->spearman);
    size_t ia = 0; /* the first ten among rows that both have */
    for (size_t i = 0; i < ka->count && ia < TOP; i++) {
        if (!rank_of(kb, ka->rows[i])) continue;
        ia++;
        size_t ib = 0;
        for (size_t j = 0; j < kb->count && ib < TOP; j++) {
            if (!rank_of(ka, kb->rows[j])) continue;
            ib++;
            out->overlap10 += kb->rows[j] == ka->rows[i];
        }
    }
    free(v);
    return status;
}

static vs_status find_blind_spot(const vs_results *r, size_t recipe, vs_ranking_set *set, vs_error *err) {
    set->blind = vs_calloc(r->row_count + 1, sizeof *set->blind);
    if (!set->blind) return no_memory(err);
    for (size_t i = 0; i < r->row_count; i++) {
        double w = 0, a = 0;
        if (!value_of(r, i, recipe, WEIGHTS, &w) || !value_of(r, i, recipe, ACTIVATIONS, &a)) continue;
        const double gap = w == a ? 0 : w - a;
        const vs_blind_spot b = { .row = i,
                                  .gap = gap,
                                  .weights = rank_of(&set->rankings[WEIGHTS], i),
                                  .activations = rank_of(&set->rankings[ACTIVATIONS], i),
                                  .output = rank_of(&set->rankings[OUTPUT], i),
                                  .flagged = gap > flag_gap };
        size_t j = set->blind_count++;
        for (; j > 0 && set->blind[j - 1].gap < gap; j--) set->blind[j] = set->blind[j - 1];
        set->blind[j] = b;
    }
    if (set->blind_count > TOP) set->blind_count = TOP;
    return VS_OK;
}

static vs_status find_harmless(const vs_results *r, vs_ranking_set *set, vs_error *err) {
    set->harmless = vs_calloc(r->row_count + 1, sizeof *set->harmless);
    if (!set->harmless) return no_memory(err);
    if (set->rankings[ACTIVATIONS].count == 0) return VS_OK; /* not measured: nothing may be called harmless */
    for (size_t i = 0; i < r->row_count; i++) {
        const vs_harmless h = { .row = i,
                                .outliers = rank_of(&set->rankings[OUTLIERS], i),
                                .outliers_in = rank_of(&set->rankings[OUTLIERS_IN], i),
                                .activations = rank_of(&set->rankings[ACTIVATIONS], i),
                                .output = rank_of(&set->rankings[OUTPUT], i) };
        if ((in_top(h.outliers) || in_top(h.outliers_in)) && !in_top(h.activations) && !in_top(h.output))
            set->harmless[set->harmless_count++] = h;
    }
    return VS_OK;
}

static vs_status make_set(const vs_results *r, size_t recipe, vs_ranking_set *set, vs_error *err) {
    set->rankings = vs_calloc(MODES, sizeof *set->rankings);
    set->agreements = vs_calloc((size_t)MODES * MODES, sizeof *set->agreements);
    if (!set->rankings || !set->agreements) return no_memory(err);
    set->ranking_count = MODES;
    for (mode m = WEIGHTS; m < MODES; m++) {
        vs_status status = make_ranking(r, recipe, m, &set->rankings[m], err);
        if (status != VS_OK) return status;
    }
    for (mode a = WEIGHTS; a < MODES; a++)
        for (mode b = a + 1; b < MODES; b++) {
            if (!set->rankings[a].count || !set->rankings[b].count) continue;
            vs_status status =
                compare(r, recipe, a, b, &set->rankings[a], &set->rankings[b], &set->agreements[set->agreement_count++], err);
            if (status != VS_OK) return status;
        }
    vs_status status = find_blind_spot(r, recipe, set, err);
    return status == VS_OK ? find_harmless(r, set, err) : status;
}

vs_status vs_rankings_compute(vs_results *r, vs_error *err) {
    vs_status status = r->ptq_recipe != SIZE_MAX ? make_set(r, r->ptq_recipe, &r->ptq_rankings, err) : VS_OK;
    if (status == VS_OK && r->sq_recipe != SIZE_MAX) status = make_set(r, r->sq_recipe, &r->sq_rankings, err);
    return status;
}

void vs_ranking_set_release(vs_ranking_set *set) {
    for (size_t i = 0; set->rankings && i < set->ranking_count; i++) {
        free(set->rankings[i].rows);
        free(set->rankings[i].values);
    }
    free(set->rankings);
    free(set->agreements);
    free(set->blind);
    free(set->harmless);
    *set = (vs_ranking_set){ 0 };
}
