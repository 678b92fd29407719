/* Trees laid upon trees: how a run of a batch file takes what its defaults have. */
#include <stdlib.h>

#include "config/node.h"
#include "util/util.h"

size_t vs_yaml_size(const vs_yaml_node *n) {
    size_t size = 1;
    for (size_t i = 0; i < n->count; i++) size += vs_yaml_size(n->items[i]);
    return size;
}

static vs_status merge_maps(vs_yaml_node *to, const vs_yaml_node *base, const vs_yaml_node *over, vs_error *err);

static vs_status copy_list(vs_yaml_node *to, const vs_yaml_node *from, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < from->count && status == VS_OK; i++) {
        vs_yaml_node *item = NULL;
        status = vs_yaml_merge(&item, from->items[i], NULL, err);
        if (status == VS_OK && (status = vs_yaml_push(to, item, err)) != VS_OK) vs_yaml_free(item);
    }
    return status;
}

vs_status vs_yaml_merge(vs_yaml_node **out, const vs_yaml_node *base, const vs_yaml_node *over, vs_error *err) {
    const vs_yaml_node *from = over ? over : base;
    *out = NULL;
    vs_yaml_node *n = vs_calloc(1, sizeof *n);
    if (!n) return vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    n->kind = from->kind;
    n->mark = from->mark;
    n->quoted = from->quoted;
    vs_status status = VS_OK;
    if (from->kind == VS_NODE_MAP)
        status = merge_maps(n, base, over, err);
    else if (from->kind == VS_NODE_LIST)
        status = copy_list(n, from, err);
    else if (!(n->text = vs_strdup(from->text)))
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    if (status != VS_OK)
        vs_yaml_free(n);
    else
        *out = n;
    return status;
}

static vs_status put(vs_yaml_node *to, const char *key, vs_mark key_mark, const vs_yaml_node *base, const vs_yaml_node *over,
                     vs_error *err) {
    vs_yaml_node *item = NULL;
    vs_status status = vs_yaml_merge(&item, base, over, err);
    if (status == VS_OK && (status = vs_yaml_set(to, key, key_mark, item, err)) != VS_OK) vs_yaml_free(item);
    return status;
}

/* over's keys in its order, then what only base has: a message about a mistake of the run's comes before one of the defaults'. */
static vs_status merge_maps(vs_yaml_node *to, const vs_yaml_node *base, const vs_yaml_node *over, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; over && i < over->count && status == VS_OK; i++) {
        const vs_yaml_node *under = vs_yaml_get(base, over->keys[i]), *item = over->items[i];
        status = put(to, over->keys[i], over->key_marks[i], under ? under : item, under ? item : NULL, err);
    }
    for (size_t i = 0; base->kind == VS_NODE_MAP && i < base->count && status == VS_OK; i++)
        if (!vs_yaml_get(over, base->keys[i])) status = put(to, base->keys[i], base->key_marks[i], base->items[i], NULL, err);
    return status;
}
