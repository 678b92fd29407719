/* Operations on rows: patches, tokens, what a head takes of them. */
#include "graph/operations.h"

static size_t patches(const vs_node_work *o) { return o->grid_h * o->grid_w; }

vs_mat vs_image_of(const vs_node_work *o, vs_mat all, size_t image) {
    const size_t rows = all.rows / o->images;
    return vs_mat_view(o->backend, all, image * rows, rows, 0, all.cols);
}

vs_mat vs_parts_of(const vs_node_work *o, size_t value, vs_mat all, size_t image, size_t part, size_t end) {
    const vs_row_rule *r = vs_value_rule(o->graph, value);
    const size_t first = vs_rule_first(r, part, patches(o)), rows = vs_rule_first(r, end, patches(o)) - first;
    return vs_mat_view(o->backend, all, image * (all.rows / o->images) + first, rows, 0, all.cols);
}

static void copy(const vs_node_work *o, vs_mat from, vs_mat to) { o->backend->ops->copy(o->backend, from, to); }

void vs_run_patchify(const vs_node_work *o) {
    o->backend->ops->patchify(o->backend, o->in[0].p, o->images, o->grid_h, o->grid_w, o->node->patch, o->out);
}

void vs_run_tokens(const vs_node_work *o) {
    const vs_param *p = &o->graph->params[o->node->param[0]];
    o->backend->ops->tokens(o->backend, o->in[0], vs_mat_of(o->param[0], p->rows, p->cols), o->in[1], o->images, o->out);
}

/* The output may stand where the input does: it has more rows. */
void vs_run_join(const vs_node_work *o) {
    const vs_param *p = &o->graph->params[o->node->param[0]];
    const vs_mat kept = { o->scratch, o->in[0].rows, o->in[0].cols, o->in[0].cols };
    copy(o, o->in[0], kept);
    for (size_t i = 0; i < o->images; i++) {
        copy(o, vs_mat_of(o->param[0], p->rows, p->cols), vs_parts_of(o, o->node->out, o->out, i, 0, 1));
        copy(o, vs_image_of(o, kept, i),
             vs_parts_of(o, o->node->out, o->out, i, 1, vs_value_rule(o->graph, o->node->out)->part_count));
    }
}

/* The rows of the first input that the output has. */
static vs_mat chosen(const vs_node_work *o, size_t image) {
    const vs_row_rule *in = vs_value_rule(o->graph, o->node->in[0]), *out = vs_value_rule(o->graph, o->node->out);
    const size_t first = vs_rule_find(in, out);
    return vs_parts_of(o, o->node->in[0], o->in[0], image, first, first + out->part_count);
}

void vs_run_rows(const vs_node_work *o) {
    for (size_t i = 0; i < o->images; i++) copy(o, chosen(o, i), vs_image_of(o, o->out, i));
}

void vs_run_layernorm(const vs_node_work *o) {
    const vs_backend *be = o->backend;
    if (o->in[0].rows == o->out.rows) {
        be->ops->layernorm(be, o->in[0], o->param[0], o->param[1], o->node->eps, o->out);
        return;
    }
    for (size_t i = 0; i < o->images; i++)
        be->ops->layernorm(be, chosen(o, i), o->param[0], o->param[1], o->node->eps, vs_image_of(o, o->out, i));
}

void vs_run_stack(const vs_node_work *o) {
    size_t part = 0;
    for (size_t k = 0; k < o->node->in_count; k++) {
        const size_t end = part + vs_value_rule(o->graph, o->node->in[k])->part_count;
        for (size_t i = 0; i < o->images; i++)
            copy(o, vs_image_of(o, o->in[k], i), vs_parts_of(o, o->node->out, o->out, i, part, end));
        part = end;
    }
}

void vs_run_concat(const vs_node_work *o) {
    size_t column = 0;
    for (size_t k = 0; k < o->node->in_count; k++) {
        copy(o, o->in[k], vs_mat_view(o->backend, o->out, 0, o->out.rows, column, o->in[k].cols));
        column += o->in[k].cols;
    }
}

/* A product with a matrix of 1/N: every row of it is the mean. */
void vs_run_mean(const vs_node_work *o) {
    const size_t part = vs_rule_patches(vs_value_rule(o->graph, o->node->in[0]));
    const vs_mat all = { o->scratch, patches(o), o->out.cols, o->out.cols };
    for (size_t i = 0; i < o->images; i++) {
        o->backend->ops->attention_apply(o->backend, o->in[1], vs_parts_of(o, o->node->in[0], o->in[0], i, part, part + 1), 1, 1,
                                         all);
        copy(o, vs_mat_view(o->backend, all, 0, 1, 0, all.cols), vs_image_of(o, o->out, i));
    }
}
