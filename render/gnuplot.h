/* gnuplot as a child process: script in through a pipe, complaints out, exit status checked. No shell. */
#ifndef VS_GNUPLOT_H
#define VS_GNUPLOT_H

#include "render/render.h"
#include "util/util.h"

/* Runs `program` (NULL: gnuplot on PATH) on a script. VS_OK with *missing set when there is no such program;
 * VS_ERR_IO with its complaint when it fails. */
VS_NODISCARD vs_status vs_gnuplot_run(const char *program, const char *script, size_t size, bool *missing, vs_error *err);

/* 'text' in gnuplot's single quotes, in which nothing is expanded; control characters become spaces and bytes that are
 * not UTF-8 become '?'. */
void vs_script_quote(vs_text *script, const char *text);
void vs_script_quote_n(vs_text *script, const char *text, size_t size);
/* A path, byte for byte, in double quotes. */
void vs_script_path(vs_text *script, const char *path);

#endif
