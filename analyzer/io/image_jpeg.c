/* libjpeg-turbo; setjmp stays in this file. */
#include <stdio.h>

#include <jerror.h>
#include <jpeglib.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "io/image_codec.h"
#include "util/util.h"

typedef struct jpeg_state {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    const vs_encoded *from;
    bool ended, starved; /* the file ended before its end marker; a scan's data ended before its pixels */
    uint8_t *pixels;
} jpeg_state;

static void on_error(j_common_ptr common) {
    jpeg_state *s = common->client_data;
    common->err->format_message(common, s->message);
    longjmp(s->jump, 1);
}

/* A level below 0 is a warning: the data are damaged or odd, and decoding goes on. */
static void on_message(j_common_ptr common, int level) {
    jpeg_state *s = common->client_data;
    if (level >= 0) return;
    char text[JMSG_LENGTH_MAX];
    common->err->num_warnings++;
    common->err->format_message(common, text);
    vs_image_warn(s->from->info, text);
    s->ended = s->ended || common->err->msg_code == JWRN_JPEG_EOF;
    s->starved = s->starved || common->err->msg_code == JWRN_HIT_MARKER;
}

/* Each scan of a progressive file goes over all its pixels, however few bytes it has. */
static void on_progress(j_common_ptr common) {
    jpeg_state *s = common->client_data;
    const uint64_t pixels = (uint64_t)s->jpeg.image_width * s->jpeg.image_height;
    if (s->jpeg.input_scan_number <= 0 || (uint64_t)s->jpeg.input_scan_number * pixels <= VS_JPEG_MAX_WORK) return;
    snprintf(s->message, sizeof s->message, "%d scans or more of %ux%u pixels, more than the limit of %d pixels in all scans",
             s->jpeg.input_scan_number, s->jpeg.image_width, s->jpeg.image_height, VS_JPEG_MAX_WORK);
    longjmp(s->jump, 1);
}

/* Bytes of the coefficients that a file of several scans keeps until the last one. */
static size_t coefficient_bytes(const struct jpeg_decompress_struct *jpeg) {
    size_t blocks = 0;
    for (int i = 0; i < jpeg->num_components; i++)
        blocks += (size_t)jpeg->comp_info[i].width_in_blocks * jpeg->comp_info[i].height_in_blocks;
    return blocks * DCTSIZE2 * sizeof(JCOEF);
}

static vs_status check_header(jpeg_state *s, vs_error *err) {
    const vs_encoded *from = s->from;
    const vs_image_header *h = &from->header;
    if (s->jpeg.image_width != h->width || s->jpeg.image_height != h->height)
        return vs_fail(err, VS_ERR_FORMAT, "%s: broken JPEG: frame headers of %zux%zu and of %ux%u", from->label, h->width,
                       h->height, s->jpeg.image_width, s->jpeg.image_height);
    if (s->jpeg.jpeg_color_space == JCS_CMYK || s->jpeg.jpeg_color_space == JCS_YCCK)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: a CMYK JPEG; convert it to RGB", from->label);
    return vs_image_check_memory(h, jpeg_has_multiple_scans(&s->jpeg) ? coefficient_bytes(&s->jpeg) : 0, from->label, err);
}

/* May scans be missing behind the file's end? A progressive file says which bits of coefficients it has given. */
static bool lacks_scans(struct jpeg_decompress_struct *jpeg) {
    if (!jpeg->progressive_mode || !jpeg->coef_bits) return jpeg_has_multiple_scans(jpeg);
    for (int c = 0; c < jpeg->num_components; c++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (jpeg->coef_bits[c][k] != 0) return true;
    return false;
}

/* False after libjpeg gave up; s->message says why. */
static bool decode(jpeg_state *s, vs_status *status, vs_error *err) {
    if (setjmp(s->jump)) return false;
    jpeg_create_decompress(&s->jpeg);
    s->jpeg.progress = &s->progress;
    jpeg_mem_src(&s->jpeg, s->from->bytes, (unsigned long)s->from->size);
    (void)jpeg_read_header(&s->jpeg, TRUE);
    *status = check_header(s, err);
    if (*status != VS_OK) return true;
    s->jpeg.out_color_space = JCS_RGB;
    (void)jpeg_start_decompress(&s->jpeg);
    const size_t row = (size_t)s->jpeg.output_width * 3;
    s->pixels = vs_calloc(s->jpeg.output_height, row);
    if (!s->pixels) {
        *status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory for an image of %ux%u", s->from->label, s->jpeg.output_width,
                          s->jpeg.output_height);
        return true;
    }
    while (s->jpeg.output_scanline < s->jpeg.output_height) {
        JSAMPROW to = s->pixels + (size_t)s->jpeg.output_scanline * row;
        (void)jpeg_read_scanlines(&s->jpeg, &to, 1);
    }
    /* what is missing at a file's end was made up: grey, or a coarser picture */
    const bool truncated = s->ended && (s->starved || lacks_scans(&s->jpeg));
    (void)jpeg_finish_decompress(&s->jpeg);
    if (truncated) *status = vs_fail(err, VS_ERR_FORMAT, "%s: broken JPEG: the file is truncated", s->from->label);
    return true;
}

vs_status vs_jpeg_decode(vs_image *image, const vs_encoded *from, vs_error *err) {
    jpeg_state *s = vs_calloc(1, sizeof *s);
    if (!s) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", from->label);
    vs_status status = VS_OK;
    s->from = from;
    s->jpeg.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    s->progress.progress_monitor = on_progress;
    s->jpeg.client_data = s;
    if (!decode(s, &status, err)) status = vs_fail(err, VS_ERR_FORMAT, "%s: broken JPEG: %s", from->label, s->message);
    if (status == VS_OK)
        *image = (vs_image){ s->jpeg.output_width, s->jpeg.output_height, 3, s->pixels };
    else
        free(s->pixels);
    jpeg_destroy_decompress(&s->jpeg);
    free(s);
    return status;
}
