#include "study/layer_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum { NAME = 256 };

static size_t module_names(const vs_model *m, const vs_point *p, const char *names[VS_MAX_PARTS]) {
    const vs_linear l = vs_model_linear(m, vs_graph_linear_of(m->graph, p->node));
    const bool operand = vs_kind_is_operand(p->kind);
    if (!l.out || (operand && (l.source->count < VS_MAX_PARTS || p->kind == VS_KIND_P))) return 0;
    return vs_linear_names(&l, p->kind, names);
}

bool vs_layer_matches(const vs_model *m, const vs_point *p, const char *suffix, const char *pattern) {
    const char *names[VS_MAX_PARTS];
    char text[NAME];
    snprintf(text, sizeof text, "%s%s", p->name, suffix);
    if (vs_glob_match(pattern, text)) return true;
    const size_t count = module_names(m, p, names);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%s%s", names[i], suffix);
        if (vs_glob_match(pattern, text)) return true;
    }
    return false;
}

bool vs_layer_listed(const vs_model *m, const vs_point *p, const vs_string_list *patterns) {
    for (size_t i = 0; i < patterns->count; i++)
        if (vs_layer_matches(m, p, "", patterns->items[i])) return true;
    return false;
}

static bool ends_in(const char *name, const char *end) {
    const size_t n = strlen(name), k = strlen(end);
    return k && k < n && name[n - k - 1] == '.' && strcmp(name + n - k, end) == 0;
}

void vs_layer_suggest(const vs_model *m, const vs_point *const *points, size_t count, const char *pattern, char *text,
                      size_t size) {
    const char **names = vs_calloc((1 + VS_MAX_PARTS) * count + 1, sizeof *names);
    size_t n = 0;
    *text = '\0';
    for (size_t i = 0; names && i < count; i++) {
        names[n++] = points[i]->name;
        n += module_names(m, points[i], &names[n]);
    }
    const char *near = names ? vs_nearest(pattern, names, n) : NULL;
    if (near) snprintf(text, size, "%s", near);
    for (size_t i = 0; i < n && !near && !*text; i++)
        if (ends_in(names[i], pattern)) snprintf(text, size, "*.%s", pattern);
    free(names);
}
