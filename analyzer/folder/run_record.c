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

bool vs_run_is_complete(const vs_run_folder *f, vs_run_part command, const vs_fingerprint *now, char *why, size_t size) {
    const json_t *document = vs_run_document(f->record, command);
    json_t *prints = json_object_get(document, "fingerprint");
    const json_t *outputs = json_object_get(f->record, "outputs");
    if (!json_is_object(prints) || json_array_size(outputs) == 0) {
        snprintf(why, size, "there is no finished run");
        return false;
    }
    if (!vs_fingerprint_equals(now, prints, false, why, size)) return false;
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *o = json_array_get(outputs, i);
        const char *name = json_string_value(json_object_get(o, "path")), *sum = json_string_value(json_object_get(o, "sha256"));
        if (!name || !is_as_listed(f, name, sum, why, size)) return false;
    }
    return true;
}
