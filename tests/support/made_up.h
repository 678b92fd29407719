/* What tests have in common that make the results of a study up by hand: of a model without registers, on a grid 2 patches wide.
 */
#ifndef VS_MADE_UP_H
#define VS_MADE_UP_H

#include <stdio.h>

#include "results/results.h"

static const vs_row_rule made_tokens = { .parts = { { .name = "cls", .count = 1 }, { .name = "patch" } },
                                         .part_count = 2,
                                         .times = 1 };

static inline vs_sqnr sqnr(double v) { return (vs_sqnr){ .present = true, .pooled = v, .mean = v, .min = v }; }

static inline vs_arch made_arch(size_t depth) {
    return (vs_arch){ .layout = "timm_vit", .name = "t", .width = 8, .depth = depth, .heads = 2, .patch = 4 };
}

enum { MADE_NAME = 48 };

/* blocks.<block>.<kind>; its numbers are the caller's. */
static inline vs_row made_row(char name[MADE_NAME], vs_kind kind, size_t block, vs_row_recipe *recipes, vs_row_state *states) {
    (void)snprintf(name, MADE_NAME, "blocks.%zu.%s", block, vs_kind_name(kind));
    return (vs_row){ .layer = name,
                     .kind = kind,
                     .block = (int)block,
                     .node = VS_NONE,
                     .site = VS_NONE,
                     .rows = made_tokens,
                     .recipes = recipes,
                     .states = states };
}

/* Recipes: ptq and, where there are two, the smoothed one. */
static inline vs_results made_results(const vs_arch *arch, const char **states, size_t state_count, const char **recipes,
                                      size_t recipe_count) {
    return (vs_results){ .name = "made up",
                         .arch = arch,
                         .token_rows = made_tokens,
                         .tokens = 5,
                         .grid_w = 2,
                         .state_names = states,
                         .state_count = state_count,
                         .recipe_names = recipes,
                         .recipe_count = recipe_count,
                         .ptq_recipe = 0,
                         .sq_recipe = recipe_count > 1 ? 1 : SIZE_MAX };
}

#endif
