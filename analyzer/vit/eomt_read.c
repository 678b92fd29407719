#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/eomt.h"

enum { CLASS_HEAD_LENGTH = sizeof "class_head" - 1 };

/* "model." of "model.class_head". */
static int outer_length(const char *class_head) { return (int)(strlen(class_head) - CLASS_HEAD_LENGTH); }

static const vs_tensor_entry *find(const vs_ledger *file, const char *class_head, const char *name) {
    char key[256];
    snprintf(key, sizeof key, "%.*s%s", outer_length(class_head), class_head, name);
    return vs_ledger_tensor(file, key);
}

static bool find_class_head(const vs_ledger *file, char *module, size_t size) {
    size_t from = 0;
    while (vs_find_module(file, &from, "class_head", module, size))
        if (find(file, module, "queries.weight")) return true;
    return false;
}

/* By the backbone's size (docs/vit-models.md 5.6): ViT-T, S and B 3, L 4, larger ones 5. */
static size_t joint_blocks_of(const vs_arch *a) {
    const size_t joint = a->depth > 24 ? 5 : a->depth > 12 ? 4 : 3;
    return joint < a->depth ? joint : a->depth;
}

/* lightly-train's model_init_args.num_joint_blocks, where the file has it. */
static vs_status read_joint_blocks(vs_arch *a, const vs_ledger *file, vs_error *err) {
    a->joint_blocks = joint_blocks_of(a);
    for (size_t i = 0; i < vs_tensorfile_meta_count(file->file); i++) {
        const vs_meta_entry *m = vs_tensorfile_meta_at(file->file, i);
        if (strcmp(m->key, "model_init_args.num_joint_blocks") != 0) continue;
        char *end = NULL;
        const unsigned long long said = strtoull(m->value, &end, 10);
        if (*end != '\0' || m->value[0] == '-' || said < 1 || said > a->depth)
            return vs_fail(err, VS_ERR_FORMAT, "%s: %s is '%.40s', not a number from 1 to %zu, the backbone's blocks",
                           vs_tensorfile_path(file->file), m->key, m->value, a->depth);
        a->joint_blocks = (size_t)said;
    }
    return VS_OK;
}

static vs_status no_matrix(const vs_ledger *file, const char *name, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: '%s' of the EoMT head is missing or no matrix with as many columns as the backbone is wide",
                   vs_tensorfile_path(file->file), name);
}

vs_status vs_eomt_detect(vs_arch *a, const vs_ledger *file, char *class_head, size_t size, bool *found, vs_error *err) {
    *found = find_class_head(file, class_head, size);
    if (!*found) return VS_OK;
    const vs_tensor_entry *queries = find(file, class_head, "queries.weight"),
                          *classes = find(file, class_head, "class_head.weight");
    if (queries && classes && queries->ndim == 2 && classes->ndim == 2 && queries->shape[1] == classes->shape[1] &&
        queries->shape[1] != a->width)
        return vs_fail(err, VS_ERR_SHAPE, "%s: the EoMT head at '%s' is %zu wide, the backbone %zu",
                       vs_tensorfile_path(file->file), class_head, queries->shape[1], a->width);
    if (!queries || queries->ndim != 2 || queries->shape[0] == 0 || queries->shape[1] != a->width)
        return no_matrix(file, "queries.weight", err);
    if (!classes || classes->ndim != 2 || classes->shape[0] < 2 || classes->shape[1] != a->width)
        return no_matrix(file, "class_head.weight", err);
    a->head = VS_HEAD_EOMT;
    a->head_maps = 1;
    a->head_width = a->width;
    a->queries = queries->shape[0];
    a->classes = classes->shape[0] - 1;
    vs_status status = read_joint_blocks(a, file, err);
    if (status != VS_OK) return status;
    for (a->upscales = 0; a->upscales <= VS_MAX_UPSCALES; a->upscales++) {
        char name[48];
        snprintf(name, sizeof name, "upscale.%zu.conv1.weight", a->upscales);
        if (!find(file, class_head, name)) break;
    }
    if (a->upscales == 0 || a->upscales > VS_MAX_UPSCALES)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the EoMT head has %s upscale blocks, 1 to %d are expected",
                       vs_tensorfile_path(file->file), a->upscales ? "too many" : "no", VS_MAX_UPSCALES);
    return VS_OK;
}

/* "model.upscale.0.conv1" */
static void module_name(const char *class_head, const char *part, char *out, size_t size) {
    snprintf(out, size, "%.*s%s", outer_length(class_head), class_head, part);
}

/* out[c * rows + r] = in[r * cols + c], in the place of *values. */
static vs_status transpose(float **values, size_t rows, size_t cols, vs_error *err) {
    if (!*values) return VS_OK;
    float *out = vs_calloc(rows * cols, sizeof *out);
    if (!out) return vs_fail(err, VS_ERR_NOMEM, "no memory for the EoMT head");
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) out[j * rows + i] = (*values)[i * cols + j];
    free(*values);
    *values = out;
    return VS_OK;
}

/* A ConvTranspose2d's weight [in, out, 2, 2] as [4 out, in], its bias once for each of the four pixels. */
static vs_status as_linear(const vs_linear_slot *l, vs_error *err) {
    const size_t c = l->in;
    if (!*l->w) return VS_OK; /* shapes only, or missing */
    float *w = vs_calloc(4 * c * c, sizeof *w), *b = *l->b ? vs_calloc(4 * c, sizeof *b) : NULL;
    if (!w || (*l->b && !b)) {
        free(w);
        free(b);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for the EoMT head");
    }
    for (size_t pixel = 0; pixel < 4; pixel++)
        for (size_t o = 0; o < c; o++) {
            for (size_t i = 0; i < c; i++) w[(pixel * c + o) * c + i] = (*l->w)[(i * c + o) * 4 + pixel];
            if (b) b[pixel * c + o] = (*l->b)[o];
        }
    free(*l->w);
    free(*l->b);
    *l->w = w;
    *l->b = b;
    return VS_OK;
}

static vs_status read_upscale(const vs_reader *r, const char *module, size_t node, vs_error *err) {
    const vs_linear_slot up = vs_linear_slot_of(r->model, node);
    char key[256];
    vs_status status = vs_read_source(r, module, up.source, err);
    (void)snprintf(key, sizeof key, "%.240s.weight", module);
    if (status == VS_OK) status = vs_read_tensor(r, key, up.in, 4 * up.in, up.w, err);
    (void)snprintf(key, sizeof key, "%.240s.bias", module);
    if (status == VS_OK) status = vs_read_tensor(r, key, 1, up.in, up.b, err);
    return status == VS_OK ? as_linear(&up, err) : status;
}

vs_status vs_eomt_read_linear(const vs_reader *r, const char *class_head, size_t node, vs_error *err) {
    const vs_node *n = &r->model->graph->nodes[node];
    const vs_linear_slot slot = vs_linear_slot_of(r->model, node);
    char module[256];
    const char *const name = module;
    module_name(class_head, n->name + strlen("head."), module, sizeof module);
    if (n->kind >= VS_KIND_UP1) return read_upscale(r, module, node, err);
    return vs_read_linear(r, &name, 1, VS_BIAS_ALL, &slot, err);
}

vs_status vs_eomt_read_param(const vs_reader *r, const char *class_head, size_t param, vs_error *err) {
    const vs_param *p = &r->model->graph->params[param];
    float **to = &r->model->params[param];
    const char *local = p->name + strlen("head.");
    char key[256];
    module_name(class_head, strcmp(local, "queries") == 0 ? "queries.weight" : local, key, sizeof key);
    if (!vs_has_ending(local, ".conv2.weight")) return vs_read_tensor(r, key, p->rows, p->cols, to, err);
    vs_status status = vs_read_tensor(r, key, p->cols, p->rows, to, err); /* [C, 1, 3, 3]: tap by tap here */
    return status == VS_OK ? transpose(to, p->cols, p->rows, err) : status;
}
