#include <stdlib.h>
#include <string.h>

#include "config/node.h"
#include "util/util.h"

static void set_marks(vs_yaml_node *n, vs_mark at) {
    n->mark = at;
    for (size_t i = 0; i < n->count; i++) {
        if (n->kind == VS_NODE_MAP) n->key_marks[i] = at;
        set_marks(n->items[i], at);
    }
}

static vs_yaml_node *make_map(vs_mark at) {
    vs_yaml_node *n = vs_calloc(1, sizeof *n);
    if (n) {
        n->kind = VS_NODE_MAP;
        n->mark = at;
    }
    return n;
}

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration"); }

/* Puts an empty map under `key` and shows it. */
static vs_status add_map(vs_yaml_node *map, const char *key, vs_mark at, vs_yaml_node **out, vs_error *err) {
    vs_yaml_node *child = make_map(at);
    vs_status status = child ? vs_yaml_set(map, key, at, child, err) : no_memory(err);
    if (status == VS_OK)
        *out = child;
    else
        vs_yaml_free(child);
    return status;
}

/* A state's name:, else its kind; NULL where it is no state. */
static const char *state_name(const vs_yaml_node *item) {
    if (item->kind == VS_NODE_SCALAR) return item->text;
    if (item->kind != VS_NODE_MAP || item->count != 1) return NULL;
    const vs_yaml_node *name = vs_yaml_get(item->items[0], "name");
    return name && name->kind == VS_NODE_SCALAR ? name->text : item->keys[0];
}

/* The options of list->items[i], a map made where there is none: `sq`, `sq:`. */
static vs_status open_state(vs_yaml_node *list, size_t i, vs_yaml_node **out, vs_error *err) {
    vs_yaml_node *item = list->items[i];
    if (item->kind == VS_NODE_SCALAR) {
        vs_yaml_node *map = make_map(item->mark);
        vs_status status = map ? add_map(map, item->text, item->mark, out, err) : no_memory(err);
        if (status != VS_OK) {
            vs_yaml_free(map);
            return status;
        }
        vs_yaml_free(item);
        list->items[i] = map;
        return VS_OK;
    }
    *out = item->items[0];
    if ((*out)->kind == VS_NODE_SCALAR && !*(*out)->text) return add_map(item, item->keys[0], (*out)->mark, out, err);
    return VS_OK;
}

/* states.NAME.KEY: steps *rest over "NAME." and shows that state's options. Names may hold dots, so the longest wins. */
static vs_status enter_state(vs_yaml_node *list, char **rest, vs_yaml_node **out, const char *text, vs_error *err) {
    size_t longest = 0, found = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = state_name(list->items[i]);
        const size_t n = name ? strlen(name) : 0;
        if (n <= longest || strncmp(*rest, name, n) != 0 || (*rest)[n] != '.') continue;
        longest = n;
        found = i;
    }
    if (longest == 0 && !strchr(*rest, '.')) return vs_fail(err, VS_ERR_CONFIG, "--set %s: expected states.NAME.KEY=VALUE", text);
    if (longest == 0)
        return vs_fail(err, VS_ERR_CONFIG, "--set %s: there is no state '%.*s' in states", text, (int)strcspn(*rest, "."), *rest);
    *rest += longest + 1;
    return open_state(list, found, out, err);
}

vs_status vs_yaml_override(vs_yaml_node *root, const char *text, vs_mark mark, vs_error *err) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) return vs_fail(err, VS_ERR_CONFIG, "--set %s: expected KEY=VALUE", text);
    char *path = vs_format("%.*s", (int)(equals - text), text), *label = vs_format("--set %s", text);
    vs_yaml_node *value = NULL, *at = root;
    vs_status status = path && label ? vs_yaml_parse_value(&value, equals + 1, label, err) : no_memory(err);
    if (status != VS_OK) goto out;
    set_marks(value, mark);
    char *rest = path;
    for (char *dot; status == VS_OK && (dot = strchr(rest, '.')) != NULL;) {
        const char *key = rest;
        *dot = '\0';
        rest = dot + 1;
        vs_yaml_node *child = vs_yaml_get(at, key);
        if (!child)
            status = add_map(at, key, mark, &child, err);
        else if (at == root && child->kind == VS_NODE_LIST && strcmp(key, "states") == 0)
            status = enter_state(child, &rest, &child, text, err);
        if (status == VS_OK && child->kind != VS_NODE_MAP)
            status = vs_fail(err, VS_ERR_CONFIG, "--set %s: '%s' is no map", text, key);
        at = child;
    }
    const vs_yaml_node *there = status == VS_OK ? vs_yaml_get(at, rest) : NULL;
    const bool section =
        status == VS_OK && value->kind == VS_NODE_MAP && value->count == 0 && there && there->kind == VS_NODE_MAP;
    if (section || status != VS_OK) goto out; /* KEY={} makes a section where there is none */
    status = vs_yaml_set(at, rest, mark, value, err);
    if (status == VS_OK) value = NULL;
out:
    vs_yaml_free(value);
    free(path);
    free(label);
    return status;
}
