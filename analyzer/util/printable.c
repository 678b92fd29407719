/* Text out of files, made harmless for a terminal. */
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static bool is_tail(unsigned char c) { return (c & 0xc0) == 0x80; }

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t vs_utf8_size(const char *text, size_t left) {
    const unsigned char *s = (const unsigned char *)text, c = left ? s[0] : 0x80;
    if (c < 0x80) return 1;
    const size_t size = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (size == 0 || size > left) return 0;
    for (size_t i = 1; i < size; i++)
        if (!is_tail(s[i])) return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
        return 0;
    return size;
}

static bool is_control(const unsigned char *s, size_t size) {
    return size == 1 ? s[0] < 0x20 || s[0] == 0x7f : s[0] == 0xc2 && s[1] < 0xa0;
}

const char *vs_printable(const char *text, char *out, size_t size) {
    static const char digits[] = "0123456789abcdef";
    const size_t length = strlen(text);
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        const unsigned char *s = (const unsigned char *)text + at;
        const size_t whole = vs_utf8_size(text + at, length - at), bytes = whole ? whole : 1;
        const bool shown = whole && !is_control(s, whole);
        const size_t need = shown ? bytes : 4 * bytes;
        if (need >= size - used) break;
        for (size_t i = 0; i < bytes; i++) {
            if (shown) {
                out[used++] = text[at + i];
                continue;
            }
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = digits[s[i] >> 4];
            out[used++] = digits[s[i] & 15];
        }
        at += bytes;
    }
    out[used] = '\0';
    return out;
}

char *vs_printable_copy(const char *text) {
    size_t size = 0;
    if (!vs_size_mul(&size, strlen(text), 4) || !vs_size_add(&size, size, 1)) return NULL;
    char *out = vs_calloc(size, 1);
    if (out) (void)vs_printable(text, out, size);
    return out;
}
