/* How long work tells what it does. */
#ifndef VS_PROGRESS_H
#define VS_PROGRESS_H

#include <stddef.h>

/* Told what is being done; any of these may be NULL. Called by one thread at a time. */
typedef struct vs_progress {
    /* Stage `index` of `count` begins, counted from 1. */
    void (*stage)(void *context, size_t index, size_t count, const char *name);
    /* How far a part of the stage is, in images (long work on one image counts in parts); `total` 0: nobody knows how many steps
     * there will be. */
    void (*update)(void *context, const char *part, double done, size_t total);
    /* Words to be read, once. */
    void (*note)(void *context, const char *text);
    void (*warn)(void *context, const char *text); /* of an input that may not be what was meant; may be NULL */
    void *context;
} vs_progress;

#endif
