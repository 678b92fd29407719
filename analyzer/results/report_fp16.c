/* The half-precision diagnosis in summary.txt: which policies hold, and of each that fails the first bad row, what that row is
 * and what cannot stay in half. Every sentence is made from numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "half/classes.h"
#include "results/columns.h"
#include "results/report.h"
#include "results/report_words.h"

enum { NAMED = 12, NUMBER = VS_NUMBER };
static const double same_task = 0.5; /* points of mIoU or agreement that count as kept */
static const double exact = 80;      /* dB: a change of the model that the float run does not show */
static const double clean = 40;      /* dB: docs/fp16-reference.md 4.2 */

static const char *format_of(const vs_results *r) { return strcmp(r->fp16.format, "bf16") == 0 ? "BF16" : "FP16"; }

static size_t float_state(const vs_results *r) { return r->fp32_state == SIZE_MAX ? 0 : r->fp32_state; }

static const vs_task *float_task(const vs_results *r) { return r->has_task ? &r->tasks[float_state(r)] : NULL; }

bool vs_fp16_row_of_keys(const vs_fp16_row *row) {
    return strstr(row->name, "attn.scores") || strstr(row->name, "attn.scale") || strstr(row->name, "attn.softmax");
}

static bool overflows(const vs_fp16_row *r) { return r->inf || r->cast_inf; }

static size_t overflowing(const vs_fp16_policy *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->row_count; i++) n += overflows(&p->rows[i]);
    return n;
}

static bool fails(const vs_results *r, const vs_fp16_policy *p) {
    const vs_task *f = float_task(r);
    if (p->analyzed && !p->finite) return true;
    if (p->has_task && p->task.has_labels && f) return !(f->miou - p->task.miou <= same_task);
    if (p->has_task && p->task.has_agreement) return !(100 - p->task.agreement <= same_task);
    return p->analyzed && !(p->sqnr.pooled >= clean);
}

/* ---- the answer */

static void answer_holds(vs_text *t, const vs_results *r) {
    vs_flow f = { 0 };
    size_t named = 0;
    for (size_t i = 0; i < r->fp16.policy_count; i++) {
        const vs_fp16_policy *p = &r->fp16.policies[i];
        char item[160];
        if (fails(r, p)) continue;
        if (named++ == 0) {
            f = vs_flow_begin(t);
            snprintf(item, sizeof item, "%s holds under", format_of(r));
            vs_flow_add(&f, item);
        } else
            vs_text_add(t, ",");
        vs_flow_add(&f, p->name);
        if (overflowing(p)) {
            snprintf(item, sizeof item, "(though %zu rows overflow)", overflowing(p));
            vs_flow_add(&f, item);
        }
    }
    if (named) vs_text_add(t, ".\n");
}

static void add_damage(vs_flow *f, const vs_results *r, const vs_fp16_policy *p) {
    char text[256];
    const vs_task *x = float_task(r);
    if (p->has_task && p->task.has_labels && x)
        snprintf(text, sizeof text, "%s fails under %s (mIoU %.2f -> %.2f, %zu of %zu classes predicted):", format_of(r), p->name,
                 x->miou, p->task.miou, p->classes_predicted, x->shown);
    else if (p->has_task && p->task.has_agreement)
        snprintf(text, sizeof text, "%s fails under %s (agreement %.2f %%, %zu class%s predicted):", format_of(r), p->name,
                 p->task.agreement, p->classes_predicted, p->classes_predicted == 1 ? "" : "es");
    else
        snprintf(text, sizeof text, "%s fails under %s (output SQNR %.1f dB):", format_of(r), p->name, p->sqnr.pooled);
    vs_flow_add(f, text);
}

/* Where a row overflowed first, and where its largest finite value is. */
static void add_places(vs_flow *f, const vs_results *r, const vs_fp16_row *row) {
    const vs_half_place_result *first = &row->first, *largest = &row->largest;
    char text[256];
    if (first->present) {
        const char *image = first->image < r->analysis_images && r->image_names ? r->image_names[first->image] : "an image";
        snprintf(text, sizeof text, "first at %s of %.100s;", first->token, image);
        vs_flow_add(f, text);
    }
    snprintf(text, sizeof text, "largest |x| %.6g", row->max);
    vs_flow_add(f, text);
    if (!largest->present) return;
    snprintf(text, sizeof text, "at %s, %s %zu", largest->token, vs_fp16_row_of_keys(row) ? "key" : "channel", largest->channel);
    vs_flow_add(f, text);
}

static const char *why_of(const vs_fp16_policy *p) {
    return strcmp(p->why, "nan") == 0 ? "NaN" : strcmp(p->why, "sqnr") == 0 ? "loss of precision" : p->why;
}

static void add_first(vs_flow *f, const vs_results *r, const vs_fp16_policy *p) {
    char text[256];
    if (p->first_bad >= p->row_count) {
        vs_flow_add(f, p->row_count ? "no row is bad by itself." : "its rows were not looked at.");
        return;
    }
    const vs_fp16_row *row = &p->rows[p->first_bad];
    snprintf(text, sizeof text, "the first bad row is %s (%s,", row->name, why_of(p));
    vs_flow_add(f, text);
    add_places(f, r, row);
    vs_flow_join(f, ").");
}

/* What a row's name alone says. */
static const char *words_of(const vs_fp16_row *row) {
    static const char *const words[VS_CLASS_COUNT] = { [VS_CLASS_NORM] = "a row of LayerNorm",
                                                       [VS_CLASS_SCORES] =
                                                           "attention scores: products of q and k that are stored in half",
                                                       [VS_CLASS_SOFTMAX] = "the softmax of attention",
                                                       [VS_CLASS_GELU] = "the activation function",
                                                       [VS_CLASS_RESIDUAL] =
                                                           "the residual stream itself, which LayerNorm in FP32 does not help",
                                                       [VS_CLASS_LINEAR] = "the result of a linear layer" };
    static const char *const squares[] = { ".square", ".var", ".eps" };
    const vs_half_class c = vs_half_class_of(row->name);
    const char *part = strrchr(row->name, '.');
    for (size_t i = 0; c == VS_CLASS_NORM && part && i < sizeof squares / sizeof *squares; i++)
        if (strcmp(part, squares[i]) == 0) return "squares inside LayerNorm, of a stream that itself still fits";
    return words[c];
}

/* A list of names that ends early. */
static void add_name(vs_flow *f, const char *name, size_t index) {
    if (index && index < NAMED) vs_text_add(f->t, ",");
    if (index < NAMED) vs_flow_add(f, name);
}

static void end_names(vs_flow *f, size_t count) {
    char more[48];
    snprintf(more, sizeof more, "and %zu more", count > NAMED ? count - NAMED : 0);
    if (count > NAMED) vs_flow_add(f, more);
}

/* Without a keep list: what overflows. */
static void add_overflows(vs_flow *f, const vs_fp16_policy *p) {
    char last[64] = "", unit[64];
    size_t units = 0;
    for (size_t i = 0; i < p->row_count; i++) {
        if (!overflows(&p->rows[i])) continue;
        vs_half_unit_of(p->rows[i].name, unit, sizeof unit);
        if (strcmp(unit, last) == 0) continue;
        if (units == 0) vs_flow_add(f, "Not in half, at least (rows that overflow here; one can hide another):");
        add_name(f, unit, units++);
        snprintf(last, sizeof last, "%s", unit);
    }
    end_names(f, units);
    if (units)
        vs_text_add(f->t, ".");
    else
        vs_flow_add(f, "Nothing overflows, so no row has to leave half for its range.");
}

static void add_kept(vs_flow *f, const vs_fp16_diagnosis *g) {
    char text[256];
    size_t needed = 0, shown = 0;
    for (size_t i = 0; i < g->keep_count; i++) needed += g->keep[i].needed;
    snprintf(text, sizeof text,
             "Keep in FP32 (%zu needed, %zu for a bit of headroom; %.3g %% of the multiply-accumulates):", needed,
             g->keep_count - needed, 100 * g->macs_share);
    vs_flow_add(f, text);
    for (size_t pass = 0; pass < 2; pass++) /* needed ones first */
        for (size_t i = 0; i < g->keep_count; i++)
            if (g->keep[i].needed == (pass == 0)) add_name(f, g->keep[i].row, shown++);
    end_names(f, shown);
    vs_text_add(f->t, ";");
    if (g->reached && !g->minimal) vs_flow_add(f, "perhaps not the shortest: the runs were spent;");
    if (!g->reached)
        vs_flow_add(f, "which does not reach the target.");
    else if (g->verified && g->verified_task.has_labels) {
        snprintf(text, sizeof text, "verified on the evaluation images: mIoU %.2f.", g->verified_task.miou);
        vs_flow_add(f, text);
    } else {
        snprintf(text, sizeof text, "output SQNR then %.1f dB%s.", g->verified ? g->verified_sqnr : g->keep_sqnr,
                 g->verified ? " on the evaluation images" : ", analysis images alone");
        vs_flow_add(f, text);
    }
}

static void add_cause(vs_flow *f, const vs_fp16_policy *p) {
    const vs_fp16_diagnosis *g = &p->diagnosis;
    if (g->present) {
        vs_flow_add(f, "Cause:");
        vs_flow_add(f, g->words);
    } else if (p->first_bad < p->row_count) {
        vs_flow_add(f, "That is");
        vs_flow_add(f, words_of(&p->rows[p->first_bad]));
    } else
        return;
    vs_text_add(f->t, ".");
}

static void add_result(vs_flow *f, const vs_fp16_advice *a) {
    char text[96];
    if (a->has_task && a->task.has_labels)
        snprintf(text, sizeof text, "gives mIoU %.2f", a->task.miou);
    else if (a->has_task && a->task.has_agreement)
        snprintf(text, sizeof text, "gives agreement %.2f %%", a->task.agreement);
    else
        snprintf(text, sizeof text, "gives an output SQNR of %.1f dB", a->sqnr);
    vs_flow_add(f, text);
}

/* What helps with nothing in float32, or that nothing tried did. */
static void add_advice(vs_flow *f, const vs_results *r, size_t policy) {
    size_t tried = 0, helped = 0;
    for (size_t i = 0; i < r->fp16.advice_count; i++) {
        const vs_fp16_advice *a = &r->fp16.advice[i];
        if (a->policy != policy) continue;
        tried++;
        if (!a->reaches) continue;
        vs_flow_add(f, helped++ ? "or" : "With nothing in FP32:");
        vs_flow_add(f, a->what);
        add_result(f, a);
        vs_text_add(f->t, ";");
    }
    if (helped)
        vs_flow_add(f, "the float output stays as it is.");
    else if (tried)
        vs_flow_add(f, "No change to the weights alone is enough.");
}

static void answer_not_run(vs_text *t, const vs_results *r) {
    vs_flow f = vs_flow_begin(t);
    vs_flow_add(&f, format_of(r));
    vs_flow_add(&f, "was not looked at:");
    vs_flow_add(&f, r->fp16.not_run);
    vs_text_add(t, ".\n");
}

void vs_report_fp16_answer(vs_text *t, const vs_results *r) {
    if (*r->fp16.not_run) answer_not_run(t, r);
    if (!r->fp16.policy_count) return;
    answer_holds(t, r);
    for (size_t i = 0; i < r->fp16.policy_count; i++) {
        const vs_fp16_policy *p = &r->fp16.policies[i];
        if (!fails(r, p)) continue;
        vs_flow f = vs_flow_begin(t);
        add_damage(&f, r, p);
        add_first(&f, r, p);
        add_cause(&f, p);
        if (p->diagnosis.present && p->diagnosis.keep_count)
            add_kept(&f, &p->diagnosis);
        else if (p->row_count)
            add_overflows(&f, p);
        add_advice(&f, r, i);
        vs_text_add(t, "\n");
    }
}

/* ---- the table */

static size_t least(const vs_fp16_policy *p) {
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < p->row_count; i++)
        if (isfinite(p->rows[i].headroom) && (at == SIZE_MAX || p->rows[i].headroom < p->rows[at].headroom)) at = i;
    return at;
}

static void add_policy(vs_columns *c, const vs_results *r, const vs_fp16_policy *p) {
    const size_t worst = least(p);
    const vs_task *f = float_task(r);
    char n[NUMBER];
    vs_columns_cell(c, p->name);
    snprintf(n, sizeof n, "%.2f", p->task.miou);
    vs_columns_cell(c, p->has_task && p->task.has_labels ? n : NULL);
    snprintf(n, sizeof n, "%+.2f", f ? p->task.miou - f->miou : 0);
    vs_columns_cell(c, p->has_task && p->task.has_labels && f ? n : NULL);
    snprintf(n, sizeof n, "%zu", p->classes_predicted);
    vs_columns_cell(c, p->has_task ? n : NULL);
    snprintf(n, sizeof n, p->finite ? "%.1f" : "inf or NaN", p->sqnr.pooled);
    vs_columns_cell(c, p->analyzed ? n : NULL);
    snprintf(n, sizeof n, "%zu of %zu", overflowing(p), p->row_count);
    vs_columns_cell(c, p->analyzed ? n : NULL);
    if (worst != SIZE_MAX)
        snprintf(n, sizeof n, "%.2f%s", p->rows[worst].headroom, fabs(p->rows[worst].headroom) < 0.05 ? "~" : "");
    vs_columns_cell(c, worst != SIZE_MAX ? n : NULL);
    vs_columns_cell(c, worst != SIZE_MAX ? p->rows[worst].name : NULL);
    vs_columns_cell(c, p->first_bad < p->row_count ? p->rows[p->first_bad].name : NULL);
}

static void add_policies(vs_text *t, const vs_results *r, size_t width) {
    static const vs_column columns[] = { { "", "policy", VS_STAYS, true },  { "", "mIoU %", 8, false },
                                         { "", "change", 6, false },        { "", "classes", 2, false },
                                         { "output", "SQNR dB", 7, false }, { "rows that", "overflow", 4, false },
                                         { "least", "headroom", 5, false }, { "of row", "", 1, true },
                                         { "first", "bad row", 9, true } };
    vs_columns c = { 0 };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) vs_columns_add(&c, columns[i]);
    for (size_t i = 0; i < r->fp16.policy_count; i++) add_policy(&c, r, &r->fp16.policies[i]);
    vs_columns_print(&c, width, t);
}

/* Everything that was tried. */
static void list_advice(vs_text *t, const vs_results *r, const vs_fp16_advice *a) {
    vs_text_add(t, "  tried under %s, nothing in FP32: %s:", r->fp16.policies[a->policy].name, a->what);
    if (isfinite(a->sqnr) || a->sqnr > 0)
        vs_text_add(t, " output %.1f dB", a->sqnr);
    else
        vs_text_add(t, " output inf or NaN");
    if (a->has_task && a->task.has_labels) vs_text_add(t, ", mIoU %.2f", a->task.miou);
    vs_text_add(t, "%s", a->reaches ? "" : " (not enough)");
    if (a->float_sqnr < exact) vs_text_add(t, "; float32 run %.0f dB from the unchanged one's", a->float_sqnr);
    vs_text_add(t, "\n");
}

/* Whether a tensor is told by itself: too large a weight, a LayerScale that is gone; of small weights there are always a few. */
static bool is_told(const vs_half_weight_note *w) {
    const char *last = strrchr(w->tensor, '.');
    return w->inf || (last && strncmp(last, ".ls", 3) == 0);
}

static void tell_weight(vs_text *t, const vs_results *r, const vs_half_weight_note *w) {
    vs_text_add(t, "  %s:", w->tensor);
    if (w->inf)
        vs_text_add(t, " %llu of %zu weights are above the largest %s and were stored as infinities (largest |w| %.6g)%s",
                    (unsigned long long)w->inf, w->of, format_of(r), w->max, w->flushed ? ";" : "");
    if (w->flushed)
        vs_text_add(t, " %llu of %zu %s became 0 when they were stored in half", (unsigned long long)w->flushed, w->of,
                    strrchr(w->tensor, '.') && strncmp(strrchr(w->tensor, '.'), ".ls", 3) == 0 ? "channels" : "weights");
    vs_text_add(t, "\n");
}

static void list_weights(vs_text *t, const vs_results *r) {
    size_t told = 0, tensors = 0;
    unsigned long long flushed = 0;
    for (size_t i = 0; i < r->fp16.weight_count; i++) {
        const vs_half_weight_note *w = &r->fp16.weights[i];
        if (is_told(w) && told++ < NAMED) tell_weight(t, r, w);
        if (is_told(w)) continue;
        flushed += w->flushed;
        tensors++;
    }
    if (told > NAMED) vs_text_add(t, "  and %zu more tensors: fp16.weights in results.json\n", told - NAMED);
    if (flushed)
        vs_text_add(t, "  %llu weights of %zu%s tensors became 0 when they were stored in half.\n", flushed, tensors,
                    told ? " other" : "");
}

/* One sentence a policy. */
static void add_real(vs_text *t, const vs_fp16_policy *p) {
    const vs_fp16_real *real = &p->real;
    char text[256];
    if (!real->present) return;
    vs_flow f = vs_flow_begin(t);
    snprintf(text, sizeof text, "%s on the GPU's half kernels:", p->name);
    vs_flow_add(&f, text);
    if (real->block_count && isfinite(real->largest_difference)) {
        snprintf(text, sizeof text, "noise of block outputs within %.2f dB of the emulation's (most at %s)",
                 real->largest_difference, real->blocks[real->largest_block].row);
        vs_flow_add(&f, text);
    } else if (real->block_count) {
        snprintf(text, sizeof text, "%s is finite there or in the emulation, not in both", real->blocks[real->largest_block].row);
        vs_flow_add(&f, text);
    }
    if (real->has_task && real->task.has_labels)
        snprintf(text, sizeof text, "mIoU %.2f (emulated %.2f)", real->task.miou, p->task.miou);
    else if (real->has_task)
        snprintf(text, sizeof text, "agreement %.2f %% (emulated %.2f)", real->task.agreement, p->task.agreement);
    if (real->has_task) {
        if (real->block_count) vs_text_add(t, ";");
        vs_flow_add(&f, text);
    }
    vs_text_add(t, ".\n");
}

void vs_report_fp16_policies(vs_text *t, const vs_results *r, size_t width) {
    if (*r->fp16.not_run) {
        vs_text_add(t, "\nHALF PRECISION, %s: not run\n", format_of(r));
        list_weights(t, r);
    }
    if (!r->fp16.policy_count) return;
    vs_text_add(
        t, "\nHALF PRECISION, %s: what an engine that runs these operations so would give (headroom in bits; ~ borderline)\n",
        format_of(r));
    add_policies(t, r, width);
    for (size_t i = 0; i < r->fp16.policy_count; i++) {
        const vs_fp16_diagnosis *g = &r->fp16.policies[i].diagnosis;
        for (size_t k = 1; g->present && k < g->chain_count; k++)
            vs_text_add(t, "  %s, with what is bad before it in float32: %s at %s\n", r->fp16.policies[i].name,
                        strcmp(g->chain[k].why, "nan") == 0 ? "NaN" : g->chain[k].why, g->chain[k].row);
    }
    for (size_t i = 0; i < r->fp16.policy_count; i++) add_real(t, &r->fp16.policies[i]);
    for (size_t i = 0; i < r->fp16.advice_count; i++) list_advice(t, r, &r->fp16.advice[i]);
    list_weights(t, r);
}
