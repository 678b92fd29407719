/* From the graph to the file: which tensors a parameter is made of says the layout's table. */
#include "vit/params.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/position.h"

enum { KEY = 256 };

typedef struct loader {
    const vs_readers *from;
    vs_model *model;
    bool *done; /* [params] */
} loader;

/* ---- names */

/* A parameter's name without its block and without .weight or .bias, against the layout's. */
static const struct {
    const char *name;
    size_t field;
} fields[] = { { "patch_embed.proj", offsetof(vs_layout_names, patch) },
               { "cls_token", offsetof(vs_layout_names, cls) },
               { "register_tokens", offsetof(vs_layout_names, registers) },
               { "pos_embed", offsetof(vs_layout_names, pos) },
               { "rope_embed.periods", offsetof(vs_layout_names, periods) },
               { "norm1", offsetof(vs_layout_names, norm1) },
               { "attn.proj", offsetof(vs_layout_names, proj) },
               { "ls1", offsetof(vs_layout_names, ls1) },
               { "norm2", offsetof(vs_layout_names, norm2) },
               { "mlp.fc1", offsetof(vs_layout_names, fc1) },
               { "mlp.fc2", offsetof(vs_layout_names, fc2) },
               { "ls2", offsetof(vs_layout_names, ls2) },
               { "norm", offsetof(vs_layout_names, norm) },
               { "prefix_norm", offsetof(vs_layout_names, prefix_norm) } };

static const char *field_of(const vs_layout_names *n, const char *name, size_t length) {
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strlen(fields[i].name) == length && strncmp(fields[i].name, name, length) == 0)
            return *(const char *const *)(const void *)((const char *)n + fields[i].field);
    return NULL;
}

/* "blocks.3.norm1.weight": what stands behind the block's name; the names of a block's tensors begin with `base`. */
static const char *local_name(const vs_layout *l, const char *name, char *base, size_t size) {
    size_t block = 0;
    if (!vs_begins(name, "blocks.")) {
        (void)snprintf(base, size, "%s", l->prefix);
        return name;
    }
    for (name += strlen("blocks."); *name >= '0' && *name <= '9'; name++) block = 10 * block + (size_t)(*name - '0');
    vs_layout_block(l, block, base, size - 1);
    const size_t end = strlen(base);
    base[end] = '.';
    base[end + 1] = '\0';
    return name + 1;
}

/* ---- vectors */

static vs_status no_name(const loader *l, const char *name, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: the layout %s has no tensor for '%s'", l->model->path, l->from->layout->names->layout,
                   name);
}

static void leave_out(const loader *l, const char *name, const char *what, const char *reason) {
    char key[KEY];
    (void)snprintf(key, sizeof key, "%s%s%s", l->from->layout->prefix, name ? name : "", what);
    vs_ledger_row *row = vs_ledger_find(l->from->backbone.file, key);
    if (row) row->reason = reason;
}

/* The file's, or computed from theta. */
static vs_status read_periods(const loader *l, size_t param, vs_error *err) {
    const char *name = l->from->layout->names->periods;
    const size_t count = l->model->graph->params[param].cols;
    float **periods = &l->model->params[param];
    char key[KEY];
    if (l->model->arch.rope_theta > 0) {
        leave_out(l, name, "", "model.rope: computed");
        if (!(*periods = vs_calloc(count, sizeof **periods))) return vs_fail(err, VS_ERR_NOMEM, "no memory for the periods");
        vs_position_periods(l->model->arch.rope_theta, count, *periods);
        return VS_OK;
    }
    (void)snprintf(key, sizeof key, "%s%s", l->from->layout->prefix, name ? name : "rope_embed.periods");
    vs_status status = vs_read_tensor(&l->from->backbone, key, 1, count, periods, err);
    for (size_t i = 0; status == VS_OK && *periods && i < count; i++)
        if (!((*periods)[i] > 0))
            status = vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s': period %zu is %g, which is none", l->model->path, key, i,
                             (double)(*periods)[i]);
    return status;
}

/* A tensor, or the gain or shift of a norm. */
static vs_status read_param(const loader *l, size_t param, vs_error *err) {
    const vs_layout *layout = l->from->layout;
    const vs_param *p = &l->model->graph->params[param];
    char base[KEY], key[2 * KEY];
    if (l->done[param]) return VS_OK;
    l->done[param] = true;
    if (vs_begins(p->name, "head.")) return vs_head_read_param(&l->from->head, &layout->head, param, err);
    if (strcmp(p->name, "rope_embed.periods") == 0) return read_periods(l, param, err);
    const char *local = local_name(layout, p->name, base, sizeof base), *what = vs_has_ending(local, ".weight") ? ".weight"
                                                                                : vs_has_ending(local, ".bias") ? ".bias"
                                                                                                                : "";
    const char *name = field_of(layout->names, local, strlen(local) - strlen(what));
    if (strcmp(local, "register_tokens") == 0 && layout->arch.distilled) name = layout->names->distillation;
    if (!name) return no_name(l, p->name, err);
    (void)snprintf(key, sizeof key, "%s%s%s", base, name, what);
    return vs_read_tensor(&l->from->backbone, key, p->rows, p->cols, &l->model->params[param], err);
}

/* ---- linears */

static bool has(const loader *l, const char *base, const char *name, const char *what) {
    char key[2 * KEY];
    (void)snprintf(key, sizeof key, "%s%s%s", base, name ? name : "", what);
    return name && vs_ledger_find(l->from->backbone.file, key);
}

/* Modules of a linear. Both halves of a SwiGLU are one layer, gate first, whether the file packs them or not; timm packs under
 * the names fc1, fc2. */
static size_t modules_of(const loader *l, const char *base, const char *local, const char *out[VS_MAX_PARTS]) {
    const vs_layout_names *n = l->from->layout->names;
    const bool gated = has(l, base, n->w1, ".weight"), packed = has(l, base, n->w12, ".weight");
    size_t count = 0;
    if (strcmp(local, "attn.qkv") == 0) {
        while (count < VS_MAX_PARTS && n->qkv[count]) {
            out[count] = n->qkv[count];
            count++;
        }
        return count;
    }
    out[1] = n->w2;
    if (strcmp(local, "mlp.w12") == 0)
        out[0] = gated ? n->w1 : packed ? n->w12 : n->fc1;
    else if (strcmp(local, "mlp.w3") == 0)
        out[0] = gated || packed ? n->w3 : n->fc2;
    else
        out[0] = field_of(n, local, strlen(local));
    if (!out[0]) return 0;
    return strcmp(local, "mlp.w12") == 0 && gated && n->w2 ? 2 : 1;
}

static vs_bias_rule rule_of(const loader *l, const char *local) {
    const vs_layout *layout = l->from->layout;
    const bool any = layout->biased[0] || layout->biased[1] || layout->biased[2],
               key = layout->biased[1] || layout->config.key_bias;
    if (strcmp(local, "patch_embed.proj") == 0) return VS_BIAS_ALL_OR_NONE;
    if (strcmp(local, "attn.qkv") != 0) return VS_BIAS_ALL;
    return !any ? VS_BIAS_NONE : layout->names->key_bias_optional && !key ? VS_BIAS_ALL_BUT_KEY : VS_BIAS_ALL;
}

/* Biases of q and v as tensors of their own, beside a qkv that has none: k's is zero. */
static vs_status read_split_bias(const loader *l, const char *base, const vs_linear_slot *qkv, vs_error *err) {
    const vs_layout_names *n = l->from->layout->names;
    const size_t c = qkv->in;
    const char *const names[] = { n->q_bias, n->v_bias };
    if (*qkv->b) return vs_fail(err, VS_ERR_FORMAT, "%s: %sattn.qkv has a bias beside those of q and v", l->model->path, base);
    if (!l->from->backbone.options->shapes_only && !(*qkv->b = vs_calloc(3 * c, sizeof **qkv->b)))
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the bias of %sattn.qkv", base);
    vs_status status = VS_OK;
    for (size_t i = 0; i < 2 && status == VS_OK; i++) {
        float *part = NULL;
        char key[2 * KEY];
        (void)snprintf(key, sizeof key, "%s%s", base, names[i]);
        status = vs_read_tensor(&l->from->backbone, key, 1, c, &part, err);
        if (status == VS_OK && part && *qkv->b) memcpy(*qkv->b + 2 * i * c, part, c * sizeof *part);
        free(part);
    }
    return status;
}

/* The bias that counts is bias * mask (docs/vit-models.md 2.5). */
static vs_status apply_mask(const loader *l, const char *base, const vs_linear_slot *qkv, vs_error *err) {
    const size_t c = qkv->in;
    vs_model_options options = *l->from->backbone.options;
    options.check_values = false; /* NaN has its own message here */
    const vs_reader reader = { l->model, l->from->backbone.file, &options };
    char key[2 * KEY];
    float *mask = NULL;
    size_t nan = 0;
    (void)snprintf(key, sizeof key, "%s%s", base, l->from->layout->names->bias_mask);
    vs_status status = vs_read_tensor(&reader, key, 1, 3 * c, &mask, err);
    for (size_t i = 0; status == VS_OK && mask && i < 3 * c; i++) {
        if (options.bias_mask == VS_BIAS_MASK_INTENDED) mask[i] = i / c == 1 ? 0.0f : 1.0f;
        nan += isnan(mask[i]) != 0;
        if (*qkv->b) (*qkv->b)[i] *= mask[i];
    }
    free(mask);
    if (!nan) return status;
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: tensor '%s' has %zu NaN: the model was saved before its mask was set; 'model.bias_mask: intended' "
                   "takes 1 for q and v and 0 for k",
                   l->model->path, key, nan);
}

static vs_status read_linear(const loader *l, size_t node, vs_error *err) {
    const vs_layout *layout = l->from->layout;
    const vs_node *n = &l->model->graph->nodes[node];
    const vs_linear_slot slot = vs_linear_slot_of(l->model, node);
    char base[KEY], text[VS_MAX_PARTS][2 * KEY];
    const char *names[VS_MAX_PARTS], *modules[VS_MAX_PARTS];
    l->done[n->param[0]] = l->done[n->param[1]] = true;
    if (vs_begins(n->name, "head.")) return vs_head_read_linear(&l->from->head, &layout->head, node, err);
    const char *local = local_name(layout, n->name, base, sizeof base);
    const size_t parts = modules_of(l, base, local, names);
    if (parts == 0) return no_name(l, n->name, err);
    for (size_t i = 0; i < parts; i++) {
        (void)snprintf(text[i], sizeof text[i], "%s%s", base, names[i]);
        modules[i] = text[i];
    }
    vs_status status = vs_read_linear(&l->from->backbone, modules, parts, rule_of(l, local), &slot, err);
    if (strcmp(local, "attn.qkv") != 0) return status;
    if (status == VS_OK && layout->biased_apart) status = read_split_bias(l, base, &slot, err);
    return status == VS_OK && layout->masked ? apply_mask(l, base, &slot, err) : status;
}

/* ---- all of them */

static vs_status read_sources(const loader *l, size_t param, vs_error *err) {
    const vs_param *p = &l->model->graph->params[param];
    vs_status status = VS_OK;
    if (p->fold == VS_FOLD_TENSOR) return read_param(l, param, err);
    for (size_t i = 0; i < VS_FOLD_SOURCES && status == VS_OK; i++)
        if (p->from[i] != VS_NONE) status = read_param(l, p->from[i], err);
    return status;
}

static vs_status read_node(const loader *l, size_t node, vs_error *err) {
    const vs_node *n = &l->model->graph->nodes[node];
    vs_status status = VS_OK;
    if (n->op == VS_OP_LINEAR) return read_linear(l, node, err);
    for (size_t i = 0; i < VS_NODE_PARAMS && status == VS_OK; i++)
        if (n->param[i] != VS_NONE) status = read_sources(l, n->param[i], err);
    return status;
}

/* What the layout has and this model does not read. */
static void leave_out_all(const loader *l) {
    const vs_layout *layout = l->from->layout;
    if (layout->no_registers) leave_out(l, layout->names->registers, "", "has no registers");
    if (!l->model->arch.prefix_norm || !l->model->arch.queries) return;
    leave_out(l, layout->names->prefix_norm, ".weight", "EoMT has one norm for all rows");
    leave_out(l, layout->names->prefix_norm, ".bias", "EoMT has one norm for all rows");
}

vs_status vs_params_read(const vs_readers *readers, vs_error *err) {
    vs_model *m = readers->backbone.model;
    const vs_graph *g = m->graph;
    const loader l = { readers, m, vs_calloc(g->param_count, sizeof(bool)) };
    m->params = vs_calloc(g->param_count, sizeof *m->params);
    m->sources = vs_calloc(g->node_count, sizeof *m->sources);
    vs_status status = l.done && m->params && m->sources ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for the model");
    if (status == VS_OK) leave_out_all(&l);
    for (size_t i = 0; i < g->node_count && status == VS_OK; i++) {
        status = read_node(&l, i, err);
        for (size_t k = 0; k < g->nodes[i].in_count && status == VS_OK; k++) {
            const size_t param = g->values[g->nodes[i].in[k]].param;
            if (param != VS_NONE) status = read_param(&l, param, err);
        }
    }
    free(l.done);
    return status;
}
