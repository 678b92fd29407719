#include "render/figure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ text */

/* Bytes of the first line of at most `letters` characters, broken at a space where there is one. */
static size_t line_length(const char *text, size_t letters) {
    size_t at = 0, count = 0, space = 0;
    while (text[at] && count < letters) {
        if (text[at] == ' ') space = at;
        at++;
        while (((unsigned char)text[at] & 0xC0) == 0x80) at++; /* the rest of a UTF-8 character */
        count++;
    }
    return !text[at] || text[at] == ' ' || space == 0 ? at : space;
}

size_t vs_caption_lines(const char *text, size_t letters) {
    size_t lines = 0;
    for (; text && *text; lines++) {
        text += line_length(text, letters);
        text += *text == ' ';
    }
    return lines;
}

static void place(vs_text *o, vs_figure f, double x, double y, vs_align align, int size, const char *color) {
    static const char *const words[] = { "left", "center", "right" };
    vs_text_add(o, " at screen %.5f,%.5f %s font ',%d' tc rgb '%s'\n", x / (double)f.width, 1 - y / (double)f.height,
                words[align], size, color);
}

void vs_script_label(vs_text *o, vs_figure figure, const char *text, double x, double y, vs_align align, int size,
                     const char *color) {
    vs_text_add(o, "set label ");
    vs_script_quote(o, text);
    place(o, figure, x, y, align, size, color);
}

int vs_heading_size(vs_figure figure, const char *text, int largest) {
    enum { SMALLEST = 7 };
    const double fitting =
        ((double)figure.width - 20) / (0.72 * ((double)strlen(text) + 1)); /* a letter is 0.7 of its size wide */
    return (int)fmin(fmax(fitting, SMALLEST), largest);
}

void vs_script_heading(vs_text *o, vs_figure figure, const char *text) {
    const int size = vs_heading_size(figure, text, 14);
    vs_script_label(o, figure, text, (double)figure.width / 2, 22, VS_ALIGN_CENTER, size, "#101010");
}

void vs_script_caption(vs_text *o, vs_figure figure, const char *text, size_t letters, double y) {
    for (; text && *text; y += VS_CAPTION_LINE) {
        const size_t n = line_length(text, letters);
        vs_text_add(o, "set label ");
        vs_script_quote_n(o, text, n);
        place(o, figure, (double)figure.width / 2, y, VS_ALIGN_CENTER, 10, "#404040");
        text += n;
        text += *text == ' ';
    }
}

/* ------------------------------------------------------------------ ticks, terminals */

size_t vs_tick_step(size_t n) {
    static const size_t nice[] = { 1, 2, 5 };
    for (size_t decade = 1;; decade *= 10)
        for (size_t i = 0; i < 3; i++)
            if (n / (nice[i] * decade) <= 5) return nice[i] * decade;
}

double vs_round_step(double top) {
    const double decade = pow(10, floor(log10(top / 5)));
    return top / 5 <= 2 * decade ? 2 * decade : top / 5 <= 5 * decade ? 5 * decade : 10 * decade;
}

void vs_script_decades(vs_text *o, double low, double top, bool named) {
    const int first = (int)ceil(log10(low) - 1e-9), last = (int)floor(log10(top) + 1e-9);
    const int step = 1 + (last - first) / 8;
    const bool powers = first < -4 || last > 5; /* one notation an axis */
    static const double times[] = { 1, 2, 5 };
    const bool few = last - first < 2; /* two and five times them as well */
    const char *comma = "";
    vs_text_add(o, "(");
    for (int e = few ? first - 1 : first; e <= last; e += step)
        for (size_t i = 0; i < (few ? sizeof times / sizeof *times : 1); i++) {
            const double v = times[i] * pow(10, e);
            if (v < low * (1 - 1e-9) || v > top * (1 + 1e-9)) continue;
            vs_text_add(o, "%s", comma);
            comma = ", ";
            if (!named)
                vs_text_add(o, "'' %.17g", v);
            else
                vs_text_add(o, powers ? "'%.0e' %.17g" : "'%g' %.17g", v, v);
        }
    vs_text_add(o, ")");
}

void vs_script_terminal(vs_text *o, vs_figure figure, bool svg, const char *path) {
    const size_t zoom = VS_FIGURE_ZOOM;
    if (svg)
        vs_text_add(o, "set terminal svg size %zu,%zu font 'sans-serif,11' fontscale 1.2 noenhanced background 'white'\n",
                    figure.width, figure.height);
    else
        vs_text_add(
            o,
            "set terminal pngcairo size %zu,%zu font 'sans-serif,11' fontscale %zu linewidth %zu pointscale %zu dashlength %zu "
            "noenhanced background 'white'\n",
            figure.width * zoom, figure.height * zoom, zoom, zoom, zoom, zoom);
    vs_text_add(o, "set output ");
    vs_script_path(o, path);
    vs_text_add(o, "\nset encoding utf8\nunset key\n");
}

/* ------------------------------------------------------------------ files */

vs_status vs_figure_check_whole(const char *path, bool svg, vs_error *err) {
    static const char png_end[] = "IEND\xAE\x42\x60\x82", svg_end[] = "</svg>";
    const char *end = svg ? svg_end : png_end;
    const size_t length = strlen(end);
    char tail[16] = { 0 };
    FILE *file = fopen(path, "rb");
    const bool read = file && fseek(file, -(long)sizeof tail, SEEK_END) == 0 && fread(tail, 1, sizeof tail, file) == sizeof tail;
    if (file) (void)fclose(file);
    bool whole = false;
    for (size_t i = 0; read && i + length <= sizeof tail; i++) whole = whole || memcmp(tail + i, end, length) == 0;
    return whole ? VS_OK : vs_fail(err, VS_ERR_IO, "%s: gnuplot left it incomplete; is the disk full?", path);
}

vs_status vs_figure_file(vs_script_fn make, const void *what, const char *stem, bool svg, const char *gnuplot, bool *missing,
                         vs_error *err) {
    char *path = vs_format("%s.%s", stem, svg ? "svg" : "png"), *part = vs_format("%s.%s.part", stem, svg ? "svg" : "png");
    vs_text script = { 0 };
    vs_status status = path && part ? make(&script, what, svg, part, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_gnuplot_run(gnuplot, script.bytes, script.size, missing, err);
    if (status == VS_OK && !*missing) status = vs_figure_check_whole(part, svg, err);
    if (status == VS_OK && !*missing && rename(part, path) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: cannot rename into place: %s", path, strerror(errno));
    if (part) unlink(part);
    free(script.bytes);
    free(path);
    free(part);
    return status;
}

vs_status vs_figure_leave_script(vs_script_fn make, const void *what, const char *stem, vs_error *err) {
    vs_text script = { 0 };
    const char *slash = strrchr(stem, '/');
    char *path = vs_format("%s.gp", stem), *png = vs_format("%s.png", slash ? slash + 1 : stem);
    vs_status status = path && png ? make(&script, what, false, png, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_write_file(path, script.bytes, script.size, err);
    free(script.bytes);
    free(path);
    free(png);
    return status;
}

vs_status vs_figure_draw(vs_script_fn make, const void *what, const char *stem, const vs_render_options *options,
                         vs_render_outcome *outcome, vs_error *err) {
    bool missing = false;
    *outcome = VS_RENDERED;
    vs_status status = options->png ? vs_figure_file(make, what, stem, false, options->gnuplot, &missing, err) : VS_OK;
    if (status == VS_OK && !missing && options->svg)
        status = vs_figure_file(make, what, stem, true, options->gnuplot, &missing, err);
    if (status == VS_OK && missing) {
        *outcome = VS_RENDER_NO_GNUPLOT;
        status = vs_figure_leave_script(make, what, stem, err);
    }
    return status;
}
