/* bench_surface IN TOKENS CHANNELS PANELS STEM png|svg: draws raw float32 |x| [TOKENS, CHANNELS] in PANELS equal panels and
 * prints the seconds of everything the program does to a captured layer: its maximum, its median, the picture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/render.h"
#include "run/record.h"
#include "util/util.h"

enum { MAX_PANELS = 4 };

static vs_surface_panel describe(const float *values, float *order, size_t count) {
    vs_surface_panel p = { .values = values, .title = "fp32" };
    for (size_t i = 0; i < count; i++)
        if ((double)values[i] > p.max) p.max = (double)values[i];
    memcpy(order, values, count * sizeof *order);
    p.median = vs_median_f32(order, count);
    return p;
}

static vs_status draw(const float *values, char **argv, double *seconds, vs_error *err) {
    const size_t tokens = strtoul(argv[2], NULL, 10), channels = strtoul(argv[3], NULL, 10), count = strtoul(argv[4], NULL, 10);
    const vs_token_mark mark = { 0, "CLS" };
    const vs_render_options options = { .png = strcmp(argv[6], "png") == 0, .svg = strcmp(argv[6], "svg") == 0 };
    vs_render_outcome outcome = VS_RENDERED;
    vs_surface_panel panels[MAX_PANELS];
    float *order = vs_calloc(tokens * channels, sizeof *order);
    if (!order) return vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
    const double start = vs_now();
    for (size_t i = 0; i < count && i < MAX_PANELS; i++) panels[i] = describe(values, order, tokens * channels);
    const vs_surface surface = { .heading = "layer  |output|",
                                 .tokens = tokens,
                                 .channels = channels,
                                 .panels = panels,
                                 .panel_count = count < MAX_PANELS ? count : MAX_PANELS,
                                 .marks = &mark,
                                 .mark_count = 1 };
    vs_status status = vs_surface_draw(&surface, argv[5], &options, &outcome, err);
    *seconds = vs_now() - start;
    free(order);
    return status == VS_OK && outcome == VS_RENDER_NO_GNUPLOT ? vs_fail(err, VS_ERR_NOTFOUND, "gnuplot is not installed")
                                                              : status;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    vs_error err = { 0 };
    char *bytes = NULL;
    size_t size = 0;
    double seconds = 0;
    vs_status status = vs_read_file(argv[1], (size_t)1 << 30, &bytes, &size, &err);
    if (status == VS_OK) status = draw((const float *)(const void *)bytes, argv, &seconds, &err);
    if (status == VS_OK)
        printf("%.6f\n", seconds);
    else
        fprintf(stderr, "%s\n", err.message);
    free(bytes);
    return status == VS_OK ? 0 : 1;
}
