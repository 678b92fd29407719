/* A pickle as inert objects. The machine builds tuples, lists, dicts and records of what the stream asks to be called; it never
 * calls anything, imports nothing and does not recurse. Opcodes of protocols 2 to 5, without extension codes, buffers and the
 * text opcodes of protocol 0. What the calls mean is for the reader of the tree to know (torch_tree.c). */
#ifndef VS_PICKLE_H
#define VS_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitscope/status.h"

/* Limits, against streams made to exhaust memory: ten times and more what checkpoints need. */
enum {
    VS_PICKLE_MAX_SIZE = 1 << 28,    /* bytes of the stream */
    VS_PICKLE_MAX_OBJECTS = 1 << 22, /* made in all */
    VS_PICKLE_MAX_STACK = 1 << 20,
    VS_PICKLE_MAX_MEMO = 1 << 22, /* the highest memo number */
    VS_PICKLE_MAX_STRING = 1 << 26,
    VS_PICKLE_MAX_LONG = 1024, /* bytes of an integer */
    VS_PICKLE_MAX_GLOBAL = 512 /* bytes of a module or class name */
};

typedef enum vs_pickle_kind {
    VS_PICKLE_NONE,
    VS_PICKLE_BOOL,
    VS_PICKLE_INT,
    VS_PICKLE_LONG, /* does not fit an int64: text = its bytes, little endian, two's complement */
    VS_PICKLE_FLOAT,
    VS_PICKLE_TEXT, /* UTF-8 by the format, unchecked */
    VS_PICKLE_BYTES,
    VS_PICKLE_TUPLE,
    VS_PICKLE_LIST,
    VS_PICKLE_DICT, /* items: key, value, key, value... */
    VS_PICKLE_SET,
    VS_PICKLE_GLOBAL,    /* callable, args: the TEXTs of module and name */
    VS_PICKLE_CALL,      /* what callable(*args) would give; state: what BUILD gave it; items: what was put into it */
    VS_PICKLE_PERSISTENT /* args: the persistent id */
} vs_pickle_kind;

/* Objects know each other by their index; 0 is None. */
typedef struct vs_pickle_object {
    vs_pickle_kind kind;
    uint32_t offset; /* of the opcode that made it, in the stream */
    uint32_t callable, args, state;
    uint32_t count, capacity;
    bool pairs; /* items are keys and values */
    uint32_t *items;
    union {
        int64_t integer; /* INT, BOOL */
        double real;
        struct {
            const uint8_t *bytes; /* in the stream */
            size_t size;
        } text; /* TEXT, BYTES, LONG */
    } as;
} vs_pickle_object;

typedef struct vs_pickle {
    vs_pickle_object *objects;
    size_t count, capacity;
    uint32_t root;
    size_t end;   /* bytes of the stream that the pickle took */
    bool ran_out; /* after a failure: it wanted more bytes than there were */
} vs_pickle;

/* Reads one pickle from the front of `bytes`, which outlive it. Objects may hold themselves (cycles). VS_ERR_FORMAT: broken, or
 * more than a limit; VS_ERR_UNSUPPORTED: an opcode outside the list. Messages name `label` and the byte, counted from `base`.
 * After a failure only `ran_out` means anything. */
VS_NODISCARD vs_status vs_pickle_read(vs_pickle *pickle, const uint8_t *bytes, size_t size, size_t base, const char *label,
                                      vs_error *err);
void vs_pickle_release(vs_pickle *pickle);

bool vs_pickle_text_is(const vs_pickle *pickle, uint32_t object, const char *text);
bool vs_pickle_global_is(const vs_pickle *pickle, uint32_t object, const char *module, const char *name);
/* "module.name" of a GLOBAL, or of what a CALL would call; "object" otherwise. Unprintable bytes become '?'. */
void vs_pickle_class_name(const vs_pickle *pickle, uint32_t object, char *text, size_t size);

#endif
