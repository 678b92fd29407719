/* How many images share a session does not show in the results, nor does a batch that had to shrink because memory is short. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/check.h"
#include "support/eomt_file.h"
#include "support/small_study.h"

enum { IMAGES = 5 };

static char folder[256];

/* Photographs of two sizes, in an order that cuts batches short. */
static void write_images(void) {
    static const size_t sides[IMAGES] = { 56, 56, 70, 56, 56 };
    vs_rng rng = { 4 };
    for (size_t i = 0; i < IMAGES; i++) {
        vs_image image = { .width = 56, .height = sides[i], .pixels = vs_calloc(3 * 56, sides[i]) };
        vs_error err = { 0 };
        char path[300];
        for (size_t k = 0; k < 3 * 56 * sides[i]; k++) image.pixels[k] = (uint8_t)vs_rng_next(&rng);
        snprintf(path, sizeof path, "%s/%zu.png", folder, i);
        assert_int_equal(vs_png_write(path, &image, &err), VS_OK);
        free(image.pixels);
    }
}

static const char scenes[] = "scenes: {seed: 3, count: 5, size: 56}";

static const char vit[] =
    VS_SOURCE_DIR "/data/vit_ti14_scenes.safetensors, plant: [{kind: value, blocks: [3], units: 1, gain: 8}, "
                  "{kind: key, blocks: [4], gain: 2}]";
static const char *tested = vit;

static vs_config *make_config(const char *analysis, const char *recipe, const char *layers) {
    char *text = vs_format("version: 1\nname: sessions\nmodel: {checkpoint: %s}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: 4, size: 56}}\n  analysis: {%s}\n"
                           "  evaluation: {scenes: {seed: 9, count: 5, size: 56}}\n"
                           "recipe: {%s}\nstates: [fp32, ptq, sq]\n"
                           "analyze: {recipes: [ptq, sq], layers: [%s]}\n",
                           tested, analysis, recipe, layers);
    vs_error err = { 0 };
    vs_config *config = NULL;
    if (vs_config_parse(&config, text, strlen(text), "sessions.yaml", NULL, 0, &err) != VS_OK) fail_msg("%s", err.message);
    free(text);
    return config;
}

static void check_batches(const char *backend, const char *analysis, const char *recipe, const char *layers) {
    vs_config *config = make_config(analysis, recipe, layers);
    check_batches_do_not_show(config, backend, folder);
    vs_config_free(config);
}

static void batches_on_cpu(void **state) {
    (void)state;
    check_batches("cpu", scenes, "observer: mse",
                  "\"blocks.11.{attn.k,attn.proj,mlp.fc2}\"], output: true, spared: true, modes: [both");
}

static void probabilities_and_outer_layers(void **state) {
    (void)state;
    check_batches("cpu", scenes, "inputs: per_token, p: u8, patch_embed: true, head: true",
                  "\"patch_embed.proj\", \"blocks.11.{attn.p,attn.q,mlp.fc2}\", \"head.*\"");
}

static void batches_on_ref(void **state) {
    (void)state;
    check_batches("ref", "scenes: {seed: 3, count: 3, size: 56}", "",
                  "\"blocks.11.{attn.v,mlp.fc2}\"], output: true, modes: [both");
}

static void batches_with_queries(void **state) {
    (void)state;
    char *path = vs_path_join(folder, "eomt.safetensors"),
         *planted = vs_format("%s, plant: [{kind: value, blocks: [3], gain: 8}]", path);
    write_eomt(path, NULL, NULL);
    tested = planted;
    check_batches("ref", "scenes: {seed: 3, count: 3, size: 56}", "observer: mse, patch_embed: true, head: true",
                  "\"blocks.{1,2}.*\", \"head.*\"], output: true, spared: true, modes: [both");
    check_batches("ref", "scenes: {seed: 3, count: 3, size: 56}", "head: true", "\"blocks.4.attn.v\", \"head.upscale.1.conv1\"");
    tested = vit;
    (void)remove(path);
    free(path);
    free(planted);
}

static void images_of_two_sizes(void **state) {
    (void)state;
    char *files = vs_format("images: \"%s/*.png\"", folder);
    check_batches("cpu", files, "", "\"blocks.11.*\"");
    free(files);
}

/* ------------------------------------------------------------------ memory */

/* A backend that gives no more than `most` bytes at once and says that it holds none. The tests of a program run one by one. */
static struct {
    const vs_backend_ops *inner;
    size_t most, largest;
} limited;

static void *limited_alloc(const vs_backend *self, size_t count) {
    const size_t bytes = count * (size_t)self->scalar;
    if (bytes > limited.most) return NULL;
#pragma omp critical(limited)
    if (bytes > limited.largest) limited.largest = bytes;
    return limited.inner->alloc(self, count);
}

static void count_note(void *context, const char *text) {
    size_t *notes = context;
    *notes += strstr(text, "memory is short") != NULL;
}

/* The study with `most` bytes an allocation and `memory` in all (0: no limit). */
static vs_status run_limited(const vs_config *config, size_t batch, size_t most, size_t memory, char hex[65], size_t *notes,
                             vs_error *err) {
    vs_study s = { 0 };
    const vs_study_options options = {
        .backend = "cpu", .threads = 2, .batch = batch, .progress = { .note = count_note, .context = notes }
    };
    vs_backend_ops ops;
    *notes = 0;
    if (vs_study_open(&s, config, &options, err) != VS_OK) fail_msg("%s", err->message);
    limited.inner = s.backend->ops;
    limited.most = most;
    limited.largest = 0;
    ops = *limited.inner;
    ops.alloc = limited_alloc;
    s.backend->ops = &ops;
    s.options.memory = memory;
    const vs_status status = vs_study_run(&s, err);
    if (status == VS_OK) hash_results(&s, folder, hex);
    s.backend->ops = limited.inner;
    vs_study_release(&s);
    return status;
}

static void a_batch_shrinks(void **state) {
    (void)state;
    vs_config *config = make_config(scenes, "", "\"blocks.11.*\"");
    char want[65], got[65];
    size_t notes = 0;
    vs_error err = { 0 };
    assert_int_equal(run_limited(config, 1, SIZE_MAX, 0, want, &notes, &err), VS_OK);
    assert_int_equal(notes, 0);
    const size_t one = limited.largest; /* the largest session of one image */

    assert_int_equal(run_limited(config, 4, one, 0, got, &notes, &err), VS_OK); /* told when it asks */
    assert_string_equal(got, want);
    assert_true(notes > 0);
    assert_true(limited.largest <= one);

    assert_int_equal(run_limited(config, 4, SIZE_MAX, 2 * one, got, &notes, &err), VS_OK); /* planned */
    assert_string_equal(got, want);
    assert_true(notes > 0);
    assert_true(limited.largest <= one);

    assert_int_equal(run_limited(config, 4, SIZE_MAX, one, got, &notes, &err), VS_OK); /* one worker goes on alone */
    assert_string_equal(got, want);
    assert_true(limited.largest <= one);

    const vs_status status = run_limited(config, 4, SIZE_MAX, one - 1, got, &notes, &err);
    assert_int_equal(status, VS_ERR_NOMEM);
    assert_non_null(strstr(err.message, "no memory for a session: 1 image of 56x56 take"));
    vs_config_free(config);
}

/* A backend that says its reals are not the host's: few workers, and the other processors decode with them. */
static void helpers_decode(void **state) {
    (void)state;
    vs_config *config = make_config(scenes, "", "\"blocks.11.mlp.fc2\"");
    char want[65], got[65];
    for (size_t device = 0; device < 2; device++) {
        vs_study s = { 0 };
        vs_error err = { 0 };
        const vs_study_options options = { .backend = "cpu", .threads = 1, .batch = 3 };
        if (vs_study_open(&s, config, &options, &err) != VS_OK) fail_msg("%s", err.message);
        s.backend->host_memory = device == 0;
        if (vs_study_run(&s, &err) != VS_OK) fail_msg("%s", err.message);
        hash_results(&s, folder, device ? got : want);
        vs_study_release(&s);
    }
    assert_string_equal(got, want);
    vs_config_free(config);
}

/* A session that is made to fit others: the memory it has where that is enough, and the plan's bytes are those it takes. */
static void a_session_fits_anew(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_model *model = NULL;
    vs_backend *be = NULL;
    vs_weights *weights = NULL;
    vs_session *s = NULL;
    assert_int_equal(vs_model_random(&model, "vitti14", 56, 1, &err), VS_OK);
    assert_int_equal(vs_backend_open(&be, "cpu", &err), VS_OK);
    assert_int_equal(vs_weights_bind(&weights, be, model, &err), VS_OK);
    vs_session_options o = { .images = 3, .height = 56, .width = 56, .workspaces = 1, .streams = 2, .scratch = 5 };
    size_t bytes = 0;
    limited.inner = be->ops;
    vs_backend_ops ops = *be->ops;
    ops.alloc = limited_alloc;
    be->ops = &ops;
    limited.most = SIZE_MAX;
    limited.largest = 0;
    assert_int_equal(vs_session_bytes(&bytes, weights, &o, &err), VS_OK);
    assert_int_equal(vs_session_fit(&s, weights, &o, &err), VS_OK);
    assert_int_equal(limited.largest, bytes);
    limited.most = 0;
    o.images = 1;
    o.height = 70;
    assert_int_equal(vs_session_fit(&s, weights, &o, &err), VS_OK);
    assert_int_equal(vs_session_tokens(s), 1 + 20);
    assert_int_equal(vs_session_stream(s, 1).rows, 21);
    o.images = 4;
    assert_int_equal(vs_session_fit(&s, weights, &o, &err), VS_ERR_NOMEM);
    assert_null(s);
    o.width = 57;
    err = (vs_error){ 0 };
    assert_int_equal(vs_session_bytes(&bytes, weights, &o, &err), VS_ERR_SHAPE);
    be->ops = limited.inner;
    vs_weights_free(weights);
    vs_backend_close(be);
    vs_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(batches_on_cpu),      cmocka_unit_test(probabilities_and_outer_layers),
                                        cmocka_unit_test(batches_on_ref),      cmocka_unit_test(batches_with_queries),
                                        cmocka_unit_test(images_of_two_sizes), cmocka_unit_test(a_batch_shrinks),
                                        cmocka_unit_test(helpers_decode),      cmocka_unit_test(a_session_fits_anew) };
    make_temp_dir(folder, sizeof folder);
    write_images();
    const int code = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < IMAGES; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%zu.png", folder, i);
        (void)remove(path);
    }
    (void)rmdir(folder);
    return code;
}
