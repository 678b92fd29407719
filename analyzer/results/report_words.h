/* Numbers and lines for people: what the parts of summary.txt share. */
#ifndef VS_REPORT_WORDS_H
#define VS_REPORT_WORDS_H

#include "results/results.h"
#include "util/util.h"

enum { VS_NUMBER = 48 }; /* room for a number */

/* Each writes into text [VS_NUMBER] and returns it. */
const char *vs_words_db(char *text, double v);    /* one digit behind the point, "inf", "-inf" */
const char *vs_words_plain(char *text, double v); /* three significant digits, no exponent where eight columns hold the number */
const char *vs_words_share(char *text, double v); /* percent, rounded down below 100: "100.0" means all */
const char *vs_words_part(char *text, double v);  /* whole percent: "<1", and ">99" where it is not all */
const char *vs_words_ordinal(char *text, size_t n); /* "1st" */

/* Words with a blank before each piece; lines are broken when the text is whole (vs_text_wrap). */
typedef struct vs_flow {
    vs_text *t;
} vs_flow;
vs_flow vs_flow_begin(vs_text *t);
void vs_flow_add(vs_flow *flow, const char *words);
/* An item of a list, kept on one line; `index` from 0. */
void vs_flow_item(vs_flow *flow, const char *item, size_t index);
/* What follows the last word without a space: "." */
void vs_flow_join(vs_flow *flow, const char *mark);

#endif
