/* WHAT HAPPENS THERE of summary.txt: the outlier, the bulk and the grid of the worst inputs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results/answer.h"
#include "results/report.h"
#include "results/report_words.h"

enum { SHOWN = 3 };

static size_t float_state(const vs_results *r) { return r->fp32_state == SIZE_MAX ? 0 : r->fp32_state; }

static size_t smooth_state(const vs_results *r, const vs_answer *a) {
    for (size_t s = 0; r->sq_recipe != SIZE_MAX && a->recipe != r->sq_recipe && s < r->state_count; s++)
        if (strcmp(r->state_names[s], r->recipe_names[r->sq_recipe]) == 0) return s;
    return SIZE_MAX;
}

static void add_output_change(vs_text *t, const vs_results *r, const vs_row *x, size_t state) {
    const vs_distribution *before = &x->states[float_state(r)].out, *after = &x->states[state].out;
    char a[VS_NUMBER], b[VS_NUMBER], c[VS_NUMBER], d[VS_NUMBER], e[VS_NUMBER];
    vs_text_add(t, "    %s: |output| max %s -> %s, median %s -> %s", r->state_names[state], vs_words_plain(a, before->max),
                vs_words_plain(b, after->max), vs_words_plain(c, before->median), vs_words_plain(d, after->median));
    if (x->states[state].has_shift) vs_text_add(t, " (%+.1f %%)", 100 * x->states[state].median_shift);
    if (x->states[state].in.quantized)
        vs_text_add(t, "; %s %% of the input becomes zero", vs_words_share(e, x->states[state].in.qzeroed));
    vs_text_add(t, ".\n");
}

/* "the largest is 26 times its end": of the calibration images where the observer cut their range, else of the analysis
 * images, whose largest magnitude is beyond one of the ends if it is beyond the farther one. */
static void add_overshoot(vs_flow *flow, const vs_results *r, const vs_row_recipe *p, const vs_distribution *in) {
    const double farther = fmax(fabs(p->ends.lo), fabs(p->ends.hi));
    char text[128], number[VS_NUMBER];
    if (r->observer_cuts && p->ends.overshoot > 1 && isfinite(p->ends.overshoot))
        snprintf(text, sizeof text, "the largest in calibration is %s times its end;", vs_words_plain(number, p->ends.overshoot));
    else if (farther > 0 && in->max > farther && isfinite(in->max))
        snprintf(text, sizeof text, "the largest |input| is %s times the farther end;",
                 vs_words_plain(number, in->max / farther));
    else {
        vs_flow_join(flow, ";");
        return;
    }
    vs_flow_join(flow, ",");
    vs_flow_add(flow, text);
}

static void add_clipping(vs_text *t, const vs_results *r, const vs_row_recipe *p, const vs_distribution *in) {
    if (!vs_answer_is_clipped(p) || !p->ends.present) return;
    char text[160], a[VS_NUMBER], b[VS_NUMBER], c[VS_NUMBER];
    vs_flow flow = vs_flow_begin(t);
    vs_flow_join(&flow, "  ");
    snprintf(text, sizeof text, "%s %% of the input lies outside the grid%s (%s to %s)", vs_words_plain(a, 100 * in->clipped),
             p->ends.grids > 1 ? "s of its heads, the tightest" : "", vs_words_plain(b, p->ends.lo),
             vs_words_plain(c, p->ends.hi));
    vs_flow_add(&flow, text);
    add_overshoot(&flow, r, p, in);
    if (r->observer_cuts) {
        vs_flow_add(&flow, "the");
        vs_flow_add(&flow, r->observer);
        vs_flow_add(&flow, "observer cut those values off.");
    } else
        vs_flow_add(&flow, "no calibration image had such values.");
    vs_flow_add(&flow, "Clipping is the loss, not rounding:");
    snprintf(text, sizeof text, "with the same step and no ends the layer would keep %s dB instead of %s.\n",
             vs_words_db(a, p->local[VS_LOCAL_UNCLIPPED].pooled), vs_words_db(b, p->local[VS_LOCAL_ACTIVATION].pooled));
    vs_flow_add(&flow, text);
}

static bool add_row(vs_text *t, const vs_results *r, const vs_answer *a, size_t row, const char *title) {
    const vs_row *x = &r->rows[row];
    const vs_distribution *in = &x->states[a->state].in;
    const size_t smooth = smooth_state(r, a);
    char token[32], n[3][VS_NUMBER];
    if (!in->present || !in->quantized || !x->states[float_state(r)].out.present || !x->states[a->state].out.present)
        return false;
    if (title) vs_text_add(t, "\n%s; the input under %s)\n", title, r->state_names[a->state]);
    vs_rule_name(&x->rows, in->argmax_token, r->grid_w, token, sizeof token);
    vs_text_add(t, "  %s: the largest |input| is %s (%s, channel %zu), the median %s, one step of the grid %s.\n", x->layer,
                vs_words_plain(n[0], in->max), token, in->argmax_channel, vs_words_plain(n[1], in->median),
                vs_words_plain(n[2], in->qstep));
    add_clipping(t, r, &x->recipes[a->recipe], in);
    add_output_change(t, r, x, a->state);
    if (smooth != SIZE_MAX && x->states[smooth].out.present) add_output_change(t, r, x, smooth);
    return true;
}

/* Of what ANSWER goes by the worst layers whose input (or both) is to blame. */
void vs_report_mechanism(vs_text *t, const vs_results *r, const vs_answer *a) {
    static const struct {
        vs_answer_place place;
        vs_answer_part part;
        const char *title;
    } sources[] = { { VS_ANSWER_OUTPUT, VS_ANSWER_BOTH, "WHAT HAPPENS THERE (the worst at the model's output" },
                    { VS_ANSWER_OUTPUT, VS_ANSWER_INPUT, "WHAT HAPPENS THERE (the worst at the model's output" },
                    { VS_ANSWER_LOCAL, VS_ANSWER_INPUT, "WHAT HAPPENS THERE (the worst by activations" },
                    { VS_ANSWER_LOCAL, VS_ANSWER_BOTH, "WHAT HAPPENS THERE (the worst at their own outputs" } };
    const vs_answer_finding *f = NULL;
    size_t source = 0, shown = 0;
    for (; source < sizeof sources / sizeof *sources; source++)
        if ((f = vs_answer_find(a, sources[source].place, sources[source].part))) break;
    if (!f || a->state == SIZE_MAX || (f->place == VS_ANSWER_OUTPUT && f->verdict == VS_ANSWER_NOTHING)) return;
    for (size_t i = 0; i < f->count && shown < SHOWN; i++)
        if (f->layers[i].part != VS_ANSWER_WEIGHT)
            shown += add_row(t, r, a, f->layers[i].row, shown ? NULL : sources[source].title);
}
