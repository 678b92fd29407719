#include "folder/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "images/imageset.h"
#include "io/tensorfile.h"
#include "util/util.h"
#include "json/json_text.h"

static const char *const own_executable = "/proc/self/exe", *const file_prefix = "file ", *const images_prefix = "images of ";

static bool has_prefix(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

/* Takes both strings, NULL where there was no memory for them. */
static vs_status add(vs_fingerprint *f, char *name, char *value, vs_error *err) {
    if (name && value && vs_grow((void **)&f->parts, &f->capacity, f->count + 1, sizeof *f->parts)) {
        f->parts[f->count++] = (vs_fingerprint_part){ name, value };
        return VS_OK;
    }
    free(name);
    free(value);
    return vs_fail(err, VS_ERR_NOMEM, "no memory for the run's inputs");
}

static vs_status add_text(vs_fingerprint *f, const char *name, const char *value, vs_error *err) {
    return add(f, vs_strdup(name), vs_strdup(value), err);
}

static vs_status add_settings(vs_fingerprint *f, const vs_config *c, vs_error *err) {
    static const char *const whole[] = { "" }, *const subject[] = { "name", "model", "data", "recipe.p" };
    char hex[65];
    vs_status status = vs_config_digest(c, whole, 1, hex, err);
    if (status == VS_OK) status = add_text(f, "configuration", hex, err);
    if (status == VS_OK) status = vs_config_digest(c, subject, sizeof subject / sizeof *subject, hex, err);
    return status == VS_OK ? add_text(f, "subject", hex, err) : status;
}

/* Another build may compute other bits under the same version. */
static vs_status add_program(vs_fingerprint *f, vs_error *err) {
    char hex[65];
    vs_status status = vs_file_sha256(own_executable, hex, err);
    return status == VS_OK ? add(f, vs_strdup("program"), vs_format("%s, %s", VS_VERSION, hex), err) : status;
}

/* The file that holds the code at `address`, which is loaded here; NULL: not found. */
static char *file_of_code(uintptr_t address) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4600], *found = NULL;
    while (maps && !found && fgets(line, sizeof line, maps)) {
        unsigned long long from = 0, to = 0;
        char *path = strchr(line, '/');
        if (!path || sscanf(line, "%llx-%llx", &from, &to) != 2 || address < from || address >= to) continue;
        path[strcspn(path, "\n")] = '\0';
        found = vs_strdup(path);
    }
    if (maps) (void)fclose(maps);
    return found;
}

/* A backend that is a module beside the program is part of what computes. */
static vs_status add_module(vs_fingerprint *f, const vs_backend *b, vs_error *err) {
    uintptr_t address = 0;
    char hex[65];
    memcpy(&address, &b->ops->close, sizeof address);
    char *path = file_of_code(address);
    if (!path) return vs_fail(err, VS_ERR_INTERNAL, "backend %s: its module's file is not known", b->name);
    vs_status status = vs_file_sha256(path, hex, err);
    free(path);
    return status == VS_OK ? add_text(f, "module of the backend", hex, err) : status;
}

static vs_status add_backend(vs_fingerprint *f, const vs_fingerprint_options *o, vs_error *err) {
    vs_backend *b = NULL;
    vs_status status = vs_backend_open_as(&b, o->backend, o->arithmetic, err);
    if (status == VS_OK) status = add_text(f, "backend", b->name, err);
    if (status == VS_OK) status = add_text(f, "arithmetic", b->arithmetic, err);
    if (status == VS_OK) status = add_text(f, "instruction set", b->isa, err);
    if (status == VS_OK) status = add_text(f, "library", b->library ? b->library : "none", err);
    if (status == VS_OK && !b->host_memory) /* 0: the backend's own choice */
        status =
            add(f, vs_strdup("sessions"), vs_format("threads %zu, batch %zu, memory %zu", o->threads, o->batch, o->memory), err);
    if (status == VS_OK && !b->host_memory) status = add_module(f, b, err);
    vs_backend_close(b);
    return status;
}

/* ---- files of the model */

static const vs_fingerprint_part *find(const vs_fingerprint *f, const char *name) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->parts[i].name, name) == 0) return &f->parts[i];
    return NULL;
}

/* The name is a key of JSON, which a path need not be. One part a file: a head may lie in the checkpoint's own. */
static vs_status add_file(vs_fingerprint *f, const char *path, vs_error *err) {
    char hex[65], *shown = vs_printable_copy(path), *name = shown ? vs_format("%s%s", file_prefix, shown) : NULL;
    free(shown);
    if (name && find(f, name)) {
        free(name);
        return VS_OK;
    }
    vs_status status = vs_file_sha256(path, hex, err);
    if (status == VS_OK) return add(f, name, vs_strdup(hex), err);
    free(name);
    return status;
}

static bool is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_there(const char *path) { return path && (is_file(path) || is_folder(path)); }

/* A folder's JSON files say what its tensors mean. The index of shards is the checkpoint itself. */
static vs_status add_json_files(vs_fingerprint *f, const char *dir, const char *checkpoint, vs_error *err) {
    vs_names names = { 0 };
    vs_status status = vs_folder_list(dir, &names, err);
    for (size_t i = 0; i < names.count && status == VS_OK; i++) {
        const size_t n = strlen(names.items[i]);
        if (n < 5 || strcmp(names.items[i] + n - 5, ".json") != 0) continue;
        char *path = vs_path_join(dir, names.items[i]);
        if (!path) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        if (path && is_file(path) && strcmp(path, checkpoint) != 0) status = add_file(f, path, err);
        free(path);
    }
    vs_names_free(&names);
    return status;
}

/* Beside a lone file only these are looked at. */
static vs_status add_neighbours(vs_fingerprint *f, const char *checkpoint, vs_error *err) {
    static const char *const names[] = { "config.json", "preprocessor_config.json" };
    vs_status status = VS_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == VS_OK; i++) {
        char *path = vs_path_relative_to(checkpoint, names[i]);
        if (!path) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        if (path && is_file(path)) status = add_file(f, path, err);
        free(path);
    }
    return status;
}

static vs_status add_checkpoint(vs_fingerprint *f, const char *path, vs_error *err) {
    vs_tensorfile *file = NULL;
    vs_status status = vs_tensorfile_open(&file, path, err);
    if (status != VS_OK) return status;
    const char *checkpoint = vs_tensorfile_path(file);
    status = add_file(f, checkpoint, err);
    for (size_t i = 0; i < vs_tensorfile_shard_count(file) && status == VS_OK; i++)
        status = add_file(f, vs_tensorfile_shard_path(file, i), err);
    if (status == VS_OK) status = is_folder(path) ? add_json_files(f, path, checkpoint, err) : add_neighbours(f, checkpoint, err);
    vs_tensorfile_close(file);
    return status;
}

/* ---- images and label maps */

/* A file that is not there is part of what there is: whether it is needed, the study finds out. */
static vs_status hash_file(vs_sha256 *sha, const char *path, vs_error *err) {
    char hex[65];
    vs_error own = { 0 };
    const vs_status status = vs_file_sha256(path, hex, &own);
    if (status != VS_OK && status != VS_ERR_NOTFOUND && status != VS_ERR_IO) return vs_fail(err, status, "%s", own.message);
    if (status != VS_OK) snprintf(hex, sizeof hex, "%64s", "none");
    vs_sha256_update(sha, path, strlen(path) + 1);
    vs_sha256_update(sha, hex, sizeof hex);
    return VS_OK;
}

static vs_status add_set(vs_fingerprint *f, const vs_config *c, const vs_set_config *of, const char *what, vs_error *err) {
    vs_imageset set;
    if (!of->set || of->scenes.set) return VS_OK; /* the configuration says it all */
    vs_status status = vs_imageset_list(&set, c, of, what, err);
    if (status != VS_OK) return status;
    vs_sha256 sha;
    uint8_t digest[32];
    char hex[65];
    vs_sha256_init(&sha);
    for (size_t i = 0; i < set.images && status == VS_OK; i++) {
        status = hash_file(&sha, vs_imageset_path(&set, i), err);
        if (status == VS_OK && set.label_paths) status = hash_file(&sha, set.label_paths[i], err);
    }
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
    if (status == VS_OK) status = add(f, vs_format("%sdata.%s", images_prefix, what), vs_strdup(hex), err);
    vs_imageset_release(&set);
    return status;
}

vs_status vs_fingerprint_make(vs_fingerprint *f, const vs_config *c, const vs_fingerprint_options *o, vs_error *err) {
    *f = (vs_fingerprint){ 0 };
    vs_status status = add_settings(f, c, err);
    if (status == VS_OK) status = add_program(f, err);
    if (status == VS_OK) status = add_backend(f, o, err);
    if (status == VS_OK) status = add_checkpoint(f, c->model.checkpoint, err);
    const char *head = vs_config_head_file(c);
    if (status == VS_OK && is_there(head)) status = add_checkpoint(f, head, err);
    if (status == VS_OK) status = add_set(f, c, &c->data.calibration, "calibration", err);
    if (status == VS_OK) status = add_set(f, c, &c->data.analysis, "analysis", err);
    if (status == VS_OK) status = add_set(f, c, &c->data.evaluation, "evaluation", err);
    if (status != VS_OK) vs_fingerprint_release(f);
    return status;
}

void vs_fingerprint_release(vs_fingerprint *f) {
    for (size_t i = 0; i < f->count; i++) {
        free(f->parts[i].name);
        free(f->parts[i].value);
    }
    free(f->parts);
    *f = (vs_fingerprint){ 0 };
}

json_t *vs_fingerprint_json(const vs_fingerprint *f) {
    json_t *o = json_object();
    bool whole = o != NULL;
    for (size_t i = 0; i < f->count && whole; i++)
        whole = json_object_set_new_nocheck(o, f->parts[i].name, vs_json_string(f->parts[i].value)) == 0;
    if (whole) return o;
    json_decref(o);
    return NULL;
}

static bool ignored(const char *name, bool subject) { return subject && strcmp(name, "configuration") == 0; }

/* A sum says nothing to people, other values do. */
static void tell(const vs_fingerprint_part *now, const char *was, char *why, size_t size) {
    const bool sum = strlen(now->value) >= 64;
    if (!was)
        snprintf(why, size, "%s is new", now->name);
    else if (sum || strlen(was) >= 64)
        snprintf(why, size, "%s changed", now->name);
    else
        snprintf(why, size, "%s was '%s' and is '%s'", now->name, was, now->value);
}

bool vs_fingerprint_equals(const vs_fingerprint *now, json_t *was, bool subject, char *why, size_t size) {
    for (size_t i = 0; i < now->count; i++) {
        const vs_fingerprint_part *p = &now->parts[i];
        const char *value = json_string_value(json_object_get(was, p->name));
        if (ignored(p->name, subject) || (value && strcmp(value, p->value) == 0)) continue;
        tell(p, value, why, size);
        return false;
    }
    for (void *at = json_object_iter(was); at; at = json_object_iter_next(was, at)) {
        if (find(now, json_object_iter_key(at)) || ignored(json_object_iter_key(at), subject)) continue;
        snprintf(why, size, "%s is gone", json_object_iter_key(at));
        return false;
    }
    return true;
}

/* A file's part is its own; that of a set means what the configuration calls so. */
static vs_status key_of(const vs_fingerprint_part *p, const vs_config *c, char **key, vs_error *err) {
    const char *set = strstr(p->name, "data.");
    char hex[65] = "";
    const bool images = has_prefix(p->name, images_prefix) && set;
    vs_status status = images ? vs_config_digest(c, &set, 1, hex, err) : VS_OK;
    *key = status == VS_OK ? vs_format("%s%s", p->name, hex) : NULL;
    return status == VS_OK && !*key ? vs_fail(err, VS_ERR_NOMEM, "no memory for the batch's inputs") : status;
}

vs_status vs_fingerprint_agree(json_t *seen, const vs_fingerprint *now, const vs_config *c, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < now->count && status == VS_OK; i++) {
        const vs_fingerprint_part *p = &now->parts[i];
        char *key = NULL;
        if (!has_prefix(p->name, file_prefix) && !has_prefix(p->name, images_prefix)) continue;
        status = key_of(p, c, &key, err);
        const char *was = key ? json_string_value(json_object_get(seen, key)) : NULL;
        if (was && strcmp(was, p->value) != 0)
            status = vs_fail(err, VS_ERR_IO, "%s changed while the batch was at work; run it again", p->name);
        else if (key && !was && json_object_set_new_nocheck(seen, key, vs_json_string(p->value)) != 0)
            status = vs_fail(err, VS_ERR_NOMEM, "no memory for the batch's inputs");
        free(key);
    }
    return status;
}
