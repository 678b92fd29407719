#include "font.h"

#include <ctype.h>
#include <string.h>

/* Seven rows of five dots, the leftmost dot in bit 4. */
typedef struct glyph {
    char letter;
    uint8_t rows[VS_FONT_HEIGHT];
} glyph;

static const glyph glyphs[] = {
    { 'A', { 14, 17, 17, 31, 17, 17, 17 } }, { 'B', { 30, 17, 17, 30, 17, 17, 30 } }, { 'C', { 15, 16, 16, 16, 16, 16, 15 } },
    { 'D', { 30, 17, 17, 17, 17, 17, 30 } }, { 'E', { 31, 16, 16, 30, 16, 16, 31 } }, { 'F', { 31, 16, 16, 30, 16, 16, 16 } },
    { 'G', { 15, 16, 16, 19, 17, 17, 15 } }, { 'H', { 17, 17, 17, 31, 17, 17, 17 } }, { 'I', { 14, 4, 4, 4, 4, 4, 14 } },
    { 'J', { 1, 1, 1, 1, 17, 17, 14 } },     { 'K', { 17, 18, 20, 24, 20, 18, 17 } }, { 'L', { 16, 16, 16, 16, 16, 16, 31 } },
    { 'M', { 17, 27, 21, 21, 17, 17, 17 } }, { 'N', { 17, 25, 25, 21, 19, 19, 17 } }, { 'O', { 14, 17, 17, 17, 17, 17, 14 } },
    { 'P', { 30, 17, 17, 30, 16, 16, 16 } }, { 'Q', { 14, 17, 17, 17, 21, 18, 13 } }, { 'R', { 30, 17, 17, 30, 20, 18, 17 } },
    { 'S', { 15, 16, 16, 14, 1, 1, 30 } },   { 'T', { 31, 4, 4, 4, 4, 4, 4 } },       { 'U', { 17, 17, 17, 17, 17, 17, 14 } },
    { 'V', { 17, 17, 17, 17, 10, 10, 4 } },  { 'W', { 17, 17, 17, 21, 21, 27, 17 } }, { 'X', { 17, 17, 10, 4, 10, 17, 17 } },
    { 'Y', { 17, 17, 10, 4, 4, 4, 4 } },     { 'Z', { 31, 1, 2, 4, 8, 16, 31 } },     { '0', { 14, 17, 19, 21, 25, 17, 14 } },
    { '1', { 4, 12, 4, 4, 4, 4, 14 } },      { '2', { 14, 17, 1, 6, 8, 16, 31 } },    { '3', { 30, 1, 1, 14, 1, 1, 30 } },
    { '4', { 2, 6, 10, 18, 31, 2, 2 } },     { '5', { 31, 16, 30, 1, 1, 17, 14 } },   { '6', { 14, 16, 16, 30, 17, 17, 14 } },
    { '7', { 31, 1, 2, 4, 4, 8, 8 } },       { '8', { 14, 17, 17, 14, 17, 17, 14 } }, { '9', { 14, 17, 17, 15, 1, 1, 14 } },
    { '.', { 0, 0, 0, 0, 0, 12, 12 } },      { ',', { 0, 0, 0, 0, 4, 4, 8 } },        { '-', { 0, 0, 0, 14, 0, 0, 0 } },
    { '_', { 0, 0, 0, 0, 0, 0, 31 } },       { ':', { 0, 4, 4, 0, 4, 4, 0 } },        { '/', { 1, 2, 2, 4, 8, 8, 16 } },
    { '(', { 2, 4, 8, 8, 8, 4, 2 } },        { ')', { 8, 4, 2, 2, 2, 4, 8 } },        { '%', { 25, 25, 2, 4, 8, 19, 19 } },
    { '+', { 0, 4, 4, 31, 4, 4, 0 } },       { '=', { 0, 0, 31, 0, 31, 0, 0 } },      { '#', { 10, 10, 31, 10, 31, 10, 10 } },
};
static const glyph unknown = { '?', { 14, 17, 1, 6, 4, 0, 4 } };

static const glyph *find(char c) {
    const char upper = (char)toupper((unsigned char)c);
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++)
        if (glyphs[i].letter == upper) return &glyphs[i];
    return &unknown;
}

size_t vs_font_width(const char *text, size_t scale) { return strlen(text) * VS_FONT_ADVANCE * scale; }

void vs_font_draw(uint8_t *rgb, size_t width, size_t height, size_t x, size_t y, size_t scale, const uint8_t color[3],
                  const char *text) {
    for (; *text; text++, x += VS_FONT_ADVANCE * scale) {
        if (*text == ' ') continue;
        const glyph *g = find(*text);
        for (size_t dy = 0; dy < VS_FONT_HEIGHT * scale; dy++)
            for (size_t dx = 0; dx < VS_FONT_WIDTH * scale; dx++) {
                const size_t px = x + dx, py = y + dy;
                if (px < width && py < height && (g->rows[dy / scale] >> (VS_FONT_WIDTH - 1 - dx / scale) & 1))
                    memcpy(rgb + 3 * (py * width + px), color, 3);
            }
    }
}
