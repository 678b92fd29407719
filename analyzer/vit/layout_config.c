#include <jansson.h>
#include <string.h>

#include "layout.h"

static vs_status read_size(const json_t *root, const char *key, size_t *out, const char *path, vs_error *err) {
    const json_t *v = json_object_get(root, key);
    if (!v || json_is_null(v)) return VS_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 1 << 20)
        return vs_fail(err, VS_ERR_FORMAT, "%s: config.json: %s must be a whole number from 1 to %d", path, key, 1 << 20);
    *out = (size_t)json_integer_value(v);
    return VS_OK;
}

/* Newer files keep it among rope_parameters. */
static vs_status read_theta(const json_t *root, double *out, const char *path, vs_error *err) {
    const json_t *v = json_object_get(root, "rope_theta");
    if (!v) v = json_object_get(json_object_get(root, "rope_parameters"), "rope_theta");
    if (!v || json_is_null(v)) return VS_OK;
    *out = json_number_value(v);
    if (*out > 1 && *out <= 1e12) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json: rope_theta must be a number above 1", path);
}

vs_status vs_layout_config_read(vs_layout_config *c, const char *text, const char *path, vs_error *err) {
    *c = (vs_layout_config){ 0 };
    if (!text) return VS_OK;
    json_error_t at;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    vs_status status = VS_OK;
    if (!root) return vs_fail(err, VS_ERR_FORMAT, "%s: config.json:%d:%d: %s", path, at.line, at.column, at.text);
    if (!json_is_object(root)) status = vs_fail(err, VS_ERR_FORMAT, "%s: config.json is no object", path);
    const struct {
        const char *key;
        size_t *to;
    } sizes[] = { { "hidden_size", &c->width },
                  { "num_hidden_layers", &c->depth },
                  { "num_attention_heads", &c->heads },
                  { "patch_size", &c->patch } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && status == VS_OK; i++)
        status = read_size(root, sizes[i].key, sizes[i].to, path, err);
    if (status == VS_OK) status = read_theta(root, &c->rope_theta, path, err);
    c->key_bias = json_is_true(json_object_get(root, "key_bias"));
    const json_t *eps = json_object_get(root, "layer_norm_eps"), *act = json_object_get(root, "hidden_act");
    if (status == VS_OK && eps && !json_is_null(eps)) {
        c->eps = json_number_value(eps);
        if (!(c->eps > 0 && c->eps <= 1))
            status = vs_fail(err, VS_ERR_FORMAT, "%s: config.json: layer_norm_eps must be a number in (0, 1]", path);
    }
    if (status == VS_OK && json_is_string(act)) {
        const size_t n = strlen(json_string_value(act)), room = sizeof c->activation - 1;
        memcpy(c->activation, json_string_value(act), n < room ? n : room);
    }
    json_decref(root);
    return status;
}
