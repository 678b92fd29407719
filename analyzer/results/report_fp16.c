/* The summary's section on half precision: what every policy gives, and the first row that goes wrong. */
#include <math.h>
#include <stdio.h>

#include "report.h"

enum { CELL = 48 };

static const char *decibels(char *text, const vs_fp16_policy *p) {
    if (!p->analyzed)
        snprintf(text, CELL, "-");
    else if (isinf(p->sqnr.pooled))
        snprintf(text, CELL, "%s", p->sqnr.pooled > 0 ? "inf" : "-inf");
    else
        snprintf(text, CELL, "%.1f", p->sqnr.pooled);
    return text;
}

/* The row with the least room; NULL without rows. */
static const vs_fp16_row *tightest(const vs_fp16_policy *p) {
    const vs_fp16_row *least = p->row_count ? &p->rows[0] : NULL;
    for (size_t i = 1; i < p->row_count; i++)
        if (p->rows[i].headroom < least->headroom) least = &p->rows[i];
    return least;
}

static void add_policy(vs_text *t, const vs_fp16_policy *p) {
    char miou[CELL] = "-", agreement[CELL] = "-", classes[CELL] = "-", sqnr[CELL];
    if (p->has_task && p->task.has_labels) snprintf(miou, sizeof miou, "%.2f", p->task.miou);
    if (p->has_task) snprintf(agreement, sizeof agreement, "%.2f", p->task.agreement);
    if (p->has_task) snprintf(classes, sizeof classes, "%zu", p->classes_predicted);
    vs_text_add(t, "  %-22s %9s %13s %9s %9s", p->name, miou, agreement, classes, decibels(sqnr, p));
    const vs_fp16_row *least = tightest(p);
    if (p->first_bad < p->row_count) {
        const vs_fp16_row *bad = &p->rows[p->first_bad];
        vs_text_add(t, "   first bad row %s: %s", bad->name, p->why);
        if (bad->first.present)
            vs_text_add(t, " at image %zu, %s, channel %zu", bad->first.image, bad->first.token, bad->first.channel);
        if (bad->max > 0) vs_text_add(t, ", up to %.3g", bad->max);
    } else if (least) {
        vs_text_add(t, "   least headroom %.2f bit%s, %s", least->headroom, fabs(least->headroom) < 0.05 ? " (borderline)" : "s",
                    least->name);
    }
    vs_text_add(t, "\n");
}

static void add_keep(vs_text *t, const vs_fp16_diagnosis *g) {
    enum { SHOWN = 8 };
    vs_text_add(t, "    keep in float32%s:", g->reached ? "" : " (does not reach the target)");
    for (size_t i = 0; i < g->keep_count && i < SHOWN; i++) vs_text_add(t, "%s %s", i ? "," : "", g->keep[i].row);
    if (g->keep_count > SHOWN) vs_text_add(t, " and %zu more", g->keep_count - SHOWN);
    vs_text_add(t, "%s; %.1f dB, %.1f %% of the multiply-accumulates", g->keep_count ? "" : " nothing", g->keep_sqnr,
                100 * g->macs_share);
    if (g->verified && g->verified_task.has_labels)
        vs_text_add(t, "; mIoU %.2f %% on the evaluation images", g->verified_task.miou);
    vs_text_add(t, "\n");
}

/* What goes wrong, and what restores it. */
static void add_diagnosis(vs_text *t, const vs_fp16_policy *p) {
    const vs_fp16_diagnosis *g = &p->diagnosis;
    if (!g->present) return;
    vs_text_add(t, "  %s: %s (target %.1f dB)\n", p->name, g->words, g->target);
    for (size_t i = 1; i < g->chain_count; i++)
        vs_text_add(t, "    with what is above in float32: %s at %s\n", g->chain[i].why, g->chain[i].row);
    if (g->keep_count || g->reached) add_keep(t, g);
}

void vs_report_fp16(vs_text *t, const vs_fp16_results *r) {
    if (!r->policy_count) return;
    vs_text_add(t, "\nHALF PRECISION (%s, emulated: docs/fp16.md)\n", r->format);
    vs_text_add(t, "  %-22s %9s %13s %9s %9s\n", "policy", "mIoU %", "agreement %", "classes", "SQNR dB");
    for (size_t i = 0; i < r->policy_count; i++) add_policy(t, &r->policies[i]);
    for (size_t i = 0; i < r->policy_count; i++) add_diagnosis(t, &r->policies[i]);
    if (r->weights_inf || r->weights_flushed)
        vs_text_add(t, "  stored weights: %llu overflow, %llu become 0\n", (unsigned long long)r->weights_inf,
                    (unsigned long long)r->weights_flushed);
}
