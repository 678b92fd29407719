/* summary.txt: the answer first, then the table, then what to make of it. Every sentence is made from numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum { TABLE_ROWS = 20, CULPRITS = 6 };
static const double loud_gap = 12; /* dB under weight quantization: the blind spot's threshold */

static const char *db(char *text, size_t size, double v) {
    if (isinf(v))
        snprintf(text, size, "%s", v > 0 ? "inf" : "-inf");
    else
        snprintf(text, size, "%.1f", v);
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

static void section(vs_text *t, const char *title) { vs_text_add(t, "\n%s\n", title); }

/* ---- the answer */

static void answer_task(vs_text *t, const vs_results *r) {
    const vs_task *f = &r->tasks[0];
    for (size_t s = 1; s < r->state_count; s++) {
        const vs_task *x = &r->tasks[s];
        if (x->has_labels) {
            const double drop = f->miou - x->miou;
            vs_text_add(t, "  %-8s %s %.1f points of mIoU (%.2f -> %.2f).\n", r->state_names[s],
                        drop > 0.5    ? "loses"
                        : drop < -0.5 ? "gains"
                                      : "keeps the task:",
                        drop > 0.5 || drop < -0.5 ? fabs(drop) : drop, f->miou, x->miou);
        } else if (x->has_agreement) {
            vs_text_add(t, "  %-8s agrees with %s on %.2f %% of the pixels or images.\n", r->state_names[s], r->state_names[0],
                        x->agreement);
        }
    }
}

/* Layers whose inputs lose far more than their weights, worst first. */
static void answer_culprits(vs_text *t, const vs_results *r) {
    const vs_ranking *act = find_ranking(&r->ptq_rankings, "activations");
    if (!act) return;
    size_t named = 0;
    for (size_t i = 0; i < act->count; i++) {
        const vs_row_recipe *x = &r->rows[act->rows[i]].recipes[r->ptq_recipe];
        const bool linear = x->local[VS_LOCAL_WEIGHT].present;
        if (!linear || !(x->local[VS_LOCAL_WEIGHT].pooled - x->local[VS_LOCAL_ACTIVATION].pooled > loud_gap)) continue;
        char number[32];
        if (named == 0) vs_text_add(t, "  Precision is lost in the inputs of");
        if (named < CULPRITS)
            vs_text_add(t, "%s %s (%s dB)", named ? "," : "", r->rows[act->rows[i]].layer,
                        db(number, sizeof number, act->values[i]));
        named++;
    }
    if (named > CULPRITS) vs_text_add(t, " and %zu more", named - CULPRITS);
    if (named)
        vs_text_add(t, ".\n");
    else if (act->count)
        vs_text_add(t, "  No linear loses more than %.0f dB by its input than by its weights: no culprit stands out.\n",
                    loud_gap);
}

static void add_answer(vs_text *t, const vs_results *r) {
    vs_text_add(t, "vitscope: %s, %s (%zu blocks, width %zu, %zu tokens)\n", r->name, r->arch->name, r->arch->depth,
                r->arch->width, r->tokens);
    if (r->analysis_images) vs_text_add(t, "%zu analysis images", r->analysis_images);
    if (r->evaluation_images) vs_text_add(t, "%s%zu evaluation images", r->analysis_images ? ", " : "", r->evaluation_images);
    vs_text_add(t, "\n");
    section(t, "ANSWER");
    if (r->has_task)
        answer_task(t, r);
    else
        vs_text_add(t, "  No head or no evaluation images: there is no task metric; the output is %s.\n",
                    r->arch->head == VS_HEAD_NONE ? "the final-normed tokens" : "the logits");
    answer_culprits(t, r);
}

/* ---- states */

static void add_states(vs_text *t, const vs_results *r) {
    section(t, "STATES");
    vs_text_add(t, "  %-12s %9s %9s %9s %9s %12s %14s\n", "state", "mIoU %", "change", "aAcc %", "mAcc %", "agreement %",
                "output SQNR dB");
    for (size_t s = 0; s < r->state_count; s++) {
        const vs_task *x = r->has_task ? &r->tasks[s] : NULL;
        char sqnr[32] = "-";
        if (r->output_sqnr[s].present) db(sqnr, sizeof sqnr, r->output_sqnr[s].pooled);
        vs_text_add(t, "  %-12s", r->state_names[s]);
        if (x && x->has_labels)
            vs_text_add(t, " %9.2f %+9.2f %9.2f %9.2f", x->miou, x->miou - r->tasks[0].miou, x->aacc, x->macc);
        else
            vs_text_add(t, " %9s %9s %9s %9s", "-", "-", "-", "-");
        if (x && x->has_agreement)
            vs_text_add(t, " %12.2f", x->agreement);
        else
            vs_text_add(t, " %12s", "-");
        vs_text_add(t, " %14s\n", sqnr);
    }
}

/* ---- layers */

static void cell_db(vs_text *t, const vs_sqnr *s) {
    char number[32] = "-";
    if (s && s->present) db(number, sizeof number, s->pooled);
    vs_text_add(t, " %8s", number);
}

static void cell_ratio(vs_text *t, const vs_distribution *d) {
    if (!d->present)
        vs_text_add(t, " %8s", "-");
    else if (isinf(d->ratio))
        vs_text_add(t, " %8s", "inf");
    else
        vs_text_add(t, " %8.4g", d->ratio);
}

static size_t state_of(const vs_results *r, const char *name) {
    for (size_t s = 0; s < r->state_count; s++)
        if (strcmp(r->state_names[s], name) == 0) return s;
    return SIZE_MAX;
}

static void add_layer(vs_text *t, const vs_results *r, const vs_ranking *act, const vs_ranking *weights, size_t i) {
    const size_t index = act->rows[i], ptq = state_of(r, r->recipe_names[r->ptq_recipe]), by_weights = rank_in(weights, index);
    const vs_row *x = &r->rows[index];
    const vs_row_recipe *p = &x->recipes[r->ptq_recipe];
    char rank[24] = "-";
    if (by_weights) snprintf(rank, sizeof rank, "%zu", by_weights);
    vs_text_add(t, "  %4zu %-22s", i + 1, x->layer);
    cell_db(t, &p->local[VS_LOCAL_ACTIVATION]);
    cell_db(t, &p->local[VS_LOCAL_WEIGHT]);
    vs_text_add(t, " %7s", rank);
    cell_db(t, &p->cumulative);
    cell_db(t, r->sq_recipe != SIZE_MAX ? &x->recipes[r->sq_recipe].local[VS_LOCAL_ACTIVATION] : NULL);
    cell_ratio(t, &x->states[0].in);
    cell_ratio(t, &x->states[0].out);
    if (ptq != SIZE_MAX && x->states[ptq].in.quantized)
        vs_text_add(t, " %7.1f%%", 100 * x->states[ptq].in.qzeroed);
    else
        vs_text_add(t, " %8s", "-");
    const bool blind =
        p->local[VS_LOCAL_WEIGHT].present && p->local[VS_LOCAL_WEIGHT].pooled - p->local[VS_LOCAL_ACTIVATION].pooled > loud_gap;
    vs_text_add(t, "%s%s\n", x->planted ? "  PLANTED" : "", blind ? "  BLIND SPOT" : "");
}

static void add_layers(vs_text *t, const vs_results *r) {
    const vs_ranking *act = find_ranking(&r->ptq_rankings, "activations"), *weights = find_ranking(&r->ptq_rankings, "weights");
    if (!act || !act->count) return;
    section(t, "LAYERS, worst first by local SQNR with only the layer's input quantized (dB; lower is worse)");
    vs_text_add(t, "  %4s %-22s %8s %8s %7s %8s %8s %8s %8s %8s\n", "", "", "input", "weights", "rank by", "in the", "input,",
                "max/med", "max/med", "input");
    vs_text_add(t, "  %4s %-22s %8s %8s %7s %8s %8s %8s %8s %8s\n", "rank", "layer", "only", "only", "weights", "ptq run",
                "smoothed", "of input", "of outp.", "zeroed");
    const size_t shown = act->count < TABLE_ROWS ? act->count : TABLE_ROWS;
    for (size_t i = 0; i < shown; i++) add_layer(t, r, act, weights, i);
    if (act->count > shown) vs_text_add(t, "  ... %zu more in layers.csv\n", act->count - shown);
}

/* ---- planted, blind spot, harmless, agreement */

static void add_planted(vs_text *t, const vs_results *r) {
    if (!r->plant_count) return;
    const vs_ranking *act = find_ranking(&r->ptq_rankings, "activations"), *weights = find_ranking(&r->ptq_rankings, "weights");
    section(t, "PLANTED HERE (the known truth)");
    for (size_t i = 0; i < r->plant_count; i++) {
        const vs_plant_result *p = &r->plants[i];
        vs_text_add(t, "  %-22s %s, unit", p->layer, p->kind);
        for (size_t k = 0; k < p->count; k++) vs_text_add(t, "%s %zu (gain %.4g)", k ? "," : "", p->channels[k], p->gain[k]);
        for (size_t row = 0; row < r->row_count; row++) {
            if (strcmp(r->rows[row].layer, p->layer) != 0) continue;
            const size_t a = rank_in(act, row), w = rank_in(weights, row);
            if (a && w) vs_text_add(t, "; by activations %zu of %zu, by weights %zu of %zu", a, act->count, w, weights->count);
        }
        vs_text_add(t, "\n");
    }
}

static void add_blind_spot(vs_text *t, const vs_results *r) {
    const vs_ranking_set *set = &r->ptq_rankings;
    const vs_ranking *act = find_ranking(set, "activations"), *weights = find_ranking(set, "weights");
    if (!set->blind_count) return;
    section(t, "BLIND SPOT: what quantizing weights alone cannot see (gap = weights - input, dB; flagged above 12)");
    for (size_t i = 0; i < set->blind_count; i++) {
        const vs_blind_spot *b = &set->blind[i];
        char gap[32];
        vs_text_add(t, "  %-22s gap %6s   by weights %2zu of %zu, by activations %2zu of %zu%s\n", r->rows[b->row].layer,
                    db(gap, sizeof gap, b->gap), b->weights, weights->count, b->activations, act->count,
                    b->flagged ? "   FLAGGED" : "");
    }
}

static void add_harmless(vs_text *t, const vs_results *r) {
    const vs_ranking_set *set = &r->ptq_rankings;
    if (!set->harmless_count) return;
    section(t,
            "HARMLESS: large outliers (first 10 by max/median) that cost little precision (not in the first 10 by activations)");
    for (size_t i = 0; i < set->harmless_count; i++) {
        const vs_harmless *h = &set->harmless[i];
        const vs_row *x = &r->rows[h->row];
        char number[32];
        vs_text_add(t, "  %-22s max/median of output %.4g, of input %.4g; %s dB, %zu by activations\n", x->layer,
                    x->states[0].out.ratio, x->states[0].in.ratio,
                    db(number, sizeof number, x->recipes[r->ptq_recipe].local[VS_LOCAL_ACTIVATION].pooled), h->activations);
    }
}

static void add_agreement(vs_text *t, const vs_results *r) {
    const vs_ranking_set *set = &r->ptq_rankings;
    if (!set->agreement_count) return;
    section(t, "DO THE RANKINGS AGREE? (Spearman's rho, and how many of the first ten are the same)");
    for (size_t i = 0; i < set->agreement_count; i++) {
        const vs_agreement *a = &set->agreements[i];
        vs_text_add(t, "  %-12s %-12s ", a->a, a->b);
        if (a->defined)
            vs_text_add(t, "%+.2f", a->spearman);
        else
            vs_text_add(t, "    -");
        vs_text_add(t, "   %zu of 10\n", a->overlap10);
    }
}

/* What happened to the worst layer's numbers: the outlier, the bulk. */
static void add_mechanism(vs_text *t, const vs_results *r) {
    const vs_ranking *act = find_ranking(&r->ptq_rankings, "activations");
    const size_t ptq = r->ptq_recipe == SIZE_MAX ? SIZE_MAX : state_of(r, r->recipe_names[r->ptq_recipe]);
    if (!act || ptq == SIZE_MAX) return;
    bool any = false;
    for (size_t i = 0; i < act->count && i < 3; i++) {
        const vs_row *x = &r->rows[act->rows[i]];
        const vs_distribution *in = &x->states[ptq].in, *before = &x->states[0].out, *after = &x->states[ptq].out;
        if (!in->quantized || !before->present || !after->present) continue;
        if (!any) section(t, "WHAT HAPPENS THERE (the three worst by activations, plain PTQ)");
        any = true;
        char token[32];
        vs_token_name(r->arch, in->argmax_token, r->grid_w, token, sizeof token);
        vs_text_add(t,
                    "  %s: the input's largest value is %.4g (%s, channel %zu), its median %.3g; one step of the grid is %.3g,\n",
                    x->layer, in->max, token, in->argmax_channel, in->median, in->qstep);
        vs_text_add(t, "    so %.1f %% of its values become zero. Output: max %.4g -> %.4g, median %.3g -> %.3g (%+.1f %%).\n",
                    100 * in->qzeroed, before->max, after->max, before->median, after->median,
                    x->states[ptq].has_shift ? 100 * x->states[ptq].median_shift : 0.0);
    }
}

vs_status vs_report_summary(const vs_results *r, char **text, vs_error *err) {
    vs_text t = { 0 };
    *text = NULL;
    add_answer(&t, r);
    add_states(&t, r);
    add_layers(&t, r);
    add_planted(&t, r);
    add_mechanism(&t, r);
    add_blind_spot(&t, r);
    add_harmless(&t, r);
    add_agreement(&t, r);
    if (t.failed) {
        free(t.bytes);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the summary");
    }
    *text = t.bytes;
    return VS_OK;
}
