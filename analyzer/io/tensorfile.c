/* Which container a file is, and what all containers share. */
#include "io/tensorfile.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/container.h"
#include "util/util.h"

static const size_t max_config = (size_t)16 << 20;

/* ---- recognition ---- */

static bool begins(const uint8_t *head, size_t size, size_t at, const char *bytes, size_t n) {
    return size >= at + n && memcmp(head + at, bytes, n) == 0;
}

/* The first bytes are a length and may look like the magic number of another format, so this one is tried first. */
static bool is_safetensors(const uint8_t *head, size_t size) { return begins(head, size, 4, "\0\0\0\0{", 5); }

static bool is_zip(const uint8_t *head, size_t size) {
    return begins(head, size, 0, "PK\x03\x04", 4) || begins(head, size, 0, "PK\x05\x06", 4);
}

static bool is_pickle(const uint8_t *head, size_t size) { return size >= 3 && head[0] == 0x80 && head[1] <= 5 && head[2] != 0; }

static bool is_json(const uint8_t *head, size_t size) {
    size_t at = 0;
    while (at < size && head[at] && strchr(" \t\r\n", head[at])) at++;
    return at < size && head[at] == '{';
}

static vs_status read_container(vs_tensorfile *f, bool in_folder, vs_error *err) {
    const size_t size = f->source.size < VS_HEAD_BYTES ? f->source.size : VS_HEAD_BYTES;
    uint8_t head[VS_HEAD_BYTES];
    if (size == 0) return vs_fail(err, VS_ERR_FORMAT, "%s: the file is empty", f->path);
    vs_status status = vs_source_read(&f->source, 0, size, head, err);
    if (status != VS_OK) return status;
    if (vs_foreign_part(f->path)) return vs_foreign_refuse(&f->source, head, size, err);
    if (is_safetensors(head, size)) return vs_safetensors_read(f, err);
    if (is_zip(head, size)) return vs_torch_zip_read(f, err);
    if (is_pickle(head, size)) return vs_torch_legacy_read(f, err);
    if (!is_json(head, size)) return vs_foreign_refuse(&f->source, head, size, err);
    return in_folder ? vs_shards_read(f, err)
                     : vs_fail(err, VS_ERR_UNSUPPORTED, "%s: an index of shards, where one file is expected", f->path);
}

/* ---- making one ---- */

static int by_name(const void *a, const void *b) {
    return strcmp((*(const vs_tensor_entry *const *)a)->name, (*(const vs_tensor_entry *const *)b)->name);
}

static vs_status index_names(vs_tensorfile *f, vs_error *err) {
    f->by_name = vs_calloc(f->count, sizeof *f->by_name);
    if (!f->by_name) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its tensors", f->path);
    for (size_t i = 0; i < f->count; i++) f->by_name[i] = &f->entries[i];
    qsort(f->by_name, f->count, sizeof *f->by_name, by_name);
    for (size_t i = 1; i < f->count; i++)
        if (by_name(&f->by_name[i - 1], &f->by_name[i]) == 0)
            return vs_fail(err, VS_ERR_FORMAT, "%s: two tensors are called '%.200s'", f->path, f->by_name[i]->name);
    return VS_OK;
}

/* Under ZeRO-3 every process holds a share of each parameter; what is saved without gathering has the names alone. */
static vs_status check_not_empty(const vs_tensorfile *f, vs_error *err) {
    size_t empty = 0;
    const char *first = NULL;
    for (size_t i = 0; i < f->count; i++) {
        if (f->entries[i].count) continue;
        if (empty++ == 0) first = f->entries[i].name;
    }
    if (2 * empty <= f->count) return VS_OK;
    return vs_fail(
        err, VS_ERR_UNSUPPORTED,
        "%s: %zu of %zu tensors are empty, the first is '%.200s': placeholders, as DeepSpeed's ZeRO-3 leaves them: gather "
        "the weights first (zero_to_fp32.py beside the shards)",
        f->path, empty, f->count, first);
}

static vs_status make(vs_tensorfile **out, const char *label, const void *bytes, size_t size, bool in_folder, vs_error *err) {
    *out = NULL;
    vs_tensorfile *f = vs_calloc(1, sizeof *f);
    if (!f || !(f->path = vs_strdup(label))) {
        free(f);
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    }
    vs_status status = VS_OK;
    if (bytes)
        f->source = vs_source_of_memory(bytes, size, f->path);
    else
        status = vs_source_open(&f->source, f->path, err);
    if (status == VS_OK) status = read_container(f, in_folder, err);
    if (status == VS_OK) status = index_names(f, err);
    if (status == VS_OK) status = check_not_empty(f, err);
    if (status != VS_OK) {
        vs_tensorfile_close(f);
        return status;
    }
    *out = f;
    return VS_OK;
}

vs_status vs_tensorfile_open_single(vs_tensorfile **out, const char *path, vs_error *err) {
    return make(out, path, NULL, 0, false, err);
}

vs_status vs_tensorfile_from_memory(vs_tensorfile **out, const void *bytes, size_t size, const char *label, vs_error *err) {
    static const uint8_t nothing = 0;
    return make(out, label, size ? bytes : &nothing, size, false, err);
}

/* ---- folders ---- */

static bool exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

/* The first of the names a Hugging Face folder may hold its weights under, in the order of transformers. */
static vs_status find_weights(const char *folder, char **path, vs_error *err) {
    static const char *const names[] = { "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                         "pytorch_model.bin.index.json" };
    if (vs_foreign_adapter(folder)) return vs_foreign_folder(folder, err);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *path = vs_path_join(folder, names[i]);
        if (!*path) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", folder);
        if (exists(*path)) return VS_OK;
        free(*path);
        *path = NULL;
    }
    return vs_foreign_folder(folder, err);
}

/* Beside a lone file config.json may be anybody's: only one with a model_type or a timm architecture counts, and a broken one
 * does not matter. */
static vs_status read_config(vs_tensorfile *f, bool of_folder, vs_error *err) {
    char *path = vs_path_relative_to(f->path, "config.json"), *text = NULL;
    size_t size = 0;
    json_t *config = NULL;
    vs_status status = path ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    if (status != VS_OK || !exists(path)) goto done;
    status = vs_read_file(path, max_config, &text, &size, of_folder ? err : NULL);
    if (status == VS_OK) {
        json_error_t at;
        config = json_loadb(text, size, 0, &at);
        if (!json_is_object(config))
            status = vs_fail(of_folder ? err : NULL, VS_ERR_FORMAT, "%s:%d:%d: %s", path, config ? 1 : at.line,
                             config ? 1 : at.column, config ? "no JSON object" : at.text);
    }
    if (status == VS_OK && (of_folder || json_is_string(json_object_get(config, "model_type")) ||
                            json_is_string(json_object_get(config, "architecture")))) {
        f->config = text;
        text = NULL;
    }
    if (!of_folder) status = VS_OK;
done:
    json_decref(config);
    free(text);
    free(path);
    return status;
}

vs_status vs_tensorfile_open(vs_tensorfile **out, const char *path, vs_error *err) {
    *out = NULL;
    struct stat info;
    const bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    char *found = NULL;
    vs_tensorfile *f = NULL;
    vs_status status = folder ? find_weights(path, &found, err) : VS_OK;
    if (status == VS_OK) status = make(&f, found ? found : path, NULL, 0, true, err);
    if (status == VS_OK) status = read_config(f, folder, err);
    free(found);
    if (status != VS_OK) {
        vs_tensorfile_close(f);
        return status;
    }
    *out = f;
    return VS_OK;
}

void vs_tensorfile_close(vs_tensorfile *f) {
    if (!f) return;
    json_decref(f->header);
    vs_source_close(&f->source);
    for (size_t i = 0; i < f->shard_count; i++) vs_tensorfile_close(f->shards[i]);
    for (size_t i = 0; i < f->owned_count; i++) free(f->owned[i]);
    free(f->shards);
    free(f->owned);
    free(f->entries);
    free(f->by_name);
    free(f->meta);
    free(f->config);
    free(f->path);
    free(f);
}

/* ---- for the readers ---- */

vs_status vs_tensorfile_own(vs_tensorfile *f, void *block, vs_error *err) {
    if (!block || !vs_grow((void **)&f->owned, &f->owned_capacity, f->owned_count + 1, sizeof *f->owned)) {
        free(block);
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    }
    f->owned[f->owned_count++] = block;
    return VS_OK;
}

vs_status vs_tensorfile_add(vs_tensorfile *f, const vs_tensor_entry *entry, vs_error *err) {
    if (!vs_grow((void **)&f->entries, &f->capacity, f->count + 1, sizeof *f->entries))
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its tensors", f->path);
    f->entries[f->count++] = *entry;
    return VS_OK;
}

vs_status vs_tensorfile_add_meta(vs_tensorfile *f, const char *key, const char *value, vs_error *err) {
    if (!vs_grow((void **)&f->meta, &f->meta_capacity, f->meta_count + 1, sizeof *f->meta))
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its metadata", f->path);
    f->meta[f->meta_count++] = (vs_meta_entry){ key, value };
    return VS_OK;
}

/* ---- for callers ---- */

const char *vs_tensorfile_path(const vs_tensorfile *f) { return f->path; }
size_t vs_tensorfile_shard_count(const vs_tensorfile *f) { return f->shard_count; }
const char *vs_tensorfile_shard_path(const vs_tensorfile *f, size_t i) { return f->shards[i]->path; }
const char *vs_tensorfile_config(const vs_tensorfile *f) { return f->config; }
size_t vs_tensorfile_count(const vs_tensorfile *f) { return f->count; }
const vs_tensor_entry *vs_tensorfile_at(const vs_tensorfile *f, size_t i) { return &f->entries[i]; }
size_t vs_tensorfile_meta_count(const vs_tensorfile *f) { return f->meta_count; }
const vs_meta_entry *vs_tensorfile_meta_at(const vs_tensorfile *f, size_t i) { return &f->meta[i]; }

static int is_called(const void *name, const void *entry) { return strcmp(name, (*(const vs_tensor_entry *const *)entry)->name); }

const vs_tensor_entry *vs_tensorfile_find(const vs_tensorfile *f, const char *name) {
    const vs_tensor_entry *const *found = f->count ? bsearch(name, f->by_name, f->count, sizeof *f->by_name, is_called) : NULL;
    return found ? *found : NULL;
}

size_t vs_tensorfile_index(const vs_tensorfile *f, const vs_tensor_entry *entry) { return (size_t)(entry - f->entries); }

static vs_status hash_file(vs_sha256 *sha, const vs_tensorfile *f, vs_error *err) {
    static const size_t most = (size_t)1 << 20;
    const vs_source *s = &f->source;
    uint8_t *piece = malloc(most);
    vs_status status = piece ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    for (size_t at = 0; at < s->size && status == VS_OK; at += most) {
        const size_t n = s->size - at < most ? s->size - at : most;
        status = vs_source_read(s, at, n, piece, err);
        if (status == VS_OK) vs_sha256_update(sha, piece, n);
    }
    free(piece);
    return status;
}

vs_status vs_tensorfile_sha256(const vs_tensorfile *f, char hex[65], vs_error *err) {
    vs_sha256 sha;
    uint8_t digest[32];
    vs_status status = VS_OK;
    vs_sha256_init(&sha);
    if (f->shard_count == 0) status = hash_file(&sha, f, err);
    for (size_t i = 0; i < f->shard_count && status == VS_OK; i++) status = hash_file(&sha, f->shards[i], err);
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
    return status;
}
