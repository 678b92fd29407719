/* `vitscope run` and `vitscope fp16` of one subject share a folder: each replaces its own part and keeps the other's.
 * results.json has the key fp16 of one and everything else of the other, summary.txt both texts, run.json the other run's
 * document as "beside". */
#ifndef VS_RUN_MERGE_H
#define VS_RUN_MERGE_H

#include "config/config.h"
#include "folder/run_record.h"

typedef struct vs_run_merge {
    vs_run_part command;  /* of the run at work */
    const json_t *other;  /* document of the other command's run, which is kept; NULL: nothing is. Borrowed from the folder */
    bool other_lost_text; /* its summary is not as it left it */
    bool other_has_own;   /* it made the same half-precision diagnosis itself: its summary has it already */
    char replaced[320];   /* why a finished run of the other command is not kept; "": there is none */
} vs_run_merge;

/* VS_ERR_CONFIG: the finished run has a half-precision diagnosis of its own, with other settings. */
VS_NODISCARD vs_status vs_run_merge_plan(vs_run_merge *merge, const vs_run_folder *folder, const vs_config *config,
                                         const vs_fingerprint *now, vs_error *err);
/* Joins the new results.json in the folder's stage with the one that lies in the folder. `digits`: of the numbers in both. */
VS_NODISCARD vs_status vs_run_merge_results(const vs_run_merge *merge, const vs_run_folder *folder, size_t digits, vs_error *err);
/* Likewise `text`, the new summary; *joined is new. */
VS_NODISCARD vs_status vs_run_merge_summary(const vs_run_merge *merge, const vs_run_folder *folder, const char *text,
                                            char **joined, vs_error *err);
/* The files that stay. */
VS_NODISCARD vs_status vs_run_merge_kept(const vs_run_merge *merge, const vs_run_folder *folder, vs_names *kept, vs_error *err);
/* Adds "beside" to the new run's document. */
VS_NODISCARD vs_status vs_run_merge_record(const vs_run_merge *merge, json_t *record, vs_error *err);

#endif
