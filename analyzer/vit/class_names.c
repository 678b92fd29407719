#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/read.h"

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for class names"); }

static vs_status add_name(vs_model *m, size_t *capacity, const char *name, size_t size, vs_error *err) {
    if (!vs_grow((void **)&m->class_names, capacity, m->class_name_count + 1, sizeof *m->class_names)) return no_memory(err);
    char *copy = vs_format("%.*s", (int)size, name);
    if (!copy) return no_memory(err);
    m->class_names[m->class_name_count++] = copy;
    return VS_OK;
}

static vs_status split_names(vs_model *m, const char *text, size_t *capacity, vs_error *err) {
    vs_status status = VS_OK;
    for (const char *p = text; *p && status == VS_OK;) {
        const size_t n = strcspn(p, ",");
        status = add_name(m, capacity, p, n, err);
        p += n + (p[n] == ',');
    }
    return status;
}

/* One entry of lightly-train's dict, whose order is that of the model's classes. Other keys than whole numbers: passed over. */
static vs_status add_class(vs_model *m, const char *id, const char *name, size_t *capacity, vs_error *err) {
    char *end = NULL;
    const long long number = strtoll(id, &end, 10);
    if (end == id || *end != '\0') return VS_OK;
    int64_t *ids = realloc(m->class_ids, (m->class_name_count + 1) * sizeof *ids);
    if (!ids) return no_memory(err);
    m->class_ids = ids;
    ids[m->class_name_count] = number;
    return add_name(m, capacity, name, strlen(name), err);
}

vs_status vs_read_class_names(vs_model *m, const vs_tensorfile *file, vs_error *err) {
    static const char lightly[] = "model_init_args.classes.";
    size_t capacity = 0;
    vs_status status = VS_OK;
    for (size_t i = 0; i < vs_tensorfile_meta_count(file) && status == VS_OK; i++) {
        const vs_meta_entry *meta = vs_tensorfile_meta_at(file, i);
        if (strcmp(meta->key, "classes") == 0 && !m->class_ids)
            status = split_names(m, meta->value, &capacity, err);
        else if (strncmp(meta->key, lightly, sizeof lightly - 1) == 0 && (m->class_ids || m->class_name_count == 0))
            status = add_class(m, meta->key + sizeof lightly - 1, meta->value, &capacity, err);
    }
    return status;
}
