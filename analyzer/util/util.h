/* Small things every module needs: checked sizes, allocation, strings, random numbers, atomic files. */
#ifndef VS_UTIL_H
#define VS_UTIL_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vitscope/status.h"

/* ---- sizes: false (and *out untouched) when the result does not fit ---- */
VS_NODISCARD bool vs_size_mul(size_t *out, size_t a, size_t b);
VS_NODISCARD bool vs_size_add(size_t *out, size_t a, size_t b);

/* ---- memory: zeroed; NULL when count * size overflows or there is no memory; free with free() ---- */
void *vs_calloc(size_t count, size_t size);
/* Grows *items (elements of `size`) so that `need` fit; *capacity in elements. Contents kept. False: no memory. */
VS_NODISCARD bool vs_grow(void **items, size_t *capacity, size_t need, size_t size);
char *vs_strdup(const char *text);
/* A new string, or NULL. */
char *vs_format(const char *format, ...) VS_PRINTF(1, 2);

/* ---- text ---- */
/* Shell glob over layer names: * ? [..] {a,b}; `*` also matches dots. */
bool vs_glob_match(const char *pattern, const char *text);
/* `text` for a terminal, into out[size], NUL-terminated and cut between characters where there is no room: control characters
 * (C0, DEL, C1) and bytes that are no UTF-8 become \xNN; other UTF-8 stays. Gives `out`. size > 0. */
const char *vs_printable(const char *text, char *out, size_t size);
/* The same as a new string of any length, or NULL. */
char *vs_printable_copy(const char *text);
/* The number of bytes of the UTF-8 character at `text`, of at most `left` bytes; 0 where there is none. */
size_t vs_utf8_size(const char *text, size_t left);
/* Whether a name ends with `ending`, which is in lower case; the name's case does not matter. */
bool vs_has_ending(const char *name, const char *ending);
/* Edit distance, for "did you mean"; neighbours that changed places are one edit. */
size_t vs_edit_distance(const char *a, const char *b);
/* The candidate nearest to `text`, or NULL where none is near: at most one edit in three letters (two in a short word), or one
 * begins with the other. Leading dashes of either do not count. */
const char *vs_nearest(const char *text, const char *const *candidates, size_t count);

/* A growing text. `failed` is set when memory runs out; then everything after is ignored. Zero-initialise; free bytes. */
typedef struct vs_text {
    char *bytes;
    size_t size, capacity;
    bool failed;
} vs_text;
void vs_text_add(vs_text *text, const char *format, ...) VS_PRINTF(2, 3);

/* ---- random numbers: splitmix64 ---- */
typedef struct vs_rng {
    uint64_t state;
} vs_rng;
uint64_t vs_rng_next(vs_rng *rng);
double vs_rng_uniform(vs_rng *rng); /* [0, 1) */
double vs_rng_normal(vs_rng *rng);

/* ---- files ---- */
/* Creates the folder and its parents. */
VS_NODISCARD vs_status vs_make_dirs(const char *path, vs_error *err);
/* dir + "/" + name; new string or NULL. */
char *vs_path_join(const char *dir, const char *name);
/* `path` if absolute, else relative to the folder of the file `base`; new string or NULL. */
char *vs_path_relative_to(const char *base, const char *path);

/* ---- folders ---- */
typedef struct vs_names {
    char **items;
    size_t count, capacity;
} vs_names;
VS_NODISCARD vs_status vs_names_add(vs_names *names, const char *name, vs_error *err); /* a copy */
bool vs_names_have(const vs_names *names, const char *name);
void vs_names_free(vs_names *names);

/* Adds the names in a folder, sorted by bytes, hidden ones too. */
VS_NODISCARD vs_status vs_folder_list(const char *dir, vs_names *names, vs_error *err);

/* `name`: the path below the folder that is visited. A folder comes after what is in it. */
typedef vs_status (*vs_visit_fn)(void *context, const char *path, const char *name, bool folder, vs_error *err);
/* All that lies in a folder, sorted by bytes, hidden files too; links are not followed. `fn` may remove what it is shown. */
VS_NODISCARD vs_status vs_folder_visit(const char *dir, vs_visit_fn fn, void *context, vs_error *err);
/* With all that is in it; a folder that is not there is removed already. */
VS_NODISCARD vs_status vs_folder_remove(const char *dir, vs_error *err);
/* "<file>.tmp.<process>": what vs_outfile writes before it has its name. */
bool vs_is_temporary(const char *name);
/* Those that a killed process left in `dir` itself. For holders of its lock. */
VS_NODISCARD vs_status vs_folder_remove_temporaries(const char *dir, vs_error *err);

/* ---- one process at a time in a folder ---- */
typedef struct vs_lock {
    int fd;
    char *path; /* <dir>/.vitscope.lock; NULL: nothing is held */
} vs_lock;
/* VS_ERR_IO where another process holds it, or the folder cannot be written. A process that ends in any way, kill -9 too, lets
 * go. Where the file system knows no locks, it is taken without. */
VS_NODISCARD vs_status vs_lock_take(vs_lock *lock, const char *dir, vs_error *err);
/* Removes the file. Safe on a zeroed lock. */
void vs_lock_release(vs_lock *lock);

/* ---- whole files ---- */
/* A file that appears under its name only when it is whole: written beside it, renamed at commit. */
typedef struct vs_outfile {
    FILE *stream;
    char *path, *temporary;
    int code; /* errno of the first write that failed */
} vs_outfile;
VS_NODISCARD vs_status vs_outfile_open(vs_outfile *file, const char *path, vs_error *err);
/* A failure is kept for commit, which says why; false then, for callers that would do more work. */
bool vs_outfile_write(vs_outfile *file, const void *bytes, size_t size);
/* Flushes, checks every earlier write, renames. On failure the temporary is removed. */
VS_NODISCARD vs_status vs_outfile_commit(vs_outfile *file, vs_error *err);
/* Removes the temporary if it was not committed. Safe on a zeroed or committed file. */
void vs_outfile_discard(vs_outfile *file);
VS_NODISCARD vs_status vs_write_file(const char *path, const void *bytes, size_t size, vs_error *err);
/* A regular file, opened for reading. VS_ERR_IO at once, naming what it is, for a folder, a pipe, a socket or a device. The
 * caller closes it. */
VS_NODISCARD vs_status vs_open_regular(const char *path, int *descriptor, vs_error *err);
VS_NODISCARD vs_status vs_open_stream(const char *path, FILE **stream, vs_error *err);
/* A whole file of at most `limit` bytes, NUL-terminated; the caller frees it. */
VS_NODISCARD vs_status vs_read_file(const char *path, size_t limit, char **bytes, size_t *size, vs_error *err);

/* ---- SHA-256 (FIPS 180-4), by nettle ---- */
typedef struct sha256_ctx vs_sha256;
void vs_sha256_init(vs_sha256 *sha);
void vs_sha256_update(vs_sha256 *sha, const void *bytes, size_t size);
void vs_sha256_final(vs_sha256 *sha, uint8_t digest[32]);
void vs_hex(const uint8_t *bytes, size_t size, char *text); /* 2*size + 1 characters */

/* Of a whole file, as hex. */
VS_NODISCARD vs_status vs_file_sha256(const char *path, char text[65], vs_error *err);

/* How many of `wanted` threads, the calling one among them, can be there at once; at least 1. OpenMP's runtime ends the program
 * where it cannot start one, so this is asked first. */
size_t vs_threads_available(size_t wanted);

/* Seconds on the monotonic clock. */
double vs_now(void);

#endif
