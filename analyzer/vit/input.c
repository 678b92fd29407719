/* A model's input as the files beside its weights describe it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/util.h"
#include "vitscope/vit.h"

enum { MAX_BYTES = 16 << 20 };

/* Three numbers, or one for all. */
static vs_status read_three(const json_t *v, double out[3], const char *path, const char *key, vs_error *err) {
    for (size_t i = 0; i < 3; i++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, i) : v;
        out[i] = json_number_value(one);
        if (!json_is_number(one) || (json_is_array(v) && json_array_size(v) != 3) || !(out[i] >= -1e6 && out[i] <= 1e6))
            return vs_fail(err, VS_ERR_FORMAT, "%s: %s must be three numbers", path, key);
    }
    return VS_OK;
}

static size_t read_side(const json_t *v) {
    return json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) <= 1 << 20 ? (size_t)json_integer_value(v)
                                                                                               : 0;
}

static vs_status check_std(const vs_input *in, const char *path, const char *key, vs_error *err) {
    for (size_t i = 0; i < 3; i++)
        if (!(in->std[i] >= 1e-6)) return vs_fail(err, VS_ERR_FORMAT, "%s: %s must be above 0", path, key);
    return VS_OK;
}

/* timm: of pixels in 0..1. Old files have it all at the top. */
static vs_status read_timm(vs_input *in, const json_t *root, const char *path, vs_error *err) {
    const json_t *cfg = json_object_get(root, "pretrained_cfg");
    if (!json_is_object(cfg)) cfg = root;
    const json_t *mean = json_object_get(cfg, "mean"), *std = json_object_get(cfg, "std"),
                 *size = json_object_get(cfg, "input_size");
    in->height = read_side(json_array_get(size, 1));
    in->width = read_side(json_array_get(size, 2));
    if (!mean || !std) return VS_OK;
    vs_status status = read_three(mean, in->mean, path, "config.json: mean", err);
    if (status == VS_OK) status = read_three(std, in->std, path, "config.json: std", err);
    if (status == VS_OK) status = check_std(in, path, "config.json: std", err);
    for (size_t i = 0; i < 3; i++) {
        in->mean[i] *= 255;
        in->std[i] *= 255;
    }
    in->from = "config.json";
    return status;
}

/* transformers: of pixels times rescale_factor. */
static vs_status read_processor(vs_input *in, const json_t *root, const char *path, vs_error *err) {
    static const double unit = 1.0 / 255;
    const json_t *mean = json_object_get(root, "image_mean"), *std = json_object_get(root, "image_std"),
                 *size = json_object_get(root, json_is_false(json_object_get(root, "do_center_crop")) ? "size" : "crop_size"),
                 *factor = json_object_get(root, "rescale_factor");
    if (!size) size = json_object_get(root, "size");
    in->height = read_side(json_is_object(size) ? json_object_get(size, "height") : size);
    in->width = read_side(json_is_object(size) ? json_object_get(size, "width") : size);
    const double scale = json_is_false(json_object_get(root, "do_rescale")) ? 1
                         : json_is_number(factor)                           ? json_number_value(factor)
                                                                            : unit;
    if (!(scale > 0 && scale <= 1e6)) return vs_fail(err, VS_ERR_FORMAT, "%s: rescale_factor must be a number above 0", path);
    const bool plain = json_is_false(json_object_get(root, "do_normalize"));
    if (!plain && (!mean || !std || json_is_null(mean) || json_is_null(std))) return VS_OK;
    for (size_t i = 0; i < 3; i++) in->std[i] = 1;
    vs_status status = plain ? VS_OK : read_three(mean, in->mean, path, "image_mean", err);
    if (status == VS_OK && !plain) status = read_three(std, in->std, path, "image_std", err);
    if (status == VS_OK) status = check_std(in, path, "image_std", err);
    for (size_t i = 0; i < 3; i++) {
        in->mean[i] /= scale;
        in->std[i] /= scale;
    }
    in->from = "preprocessor_config.json";
    return status;
}

static vs_status parse(json_t **root, const char *text, const char *path, const char *name, vs_error *err) {
    json_error_t at;
    *root = text ? json_loads(text, 0, &at) : NULL;
    if (!text || json_is_object(*root)) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: %s: %s", path, name, *root ? "no JSON object" : at.text);
}

vs_status vs_input_parse(vs_input *out, const char *config, const char *preprocessor, const char *path, vs_error *err) {
    json_t *timm = NULL, *processor = NULL;
    *out = (vs_input){ 0 };
    vs_status status = parse(&timm, config, path, "config.json", err);
    if (status == VS_OK) status = parse(&processor, preprocessor, path, "preprocessor_config.json", err);
    if (status == VS_OK && json_is_string(json_object_get(timm, "architecture"))) status = read_timm(out, timm, path, err);
    if (status == VS_OK && !out->from && processor) status = read_processor(out, processor, path, err);
    json_decref(timm);
    json_decref(processor);
    return status;
}

/* ---- files */

/* *text NULL: it is not there. */
static vs_status read_beside(const char *checkpoint, bool folder, const char *name, char **text, vs_error *err) {
    struct stat info;
    size_t size = 0;
    *text = NULL;
    char *path = folder ? vs_path_join(checkpoint, name) : vs_path_relative_to(checkpoint, name);
    vs_status status = path ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "%s: no memory", checkpoint);
    if (status == VS_OK && stat(path, &info) == 0 && S_ISREG(info.st_mode))
        status = vs_read_file(path, MAX_BYTES, text, &size, err);
    free(path);
    return status;
}

/* Beside a lone file the two may be anybody's: config.json must say that it is a model's. */
static bool is_models(const char *config) {
    json_t *root = config ? json_loads(config, 0, NULL) : NULL;
    const bool said =
        json_is_string(json_object_get(root, "model_type")) || json_is_string(json_object_get(root, "architecture"));
    json_decref(root);
    return said;
}

vs_status vs_input_read(vs_input *out, const char *checkpoint, vs_error *err) {
    struct stat info;
    char *config = NULL, *processor = NULL;
    *out = (vs_input){ 0 };
    const bool folder = stat(checkpoint, &info) == 0 && S_ISDIR(info.st_mode);
    vs_status status = read_beside(checkpoint, folder, "config.json", &config, folder ? err : NULL);
    if (!folder && (status != VS_OK || !is_models(config)))
        status = VS_OK;
    else {
        if (status == VS_OK) status = read_beside(checkpoint, folder, "preprocessor_config.json", &processor, err);
        if (status == VS_OK) status = vs_input_parse(out, config, processor, checkpoint, err);
    }
    free(config);
    free(processor);
    return status;
}
