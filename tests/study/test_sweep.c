/* A re-run that starts at the changed layer gives the bits of a plain run from the image with that layer changed. The plain run
 * here is vs_forward with a tap and exchanged weights; it shares with the sweep only the operations themselves. */
#include <string.h>

#include "support/check.h"
#include "support/eomt_file.h"
#include "support/small_study.h"

static const char config_text[] =
    "version: 1\nname: sweep\nmodel: {checkpoint: %s}\n"
    "data:\n  calibration: {scenes: {seed: 2, count: 2, size: %zu}}\n  analysis: {scenes: {seed: 3, count: 2, size: %zu}}\n"
    "recipe: {%s}\nstates: [fp32, ptq, {sq: {name: folded, scope: %s}}, sq]\n"
    "analyze: {recipes: [ptq, sq, folded], output: true, spared: true, layers: [%s]}\n";

typedef struct plain {
    const vs_study *study;
    vs_session *session;
    const vs_state *recipe;
    vs_kind kind;
    int block;
    vs_mode mode;
    bool spare; /* everything but this layer */
} plain;

static const vs_graph *graph_of(const plain *p) { return p->study->model->graph; }

/* How the recipe quantizes a layer. */
static const vs_site *site_of(const plain *p, vs_kind kind, int block) {
    const size_t node = vs_graph_find(graph_of(p), kind, block);
    assert_true(node != VS_NONE);
    return vs_variant_site(p->recipe->variant, graph_of(p)->nodes[node].site);
}

static vs_status change(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    const plain *p = context;
    const vs_backend *be = p->study->backend;
    const bool here = tap->kind == p->kind && tap->block == p->block;
    if (!tap->input) return VS_OK;
    if (p->spare) {
        if (!here) vs_state_apply(p->recipe, be, tap);
        return VS_OK;
    }
    if (!here) return VS_OK;
    const vs_site *site = site_of(p, tap->kind, tap->block);
    vs_site_smooth(be, site, tap->x, tap->x);
    if (p->mode != VS_MODE_WEIGHT) vs_site_quantize(be, site, tap->x, tap->x, 1, NULL);
    return VS_OK;
}

/* A norm of a block as another model has it. */
static void exchange_norm(const plain *p, const void **params, const vs_weights *from, const char *norm) {
    static const char *const parts[] = { "weight", "bias" };
    char name[64];
    for (size_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "blocks.%d.%s.%s", p->block, norm, parts[i]);
        const size_t param = vs_graph_param(graph_of(p), name);
        assert_true(param != VS_NONE);
        params[param] = from->params[param];
    }
}

/* The weights of the changed model: `params` is room for its parameters, `ws` for one weight. */
static vs_weights exchange(const plain *p, const void **params, void *ws) {
    const vs_weights *base = p->study->weights, *recipe = p->recipe->weights;
    vs_weights w = p->spare ? *recipe : *base;
    memcpy(params, w.params, graph_of(p)->param_count * sizeof *params);
    w.params = params;
    if (!vs_kind_is_linear(p->kind)) return w;
    const size_t node = vs_graph_find(graph_of(p), p->kind, p->block);
    const size_t *own = graph_of(p)->nodes[node].param; /* weight and bias */
    const vs_weights *from = p->spare || p->mode == VS_MODE_ACTIVATION ? base : recipe;
    for (size_t i = 0; i < 2; i++) params[own[i]] = from->params[own[i]];
    if (p->spare) {
        if (p->kind == VS_KIND_QKV) exchange_norm(p, params, base, "norm1");
        if (p->kind == VS_KIND_FC1) exchange_norm(p, params, base, "norm2");
    } else if (p->mode == VS_MODE_ACTIVATION) {
        const vs_mat weight = vs_weights_linear(base, node).w, smoothed = { ws, weight.rows, weight.cols, weight.cols };
        vs_site_smooth_weight(p->study->backend, site_of(p, p->kind, p->block), weight, smoothed);
        params[own[0]] = ws;
    }
    return w;
}

/* Pooled SQNR over the analysis images, every image run from its pixels. */
static double plain_sqnr(const plain *p) {
    const vs_study *s = p->study;
    const vs_backend *be = s->backend;
    const vs_arch *a = &s->model->arch;
    vs_error err = { 0 };
    const void **params = vs_calloc(graph_of(p)->param_count, sizeof *params);
    void *ws = be->ops->alloc(be, 4 * a->width * a->width);
    const vs_weights changed = exchange(p, params, ws);
    vs_sqnr_pool pool = { .min = 0 };
    for (size_t i = 0; i < s->analysis_set.count; i++) {
        vs_sample sample;
        assert_int_equal(vs_imageset_get(&s->analysis_set, i, &sample, &err), VS_OK);
        assert_int_equal(vs_forward(p->session, s->weights, sample.pixels, (vs_tapper){ NULL, NULL }, &err), VS_OK);
        const vs_mat out = vs_session_output(p->session), want = { vs_session_scratch(p->session), out.rows, out.cols, out.cols };
        be->ops->copy(be, out, want);
        plain copy = *p;
        assert_int_equal(vs_forward(p->session, &changed, sample.pixels, (vs_tapper){ change, &copy }, &err), VS_OK);
        vs_error_sums sums;
        be->ops->error_sums(be, want, out, 1, (vs_error_sums *[]){ &sums });
        vs_sqnr_pool_add(&pool, &sums);
        vs_sample_release(&sample);
    }
    be->ops->free(be, ws);
    free(params);
    return vs_sqnr_pool_result(&pool).pooled;
}

static void same(const vs_row *row, const char *recipe, const char *what, const vs_sqnr *got, double want) {
    if (!got->present || !(got->pooled == want))
        fail_msg("%s, %s, %s: %.17g, plain re-run %.17g", row->layer, recipe, what, got->pooled, want);
}

typedef struct demo {
    const char *checkpoint;
    size_t size;
} demo;
static const demo dinov2 = { VS_SOURCE_DIR "/data/vit_ti14_scenes.safetensors", 56 },
                  dinov3 = { VS_SOURCE_DIR "/data/vit_ti16_dinov3_scenes.safetensors", 64 };

static void check_study(const demo *model, const char *backend, const char *recipe, const char *scope, const char *layers) {
    char *text = vs_format(config_text, model->checkpoint, model->size, model->size, recipe, scope, layers);
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_study s = { 0 };
    assert_int_equal(vs_config_parse(&config, text, strlen(text), "sweep.yaml", NULL, 0, &err), VS_OK);
    run_study(&s, config, &(vs_study_options){ .backend = backend, .threads = 2, .batch = 1 });
    const vs_graph *g = s.model->graph;
    const size_t side = model->size / s.model->arch.patch, patches = side * side;
    const vs_session_options so = { .images = 1,
                                    .height = model->size,
                                    .width = model->size,
                                    .workspaces = 1,
                                    .streams = 1,
                                    .scratch = vs_value_rows(g, g->output, patches) * vs_value_cols(g, g->output, patches),
                                    .probabilities = s.config->recipe.p != VS_P_NONE };
    vs_session *session = NULL;
    assert_int_equal(vs_session_create(&session, s.weights, &so, &err), VS_OK);
    assert_true(s.results.row_count > 0);
    for (size_t i = 0; i < s.results.row_count; i++)
        for (size_t r = 0; r < s.states.recipe_count; r++) {
            const vs_row *row = &s.results.rows[i];
            const vs_row_recipe *got = &row->recipes[r];
            plain p = { &s, session, &s.states.recipes[r], row->kind, row->block, VS_MODE_WEIGHT, false };
            for (; p.mode < VS_MODE_COUNT; p.mode++) {
                if (vs_kind_is_operand(row->kind) && p.mode == VS_MODE_WEIGHT)
                    assert_false(got->output[p.mode].present);
                else
                    same(row, p.recipe->name, vs_local_names[p.mode], &got->output[p.mode], plain_sqnr(&p));
            }
            p.spare = true;
            same(row, p.recipe->name, "spared", &got->spared, plain_sqnr(&p));
            p.kind = VS_KIND_BLOCK; /* spares nothing */
            check_close(got->spared_gain, got->spared.pooled - plain_sqnr(&p), 1e-12);
            if (!(s.results.spared_floor[r] > 0 && s.results.spared_floor[r] < 10))
                fail_msg("%s: floor of spared %g", p.recipe->name, s.results.spared_floor[r]);
        }
    vs_session_free(session);
    vs_study_release(&s);
    vs_config_free(config);
    free(text);
}

/* Blocks with different numbers of tokens, and a head of six linears. */
static void queries_that_join(void **state) {
    (void)state;
    char dir[256];
    make_temp_dir(dir, sizeof dir);
    char *path = vs_path_join(dir, "eomt.safetensors");
    write_eomt(path, NULL, NULL);
    const demo eomt = { path, 56 };
    check_study(&eomt, "cpu", "head: true", "norm", "\"blocks.{0,1,2,4}.*\", \"head.*\"");
    check_study(&eomt, "ref", "", "norm", "\"blocks.2.attn.{v,proj}\"");
    (void)remove(path);
    (void)rmdir(dir);
    free(path);
}

static void equals_plain_reruns_on_cpu(void **state) {
    (void)state;
    check_study(&dinov2, "cpu", "", "norm", "\"blocks.{0,11}.*\"");
}

static void every_kind_of_row(void **state) {
    (void)state;
    check_study(&dinov2, "cpu", "inputs: per_token, p: u8, patch_embed: true, head: true", "norm",
                "\"patch_embed.proj\", \"blocks.11.{attn.p,attn.q,mlp.fc2}\", \"head.*\"");
}

static void equals_plain_reruns_on_ref(void **state) {
    (void)state;
    check_study(&dinov2, "ref", "", "norm", "\"blocks.11.{attn.v,mlp.fc2}\"");
}

/* Rotated operands and register tokens. */
static void equals_plain_reruns_with_rotation(void **state) {
    (void)state;
    check_study(&dinov3, "cpu", "", "norm", "\"blocks.{0,11}.{attn.*,mlp.fc1}\"");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(equals_plain_reruns_on_cpu), cmocka_unit_test(every_kind_of_row),
                                        cmocka_unit_test(equals_plain_reruns_on_ref), cmocka_unit_test(queries_that_join),
                                        cmocka_unit_test(equals_plain_reruns_with_rotation) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
