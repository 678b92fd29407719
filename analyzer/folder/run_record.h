/* What a finished run says of itself in run.json, and whether that still holds. */
#ifndef VS_RUN_RECORD_H
#define VS_RUN_RECORD_H

#include "folder/fingerprint.h"
#include "folder/run_folder.h"

/* The document of that command's run: the record itself, or what lies "beside" it; NULL: the folder has none. Borrowed. */
const json_t *vs_run_document(const json_t *record, vs_run_part command);
/* True if the folder holds the results of this fingerprint, every file as the run left it; files of the other command's run are
 * that one's concern. Otherwise `why`, in words. */
bool vs_run_is_complete(const vs_run_folder *folder, vs_run_part command, const vs_fingerprint *now, char *why, size_t size);

/* Marks a document of which something is missing: `why`, in words; it is not complete then. */
VS_NODISCARD vs_status vs_run_record_mark(json_t *document, const char *why, vs_error *err);

#endif
