/* A run's configuration (docs/study.md 10) as plain structs. One descriptor table drives parsing, defaults,
 * ranges, `--set`, the resolved dump in run.json and docs/config.md. Everything is owned by vs_config. */
#ifndef VS_CONFIG_H
#define VS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vitscope/status.h"

/* Where a value stands in its file, for messages of later stages ("blocks.99 matches no layer"). Line 0: not in the file;
 * column 0 then means a default, column n the n-th override. Print with vs_config_place. */
typedef struct vs_mark {
    int line, column;
} vs_mark;

typedef struct vs_string_list {
    char **items;
    vs_mark *marks;
    size_t count, capacity;
} vs_string_list;

typedef enum vs_plant_kind {
    VS_PLANT_SPIKE,
    VS_PLANT_HIDDEN,
    VS_PLANT_NORM1,
    VS_PLANT_NORM2,
    VS_PLANT_VALUE,
    VS_PLANT_KEY,
    VS_PLANT_RESIDUAL
} vs_plant_kind;
typedef struct vs_plant_config {
    vs_plant_kind kind;
    int64_t *blocks;
    size_t block_count; /* empty: all blocks */
    int64_t units;      /* 1 */
    double ratio;       /* spike; 256 */
    double gain;        /* the others; 256 */
    vs_mark mark;
} vs_plant_config;

/* Periods of rotary positions, and the mask of the qkv bias: in the order of vs_rope_periods and vs_bias_mask of vit. */
typedef enum vs_rope_source { VS_ROPE_SOURCE_FOUND, VS_ROPE_SOURCE_FILE, VS_ROPE_SOURCE_COMPUTED } vs_rope_source;
typedef enum vs_mask_source { VS_MASK_SOURCE_FILE, VS_MASK_SOURCE_INTENDED } vs_mask_source;

typedef struct vs_scenes_config {
    bool set;
    uint64_t seed;
    int64_t count, size;
} vs_scenes_config;
/* What a label map's values mean, and how the data set's folders are called (docs/vit-models.md 6.3). */
typedef enum vs_label_protocol { VS_LABELS_PLAIN, VS_LABELS_ADE20K, VS_LABELS_VOC } vs_label_protocol;
typedef struct vs_set_config { /* one of data.calibration, analysis, evaluation */
    bool set;                  /* the key is present */
    vs_scenes_config scenes;
    char *images;               /* resolved against the config's folder; NULL when scenes are used */
    char *labels;               /* NULL when absent */
    vs_label_protocol protocol; /* labels */
    int64_t offset, count;      /* count 0: all */
    struct {
        bool set;
        int64_t count;
        uint64_t seed;
    } sample;
    vs_mark mark;
} vs_set_config;

typedef enum vs_resize_filter { VS_RESIZE_BILINEAR, VS_RESIZE_BICUBIC } vs_resize_filter;
typedef enum vs_test_mode { VS_TEST_SLIDE, VS_TEST_WHOLE } vs_test_mode; /* mmseg's test_cfg.mode */
typedef enum vs_orientation { VS_ORIENTATION_AUTO, VS_ORIENTATION_STORED, VS_ORIENTATION_EXIF } vs_orientation;
typedef struct vs_preprocess_config {
    vs_orientation orientation;
    double mean[3], std[3]; /* 0-255 scale */
    const char
        *normalize_from; /* the file beside the weights that said them, a literal; NULL: the configuration or its defaults */
    struct {
        int64_t short_side;
        vs_resize_filter filter;
        bool antialias;
    } resize;            /* short_side 0: none */
    int64_t crop_center; /* 0: none */
    struct {
        bool set;
        int64_t short_side, long_side;
        vs_test_mode mode;
        int64_t crop, stride; /* slide; 0 otherwise */
    } mmseg;                  /* in place of resize and crop */
    struct {
        bool set;
        int64_t short_side;
    } tiles; /* likewise: lightly-train's EoMT inference */
    vs_mark mark;
} vs_preprocess_config;

typedef enum vs_weights_scheme { VS_WEIGHTS_PER_CHANNEL, VS_WEIGHTS_PER_TENSOR } vs_weights_scheme;
typedef enum vs_inputs_scheme { VS_INPUTS_PER_TENSOR_ASYM, VS_INPUTS_PER_TENSOR_SYM, VS_INPUTS_PER_TOKEN } vs_inputs_scheme;
typedef enum vs_qk_scheme { VS_QK_PER_TENSOR_SYM, VS_QK_PER_HEAD_SYM, VS_QK_PER_TENSOR_ASYM, VS_QK_NONE } vs_qk_scheme;
typedef enum vs_v_scheme { VS_V_PER_HEAD_SYM, VS_V_PER_TENSOR_SYM, VS_V_NONE } vs_v_scheme;
typedef enum vs_p_scheme { VS_P_NONE, VS_P_U8 } vs_p_scheme;
typedef enum vs_observer_kind { VS_OBSERVER_MINMAX, VS_OBSERVER_PERCENTILE, VS_OBSERVER_MSE } vs_observer_kind;
typedef struct vs_recipe_config {
    vs_weights_scheme weights;
    vs_inputs_scheme inputs;
    vs_qk_scheme qk;
    vs_v_scheme v;
    vs_p_scheme p;
    bool patch_embed, head;
    int64_t bits_weights, bits_inputs, bits_qk, bits_v; /* 2..8, default 8 */
    vs_observer_kind observer;
    double percentile; /* 99.99 */
} vs_recipe_config;

typedef enum vs_state_kind {
    VS_STATE_FP32,
    VS_STATE_PTQ,
    VS_STATE_SQ,
    VS_STATE_SQPH,
    VS_STATE_WEIGHTS,
    VS_STATE_ACTS,
    VS_STATE_FP16
} vs_state_kind;
typedef enum vs_smooth_scope { VS_SCOPE_ALL, VS_SCOPE_NORM } vs_smooth_scope;
typedef struct vs_state_config {
    vs_state_kind kind;
    char *name;            /* defaults to the kind's name */
    double alpha;          /* sq: 0.5 */
    vs_smooth_scope scope; /* sq: all */
    vs_mark mark;
} vs_state_config;

typedef struct vs_analyze_config {
    vs_string_list recipes; /* default [ptq, sq] */
    bool mode_weight, mode_activation, mode_both;
    bool output, spared, cumulative;
    vs_string_list layers; /* globs; default "*" */
    int64_t images;        /* 0: all of the analysis set */
} vs_analyze_config;

/* Half-precision arithmetic of an engine (docs/fp16-reference.md 3): which operations it does as one and which taken apart. */
typedef enum vs_operation { VS_OPERATION_FUSED, VS_OPERATION_DECOMPOSED, VS_OPERATION_FLOAT32 } vs_operation;
/* Where D^-0.5 stands in a decomposed attention; AUTO: all three are run. */
typedef enum vs_half_scale { VS_SCALE_AUTO, VS_SCALE_AFTER, VS_SCALE_BEFORE, VS_SCALE_BOTH } vs_half_scale;
/* What a decomposed softmax stores besides its result; whether RoPE's tables are; what a fused attention rounds before P V. */
typedef enum vs_half_softmax { VS_SOFTMAX_FLOAT, VS_SOFTMAX_HALF } vs_half_softmax;
typedef enum vs_half_tables { VS_TABLES_FLOAT, VS_TABLES_HALF } vs_half_tables;
typedef enum vs_half_probs { VS_PROBS_EXP, VS_PROBS_SOFTMAX } vs_half_probs;
typedef struct vs_policy_config {
    char *name; /* the key in results and files */
    vs_operation norm, attention, gelu;
    vs_half_scale scale;
    vs_half_softmax softmax;
    vs_half_tables tables;
    vs_half_probs probs;
    vs_mark mark;
} vs_policy_config;
typedef enum vs_fp16_format { VS_FP16_FORMAT_FP16, VS_FP16_FORMAT_BF16 } vs_fp16_format; /* in the order of vs_half_format */
typedef struct vs_fp16_config {
    bool set; /* the key is present */
    vs_policy_config *policies;
    size_t policy_count;
    vs_half_scale scale;
    vs_fp16_format format;
    bool real;
    vs_mark mark;
} vs_fp16_config;

typedef enum vs_z_scale { VS_Z_LINEAR, VS_Z_LOG } vs_z_scale;
typedef struct vs_surfaces_config {
    vs_string_list layers;      /* default empty: none */
    bool tensor_out, tensor_in; /* default both */
    int64_t image;              /* index in the analysis set, 0 */
    bool png, svg;              /* default both */
    vs_z_scale z;               /* linear */
    bool npy;                   /* raw matrices too */
} vs_surfaces_config;

/* A number from elsewhere that a state's own is held against. */
typedef struct vs_published {
    char *state; /* one of the run's */
    double value;
    vs_mark mark; /* of the key */
} vs_published;

typedef struct vs_yaml_node vs_yaml_node; /* the parsed YAML, config's own */

typedef struct vs_config {
    char *path;         /* of the file, for messages */
    vs_yaml_node *root; /* what was written, kept for places in messages */
    char **overrides;   /* their texts, for messages */
    size_t override_count;
    int64_t version;
    char *name;
    struct {
        char *checkpoint, *head; /* resolved against the config's folder; head: or the word none (vs_config_head_file) */
        char *prefix;            /* NULL: chosen from the file */
        vs_string_list allow_unused;
        char *layout, *arch; /* NULL: found from the file */
        int64_t heads;       /* 0: found */
        double eps;          /* 0: found */
        vs_rope_source rope;
        vs_mask_source bias_mask;
        vs_plant_config *plants;
        size_t plant_count;
    } model;
    struct {
        vs_set_config calibration, analysis, evaluation;
        vs_preprocess_config preprocess;
        bool allow_overlap;
    } data;
    vs_recipe_config recipe;
    vs_state_config *states;
    size_t state_count; /* default [fp32, sq, ptq] */
    vs_analyze_config analyze;
    vs_surfaces_config surfaces;
    vs_fp16_config fp16;
    vs_published *published; /* runs of a batch file only */
    size_t published_count;
} vs_config;

/* A file that describes one run or, with `runs`, a batch of them (docs/study.md 10). */
typedef struct vs_batch {
    vs_config *file;  /* of a batch: its path and name; NULL for a single run */
    vs_config **runs; /* in the file's order, complete: defaults, the run's own keys, overrides */
    size_t run_count; /* >= 1 */
} vs_batch;

/* An override `a.b=c` (c is YAML), or a flag of the reproduced study rewritten as one. */
typedef struct vs_override {
    const char *text;
} vs_override;

/* Reads, checks and completes a configuration. Every message begins with file:line:column (for overrides: "--set a.b=c: ").
 * Keys, types, ranges and enumerations are all checked here; VS_ERR_CONFIG, VS_ERR_NOTFOUND, VS_ERR_IO. */
VS_NODISCARD vs_status vs_config_load(vs_config **out, const char *path, const vs_override *overrides, size_t override_count,
                                      vs_error *err);
/* The same from memory (fuzzing, tests); paths are relative to the folder of `label`. */
VS_NODISCARD vs_status vs_config_parse(vs_config **out, const char *text, size_t size, const char *label,
                                       const vs_override *overrides, size_t override_count, vs_error *err);
void vs_config_free(vs_config *config);

/* The same for a file that may be a batch: a run's map is laid upon `defaults` (maps merge, lists replace), then the overrides
 * are applied to every run. vs_config_load refuses batch files. The batch is the caller's to release on success. */
VS_NODISCARD vs_status vs_batch_load(vs_batch *out, const char *path, const vs_override *overrides, size_t override_count,
                                     vs_error *err);
VS_NODISCARD vs_status vs_batch_parse(vs_batch *out, const char *text, size_t size, const char *label,
                                      const vs_override *overrides, size_t override_count, vs_error *err);
void vs_batch_release(vs_batch *batch);

/* VS_ERR_CONFIG, naming the place, if the configuration asks for something that is not built yet. */
VS_NODISCARD vs_status vs_config_check_built(const vs_config *config, vs_error *err);

/* "path:line:column", "--set a.b=c" or, for a default, "path"; in `text`, which is returned. */
const char *vs_config_place(const vs_config *config, vs_mark mark, char *text, size_t size);
/* VS_ERR_CONFIG with "place: message". */
vs_status vs_config_fail(const vs_config *config, vs_mark mark, vs_error *err, const char *format, ...) VS_PRINTF(4, 5);

/* The complete resolved configuration as JSON text (defaults filled in), for run.json; the caller frees it. NULL: no memory. */
char *vs_config_dump_json(const vs_config *config);
/* SHA-256 in hex over the resolved values of `keys` ("data.calibration"), every digit included: equal for configurations that
 * agree in them. */
VS_NODISCARD vs_status vs_config_digest(const vs_config *config, const char *const *keys, size_t count, char hex[65],
                                        vs_error *err);
/* The configuration reference in Markdown, from the descriptor table: the body of docs/config.md. */
vs_status vs_config_write_reference(FILE *stream, vs_error *err);

/* Whether the file or an override gives a key such as "recipe.qk". */
bool vs_config_is_written(const vs_config *config, const char *key);
/* Where the value of a key such as "recipe.qk" stands; line 0 if it was not written. */
vs_mark vs_config_mark(const vs_config *config, const char *key);

/* The file of model.head, NULL where there is none; whether the word none stands there. */
const char *vs_config_head_file(const vs_config *config);
bool vs_config_without_head(const vs_config *config);

const char *vs_state_kind_name(vs_state_kind kind);
const char *vs_plant_kind_name(vs_plant_kind kind);

#endif
