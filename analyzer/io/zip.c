/* APPNOTE.TXT 6.3: 4.3.7 local header, 4.3.12 central header, 4.3.14-16 ends of the directory, 4.5.3 ZIP64 sizes. */
#include "io/zip.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum {
    MAX_ENTRIES = 1 << 20,
    LOCAL = 30,
    CENTRAL = 46,
    END = 22,
    END64 = 56,
    LOCATOR64 = 20,
    MAX_COMMENT = 65535,
    MAX_NAME = 65535
};
enum { FLAG_ENCRYPTED = 1, FLAG_STREAMED = 8 };
static const uint32_t none32 = 0xffffffff;

static const size_t max_directory = (size_t)1 << 27;

typedef struct archive {
    const vs_source *source;
    const char *label;
    size_t directory, directory_end, count;
    uint8_t *central; /* the directory's bytes */
} archive;

static uint64_t little(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static bool is_signature(const uint8_t *p, const char *tag) { return memcmp(p, tag, 4) == 0; }

/* The end record whose comment ends with the file: its place, and its bytes. */
static vs_status find_end(const archive *a, size_t *at, uint8_t end[END], vs_error *err) {
    const size_t size = a->source->size, tail = size < END + MAX_COMMENT ? size : END + MAX_COMMENT, first = size - tail;
    uint8_t *bytes = NULL;
    vs_status status = vs_source_load(a->source, first, tail, &bytes, err);
    bool found = false;
    for (size_t i = tail < END ? 0 : tail - END + 1; status == VS_OK && !found && i-- > 0;) {
        found = is_signature(bytes + i, "PK\x05\x06") && little(bytes + i + 20, 2) == tail - END - i;
        if (found) {
            memcpy(end, bytes + i, END);
            *at = first + i;
        }
    }
    free(bytes);
    if (status == VS_OK && !found)
        status =
            vs_fail(err, VS_ERR_FORMAT, "%s: a zip archive without its end of %zu bytes: the file is truncated", a->label, size);
    return status;
}

/* The ZIP64 end, where a locator stands before the plain end at `end`; its place in *at, SIZE_MAX: there is none. */
static vs_status find_end64(const archive *a, size_t end, size_t *at, uint8_t end64[END64], vs_error *err) {
    uint8_t locator[LOCATOR64];
    *at = SIZE_MAX;
    if (end < LOCATOR64) return VS_OK;
    vs_status status = vs_source_read(a->source, end - LOCATOR64, LOCATOR64, locator, err);
    if (status != VS_OK || !is_signature(locator, "PK\x06\x07")) return status;
    const uint64_t place = little(locator + 8, 8);
    bool found = place <= end - LOCATOR64 && end - LOCATOR64 - place >= END64;
    if (found) status = vs_source_read(a->source, (size_t)place, END64, end64, err);
    if (status == VS_OK && (!found || !is_signature(end64, "PK\x06\x06")))
        status = vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: the ZIP64 end lies at no such place", a->label, end - LOCATOR64);
    *at = (size_t)place;
    return status;
}

/* A 64-bit field stands where the old one is all ones; where both are given they agree. */
static bool widen(uint64_t *value, uint64_t none, uint64_t wide) {
    if (*value != none && *value != wide) return false;
    *value = wide;
    return true;
}

static vs_status read_end(archive *a, vs_error *err) {
    size_t end = 0, end64 = SIZE_MAX;
    uint8_t plain[END], wide[END64];
    vs_status status = find_end(a, &end, plain, err);
    if (status == VS_OK) status = find_end64(a, end, &end64, wide, err);
    if (status != VS_OK) return status;
    uint64_t count = little(plain + 10, 2), size = little(plain + 12, 4), offset = little(plain + 16, 4);
    bool split = little(plain + 4, 2) != 0 || little(plain + 6, 2) != 0 || little(plain + 8, 2) != count;
    if (end64 != SIZE_MAX) {
        const uint8_t *p = wide;
        split = split || little(p + 16, 4) != 0 || little(p + 20, 4) != 0 || little(p + 24, 8) != little(p + 32, 8);
        if (!widen(&count, 0xffff, little(p + 32, 8)) || !widen(&size, none32, little(p + 40, 8)) ||
            !widen(&offset, none32, little(p + 48, 8)))
            return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: the two ends of the zip archive disagree", a->label, end);
        end = end64;
    }
    if (split) return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: one part of a split zip archive: join the parts first", a->label);
    if (offset > end || size > end - offset)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the zip directory claims %llu bytes from byte %llu, but must end before byte %zu",
                       a->label, (unsigned long long)size, (unsigned long long)offset, end);
    if (size > max_directory)
        return vs_fail(err, VS_ERR_FORMAT, "%s: a zip directory of %llu bytes; at most %zu are read", a->label,
                       (unsigned long long)size, max_directory);
    if (count > MAX_ENTRIES || count > size / CENTRAL)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the zip directory claims %llu entries in %llu bytes (at most %d are read)",
                       a->label, (unsigned long long)count, (unsigned long long)size, (int)MAX_ENTRIES);
    a->directory = (size_t)offset;
    a->directory_end = (size_t)(offset + size);
    a->count = (size_t)count;
    return vs_source_load(a->source, a->directory, a->directory_end - a->directory, &a->central, err);
}

/* The ZIP64 extra field holds, in this order, those of the three that do not fit the header. */
static bool read_extra(const uint8_t *p, size_t size, uint64_t *full, uint64_t *packed, uint64_t *offset) {
    uint64_t *const fields[] = { full, packed, offset };
    for (size_t at = 0; size - at >= 4;) {
        const size_t n = (size_t)little(p + at + 2, 2);
        if (n > size - at - 4) return false;
        if (little(p + at, 2) == 1) {
            size_t used = 0;
            for (size_t i = 0; i < 3; i++) {
                if (*fields[i] != none32) continue;
                if (n - used < 8) return false;
                *fields[i] = little(p + at + 4 + used, 8);
                used += 8;
            }
            return true;
        }
        at += 4 + n;
    }
    return true;
}

/* The local header repeats the name; its own name and extra field decide where the bytes begin. */
static vs_status read_local(const archive *a, vs_zip_entry *e, uint64_t offset, uint64_t size, unsigned flags, vs_error *err) {
    uint8_t p[LOCAL + MAX_NAME];
    const size_t length = strlen(e->name);
    const bool there = offset <= a->directory && a->directory - offset >= LOCAL;
    const size_t shown = !there ? 0 : a->directory - offset < LOCAL + length ? (size_t)(a->directory - offset) : LOCAL + length;
    vs_status status = vs_source_read(a->source, there ? (size_t)offset : 0, shown, p, err);
    if (status != VS_OK) return status;
    if (!there || !is_signature(p, "PK\x03\x04"))
        return vs_fail(err, VS_ERR_FORMAT, "%s: entry '%.200s': no header at byte %llu", a->label, e->name,
                       (unsigned long long)offset);
    const size_t name_size = (size_t)little(p + 26, 2), extra_size = (size_t)little(p + 28, 2);
    const size_t room = a->directory - (size_t)offset - LOCAL;
    if (name_size + extra_size > room || name_size != length || memcmp(p + LOCAL, e->name, name_size) != 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: entry '%.200s': the header at byte %llu names another", a->label, e->name,
                       (unsigned long long)offset);
    if (size > room - name_size - extra_size)
        return vs_fail(err, VS_ERR_FORMAT, "%s: entry '%.200s' claims %llu bytes, but only %zu follow byte %llu", a->label,
                       e->name, (unsigned long long)size, room - name_size - extra_size, (unsigned long long)offset);
    const uint64_t local_size = little(p + 18, 4);
    if (!(flags & FLAG_STREAMED) && local_size != none32 && local_size != size)
        return vs_fail(err, VS_ERR_FORMAT, "%s: entry '%.200s' has %llu bytes by the directory, %llu by its header", a->label,
                       e->name, (unsigned long long)size, (unsigned long long)local_size);
    e->at = (size_t)offset + LOCAL + name_size + extra_size;
    e->size = (size_t)size;
    e->begin = (size_t)offset;
    return VS_OK;
}

static vs_status read_entry(const archive *a, vs_zip_entry *e, size_t *at, vs_error *err) {
    const size_t here = *at, left = a->directory_end - here;
    const uint8_t *p = a->central + (here - a->directory);
    if (left < CENTRAL || !is_signature(p, "PK\x01\x02"))
        return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: the zip directory is broken", a->label, here);
    const unsigned flags = (unsigned)little(p + 8, 2);
    const size_t name_size = (size_t)little(p + 28, 2), extra_size = (size_t)little(p + 30, 2),
                 comment_size = (size_t)little(p + 32, 2);
    uint64_t packed = little(p + 20, 4), full = little(p + 24, 4), offset = little(p + 42, 4);
    if (name_size + extra_size + comment_size > left - CENTRAL || name_size == 0 || memchr(p + CENTRAL, '\0', name_size) ||
        !read_extra(p + CENTRAL + name_size, extra_size, &full, &packed, &offset))
        return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: the zip directory is broken", a->label, here);
    e->name = vs_format("%.*s", (int)name_size, (const char *)p + CENTRAL);
    if (!e->name) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", a->label);
    *at = here + CENTRAL + name_size + extra_size + comment_size;
    e->method = (unsigned)little(p + 10, 2);
    if (flags & FLAG_ENCRYPTED) return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: entry '%.200s' is encrypted", a->label, e->name);
    if (e->method == 0 && full != packed)
        return vs_fail(err, VS_ERR_FORMAT, "%s: entry '%.200s' is stored, yet %llu bytes become %llu", a->label, e->name,
                       (unsigned long long)packed, (unsigned long long)full);
    return read_local(a, e, offset, packed, flags, err);
}

static int by_place(const void *a, const void *b) {
    const vs_zip_entry *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

static int by_name(const void *a, const void *b) {
    const vs_zip_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static vs_status check_places(const vs_zip *zip, const archive *a, vs_error *err) {
    for (size_t i = 1; i < zip->count; i++) {
        const vs_zip_entry *before = &zip->entries[i - 1], *e = &zip->entries[i];
        if (before->at + before->size > e->begin)
            return vs_fail(err, VS_ERR_FORMAT, "%s: entries '%.100s' and '%.100s' overlap at byte %zu", a->label, before->name,
                           e->name, e->begin);
    }
    return VS_OK;
}

static vs_status check_names(const vs_zip *zip, const archive *a, vs_error *err) {
    for (size_t i = 1; i < zip->count; i++)
        if (strcmp(zip->entries[i - 1].name, zip->entries[i].name) == 0)
            return vs_fail(err, VS_ERR_FORMAT, "%s: two entries are called '%.200s'", a->label, zip->entries[i].name);
    return VS_OK;
}

vs_status vs_zip_read(vs_zip *zip, const vs_source *source, vs_error *err) {
    *zip = (vs_zip){ 0 };
    archive a = { .source = source, .label = source->label };
    vs_status status = read_end(&a, err);
    if (status == VS_OK && !(zip->entries = vs_calloc(a.count ? a.count : 1, sizeof *zip->entries)))
        status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory for %zu entries", a.label, a.count);
    size_t at = a.directory;
    for (size_t i = 0; i < a.count && status == VS_OK; i++) status = read_entry(&a, &zip->entries[zip->count++], &at, err);
    if (status == VS_OK) {
        qsort(zip->entries, zip->count, sizeof *zip->entries, by_place);
        status = check_places(zip, &a, err);
    }
    if (status == VS_OK) {
        qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
        status = check_names(zip, &a, err);
    }
    free(a.central);
    if (status != VS_OK) vs_zip_release(zip);
    return status;
}

vs_status vs_zip_check_stored(const vs_zip *zip, const char *label, vs_error *err) {
    for (size_t i = 0; i < zip->count; i++)
        if (zip->entries[i].method != 0)
            return vs_fail(
                err, VS_ERR_UNSUPPORTED,
                "%s: entry '%.200s' is compressed (method %u); torch.save stores without: load the file with torch.load and "
                "save it again, or repack it with zip -0",
                label, zip->entries[i].name, zip->entries[i].method);
    return VS_OK;
}

void vs_zip_release(vs_zip *zip) {
    for (size_t i = 0; i < zip->count; i++) free(zip->entries[i].name);
    free(zip->entries);
    *zip = (vs_zip){ 0 };
}

static int is_called(const void *name, const void *entry) { return strcmp(name, ((const vs_zip_entry *)entry)->name); }

const vs_zip_entry *vs_zip_find(const vs_zip *zip, const char *name) {
    return zip->count ? bsearch(name, zip->entries, zip->count, sizeof *zip->entries, is_called) : NULL;
}
