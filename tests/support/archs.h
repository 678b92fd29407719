/* Architectures of every kind that is built, small, and two of published size. */
#ifndef VS_SUPPORT_ARCHS_H
#define VS_SUPPORT_ARCHS_H

#include "support/cmocka_all.h"
#include "vit/build_vit.h"

static const vs_arch arch_plain = {
    .width = 16, .depth = 2, .heads = 2, .hidden = 32, .patch = 2, .grid = 3, .prefix_positions = 1, .eps = 1e-6
};

/* DeiT, with a classifier that reads the class token and the mean. */
static const vs_arch arch_classifier = { .width = 16,
                                         .depth = 2,
                                         .heads = 2,
                                         .hidden = 32,
                                         .patch = 2,
                                         .registers = 1,
                                         .distilled = true,
                                         .grid = 3,
                                         .prefix_positions = 2,
                                         .eps = 1e-6,
                                         .head = VS_HEAD_CLASSIFIER,
                                         .head_maps = 1,
                                         .head_mean = true,
                                         .head_width = 32,
                                         .classes = 10 };

/* DINOv3 with all it can have, and a head on four blocks. */
static const vs_arch arch_dinov3 = { .width = 16,
                                     .depth = 5,
                                     .heads = 2,
                                     .hidden = 24,
                                     .patch = 2,
                                     .registers = 4,
                                     .ffn = VS_FFN_SWIGLU,
                                     .gate_apart = true,
                                     .layer_scale = true,
                                     .prefix_norm = true,
                                     .position = VS_POSITION_ROPE,
                                     .rope_theta = 100,
                                     .eps = 1e-5,
                                     .head = VS_HEAD_SEGMENTATION,
                                     .head_maps = 4,
                                     .head_norm = true,
                                     .head_width = 64,
                                     .classes = 3 };

static const vs_arch arch_eomt = { .width = 16,
                                   .depth = 4,
                                   .heads = 2,
                                   .hidden = 32,
                                   .patch = 2,
                                   .registers = 1,
                                   .grid = 2,
                                   .prefix_positions = 1,
                                   .layer_scale = true,
                                   .eps = 1e-6,
                                   .head = VS_HEAD_EOMT,
                                   .head_maps = 1,
                                   .head_width = 16,
                                   .classes = 5,
                                   .queries = 3,
                                   .joint_blocks = 2,
                                   .upscales = 2 };

static const vs_arch arch_vit_s = { .width = 384,
                                    .depth = 12,
                                    .heads = 6,
                                    .hidden = 1536,
                                    .patch = 14,
                                    .grid = 37,
                                    .prefix_positions = 1,
                                    .layer_scale = true,
                                    .eps = 1e-6 };

static const vs_arch arch_vit_l = { .width = 1024,
                                    .depth = 24,
                                    .heads = 16,
                                    .hidden = 4096,
                                    .patch = 14,
                                    .grid = 37,
                                    .prefix_positions = 1,
                                    .layer_scale = true,
                                    .eps = 1e-6 };

static const vs_arch *const archs[] = { &arch_plain, &arch_classifier, &arch_dinov3, &arch_eomt, &arch_vit_s, &arch_vit_l };
enum { ARCHS = sizeof archs / sizeof *archs };

static inline vs_graph *graph_of(const vs_arch *a) {
    vs_graph *g = NULL;
    vs_error err = { 0 };
    if (vs_vit_graph(&g, a, &err) != VS_OK) fail_msg("%s", err.message);
    return g;
}

#endif
