#include "folder/run_merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/json_text.h"

static const size_t largest_results = (size_t)1 << 30;
static const char *const results_name = "results.json", *const summary_name = "summary.txt", *const half_key = "fp16";
static const char *const marker = "\n---------------- vitscope fp16 ----------------\n\n";

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory to join two runs"); }

static vs_run_part other_of(vs_run_part command) { return command == VS_PART_RUN ? VS_PART_FP16 : VS_PART_RUN; }

/* What cannot be read for want of memory is not therefore changed. */
static vs_status check_intact(const vs_run_folder *f, const char *name, bool *intact, vs_error *err) {
    vs_run_part part;
    const char *sum = vs_run_folder_sum(f, name, &part);
    char hex[65], *path = vs_path_join(f->dir, name);
    vs_error own = { 0 };
    const vs_status status = path ? vs_file_sha256(path, hex, &own) : VS_ERR_NOMEM;
    free(path);
    *intact = status == VS_OK && sum && strcmp(hex, sum) == 0;
    if (status == VS_OK || status == VS_ERR_NOTFOUND) return VS_OK;
    return *own.message ? vs_fail(err, status, "%s", own.message) : no_memory(err);
}

/* The section fp16 of both configurations as run.json has it. */
static vs_status compare_sections(vs_run_merge *m, const vs_run_folder *f, const vs_config *config, const json_t *section,
                                  vs_error *err) {
    char *dump = vs_config_dump_json(config);
    json_t *mine = dump ? json_loads(dump, 0, NULL) : NULL;
    vs_status status = mine ? VS_OK : no_memory(err);
    m->other_has_own = mine && json_equal(json_object_get(mine, half_key), section);
    if (mine && !m->other_has_own)
        status =
            vs_fail(err, VS_ERR_CONFIG,
                    "%s: the finished run there has a half-precision diagnosis with other settings, from its own section fp16; "
                    "give another --out, or run it again with these settings",
                    f->dir);
    json_decref(mine);
    free(dump);
    return status;
}

vs_status vs_run_merge_plan(vs_run_merge *m, const vs_run_folder *f, const vs_config *config, const vs_fingerprint *now,
                            vs_error *err) {
    const vs_run_part command = m->command;
    *m = (vs_run_merge){ .command = command };
    const json_t *other = vs_run_document(f->record, other_of(command));
    char why[256] = "";
    if (!other || (command == VS_PART_RUN && config->fp16.set)) return VS_OK;
    if (!vs_fingerprint_equals(now, json_object_get(other, "fingerprint"), true, why, sizeof why)) {
        snprintf(m->replaced, sizeof m->replaced, "%s", why);
        return VS_OK;
    }
    bool intact = false;
    vs_status status = check_intact(f, results_name, &intact, err);
    if (status != VS_OK) return status;
    if (!intact) {
        snprintf(m->replaced, sizeof m->replaced, "%s changed", results_name);
        return VS_OK;
    }
    const json_t *section = json_object_get(json_object_get(other, "config"), half_key);
    if (command == VS_PART_FP16 && json_is_object(section)) {
        status = compare_sections(m, f, config, section, err);
        if (status != VS_OK) return status;
    }
    status = check_intact(f, summary_name, &intact, err);
    if (status != VS_OK) return status;
    m->other_lost_text = !intact;
    m->other = other;
    return VS_OK;
}

static vs_status read_results(const char *dir, json_t **out, vs_error *err) {
    char *path = vs_path_join(dir, results_name), *text = NULL;
    size_t size = 0;
    json_error_t at;
    vs_status status = path ? vs_read_file(path, largest_results, &text, &size, err) : no_memory(err);
    *out = status == VS_OK ? json_loadb(text, size, 0, &at) : NULL;
    if (status == VS_OK && !*out) status = vs_fail(err, VS_ERR_FORMAT, "%s:%d:%d: %s", path, at.line, at.column, at.text);
    free(text);
    free(path);
    return status;
}

static vs_status write_results(const char *dir, const json_t *o, size_t digits, vs_error *err) {
    char *path = vs_path_join(dir, results_name), *text = vs_json_text(o, JSON_INDENT(1) | JSON_REAL_PRECISION(digits));
    vs_status status = path && text ? vs_write_file(path, text, strlen(text), err) : no_memory(err);
    free(text);
    free(path);
    return status;
}

vs_status vs_run_merge_results(const vs_run_merge *m, const vs_run_folder *f, size_t digits, vs_error *err) {
    if (!m->other) return VS_OK;
    json_t *was = NULL, *is = NULL;
    vs_status status = read_results(f->dir, &was, err);
    if (status == VS_OK) status = read_results(f->stages[VS_PART_RUN], &is, err);
    json_t *whole = m->command == VS_PART_RUN ? is : was, *half = json_object_get(m->command == VS_PART_RUN ? was : is, half_key);
    if (status == VS_OK && half && json_object_set(whole, half_key, half) != 0) status = no_memory(err);
    if (status == VS_OK) status = write_results(f->stages[VS_PART_RUN], whole, digits, err);
    json_decref(was);
    json_decref(is);
    return status;
}

static char *join(const char *first, const char *second) { return vs_format("%s%s%s", first, marker, second); }

/* *was NULL: there is none. */
static vs_status read_summary(const vs_run_folder *f, char **was, vs_error *err) {
    char *path = vs_path_join(f->dir, summary_name);
    size_t size = 0;
    vs_error own = { 0 };
    const vs_status status = path ? vs_read_file(path, largest_results, was, &size, &own) : no_memory(&own);
    free(path);
    return status == VS_OK || status == VS_ERR_NOTFOUND ? VS_OK : vs_fail(err, status, "%s", own.message);
}

vs_status vs_run_merge_summary(const vs_run_merge *m, const vs_run_folder *f, const char *text, char **joined, vs_error *err) {
    *joined = NULL;
    char *was = NULL;
    vs_status status = m->other ? read_summary(f, &was, err) : VS_OK;
    if (status != VS_OK) return status;
    char *cut = was ? strstr(was, marker) : NULL;
    if (!was)
        *joined = vs_strdup(text);
    else if (m->command == VS_PART_RUN)
        *joined = join(text, cut ? cut + strlen(marker) : was);
    else if (m->other_has_own)
        *joined = vs_strdup(was);
    else {
        if (cut) *cut = '\0';
        *joined = join(was, text);
    }
    free(was);
    return *joined ? VS_OK : no_memory(err);
}

vs_status vs_run_merge_kept(const vs_run_merge *m, const vs_run_folder *f, vs_names *kept, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; m->other && i < f->owned.count && status == VS_OK; i++) {
        vs_run_part part;
        const char *name = f->owned.items[i];
        if (vs_run_folder_sum(f, name, &part) && part == other_of(m->command)) status = vs_names_add(kept, name, err);
    }
    return status;
}

vs_status vs_run_merge_record(const vs_run_merge *m, json_t *record, vs_error *err) {
    if (!m->other) return VS_OK;
    json_t *beside = json_deep_copy(m->other);
    static const char *const of_folder[] = { "outputs", "results_sha256", "beside" };
    for (size_t i = 0; beside && i < sizeof of_folder / sizeof *of_folder; i++) (void)json_object_del(beside, of_folder[i]);
    vs_status status = VS_OK;
    if (beside && m->other_lost_text) status = vs_run_record_mark(beside, "summary.txt changed", err);
    if (status != VS_OK) {
        json_decref(beside);
        return status;
    }
    return beside && json_object_set_new(record, "beside", beside) == 0 ? VS_OK : no_memory(err);
}
