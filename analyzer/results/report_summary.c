/* summary.txt: the answer first, then the table, then what to make of it. Every sentence is made from numbers. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "report.h"

enum { TABLE_ROWS = 20, CULPRITS = 6, WORST = 3, TOP = 10, NUMBER = 48 };
static const double loud_gap = 12;   /* dB: the blind spot's threshold */
static const double poor = 20;       /* dB: noise of a tenth of the signal's amplitude */
static const double same_task = 0.5; /* points of mIoU that count as kept */

/* What every section needs, looked up once. */
typedef struct summary {
    const vs_results *r;
    vs_text *t;
    size_t width;                                              /* of a line */
    const vs_ranking *activations, *weights, *output, *spared; /* of the ptq recipe; NULL without one */
    size_t float_state, ptq_state, sq_state;                   /* SIZE_MAX if absent */
} summary;

/* ---- numbers for people */

static const char *db(char *text, double v) {
    if (isinf(v))
        snprintf(text, NUMBER, "%s", v > 0 ? "inf" : "-inf");
    else
        snprintf(text, NUMBER, "%.1f", v);
    return text;
}

/* Three significant digits, without an exponent where a plain number fits eight columns. */
static const char *plain(char *text, double v) {
    const double size = fabs(v);
    snprintf(text, NUMBER, size >= 99.95 && size < 1e7 ? "%.0f" : "%.3g", v);
    return text;
}

/* Rounded down below 100: "100.0 %" means all of them. */
static const char *share(char *text, double v) {
    double percent = 100 * v;
    if (percent < 100 && percent > 99.94) percent = 99.9;
    snprintf(text, NUMBER, "%.1f", percent);
    return text;
}

static const char *ordinal(char *text, size_t n) {
    static const char *const endings[] = { "th", "st", "nd", "rd" };
    const size_t tens = n % 100, ones = n % 10;
    snprintf(text, NUMBER, "%zu%s", n, ones > 3 || (tens > 10 && tens < 14) ? "th" : endings[ones]);
    return text;
}

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

/* ---- the answer */

/* Names with commas between them. */
typedef struct list {
    vs_text *t;
    size_t count;
} list;

static void list_add(list *l, const char *item) { vs_text_add(l->t, "%s %s", l->count++ ? "," : "", item); }

static list list_begin(vs_text *t, const char *words) {
    vs_text_add(t, "  %s", words);
    return (list){ t, 0 };
}

static void answer_task(const summary *s) {
    const vs_task *f = &s->r->tasks[s->float_state];
    for (size_t i = 0; i < s->r->state_count; i++) {
        const vs_task *x = &s->r->tasks[i];
        if (i == s->float_state) continue;
        if (x->has_labels) {
            const double drop = f->miou - x->miou;
            vs_text_add(s->t, "  %-8s ", s->r->state_names[i]);
            if (fabs(drop) <= same_task)
                vs_text_add(s->t, "keeps mIoU within %.1f points (%.2f -> %.2f).\n", same_task, f->miou, x->miou);
            else
                vs_text_add(s->t, "%s %.1f points of mIoU (%.2f -> %.2f).\n", drop > 0 ? "loses" : "gains", fabs(drop), f->miou,
                            x->miou);
        } else if (x->has_agreement) {
            vs_text_add(s->t, "  %-8s agrees with %s on %.2f %% of the %s.\n", s->r->state_names[i],
                        s->r->state_names[s->float_state], x->agreement, vs_arch_gives_maps(s->r->arch) ? "pixels" : "images");
        }
    }
}

/* Without a task metric the model's output is all there is. */
static void answer_output(const summary *s) {
    const bool head = s->r->arch->head != VS_HEAD_NONE;
    vs_text_add(s->t, "  No %s: no task metric. States are compared at the model's output, %s.\n",
                head ? "evaluation images" : "head", head ? "the logits" : "the final-normed tokens");
    for (size_t i = 0; i < s->r->state_count; i++) {
        char number[NUMBER];
        const bool evaluated = s->r->evaluation_sqnr && s->r->evaluation_sqnr[i].present;
        const vs_sqnr *x = evaluated ? &s->r->evaluation_sqnr[i] : &s->r->output_sqnr[i];
        if (i == s->float_state || !x->present) continue;
        vs_text_add(s->t, "  %-8s output SQNR %s dB%s.\n", s->r->state_names[i], db(number, x->pooled),
                    evaluated ? " on the evaluation images" : "");
    }
}

static bool is_blind(const vs_row_recipe *x) {
    const vs_sqnr *w = &x->local[VS_LOCAL_WEIGHT], *a = &x->local[VS_LOCAL_ACTIVATION];
    return w->present && a->present && w->pooled - a->pooled > loud_gap;
}

static void answer_worst(const summary *s, const vs_ranking *k, const char *words) {
    if (!k || k->count == 0) return;
    list l = list_begin(s->t, words);
    for (size_t i = 0; i < k->count && i < WORST; i++) {
        char item[128], number[NUMBER];
        snprintf(item, sizeof item, "%s (%s dB)", s->r->rows[k->rows[i]].layer, db(number, k->values[i]));
        list_add(&l, item);
    }
    vs_text_add(s->t, ".\n");
}

/* The rows of a ranking that `counts` takes, worst first; how many. */
static size_t answer_list(const summary *s, const vs_ranking *k, bool (*counts)(const vs_row_recipe *, double),
                          const char *words) {
    size_t named = 0;
    list l = { 0 };
    for (size_t i = 0; k && i < k->count; i++) {
        char item[128], number[NUMBER];
        const vs_row *x = &s->r->rows[k->rows[i]];
        if (!counts(&x->recipes[s->r->ptq_recipe], k->values[i])) continue;
        if (named == 0) l = list_begin(s->t, words);
        snprintf(item, sizeof item, "%s (%s dB)", x->layer, db(number, k->values[i]));
        if (named++ < CULPRITS) list_add(&l, item);
    }
    if (named > CULPRITS) vs_text_add(s->t, " and %zu more", named - CULPRITS);
    if (named) vs_text_add(s->t, ".\n");
    return named;
}

static bool input_is_lost(const vs_row_recipe *x, double v) { return v < poor || is_blind(x); }

static bool weight_is_lost(const vs_row_recipe *x, double v) {
    (void)x;
    return v < poor;
}

static void answer_culprits(const summary *s) {
    const size_t inputs = answer_list(s, s->activations, input_is_lost, "Precision is lost in the inputs of");
    const size_t weights = answer_list(s, s->weights, weight_is_lost, "Precision is lost in the weights of");
    if (inputs || weights) return;
    if (s->activations && s->activations->count)
        vs_text_add(
            s->t,
            "  No culprit: no layer's input falls under %.0f dB, or %.0f dB below its weight, when it alone is quantized.\n",
            poor, loud_gap);
    answer_worst(s, s->activations, "Worst with the input quantized:");
    answer_worst(s, s->weights, "Worst with the weight quantized:");
}

static void add_answer(const summary *s) {
    const vs_results *r = s->r;
    vs_text_add(s->t, "vitscope: %s, %s (%zu blocks, width %zu, %zu tokens)\n", r->name, r->arch->name, r->arch->depth,
                r->arch->width, r->tokens);
    vs_text_add(s->t, "%zu analysis images, %zu evaluation images\n", r->analysis_images, r->evaluation_images);
    section(s->t, "ANSWER");
    if (r->has_task)
        answer_task(s);
    else
        answer_output(s);
    answer_culprits(s);
    vs_report_fp16_answer(s->t, r);
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
    vs_columns_cell(c, s && s->present ? db(text, s->pooled) : NULL);
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

static void add_layer(const summary *s, vs_columns *c, size_t i) {
    const vs_row *x = &s->r->rows[s->activations->rows[i]];
    const vs_row_recipe *p = &x->recipes[s->r->ptq_recipe];
    const vs_sqnr *w = &p->local[VS_LOCAL_WEIGHT], *a = &p->local[VS_LOCAL_ACTIVATION];
    const vs_distribution *in = &x->states[s->float_state].in, *out = &x->states[s->float_state].out;
    const vs_row_state *ptq = s->ptq_state != SIZE_MAX ? &x->states[s->ptq_state] : NULL;
    const double shift = ptq ? 100 * ptq->median_shift : 0;
    char n[NUMBER], gap[NUMBER + 1];
    snprintf(gap, sizeof gap, "%s%s", db(n, w->pooled == a->pooled ? 0 : w->pooled - a->pooled), is_blind(p) ? "*" : " ");
    rank_cell(c, i + 1);
    vs_columns_cell(c, x->layer);
    cell_db(c, a);
    cell_db(c, w);
    vs_columns_cell(c, w->present ? gap : NULL);
    rank_cell(c, rank_in(s->weights, s->activations->rows[i]));
    cell_db(c, &p->cumulative);
    cell_db(c, s->r->sq_recipe != SIZE_MAX ? &x->recipes[s->r->sq_recipe].local[VS_LOCAL_ACTIVATION] : NULL);
    vs_columns_cell(c, in->present ? plain(n, in->ratio) : NULL);
    vs_columns_cell(c, out->present ? plain(n, out->max) : NULL);
    vs_columns_cell(c, out->present ? plain(n, out->median) : NULL);
    vs_columns_cell(c, out->present ? plain(n, out->ratio) : NULL);
    snprintf(n, sizeof n, fabs(shift) < 0.5 ? "0%%" : "%+.0f%%", shift);
    vs_columns_cell(c, ptq && ptq->has_shift ? n : NULL);
    vs_columns_cell(c, ptq && ptq->in.quantized ? share(n, ptq->in.qzeroed) : NULL);
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
    for (size_t m = VS_OUTPUT_COUNT; m-- > 0;) cell_db(c, &p->output[m]);
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
            vs_text_add(s->t, "all of it (gain %s)", plain(n, p->gain[0]));
        else
            vs_text_add(s->t, "%s%s", p->what, p->count == 1 ? "" : "s");
        const size_t named = !p->what ? 0 : p->count < 4 ? p->count : 4;
        for (size_t k = 0; k < named; k++)
            vs_text_add(s->t, "%s %zu (gain %s)", k ? "," : "", p->channels[k], plain(n, p->gain[k]));
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

static void add_output_change(const summary *s, const vs_row *x, size_t state, const char *words) {
    const vs_distribution *before = &x->states[s->float_state].out, *after = &x->states[state].out;
    char a[NUMBER], b[NUMBER], c[NUMBER], d[NUMBER], e[NUMBER];
    vs_text_add(s->t, "    %s: |output| max %s -> %s, median %s -> %s", words, plain(a, before->max), plain(b, after->max),
                plain(c, before->median), plain(d, after->median));
    if (x->states[state].has_shift) vs_text_add(s->t, " (%+.1f %%)", 100 * x->states[state].median_shift);
    if (x->states[state].in.quantized)
        vs_text_add(s->t, "; %s %% of the input becomes zero", share(e, x->states[state].in.qzeroed));
    vs_text_add(s->t, ".\n");
}

/* The outlier and the bulk of the three worst inputs. */
static void add_mechanism(const summary *s) {
    if (!s->activations || s->ptq_state == SIZE_MAX) return;
    bool any = false;
    for (size_t i = 0; i < s->activations->count && i < WORST; i++) {
        const vs_row *x = &s->r->rows[s->activations->rows[i]];
        const vs_distribution *in = &x->states[s->ptq_state].in;
        if (!in->present || !in->quantized || !x->states[s->float_state].out.present || !x->states[s->ptq_state].out.present)
            continue;
        if (!any) section(s->t, "WHAT HAPPENS THERE (the worst by activations; the input under plain PTQ)");
        any = true;
        char token[32], a[NUMBER], b[NUMBER], c[NUMBER];
        vs_row_name(s->r->arch, x->kind, x->block, in->argmax_token, s->r->grid_w, token, sizeof token);
        vs_text_add(s->t, "  %s: the largest |input| is %s (%s, channel %zu), the median %s, one step of the grid %s.\n",
                    x->layer, plain(a, in->max), token, in->argmax_channel, plain(b, in->median), plain(c, in->qstep));
        add_output_change(s, x, s->ptq_state, s->r->state_names[s->ptq_state]);
        if (s->sq_state != SIZE_MAX && x->states[s->sq_state].out.present)
            add_output_change(s, x, s->sq_state, s->r->state_names[s->sq_state]);
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
        vs_columns_cell(&c, db(text, b->gap));
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
                    s->r->rows[b->row].layer, ordinal(w, b->weights), s->weights->count,
                    db(wdb, x->local[VS_LOCAL_WEIGHT].pooled), ordinal(a, b->activations), s->activations->count,
                    db(adb, x->local[VS_LOCAL_ACTIVATION].pooled));
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
        if (out->present) plain(a, out->ratio);
        if (in->present) plain(b, in->ratio);
        vs_text_add(s->t, "  %-20s max/median of output %s, of input %s", x->layer, a, b);
        if (h->activations && s->activations)
            vs_text_add(s->t, "; %s dB, %s by activations", db(n, s->activations->values[h->activations - 1]),
                        ordinal(a, h->activations));
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
        vs_text_add(s->t, " %s %s%s", token, plain(times, n->prefix_times[i] / (double)n->images),
                    i < s->r->arch->registers ? "," : "\n");
    }
    vs_text_add(s->t, "  %zu of %zu patch tokens are above %d%s\n", n->high, n->patches, VS_HIGH_NORM,
                n->high > TOP ? "; the largest:"
                : n->high     ? ":"
                              : "");
    for (size_t i = 0; i < n->listed_count && i < TOP; i++) {
        char times[NUMBER], norm[NUMBER];
        vs_text_add(s->t, "  %-12s of %s: %s times, norm %s\n", n->listed[i].name, s->r->image_names[n->listed[i].image],
                    plain(times, n->listed[i].times), plain(norm, n->listed[i].norm));
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
                        .ptq_state = state_of(r, r->ptq_recipe),
                        .sq_state = state_of(r, r->sq_recipe) };
    *text = NULL;
    add_answer(&s);
    add_states(&s);
    vs_report_fp16_policies(&t, r, width);
    add_layers(&s);
    add_output(&s);
    add_planted(&s);
    add_mechanism(&s);
    add_blind_spot(&s);
    add_harmless(&s);
    add_norms(&s);
    add_agreement(&s);
    if (!vs_text_wrap(&t, width)) {
        free(t.bytes);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the summary");
    }
    *text = t.bytes;
    return VS_OK;
}
