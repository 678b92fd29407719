#include "filelist.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util.h"

static const size_t max_list = (size_t)64 << 20;

static bool ends_with(const char *text, const char *ending) {
    const size_t n = strlen(text), m = strlen(ending);
    if (n < m) return false;
    for (size_t i = 0; i < m; i++)
        if (tolower((unsigned char)text[n - m + i]) != ending[i]) return false;
    return true;
}

static bool is_image(const char *name) { return ends_with(name, ".png") || ends_with(name, ".jpg") || ends_with(name, ".jpeg"); }

static vs_status add(vs_filelist *list, char *path, vs_error *err) {
    if (!path || !vs_grow((void **)&list->paths, &list->capacity, list->count + 1, sizeof *list->paths)) {
        free(path);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of images");
    }
    list->paths[list->count++] = path;
    return VS_OK;
}

static vs_status read_folder(vs_filelist *list, const char *dir, vs_error *err) {
    DIR *d = opendir(dir);
    if (!d) return vs_fail(err, VS_ERR_IO, "%s: %s", dir, strerror(errno));
    vs_status status = VS_OK;
    for (const struct dirent *e; status == VS_OK && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && is_image(e->d_name)) status = add(list, vs_path_join(dir, e->d_name), err);
    (void)closedir(d);
    return status;
}

static vs_status read_list(vs_filelist *list, const char *path, vs_error *err) {
    char *text = NULL;
    size_t size = 0;
    vs_status status = vs_read_file(path, max_list, &text, &size, err);
    if (status == VS_OK && memchr(text, '\0', size)) status = vs_fail(err, VS_ERR_FORMAT, "%s: not a text file", path);
    for (char *line = text; status == VS_OK && line && *line;) {
        char *next = line + strcspn(line, "\n");
        if (*next) *next++ = '\0';
        char *end = line + strlen(line);
        while (line < end && isspace((unsigned char)*line)) line++;
        while (end > line && isspace((unsigned char)end[-1])) *--end = '\0';
        if (*line && *line != '#') status = add(list, vs_path_relative_to(path, line), err);
        line = next;
    }
    free(text);
    return status;
}

static vs_status read_glob(vs_filelist *list, const char *pattern, vs_error *err) {
    glob_t found;
    const int code = glob(pattern, 0, NULL, &found);
    if (code == GLOB_NOMATCH) return VS_OK;
    if (code != 0) return vs_fail(err, VS_ERR_IO, "%s: the pattern cannot be read", pattern);
    vs_status status = VS_OK;
    for (size_t i = 0; i < found.gl_pathc && status == VS_OK; i++)
        if (is_image(found.gl_pathv[i])) status = add(list, vs_strdup(found.gl_pathv[i]), err);
    globfree(&found);
    return status;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void drop_duplicates(vs_filelist *list) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (kept && strcmp(list->paths[kept - 1], list->paths[i]) == 0)
            free(list->paths[i]);
        else
            list->paths[kept++] = list->paths[i];
    }
    list->count = kept;
}

vs_status vs_filelist_make(vs_filelist *list, const char *source, vs_error *err) {
    *list = (vs_filelist){ 0 };
    struct stat info;
    vs_status status;
    if (stat(source, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            status = read_folder(list, source, err);
        else if (ends_with(source, ".txt"))
            status = read_list(list, source, err);
        else
            status = add(list, vs_strdup(source), err);
    } else if (strpbrk(source, "*?[")) {
        status = read_glob(list, source, err);
    } else {
        return vs_fail(err, VS_ERR_NOTFOUND, "%s: %s", source, strerror(errno));
    }
    if (status == VS_OK && list->count == 0) status = vs_fail(err, VS_ERR_NOTFOUND, "%s: no PNG or JPEG images there", source);
    if (status != VS_OK) {
        vs_filelist_release(list);
        return status;
    }
    qsort(list->paths, list->count, sizeof *list->paths, by_bytes);
    drop_duplicates(list);
    return VS_OK;
}

void vs_filelist_release(vs_filelist *list) {
    for (size_t i = 0; i < list->count; i++) free(list->paths[i]);
    free(list->paths);
    *list = (vs_filelist){ 0 };
}

/* The part of a path behind its last ".." or "." or empty component: what may be looked for below another folder. */
static const char *plain_part(const char *path) {
    const char *from = path;
    for (const char *p = path; *p;) {
        const size_t n = strcspn(p, "/");
        if (p[n] && (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))) from = p + n + 1;
        p += n + (p[n] == '/');
    }
    return from;
}

static char *with_png(const char *folder, const char *below) {
    const char *slash = strrchr(below, '/'), *dot = strrchr(below, '.');
    const size_t stem = dot && (!slash || dot > slash) ? (size_t)(dot - below) : strlen(below);
    return vs_format("%s/%.*s.png", folder, (int)stem, below);
}

static bool is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

vs_status vs_label_path(const char *folder, const char *image, char **out, vs_error *err) {
    for (const char *below = plain_part(image);; below = strchr(below, '/') + 1) {
        *out = with_png(folder, below);
        if (!*out) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        if (!strchr(below, '/') || is_file(*out)) return VS_OK;
        free(*out);
    }
}
