/* YAML as a tree with places: scalars, lists and maps; no anchors, aliases, tags or duplicate keys. */
#ifndef VS_NODE_H
#define VS_NODE_H

#include "config/config.h"

typedef enum vs_yaml_kind { VS_NODE_SCALAR, VS_NODE_LIST, VS_NODE_MAP } vs_yaml_kind;

struct vs_yaml_node {
    vs_yaml_kind kind;
    char *text; /* scalar */
    bool quoted;
    vs_mark mark;
    char **keys; /* map */
    vs_mark *key_marks;
    vs_yaml_node **items; /* list, map */
    size_t count, capacity;
};

/* Parses one document. Messages begin with "label:line:column: ". */
VS_NODISCARD vs_status vs_yaml_parse(vs_yaml_node **out, const char *text, size_t size, const char *label, vs_error *err);
/* The same for the value of an override; messages begin with "label: ". */
VS_NODISCARD vs_status vs_yaml_parse_value(vs_yaml_node **out, const char *text, const char *label, vs_error *err);
void vs_yaml_free(vs_yaml_node *node);
vs_yaml_node *vs_yaml_get(const vs_yaml_node *map, const char *key); /* NULL if absent or no map */
/* Takes value (on success). An existing key is replaced. */
VS_NODISCARD vs_status vs_yaml_set(vs_yaml_node *map, const char *key, vs_mark key_mark, vs_yaml_node *value, vs_error *err);
/* Takes item (on success). */
VS_NODISCARD vs_status vs_yaml_push(vs_yaml_node *list, vs_yaml_node *item, vs_error *err);
/* A copy of `base` with `over` (NULL: nothing) laid upon it: maps merge, everything else is replaced. Values and keys keep the
 * places where they were written; where both are, over's. */
VS_NODISCARD vs_status vs_yaml_merge(vs_yaml_node **out, const vs_yaml_node *base, const vs_yaml_node *over, vs_error *err);
/* Values in the tree, itself included. */
size_t vs_yaml_size(const vs_yaml_node *node);
/* Applies "a.b=c" to the tree; what it adds gets `mark`. */
VS_NODISCARD vs_status vs_yaml_override(vs_yaml_node *root, const char *text, vs_mark mark, vs_error *err);

#endif
