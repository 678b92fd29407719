/* Which code base wrote a checkpoint, from keys and shapes alone (vit-models.md 4.5). */
#ifndef VS_LAYOUT_H
#define VS_LAYOUT_H

#include "head.h"
#include "tensorfile.h"
#include "vitscope/vit.h"

typedef struct vs_layout {
    vs_arch arch;
    char prefix[128]; /* of the backbone's keys, "backbone." */
    vs_head_layout head;
} vs_layout;

/* Fills geometry, layout and head of `file` (head_file, when not NULL, holds the head). */
VS_NODISCARD vs_status vs_layout_detect(vs_layout *layout, const vs_tensorfile *file, const vs_tensorfile *head_file,
                                        const vs_model_options *options, vs_error *err);

#endif
