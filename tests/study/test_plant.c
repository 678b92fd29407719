/* Planted models compute what the unplanted ones do, and the plantings are those that docs/study.md 8 describes. All on
 * `ref` (float64), so that what is left is the rounding of planted weights to float32 and, for residual, the norms' epsilon. */
#include "study/study.h"
#include "support/check.h"
#include "support/model.h"
#include "util/util.h"

static const char ti[] = "data/vit_ti14_scenes.safetensors";                 /* LayerScale */
static const char random_vit[] = "tests/golden/data/vit_random.safetensors"; /* two heads, no LayerScale */

enum { CALIBRATION = 2 };

typedef struct planted {
    vs_config *config;
    vs_study study;
} planted;

/* 4 x 4 patches: few tokens are enough for the arithmetic, and `ref` is slow. */
static size_t side(const char *model) { return model == ti ? 56 : 64; }

/* A study of `model` opened with model.plant [plants]; `options` goes into model, `data` into data. */
static vs_status open_study(planted *p, const char *model, const char *options, const char *plants, const char *data,
                            vs_error *err) {
    *err = (vs_error){ 0 };
    char *text = vs_format("version: 1\nname: t\nmodel: {checkpoint: %s/%s, heads: %d%s, plant: [%s]}\ndata: {%s}\n",
                           VS_SOURCE_DIR, model, model == ti ? 3 : 2, options, plants, data);
    assert_non_null(text);
    p->config = NULL;
    p->study = (vs_study){ 0 };
    vs_status status = vs_config_parse(&p->config, text, strlen(text), "c.yaml", NULL, 0, err);
    free(text);
    if (status == VS_OK)
        status = vs_study_open(&p->study, p->config,
                               &(vs_study_options){ .purpose = VS_FOR_FLOAT, .backend = "ref", .threads = 2, .batch = 1 }, err);
    return status;
}

static void open_good(planted *p, const char *model, const char *options, const char *plants) {
    vs_error err;
    char data[200];
    snprintf(data, sizeof data,
             "calibration: {scenes: {seed: 2, count: %d, size: %zu}}, analysis: {scenes: {seed: 3, count: 1, size: %zu}}",
             CALIBRATION, side(model), side(model));
    if (open_study(p, model, options, plants, data, &err) != VS_OK) fail_msg("%s: %s", plants, err.message);
}

static void close_study(planted *p) {
    vs_study_release(&p->study);
    vs_config_free(p->config);
}

/* The forward pass of an image, seen by `tapper`. */
static vs_session *forward(const planted *p, const vs_imageset *set, size_t image, vs_tapper tapper) {
    vs_error err = { 0 };
    vs_sample sample;
    vs_session *session = NULL;
    assert_int_equal(vs_imageset_get(set, image, &sample, &err), VS_OK);
    const vs_session_options options = {
        .images = 1, .height = sample.image.height, .width = sample.image.width, .workspaces = 1, .streams = 1
    };
    assert_int_equal(vs_session_create(&session, p->study.weights, &options, &err), VS_OK);
    assert_int_equal(vs_forward(session, p->study.weights, sample.pixels, tapper, &err), VS_OK);
    vs_sample_release(&sample);
    return session;
}

static double *logits_of(const planted *p, size_t *count) {
    vs_error err = { 0 };
    vs_session *session = forward(p, &p->study.analysis_set, 0, (vs_tapper){ NULL, NULL });
    const vs_mat m = vs_session_output(session);
    double *values = vs_calloc(*count = m.rows * m.cols, sizeof *values);
    assert_int_equal(p->study.backend->ops->download(p->study.backend, values, m, &err), VS_OK);
    vs_session_free(session);
    return values;
}

/* Largest difference over the largest value. */
static double distance(const double *a, const double *b, size_t count) {
    double worst = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs(a[i] - b[i]);
        worst = isnan(d) ? HUGE_VAL : fmax(worst, d);
        largest = fmax(largest, fabs(a[i]));
    }
    return worst / largest;
}

typedef struct function_case {
    const char *options, *plants;
    double limit; /* of the difference, in largest logits */
} function_case;

static void check_function(const char *model, const function_case *c, const double *want, size_t count) {
    planted p;
    size_t planted_count = 0;
    open_good(&p, model, c->options, c->plants);
    double *got = logits_of(&p, &planted_count);
    assert_int_equal(planted_count, count);
    const double d = distance(want, got, count);
    print_message("%-32s %-40.40s %.2e\n", model + (model == ti ? 5 : 18), c->plants, d);
    if (!(d <= c->limit)) fail_msg("%s: off by %.3g of the largest logit, allowed %.1g", c->plants, d, c->limit);
    free(got);
    close_study(&p);
}

/* A gain that is a power of two changes no digit of a weight: what is left is float64's rounding. Another one rounds every
 * planted weight to 2^-24. key shifts all scores of a query alike, whatever its bias rounds to, but subtracting scores of the
 * gain's size costs float64 as much. residual leaves the norms' epsilon behind, (1 - 1/g^2) eps / (2 variance) of a stream at
 * each norm; with an epsilon of 1e-15 it is nearly exact (4e-12 of a variance near 0.04 where g is 1/64). spike and hidden scale
 * a unit where GELU is nearly, not quite, linear. */
static void the_function_stays(void **state) {
    (void)state;
    static const function_case cases[] = {
        { "", "{kind: norm1, units: 2, gain: 256}", 1e-12 },
        { "", "{kind: norm2, units: 2, gain: 256}", 1e-12 },
        { "", "{kind: value, units: 2, gain: 256}", 1e-12 },
        { "", "{kind: key, gain: 256}", 1e-11 },
        { "", "{kind: norm1, gain: 333.3}", 1e-6 },
        { "", "{kind: norm2, gain: 333.3}", 1e-6 },
        { "", "{kind: value, gain: 333.3}", 1e-6 },
        { "", "{kind: key, gain: 4095.7}", 1e-10 },
        { "", "{kind: norm1, gain: 64}, {kind: norm2, gain: 64}, {kind: value, gain: 64}, {kind: key, gain: 1024}", 1e-11 },
        { "", "{kind: residual, gain: 333.3}", 1e-4 },
        { "", "{kind: spike, ratio: 16}", 0.1 },
        { "", "{kind: hidden, gain: 256}", 0.1 },
        { ", eps: 1e-15", "{kind: residual, gain: 256}", 1e-10 },
        { ", eps: 1e-15", "{kind: residual, gain: 0.015625}", 1e-8 },
    };
    static const char *const models[] = { ti, random_vit };
    for (size_t m = 0; m < 2; m++) {
        const char *options = NULL;
        double *want = NULL;
        size_t count = 0;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            if (!options || strcmp(options, cases[i].options) != 0) {
                planted plain;
                free(want);
                open_good(&plain, models[m], options = cases[i].options, "");
                want = logits_of(&plain, &count);
                close_study(&plain);
            }
            check_function(models[m], &cases[i], want, count);
        }
        free(want);
    }
}

/* Sums and largest magnitudes of the operands of one block, by channel, over the calibration images. */
typedef struct operands {
    const planted *p;
    int block;
    double sum_q[1024], max_v[1024];
} operands;

static vs_status look(void *context, const vs_tap *tap, vs_error *err) {
    operands *o = context;
    if (tap->block != o->block || !tap->input || (tap->kind != VS_KIND_Q && tap->kind != VS_KIND_V)) return VS_OK;
    const size_t c = tap->x.cols;
    double *values = vs_calloc(tap->x.rows * c, sizeof *values);
    vs_status status = o->p->study.backend->ops->download(o->p->study.backend, values, tap->x, err);
    for (size_t i = 0; i < tap->x.rows * c; i++) {
        if (tap->kind == VS_KIND_Q)
            o->sum_q[i % c] += values[i];
        else
            o->max_v[i % c] = fmax(o->max_v[i % c], fabs(values[i]));
    }
    free(values);
    return status;
}

static void see_operands(operands *o, const planted *p, int block) {
    memset(o, 0, sizeof *o);
    o->p = p;
    o->block = block;
    for (size_t i = 0; i < CALIBRATION; i++) vs_session_free(forward(p, &p->study.calibration_set, i, (vs_tapper){ look, o }));
}

static size_t largest(const double *v, size_t count, size_t but) {
    size_t best = but == 0 ? 1 : 0;
    for (size_t i = 0; i < count; i++)
        if (i != but && v[i] > v[best]) best = i;
    return best;
}

static void check_result(const vs_plant_result *r, const char *kind, const char *layer, int block, const char *what,
                         size_t count) {
    assert_string_equal(r->kind, kind);
    assert_string_equal(r->layer, layer);
    assert_int_equal(r->block, block);
    if (what) assert_string_equal(r->what, what);
    assert_int_equal(r->count, count);
}

static float times(float w, double g) { return (float)((double)w * g); }

/* b holds a x gain at `rows` and columns / gain at `columns`, and is a elsewhere. */
static void check_linear(vs_linear a, vs_linear b, size_t row, size_t column, double g) {
    assert_true(a.out > 0 && a.out == b.out && a.in == b.in);
    for (size_t o = 0; o < a.out; o++) {
        for (size_t i = 0; i < a.in; i++) {
            const float w = a.w[o * a.in + i], want = o == row ? times(w, g) : i == column ? (float)((double)w / g) : w;
            assert_memory_equal(&b.w[o * a.in + i], &want, sizeof want);
        }
        const float want = o == row ? times(a.b[o], g) : a.b[o];
        assert_memory_equal(&b.b[o], &want, sizeof want);
    }
}

/* A vector of both models: in the second one channel is the gain times larger. */
static void check_vector(const vs_model *a, const vs_model *b, const char *name, size_t count, size_t channel, double g) {
    const float *x = param_of(a, name), *y = param_of(b, name);
    for (size_t i = 0; i < count; i++) check_close((double)y[i], (double)times(x[i], i == channel ? g : 1), 0);
}

static void norms_by_hand(void **state) {
    (void)state;
    const double g = 100;
    planted plain, p;
    open_good(&plain, ti, "", "");
    open_good(&p, ti, "", "{kind: norm1, blocks: [4], gain: 100}, {kind: norm2, blocks: [7], gain: 100}");
    const vs_model *a = plain.study.model, *b = p.study.model;
    const float *gains[] = { param_of(a, "blocks.4.norm1.weight"), param_of(a, "blocks.7.norm2.weight") };
    assert_int_equal(p.study.results.plant_count, 2);
    check_result(&p.study.results.plants[0], "norm1", "blocks.4.attn.qkv", 4, "channel", 1);
    check_result(&p.study.results.plants[1], "norm2", "blocks.7.mlp.fc1", 7, "channel", 1);
    for (size_t k = 0; k < 2; k++) {
        double size[192];
        for (size_t i = 0; i < 192; i++) size[i] = fabs((double)gains[k][i]);
        assert_int_equal(p.study.results.plants[k].channels[0], largest(size, 192, SIZE_MAX));
        check_close(p.study.results.plants[k].gain[0], g, 0);
    }
    const size_t c1 = p.study.results.plants[0].channels[0], c2 = p.study.results.plants[1].channels[0];
    check_vector(a, b, "blocks.4.norm1.weight", 192, c1, g);
    check_vector(a, b, "blocks.4.norm1.bias", 192, c1, g);
    check_vector(a, b, "blocks.7.norm2.weight", 192, c2, g);
    check_vector(a, b, "blocks.7.norm2.bias", 192, c2, g);
    check_linear(linear_of(a, VS_KIND_QKV, 4), linear_of(b, VS_KIND_QKV, 4), SIZE_MAX, c1, g);
    check_linear(linear_of(a, VS_KIND_FC1, 7), linear_of(b, VS_KIND_FC1, 7), SIZE_MAX, c2, g);
    check_linear(linear_of(a, VS_KIND_QKV, 7), linear_of(b, VS_KIND_QKV, 7), SIZE_MAX, SIZE_MAX, g); /* other layers stay */
    close_study(&p);
    close_study(&plain);
}

static void values_by_hand(void **state) {
    (void)state;
    planted plain, p;
    operands seen;
    open_good(&plain, random_vit, "", "");
    open_good(&p, random_vit, "", "{kind: value, blocks: [1], units: 2, gain: 100}");
    see_operands(&seen, &plain, 1);
    const vs_plant_result *r = p.study.results.plants;
    check_result(r, "value", "blocks.1.attn.proj", 1, "channel", 2);
    assert_int_equal(r->channels[0], largest(seen.max_v, 64, SIZE_MAX));
    assert_int_equal(r->channels[1], largest(seen.max_v, 64, r->channels[0]));
    const vs_linear a = linear_of(plain.study.model, VS_KIND_QKV, 1), b = linear_of(p.study.model, VS_KIND_QKV, 1),
                    a_proj = linear_of(plain.study.model, VS_KIND_PROJ, 1), b_proj = linear_of(p.study.model, VS_KIND_PROJ, 1);
    for (size_t k = 0; k < 2; k++) {
        const size_t row = 128 + r->channels[k];
        for (size_t i = 0; i < 64; i++) {
            check_close((double)b.w[row * 64 + i], (double)times(a.w[row * 64 + i], 100), 0);
            check_close((double)b_proj.w[i * 64 + r->channels[k]],
                        (double)(float)((double)a_proj.w[i * 64 + r->channels[k]] / 100), 0);
        }
        check_close((double)b.b[row], (double)times(a.b[row], 100), 0);
    }
    close_study(&p);
    close_study(&plain);
}

/* The k bias moves by the gain along the mean query, and nothing else moves. float32 holds a bias of 1000 to 6e-5. */
static void keys_by_hand(void **state) {
    (void)state;
    enum { C = 192, HEADS = 3, D = 64 };
    planted plain, p;
    operands seen;
    open_good(&plain, ti, "", "");
    open_good(&p, ti, "", "{kind: key, blocks: [5], gain: 1000}");
    see_operands(&seen, &plain, 5);
    check_result(p.study.results.plants, "key", "blocks.5.attn.k", 5, "head", HEADS);
    const vs_linear a = linear_of(plain.study.model, VS_KIND_QKV, 5), b = linear_of(p.study.model, VS_KIND_QKV, 5);
    assert_memory_equal(a.w, b.w, sizeof *a.w * a.out * a.in);
    for (size_t h = 0; h < HEADS; h++) {
        double length = 0;
        for (size_t i = h * D; i < (h + 1) * D; i++) length += seen.sum_q[i] * seen.sum_q[i];
        for (size_t i = h * D; i < (h + 1) * D; i++) {
            check_close((double)b.b[C + i] - (double)a.b[C + i], 1000 * seen.sum_q[i] / sqrt(length), 1e-4);
            assert_memory_equal(&a.b[i], &b.b[i], sizeof(float));
            assert_memory_equal(&a.b[2 * C + i], &b.b[2 * C + i], sizeof(float));
        }
        assert_int_equal(p.study.results.plants[0].channels[h], h);
        check_close(p.study.results.plants[0].gain[h], 1000, 0);
    }
    for (size_t i = 0; i < p.study.results.row_count; i++)
        assert_int_equal(p.study.results.rows[i].planted, strcmp(p.study.results.rows[i].layer, "blocks.5.attn.k") == 0);
    close_study(&p);
    close_study(&plain);
}

/* A checkpoint without qkv bias gets one. */
static void a_missing_bias_is_made(void **state) {
    (void)state;
    planted plain, p;
    vs_error err = { 0 };
    size_t count = 0;
    open_good(&p, random_vit, "", "{kind: key, blocks: [0], gain: 500}"); /* for its configuration and images */
    open_good(&plain, random_vit, "", "");
    vs_study *s = &plain.study;
    float **bias = vs_model_param(s->model, "blocks.0.attn.qkv.bias");
    assert_non_null(bias);
    free(*bias);
    *bias = NULL;
    vs_weights_free(s->weights);
    assert_int_equal(vs_weights_bind(&s->weights, s->backend, s->model, &err), VS_OK);
    double *want = logits_of(&plain, &count);
    const vs_plant_target target = { s->model, s->backend, vs_study_runner(s) };
    assert_int_equal(vs_plant(&target, p.config, &s->calibration_set, &s->results.plants, &s->results.plant_count, &err), VS_OK);
    assert_non_null(*bias);
    double length = 0;
    for (size_t i = 0; i < 192; i++) {
        const double b = (double)(*bias)[i];
        if (i / 64 != 1) check_close(b, 0, 0);
        length += b * b;
    }
    check_close(sqrt(length), 500 * sqrt(2), 1e-3); /* two heads */
    vs_weights_free(s->weights);
    assert_int_equal(vs_weights_bind(&s->weights, s->backend, s->model, &err), VS_OK);
    double *got = logits_of(&plain, &count);
    assert_true(distance(want, got, count) <= 1e-11); /* as in the_function_stays */
    free(want);
    free(got);
    close_study(&plain);
    close_study(&p);
}

/* The second planting looks at what the first has made: the same channel is the largest by far. */
static void plantings_see_those_before(void **state) {
    (void)state;
    planted p;
    open_good(
        &p, random_vit, "",
        "{kind: value, blocks: [0], gain: 100}, {kind: value, blocks: [0], gain: 100}, {kind: norm2, blocks: [1], gain: 100}, "
        "{kind: norm2, blocks: [1], units: 2, gain: 3}");
    const vs_plant_result *r = p.study.results.plants;
    assert_int_equal(p.study.results.plant_count, 4);
    assert_int_equal(r[0].channels[0], r[1].channels[0]);
    assert_int_equal(r[2].channels[0], r[3].channels[0]);
    assert_int_not_equal(r[3].channels[0], r[3].channels[1]);
    close_study(&p);
}

/* Every token of the stream is the gain times larger, at the entrance and behind every block. */
typedef struct stream {
    const planted *p;
    double sum[16];
} stream;

static vs_status add_up(void *context, const vs_tap *tap, vs_error *err) {
    stream *s = context;
    if (tap->kind != VS_KIND_EMBED && tap->kind != VS_KIND_BLOCK) return VS_OK;
    double *energy = vs_calloc(tap->x.cols, sizeof *energy);
    (void)err;
    s->p->study.backend->ops->channel_energy(s->p->study.backend, tap->x, energy);
    for (size_t i = 0; i < tap->x.cols; i++) s->sum[tap->block + 1] += energy[i];
    free(energy);
    return VS_OK;
}

static void residual_scales_the_stream(void **state) {
    (void)state;
    static const char *const models[] = { ti, random_vit };
    for (size_t m = 0; m < 2; m++) {
        planted plain, p;
        open_good(&plain, models[m], ", eps: 1e-15", "");
        open_good(&p, models[m], ", eps: 1e-15", "{kind: residual, gain: 128}");
        check_result(p.study.results.plants, "residual", "embed", -1, NULL, 1);
        assert_null(p.study.results.plants[0].what);
        assert_null(p.study.results.plants[0].channels);
        stream a = { .p = &plain }, b = { .p = &p };
        vs_session_free(forward(&plain, &plain.study.analysis_set, 0, (vs_tapper){ add_up, &a }));
        vs_session_free(forward(&p, &p.study.analysis_set, 0, (vs_tapper){ add_up, &b }));
        for (size_t i = 0; i <= p.study.model->arch.depth; i++) check_close(b.sum[i] / a.sum[i], 128.0 * 128.0, 1e-6);
        close_study(&p);
        close_study(&plain);
    }
}

static void wrong_plantings_are_refused(void **state) {
    (void)state;
    static const char with[] = "calibration: {scenes: {seed: 2, count: 1, size: 56}}", without[] = "";
    static const struct {
        const char *plants, *data;
        vs_status status;
        const char *message;
    } cases[] = {
        { "{kind: norm1, units: 193}", without, VS_ERR_CONFIG,
          "cannot plant 193 channels in a block: the input of attn.qkv has 192" },
        { "{kind: value, units: 193}", with, VS_ERR_CONFIG,
          "cannot plant 193 channels in a block: the input of attn.proj has 192" },
        { "{kind: hidden, units: 769}", with, VS_ERR_CONFIG, "cannot plant 769 units in a block: the input of mlp.fc2 has 768" },
        { "{kind: spike, blocks: [0], units: 768}", with, VS_ERR_CONFIG, "cannot plant 768 units in blocks.0: only" },
        { "{kind: norm1}, {kind: norm2, blocks: [12]}", without, VS_ERR_NOTFOUND,
          "there is no block 12; the model has blocks 0 to 11" },
        { "{kind: norm1}, {kind: key}", without, VS_ERR_CONFIG, "planting kind key needs data.calibration" },
        { "{kind: norm1}, {kind: norm2}, {kind: residual}", without, VS_OK, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        planted p;
        vs_error err;
        check_error(open_study(&p, ti, "", cases[i].plants, cases[i].data, &err), &err, cases[i].status, cases[i].message);
        if (cases[i].status != VS_OK) assert_int_equal(strncmp(err.message, "c.yaml:3:", 9), 0);
        close_study(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_function_stays),
        cmocka_unit_test(norms_by_hand),
        cmocka_unit_test(values_by_hand),
        cmocka_unit_test(keys_by_hand),
        cmocka_unit_test(a_missing_bias_is_made),
        cmocka_unit_test(plantings_see_those_before),
        cmocka_unit_test(residual_scales_the_stream),
        cmocka_unit_test(wrong_plantings_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
