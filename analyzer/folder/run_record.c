#include "folder/run_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_of(const json_t *document, vs_run_part command) {
    const char *name = json_string_value(json_object_get(document, "command"));
    return name && strcmp(name, vs_run_part_name(command)) == 0;
}

const json_t *vs_run_document(const json_t *record, vs_run_part command) {
    if (is_of(record, command)) return record;
    const json_t *beside = json_object_get(record, "beside");
    return is_of(beside, command) ? beside : NULL;
}

static bool is_as_listed(const vs_run_folder *f, const char *name, const char *sum, char *why, size_t size) {
    char hex[65], *path = vs_path_join(f->dir, name);
    const vs_status status = path ? vs_file_sha256(path, hex, NULL) : VS_ERR_NOMEM;
    free(path);
    if (status == VS_OK && sum && strcmp(hex, sum) == 0) return true;
    snprintf(why, size, "%s %s", name, status == VS_ERR_NOTFOUND ? "is missing" : "changed");
    return false;
}

/* results.json and summary.txt are both runs'; of the rest each has its part, unless it has no other run beside it or made a
 * half-precision diagnosis, too. */
static bool concerns(const json_t *record, const json_t *document, vs_run_part command, const json_t *output) {
    const char *name = json_string_value(json_object_get(output, "path")),
               *part = json_string_value(json_object_get(output, "part"));
    const vs_run_part other = command == VS_PART_RUN ? VS_PART_FP16 : VS_PART_RUN;
    if (!name || !part || !vs_run_document(record, other) || strcmp(part, vs_run_part_name(command)) == 0) return true;
    if (command == VS_PART_RUN) return json_is_object(json_object_get(json_object_get(document, "config"), "fp16"));
    return strcmp(name, "results.json") == 0 || strcmp(name, "summary.txt") == 0;
}

static const char *const mark = "incomplete";

vs_status vs_run_record_mark(json_t *document, const char *why, vs_error *err) {
    if (json_object_set_new(document, mark, json_string(why)) == 0) return VS_OK;
    return vs_fail(err, VS_ERR_NOMEM, "no memory for run.json");
}

bool vs_run_is_complete(const vs_run_folder *f, vs_run_part command, const vs_fingerprint *now, char *why, size_t size) {
    const json_t *document = vs_run_document(f->record, command);
    json_t *prints = json_object_get(document, "fingerprint");
    const json_t *outputs = json_object_get(f->record, "outputs");
    if (!json_is_object(prints) || json_array_size(outputs) == 0) {
        snprintf(why, size, "there is no finished run");
        return false;
    }
    if (!vs_fingerprint_equals(now, prints, false, why, size)) return false;
    const char *lacking = json_string_value(json_object_get(document, mark));
    if (lacking) {
        snprintf(why, size, "%s", lacking);
        return false;
    }
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *o = json_array_get(outputs, i);
        if (!concerns(f->record, document, command, o)) continue;
        const char *name = json_string_value(json_object_get(o, "path")), *sum = json_string_value(json_object_get(o, "sha256"));
        if (!name || !is_as_listed(f, name, sum, why, size)) return false;
    }
    return true;
}
