#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "util/util.h"

vs_status vs_read_fail(const vs_reader *r, vs_mark at, const char *format, ...) {
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char place[1024];
    return vs_fail(r->err, VS_ERR_CONFIG, "%s: %s", vs_config_place(r->config, at, place, sizeof place), text);
}

static vs_status no_memory(const vs_reader *r) { return vs_fail(r->err, VS_ERR_NOMEM, "%s: no memory", r->config->path); }

static vs_status want(const vs_reader *r, const vs_yaml_node *n, vs_yaml_kind kind, const char *where) {
    static const char *const kinds[] = { "a value", "a list", "a map" };
    return n->kind == kind ? VS_OK : vs_read_fail(r, n->mark, "%s must be %s", where, kinds[kind]);
}

/* "a, b or c" of the keys or names given. */
static void join(char *text, size_t size, const char *const *names) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; names[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
}

static vs_status unknown(const vs_reader *r, vs_mark at, const char *what, const char *got, const char *where,
                         const char *const *known, size_t count) {
    const char *near = vs_nearest(got, known, count);
    if (near) return vs_read_fail(r, at, "unknown %s '%.100s' in %s; did you mean '%s'?", what, got, where, near);
    char list[400];
    join(list, sizeof list, known);
    return vs_read_fail(r, at, "unknown %s '%.100s' in %s; known: %s", what, got, where, list);
}

static vs_status read_number(const vs_reader *r, const vs_yaml_node *n, const char *where, double min, double max, double *out) {
    vs_status status = want(r, n, VS_NODE_SCALAR, where);
    if (status != VS_OK) return status;
    char *end = NULL;
    errno = 0;
    const double v = n->quoted ? 0 : strtod(n->text, &end);
    if (n->quoted || end == n->text || *end || !isfinite(v) || strpbrk(n->text, "xXpP"))
        return vs_read_fail(r, n->mark, "%s must be a number, not '%.60s'", where, n->text);
    if (!(v >= min && v <= max)) return vs_read_fail(r, n->mark, "%s is %.60s, out of range: %g to %g", where, n->text, min, max);
    *out = v;
    return VS_OK;
}

static vs_status read_whole(const vs_reader *r, const vs_yaml_node *n, const char *where, double min, double max, double *out) {
    vs_status status = want(r, n, VS_NODE_SCALAR, where);
    if (status != VS_OK) return status;
    const char *digits = n->text + (n->text[0] == '-');
    if (n->quoted || !*digits || strspn(digits, "0123456789") != strlen(digits))
        return vs_read_fail(r, n->mark, "%s must be a whole number, not '%.60s'", where, n->text);
    status = read_number(r, n, where, -1e18, 1e18, out);
    if (status == VS_OK && !(*out >= min && *out <= max))
        return vs_read_fail(r, n->mark, "%s is %.60s, out of range: %.0f to %.0f", where, n->text, min, max);
    return status;
}

static vs_status read_text(const vs_reader *r, const vs_yaml_node *n, const char *where, char **out) {
    vs_status status = want(r, n, VS_NODE_SCALAR, where);
    if (status != VS_OK) return status;
    if (!*n->text) return vs_read_fail(r, n->mark, "%s is empty", where);
    *out = vs_strdup(n->text);
    return *out ? VS_OK : no_memory(r);
}

static vs_status read_name(const vs_reader *r, const vs_yaml_node *n, const char *where, char **out) {
    vs_status status = want(r, n, VS_NODE_SCALAR, where);
    if (status != VS_OK) return status;
    const size_t good = strspn(n->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    if (good == 0 || n->text[good] || n->text[0] == '.' || good > 100)
        return vs_read_fail(r, n->mark,
                            "%s '%.60s' must be letters, digits, '.', '_', '-' (at most 100, no leading dot): it names files",
                            where, n->text);
    return read_text(r, n, where, out);
}

static vs_status read_choice(const vs_reader *r, const vs_yaml_node *n, const char *where, const char *const *names,
                             size_t *out) {
    vs_status status = want(r, n, VS_NODE_SCALAR, where);
    if (status != VS_OK) return status;
    for (size_t i = 0; names[i]; i++)
        if (strcmp(n->text, names[i]) == 0) {
            *out = i;
            return VS_OK;
        }
    char list[300];
    join(list, sizeof list, names);
    return vs_read_fail(r, n->mark, "%s must be %s, not '%.60s'", where, list, n->text);
}

static vs_status read_bool(const vs_reader *r, const vs_yaml_node *n, const char *where, bool *out) {
    static const char *const words[] = { "false", "true", NULL };
    size_t i = 0;
    vs_status status = read_choice(r, n, where, words, &i);
    *out = i == 1;
    return status;
}

static vs_status read_flags(const vs_reader *r, const vs_yaml_node *n, const char *where, const char *const *names, bool *flags) {
    vs_status status = want(r, n, VS_NODE_LIST, where);
    if (status == VS_OK && n->count == 0) return vs_read_fail(r, n->mark, "%s is empty", where);
    for (size_t i = 0; names[i]; i++) flags[i] = false;
    for (size_t i = 0; status == VS_OK && i < n->count; i++) {
        size_t at = 0;
        status = read_choice(r, n->items[i], where, names, &at);
        if (status == VS_OK) flags[at] = true;
    }
    return status;
}

static vs_status read_triple(const vs_reader *r, const vs_yaml_node *n, const char *where, double min, double max, double *out) {
    vs_status status = want(r, n, VS_NODE_LIST, where);
    if (status == VS_OK && n->count != 3) return vs_read_fail(r, n->mark, "%s needs three numbers, red green blue", where);
    for (size_t i = 0; status == VS_OK && i < 3; i++) status = read_number(r, n->items[i], where, min, max, &out[i]);
    return status;
}

static vs_status add_string(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_string_list *list) {
    size_t a = list->capacity, b = list->capacity;
    if (!vs_grow((void **)&list->items, &a, list->count + 1, sizeof *list->items) ||
        !vs_grow((void **)&list->marks, &b, list->count + 1, sizeof *list->marks))
        return no_memory(r);
    list->capacity = a;
    vs_status status = read_text(r, n, where, &list->items[list->count]);
    if (status == VS_OK) list->marks[list->count++] = n->mark;
    return status;
}

static vs_status read_strings(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_string_list *list) {
    if (n->kind == VS_NODE_SCALAR) return add_string(r, n, where, list);
    vs_status status = want(r, n, VS_NODE_LIST, where);
    for (size_t i = 0; status == VS_OK && i < n->count; i++) status = add_string(r, n->items[i], where, list);
    return status;
}

/* minmax, mse, or {percentile: p} */
static vs_status read_observer(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_recipe_config *recipe) {
    static const char *const words[] = { "minmax", "mse", NULL };
    static const vs_observer_kind kinds[] = { VS_OBSERVER_MINMAX, VS_OBSERVER_MSE };
    recipe->percentile = 99.99;
    if (n->kind == VS_NODE_MAP) {
        const vs_yaml_node *p = vs_yaml_get(n, "percentile");
        if (!p || n->count != 1) return vs_read_fail(r, n->mark, "%s must be minmax, mse or {percentile: NUMBER}", where);
        recipe->observer = VS_OBSERVER_PERCENTILE;
        return read_number(r, p, "recipe.observer.percentile", 50, 100, &recipe->percentile);
    }
    size_t at = 0;
    vs_status status = read_choice(r, n, where, words, &at);
    if (status == VS_OK) recipe->observer = kinds[at];
    return status;
}

static vs_status read_blocks(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_plant_config *plant) {
    if (n->kind == VS_NODE_SCALAR && strcmp(n->text, "all") == 0) return VS_OK;
    vs_status status = want(r, n, VS_NODE_LIST, where);
    if (status == VS_OK && n->count == 0) return vs_read_fail(r, n->mark, "%s is empty; leave it out for all blocks", where);
    if (status == VS_OK && !(plant->blocks = vs_calloc(n->count, sizeof *plant->blocks))) return no_memory(r);
    for (size_t i = 0; status == VS_OK && i < n->count; i++) {
        double v = 0;
        status = read_whole(r, n->items[i], where, 0, 1000, &v);
        for (size_t k = 0; status == VS_OK && k < plant->block_count; k++)
            if (plant->blocks[k] == (int64_t)v) status = vs_read_fail(r, n->items[i]->mark, "block %.0f is listed twice", v);
        plant->blocks[plant->block_count++] = (int64_t)v;
    }
    return status;
}

static vs_status read_plants(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_config *config) {
    vs_status status = want(r, n, VS_NODE_LIST, where);
    if (status == VS_OK && !(config->model.plants = vs_calloc(n->count, sizeof *config->model.plants))) return no_memory(r);
    for (size_t i = 0; status == VS_OK && i < n->count; i++) {
        vs_plant_config *p = &config->model.plants[config->model.plant_count++];
        p->mark = n->items[i]->mark;
        status = vs_read_map(r, vs_plant_fields, n->items[i], p->mark, where, p);
        for (size_t k = 0; status == VS_OK && k < n->items[i]->count; k++) {
            const char *key = n->items[i]->keys[k];
            if (vs_plant_has(p->kind, key) || (strcmp(key, "units") == 0 && p->units == 1)) continue;
            status = vs_read_fail(r, n->items[i]->key_marks[k], "planting kind %s has no %s", vs_plant_kind_name(p->kind), key);
        }
    }
    return status;
}

/* Far above any use: names are compared each with each. */
enum { MAX_STATES = 64 };

/* `ptq`, or `sq: {alpha: 0.6, name: sq6}`. */
static vs_status read_state(const vs_reader *r, const vs_yaml_node *n, vs_state_config *s) {
    const char *kind = n->kind == VS_NODE_SCALAR ? n->text : n->kind == VS_NODE_MAP && n->count == 1 ? n->keys[0] : NULL;
    if (!kind) return vs_read_fail(r, n->mark, "a state must be a kind, or {kind: {...}}");
    size_t at = 0, count = 0;
    while (vs_state_names[count]) count++;
    while (vs_state_names[at] && strcmp(vs_state_names[at], kind) != 0) at++;
    const vs_mark mark = n->kind == VS_NODE_MAP ? n->key_marks[0] : n->mark;
    if (!vs_state_names[at]) return unknown(r, mark, "state", kind, "states", vs_state_names, count);
    s->kind = (vs_state_kind)at;
    s->mark = mark;
    const vs_yaml_node *options = n->kind == VS_NODE_MAP ? n->items[0] : NULL;
    if (options && options->kind == VS_NODE_SCALAR && !*options->text) options = NULL; /* `- sq:` */
    vs_status status = vs_read_map(r, vs_state_fields, options, n->mark, kind, s);
    const bool smooth = s->kind == VS_STATE_SQ || s->kind == VS_STATE_SQPH;
    for (size_t i = 0; status == VS_OK && options && i < options->count; i++)
        if (!smooth && strcmp(options->keys[i], "name") != 0)
            status = vs_read_fail(r, options->key_marks[i], "state %s has no %s", kind, options->keys[i]);
    if (status == VS_OK && !s->name && !(s->name = vs_strdup(kind))) status = no_memory(r);
    return status;
}

static vs_status read_states(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_config *config) {
    vs_status status = want(r, n, VS_NODE_LIST, where);
    if (status == VS_OK && n->count == 0) return vs_read_fail(r, n->mark, "%s is empty", where);
    if (status == VS_OK && n->count > MAX_STATES)
        return vs_read_fail(r, n->items[MAX_STATES]->mark, "%s has more than %d items", where, MAX_STATES);
    if (status == VS_OK && !(config->states = vs_calloc(n->count, sizeof *config->states))) return no_memory(r);
    for (size_t i = 0; status == VS_OK && i < n->count; i++) {
        vs_state_config *s = &config->states[config->state_count++];
        status = read_state(r, n->items[i], s);
        for (size_t k = 0; status == VS_OK && k < i; k++)
            if (strcmp(config->states[k].name, s->name) == 0)
                status = vs_read_fail(r, s->mark, "two states are called '%s'; give one a name:", s->name);
    }
    return status;
}

/* `fused`, or {name: mine, norm: decomposed}. */
static vs_status read_policy(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_policy_config *p) {
    if (n->kind != VS_NODE_SCALAR) return vs_read_map(r, vs_policy_fields, n, n->mark, where, p);
    const char *known[16];
    size_t count = 0;
    for (; vs_named_policies[count].name; count++) known[count] = vs_named_policies[count].name;
    known[count] = NULL;
    size_t at = 0;
    while (at < count && strcmp(known[at], n->text) != 0) at++;
    if (at == count) return unknown(r, n->mark, "policy", n->text, where, known, count);
    *p = vs_named_policies[at];
    p->name = vs_strdup(known[at]);
    return p->name ? VS_OK : no_memory(r);
}

static vs_status read_policies(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_fp16_config *fp16) {
    vs_status status = want(r, n, VS_NODE_LIST, where);
    if (status == VS_OK && n->count == 0) return vs_read_fail(r, n->mark, "%s is empty", where);
    if (status == VS_OK && n->count > MAX_STATES)
        return vs_read_fail(r, n->items[MAX_STATES]->mark, "%s has more than %d items", where, MAX_STATES);
    if (status == VS_OK && !(fp16->policies = vs_calloc(n->count, sizeof *fp16->policies))) return no_memory(r);
    for (size_t i = 0; status == VS_OK && i < n->count; i++) {
        vs_policy_config *p = &fp16->policies[fp16->policy_count++];
        status = read_policy(r, n->items[i], where, p);
        p->mark = n->items[i]->mark;
        for (size_t k = 0; status == VS_OK && k < i; k++)
            if (strcmp(fp16->policies[k].name, p->name) == 0)
                status = vs_read_fail(r, p->mark, "two policies are called '%s'", p->name);
    }
    return status;
}

/* {fp32: 47.83, ptq: 7.38}; the names are held against the states once these are known. */
static vs_status read_published(const vs_reader *r, const vs_yaml_node *n, const char *where, vs_config *config) {
    vs_status status = want(r, n, VS_NODE_MAP, where);
    if (status == VS_OK && !(config->published = vs_calloc(n->count + 1, sizeof *config->published))) return no_memory(r);
    for (size_t i = 0; status == VS_OK && i < n->count; i++) {
        vs_published *p = &config->published[config->published_count++];
        char name[160];
        snprintf(name, sizeof name, "%s.%.100s", where, n->keys[i]);
        p->mark = n->key_marks[i];
        if (!(p->state = vs_strdup(n->keys[i]))) return no_memory(r);
        status = read_number(r, n->items[i], name, -1e9, 1e9, &p->value);
    }
    return status;
}

static vs_status read_field(const vs_reader *r, const vs_field *f, const vs_yaml_node *n, const char *where, char *base) {
    void *to = base + f->offset;
    double number = 0;
    size_t choice = 0;
    vs_status status = VS_OK;
    switch (f->type) {
    case VS_FIELD_TEXT: return read_text(r, n, where, to);
    case VS_FIELD_NAME: return read_name(r, n, where, to);
    case VS_FIELD_NONE_OR_PATH:
    case VS_FIELD_PATH: {
        char *text = NULL;
        status = read_text(r, n, where, &text);
        const bool none = f->type == VS_FIELD_NONE_OR_PATH && text && strcmp(text, "none") == 0;
        if (status == VS_OK &&
            !(*(char **)to = n->mark.line && !none ? vs_path_relative_to(r->config->path, text) : vs_strdup(text)))
            status = no_memory(r);
        free(text);
        return status;
    }
    case VS_FIELD_INT:
        status = read_whole(r, n, where, f->min, f->max, &number);
        if (status == VS_OK) *(int64_t *)to = (int64_t)number;
        return status;
    case VS_FIELD_UINT:
        status = read_whole(r, n, where, f->min, f->max, &number);
        if (status == VS_OK) *(uint64_t *)to = (uint64_t)number;
        return status;
    case VS_FIELD_NUMBER: return read_number(r, n, where, f->min, f->max, to);
    case VS_FIELD_BOOL: return read_bool(r, n, where, to);
    case VS_FIELD_ENUM: {
        status = read_choice(r, n, where, f->names, &choice);
        const unsigned value = (unsigned)choice;
        memcpy(to, &value, sizeof value);
        return status;
    }
    case VS_FIELD_FLAGS: return read_flags(r, n, where, f->names, to);
    case VS_FIELD_TRIPLE: return read_triple(r, n, where, f->min, f->max, to);
    case VS_FIELD_STRINGS: return read_strings(r, n, where, to);
    case VS_FIELD_OBSERVER: return read_observer(r, n, where, (vs_recipe_config *)(void *)(base + offsetof(vs_config, recipe)));
    case VS_FIELD_STATES: return read_states(r, n, where, (vs_config *)(void *)base);
    case VS_FIELD_PLANTS: return read_plants(r, n, where, (vs_config *)(void *)base);
    case VS_FIELD_BLOCKS: return read_blocks(r, n, where, (vs_plant_config *)(void *)base);
    case VS_FIELD_POLICIES: return read_policies(r, n, where, (vs_fp16_config *)(void *)(base + f->offset));
    case VS_FIELD_PUBLISHED: return read_published(r, n, where, (vs_config *)(void *)base);
    case VS_FIELD_IGNORED: return VS_OK;
    case VS_FIELD_NONE_OR_MAP:
    case VS_FIELD_MAP: break;
    }
    if (f->type == VS_FIELD_NONE_OR_MAP && n->kind == VS_NODE_SCALAR && strcmp(n->text, "none") == 0) return VS_OK;
    if (f->present) *(bool *)(void *)(base + f->present - 1) = true;
    if (f->mark) *(vs_mark *)(void *)(base + f->mark - 1) = n->mark;
    return vs_read_map(r, f->fields, n, n->mark, where, to);
}

static vs_status read_default(const vs_reader *r, const vs_field *f, const char *where, char *base) {
    if (f->type == VS_FIELD_MAP && !f->present)
        return vs_read_map(r, f->fields, NULL, (vs_mark){ 0, 0 }, where, base + f->offset);
    if (!f->fallback) return VS_OK;
    vs_yaml_node *n = NULL;
    vs_status status = vs_yaml_parse(&n, f->fallback, strlen(f->fallback), "default", r->err);
    if (status == VS_OK) {
        n->mark = (vs_mark){ 0, 0 };
        status = read_field(r, f, n, where, base);
    }
    vs_yaml_free(n);
    return status;
}

vs_status vs_read_map(const vs_reader *r, const vs_field *fields, const vs_yaml_node *map, vs_mark at, const char *where,
                      void *base) {
    vs_status status = map ? want(r, map, VS_NODE_MAP, where) : VS_OK;
    const char *known[VS_MAX_FIELDS + 1];
    size_t count = 0;
    for (; fields[count].key; count++) known[count] = fields[count].key;
    known[count] = NULL;
    for (size_t i = 0; status == VS_OK && map && i < map->count; i++) {
        bool found = false;
        for (size_t k = 0; k < count; k++) found |= strcmp(known[k], map->keys[i]) == 0;
        if (!found)
            status = unknown(r, map->key_marks[i], "key", map->keys[i], *where ? where : "the configuration", known, count);
    }
    for (size_t k = 0; status == VS_OK && k < count; k++) {
        const vs_field *f = &fields[k];
        char name[160];
        snprintf(name, sizeof name, "%s%s%s", where, *where ? "." : "", f->key);
        const vs_yaml_node *n = map ? vs_yaml_get(map, f->key) : NULL;
        if (n)
            status = read_field(r, f, n, name, base);
        else if (f->required)
            status = vs_read_fail(r, at, "%s is missing", name);
        else
            status = read_default(r, f, name, base);
    }
    return status;
}

void vs_release_fields(const vs_field *fields, void *base) {
    for (const vs_field *f = fields; f->key; f++) {
        char *at = (char *)base + f->offset;
        if (f->type == VS_FIELD_TEXT || f->type == VS_FIELD_NAME || f->type == VS_FIELD_PATH || f->type == VS_FIELD_NONE_OR_PATH)
            free(*(char **)(void *)at);
        else if (f->type == VS_FIELD_MAP)
            vs_release_fields(f->fields, at);
        else if (f->type == VS_FIELD_STRINGS) {
            vs_string_list *list = (vs_string_list *)(void *)at;
            for (size_t i = 0; i < list->count; i++) free(list->items[i]);
            free(list->items);
            free(list->marks);
        }
    }
}
