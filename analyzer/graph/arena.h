/* Where every value of a graph stands in memory, worked out once for an image size. */
#ifndef VS_ARENA_H
#define VS_ARENA_H

#include "vitscope/graph.h"

/* Whose memory a value is in. */
typedef enum vs_region {
    VS_REGION_SESSION,   /* once: what is given, the embedding's and the head's values */
    VS_REGION_STREAM,    /* once a stream: what segments hand to later ones */
    VS_REGION_WORKSPACE, /* once a workspace: a block's values, which stay until the next block runs there */
    VS_REGION_PASSING,   /* once: passing values of the segment at work, or all of a plain pass */
    VS_REGION_COUNT
} vs_region;

typedef struct vs_arena_slot {
    vs_region region;
    size_t offset; /* reals */
    bool there;    /* false: an optional value that is not kept */
} vs_arena_slot;

typedef struct vs_arena {
    vs_arena_slot *slots; /* [value_count]; of aliases and views their root's */
    size_t sizes[VS_REGION_COUNT];
} vs_arena;

typedef struct vs_arena_options {
    size_t images, patches;
    bool probabilities; /* optional values are kept */
    bool plain;         /* one forward pass that keeps nothing: all that is computed in VS_REGION_PASSING, where a value's memory
                           is another's behind its last reader */
} vs_arena_options;

/* VS_ERR_NOMEM: the sizes overflow, or there is no memory for the table. Release in any case. */
VS_NODISCARD vs_status vs_arena_plan(vs_arena *arena, const vs_graph *graph, const vs_arena_options *options, vs_error *err);
void vs_arena_release(vs_arena *arena);

/* Shape of a value's matrix: rows of all images (of the session's own values: once), columns. */
size_t vs_arena_rows(const vs_graph *graph, size_t value, size_t images, size_t patches);

#endif
