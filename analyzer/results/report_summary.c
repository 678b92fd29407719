/* summary.txt: the answer first, then the table, then what to make of it. Every sentence is made from numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "report.h"
#include "report_words.h"

enum { TABLE_ROWS = 20, TOP = 10, NUMBER = VS_NUMBER };
static const double loud_gap = 12; /* dB: the blind spot's threshold */

/* What every section needs, looked up once. */
typedef struct summary {
    const vs_results *r;
    vs_text *t;
    const vs_ranking *activations, *weights, *output, *spared; /* of the ptq recipe; NULL without one */
    size_t float_state, ptq_state;                             /* SIZE_MAX if absent */
} summary;

static const vs_ranking *find_ranking(const vs_ranking_set *set, const char *mode) {
    for (size_t i = 0; i < set->ranking_count; i++)
        if (strcmp(set->rankings[i].mode, mode) == 0) return &set->rankings[i];
    return NULL;
}

static size_t rank_in(const vs_ranking *k, size_t row) {
    for (size_t i = 0; k && i < k->count; i++)
        if (k->rows[i] == row) return i + 1;
    return 0;
}

static size_t state_of(const vs_results *r, size_t recipe) {
    for (size_t s = 0; recipe != SIZE_MAX && s < r->state_count; s++)
        if (strcmp(r->state_names[s], r->recipe_names[recipe]) == 0) return s;
    return SIZE_MAX;
}

static void section(vs_text *t, const char *title) { vs_text_add(t, "\n%s\n", title); }

static void add_answer(const summary *s, const vs_answer *answer) {
    const vs_results *r = s->r;
    vs_text_add(s->t, "vitscope: %s, %s (%zu blocks, width %zu, %zu tokens)\n", r->name, r->arch->name, r->arch->depth,
                r->arch->width, r->tokens);
    vs_text_add(s->t, "%zu analysis images, %zu evaluation images\n", r->analysis_images, r->evaluation_images);
    section(s->t, "ANSWER");
    vs_report_answer(s->t, r, answer);
}

/* ---- states */

static void add_states(const summary *s) {
    section(s->t, "STATES");
    vs_text_add(s->t, "  %-12s %9s %9s %9s %9s %12s %14s\n", "state", "mIoU %", "change", "aAcc %", "mAcc %", "agreement %",
                "output SQNR dB");
    for (size_t i = 0; i < s->r->state_count; i++) {
        const vs_task *x = s->r->has_task ? &s->r->tasks[i] : NULL;
        char sqnr[NUMBER] = "-";
        if (s->r->output_sqnr[i].present) vs_words_db(sqnr, s->r->output_sqnr[i].pooled);
        vs_text_add(s->t, "  %-12s", s->r->state_names[i]);
        if (x && x->has_labels)
            vs_text_add(s->t, " %9.2f %+9.2f %9.2f %9.2f", x->miou, x->miou - s->r->tasks[s->float_state].miou, x->aacc, x->macc);
        else
            vs_text_add(s->t, " %9s %9s %9s %9s", "-", "-", "-", "-");
        if (x && x->has_agreement)
            vs_text_add(s->t, " %12.2f", x->agreement);
        else
            vs_text_add(s->t, " %12s", "-");
        vs_text_add(s->t, " %14s\n", sqnr);
    }
}

/* ---- layers */

static bool is_blind(const vs_row_recipe *x) {
    const vs_sqnr *w = &x->local[VS_LOCAL_WEIGHT], *a = &x->local[VS_LOCAL_ACTIVATION];
    return w->present && a->present && w->pooled - a->pooled > loud_gap;
}

static void cell(vs_text *t, int width, bool present, const char *number) {
    vs_text_add(t, " %*s", width, present ? number : "-");
}

static void cell_db(vs_text *t, int width, const vs_sqnr *s) {
    char number[NUMBER];
    cell(t, width, s && s->present, s && s->present ? vs_words_db(number, s->pooled) : "");
}

static void add_layer(const summary *s, size_t i, int width) {
    const vs_row *x = &s->r->rows[s->activations->rows[i]];
    const vs_row_recipe *p = &x->recipes[s->r->ptq_recipe];
    const vs_sqnr *w = &p->local[VS_LOCAL_WEIGHT], *a = &p->local[VS_LOCAL_ACTIVATION];
    const vs_distribution *in = &x->states[s->float_state].in, *out = &x->states[s->float_state].out;
    const vs_row_state *ptq = s->ptq_state != SIZE_MAX ? &x->states[s->ptq_state] : NULL;
    const size_t by_weights = rank_in(s->weights, s->activations->rows[i]);
    char n[NUMBER];
    vs_text_add(s->t, "  %4zu %-*s", i + 1, width, x->layer);
    cell_db(s->t, 6, a);
    cell_db(s->t, 7, w);
    cell(s->t, 6, w->present, vs_words_db(n, w->pooled == a->pooled ? 0 : w->pooled - a->pooled));
    vs_text_add(s->t, "%s", is_blind(p) ? "*" : " ");
    snprintf(n, sizeof n, "%zu", by_weights);
    cell(s->t, 6, by_weights > 0, n);
    cell_db(s->t, 7, &p->cumulative);
    cell_db(s->t, 6, s->r->sq_recipe != SIZE_MAX ? &x->recipes[s->r->sq_recipe].local[VS_LOCAL_ACTIVATION] : NULL);
    cell(s->t, 7, in->present, vs_words_plain(n, in->ratio));
    cell(s->t, 7, out->present, vs_words_plain(n, out->max));
    cell(s->t, 7, out->present, vs_words_plain(n, out->median));
    cell(s->t, 7, out->present, vs_words_plain(n, out->ratio));
    const double shift = ptq ? 100 * ptq->median_shift : 0;
    snprintf(n, sizeof n, fabs(shift) < 0.5 ? "0%%" : "%+.0f%%", shift);
    cell(s->t, 7, ptq && ptq->has_shift, n);
    vs_words_share(n, ptq ? ptq->in.qzeroed : 0);
    cell(s->t, 6, ptq && ptq->in.quantized, n);
    vs_text_add(s->t, "%s\n", x->planted ? "  PLANTED" : "");
}

static void add_layers(const summary *s) {
    const vs_ranking *act = s->activations;
    if (!act || !act->count) return;
    section(s->t,
            "LAYERS, worst first by local SQNR with the layer's input alone quantized (dB, lower is worse; * gap above 12 dB)");
    const size_t shown = act->count < TABLE_ROWS ? act->count : TABLE_ROWS;
    vs_text_add(s->t, "  in, out: of fp32; whole model, shift of out's median and share of the input that becomes zero: of %s\n",
                s->r->recipe_names[s->r->ptq_recipe]);
    int width = 17;
    for (size_t i = 0; i < shown; i++) {
        const size_t n = strlen(s->r->rows[act->rows[i]].layer);
        if (n > (size_t)width && n < 26) width = (int)n;
    }
    static const char *const heads[][12] = {
        { "input", "weight", "gap", "rank", "whole", "input", "in max/", "out", "out", "out max", "out med", "in, %" },
        { "only", "only", "", "by w.", "model", "in sq", "median", "max", "median", "/median", "shift", "zeroed" }
    };
    static const int widths[12] = { 6, 7, 6, 7, 7, 6, 7, 7, 7, 7, 7, 6 };
    for (size_t line = 0; line < 2; line++) {
        vs_text_add(s->t, "  %4s %-*s", line ? "rank" : "", width, line ? "layer" : "");
        for (size_t c = 0; c < 12; c++) vs_text_add(s->t, " %*s", widths[c], heads[line][c]);
        vs_text_add(s->t, "\n");
    }
    for (size_t i = 0; i < shown; i++) add_layer(s, i, width);
    if (act->count > shown) vs_text_add(s->t, "  ... %zu more in layers.csv\n", act->count - shown);
}

/* ---- at the model's output */

static void add_output_row(const summary *s, const vs_ranking *k, size_t i) {
    const size_t row = k->rows[i];
    const vs_row *x = &s->r->rows[row];
    const vs_row_recipe *p = &x->recipes[s->r->ptq_recipe];
    const size_t by_activations = rank_in(s->activations, row);
    char n[NUMBER];
    vs_text_add(s->t, "  %4zu %-20s", i + 1, x->layer);
    for (size_t m = VS_OUTPUT_COUNT; m-- > 0;) cell_db(s->t, 7, &p->output[m]);
    cell_db(s->t, 7, &p->local[VS_LOCAL_BOTH]);
    snprintf(n, sizeof n, "%zu", by_activations);
    cell(s->t, 8, by_activations > 0, n);
    snprintf(n, sizeof n, "%+.2f", p->spared_gain);
    cell(s->t, 8, p->spared.present, n);
    vs_text_add(s->t, "%s\n", x->planted ? "  PLANTED" : "");
}

/* Which single layer reaches the output, and which would be worth sparing. */
static void add_output(const summary *s) {
    const bool alone = s->output && s->output->count;
    const vs_ranking *k = alone ? s->output : s->spared;
    if (!k || !k->count) return;
    section(s->t,
            alone ? "AT THE OUTPUT, worst first: SQNR of the model's output with this layer alone quantized (dB)"
                  : "AT THE OUTPUT, worst first: SQNR gained at the model's output by leaving this layer alone in float (dB)");
    vs_text_add(s->t, "  %4s %-20s %7s %7s %7s %7s %8s %8s\n", "", "", "out,", "out,", "out,", "local,", "rank by", "gain if");
    vs_text_add(s->t, "  %4s %-20s %7s %7s %7s %7s %8s %8s\n", "rank", "layer", "both", "input", "weight", "both", "activ.",
                "spared");
    for (size_t i = 0; i < k->count && i < TOP; i++) add_output_row(s, k, i);
    const double floor = s->r->spared_floor ? s->r->spared_floor[s->r->ptq_recipe] : (double)NAN;
    if (s->spared && s->spared->count && !isnan(floor))
        vs_text_add(s->t,
                    "  Gains below about %.2f dB are chance: that is how far the quantized output moves when pixels hardly do.\n",
                    2 * floor);
}

/* ---- planted, mechanism, blind spot, harmless, agreement */

static void add_planted(const summary *s) {
    const vs_results *r = s->r;
    if (!r->plant_count) return;
    section(s->t, "PLANTED HERE (the known truth)");
    for (size_t i = 0; i < r->plant_count; i++) {
        const vs_plant_result *p = &r->plants[i];
        char n[NUMBER];
        vs_text_add(s->t, "  %-20s %s, ", p->layer, p->kind);
        if (!p->what)
            vs_text_add(s->t, "all of it (gain %s)", vs_words_plain(n, p->gain[0]));
        else
            vs_text_add(s->t, "%s%s", p->what, p->count == 1 ? "" : "s");
        const size_t named = !p->what ? 0 : p->count < 4 ? p->count : 4;
        for (size_t k = 0; k < named; k++)
            vs_text_add(s->t, "%s %zu (gain %s)", k ? "," : "", p->channels[k], vs_words_plain(n, p->gain[k]));
        if (p->what && p->count > named) vs_text_add(s->t, " and %zu more", p->count - named);
        for (size_t row = 0; row < r->row_count; row++) {
            if (strcmp(r->rows[row].layer, p->layer) != 0) continue;
            const size_t a = rank_in(s->activations, row), w = rank_in(s->weights, row);
            if (!a && !w) continue;
            vs_text_add(s->t, p->count > 1 ? "\n     " : ";");
            if (a && s->activations) vs_text_add(s->t, " by activations %zu of %zu", a, s->activations->count);
            if (w && s->weights) vs_text_add(s->t, "%s by weights %zu of %zu", a ? "," : "", w, s->weights->count);
        }
        vs_text_add(s->t, "\n");
    }
}

static void add_blind_spot(const summary *s) {
    const vs_ranking_set *set = &s->r->ptq_rankings;
    if (!set->blind_count || !s->weights || !s->activations) return;
    section(s->t, "BLIND SPOT: what quantizing weights alone cannot see (gap = weights - input, dB; flagged above 12)");
    for (size_t i = 0; i < set->blind_count; i++) {
        const vs_blind_spot *b = &set->blind[i];
        char gap[NUMBER];
        vs_text_add(s->t, "  %-20s gap %6s   by weights %2zu of %zu, by activations %2zu of %zu%s\n", s->r->rows[b->row].layer,
                    vs_words_db(gap, b->gap), b->weights, s->weights->count, b->activations, s->activations->count,
                    b->flagged ? "   FLAGGED" : "");
    }
    for (size_t i = 0; i < set->blind_count; i++) { /* the first ten by one, not by the other */
        const vs_blind_spot *b = &set->blind[i];
        if (!b->flagged || b->weights <= TOP || b->activations > TOP) continue;
        const vs_row_recipe *x = &s->r->rows[b->row].recipes[s->r->ptq_recipe];
        char w[NUMBER], a[NUMBER], wdb[NUMBER], adb[NUMBER];
        vs_text_add(s->t, "  %s is %s of %zu by weights (%s dB) but %s of %zu by activations (%s dB).\n",
                    s->r->rows[b->row].layer, vs_words_ordinal(w, b->weights), s->weights->count,
                    vs_words_db(wdb, x->local[VS_LOCAL_WEIGHT].pooled), vs_words_ordinal(a, b->activations),
                    s->activations->count, vs_words_db(adb, x->local[VS_LOCAL_ACTIVATION].pooled));
    }
}

static void add_harmless(const summary *s) {
    const vs_ranking_set *set = &s->r->ptq_rankings;
    if (!set->harmless_count) return;
    section(s->t, "HARMLESS: large outliers (first 10 by max/median) that cost little precision (not in the first 10 by "
                  "activations or output)");
    for (size_t i = 0; i < set->harmless_count; i++) {
        const vs_harmless *h = &set->harmless[i];
        const vs_row *x = &s->r->rows[h->row];
        const vs_distribution *out = &x->states[s->float_state].out, *in = &x->states[s->float_state].in;
        char a[NUMBER] = "-", b[NUMBER] = "-", n[NUMBER];
        if (out->present) vs_words_plain(a, out->ratio);
        if (in->present) vs_words_plain(b, in->ratio);
        vs_text_add(s->t, "  %-20s max/median of output %s, of input %s", x->layer, a, b);
        if (h->activations && s->activations)
            vs_text_add(s->t, "; %s dB, %s by activations", vs_words_db(n, s->activations->values[h->activations - 1]),
                        vs_words_ordinal(a, h->activations));
        vs_text_add(s->t, "\n");
    }
}

static void add_norms(const summary *s) {
    const vs_token_norms *n = &s->r->norms;
    if (!n->images || (!n->high && !s->r->arch->registers)) return;
    section(s->t, "NORMS OF TOKENS after the last block (times the median of the image's patch tokens; fp32)");
    vs_text_add(s->t, " ");
    for (size_t i = 0; i <= s->r->arch->registers; i++) {
        char token[32], times[NUMBER];
        vs_token_name(s->r->arch, i, 1, token, sizeof token);
        vs_text_add(s->t, " %s %s%s", token, vs_words_plain(times, n->prefix_times[i] / (double)n->images),
                    i < s->r->arch->registers ? "," : "\n");
    }
    vs_text_add(s->t, "  %zu of %zu patch tokens are above %d%s\n", n->high, n->patches, VS_HIGH_NORM,
                n->high > TOP ? "; the largest:"
                : n->high     ? ":"
                              : "");
    for (size_t i = 0; i < n->listed_count && i < TOP; i++) {
        char times[NUMBER], norm[NUMBER];
        vs_text_add(s->t, "  %-12s of %s: %s times, norm %s\n", n->listed[i].name, s->r->image_names[n->listed[i].image],
                    vs_words_plain(times, n->listed[i].times), vs_words_plain(norm, n->listed[i].norm));
    }
}

static void add_agreement(const summary *s) {
    const vs_ranking_set *set = &s->r->ptq_rankings;
    if (!set->agreement_count) return;
    section(s->t, "DO THE RANKINGS AGREE? (Spearman's rho, and how many of the first ten are the same)");
    for (size_t i = 0; i < set->agreement_count; i++) {
        const vs_agreement *a = &set->agreements[i];
        char rho[NUMBER] = "-";
        if (a->defined) snprintf(rho, sizeof rho, "%+.2f", a->spearman);
        vs_text_add(s->t, "  %-12s %-12s %5s   %2zu of 10\n", a->a, a->b, rho, a->overlap10);
    }
}

vs_status vs_report_summary(const vs_results *r, char **text, vs_error *err) {
    vs_text t = { 0 };
    const summary s = { .r = r,
                        .t = &t,
                        .activations = find_ranking(&r->ptq_rankings, "activations"),
                        .weights = find_ranking(&r->ptq_rankings, "weights"),
                        .output = find_ranking(&r->ptq_rankings, "output"),
                        .spared = find_ranking(&r->ptq_rankings, "spared"),
                        .float_state = r->fp32_state == SIZE_MAX ? 0 : r->fp32_state, /* a study always runs it first */
                        .ptq_state = state_of(r, r->ptq_recipe) };
    vs_answer answer;
    *text = NULL;
    vs_status status = vs_answer_make(&answer, r, err);
    if (status != VS_OK) return status;
    add_answer(&s, &answer);
    add_states(&s);
    vs_report_fp16_policies(&t, r);
    add_layers(&s);
    add_output(&s);
    add_planted(&s);
    vs_report_mechanism(&t, r, &answer);
    add_blind_spot(&s);
    add_harmless(&s);
    add_norms(&s);
    add_agreement(&s);
    vs_answer_release(&answer);
    if (t.failed) {
        free(t.bytes);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the summary");
    }
    *text = t.bytes;
    return VS_OK;
}
