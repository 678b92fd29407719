/* run.json: how the results came about (docs/results.md). */
#ifndef VS_RUN_JSON_H
#define VS_RUN_JSON_H

#include "folder/run_record.h"
#include "study/study.h"

/* Document of a finished study, but for the list of outputs; results.json lies in `dir`. peak_bytes: the most memory that the
 * process has held. *out is new. */
VS_NODISCARD vs_status vs_study_describe(json_t **out, const vs_study *study, vs_run_part command, const vs_fingerprint *inputs,
                                         const char *dir, size_t peak_bytes, vs_error *err);

#endif
