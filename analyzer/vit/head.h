/* Heads on a Vision Transformer (docs/vit-models.md 4.2, 5): a linear layer on normed tokens of one block or of the last four.
 *
 * segmentation, linear  patch tokens of the last block            [B*N, C]
 * segmentation, ms      of the last four, channels side by side   [B*N, 4C]
 * classifier            class token of the last block or of the last four, then (DINOv2) the mean of the last block's patch
 *                       tokens                                    [B, C], [B, 2C], [B, 5C]
 */
#ifndef VS_HEAD_H
#define VS_HEAD_H

#include "vit/read.h"

/* Where a head stands in its file: module names, each without the dot at its end. */
typedef struct vs_head_layout {
    char linear[160]; /* "decode_head.conv_seg", "classifier"; "" where the file has a bare weight and bias */
    char norm[160];   /* the BatchNorm's; "" where there is none */
    char note[400];   /* why a head of the backbone's own file is left out; "" where none is */
} vs_head_layout;

struct vs_layout;

/* Finds the head in `head_file` or, where that is NULL, in the backbone's file. Reads prefix, width and depth of the layout and
 * fills its head and its arch's head, head_* and classes. A head in the backbone's own file that does not fit is left out, with a
 * note; one of head_file is an error, which says which width belongs to which. */
VS_NODISCARD vs_status vs_head_detect(struct vs_layout *layout, const vs_ledger *file, const vs_ledger *head_file,
                                      const vs_model_options *options, vs_error *err);
/* A linear of the head, or another of its parameters, from where it stands. */
VS_NODISCARD vs_status vs_head_read_linear(const vs_reader *reader, const vs_head_layout *layout, size_t node, vs_error *err);
VS_NODISCARD vs_status vs_head_read_param(const vs_reader *reader, const vs_head_layout *layout, size_t param, vs_error *err);

#endif
