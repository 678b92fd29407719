/* libpng; setjmp stays in this file, state that must survive it is in structs. */
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "io/image_codec.h"
#include "util/util.h"

typedef struct png_state {
    const uint8_t *bytes;
    size_t size, at;
    char message[128];
    png_structp png;
    png_infop info;
    png_bytep *rows;
    uint8_t *pixels;
    size_t width, height, channels;
    bool unfit;          /* a whole PNG, of a kind that is not read */
    vs_image_info *told; /* NULL when writing */
    FILE *out;
} png_state;

static void on_error(png_structp png, png_const_charp message) {
    png_state *s = png_get_error_ptr(png);
    size_t n = strlen(message);
    if (n >= sizeof s->message) n = sizeof s->message - 1;
    memcpy(s->message, message, n);
    s->message[n] = '\0';
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    const png_state *s = png_get_error_ptr(png);
    if (s->told) vs_image_warn(s->told, message);
}

static void on_read(png_structp png, png_bytep to, size_t n) {
    png_state *s = png_get_io_ptr(png);
    if (n > s->size - s->at) png_error(png, "the file is truncated");
    memcpy(to, s->bytes + s->at, n);
    s->at += n;
}

static void refuse(png_structp png, const char *message) {
    png_state *s = png_get_error_ptr(png);
    s->unfit = true;
    png_error(png, message);
}

/* Expands everything to 8-bit RGB, or keeps 8-bit indices. */
static void set_transforms(png_structp png, png_infop info, bool indices) {
    const png_byte type = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
    if (indices) {
        if (type != PNG_COLOR_TYPE_GRAY && type != PNG_COLOR_TYPE_PALETTE)
            refuse(png, "a label map must be grey or palette, 8 bits or fewer");
        if (depth == 16) refuse(png, "a label map must have 8 bits or fewer");
        png_set_packing(png);
        return;
    }
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16) png_set_scale_16(png);
    if (type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA) png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
}

/* False after libpng complained; s->message says what. */
static bool decode(png_state *s, const char *label, bool indices, vs_status *status, vs_error *err) {
    if (setjmp(png_jmpbuf(s->png))) return false;
    png_set_user_limits(s->png, VS_IMAGE_MAX_SIDE, VS_IMAGE_MAX_SIDE);
    png_set_chunk_malloc_max(s->png, 8u << 20);
    png_set_keep_unknown_chunks(s->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* texts, profiles: they may unpack to gigabytes */
    png_set_read_fn(s->png, s, on_read);
    png_read_info(s->png, s->info);
    s->width = png_get_image_width(s->png, s->info);
    s->height = png_get_image_height(s->png, s->info);
    s->channels = indices ? 1 : 3;
    *status = vs_image_check_size(s->width, s->height, label, err);
    if (*status != VS_OK) return true;
    set_transforms(s->png, s->info, indices);
    (void)png_set_interlace_handling(s->png);
    png_read_update_info(s->png, s->info);
    if (png_get_rowbytes(s->png, s->info) != s->width * s->channels) png_error(s->png, "unexpected pixel format");
    s->pixels = vs_calloc(s->width * s->height, s->channels);
    s->rows = vs_calloc(s->height, sizeof *s->rows);
    if (!s->pixels || !s->rows) {
        *status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory for an image of %zux%zu", label, s->width, s->height);
        return true;
    }
    for (size_t y = 0; y < s->height; y++) s->rows[y] = s->pixels + y * s->width * s->channels;
    png_read_image(s->png, s->rows);
    png_read_end(s->png, NULL);
    return true;
}

vs_status vs_png_decode(vs_image *image, const vs_encoded *from, bool indices, vs_error *err) {
    const char *label = from->label;
    png_state *s = vs_calloc(1, sizeof *s);
    if (!s) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    vs_status status = VS_OK;
    s->bytes = from->bytes;
    s->size = from->size;
    s->told = from->info;
    s->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, s, on_error, on_warning);
    if (s->png) s->info = png_create_info_struct(s->png);
    if (!s->info)
        status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    else if (!decode(s, label, indices, &status, err))
        status = s->unfit ? vs_fail(err, VS_ERR_FORMAT, "%s: %s", label, s->message)
                          : vs_fail(err, VS_ERR_FORMAT, "%s: broken PNG near byte %zu: %s", label, s->at, s->message);
    png_destroy_read_struct(&s->png, &s->info, NULL);
    free(s->rows);
    if (status == VS_OK)
        *image = (vs_image){ s->width, s->height, s->channels, s->pixels };
    else
        free(s->pixels);
    free(s);
    return status;
}

static bool encode(png_state *s, const vs_image *image) {
    if (setjmp(png_jmpbuf(s->png))) return false;
    png_init_io(s->png, s->out);
    png_set_IHDR(s->png, s->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(s->png, s->info);
    for (size_t y = 0; y < image->height; y++) png_write_row(s->png, image->pixels + y * image->width * image->channels);
    png_write_end(s->png, NULL);
    return true;
}

vs_status vs_png_write(const char *path, const vs_image *image, vs_error *err) {
    vs_outfile file;
    vs_status status = vs_outfile_open(&file, path, err);
    if (status != VS_OK) return status;
    png_state *s = vs_calloc(1, sizeof *s);
    if (s) {
        s->out = file.stream;
        s->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, s, on_error, on_warning);
        if (s->png) s->info = png_create_info_struct(s->png);
    }
    errno = 0;
    if (!s || !s->info)
        status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory", path);
    else if (!encode(s, image))
        status = vs_fail(err, VS_ERR_IO, "%s: cannot write: %s", path, errno ? strerror(errno) : s->message);
    if (s) png_destroy_write_struct(&s->png, &s->info);
    free(s);
    if (status == VS_OK) return vs_outfile_commit(&file, err);
    vs_outfile_discard(&file);
    return status;
}
