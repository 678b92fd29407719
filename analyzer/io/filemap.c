#define _DEFAULT_SOURCE /* madvise: posix_madvise does nothing for this advice */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"

vs_status vs_file_map(const char *path, void **map, size_t *size, vs_error *err) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return vs_fail(err, errno == ENOENT ? VS_ERR_NOTFOUND : VS_ERR_IO, "%s: %s", path, strerror(errno));
    struct stat info;
    vs_status status = VS_OK;
    if (fstat(fd, &info) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = vs_fail(err, VS_ERR_IO, "%s: not a file", path);
    else if (info.st_size == 0)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: the file is empty", path);
    else {
        void *memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (memory == MAP_FAILED) {
            status = vs_fail(err, VS_ERR_IO, "%s: cannot map: %s", path, strerror(errno));
        } else {
            *map = memory;
            *size = (size_t)info.st_size;
        }
    }
    (void)close(fd);
    return status;
}

void vs_file_unmap(void *map, size_t size) {
    if (map) (void)munmap(map, size);
}

void vs_file_forget(const uint8_t *bytes, size_t size) {
    const long page_size = sysconf(_SC_PAGESIZE);
    if (page_size <= 0) return;
    const size_t page = (size_t)page_size, skip = (page - (uintptr_t)bytes % page) % page;
    if (skip >= size || size - skip < page) return;
    union {
        const uint8_t *constant;
        void *plain; /* madvise asks for it and writes nothing */
    } from = { .constant = bytes + skip };
    (void)madvise(from.plain, (size - skip) / page * page, MADV_DONTNEED);
}
