/* Folders as a whole: what lies in one, and its removal. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/util.h"

enum { MAX_DEPTH = 32 };

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void vs_names_free(vs_names *n) {
    for (size_t i = 0; i < n->count; i++) free(n->items[i]);
    free(n->items);
    *n = (vs_names){ 0 };
}

vs_status vs_names_add(vs_names *n, const char *name, vs_error *err) {
    char *copy = vs_strdup(name);
    if (!copy || !vs_grow((void **)&n->items, &n->capacity, n->count + 1, sizeof *n->items)) {
        free(copy);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of files");
    }
    n->items[n->count++] = copy;
    return VS_OK;
}

bool vs_names_have(const vs_names *n, const char *name) {
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i], name) == 0) return true;
    return false;
}

vs_status vs_folder_list(const char *dir, vs_names *names, vs_error *err) {
    DIR *d = opendir(dir);
    if (!d) return vs_fail(err, VS_ERR_IO, "%s: %s", dir, strerror(errno));
    vs_status status = VS_OK;
    errno = 0;
    for (const struct dirent *e; status == VS_OK && (e = readdir(d)) != NULL; errno = 0)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) status = vs_names_add(names, e->d_name, err);
    if (status == VS_OK && errno) status = vs_fail(err, VS_ERR_IO, "%s: %s", dir, strerror(errno));
    (void)closedir(d);
    if (status == VS_OK && names->count) qsort(names->items, names->count, sizeof *names->items, by_bytes);
    return status;
}

/* Links are listed as what they are, never followed. */
static vs_status visit(const char *dir, const char *prefix, size_t depth, vs_visit_fn fn, void *context, vs_error *err) {
    if (depth > MAX_DEPTH) return vs_fail(err, VS_ERR_IO, "%s: more than %d folders deep", dir, MAX_DEPTH);
    vs_names names = { 0 };
    vs_status status = vs_folder_list(dir, &names, err);
    for (size_t i = 0; i < names.count && status == VS_OK; i++) {
        char *path = vs_path_join(dir, names.items[i]), *name = vs_format("%s%s", prefix, names.items[i]),
             *below = vs_format("%s%s/", prefix, names.items[i]);
        struct stat info;
        if (!path || !name || !below)
            status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        else if (lstat(path, &info) != 0)
            status = vs_fail(err, VS_ERR_IO, "%s: %s", path, strerror(errno));
        const bool folder = status == VS_OK && S_ISDIR(info.st_mode);
        if (folder) status = visit(path, below, depth + 1, fn, context, err);
        if (status == VS_OK) status = fn(context, path, name, folder, err);
        free(path);
        free(name);
        free(below);
    }
    vs_names_free(&names);
    return status;
}

vs_status vs_folder_visit(const char *dir, vs_visit_fn fn, void *context, vs_error *err) {
    return visit(dir, "", 0, fn, context, err);
}

static vs_status remove_one(void *context, const char *path, const char *name, bool folder, vs_error *err) {
    (void)context;
    (void)name;
    if ((folder ? rmdir(path) : unlink(path)) == 0 || errno == ENOENT) return VS_OK;
    return vs_fail(err, VS_ERR_IO, "%s: cannot remove: %s", path, strerror(errno));
}

vs_status vs_folder_remove(const char *dir, vs_error *err) {
    struct stat info;
    if (lstat(dir, &info) != 0) return VS_OK;
    vs_status status = S_ISDIR(info.st_mode) ? visit(dir, "", 0, remove_one, NULL, err) : VS_OK;
    return status == VS_OK ? remove_one(NULL, dir, dir, S_ISDIR(info.st_mode), err) : status;
}

bool vs_is_temporary(const char *name) {
    const char *mark = strstr(name, ".tmp.");
    for (const char *next = mark; next; next = strstr(mark + 1, ".tmp.")) mark = next;
    return mark && mark > name && mark[5] && mark[5 + strspn(mark + 5, "0123456789")] == '\0';
}

vs_status vs_folder_remove_temporaries(const char *dir, vs_error *err) {
    vs_names names = { 0 };
    vs_status status = vs_folder_list(dir, &names, err);
    for (size_t i = 0; i < names.count && status == VS_OK; i++) {
        if (!vs_is_temporary(names.items[i])) continue;
        char *path = vs_path_join(dir, names.items[i]);
        struct stat info;
        if (!path) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        if (path && lstat(path, &info) == 0 && S_ISREG(info.st_mode)) status = remove_one(NULL, path, "", false, err);
        free(path);
    }
    vs_names_free(&names);
    return status;
}
