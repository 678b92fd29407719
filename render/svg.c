#include "render/svg.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static const size_t max_file = (size_t)64 << 20;

static void write_base64(vs_outfile *out, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const uint32_t v =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        const char group[4] = { digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                                left > 2 ? digits[v & 63] : '=' };
        (void)vs_outfile_write(out, group, sizeof group);
    }
}

vs_status vs_svg_underlay(const char *vector, const char *raster, size_t width, size_t height, const char *path, vs_error *err) {
    char *svg = NULL, *png = NULL;
    size_t svg_size = 0, png_size = 0;
    vs_outfile file = { 0 };
    vs_text image = { 0 };
    vs_status status = vs_read_file(vector, max_file, &svg, &svg_size, err);
    if (status == VS_OK) status = vs_read_file(raster, max_file, &png, &png_size, err);
    if (status != VS_OK) goto out;
    const char *tag = strstr(svg, "<svg"), *end = tag ? strchr(tag, '>') : NULL;
    if (!end) {
        status = vs_fail(err, VS_ERR_FORMAT, "%s: gnuplot wrote no SVG", vector);
        goto out;
    }
    status = vs_outfile_open(&file, path, err);
    if (status != VS_OK) goto out;
    const size_t head = (size_t)(end + 1 - svg);
    (void)vs_outfile_write(&file, svg, head);
    vs_text_add(&image,
                "\n<rect width=\"%zu\" height=\"%zu\" fill=\"white\"/>\n<image width=\"%zu\" height=\"%zu\" "
                "preserveAspectRatio=\"none\" xlink:href=\"data:image/png;base64,",
                width, height, width, height);
    if (image.failed) {
        status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory", path);
        goto out;
    }
    (void)vs_outfile_write(&file, image.bytes, image.size);
    write_base64(&file, (const uint8_t *)png, png_size);
    (void)vs_outfile_write(&file, "\"/>", 3);
    (void)vs_outfile_write(&file, end + 1, svg_size - head);
    status = vs_outfile_commit(&file, err);
out:
    vs_outfile_discard(&file);
    free(image.bytes);
    free(svg);
    free(png);
    return status;
}
