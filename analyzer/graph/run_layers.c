/* Layers and activations (docs/vit-models.md 2.2 to 2.6, 5). */
#include "graph/operations.h"

void vs_run_linear(const vs_node_work *o) {
    const vs_backend *be = o->backend;
    const vs_param *p = &o->graph->params[o->node->param[0]];
    const vs_mat w = vs_mat_of(o->param[0], p->rows, p->cols);
    if (!o->node->by_image) {
        be->ops->linear(be, o->in[0], w, o->param[1], o->out);
        return;
    }
    for (size_t i = 0; i < o->images; i++)
        be->ops->linear(be, vs_image_of(o, o->in[0], i), w, o->param[1], vs_image_of(o, o->out, i));
}

void vs_run_gelu(const vs_node_work *o) { o->backend->ops->gelu(o->backend, o->in[0], o->out); }
void vs_run_gelu_tanh(const vs_node_work *o) { o->backend->ops->gelu_tanh(o->backend, o->in[0], o->out); }
void vs_run_silu_mul(const vs_node_work *o) { o->backend->ops->silu_mul(o->backend, o->in[0], o->out); }
void vs_run_softmax(const vs_node_work *o) { o->backend->ops->softmax_rows(o->backend, o->in[0], o->out); }

void vs_run_scale_add(const vs_node_work *o) { o->backend->ops->scale_add(o->backend, o->in[0], o->in[1], o->param[0], o->out); }

void vs_run_affine(const vs_node_work *o) { o->backend->ops->affine(o->backend, o->in[0], o->param[0], o->param[1], o->out); }

void vs_run_unfold(const vs_node_work *o) {
    const size_t level = o->node->level;
    o->backend->ops->unfold2x2(o->backend, o->in[0], o->images, o->grid_h << level, o->grid_w << level, o->out);
}

void vs_run_depthwise(const vs_node_work *o) {
    const size_t level = o->node->level;
    o->backend->ops->depthwise3x3(o->backend, o->in[0], o->param[0], o->images, o->grid_h << level, o->grid_w << level, o->out);
}

void vs_run_product(const vs_node_work *o) {
    for (size_t i = 0; i < o->images; i++)
        o->backend->ops->linear(o->backend, vs_image_of(o, o->in[0], i), vs_image_of(o, o->in[1], i), NULL,
                                vs_image_of(o, o->out, i));
}

void vs_run_scores(const vs_node_work *o) { o->backend->ops->mask_scores(o->backend, o->in[0], o->in[1], o->images, o->out); }
