#include <stdlib.h>
#include <string.h>

#include "vitscope/graph.h"

void vs_graph_free(vs_graph *g) {
    if (!g) return;
    free(g->rules);
    free(g->values);
    free(g->params);
    free(g->nodes);
    free(g->segments);
    free(g->sites);
    free(g);
}

size_t vs_graph_find(const vs_graph *g, vs_kind kind, int block) {
    for (size_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].kind == kind && g->nodes[i].block == block) return i;
    return VS_NONE;
}

size_t vs_graph_param(const vs_graph *g, const char *name) {
    for (size_t i = 0; i < g->param_count; i++)
        if (strcmp(g->params[i].name, name) == 0) return i;
    return VS_NONE;
}

size_t vs_graph_linear_of(const vs_graph *g, size_t node) {
    while (node != VS_NONE && g->nodes[node].op != VS_OP_LINEAR) {
        const vs_op op = g->nodes[node].op;
        if (op != VS_OP_OPERAND && op != VS_OP_ROPE && op != VS_OP_PROBS) return VS_NONE;
        const vs_value *v = &g->values[g->nodes[node].in[0]];
        node = v->view != VS_NONE ? g->values[v->view].producer : v->producer;
    }
    return node;
}

/* Whether a node reads a value, or columns of it. */
static bool reads(const vs_graph *g, const vs_node *n, size_t value) {
    for (size_t i = 0; i < n->in_count; i++) {
        size_t x = n->in[i];
        while (x != value && g->values[x].view != VS_NONE) x = g->values[x].view;
        if (x == value) return true;
    }
    return false;
}

static bool shares_param(const vs_node *a, const vs_node *b) {
    for (size_t i = 0; i < VS_NODE_PARAMS; i++)
        for (size_t k = 0; k < VS_NODE_PARAMS && a->param[i] != VS_NONE; k++)
            if (a->param[i] == b->param[k]) return true;
    return false;
}

size_t vs_graph_norm_of(const vs_graph *g, size_t node) {
    const size_t x = g->nodes[node].in[0], from = g->values[x].producer;
    if (from == VS_NONE || g->nodes[from].op != VS_OP_LAYERNORM) return VS_NONE;
    for (size_t i = 0; i < g->node_count; i++)
        if ((i != node && reads(g, &g->nodes[i], x)) || (i != from && shares_param(&g->nodes[from], &g->nodes[i])))
            return VS_NONE;
    return from;
}

size_t vs_graph_attention_of(const vs_graph *g, size_t node) {
    while (node < g->node_count && g->nodes[node].op != VS_OP_ATTENTION) node++;
    return node < g->node_count ? node : VS_NONE;
}

size_t vs_graph_block(const vs_graph *g, size_t block) {
    (void)g;
    return 1 + block; /* behind the embedding */
}

size_t vs_graph_given(const vs_graph *g, vs_given given) {
    for (size_t i = 0; i < g->value_count; i++)
        if (g->values[i].given == given) return i;
    return VS_NONE;
}

const vs_row_rule *vs_value_rule(const vs_graph *g, size_t value) { return &g->rules[g->values[value].rows]; }

size_t vs_value_rows(const vs_graph *g, size_t value, size_t patches) { return vs_rule_rows(vs_value_rule(g, value), patches); }

size_t vs_value_cols(const vs_graph *g, size_t value, size_t patches) {
    const vs_extent e = g->values[value].cols;
    return e.fixed + e.cells * patches;
}

size_t vs_graph_site_reals(const vs_graph *g, size_t patches, bool input) {
    size_t most = 0;
    for (size_t i = 0; i < g->site_count; i++) {
        const vs_node *n = &g->nodes[g->sites[i].node];
        const size_t value = input ? n->in[0] : n->out,
                     reals = vs_value_rows(g, value, patches) * vs_value_cols(g, value, patches);
        if (!g->values[value].optional && reals > most) most = reals;
    }
    return most;
}

/* ---- labels */

static const char *const kind_names[] = {
    [VS_KIND_PATCH_EMBED] = "patch_embed.proj",
    [VS_KIND_EMBED] = "embed",
    [VS_KIND_QKV] = "attn.qkv",
    [VS_KIND_Q] = "attn.q",
    [VS_KIND_K] = "attn.k",
    [VS_KIND_V] = "attn.v",
    [VS_KIND_P] = "attn.p",
    [VS_KIND_PROJ] = "attn.proj",
    [VS_KIND_FC1] = "mlp.fc1",
    [VS_KIND_FC2] = "mlp.fc2",
    [VS_KIND_BLOCK] = "block",
    [VS_KIND_NORM] = "norm",
    [VS_KIND_HEAD] = "head",
    [VS_KIND_MASK1] = "head.mask_head.0",
    [VS_KIND_MASK2] = "head.mask_head.2",
    [VS_KIND_MASK3] = "head.mask_head.4",
    [VS_KIND_UP1] = "head.upscale.0.conv1",
    [VS_KIND_UP2] = "head.upscale.1.conv1",
    [VS_KIND_UP3] = "head.upscale.2.conv1",
    [VS_KIND_MASKS] = "masks",
    [VS_KIND_LOGITS] = "logits",
    [VS_KIND_NONE] = "",
};

const char *vs_kind_name(vs_kind kind) { return kind_names[kind]; }

bool vs_kind_is_operand(vs_kind kind) { return kind >= VS_KIND_Q && kind <= VS_KIND_P; }

bool vs_kind_is_head(vs_kind kind) { return kind >= VS_KIND_HEAD && kind <= VS_KIND_UP3; }

bool vs_kind_is_linear(vs_kind kind) {
    return kind == VS_KIND_PATCH_EMBED || kind == VS_KIND_QKV || kind == VS_KIND_PROJ || kind == VS_KIND_FC1 ||
           kind == VS_KIND_FC2 || vs_kind_is_head(kind);
}
