/* EoMT files: what is read, what is refused, and how a forward pass grows by the queries. */
#include "support/check.h"
#include "support/eomt_file.h"
#include "support/model.h"
#include "vit/build_vit.h"

static char dir[256], path[300];

static vs_status load(vs_model **m, vs_error *err) {
    *err = (vs_error){ 0 };
    return vs_model_load(m, path, &(vs_model_options){ .check_values = true }, err);
}

/* Of an image of 9 patches. */
static size_t rows_in_block(const vs_model *m, int block) {
    return vs_value_rows(m->graph, m->graph->nodes[vs_graph_find(m->graph, VS_KIND_QKV, block)].out, 9);
}

static void reads_the_head(void **state) {
    (void)state;
    vs_error err;
    vs_model *m = NULL;
    write_eomt(
        path,
        "{\"model_init_args.num_joint_blocks\":\"2\",\"model_init_args.classes.9\":\"sky\","
        "\"model_init_args.classes.0\":\"sea\",\"model_init_args.classes.300\":\"sand\",\"model_init_args.classes.2\":\"road\"}",
        NULL);
    assert_int_equal(load(&m, &err), VS_OK);
    const vs_arch *a = &m->arch;
    assert_string_equal(a->layout, "dinov2_hub");
    assert_int_equal(a->head, VS_HEAD_EOMT);
    assert_true(a->queries == EOMT_QUERIES && a->classes == EOMT_CLASSES && a->joint_blocks == 2 && a->upscales == 2);
    assert_true(rows_in_block(m, 2) == 1 + 9 && rows_in_block(m, 3) == EOMT_QUERIES + 1 + 9);
    assert_string_equal(linear_of(m, VS_KIND_HEAD, -1).source->fqn[0], "model.class_head");
    assert_string_equal(linear_of(m, VS_KIND_UP2, -1).source->fqn[0], "model.upscale.1.conv1");
    assert_true(m->class_name_count == 4 && m->class_ids[0] == 9 && m->class_ids[2] == 300);
    assert_string_equal(m->class_names[3], "road");
    vs_model_free(m);

    write_eomt(path, NULL, NULL);
    assert_int_equal(load(&m, &err), VS_OK);
    assert_int_equal(m->arch.joint_blocks, EOMT_JOINT);
    for (size_t i = 0; i < m->tensor_count; i++)
        assert_true(m->tensors[i].used || strcmp(m->tensors[i].name, "model.backbone.mask_token") == 0);
    vs_model_free(m);
}

static void refuses_what_does_not_fit(void **state) {
    (void)state;
    static const struct {
        const char *meta, *without, *message;
    } cases[] = { { NULL, "mask_head.2.weight", "1 tensor is missing, the first is 'model.mask_head.2.weight'" },
                  { NULL, "upscale.0.conv1.weight", "the EoMT head has no upscale blocks" },
                  { NULL, "upscale.1.conv2.weight", "model.upscale.1.conv2.weight" },
                  { "{\"model_init_args.num_joint_blocks\":\"6\"}", NULL, "is '6', not a number from 1 to 5" },
                  { "{\"model_init_args.num_joint_blocks\":\"-1\"}", NULL, "is '-1', not a number" },
                  { "{\"model_init_args.num_joint_blocks\":\"\"}", NULL, "is '', not a number" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_error err;
        vs_model *m = NULL;
        write_eomt(path, cases[i].meta, cases[i].without);
        check_error(load(&m, &err), &err, VS_ERR_FORMAT, cases[i].message);
    }
}

typedef struct rows {
    size_t of[EOMT_DEPTH], masks, logits, classes;
} rows;

static vs_status count_rows(void *context, const vs_tap *tap, vs_error *err) {
    (void)err;
    rows *r = context;
    if (tap->kind == VS_KIND_BLOCK) r->of[tap->block] = tap->x.rows;
    if (tap->kind == VS_KIND_MASKS) r->masks = tap->x.rows;
    if (tap->kind == VS_KIND_LOGITS) r->logits = tap->x.rows;
    if (tap->kind == VS_KIND_LOGITS) r->classes = tap->x.cols;
    return VS_OK;
}

/* Each of two stacked images as it is alone, and the same again in a session that has run before. */
static void images_do_not_mix(void **state) {
    (void)state;
    enum { H = 3, W = 4, T = 1 + H * W, PIXELS = 3 * H * W * EOMT_PATCH * EOMT_PATCH, OUT = 16 * H * W * EOMT_CLASSES };
    vs_error err;
    vs_model *m = NULL;
    vs_backend *be = NULL;
    vs_weights *w = NULL;
    static float pixels[2 * PIXELS];
    static double got[2 * OUT], alone[2 * OUT];
    vs_rng rng = { 3 };
    for (size_t i = 0; i < 2 * PIXELS; i++) pixels[i] = (float)vs_rng_normal(&rng);
    write_eomt(path, NULL, NULL);
    assert_int_equal(load(&m, &err), VS_OK);
    assert_int_equal(vs_backend_open(&be, "ref", &err), VS_OK);
    assert_int_equal(vs_weights_bind(&w, be, m, &err), VS_OK);
    for (size_t images = 1; images <= 2; images++) {
        vs_session *s = NULL;
        const vs_session_options o = { .images = images, .height = H * 8, .width = W * 8, .workspaces = 1, .streams = 1 };
        assert_int_equal(vs_session_create(&s, w, &o, &err), VS_OK);
        assert_true(vs_session_tokens(s) == T + EOMT_QUERIES);
        for (size_t run = 0; run < 2; run++) { /* of two images together, twice; of each alone */
            rows r = { .masks = 0 };
            const float *in = images == 2 ? pixels : pixels + run * PIXELS;
            assert_int_equal(vs_forward(s, w, in, (vs_tapper){ count_rows, &r }, &err), VS_OK);
            for (size_t b = 0; b < EOMT_DEPTH; b++)
                assert_int_equal(r.of[b], images * (size_t)(T + (b < EOMT_DEPTH - EOMT_JOINT ? 0 : EOMT_QUERIES)));
            assert_true(r.masks == images * 16 * H * W && r.logits == r.masks && r.classes == EOMT_CLASSES);
            assert_int_equal(be->ops->download(be, images == 2 ? got : alone + run * OUT, vs_session_output(s), &err), VS_OK);
            if (images == 2) assert_memory_equal(got, alone, sizeof got);
        }
        vs_session_free(s);
    }
    vs_weights_free(w);
    vs_backend_close(be);
    vs_model_free(m);
}

static void names_of_rows(void **state) {
    (void)state;
    const vs_arch a = { .width = 16,
                        .depth = 4,
                        .heads = 2,
                        .hidden = 32,
                        .patch = 2,
                        .registers = 1,
                        .grid = 2,
                        .prefix_positions = 1,
                        .head = VS_HEAD_EOMT,
                        .classes = 5,
                        .queries = 3,
                        .joint_blocks = 2,
                        .upscales = 2 };
    vs_graph *g = NULL;
    vs_error err = { 0 };
    if (vs_vit_graph(&g, &a, &err) != VS_OK) fail_msg("%s", err.message);
    static const struct {
        vs_kind kind;
        int block;
        size_t row;
        const char *name;
    } cases[] = { { VS_KIND_QKV, 1, 0, "cls" },          { VS_KIND_QKV, 2, 0, "query0" },
                  { VS_KIND_FC2, 3, 3, "cls" },          { VS_KIND_FC2, 3, 4, "reg0" },
                  { VS_KIND_K, 2, 11, "patch(1,1)" },    { VS_KIND_HEAD, -1, 2, "query2" },
                  { VS_KIND_MASK3, -1, 1, "query1" },    { VS_KIND_UP1, -1, 6, "pixel(1,1)" },
                  { VS_KIND_UP2, -1, 11, "pixel(1,1)" }, { VS_KIND_PATCH_EMBED, -1, 2, "patch(0,2)" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        const size_t node = vs_graph_find(g, cases[i].kind, cases[i].block);
        vs_rule_name(vs_value_rule(g, g->nodes[node].out), cases[i].row, 5, text, sizeof text);
        assert_string_equal(text, cases[i].name);
    }
    vs_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(reads_the_head), cmocka_unit_test(refuses_what_does_not_fit),
                                        cmocka_unit_test(images_do_not_mix), cmocka_unit_test(names_of_rows) };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/eomt.safetensors", dir);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)remove(path);
    (void)rmdir(dir);
    return failed;
}
