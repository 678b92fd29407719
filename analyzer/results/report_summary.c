/* summary.txt: the answer first, then the table, then what to make of it. Every sentence is made from numbers. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "results/answer.h"
#include "results/columns.h"
#include "results/report.h"
#include "results/report_words.h"

enum { TABLE_ROWS = 20, TOP = 10, NUMBER = VS_NUMBER };
static const double loud_gap = 12; /* dB: the blind spot's threshold */

/* What every section needs, looked up once. */
typedef struct summary {
    const vs_results *r;
    vs_text *t;
    size_t width;                                              /* of a line */
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

static void number(vs_columns *c, bool present, const char *format, ...) VS_PRINTF(3, 4);

static void number(vs_columns *c, bool present, const char *format, ...) {
    char text[NUMBER];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vs_columns_cell(c, present ? text : NULL);
}

static void rank_cell(vs_columns *c, size_t rank) { number(c, rank > 0, "%.0f", (double)rank); }

static void cell_db(vs_columns *c, const vs_sqnr *s) {
    char text[NUMBER];
    vs_columns_cell(c, s && s->present ? vs_words_db(text, s->pooled) : NULL);
}

static void add_states(const summary *s) {
    vs_columns c = { 0 };
    const vs_column columns[] = { { "", "state", VS_STAYS, true },   { "", "mIoU %", 9, false },
                                  { "", "change", 8, false },        { "", "aAcc %", 3, false },
                                  { "", "mAcc %", 2, false },        { "", "agreement %", 6, false },
                                  { "output", "SQNR dB", 7, false }, { "evaluation", "SQNR dB", 8, false } };
    section(s->t, "STATES");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) vs_columns_add(&c, columns[i]);
    for (size_t i = 0; i < s->r->state_count; i++) {
        const vs_task *x = s->r->has_task ? &s->r->tasks[i] : NULL;
        const bool labels = x && x->has_labels;
        vs_columns_cell(&c, s->r->state_names[i]);
        number(&c, labels, "%.2f", labels ? x->miou : 0);
        number(&c, labels, "%+.2f", labels ? x->miou - s->r->tasks[s->float_state].miou : 0);
        number(&c, labels, "%.2f", labels ? x->aacc : 0);
        number(&c, labels, "%.2f", labels ? x->macc : 0);
        number(&c, x && x->has_agreement, "%.2f", x ? x->agreement : 0);
        cell_db(&c, &s->r->output_sqnr[i]);
        cell_db(&c, s->r->evaluation_sqnr ? &s->r->evaluation_sqnr[i] : NULL);
    }
    vs_columns_print(&c, s->width, s->t);
}

/* ---- layers */

static bool is_blind(const vs_row_recipe *x) {
    const vs_sqnr *w = &x->local[VS_LOCAL_WEIGHT], *a = &x->local[VS_LOCAL_ACTIVATION];
    return w->present && a->present && w->pooled - a->pooled > loud_gap;
}

static void add_layer(const summary *s, vs_columns *c, size_t i) {
    const vs_row *x = &s->r->rows[s->activations->rows[i]];
    const vs_row_recipe *p = &x->recipes[s->r->ptq_recipe];
    const vs_sqnr *w = &p->local[VS_LOCAL_WEIGHT], *a = &p->local[VS_LOCAL_ACTIVATION];
    const vs_distribution *in = &x->states[s->float_state].in, *out = &x->states[s->float_state].out;
    static const vs_row_state none = { 0 };
    const vs_row_state *ptq = s->ptq_state != SIZE_MAX ? &x->states[s->ptq_state] : &none;
    const double shift = 100 * ptq->median_shift;
    char n[NUMBER], gap[NUMBER + 1];
    snprintf(gap, sizeof gap, "%s%s", vs_words_db(n, w->pooled == a->pooled ? 0 : w->pooled - a->pooled),
             is_blind(p) ? "*" : " ");
    rank_cell(c, i + 1);
    vs_columns_cell(c, x->layer);
    cell_db(c, a);
    cell_db(c, w);
    vs_columns_cell(c, w->present ? gap : NULL);
    rank_cell(c, rank_in(s->weights, s->activations->rows[i]));
    cell_db(c, &p->cumulative);
    cell_db(c, s->r->sq_recipe != SIZE_MAX ? &x->recipes[s->r->sq_recipe].local[VS_LOCAL_ACTIVATION] : NULL);
    vs_columns_cell(c, in->present ? vs_words_plain(n, in->ratio) : NULL);
    vs_columns_cell(c, out->present ? vs_words_plain(n, out->max) : NULL);
    vs_columns_cell(c, out->present ? vs_words_plain(n, out->median) : NULL);
    vs_columns_cell(c, out->present ? vs_words_plain(n, out->ratio) : NULL);
    snprintf(n, sizeof n, fabs(shift) < 0.5 ? "0%%" : "%+.0f%%", shift);
    vs_columns_cell(c, ptq->has_shift ? n : NULL);
    vs_columns_cell(c, ptq->in.quantized ? vs_words_share(n, ptq->in.qzeroed) : NULL);
    vs_columns_cell(c, x->planted ? "PLANTED" : NULL);
}

static void add_layers(const summary *s) {
    static const vs_column columns[] = {
        { "", "rank", 12, false },        { "", "layer", VS_STAYS, true }, { "input", "only", 15, false },
        { "weight", "only", 14, false },  { "", "gap ", 13, false },       { "rank", "by w.", 8, false },
        { "whole", "model", 7, false },   { "input", "in sq", 10, false }, { "in max/", "median", 6, false },
        { "out", "max", 4, false },       { "out", "median", 2, false },   { "out max", "/median", 3, false },
        { "out med", "shift", 5, false }, { "in, %", "zeroed", 9, false }, { "", "", 11, true }
    };
    const vs_ranking *act = s->activations;
    vs_columns c = { 0 };
    if (!act || !act->count) return;
    section(s->t,
            "LAYERS, worst first by local SQNR with the layer's input alone quantized (dB, lower is worse; * gap above 12 dB)");
    const size_t shown = act->count < TABLE_ROWS ? act->count : TABLE_ROWS;
    vs_text_add(s->t, "  in, out: of fp32; whole model, shift of out's median and share of the input that becomes zero: of %s\n",
                s->r->recipe_names[s->r->ptq_recipe]);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) vs_columns_add(&c, columns[i]);
    for (size_t i = 0; i < shown; i++) add_layer(s, &c, i);
    vs_columns_print(&c, s->width, s->t);
    if (act->count > shown) vs_text_add(s->t, "  ... %zu more in layers.csv\n", act->count - shown);
}

/* ---- at the model's output */

static void add_output_row(const summary *s, vs_columns *c, const vs_ranking *k, size_t i) {
    const vs_row *x = &s->r->rows[k->rows[i]];
    const vs_row_recipe *p = &x->recipes[s->r->ptq_recipe];
    rank_cell(c, i + 1);
    vs_columns_cell(c, x->layer);
    for (size_t m = VS_MODE_COUNT; m-- > 0;) cell_db(c, &p->output[m]);
    cell_db(c, &p->local[VS_LOCAL_BOTH]);
    rank_cell(c, rank_in(s->activations, k->rows[i]));
    number(c, p->spared.present, "%+.2f", p->spared_gain);
    vs_columns_cell(c, x->planted ? "PLANTED" : NULL);
}

/* Which single layer reaches the output, and which would be worth sparing. */
static void add_output(const summary *s) {
    static const vs_column columns[] = {
        { "", "rank", 5, false },          { "", "layer", VS_STAYS, true },   { "out,", "both", 9, false },
        { "out,", "input", 4, false },     { "out,", "weight", 3, false },    { "local,", "both", 6, false },
        { "rank by", "activ.", 2, false }, { "gain if", "spared", 8, false }, { "", "", 7, true }
    };
    const bool alone = s->output && s->output->count;
    const vs_ranking *k = alone ? s->output : s->spared;
    vs_columns c = { 0 };
    if (!k || !k->count) return;
    section(s->t,
            alone ? "AT THE OUTPUT, worst first: SQNR of the model's output with this layer alone quantized (dB)"
                  : "AT THE OUTPUT, worst first: SQNR gained at the model's output by leaving this layer alone in float (dB)");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) vs_columns_add(&c, columns[i]);
    for (size_t i = 0; i < k->count && i < TOP; i++) add_output_row(s, &c, k, i);
    vs_columns_print(&c, s->width, s->t);
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

static const char *place_among(char *text, size_t rank, size_t count) {
    snprintf(text, NUMBER, "%2zu of %zu", rank, count);
    return text;
}

static void add_blind_spot(const summary *s) {
    static const vs_column columns[] = { { "", "layer", VS_STAYS, true },
                                         { "", "gap", 4, false },
                                         { "", "by weights", 2, false },
                                         { "", "by activations", 3, false },
                                         { "", "", 5, true } };
    const vs_ranking_set *set = &s->r->ptq_rankings;
    vs_columns c = { 0 };
    if (!set->blind_count || !s->weights || !s->activations) return;
    section(s->t, "BLIND SPOT: what quantizing weights alone cannot see (gap = weights - input, dB; flagged above 12)");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) vs_columns_add(&c, columns[i]);
    for (size_t i = 0; i < set->blind_count; i++) {
        const vs_blind_spot *b = &set->blind[i];
        char text[NUMBER];
        vs_columns_cell(&c, s->r->rows[b->row].layer);
        vs_columns_cell(&c, vs_words_db(text, b->gap));
        vs_columns_cell(&c, place_among(text, b->weights, s->weights->count));
        vs_columns_cell(&c, place_among(text, b->activations, s->activations->count));
        vs_columns_cell(&c, b->flagged ? "FLAGGED" : NULL);
    }
    vs_columns_print(&c, s->width, s->t);
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
        vs_rule_name(&s->r->token_rows, i, 1, token, sizeof token);
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
    static const vs_column columns[] = {
        { "", "by", VS_STAYS, true }, { "", "and by", VS_STAYS, true }, { "", "rho", 2, false }, { "", "same", 1, false }
    };
    const vs_ranking_set *set = &s->r->ptq_rankings;
    vs_columns c = { 0 };
    if (!set->agreement_count) return;
    section(s->t, "DO THE RANKINGS AGREE? (Spearman's rho, and how many of the first ten are the same)");
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) vs_columns_add(&c, columns[i]);
    for (size_t i = 0; i < set->agreement_count; i++) {
        const vs_agreement *a = &set->agreements[i];
        char same[NUMBER];
        vs_columns_cell(&c, a->a);
        vs_columns_cell(&c, a->b);
        number(&c, a->defined, "%+.2f", a->spearman);
        snprintf(same, sizeof same, "%2zu of 10", a->overlap10);
        vs_columns_cell(&c, same);
    }
    vs_columns_print(&c, s->width, s->t);
}

vs_status vs_report_summary(const vs_results *r, size_t width, char **text, vs_error *err) {
    vs_text t = { 0 };
    const summary s = { .r = r,
                        .t = &t,
                        .width = width,
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
    vs_report_fp16_policies(&t, r, width);
    add_layers(&s);
    add_output(&s);
    add_planted(&s);
    vs_report_mechanism(&t, r, &answer);
    add_blind_spot(&s);
    add_harmless(&s);
    add_norms(&s);
    add_agreement(&s);
    vs_answer_release(&answer);
    if (!vs_text_wrap(&t, width)) {
        free(t.bytes);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the summary");
    }
    *text = t.bytes;
    return VS_OK;
}
