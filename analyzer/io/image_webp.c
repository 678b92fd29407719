/* libwebp. */
#include <stdlib.h>
#include <webp/decode.h>

#include "io/image_codec.h"
#include "util/util.h"

static const char *reason(VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED: return "the file is truncated";
    case VP8_STATUS_UNSUPPORTED_FEATURE: return "a feature that libwebp does not know";
    default: return "its data are damaged";
    }
}

vs_status vs_webp_decode(vs_image *image, const vs_encoded *from, vs_error *err) {
    const vs_image_header *h = &from->header;
    const size_t pixels = h->width * h->height;
    if (h->animated)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: an animated WebP, which is not read: give one picture of it", from->label);
    /* the lossless decoder keeps the whole image in 32 bits, the other one at most a plane of alpha */
    vs_status status = vs_image_check_memory(h, h->lossless ? 4 * pixels : pixels, from->label, err);
    WebPDecoderConfig config;
    if (status == VS_OK && !WebPInitDecoderConfig(&config))
        status = vs_fail(err, VS_ERR_INTERNAL, "%s: libwebp is of another version than its headers", from->label);
    if (status == VS_OK) status = vs_image_create(image, h->width, h->height, 3, err);
    if (status != VS_OK) return status;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA = (WebPRGBABuffer){ image->pixels, (int)(3 * h->width), 3 * pixels };
    const VP8StatusCode code = WebPDecode(from->bytes, from->size, &config);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory for an image of %zux%zu", from->label, h->width, h->height);
    else if (code != VP8_STATUS_OK)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: broken WebP: %s", from->label, reason(code));
    else if (config.output.width != (int)h->width || config.output.height != (int)h->height)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: broken WebP: its header says %zux%zu, its picture is %dx%d", from->label,
                         h->width, h->height, config.output.width, config.output.height);
    if (status != VS_OK) vs_image_release(image);
    return status;
}
