/* The inside of a session, shared by session.c and forward.c. */
#ifndef VS_SESSION_H
#define VS_SESSION_H

#include "graph/arena.h"
#include "vitscope/vit.h"

struct vs_session {
    const vs_backend *backend;
    const vs_model *model;
    const vs_graph *graph;
    vs_session_options options;
    size_t h, w;                    /* patch grid */
    void *reals;                    /* all of the session, */
    size_t capacity;                /* so many */
    vs_arena arena;                 /* where values stand in a region */
    vs_arena pass;                  /* and in a pass of the caller's, where there is scratch */
    void *regions[VS_REGION_COUNT]; /* the first of each; streams and workspaces follow one another */
    vs_mat *values;                 /* [graph->value_count]: in the first of its region; p NULL: not kept */
    size_t *ran;                    /* [streams]: the last segment that ran on each */
    void *operation;                /* scratch of the operation at work */
    void *scratch;                  /* the caller's */
};

#endif
