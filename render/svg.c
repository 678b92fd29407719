#include "svg.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

static const size_t max_file = (size_t)64 << 20;

static void write_base64(FILE *out, const uint8_t *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const uint32_t v =
            (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        const char group[4] = { digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
                                left > 2 ? digits[v & 63] : '=' };
        (void)fwrite(group, 1, 4, out); /* commit looks at the stream's error */
    }
}

vs_status vs_svg_underlay(const char *vector, const char *raster, size_t width, size_t height, const char *path, vs_error *err) {
    char *svg = NULL, *png = NULL;
    size_t svg_size = 0, png_size = 0;
    vs_outfile file = { 0 };
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
    (void)fwrite(svg, 1, head, file.stream);
    fprintf(file.stream,
            "\n<rect width=\"%zu\" height=\"%zu\" fill=\"white\"/>\n<image width=\"%zu\" height=\"%zu\" "
            "preserveAspectRatio=\"none\" xlink:href=\"data:image/png;base64,",
            width, height, width, height);
    write_base64(file.stream, (const uint8_t *)png, png_size);
    fputs("\"/>", file.stream);
    (void)fwrite(end + 1, 1, svg_size - head, file.stream);
    status = vs_outfile_commit(&file, err);
out:
    vs_outfile_discard(&file);
    free(svg);
    free(png);
    return status;
}
