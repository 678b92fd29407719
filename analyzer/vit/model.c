#include <stdlib.h>

#include "vitscope/vit.h"

void vs_model_free(vs_model *m) {
    if (!m) return;
    for (size_t i = 0; m->params && i < m->graph->param_count; i++) free(m->params[i]);
    for (size_t i = 0; m->sources && i < m->graph->node_count; i++)
        for (size_t k = 0; k < m->sources[i].count; k++) free(m->sources[i].fqn[k]);
    free(m->params);
    free(m->sources);
    vs_graph_free(m->graph);
    for (size_t i = 0; i < m->tensor_count; i++) free(m->tensors[i].name);
    free(m->tensors);
    for (size_t i = 0; i < m->missing_count; i++) free(m->missing[i]);
    free(m->missing);
    for (size_t i = 0; i < m->class_name_count; i++) free(m->class_names[i]);
    free(m->class_names);
    free(m->class_ids);
    free(m->path);
    free(m->prefix);
    free(m->head_note);
    free(m);
}

size_t vs_arch_usual_grid(const vs_arch *a) {
    enum { USUAL_PIXELS = 224 };
    if (a->grid) return a->grid;
    return a->patch < USUAL_PIXELS ? USUAL_PIXELS / a->patch : 1;
}

size_t vs_arch_fc1_width(const vs_arch *a) { return a->ffn == VS_FFN_SWIGLU ? 2 * a->hidden : a->hidden; }

vs_linear vs_model_linear(const vs_model *m, size_t node) {
    if (node == VS_NONE || m->graph->nodes[node].op != VS_OP_LINEAR) return (vs_linear){ 0 };
    const vs_node *n = &m->graph->nodes[node];
    const vs_param *p = &m->graph->params[n->param[0]];
    return (vs_linear){ m->params[n->param[0]], n->param[1] == VS_NONE ? NULL : m->params[n->param[1]], p->rows, p->cols,
                        &m->sources[node] };
}

float **vs_model_param(const vs_model *m, const char *name) {
    const size_t param = vs_graph_param(m->graph, name);
    return param == VS_NONE ? NULL : &m->params[param];
}

const vs_row_rule *vs_graph_tokens(const vs_graph *g) {
    size_t node = 0;
    while (node + 1 < g->node_count && g->nodes[node].op != VS_OP_TOKENS) node++;
    return vs_value_rule(g, g->nodes[node].out);
}

size_t vs_graph_prefix(const vs_graph *g) { return vs_rule_first(vs_graph_tokens(g), vs_rule_patches(vs_graph_tokens(g)), 1); }

bool vs_arch_gives_maps(const vs_arch *a) { return a->head != VS_HEAD_NONE && a->head != VS_HEAD_CLASSIFIER; }

size_t vs_arch_logits_side(const vs_arch *a, size_t side) { return side << a->upscales; }

size_t vs_arch_tokens(const vs_arch *a, size_t h, size_t w) { return 1 + a->registers + h * w; }

size_t vs_largest_weight(const vs_graph *g) {
    size_t largest = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].op != VS_OP_LINEAR) continue;
        const vs_param *p = &g->params[g->nodes[i].param[0]];
        if (p->rows * p->cols > largest) largest = p->rows * p->cols;
    }
    return largest;
}
