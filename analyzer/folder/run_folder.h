/* The folder of a run. One process at a time works in it. What a run writes lies in a hidden folder inside
 * (.vitscope.new.<process>) until all of it is whole; then the files take their places, those of the run before that have no
 * successor go, and run.json comes last. Files that no run.json lists are never touched. A run that is killed at any moment
 * leaves the run before, or a folder without run.json; what it left behind is removed by the next. */
#ifndef VS_RUN_FOLDER_H
#define VS_RUN_FOLDER_H

#include <jansson.h>

#include "util/util.h"

/* Whose files they are: two commands share a folder (run_merge.h). */
typedef enum vs_run_part { VS_PART_RUN, VS_PART_FP16, VS_PART_COUNT } vs_run_part;
const char *vs_run_part_name(vs_run_part part); /* "run", "fp16": also the command */

typedef struct vs_run_folder {
    char *dir;
    vs_lock lock;
    char *staging, *stages[VS_PART_COUNT]; /* where files are written; NULL before vs_run_folder_begin */
    json_t *record;                        /* run.json as it lies there; NULL: none, or broken */
    vs_names owned;                        /* files that earlier runs put here, relative to dir */
} vs_run_folder;

/* Makes the folder, locks it, removes what killed runs left. VS_ERR_IO where it cannot be written or another run is at work. */
VS_NODISCARD vs_status vs_run_folder_open(vs_run_folder *folder, const char *dir, vs_error *err);
/* Empty folders for new files. */
VS_NODISCARD vs_status vs_run_folder_begin(vs_run_folder *folder, vs_error *err);
/* Puts the new files in place, with those of `kept` (names; they stay where they are), and writes run.json: `record` with
 * "outputs", a list of path, part and sha256, added. Takes the record, whatever happens. */
VS_NODISCARD vs_status vs_run_folder_publish(vs_run_folder *folder, json_t *record, const vs_names *kept, vs_error *err);
/* Lets go of the folder; new files that were not published are removed. Safe on a zeroed struct. */
void vs_run_folder_close(vs_run_folder *folder);

/* Adds the files that a record lists; names that lead out of its folder are none. */
VS_NODISCARD vs_status vs_run_outputs(const json_t *record, vs_names *names, vs_error *err);
/* SHA-256 that the record has of an output, its part in *part; NULL: not listed. */
const char *vs_run_folder_sum(const vs_run_folder *folder, const char *name, vs_run_part *part);

#endif
