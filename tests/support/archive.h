/* Bytes of torch files, made by hand: what a test needs broken is broken in one place. */
#ifndef VS_ARCHIVE_H
#define VS_ARCHIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "support/check.h"

typedef struct bytes {
    uint8_t data[1 << 16];
    size_t size;
} bytes;

static inline void put(bytes *b, const void *data, size_t size) {
    assert_true(size <= sizeof b->data - b->size);
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
}
static inline void put_text(bytes *b, const char *text) { put(b, text, strlen(text)); }
static inline void put_number(bytes *b, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++, value >>= 8) put(b, (const uint8_t[]){ (uint8_t)(value & 255) }, 1);
}
static inline void patch(bytes *b, size_t at, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++, value >>= 8) b->data[at + i] = (uint8_t)(value & 255);
}

/* ---- zip ---- */

typedef struct zip_part {
    const char *name;
    const void *data;
    size_t size;
    size_t local, central; /* where its headers went */
} zip_part;

typedef struct zip_made {
    size_t directory, end; /* where */
} zip_made;

/* wide: sizes and offsets in ZIP64 fields, as torch may write them; streamed: no sizes in local headers. */
static inline zip_made put_zip(bytes *b, zip_part *parts, size_t count, bool wide, bool streamed) {
    zip_made made;
    for (size_t i = 0; i < count; i++) {
        zip_part *p = &parts[i];
        p->local = b->size;
        put(b, "PK\3\4\55\0", 6);
        put_number(b, streamed ? 8 : 0, 2);
        put_number(b, 0, 10); /* method, time, date, CRC-32 */
        put_number(b, streamed ? 0 : p->size, 4);
        put_number(b, streamed ? 0 : p->size, 4);
        put_number(b, strlen(p->name), 2);
        put_number(b, 3 + 4, 2);
        put_text(b, p->name);
        put(b, "FB\3\0ZZZ", 7); /* torch pads so */
        put(b, p->data, p->size);
        if (streamed) {
            put(b, "PK\7\10\0\0\0\0", 8);
            put_number(b, p->size, 4);
            put_number(b, p->size, 4);
        }
    }
    made.directory = b->size;
    for (size_t i = 0; i < count; i++) {
        zip_part *p = &parts[i];
        p->central = b->size;
        put(b, "PK\1\2\55\0\55\0", 8);
        put_number(b, streamed ? 8 : 0, 2);
        put_number(b, 0, 10);
        put_number(b, wide ? 0xffffffff : p->size, 4);
        put_number(b, wide ? 0xffffffff : p->size, 4);
        put_number(b, strlen(p->name), 2);
        put_number(b, wide ? 28 : 0, 2);
        put_number(b, 0, 10);
        put_number(b, wide ? 0xffffffff : p->local, 4);
        put_text(b, p->name);
        if (!wide) continue;
        put_number(b, 1, 2);
        put_number(b, 24, 2);
        put_number(b, p->size, 8);
        put_number(b, p->size, 8);
        put_number(b, p->local, 8);
    }
    const size_t size = b->size - made.directory, end64 = b->size;
    if (wide) {
        put(b, "PK\6\6", 4);
        put_number(b, 44, 8);
        put_number(b, 0x2d002d, 4);
        put_number(b, 0, 8);
        put_number(b, count, 8);
        put_number(b, count, 8);
        put_number(b, size, 8);
        put_number(b, made.directory, 8);
        put(b, "PK\6\7\0\0\0\0", 8);
        put_number(b, end64, 8);
        put_number(b, 1, 4);
    }
    made.end = b->size;
    put(b, "PK\5\6\0\0\0\0", 8);
    put_number(b, wide ? 0xffff : count, 2);
    put_number(b, wide ? 0xffff : count, 2);
    put_number(b, wide ? 0xffffffff : size, 4);
    put_number(b, wide ? 0xffffffff : made.directory, 4);
    put_number(b, 0, 2);
    return made;
}

/* ---- pickle, protocol 2 ---- */

static inline void put_int(bytes *b, uint64_t value) { /* LONG1 of 8 bytes, two's complement */
    put(b, "\x8a\x08", 2);
    put_number(b, value, 8);
}
static inline void put_string(bytes *b, const char *text) {
    put(b, "X", 1);
    put_number(b, strlen(text), 4);
    put_text(b, text);
}
static inline void put_tuple(bytes *b, const uint64_t *values, size_t count) {
    put(b, "(", 1);
    for (size_t i = 0; i < count; i++) put_int(b, values[i]);
    put(b, "t", 1);
}
static inline void put_class(bytes *b, const char *module, const char *name) {
    put(b, "c", 1);
    put_text(b, module);
    put(b, "\n", 1);
    put_text(b, name);
    put(b, "\n", 1);
}

typedef struct tensor_spec {
    const char *type, *key; /* FloatStorage, "0" */
    uint64_t numel, offset;
    size_t ndim;
    uint64_t shape[9], stride[9];
} tensor_spec;

/* legacy ids have a sixth item: None, or the view (key, view[0], view[1]). */
static inline void put_storage(bytes *b, const tensor_spec *t, bool legacy, const uint64_t *view) {
    put(b, "(", 1);
    put_string(b, "storage");
    put_class(b, "torch", t->type);
    put_string(b, t->key);
    put_string(b, "cpu");
    put_int(b, t->numel);
    if (legacy && view) {
        put(b, "(", 1);
        put_string(b, "v");
        put_int(b, view[0]);
        put_int(b, view[1]);
        put(b, "t", 1);
    } else if (legacy) {
        put(b, "N", 1);
    }
    put(b, "tQ", 2);
}

static inline void put_tensor(bytes *b, const tensor_spec *t, bool legacy, const uint64_t *view) {
    put_class(b, "torch._utils", "_rebuild_tensor_v2");
    put(b, "(", 1);
    put_storage(b, t, legacy, view);
    put_int(b, t->offset);
    put_tuple(b, t->shape, t->ndim);
    put_tuple(b, t->stride, t->ndim);
    put(b, "\x89", 1);
    put_class(b, "collections", "OrderedDict");
    put(b, ")RtR", 4);
}

/* A pickle of {name: tensor}. */
static inline void put_state(bytes *b, const tensor_spec *t, const char *const *names, size_t count, bool legacy) {
    put(b, "\x80\2}(", 4);
    for (size_t i = 0; i < count; i++) {
        put_string(b, names[i]);
        put_tensor(b, &t[i], legacy, NULL);
    }
    put(b, "u.", 2);
}

/* A torch zip of a pickle and one storage "0". */
static inline zip_made put_torch(bytes *b, const bytes *pickle, const void *storage, size_t size) {
    zip_part parts[] = { { .name = "archive/data.pkl", .data = pickle->data, .size = pickle->size },
                         { .name = "archive/byteorder", .data = "little", .size = 6 },
                         { .name = "archive/data/0", .data = storage, .size = size },
                         { .name = "archive/version", .data = "3\n", .size = 2 } };
    return put_zip(b, parts, 4, false, true);
}

/* The pickles before the object of a legacy file. */
static inline void put_legacy_head(bytes *b, bool little) {
    put(b, "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
    put(b, "\x80\2M\xe9\3.", 6);
    put(b, "\x80\2}(", 4);
    put_string(b, "little_endian");
    put(b, little ? "\x88" : "\x89", 1);
    put(b, "u.", 2);
}
/* The list of keys and the storages behind it: key "0", `numel` claimed, `size` bytes. */
static inline void put_legacy_tail(bytes *b, uint64_t numel, const void *storage, size_t size) {
    put(b, "\x80\2](", 4);
    put_string(b, "0");
    put(b, "e.", 2);
    put_number(b, numel, 8);
    put(b, storage, size);
}

#endif
