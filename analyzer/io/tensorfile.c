/* Which container is it? And what all of them share. */
#include "tensorfile.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "container.h"
#include "util.h"

static const size_t max_config = (size_t)16 << 20;

/* ---- recognition ---- */

typedef struct signature {
    size_t at, size;
    const char *bytes, *what;
} signature;

static const signature foreign[] = {
    { 0, 8, "PYTORCH1", "a preview format of torch that was never released: save it again with torch.save" },
    { 257, 5, "ustar", "a tar archive; if torch < 0.2 wrote it, load it with torch.load and save it again with torch.save" },
    { 0, 2, "\x1f\x8b", "compressed with gzip: unpack it first" },
    { 0, 3, "BZh", "compressed with bzip2: unpack it first" },
    { 0, 6,
      "\xfd"
      "7zXZ\0",
      "compressed with xz: unpack it first" },
    { 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first" },
    { 0, 4, "GGUF", "a GGUF file, which is not supported: use the original checkpoint" },
    { 0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file, which is not supported: use a torch or safetensors checkpoint" },
    { 0, 19, "version https://git", "a pointer of git-lfs, not the file itself: fetch it with git lfs pull" },
    { 0, 5, "<!DOC", "a web page, not a checkpoint: the download failed" },
    { 0, 5, "<html", "a web page, not a checkpoint: the download failed" },
};

static bool has(const vs_tensorfile *f, const signature *s) {
    return f->size >= s->at + s->size && memcmp(f->bytes + s->at, s->bytes, s->size) == 0;
}

/* Its length may read like the magic number of any other format, so it is looked for first. */
static bool is_safetensors(const vs_tensorfile *f) {
    static const signature header = { 4, 5, "\0\0\0\0{", "" };
    return has(f, &header);
}

static bool is_json(const vs_tensorfile *f) {
    size_t at = 0;
    while (at < f->size && f->bytes[at] && strchr(" \t\r\n", f->bytes[at])) at++;
    return at < f->size && f->bytes[at] == '{';
}

static vs_status read_container(vs_tensorfile *f, bool in_folder, vs_error *err) {
    static const signature zip = { 0, 4, "PK\x03\x04", "" }, empty_zip = { 0, 4, "PK\x05\x06", "" };
    if (is_safetensors(f)) return vs_safetensors_read(f, err);
    if (has(f, &zip) || has(f, &empty_zip)) return vs_torch_zip_read(f, err);
    if (f->size >= 3 && f->bytes[0] == 0x80 && f->bytes[1] <= 5 && f->bytes[2] != 0) return vs_torch_legacy_read(f, err);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (has(f, &foreign[i])) return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: %s", f->path, foreign[i].what);
    if (!is_json(f)) return vs_safetensors_read(f, err); /* which says what is wrong */
    return in_folder ? vs_shards_read(f, err)
                     : vs_fail(err, VS_ERR_UNSUPPORTED, "%s: an index of shards, where one file is expected", f->path);
}

/* ---- making one ---- */

static vs_status make(vs_tensorfile **out, const char *label, const void *bytes, size_t size, bool in_folder, vs_error *err) {
    *out = NULL;
    vs_tensorfile *f = vs_calloc(1, sizeof *f);
    if (!f || !(f->path = vs_strdup(label))) {
        free(f);
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    }
    f->bytes = bytes;
    f->size = size;
    vs_status status = VS_OK;
    if (!bytes) {
        status = vs_file_map(f->path, &f->map, &f->size, err);
        f->bytes = f->map;
    }
    if (status == VS_OK) status = read_container(f, in_folder, err);
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
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *path = vs_path_join(folder, names[i]);
        if (!*path) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", folder);
        if (exists(*path)) return VS_OK;
        free(*path);
        *path = NULL;
    }
    return vs_fail(err, VS_ERR_NOTFOUND,
                   "%s: a folder with none of model.safetensors, model.safetensors.index.json, pytorch_model.bin, "
                   "pytorch_model.bin.index.json",
                   folder);
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
    vs_file_unmap(f->map, f->size);
    for (size_t i = 0; i < f->shard_count; i++) vs_tensorfile_close(f->shards[i]);
    for (size_t i = 0; i < f->owned_count; i++) free(f->owned[i]);
    free(f->shards);
    free(f->owned);
    free(f->entries);
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
const char *vs_tensorfile_config(const vs_tensorfile *f) { return f->config; }
size_t vs_tensorfile_count(const vs_tensorfile *f) { return f->count; }
const vs_tensor_entry *vs_tensorfile_at(const vs_tensorfile *f, size_t i) { return &f->entries[i]; }
size_t vs_tensorfile_meta_count(const vs_tensorfile *f) { return f->meta_count; }
const vs_meta_entry *vs_tensorfile_meta_at(const vs_tensorfile *f, size_t i) { return &f->meta[i]; }

const vs_tensor_entry *vs_tensorfile_find(const vs_tensorfile *f, const char *name) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->entries[i].name, name) == 0) return &f->entries[i];
    return NULL;
}

static bool is_mapped(const vs_tensorfile *f, const uint8_t *p) {
    if (f->map && (uintptr_t)p - (uintptr_t)f->bytes < f->size) return true;
    for (size_t i = 0; i < f->shard_count; i++)
        if (is_mapped(f->shards[i], p)) return true;
    return false;
}

void vs_tensorfile_forget(const vs_tensorfile *f, const vs_tensor_entry *entry) {
    if (is_mapped(f, entry->bytes)) vs_file_forget(entry->bytes, entry->size);
}

/* In pieces whose pages go again, so that hashing a file beside its copy does not hold both. */
static void hash_file(vs_sha256 *sha, const vs_tensorfile *f) {
    static const size_t piece = (size_t)16 << 20;
    for (size_t at = 0; at < f->size; at += piece) {
        const size_t n = f->size - at < piece ? f->size - at : piece;
        vs_sha256_update(sha, f->bytes + at, n);
        if (f->map) vs_file_forget(f->bytes + at, n);
    }
}

vs_status vs_tensorfile_sha256(const vs_tensorfile *f, char hex[65], vs_error *err) {
    (void)err;
    vs_sha256 sha;
    uint8_t digest[32];
    vs_sha256_init(&sha);
    if (f->shard_count == 0) hash_file(&sha, f);
    for (size_t i = 0; i < f->shard_count; i++) hash_file(&sha, f->shards[i]);
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
    return VS_OK;
}
