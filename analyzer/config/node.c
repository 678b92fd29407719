#include "config/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "util/util.h"

/* Keys are compared each with each; no map of ours has a tenth as many. */
enum { MAX_DEPTH = 32, MAX_NODES = 100000, MAX_KEYS = 256 };
static const size_t max_bytes = (size_t)1 << 20;

void vs_yaml_free(vs_yaml_node *n) {
    if (!n) return;
    for (size_t i = 0; i < n->count; i++) { /* depth is bounded by the parser */
        vs_yaml_free(n->items[i]);
        if (n->keys) free(n->keys[i]);
    }
    free(n->items);
    free(n->keys);
    free(n->key_marks);
    free(n->text);
    free(n);
}

vs_yaml_node *vs_yaml_get(const vs_yaml_node *map, const char *key) {
    for (size_t i = 0; map && map->kind == VS_NODE_MAP && i < map->count; i++)
        if (strcmp(map->keys[i], key) == 0) return map->items[i];
    return NULL;
}

/* Room for one more item (and key). */
static bool make_room(vs_yaml_node *n) {
    const size_t had = n->capacity;
    size_t capacity = had;
    if (!vs_grow((void **)&n->items, &capacity, n->count + 1, sizeof *n->items)) return false;
    if (n->kind == VS_NODE_MAP) {
        capacity = had;
        if (!vs_grow((void **)&n->keys, &capacity, n->count + 1, sizeof *n->keys)) return false;
        capacity = had;
        if (!vs_grow((void **)&n->key_marks, &capacity, n->count + 1, sizeof *n->key_marks)) return false;
    }
    n->capacity = capacity;
    return true;
}

vs_status vs_yaml_set(vs_yaml_node *map, const char *key, vs_mark key_mark, vs_yaml_node *value, vs_error *err) {
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->keys[i], key) == 0) {
            vs_yaml_free(map->items[i]);
            map->items[i] = value;
            return VS_OK;
        }
    char *copy = make_room(map) ? vs_strdup(key) : NULL;
    if (!copy) return vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    map->keys[map->count] = copy;
    map->key_marks[map->count] = key_mark;
    map->items[map->count++] = value;
    return VS_OK;
}

vs_status vs_yaml_push(vs_yaml_node *list, vs_yaml_node *item, vs_error *err) {
    if (!make_room(list)) return vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    list->items[list->count++] = item;
    return VS_OK;
}

typedef struct reader {
    yaml_parser_t parser;
    const char *label;
    bool places; /* messages have line and column */
    const char *text;
    size_t size, nodes;
    vs_error *err;
} reader;

static vs_mark mark_of(yaml_mark_t m) { return (vs_mark){ (int)m.line + 1, (int)m.column + 1 }; }

static vs_status fail_at(const reader *r, vs_mark at, const char *what) {
    if (!r->places) return vs_fail(r->err, VS_ERR_CONFIG, "%s: %s", r->label, what);
    return vs_fail(r->err, VS_ERR_CONFIG, "%s:%d:%d: %s", r->label, at.line, at.column, what);
}

/* libyaml gives only a byte offset where it cannot decode the text. */
static vs_mark mark_of_offset(const reader *r, size_t offset) {
    vs_mark at = { 1, 1 };
    for (size_t i = 0; i < offset && i < r->size; i++) {
        const unsigned char c = (unsigned char)r->text[i];
        if (c == '\n')
            at = (vs_mark){ at.line + 1, 1 };
        else if ((c & 0xC0U) != 0x80U)
            at.column++;
    }
    return at;
}

static vs_status next(reader *r, yaml_event_t *event) {
    if (yaml_parser_parse(&r->parser, event)) return VS_OK;
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return vs_fail(r->err, VS_ERR_NOMEM, "%s: no memory", r->label);
    char what[200];
    snprintf(what, sizeof what, "%s%s%s", p->problem ? p->problem : "not YAML", p->context ? " " : "",
             p->context ? p->context : "");
    return fail_at(r, p->error == YAML_READER_ERROR ? mark_of_offset(r, p->problem_offset) : mark_of(p->problem_mark), what);
}

static vs_status read_node(reader *r, const yaml_event_t *first, size_t depth, vs_yaml_node **out);

static vs_status read_map(reader *r, vs_yaml_node *n, size_t depth) {
    for (;;) {
        yaml_event_t event;
        vs_status status = next(r, &event);
        if (status != VS_OK) return status;
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return VS_OK;
        }
        const vs_mark at = mark_of(event.start_mark);
        vs_yaml_node *key = NULL, *value = NULL;
        status =
            event.type == YAML_SCALAR_EVENT ? read_node(r, &event, depth + 1, &key) : fail_at(r, at, "a key must be plain text");
        yaml_event_delete(&event);
        const char *name = key && key->text ? key->text : "";
        if (status == VS_OK && vs_yaml_get(n, name)) {
            char what[200];
            snprintf(what, sizeof what, "key '%.100s' appears twice", name);
            status = fail_at(r, at, what);
        }
        if (status == VS_OK && n->count == MAX_KEYS) status = fail_at(r, at, "too many keys");
        if (status == VS_OK) status = next(r, &event);
        if (status == VS_OK) {
            status = read_node(r, &event, depth + 1, &value);
            yaml_event_delete(&event);
        }
        if (status == VS_OK) status = vs_yaml_set(n, name, at, value, r->err);
        if (status != VS_OK) vs_yaml_free(value);
        vs_yaml_free(key);
        if (status != VS_OK) return status;
    }
}

static vs_status read_list(reader *r, vs_yaml_node *n, size_t depth) {
    for (;;) {
        yaml_event_t event;
        vs_status status = next(r, &event);
        if (status != VS_OK) return status;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return VS_OK;
        }
        vs_yaml_node *item = NULL;
        status = read_node(r, &event, depth + 1, &item);
        yaml_event_delete(&event);
        if (status == VS_OK && (status = vs_yaml_push(n, item, r->err)) != VS_OK) vs_yaml_free(item);
        if (status != VS_OK) return status;
    }
}

static vs_status read_node(reader *r, const yaml_event_t *e, size_t depth, vs_yaml_node **out) {
    *out = NULL;
    const vs_mark at = mark_of(e->start_mark);
    if (depth > MAX_DEPTH) return fail_at(r, at, "nested too deeply");
    if (++r->nodes > MAX_NODES) return fail_at(r, at, "too many values");
    const bool scalar = e->type == YAML_SCALAR_EVENT, list = e->type == YAML_SEQUENCE_START_EVENT,
               map = e->type == YAML_MAPPING_START_EVENT;
    if (e->type == YAML_ALIAS_EVENT) return fail_at(r, at, "aliases are not allowed");
    if (!scalar && !list && !map) return fail_at(r, at, "a value is missing");
    if ((scalar && e->data.scalar.anchor) || (list && e->data.sequence_start.anchor) || (map && e->data.mapping_start.anchor))
        return fail_at(r, at, "anchors are not allowed");
    if ((scalar && e->data.scalar.tag) || (list && e->data.sequence_start.tag) || (map && e->data.mapping_start.tag))
        return fail_at(r, at, "tags are not allowed");
    vs_yaml_node *n = vs_calloc(1, sizeof *n);
    if (!n) return vs_fail(r->err, VS_ERR_NOMEM, "%s: no memory", r->label);
    n->kind = scalar ? VS_NODE_SCALAR : list ? VS_NODE_LIST : VS_NODE_MAP;
    n->mark = at;
    vs_status status = VS_OK;
    if (scalar) {
        n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        if (memchr(e->data.scalar.value, '\0', e->data.scalar.length))
            status = fail_at(r, at, "a NUL character");
        else if (!(n->text = vs_strdup((const char *)e->data.scalar.value)))
            status = vs_fail(r->err, VS_ERR_NOMEM, "%s: no memory", r->label);
    } else {
        status = list ? read_list(r, n, depth) : read_map(r, n, depth);
    }
    if (status != VS_OK) {
        vs_yaml_free(n);
        return status;
    }
    *out = n;
    return VS_OK;
}

/* Passes an event that carries nothing for us (stream and document starts). */
static vs_status skip(reader *r, yaml_event_type_t want, const char *otherwise) {
    yaml_event_t event;
    vs_status status = next(r, &event);
    if (status != VS_OK) return status;
    const vs_mark at = mark_of(event.start_mark);
    if (event.type != want) status = fail_at(r, at, otherwise);
    yaml_event_delete(&event);
    return status;
}

static vs_status parse(vs_yaml_node **out, const char *text, size_t size, const char *label, bool places, vs_error *err) {
    *out = NULL;
    reader r = { .label = label, .places = places, .text = text, .size = size, .err = err };
    if (size > max_bytes) return fail_at(&r, (vs_mark){ 1, 1 }, "more than 1 MiB");
    if (!yaml_parser_initialize(&r.parser)) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    vs_yaml_node *root = NULL;
    yaml_event_t event;
    vs_status status = skip(&r, YAML_STREAM_START_EVENT, "not YAML");
    if (status == VS_OK)
        status = skip(&r, YAML_DOCUMENT_START_EVENT, places ? "the configuration is empty" : "the value is empty");
    if (status == VS_OK && (status = next(&r, &event)) == VS_OK) {
        status = read_node(&r, &event, 0, &root);
        yaml_event_delete(&event);
    }
    if (status == VS_OK) status = skip(&r, YAML_DOCUMENT_END_EVENT, "the document does not end here");
    if (status == VS_OK) status = skip(&r, YAML_STREAM_END_EVENT, "a second document");
    yaml_parser_delete(&r.parser);
    if (status != VS_OK) {
        vs_yaml_free(root);
        return status;
    }
    *out = root;
    return VS_OK;
}

vs_status vs_yaml_parse(vs_yaml_node **out, const char *text, size_t size, const char *label, vs_error *err) {
    return parse(out, text, size, label, true, err);
}

vs_status vs_yaml_parse_value(vs_yaml_node **out, const char *text, const char *label, vs_error *err) {
    return parse(out, text, strlen(text), label, false, err);
}
