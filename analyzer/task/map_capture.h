/* Class maps of one image under each state, kept for drawing. */
#ifndef VS_MAP_CAPTURE_H
#define VS_MAP_CAPTURE_H

#include "io/image.h"
#include "vitscope/status.h"

typedef struct vs_map_capture {
    char *name;
    size_t width, height;
    uint8_t *rgb, *labels; /* labels may be NULL */
    uint8_t **maps;        /* [states] */
} vs_map_capture;

/* Copies image and labels [height * width] (may be NULL); `name` (NULL: there was no memory for it) is the capture's from then
 * on. Released by the caller after an error, too. */
VS_NODISCARD vs_status vs_map_capture_begin(vs_map_capture *capture, char *name, const vs_image *image, const uint8_t *labels,
                                            size_t states, vs_error *err);
/* Classes above 254 become 255. */
VS_NODISCARD vs_status vs_map_capture_state(vs_map_capture *capture, size_t state, const uint16_t *map, vs_error *err);
void vs_map_capture_release(vs_map_capture *capture, size_t states);

#endif
