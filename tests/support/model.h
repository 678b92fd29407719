/* What stands in a model, by the names of tables. */
#ifndef VS_SUPPORT_MODEL_H
#define VS_SUPPORT_MODEL_H

#include "support/cmocka_all.h"
#include "vitscope/vit.h"

static inline vs_linear linear_of(const vs_model *m, vs_kind kind, int block) {
    return vs_model_linear(m, vs_graph_find(m->graph, kind, block));
}

static inline const float *param_of(const vs_model *m, const char *name) {
    const size_t param = vs_graph_param(m->graph, name);
    if (param == VS_NONE) fail_msg("there is no '%s'", name);
    return m->params[param];
}

/* What a linear reads; the head's: its features. */
static inline vs_mat input_of(const vs_session *s, const vs_model *m, vs_kind kind, int block) {
    return vs_session_value(s, m->graph->nodes[vs_graph_find(m->graph, kind, block)].in[0], 0, 0);
}

#endif
