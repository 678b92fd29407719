#include "json/json_text.h"

#include <stdlib.h>

#include "util/util.h"

char *vs_json_text(const json_t *value, size_t flags) {
    const size_t size = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = size ? vs_calloc(size + 1, 1) : NULL;
    if (text && json_dumpb(value, text, size, flags) == size) return text;
    free(text);
    return NULL;
}

json_t *vs_json_string(const char *text) {
    json_t *value = json_string(text);
    char *plain = value ? NULL : vs_strdup(text);
    for (char *p = plain; p && *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    if (plain) value = json_string(plain);
    free(plain);
    return value;
}
