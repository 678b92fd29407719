/* A checkpoint's file to a model: the layout's table says which tensor is which. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/build_vit.h"
#include "vit/params.h"

/* What became of each tensor of the file. */
static vs_status list_tensors(vs_model *m, const vs_ledger *file, vs_error *err) {
    size_t total = 0;
    if (!vs_size_add(&total, m->tensor_count, file->count)) return vs_fail(err, VS_ERR_NOMEM, "too many tensors");
    vs_tensor_use *grown = realloc(m->tensors, (total ? total : 1) * sizeof *grown);
    if (!grown) return vs_fail(err, VS_ERR_NOMEM, "no memory for %zu tensor names", total);
    m->tensors = grown;
    for (size_t i = 0; i < file->count; i++) {
        const vs_ledger_row *row = &file->rows[i];
        vs_tensor_use use = { vs_strdup(row->tensor->name), row->used, row->used ? NULL : row->reason };
        if (!use.name) return vs_fail(err, VS_ERR_NOMEM, "no memory for a tensor name");
        m->tensors[m->tensor_count++] = use;
    }
    return VS_OK;
}

static void summarize_dtypes(vs_model *m, const vs_tensorfile *file) {
    enum { MOST_TYPES = 8 };
    struct {
        const char *name;
        size_t count;
    } types[MOST_TYPES];
    size_t known = 0, used = 0;
    for (size_t i = 0; i < vs_tensorfile_count(file); i++) {
        const char *name = vs_tensorfile_at(file, i)->dtype_name;
        size_t t = 0;
        while (t < known && strcmp(types[t].name, name) != 0) t++;
        if (t == MOST_TYPES) continue;
        if (t == known) {
            types[t].name = name;
            types[t].count = 0;
            known++;
        }
        types[t].count++;
    }
    for (size_t t = 0; t < known && used < sizeof m->dtypes; t++)
        used += (size_t)snprintf(m->dtypes + used, sizeof m->dtypes - used, "%s%s %zu", used ? ", " : "", types[t].name,
                                 types[t].count);
}

/* What is refused comes before what is missing: a model of another kind lacks tensors because it has others. */
static vs_status check_whole(const vs_model *m, const vs_ledger *file, const vs_layout *layout, const vs_model_options *options,
                             vs_error *err) {
    vs_status status = vs_account_for_rest(file, layout, options, err);
    if (status == VS_OK && m->missing_count && !options->shapes_only)
        status = vs_fail(err, VS_ERR_FORMAT, "%s: %zu tensor%s missing, the first is '%s'", m->path, m->missing_count,
                         m->missing_count > 1 ? "s are" : " is", m->missing[0]);
    return status == VS_OK && !m->missing_count ? vs_layout_check_kind(layout, file, options, err) : status;
}

static vs_status build_graph(vs_model *m, vs_error *err) {
    vs_error why = { 0 };
    const vs_status status = vs_vit_graph(&m->graph, &m->arch, &why);
    return status == VS_OK ? VS_OK : vs_fail(err, status, "%s: %s", m->path, why.message);
}

static vs_status fill(vs_model *m, vs_ledger *file, vs_ledger *head_file, const vs_layout *layout,
                      const vs_model_options *options, vs_error *err) {
    vs_ledger *from = head_file ? head_file : file;
    const vs_readers readers = { { m, file, options }, { m, from, options }, layout };
    m->arch = layout->arch;
    m->prefix = vs_strdup(layout->prefix);
    m->head_note = *layout->head.note ? vs_strdup(layout->head.note) : NULL;
    if (!m->prefix || (*layout->head.note && !m->head_note)) return vs_fail(err, VS_ERR_NOMEM, "no memory for the model");
    vs_status status = vs_read_class_names(m, from->file, err);
    if (status == VS_OK) status = build_graph(m, err);
    if (status == VS_OK) status = vs_params_read(&readers, err);
    if (status == VS_OK) status = check_whole(m, file, layout, options, err);
    for (size_t i = 0; head_file && i < head_file->count; i++) head_file->rows[i].reason = "not of the head";
    if (status == VS_OK) status = list_tensors(m, file, err);
    if (status == VS_OK && head_file) status = list_tensors(m, head_file, err);
    if (status == VS_OK) summarize_dtypes(m, file->file);
    return status;
}

static vs_status open_file(vs_tensorfile **file, vs_ledger *ledger, const char *path, vs_error *err) {
    vs_status status = vs_tensorfile_open(file, path, err);
    return status == VS_OK ? vs_ledger_make(ledger, *file, err) : status;
}

vs_status vs_model_load(vs_model **out, const char *path, const vs_model_options *options, vs_error *err) {
    *out = NULL;
    vs_tensorfile *file = NULL, *head_file = NULL;
    vs_ledger ledger = { 0 }, head_ledger = { 0 };
    vs_layout layout = { .names = NULL };
    vs_model *m = vs_calloc(1, sizeof *m);
    vs_status status = m && (m->path = vs_strdup(path)) ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for the model");
    if (status == VS_OK) status = open_file(&file, &ledger, path, err);
    if (status == VS_OK && options->head_path) status = open_file(&head_file, &head_ledger, options->head_path, err);
    if (status == VS_OK) status = vs_layout_detect(&layout, &ledger, head_file ? &head_ledger : NULL, options, err);
    if (status == VS_OK) status = fill(m, &ledger, head_file ? &head_ledger : NULL, &layout, options, err);
    if (status == VS_OK && options->hash) status = vs_tensorfile_sha256(file, m->sha256, err);
    vs_layout_release(&layout);
    vs_ledger_release(&ledger);
    vs_ledger_release(&head_ledger);
    vs_tensorfile_close(file);
    vs_tensorfile_close(head_file);
    if (status != VS_OK) {
        vs_model_free(m);
        if (status != VS_ERR_UNSUPPORTED) return status;
        if (err) err->code = VS_ERR_FORMAT; /* it is the file that cannot be read, not a thing that was asked for */
        return VS_ERR_FORMAT;
    }
    *out = m;
    return VS_OK;
}
