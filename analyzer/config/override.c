#include <stdlib.h>
#include <string.h>

#include "node.h"
#include "util.h"

static void clear_marks(vs_node *n) {
    n->mark = (vs_mark){ 0, 0 };
    for (size_t i = 0; i < n->count; i++) clear_marks(n->items[i]);
}

static vs_node *make(vs_node_kind kind, const char *text) {
    vs_node *n = vs_calloc(1, sizeof *n);
    if (!n) return NULL;
    n->kind = kind;
    if (text && !(n->text = vs_strdup(text))) {
        free(n);
        return NULL;
    }
    return n;
}

/* The name of a state in the list `states`: its name:, else its kind. */
static bool state_is(const vs_node *item, const char *name) {
    if (item->kind == VS_NODE_SCALAR) return strcmp(item->text, name) == 0;
    if (item->kind != VS_NODE_MAP || item->count != 1) return false;
    const vs_node *given = vs_node_get(item->items[0], "name");
    return strcmp(given && given->kind == VS_NODE_SCALAR ? given->text : item->keys[0], name) == 0;
}

/* states.NAME: the map of options of that state, made where it was a bare name. */
static vs_status enter_state(vs_node *list, const char *name, vs_node **out, const char *text, vs_error *err) {
    for (size_t i = 0; i < list->count; i++) {
        vs_node *item = list->items[i];
        if (!state_is(item, name)) continue;
        if (item->kind == VS_NODE_SCALAR) {
            vs_node *map = make(VS_NODE_MAP, NULL), *options = make(VS_NODE_MAP, NULL);
            if (!map || !options || vs_node_set(map, name, item->mark, options, err) != VS_OK) {
                vs_node_free(map);
                vs_node_free(options);
                return vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
            }
            map->mark = item->mark;
            vs_node_free(item);
            item = list->items[i] = map;
        }
        *out = item->items[0];
        return VS_OK;
    }
    return vs_fail(err, VS_ERR_CONFIG, "--set %s: there is no state '%s' in states", text, name);
}

vs_status vs_node_override(vs_node *root, const char *text, vs_error *err) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) return vs_fail(err, VS_ERR_CONFIG, "--set %s: expected KEY=VALUE", text);
    char *path = vs_format("%.*s", (int)(equals - text), text), *label = vs_format("--set %s", text);
    vs_node *value = NULL, *at = root;
    vs_status status = path && label ? vs_node_parse(&value, equals + 1, strlen(equals + 1), label, err)
                                     : vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    if (status != VS_OK) goto out;
    clear_marks(value);
    char *key = path;
    for (char *dot; (dot = strchr(key, '.')) != NULL && status == VS_OK; key = dot + 1) {
        *dot = '\0';
        vs_node *child = vs_node_get(at, key);
        if (!child) {
            child = make(VS_NODE_MAP, NULL);
            status = child ? vs_node_set(at, key, (vs_mark){ 0, 0 }, child, err)
                           : vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
            if (status != VS_OK) vs_node_free(child);
        }
        if (status != VS_OK) break;
        if (child->kind == VS_NODE_LIST && strcmp(key, "states") == 0) {
            char *name = dot + 1, *end = strchr(name, '.');
            if (!end) {
                status = vs_fail(err, VS_ERR_CONFIG, "--set %s: expected states.NAME.KEY=VALUE", text);
                break;
            }
            *end = '\0';
            status = enter_state(child, name, &at, text, err);
            dot = end;
            key = dot + 1;
            dot = key - 1;
            continue;
        }
        if (child->kind != VS_NODE_MAP) status = vs_fail(err, VS_ERR_CONFIG, "--set %s: '%s' is no map", text, key);
        at = child;
    }
    if (status == VS_OK) status = vs_node_set(at, key, (vs_mark){ 0, 0 }, value, err);
    if (status == VS_OK) value = NULL;
out:
    vs_node_free(value);
    free(path);
    free(label);
    return status;
}
