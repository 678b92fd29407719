/* Record locks: the system drops them when the process ends, however it ends, and no child inherits them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/util.h"

enum { TRIES = 16 };

static bool is_still_there(int fd, const char *path) {
    struct stat mine, there;
    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static vs_status refuse(const char *what, int fd, vs_error *err) {
    struct flock other = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(fd, F_GETLK, &other) == 0 && other.l_type != F_UNLCK && other.l_pid > 0)
        return vs_fail(err, VS_ERR_IO,
                       "%s: another run (process %ld) is at work in this folder; wait for it, or give another --out", what,
                       (long)other.l_pid);
    return vs_fail(err, VS_ERR_IO, "%s: another run is at work in this folder; wait for it, or give another --out", what);
}

static bool cannot_lock(int code) { return code == ENOLCK || code == ENOSYS || code == EOPNOTSUPP || code == EINVAL; }

/* One try; *again: the file was removed by its last holder between our open and our lock. */
static vs_status try_once(vs_lock *l, const char *dir, bool *again, vs_error *err) {
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    *again = false;
    l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (l->fd < 0) return vs_fail(err, VS_ERR_IO, "%s: the folder cannot be written: %s", dir, strerror(errno));
    if (fcntl(l->fd, F_SETLK, &whole) != 0 && !cannot_lock(errno)) {
        const int code = errno;
        vs_status status = code == EACCES || code == EAGAIN
                               ? refuse(dir, l->fd, err)
                               : vs_fail(err, VS_ERR_IO, "%s: cannot lock: %s", l->path, strerror(code));
        (void)close(l->fd);
        l->fd = -1;
        return status;
    }
    *again = !is_still_there(l->fd, l->path);
    if (*again) {
        (void)close(l->fd);
        l->fd = -1;
    }
    return VS_OK;
}

vs_status vs_lock_take(vs_lock *l, const char *dir, vs_error *err) {
    *l = (vs_lock){ .fd = -1, .path = vs_path_join(dir, ".vitscope.lock") };
    if (!l->path) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    vs_status status = VS_OK;
    bool again = true;
    for (size_t i = 0; i < TRIES && again && status == VS_OK; i++) status = try_once(l, dir, &again, err);
    if (status == VS_OK && again) status = vs_fail(err, VS_ERR_IO, "%s: the lock file comes and goes", l->path);
    if (status != VS_OK) {
        free(l->path);
        *l = (vs_lock){ .fd = -1 };
    }
    return status;
}

void vs_lock_release(vs_lock *l) {
    if (!l->path) return;
    if (l->fd >= 0) {
        (void)unlink(l->path); /* while it is held: whoever opened it meanwhile sees that it is gone and opens a new one */
        (void)close(l->fd);
    }
    free(l->path);
    *l = (vs_lock){ .fd = -1 };
}
