#include "task/logits.h"

#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* Class probabilities stand behind the mask logits, on a multiple of their size. */
static size_t probs_offset(size_t rows, size_t cols, vs_scalar scalar) {
    return (rows * cols * (size_t)scalar + sizeof(double) - 1) / sizeof(double) * sizeof(double);
}

static vs_mat image_of(const vs_backend *be, vs_mat all, size_t images, size_t image) {
    const size_t rows = all.rows / images;
    return vs_mat_view(be, all, image * rows, rows, 0, all.cols);
}

/* Reals in place to float64: from the last on, as those are wider. */
static void widen(char *values, vs_scalar scalar, size_t count) {
    if (scalar == VS_SCALAR_F64) return;
    for (size_t i = count; i-- > 0;) {
        float from = 0;
        memcpy(&from, values + i * sizeof from, sizeof from);
        const double to = (double)from;
        memcpy(values + i * sizeof to, &to, sizeof to);
    }
}

/* The node that scores pixels by masks and classes, where the model's output is made so; NULL: it is logits. */
static const vs_node *scoring_of(const vs_graph *g) {
    const vs_node *n = &g->nodes[g->values[g->output].producer];
    return n->op == VS_OP_SCORES ? n : NULL;
}

bool vs_logits_are_masks(const vs_graph *g) { return scoring_of(g) != NULL; }

vs_status vs_logits_download(void **out, const vs_backend *be, const vs_model *m, const vs_session *s, size_t images,
                             size_t image, vs_error *err) {
    const vs_arch *a = &m->arch;
    const vs_node *scores = scoring_of(m->graph);
    const vs_mat logits = image_of(be, scores ? vs_session_value(s, scores->in[0], 0, 0) : vs_session_output(s), images, image);
    const size_t room = probs_offset(logits.rows, logits.cols, be->scalar), probs = scores ? a->queries * a->classes : 0;
    char *block = *out = vs_calloc(room + probs * sizeof(double), 1);
    if (!block) return vs_fail(err, VS_ERR_NOMEM, "no memory for logits");
    vs_status status = be->ops->download(be, block, logits, err);
    if (status == VS_OK && scores) {
        const vs_mat all = image_of(be, vs_session_value(s, scores->in[1], 0, 0), images, image);
        status = be->ops->download(be, block + room, vs_mat_view(be, all, 0, all.rows, 0, a->classes), err);
    }
    const vs_status synced = be->ops->sync(be, err);
    if (status == VS_OK) status = synced;
    if (status == VS_OK && scores) widen(block + room, be->scalar, probs);
    return status;
}

vs_window_logits vs_logits_of_window(const void *block, vs_scalar scalar, const vs_model *m, vs_window window, size_t h,
                                     size_t w) {
    const vs_arch *a = &m->arch;
    vs_window_logits l = {
        .window = window, .logits = block, .scalar = scalar, .h = vs_arch_logits_side(a, h), .w = vs_arch_logits_side(a, w)
    };
    if (!scoring_of(m->graph)) return l;
    l.queries = a->queries;
    l.class_probs = (const double *)(const void *)((const char *)block + probs_offset(l.h * l.w, l.queries, scalar));
    return l;
}
