/* What the reports share. */
#ifndef VS_REPORT_H
#define VS_REPORT_H

#include "results/answer.h"
#include "results/results.h"
#include "util/util.h"

/* The number of digits that numbers have in files. */
int vs_report_digits(const vs_results *results);
/* A number as files spell it: "inf", "-inf", "" for NaN, else `digits` significant digits. */
void vs_report_number(char *text, size_t size, double value, int digits);
/* Writes bytes to dir/name atomically. */
VS_NODISCARD vs_status vs_report_write(const char *dir, const char *name, const char *bytes, size_t size, vs_error *err);

/* Of summary.txt, whose lines are broken when it is whole: the sentences under ANSWER, and WHAT HAPPENS THERE (nothing where it
 * was not looked at). */
void vs_report_answer(vs_text *text, const vs_results *results, const vs_answer *answer);
void vs_report_mechanism(vs_text *text, const vs_results *results, const vs_answer *answer);
/* The same, nothing without a half-precision diagnosis: sentences under the answer, and the table of policies. */
void vs_report_fp16_answer(vs_text *text, const vs_results *results);
void vs_report_fp16_policies(vs_text *text, const vs_results *results, size_t width);

#endif
