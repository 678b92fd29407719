/* The gnuplot script of a surface figure. */
#ifndef VS_SURFACE_SCRIPT_H
#define VS_SURFACE_SCRIPT_H

#include "render/figure.h"

/* One height scale for all panels of a surface. */
typedef struct vs_scale {
    double low, top;
    bool logarithmic;
} vs_scale;
vs_scale vs_surface_scale(const vs_surface *surface);

vs_figure vs_surface_figure(const vs_surface *surface);

typedef enum vs_surface_layer {
    VS_LAYER_ALL,    /* everything, for PNG */
    VS_LAYER_RASTER, /* surfaces alone, for the picture inside an SVG */
    VS_LAYER_VECTOR  /* axes and text alone, as SVG */
} vs_surface_layer;

/* Appends the script that draws `layer` into `path` at `zoom` times the figure's size. */
VS_NODISCARD vs_status vs_surface_script(vs_text *script, const vs_surface *surface, vs_surface_layer layer, size_t zoom,
                                         const char *path, vs_error *err);

#endif
