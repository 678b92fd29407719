/* safetensors, as strict as its reference reader (docs/vit-models.md 7.1). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/container.h"
#include "util/util.h"

static const size_t max_header = 100000000; /* the format's own limit */

static bool to_size(const json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static vs_status bad_entry(const vs_tensorfile *f, const char *name, const char *what, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s': %s", f->path, name, what);
}

/* Shape, type and byte range of one tensor; the range is checked against the others later. */
static vs_status read_entry(vs_tensorfile *f, const char *name, const json_t *o, size_t data, vs_error *err) {
    vs_tensor_entry *t = &f->entries[f->count];
    *t = (vs_tensor_entry){ .name = name, .count = 1 };
    const json_t *dtype = json_object_get(o, "dtype"), *shape = json_object_get(o, "shape"),
                 *offsets = json_object_get(o, "data_offsets");
    if (!json_is_object(o) || json_object_size(o) != 3 || !json_is_string(dtype) || !json_is_array(shape) ||
        json_array_size(offsets) != 2)
        return bad_entry(f, name, "needs exactly dtype, shape and two data_offsets", err);
    const vs_dtype_info *info = vs_dtype_find(json_string_value(dtype));
    if (!info)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s': unknown type '%.40s'", f->path, name, json_string_value(dtype));
    t->dtype = info->dtype;
    t->dtype_name = info->name;
    t->ndim = json_array_size(shape);
    if (t->ndim > VS_MAX_DIMS) return bad_entry(f, name, "has more than 8 dimensions", err);
    for (size_t i = 0; i < t->ndim; i++)
        if (!to_size(json_array_get(shape, i), &t->shape[i]) || !vs_size_mul(&t->count, t->count, t->shape[i]))
            return bad_entry(f, name, "has an impossible shape", err);
    size_t begin = 0, end = 0, total_bits = 0;
    if (!to_size(json_array_get(offsets, 0), &begin) || !to_size(json_array_get(offsets, 1), &end) || begin > end)
        return bad_entry(f, name, "has impossible data_offsets", err);
    if (end > f->source.size - data)
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: tensor '%.200s' ends at byte %zu of the data, which has %zu: the file is truncated or its header lies", f->path,
            name, end, f->source.size - data);
    t->size = end - begin;
    if (!vs_size_mul(&total_bits, t->count, info->bits) || total_bits % 8 != 0 || total_bits / 8 != t->size)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s': %zu values of %s do not fill its %zu bytes", f->path, name,
                       t->count, t->dtype_name, t->size);
    t->source = &f->source;
    t->at = data + begin;
    f->count++;
    return VS_OK;
}

static vs_status read_meta(vs_tensorfile *f, json_t *o, vs_error *err) {
    if (!json_is_object(o)) return vs_fail(err, VS_ERR_FORMAT, "%s: __metadata__ is no map of strings", f->path);
    f->meta = vs_calloc(json_object_size(o), sizeof *f->meta);
    if (!f->meta) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", f->path);
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value) {
        if (!json_is_string(value)) return vs_fail(err, VS_ERR_FORMAT, "%s: __metadata__ '%.200s' is no string", f->path, key);
        f->meta[f->meta_count++] = (vs_meta_entry){ key, json_string_value(value) };
    }
    return VS_OK;
}

static int by_offset(const void *a, const void *b) {
    const vs_tensor_entry *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Ranges follow each other without holes or overlaps and cover the whole buffer. */
static vs_status check_cover(const vs_tensorfile *f, size_t data, vs_error *err) {
    size_t at = 0;
    for (size_t i = 0; i < f->count; i++) {
        const size_t begin = f->entries[i].at - data;
        if (begin != at)
            return vs_fail(err, VS_ERR_FORMAT,
                           "%s: tensor '%.200s' begins at byte %zu of the data where %zu is expected: tensors %s", f->path,
                           f->entries[i].name, begin, at, begin < at ? "overlap" : "leave a hole");
        at += f->entries[i].size;
    }
    if (at != f->source.size - data)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the tensors end at byte %zu of the data, which has %zu", f->path, at,
                       f->source.size - data);
    return VS_OK;
}

/* The header's length, and its text in new memory. */
static vs_status read_header(const vs_tensorfile *f, size_t *length, uint8_t **text, vs_error *err) {
    uint8_t b[8];
    if (f->source.size < sizeof b)
        return vs_fail(err, VS_ERR_FORMAT, "%s: %zu bytes are no safetensors file", f->path, f->source.size);
    vs_status status = vs_source_read(&f->source, 0, sizeof b, b, err);
    if (status != VS_OK) return status;
    uint64_t claimed = 0;
    for (size_t i = sizeof b; i-- > 0;) claimed = claimed << 8 | b[i];
    if (claimed > max_header)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the header claims %llu bytes, more than the format's 100000000", f->path,
                       (unsigned long long)claimed);
    if (claimed > f->source.size - sizeof b)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the header claims %llu bytes but only %zu follow: the file is truncated", f->path,
                       (unsigned long long)claimed, f->source.size - sizeof b);
    *length = (size_t)claimed;
    return vs_source_load(&f->source, sizeof b, *length, text, err);
}

static vs_status parse_header(vs_tensorfile *f, size_t length, const char *text, vs_error *err) {
    json_error_t at;
    if (length == 0 || text[0] != '{')
        return vs_fail(err, VS_ERR_FORMAT, "%s: the header at byte 8 does not begin with '{'", f->path);
    f->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
    if (!f->header) return vs_fail(err, VS_ERR_FORMAT, "%s: broken header at byte %d: %s", f->path, 8 + at.position, at.text);
    return json_is_object(f->header) ? VS_OK : vs_fail(err, VS_ERR_FORMAT, "%s: the header is no JSON object", f->path);
}

vs_status vs_safetensors_read(vs_tensorfile *f, vs_error *err) {
    size_t length = 0;
    uint8_t *text = NULL;
    vs_status status = read_header(f, &length, &text, err);
    if (status == VS_OK) status = parse_header(f, length, (const char *)text, err);
    free(text);
    if (status != VS_OK) return status;
    f->entries = vs_calloc(json_object_size(f->header), sizeof *f->entries);
    if (!f->entries) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its tensors", f->path);
    const size_t data = 8 + length;
    const char *name;
    json_t *value;
    json_object_foreach(f->header, name, value) {
        status = strcmp(name, "__metadata__") == 0 ? read_meta(f, value, err) : read_entry(f, name, value, data, err);
        if (status != VS_OK) return status;
    }
    qsort(f->entries, f->count, sizeof *f->entries, by_offset);
    return check_cover(f, data, err);
}
