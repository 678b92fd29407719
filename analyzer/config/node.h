/* YAML as a tree with places: scalars, lists and maps; no anchors, aliases, tags or duplicate keys. */
#ifndef VS_NODE_H
#define VS_NODE_H

#include "config/config.h"

typedef enum vs_node_kind { VS_NODE_SCALAR, VS_NODE_LIST, VS_NODE_MAP } vs_node_kind;

struct vs_node {
    vs_node_kind kind;
    char *text; /* scalar */
    bool quoted;
    vs_mark mark;
    char **keys; /* map */
    vs_mark *key_marks;
    vs_node **items; /* list, map */
    size_t count, capacity;
};

/* Parses one document. Messages begin with "label:line:column: ". */
VS_NODISCARD vs_status vs_node_parse(vs_node **out, const char *text, size_t size, const char *label, vs_error *err);
/* The same for the value of an override; messages begin with "label: ". */
VS_NODISCARD vs_status vs_node_parse_value(vs_node **out, const char *text, const char *label, vs_error *err);
void vs_node_free(vs_node *node);
vs_node *vs_node_get(const vs_node *map, const char *key); /* NULL if absent or no map */
/* Takes value (on success). An existing key is replaced. */
VS_NODISCARD vs_status vs_node_set(vs_node *map, const char *key, vs_mark key_mark, vs_node *value, vs_error *err);
/* Takes item (on success). */
VS_NODISCARD vs_status vs_node_push(vs_node *list, vs_node *item, vs_error *err);
/* A copy of `base` with `over` (NULL: nothing) laid upon it: maps merge, everything else is replaced. Values and keys keep the
 * places where they were written; where both are, over's. */
VS_NODISCARD vs_status vs_node_merge(vs_node **out, const vs_node *base, const vs_node *over, vs_error *err);
/* Values in the tree, itself included. */
size_t vs_node_size(const vs_node *node);
/* Applies "a.b=c" to the tree; what it adds gets `mark`. */
VS_NODISCARD vs_status vs_node_override(vs_node *root, const char *text, vs_mark mark, vs_error *err);

#endif
