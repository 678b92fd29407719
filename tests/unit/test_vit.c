/* Checkpoints that must be refused, and names. Good checkpoints are the golden tests' business. */
#include "backend/timed.h"
#include "io/tensorfile.h"
#include "support/check.h"
#include "support/model.h"
#include "util/util.h"
#include "vitscope/vit.h"

static char dir[256], path[300];

typedef struct edit {
    const char *drop, *reshape, *nan;
} edit;

static size_t add(char *header, size_t used, size_t room, const char *name, const char *shape, size_t count, size_t *at,
                  const edit *e) {
    if (e->drop && strcmp(name, e->drop) == 0) return used;
    if (e->reshape && strcmp(name, e->reshape) == 0) shape = count % 2 == 0 ? "2,1" : "1", count = count % 2 == 0 ? 2 : 1;
    used += (size_t)snprintf(header + used, room - used, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                             used > 1 ? "," : "", name, shape, *at, *at + 4 * count);
    *at += 4 * count;
    return used;
}

/* A one-block timm ViT of width 64, patch 4, grid 2. */
static void write_model(const edit *e) {
    static const struct {
        const char *name, *shape;
        size_t count;
    } tensors[] = { { "patch_embed.proj.weight", "64,3,4,4", 3072 },
                    { "patch_embed.proj.bias", "64", 64 },
                    { "cls_token", "1,1,64", 64 },
                    { "pos_embed", "1,5,64", 320 },
                    { "blocks.0.norm1.weight", "64", 64 },
                    { "blocks.0.norm1.bias", "64", 64 },
                    { "blocks.0.attn.qkv.weight", "192,64", 12288 },
                    { "blocks.0.attn.qkv.bias", "192", 192 },
                    { "blocks.0.attn.proj.weight", "64,64", 4096 },
                    { "blocks.0.attn.proj.bias", "64", 64 },
                    { "blocks.0.norm2.weight", "64", 64 },
                    { "blocks.0.norm2.bias", "64", 64 },
                    { "blocks.0.mlp.fc1.weight", "128,64", 8192 },
                    { "blocks.0.mlp.fc1.bias", "128", 128 },
                    { "blocks.0.mlp.fc2.weight", "64,128", 8192 },
                    { "blocks.0.mlp.fc2.bias", "64", 64 },
                    { "norm.weight", "64", 64 },
                    { "norm.bias", "64", 64 },
                    { "pre_logits.fc.weight", "3", 3 } };
    char header[4096] = "{";
    size_t used = 1, at = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        used = add(header, used, sizeof header, tensors[i].name, tensors[i].shape, tensors[i].count, &at, e);
    header[used++] = '}';
    char *bytes = vs_calloc(8 + used + at, 1);
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)(used >> (8 * i));
    memcpy(bytes + 8, header, used);
    if (e->nan) {
        const float bad[2] = { NAN, INFINITY };
        memcpy(bytes + 8 + used, bad, sizeof bad); /* the first tensor's first values */
    }
    vs_error err = { 0 };
    assert_int_equal(vs_write_file(path, bytes, 8 + used + at, &err), VS_OK);
    free(bytes);
}

static vs_status load(const edit *e, const vs_model_options *options, vs_model **m, vs_error *err) {
    *err = (vs_error){ 0 };
    write_model(e);
    return vs_model_load(m, path, options, err);
}

static void geometry_is_found(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_error err;
    const vs_model_options options = { .check_values = true, .hash = true };
    assert_int_equal(load(&(edit){ 0 }, &options, &m, &err), VS_OK);
    assert_int_equal(m->arch.width, 64);
    assert_int_equal(m->arch.heads, 1);
    assert_int_equal(m->arch.grid, 2);
    assert_int_equal(m->arch.prefix_positions, 1);
    assert_string_equal(m->arch.layout, "timm_vit");
    assert_int_equal(m->arch.head, VS_HEAD_NONE);
    assert_int_equal(strlen(m->sha256), 64);
    assert_false(m->tensors[m->tensor_count - 1].used);
    vs_point *points = NULL;
    size_t count = 0;
    assert_int_equal(vs_points_make(m, 4, false, &points, &count, &err), VS_OK);
    assert_int_equal(count, 2 + 8 + 1);
    assert_string_equal(points[2].name, "blocks.0.attn.qkv");
    check_close(points[2].macs, 5.0 * 64 * 192, 0);
    check_close(points[3].macs, 5.0 * 5 * 64 / 2, 0);
    free(points);
    char text[32];
    vs_rule_name(vs_graph_tokens(m->graph), 0, 2, text, sizeof text);
    assert_string_equal(text, "cls");
    vs_rule_name(vs_graph_tokens(m->graph), 4, 2, text, sizeof text);
    assert_string_equal(text, "patch(1,1)");
    vs_model_free(m);
}

static void bad_checkpoints_are_refused(void **state) {
    (void)state;
    static const struct {
        edit e;
        vs_model_options options;
        vs_status status;
        const char *part;
    } cases[] = {
        { { .drop = "norm.bias" }, { 0 }, VS_ERR_FORMAT, "1 tensor is missing, the first is 'norm.bias'" },
        { { .drop = "blocks.0.mlp.fc2.weight" }, { 0 }, VS_ERR_FORMAT, "'blocks.0.mlp.fc2.weight'" },
        { { .drop = "patch_embed.proj.weight" }, { 0 }, VS_ERR_FORMAT, "no Vision Transformer found" },
        { { .drop = "pos_embed" }, { 0 }, VS_ERR_FORMAT, "without learned positions are not built" },
        { { .drop = "blocks.0.norm1.weight" }, { 0 }, VS_ERR_FORMAT, "blocks.0.norm1.weight" },
        { { .reshape = "blocks.0.attn.proj.weight" }, { 0 }, VS_ERR_FORMAT, "has shape [2, 1] where [64, 64] is needed" },
        { { .nan = "yes" },
          { .check_values = true },
          VS_ERR_FORMAT,
          "'patch_embed.proj.weight' has 1 NaN and 1 infinite values" },
        { { 0 }, { .heads = 7 }, VS_ERR_CONFIG, "set model.heads" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const vs_status status = load(&cases[i].e, &cases[i].options, &m, &err);
        check_error(status, &err, cases[i].status, cases[i].part);
        assert_non_null(strstr(err.message, path));
        assert_null(m);
    }
}

static void sizes_must_fit_the_patch(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_backend *backend = NULL;
    vs_weights *weights = NULL;
    vs_session *session = NULL;
    vs_error err;
    assert_int_equal(load(&(edit){ 0 }, &(vs_model_options){ 0 }, &m, &err), VS_OK);
    assert_int_equal(vs_backend_open(&backend, "cpu", &err), VS_OK);
    assert_int_equal(vs_weights_bind(&weights, backend, m, &err), VS_OK);
    const vs_session_options bad = { .images = 1, .height = 10, .width = 8, .workspaces = 1, .streams = 1 };
    check_error(vs_session_create(&session, weights, &bad, &err), &err, VS_ERR_SHAPE,
                "8x10 is not a multiple of the patch size 4");
    err = (vs_error){ 0 };
    const vs_session_options huge = { .images = (size_t)1 << 40, .height = 8, .width = 8, .workspaces = 1, .streams = 1 };
    check_error(vs_session_create(&session, weights, &huge, &err), &err, VS_ERR_NOMEM, "images of 8x8 need");
    vs_weights_free(weights);
    vs_backend_close(backend);
    vs_model_free(m);
    err = (vs_error){ 0 };
    check_error(vs_backend_open(&backend, "cuda", &err), &err, VS_ERR_BACKEND, "cuda");
}

/* Only cuda has tf32, and no backend computes in an arithmetic that was not asked for. */
static void an_arithmetic_is_refused(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_backend *backend = NULL;
    vs_arithmetic arithmetic = VS_ARITHMETIC_OWN;
    assert_int_equal(vs_arithmetic_parse(&arithmetic, "tf32", &err), VS_OK);
    assert_int_equal(arithmetic, VS_ARITHMETIC_TF32);
    check_error(vs_backend_open_as(&backend, "cpu", arithmetic, &err), &err, VS_ERR_BACKEND, "computes in f32, not in tf32");
    assert_null(backend);
    err = (vs_error){ 0 };
    check_error(vs_backend_open_as(&backend, "ref", VS_ARITHMETIC_F32, &err), &err, VS_ERR_BACKEND,
                "computes in f64, not in f32");
    err = (vs_error){ 0 };
    check_error(vs_arithmetic_parse(&arithmetic, "fp8", &err), &err, VS_ERR_CONFIG, "no arithmetic 'fp8'; known: f32, tf32");
    err = (vs_error){ 0 };
    assert_int_equal(vs_backend_open_as(&backend, "cpu", VS_ARITHMETIC_F32, &err), VS_OK);
    assert_string_equal(backend->arithmetic, "f32");
    vs_backend_close(backend);
}

static int set_up(void **state) {
    (void)state;
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void random_models_are_seeded(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_model *a = NULL, *b = NULL;
    assert_int_equal(vs_model_random(&a, "vitti14", 28, 7, &err), VS_OK);
    assert_int_equal(vs_model_random(&b, "vitti14", 28, 7, &err), VS_OK);
    assert_int_equal(a->arch.grid, 2);
    assert_int_equal(a->arch.hidden, 768);
    assert_memory_equal(linear_of(a, VS_KIND_FC2, 11).w, linear_of(b, VS_KIND_FC2, 11).w, 192 * 768 * sizeof(float));
    assert_string_equal(linear_of(a, VS_KIND_PROJ, 3).source->fqn[0], "blocks.3.attn.proj");
    vs_model_free(a);
    vs_model_free(b);
    assert_int_equal(vs_model_random(&a, "dinov3_vits16", 32, 7, &err), VS_OK);
    assert_int_equal(a->arch.position, VS_POSITION_ROPE);
    assert_int_equal(a->arch.registers, 4);
    assert_null(vs_model_param(a, "pos_embed"));
    const float *periods = param_of(a, "rope_embed.periods");
    assert_true(periods[0] == 1 && periods[8] == 10);
    vs_model_free(a);
    assert_int_equal(vs_model_random(&a, "vitx14", 28, 7, &err), VS_ERR_NOTFOUND);
    err = (vs_error){ 0 };
    assert_int_equal(vs_model_random(&a, "vitti14", 30, 7, &err), VS_ERR_SHAPE);
    assert_null(a);
}

/* Tokens after a forward pass through `backend`; [5, 192]. */
static void forward(const vs_backend *backend, const vs_model *m, float *out) {
    vs_error err = { 0 };
    vs_weights *w = NULL;
    vs_session *s = NULL;
    const vs_session_options options = { .images = 1, .height = 28, .width = 28, .workspaces = 1, .streams = 1 };
    float pixels[3 * 28 * 28];
    for (size_t i = 0; i < 3 * 28 * 28; i++) pixels[i] = (float)(i % 17) / 17;
    assert_int_equal(vs_weights_bind(&w, backend, m, &err), VS_OK);
    assert_int_equal(vs_session_create(&s, w, &options, &err), VS_OK);
    assert_int_equal(vs_forward(s, w, pixels, (vs_tapper){ NULL, NULL }, &err), VS_OK);
    assert_int_equal(backend->ops->download(backend, out, vs_session_output(s), &err), VS_OK);
    vs_session_free(s);
    vs_weights_free(w);
}

static void a_timed_backend_does_the_same_and_counts(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_model *m = NULL;
    vs_backend *cpu = NULL, *timed = NULL;
    float plain[5 * 192], counted[5 * 192];
    assert_int_equal(vs_model_random(&m, "vitti14", 28, 7, &err), VS_OK);
    assert_int_equal(vs_backend_open(&cpu, "cpu", &err), VS_OK);
    assert_int_equal(vs_timed_open(&timed, cpu, &err), VS_OK);
    forward(cpu, m, plain);
    forward(timed, m, counted);
    assert_memory_equal(plain, counted, sizeof plain);
    size_t count = 0;
    const vs_op_time *times = vs_timed_read(timed, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(times[i].name, "linear") == 0) {
            assert_int_equal(times[i].calls, 1 + 12 * 4);
            /* patches [4, 588] to 192; per block 12 C^2 weights on 5 tokens */
            assert_true(times[i].flops == 2.0 * 4 * 588 * 192 + 12 * 2.0 * 5 * 12 * 192 * 192);
        }
        if (strcmp(times[i].name, "attention") == 0) assert_true(times[i].flops == 12 * 4.0 * 5 * 5 * 192);
    }
    vs_timed_reset(timed);
    for (size_t i = 0; i < count; i++) assert_int_equal(times[i].calls, 0);
    vs_backend_close(timed);
    vs_backend_close(cpu);
    vs_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(geometry_is_found),
                                        cmocka_unit_test(bad_checkpoints_are_refused),
                                        cmocka_unit_test(sizes_must_fit_the_patch),
                                        cmocka_unit_test(random_models_are_seeded),
                                        cmocka_unit_test(a_timed_backend_does_the_same_and_counts),
                                        cmocka_unit_test(an_arithmetic_is_refused) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
