/* What was taken from a checkpoint, in words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vitscope/vit.h"

static void add_head(vs_text *t, const vs_model *m) {
    const vs_arch *a = &m->arch;
    if (a->head == VS_HEAD_NONE) {
        vs_text_add(t, ", no head");
        return;
    }
    const vs_linear head = vs_model_linear(m, vs_graph_find(m->graph, VS_KIND_HEAD, -1));
    const char *name = head.out && head.source->count ? head.source->fqn[0] : NULL;
    const char *kind = a->head == VS_HEAD_EOMT ? "EoMT" : a->head == VS_HEAD_CLASSIFIER ? "classifier" : "segmentation";
    vs_text_add(t, ", head %s (%s, %zu classes)", name ? name : "", kind, a->classes);
}

/* Tensors of one reason after the other, each with its first name. */
static void add_left_out(vs_text *t, const vs_model *m) {
    enum { MOST_REASONS = 6 };
    const char *told[MOST_REASONS];
    size_t reasons = 0, rest = 0;
    for (size_t i = 0; i < m->tensor_count; i++) {
        const vs_tensor_use *use = &m->tensors[i];
        bool known = use->used || !use->reason;
        for (size_t k = 0; k < reasons && !known; k++) known = strcmp(told[k], use->reason) == 0;
        if (known) continue;
        if (reasons == MOST_REASONS) {
            rest++;
            continue;
        }
        size_t more = 0;
        for (size_t k = i + 1; k < m->tensor_count; k++)
            more += !m->tensors[k].used && m->tensors[k].reason && strcmp(m->tensors[k].reason, use->reason) == 0;
        vs_text_add(t, "%s%s", reasons ? "; " : "; left out: ", use->name);
        if (more) vs_text_add(t, " and %zu more", more);
        vs_text_add(t, " (%s)", use->reason);
        told[reasons++] = use->reason;
    }
    if (rest) vs_text_add(t, "; and %zu more", rest);
}

char *vs_model_taken(const vs_model *m) {
    const vs_arch *a = &m->arch;
    vs_text t = { 0 };
    vs_text_add(&t, "model: %s", a->layout ? a->layout : a->name);
    if (m->prefix && *m->prefix) vs_text_add(&t, " below '%.*s'", (int)(strlen(m->prefix) - 1), m->prefix);
    vs_text_add(&t, ", width %zu, %zu blocks, %zu heads%s", a->width, a->depth, a->heads,
                a->heads_guessed ? " (a guess from the width; model.heads says it)" : "");
    add_head(&t, m);
    add_left_out(&t, m);
    if (t.failed) {
        free(t.bytes);
        return NULL;
    }
    return t.bytes;
}
