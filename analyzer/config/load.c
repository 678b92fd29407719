#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema.h"
#include "util.h"

static const size_t max_file = (size_t)1 << 20;

void vs_config_free(vs_config *c) {
    if (!c) return;
    vs_release_fields(vs_config_fields, c);
    for (size_t i = 0; i < c->model.plant_count; i++) free(c->model.plants[i].blocks);
    for (size_t i = 0; i < c->state_count; i++) free(c->states[i].name);
    free(c->model.plants);
    free(c->states);
    vs_node_free(c->root);
    free(c->path);
    free(c);
}

/* Exactly one source of images. */
static vs_status check_set(const vs_reader *r, const char *name, const vs_set_config *s) {
    if (!s->set) return VS_OK;
    if (s->scenes.set == (s->images != NULL)) return vs_read_fail(r, s->mark, "data.%s needs either scenes or images", name);
    if (s->scenes.set && s->labels) return vs_read_fail(r, s->mark, "data.%s: scenes bring their own labels", name);
    return VS_OK;
}

static vs_status apply_overrides(vs_node *root, const vs_override *overrides, size_t count, vs_error *err) {
    for (size_t i = 0; i < count; i++) {
        const bool needs_states = strncmp(overrides[i].text, "states.", 7) == 0 && !vs_node_get(root, "states");
        vs_status status = needs_states ? vs_node_override(root, "states=[fp32, sq, ptq]", err) : VS_OK;
        if (status == VS_OK) status = vs_node_override(root, overrides[i].text, err);
        if (status != VS_OK) return status;
    }
    return VS_OK;
}

vs_status vs_config_parse(vs_config **out, const char *text, size_t size, const char *label, const vs_override *overrides,
                          size_t override_count, vs_error *err) {
    *out = NULL;
    vs_config *c = vs_calloc(1, sizeof *c);
    if (!c || !(c->path = vs_strdup(label))) {
        free(c);
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    }
    vs_reader r = { .path = label, .err = err, .override = override_count ? overrides[override_count - 1].text : NULL };
    vs_status status = vs_node_parse(&c->root, text, size, label, err);
    if (status == VS_OK && c->root->kind != VS_NODE_MAP)
        status = vs_read_fail(&r, c->root->mark, "the configuration must be a map");
    if (status == VS_OK) status = apply_overrides(c->root, overrides, override_count, err);
    const bool batch = status == VS_OK && vs_node_get(c->root, "runs");
    if (batch)
        status = vs_fail(err, VS_ERR_UNSUPPORTED, "%s:%d:%d: batch files ('runs') are not built yet", label,
                         vs_node_get(c->root, "runs")->mark.line, vs_node_get(c->root, "runs")->mark.column);
    if (status == VS_OK) status = vs_read_map(&r, vs_config_fields, c->root, c->root->mark, "", c);
    if (status == VS_OK) status = check_set(&r, "calibration", &c->data.calibration);
    if (status == VS_OK) status = check_set(&r, "analysis", &c->data.analysis);
    if (status == VS_OK) status = check_set(&r, "evaluation", &c->data.evaluation);
    if (status != VS_OK) {
        vs_config_free(c);
        return status;
    }
    *out = c;
    return VS_OK;
}

vs_status vs_config_load(vs_config **out, const char *path, const vs_override *overrides, size_t override_count, vs_error *err) {
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    vs_status status = vs_read_file(path, max_file, &text, &size, err);
    if (status == VS_OK) status = vs_config_parse(out, text, size, path, overrides, override_count, err);
    free(text);
    return status;
}

vs_status vs_config_fail(const vs_config *c, vs_mark at, vs_error *err, const char *format, ...) {
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const vs_reader r = { .path = c->path, .err = err };
    return vs_read_fail(&r, at, "%s", text);
}

vs_mark vs_config_mark(const vs_config *c, const char *key) {
    const vs_node *n = c->root;
    char part[64];
    while (n && *key) {
        const size_t length = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, key);
        n = vs_node_get(n, part);
        key += length + (key[length] == '.');
    }
    return n ? n->mark : (vs_mark){ 0, 0 };
}
