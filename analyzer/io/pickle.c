/* The opcodes are those of Python's Lib/pickletools.py. */
#include "io/pickle.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum { NONE, FALSE, TRUE, EMPTY_TUPLE, SINGLETONS };
static const uint32_t mark = UINT32_MAX; /* on the stack: no object */

typedef struct machine {
    vs_pickle *p;
    const uint8_t *bytes;
    size_t size, at;
    size_t start; /* of the running opcode */
    uint8_t opcode;
    bool stopped, ran_out;
    uint32_t *stack, *memo; /* memo: object + 1, 0 is empty */
    size_t depth, stack_capacity, memo_count, memo_capacity;
    const char *label;
    size_t base;
} machine;

VS_PRINTF(3, 4) static void report(const machine *m, vs_error *err, const char *format, ...) {
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    vs_error_set(err, VS_ERR_FORMAT, "%s: byte %zu: pickle opcode 0x%02x: %s", m->label, m->base + m->start, m->opcode, what);
}
/* A macro for the reason that vs_fail is one. */
#define broken(m, err, ...) (report((m), (err), __VA_ARGS__), VS_ERR_FORMAT)

static vs_status no_memory(const machine *m, vs_error *err) {
    return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its pickle", m->label);
}

/* ---- operands ---- */

static vs_status take(machine *m, size_t n, const uint8_t **p, vs_error *err) {
    m->ran_out = n > m->size - m->at;
    if (m->ran_out) return broken(m, err, "needs %zu bytes, %zu follow: the file is truncated", n, m->size - m->at);
    *p = m->bytes + m->at;
    m->at += n;
    return VS_OK;
}

static vs_status take_number(machine *m, size_t n, uint64_t *value, vs_error *err) {
    const uint8_t *p = NULL;
    vs_status status = take(m, n, &p, err);
    *value = 0;
    for (size_t i = n; status == VS_OK && i-- > 0;) *value = *value << 8 | p[i];
    return status;
}

/* ---- objects and stack ---- */

static vs_status make(machine *m, vs_pickle_kind kind, uint32_t *out, vs_error *err) {
    vs_pickle *p = m->p;
    if (p->count >= VS_PICKLE_MAX_OBJECTS) return broken(m, err, "more than %d objects", (int)VS_PICKLE_MAX_OBJECTS);
    if (!vs_grow((void **)&p->objects, &p->capacity, p->count + 1, sizeof *p->objects)) return no_memory(m, err);
    p->objects[p->count] = (vs_pickle_object){ .kind = kind, .offset = (uint32_t)m->start };
    *out = (uint32_t)p->count++;
    return VS_OK;
}

static vs_status push(machine *m, uint32_t object, vs_error *err) {
    if (m->depth >= VS_PICKLE_MAX_STACK) return broken(m, err, "more than %d objects on the stack", (int)VS_PICKLE_MAX_STACK);
    if (!vs_grow((void **)&m->stack, &m->stack_capacity, m->depth + 1, sizeof *m->stack)) return no_memory(m, err);
    m->stack[m->depth++] = object;
    return VS_OK;
}

static vs_status top(const machine *m, uint32_t *object, vs_error *err) {
    if (m->depth == 0 || m->stack[m->depth - 1] == mark) return broken(m, err, "nothing on the stack");
    *object = m->stack[m->depth - 1];
    return VS_OK;
}

static vs_status pop(machine *m, uint32_t *object, vs_error *err) {
    vs_status status = top(m, object, err);
    if (status == VS_OK) m->depth--;
    return status;
}

/* Where the objects after the last mark begin on the stack. */
static vs_status find_mark(const machine *m, size_t *first, vs_error *err) {
    for (size_t i = m->depth; i-- > 0;)
        if (m->stack[i] == mark) {
            *first = i + 1;
            return VS_OK;
        }
    return broken(m, err, "no mark on the stack");
}

static vs_status push_new(machine *m, vs_pickle_kind kind, vs_pickle_object **object, vs_error *err) {
    uint32_t index = 0;
    vs_status status = make(m, kind, &index, err);
    if (status == VS_OK) status = push(m, index, err);
    if (status == VS_OK) *object = &m->p->objects[index];
    return status;
}

static vs_status add_items(machine *m, vs_pickle_object *o, const uint32_t *items, size_t n, vs_error *err) {
    for (size_t i = 0; i < n; i++)
        if (items[i] == mark) return broken(m, err, "a mark where an object is expected");
    size_t capacity = o->capacity;
    if (n > VS_PICKLE_MAX_SIZE - o->count) return broken(m, err, "too many items");
    if (n == 0) return VS_OK;
    if (!vs_grow((void **)&o->items, &capacity, o->count + n, sizeof *o->items)) return no_memory(m, err);
    memcpy(o->items + o->count, items, n * sizeof *items);
    o->count += (uint32_t)n;
    o->capacity = (uint32_t)capacity;
    return VS_OK;
}

/* ---- opcodes ---- */

static vs_status op_proto(machine *m, vs_error *err) {
    uint64_t version = 0;
    vs_status status = take_number(m, 1, &version, err);
    if (status == VS_OK && (version < 2 || version > 5)) return broken(m, err, "protocol %d; 2 to 5 are read", (int)version);
    return status;
}

static vs_status op_frame(machine *m, vs_error *err) {
    uint64_t size = 0;
    vs_status status = take_number(m, 8, &size, err);
    m->ran_out = status != VS_OK || size > m->size - m->at;
    if (status == VS_OK && m->ran_out) return broken(m, err, "a frame longer than the file");
    return status;
}

static vs_status op_stop(machine *m, vs_error *err) {
    vs_status status = pop(m, &m->p->root, err);
    if (status == VS_OK && m->depth) status = broken(m, err, "%zu objects are left on the stack", m->depth);
    m->stopped = true;
    return status;
}

static vs_status op_mark(machine *m, vs_error *err) { return push(m, mark, err); }

static vs_status op_pop(machine *m, vs_error *err) {
    if (m->depth == 0) return broken(m, err, "nothing on the stack");
    m->depth--;
    return VS_OK;
}

static vs_status op_pop_mark(machine *m, vs_error *err) {
    size_t first = 0;
    vs_status status = find_mark(m, &first, err);
    if (status == VS_OK) m->depth = first - 1;
    return status;
}

static vs_status op_none(machine *m, vs_error *err) { return push(m, NONE, err); }
static vs_status op_true(machine *m, vs_error *err) { return push(m, TRUE, err); }
static vs_status op_false(machine *m, vs_error *err) { return push(m, FALSE, err); }
static vs_status op_empty_tuple(machine *m, vs_error *err) { return push(m, EMPTY_TUPLE, err); }

static vs_status push_integer(machine *m, int64_t value, vs_error *err) {
    vs_pickle_object *o = NULL;
    vs_status status = push_new(m, VS_PICKLE_INT, &o, err);
    if (status == VS_OK) o->as.integer = value;
    return status;
}

static vs_status op_int(machine *m, vs_error *err) { /* J: 4 bytes, signed; K: 1; M: 2 */
    const size_t n = m->opcode == 'J' ? 4 : m->opcode == 'M' ? 2 : 1;
    uint64_t value = 0;
    vs_status status = take_number(m, n, &value, err);
    if (status != VS_OK) return status;
    return push_integer(m, n == 4 && value >> 31 ? (int64_t)value - ((int64_t)1 << 32) : (int64_t)value, err);
}

static vs_status op_long(machine *m, vs_error *err) { /* LONG1, LONG4 */
    uint64_t n = 0, value = 0;
    const uint8_t *p = NULL;
    vs_status status = take_number(m, m->opcode == 0x8a ? 1 : 4, &n, err);
    if (status == VS_OK && n > VS_PICKLE_MAX_LONG)
        return broken(m, err, "an integer of %llu bytes; at most %d are read", (unsigned long long)n, (int)VS_PICKLE_MAX_LONG);
    if (status == VS_OK) status = take(m, (size_t)n, &p, err);
    if (status != VS_OK) return status;
    if (n > 8) {
        vs_pickle_object *o = NULL;
        status = push_new(m, VS_PICKLE_LONG, &o, err);
        if (status != VS_OK) return status;
        o->as.text.bytes = p;
        o->as.text.size = (size_t)n;
        return VS_OK;
    }
    if (n && p[n - 1] & 0x80) value = UINT64_MAX;
    for (size_t i = (size_t)n; i-- > 0;) value = value << 8 | p[i];
    int64_t integer;
    memcpy(&integer, &value, sizeof integer);
    return push_integer(m, integer, err);
}

static vs_status op_float(machine *m, vs_error *err) {
    const uint8_t *p = NULL;
    vs_pickle_object *o = NULL;
    uint64_t bits = 0;
    vs_status status = take(m, 8, &p, err);
    for (size_t i = 0; status == VS_OK && i < 8; i++) bits = bits << 8 | p[i];
    if (status == VS_OK) status = push_new(m, VS_PICKLE_FLOAT, &o, err);
    if (status == VS_OK) memcpy(&o->as.real, &bits, sizeof bits);
    return status;
}

/* A length of `digits` bytes, then so many bytes. */
static vs_status push_string(machine *m, vs_pickle_kind kind, size_t digits, vs_error *err) {
    uint64_t n = 0;
    const uint8_t *p = NULL;
    vs_pickle_object *o = NULL;
    vs_status status = take_number(m, digits, &n, err);
    if (status == VS_OK && n > VS_PICKLE_MAX_STRING)
        return broken(m, err, "a string of %llu bytes; at most %d are read", (unsigned long long)n, (int)VS_PICKLE_MAX_STRING);
    if (status == VS_OK) status = take(m, (size_t)n, &p, err);
    if (status == VS_OK) status = push_new(m, kind, &o, err);
    if (status != VS_OK) return status;
    o->as.text.bytes = p;
    o->as.text.size = (size_t)n;
    return VS_OK;
}

static vs_status op_text1(machine *m, vs_error *err) { return push_string(m, VS_PICKLE_TEXT, 1, err); }
static vs_status op_text4(machine *m, vs_error *err) { return push_string(m, VS_PICKLE_TEXT, 4, err); }
static vs_status op_text8(machine *m, vs_error *err) { return push_string(m, VS_PICKLE_TEXT, 8, err); }
static vs_status op_bytes1(machine *m, vs_error *err) { return push_string(m, VS_PICKLE_BYTES, 1, err); }
static vs_status op_bytes4(machine *m, vs_error *err) { return push_string(m, VS_PICKLE_BYTES, 4, err); }
static vs_status op_bytes8(machine *m, vs_error *err) { return push_string(m, VS_PICKLE_BYTES, 8, err); }

static vs_status op_empty_list(machine *m, vs_error *err) {
    vs_pickle_object *o = NULL;
    return push_new(m, VS_PICKLE_LIST, &o, err);
}

static vs_status op_empty_dict(machine *m, vs_error *err) {
    vs_pickle_object *o = NULL;
    vs_status status = push_new(m, VS_PICKLE_DICT, &o, err);
    if (status == VS_OK) o->pairs = true;
    return status;
}

static vs_status op_empty_set(machine *m, vs_error *err) {
    vs_pickle_object *o = NULL;
    return push_new(m, VS_PICKLE_SET, &o, err);
}

/* The objects from `first` to the top, which may reach down to (not over) a mark, become one. */
static vs_status gather(machine *m, vs_pickle_kind kind, size_t first, size_t drop, vs_error *err) {
    uint32_t index = 0;
    vs_status status = make(m, kind, &index, err);
    if (status == VS_OK) status = add_items(m, &m->p->objects[index], m->stack + first, m->depth - first, err);
    if (status != VS_OK) return status;
    m->depth = first - drop;
    return push(m, index, err);
}

static vs_status op_tuple(machine *m, vs_error *err) { /* TUPLE, FROZENSET: all after the mark */
    size_t first = 0;
    vs_status status = find_mark(m, &first, err);
    return status == VS_OK ? gather(m, m->opcode == 't' ? VS_PICKLE_TUPLE : VS_PICKLE_SET, first, 1, err) : status;
}

static vs_status op_short_tuple(machine *m, vs_error *err) { /* TUPLE1, 2, 3 */
    const size_t n = (size_t)m->opcode - 0x84;
    if (m->depth < n) return broken(m, err, "nothing on the stack");
    return gather(m, VS_PICKLE_TUPLE, m->depth - n, 0, err);
}

/* Puts the objects from `first` to the top into the one before them (under the mark, if there is one), and drops them. */
static vs_status put_items(machine *m, size_t first, size_t marks, vs_error *err) {
    const bool pairs = m->opcode == 's' || m->opcode == 'u';
    if (first < marks + 1 || m->stack[first - marks - 1] == mark) return broken(m, err, "nothing to put items into");
    const vs_pickle_kind own = pairs ? VS_PICKLE_DICT : m->opcode == 0x90 ? VS_PICKLE_SET : VS_PICKLE_LIST;
    vs_pickle_object *o = &m->p->objects[m->stack[first - marks - 1]];
    if (o->kind != own && o->kind != VS_PICKLE_CALL) return broken(m, err, "items for what holds none");
    if (o->count && o->pairs != pairs) return broken(m, err, "items and pairs in one object");
    if (pairs && (m->depth - first) % 2) return broken(m, err, "a key without a value");
    o->pairs = pairs;
    vs_status status = add_items(m, o, m->stack + first, m->depth - first, err);
    m->depth = first - marks;
    return status;
}

static vs_status op_put_one(machine *m, vs_error *err) { /* APPEND, SETITEM */
    const size_t n = m->opcode == 's' ? 2 : 1;
    if (m->depth < n) return broken(m, err, "nothing on the stack");
    return put_items(m, m->depth - n, 0, err);
}

static vs_status op_put_many(machine *m, vs_error *err) { /* APPENDS, SETITEMS, ADDITEMS */
    size_t first = 0;
    vs_status status = find_mark(m, &first, err);
    return status == VS_OK ? put_items(m, first, 1, err) : status;
}

static vs_status push_global(machine *m, uint32_t module, uint32_t name, vs_error *err) {
    vs_pickle_object *o = NULL;
    vs_status status = push_new(m, VS_PICKLE_GLOBAL, &o, err);
    if (status != VS_OK) return status;
    o->callable = module;
    o->args = name;
    return VS_OK;
}

static vs_status take_line(machine *m, uint32_t *text, vs_error *err) {
    const size_t left = m->size - m->at, limit = left < VS_PICKLE_MAX_GLOBAL + 1 ? left : VS_PICKLE_MAX_GLOBAL + 1;
    const uint8_t *end = limit ? memchr(m->bytes + m->at, '\n', limit) : NULL;
    m->ran_out = !end && limit == left;
    if (!end) return broken(m, err, "a name of more than %d bytes, or without an end", (int)VS_PICKLE_MAX_GLOBAL);
    vs_status status = make(m, VS_PICKLE_TEXT, text, err);
    if (status != VS_OK) return status;
    vs_pickle_object *o = &m->p->objects[*text];
    o->as.text.bytes = m->bytes + m->at;
    o->as.text.size = (size_t)(end - o->as.text.bytes);
    m->at += o->as.text.size + 1;
    return VS_OK;
}

static vs_status op_global(machine *m, vs_error *err) {
    uint32_t module = 0, name = 0;
    vs_status status = take_line(m, &module, err);
    if (status == VS_OK) status = take_line(m, &name, err);
    return status == VS_OK ? push_global(m, module, name, err) : status;
}

static vs_status op_stack_global(machine *m, vs_error *err) {
    uint32_t module = 0, name = 0;
    vs_status status = pop(m, &name, err);
    if (status == VS_OK) status = pop(m, &module, err);
    if (status != VS_OK) return status;
    if (m->p->objects[module].kind != VS_PICKLE_TEXT || m->p->objects[name].kind != VS_PICKLE_TEXT)
        return broken(m, err, "a class whose name is no text");
    return push_global(m, module, name, err);
}

static vs_status op_call(machine *m, vs_error *err) { /* REDUCE, NEWOBJ, NEWOBJ_EX: recorded, not done */
    uint32_t keywords = 0, args = 0, callable = 0;
    vs_status status = m->opcode == 0x92 ? pop(m, &keywords, err) : VS_OK;
    if (status == VS_OK) status = pop(m, &args, err);
    if (status == VS_OK) status = pop(m, &callable, err);
    if (status != VS_OK) return status;
    if (m->p->objects[args].kind != VS_PICKLE_TUPLE) return broken(m, err, "arguments that are no tuple");
    vs_pickle_object *o = NULL;
    status = push_new(m, VS_PICKLE_CALL, &o, err);
    if (status != VS_OK) return status;
    o->callable = callable;
    o->args = args;
    return VS_OK;
}

static vs_status op_build(machine *m, vs_error *err) {
    uint32_t state = 0, object = 0;
    vs_status status = pop(m, &state, err);
    if (status == VS_OK) status = top(m, &object, err);
    if (status != VS_OK) return status;
    vs_pickle_object *o = &m->p->objects[object];
    if (o->kind != VS_PICKLE_CALL) return broken(m, err, "a state for what has none");
    o->state = state;
    return VS_OK;
}

static vs_status op_persistent(machine *m, vs_error *err) {
    uint32_t id = 0;
    vs_pickle_object *o = NULL;
    vs_status status = pop(m, &id, err);
    if (status == VS_OK) status = push_new(m, VS_PICKLE_PERSISTENT, &o, err);
    if (status == VS_OK) o->args = id;
    return status;
}

static vs_status memo_put(machine *m, uint64_t number, vs_error *err) {
    uint32_t object = 0;
    vs_status status = top(m, &object, err);
    if (status != VS_OK) return status;
    if (number >= VS_PICKLE_MAX_MEMO) return broken(m, err, "memo number above %d", (int)VS_PICKLE_MAX_MEMO);
    const size_t before = m->memo_capacity;
    if (!vs_grow((void **)&m->memo, &m->memo_capacity, (size_t)number + 1, sizeof *m->memo)) return no_memory(m, err);
    if (m->memo_capacity > before) memset(m->memo + before, 0, (m->memo_capacity - before) * sizeof *m->memo);
    if (m->memo[number] == 0) m->memo_count++;
    m->memo[number] = object + 1;
    return VS_OK;
}

static vs_status op_put(machine *m, vs_error *err) { /* BINPUT, LONG_BINPUT */
    uint64_t number = 0;
    vs_status status = take_number(m, m->opcode == 'q' ? 1 : 4, &number, err);
    return status == VS_OK ? memo_put(m, number, err) : status;
}

static vs_status op_memoize(machine *m, vs_error *err) { return memo_put(m, m->memo_count, err); }

static vs_status op_get(machine *m, vs_error *err) { /* BINGET, LONG_BINGET */
    uint64_t number = 0;
    vs_status status = take_number(m, m->opcode == 'h' ? 1 : 4, &number, err);
    if (status != VS_OK) return status;
    if (number >= m->memo_capacity || m->memo[number] == 0)
        return broken(m, err, "memo number %llu holds nothing", (unsigned long long)number);
    return push(m, m->memo[number] - 1, err);
}

static vs_status (*const operations[256])(machine *, vs_error *) = {
    ['('] = op_mark,     ['.'] = op_stop,          ['0'] = op_pop,          ['1'] = op_pop_mark,     ['G'] = op_float,
    ['J'] = op_int,      ['K'] = op_int,           ['M'] = op_int,          ['N'] = op_none,         ['Q'] = op_persistent,
    ['R'] = op_call,     ['T'] = op_text4,         ['U'] = op_text1,        ['X'] = op_text4,        ['a'] = op_put_one,
    ['b'] = op_build,    ['c'] = op_global,        ['}'] = op_empty_dict,   ['e'] = op_put_many,     ['h'] = op_get,
    ['j'] = op_get,      [']'] = op_empty_list,    ['s'] = op_put_one,      ['t'] = op_tuple,        [')'] = op_empty_tuple,
    ['u'] = op_put_many, ['q'] = op_put,           ['r'] = op_put,          ['B'] = op_bytes4,       ['C'] = op_bytes1,
    [0x80] = op_proto,   [0x81] = op_call,         [0x85] = op_short_tuple, [0x86] = op_short_tuple, [0x87] = op_short_tuple,
    [0x88] = op_true,    [0x89] = op_false,        [0x8a] = op_long,        [0x8b] = op_long,        [0x8c] = op_text1,
    [0x8d] = op_text8,   [0x8e] = op_bytes8,       [0x8f] = op_empty_set,   [0x90] = op_put_many,    [0x91] = op_tuple,
    [0x92] = op_call,    [0x93] = op_stack_global, [0x94] = op_memoize,     [0x95] = op_frame,       [0x96] = op_bytes8,
};

static vs_status make_singletons(machine *m, vs_error *err) {
    static const vs_pickle_kind kinds[SINGLETONS] = {
        [NONE] = VS_PICKLE_NONE, [FALSE] = VS_PICKLE_BOOL, [TRUE] = VS_PICKLE_BOOL, [EMPTY_TUPLE] = VS_PICKLE_TUPLE
    };
    for (size_t i = 0; i < SINGLETONS; i++) {
        uint32_t object = 0;
        vs_status status = make(m, kinds[i], &object, err);
        if (status != VS_OK) return status;
        m->p->objects[object].as.integer = i == TRUE;
    }
    return VS_OK;
}

static vs_status step(machine *m, vs_error *err) {
    m->start = m->at;
    m->ran_out = m->at >= m->size;
    if (m->ran_out)
        return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: the pickle has no end: the file is truncated", m->label,
                       m->base + m->at);
    m->opcode = m->bytes[m->at++];
    if (!operations[m->opcode])
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: byte %zu: pickle opcode 0x%02x is not among those that checkpoints use",
                       m->label, m->base + m->start, m->opcode);
    return operations[m->opcode](m, err);
}

vs_status vs_pickle_read(vs_pickle *p, const uint8_t *bytes, size_t size, size_t base, const char *label, vs_error *err) {
    *p = (vs_pickle){ 0 };
    /* a stream may have other things behind it: only what the pickle takes is limited */
    machine m = {
        .p = p, .bytes = bytes, .size = size < VS_PICKLE_MAX_SIZE ? size : VS_PICKLE_MAX_SIZE, .label = label, .base = base
    };
    vs_status status = make_singletons(&m, err);
    while (status == VS_OK && !m.stopped) status = step(&m, err);
    p->end = m.at;
    free(m.stack);
    free(m.memo);
    if (status != VS_OK) {
        vs_pickle_release(p);
        p->ran_out = m.ran_out;
    }
    return status;
}
