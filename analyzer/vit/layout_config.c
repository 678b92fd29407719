/* config.json: transformers' at the top or in a section of its own ("backbone_config" of a task model, whose top is its
 * decoder's), timm's in "model_args". */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"
#include "vit/layout.h"

static vs_status fail(const char *path, vs_error *err, const char *key, const char *what) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json: %s must be %s", path, key, what);
}

static vs_status read_size(const json_t *root, const char *key, size_t *out, const char *path, vs_error *err) {
    const json_t *v = json_object_get(root, key);
    if (json_is_array(v) && json_array_size(v) == 2 && json_equal(json_array_get(v, 0), json_array_get(v, 1)))
        v = json_array_get(v, 0); /* both sides */
    if (!v || json_is_null(v)) return VS_OK;
    if (!json_is_integer(v) || json_integer_value(v) < 1 || json_integer_value(v) > 1 << 20)
        return vs_fail(err, VS_ERR_FORMAT, "%s: config.json: %s must be a whole number from 1 to %d", path, key, 1 << 20);
    *out = (size_t)json_integer_value(v);
    return VS_OK;
}

static vs_status read_theta(const json_t *v, const char *key, double *out, const char *path, vs_error *err) {
    if (!v || json_is_null(v)) return VS_OK;
    *out = json_number_value(v);
    return *out > 1 && *out <= 1e12 ? VS_OK : fail(path, err, key, "a number above 1");
}

static vs_status read_eps(const json_t *v, const char *key, double *out, const char *path, vs_error *err) {
    if (!v || json_is_null(v)) return VS_OK;
    *out = json_number_value(v);
    return *out > 0 && *out <= 1 ? VS_OK : fail(path, err, key, "a number in (0, 1]");
}

static vs_status read_text(const json_t *o, const char *key, char *out, size_t size, const char *path, vs_error *err) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return VS_OK;
    if (!json_is_string(v)) return fail(path, err, key, "a text");
    (void)snprintf(out, size, "%s", json_string_value(v));
    return VS_OK;
}

static vs_status read_said(const json_t *o, const char *key, vs_said *out, const char *path, vs_error *err) {
    const json_t *v = json_object_get(o, key);
    if (!v || json_is_null(v)) return VS_OK;
    if (!json_is_boolean(v)) return fail(path, err, key, "true or false");
    *out = json_is_true(v) ? VS_SAID_YES : VS_SAID_NO;
    return VS_OK;
}

/* One number, or the last two of an array: height, width. Of other kinds nothing is known. */
static void read_image_size(vs_layout_config *c, const json_t *v) {
    const size_t n = json_array_size(v);
    const json_t *height = n >= 2 ? json_array_get(v, n - 2) : v, *width = n >= 2 ? json_array_get(v, n - 1) : v;
    if (!json_is_integer(height) || !json_is_integer(width) || json_integer_value(height) < 1 || json_integer_value(width) < 1)
        return;
    c->image_height = (size_t)json_integer_value(height);
    c->image_width = (size_t)json_integer_value(width);
}

static vs_status read_sizes(vs_layout_config *c, const json_t *o, const char *const keys[4], const char *path, vs_error *err) {
    size_t *const to[] = { &c->width, &c->depth, &c->heads, &c->patch };
    vs_status status = VS_OK;
    for (size_t i = 0; i < 4 && status == VS_OK; i++) status = read_size(o, keys[i], to[i], path, err);
    return status;
}

/* ---- transformers */

/* Newer files keep it among rope_parameters. */
static vs_status read_rope(vs_layout_config *c, const json_t *o, const char *path, vs_error *err) {
    const json_t *parameters = json_object_get(o, "rope_parameters"), *v = json_object_get(o, "rope_theta"),
                 *type = json_object_get(parameters, "rope_type");
    if (json_is_string(type) && strcmp(json_string_value(type), "default") != 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: config.json: rope_type '%.40s' is not built", path, json_string_value(type));
    return read_theta(v ? v : json_object_get(parameters, "rope_theta"), "rope_theta", &c->rope_theta, path, err);
}

static vs_status read_transformers(vs_layout_config *c, const json_t *o, const char *path, vs_error *err) {
    static const char *const keys[] = { "hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size" };
    vs_status status = read_sizes(c, o, keys, path, err);
    if (status == VS_OK) status = read_rope(c, o, path, err);
    if (status == VS_OK) status = read_eps(json_object_get(o, "layer_norm_eps"), "layer_norm_eps", &c->eps, path, err);
    if (status == VS_OK) status = read_text(o, "hidden_act", c->activation, sizeof c->activation, path, err);
    if (status == VS_OK) status = read_text(o, "model_type", c->model_type, sizeof c->model_type, path, err);
    if (status == VS_OK) status = read_said(o, "qkv_bias", &c->qkv_bias, path, err);
    c->key_bias = json_is_true(json_object_get(o, "key_bias"));
    /* DINOv2's positions are resized as if they were a square, whatever the size was */
    if (strncmp(c->model_type, "dinov2", 6) != 0) read_image_size(c, json_object_get(o, "image_size"));
    return status;
}

/* The backbone's own section, where there is one: of a task on a backbone, of an image tower, of an encoder beside a decoder. */
static const json_t *section_of(const json_t *root) {
    static const char *const sections[] = { "backbone_config", "vision_config", "encoder" };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const json_t *o = json_object_get(root, sections[i]);
        if (json_is_object(o) && json_is_string(json_object_get(o, "model_type"))) return o;
    }
    return root;
}

/* ---- timm */

/* Arguments that change nothing, or that the tensors tell as well. */
static const char harmless_args[] =
    "num_classes img_size mlp_ratio qkv_bias qkv_fused qk_norm init_values class_token no_embed_class reg_tokens num_reg_tokens "
    "drop_rate *_drop_rate drop_path weight_init fix_init dynamic_img_size strict_img_size global_pool fc_norm use_fc_norm "
    "swiglu_mlp "
    "swiglu_align_to features_only out_indices scriptable exportable device dtype pretrained* "
    "embed_dim depth num_heads patch_size act_layer norm_layer rope_temperature in_chans head_init_scale pre_norm checkpoint*";

static bool is_text(const json_t *v, const char *text) { return json_is_string(v) && strcmp(json_string_value(v), text) == 0; }

static bool is_built(const char *key, const json_t *v) {
    if (json_is_null(v)) return true;
    if (strcmp(key, "norm_layer") == 0) return is_text(v, "layernorm");
    if (strcmp(key, "pos_embed") == 0) return is_text(v, "learn");
    if (strcmp(key, "rope_type") == 0) return is_text(v, "dinov3");
    if (strcmp(key, "rope_rotate_half") == 0 || strcmp(key, "use_rot_pos_emb") == 0) return json_is_true(v);
    if (strcmp(key, "use_abs_pos_emb") == 0) return json_is_false(v);
    if (strcmp(key, "dynamic_img_pad") == 0) return json_is_false(v);
    if (strcmp(key, "in_chans") == 0) return json_is_integer(v) && json_integer_value(v) == 3;
    return vs_first_component(key, harmless_args);
}

static vs_status read_words(vs_layout_config *c, const json_t *root, const json_t *args, const char *path, vs_error *err) {
    vs_status status = read_text(root, "architecture", c->architecture, sizeof c->architecture, path, err);
    if (status == VS_OK) status = read_text(root, "global_pool", c->pool, sizeof c->pool, path, err);
    if (status == VS_OK) status = read_text(args, "global_pool", c->pool, sizeof c->pool, path, err);
    if (status == VS_OK) status = read_text(args, "act_layer", c->activation, sizeof c->activation, path, err);
    if (status == VS_OK) status = read_said(args, "qkv_bias", &c->qkv_bias, path, err);
    return status == VS_OK ? read_said(args, "no_embed_class", &c->no_embed_class, path, err) : status;
}

static vs_status read_timm(vs_layout_config *c, const json_t *root, const char *path, vs_error *err) {
    static const char *const keys[] = { "embed_dim", "depth", "num_heads", "patch_size" };
    const json_t *cfg = json_object_get(root, "pretrained_cfg");
    json_t *args = json_object_get(root, "model_args"), *v;
    const char *key;
    if (args && !json_is_null(args) && !json_is_object(args)) return fail(path, err, "model_args", "an object");
    vs_status status = read_words(c, root, args, path, err);
    if (status != VS_OK) return status;
    if (json_is_true(json_object_get(cfg, "fixed_input_size"))) read_image_size(c, json_object_get(cfg, "input_size"));
    read_image_size(c, json_object_get(args, "img_size"));
    json_object_foreach(args, key, v) if (!is_built(key, v)) return vs_fail(
        err, VS_ERR_FORMAT, "%s: config.json: model_args.%.60s is not known to be built", path, key);
    status = read_sizes(c, args, keys, path, err);
    return status == VS_OK
               ? read_theta(json_object_get(args, "rope_temperature"), "model_args.rope_temperature", &c->rope_theta, path, err)
               : status;
}

vs_status vs_layout_config_read(vs_layout_config *c, const char *text, const char *path, vs_error *err) {
    *c = (vs_layout_config){ 0 };
    if (!text) return VS_OK;
    json_error_t at;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &at);
    vs_status status = VS_OK;
    if (!root) return vs_fail(err, VS_ERR_FORMAT, "%s: config.json:%d:%d: %s", path, at.line, at.column, at.text);
    if (!json_is_object(root)) status = vs_fail(err, VS_ERR_FORMAT, "%s: config.json is no object", path);
    if (status == VS_OK)
        status = json_object_get(root, "architecture") && !json_is_null(json_object_get(root, "architecture"))
                     ? read_timm(c, root, path, err)
                     : read_transformers(c, section_of(root), path, err);
    json_decref(root);
    return status;
}
