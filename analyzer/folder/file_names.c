/* Names of images as names of files. */
#include <stdlib.h>
#include <string.h>

#include "folder/file_names.h"

enum { LONGEST = 160 };

/* "scene 3" and "a/b.jpg" as scene_3 and a_b.jpg. */
static void plain(const char *name, char text[LONGEST + 1]) {
    const size_t size = strlen(name);
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        const size_t length = vs_utf8_size(name + at, size - at), take = length ? length : 1;
        if (n + take > LONGEST) break;
        const bool bad =
            length == 0 || (length == 1 && ((unsigned char)name[at] < ' ' || name[at] == 127 || strchr(" /\\", name[at])));
        if (bad)
            text[n++] = '_';
        else
            for (size_t i = 0; i < take; i++) text[n++] = name[at + i];
        at += take;
    }
    text[n] = '\0';
    if (text[0] == '.') text[0] = '_'; /* no hidden files */
}

static bool ends_like_a_policy(const char *stem) {
    const char *dot = strrchr(stem, '.');
    return dot && (strcmp(dot, ".fp16") == 0 || strcmp(dot, ".bf16") == 0);
}

static void stem_of(const char *name, char text[LONGEST + 1]) {
    plain(name, text);
    char *dot = strrchr(text, '.');
    if (dot) *dot = '\0';
}

/* The stem alone where no other image has it. */
static bool is_alone(const char *const *names, size_t count, size_t index, const char *stem) {
    char other[LONGEST + 1];
    for (size_t i = 0; i < count; i++) {
        stem_of(names[i], other);
        if (i != index && strcmp(other, stem) == 0) return false;
    }
    return true;
}

vs_status vs_file_names(const char *const *names, size_t count, vs_names *out, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        char text[LONGEST + 1], full[LONGEST + 24];
        stem_of(names[i], text);
        if (ends_like_a_policy(text) || !is_alone(names, count, i, text)) plain(names[i], text);
        snprintf(full, sizeof full, "%s", text);
        for (size_t k = 2; vs_names_have(out, full); k++) snprintf(full, sizeof full, "%s-%zu", text, k);
        status = vs_names_add(out, full, err);
    }
    return status;
}
