#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/util.h"

vs_status vs_make_dirs(const char *path, vs_error *err) {
    char *copy = vs_strdup(path);
    if (!copy) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    vs_status status = VS_OK;
    for (char *p = copy + 1; status == VS_OK; p++) {
        if (*p != '/' && *p != '\0') continue;
        const char was = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            status = vs_fail(err, VS_ERR_IO, "%s: cannot create the folder: %s", copy, strerror(errno));
        struct stat info;
        if (status == VS_OK && (stat(copy, &info) != 0 || !S_ISDIR(info.st_mode)))
            status = vs_fail(err, VS_ERR_IO, "%s: not a folder", copy);
        *p = was;
        if (was == '\0') break;
    }
    free(copy);
    return status;
}

char *vs_path_join(const char *dir, const char *name) {
    const size_t n = strlen(dir);
    return vs_format("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

char *vs_path_relative_to(const char *base, const char *path) {
    const char *slash = strrchr(base, '/');
    if (path[0] == '/' || !slash) return vs_strdup(path);
    return vs_format("%.*s/%s", (int)(slash - base), base, path);
}

vs_status vs_outfile_open(vs_outfile *f, const char *path, vs_error *err) {
    *f = (vs_outfile){ .path = vs_strdup(path), .temporary = vs_format("%s.tmp.%ld", path, (long)getpid()) };
    if (!f->path || !f->temporary) {
        vs_outfile_discard(f);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    }
    f->stream = fopen(f->temporary, "wb");
    if (f->stream) return VS_OK;
    const int code = errno;
    free(f->temporary); /* nothing to remove */
    f->temporary = NULL;
    vs_outfile_discard(f);
    return vs_fail(err, VS_ERR_IO, "%s: cannot write: %s", path, strerror(code));
}

bool vs_outfile_write(vs_outfile *f, const void *bytes, size_t size) {
    if (f->code) return false;
    errno = 0;
    if (fwrite(bytes, 1, size, f->stream) == size) return true;
    f->code = errno ? errno : EIO;
    return false;
}

vs_status vs_outfile_commit(vs_outfile *f, vs_error *err) {
    vs_status status = VS_OK;
    errno = f->code;
    const bool broken = ferror(f->stream) != 0 || f->code, unflushed = !broken && fflush(f->stream) != 0;
    const int code = errno;
    const bool unclosed = fclose(f->stream) != 0;
    f->stream = NULL;
    if (broken || unflushed || unclosed)
        status = vs_fail(err, VS_ERR_IO, "%s: cannot write: %s", f->path, strerror(code ? code : errno ? errno : EIO));
    else if (rename(f->temporary, f->path) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: cannot rename into place: %s", f->path, strerror(errno));
    else {
        free(f->temporary);
        f->temporary = NULL;
    }
    vs_outfile_discard(f);
    return status;
}

void vs_outfile_discard(vs_outfile *f) {
    if (f->stream) (void)fclose(f->stream);
    if (f->temporary) unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (vs_outfile){ 0 };
}

vs_status vs_write_file(const char *path, const void *bytes, size_t size, vs_error *err) {
    vs_outfile f;
    vs_status status = vs_outfile_open(&f, path, err);
    if (status != VS_OK) return status;
    (void)vs_outfile_write(&f, bytes, size);
    return vs_outfile_commit(&f, err);
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

/* O_NONBLOCK: to open a pipe that nobody writes to would wait for ever; reading a regular file does not heed it. */
vs_status vs_open_regular(const char *path, int *descriptor, vs_error *err) {
    *descriptor = -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENXIO) return vs_fail(err, VS_ERR_IO, "%s: a socket or a device, not a file", path);
    if (fd < 0) return vs_fail(err, errno == ENOENT ? VS_ERR_NOTFOUND : VS_ERR_IO, "%s: %s", path, strerror(errno));
    struct stat info;
    vs_status status = VS_OK;
    if (fstat(fd, &info) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = vs_fail(err, VS_ERR_IO, "%s: %s, not a file", path, kind_of(info.st_mode));
    if (status == VS_OK)
        *descriptor = fd;
    else
        (void)close(fd);
    return status;
}

vs_status vs_open_stream(const char *path, FILE **stream, vs_error *err) {
    int fd = -1;
    *stream = NULL;
    vs_status status = vs_open_regular(path, &fd, err);
    if (status != VS_OK) return status;
    *stream = fdopen(fd, "rb");
    if (*stream) return VS_OK;
    status = vs_fail(err, VS_ERR_IO, "%s: %s", path, strerror(errno));
    (void)close(fd);
    return status;
}

vs_status vs_read_file(const char *path, size_t limit, char **bytes, size_t *size, vs_error *err) {
    *bytes = NULL;
    *size = 0;
    FILE *in = NULL;
    vs_status status = vs_open_stream(path, &in, err);
    if (status != VS_OK) return status;
    size_t capacity = 0, used = 0;
    void *buffer = NULL;
    for (;;) {
        if (!vs_grow(&buffer, &capacity, used + 65536 + 1, 1)) {
            status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory", path);
            break;
        }
        const size_t got = fread((char *)buffer + used, 1, 65536, in);
        used += got;
        if (used > limit)
            status = vs_fail(err, VS_ERR_FORMAT, "%s: larger than %zu bytes", path, limit);
        else if (ferror(in))
            status = vs_fail(err, VS_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
        if (status != VS_OK || got == 0) break;
    }
    (void)fclose(in);
    if (status != VS_OK) {
        free(buffer);
        return status;
    }
    ((char *)buffer)[used] = '\0';
    *bytes = buffer;
    *size = used;
    return VS_OK;
}

vs_status vs_file_sha256(const char *path, char text[65], vs_error *err) {
    FILE *in = NULL;
    vs_status status = vs_open_stream(path, &in, err);
    if (status != VS_OK) return status;
    vs_sha256 sha;
    uint8_t bytes[16384], digest[32];
    vs_sha256_init(&sha);
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, in)) > 0;) vs_sha256_update(&sha, bytes, got);
    if (ferror(in)) status = vs_fail(err, VS_ERR_IO, "%s: cannot read: %s", path, strerror(errno));
    (void)fclose(in);
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, text);
    return status;
}

double vs_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
