/* The program's windows and class maps for scripts. stdin: uint32 classes, width, height, short, long, crop, stride (crop 0:
 * whole), patch; stdout: uint32 scaled width, scaled height, number of windows, and x y width height of each. Then stdin: float64
 * logits [h*w, classes] of each window's padded grid; stdout: float64 [scaled height, scaled width, classes], uint16 [height,
 * width]. */
#include <stdlib.h>

#include "task/slide.h"
#include "util/util.h"

enum { MAX_WINDOWS = 256 };

typedef struct job {
    size_t classes, patch, count;
    vs_image_size size;
    vs_window windows[MAX_WINDOWS];
    vs_window_logits logits[MAX_WINDOWS];
} job;

static size_t grid(size_t side, size_t patch) { return (side + patch - 1) / patch; }

static bool read_job(job *j, vs_error *err) {
    uint32_t head[8];
    if (fread(head, sizeof *head, 8, stdin) != 8) return false;
    vs_preprocess_config p = { .mmseg = { .set = true,
                                          .short_side = head[3],
                                          .long_side = head[4],
                                          .mode = head[5] ? VS_TEST_SLIDE : VS_TEST_WHOLE,
                                          .crop = head[5],
                                          .stride = head[6] } };
    *j = (job){ .classes = head[0], .patch = head[7], .size = { head[1], head[2], 0, 0 } };
    if (vs_image_keep_ratio(head[1], head[2], head[4], head[3], &j->size.scaled_width, &j->size.scaled_height, err) != VS_OK)
        return false;
    j->count = vs_windows_of(&p, j->size, 0, j->windows, MAX_WINDOWS);
    return j->count <= MAX_WINDOWS;
}

static void tell_windows(const job *j) {
    const uint32_t head[3] = { (uint32_t)j->size.scaled_width, (uint32_t)j->size.scaled_height, (uint32_t)j->count };
    fwrite(head, sizeof *head, 3, stdout);
    for (size_t i = 0; i < j->count; i++) {
        const vs_window *w = &j->windows[i];
        const uint32_t place[4] = { (uint32_t)w->x, (uint32_t)w->y, (uint32_t)w->width, (uint32_t)w->height };
        fwrite(place, sizeof *place, 4, stdout);
    }
    fflush(stdout);
}

static bool read_logits(job *j) {
    for (size_t i = 0; i < j->count; i++) {
        const size_t h = grid(j->windows[i].height, j->patch), w = grid(j->windows[i].width, j->patch), n = h * w * j->classes;
        double *values = vs_calloc(n, sizeof *values);
        j->logits[i] = (vs_window_logits){ .window = j->windows[i], .logits = values, .scalar = VS_SCALAR_F64, .h = h, .w = w };
        if (!values || fread(values, sizeof *values, n, stdin) != n) return false;
    }
    return true;
}

static bool answer(const job *j, vs_error *err) {
    const size_t row = j->size.scaled_width * j->classes, pixels = j->size.width * j->size.height;
    double *out = vs_calloc(2 * row + 4096 * j->classes, sizeof *out);
    uint16_t *map = vs_calloc(pixels, sizeof *map);
    bool good = out && map;
    for (size_t y = 0; good && y < j->size.scaled_height; y++) {
        vs_slide_row(j->logits, j->count, j->classes, j->size.scaled_width, y, out + row, out);
        good = fwrite(out, sizeof *out, row, stdout) == row;
    }
    if (good) good = vs_slide_map(j->logits, j->count, j->classes, j->size, 1, map, err) == VS_OK;
    if (good) good = fwrite(map, sizeof *map, pixels, stdout) == pixels;
    fflush(stdout);
    free(out);
    free(map);
    return good;
}

int main(void) {
    vs_error err = { 0 };
    static job j;
    while (read_job(&j, &err)) {
        tell_windows(&j);
        const bool good = read_logits(&j) && answer(&j, &err);
        for (size_t i = 0; i < j.count; i++) {
            union {
                const void *in;
                void *out;
            } values = { j.logits[i].logits };
            free(values.out);
        }
        if (!good) break;
    }
    if (err.message[0]) fprintf(stderr, "vs_slide: %s\n", err.message);
    return feof(stdin) && !err.message[0] ? 0 : 1;
}
