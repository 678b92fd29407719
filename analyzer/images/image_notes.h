/* What image sets and files say that stops no study: each is said once, however often and by however many sets a file is read. */
#ifndef VS_IMAGE_NOTES_H
#define VS_IMAGE_NOTES_H

#include "images/imageset.h"
#include "util/progress.h"

typedef struct vs_image_notes {
    vs_progress progress;
    char **told; /* paths of files whose warning was passed on */
    size_t told_count, told_capacity;
    bool turned; /* that an image has an EXIF orientation was said */
} vs_image_notes;

/* Of a file that was read; upright: turned as its orientation asks. Any thread. */
void vs_image_notes_look(vs_image_notes *notes, const char *path, const vs_image_info *info, bool upright);
/* Of a set that was opened; `what` ("calibration") stands in messages. */
void vs_image_notes_set(vs_image_notes *notes, const vs_imageset *set, const char *what);
void vs_image_notes_release(vs_image_notes *notes);

#endif
