/* The inside of the diagnosis: what its steps share. */
#ifndef VS_HALF_DIAG_INSIDE_H
#define VS_HALF_DIAG_INSIDE_H

#include "diagnose/half_diag.h"
#include "half/classes.h"

enum { VS_UNIT_NAME = 64, VS_CLASS_SETS = 1 << VS_CLASS_COUNT };

typedef struct vs_diag {
    vs_fp16_policy *policy;
    vs_fp16_diagnosis *out; /* the policy's */
    const vs_diag_options *options;
    const vs_half_rows *graph_rows;
    size_t first_run;            /* of the prober's runs */
    const vs_half_probe *own;    /* the policy's run */
    double sets[VS_CLASS_SETS];  /* SQNR of the output with these classes in float32; -HUGE_VAL: not finite; NAN: not run */
    size_t rows;                 /* vs_half_row_count; the arrays' length */
    vs_half_class *classes;      /* of rows */
    bool *half;                  /* the policy stores the row in half */
    double *healthy;             /* the diagnosis's */
    double *max;                 /* the same, or in the policy's run */
    size_t *units;               /* of half rows: index below; else SIZE_MAX */
    char (*names)[VS_UNIT_NAME]; /* units, in execution order */
    size_t unit_count;
    bool *mask; /* room for the rows of one run */
} vs_diag;

/* The largest finite number of the policy's format. */
double vs_diag_limit(const vs_diag *d);
void vs_diag_row_name(const vs_diag *d, size_t row, char *text, size_t size);
/* Runs that may still be spent. */
size_t vs_diag_left(const vs_diag *d);
/* Classes that have a half row, as bits. */
unsigned vs_diag_classes(const vs_diag *d);
/* SQNR of the output in a run that came to its end; -HUGE_VAL where it is not finite. */
double vs_diag_sqnr(const vs_half_probe *probe);
/* A run with d->mask in float32; `compare`: rows too; largest: as of vs_half_model. */
VS_NODISCARD vs_status vs_diag_run(vs_half_probe *out, const vs_diag *d, bool compare, double largest, vs_error *err);

/* The same to its end, with the task metric and without a comparison of rows; `keep`: as of vs_half_probe_keep. */
VS_NODISCARD vs_status vs_diag_run_task(vs_half_probe *out, const vs_diag *d, bool keep, vs_error *err);

/* ---- half_rule.c ---- */

/* Its row is SIZE_MAX where there is none. */
typedef struct vs_diag_bad {
    size_t row;
    const char *why;
    double value;
} vs_diag_bad;
/* The first row that overflows, else the first with NaN, else by SQNR where the output is below 40 dB. */
VS_NODISCARD vs_status vs_diag_first_bad(vs_diag_bad *bad, const vs_half_rows *rows, const vs_half_probe *probe, vs_error *err);
/* Fills the chain, beginning with `first`. */
VS_NODISCARD vs_status vs_diag_chain(vs_diag *d, vs_diag_bad first, vs_error *err);

/* ---- half_cause.c: the smallest set of classes (bits of *set) and its words ---- */
VS_NODISCARD vs_status vs_diag_cause(vs_diag *d, unsigned *set, vs_error *err);
void vs_diag_words(vs_diag *d, unsigned set);

/* ---- half_keep.c: the list, verified ---- */
VS_NODISCARD vs_status vs_diag_keep(vs_diag *d, unsigned set, vs_error *err);

#endif
