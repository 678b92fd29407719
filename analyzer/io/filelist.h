/* Image sets on disk: a folder, a glob, a list file or one image becomes a list of paths sorted by bytes. */
#ifndef VS_FILELIST_H
#define VS_FILELIST_H

#include <stddef.h>

#include "vitscope/status.h"

typedef struct vs_filelist {
    char **paths;
    size_t count, capacity;
} vs_filelist;

/* `source`: a folder (its *.png *.jpg *.jpeg, any case, not recursive), a glob, a .txt list (a path a line, relative to
 * the list, # comments), or one image. VS_ERR_NOTFOUND if nothing is there, naming the source. Sorted by path bytes, no
 * duplicates. */
VS_NODISCARD vs_status vs_filelist_make(vs_filelist *list, const char *source, vs_error *err);
void vs_filelist_release(vs_filelist *list);
/* The label map of `image`: <stem>.png below `folder`, in the same subfolders as the image where there is such a file
 * (images/a/b/x.jpg: a/b/x.png, then b/x.png), else in the folder itself. New string in *out; nothing need be there. */
VS_NODISCARD vs_status vs_label_path(const char *folder, const char *image, char **out, vs_error *err);

#endif
