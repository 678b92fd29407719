/* A bitmap alphabet of printable ASCII for captions in rasters: capitals of 5 x 7 dots, two more rows for tails.
 * Other bytes are shown as "?". */
#ifndef VS_FONT_H
#define VS_FONT_H

#include <stddef.h>
#include <stdint.h>

enum { VS_FONT_WIDTH = 5, VS_FONT_HEIGHT = 9, VS_FONT_ADVANCE = 6 };

/* Draws text with its top left at (x, y), each dot `scale` pixels, clipped to width x height of an RGB image. */
void vs_font_draw(uint8_t *rgb, size_t width, size_t height, size_t x, size_t y, size_t scale, const uint8_t color[3],
                  const char *text);
size_t vs_font_width(const char *text, size_t scale);

#endif
