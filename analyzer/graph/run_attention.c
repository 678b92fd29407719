/* Attention (docs/vit-models.md 2.4, 2.5). */
#include <math.h>

#include "graph/operations.h"

static double score_scale(const vs_node_work *o) {
    const size_t width = o->in[0].cols / o->node->heads;
    return 1.0 / sqrt((double)width);
}

void vs_run_rope(const vs_node_work *o) {
    o->backend->ops->rope(o->backend, o->in[0], o->in[1], o->in[2], o->images, o->node->heads, o->out);
}

/* Taps change it in place. */
void vs_run_operand(const vs_node_work *o) {
    if (o->in[0].p != o->out.p) o->backend->ops->copy(o->backend, o->in[0], o->out);
}

void vs_run_probs(const vs_node_work *o) {
    o->backend->ops->attention_probs(o->backend, o->in[0], o->in[1], o->images, o->node->heads, score_scale(o), o->out);
}

void vs_run_attention(const vs_node_work *o) {
    const vs_backend *be = o->backend;
    if (o->in[3].p)
        be->ops->attention_apply(be, o->in[3], o->in[2], o->images, o->node->heads, o->out);
    else
        be->ops->attention(be, o->in[0], o->in[1], o->in[2], o->images, o->node->heads, score_scale(o), o->scratch, o->out);
}
