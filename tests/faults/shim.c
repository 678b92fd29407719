/* Preloaded into a program, makes one call of one kind fail there:
 *
 *     VS_FAULT_KIND    what may fail: a name of `kinds` below
 *     VS_FAULT_NUMBER  which call of that kind, counted from 1; without it none fails
 *     VS_FAULT_COUNTS  a file for the number of calls of each kind, written when the program ends
 *
 * The program's children do not inherit it. For glibc, whose own allocator is called behind the replaced one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum kind {
    MALLOC,
    CALLOC,
    REALLOC,
    ALIGN, /* posix_memalign, aligned_alloc */
    LARGE, /* any of them, of LARGE_BYTES and more */
    MMAP,
    FOPEN,
    OPEN,
    WRITE,
    FWRITE,
    FFLUSH,
    FCLOSE,
    FREAD,
    RENAME,
    MKDIR,
    PIPE,
    FORK,
    TMPFILE,
    THREAD,
    KINDS
} kind;

static const struct {
    const char *name;
    int code; /* errno of its failure */
} kinds[KINDS] = { { "malloc", ENOMEM }, { "calloc", ENOMEM }, { "realloc", ENOMEM }, { "align", ENOMEM },  { "large", ENOMEM },
                   { "mmap", ENOMEM },   { "fopen", EMFILE },  { "open", EMFILE },    { "write", ENOSPC },  { "fwrite", ENOSPC },
                   { "fflush", ENOSPC }, { "fclose", ENOSPC }, { "fread", EIO },      { "rename", EACCES }, { "mkdir", ENOSPC },
                   { "pipe", EMFILE },   { "fork", EAGAIN },   { "tmpfile", EMFILE }, { "thread", EAGAIN } };

enum { LARGE_BYTES = 65536 };

static atomic_long counts[KINDS];
static kind chosen = KINDS;
static long number;
static pid_t home; /* 0 until begun, so that the loader's own calls are not counted */

/* True where this call is to fail; errno is set. */
static bool fails(kind k) {
    if (home == 0 || getpid() != home) return false;
    if (atomic_fetch_add(&counts[k], 1) + 1 != number || k != chosen) return false;
    errno = kinds[k].code;
    return true;
}

static bool no_memory(kind k, size_t bytes) {
    const bool any = fails(k), large = bytes >= LARGE_BYTES && fails(LARGE);
    return any || large;
}

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("VS_FAULT_KIND"), *which = getenv("VS_FAULT_NUMBER");
    for (int k = 0; name && k < KINDS; k++)
        if (strcmp(name, kinds[k].name) == 0) chosen = (kind)k;
    if (name && chosen == KINDS) {
        (void)fprintf(stderr, "shim: no such kind of call: %s\n", name);
        _exit(99);
    }
    number = which ? strtol(which, NULL, 10) : 0;
    (void)unsetenv("LD_PRELOAD");
    home = getpid();
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("VS_FAULT_COUNTS");
    if (!path || getpid() != home) return;
    home = 0;
    FILE *file = fopen(path, "w");
    for (int k = 0; file && k < KINDS; k++) (void)fprintf(file, "%s %ld\n", kinds[k].name, atomic_load(&counts[k]));
    if (file) (void)fclose(file);
}

/* ------------------------------------------------------------------ memory */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) { return no_memory(MALLOC, size) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return no_memory(CALLOC, count * size) ? NULL : __libc_calloc(count, size); }

void *realloc(void *p, size_t size) { return no_memory(REALLOC, size) ? NULL : __libc_realloc(p, size); }

int posix_memalign(void **out, size_t alignment, size_t size) {
    void *p = no_memory(ALIGN, size) ? NULL : __libc_memalign(alignment, size);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

void *aligned_alloc(size_t alignment, size_t size) { return no_memory(ALIGN, size) ? NULL : __libc_memalign(alignment, size); }

void *mmap(void *address, size_t size, int protection, int flags, int file, off_t offset) {
    if (fails(MMAP)) return MAP_FAILED;
    return (void *)(intptr_t)syscall(SYS_mmap, address, size, protection, flags, file, offset);
}

/* ------------------------------------------------------------------ files and processes */

/* The function that the program would call without this file. */
#define REAL(type, name) ((type)real(#name))
static void (*real(const char *name))(void) {
    void (*function)(void) = NULL;
    void *symbol = dlsym(RTLD_NEXT, name);
    memcpy(&function, &symbol, sizeof function);
    return function;
}

FILE *fopen(const char *path, const char *mode) {
    if (fails(FOPEN)) return NULL;
    return REAL(FILE * (*)(const char *, const char *), fopen)(path, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (fails(OPEN)) return -1;
    return REAL(int (*)(const char *, int, ...), open)(path, flags, mode);
}

ssize_t write(int file, const void *bytes, size_t size) {
    if (fails(WRITE)) return -1;
    return REAL(ssize_t(*)(int, const void *, size_t), write)(file, bytes, size);
}

/* Neither of these two for the terminal's streams: what is told there, and whether, is another test's. */
static bool is_told(FILE *stream) { return stream == stderr || stream == stdout; }

/* As stdio does, the stream remembers: _IO_ERR_SEEN. */
enum { STREAM_ERROR = 0x20 };

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    if (!is_told(stream) && fails(FWRITE)) {
        stream->_flags |= STREAM_ERROR;
        return 0;
    }
    return REAL(size_t(*)(const void *, size_t, size_t, FILE *), fwrite)(bytes, size, count, stream);
}

size_t fread(void *bytes, size_t size, size_t count, FILE *stream) {
    if (fails(FREAD)) {
        stream->_flags |= STREAM_ERROR;
        return 0;
    }
    return REAL(size_t(*)(void *, size_t, size_t, FILE *), fread)(bytes, size, count, stream);
}

int fflush(FILE *stream) {
    if (stream && !is_told(stream) && fails(FFLUSH)) return EOF;
    return REAL(int (*)(FILE *), fflush)(stream);
}

int fclose(FILE *stream) {
    const bool bad = fails(FCLOSE);
    const int closed = REAL(int (*)(FILE *), fclose)(stream);
    if (!bad) return closed;
    errno = kinds[FCLOSE].code;
    return EOF;
}

int rename(const char *from, const char *to) {
    if (fails(RENAME)) return -1;
    return REAL(int (*)(const char *, const char *), rename)(from, to);
}

int mkdir(const char *path, mode_t mode) {
    if (fails(MKDIR)) return -1;
    return REAL(int (*)(const char *, mode_t), mkdir)(path, mode);
}

int pipe(int ends[2]) {
    if (fails(PIPE)) return -1;
    return REAL(int (*)(int *), pipe)(ends);
}

pid_t fork(void) {
    if (fails(FORK)) return -1;
    return REAL(pid_t(*)(void), fork)();
}

FILE *tmpfile(void) {
    if (fails(TMPFILE)) return NULL;
    return REAL(FILE * (*)(void), tmpfile)();
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    if (fails(THREAD)) return kinds[THREAD].code;
    return REAL(int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *), pthread_create)(thread, attributes,
                                                                                                         start, argument);
}
