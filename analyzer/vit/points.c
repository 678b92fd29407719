#include <stdio.h>

#include "util/util.h"
#include "vitscope/vit.h"

const char *vs_arch_kind_name(const vs_arch *a, vs_kind kind) {
    if (a->ffn == VS_FFN_SWIGLU && kind == VS_KIND_FC1) return "mlp.w12";
    if (a->ffn == VS_FFN_SWIGLU && kind == VS_KIND_FC2) return "mlp.w3";
    return vs_kind_name(kind);
}

size_t vs_linear_names(const vs_linear *l, vs_kind kind, const char *names[VS_MAX_PARTS]) {
    const vs_source *s = l->source;
    if (s->count == 3 && kind >= VS_KIND_Q && kind <= VS_KIND_V) {
        names[0] = s->fqn[kind - VS_KIND_Q];
        return 1;
    }
    for (size_t i = 0; i < s->count; i++) names[i] = s->fqn[i];
    return s->count;
}

vs_status vs_points_make(const vs_model *m, size_t patches, bool probabilities, vs_point **points, size_t *count, vs_error *err) {
    const vs_graph *g = m->graph;
    *count = 0;
    *points = vs_calloc(g->node_count, sizeof **points);
    if (!*points) return vs_fail(err, VS_ERR_NOMEM, "no memory for the list of layers");
    for (size_t i = 0; i < g->node_count; i++) {
        const vs_node *n = &g->nodes[i];
        if (n->shown == VS_SHOW_NOTHING || (g->values[n->out].optional && !probabilities)) continue;
        vs_point *p = &(*points)[(*count)++];
        *p = (vs_point){ .kind = n->kind, .block = n->block, .node = i, .macs = vs_node_macs(g, i, patches) };
        (void)snprintf(p->name, sizeof p->name, "%s", n->label);
    }
    return VS_OK;
}
