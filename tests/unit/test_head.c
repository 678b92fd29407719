/* Heads: which channels they read, and which backbone they belong to. */
#include "support/check.h"
#include "support/model.h"
#include "util/util.h"
#include "vitscope/vit.h"

enum { C = 64, DEPTH = 5, HIDDEN = 128, PATCH = 4, GRID = 3, CLASSES = 7, MAX_TENSORS = 128 };

static char dir[256], model_path[300], head_path[300];

/* A safetensors file in the making. */
typedef struct file {
    vs_text header;
    float *values;
    size_t count, capacity;
    vs_rng rng;
} file;

static void add(file *f, const char *name, const char *shape, size_t count) {
    assert_true(vs_grow((void **)&f->values, &f->capacity, f->count + count, sizeof *f->values));
    const bool positive = strstr(name, "running_var") != NULL;
    for (size_t i = 0; i < count; i++) {
        const double v = 0.3 * vs_rng_normal(&f->rng);
        f->values[f->count + i] = (float)(positive ? 0.5 + fabs(v) : v);
    }
    vs_text_add(&f->header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", f->count ? "," : "{", name,
                shape, 4 * f->count, 4 * (f->count + count));
    f->count += count;
}

static void add_matrix(file *f, const char *name, size_t rows, size_t cols, const char *tail) {
    char shape[64];
    snprintf(shape, sizeof shape, "%zu,%zu%s", rows, cols, tail);
    add(f, name, shape, rows * cols);
}

static void add_vector(file *f, const char *name, size_t count) {
    char shape[32];
    snprintf(shape, sizeof shape, "%zu", count);
    add(f, name, shape, count);
}

static void finish(file *f, const char *path) {
    vs_error err = { 0 };
    vs_text_add(&f->header, "}");
    const size_t size = 8 + f->header.size + 4 * f->count;
    char *bytes = vs_calloc(size, 1);
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)(f->header.size >> (8 * i));
    memcpy(bytes + 8, f->header.bytes, f->header.size);
    memcpy(bytes + 8 + f->header.size, f->values, 4 * f->count);
    assert_int_equal(vs_write_file(path, bytes, size, &err), VS_OK);
    free(bytes);
    free(f->header.bytes);
    free(f->values);
}

static void add_backbone(file *f, size_t depth, const char *prefix) {
    char name[128];
    static const struct {
        const char *name;
        size_t rows, cols;
    } parts[] = { { "norm1.weight", 1, C },        { "norm1.bias", 1, C },
                  { "norm2.weight", 1, C },        { "norm2.bias", 1, C },
                  { "attn.qkv.weight", 3 * C, C }, { "attn.qkv.bias", 1, 3 * C },
                  { "attn.proj.weight", C, C },    { "attn.proj.bias", 1, C },
                  { "mlp.fc1.weight", HIDDEN, C }, { "mlp.fc1.bias", 1, HIDDEN },
                  { "mlp.fc2.weight", C, HIDDEN }, { "mlp.fc2.bias", 1, C },
                  { "ls1.gamma", 1, C },           { "ls2.gamma", 1, C } };
    snprintf(name, sizeof name, "%spatch_embed.proj.weight", prefix);
    add(f, name, "64,3,4,4", C * 48);
    snprintf(name, sizeof name, "%spatch_embed.proj.bias", prefix);
    add_vector(f, name, C);
    snprintf(name, sizeof name, "%scls_token", prefix);
    add(f, name, "1,1,64", C);
    snprintf(name, sizeof name, "%spos_embed", prefix);
    add(f, name, "1,10,64", 10 * C);
    snprintf(name, sizeof name, "%smask_token", prefix);
    add(f, name, "1,64", C);
    for (size_t b = 0; b < depth; b++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            snprintf(name, sizeof name, "%sblocks.%zu.%s", prefix, b, parts[i].name);
            if (parts[i].rows == 1)
                add_vector(f, name, parts[i].cols);
            else
                add_matrix(f, name, parts[i].rows, parts[i].cols, "");
        }
    snprintf(name, sizeof name, "%snorm.weight", prefix);
    add_vector(f, name, C);
    snprintf(name, sizeof name, "%snorm.bias", prefix);
    add_vector(f, name, C);
}

static void write_backbone(size_t depth) {
    file f = { .rng = { 4 } };
    add_backbone(&f, depth, "");
    finish(&f, model_path);
}

static void write_mmseg_head(size_t channels) {
    file f = { .rng = { 5 } };
    add_matrix(&f, "decode_head.conv_seg.weight", CLASSES, channels, ",1,1");
    add_vector(&f, "decode_head.conv_seg.bias", CLASSES);
    static const char *const parts[] = { "weight", "bias", "running_mean", "running_var" };
    for (size_t i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "decode_head.bn.%s", parts[i]);
        add_vector(&f, name, channels);
    }
    finish(&f, head_path);
}

static void write_linear(const char *weight, const char *bias, size_t channels) {
    file f = { .rng = { 6 } };
    add_matrix(&f, weight, CLASSES, channels, "");
    add_vector(&f, bias, CLASSES);
    finish(&f, head_path);
}

static vs_status load(vs_model **m, vs_error *err) {
    const vs_model_options options = { .head_path = head_path, .heads = 1, .check_values = true };
    *err = (vs_error){ 0 };
    return vs_model_load(m, model_path, &options, err);
}

/* One image of 3 x 3 patches on ref. */
typedef struct run {
    vs_model *model;
    vs_backend *backend;
    vs_weights *weights;
    vs_session *session;
    float pixels[2 * 3 * 12 * 12];
    double streams[DEPTH][2 * 10 * C]; /* after each block */
} run;

static vs_status keep_stream(void *context, const vs_tap *tap, vs_error *err) {
    run *r = context;
    if (tap->kind != VS_KIND_BLOCK) return VS_OK;
    return r->backend->ops->download(r->backend, r->streams[tap->block], tap->x, err);
}

static void open_run(run *r) {
    vs_error err = { 0 };
    vs_rng rng = { 9 };
    assert_int_equal(load(&r->model, &err), VS_OK);
    assert_int_equal(vs_backend_open(&r->backend, "ref", &err), VS_OK);
    assert_int_equal(vs_weights_bind(&r->weights, r->backend, r->model, &err), VS_OK);
    const vs_session_options options = { .images = 2, .height = 12, .width = 12, .workspaces = 1, .streams = 2 };
    assert_int_equal(vs_session_create(&r->session, r->weights, &options, &err), VS_OK);
    for (size_t i = 0; i < sizeof r->pixels / sizeof *r->pixels; i++) r->pixels[i] = (float)vs_rng_normal(&rng);
    assert_int_equal(vs_forward(r->session, r->weights, r->pixels, (vs_tapper){ keep_stream, r }, &err), VS_OK);
}

static void close_run(run *r) {
    vs_session_free(r->session);
    vs_weights_free(r->weights);
    vs_backend_close(r->backend);
    vs_model_free(r->model);
}

/* Channel c of a final-normed token. */
static double normed(const run *r, size_t block, size_t token, size_t c) {
    const double *x = r->streams[block] + token * C;
    double mean = 0, var = 0;
    for (size_t i = 0; i < C; i++) mean += x[i] / C;
    for (size_t i = 0; i < C; i++) var += (x[i] - mean) * (x[i] - mean) / C;
    return (x[c] - mean) / sqrt(var + 1e-6) * (double)param_of(r->model, "norm.weight")[c] +
           (double)param_of(r->model, "norm.bias")[c];
}

static double batch_normed(const vs_model *m, double x, size_t c) {
    const double gain = (double)param_of(m, "head.bn.weight")[c], shift = (double)param_of(m, "head.bn.bias")[c];
    return (x - (double)param_of(m, "head.bn.running_mean")[c]) / sqrt((double)param_of(m, "head.bn.running_var")[c] + 1e-5) *
               gain +
           shift;
}

/* float64 against float64: rounding alone. */
static const double tolerance = 1e-11;

static void ms_heads_read_four_blocks(void **state) {
    (void)state;
    static run r;
    write_backbone(DEPTH);
    for (size_t maps = 1; maps <= 4; maps += 3) {
        write_mmseg_head(maps * C);
        open_run(&r);
        assert_int_equal(r.model->arch.head, VS_HEAD_SEGMENTATION);
        assert_int_equal(r.model->arch.head_maps, maps);
        assert_int_equal(r.model->arch.classes, CLASSES);
        const vs_mat features = input_of(r.session, r.model, VS_KIND_HEAD, -1);
        assert_int_equal(features.rows, 2 * 9);
        assert_int_equal(features.cols, maps * C);
        const double *got = features.p;
        for (size_t row = 0; row < 18; row++)
            for (size_t c = 0; c < maps * C; c++) {
                const size_t block = DEPTH - maps + c / C, token = row / 9 * 10 + 1 + row % 9;
                check_close(got[row * features.ld + c], batch_normed(r.model, normed(&r, block, token, c % C), c), tolerance);
            }
        close_run(&r);
    }
}

/* A stream carries what its head collected: running on from its middle gives the same logits. */
static void streams_carry_their_maps(void **state) {
    (void)state;
    static run r;
    vs_error err = { 0 };
    const vs_tapper no_tap = { NULL, NULL };
    write_backbone(DEPTH);
    write_mmseg_head(4 * C);
    open_run(&r);
    double want[18 * CLASSES];
    memcpy(want, vs_session_output(r.session).p, sizeof want);
    assert_int_equal(vs_forward_embed(r.session, r.weights, r.pixels, 1, no_tap, &err), VS_OK);
    for (size_t b = 0; b < 3; b++) assert_int_equal(vs_forward_block(r.session, r.weights, 0, 1, b, no_tap, &err), VS_OK);
    vs_session_copy_stream(r.session, 1, 0);
    assert_int_equal(vs_forward_embed(r.session, r.weights, r.pixels, 1, no_tap, &err), VS_OK); /* as if it were another image */
    for (size_t b = 0; b < 3; b++) {
        r.pixels[b] += 1;
        assert_int_equal(vs_forward_block(r.session, r.weights, 0, 1, 2 - b, no_tap, &err), VS_OK);
    }
    for (size_t b = 3; b < DEPTH; b++) assert_int_equal(vs_forward_block(r.session, r.weights, 0, 0, b, no_tap, &err), VS_OK);
    assert_int_equal(vs_forward_head(r.session, r.weights, 0, no_tap, &err), VS_OK);
    assert_memory_equal(vs_session_output(r.session).p, want, sizeof want);
    close_run(&r);
}

static void classifiers_read_tokens_and_their_mean(void **state) {
    (void)state;
    static run r;
    static const struct {
        const char *weight, *bias;
        size_t parts, maps;
    } heads[] = { { "classifier.weight", "classifier.bias", 1, 1 },
                  { "classifier.weight", "classifier.bias", 2, 1 },
                  { "weight", "bias", 2, 1 },
                  { "linear_head.weight", "linear_head.bias", 5, 4 } };
    write_backbone(DEPTH);
    for (size_t h = 0; h < sizeof heads / sizeof *heads; h++) {
        write_linear(heads[h].weight, heads[h].bias, heads[h].parts * C);
        open_run(&r);
        assert_int_equal(r.model->arch.head, VS_HEAD_CLASSIFIER);
        assert_int_equal(r.model->arch.head_maps, heads[h].maps);
        const vs_mat features = input_of(r.session, r.model, VS_KIND_HEAD, -1);
        assert_int_equal(features.rows, 2);
        for (size_t i = 0; i < 2; i++)
            for (size_t c = 0; c < heads[h].parts * C; c++) {
                const size_t part = c / C;
                double want = 0;
                if (part < heads[h].maps)
                    want = normed(&r, DEPTH - heads[h].maps + part, i * 10, c % C);
                else
                    for (size_t n = 0; n < 9; n++) want += normed(&r, DEPTH - 1, i * 10 + 1 + n, c % C) / 9;
                check_close(((const double *)features.p)[i * features.ld + c], want, tolerance);
            }
        close_run(&r);
    }
}

static void heads_beside_a_wrapped_backbone(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_model *m = NULL;
    file f = { .rng = { 4 } };
    add_backbone(&f, 1, "model.backbone._model.");
    add_matrix(&f, "model.head.weight", CLASSES, C, "");
    add_vector(&f, "model.head.bias", CLASSES);
    finish(&f, model_path);
    const vs_model_options options = { .heads = 1 };
    assert_int_equal(vs_model_load(&m, model_path, &options, &err), VS_OK);
    assert_int_equal(m->arch.head, VS_HEAD_SEGMENTATION);
    assert_false(m->arch.head_norm);
    assert_string_equal(linear_of(m, VS_KIND_HEAD, -1).source->fqn[0], "model.head");
    vs_model_free(m);
}

static void foreign_heads_are_named(void **state) {
    (void)state;
    vs_error err;
    vs_model *m = NULL;
    write_backbone(DEPTH);
    write_mmseg_head(3072);
    check_error(load(&m, &err), &err, VS_ERR_FORMAT,
                "'decode_head.conv_seg' reads 3072 channels: that is a linear head on width 3072 or an ms head on width 768");
    assert_non_null(strstr(err.message, "has width 64, whose heads read 64 (linear) or 256 (ms)"));
    write_linear("classifier.weight", "classifier.bias", 3 * C);
    check_error(load(&m, &err), &err, VS_ERR_FORMAT, "classifier 'classifier' reads 192 channels");
    write_linear("something.weight", "something.bias", C);
    check_error(load(&m, &err), &err, VS_ERR_FORMAT, "no head found");
    write_backbone(3);
    write_mmseg_head(4 * C);
    check_error(load(&m, &err), &err, VS_ERR_FORMAT, "reads the last 4 blocks");
}

static void a_head_alone_is_no_model(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_model *m = NULL;
    write_mmseg_head(C);
    check_error(vs_model_load(&m, head_path, &(vs_model_options){ .shapes_only = true }, &err), &err, VS_ERR_FORMAT,
                "a segmentation head ('decode_head.conv_seg.weight'");
}

static void published_files_have_addresses(void **state) {
    (void)state;
    char url[256];
    assert_true(vs_published_name("a/b/dinov2_vitb14_ade20k_ms_head.pth", url, sizeof url));
    assert_string_equal(url, "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_ade20k_ms_head.pth");
    assert_true(vs_published_name("dinov2_vits14_reg4_pretrain.pth", url, sizeof url));
    assert_false(vs_published_name("mine.pth", url, sizeof url));
}

int main(void) {
    make_temp_dir(dir, sizeof dir);
    snprintf(model_path, sizeof model_path, "%s/model.safetensors", dir);
    snprintf(head_path, sizeof head_path, "%s/head.safetensors", dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ms_heads_read_four_blocks),
        cmocka_unit_test(streams_carry_their_maps),
        cmocka_unit_test(classifiers_read_tokens_and_their_mean),
        cmocka_unit_test(heads_beside_a_wrapped_backbone),
        cmocka_unit_test(foreign_heads_are_named),
        cmocka_unit_test(a_head_alone_is_no_model),
        cmocka_unit_test(published_files_have_addresses),
    };
    const int code = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(model_path);
    unlink(head_path);
    rmdir(dir);
    return code;
}
