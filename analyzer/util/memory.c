#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

bool vs_size_mul(size_t *out, size_t a, size_t b) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

bool vs_size_add(size_t *out, size_t a, size_t b) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

void *vs_calloc(size_t count, size_t size) {
    size_t bytes = 0;
    if (!vs_size_mul(&bytes, count, size)) return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

bool vs_grow(void **items, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity) return true;
    size_t wanted = *capacity ? *capacity : 8, bytes = 0;
    while (wanted < need)
        if (!vs_size_mul(&wanted, wanted, 2)) return false;
    if (!vs_size_mul(&bytes, wanted, size)) return false;
    void *grown = realloc(*items, bytes ? bytes : 1);
    if (!grown) return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

char *vs_strdup(const char *text) {
    const size_t n = strlen(text) + 1;
    char *copy = vs_calloc(n, 1);
    if (copy) memcpy(copy, text, n);
    return copy;
}

char *vs_format(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : vs_calloc((size_t)n + 1, 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

void vs_text_add(vs_text *t, const char *format, ...) {
    if (t->failed) return;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, format, args);
    if (n < 0 || !vs_grow((void **)&t->bytes, &t->capacity, t->size + (size_t)n + 1, 1))
        t->failed = true;
    else
        t->size += (size_t)vsnprintf(t->bytes + t->size, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
}
