/* Architectures as graphs: a builder for what stands in front of the blocks, for a block, for what stands behind them. */
#ifndef VS_BUILD_VIT_H
#define VS_BUILD_VIT_H

#include "graph/build.h"
#include "vitscope/vit.h"

/* A Vision Transformer under construction. */
typedef struct vs_vit {
    vs_builder b;
    const vs_arch *arch;
    size_t patches, tokens; /* rules: [patch grid]; class token, registers and patches, with queries once they joined */
    size_t cosines, sines;  /* values, of rotary positions */
    size_t norm_g, norm_b, prefix_g, prefix_b; /* parameters of the final norms */
    size_t maps[VS_MAX_MAPS], map_count;       /* normed rows of blocks that the head reads */
} vs_vit;

/* The graph of an architecture; the caller frees it. */
VS_NODISCARD vs_status vs_vit_graph(vs_graph **out, const vs_arch *arch, vs_error *err);

/* ---- build_head.c */
/* Behind block `block`: its normed rows, where the head reads them. */
void vs_vit_collect(vs_vit *v, size_t x, size_t block);
/* The final norm and the head; ends the graph. */
void vs_vit_head(vs_vit *v, size_t x);
/* All rows with the final norm, or class token and registers with one of their own. */
size_t vs_vit_normalize(vs_vit *v, size_t x, bool passing);

/* ---- build_eomt.c */
/* Queries in front of each image's tokens. */
size_t vs_eomt_join(vs_vit *v, size_t x);
/* The head, from final-normed rows. */
size_t vs_eomt_head(vs_vit *v, size_t normed);

#endif
