#include "vitscope/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"

/* One line that a terminal takes for text, whatever names out of files stand in it. */
static void make_line(char *text, size_t size) {
    char copy[sizeof((vs_error *)0)->message];
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\r' || *p == '\t') *p = ' ';
    snprintf(copy, sizeof copy, "%s", text);
    (void)vs_printable(copy, text, size);
}

void vs_error_set(vs_error *err, vs_status code, const char *format, ...) {
    if (err && err->code == VS_OK) {
        err->code = code;
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        make_line(err->message, sizeof err->message);
    }
}

void vs_error_prefix(vs_error *err, const char *format, ...) {
    if (!err || err->code == VS_OK) return;
    char prefix[sizeof err->message];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    if (n <= 0) return;
    make_line(prefix, sizeof prefix);
    const size_t room = sizeof err->message - 1, add = strlen(prefix);
    size_t keep = strlen(err->message);
    if (keep > room - add) keep = room - add;
    memmove(err->message + add, err->message, keep);
    memcpy(err->message, prefix, add);
    err->message[add + keep] = '\0';
}

const char *vs_status_name(vs_status status) {
    switch (status) {
    case VS_OK: return "ok";
    case VS_ERR_NOMEM: return "out of memory";
    case VS_ERR_IO: return "input or output failed";
    case VS_ERR_FORMAT: return "broken file";
    case VS_ERR_CONFIG: return "wrong configuration";
    case VS_ERR_SHAPE: return "shapes do not fit";
    case VS_ERR_UNSUPPORTED: return "not built yet";
    case VS_ERR_NOTFOUND: return "not found";
    case VS_ERR_BACKEND: return "no such backend here";
    case VS_ERR_INTERRUPTED: return "interrupted";
    case VS_ERR_INTERNAL: return "internal error";
    }
    return "unknown status";
}

int vs_status_exit_code(vs_status status) {
    switch (status) {
    case VS_OK: return 0;
    case VS_ERR_CONFIG: return 2;
    case VS_ERR_NOTFOUND: return 3;
    case VS_ERR_BACKEND: return 4;
    case VS_ERR_INTERRUPTED: return 130;
    default: return 1;
    }
}
