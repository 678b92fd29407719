#include <math.h>

#include "render/render.h"

/* Twenty colours that differ in hue and lightness; then the golden angle around the hue circle. */
static const uint8_t fixed[][3] = {
    { 135, 190, 235 }, { 120, 105, 95 },  { 125, 180, 75 }, { 70, 70, 85 },    { 40, 105, 190 },
    { 190, 85, 70 },   { 25, 110, 60 },   { 115, 70, 30 },  { 235, 150, 30 },  { 200, 45, 140 },
    { 250, 225, 70 },  { 120, 80, 170 },  { 60, 190, 175 }, { 235, 130, 150 }, { 160, 160, 40 },
    { 30, 50, 100 },   { 205, 180, 150 }, { 170, 30, 40 },  { 180, 220, 190 }, { 80, 130, 130 },
};

void vs_class_color(size_t index, uint8_t rgb[3]) {
    if (index < sizeof fixed / sizeof *fixed) {
        for (size_t i = 0; i < 3; i++) rgb[i] = fixed[index][i];
        return;
    }
    const double hue = fmod((double)index * 0.61803398875, 1) * 6, value = 0.55 + 0.4 * fmod((double)index * 0.37, 1);
    for (size_t i = 0; i < 3; i++) {
        const double k = fmod(5 - 2 * (double)i + hue, 6), f = fmin(fmin(k, 4 - k), 1);
        rgb[i] = (uint8_t)(255 * value * (1 - 0.6 * fmax(f, 0)));
    }
}

/* Its published anchor colours. */
static const uint8_t heat[][3] = { { 68, 1, 84 },    { 71, 45, 123 }, { 59, 82, 139 },  { 44, 114, 142 }, { 33, 145, 140 },
                                   { 40, 174, 128 }, { 94, 201, 98 }, { 173, 220, 48 }, { 253, 231, 37 } };

void vs_heat_color(double t, uint8_t rgb[3]) {
    const size_t last = sizeof heat / sizeof *heat - 1;
    const double at = (t <= 0 ? 0 : t < 1 ? t : 1) * (double)last; /* NaN: 1 */
    const size_t low = at < (double)last ? (size_t)at : last - 1;
    for (size_t i = 0; i < 3; i++) {
        const double a = heat[low][i], b = heat[low + 1][i];
        rgb[i] = (uint8_t)rint(a + (at - (double)low) * (b - a));
    }
}
