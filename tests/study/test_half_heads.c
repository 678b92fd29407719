/* The half-precision diagnosis of models with every kind of output: a residual stream that half cannot hold is found, and the
 * list that restores the output holds what its entries say. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/eomt_file.h"
#include "support/random_model.h"
#include "support/small_study.h"

enum { CLASSES = 7, SIZE = 112 };

static char folder[256];

typedef struct variant {
    const char *geometry; /* NULL: EoMT, from a file */
    vs_head_kind head;
    size_t maps;
    bool mean;
} variant;

static void scale_values(const vs_model *m, size_t param, float factor) {
    const vs_param *p = &m->graph->params[param];
    for (size_t i = 0; m->params[param] && i < p->rows * p->cols; i++) m->params[param][i] *= factor;
}

/* What a block adds, from the middle of the model on: weights stay within half's range, their products do not. */
static void scale_stream(const vs_model *m) {
    for (size_t b = m->arch.depth / 2; b < m->arch.depth; b++) {
        const vs_node *fc2 = &m->graph->nodes[vs_graph_find(m->graph, VS_KIND_FC2, (int)b)];
        const vs_node *add = &m->graph->nodes[vs_graph_find(m->graph, VS_KIND_BLOCK, (int)b)];
        const bool scaled = add->param[0] != VS_NONE;
        for (size_t i = 0; i < 2; i++) scale_values(m, fc2->param[i], scaled ? 64 : 1 << 20);
        for (size_t i = 0; scaled && i < m->arch.width; i++) m->params[add->param[0]][i] = 1 << 15;
    }
}

static vs_model *make_model(const variant *v) {
    if (!v->geometry) return load_small_eomt(folder);
    vs_arch a = arch_of_geometry(v->geometry, strstr(v->geometry, "14") ? SIZE / 14 : SIZE / 16);
    a.head = v->head;
    a.head_maps = v->maps;
    a.head_mean = v->mean;
    a.head_width = (v->maps + v->mean) * a.width;
    a.classes = v->head == VS_HEAD_NONE ? 0 : CLASSES;
    return random_model(&a, 4);
}

static void check_model(const variant *v) {
    char *text = vs_format("version: 1\nname: heads\nmodel: {checkpoint: none.safetensors}\n"
                           "data: {calibration: {scenes: {seed: 2, count: 1, size: %d}}, "
                           "analysis: {scenes: {seed: 3, count: 2, size: %d}}}\n"
                           "states: [fp32]\nanalyze: {recipes: [], cumulative: false}\n"
                           "fp16: {policies: [fused], scale: after}\n",
                           SIZE, SIZE);
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_study s;
    assert_non_null(text);
    assert_int_equal(vs_config_parse(&config, text, strlen(text), "heads.yaml", NULL, 0, &err), VS_OK);
    free(text);
    vs_model *model = make_model(v);
    scale_stream(model);
    run_study(&s, config, &(vs_study_options){ .backend = "cpu", .threads = 2, .batch = 1, .model = model });
    const vs_fp16_policy *p = &s.results.fp16.policies[0];
    const vs_fp16_diagnosis *g = &p->diagnosis;
    assert_true(g->present && g->reached && g->minimal && g->runs <= 60);
    assert_true(g->chain_count > 0 && g->keep_count > 0);
    if (strcmp(g->chain[0].why, "overflow") != 0) fail_msg("%s at %s", g->chain[0].why, g->chain[0].row);
    assert_string_equal(g->chain[0].class_name, model->arch.layer_scale ? "residual" : "linear");
    assert_int_equal(g->has_whole_task, v->head != VS_HEAD_NONE);
    for (size_t i = 0; i < g->keep_count; i++) {
        assert_true(g->keep[i].has_without && g->keep[i].needed == !(g->keep[i].without_sqnr >= g->target));
        assert_int_equal(g->keep[i].has_task, v->head != VS_HEAD_NONE);
    }
    vs_study_release(&s);
    vs_config_free(config);
}

static void every_output_is_explained(void **state) {
    (void)state;
    static const variant variants[] = { { "dinov3_vits16", VS_HEAD_NONE, 0, false },
                                        { "vitti14", VS_HEAD_NONE, 0, false },
                                        { "vitti14", VS_HEAD_SEGMENTATION, 4, false },
                                        { "vitti14", VS_HEAD_CLASSIFIER, 1, true },
                                        { NULL, VS_HEAD_EOMT, 1, false } };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) check_model(&variants[i]);
}

int main(void) {
    make_temp_dir(folder, sizeof folder);
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_output_is_explained) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
