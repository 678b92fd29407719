/* The two containers of torch.save: a zip archive, and before 1.6 a stream of pickles with the storages behind it. */
#include <stdlib.h>
#include <string.h>

#include "io/torch_tree.h"
#include "io/zip.h"
#include "util/util.h"

/* ---- zip ---- */

typedef struct zip_storages {
    const vs_zip *zip;
    size_t prefix_size;
    const char *prefix;
} zip_storages;

static bool find_in_zip(const void *context, const uint8_t *key, size_t key_size, size_t *at, size_t *size) {
    const zip_storages *s = context;
    char name[512];
    if (key_size > 64 || memchr(key, '\0', key_size)) return false;
    const int n = snprintf(name, sizeof name, "%.*s/data/%.*s", (int)s->prefix_size, s->prefix, (int)key_size, (const char *)key);
    const vs_zip_entry *e = n > 0 && (size_t)n < sizeof name ? vs_zip_find(s->zip, name) : NULL;
    if (!e) return false;
    *at = e->at;
    *size = e->size;
    return true;
}

/* <prefix>/<name>, where the prefix has no slash. */
static const vs_zip_entry *find_below_top(const vs_zip *zip, const char *name, size_t *found) {
    const vs_zip_entry *entry = NULL;
    *found = 0;
    for (size_t i = 0; i < zip->count; i++) {
        const char *slash = strchr(zip->entries[i].name, '/');
        if (!slash || strcmp(slash + 1, name) != 0) continue;
        if (!entry) entry = &zip->entries[i];
        ++*found;
    }
    return entry;
}

static bool has_code(const vs_zip *zip) {
    for (size_t i = 0; i < zip->count; i++) {
        const char *slash = strchr(zip->entries[i].name, '/');
        if (slash && (strncmp(slash + 1, "code/", 5) == 0 || strcmp(slash + 1, "constants.pkl") == 0)) return true;
    }
    return false;
}

static bool has_ending(const vs_zip *zip, const char *ending) {
    for (size_t i = 0; i < zip->count; i++) {
        const size_t n = strlen(zip->entries[i].name), m = strlen(ending);
        if (n >= m && strcmp(zip->entries[i].name + n - m, ending) == 0) return true;
    }
    return false;
}

static const char *kind_of_archive(const vs_zip *zip) {
    if (has_ending(zip, ".npy")) return ": NumPy arrays (.npz), not a torch file";
    if (has_ending(zip, "model.weights.h5")) return ": a Keras model, not a torch file";
    if (has_ending(zip, "archive_format") || has_ending(zip, "serialized_exported_program.json"))
        return ": a program of torch.export: save the model's state_dict() with torch.save";
    if (has_ending(zip, ".mlmodel")) return ": a Core ML package: give the checkpoint it was exported from";
    return ", so no file of torch.save: unpack it if the checkpoint is inside";
}

static vs_status check_byte_order(const vs_tensorfile *f, const vs_zip *zip, vs_error *err) {
    size_t found = 0;
    const vs_zip_entry *e = find_below_top(zip, "byteorder", &found);
    char order[6] = "";
    if (!e) return VS_OK;
    vs_status status = vs_source_read(&f->source, e->at, e->size < sizeof order ? e->size : sizeof order, order, err);
    if (status != VS_OK || (e->size == 6 && memcmp(order, "little", 6) == 0)) return status;
    if (e->size == 3 && memcmp(order, "big", 3) == 0)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: its numbers are big-endian: save it again on a little-endian machine",
                       f->path);
    return vs_fail(err, VS_ERR_FORMAT, "%s: entry '%.200s' says neither little nor big", f->path, e->name);
}

static vs_status check_kind(const vs_tensorfile *f, const vs_zip *zip, const vs_zip_entry **pickle, vs_error *err) {
    size_t found = 0;
    *pickle = find_below_top(zip, "data.pkl", &found);
    if (has_code(zip))
        return vs_fail(
            err, VS_ERR_UNSUPPORTED,
            "%s: a TorchScript program, not a state dict: load it with torch.jit.load and save its state_dict() with torch.save",
            f->path);
    if (!*pickle) return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: a zip archive without data.pkl%s", f->path, kind_of_archive(zip));
    if (found > 1) return vs_fail(err, VS_ERR_FORMAT, "%s: a zip archive with %zu data.pkl", f->path, found);
    vs_status status = vs_zip_check_stored(zip, f->path, err);
    return status == VS_OK ? check_byte_order(f, zip, err) : status;
}

vs_status vs_torch_zip_read(vs_tensorfile *f, vs_error *err) {
    vs_zip zip;
    vs_pickle pickle = { 0 };
    uint8_t *stream = NULL;
    vs_status status = vs_zip_read(&zip, &f->source, err);
    if (status != VS_OK) return status;
    const vs_zip_entry *data = NULL;
    status = check_kind(f, &zip, &data, err);
    if (status != VS_OK || !data) goto done;
    const size_t size = data->size < VS_PICKLE_MAX_SIZE ? data->size : VS_PICKLE_MAX_SIZE;
    status = vs_source_load(&f->source, data->at, size, &stream, err);
    if (status == VS_OK) status = vs_pickle_read(&pickle, stream, size, data->at, f->path, err);
    if (status != VS_OK) goto done;
    const zip_storages storages = { &zip, (size_t)(strchr(data->name, '/') - data->name), data->name };
    status = vs_torch_collect(f, &pickle, data->at, find_in_zip, &storages, err);
done:
    vs_pickle_release(&pickle);
    free(stream);
    vs_zip_release(&zip);
    return status;
}

/* ---- legacy ---- */

typedef struct storage {
    const uint8_t *key;
    size_t key_size, numel, element;
    size_t at;     /* of its elements */
    bool placed;   /* it is in the file */
    bool conflict; /* two ids contradict each other */
} storage;

typedef struct storages {
    storage *all; /* by key */
    size_t count;
} storages;

static int compare_keys(const void *a, const void *b) {
    const storage *x = a, *y = b;
    if (x->key_size != y->key_size) return x->key_size < y->key_size ? -1 : 1;
    return memcmp(x->key, y->key, x->key_size);
}

static storage *find_storage(const storages *s, const uint8_t *key, size_t key_size) {
    const storage wanted = { .key = key, .key_size = key_size };
    return s->count ? bsearch(&wanted, s->all, s->count, sizeof *s->all, compare_keys) : NULL;
}

static bool find_in_stream(const void *context, const uint8_t *key, size_t key_size, size_t *at, size_t *size) {
    const storage *s = find_storage(context, key, key_size);
    if (!s || !s->placed) return false;
    *at = s->at;
    *size = s->numel * s->element;
    return true;
}

/* The stream gives a storage's elements, but not their size: the ids in the pickle know it. */
static vs_status list_storages(const vs_tensorfile *f, const vs_pickle *p, storages *s, vs_error *err) {
    size_t ids = 0;
    for (size_t i = 0; i < p->count; i++) ids += p->objects[i].kind == VS_PICKLE_PERSISTENT;
    s->all = vs_calloc(ids ? ids : 1, sizeof *s->all);
    if (!s->all) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its storages", f->path);
    for (uint32_t i = 0; i < p->count; i++) {
        vs_torch_storage id;
        if (!vs_torch_read_storage(p, i, &id)) continue;
        s->all[s->count++] = (storage){ .key = id.key->as.text.bytes,
                                        .key_size = id.key->as.text.size,
                                        .numel = id.numel,
                                        .element = id.dtype ? id.dtype->bits / 8 : 1 };
    }
    qsort(s->all, s->count, sizeof *s->all, compare_keys);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        storage *last = kept ? &s->all[kept - 1] : NULL;
        if (!last || compare_keys(last, &s->all[i]) != 0)
            s->all[kept++] = s->all[i];
        else
            last->conflict = last->conflict || last->numel != s->all[i].numel || last->element != s->all[i].element;
    }
    s->count = kept;
    return VS_OK;
}

/* One storage of the stream: 8 bytes of element count, then the elements. */
static vs_status place_storage(const vs_tensorfile *f, storages *s, const vs_pickle_object *key, size_t *at, vs_error *err) {
    const int shown = (int)(key->as.text.size < 40 ? key->as.text.size : 40);
    const char *name = (const char *)key->as.text.bytes;
    storage *found = find_storage(s, key->as.text.bytes, key->as.text.size);
    if (!found || found->placed || found->conflict)
        return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: storage '%.*s' %s", f->path, *at, shown, name,
                       !found          ? "is in the list, but no tensor uses it"
                       : found->placed ? "comes twice"
                                       : "has two sizes");
    if (f->source.size - *at < 8)
        return vs_fail(err, VS_ERR_FORMAT, "%s: storage '%.*s' should begin at byte %zu: the file is truncated", f->path, shown,
                       name, *at);
    uint8_t count[8];
    uint64_t numel = 0;
    size_t bytes = 0;
    vs_status status = vs_source_read(&f->source, *at, sizeof count, count, err);
    if (status != VS_OK) return status;
    for (size_t i = sizeof count; i-- > 0;) numel = numel << 8 | count[i];
    if (numel != found->numel)
        return vs_fail(err, VS_ERR_FORMAT, "%s: byte %zu: storage '%.*s' has %llu elements, its tensors count on %zu", f->path,
                       *at, shown, name, (unsigned long long)numel, found->numel);
    if (!vs_size_mul(&bytes, found->numel, found->element) || bytes > f->source.size - *at - 8)
        return vs_fail(err, VS_ERR_FORMAT, "%s: storage '%.*s' of %zu elements at byte %zu ends beyond the file: it is truncated",
                       f->path, shown, name, found->numel, *at);
    found->at = *at + 8;
    found->placed = true;
    *at += 8 + bytes;
    return VS_OK;
}

static vs_status place_storages(const vs_tensorfile *f, const vs_pickle *keys, storages *s, size_t at, vs_error *err) {
    const vs_pickle_object *list = &keys->objects[keys->root];
    if (list->kind != VS_PICKLE_LIST) return vs_fail(err, VS_ERR_FORMAT, "%s: no list of storages before byte %zu", f->path, at);
    vs_status status = VS_OK;
    for (size_t i = 0; i < list->count && status == VS_OK; i++) {
        const vs_pickle_object *key = &keys->objects[list->items[i]];
        status = key->kind == VS_PICKLE_TEXT
                     ? place_storage(f, s, key, &at, err)
                     : vs_fail(err, VS_ERR_FORMAT, "%s: a storage's key before byte %zu is no text", f->path, at);
    }
    return status;
}

/* A pickle and the bytes that its texts lie in. */
typedef struct stream {
    vs_pickle pickle;
    uint8_t *bytes;
} stream;

static void release_stream(stream *s) {
    vs_pickle_release(&s->pickle);
    free(s->bytes);
    s->bytes = NULL;
}

/* Where a pickle ends is known when it is read: more and more of the file is taken, until its end is among it. */
static vs_status next_pickle(const vs_tensorfile *f, stream *s, size_t *at, vs_error *err) {
    const size_t left = f->source.size - *at, most = left < VS_PICKLE_MAX_SIZE ? left : VS_PICKLE_MAX_SIZE;
    vs_status status = VS_OK;
    for (size_t size = (size_t)1 << 18; status == VS_OK; size *= 4) {
        const size_t taken = size < most ? size : most;
        vs_error local = { 0 };
        release_stream(s);
        status = vs_source_load(&f->source, *at, taken, &s->bytes, err);
        if (status != VS_OK) break;
        status = vs_pickle_read(&s->pickle, s->bytes, taken, *at, f->path, &local);
        if (status == VS_OK) break;
        if (s->pickle.ran_out && taken < most) {
            status = VS_OK;
            continue;
        }
        status = vs_fail(err, status, "%s", local.message);
    }
    if (status == VS_OK) *at += s->pickle.end;
    return status;
}

static vs_status check_magic(const vs_tensorfile *f, const vs_pickle *p, vs_error *err) {
    static const uint8_t magic[] = { 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19 };
    const vs_pickle_object *o = &p->objects[p->root];
    if (o->kind == VS_PICKLE_LONG && o->as.text.size == sizeof magic && memcmp(o->as.text.bytes, magic, sizeof magic) == 0)
        return VS_OK;
    return vs_fail(
        err, VS_ERR_UNSUPPORTED,
        "%s: a pickle that torch.save did not write (Paddle, NumPy, joblib and others write such): load it with Python "
        "and save its weights with torch.save",
        f->path);
}

static vs_status check_system(const vs_tensorfile *f, const vs_pickle *p, vs_error *err) {
    const vs_pickle_object *o = &p->objects[p->root];
    for (size_t i = 0; o->kind == VS_PICKLE_DICT && i + 1 < o->count; i += 2)
        if (vs_pickle_text_is(p, o->items[i], "little_endian") && p->objects[o->items[i + 1]].kind == VS_PICKLE_BOOL)
            return p->objects[o->items[i + 1]].as.integer
                       ? VS_OK
                       : vs_fail(err, VS_ERR_UNSUPPORTED,
                                 "%s: its numbers are big-endian: save it again on a little-endian machine", f->path);
    return vs_fail(err, VS_ERR_FORMAT, "%s: a torch file that does not say little_endian", f->path);
}

static vs_status check_protocol(const vs_tensorfile *f, const vs_pickle *p, vs_error *err) {
    const vs_pickle_object *o = &p->objects[p->root];
    if (o->kind == VS_PICKLE_INT && o->as.integer == 1001) return VS_OK;
    return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: a torch file of another protocol than 1001", f->path);
}

vs_status vs_torch_legacy_read(vs_tensorfile *f, vs_error *err) {
    stream head = { 0 }, tree = { 0 };
    storages all = { 0 };
    size_t at = 0;
    vs_status status = next_pickle(f, &head, &at, err);
    if (status == VS_OK) status = check_magic(f, &head.pickle, err);
    if (status == VS_OK) status = next_pickle(f, &head, &at, err);
    if (status == VS_OK) status = check_protocol(f, &head.pickle, err);
    if (status == VS_OK) status = next_pickle(f, &head, &at, err);
    if (status == VS_OK) status = check_system(f, &head.pickle, err);
    const size_t base = at;
    if (status == VS_OK) status = next_pickle(f, &tree, &at, err);
    if (status == VS_OK) status = next_pickle(f, &head, &at, err); /* the list of storages */
    if (status == VS_OK) status = list_storages(f, &tree.pickle, &all, err);
    if (status == VS_OK) status = place_storages(f, &head.pickle, &all, at, err);
    if (status == VS_OK) status = vs_torch_collect(f, &tree.pickle, base, find_in_stream, &all, err);
    free(all.all);
    release_stream(&head);
    release_stream(&tree);
    return status;
}
