#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "util/util.h"
#include "json/json_text.h"

static json_t *dump_map(const vs_field *fields, const char *base);

/* Both take what they are given and yield the container, or NULL (and nothing left over) once something is missing. */
static json_t *append(json_t *array, json_t *value) {
    if (array && value && json_array_append(array, value) == 0) {
        json_decref(value);
        return array;
    }
    json_decref(array);
    json_decref(value);
    return NULL;
}

static json_t *put(json_t *object, const char *key, json_t *value) {
    if (object && value && json_object_set(object, key, value) == 0) {
        json_decref(value);
        return object;
    }
    json_decref(object);
    json_decref(value);
    return NULL;
}

static json_t *dump_text(const char *text) { return text ? vs_json_string(text) : json_null(); }

static json_t *dump_strings(const vs_string_list *list) {
    json_t *a = json_array();
    for (size_t i = 0; i < list->count; i++) a = append(a, dump_text(list->items[i]));
    return a;
}

static json_t *dump_flags(const char *const *names, const bool *flags) {
    json_t *a = json_array();
    for (size_t i = 0; names[i]; i++)
        if (flags[i]) a = append(a, json_string(names[i]));
    return a;
}

static json_t *dump_states(const vs_config *c) {
    json_t *a = json_array();
    for (size_t i = 0; i < c->state_count; i++) {
        const vs_state_config *s = &c->states[i];
        json_t *o = put(json_object(), "name", json_string(s->name));
        if (s->kind == VS_STATE_SQ || s->kind == VS_STATE_SQPH) {
            o = put(o, "alpha", json_real(s->alpha));
            o = put(o, "scope", json_string(s->scope == VS_SCOPE_ALL ? "all" : "norm"));
        }
        a = append(a, put(json_object(), vs_state_kind_name(s->kind), o));
    }
    return a;
}

static json_t *dump_plants(const vs_config *c) {
    json_t *a = json_array();
    for (size_t i = 0; i < c->model.plant_count; i++) {
        const vs_plant_config *p = &c->model.plants[i];
        json_t *o = dump_map(vs_plant_fields, (const char *)p);
        for (const vs_field *f = vs_plant_fields; o && f->key; f++)
            if (!vs_plant_has(p->kind, f->key)) (void)json_object_del(o, f->key);
        a = append(a, o);
    }
    return a;
}

static json_t *dump_blocks(const vs_plant_config *p) {
    if (p->block_count == 0) return json_string("all");
    json_t *a = json_array();
    for (size_t i = 0; i < p->block_count; i++) a = append(a, json_integer(p->blocks[i]));
    return a;
}

static json_t *dump_policies(const vs_fp16_config *c) {
    json_t *a = json_array();
    for (size_t i = 0; i < c->policy_count; i++) a = append(a, dump_map(vs_policy_fields, (const char *)&c->policies[i]));
    return a;
}

static json_t *dump_observer(const vs_recipe_config *r) {
    if (r->observer == VS_OBSERVER_PERCENTILE) return put(json_object(), "percentile", json_real(r->percentile));
    return json_string(r->observer == VS_OBSERVER_MSE ? "mse" : "minmax");
}

static json_t *dump_field(const vs_field *f, const char *base) {
    const void *at = base + f->offset;
    switch (f->type) {
    case VS_FIELD_TEXT:
    case VS_FIELD_NAME:
    case VS_FIELD_PATH:
    case VS_FIELD_NONE_OR_PATH: return dump_text(*(char *const *)at);
    case VS_FIELD_INT:
        return *(const int64_t *)at         ? json_integer(*(const int64_t *)at)
               : f->min > 0 && !f->fallback ? json_null()
                                            : json_integer(0);
    case VS_FIELD_UINT: return json_integer((json_int_t) * (const uint64_t *)at);
    case VS_FIELD_NUMBER: return f->min > 0 && !(*(const double *)at > 0) ? json_null() : json_real(*(const double *)at);
    case VS_FIELD_BOOL: return json_boolean(*(const bool *)at);
    case VS_FIELD_ENUM: {
        unsigned value = 0;
        memcpy(&value, at, sizeof value);
        return json_string(f->names[value]);
    }
    case VS_FIELD_FLAGS: return dump_flags(f->names, at);
    case VS_FIELD_TRIPLE: {
        const double *v = at;
        return json_pack("[f, f, f]", v[0], v[1], v[2]);
    }
    case VS_FIELD_STRINGS: return dump_strings(at);
    case VS_FIELD_OBSERVER: return dump_observer((const vs_recipe_config *)(const void *)(base + offsetof(vs_config, recipe)));
    case VS_FIELD_STATES: return dump_states((const vs_config *)(const void *)base);
    case VS_FIELD_POLICIES: return dump_policies((const vs_fp16_config *)at);
    case VS_FIELD_PLANTS: return dump_plants((const vs_config *)(const void *)base);
    case VS_FIELD_BLOCKS: return dump_blocks((const vs_plant_config *)(const void *)base);
    case VS_FIELD_PUBLISHED:
    case VS_FIELD_IGNORED: return NULL;
    case VS_FIELD_NONE_OR_MAP: {
        const vs_field *first = f->fields; /* the required number is zero when the map is absent */
        return *(const int64_t *)(const void *)(base + first->offset) ? dump_map(f->fields, base) : json_string("none");
    }
    case VS_FIELD_MAP:
        return f->present && !*(const bool *)(const void *)(base + f->present - 1) ? json_null() : dump_map(f->fields, at);
    }
    return json_null();
}

static json_t *dump_map(const vs_field *fields, const char *base) {
    json_t *o = json_object();
    for (const vs_field *f = fields; f->key; f++)
        if (f->type != VS_FIELD_IGNORED && f->type != VS_FIELD_PUBLISHED) o = put(o, f->key, dump_field(f, base));
    return o;
}

char *vs_config_dump_json(const vs_config *config) {
    json_t *o = dump_map(vs_config_fields, (const char *)config);
    char *text = vs_json_text(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(o);
    return text;
}

/* The value of "a.b"; borrowed. */
static const json_t *look_up(const json_t *o, const char *key) {
    char part[64];
    while (o && *key) {
        const size_t length = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, key);
        o = json_object_get(o, part);
        key += length + (key[length] == '.');
    }
    return o;
}

static int hash_bytes(const char *bytes, size_t size, void *sha) {
    vs_sha256_update(sha, bytes, size);
    return 0;
}

vs_status vs_config_digest(const vs_config *config, const char *const *keys, size_t count, char hex[65], vs_error *err) {
    json_t *o = dump_map(vs_config_fields, (const char *)config);
    vs_sha256 sha;
    uint8_t digest[32];
    const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17);
    vs_sha256_init(&sha);
    bool whole = o != NULL;
    for (size_t i = 0; whole && i < count; i++) {
        const json_t *value = look_up(o, keys[i]);
        whole = value && json_dump_callback(value, hash_bytes, &sha, flags) == 0;
        vs_sha256_update(&sha, "", 1);
    }
    json_decref(o);
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
    return whole ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "%s: no memory", config->path);
}
