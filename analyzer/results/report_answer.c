/* ANSWER of summary.txt: what the task loses in each state, then where, in words for what answer.c decided. */
#include <math.h>
#include <stdio.h>

#include "results/answer.h"
#include "results/report.h"
#include "results/report_words.h"

enum { ITEM = 160, LISTED = 6 };
static const double same_task = 0.5; /* points of mIoU that count as kept */

static size_t float_state(const vs_results *r) { return r->fp32_state == SIZE_MAX ? 0 : r->fp32_state; }

static void add_task(vs_text *t, const vs_results *r) {
    const vs_task *f = &r->tasks[float_state(r)];
    for (size_t i = 0; i < r->state_count; i++) {
        const vs_task *x = &r->tasks[i];
        if (i == float_state(r)) continue;
        if (x->has_labels) {
            const double drop = f->miou - x->miou;
            vs_text_add(t, "  %-8s ", r->state_names[i]);
            if (fabs(drop) <= same_task)
                vs_text_add(t, "keeps mIoU within %.1f points (%.2f -> %.2f).\n", same_task, f->miou, x->miou);
            else
                vs_text_add(t, "%s %.1f points of mIoU (%.2f -> %.2f).\n", drop > 0 ? "loses" : "gains", fabs(drop), f->miou,
                            x->miou);
        } else if (x->has_agreement) {
            vs_text_add(t, "  %-8s agrees with %s on %.2f %% of the %s.\n", r->state_names[i], r->state_names[float_state(r)],
                        x->agreement, vs_arch_gives_maps(r->arch) ? "pixels" : "images");
        }
    }
}

/* Without a task metric the model's output is all there is. */
static void add_states_output(vs_text *t, const vs_results *r) {
    const bool head = r->arch->head != VS_HEAD_NONE;
    vs_text_add(t, "  No %s: no task metric. States are compared at the model's output, %s.\n",
                head ? "evaluation images" : "head", head ? "the logits" : "the final-normed tokens");
    for (size_t i = 0; i < r->state_count; i++) {
        char number[VS_NUMBER];
        const bool evaluated = r->evaluation_sqnr && r->evaluation_sqnr[i].present;
        const vs_sqnr *x = evaluated ? &r->evaluation_sqnr[i] : &r->output_sqnr[i];
        if (i == float_state(r) || !x->present) continue;
        vs_text_add(t, "  %-8s output SQNR %s dB%s.\n", r->state_names[i], vs_words_db(number, x->pooled),
                    evaluated ? " on the evaluation images" : "");
    }
}

static const char *words_of(vs_answer_part part) {
    static const char *const words[] = { [VS_ANSWER_UNKNOWN] = "",
                                         [VS_ANSWER_BOTH] = ", input and weight",
                                         [VS_ANSWER_INPUT] = ", input",
                                         [VS_ANSWER_WEIGHT] = ", weight" };
    return words[part];
}

/* "blocks.0.mlp.fc1 (30.9 dB, 31 %, input; +0.87 dB spared)" */
static void add_layer(vs_flow *flow, const vs_results *r, const vs_answer_finding *f, size_t i) {
    const vs_answer_layer *x = &f->layers[i];
    char item[ITEM], value[VS_NUMBER], share[VS_NUMBER + 8] = "", gain[VS_NUMBER] = "";
    const bool output = f->place == VS_ANSWER_OUTPUT, apart = output && f->part == VS_ANSWER_BOTH;
    if (f->place == VS_ANSWER_SPARED)
        snprintf(value, sizeof value, "%+.2f", x->value);
    else
        vs_words_db(value, x->value);
    if (x->share > 0) {
        char number[VS_NUMBER];
        snprintf(share, sizeof share, ", %s %%", vs_words_part(number, x->share));
    }
    if (output && x->has_gain) snprintf(gain, sizeof gain, "; %+.2f dB spared", x->gain);
    snprintf(item, sizeof item, "%s (%s dB%s%s%s%s)", r->rows[x->row].layer, value, share, apart ? words_of(x->part) : "",
             f->place != VS_ANSWER_SPARED && x->clipped ? ", clipped" : "", gain);
    vs_flow_item(flow, item, i);
}

static void add_named(vs_flow *flow, const vs_results *r, const vs_answer_finding *f) {
    for (size_t i = 0; i < f->named && i < LISTED; i++) add_layer(flow, r, f, i);
    if (f->named > LISTED) {
        char more[VS_NUMBER];
        snprintf(more, sizeof more, "and %zu more", f->named - LISTED);
        vs_flow_add(flow, more);
    }
    vs_flow_join(flow, ".\n");
}

/* "84 layers", or what part of them was looked at. */
static void layers_looked_at(char *text, size_t size, const vs_results *r, const vs_answer_finding *f) {
    if (r->row_count < r->quantized_count)
        snprintf(text, size, "the %zu layers looked at (of %zu)", f->count, r->quantized_count);
    else
        snprintf(text, size, "%zu layers", f->count);
}

static void add_output(vs_text *t, const vs_results *r, const vs_answer *a, const vs_answer_finding *f) {
    static const char *const what[] = {
        [VS_ANSWER_BOTH] = "", [VS_ANSWER_INPUT] = ", its input only", [VS_ANSWER_WEIGHT] = ", its weight only"
    };
    static const char *const numbers[] = { "", "", "two", "three", "four", "five" };
    vs_flow flow = vs_flow_begin(t);
    char text[ITEM + 64], layers[64], share[VS_NUMBER];
    layers_looked_at(layers, sizeof layers, r, f);
    vs_words_part(share, f->share);
    vs_flow_add(&flow, "At the model's output, each layer of");
    vs_flow_add(&flow, r->recipe_names[a->recipe]);
    vs_flow_add(&flow, "quantized alone");
    vs_flow_join(&flow, what[f->part]);
    vs_flow_join(&flow, ":");
    switch (f->verdict) {
    case VS_ANSWER_NOTHING: vs_flow_add(&flow, "none changes it at all.\n"); return;
    case VS_ANSWER_RUINED: vs_flow_add(&flow, "nothing is left of it (not finite, or noise alone) with"); break;
    case VS_ANSWER_FEW:
        snprintf(text, sizeof text, "%s%zu of %s %s %s %% of the noise%s", f->named == 1 ? "one layer dominates, " : "", f->named,
                 layers, f->named == 1 ? "has" : "have", share, f->named == 1 && f->share < 0.8 ? ", the rest is spread:" : ":");
        vs_flow_add(&flow, text);
        break;
    case VS_ANSWER_SPREAD:
        if (r->row_count < r->quantized_count)
            snprintf(text, sizeof text, "the loss is spread over %s: the first %s are %s %% of it:", layers, numbers[f->named],
                     share);
        else
            snprintf(text, sizeof text, "the loss is spread: the first %s are %s %% of it:", numbers[f->named], share);
        vs_flow_add(&flow, text);
        break;
    case VS_ANSWER_LISTED:
        if (f->count == 1)
            snprintf(text, sizeof text, "looked at was only");
        else
            snprintf(text, sizeof text, "%s, worst first:", layers);
        vs_flow_add(&flow, text);
        break;
    }
    add_named(&flow, r, f);
}

static void add_contrast(vs_text *t, const vs_results *r, const vs_answer *a) {
    char text[ITEM * 2], db[VS_NUMBER], other[VS_NUMBER];
    if (a->worst_local != SIZE_MAX) {
        vs_flow flow = vs_flow_begin(t);
        snprintf(text, sizeof text, "Worst at its own output is %s (%s dB), but at the model's it has only %s %% of the noise.\n",
                 r->rows[a->worst_local].layer, vs_words_db(db, a->worst_local_db), vs_words_part(other, a->worst_local_share));
        vs_flow_add(&flow, text);
    }
    if (a->disagrees) {
        vs_flow flow = vs_flow_begin(t);
        snprintf(
            text, sizeof text,
            "Added up, these noises would leave %s dB, but the whole model has %s dB: noise as loud as this does not simply add "
            "up, and the shares are rough.\n",
            vs_words_db(db, a->sum), vs_words_db(other, a->whole));
        vs_flow_add(&flow, text);
    }
}

static void add_spared(vs_text *t, const vs_results *r, const vs_answer *a, const vs_answer_finding *f) {
    vs_flow flow = vs_flow_begin(t);
    char text[ITEM];
    const bool chance = !isnan(a->chance);
    snprintf(text, sizeof text, "more than chance (%.2f dB)", a->chance);
    vs_flow_add(&flow, "If one layer alone stays in float,");
    if (f->verdict == VS_ANSWER_NOTHING) {
        vs_flow_add(&flow, "none gains");
        vs_flow_add(&flow, chance ? text : "anything");
        vs_flow_join(&flow, ".\n");
        return;
    }
    vs_flow_add(&flow, "the output gains most");
    if (chance) {
        vs_flow_add(&flow, "and");
        vs_flow_add(&flow, text);
    }
    vs_flow_add(&flow, "by");
    add_named(&flow, r, f);
}

static bool is_local(const vs_answer_finding *f) { return f->place == VS_ANSWER_LOCAL; }

static void add_local(vs_text *t, const vs_results *r, const vs_answer *a) {
    static const char *const lost[] = { [VS_ANSWER_BOTH] = "Precision is lost in",
                                        [VS_ANSWER_INPUT] = "Precision is lost in the inputs of",
                                        [VS_ANSWER_WEIGHT] = "Precision is lost in the weights of" };
    static const char *const worst[] = { [VS_ANSWER_BOTH] = "Worst with input and weight quantized:",
                                         [VS_ANSWER_INPUT] = "Worst with the input quantized:",
                                         [VS_ANSWER_WEIGHT] = "Worst with the weight quantized:" };
    static const char *const none[] = {
        [VS_ANSWER_BOTH] = "No culprit: no layer falls under 20 dB when it alone is quantized.",
        [VS_ANSWER_INPUT] =
            "No culprit: no layer's input falls under 20 dB, or 12 dB below its weight, when it alone is quantized.",
        [VS_ANSWER_WEIGHT] = "No culprit: no layer's weight falls under 20 dB when it alone is quantized."
    };
    const vs_answer_finding *first = NULL;
    bool any = false;
    for (size_t i = 0; i < a->finding_count; i++) {
        if (!is_local(&a->findings[i])) continue;
        if (!first) first = &a->findings[i];
        any |= a->findings[i].verdict == VS_ANSWER_LISTED;
    }
    if (!first) return;
    vs_flow flow = vs_flow_begin(t);
    vs_flow_add(&flow,
                "No layer alone was carried to the model's output (analyze.output): what follows is lost at their own outputs, "
                "and what it costs is not known.\n");
    if (!any) vs_text_add(t, "  %s\n", none[first->part]);
    for (size_t i = 0; i < a->finding_count; i++) {
        const vs_answer_finding *f = &a->findings[i];
        if (!is_local(f) || (any && f->verdict != VS_ANSWER_LISTED)) continue;
        flow = vs_flow_begin(t);
        vs_flow_add(&flow, any ? lost[f->part] : worst[f->part]);
        add_named(&flow, r, f);
    }
}

/* What "clipped" behind a layer's name means. */
static void add_clipping(vs_text *t, const vs_results *r, const vs_answer *a) {
    bool any = false;
    for (size_t i = 0; i < a->finding_count; i++)
        for (size_t k = 0; a->findings[i].place != VS_ANSWER_SPARED && k < a->findings[i].named && k < LISTED; k++)
            any |= a->findings[i].layers[k].clipped;
    if (!any) return;
    vs_flow flow = vs_flow_begin(t);
    vs_flow_add(&flow, "Clipped:");
    if (r->observer_cuts) {
        vs_flow_add(&flow, "the");
        vs_flow_add(&flow, r->observer);
        vs_flow_add(&flow,
                    "observer cut off values beyond the grid's ends, and that, not rounding, is most of the input's noise.\n");
    } else
        vs_flow_add(&flow,
                    "the analysis images hold values beyond the grid's ends, which the calibration images set, and cutting those "
                    "off, not rounding, is most of the input's noise.\n");
}

void vs_report_answer(vs_text *t, const vs_results *r, const vs_answer *a) {
    if (r->has_task)
        add_task(t, r);
    else
        add_states_output(t, r);
    bool contrasted = false;
    for (size_t i = 0; i < a->finding_count; i++) {
        if (a->findings[i].place == VS_ANSWER_OUTPUT) {
            add_output(t, r, a, &a->findings[i]);
            if (!contrasted) add_contrast(t, r, a);
            contrasted = true;
        }
        if (a->findings[i].place == VS_ANSWER_SPARED) add_spared(t, r, a, &a->findings[i]);
    }
    add_local(t, r, a);
    add_clipping(t, r, a);
    vs_report_fp16_answer(t, r);
}
