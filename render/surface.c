#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gnuplot.h"
#include "surface_script.h"
#include "svg.h"
#include "util.h"

enum { ZOOM = 2 }; /* pictures have twice the figure's nominal resolution */

typedef struct drawing {
    const vs_surface *surface;
    const vs_render_options *options;
    const char *stem;
    bool missing;
} drawing;

/* On a full disk gnuplot writes half a file and still exits with 0: a whole file ends as its format ends. */
static vs_status check_whole(const char *path, vs_surface_layer layer, vs_error *err) {
    static const char png_end[] = "IEND\xAE\x42\x60\x82", svg_end[] = "</svg>";
    const char *end = layer == VS_LAYER_VECTOR ? svg_end : png_end;
    const size_t length = strlen(end);
    char tail[16] = { 0 };
    FILE *file = fopen(path, "rb");
    const bool read = file && fseek(file, -(long)sizeof tail, SEEK_END) == 0 && fread(tail, 1, sizeof tail, file) == sizeof tail;
    if (file) (void)fclose(file);
    bool whole = false;
    for (size_t i = 0; read && i + length <= sizeof tail; i++) whole = whole || memcmp(tail + i, end, length) == 0;
    return whole ? VS_OK : vs_fail(err, VS_ERR_IO, "%s: gnuplot left it incomplete; is the disk full?", path);
}

/* One layer of the figure into a file. */
static vs_status draw_layer(drawing *d, vs_surface_layer layer, const char *path, vs_error *err) {
    vs_text script = { 0 };
    vs_status status = vs_surface_script(&script, d->surface, layer, ZOOM, path, err);
    if (status == VS_OK) status = vs_gnuplot_run(d->options->gnuplot, script.bytes, script.size, &d->missing, err);
    if (status == VS_OK && !d->missing) status = check_whole(path, layer, err);
    free(script.bytes);
    return status;
}

/* gnuplot writes beside the target, which appears when it is whole. */
static vs_status draw_png(drawing *d, vs_error *err) {
    char *path = vs_format("%s.png", d->stem), *part = vs_format("%s.png.part", d->stem);
    vs_status status = path && part ? draw_layer(d, VS_LAYER_ALL, part, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK && !d->missing && rename(part, path) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: cannot rename into place: %s", path, strerror(errno));
    if (part) unlink(part);
    free(path);
    free(part);
    return status;
}

static vs_status draw_svg(drawing *d, vs_error *err) {
    char *path = vs_format("%s.svg", d->stem), *raster = vs_format("%s.raster.part", d->stem),
         *vector = vs_format("%s.vector.part", d->stem);
    const vs_figure figure = vs_surface_figure(d->surface);
    vs_status status = path && raster && vector ? draw_layer(d, VS_LAYER_RASTER, raster, err)
                                                : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK && !d->missing) status = draw_layer(d, VS_LAYER_VECTOR, vector, err);
    if (status == VS_OK && !d->missing) status = vs_svg_underlay(vector, raster, figure.width, figure.height, path, err);
    if (raster) unlink(raster);
    if (vector) unlink(vector);
    free(path);
    free(raster);
    free(vector);
    return status;
}

/* For a machine that has gnuplot: the script that draws the PNG, data inside. */
static vs_status leave_script(drawing *d, vs_error *err) {
    vs_text script = { 0 };
    const char *slash = strrchr(d->stem, '/');
    char *path = vs_format("%s.gp", d->stem), *png = vs_format("%s.png", slash ? slash + 1 : d->stem);
    vs_status status = path && png ? vs_surface_script(&script, d->surface, VS_LAYER_ALL, ZOOM, png, err)
                                   : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_write_file(path, script.bytes, script.size, err);
    free(script.bytes);
    free(path);
    free(png);
    return status;
}

vs_status vs_surface_draw(const vs_surface *surface, const char *stem, const vs_render_options *options,
                          vs_render_outcome *outcome, vs_error *err) {
    drawing d = { surface, options, stem, false };
    *outcome = VS_RENDERED;
    if (surface->panel_count == 0 || surface->tokens == 0 || surface->channels == 0)
        return vs_fail(err, VS_ERR_SHAPE, "%s: nothing to draw", stem);
    vs_status status = options->png ? draw_png(&d, err) : VS_OK;
    if (status == VS_OK && !d.missing && options->svg) status = draw_svg(&d, err);
    if (status == VS_OK && d.missing) {
        *outcome = VS_RENDER_NO_GNUPLOT;
        status = leave_script(&d, err);
    }
    return status;
}
