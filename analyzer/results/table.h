/* The table of a batch (docs/study.md 10): a row per run, a column per state, published numbers beside the measured; behind
 * the states a column fp16.NAME for each policy of a half-precision diagnosis. */
#ifndef VS_TABLE_H
#define VS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "vitscope/status.h"

/* What a run's numbers are: mIoU where there are labels, else agreement with fp32, else, without a task, SQNR of the output. */
typedef enum vs_metric { VS_METRIC_NONE, VS_METRIC_MIOU, VS_METRIC_AGREEMENT, VS_METRIC_SQNR } vs_metric;

typedef enum vs_run_fate { VS_RUN_PENDING, VS_RUN_DONE, VS_RUN_FAILED } vs_run_fate;

typedef struct vs_cell {
    bool present, has_published;
    double value, published;
} vs_cell;

typedef struct vs_table_row {
    const char *run; /* borrowed */
    vs_run_fate fate;
    char *error; /* of a failed run */
    vs_metric metric;
    vs_cell *cells; /* [state_count] */
    size_t capacity;
} vs_table_row;

typedef struct vs_table {
    const char *name;   /* borrowed, as the names of runs */
    char **states;      /* [state_count]: columns */
    vs_table_row *rows; /* [row_count] */
    size_t state_count, row_count, capacity;
    int digits; /* significant, in files */
} vs_table;

/* All rows pending, no columns; the caller names the rows. */
VS_NODISCARD vs_status vs_table_create(vs_table *table, const char *name, size_t runs, vs_error *err);
void vs_table_release(vs_table *table);
/* A column for a state, if there is none. */
VS_NODISCARD vs_status vs_table_add_column(vs_table *table, const char *state, vs_error *err);
/* The column of a state, SIZE_MAX if there is none. */
size_t vs_table_column(const vs_table *table, const char *state);
/* Takes the numbers of a finished run from dir/results.json; adds the columns of its policies. */
VS_NODISCARD vs_status vs_table_read(vs_table *table, size_t row, const char *dir, vs_error *err);
/* The text of table.txt; the caller frees it. States that do not fit `columns` beside each other stand below them; 0: all do. */
VS_NODISCARD vs_status vs_table_text(const vs_table *table, size_t columns, char **text, vs_error *err);
/* table.txt, table.csv and table.json in `dir`. */
VS_NODISCARD vs_status vs_table_write(const vs_table *table, size_t columns, const char *dir, vs_error *err);

#endif
