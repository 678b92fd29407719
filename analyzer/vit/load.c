/* A checkpoint's file to a model: the layout's table says which tensor is which. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/layout.h"
#include "vit/position.h"
#include "vit/read.h"

static vs_status read_in(const vs_reader *r, const char *base, const char *separator, const char *name, size_t rows, size_t cols,
                         float **out, vs_error *err) {
    char key[256];
    snprintf(key, sizeof key, "%s%s%s", base, separator, name);
    return vs_read_tensor(r, key, rows, cols, out, err);
}

static vs_status read_norm(const vs_reader *r, const char *base, const char *separator, const char *name, float **gain,
                           float **shift, vs_error *err) {
    char key[256];
    snprintf(key, sizeof key, "%s%s%s.weight", base, separator, name);
    vs_status status = vs_read_tensor(r, key, 1, r->model->arch.width, gain, err);
    snprintf(key, sizeof key, "%s%s%s.bias", base, separator, name);
    return status == VS_OK ? vs_read_tensor(r, key, 1, r->model->arch.width, shift, err) : status;
}

/* The layer whose rows come from up to VS_MAX_PARTS modules of a block. */
static vs_status read_layer(const vs_reader *r, const char *base, const char *const *names, size_t limit, size_t out, size_t in,
                            vs_bias_rule rule, vs_linear *linear, vs_error *err) {
    char text[VS_MAX_PARTS][256];
    const char *modules[VS_MAX_PARTS];
    size_t parts = 0;
    for (; parts < limit && names[parts]; parts++) {
        snprintf(text[parts], sizeof text[parts], "%s.%s", base, names[parts]);
        modules[parts] = text[parts];
    }
    return vs_read_linear(r, modules, parts, out, in, rule, linear, err);
}

static bool has(const vs_reader *r, const char *base, const char *name, const char *what) {
    char key[256];
    snprintf(key, sizeof key, "%s.%s%s", base, name ? name : "", what);
    return name && vs_ledger_find(r->file, key);
}

/* Biases of q and v as tensors of their own, beside a qkv that has none: k's is zero. */
static vs_status read_split_bias(const vs_reader *r, const vs_layout_names *n, const char *base, vs_linear *qkv, vs_error *err) {
    const size_t c = r->model->arch.width;
    const char *const names[] = { n->q_bias, n->v_bias };
    if (qkv->b)
        return vs_fail(err, VS_ERR_FORMAT, "%s: %s.attn.qkv has a bias beside those of q and v",
                       vs_tensorfile_path(r->file->file), base);
    if (!r->options->shapes_only && !(qkv->b = vs_calloc(3 * c, sizeof *qkv->b)))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the bias of %s.attn.qkv", base);
    vs_status status = VS_OK;
    for (size_t i = 0; i < 2 && status == VS_OK; i++) {
        float *part = NULL;
        status = read_in(r, base, ".", names[i], 1, c, &part, err);
        if (status == VS_OK && part && qkv->b) memcpy(qkv->b + 2 * i * c, part, c * sizeof *part);
        free(part);
    }
    return status;
}

static vs_status refuse_mask(const vs_reader *r, const char *base, const char *name, size_t nan, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: tensor '%s.%s' has %zu NaN: the model was saved before its mask was set; 'model.bias_mask: intended' "
                   "takes 1 for q and v and 0 for k",
                   vs_tensorfile_path(r->file->file), base, name, nan);
}

/* The bias that counts is bias * mask (docs/vit-models.md 2.5). */
static vs_status apply_mask(const vs_reader *r, const char *base, const char *name, vs_linear *qkv, vs_error *err) {
    const size_t c = r->model->arch.width;
    vs_model_options options = *r->options;
    options.check_values = false; /* NaN has its own message here */
    const vs_reader reader = { r->model, r->file, &options };
    float *mask = NULL;
    size_t nan = 0;
    vs_status status = read_in(&reader, base, ".", name, 1, 3 * c, &mask, err);
    for (size_t i = 0; status == VS_OK && mask && i < 3 * c; i++) {
        if (options.bias_mask == VS_BIAS_MASK_INTENDED) mask[i] = i / c == 1 ? 0.0f : 1.0f;
        nan += isnan(mask[i]) != 0;
        if (qkv->b) qkv->b[i] *= mask[i];
    }
    free(mask);
    return nan ? refuse_mask(r, base, name, nan, err) : status;
}

static vs_status read_qkv(const vs_reader *r, const vs_layout *layout, const char *base, vs_linear *qkv, vs_error *err) {
    const vs_layout_names *n = layout->names;
    const size_t c = r->model->arch.width;
    const bool any = layout->biased[0] || layout->biased[1] || layout->biased[2],
               key = layout->biased[1] || layout->config.key_bias;
    const vs_bias_rule rule = !any ? VS_BIAS_NONE : n->key_bias_optional && !key ? VS_BIAS_ALL_BUT_KEY : VS_BIAS_ALL;
    vs_status status = read_layer(r, base, n->qkv, VS_MAX_PARTS, 3 * c, c, rule, qkv, err);
    if (status == VS_OK && layout->biased_apart) status = read_split_bias(r, n, base, qkv, err);
    return status == VS_OK && layout->masked ? apply_mask(r, base, n->bias_mask, qkv, err) : status;
}

/* Both halves of a SwiGLU are one layer, gate first, whether the file packs them or not. timm packs under the names fc1, fc2. */
static vs_status read_mlp(const vs_reader *r, const vs_layout_names *n, const char *base, vs_block *b, vs_error *err) {
    const vs_arch *a = &r->model->arch;
    const bool swiglu = a->ffn == VS_FFN_SWIGLU, gated = swiglu && has(r, base, n->w1, ".weight"),
               packed = swiglu && has(r, base, n->w12, ".weight");
    const char *const first[] = { gated ? n->w1 : packed ? n->w12 : n->fc1, n->w2 }, *second = gated || packed ? n->w3 : n->fc2;
    vs_status status = read_layer(r, base, first, gated ? 2 : 1, vs_arch_fc1_width(a), a->width, VS_BIAS_ALL, &b->fc1, err);
    return status == VS_OK ? read_layer(r, base, &second, 1, a->width, a->hidden, VS_BIAS_ALL, &b->fc2, err) : status;
}

static vs_status read_block(const vs_reader *r, const vs_layout *layout, size_t index, vs_error *err) {
    vs_block *b = &r->model->blocks[index];
    const vs_arch *a = &r->model->arch;
    const vs_layout_names *n = layout->names;
    const size_t c = a->width;
    char base[192];
    vs_layout_block(layout, index, base, sizeof base);
    vs_status status = read_norm(r, base, ".", n->norm1, &b->norm1_g, &b->norm1_b, err);
    if (status == VS_OK) status = read_norm(r, base, ".", n->norm2, &b->norm2_g, &b->norm2_b, err);
    if (status == VS_OK) status = read_qkv(r, layout, base, &b->qkv, err);
    if (status == VS_OK) status = read_layer(r, base, &n->proj, 1, c, c, VS_BIAS_ALL, &b->proj, err);
    if (status == VS_OK) status = read_mlp(r, n, base, b, err);
    if (status == VS_OK && a->layer_scale) status = read_in(r, base, ".", n->ls1, 1, c, &b->ls1, err);
    if (status == VS_OK && a->layer_scale) status = read_in(r, base, ".", n->ls2, 1, c, &b->ls2, err);
    return status;
}

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

static void leave_out(const vs_reader *r, const vs_layout *layout, const char *name, const char *reason) {
    char key[256];
    snprintf(key, sizeof key, "%s%s", layout->prefix, name ? name : "");
    vs_ledger_row *row = vs_ledger_find(r->file, key);
    if (row) row->reason = reason;
}

/* The file's, or computed from theta. */
static vs_status read_periods(const vs_reader *r, const vs_layout *layout, vs_error *err) {
    vs_model *m = r->model;
    const size_t count = m->arch.width / m->arch.heads / 4;
    if (m->arch.rope_theta > 0) {
        leave_out(r, layout, layout->names->periods, "model.rope: computed");
        if (!(m->periods = vs_calloc(count, sizeof *m->periods))) return vs_fail(err, VS_ERR_NOMEM, "no memory for the periods");
        vs_position_periods(m->arch.rope_theta, count, m->periods);
        return VS_OK;
    }
    vs_status status = read_in(r, layout->prefix, "", layout->names->periods, 1, count, &m->periods, err);
    for (size_t i = 0; status == VS_OK && m->periods && i < count; i++)
        if (!(m->periods[i] > 0))
            status = vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s%s': period %zu is %g, which is none",
                             vs_tensorfile_path(r->file->file), layout->prefix, layout->names->periods, i, (double)m->periods[i]);
    return status;
}

static vs_status read_backbone(const vs_reader *r, const vs_layout *layout, vs_error *err) {
    vs_model *m = r->model;
    const vs_arch *a = &m->arch;
    const vs_layout_names *n = layout->names;
    const size_t c = a->width;
    const char *prefix = layout->prefix;
    char patch[256];
    m->blocks = vs_calloc(a->depth, sizeof *m->blocks);
    if (!m->blocks) return vs_fail(err, VS_ERR_NOMEM, "no memory for %zu blocks", a->depth);
    snprintf(patch, sizeof patch, "%s%s", prefix, n->patch);
    const char *const module = patch;
    vs_status status = vs_read_linear(r, &module, 1, c, 3 * a->patch * a->patch, VS_BIAS_ALL_OR_NONE, &m->patch, err);
    if (status == VS_OK) status = read_in(r, prefix, "", n->cls, 1, c, &m->cls, err);
    if (status == VS_OK && a->position == VS_POSITION_ROPE) status = read_periods(r, layout, err);
    if (status == VS_OK && n->pos)
        status = read_in(r, prefix, "", n->pos, a->prefix_positions + a->grid * a->grid, c, &m->pos, err);
    if (status == VS_OK && a->registers)
        status = read_in(r, prefix, "", a->distilled ? n->distillation : n->registers, a->registers, c, &m->registers, err);
    if (layout->no_registers) leave_out(r, layout, n->registers, "has no registers");
    for (size_t i = 0; i < a->depth && status == VS_OK; i++) status = read_block(r, layout, i, err);
    if (status == VS_OK && a->prefix_norm)
        status = read_norm(r, prefix, "", n->prefix_norm, &m->prefix_norm_g, &m->prefix_norm_b, err);
    return status == VS_OK ? read_norm(r, prefix, "", n->norm, &m->norm_g, &m->norm_b, err) : status;
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

static vs_status fill(vs_model *m, vs_ledger *file, vs_ledger *head_file, const vs_layout *layout,
                      const vs_model_options *options, vs_error *err) {
    vs_ledger *from = head_file ? head_file : file;
    const vs_reader backbone = { m, file, options }, head = { m, from, options };
    m->arch = layout->arch;
    m->prefix = vs_strdup(layout->prefix);
    m->head_note = *layout->head.note ? vs_strdup(layout->head.note) : NULL;
    if (!m->prefix || (*layout->head.note && !m->head_note)) return vs_fail(err, VS_ERR_NOMEM, "no memory for the model");
    vs_status status = vs_read_class_names(m, from->file, err);
    if (status == VS_OK) status = read_backbone(&backbone, layout, err);
    if (status == VS_OK) status = vs_head_read(&head, &layout->head, err);
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
