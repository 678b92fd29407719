/* Deterministic procedural street-and-landscape scenes with pixel labels. Any change here changes every published
 * figure of the demo: tests hold the bytes to SHA-256 sums. */
#include "images/scenes.h"

#include <math.h>
#include <stdlib.h>

#include "util/util.h"

enum { SKY, MOUNTAIN, GRASS, ROAD, WATER, BUILDING, FOLIAGE, TRUNK, CAR, PERSON, SUN };

typedef struct {
    uint64_t s;
} rng;
static uint64_t next(rng *r) { /* splitmix64 */
    uint64_t z = (r->s += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}
static float uni(rng *r, float a, float b) { return a + (b - a) * (float)(next(r) >> 40) / 16777216.0f; }
static int pick(rng *r, int n) { return (int)(next(r) % (uint64_t)n); }

static float hash2(int x, int y, uint32_t s) {
    uint32_t h = (uint32_t)x * 374761393u + (uint32_t)y * 668265263u + s * 2246822519u;
    h = (h ^ (h >> 13)) * 1274126177u;
    return (float)((h ^ (h >> 16)) & 0xffffff) / 16777216.0f;
}
static float value_noise(float x, float y, uint32_t s) {
    int ix = (int)floorf(x), iy = (int)floorf(y);
    float fx = x - (float)ix, fy = y - (float)iy;
    fx = fx * fx * (3 - 2 * fx);
    fy = fy * fy * (3 - 2 * fy);
    float a = hash2(ix, iy, s), b = hash2(ix + 1, iy, s), c = hash2(ix, iy + 1, s), d = hash2(ix + 1, iy + 1, s);
    return (a + (b - a) * fx) * (1 - fy) + (c + (d - c) * fx) * fy;
}
static float fbm(float x, float y, uint32_t s) {
    return 0.55f * value_noise(x, y, s) + 0.3f * value_noise(2.1f * x, 2.1f * y, s + 1) +
           0.15f * value_noise(4.3f * x, 4.3f * y, s + 2);
}

typedef struct {
    float r, g, b;
} color;
typedef struct {
    int n;
    float *px;
    uint8_t *lb;
} canvas; /* px: n*n*3 in [0,1] */
static color jitter(rng *r, color c, float k) {
    c.r += uni(r, -k, k);
    c.g += uni(r, -k, k);
    c.b += uni(r, -k, k);
    return c;
}
/* Numbers are drawn one a statement: compilers differ in the order of a call's arguments, and the scenes would, too. */
static color any_color(rng *r) {
    color c;
    c.r = uni(r, 0.1f, 0.9f);
    c.g = uni(r, 0.1f, 0.9f);
    c.b = uni(r, 0.1f, 0.9f);
    return c;
}
/* paints pixel (x, y) with colour c, textured by a noise of amplitude amp and frequency f */
static void dot(canvas *v, int x, int y, color c, int cls, float amp, float f, uint32_t s) {
    if (x < 0 || y < 0 || x >= v->n || y >= v->n) return;
    float t = 1 + amp * (fbm((float)x * f, (float)y * f, s) - 0.5f) * 2;
    float *p = v->px + 3 * (y * v->n + x);
    p[0] = c.r * t;
    p[1] = c.g * t;
    p[2] = c.b * t;
    v->lb[y * v->n + x] = (uint8_t)cls;
}
static void rect(canvas *v, float x0, float y0, float x1, float y1, color c, int cls, float amp, float f, uint32_t s) {
    for (int y = (int)y0; y < (int)y1; y++)
        for (int x = (int)x0; x < (int)x1; x++) dot(v, x, y, c, cls, amp, f, s);
}
static void blob(canvas *v, float cx, float cy, float rx, float ry, float rough, color c, int cls, float amp, float f,
                 uint32_t s) {
    for (int y = (int)(cy - 1.4f * ry); y <= (int)(cy + 1.4f * ry); y++)
        for (int x = (int)(cx - 1.4f * rx); x <= (int)(cx + 1.4f * rx); x++) {
            float dx = ((float)x - cx) / rx, dy = ((float)y - cy) / ry, a = atan2f(dy, dx);
            float edge = 1 + rough * (fbm(3 * cosf(a) + 10, 3 * sinf(a) + 10, s + 7) - 0.5f) * 2;
            if (dx * dx + dy * dy < edge * edge) dot(v, x, y, c, cls, amp, f, s);
        }
}

static void paint(canvas *v, uint64_t seed, uint64_t index) {
    rng r = { seed };
    r.s = next(&r) ^ (index + 1) * 0xD1342543DE82EF95ull;
    r.s = next(&r); /* streams of neighbouring scenes must not overlap */
    int n = v->n;
    float N = (float)n;
    uint32_t s = (uint32_t)next(&r);
    float dusk = uni(&r, 0, 1), light = uni(&r, 0.55f, 1.15f);
    float horizon = N * uni(&r, 0.35f, 0.65f);
    color top = jitter(&r, (color){ 0.25f + 0.3f * dusk, 0.45f, 0.85f - 0.35f * dusk }, 0.12f);
    color low = jitter(&r, (color){ 0.75f + 0.2f * dusk, 0.8f - 0.2f * dusk, 0.9f - 0.4f * dusk }, 0.1f);
    for (int y = 0; y < n; y++) {
        float t = fminf(1, (float)y / horizon);
        color c = { top.r + (low.r - top.r) * t, top.g + (low.g - top.g) * t, top.b + (low.b - top.b) * t };
        for (int x = 0; x < n; x++) {
            float cl = fmaxf(0, fbm((float)x * 5 / N, (float)y * 9 / N, s) - 0.5f) * 1.6f;
            color k = { c.r + cl, c.g + cl, c.b + cl };
            dot(v, x, y, k, SKY, 0.02f, 0.3f, s);
        }
    }
    if (pick(&r, 3)) {
        float sr = N * uni(&r, 0.03f, 0.07f);
        const color c = jitter(&r, (color){ 1, 0.9f, 0.6f }, 0.1f);
        const float y = horizon * uni(&r, 0.1f, 0.7f), x = N * uni(&r, 0.1f, 0.9f);
        blob(v, x, y, sr, sr, 0, c, SUN, 0.02f, 0.2f, s);
    }
    if (pick(&r, 3)) { /* ridge line */
        color c = jitter(&r, (color){ 0.4f, 0.4f, 0.45f }, 0.12f);
        float h = N * uni(&r, 0.08f, 0.3f), f = uni(&r, 1.5f, 4);
        for (int x = 0; x < n; x++) {
            float y0 = horizon - h * fbm((float)x * f / N + 3, 0.5f, s + 20) * 1.4f;
            for (int y = (int)y0; y < (int)horizon; y++) dot(v, x, y, c, MOUNTAIN, 0.3f, 0.12f, s + 21);
        }
    }
    { /* ground: grass, or water in front */
        color g = jitter(&r, (color){ 0.3f, 0.5f, 0.2f }, 0.12f);
        rect(v, 0, horizon, N, N, g, GRASS, 0.35f, 0.35f, s + 30);
        if (pick(&r, 3) == 0) {
            color w = jitter(&r, (color){ 0.2f, 0.4f, 0.6f }, 0.12f);
            float a = horizon + uni(&r, 0, 0.1f) * N, b = a + N * uni(&r, 0.1f, 0.3f);
            for (int y = (int)a; y < (int)b; y++)
                for (int x = 0; x < n; x++) dot(v, x, y, w, WATER, 0.25f, 0.06f + 0.3f * (float)((y / 2) % 2), s + 31);
        }
    }
    float vx = N * uni(&r, 0.3f, 0.7f);
    int road = pick(&r, 4) != 0;
    float wid = N * uni(&r, 0.25f, 0.6f), shift = N * uni(&r, -0.3f, 0.3f);
    if (road) { /* perspective road with lane marks */
        color c = jitter(&r, (color){ 0.35f, 0.35f, 0.37f }, 0.1f);
        for (int y = (int)horizon; y < n; y++) {
            float t = ((float)y - horizon) / (N - horizon), cx = vx + shift * t, hw = 2 + wid * t;
            for (int x = (int)(cx - hw); x < (int)(cx + hw); x++) {
                int mark = fabsf((float)x - cx) < 0.5f + 2.5f * t && ((int)(18 * t * t) & 1);
                dot(v, x, y, mark ? (color){ 0.9f, 0.9f, 0.85f } : c, ROAD, 0.12f, 0.5f, s + 40);
            }
        }
    }
    int nb = pick(&r, 5);
    for (int i = 0; i < nb; i++) {
        float w = N * uni(&r, 0.1f, 0.28f), h = N * uni(&r, 0.15f, 0.5f), x0 = uni(&r, -0.1f, 0.95f) * N,
              base = horizon + N * uni(&r, 0.0f, 0.06f);
        static const color walls[5] = {
            { 0.6f, 0.35f, 0.28f }, { 0.7f, 0.65f, 0.55f }, { 0.5f, 0.52f, 0.56f }, { 0.8f, 0.78f, 0.72f }, { 0.35f, 0.4f, 0.5f }
        };
        color c = jitter(&r, walls[pick(&r, 5)], 0.08f),
              g = jitter(&r, pick(&r, 2) ? (color){ 0.9f, 0.85f, 0.5f } : (color){ 0.2f, 0.28f, 0.38f }, 0.08f);
        rect(v, x0, base - h, x0 + w, base, c, BUILDING, 0.15f, 0.4f, s + 50 + (uint32_t)i);
        float step = N * uni(&r, 0.035f, 0.06f), fill = uni(&r, 0.45f, 0.65f);
        for (float wy = base - h + step * 0.4f; wy + step < base; wy += step)
            for (float wx = x0 + step * 0.3f; wx + step * fill < x0 + w; wx += step)
                rect(v, wx, wy, wx + step * fill, wy + step * fill, g, BUILDING, 0.1f, 0.3f, s + 60);
    }
    int nt = pick(&r, 6);
    for (int i = 0; i < nt; i++) {
        float d = uni(&r, 0, 1), base = horizon + (N - horizon) * d * 0.6f, k = 0.35f + 0.8f * d, x = uni(&r, 0, 1) * N,
              h = N * 0.22f * k;
        rect(v, x - 0.018f * N * k, base - h, x + 0.018f * N * k + 1, base, jitter(&r, (color){ 0.35f, 0.25f, 0.17f }, 0.06f),
             TRUNK, 0.3f, 0.8f, s + 70);
        const color leaves = jitter(&r, (color){ 0.2f, 0.42f, 0.15f }, 0.1f);
        const float rx = N * 0.09f * k * uni(&r, 0.7f, 1.3f);
        blob(v, x, base - h, rx, N * 0.12f * k, 0.45f, leaves, FOLIAGE, 0.5f, 0.3f, s + 71 + (uint32_t)i);
    }
    int nc = road ? pick(&r, 4) : 0;
    for (int i = 0; i < nc; i++) {
        float t = uni(&r, 0.15f, 0.9f), y = horizon + (N - horizon) * t, cx = vx + shift * t + wid * t * uni(&r, -0.7f, 0.7f),
              w = N * 0.16f * (0.25f + t), h = w * 0.38f;
        color c = jitter(&r, any_color(&r), 0.02f);
        rect(v, cx - w / 2, y - h, cx + w / 2, y, c, CAR, 0.08f, 0.3f, s + 80);
        rect(v, cx - w * 0.28f, y - 1.7f * h, cx + w * 0.28f, y - h,
             (color){ c.r * 0.6f + 0.1f, c.g * 0.6f + 0.12f, c.b * 0.6f + 0.15f }, CAR, 0.08f, 0.3f, s + 81);
        for (int e = -1; e <= 1; e += 2)
            blob(v, cx + (float)e * w * 0.3f, y, w * 0.11f, w * 0.11f, 0, (color){ 0.08f, 0.08f, 0.09f }, CAR, 0.05f, 0.3f, s);
    }
    int np = pick(&r, 5);
    for (int i = 0; i < np; i++) {
        float t = uni(&r, 0.1f, 0.9f), y = horizon + (N - horizon) * t, x = uni(&r, 0, 1) * N, h = N * 0.16f * (0.3f + t);
        color c = any_color(&r);
        rect(v, x - h * 0.12f, y - h * 0.45f, x + h * 0.12f, y, (color){ c.r * 0.4f, c.g * 0.4f, c.b * 0.5f }, PERSON, 0.1f, 0.4f,
             s + 90);
        blob(v, x, y - h * 0.6f, h * 0.17f, h * 0.26f, 0.1f, c, PERSON, 0.15f, 0.4f, s + 91);
        blob(v, x, y - h * 0.93f, h * 0.1f, h * 0.1f, 0, jitter(&r, (color){ 0.8f, 0.62f, 0.5f }, 0.15f), PERSON, 0.05f, 0.3f, s);
    }
    float vig = uni(&r, 0, 0.35f), noise = uni(&r, 0.005f, 0.05f), haze = uni(&r, 0, 0.25f);
    for (int y = 0; y < n; y++)
        for (int x = 0; x < n; x++) {
            float dx = (float)x / N - 0.5f, dy = (float)y / N - 0.5f, k = light * (1 - vig * 2 * (dx * dx + dy * dy));
            float hz = haze * expf(-fabsf((float)y - horizon) / (0.25f * N));
            for (int c = 0; c < 3; c++) {
                float *p = v->px + 3 * (y * n + x) + c;
                *p = *p * k * (1 - hz) + 0.75f * hz + noise * (uni(&r, -1, 1) + uni(&r, -1, 1));
            }
        }
}

const char *const vs_scene_class_names[VS_SCENE_CLASSES] = { "sky",     "mountain", "grass", "road",   "water", "building",
                                                             "foliage", "trunk",    "car",   "person", "sun" };

vs_status vs_scene_render(uint64_t seed, uint64_t index, size_t size, uint8_t *rgb, uint8_t *labels, vs_error *err) {
    if (size < VS_SCENE_MIN_SIZE || size > VS_SCENE_MAX_SIZE)
        return vs_fail(err, VS_ERR_CONFIG, "a scene of %zu pixels: the side must be %d to %d", size, VS_SCENE_MIN_SIZE,
                       VS_SCENE_MAX_SIZE);
    const size_t pixels = size * size;
    uint8_t *own = labels ? NULL : vs_calloc(pixels, 1);
    canvas v = { (int)size, vs_calloc(pixels * 3, sizeof(float)), labels ? labels : own };
    vs_status status = v.px && v.lb ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a scene of %zux%zu", size, size);
    if (status == VS_OK) {
        paint(&v, seed, index);
        for (size_t k = 0; k < pixels * 3; k++) {
            const float t = v.px[k];
            rgb[k] = (uint8_t)(t <= 0 ? 0 : t >= 1 ? 255 : t * 255 + 0.5f);
        }
    }
    free(own);
    free(v.px);
    return status;
}
