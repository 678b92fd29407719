/* Which code base wrote a checkpoint, from keys and shapes alone (docs/vit-models.md 4.5). */
#ifndef VS_LAYOUT_H
#define VS_LAYOUT_H

#include "vit/head.h"
#include "vit/ledger.h"
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

/* A place where a whole backbone of some layout stands. */
typedef struct vs_backbone {
    const vs_layout_names *names;
    char prefix[128]; /* of its keys, "backbone." */
} vs_backbone;

typedef struct vs_backbones {
    vs_backbone *items; /* in file order */
    size_t count, capacity;
} vs_backbones;

typedef enum vs_said { VS_UNSAID, VS_SAID_NO, VS_SAID_YES } vs_said;

/* What config.json says over what shapes tell. Zeros: nothing said. */
typedef struct vs_layout_config {
    size_t width, depth, heads, patch;
    size_t image_height, image_width; /* that learned positions are for */
    vs_said qkv_bias, no_embed_class; /* the latter: positions are the patches' alone */
    double eps, rope_theta;
    bool key_bias; /* said to be there */
    char activation[32];
    char model_type[48];   /* of transformers, of the backbone's own section */
    char architecture[96]; /* of timm */
    char pool[16];         /* timm's global_pool */
} vs_layout_config;

typedef struct vs_layout {
    vs_arch arch;
    const vs_layout_names *names;
    char prefix[128];   /* of the backbone's keys, "backbone." */
    vs_backbones found; /* this one among them */
    size_t *chunks;     /* [depth] of layouts whose blocks lie in chunks; else NULL */
    /* Of any block, and then of all: biases of qkv's modules, biases of q and v apart, a mask of biases. */
    bool biased[VS_MAX_PARTS], biased_apart, masked;
    bool no_registers; /* the file's tensor of registers is empty */
    vs_layout_config config;
    vs_head_layout head;
} vs_layout;

/* Fills geometry, layout and head of `file` (head_file, when not NULL, holds the head). Release in any case. */
VS_NODISCARD vs_status vs_layout_detect(vs_layout *layout, const vs_ledger *file, const vs_ledger *head_file,
                                        const vs_model_options *options, vs_error *err);
void vs_layout_release(vs_layout *layout);
/* Whether what config.json calls the model is a model whose tensors mean here what they mean there; a layout that the user names
 * is the user's word. VS_ERR_FORMAT: it is not, or is not known to be. */
VS_NODISCARD vs_status vs_layout_check_kind(const vs_layout *layout, const vs_ledger *file, const vs_model_options *options,
                                            vs_error *err);

/* backbone.c: finds every backbone (of layout `wanted`, where that is not NULL) and chooses one: the one below options->prefix,
 * or the first in the order of docs/layouts.md. VS_ERR_FORMAT: there is none; several of unequal shapes or of equal rank. */
VS_NODISCARD vs_status vs_backbone_choose(vs_backbones *found, size_t *chosen, const vs_ledger *file,
                                          const vs_model_options *options, vs_error *err);
/* A name's place in that order, from its whole components: 0 comes first. */
int vs_backbone_rank(const char *name);

/* "backbone.blocks.3": what block `index`'s names stand behind, without the dot. */
void vs_layout_block(const vs_layout *layout, size_t index, char *base, size_t size);
/* Reads "blocks.3." off the start of a name behind the prefix; NULL where it is no block's, else what follows. */
const char *vs_layout_in_block(const vs_layout_names *names, const char *name, size_t *chunk, size_t *index);

/* unused.c: says of every tensor that was not used why it is left out. VS_ERR_FORMAT where one of them belongs to the model,
 * which computes something else without it: named, with the reason. */
VS_NODISCARD vs_status vs_account_for_rest(const vs_ledger *file, const vs_layout *layout, const vs_model_options *options,
                                           vs_error *err);
/* Where reading a model failed with `*err`: parts of it that its layout does not know, or no layout where it was not the blocks
 * that failed, are the truer reason and take its place. layout->names may be NULL: no model was found. Returns the failure's
 * status. */
vs_status vs_explain_failure(const vs_ledger *file, const vs_layout *layout, bool of_blocks, vs_status status, vs_error *err);

/* `text` of config.json (NULL: all zeros); `path` is for messages. VS_ERR_FORMAT: no JSON object, a value of a wrong kind or, of
 * timm's model_args, one that is not known to be built. */
VS_NODISCARD vs_status vs_layout_config_read(vs_layout_config *config, const char *text, const char *path, vs_error *err);
/* Whether a timm architecture computes what its tensors' layout computes here; *why: what it does instead, or NULL. */
bool vs_timm_is_built(const char *architecture, const char **why);

#endif
