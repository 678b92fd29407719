#include "vit/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static const char *const wrappers[] = { "module",          "_orig_mod",  "_checkpoint_wrapped_module", "_fsdp_wrapped_module",
                                        "_forward_module", "_fpw_module" };

static bool is_wrapper(const char *component, size_t length) {
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        if (strlen(wrappers[i]) == length && memcmp(component, wrappers[i], length) == 0) return true;
    return false;
}

void vs_strip_wrappers(const char *name, char *out) {
    for (const char *p = name; *p;) {
        const size_t n = strcspn(p, "."), with_dot = n + (p[n] == '.');
        if (with_dot == n || !is_wrapper(p, n)) { /* the last component is a tensor's own name */
            memmove(out, p, with_dot);
            out += with_dot;
        }
        p += with_dot;
    }
    *out = '\0';
}

bool vs_begins(const char *name, const char *prefix) { return strncmp(name, prefix, strlen(prefix)) == 0; }

/* A glob of characters and '*' alone, over lengths. */
static bool word_matches(const char *glob, size_t n, const char *word, size_t m) {
    while (n && *glob != '*') {
        if (m == 0 || *glob != *word) return false;
        glob++, word++, n--, m--;
    }
    if (n == 0) return m == 0;
    for (size_t skip = 0; skip <= m; skip++)
        if (word_matches(glob + 1, n - 1, word + skip, m - skip)) return true;
    return false;
}

static bool in_words(const char *words, const char *word, size_t length) {
    for (const char *p = words; *p;) {
        const size_t n = strcspn(p, " ");
        if (word_matches(p, n, word, length)) return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

bool vs_has_component(const char *name, const char *words) {
    for (const char *p = name; *p;) {
        const size_t n = strcspn(p, ".");
        if (in_words(words, p, n)) return true;
        p += n + (p[n] == '.');
    }
    return false;
}

bool vs_first_component(const char *name, const char *words) { return in_words(words, name, strcspn(name, ".")); }

bool vs_last_component(const char *name, const char *words) {
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    return in_words(words, last, strlen(last));
}

static bool is_wrapped(const vs_ledger_row *row) { return strcmp(row->name, row->tensor->name) != 0; }

/* Of equal names the one that needs no stripping comes first, then the file's order counts. */
static int compare(const void *a, const void *b) {
    const vs_ledger_row *x = *(vs_ledger_row *const *)a, *y = *(vs_ledger_row *const *)b;
    const int order = strcmp(x->name, y->name), wrapped = is_wrapped(x) - is_wrapped(y);
    return order ? order : wrapped ? wrapped : x < y ? -1 : x > y;
}

static void sort(vs_ledger *l) { qsort(l->by_name, l->count, sizeof *l->by_name, compare); }

vs_status vs_ledger_make(vs_ledger *l, const vs_tensorfile *file, vs_error *err) {
    size_t bytes = 1;
    *l = (vs_ledger){ .file = file };
    const size_t count = vs_tensorfile_count(file);
    for (size_t i = 0; i < count; i++) bytes += strlen(vs_tensorfile_at(file, i)->name) + 1;
    l->rows = vs_calloc(count + 1, sizeof *l->rows);
    l->by_name = vs_calloc(count + 1, sizeof *l->by_name);
    l->text = vs_calloc(bytes, 1);
    if (!l->rows || !l->by_name || !l->text)
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for %zu tensor names", vs_tensorfile_path(file), count);
    char *text = l->text;
    for (size_t i = 0; i < count; i++) {
        const vs_tensor_entry *t = vs_tensorfile_at(file, i);
        vs_strip_wrappers(t->name, text);
        l->rows[i] = (vs_ledger_row){ .tensor = t, .name = text };
        l->by_name[i] = &l->rows[i];
        text += strlen(text) + 1;
    }
    l->count = count;
    sort(l);
    bool twins = false;
    const char *first = count ? l->by_name[0]->name : "";
    for (size_t i = 1; i < count; i++) {
        vs_ledger_row *row = l->by_name[i];
        if (strcmp(first, row->name) != 0) {
            first = row->name;
            continue;
        }
        twins = true;
        row->name = row->tensor->name;
    }
    if (twins) sort(l);
    return VS_OK;
}

void vs_ledger_release(vs_ledger *l) {
    free(l->rows);
    free(l->by_name);
    free(l->text);
    *l = (vs_ledger){ 0 };
}

size_t vs_ledger_from(const vs_ledger *l, const char *name) {
    size_t low = 0, high = l->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(l->by_name[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

vs_ledger_row *vs_ledger_find(const vs_ledger *l, const char *name) {
    const size_t at = vs_ledger_from(l, name);
    return at < l->count && strcmp(l->by_name[at]->name, name) == 0 ? l->by_name[at] : NULL;
}

const vs_tensor_entry *vs_ledger_tensor(const vs_ledger *l, const char *name) {
    const vs_ledger_row *row = vs_ledger_find(l, name);
    return row ? row->tensor : NULL;
}
