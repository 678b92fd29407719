/* gnuplot as a child process: script in through a pipe, complaints out, exit status checked. No shell. */
#ifndef VS_GNUPLOT_H
#define VS_GNUPLOT_H

#include "render.h"

/* Runs `program` (NULL: gnuplot on PATH) on a script. VS_OK with *missing set when there is no such program;
 * VS_ERR_IO with its complaint when it fails. */
VS_NODISCARD vs_status vs_gnuplot_run(const char *program, const char *script, size_t size, bool *missing, vs_error *err);

/* A growing script. `failed` is set when memory runs out. */
typedef struct vs_script {
    char *bytes;
    size_t size, capacity;
    bool failed;
} vs_script;
void vs_script_add(vs_script *script, const char *format, ...) VS_PRINTF(2, 3);
/* 'text' in gnuplot's single quotes, in which nothing is expanded; control characters become spaces and bytes that are
 * not UTF-8 become '?'. */
void vs_script_quote(vs_script *script, const char *text);
void vs_script_quote_n(vs_script *script, const char *text, size_t size);

#endif
