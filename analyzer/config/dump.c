#include <jansson.h>
#include <string.h>

#include "schema.h"

static json_t *dump_map(const vs_field *fields, const char *base);

static json_t *text_or_null(const char *text) { return text ? json_string(text) : json_null(); }

static json_t *dump_strings(const vs_string_list *list) {
    json_t *a = json_array();
    for (size_t i = 0; i < list->count; i++) json_array_append_new(a, json_string(list->items[i]));
    return a;
}

static json_t *dump_flags(const char *const *names, const bool *flags) {
    json_t *a = json_array();
    for (size_t i = 0; names[i]; i++)
        if (flags[i]) json_array_append_new(a, json_string(names[i]));
    return a;
}

static json_t *dump_states(const vs_config *c) {
    json_t *a = json_array();
    for (size_t i = 0; i < c->state_count; i++) {
        const vs_state_config *s = &c->states[i];
        json_t *o = json_pack("{s:s}", "name", s->name);
        if (s->kind == VS_STATE_SQ || s->kind == VS_STATE_SQPH) {
            json_object_set_new(o, "alpha", json_real(s->alpha));
            json_object_set_new(o, "scope", json_string(s->scope == VS_SCOPE_ALL ? "all" : "norm"));
        }
        json_array_append_new(a, json_pack("{s:o}", vs_state_kind_name(s->kind), o));
    }
    return a;
}

static json_t *dump_plants(const vs_config *c) {
    json_t *a = json_array();
    for (size_t i = 0; i < c->model.plant_count; i++)
        json_array_append_new(a, dump_map(vs_plant_fields, (const char *)&c->model.plants[i]));
    return a;
}

static json_t *dump_blocks(const vs_plant_config *p) {
    if (p->block_count == 0) return json_string("all");
    json_t *a = json_array();
    for (size_t i = 0; i < p->block_count; i++) json_array_append_new(a, json_integer(p->blocks[i]));
    return a;
}

static json_t *dump_observer(const vs_recipe_config *r) {
    if (r->observer == VS_OBSERVER_PERCENTILE) return json_pack("{s:f}", "percentile", r->percentile);
    return json_string(r->observer == VS_OBSERVER_MSE ? "mse" : "minmax");
}

static json_t *dump_field(const vs_field *f, const char *base) {
    const void *at = base + f->offset;
    switch (f->type) {
    case VS_FIELD_TEXT:
    case VS_FIELD_NAME:
    case VS_FIELD_PATH: return text_or_null(*(char *const *)at);
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
    case VS_FIELD_PLANTS: return dump_plants((const vs_config *)(const void *)base);
    case VS_FIELD_BLOCKS: return dump_blocks((const vs_plant_config *)(const void *)base);
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
    for (const vs_field *f = fields; f->key; f++) {
        json_t *value = dump_field(f, base);
        if (value) json_object_set_new(o, f->key, value);
    }
    return o;
}

char *vs_config_dump_json(const vs_config *config) {
    json_t *o = dump_map(vs_config_fields, (const char *)config);
    char *text = json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(o);
    return text;
}
