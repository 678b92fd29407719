/* The size of an image without its pixels: PNG's first chunk, or the frame header among a JPEG's segments. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image.h"
#include "image_codec.h"
#include "util.h"

static size_t big16(const uint8_t *b) { return (size_t)b[0] << 8 | b[1]; }
static size_t big32(const uint8_t *b) { return big16(b) << 16 | big16(b + 2); }

/* Start of frame: every SOF but DHT, JPG and DAC, which share its range. */
static bool is_frame(uint8_t marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/* Walks the segments behind the two bytes FF D8, which are read already. */
static bool jpeg_size(FILE *file, size_t *width, size_t *height) {
    uint8_t b[7];
    for (;;) {
        int marker = fgetc(file);
        if (marker != 0xff) return false;
        while (marker == 0xff) marker = fgetc(file); /* fill bytes */
        if (marker == EOF || marker == 0xd9 || marker == 0xda) return false;
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue; /* no length */
        if (fread(b, 1, 2, file) != 2 || big16(b) < 2) return false;
        const size_t length = big16(b) - 2;
        if (!is_frame((uint8_t)marker)) {
            if (fseek(file, (long)length, SEEK_CUR) != 0) return false;
            continue;
        }
        if (length < 6 || fread(b, 1, 5, file) != 5) return false;
        *height = big16(b + 1);
        *width = big16(b + 3);
        return true;
    }
}

static vs_status read_size(FILE *file, const char *path, size_t *width, size_t *height, vs_error *err) {
    uint8_t b[24];
    if (fread(b, 1, 2, file) != 2) return vs_fail(err, VS_ERR_FORMAT, "%s: neither PNG nor JPEG", path);
    if (b[0] == 0xff && b[1] == 0xd8) {
        if (!jpeg_size(file, width, height)) return vs_fail(err, VS_ERR_FORMAT, "%s: broken JPEG: no frame header", path);
        return VS_OK;
    }
    if (fread(b + 2, 1, 22, file) != 22 || memcmp(b, "\x89PNG\r\n\x1a\n", 8) != 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: neither PNG nor JPEG", path);
    if (memcmp(b + 12, "IHDR", 4) != 0) return vs_fail(err, VS_ERR_FORMAT, "%s: broken PNG: no header chunk", path);
    *width = big32(b + 16);
    *height = big32(b + 20);
    return VS_OK;
}

vs_status vs_image_size_of(FILE *file, const char *label, size_t *width, size_t *height, vs_error *err) {
    *width = *height = 0;
    vs_status status = read_size(file, label, width, height, err);
    return status == VS_OK ? vs_image_check_size(*width, *height, label, err) : status;
}

vs_status vs_image_read_size(const char *path, size_t *width, size_t *height, vs_error *err) {
    FILE *file = fopen(path, "rb");
    if (!file) return vs_fail(err, errno == ENOENT ? VS_ERR_NOTFOUND : VS_ERR_IO, "%s: %s", path, strerror(errno));
    vs_status status = vs_image_size_of(file, path, width, height, err);
    (void)fclose(file);
    return status;
}
