#include "images/image_notes.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

static void warn(const vs_image_notes *n, char *text) {
    if (text && n->progress.warn) n->progress.warn(n->progress.context, text);
    free(text);
}

/* False: it was among them. Without memory a warning may come twice. */
static bool is_first(vs_image_notes *n, const char *path) {
    for (size_t i = 0; i < n->told_count; i++)
        if (strcmp(n->told[i], path) == 0) return false;
    char *copy = vs_strdup(path);
    if (copy && vs_grow((void **)&n->told, &n->told_capacity, n->told_count + 1, sizeof *n->told))
        n->told[n->told_count++] = copy;
    else
        free(copy);
    return true;
}

static void look(vs_image_notes *n, const char *path, const vs_image_info *info, bool upright) {
    if (info->warning[0] && is_first(n, path)) warn(n, vs_format("%s: %s", path, info->warning));
    if (info->orientation <= 1 || n->turned) return;
    n->turned = true;
    warn(n, vs_format("%s has EXIF orientation %u: such images are %s", path, info->orientation,
                      upright ? "turned upright (data.preprocess.orientation)"
                              : "taken as stored; data.preprocess.orientation: exif turns them upright"));
}

void vs_image_notes_look(vs_image_notes *n, const char *path, const vs_image_info *info, bool upright) {
    if (!info->warning[0] && info->orientation <= 1) return;
#pragma omp critical(vs_progress)
    look(n, path, info, upright);
}

static void compare(const vs_image_notes *n, const char *what, const char *key, size_t asked, size_t there) {
    if (asked > there)
        warn(n, vs_format("data.%s: %s is %zu, but there %s only %zu image%s", what, key, asked, there == 1 ? "is" : "are", there,
                          there == 1 ? "" : "s"));
}

void vs_image_notes_set(vs_image_notes *n, const vs_imageset *set, const char *what) {
    const vs_set_config *of = set->config;
    const size_t all = of->scenes.set ? (size_t)of->scenes.count : set->files.count, offset = (size_t)of->offset,
                 there = all > offset ? all - offset : 0, counted = of->count > 0 ? (size_t)of->count : there;
    if (set->files.others)
        warn(n,
             vs_format("data.%s: %zu file%s of other kinds below %s %s not read (%s)", what, set->files.others,
                       set->files.others == 1 ? "" : "s", of->images, set->files.others == 1 ? "is" : "are", set->files.kinds));
    compare(n, what, "count", counted, there);
    if (of->sample.set) compare(n, what, "sample.count", (size_t)of->sample.count, counted < there ? counted : there);
}

void vs_image_notes_release(vs_image_notes *n) {
    for (size_t i = 0; i < n->told_count; i++) free(n->told[i]);
    free(n->told);
    *n = (vs_image_notes){ 0 };
}
