#include "study/footprint.h"

#include <stdio.h>

#include "half/half.h"
#include "run/state.h"
#include "sens/analysis_run.h"

static bool has_half(const vs_config *c) {
    for (size_t i = 0; i < c->state_count; i++)
        if (c->states[i].kind == VS_STATE_FP16) return true;
    return false;
}

/* Rounded to the format, and to its digits alone (docs/fp16-reference.md 4.3). Both are kept as reals. */
static const double HALF_SETS = 2;

static double linear_weights(const vs_graph *g) {
    double numbers = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].op != VS_OP_LINEAR || g->nodes[i].block < 0) continue;
        const vs_param *w = &g->params[g->nodes[i].param[0]];
        numbers += (double)w->rows * (double)w->cols;
    }
    return numbers;
}

/* A session of the half-precision diagnosis: all rows twice. */
static vs_status half_session_bytes(size_t *bytes, const vs_footprint_options *o, const vs_weights *weights, size_t patches,
                                    vs_error *err) {
    *bytes = 0;
    if (!o->config->fp16.set) return VS_OK;
    const vs_session_options session = { .images = o->batch,
                                         .height = o->height,
                                         .width = o->width,
                                         .workspaces = 1,
                                         .streams = 1,
                                         .scratch = vs_half_scratch(o->model->graph, patches, o->batch) };
    return vs_session_bytes(bytes, weights, &session, err);
}

vs_status vs_footprint_estimate(vs_footprint *f, const vs_footprint_options *o, vs_error *err) {
    const vs_arch *a = &o->model->arch;
    const vs_backend *be = o->backend;
    const double real = (double)be->scalar;
    const bool probabilities = o->config->recipe.p != VS_P_NONE;
    const size_t patches = (o->height / a->patch) * (o->width / a->patch);
    const vs_weights weights = { .backend = be, .model = o->model };
    const vs_session_options session = { .images = o->batch,
                                         .height = o->height,
                                         .width = o->width,
                                         .workspaces = VS_ANALYSIS_WORKSPACES,
                                         .streams = o->config->state_count,
                                         .scratch = vs_analysis_scratch_of(probabilities, has_half(o->config))(o->model->graph,
                                                                                                               patches, o->batch),
                                         .probabilities = probabilities };
    size_t bytes = 0, half = 0;
    vs_status status = vs_session_bytes(&bytes, &weights, &session, err);
    if (status == VS_OK) status = half_session_bytes(&half, o, &weights, patches, err);
    if (status != VS_OK) return status;
    if (half > bytes) bytes = half;
    const double parameters = (double)o->model->parameters;
    *f = (vs_footprint){ .model = parameters * sizeof(float),
                         .weights = be->host_memory && be->scalar == VS_SCALAR_F32 ? 0 : parameters * real,
                         .state_count = vs_states_count_variants(o->config, o->config->data.analysis.set),
                         .session_count = o->threads,
                         .sessions = (double)bytes * (double)o->threads,
                         .counters = (double)(o->rows * o->config->state_count * VS_SIDE_COUNT) * VS_HIST_BINS * 8 };
    f->states = (double)f->state_count * linear_weights(o->model->graph) * real;
    if (o->config->fp16.set || has_half(o->config)) f->half_weights = HALF_SETS * parameters * real;
    return VS_OK;
}

double vs_footprint_total(const vs_footprint *f) {
    return f->model + f->weights + f->states + f->half_weights + f->sessions + f->counters;
}

void vs_footprint_text(const vs_footprint *f, const vs_backend *be, char *text, size_t size) {
    const double giga = 1e9, total = vs_footprint_total(f), there = be->host_memory ? total : total - f->model;
    int used = snprintf(text, size, "memory: model %.1f GB", f->model / giga);
    const struct {
        const char *what;
        size_t count;
        double bytes;
    } parts[] = { { "its weights on the backend", 0, f->weights },
                  { "quantized states", f->state_count, f->states },
                  { "weights in half precision", 0, f->half_weights },
                  { "sessions", f->session_count, f->sessions },
                  { "counters", 0, f->counters } };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (used < 0 || (size_t)used >= size || !(parts[i].bytes > 0)) continue;
        char count[24] = "";
        if (parts[i].count) snprintf(count, sizeof count, "%zu ", parts[i].count);
        used += snprintf(text + used, size - (size_t)used, ", %s%s %.1f GB", count, parts[i].what, parts[i].bytes / giga);
    }
    if (used < 0 || (size_t)used >= size) return;
    if (be->host_memory)
        snprintf(text + used, size - (size_t)used, "; %.1f GB in all", total / giga);
    else
        snprintf(text + used, size - (size_t)used, "; %.1f GB here, %.1f GB on %s", f->model / giga, there / giga, be->name);
}
