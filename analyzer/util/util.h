/* Small things every module needs: checked sizes, allocation, strings, random numbers, atomic files. */
#ifndef VS_UTIL_H
#define VS_UTIL_H

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
/* Edit distance, for "did you mean"; neighbours that changed places are one edit. */
size_t vs_edit_distance(const char *a, const char *b);
/* The candidate nearest to `text`, or NULL where none is near: at most one edit in three letters (two in a short word), or one begins with the other.
 * Leading dashes of either do not count. */
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

/* A file that appears under its name only when it is whole: written beside it, renamed at commit. */
typedef struct vs_outfile {
    FILE *stream;
    char *path, *temporary;
} vs_outfile;
VS_NODISCARD vs_status vs_outfile_open(vs_outfile *file, const char *path, vs_error *err);
/* Flushes, checks every earlier write, renames. On failure the temporary is removed. */
VS_NODISCARD vs_status vs_outfile_commit(vs_outfile *file, vs_error *err);
/* Removes the temporary if it was not committed. Safe on a zeroed or committed file. */
void vs_outfile_discard(vs_outfile *file);
VS_NODISCARD vs_status vs_write_file(const char *path, const void *bytes, size_t size, vs_error *err);
/* A whole file of at most `limit` bytes, NUL-terminated; the caller frees it. */
VS_NODISCARD vs_status vs_read_file(const char *path, size_t limit, char **bytes, size_t *size, vs_error *err);

/* ---- SHA-256 (FIPS 180-4) ---- */
typedef struct vs_sha256 {
    uint32_t h[8];
    uint64_t length;
    uint8_t block[64];
    size_t fill;
} vs_sha256;
void vs_sha256_init(vs_sha256 *sha);
void vs_sha256_update(vs_sha256 *sha, const void *bytes, size_t size);
void vs_sha256_final(vs_sha256 *sha, uint8_t digest[32]);
void vs_hex(const uint8_t *bytes, size_t size, char *text); /* 2*size + 1 characters */

/* Of a whole file, as hex. */
VS_NODISCARD vs_status vs_file_sha256(const char *path, char text[65], vs_error *err);

/* Seconds on the monotonic clock. */
double vs_now(void);

#endif
