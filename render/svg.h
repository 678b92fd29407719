/* SVG as text: putting a raster picture under vector axes. */
#ifndef VS_SVG_H
#define VS_SVG_H

#include "render/render.h"

/* Reads the SVG `vector` and the PNG `raster`, and writes `path`: the SVG with the picture, width x height user units,
 * below everything that is drawn. */
VS_NODISCARD vs_status vs_svg_underlay(const char *vector, const char *raster, size_t width, size_t height, const char *path,
                                       vs_error *err);

#endif
