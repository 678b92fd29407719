/* vitscope bench: what it measures (bench_measure.c) and prints (bench_report.c). */
#ifndef VS_BENCH_H
#define VS_BENCH_H

#include "backend/timed.h"
#include "study/study.h"

/* One way to run the model over all images. */
typedef struct vs_bench_pass {
    const char *name;
    const vs_weights *weights;
    const vs_state *state; /* whose tap changes what passes, or NULL */
    bool statistics;       /* every statistic of docs/study.md 5 is taken of every layer's input and output */
    double seconds;        /* an image, all threads at work; median of the repeats */
} vs_bench_pass;

/* Where the time of one session on one thread goes. */
typedef struct vs_bench_table {
    const char *name;
    double seconds;  /* wall time of the whole */
    vs_op_time *ops; /* [op_count] */
} vs_bench_table;

enum { VS_BENCH_MAX_PASSES = 16 };

typedef struct vs_bench {
    vs_study *study; /* open; its states are prepared by the stages that need them */
    float *pixels;   /* [images, 3, height, width] */
    size_t images, height, width;
    size_t at_once; /* images in a session; divides `images` */
    vs_bench_pass passes[VS_BENCH_MAX_PASSES];
    size_t pass_count, repeats;
    bool studied; /* study->stages are a whole study's */
    vs_bench_table tables[VS_BENCH_MAX_PASSES + 1];
    size_t table_count, op_count;
} vs_bench;

/* ---- stages ---- */
VS_NODISCARD vs_status vs_bench_study(vs_bench *bench, vs_error *err);        /* calibration and analysis as `run` does them */
VS_NODISCARD vs_status vs_bench_forward(vs_bench *bench, vs_error *err);      /* every pass, taken in turns */
VS_NODISCARD vs_status vs_bench_by_operation(vs_bench *bench, vs_error *err); /* every pass and the analysis, by operation */
void vs_bench_release(vs_bench *bench);                                       /* what the stages took; not the study */

/* ---- reports ---- */
void vs_bench_print(const vs_bench *bench);
VS_NODISCARD vs_status vs_bench_print_json(const vs_bench *bench, vs_error *err);
/* The bound that docs/performance.md promises: weights once, once more a variant, the sessions of all threads, 200 MB. */
double vs_bench_memory_bound(const vs_bench *bench);

#endif
