/* The tree of dicts and lists, walked without recursion, flattened to names. */
#include "io/torch_tree.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

typedef struct level {
    uint32_t object;
    uint32_t next;    /* child */
    size_t name_size; /* of the object's own name */
} level;

typedef struct walk {
    vs_tensorfile *f;
    vs_torch_source source;
    level levels[VS_TREE_MAX_DEPTH];
    size_t depth;
    uint8_t *open; /* of each object: are we inside it? */
    char name[VS_TREE_MAX_NAME + 1];
    size_t name_size;
    size_t visits, copied, texts;
    uint32_t stranger; /* the first object of an unknown class, 0 = none */
} walk;

static vs_status broken(const walk *w, uint32_t object, const char *what, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: '%.200s': %s", w->f->path,
                   w->source.base + w->source.pickle->objects[object].offset, w->name, what);
}

/* ---- containers ---- */

static bool is_ordered(const vs_pickle *p, uint32_t object) {
    const vs_pickle_object *o = &p->objects[object];
    return o->kind == VS_PICKLE_CALL && (vs_pickle_global_is(p, o->callable, "collections", "OrderedDict") ||
                                         vs_pickle_global_is(p, o->callable, "collections", "defaultdict"));
}

static bool is_container(const vs_pickle *p, uint32_t object) {
    const vs_pickle_kind kind = p->objects[object].kind;
    return kind == VS_PICKLE_DICT || kind == VS_PICKLE_LIST || kind == VS_PICKLE_TUPLE || is_ordered(p, object);
}

/* OrderedDict([[key, value], ...]), as Python 2 wrote it. */
static const vs_pickle_object *pairs_of_call(const vs_pickle *p, const vs_pickle_object *o) {
    if (o->kind != VS_PICKLE_CALL || o->count || p->objects[o->args].count != 1) return NULL;
    const vs_pickle_object *list = &p->objects[p->objects[o->args].items[0]];
    return list->kind == VS_PICKLE_LIST ? list : NULL;
}

static uint32_t child_count(const vs_pickle *p, uint32_t object) {
    const vs_pickle_object *o = &p->objects[object], *list = pairs_of_call(p, o);
    return list ? list->count : o->pairs ? o->count / 2 : o->kind == VS_PICKLE_CALL ? 0 : o->count;
}

static const uint32_t by_number = UINT32_MAX; /* for a key: the child of a list is called by its place */

/* False when a pair is none. */
static bool get_child(const vs_pickle *p, uint32_t object, uint32_t i, uint32_t *key, uint32_t *value) {
    const vs_pickle_object *o = &p->objects[object], *list = pairs_of_call(p, o);
    *key = by_number;
    if (list) {
        const vs_pickle_object *pair = &p->objects[list->items[i]];
        if ((pair->kind != VS_PICKLE_LIST && pair->kind != VS_PICKLE_TUPLE) || pair->count != 2) return false;
        *key = pair->items[0];
        *value = pair->items[1];
    } else if (o->pairs) {
        *key = o->items[2 * (size_t)i];
        *value = o->items[2 * (size_t)i + 1];
    } else {
        *value = o->items[i];
    }
    return true;
}

/* ---- names ---- */

/* UTF-8 without control characters: what can stand in a message or a table. */
static bool is_printable(const uint8_t *s, size_t n) {
    for (size_t i = 0; i < n;) {
        const size_t size = vs_utf8_size((const char *)s + i, n - i);
        if (size == 0 || s[i] < 0x20 || s[i] == 0x7f || (s[i] == 0xc2 && s[i + 1] < 0xa0)) return false;
        i += size;
    }
    return true;
}

/* Appends ".key" to the name of the level. False: no name can be made of it. */
static bool extend_name(walk *w, const level *l, uint32_t key, uint32_t number) {
    const vs_pickle_object *o = key == by_number ? NULL : &w->source.pickle->objects[key];
    char *at = w->name + l->name_size;
    const size_t room = sizeof w->name - l->name_size;
    const char *dot = l->name_size ? "." : "";
    int n = -1;
    *at = '\0';
    if (!o)
        n = snprintf(at, room, "%s%u", dot, (unsigned)number);
    else if (o->kind == VS_PICKLE_INT)
        n = snprintf(at, room, "%s%lld", dot, (long long)o->as.integer);
    else if (o->kind == VS_PICKLE_TEXT && o->as.text.size <= VS_TREE_MAX_NAME && is_printable(o->as.text.bytes, o->as.text.size))
        n = snprintf(at, room, "%s%.*s", dot, (int)o->as.text.size, (const char *)o->as.text.bytes);
    if (n < 0 || (size_t)n >= room) return false;
    w->name_size = l->name_size + (size_t)n;
    return true;
}

static vs_status keep_text(walk *w, char *text, const char **kept, vs_error *err) {
    vs_status status = vs_tensorfile_own(w->f, text, err);
    if (status != VS_OK) return status;
    *kept = text;
    w->texts += strlen(text) + 1;
    if (w->texts > VS_TREE_MAX_TEXTS)
        return vs_fail(err, VS_ERR_FORMAT, "%s: its names and texts take more than %d bytes", w->f->path, (int)VS_TREE_MAX_TEXTS);
    return VS_OK;
}

/* ---- leaves ---- */

static vs_status add_meta(walk *w, char *text, vs_error *err) {
    const char *key = NULL, *value = NULL;
    vs_status status = keep_text(w, text, &value, err);
    if (status == VS_OK) status = keep_text(w, vs_strdup(w->name), &key, err);
    return status == VS_OK ? vs_tensorfile_add_meta(w->f, key, value, err) : status;
}

/* The shortest of 15 to 17 digits that gives the same number. */
static char *format_real(double value) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    return vs_strdup(text);
}

static vs_status visit_value(walk *w, uint32_t object, vs_error *err) {
    const vs_pickle_object *o = &w->source.pickle->objects[object];
    if (w->depth > VS_TREE_META_DEPTH || w->f->meta_count >= VS_TREE_MAX_META) return VS_OK;
    switch (o->kind) {
    case VS_PICKLE_TEXT:
        if (o->as.text.size > VS_TREE_MAX_TEXT || memchr(o->as.text.bytes, '\0', o->as.text.size)) return VS_OK;
        return add_meta(w, vs_format("%.*s", (int)o->as.text.size, (const char *)o->as.text.bytes), err);
    case VS_PICKLE_BOOL: return add_meta(w, vs_strdup(o->as.integer ? "true" : "false"), err);
    case VS_PICKLE_INT: return add_meta(w, vs_format("%lld", (long long)o->as.integer), err);
    case VS_PICKLE_FLOAT: return add_meta(w, format_real(o->as.real), err);
    default: return VS_OK;
    }
}

static vs_status copy_strided(walk *w, const vs_torch_tensor *t, vs_tensor_entry *e, vs_error *err) {
    size_t limit = 0, total = 0;
    if (!vs_size_add(&limit, w->f->source.size, VS_TREE_SPARE) || !vs_size_add(&total, w->copied, e->size) || total > limit)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s' unfolds to %zu bytes, more than a file of %zu bytes can mean",
                       w->f->path, w->name, e->size, w->f->source.size);
    w->copied = total;
    uint8_t *copy = vs_calloc(e->size ? e->size : 1, 1);
    vs_status status = vs_tensorfile_own(w->f, copy, err);
    vs_source *source = status == VS_OK ? vs_calloc(1, sizeof *source) : NULL;
    if (status == VS_OK) status = vs_tensorfile_own(w->f, source, err);
    if (status == VS_OK) status = vs_torch_copy(t, &w->f->source, copy, err);
    if (status != VS_OK) return status;
    *source = vs_source_of_memory(copy, e->size, w->f->path);
    e->source = source;
    e->at = 0;
    return VS_OK;
}

static vs_status visit_tensor(walk *w, uint32_t object, vs_error *err) {
    vs_torch_tensor t;
    if (w->f->count >= VS_TREE_MAX_TENSORS)
        return vs_fail(err, VS_ERR_FORMAT, "%s: more than %d tensors", w->f->path, (int)VS_TREE_MAX_TENSORS);
    w->source.name = w->name;
    vs_status status = vs_torch_read_tensor(&w->source, object, &t, err);
    if (status != VS_OK) return status;
    vs_tensor_entry e = { .dtype = t.dtype->dtype,
                          .dtype_name = t.dtype->name,
                          .ndim = t.ndim,
                          .count = t.count,
                          .source = &w->f->source,
                          .at = t.at };
    memcpy(e.shape, t.shape, sizeof e.shape);
    if (!vs_size_mul(&e.size, t.count, t.dtype->bits / 8)) return broken(w, object, "has an impossible shape", err);
    if (!vs_torch_is_contiguous(&t)) status = copy_strided(w, &t, &e, err);
    if (status == VS_OK) status = keep_text(w, vs_strdup(w->name), &e.name, err);
    return status == VS_OK ? vs_tensorfile_add(w->f, &e, err) : status;
}

/* Does `o` hold a tensor or a storage itself, not below? */
static bool holds_tensor(const vs_pickle *p, const vs_pickle_object *o) {
    for (size_t i = 0; i < o->count; i++)
        if (p->objects[o->items[i]].kind == VS_PICKLE_PERSISTENT || vs_torch_is_tensor(p, o->items[i])) return true;
    return false;
}

/* An object whose class we do not know stands where a value stands. It stays unread, unless a tensor went into it: then one of
 * the tree's tensors is what the call would have made of it. */
static vs_status visit_stranger(walk *w, uint32_t object, vs_error *err) {
    const vs_pickle *p = w->source.pickle;
    const vs_pickle_object *o = &p->objects[object];
    if (w->stranger == 0) w->stranger = object;
    if (!holds_tensor(p, o) && !holds_tensor(p, &p->objects[o->args])) return VS_OK;
    char class[256];
    vs_pickle_class_name(p, object, class, sizeof class);
    return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: byte %zu: '%.200s' is a tensor in an object of class %s, which is not supported",
                   w->f->path, w->source.base + o->offset, w->name, class);
}

/* ---- the walk ---- */

static vs_status enter(walk *w, uint32_t object, vs_error *err) {
    if (w->open[object]) return broken(w, object, "holds itself", err);
    if (w->depth >= VS_TREE_MAX_DEPTH) return broken(w, object, "is nested more than 256 deep", err);
    w->open[object] = 1;
    w->levels[w->depth++] = (level){ .object = object, .name_size = w->name_size };
    return VS_OK;
}

static vs_status visit(walk *w, uint32_t object, vs_error *err) {
    const vs_pickle *p = w->source.pickle;
    if (++w->visits > VS_TREE_MAX_VISITS)
        return broken(w, object, "more values than a checkpoint has: a dict holds another too often", err);
    if (vs_torch_is_tensor(p, object)) return visit_tensor(w, object, err);
    if (is_container(p, object)) return enter(w, object, err);
    return p->objects[object].kind == VS_PICKLE_CALL ? visit_stranger(w, object, err) : visit_value(w, object, err);
}

static vs_status next_child(walk *w, vs_error *err) {
    level *l = &w->levels[w->depth - 1];
    const vs_pickle *p = w->source.pickle;
    uint32_t key = by_number, value = 0;
    w->name_size = l->name_size;
    w->name[w->name_size] = '\0';
    if (l->next >= child_count(p, l->object)) {
        w->open[l->object] = 0;
        w->depth--;
        return VS_OK;
    }
    const uint32_t i = l->next++;
    if (!get_child(p, l->object, i, &key, &value)) return broken(w, l->object, "an OrderedDict of what are no pairs", err);
    if (extend_name(w, l, key, i)) return visit(w, value, err);
    /* (0, 1): 2 and the like name no weights; a tensor there has no name we could give it */
    return vs_torch_is_tensor(p, value) ? broken(w, l->object, "a tensor under a key that is no printable text", err) : VS_OK;
}

static vs_status check_any(const walk *w, vs_error *err) {
    if (w->f->count) return VS_OK;
    if (!w->stranger) return vs_fail(err, VS_ERR_FORMAT, "%s: holds no tensors", w->f->path);
    char class[256];
    vs_pickle_class_name(w->source.pickle, w->stranger, class, sizeof class);
    return vs_fail(err, VS_ERR_UNSUPPORTED,
                   "%s: byte %zu: holds an object of class %s and no tensors that can be had without running its code: save "
                   "model.state_dict() instead",
                   w->f->path, w->source.base + w->source.pickle->objects[w->stranger].offset, class);
}

vs_status vs_torch_collect(vs_tensorfile *f, const vs_pickle *p, size_t base, vs_torch_find *find, const void *context,
                           vs_error *err) {
    walk *w = vs_calloc(1, sizeof *w);
    uint8_t *open = vs_calloc(p->count ? p->count : 1, 1);
    vs_status status = w && open ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    if (status != VS_OK) goto done;
    w->f = f;
    w->open = open;
    w->source = (vs_torch_source){ .pickle = p, .base = base, .label = f->path, .find = find, .context = context };
    if (vs_torch_is_tensor(p, p->root))
        w->name_size = (size_t)snprintf(w->name, sizeof w->name, "tensor"); /* a lone one needs a name */
    status = visit(w, p->root, err);
    while (status == VS_OK && w->depth) status = next_child(w, err);
    if (status == VS_OK) status = check_any(w, err);
done:
    free(open);
    free(w);
    return status;
}
