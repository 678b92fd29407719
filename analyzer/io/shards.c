#include "io/shards.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/container.h"
#include "util/util.h"

static json_t *weight_map(const vs_shard_index *index) { return json_object_get(index->root, "weight_map"); }

/* A shard lies beside its index: a path could lead anywhere. */
static bool is_plain_name(const char *file) { return *file && file[0] != '.' && !strpbrk(file, "/\\"); }

/* `places`: where in index->shards each file stands. */
static vs_status count_tensor(vs_shard_index *index, json_t *places, size_t *capacity, const char *file, const char *label,
                              vs_error *err) {
    const json_t *place = json_object_get(places, file);
    const size_t at = place ? (size_t)json_integer_value(place) : index->count;
    if (at < index->count) {
        index->shards[at].tensors++;
        return VS_OK;
    }
    if (index->count >= VS_MAX_SHARDS)
        return vs_fail(err, VS_ERR_FORMAT, "%s: weight_map names more than %d shards", label, (int)VS_MAX_SHARDS);
    if (!vs_grow((void **)&index->shards, capacity, index->count + 1, sizeof *index->shards) ||
        json_object_set_new(places, file, json_integer((json_int_t)at)) != 0)
        return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    index->shards[index->count++] = (vs_shard){ .file = file, .tensors = 1 };
    return VS_OK;
}

static vs_status count_tensors(vs_shard_index *index, const char *label, vs_error *err) {
    json_t *places = json_object(), *value;
    size_t capacity = 0;
    const char *key;
    vs_status status = places ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "%s: no memory", label);
    json_object_foreach(weight_map(index), key, value) {
        const char *file = json_string_value(value);
        if (status == VS_OK && (!file || !is_plain_name(file)))
            status = vs_fail(err, VS_ERR_FORMAT, "%s: weight_map '%.200s' names no file beside the index%s%.200s", label, key,
                             file ? ": " : "", file ? file : "");
        if (status != VS_OK) break;
        status = count_tensor(index, places, &capacity, file, label, err);
    }
    json_decref(places);
    return status;
}

vs_status vs_shard_index_read(vs_shard_index *index, const char *text, size_t size, const char *label, vs_error *err) {
    *index = (vs_shard_index){ 0 };
    json_error_t at;
    index->root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &at);
    vs_status status = VS_OK;
    if (!index->root)
        status = vs_fail(err, VS_ERR_FORMAT, "%s:%d:%d: %s", label, at.line, at.column, at.text);
    else if (!json_is_object(weight_map(index)))
        status = vs_fail(err, VS_ERR_FORMAT, "%s: a JSON file without a weight_map: neither an index of shards nor a checkpoint",
                         label);
    else if (json_object_size(weight_map(index)) == 0)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: its weight_map is empty", label);
    else
        status = count_tensors(index, label, err);
    if (status != VS_OK) vs_shard_index_release(index);
    return status;
}

void vs_shard_index_release(vs_shard_index *index) {
    json_decref(index->root);
    free(index->shards);
    *index = (vs_shard_index){ 0 };
}

const char *vs_shard_index_file(const vs_shard_index *index, const char *tensor) {
    return json_string_value(json_object_get(weight_map(index), tensor));
}

/* The map gives the shard a tensor that it has not. */
static vs_status report_missing(const vs_tensorfile *f, const vs_tensorfile *shard, const vs_shard_index *index, const char *file,
                                vs_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach(
        weight_map(index), key,
        value) if (strcmp(json_string_value(value), file) == 0 &&
                   !vs_tensorfile_find(shard, key)) return vs_fail(err, VS_ERR_FORMAT,
                                                                   "%s: tensor '%.200s' is not in %s, where the map has it",
                                                                   f->path, key, shard->path);
    return vs_fail(err, VS_ERR_INTERNAL, "%s: the map and %s disagree", f->path, shard->path);
}

static vs_status add_shard(vs_tensorfile *f, const vs_tensorfile *shard, const vs_shard_index *index, const vs_shard *s,
                           vs_error *err) {
    for (size_t i = 0; i < shard->count; i++) {
        const char *file = vs_shard_index_file(index, shard->entries[i].name);
        if (!file)
            return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s' is in %s, but not in the map", f->path,
                           shard->entries[i].name, shard->path);
        if (strcmp(file, s->file) != 0)
            return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s' is in %s, but the map has it in %.200s", f->path,
                           shard->entries[i].name, shard->path, file);
        vs_status status = vs_tensorfile_add(f, &shard->entries[i], err);
        if (status != VS_OK) return status;
    }
    return shard->count == s->tensors ? VS_OK : report_missing(f, shard, index, s->file, err);
}

static vs_status open_shard(vs_tensorfile *f, const vs_shard_index *index, const vs_shard *s, vs_error *err) {
    char *path = vs_path_relative_to(f->path, s->file);
    vs_tensorfile *shard = NULL;
    if (!path) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    vs_status status = vs_tensorfile_open_single(&shard, path, err);
    free(path);
    if (status == VS_ERR_NOTFOUND) vs_error_prefix(err, "%s: a shard is missing: ", f->path);
    if (status != VS_OK) return status;
    f->shards[f->shard_count++] = shard;
    return add_shard(f, shard, index, s, err);
}

vs_status vs_shards_read(vs_tensorfile *f, vs_error *err) {
    vs_shard_index index;
    uint8_t *text = NULL;
    if (f->source.size > VS_MAX_INDEX)
        return vs_fail(err, VS_ERR_FORMAT, "%s: an index of %zu bytes; at most %d are read", f->path, f->source.size,
                       (int)VS_MAX_INDEX);
    vs_status status = vs_source_load(&f->source, 0, f->source.size, &text, err);
    if (status == VS_OK) status = vs_shard_index_read(&index, (const char *)text, f->source.size, f->path, err);
    free(text);
    if (status != VS_OK) return status;
    f->shards = vs_calloc(index.count, sizeof(*f->shards));
    if (!f->shards) status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    for (size_t i = 0; i < index.count && status == VS_OK; i++) status = open_shard(f, &index, &index.shards[i], err);
    for (size_t i = 0; status == VS_OK && i < f->shards[0]->meta_count; i++)
        status = vs_tensorfile_add_meta(f, f->shards[0]->meta[i].key, f->shards[0]->meta[i].value, err);
    vs_shard_index_release(&index);
    return status;
}
