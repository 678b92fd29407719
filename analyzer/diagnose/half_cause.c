/* The cause by class (docs/fp16-reference.md 4.3). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diagnose/half_diag_inside.h"

enum { FOR_THE_LIST = VS_DIAG_MOST_RUNS / 2 }; /* runs that are kept back */

/* Runs the set if it has not been. */
static vs_status try_set(vs_diag *d, unsigned set, vs_error *err) {
    vs_half_probe probe;
    if (!isnan(d->sets[set])) return VS_OK;
    for (size_t i = 0; i < d->rows; i++) d->mask[i] = set >> d->classes[i] & 1u;
    const vs_status status = vs_diag_run(&probe, d, false, 0, err);
    if (status == VS_OK) d->sets[set] = vs_diag_sqnr(&probe);
    vs_half_probe_release(&probe);
    return status;
}

static unsigned size_of(unsigned set) {
    unsigned size = 0;
    for (; set; set &= set - 1) size++;
    return size;
}

/* Fewer classes in float32 do not mend what more do not: part of a set that fails fails too. */
static bool is_known_to_fail(const vs_diag *d, unsigned set) {
    for (unsigned other = 0; other < VS_CLASS_SETS; other++)
        if ((set & ~other) == 0 && d->sets[other] < d->out->target) return true;
    return false;
}

/* The smallest set that is known to serve, which the chain has found where its last run does; else all. */
static unsigned smallest_known(const vs_diag *d, unsigned all) {
    unsigned best = all;
    for (unsigned set = 0; set < all; set++)
        if (d->sets[set] >= d->out->target && size_of(set) < size_of(best)) best = set;
    return best;
}

/* Classes that alone in half miss the target: they are in every set. None is outside a set that serves. */
static vs_status find_certain(vs_diag *d, unsigned all, unsigned serves, unsigned *certain, vs_error *err) {
    vs_status status = VS_OK;
    *certain = 0;
    for (unsigned c = 0; c < VS_CLASS_COUNT && status == VS_OK; c++) {
        if (!(serves >> c & 1u)) continue;
        status = try_set(d, all & ~(1u << c), err);
        if (!(d->sets[all & ~(1u << c)] >= d->out->target)) *certain |= 1u << c;
    }
    return status;
}

/* Of the sets of `size` classes of `all` that hold `certain`, the one with the highest SQNR; *best stays where none serves. */
static vs_status best_of_size(vs_diag *d, unsigned all, unsigned certain, unsigned size, unsigned *best, bool *found,
                              vs_error *err) {
    vs_status status = VS_OK;
    for (unsigned set = 0; set <= all && status == VS_OK; set++) {
        if ((set & ~all) || (set & certain) != certain || size_of(set) != size || is_known_to_fail(d, set)) continue;
        if (isnan(d->sets[set]) && vs_diag_left(d) <= FOR_THE_LIST) continue;
        status = try_set(d, set, err);
        if (!(d->sets[set] >= d->out->target) || (*found && !(d->sets[set] > d->sets[*best]))) continue;
        *best = set;
        *found = true;
    }
    return status;
}

vs_status vs_diag_cause(vs_diag *d, unsigned *set, vs_error *err) {
    vs_fp16_diagnosis *o = d->out;
    const unsigned all = vs_diag_classes(d);
    unsigned certain = 0;
    vs_status status = VS_OK;
    *set = 0;
    if (!(d->sets[0] >= o->target)) {
        bool found = false;
        *set = smallest_known(d, all);
        status = find_certain(d, all, *set, &certain, err);
        const unsigned most = size_of(*set);
        for (unsigned size = size_of(certain) ? size_of(certain) : 1; status == VS_OK && !found && size <= most; size++)
            status = best_of_size(d, all, certain, size, set, &found, err);
        if (status == VS_OK) status = try_set(d, *set, err);
    }
    o->cause_sqnr = d->sets[*set];
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
    else if (set && strcmp(first->why, "sqnr") == 0 && !(set >> vs_half_class_of(first->row) & 1u))
        snprintf(o->words, sizeof o->words,
                 "precision is lost by %s; restored by %s in float32 (the first bad row, %s, may stay in half)", classes, classes,
                 first->row);
    else {
        const char *what = strcmp(first->why, "nan") == 0 ? "NaN" : event(first->row, vs_half_class_of(first->row), first->why);
        snprintf(o->words, sizeof o->words, "%s at %s%s%s%s", what, first->row,
                 set ? "; restored by " : "; the output survives it", classes, set ? " in float32" : "");
    }
}
