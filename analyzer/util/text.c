#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* [abc], [a-z], [!x]: the character after the class, or NULL where the class is not closed. */
static const char *match_class(const char *p, char c, bool *hit) {
    const bool negate = *p == '!' || *p == '^';
    if (negate) p++;
    bool found = false;
    for (bool first = true; *p && (first || *p != ']'); first = false) {
        const char low = *p++;
        char high = low;
        if (p[0] == '-' && p[1] && p[1] != ']') {
            high = p[1];
            p += 2;
        }
        found |= low <= c && c <= high;
    }
    if (*p != ']') return NULL;
    *hit = found != negate;
    return p + 1;
}

/* Glob without braces. Backtracks to the last star only. */
static bool match_plain(const char *p, const char *t) {
    const char *star = NULL, *mark = NULL;
    while (*t) {
        bool hit = false;
        const char *next = p;
        if (*p == '*') {
            star = p++;
            mark = t;
            continue;
        }
        if (*p == '?') {
            hit = true;
            next = p + 1;
        } else if (*p == '[' && (next = match_class(p + 1, *t, &hit)) != NULL) {
        } else {
            hit = *p == *t && *p;
            next = p + 1;
        }
        if (hit) {
            p = next;
            t++;
        } else if (star) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (*p == '*') p++;
    return *p == '\0';
}

enum { MAX_PATTERN = 1024, MAX_EXPANSIONS = 4096 };

/* Expands the first {a,b} and tries each alternative; `budget` bounds hostile nesting. */
static bool match_braces(const char *pattern, const char *text, size_t *budget) {
    if (*budget == 0) return false;
    --*budget;
    const char *open = strchr(pattern, '{');
    if (!open) return match_plain(pattern, text);
    size_t depth = 0;
    const char *close = NULL;
    for (const char *p = open; *p && !close; p++) {
        if (*p == '{')
            depth++;
        else if (*p == '}' && --depth == 0)
            close = p;
    }
    if (!close) return match_plain(pattern, text);
    const char *item = open + 1;
    depth = 0;
    for (const char *p = item; p <= close; p++) {
        if (*p == '{') depth++;
        const bool end = depth == 0 && (*p == ',' || p == close);
        if (*p == '}' && depth) depth--;
        if (!end) continue;
        char expanded[MAX_PATTERN];
        const size_t head = (size_t)(open - pattern), body = (size_t)(p - item), tail = strlen(close + 1);
        if (head + body + tail >= sizeof expanded) return false;
        memcpy(expanded, pattern, head);
        memcpy(expanded + head, item, body);
        memcpy(expanded + head + body, close + 1, tail + 1);
        if (match_braces(expanded, text, budget)) return true;
        item = p + 1;
    }
    return false;
}

bool vs_glob_match(const char *pattern, const char *text) {
    size_t budget = MAX_EXPANSIONS;
    return match_braces(pattern, text, &budget);
}

enum { MAX_EDIT = 128 };

/* Two neighbours that changed places count as one edit: the slip of a fast typist. */
size_t vs_edit_distance(const char *a, const char *b) {
    size_t rows[3][MAX_EDIT + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    const size_t n = strlen(b);
    if (n > MAX_EDIT) return SIZE_MAX;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t *const oldest = before;
        before = above;
        above = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            const size_t change = above[j - 1] + (a[i - 1] != b[j - 1]), drop = above[j] + 1, add = row[j - 1] + 1;
            row[j] = change < drop ? change : drop;
            if (add < row[j]) row[j] = add;
            const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < row[j]) row[j] = before[j - 2] + 1;
        }
    }
    return row[n];
}

enum { LEAST_BEGINNING = 3, LETTERS_AN_EDIT = 3, SHORT = 4 };

/* One edit in three letters may be a slip, and two in a short word; more is another word. */
static bool is_near(size_t distance, size_t a, size_t b) {
    const size_t shorter = a < b ? a : b, share = shorter / LETTERS_AN_EDIT;
    const size_t bound = shorter < SHORT ? 1 : share > 2 ? share : 2;
    return shorter > 1 && distance <= bound && distance < shorter;
}

/* "output" for "out". */
static bool begins_alike(const char *text, const char *name) {
    const size_t a = strlen(text), b = strlen(name), n = a < b ? a : b;
    return n >= LEAST_BEGINNING && strncmp(text, name, n) == 0;
}

/* Dashes in front are no letters of an option's name. */
static const char *letters_of(const char *text) { return text + strspn(text, "-"); }

const char *vs_nearest(const char *text, const char *const *candidates, size_t count) {
    const char *best = NULL, *beginning = NULL, *own = letters_of(text);
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *name = letters_of(candidates[i]);
        const size_t d = vs_edit_distance(own, name);
        if (!beginning && begins_alike(own, name)) beginning = candidates[i];
        if (d >= best_distance || !is_near(d, strlen(own), strlen(name))) continue;
        best_distance = d;
        best = candidates[i];
    }
    return best ? best : beginning;
}

bool vs_has_ending(const char *text, const char *ending) {
    const size_t n = strlen(text), m = strlen(ending);
    if (n < m) return false;
    for (size_t i = 0; i < m; i++)
        if (tolower((unsigned char)text[n - m + i]) != ending[i]) return false;
    return true;
}
