/* DINOv3 files: what is found, which periods and biases count, what is refused. The libraries' own files are the oracle's
 * business (tests/oracle/check_dinov3.py). */
#include <math.h>

#include "support/check.h"
#include "support/model.h"
#include "util/util.h"
#include "vit/position.h"
#include "vitscope/vit.h"

enum { C = 32, F = 48, P = 4, D = 16 };

static char dir[256], path[300];

typedef struct maker {
    char header[8192];
    size_t used, count;
    float values[65536];
    const char *drop, *fill; /* a name's end: left out, filled with `with` */
    float with;
} maker;

static bool ends(const char *name, const char *tail) {
    const size_t n = strlen(name), k = tail ? strlen(tail) : n + 1;
    return k <= n && strcmp(name + n - k, tail) == 0;
}

/* Values 1, 2, 3, ... / 64; all of one value where `fill` names it. */
static void put(maker *m, const char *name, const char *shape, size_t count) {
    if (ends(name, m->drop)) return;
    m->used += (size_t)snprintf(m->header + m->used, sizeof m->header - m->used,
                                "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", m->used > 1 ? "," : "",
                                name, shape, 4 * m->count, 4 * (m->count + count));
    for (size_t i = 0; i < count; i++) m->values[m->count + i] = ends(name, m->fill) ? m->with : (float)(i + 1) / 64;
    m->count += count;
}

static void vector(maker *m, const char *name, size_t count) {
    char shape[24];
    snprintf(shape, sizeof shape, "%zu", count);
    put(m, name, shape, count);
}

static void matrix(maker *m, const char *name, size_t rows, size_t cols) {
    char shape[48];
    snprintf(shape, sizeof shape, "%zu,%zu", rows, cols);
    put(m, name, shape, rows * cols);
}

typedef struct recipe {
    bool periods, untied, gated;
    const char *drop, *fill;
    float with;
} recipe;

static void block(maker *m, const recipe *r) {
    static const char *const vectors[] = { "norm1.weight", "norm1.bias",     "norm2.weight", "norm2.bias",
                                           "ls1.gamma",    "attn.proj.bias", "ls2.gamma" };
    char name[64];
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        snprintf(name, sizeof name, "blocks.0.%s", vectors[i]);
        vector(m, name, C);
    }
    matrix(m, "blocks.0.attn.qkv.weight", 3 * C, C);
    vector(m, "blocks.0.attn.qkv.bias", 3 * C);
    vector(m, "blocks.0.attn.qkv.bias_mask", 3 * C);
    matrix(m, "blocks.0.attn.proj.weight", C, C);
    static const char *const first[] = { "fc1", "w1", "w2" };
    for (size_t i = r->gated; i < (r->gated ? 3 : 1); i++) {
        snprintf(name, sizeof name, "blocks.0.mlp.%s.weight", first[i]);
        matrix(m, name, F, C);
        snprintf(name, sizeof name, "blocks.0.mlp.%s.bias", first[i]);
        vector(m, name, F);
    }
    matrix(m, r->gated ? "blocks.0.mlp.w3.weight" : "blocks.0.mlp.fc2.weight", C, F);
    vector(m, r->gated ? "blocks.0.mlp.w3.bias" : "blocks.0.mlp.fc2.bias", C);
}

/* As transformers (`hf`) or timm's Eva name them; extra: one more vector [C]. */
static void foreign(maker *m, bool hf, bool gated, const char *extra) {
    static const char *const names[][2] = {
        { "embeddings.patch_embeddings", "patch_embed.proj" },
        { "embeddings.cls_token", "cls_token" },
        { "embeddings.register_tokens", "reg_token" },
        { "norm", "norm" },
        { "layer.0.norm1", "blocks.0.norm1" },
        { "layer.0.norm2", "blocks.0.norm2" },
        { "layer.0.layer_scale1.lambda1", "blocks.0.gamma_1" },
        { "layer.0.layer_scale2.lambda1", "blocks.0.gamma_2" },
        { "layer.0.attention.o_proj", "blocks.0.attn.proj" },
        { "layer.0.mlp.up_proj", "blocks.0.mlp.fc1" },
        { "layer.0.mlp.down_proj", "blocks.0.mlp.fc2" },
    };
    const size_t family = !hf;
    char name[64];
    snprintf(name, sizeof name, "%s.weight", names[0][family]);
    put(m, name, "32,3,4,4", C * 3 * P * P);
    snprintf(name, sizeof name, "%s.bias", names[0][family]);
    vector(m, name, C);
    put(m, names[1][family], "1,1,32", C);
    put(m, names[2][family], "1,4,32", 4 * C);
    for (size_t i = 3; i < sizeof names / sizeof *names; i++) {
        const bool scale = i == 6 || i == 7, first = i == 9, second = i == 10;
        const size_t out = first ? F : C, in = second ? F : C;
        snprintf(name, sizeof name, "%s%s", names[i][family], scale ? "" : ".bias");
        vector(m, name, out);
        snprintf(name, sizeof name, "%s.weight", names[i][family]);
        if (!scale && i >= 8) matrix(m, name, out, in);
        if (!scale && i < 8) vector(m, name, C);
    }
    if (gated) matrix(m, "layer.0.mlp.gate_proj.weight", F, C);
    if (gated) vector(m, "layer.0.mlp.gate_proj.bias", F);
    static const char *const operands[] = { "q", "k", "v" };
    for (size_t i = 0; hf && i < 3; i++) {
        snprintf(name, sizeof name, "layer.0.attention.%s_proj.weight", operands[i]);
        matrix(m, name, C, C);
        snprintf(name, sizeof name, "layer.0.attention.%s_proj.bias", operands[i]);
        if (i != 1) vector(m, name, C);
    }
    if (!hf) matrix(m, "blocks.0.attn.qkv.weight", 3 * C, C);
    if (extra) vector(m, extra, C);
}

static vs_status finish(maker *m, const vs_model_options *options, vs_model **out, vs_error *err);

static vs_status load(const recipe *r, const vs_model_options *options, vs_model **out, vs_error *err) {
    static maker m;
    m = (maker){ .header = "{", .used = 1, .drop = r->drop, .fill = r->fill, .with = r->with };
    put(&m, "patch_embed.proj.weight", "32,3,4,4", C * 3 * P * P);
    vector(&m, "patch_embed.proj.bias", C);
    put(&m, "cls_token", "1,1,32", C);
    put(&m, "storage_tokens", "1,4,32", 4 * C);
    if (r->periods) vector(&m, "rope_embed.periods", D / 4);
    block(&m, r);
    vector(&m, "norm.weight", C);
    vector(&m, "norm.bias", C);
    if (r->untied) vector(&m, "cls_norm.weight", C);
    if (r->untied) vector(&m, "cls_norm.bias", C);
    return finish(&m, options, out, err);
}

static vs_status finish(maker *m, const vs_model_options *options, vs_model **out, vs_error *err) {
    m->header[m->used++] = '}';
    const size_t size = 8 + m->used + 4 * m->count;
    char *bytes = vs_calloc(size, 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)(m->used >> (8 * i));
    memcpy(bytes + 8, m->header, m->used);
    memcpy(bytes + 8 + m->used, m->values, 4 * m->count);
    *err = (vs_error){ 0 };
    assert_int_equal(vs_write_file(path, bytes, size, err), VS_OK);
    free(bytes);
    return vs_model_load(out, path, options, err);
}

static vs_model *good(const recipe *r, const vs_model_options *options) {
    vs_model *m = NULL;
    vs_error err;
    if (load(r, options, &m, &err) != VS_OK) fail_msg("%s", err.message);
    return m;
}

static void hub_files_are_found(void **state) {
    (void)state;
    vs_model *m = good(&(recipe){ .periods = true, .untied = true, .gated = true }, &(vs_model_options){ .check_values = true });
    assert_string_equal(m->arch.layout, "dinov3_hub");
    assert_string_equal(m->arch.name, "dinov3_vitc32_4");
    assert_int_equal(m->arch.heads, 2); /* of four periods: D = 16 */
    assert_int_equal(m->arch.registers, 4);
    assert_int_equal(m->arch.hidden, F);
    assert_int_equal(m->arch.grid, 0);
    assert_int_equal(m->arch.ffn, VS_FFN_SWIGLU);
    assert_true(m->arch.eps == 1e-5 && m->arch.prefix_norm && m->arch.rope_theta == 0);
    assert_int_equal(m->arch.position, VS_POSITION_ROPE);
    assert_null(vs_model_param(m, "pos_embed"));
    assert_true(param_of(m, "rope_embed.periods")[3] == 4.0f / 64);
    assert_non_null(param_of(m, "prefix_norm.weight"));
    assert_int_equal(linear_of(m, VS_KIND_FC1, 0).source->count, 2);
    assert_string_equal(linear_of(m, VS_KIND_FC1, 0).source->fqn[1], "blocks.0.mlp.w2");
    for (size_t i = 0; i < m->tensor_count; i++) assert_true(m->tensors[i].used);
    vs_model_free(m);
    m = good(&(recipe){ .periods = false }, &(vs_model_options){ .heads = 2 });
    assert_true(m->arch.rope_theta == 100);
    assert_false(m->arch.prefix_norm);
    assert_true(param_of(m, "rope_embed.periods")[0] == 1);
    check_close((double)param_of(m, "rope_embed.periods")[3], pow(100, 0.75), 1e-5);
    vs_model_free(m);
}

static void the_mask_multiplies_the_bias(void **state) {
    (void)state;
    vs_model *m = good(&(recipe){ .periods = true }, &(vs_model_options){ 0 });
    const float *bias = linear_of(m, VS_KIND_QKV, 0).b;
    for (size_t i = 0; i < 3 * C; i++) assert_true(bias[i] == (float)((i + 1) * (i + 1)) / 4096);
    vs_model_free(m);
    const recipe unset = { .periods = true, .fill = "bias_mask", .with = NAN };
    vs_error err;
    check_error(load(&unset, &(vs_model_options){ .check_values = true }, &m, &err), &err, VS_ERR_FORMAT,
                "'blocks.0.attn.qkv.bias_mask' has 96 NaN: the model was saved before its mask was set; 'model.bias_mask: "
                "intended' takes 1 for q and v and 0 for k");
    m = good(&unset, &(vs_model_options){ .check_values = true, .bias_mask = VS_BIAS_MASK_INTENDED });
    bias = linear_of(m, VS_KIND_QKV, 0).b;
    for (size_t i = 0; i < 3 * C; i++) assert_true(bias[i] == (i / C == 1 ? 0 : (float)(i + 1) / 64));
    vs_model_free(m);
    m = good(&(recipe){ .periods = true, .drop = "qkv.bias" },
             &(vs_model_options){ .check_values = true }); /* a mask of nothing */
    assert_null(linear_of(m, VS_KIND_QKV, 0).b);
    vs_model_free(m);
}

static void periods_may_be_chosen(void **state) {
    (void)state;
    vs_model *m = good(&(recipe){ .periods = true }, &(vs_model_options){ .rope = VS_ROPE_COMPUTED });
    assert_true(m->arch.rope_theta == 100 && param_of(m, "rope_embed.periods")[0] == 1);
    vs_model_free(m);
    m = good(&(recipe){ .periods = true }, &(vs_model_options){ .rope = VS_ROPE_FILE });
    assert_true(m->arch.rope_theta == 0 && param_of(m, "rope_embed.periods")[0] == 1.0f / 64);
    vs_model_free(m);
}

static void wrong_files_are_refused(void **state) {
    (void)state;
    static const struct {
        recipe r;
        vs_model_options options;
        vs_status status;
        const char *part;
    } cases[] = {
        { { .periods = false }, { .heads = 2, .rope = VS_ROPE_FILE }, VS_ERR_CONFIG, "model.rope: file: there are no periods" },
        { { .periods = false }, { 0 }, VS_ERR_CONFIG, "number of heads is not known for width 32: set model.heads" },
        { { .periods = true, .fill = "periods", .with = 0 }, { 0 }, VS_ERR_FORMAT, "rope_embed.periods': period 0 is 0" },
        { { .periods = true, .fill = "periods", .with = -3 }, { 0 }, VS_ERR_FORMAT, "period 0 is -3, which is none" },
        { { .periods = true, .fill = "periods", .with = NAN }, { 0 }, VS_ERR_FORMAT, "period 0 is " },
        { { .periods = true }, { .heads = 1 }, VS_ERR_FORMAT, "'rope_embed.periods' has shape [4] where [1, 8] is needed" },
        { { .periods = true }, { .heads = 16 }, VS_ERR_CONFIG, "heads whose width is a multiple of 4" },
        { { .periods = true, .drop = "storage_tokens" }, { 0 }, VS_OK, NULL },
        { { .periods = true, .gated = true, .drop = "w2.weight" }, { 0 }, VS_ERR_FORMAT, "first is 'blocks.0.mlp.w2.weight'" },
        { { .periods = true, .untied = true, .drop = "cls_norm.bias" }, { 0 }, VS_ERR_FORMAT, "first is 'cls_norm.bias'" },
        { { .periods = true, .drop = "mlp.fc1.weight" }, { 0 }, VS_ERR_FORMAT, "mlp.fc1.weight' is missing or no matrix" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const vs_status status = load(&cases[i].r, &cases[i].options, &m, &err);
        if (cases[i].status == VS_OK)
            assert_int_equal(status, VS_OK);
        else
            check_error(status, &err, cases[i].status, cases[i].part);
        vs_model_free(m);
    }
}

static void other_families(void **state) {
    (void)state;
    static const struct {
        bool hf, gated;
        const char *drop, *extra, *config; /* beside the file */
        vs_status status;
        const char *part; /* of the message, or the layout */
        int bias;         /* of qkv: 1 there, 0 not */
    } cases[] = {
        { true, false, NULL, NULL, NULL, VS_OK, "hf_dinov3", 1 },
        { true, true, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"hidden_act\": \"silu\", \"rope_theta\": 50}", VS_OK,
          "hf_dinov3", 1 },
        { true, false, NULL, "layer.0.attention.k_proj.bias", "{\"model_type\": \"dinov3_vit\", \"key_bias\": true}", VS_OK,
          "hf_dinov3", 1 },
        { true, false, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"key_bias\": true}", VS_ERR_FORMAT,
          "first is 'layer.0.attention.k_proj.bias'", 0 },
        { true, false, "v_proj.bias", NULL, NULL, VS_ERR_FORMAT, "first is 'layer.0.attention.v_proj.bias'", 0 },
        { true, true, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"hidden_act\": \"gelu\"}", VS_ERR_FORMAT,
          "only 'silu' is built for a gated MLP", 0 },
        /* transformers' default */
        { true, true, NULL, NULL, "{\"model_type\": \"dinov3_vit\"}", VS_ERR_FORMAT, "hidden_act 'gelu'; only 'silu'", 0 },
        { true, false, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"hidden_act\": \"silu\"}", VS_ERR_FORMAT,
          "only 'gelu' (erf) and its tanh form are built", 0 },
        { true, false, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"rope_theta\": -1}", VS_ERR_FORMAT,
          "rope_theta must be a number above 1", 0 },
        { true, false, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"rope_parameters\": {\"rope_theta\": \"x\"}}",
          VS_ERR_FORMAT, "rope_theta must be", 0 },
        { true, false, NULL, NULL, "{\"model_type\": \"dinov3_vit\", \"hidden_size\": 64}", VS_ERR_FORMAT,
          "hidden_size 64, the tensors have 32", 0 },
        { false, false, NULL, NULL, NULL, VS_OK, "timm_dinov3", 0 },
        { false, false, NULL, "blocks.0.attn.q_bias", NULL, VS_ERR_FORMAT, "first is 'blocks.0.attn.v_bias'", 0 },
        { false, false, "reg_token", NULL, NULL, VS_ERR_FORMAT, "without learned positions", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static maker m;
        char config[320];
        vs_model *model = NULL;
        vs_error err = { 0 };
        snprintf(config, sizeof config, "%s/config.json", dir);
        if (cases[i].config) assert_int_equal(vs_write_file(config, cases[i].config, strlen(cases[i].config), &err), VS_OK);
        m = (maker){ .header = "{", .used = 1, .drop = cases[i].drop };
        foreign(&m, cases[i].hf, cases[i].gated, cases[i].extra);
        const vs_status status = finish(&m, &(vs_model_options){ .heads = 2, .check_values = true }, &model, &err);
        (void)remove(config);
        if (cases[i].status != VS_OK) {
            check_error(status, &err, cases[i].status, cases[i].part);
            continue;
        }
        if (status != VS_OK) fail_msg("%s", err.message);
        assert_string_equal(model->arch.layout, cases[i].part);
        const float *bias = linear_of(model, VS_KIND_QKV, 0).b;
        assert_int_equal(bias != NULL, cases[i].bias);
        if (bias) assert_true((bias[C] != 0) == (cases[i].extra != NULL)); /* k's */
        if (model->arch.rope_theta != (cases[i].gated ? 50 : 100)) fail_msg("case %zu: theta %g", i, model->arch.rope_theta);
        vs_model_free(model);
    }
}

/* Angle 2 pi * coordinate / period, the row's axis first; coordinates are the middles of patches on [-1, 1]. */
static void the_rotation_is_axial(void **state) {
    (void)state;
    float periods[] = { 1, 10 }, *params[] = { periods };
    vs_param param = { .name = "rope_embed.periods" };
    vs_graph graph = { .params = &param, .param_count = 1 };
    const vs_model m = { .arch = { .width = 16, .heads = 2 }, .graph = &graph, .params = params };
    double cosines[6 * 4], sines[6 * 4];
    const double pi = acos(-1);
    vs_position_rotation(&m, 2, 3, cosines, sines);
    const double y = 0.5, x = -2.0 / 3; /* row 1, column 0 */
    const double angles[] = { 2 * pi * y, 2 * pi * y / 10, 2 * pi * x, 2 * pi * x / 10 };
    for (size_t k = 0; k < 4; k++) {
        check_close(cosines[3 * 4 + k], cos(angles[k]), 1e-15);
        check_close(sines[3 * 4 + k], sin(angles[k]), 1e-15);
    }
}

/* Tokens of every image, computed together: those of each alone. */
static void images_share_nothing(void **state) {
    (void)state;
    enum { IMAGES = 3, TOKENS = 1 + 4 + 6 };
    vs_error err = { 0 };
    vs_backend *be = NULL;
    vs_weights *w = NULL;
    float pixels[IMAGES * 3 * 2 * P * 3 * P];
    double together[IMAGES * TOKENS * C], alone[TOKENS * C];
    vs_model *m = good(&(recipe){ .periods = true, .untied = true }, &(vs_model_options){ 0 });
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++) pixels[i] = (float)(i * 7 % 31) / 31 - 0.5f;
    assert_int_equal(vs_backend_open(&be, "ref", &err), VS_OK);
    assert_int_equal(vs_weights_bind(&w, be, m, &err), VS_OK);
    for (size_t images = IMAGES; images >= 1; images -= IMAGES - 1) {
        const vs_session_options o = { .images = images, .height = 2 * P, .width = 3 * P, .workspaces = 1, .streams = 1 };
        for (size_t i = 0; i < (images == 1 ? IMAGES : 1); i++) {
            vs_session *s = NULL;
            assert_int_equal(vs_session_create(&s, w, &o, &err), VS_OK);
            assert_int_equal(vs_session_tokens(s), TOKENS);
            assert_int_equal(vs_forward(s, w, pixels + i * 3 * 2 * P * 3 * P, (vs_tapper){ NULL, NULL }, &err), VS_OK);
            assert_int_equal(be->ops->download(be, images == 1 ? alone : together, vs_session_output(s), &err), VS_OK);
            if (images == 1) assert_memory_equal(alone, together + i * TOKENS * C, sizeof alone);
            vs_session_free(s);
        }
        if (images == 1) break;
    }
    vs_weights_free(w);
    vs_backend_close(be);
    vs_model_free(m);
}

static int set_up(void **state) {
    (void)state;
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    (void)remove(path);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(hub_files_are_found),   cmocka_unit_test(the_mask_multiplies_the_bias),
                                        cmocka_unit_test(periods_may_be_chosen), cmocka_unit_test(wrong_files_are_refused),
                                        cmocka_unit_test(other_families),        cmocka_unit_test(the_rotation_is_axial),
                                        cmocka_unit_test(images_share_nothing) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
