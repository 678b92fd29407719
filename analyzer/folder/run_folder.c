#include "folder/run_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json/json_text.h"

static const size_t largest_record = (size_t)1 << 26;
static const char *const staging_prefix = ".vitscope.new.", *const journal_name = ".vitscope.files",
                         *const record_name = "run.json";

const char *vs_run_part_name(vs_run_part part) { return part == VS_PART_RUN ? "run" : "fp16"; }

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for a run's folder"); }

/* ---- what earlier runs put here */

/* Names from a file lead to removals: only what lies below the folder counts. */
static bool is_below(const char *name) {
    if (!name || !*name || *name == '/') return false;
    for (const char *p = name; *p;) {
        const size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.')) return false;
        p += n + (p[n] == '/');
    }
    return true;
}

/* *out NULL: there is none, or it is broken. A failure of the machine is an error: files that the record lists must be known. */
static vs_status read_json(const char *dir, const char *name, json_t **out, vs_error *err) {
    char *path = vs_path_join(dir, name), *text = NULL;
    size_t size = 0;
    json_error_t at = { 0 };
    *out = NULL;
    vs_status status = path ? vs_read_file(path, largest_record, &text, &size, err) : no_memory(err);
    if (status == VS_OK && !(*out = json_loadb(text, size, 0, &at)) && json_error_code(&at) == json_error_out_of_memory)
        status = no_memory(err);
    free(text);
    free(path);
    if (*out && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
    }
    if (status != VS_ERR_NOTFOUND) return status;
    if (err) *err = (vs_error){ 0 };
    return VS_OK;
}

vs_status vs_run_outputs(const json_t *record, vs_names *names, vs_error *err) {
    const json_t *outputs = json_object_get(record, "outputs");
    vs_status status = VS_OK;
    for (size_t i = 0; i < json_array_size(outputs) && status == VS_OK; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(outputs, i), "path"));
        if (is_below(name) && !vs_names_have(names, name)) status = vs_names_add(names, name, err);
    }
    return status;
}

static vs_status remember(vs_run_folder *f, vs_error *err) {
    json_t *journal = NULL;
    vs_status status = read_json(f->dir, record_name, &f->record, err);
    if (status == VS_OK) status = read_json(f->dir, journal_name, &journal, err);
    if (status == VS_OK) status = vs_run_outputs(f->record, &f->owned, err);
    if (status == VS_OK) status = vs_run_outputs(journal, &f->owned, err);
    json_decref(journal);
    return status;
}

/* ---- what killed runs left */

static vs_status remove_file(const char *dir, const char *name, vs_error *err) {
    char *path = vs_path_join(dir, name);
    struct stat info;
    vs_status status = path ? VS_OK : no_memory(err);
    if (path && lstat(path, &info) == 0 && S_ISREG(info.st_mode) && unlink(path) != 0 && errno != ENOENT)
        status = vs_fail(err, VS_ERR_IO, "%s: cannot remove: %s", path, strerror(errno));
    for (char *slash = path ? strrchr(path, '/') : NULL; slash && slash > path + strlen(dir); slash = strrchr(path, '/')) {
        *slash = '\0';
        if (rmdir(path) != 0) break; /* something else lies there */
    }
    free(path);
    return status;
}

/* Of whatever else lies there nothing is looked into. */
static vs_status remove_old_staging(const char *dir, vs_error *err) {
    vs_names names = { 0 };
    vs_status status = vs_folder_list(dir, &names, err);
    for (size_t i = 0; i < names.count && status == VS_OK; i++) {
        if (strncmp(names.items[i], staging_prefix, strlen(staging_prefix)) != 0) continue;
        char *path = vs_path_join(dir, names.items[i]);
        status = path ? vs_folder_remove(path, err) : no_memory(err);
        free(path);
    }
    vs_names_free(&names);
    return status;
}

/* A folder that runs write to, if it is there. Files that could not take their places would be found out when those of the run
 * before are gone. */
static vs_status prepare(const char *path, vs_error *err) {
    struct stat info;
    if (stat(path, &info) != 0) return VS_OK;
    if (!S_ISDIR(info.st_mode)) return vs_fail(err, VS_ERR_IO, "%s: not a folder", path);
    if (access(path, W_OK | X_OK) != 0) return vs_fail(err, VS_ERR_IO, "%s: the folder cannot be written", path);
    return vs_folder_remove_temporaries(path, err);
}

static vs_status prepare_all(const char *dir, vs_error *err) {
    static const char *const below[] = { "", "charts", "surfaces", "heatmaps", "maps", "smooth" };
    vs_status status = VS_OK;
    for (size_t i = 0; i < sizeof below / sizeof *below && status == VS_OK; i++) {
        char *path = vs_path_join(dir, below[i]);
        status = path ? prepare(path, err) : no_memory(err);
        free(path);
    }
    return status;
}

vs_status vs_run_folder_open(vs_run_folder *f, const char *dir, vs_error *err) {
    *f = (vs_run_folder){ .dir = vs_strdup(dir), .lock = { .fd = -1 } };
    vs_status status = f->dir ? vs_make_dirs(dir, err) : no_memory(err);
    if (status == VS_OK) status = vs_lock_take(&f->lock, dir, err);
    if (status == VS_OK) status = remove_old_staging(dir, err);
    if (status == VS_OK) status = prepare_all(dir, err);
    if (status == VS_OK) status = remember(f, err);
    /* beside a whole record the journal says nothing more: nothing was placed yet, or all is */
    if (status == VS_OK && f->record) status = remove_file(f->dir, journal_name, err);
    if (status != VS_OK) vs_run_folder_close(f);
    return status;
}

vs_status vs_run_folder_begin(vs_run_folder *f, vs_error *err) {
    f->staging = vs_format("%s/%s%ld", f->dir, staging_prefix, (long)getpid());
    vs_status status = f->staging ? VS_OK : no_memory(err);
    for (int p = 0; p < VS_PART_COUNT && status == VS_OK; p++) {
        f->stages[p] = vs_path_join(f->staging, vs_run_part_name((vs_run_part)p));
        status = f->stages[p] ? vs_make_dirs(f->stages[p], err) : no_memory(err);
    }
    return status;
}

void vs_run_folder_close(vs_run_folder *f) {
    if (f->staging) {
        const vs_status left = vs_folder_remove(f->staging, NULL);
        (void)left; /* the next run removes it */
    }
    vs_lock_release(&f->lock);
    json_decref(f->record);
    vs_names_free(&f->owned);
    for (int p = 0; p < VS_PART_COUNT; p++) free(f->stages[p]);
    free(f->staging);
    free(f->dir);
    *f = (vs_run_folder){ .lock = { .fd = -1 } };
}

/* ---- the list of outputs */

static const json_t *find_output(const json_t *outputs, const char *name) {
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const json_t *o = json_array_get(outputs, i);
        const char *path = json_string_value(json_object_get(o, "path"));
        if (path && strcmp(path, name) == 0) return o;
    }
    return NULL;
}

const char *vs_run_folder_sum(const vs_run_folder *f, const char *name, vs_run_part *part) {
    const json_t *o = find_output(json_object_get(f->record, "outputs"), name);
    const char *of = json_string_value(json_object_get(o, "part"));
    *part = of && strcmp(of, vs_run_part_name(VS_PART_FP16)) == 0 ? VS_PART_FP16 : VS_PART_RUN;
    return json_string_value(json_object_get(o, "sha256"));
}

static bool list_output(json_t *outputs, const char *name, vs_run_part part, const char *sum) {
    return json_array_append_new(outputs,
                                 json_pack("{s:s, s:s, s:s}", "path", name, "part", vs_run_part_name(part), "sha256", sum)) == 0;
}

typedef struct listing {
    json_t *outputs;
    vs_run_part part;
} listing;

static vs_status list_new(void *context, const char *path, const char *name, bool folder, vs_error *err) {
    const listing *l = context;
    char hex[65];
    if (folder) return VS_OK;
    vs_status status = vs_file_sha256(path, hex, err);
    if (status == VS_OK && !list_output(l->outputs, name, l->part, hex)) status = no_memory(err);
    return status;
}

/* New files, then those that stay. */
static vs_status list_outputs(const vs_run_folder *f, const vs_names *kept, json_t *outputs, vs_error *err) {
    vs_status status = VS_OK;
    for (int p = 0; p < VS_PART_COUNT && status == VS_OK; p++) {
        listing l = { outputs, (vs_run_part)p };
        status = vs_folder_visit(f->stages[p], list_new, &l, err);
    }
    for (size_t i = 0; i < kept->count && status == VS_OK; i++) {
        vs_run_part part;
        const char *sum = vs_run_folder_sum(f, kept->items[i], &part);
        if (find_output(outputs, kept->items[i]) || !sum) continue;
        if (!list_output(outputs, kept->items[i], part, sum)) status = no_memory(err);
    }
    return status;
}

/* ---- into place */

static vs_status write_json(const char *path, const json_t *o, vs_error *err) {
    char *text = vs_json_text(o, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    vs_status status = text ? vs_write_file(path, text, strlen(text), err) : no_memory(err);
    free(text);
    return status;
}

/* From here until run.json is there, this says which files are a run's. */
static vs_status write_journal(const vs_run_folder *f, const json_t *outputs, vs_error *err) {
    char *path = vs_path_join(f->dir, journal_name);
    json_t *all = json_deep_copy(outputs), *journal = NULL;
    bool whole = path && all;
    for (size_t i = 0; i < f->owned.count && whole; i++)
        whole =
            find_output(all, f->owned.items[i]) || json_array_append_new(all, json_pack("{s:s}", "path", f->owned.items[i])) == 0;
    if (whole) journal = json_pack("{s:O}", "outputs", all);
    vs_status status = journal ? write_json(path, journal, err) : no_memory(err);
    json_decref(journal);
    json_decref(all);
    free(path);
    return status;
}

typedef struct moving {
    const char *dir;
} moving;

static vs_status move(void *context, const char *path, const char *name, bool folder, vs_error *err) {
    const moving *m = context;
    if (folder) return VS_OK;
    char *to = vs_path_join(m->dir, name), *parent = to ? vs_strdup(to) : NULL;
    vs_status status = parent ? VS_OK : no_memory(err);
    if (parent) {
        *strrchr(parent, '/') = '\0';
        status = vs_make_dirs(parent, err);
    }
    if (status == VS_OK && rename(path, to) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: cannot rename into place: %s", to, strerror(errno));
    free(parent);
    free(to);
    return status;
}

static vs_status place(const vs_run_folder *f, const json_t *outputs, vs_error *err) {
    moving m = { f->dir };
    vs_status status = remove_file(f->dir, record_name, err);
    for (int p = 0; p < VS_PART_COUNT && status == VS_OK; p++) status = vs_folder_visit(f->stages[p], move, &m, err);
    for (size_t i = 0; i < f->owned.count && status == VS_OK; i++)
        if (!find_output(outputs, f->owned.items[i])) status = remove_file(f->dir, f->owned.items[i], err);
    return status;
}

vs_status vs_run_folder_publish(vs_run_folder *f, json_t *record, const vs_names *kept, vs_error *err) {
    json_t *outputs = json_array();
    char *whole = vs_path_join(f->staging, record_name);
    moving m = { f->dir };
    vs_status status = record && outputs && whole ? list_outputs(f, kept, outputs, err) : no_memory(err);
    if (status == VS_OK && json_object_set(record, "outputs", outputs) != 0) status = no_memory(err);
    if (status == VS_OK) status = write_json(whole, record, err);
    if (status == VS_OK) status = write_journal(f, outputs, err);
    if (status == VS_OK) status = place(f, outputs, err);
    if (status == VS_OK) status = move(&m, whole, record_name, false, err);
    if (status == VS_OK) status = remove_file(f->dir, journal_name, err);
    json_decref(outputs);
    json_decref(record);
    free(whole);
    return status;
}
