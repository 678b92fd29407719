#include "io/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/util.h"

vs_status vs_source_open(vs_source *s, const char *path, vs_error *err) {
    *s = (vs_source){ .label = path, .descriptor = -1 };
    vs_status status = vs_open_regular(path, &s->descriptor, err);
    struct stat info;
    if (status == VS_OK && fstat(s->descriptor, &info) != 0) status = vs_fail(err, VS_ERR_IO, "%s: %s", path, strerror(errno));
    if (status == VS_OK) {
        s->size = (size_t)info.st_size;
        s->changed = info.st_mtim;
    } else {
        vs_source_close(s);
    }
    return status;
}

vs_source vs_source_of_memory(const void *bytes, size_t size, const char *label) {
    static const uint8_t nothing = 0;
    return (vs_source){ .label = label, .size = size, .memory = size ? bytes : &nothing, .descriptor = -1 };
}

void vs_source_close(vs_source *s) {
    if (!s->memory && s->label && s->descriptor >= 0) (void)close(s->descriptor);
    *s = (vs_source){ .descriptor = -1 };
}

/* One that is rewritten while it is read gives a mixture of two files. */
static vs_status check_unchanged(const vs_source *s, vs_error *err) {
    struct stat info;
    if (fstat(s->descriptor, &info) != 0) return vs_fail(err, VS_ERR_IO, "%s: %s", s->label, strerror(errno));
    if ((size_t)info.st_size == s->size && info.st_mtim.tv_sec == s->changed.tv_sec && info.st_mtim.tv_nsec == s->changed.tv_nsec)
        return VS_OK;
    return vs_fail(err, VS_ERR_IO, "%s: the file was changed while it was read (%zu bytes, then %llu)", s->label, s->size,
                   (unsigned long long)info.st_size);
}

vs_status vs_source_read(const vs_source *s, size_t at, size_t size, void *out, vs_error *err) {
    if (at > s->size || size > s->size - at)
        return vs_fail(err, VS_ERR_INTERNAL, "%s: bytes %zu and %zu more are beyond its %zu", s->label, at, size, s->size);
    if (size == 0) return VS_OK;
    if (s->memory) {
        memcpy(out, s->memory + at, size);
        return VS_OK;
    }
    for (size_t done = 0; done < size;) {
        const ssize_t got = pread(s->descriptor, (char *)out + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return vs_fail(err, VS_ERR_IO, "%s: cannot read: %s", s->label, strerror(errno));
        if (got == 0) return vs_fail(err, VS_ERR_IO, "%s: the file was cut at byte %zu while it was read", s->label, at + done);
        done += (size_t)got;
    }
    return check_unchanged(s, err);
}

vs_status vs_source_load(const vs_source *s, size_t at, size_t size, uint8_t **out, vs_error *err) {
    size_t room = 0;
    uint8_t *bytes = vs_size_add(&room, size, 1) ? malloc(room) : NULL;
    *out = NULL;
    if (!bytes) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for %zu bytes", s->label, size);
    vs_status status = vs_source_read(s, at, size, bytes, err);
    if (status != VS_OK) {
        free(bytes);
        return status;
    }
    bytes[size] = '\0';
    *out = bytes;
    return VS_OK;
}
