/* vitscope inspect and vitscope layers. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/util.h"
#include "json/json_text.h"

static const char *head_name(const vs_arch *a) {
    if (a->head == VS_HEAD_CLASSIFIER) return a->head_mean ? "classifier (class tokens and mean of patches)" : "classifier";
    if (a->head == VS_HEAD_EOMT) return "EoMT (mask classification)";
    if (a->head != VS_HEAD_SEGMENTATION) return "none";
    if (a->head_maps > 1) return "segmentation, ms (BatchNorm + 1x1 on four blocks)";
    return a->head_norm ? "segmentation, linear (BatchNorm + 1x1)" : "segmentation, linear (1x1)";
}

static const char *position_name(const vs_arch *a) {
    switch (a->position) {
    case VS_POSITION_ROPE: return a->rope_theta > 0 ? "rotary, periods computed" : "rotary, periods from the file";
    case VS_POSITION_OFFSET: return "bicubic, offset 0.1 (DINOv2 hub)";
    case VS_POSITION_SIZE: return "bicubic, by size (Hugging Face)";
    default: return "bicubic, antialiased, by size";
    }
}

static const char *ffn_name(const vs_arch *a) {
    return a->ffn == VS_FFN_SWIGLU ? "SwiGLU" : a->ffn == VS_FFN_GELU_TANH ? "MLP, GELU tanh" : "MLP, GELU erf";
}

static size_t count_ignored(const vs_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < m->tensor_count; i++) n += !m->tensors[i].used;
    return n;
}

/* What the folder says, where it says something. */
static void print_input(const vs_input *in) {
    if (!in->from && !in->height) return;
    printf("  input         ");
    if (in->height) printf("%zux%zu px%s", in->height, in->width, in->from ? ", " : "");
    if (in->from)
        printf("mean %.6g %.6g %.6g, std %.6g %.6g %.6g (%s)", in->mean[0], in->mean[1], in->mean[2], in->std[0], in->std[1],
               in->std[2], in->from);
    printf("\n");
}

static void print_text(const vs_model *m, const vs_input *in) {
    const vs_arch *a = &m->arch;
    vs_cli_name("", m->path, NULL);
    printf("  layout        %s\n  architecture  %s\n", a->layout, a->name);
    if (*m->prefix) printf("  prefix        %.*s\n", (int)(strlen(m->prefix) - 1), m->prefix);
    printf("  geometry      width %zu, %zu blocks, ", a->width, a->depth);
    if (a->heads)
        printf("%zu heads of %zu%s", a->heads, a->width / a->heads, a->heads_guessed ? " (a guess from the width)" : "");
    else
        printf("heads unknown (set model.heads)");
    printf(", hidden %zu, patch %zu, %zu registers%s\n", a->hidden, a->patch, a->registers,
           a->distilled ? " (distillation token)" : "");
    printf("  feed-forward  %s\n", ffn_name(a));
    if (a->grid)
        printf("  positions     %zux%zu grid (%zu px), %s\n", a->grid, a->grid, a->grid * a->patch, position_name(a));
    else
        printf("  positions     %s\n", position_name(a));
    printf("  LayerScale    %s, LayerNorm eps %g%s\n", a->layer_scale ? "yes" : "no", a->eps,
           a->prefix_norm ? ", a final norm of its own for class and register tokens" : "");
    printf("  head          %s", head_name(a));
    if (a->head != VS_HEAD_NONE) printf(", %zu classes", a->classes);
    if (a->head == VS_HEAD_EOMT)
        printf(", %zu queries through the last %zu blocks, %zu upscale blocks", a->queries, a->joint_blocks, a->upscales);
    if (m->head_note) printf(" (%s)", m->head_note);
    printf("\n");
    print_input(in);
    printf("  parameters    %zu\n  tensors       %s\n", m->parameters, m->dtypes);
    const size_t ignored = count_ignored(m);
    printf("  used          %zu of %zu%s\n", m->tensor_count - ignored, m->tensor_count, ignored ? "; ignored:" : "");
    for (size_t i = 0; i < m->tensor_count; i++)
        if (!m->tensors[i].used) vs_cli_name("    ", m->tensors[i].name, m->tensors[i].reason);
    if (m->missing_count) printf("  missing       %zu:\n", m->missing_count);
    for (size_t i = 0; i < m->missing_count; i++) vs_cli_name("    ", m->missing[i], NULL);
}

static json_t *make_json(const vs_model *m) {
    const vs_arch *a = &m->arch;
    json_t *ignored = json_array(), *missing = json_array();
    for (size_t i = 0; i < m->tensor_count; i++)
        if (!m->tensors[i].used) json_array_append_new(ignored, json_string(m->tensors[i].name));
    for (size_t i = 0; i < m->missing_count; i++) json_array_append_new(missing, json_string(m->missing[i]));
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:I, s:s, s:b, s:f, s:s, s:I, s:I, s:s, s:I, s:o, "
                     "s:o, s:s, s:b}",
                     "file", m->path, "layout", a->layout, "arch", a->name, "width", (json_int_t)a->width, "depth",
                     (json_int_t)a->depth, "heads", (json_int_t)a->heads, "hidden", (json_int_t)a->hidden, "patch",
                     (json_int_t)a->patch, "registers", (json_int_t)a->registers, "distilled", (int)a->distilled, "ffn",
                     a->ffn == VS_FFN_SWIGLU      ? "swiglu"
                     : a->ffn == VS_FFN_GELU_TANH ? "gelu_tanh"
                                                  : "gelu",
                     "grid", (json_int_t)a->grid, "positions", position_name(a), "layer_scale", (int)a->layer_scale, "eps",
                     a->eps, "head",
                     a->head == VS_HEAD_SEGMENTATION ? a->head_maps > 1 ? "segmentation_ms" : "segmentation"
                     : a->head == VS_HEAD_CLASSIFIER ? "classifier"
                     : a->head == VS_HEAD_EOMT       ? "eomt"
                                                     : "none",
                     "classes", (json_int_t)a->classes, "parameters", (json_int_t)m->parameters, "dtypes", m->dtypes, "used",
                     (json_int_t)(m->tensor_count - count_ignored(m)), "ignored", ignored, "missing", missing, "prefix",
                     m->prefix, "heads_guessed", (int)a->heads_guessed);
}

int vs_cli_inspect(const vs_command_line *line) {
    json_t *all = line->json ? json_array() : NULL;
    int code = 0;
    for (size_t i = 0; i < line->operand_count; i++) {
        vs_error err = { 0 };
        vs_model *m = NULL;
        const vs_model_options options = { .shapes_only = true };
        vs_input input = { .from = NULL };
        vs_status status = vs_model_load(&m, line->operands[i], &options, &err);
        if (status == VS_OK) status = vs_input_read(&input, line->operands[i], &err);
        if (status != VS_OK) {
            const int failed = vs_cli_fail(status, &err);
            if (code == 0) code = failed;
            vs_model_free(m);
            continue;
        }
        if (all)
            json_array_append_new(all, make_json(m));
        else
            print_text(m, &input);
        if (m->missing_count && code == 0) {
            code = vs_cli_fail(vs_fail(&err, VS_ERR_FORMAT, "%s: %zu tensor%s missing, the first is '%s'", m->path,
                                       m->missing_count, m->missing_count > 1 ? "s are" : " is", m->missing[0]),
                               &err);
        }
        vs_model_free(m);
    }
    if (all) {
        char *text = vs_json_text(line->operand_count == 1 && json_array_size(all) == 1 ? json_array_get(all, 0) : all,
                                  JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
        if (text) puts(text);
        free(text);
        json_decref(all);
    }
    return code;
}

static json_t *layer_json(const vs_point *p, const char *const *names, size_t parts) {
    json_t *fqn = json_array();
    for (size_t i = 0; i < parts; i++) json_array_append_new(fqn, json_string(names[i]));
    return json_pack("{s:s, s:o, s:I}", "layer", p->name, "fqn", fqn, "macs", (json_int_t)p->macs);
}

static void print_layer(const vs_point *p, const char *const *names, size_t parts) {
    vs_text fqn = { 0 };
    for (size_t i = 0; i < parts; i++) vs_text_add(&fqn, "%s%s", i ? ";" : "", names[i]);
    printf("%-28s ", p->name);
    vs_cli_name("", fqn.bytes && !fqn.failed ? fqn.bytes : "", NULL);
    free(fqn.bytes);
}

static vs_status list_layers(const vs_command_line *line, vs_error *err) {
    vs_config *config = NULL;
    vs_model *m = NULL;
    vs_point *points = NULL;
    size_t count = 0;
    vs_status status = vs_config_load(&config, line->operands[0], line->overrides, line->override_count, err);
    if (status == VS_OK) {
        const vs_model_options options = vs_study_model_options(config, true);
        status = vs_model_load(&m, config->model.checkpoint, &options, err);
    }
    if (status == VS_OK)
        status = vs_points_make(m, vs_arch_usual_grid(&m->arch) * vs_arch_usual_grid(&m->arch), false, &points, &count, err);
    json_t *all = line->json ? json_array() : NULL;
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        const vs_point *p = &points[i];
        const vs_linear l = vs_model_linear(m, vs_graph_linear_of(m->graph, p->node));
        if (!l.out) continue;
        const char *names[VS_MAX_PARTS];
        const size_t parts = vs_linear_names(&l, p->kind, names);
        if (all)
            json_array_append_new(all, layer_json(p, names, parts));
        else
            print_layer(p, names, parts);
    }
    if (all) {
        char *text = vs_json_text(all, JSON_INDENT(1) | JSON_ENSURE_ASCII);
        if (text) puts(text);
        free(text);
        json_decref(all);
    }
    free(points);
    vs_model_free(m);
    vs_config_free(config);
    return status;
}

int vs_cli_layers(const vs_command_line *line) {
    vs_error err = { 0 };
    const vs_status status = list_layers(line, &err);
    return status == VS_OK ? 0 : vs_cli_fail(status, &err);
}
