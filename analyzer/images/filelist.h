/* Image sets on disk: a folder, a glob, a list file or one image becomes a list of paths sorted by bytes. */
#ifndef VS_FILELIST_H
#define VS_FILELIST_H

#include <stddef.h>

#include "vitscope/status.h"

enum { VS_FILELIST_MAX_FOLDERS = 1 << 15 };

typedef struct vs_filelist {
    char **paths;
    size_t count, capacity;
    size_t others;   /* files of a folder or a glob that are no images by their names */
    char kinds[120]; /* the endings of some of them */
} vs_filelist;

/* `source`: a folder (*.png *.jpg *.jpeg *.webp, any case, of it and of its subfolders; hidden names and folders that hold a
 * run's results.json and run.json are passed over, one that several links lead to is read once), a glob, a .txt list (a path a
 * line, relative to the list, # comments), or one image. `skip`: folders that are not read, where they lie below. VS_ERR_NOTFOUND
 * if nothing is there, naming the source. Sorted by path bytes, no duplicates. */
VS_NODISCARD vs_status vs_filelist_make(vs_filelist *list, const char *source, const char *const *skip, size_t skip_count,
                                        vs_error *err);
void vs_filelist_release(vs_filelist *list);
/* The label map of `image`: <stem>.png below `folder`, in the same subfolders as the image where there is such a file
 * (images/a/b/x.jpg: a/b/x.png, then b/x.png), else in the folder itself. New string in *out; nothing need be there. */
VS_NODISCARD vs_status vs_label_path(const char *folder, const char *image, char **out, vs_error *err);

#endif
