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

void vs_report_fp16(vs_text *t, const vs_fp16_results *r) {
    if (!r->policy_count) return;
    vs_text_add(t, "\nHALF PRECISION (%s, emulated: docs/fp16.md)\n", r->format);
    vs_text_add(t, "  %-22s %9s %13s %9s %9s\n", "policy", "mIoU %", "agreement %", "classes", "SQNR dB");
    for (size_t i = 0; i < r->policy_count; i++) add_policy(t, &r->policies[i]);
    if (r->weights_inf || r->weights_flushed)
        vs_text_add(t, "  stored weights: %llu overflow, %llu become 0\n", (unsigned long long)r->weights_inf,
                    (unsigned long long)r->weights_flushed);
}
