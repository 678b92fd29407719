#include "json/json_text.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

char *vs_json_text(const json_t *value, size_t flags) {
    const size_t size = value ? json_dumpb(value, NULL, 0, flags) : 0;
    char *text = size ? vs_calloc(size + 1, 1) : NULL;
    if (text && json_dumpb(value, text, size, flags) == size) return text;
    free(text);
    return NULL;
}

static bool is_utf8(const char *text) {
    for (size_t left = strlen(text), size; left; text += size, left -= size)
        if (!(size = vs_utf8_size(text, left))) return false;
    return true;
}

json_t *vs_json_string(const char *text) {
    if (is_utf8(text)) return json_string(text);
    char *plain = vs_strdup(text);
    for (char *p = plain; p && *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    json_t *value = plain ? json_string(plain) : NULL;
    free(plain);
    return value;
}
