/* The cause by class (fp16.md section 4, item 3). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "half_diag_inside.h"

/* SQNR of the output with the classes of `set` in float32; -HUGE_VAL where it is not finite. */
static vs_status try_set(const vs_diag *d, unsigned set, double *sqnr, vs_error *err) {
    vs_half_probe probe;
    for (size_t i = 0; i < d->rows; i++) d->mask[i] = set >> d->classes[i] & 1u;
    const vs_status status = vs_diag_run(&probe, d, false, 0, err);
    *sqnr = vs_half_probe_reaches(&probe, -HUGE_VAL) ? probe.output.pooled : -HUGE_VAL;
    vs_half_probe_release(&probe);
    return status;
}

static unsigned size_of(unsigned set) {
    unsigned size = 0;
    for (; set; set &= set - 1) size++;
    return size;
}

/* Classes that alone in half miss the target: they are in every set, as more rows in half do not mend what these break. */
static vs_status find_certain(const vs_diag *d, unsigned all, unsigned *certain, vs_error *err) {
    vs_status status = VS_OK;
    *certain = 0;
    for (unsigned c = 0; c < VS_CLASS_COUNT && status == VS_OK; c++) {
        double sqnr = 0;
        if (!(all >> c & 1u)) continue;
        status = try_set(d, all & ~(1u << c), &sqnr, err);
        if (!(sqnr >= d->out->target)) *certain |= 1u << c;
    }
    return status;
}

/* Of the sets of `size` classes of `all` that hold `certain`, the one with the highest SQNR. */
static vs_status best_of_size(const vs_diag *d, unsigned all, unsigned certain, unsigned size, unsigned *best, double *sqnr,
                              vs_error *err) {
    vs_status status = VS_OK;
    *sqnr = -HUGE_VAL;
    for (unsigned set = 0; set <= all && status == VS_OK; set++) {
        double one = 0;
        if ((set & ~all) || (set & certain) != certain || size_of(set) != size) continue;
        status = try_set(d, set, &one, err);
        if (one > *sqnr) {
            *sqnr = one;
            *best = set;
        }
    }
    return status;
}

static unsigned classes_in_half(const vs_diag *d) {
    unsigned all = 0;
    for (size_t i = 0; i < d->rows; i++)
        if (d->half[i]) all |= 1u << d->classes[i];
    return all;
}

vs_status vs_diag_cause(vs_diag *d, unsigned *set, vs_error *err) {
    vs_fp16_diagnosis *o = d->out;
    const unsigned all = classes_in_half(d);
    unsigned certain = 0;
    vs_status status = VS_OK;
    *set = 0;
    o->cause_sqnr = d->policy->finite ? d->policy->sqnr.pooled : -HUGE_VAL;
    if (!(o->cause_sqnr >= o->target)) status = find_certain(d, all, &certain, err);
    for (unsigned size = size_of(certain) ? size_of(certain) : 1;
         status == VS_OK && !(o->cause_sqnr >= o->target) && size <= size_of(all); size++)
        status = best_of_size(d, all, certain, size, set, &o->cause_sqnr, err);
    for (unsigned c = 0; c < VS_CLASS_COUNT; c++)
        if (*set >> c & 1u) o->classes[o->class_count++] = vs_half_class_names[c];
    return status;
}

/* ---- words ---- */

static const char *event(const char *row, vs_half_class is, const char *why) {
    const bool overflow = strcmp(why, "overflow") == 0;
    switch (is) {
    case VS_CLASS_NORM:
        if (strstr(row, ".square"))
            return overflow ? "squares inside LayerNorm overflow" : "squares inside LayerNorm lose precision";
        return overflow ? "LayerNorm overflows" : "LayerNorm loses precision";
    case VS_CLASS_SCORES: return overflow ? "overflow of attention scores" : "attention scores lose precision";
    case VS_CLASS_SOFTMAX: return overflow ? "overflow on the way into softmax" : "softmax loses precision";
    case VS_CLASS_GELU: return overflow ? "overflow of an activation" : "an activation loses precision";
    case VS_CLASS_RESIDUAL: return overflow ? "overflow of the residual stream" : "the residual stream loses precision";
    default: return overflow ? "overflow of a linear layer" : "a linear layer loses precision";
    }
}

static void list_classes(const vs_fp16_diagnosis *o, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < o->class_count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i == 0                    ? ""
                                 : i + 1 == o->class_count ? " and "
                                                           : ", ",
                                 o->classes[i]);
}

void vs_diag_words(vs_diag *d, unsigned set) {
    vs_fp16_diagnosis *o = d->out;
    const vs_fp16_link *first = o->chain;
    char classes[64];
    list_classes(o, classes, sizeof classes);
    if (!o->chain_count && !set)
        snprintf(o->words, sizeof o->words, "nothing goes wrong: rounding alone");
    else if (!o->chain_count)
        snprintf(o->words, sizeof o->words, "rounding piles up, with no row that stands out; restored by %s in float32", classes);
    else {
        const char *what = strcmp(first->why, "nan") == 0 ? "NaN" : event(first->row, vs_half_class_of(first->row), first->why);
        snprintf(o->words, sizeof o->words, "%s at %s%s%s%s", what, first->row,
                 set ? "; restored by " : "; the output survives it", classes, set ? " in float32" : "");
    }
}
