/* What a study found: plain numbers, filled by the runner, read by rankings and reports. Meanings: docs/study.md 4 to 8.
 * dB values use HUGE_VAL for "no noise" and -HUGE_VAL for a non-finite output; `present` false is null. */
#ifndef VS_RESULTS_H
#define VS_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "half/classes.h"
#include "half/half.h"
#include "vitscope/status.h"
#include "vitscope/vit.h"

/* One SQNR column of one row: pooled over all elements of all images, and per image. */
typedef struct vs_sqnr {
    bool present;
    double pooled, mean, std, min;
    uint64_t nonfinite;
} vs_sqnr;

typedef enum vs_local {
    VS_LOCAL_WEIGHT,
    VS_LOCAL_ACTIVATION,
    VS_LOCAL_BOTH,
    VS_LOCAL_WEIGHT_TENSOR,
    VS_LOCAL_INPUT_TENSOR,
    VS_LOCAL_UNCLIPPED, /* as activation, with the quantizer's step but without its ends */
    VS_LOCAL_COUNT
} vs_local;
extern const char *const vs_local_names[VS_LOCAL_COUNT]; /* "weight", ...; the first VS_MODE_COUNT are those of output too */

/* This layer alone quantized in the running model, compared at the model's output. */
typedef enum vs_mode { VS_MODE_WEIGHT, VS_MODE_ACTIVATION, VS_MODE_BOTH, VS_MODE_COUNT } vs_mode;

/* Where the grid of a layer's input ends (of several grids, the one that cuts off most). */
typedef struct vs_grid_ends {
    bool present; /* false: no ends (a step for every token, probabilities) */
    size_t grids; /* one, or one a head */
    double lo, hi;
    double overshoot; /* times its end that the calibration images reach; 1: nothing was cut off; HUGE_VAL: the end is 0 */
} vs_grid_ends;

/* Columns of one recipe (a ptq or sq state). */
typedef struct vs_row_recipe {
    vs_sqnr local[VS_LOCAL_COUNT];
    vs_sqnr local_proj; /* operands: compared after the float proj */
    vs_sqnr output[VS_MODE_COUNT];
    vs_sqnr spared;     /* every layer but this quantized, at the output */
    double spared_gain; /* dB over quantizing all; meaningful where spared is present */
    vs_sqnr cumulative;
    vs_grid_ends ends;
} vs_row_recipe;

enum { VS_TOP_CHANNELS = 4 };
typedef struct vs_channel_share {
    size_t channel;
    double share;
} vs_channel_share;

/* Distribution of |x| (docs/study.md 5). */
typedef struct vs_distribution {
    bool present;
    double max, median, mean, p99, p999, ratio, step, zeroed, structure;
    size_t argmax_image, argmax_token, argmax_channel;
    const char *shape; /* "ridge", "spike", "mixed" */
    vs_channel_share top[VS_TOP_CHANNELS];
    size_t top_count;
    bool quantized; /* the three below are meaningful */
    double qstep, qzeroed, clipped;
} vs_distribution;

typedef struct vs_row_state {
    vs_distribution out, in;
    bool has_shift;
    double median_shift; /* of out, against fp32 */
} vs_row_state;

typedef struct vs_row {
    const char *layer; /* borrowed from the points list */
    vs_kind kind;
    int block;
    size_t node, site; /* of the graph */
    vs_row_rule rows;  /* of its tensors, to name argmax_token by */
    double macs;
    const char *fqn[4]; /* names in the user's checkpoint */
    size_t fqn_count;
    bool planted;
    vs_row_recipe *recipes; /* [recipe_count] */
    vs_row_state *states;   /* [state_count] */
} vs_row;

/* Task metrics of one state, percent. */
typedef struct vs_task {
    bool has_labels, has_agreement;
    double miou, aacc, macc, agreement;
    double *iou;  /* [classes], NAN where the class is absent */
    size_t shown; /* classes that are predicted anywhere */
} vs_task;

typedef struct vs_plant_result {
    const char *kind;
    int block;        /* -1: no block of its own (residual) */
    char layer[48];   /* the row where the outlier sits; "embed" for residual */
    const char *what; /* what `channels` counts: "unit", "channel" or "head"; NULL: everything is scaled */
    size_t *channels; /* [count] in order of choice; NULL where everything is scaled */
    double *gain;     /* [count] */
    size_t count;
} vs_plant_result;

/* How the damage of one layer travels: it alone quantized (input and weight), SQNR of the residual stream after each block. */
typedef struct vs_propagation {
    size_t row, recipe;
    vs_sqnr *stream; /* [depth]; absent before the layer's own block */
} vs_propagation;

/* Euclidean norm of a token of the float model's residual stream after the last block, and how many times the median of its
 * image's patch tokens it is. */
typedef struct vs_token_norm {
    size_t image;
    char name[32]; /* "patch(3,7)" */
    double norm, times;
} vs_token_norm;

/* After one block, sums over images: of the class token, the mean of registers, the median of patches; `high` over the patches
 * that are high after the last block, `largest` the largest of all patches. */
typedef struct vs_block_norms {
    double cls, registers, median, high, largest;
} vs_block_norms;

enum { VS_HIGH_NORM = 4, VS_LISTED_NORMS = 32 }; /* a patch token above that many medians is high; at most so many are listed */
typedef struct vs_token_norms {
    size_t images, patches, high;          /* analysis images; their patch tokens; the high ones among those */
    vs_token_norm listed[VS_LISTED_NORMS]; /* the largest by `times` */
    size_t listed_count;
    double *prefix_times;   /* [1 + registers]: of class and register tokens, summed over images */
    vs_block_norms *blocks; /* [block_count], the model's depth */
    size_t block_count;
} vs_token_norms;

typedef struct vs_ranking {
    const char *mode;     /* "weights", "activations", "outliers", "outliers_in", "output", "spared", "cumulative" */
    const char *unit;     /* "dB", "" */
    const char *polarity; /* "lower is worse", "higher is worse" */
    size_t *rows;         /* row indices, worst first; rows without the value are left out */
    double *values;
    size_t count;
} vs_ranking;

typedef struct vs_agreement {
    const char *a, *b;
    double spearman;
    size_t overlap10;
    bool defined;
} vs_agreement; /* undefined rho: null */
typedef struct vs_blind_spot {
    size_t row;
    double gap;
    size_t weights, activations, output;
    bool flagged;
} vs_blind_spot; /* ranks from 1, 0 = none */
typedef struct vs_harmless {
    size_t row, outliers, outliers_in, activations, output;
} vs_harmless; /* ranks from 1, 0 = none */

/* The rankings of one recipe with what follows from them. */
typedef struct vs_ranking_set {
    vs_ranking *rankings;
    size_t ranking_count;
    vs_agreement *agreements;
    size_t agreement_count;
    vs_blind_spot *blind;
    size_t blind_count;
    vs_harmless *harmless;
    size_t harmless_count;
} vs_ranking_set;

/* Where something happened in a half-precision run. */
typedef struct vs_half_place_result {
    bool present;
    size_t image, channel; /* channel: of scores, the key's token */
    char token[32];        /* "cls", "patch(3,7)"; of scores, the query's */
} vs_half_place_result;

/* One row of a policy over the analysis images (docs/fp16-reference.md 6). */
typedef struct vs_fp16_row {
    char name[64];
    double max;      /* max |x| before rounding, of finite values */
    double cast_max; /* of what the row read in float32, before rounding; 0: nothing */
    double headroom; /* log2(largest finite / max), bits; HUGE_VAL where max is 0 */
    uint64_t inf, cast_inf, nan, subnormal, flushed;
    vs_half_place_result first, largest; /* overflow; max */
    vs_sqnr sqnr;                        /* against the float run; attn.qkv: the worst of q, k, v */
} vs_fp16_row;

/* Scores and probabilities: a place's channel is the key's token. */
bool vs_fp16_row_of_keys(const vs_fp16_row *row);

/* A bad row, and the class that goes to float32 to see what it hid. */
typedef struct vs_fp16_link {
    char row[64];
    const char *why, *class_name; /* why: "overflow", "nan", "sqnr" */
    double value;                 /* max |x| before rounding; values that are NaN; dB */
} vs_fp16_link;

/* An entry of a keep list. */
typedef struct vs_fp16_keep {
    char row[64];        /* a unit: "blocks.3.norm1" is the whole norm */
    bool needed;         /* without it the output misses the target; else it is there for the margin alone */
    bool has_without;    /* it was run without the entry; else `needed` is whether it overflows by what the other runs held */
    double without_sqnr; /* of the output, dB, analysis images; the next two of the same run */
    bool has_task;
    vs_task without_task;
} vs_fp16_keep;

/* Where a policy goes wrong and what restores it (docs/fp16-reference.md 4). SQNR in dB; -HUGE_VAL: not finite. */
typedef struct vs_fp16_diagnosis {
    bool present;
    double wide, lin, target;
    double *healthy;     /* [vs_half_row_count]: the largest that half rows hold where nothing overflows; 0: not half */
    vs_fp16_link *chain; /* the first is the policy's first bad row */
    size_t chain_count;
    const char *classes[VS_CLASS_COUNT]; /* the smallest set in float32 that reaches the target */
    size_t class_count;
    double cause_sqnr;
    char words[256];
    bool reached; /* the list reaches the target with its margin */
    bool minimal; /* no entry can go; false: runs were spent before that was sure */
    vs_fp16_keep *keep;
    size_t keep_count;
    double keep_sqnr; /* analysis images */
    bool verified;
    double verified_sqnr; /* evaluation images */
    vs_task verified_task;
    bool has_whole_task;
    vs_task whole_task; /* with the list, analysis images, to hold against without_task */
    double macs_share;  /* of the model's multiply-accumulates that leave FP16, 0 to 1 */
    size_t runs;        /* emulated runs over the analysis images, the policy's own among them */
} vs_fp16_diagnosis;

/* The policy on the backend's half kernels, beside its emulation. SQNR in dB; -HUGE_VAL: not finite. */
typedef struct vs_fp16_real_row {
    char row[64]; /* "blocks.3.add2" */
    double sqnr, emulated;
} vs_fp16_real_row;

typedef struct vs_fp16_real {
    bool present, finite;
    vs_sqnr sqnr;             /* of the output, against the float run */
    vs_fp16_real_row *blocks; /* the stream after each block */
    size_t block_count;
    /* dB between kernels and emulation: the largest of the blocks, and of the output, whose noise few tokens decide and which
       therefore scatters more. HUGE_VAL: finite on one side alone. */
    double largest_difference, output_difference;
    size_t largest_block;
    bool has_task;
    vs_task task;
    size_t classes_predicted;
} vs_fp16_real;

typedef struct vs_fp16_policy {
    char name[128];
    const char *scale; /* "after", ...; NULL where no scale is stored */
    bool analyzed, finite;
    vs_sqnr sqnr; /* of the output */
    vs_fp16_row *rows;
    size_t row_count; /* in execution order */
    size_t first_bad; /* SIZE_MAX: none */
    const char *why;  /* "overflow", "nan", "sqnr" */
    double bad_value; /* as of vs_fp16_link */
    vs_fp16_diagnosis diagnosis;
    bool has_task;
    vs_task task;
    size_t classes_predicted;
    vs_fp16_real real; /* where it was asked for */
} vs_fp16_policy;

/* A change to the model or its graph that leaves the float output as it is, tried under a policy. */
typedef struct vs_fp16_advice {
    size_t policy;
    char what[160];
    double float_sqnr; /* of the changed float model's output against the unchanged one's, dB */
    double sqnr;       /* of the output under the policy, analysis images; -HUGE_VAL: not finite */
    bool reaches;      /* the policy's target */
    bool has_task;
    vs_task task; /* evaluation images */
} vs_fp16_advice;

typedef struct vs_fp16_results {
    vs_fp16_policy *policies;
    size_t policy_count;
    vs_fp16_advice *advice; /* policy by policy */
    size_t advice_count, advice_capacity;
    size_t advice_runs; /* emulated runs over the analysis images that it took, of all policies */
    const char *format;
    vs_half_weight_note *weights; /* tensors that the format cannot hold */
    size_t weight_count;
    char not_run[256]; /* why there are no policies; "": there are */
} vs_fp16_results;

typedef struct vs_results {
    const char *name;       /* borrowed */
    const vs_arch *arch;    /* borrowed */
    vs_row_rule token_rows; /* tokens without queries */
    size_t tokens, grid_w;
    size_t analysis_images, evaluation_images;
    const char **image_names; /* analysis images: "scene 0", or a file name */
    const char **state_names;
    size_t state_count; /* as configured; index of fp32 below, SIZE_MAX if absent */
    size_t fp32_state;
    const char **recipe_names;
    size_t recipe_count;
    size_t ptq_recipe, sq_recipe; /* SIZE_MAX if absent */
    vs_row *rows;
    size_t row_count;             /* model order */
    size_t quantized_count;       /* rows there would be if every layer were looked at */
    char observer[32];            /* what set the grids' ends: "min/max", "percentile 99.99", "mse" */
    bool observer_cuts;           /* it may end a grid before the calibration images' largest value */
    vs_sqnr *output_sqnr;         /* [state_count] */
    vs_sqnr *evaluation_sqnr;     /* [state_count]: output of a model without a head on the evaluation images; NULL without */
    double *spared_floor;         /* [recipe_count], NAN where not run: dB */
    vs_sqnr *stream;              /* [state_count * depth]: residual stream after each block, whole model quantized */
    vs_propagation *propagations; /* the worst layers, each alone */
    size_t propagation_count;
    vs_token_norms norms;
    vs_fp16_results fp16;
    bool has_task;
    vs_task *tasks; /* [state_count] */
    const char *const *class_names;
    size_t class_count;
    vs_plant_result *plants;
    size_t plant_count;
    vs_ranking_set ptq_rankings, sq_rankings;
    double histogram_error; /* relative, stated beside order statistics */
    bool ref_precision;     /* 17 digits instead of 9 */
} vs_results;

/* ---- rankings.c: fills ptq_rankings and sq_rankings (docs/study.md 6) ---- */
VS_NODISCARD vs_status vs_rankings_compute(vs_results *results, vs_error *err);
void vs_ranking_set_release(vs_ranking_set *set);
/* Spearman's rho with average ranks for ties over n pairs; NAN when undefined. */
VS_NODISCARD vs_status vs_spearman(double *rho, const double *a, const double *b, size_t n, vs_error *err);

/* ---- report_*.c: the files of docs/results.md, atomically, into the folder `dir` ---- */
VS_NODISCARD vs_status vs_report_json(const vs_results *results, const char *dir, vs_error *err); /* results.json */
VS_NODISCARD vs_status vs_report_csv(const vs_results *results, const char *dir, vs_error *err);  /* layers.csv */
VS_NODISCARD vs_status vs_report_rankings(const vs_results *results, const char *dir,
                                          vs_error *err); /* ranking.<mode>[.sq].txt */
/* ranking.fp16.<policy>.txt of the half-precision diagnosis. */
VS_NODISCARD vs_status vs_report_keep_lists(const vs_results *results, const char *dir, vs_error *err);
/* The text of summary.txt in lines of at most `width` characters: sentences are broken, tables have fewer columns. The caller
 * frees it. */
VS_NODISCARD vs_status vs_report_summary(const vs_results *results, size_t width, char **text, vs_error *err);

#endif
