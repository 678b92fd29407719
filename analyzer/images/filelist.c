#include "images/filelist.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/util.h"

static const size_t max_list = (size_t)64 << 20;

static bool is_image(const char *name) {
    static const char *const endings[] = { ".png", ".jpg", ".jpeg", ".webp" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (vs_has_ending(name, endings[i])) return true;
    return false;
}

static vs_status add(vs_filelist *list, char *path, vs_error *err) {
    if (!path || !vs_grow((void **)&list->paths, &list->capacity, list->count + 1, sizeof *list->paths)) {
        free(path);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of images");
    }
    list->paths[list->count++] = path;
    return VS_OK;
}

/* A file that is none of ours: counted, and the first few endings shown. */
static void add_other(vs_filelist *list, const char *name) {
    const char *dot = strrchr(name, '.'), *ending = dot ? dot : "no ending";
    const size_t used = strlen(list->kinds), n = strlen(ending);
    list->others++;
    if (strstr(list->kinds, ending) || used + n + 3 > sizeof list->kinds) return;
    snprintf(list->kinds + used, sizeof list->kinds - used, "%s%s", used ? ", " : "", ending);
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
        if (is_image(found.gl_pathv[i]))
            status = add(list, vs_strdup(found.gl_pathv[i]), err);
        else
            add_other(list, strrchr(found.gl_pathv[i], '/') ? strrchr(found.gl_pathv[i], '/') : found.gl_pathv[i]);
    globfree(&found);
    return status;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* ---- folders */

typedef struct place {
    dev_t device;
    ino_t number;
} place;

typedef struct walk {
    vs_filelist *list;
    vs_filelist folders, links; /* to be read, in this order; links when there are no other folders left */
    size_t next, next_link;
    place *seen; /* read, or not to be read: a link may lead back to one */
    size_t seen_count, seen_capacity;
} walk;

static bool is_seen(const walk *w, const struct stat *info) {
    for (size_t i = 0; i < w->seen_count; i++)
        if (w->seen[i].device == info->st_dev && w->seen[i].number == info->st_ino) return true;
    return false;
}

static vs_status note_seen(walk *w, const struct stat *info, vs_error *err) {
    if (!vs_grow((void **)&w->seen, &w->seen_capacity, w->seen_count + 1, sizeof *w->seen))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of folders");
    w->seen[w->seen_count++] = (place){ info->st_dev, info->st_ino };
    return VS_OK;
}

static vs_status visit(walk *w, const char *dir, const char *name, vs_error *err) {
    char *path = vs_path_join(dir, name);
    struct stat info;
    if (!path) return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of images");
    const bool there = stat(path, &info) == 0, folder = there && S_ISDIR(info.st_mode),
               link = folder && lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    if (folder) return add(link ? &w->links : &w->folders, path, err);
    if (is_image(name)) return add(w->list, path, err); /* one that cannot be read says so when it is read */
    if (there) add_other(w->list, name);
    free(path);
    return VS_OK;
}

static void sort_from(const vs_filelist *list, size_t first) {
    if (list->count > first) qsort(list->paths + first, list->count - first, sizeof *list->paths, by_bytes);
}

static void cut(vs_filelist *list, size_t count) {
    while (list->count > count) free(list->paths[--list->count]);
}

/* What a run has written there is drawn, not photographed; the folder that was asked for is read whatever it holds. */
static vs_status read_folder(walk *w, const char *dir, bool asked_for, vs_error *err) {
    enum { RESULTS = 1, RUN = 2 };
    const vs_filelist before = *w->list;
    const size_t folders = w->folders.count, links = w->links.count;
    unsigned marks = 0;
    DIR *d = opendir(dir);
    if (!d) return vs_fail(err, VS_ERR_IO, "%s: %s", dir, strerror(errno));
    vs_status status = VS_OK;
    for (const struct dirent *e; status == VS_OK && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".vitscope.files") == 0)
            marks = RESULTS | RUN; /* of a run that was killed while it put files in place */
        if (e->d_name[0] == '.') continue;
        marks |= strcmp(e->d_name, "results.json") == 0 ? RESULTS : strcmp(e->d_name, "run.json") == 0 ? RUN : 0u;
        status = visit(w, dir, e->d_name, err);
    }
    (void)closedir(d);
    if (marks == (RESULTS | RUN) && !asked_for) {
        cut(w->list, before.count);
        cut(&w->folders, folders);
        cut(&w->links, links);
        w->list->others = before.others;
        memcpy(w->list->kinds, before.kinds, sizeof before.kinds);
    }
    sort_from(&w->folders, folders);
    sort_from(&w->links, links);
    return status;
}

static vs_status read_next_folder(walk *w, vs_error *err) {
    const bool plain = w->next < w->folders.count, asked_for = w->next == 0;
    const char *dir = plain ? w->folders.paths[w->next++] : w->links.paths[w->next_link++];
    struct stat info;
    if (stat(dir, &info) != 0) return vs_fail(err, VS_ERR_IO, "%s: %s", dir, strerror(errno));
    if (is_seen(w, &info)) return VS_OK;
    if (w->seen_count >= VS_FILELIST_MAX_FOLDERS)
        return vs_fail(err, VS_ERR_FORMAT, "%s: more than %d folders below %s", dir, (int)VS_FILELIST_MAX_FOLDERS,
                       w->folders.paths[0]);
    vs_status status = note_seen(w, &info, err);
    return status == VS_OK ? read_folder(w, dir, asked_for, err) : status;
}

static vs_status read_tree(vs_filelist *list, const char *dir, const char *const *skip, size_t skip_count, vs_error *err) {
    walk w = { .list = list };
    struct stat info, root;
    const bool there = stat(dir, &root) == 0;
    vs_status status = add(&w.folders, vs_strdup(dir), err);
    for (size_t i = 0; i < skip_count && status == VS_OK; i++)
        if (stat(skip[i], &info) == 0 && !(there && info.st_dev == root.st_dev && info.st_ino == root.st_ino))
            status = note_seen(&w, &info, err);
    while (status == VS_OK && (w.next < w.folders.count || w.next_link < w.links.count)) status = read_next_folder(&w, err);
    vs_filelist_release(&w.folders);
    vs_filelist_release(&w.links);
    free(w.seen);
    return status;
}

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

vs_status vs_filelist_make(vs_filelist *list, const char *source, const char *const *skip, size_t skip_count, vs_error *err) {
    *list = (vs_filelist){ 0 };
    struct stat info;
    vs_status status;
    if (stat(source, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            status = read_tree(list, source, skip, skip_count, err);
        else if (vs_has_ending(source, ".txt"))
            status = read_list(list, source, err);
        else
            status = add(list, vs_strdup(source), err);
    } else if (strpbrk(source, "*?[")) {
        status = read_glob(list, source, err);
    } else {
        return vs_fail(err, VS_ERR_NOTFOUND, "%s: %s", source, strerror(errno));
    }
    if (status == VS_OK && list->count == 0)
        status = vs_fail(err, VS_ERR_NOTFOUND, "%s: no PNG, JPEG or WebP images there%s%s%s", source,
                         list->others ? ", only files of other kinds (" : "", list->kinds, list->others ? ")" : "");
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
