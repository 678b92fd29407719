#include "task/map_capture.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a map"); }

static uint8_t *copy_of(const uint8_t *from, size_t size) {
    uint8_t *to = vs_calloc(size, 1);
    if (to) memcpy(to, from, size);
    return to;
}

vs_status vs_map_capture_begin(vs_map_capture *m, char *name, const vs_image *image, const uint8_t *labels, size_t states,
                               vs_error *err) {
    const size_t n = image->width * image->height;
    *m = (vs_map_capture){ .name = name,
                           .width = image->width,
                           .height = image->height,
                           .rgb = copy_of(image->pixels, 3 * n),
                           .labels = labels ? copy_of(labels, n) : NULL,
                           .maps = vs_calloc(states, sizeof *m->maps) };
    return m->name && m->rgb && m->maps && (m->labels || !labels) ? VS_OK : no_memory(err);
}

vs_status vs_map_capture_state(vs_map_capture *m, size_t state, const uint16_t *map, vs_error *err) {
    const size_t n = m->width * m->height;
    uint8_t *to = m->maps[state] = vs_calloc(n, 1);
    if (!to) return no_memory(err);
    for (size_t i = 0; i < n; i++) to[i] = map[i] > 254 ? 255 : (uint8_t)map[i];
    return VS_OK;
}

void vs_map_capture_release(vs_map_capture *m, size_t states) {
    for (size_t s = 0; m->maps && s < states; s++) free(m->maps[s]);
    free(m->maps);
    free(m->name);
    free(m->rgb);
    free(m->labels);
    *m = (vs_map_capture){ 0 };
}
