/* libjpeg-turbo; setjmp stays in this file. */
#include <stdio.h>

#include <jpeglib.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "image_codec.h"
#include "util.h"

typedef struct jpeg_state {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    uint8_t *pixels;
} jpeg_state;

static void on_error(j_common_ptr common) {
    jpeg_state *s = common->client_data;
    common->err->format_message(common, s->message);
    longjmp(s->jump, 1);
}

/* Corrupt data is a warning to libjpeg, which then makes pixels up; here it is an error. */
static void on_message(j_common_ptr common, int level) {
    if (level < 0) on_error(common);
}

static bool decode(jpeg_state *s, const uint8_t *bytes, size_t size, const char *label, vs_status *status, vs_error *err) {
    if (setjmp(s->jump)) return false;
    jpeg_create_decompress(&s->jpeg);
    jpeg_mem_src(&s->jpeg, bytes, (unsigned long)size);
    (void)jpeg_read_header(&s->jpeg, TRUE);
    *status = vs_image_check_size(s->jpeg.image_width, s->jpeg.image_height, label, err);
    if (*status != VS_OK) return true;
    if (s->jpeg.jpeg_color_space == JCS_CMYK || s->jpeg.jpeg_color_space == JCS_YCCK) {
        *status = vs_fail(err, VS_ERR_UNSUPPORTED, "%s: a CMYK JPEG; convert it to RGB", label);
        return true;
    }
    s->jpeg.out_color_space = JCS_RGB;
    (void)jpeg_start_decompress(&s->jpeg);
    const size_t row = (size_t)s->jpeg.output_width * 3;
    s->pixels = vs_calloc(s->jpeg.output_height, row);
    if (!s->pixels) {
        *status =
            vs_fail(err, VS_ERR_NOMEM, "%s: no memory for an image of %ux%u", label, s->jpeg.output_width, s->jpeg.output_height);
        return true;
    }
    while (s->jpeg.output_scanline < s->jpeg.output_height) {
        JSAMPROW to = s->pixels + (size_t)s->jpeg.output_scanline * row;
        (void)jpeg_read_scanlines(&s->jpeg, &to, 1);
    }
    (void)jpeg_finish_decompress(&s->jpeg);
    return true;
}

vs_status vs_jpeg_decode(vs_image *image, const uint8_t *bytes, size_t size, const char *label, vs_error *err) {
    jpeg_state *s = vs_calloc(1, sizeof *s);
    if (!s) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    vs_status status = VS_OK;
    s->jpeg.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    s->jpeg.client_data = s;
    if (!decode(s, bytes, size, label, &status, err))
        status = vs_fail(err, VS_ERR_FORMAT, "%s: broken JPEG: %s", label, s->message);
    if (status == VS_OK)
        *image = (vs_image){ s->jpeg.output_width, s->jpeg.output_height, 3, s->pixels };
    else
        free(s->pixels);
    jpeg_destroy_decompress(&s->jpeg);
    free(s);
    return status;
}
