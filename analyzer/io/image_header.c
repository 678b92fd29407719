/* What an image's file says before its pixels: format, size, orientation. */
#include <string.h>

#include "io/exif.h"
#include "io/image_codec.h"

enum { MAX_CHUNKS = 1 << 16, MAX_EXIF = 1 << 16 }; /* what lies beyond is not looked at */

static size_t big16(const uint8_t *b) { return (size_t)b[0] << 8 | b[1]; }
static size_t big32(const uint8_t *b) { return big16(b) << 16 | big16(b + 2); }
static size_t little24(const uint8_t *b) { return (size_t)b[2] << 16 | (size_t)b[1] << 8 | b[0]; }
static size_t little32(const uint8_t *b) { return (size_t)b[3] << 24 | little24(b); }

/* As many of `size` bytes as there are. */
static vs_status take(const vs_source *s, size_t at, size_t size, uint8_t *out, size_t *got, vs_error *err) {
    *got = at >= s->size ? 0 : s->size - at < size ? s->size - at : size;
    return vs_source_read(s, *got ? at : 0, *got, out, err);
}

static vs_status read_orientation(const vs_source *s, size_t at, size_t size, vs_image_header *h, vs_error *err) {
    uint8_t bytes[MAX_EXIF];
    size_t got = 0;
    if (size > sizeof bytes) return VS_OK;
    vs_status status = take(s, at, size, bytes, &got, err);
    h->orientation = vs_exif_orientation(bytes, got);
    return status;
}

/* ---- JPEG: segments up to the first scan */

/* Start of frame: every SOF but DHT, JPG and DAC, which share its range. */
static bool is_frame(uint8_t marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static vs_status read_jpeg(const vs_source *s, vs_image_header *h, vs_error *err) {
    uint8_t b[16];
    size_t got = 0, at = 2;
    bool exif = false;
    for (size_t i = 0; i < MAX_CHUNKS; i++) {
        vs_status status = take(s, at, sizeof b, b, &got, err);
        if (status != VS_OK) return status;
        if (got < 4) break;
        size_t stray = 0; /* libjpeg warns of bytes between segments, and skips them */
        while (stray < got && b[stray] != 0xff) stray++;
        const uint8_t marker = b[1];
        if (stray || marker == 0xff || marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd7)) { /* fill bytes; no length */
            at += stray ? stray : marker == 0xff ? 1 : 2;
            continue;
        }
        const size_t length = big16(b + 2);
        if (marker == 0xd9 || marker == 0xda || length < 2) break;
        if (is_frame(marker) && h->width == 0 && got >= 9) {
            h->height = big16(b + 5);
            h->width = big16(b + 7);
            if (length < 8 || h->width == 0 || h->height == 0) break;
        }
        if (marker == 0xe1 && !exif && length >= 8 && got >= 10 && memcmp(b + 4, "Exif\0", 5) == 0) {
            status = read_orientation(s, at + 4, length - 2, h, err);
            if (status != VS_OK) return status;
            exif = true;
        }
        at += 2 + length;
    }
    return h->width && h->height ? VS_OK : vs_fail(err, VS_ERR_FORMAT, "%s: broken JPEG: no frame header", s->label);
}

/* ---- PNG: chunks up to the end, as eXIf may lie behind the pixels */

static vs_status read_png(const vs_source *s, vs_image_header *h, vs_error *err) {
    uint8_t b[16];
    size_t got = 0, at = 8;
    for (size_t i = 0; i < MAX_CHUNKS; i++) {
        vs_status status = take(s, at, sizeof b, b, &got, err);
        if (status != VS_OK) return status;
        if (i == 0 && (got < 16 || memcmp(b + 4, "IHDR", 4) != 0))
            return vs_fail(err, VS_ERR_FORMAT, "%s: broken PNG: no header chunk", s->label);
        if (got < 8 || memcmp(b + 4, "IEND", 4) == 0) break;
        const size_t length = big32(b);
        if (i == 0) {
            h->width = big32(b + 8);
            h->height = big32(b + 12);
        }
        if (memcmp(b + 4, "eXIf", 4) == 0) return read_orientation(s, at + 8, length, h, err);
        at += 12 + length;
    }
    return VS_OK;
}

/* ---- WebP: RIFF chunks; the first one has the size */

static bool webp_size(const uint8_t *b, size_t got, vs_image_header *h) {
    const uint8_t *data = b + 8;
    if (got >= 18 && memcmp(b, "VP8X", 4) == 0) {
        h->animated = (data[0] & 2) != 0;
        h->width = little24(data + 4) + 1;
        h->height = little24(data + 7) + 1;
    } else if (got >= 13 && memcmp(b, "VP8L", 4) == 0 && data[0] == 0x2f) {
        const size_t bits = little32(data + 1);
        h->width = (bits & 0x3fff) + 1;
        h->height = (bits >> 14 & 0x3fff) + 1;
    } else if (got >= 18 && memcmp(b, "VP8 ", 4) == 0 && memcmp(data + 3, "\x9d\x01\x2a", 3) == 0) {
        h->width = (big16((const uint8_t[]){ data[7], data[6] })) & 0x3fff;
        h->height = (big16((const uint8_t[]){ data[9], data[8] })) & 0x3fff;
    }
    return h->width && h->height;
}

static vs_status read_webp(const vs_source *s, vs_image_header *h, vs_error *err) {
    uint8_t b[18];
    size_t got = 0, at = 12;
    bool more = true;
    for (size_t i = 0; i < MAX_CHUNKS && more; i++) {
        vs_status status = take(s, at, sizeof b, b, &got, err);
        if (status != VS_OK) return status;
        if (i == 0 && !webp_size(b, got, h)) return vs_fail(err, VS_ERR_FORMAT, "%s: broken WebP: no image header", s->label);
        if (got < 8) break;
        const size_t length = little32(b + 4);
        h->lossless = h->lossless || memcmp(b, "VP8L", 4) == 0;
        more = i > 0 || memcmp(b, "VP8X", 4) == 0; /* without it there is one chunk */
        if (memcmp(b, "EXIF", 4) == 0) return read_orientation(s, at + 8, length, h, err);
        at += 8 + length + length % 2;
    }
    return VS_OK;
}

/* ---- which */

/* What else is called .png and .jpg; NULL: not known. */
static const char *other_kind(const uint8_t *b, size_t size) {
    static const struct {
        size_t at, size;
        const char *bytes, *what;
    } kinds[] = {
        { 0, 4, "GIF8", "a GIF image" },
        { 0, 4, "II*\0", "a TIFF image" },
        { 0, 4, "MM\0*", "a TIFF image" },
        { 0, 2, "BM", "a BMP image" },
        { 4, 8, "ftypavif", "an AVIF image" },
        { 4, 8, "ftypavis", "an AVIF image" },
        { 4, 7, "ftyphei", "a HEIF image" },
        { 4, 7, "ftyphev", "a HEIF image" },
        { 4, 8, "ftypmif1", "a HEIF image" },
        { 4, 4, "ftyp", "a video" },
        { 0, 12, "\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image" },
        { 0, 12, "\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image" },
        { 0, 2, "\xff\x0a", "a JPEG XL image" },
        { 0, 4, "%PDF", "a PDF document" },
        { 0, 5, "<!DOC", "a web page: the download failed" },
        { 0, 5, "<html", "a web page: the download failed" },
        { 0, 12, "version http", "a pointer of git-lfs: fetch the file with git lfs pull" },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (size >= kinds[i].at + kinds[i].size && memcmp(b + kinds[i].at, kinds[i].bytes, kinds[i].size) == 0)
            return kinds[i].what;
    return NULL;
}

vs_status vs_image_header_read(const vs_source *s, vs_image_header *h, vs_error *err) {
    uint8_t b[12];
    size_t got = 0;
    *h = (vs_image_header){ .orientation = 1 };
    vs_status status = take(s, 0, sizeof b, b, &got, err);
    if (status != VS_OK) return status;
    if (got >= 8 && memcmp(b, "\x89PNG\r\n\x1a\n", 8) == 0) {
        h->format = VS_IMAGE_PNG;
        status = read_png(s, h, err);
    } else if (got >= 3 && memcmp(b, "\xff\xd8\xff", 3) == 0) {
        h->format = VS_IMAGE_JPEG;
        status = read_jpeg(s, h, err);
    } else if (got >= 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0) {
        h->format = VS_IMAGE_WEBP;
        status = read_webp(s, h, err);
    } else {
        const char *what = other_kind(b, got);
        return vs_fail(err, VS_ERR_FORMAT, "%s: neither PNG nor JPEG nor WebP%s%s", s->label,
                       got == 0 ? ": the file is empty"
                       : what   ? ", but "
                                : "",
                       what ? what : "");
    }
    return status == VS_OK ? vs_image_check_size(h->width, h->height, s->label, err) : status;
}
