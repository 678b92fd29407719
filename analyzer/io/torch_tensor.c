/* One tensor of a torch file: what its call's arguments say, checked against its storage. */
#include <stdlib.h>
#include <string.h>

#include "io/torch_tree.h"
#include "util/util.h"

static const struct {
    const char *storage, *dtype, *name; /* torch.<storage>, torch.<dtype>, ours */
} types[] = {
    { "FloatStorage", "float32", "F32" },
    { "HalfStorage", "float16", "F16" },
    { "BFloat16Storage", "bfloat16", "BF16" },
    { "DoubleStorage", "float64", "F64" },
    { "LongStorage", "int64", "I64" },
    { "IntStorage", "int32", "I32" },
    { "ShortStorage", "int16", "I16" },
    { "CharStorage", "int8", "I8" },
    { "ByteStorage", "uint8", "U8" },
    { "BoolStorage", "bool", "BOOL" },
    { "ComplexFloatStorage", "complex64", "C64" },
    { "ComplexDoubleStorage", "complex128", "C128" },
    { NULL, "uint16", "U16" },
    { NULL, "uint32", "U32" },
    { NULL, "uint64", "U64" },
    { NULL, "float8_e4m3fn", "F8_E4M3" },
    { NULL, "float8_e5m2", "F8_E5M2" },
    { NULL, "float8_e4m3fnuz", "F8_E4M3FNUZ" },
    { NULL, "float8_e5m2fnuz", "F8_E5M2FNUZ" },
    { NULL, "float8_e8m0fnu", "F8_E8M0" },
};
enum { TYPES = sizeof types / sizeof *types };

/* ---- reading arguments ---- */

static bool get_size(const vs_pickle *p, uint32_t object, size_t *out) {
    const vs_pickle_object *o = &p->objects[object];
    if (o->kind != VS_PICKLE_INT || o->as.integer < 0) return false;
    *out = (size_t)o->as.integer;
    return true;
}

/* The tuple itself, or that of torch.Size(tuple). */
static const vs_pickle_object *get_tuple(const vs_pickle *p, uint32_t object) {
    const vs_pickle_object *o = &p->objects[object];
    if (o->kind == VS_PICKLE_CALL && vs_pickle_global_is(p, o->callable, "torch", "Size")) {
        o = &p->objects[o->args];
        if (o->count == 1) o = &p->objects[o->items[0]];
    }
    return o->kind == VS_PICKLE_TUPLE || o->kind == VS_PICKLE_LIST ? o : NULL;
}

static const vs_dtype_info *storage_type(const vs_pickle *p, uint32_t object) {
    for (size_t i = 0; i < TYPES; i++)
        if (types[i].storage && vs_pickle_global_is(p, object, "torch", types[i].storage)) return vs_dtype_find(types[i].name);
    return NULL;
}

static const vs_dtype_info *dtype_object(const vs_pickle *p, uint32_t object) {
    for (size_t i = 0; i < TYPES; i++)
        if (vs_pickle_global_is(p, object, "torch", types[i].dtype)) return vs_dtype_find(types[i].name);
    return NULL;
}

bool vs_torch_read_storage(const vs_pickle *p, uint32_t object, vs_torch_storage *s) {
    *s = (vs_torch_storage){ 0 };
    const vs_pickle_object *o = &p->objects[object];
    if (o->kind != VS_PICKLE_PERSISTENT) return false;
    o = &p->objects[o->args];
    if (o->kind != VS_PICKLE_TUPLE || o->count < 5 || !vs_pickle_text_is(p, o->items[0], "storage")) return false;
    s->dtype = storage_type(p, o->items[1]);
    if (!s->dtype && !vs_pickle_global_is(p, o->items[1], "torch.storage", "UntypedStorage") &&
        !vs_pickle_global_is(p, o->items[1], "torch", "UntypedStorage"))
        return false;
    s->key = &p->objects[o->items[2]];
    if (s->key->kind != VS_PICKLE_TEXT || !get_size(p, o->items[4], &s->numel)) return false;
    if (o->count < 6 || p->objects[o->items[5]].kind == VS_PICKLE_NONE) return true;
    const vs_pickle_object *view = get_tuple(p, o->items[5]);
    s->view = true;
    return view && view->count == 3 && get_size(p, view->items[1], &s->view_offset) && get_size(p, view->items[2], &s->view_size);
}

/* ---- the calls that make tensors ---- */

static bool is_rebuild(const vs_pickle *p, uint32_t callable, const char *name) {
    return vs_pickle_global_is(p, callable, "torch._utils", name);
}

static bool is_plain(const vs_pickle *p, uint32_t callable) {
    return is_rebuild(p, callable, "_rebuild_tensor_v2") || is_rebuild(p, callable, "_rebuild_tensor") ||
           is_rebuild(p, callable, "_rebuild_tensor_v3");
}

bool vs_torch_is_tensor(const vs_pickle *p, uint32_t object) {
    const vs_pickle_object *o = &p->objects[object];
    if (o->kind != VS_PICKLE_CALL || p->objects[o->callable].kind != VS_PICKLE_GLOBAL) return false;
    const vs_pickle_object *name = &p->objects[p->objects[o->callable].args];
    static const char rebuild[] = "_rebuild_";
    const size_t n = sizeof rebuild - 1;
    const uint32_t module = p->objects[o->callable].callable;
    return (vs_pickle_text_is(p, module, "torch._utils") || vs_pickle_text_is(p, module, "torch._tensor")) &&
           name->as.text.size >= n && memcmp(name->as.text.bytes, rebuild, n) == 0;
}

static vs_status bad(const vs_torch_source *s, uint32_t object, const char *what, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s' (byte %zu): %s", s->label, s->name,
                   s->base + s->pickle->objects[object].offset, what);
}

static vs_status unknown(const vs_torch_source *s, uint32_t object, vs_error *err) {
    char class[256];
    vs_pickle_class_name(s->pickle, object, class, sizeof class);
    return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: tensor '%.200s' (byte %zu) depends on %s, which is not supported", s->label,
                   s->name, s->base + s->pickle->objects[object].offset, class);
}

/* Parameter(tensor) and tensors with attributes: down to the call that has a storage. `args` are its arguments. */
static vs_status unwrap(const vs_torch_source *s, uint32_t object, uint32_t *callable, uint32_t *args, vs_error *err) {
    const vs_pickle *p = s->pickle;
    for (size_t layers = 0; layers < 8; layers++) {
        const vs_pickle_object *o = &p->objects[object];
        if (o->kind != VS_PICKLE_CALL) return unknown(s, object, err);
        const vs_pickle_object *a = &p->objects[o->args];
        *callable = o->callable;
        *args = o->args;
        if (is_plain(p, o->callable)) return VS_OK;
        if (vs_pickle_global_is(p, o->callable, "torch._tensor", "_rebuild_from_type_v2") && a->count == 4) {
            *callable = a->items[0];
            *args = a->items[2];
            if (!vs_pickle_global_is(p, a->items[1], "torch", "Tensor") &&
                !vs_pickle_global_is(p, a->items[1], "torch.nn.parameter", "Parameter"))
                return unknown(s, a->items[1], err);
            if (is_plain(p, *callable) && get_tuple(p, *args)) return VS_OK;
            if (!is_rebuild(p, *callable, "_rebuild_parameter") || !get_tuple(p, *args)) return unknown(s, *callable, err);
            a = get_tuple(p, *args);
        } else if (!is_rebuild(p, o->callable, "_rebuild_parameter") &&
                   !is_rebuild(p, o->callable, "_rebuild_parameter_with_state")) {
            return unknown(s, object, err);
        }
        if (!a || a->count < 2) return bad(s, object, "a parameter without its tensor", err);
        object = a->items[0];
    }
    return bad(s, object, "parameters in parameters", err);
}

static vs_status read_shape(const vs_torch_source *s, uint32_t object, const vs_pickle_object *args, vs_torch_tensor *t,
                            vs_error *err) {
    const vs_pickle_object *size = get_tuple(s->pickle, args->items[2]), *stride = get_tuple(s->pickle, args->items[3]);
    if (!size || !stride || size->count != stride->count)
        return bad(s, object, "sizes and strides are no two tuples of one length", err);
    if (size->count > VS_MAX_DIMS) return bad(s, object, "has more than 8 dimensions", err);
    t->ndim = size->count;
    t->count = 1;
    bool empty = false; /* an empty tensor's other sizes need not have a product */
    for (size_t i = 0; i < t->ndim; i++) {
        if (!get_size(s->pickle, size->items[i], &t->shape[i]) || !get_size(s->pickle, stride->items[i], &t->stride[i]))
            return bad(s, object, "sizes and strides must be whole numbers from 0 on", err);
        empty = empty || t->shape[i] == 0;
    }
    for (size_t i = 0; i < t->ndim && !empty; i++)
        if (!vs_size_mul(&t->count, t->count, t->shape[i])) return bad(s, object, "has an impossible shape", err);
    if (empty) t->count = 0;
    return VS_OK;
}

/* The last element lies in the storage: offset + sum of (size - 1) * stride < numel. */
static bool fits(const vs_torch_tensor *t, size_t offset, size_t numel) {
    size_t last = offset;
    for (size_t i = 0; i < t->ndim; i++) {
        size_t step = 0;
        if (!vs_size_mul(&step, t->shape[i] - 1, t->stride[i]) || !vs_size_add(&last, last, step)) return false;
    }
    return last < numel;
}

/* Type and bytes of the storage; *numel in elements. */
static vs_status read_bytes(const vs_torch_source *s, uint32_t object, const vs_pickle_object *args, bool untyped,
                            vs_torch_tensor *t, size_t *numel, vs_error *err) {
    vs_torch_storage storage;
    if (!vs_torch_read_storage(s->pickle, args->items[0], &storage)) {
        const vs_pickle_object *o = &s->pickle->objects[args->items[0]];
        return o->kind == VS_PICKLE_CALL ? unknown(s, args->items[0], err)
                                         : bad(s, object, "its storage is none that is known", err);
    }
    t->dtype = storage.dtype;
    if (untyped && args->count > 6) t->dtype = dtype_object(s->pickle, args->items[6]);
    if (!t->dtype) return bad(s, object, "has a type that is not known", err);
    size_t size = 0, bytes = 0;
    const vs_dtype_info *unit = storage.dtype ? storage.dtype : vs_dtype_find("U8");
    if (!unit || !vs_size_mul(&bytes, storage.numel, unit->bits / 8)) return bad(s, object, "has an impossible storage", err);
    if (!s->find(s->context, storage.key->as.text.bytes, storage.key->as.text.size, &t->at, &size))
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s': its storage '%.*s' is not in the file", s->label, s->name,
                       (int)(storage.key->as.text.size < 40 ? storage.key->as.text.size : 40),
                       (const char *)storage.key->as.text.bytes);
    if (bytes > size)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s': its storage claims %zu bytes, but has %zu", s->label, s->name,
                       bytes, size);
    if (storage.view) {
        if (storage.view_offset > storage.numel || storage.view_size > storage.numel - storage.view_offset)
            return bad(s, object, "is a view beyond its storage", err);
        t->at += storage.view_offset * (unit->bits / 8);
        bytes = storage.view_size * (unit->bits / 8);
    }
    *numel = bytes / (t->dtype->bits / 8);
    return VS_OK;
}

vs_status vs_torch_read_tensor(const vs_torch_source *s, uint32_t object, vs_torch_tensor *t, vs_error *err) {
    *t = (vs_torch_tensor){ 0 };
    uint32_t callable = 0, args_object = 0;
    vs_status status = unwrap(s, object, &callable, &args_object, err);
    if (status != VS_OK) return status;
    const vs_pickle_object *args = &s->pickle->objects[args_object];
    size_t offset = 0, numel = 0;
    if (args->count < 4) return bad(s, object, "is made of too few arguments", err);
    status = read_bytes(s, object, args, is_rebuild(s->pickle, callable, "_rebuild_tensor_v3"), t, &numel, err);
    if (status == VS_OK) status = read_shape(s, object, args, t, err);
    if (status != VS_OK) return status;
    if (!get_size(s->pickle, args->items[1], &offset)) return bad(s, object, "has an impossible storage offset", err);
    if (t->count == 0) return VS_OK;
    if (!fits(t, offset, numel))
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%.200s' (byte %zu): its elements reach beyond its storage of %zu",
                       s->label, s->name, s->base + s->pickle->objects[object].offset, numel);
    t->at += offset * (t->dtype->bits / 8);
    return VS_OK;
}

bool vs_torch_is_contiguous(const vs_torch_tensor *t) {
    size_t expected = 1;
    for (size_t i = t->ndim; t->count && i-- > 0;) {
        if (t->shape[i] > 1 && t->stride[i] != expected) return false;
        expected *= t->shape[i];
    }
    return true;
}

static void gather(const vs_torch_tensor *t, const uint8_t *from, uint8_t *out) {
    const size_t size = t->dtype->bits / 8;
    size_t index[VS_MAX_DIMS] = { 0 }, at = 0; /* at: of the element at `index`, in elements */
    for (size_t i = 0; i < t->count; i++) {
        memcpy(out + i * size, from + at * size, size);
        for (size_t d = t->ndim; d-- > 0;) {
            at += t->stride[d];
            if (++index[d] < t->shape[d]) break;
            at -= t->stride[d] * t->shape[d];
            index[d] = 0;
        }
    }
}

vs_status vs_torch_copy(const vs_torch_tensor *t, const vs_source *file, uint8_t *out, vs_error *err) {
    size_t last = 0; /* vs_torch_read_tensor has checked that it lies in the storage */
    for (size_t d = 0; d < t->ndim; d++) last += t->shape[d] ? (t->shape[d] - 1) * t->stride[d] : 0;
    uint8_t *span = NULL;
    if (t->count == 0) return VS_OK;
    vs_status status = vs_source_load(file, t->at, (last + 1) * (t->dtype->bits / 8), &span, err);
    if (status == VS_OK) gather(t, span, out);
    free(span);
    return status;
}
