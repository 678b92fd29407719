#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/schema.h"
#include "util/util.h"

static const size_t max_file = (size_t)1 << 20;

void vs_config_free(vs_config *c) {
    if (!c) return;
    vs_release_fields(vs_config_fields, c);
    for (size_t i = 0; i < c->model.plant_count; i++) free(c->model.plants[i].blocks);
    for (size_t i = 0; i < c->state_count; i++) free(c->states[i].name);
    free(c->model.plants);
    free(c->states);
    for (size_t i = 0; i < c->published_count; i++) free(c->published[i].state);
    free(c->published);
    for (size_t i = 0; i < c->fp16.policy_count; i++) free(c->fp16.policies[i].name);
    free(c->fp16.policies);
    vs_yaml_free(c->root);
    for (size_t i = 0; i < c->override_count; i++) free(c->overrides[i]);
    free(c->overrides);
    free(c->path);
    free(c);
}

/* Exactly one source of images. */
static vs_status check_set(const vs_reader *r, const char *name, const vs_set_config *s) {
    if (!s->set) return VS_OK;
    if (s->scenes.set == (s->images != NULL)) return vs_read_fail(r, s->mark, "data.%s needs either scenes or images", name);
    if (s->scenes.set && s->protocol != VS_LABELS_PLAIN)
        return vs_read_fail(r, s->mark, "data.%s: scenes have no protocol", name);
    if (s->scenes.set && s->labels) return vs_read_fail(r, s->mark, "data.%s: scenes bring their own labels", name);
    return VS_OK;
}

static vs_status check_mmseg(const vs_reader *r, const vs_preprocess_config *p) {
    static const char where[] = "data.preprocess.mmseg";
    const bool slide = p->mmseg.mode == VS_TEST_SLIDE;
    if (!p->mmseg.set) return VS_OK;
    if (p->resize.short_side || p->crop_center) return vs_read_fail(r, p->mark, "%s stands in place of resize and crop", where);
    if (p->mmseg.long_side < p->mmseg.short_side) return vs_read_fail(r, p->mark, "%s: long is smaller than short", where);
    if (slide && (!p->mmseg.crop || !p->mmseg.stride))
        return vs_read_fail(r, p->mark, "%s: mode slide needs crop and stride", where);
    if (!slide && (p->mmseg.crop || p->mmseg.stride))
        return vs_read_fail(r, p->mark, "%s: mode whole has no crop and stride", where);
    if (p->mmseg.stride > p->mmseg.crop) return vs_read_fail(r, p->mark, "%s: a stride above the crop leaves gaps", where);
    return VS_OK;
}

static vs_status check_tiles(const vs_reader *r, const vs_preprocess_config *p) {
    static const char where[] = "data.preprocess.tiles";
    if (!p->tiles.set) return VS_OK;
    if (p->mmseg.set) return vs_read_fail(r, p->mark, "%s: mmseg and tiles exclude each other", where);
    if (p->resize.short_side || p->crop_center) return vs_read_fail(r, p->mark, "%s stands in place of resize and crop", where);
    return VS_OK;
}

/* The default list, where an override reaches into a list that the file does not have. */
static vs_status spell_out_states(vs_yaml_node *root, vs_mark mark, vs_error *err) {
    const vs_field *f = vs_config_fields;
    while (f->type != VS_FIELD_STATES) f++;
    char *text = vs_format("%s=%s", f->key, f->fallback);
    vs_status status =
        text ? vs_yaml_override(root, text, mark, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    free(text);
    return status;
}

static vs_status apply_overrides(vs_config *c, const vs_override *overrides, size_t count, vs_error *err) {
    if (!(c->overrides = vs_calloc(count, sizeof *c->overrides))) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", c->path);
    vs_status status = VS_OK;
    for (size_t i = 0; status == VS_OK && i < count; i++) {
        const vs_mark mark = { 0, (int)(i + 1) };
        if (!(c->overrides[i] = vs_strdup(overrides[i].text))) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", c->path);
        c->override_count++;
        if (strncmp(overrides[i].text, "states.", 7) == 0 && !vs_yaml_get(c->root, "states"))
            status = spell_out_states(c->root, mark, err);
        if (status == VS_OK) status = vs_yaml_override(c->root, overrides[i].text, mark, err);
    }
    return status;
}

bool vs_config_is_batch(const vs_yaml_node *root) { return vs_yaml_get(root, "runs") || vs_yaml_get(root, "defaults"); }

/* What only batch files have. */
static vs_status refuse_batch(const vs_reader *r, const vs_yaml_node *root) {
    static const char *const keys[] = { "runs", "defaults" };
    for (size_t i = 0; i < 2; i++) {
        const vs_yaml_node *n = vs_yaml_get(root, keys[i]);
        if (n) return vs_read_fail(r, n->mark, "this is a batch file ('%s'); give the configuration of a single run", keys[i]);
    }
    const vs_yaml_node *published = vs_yaml_get(root, "published");
    return published ? vs_read_fail(r, published->mark, "published belongs to the runs of a batch file") : VS_OK;
}

static bool has_state(const vs_config *c, const char *name) {
    bool float_named = false; /* fp32 is run even where it is not listed */
    for (size_t i = 0; i < c->state_count; i++) {
        if (strcmp(c->states[i].name, name) == 0) return true;
        float_named |= c->states[i].kind == VS_STATE_FP32;
    }
    return !float_named && strcmp(name, vs_state_kind_name(VS_STATE_FP32)) == 0;
}

static vs_status check_published(const vs_reader *r, const vs_config *c) {
    for (size_t i = 0; i < c->published_count; i++) {
        const vs_published *p = &c->published[i];
        if (has_state(c, p->state)) continue;
        const char **names = vs_calloc(c->state_count, sizeof *names);
        if (!names) return vs_fail(r->err, VS_ERR_NOMEM, "%s: no memory", c->path);
        for (size_t k = 0; k < c->state_count; k++) names[k] = c->states[k].name;
        const char *near = vs_nearest(p->state, names, c->state_count);
        vs_status status = vs_read_fail(r, p->mark, "published: there is no state '%.100s' in this run%s%s%s", p->state,
                                        near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        free(names);
        return status;
    }
    return VS_OK;
}

vs_status vs_config_hold_tree(vs_config **out, vs_yaml_node *root, const char *label, vs_error *err) {
    vs_config *c = vs_calloc(1, sizeof *c);
    *out = c;
    if (c && (c->path = vs_strdup(label))) {
        c->root = root;
        return VS_OK;
    }
    free(c);
    vs_yaml_free(root);
    *out = NULL;
    return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
}

vs_status vs_config_from_tree(vs_config **out, vs_yaml_node *root, const char *label, bool batch, const vs_override *overrides,
                              size_t override_count, vs_error *err) {
    *out = NULL;
    vs_config *c = NULL;
    vs_status status = vs_config_hold_tree(&c, root, label, err);
    if (status != VS_OK) return status;
    const vs_reader r = { .config = c, .err = err };
    if (c->root->kind != VS_NODE_MAP) status = vs_read_fail(&r, c->root->mark, "the configuration must be a map");
    if (status == VS_OK) status = apply_overrides(c, overrides, override_count, err);
    if (status == VS_OK && !batch) status = refuse_batch(&r, c->root);
    if (status == VS_OK) status = vs_read_map(&r, vs_config_fields, c->root, c->root->mark, "", c);
    if (status == VS_OK) status = check_set(&r, "calibration", &c->data.calibration);
    if (status == VS_OK) status = check_set(&r, "analysis", &c->data.analysis);
    if (status == VS_OK) status = check_set(&r, "evaluation", &c->data.evaluation);
    if (status == VS_OK) status = check_mmseg(&r, &c->data.preprocess);
    if (status == VS_OK) status = check_tiles(&r, &c->data.preprocess);
    if (status == VS_OK) status = check_published(&r, c);
    if (status != VS_OK) {
        vs_config_free(c);
        return status;
    }
    *out = c;
    return VS_OK;
}

vs_status vs_config_parse(vs_config **out, const char *text, size_t size, const char *label, const vs_override *overrides,
                          size_t override_count, vs_error *err) {
    vs_yaml_node *root = NULL;
    *out = NULL;
    vs_status status = vs_yaml_parse(&root, text, size, label, err);
    return status == VS_OK ? vs_config_from_tree(out, root, label, false, overrides, override_count, err) : status;
}

vs_status vs_config_read_file(const char *path, char **text, size_t *size, vs_error *err) {
    vs_error reading = { 0 };
    struct stat info;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return vs_fail(err, VS_ERR_CONFIG, "%s: a folder, not a configuration file", path);
    vs_status status = vs_read_file(path, max_file, text, size, &reading);
    if (status == VS_ERR_FORMAT) return vs_fail(err, VS_ERR_CONFIG, "%s:1:1: more than 1 MiB", path);
    return status == VS_OK ? VS_OK : vs_fail(err, status, "%s", reading.message);
}

vs_status vs_config_load(vs_config **out, const char *path, const vs_override *overrides, size_t override_count, vs_error *err) {
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    vs_status status = vs_config_read_file(path, &text, &size, err);
    if (status == VS_OK) status = vs_config_parse(out, text, size, path, overrides, override_count, err);
    free(text);
    return status;
}

const char *vs_config_place(const vs_config *c, vs_mark at, char *text, size_t size) {
    if (at.line > 0)
        snprintf(text, size, "%s:%d:%d", c->path, at.line, at.column);
    else if (at.column > 0 && (size_t)at.column <= c->override_count)
        snprintf(text, size, "--set %s", c->overrides[at.column - 1]);
    else
        snprintf(text, size, "%s", c->path);
    return text;
}

vs_status vs_config_fail(const vs_config *c, vs_mark at, vs_error *err, const char *format, ...) {
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const vs_reader r = { .config = c, .err = err };
    return vs_read_fail(&r, at, "%s", text);
}

static bool is_none(const char *text) { return text && strcmp(text, "none") == 0; }

const char *vs_config_head_file(const vs_config *c) { return is_none(c->model.head) ? NULL : c->model.head; }

bool vs_config_without_head(const vs_config *c) { return is_none(c->model.head); }

static const vs_yaml_node *find_node(const vs_config *c, const char *key) {
    const vs_yaml_node *n = c->root;
    char part[64];
    while (n && *key) {
        const size_t length = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, key);
        n = vs_yaml_get(n, part);
        key += length + (key[length] == '.');
    }
    return n;
}

bool vs_config_is_written(const vs_config *c, const char *key) { return find_node(c, key) != NULL; }

vs_mark vs_config_mark(const vs_config *c, const char *key) {
    const vs_yaml_node *n = find_node(c, key);
    return n ? n->mark : (vs_mark){ 0, 0 };
}
