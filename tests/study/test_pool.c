/* Memory that ends in the middle of work: what had begun is not begun again, whoever else may be retried. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "support/small_study.h"

static char folder[256];

/* A backend that, as a GPU does, gives memory out to all workers: the second of them finds none. The `bad`-th sync says that
 * there was none for the work before it. The tests of a program run one by one. */
static struct {
    const vs_backend_ops *inner;
    void *session;     /* that a worker holds beside others */
    size_t syncs, bad; /* bad: counted from 1; 0: none */
} scarce;

static void *scarce_alloc(const vs_backend *self, size_t count) {
    void *p = NULL;
#pragma omp critical(scarce)
    if (!omp_in_parallel())
        p = scarce.inner->alloc(self, count);
    else if (!scarce.session)
        p = scarce.session = scarce.inner->alloc(self, count);
    return p;
}

static void scarce_free(const vs_backend *self, void *p) {
#pragma omp critical(scarce)
    if (p == scarce.session) scarce.session = NULL;
    scarce.inner->free(self, p);
}

static vs_status scarce_sync(const vs_backend *self, vs_error *err) {
    bool bad = false;
#pragma omp critical(scarce)
    bad = ++scarce.syncs == scarce.bad;
    return bad ? vs_fail(err, VS_ERR_NOMEM, "no memory in the middle") : scarce.inner->sync(self, err);
}

static vs_config *make_config(const char *preprocess) {
    char *text = vs_format("version: 1\nname: pool\nmodel: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 2, size: 56}}\n"
                           "  analysis: {scenes: {seed: 3, count: 2, size: 56}}\n"
                           "  evaluation: {scenes: {seed: 9, count: 2, size: 56}}\n%s"
                           "states: [fp32, ptq]\nanalyze: {layers: [\"blocks.11.mlp.*\"]}\n",
                           VS_SOURCE_DIR, preprocess);
    vs_error err = { 0 };
    vs_config *config = NULL;
    if (vs_config_parse(&config, text, strlen(text), "pool.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    free(text);
    return config;
}

/* The study with two workers and a bad sync. */
static vs_status run_scarce(const vs_config *config, size_t bad, char hex[65], vs_error *err) {
    vs_study s = { 0 };
    const vs_study_options options = { .backend = "cpu", .threads = 2, .batch = 1 };
    *err = (vs_error){ 0 };
    if (vs_study_open(&s, config, &options, err) != VS_OK) fail_msg("%s", err->message);
    const vs_backend_ops *inner = s.backend->ops;
    vs_backend_ops ops = *inner;
    ops.alloc = scarce_alloc;
    ops.free = scarce_free;
    ops.sync = scarce_sync;
    memset(&scarce, 0, sizeof scarce);
    scarce.inner = inner;
    scarce.bad = bad;
    s.backend->ops = &ops;
    const vs_status status = vs_study_run(&s, err);
    if (status == VS_OK) hash_results(&s, folder, hex);
    s.backend->ops = inner;
    vs_study_release(&s);
    return status;
}

/* There is memory for one worker, and somewhere in the study it runs out in the middle of a job: the results of an undisturbed
 * run, or none. */
static void check_right_or_none(const char *preprocess, size_t points) {
    vs_config *config = make_config(preprocess);
    char want[65], got[65];
    vs_error err = { 0 };
    vs_study s;
    run_study(&s, config, &(vs_study_options){ .backend = "cpu", .threads = 1, .batch = 1 });
    hash_results(&s, folder, want);
    vs_study_release(&s);
    assert_int_equal(run_scarce(config, 0, got, &err), VS_OK);
    assert_string_equal(got, want);
    const size_t syncs = scarce.syncs;
    size_t none = 0;
    for (size_t i = 0; i < points; i++) {
        const vs_status status = run_scarce(config, 1 + i * syncs / points, got, &err);
        if (status == VS_OK) {
            assert_string_equal(got, want);
            continue;
        }
        assert_int_equal(status, VS_ERR_NOMEM);
        assert_string_equal(err.message, "no memory in the middle");
        none++;
    }
    assert_true(none > 0);
    vs_config_free(config);
}

static void a_study_is_right_or_none(void **state) {
    (void)state;
    check_right_or_none("", 14);
}

static void windows_are_right_or_none(void **state) {
    (void)state;
    check_right_or_none("  preprocess: {mmseg: {short: 70, mode: slide, crop: 56, stride: 28}}\n", 4);
}

/* ------------------------------------------------------------------ the pool alone */

/* Small, large, small, ... */
enum { IMAGES = 6, SMALL = 56, LARGE = 84 };
static size_t side_of(size_t image) { return image % 2 ? LARGE : SMALL; }

static char *path_of(size_t image) { return vs_format("%s/%zu.png", folder, image); }

static void write_images(void) {
    vs_rng rng = { 4 };
    for (size_t i = 0; i < IMAGES; i++) {
        const size_t side = side_of(i);
        vs_image image = { .width = side, .height = side, .pixels = vs_calloc(3 * side, side) };
        vs_error err = { 0 };
        char *path = path_of(i);
        for (size_t k = 0; k < 3 * side * side; k++) image.pixels[k] = (uint8_t)vs_rng_next(&rng);
        assert_int_equal(vs_png_write(path, &image, &err), VS_OK);
        free(image.pixels);
        free(path);
    }
}

/* Counts what is begun; image `bad` fails in the middle, as memory of another kind would. */
typedef struct counted {
    size_t begun[IMAGES], pooled;
    size_t bad;
    size_t told, told_before; /* words of progress, and those before any image was begun */
} counted;

static void hear(void *context, const char *part, double done, size_t total) {
    counted *c = context;
    bool begun = false;
#pragma omp critical(counted)
    for (size_t i = 0; i < IMAGES; i++) begun |= c->begun[i] > 0;
    assert_string_equal(part, "counting");
    assert_int_equal(total, IMAGES);
    c->told_before += !begun && !(done > 0);
    c->told++;
}

static vs_status count_images(void *context, const vs_job *job, vs_error *err) {
    counted *c = context;
    vs_status status = VS_OK;
#pragma omp critical(counted)
    for (size_t i = job->first; i < job->first + job->images; i++) {
        c->begun[i]++;
        if (i == c->bad) status = VS_ERR_NOMEM;
    }
    return status == VS_OK ? VS_OK : vs_fail(err, status, "no memory in the middle");
}

static vs_status count_pooled(void *context, size_t image, vs_error *err) {
    counted *c = context;
    (void)err;
    assert_int_equal(c->pooled, image);
    c->pooled++;
    return VS_OK;
}

/* With --gpu-memory for two sessions of a small image, or one of a large. */
static vs_status run_pool(const vs_study *s, counted *c, vs_error *err) {
    const vs_session_options shape = { .images = 1, .height = LARGE, .width = LARGE, .workspaces = 1, .streams = 1 };
    size_t bytes = 0;
    assert_int_equal(vs_session_bytes(&bytes, s->weights, &shape, err), VS_OK);
    const vs_runner runner = { .weights = s->weights,
                               .threads = 2,
                               .batch = 1,
                               .wave = IMAGES,
                               .memory = bytes,
                               .progress = { .update = hear, .context = c } };
    return vs_run_images(&runner, &s->analysis_set, IMAGES, "counting", (vs_session_needs){ 1, 1, NULL }, count_images,
                         count_pooled, c, err);
}

static void begun_once(void **state) {
    (void)state;
    vs_error err = { 0 };
    char *text = vs_format("version: 1\nname: pool\nmodel: {checkpoint: %s/data/vit_ti14_scenes.safetensors}\n"
                           "data: {analysis: {images: \"%s/*.png\"}}\nstates: [fp32]\nanalyze: {recipes: []}\n",
                           VS_SOURCE_DIR, folder);
    vs_config *config = NULL;
    vs_study s = { 0 };
    if (vs_config_parse(&config, text, strlen(text), "pool.yaml", NULL, 0, &err) != VS_OK ||
        vs_study_open(&s, config, &(vs_study_options){ .backend = "cpu", .threads = 1, .batch = 1 }, &err) != VS_OK)
        fail_msg("%s", err.message);
    assert_int_equal(s.analysis_set.count, IMAGES);

    counted c = { .bad = IMAGES };
    assert_int_equal(run_pool(&s, &c, &err), VS_OK); /* the large ones are retried */
    for (size_t i = 0; i < IMAGES; i++) assert_int_equal(c.begun[i], 1);
    assert_int_equal(c.pooled, IMAGES);
    assert_int_equal(c.told_before, 1); /* the first image may take long */
    assert_int_equal(c.told, 1 + IMAGES);

    for (size_t bad = 0; bad < IMAGES; bad++) {
        c = (counted){ .bad = bad };
        err = (vs_error){ 0 };
        assert_int_equal(run_pool(&s, &c, &err), VS_ERR_NOMEM);
        assert_string_equal(err.message, "no memory in the middle");
        for (size_t i = 0; i < IMAGES; i++) assert_true(c.begun[i] <= 1);
        assert_int_equal(c.begun[bad], 1);
        assert_true(c.pooled <= bad);
    }
    vs_study_release(&s);
    vs_config_free(config);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(begun_once), cmocka_unit_test(a_study_is_right_or_none),
                                        cmocka_unit_test(windows_are_right_or_none) };
    make_temp_dir(folder, sizeof folder);
    write_images();
    const int code = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < IMAGES; i++) {
        char *path = path_of(i);
        (void)remove(path);
        free(path);
    }
    (void)rmdir(folder);
    return code;
}
