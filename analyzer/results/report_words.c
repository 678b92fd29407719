#include "results/report_words.h"

#include "results/columns.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *vs_words_db(char *text, double v) {
    if (isinf(v))
        snprintf(text, VS_NUMBER, "%s", v > 0 ? "inf" : "-inf");
    else
        snprintf(text, VS_NUMBER, "%.1f", v);
    return text;
}

const char *vs_words_plain(char *text, double v) {
    const double size = fabs(v);
    snprintf(text, VS_NUMBER, size >= 99.95 && size < 1e7 ? "%.0f" : "%.3g", v);
    return text;
}

const char *vs_words_share(char *text, double v) {
    double percent = 100 * v;
    if (percent < 100 && percent > 99.94) percent = 99.9;
    snprintf(text, VS_NUMBER, "%.1f", percent);
    return text;
}

const char *vs_words_part(char *text, double v) {
    if (v > 0 && v < 0.005)
        snprintf(text, VS_NUMBER, "<1");
    else if (v < 1 && v >= 0.995)
        snprintf(text, VS_NUMBER, ">99");
    else
        snprintf(text, VS_NUMBER, "%.0f", 100 * v);
    return text;
}

const char *vs_words_ordinal(char *text, size_t n) {
    static const char *const endings[] = { "th", "st", "nd", "rd" };
    const size_t tens = n % 100, ones = n % 10;
    snprintf(text, VS_NUMBER, "%zu%s", n, ones > 3 || (tens > 10 && tens < 14) ? "th" : endings[ones]);
    return text;
}

vs_flow vs_flow_begin(vs_text *t) {
    vs_text_add(t, " ");
    return (vs_flow){ t };
}

void vs_flow_add(vs_flow *f, const char *words) { vs_text_add(f->t, " %s", words); }

void vs_flow_join(vs_flow *f, const char *mark) { vs_text_add(f->t, "%s", mark); }

void vs_flow_item(vs_flow *f, const char *item, size_t index) {
    vs_text_add(f->t, "%s ", index ? "," : "");
    for (const char *p = item; *p; p++) vs_text_add(f->t, "%c", *p == ' ' ? VS_TIED_BLANK : *p);
}
