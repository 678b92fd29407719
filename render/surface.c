#include <stdlib.h>
#include <unistd.h>

#include "render/surface_script.h"
#include "render/svg.h"
#include "util/util.h"

typedef struct drawing {
    const vs_surface *surface;
    const vs_render_options *options;
    const char *stem;
    bool missing;
} drawing;

/* One layer of the figure into a file. */
static vs_status draw_layer(drawing *d, vs_surface_layer layer, const char *path, vs_error *err) {
    vs_text script = { 0 };
    vs_status status = vs_surface_script(&script, d->surface, layer, VS_FIGURE_ZOOM, path, err);
    if (status == VS_OK) status = vs_gnuplot_run(d->options->gnuplot, script.bytes, script.size, &d->missing, err);
    if (status == VS_OK && !d->missing) status = vs_figure_check_whole(path, layer == VS_LAYER_VECTOR, err);
    free(script.bytes);
    return status;
}

static vs_status whole_script(vs_text *script, const void *surface, bool svg, const char *path, vs_error *err) {
    (void)svg; /* an SVG is made of two layers */
    return vs_surface_script(script, surface, VS_LAYER_ALL, VS_FIGURE_ZOOM, path, err);
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

vs_status vs_surface_draw(const vs_surface *surface, const char *stem, const vs_render_options *options,
                          vs_render_outcome *outcome, vs_error *err) {
    drawing d = { surface, options, stem, false };
    *outcome = VS_RENDERED;
    if (surface->panel_count == 0 || surface->tokens == 0 || surface->channels == 0)
        return vs_fail(err, VS_ERR_SHAPE, "%s: nothing to draw", stem);
    vs_status status =
        options->png ? vs_figure_file(whole_script, surface, stem, false, options->gnuplot, &d.missing, err) : VS_OK;
    if (status == VS_OK && !d.missing && options->svg) status = draw_svg(&d, err);
    if (status == VS_OK && d.missing) {
        *outcome = VS_RENDER_NO_GNUPLOT;
        status = vs_figure_leave_script(whole_script, surface, stem, err);
    }
    return status;
}
