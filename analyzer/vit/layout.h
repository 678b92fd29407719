/* Which code base wrote a checkpoint, from keys and shapes alone (vit-models.md 4.5, 12). */
#ifndef VS_LAYOUT_H
#define VS_LAYOUT_H

#include "head.h"
#include "tensorfile.h"
#include "vitscope/vit.h"

enum { VS_LAYOUT_MARKS = 4 };

/* How one code base names its tensors: all that is particular to a layout. Names stand behind the backbone's prefix, those of a
 * block behind the block's; NULL: the layout has no such tensor. */
typedef struct vs_layout_names {
    const char *layout;
    const char *unbuilt; /* "a DINOv3 checkpoint": recognised, and refused */
    const char *family;  /* begins an architecture's name, "dinov2_vit" */
    /* Found where every key of `present` is there and none of `absent`; the key present[0] ends with tells the prefix. */
    const char *present[VS_LAYOUT_MARKS], *absent[VS_LAYOUT_MARKS];
    const char *patch, *cls, *distillation, *registers, *pos, *norm;
    const char *block; /* '#' is the block's index, '*' a number that is to be found (chunks) */
    const char *norm1, *norm2, *ls1, *ls2;
    const char *qkv[VS_MAX_PARTS], *proj, *fc1, *fc2;
    const char *w12, *w1, *w2, *w3;            /* SwiGLU: packed, or gate and linear half side by side */
    const char *q_bias, *v_bias;               /* tensors, where qkv itself has no bias; k has none */
    const char *bias_mask;                     /* tensor that multiplies the qkv bias */
    bool key_bias_optional;                    /* of three modules: q and v have biases and k may have none */
    const char *prefix_norm;                   /* of class and register tokens, where they have their own */
    const char *periods;                       /* of rotary positions */
    double rope_theta;                         /* of periods that the file does not hold */
    int prefix_positions;                      /* -1: from the number of rows */
    bool by_rows;                              /* only where rows less prefix_positions are a square grid */
    vs_position_mode position, with_registers; /* how positions are resized */
    double eps;                                /* where no config.json tells */
} vs_layout_names;

/* Every layout, in the order in which they are tried. */
const vs_layout_names *vs_layout_names_at(size_t index); /* NULL past the last */

typedef struct vs_layout {
    vs_arch arch;
    const vs_layout_names *names;
    char prefix[128]; /* of the backbone's keys, "backbone." */
    bool key_bias;    /* config.json says that k has one */
    vs_head_layout head;
} vs_layout;

/* Fills geometry, layout and head of `file` (head_file, when not NULL, holds the head). */
VS_NODISCARD vs_status vs_layout_detect(vs_layout *layout, const vs_tensorfile *file, const vs_tensorfile *head_file,
                                        const vs_model_options *options, vs_error *err);

/* "backbone.blocks.3": what block `index`'s names stand behind, without the dot. */
void vs_layout_block(const vs_layout *layout, const vs_tensorfile *file, size_t index, char *base, size_t size);

/* What a Hugging Face config.json says over what shapes tell. Zeros: nothing said. */
typedef struct vs_layout_config {
    size_t width, depth, heads, patch;
    double eps, rope_theta;
    bool key_bias; /* said to be there */
    char activation[32];
} vs_layout_config;

/* `text` of config.json (NULL: all zeros); `path` is for messages. VS_ERR_FORMAT: no JSON object, a value of a wrong kind. */
VS_NODISCARD vs_status vs_layout_config_read(vs_layout_config *config, const char *text, const char *path, vs_error *err);

#endif
