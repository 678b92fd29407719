/* Whole-model parity by tap with numbers that timm made in float64 (tests/oracle/make_goldens.py):
 * ref within 1e-9 of the largest value, cpu and cuda within 2e-5 (seen: 2.4e-6, twelve blocks of float32 rounding). */
#include <jansson.h>

#include "images/scenes.h"
#include "support/check.h"
#include "util/util.h"
#include "vitscope/vit.h"

typedef struct checker {
    const vs_backend *backend;
    const vs_model *model;
    const vs_point *points;
    size_t point_count, seen;
    json_t *taps;
    double limit, worst;
    char worst_tap[64];
} checker;

static double element(const void *p, vs_scalar scalar, size_t i) {
    return scalar == VS_SCALAR_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static vs_status look(void *context, const vs_tap *tap, vs_error *err) {
    checker *c = context;
    char name[64] = "";
    for (size_t i = 0; i < c->point_count; i++)
        if (c->points[i].kind == tap->kind && c->points[i].block == tap->block)
            snprintf(name, sizeof name, "%s%s", c->points[i].name, tap->input ? ".in" : "");
    const json_t *g = json_object_get(c->taps, name);
    if (!g) return VS_OK;
    const size_t n = tap->x.rows * tap->x.cols;
    void *host = vs_calloc(n, (size_t)c->backend->scalar);
    vs_status status = c->backend->ops->download(c->backend, host, tap->x, err);
    double sum = 0, magnitude = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double v = element(host, c->backend->scalar, i);
        sum += v;
        magnitude += fabs(v);
        largest = fmax(largest, fabs(v));
    }
    const double want_magnitude = json_number_value(json_object_get(g, "abs"));
    check_close(magnitude, want_magnitude, c->limit * want_magnitude);
    check_close(sum, json_number_value(json_object_get(g, "sum")), c->limit * want_magnitude);
    const bool maps = tap->kind == VS_KIND_LOGITS && c->model->arch.head == VS_HEAD_SEGMENTATION;
    const json_t *index = json_object_get(g, "index"), *value = json_object_get(g, "value");
    for (size_t k = 0; k < json_array_size(index); k++) {
        size_t i = (size_t)json_integer_value(json_array_get(index, k));
        if (maps) i = i % tap->x.rows * tap->x.cols + i / tap->x.rows; /* the golden is [classes, h, w] */
        const double error = fabs(element(host, c->backend->scalar, i) - json_number_value(json_array_get(value, k))) / largest;
        if (!(error <= c->limit))
            fail_msg("%s %s: element %zu is off by %.3g of the largest value, allowed %.1g", c->backend->name, name, i, error,
                     c->limit);
        if (error > c->worst) {
            c->worst = error;
            snprintf(c->worst_tap, sizeof c->worst_tap, "%s", name);
        }
    }
    c->seen++;
    free(host);
    return status;
}

static void run(const char *file, const char *backend_name, double limit) {
    char path[600];
    vs_error err = { 0 };
    snprintf(path, sizeof path, "%s/tests/golden/data/%s", VS_SOURCE_DIR, file);
    json_t *g = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(g);
    const size_t h = (size_t)json_integer_value(json_array_get(json_object_get(g, "size"), 0)),
                 w = (size_t)json_integer_value(json_array_get(json_object_get(g, "size"), 1));
    const vs_model_options options = { .heads = (size_t)json_integer_value(json_object_get(g, "heads")), .check_values = true };
    checker c = { .taps = json_object_get(g, "taps"), .limit = limit };
    vs_backend *backend = NULL;
    vs_model *model = NULL;
    vs_weights *weights = NULL;
    vs_session *session = NULL;
    vs_point *points = NULL;
    assert_int_equal(vs_backend_open(&backend, backend_name, &err), VS_OK);
    snprintf(path, sizeof path, "%s/%s", VS_SOURCE_DIR, json_string_value(json_object_get(g, "model")));
    if (vs_model_load(&model, path, &options, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(vs_weights_bind(&weights, backend, model, &err), VS_OK);
    const vs_session_options so = { .images = 1, .height = h, .width = w, .workspaces = 1, .streams = 1 };
    assert_int_equal(vs_session_create(&session, weights, &so, &err), VS_OK);
    c.backend = backend;
    c.model = model;
    assert_int_equal(
        vs_points_make(model, vs_session_grid_h(session) * vs_session_grid_w(session), false, &points, &c.point_count, &err),
        VS_OK);
    c.points = points;

    const size_t side = h > w ? h : w;
    static const double mean[] = { 123.675, 116.28, 103.53 }, std[] = { 58.395, 57.12, 57.375 };
    uint8_t *rgb = vs_calloc(side * side, 3);
    float *pixels = vs_calloc(3 * h * w, sizeof *pixels);
    assert_int_equal(vs_scene_render(3, 0, side, rgb, NULL, &err), VS_OK);
    for (size_t k = 0; k < 3; k++)
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                pixels[(k * h + y) * w + x] = (float)(((double)rgb[(y * side + x) * 3 + k] - mean[k]) / std[k]);
    if (vs_forward(session, weights, pixels, (vs_tapper){ look, &c }, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(c.seen, json_object_size(c.taps)); /* every golden was looked at */
    print_message("%-22s %s: %zu taps, worst %.2e at %s\n", file, backend_name, c.seen, c.worst, c.worst_tap);
    free(rgb);
    free(pixels);
    free(points);
    vs_session_free(session);
    vs_weights_free(weights);
    vs_model_free(model);
    vs_backend_close(backend);
    json_decref(g);
}

static void ref_equals_timm(void **state) {
    (void)state;
    run("vit_ti14.json", "ref", 1e-9);
    run("vit_random.json", "ref", 1e-9);
    run("vit_random_96x64.json", "ref", 1e-9);
    run("vit_ti16_dinov3.json", "ref", 1e-9);
    run("vit_ti16_dinov3_96x160.json", "ref", 1e-9);
}

static void cpu_is_near(void **state) {
    (void)state;
    run("vit_ti14.json", "cpu", 2e-5);
    run("vit_random.json", "cpu", 2e-5);
    run("vit_random_96x64.json", "cpu", 2e-5);
    run("vit_ti16_dinov3.json", "cpu", 2e-5);
    run("vit_ti16_dinov3_96x160.json", "cpu", 2e-5);
}

static void cuda_is_near(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_backend *backend = NULL;
    if (vs_backend_open(&backend, "cuda", &err) != VS_OK) {
        print_message("skipped: %s\n", err.message);
        skip();
    }
    vs_backend_close(backend);
    run("vit_ti14.json", "cuda", 2e-5);
    run("vit_random.json", "cuda", 2e-5);
    run("vit_random_96x64.json", "cuda", 2e-5);
    run("vit_ti16_dinov3.json", "cuda", 2e-5);
    run("vit_ti16_dinov3_96x160.json", "cuda", 2e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(ref_equals_timm), cmocka_unit_test(cpu_is_near),
                                        cmocka_unit_test(cuda_is_near) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
