/* Pictures are checked by their pixels and sizes, never by bytes of a file. */
#include <sys/stat.h>

#include "check.h"
#include "image.h"
#include "render.h"
#include "util.h"

static char dir[256];

static void decimation_keeps_every_maximum(void **state) {
    (void)state;
    enum { T = 137, C = 91, A = 20, B = 17 };
    static float in[T * C], out[A * B];
    vs_rng rng = { 3 };
    for (int round = 0; round < 50; round++) {
        float top = 0;
        for (size_t i = 0; i < T * C; i++) in[i] = (float)vs_rng_uniform(&rng);
        const size_t at = vs_rng_next(&rng) % (T * C);
        in[at] = 5;
        vs_decimate_max(in, T, C, out, A, B);
        for (size_t i = 0; i < A * B; i++) top = out[i] > top ? out[i] : top;
        assert_true(top == 5);
        assert_true(out[(at / C * A / T) * B + at % C * B / C] == 5);
    }
}

static void make_surface(vs_surface *s, vs_surface_panel *panels, float *values, size_t tokens, size_t channels) {
    static const vs_token_mark marks[] = { { 0, "CLS" } };
    vs_rng rng = { 8 };
    for (size_t i = 0; i < tokens * channels; i++) values[i] = (float)fabs(0.1 * vs_rng_normal(&rng));
    values[tokens / 2 * channels + channels / 2] = 20;
    for (size_t i = 0; i < 3; i++)
        panels[i] = (vs_surface_panel){ values, i ? "it's \"$HOME\" `id` <&>\n\\" : "fp32", 20, 0.067, i == 2 ? 0.16 : 0 };
    *s = (vs_surface){ .heading = "blocks.11.mlp.fc2 'x' `touch no`",
                       .caption = "A long caption made of words, words and more words: 100 % of `them` <are> 'quoted'.",
                       .tokens = tokens,
                       .channels = channels,
                       .panels = panels,
                       .panel_count = 3,
                       .marks = marks,
                       .mark_count = 1 };
}

static bool have_gnuplot(void) { return system("gnuplot --version > /dev/null 2>&1") == 0; }

static size_t file_size(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

/* Bright pixels of the palette's upper end: a spike one cell wide must show. */
static size_t bright(const char *path, size_t *width) {
    vs_image image;
    vs_error err = { 0 };
    assert_int_equal(vs_image_read(&image, path, &err), VS_OK);
    size_t n = 0;
    for (size_t i = 0; i < image.width * image.height; i++) {
        const uint8_t *p = image.pixels + 3 * i;
        n += p[0] > 200 && p[1] > 200 && p[2] < 90;
    }
    *width = image.width;
    vs_image_release(&image);
    return n;
}

static void a_spike_is_visible(void **state) {
    (void)state;
    if (!have_gnuplot()) skip();
    enum { T = 1370, C = 3072 };
    vs_surface s;
    vs_surface_panel panels[3];
    float *values = vs_calloc((size_t)T * C, sizeof *values);
    char stem[300], path[320];
    vs_error err = { 0 };
    vs_render_outcome outcome;
    make_surface(&s, panels, values, T, C);
    snprintf(stem, sizeof stem, "%s/s", dir);
    const vs_render_options options = { .png = true, .svg = true };
    if (vs_surface_draw(&s, stem, &options, &outcome, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(outcome, VS_RENDERED);
    snprintf(path, sizeof path, "%s.png", stem);
    size_t width = 0;
    const size_t with = bright(path, &width);
    assert_true(width > 2000);
    assert_true(with > 300);
    unlink(path);
    snprintf(path, sizeof path, "%s.svg", stem);
    assert_true(file_size(path) > 10000);
    assert_true(file_size(path) < 4000000);
    char *svg = NULL;
    size_t size = 0;
    assert_int_equal(vs_read_file(path, 1 << 23, &svg, &size, &err), VS_OK);
    assert_non_null(strstr(svg, "data:image/png;base64,"));
    assert_non_null(strstr(svg, "&lt;are"));
    free(svg);
    unlink(path);
    free(values);
}

static void odd_surfaces_draw(void **state) {
    (void)state;
    if (!have_gnuplot()) skip();
    static const size_t sizes[][2] = { { 1, 1 }, { 1, 50 }, { 50, 1 }, { 5, 3 } };
    for (size_t i = 0; i < 4; i++)
        for (int log_z = 0; log_z < 2; log_z++) {
            float values[50] = { 0 };
            if (i == 3) {
                values[2] = NAN;
                values[3] = INFINITY;
            }
            const vs_surface_panel panel = { values, "zero", 0, 0, 0 };
            const vs_surface s = { .heading = "",
                                   .tokens = sizes[i][0],
                                   .channels = sizes[i][1],
                                   .panels = &panel,
                                   .panel_count = 1,
                                   .log_z = log_z == 1 };
            char stem[300], path[320];
            vs_error err = { 0 };
            vs_render_outcome outcome;
            snprintf(stem, sizeof stem, "%s/o", dir);
            const vs_render_options options = { .png = true };
            if (vs_surface_draw(&s, stem, &options, &outcome, &err) != VS_OK)
                fail_msg("%zu x %zu: %s", sizes[i][0], sizes[i][1], err.message);
            snprintf(path, sizeof path, "%s.png", stem);
            assert_int_equal(unlink(path), 0);
        }
}

static void without_gnuplot_the_script_stays(void **state) {
    (void)state;
    vs_surface s;
    vs_surface_panel panels[3];
    float values[40 * 30];
    char stem[300], path[320];
    vs_error err = { 0 };
    vs_render_outcome outcome;
    make_surface(&s, panels, values, 40, 30);
    snprintf(stem, sizeof stem, "%s/n", dir);
    const vs_render_options options = { .gnuplot = "/nonexistent/gnuplot", .png = true, .svg = true };
    assert_int_equal(vs_surface_draw(&s, stem, &options, &outcome, &err), VS_OK);
    assert_int_equal(outcome, VS_RENDER_NO_GNUPLOT);
    snprintf(path, sizeof path, "%s.gp", stem);
    assert_true(file_size(path) > 1000);
    assert_int_equal(unlink(path), 0);
}

static void a_failing_gnuplot_is_said(void **state) {
    (void)state;
    vs_surface s;
    vs_surface_panel panels[3];
    float values[40 * 30];
    char stem[300], program[300];
    vs_error err = { 0 };
    vs_render_outcome outcome;
    make_surface(&s, panels, values, 40, 30);
    snprintf(stem, sizeof stem, "%s/f", dir);
    snprintf(program, sizeof program, "%s/gnuplot", dir);
    const char *script = "#!/bin/sh\necho 'line 7: no such thing' >&2\nexit 3\n"; /* does not even read its input */
    assert_int_equal(vs_write_file(program, script, strlen(script), &err), VS_OK);
    assert_int_equal(chmod(program, 0755), 0);
    const vs_render_options options = { .gnuplot = program, .png = true };
    check_error(vs_surface_draw(&s, stem, &options, &outcome, &err), &err, VS_ERR_IO, "line 7: no such thing");
    unlink(program);
}

static void maps_have_panels_and_a_legend(void **state) {
    (void)state;
    enum { W = 224, H = 112 };
    static uint8_t rgb[W * H * 3], classes[W * H];
    static const char *const names[] = { "sky", "road", "car" };
    for (size_t i = 0; i < W * H; i++) classes[i] = i % W < W / 2 ? 1 : 255;
    const vs_map_panel panels[] = { { "photo", rgb, NULL }, { "ptq (x)", NULL, classes } };
    const vs_map_sheet sheet = { W, H, panels, 2, names, 3 };
    char path[300];
    vs_error err = { 0 };
    snprintf(path, sizeof path, "%s/m.png", dir);
    assert_int_equal(vs_map_draw(&sheet, path, &err), VS_OK);
    vs_image image;
    assert_int_equal(vs_image_read(&image, path, &err), VS_OK);
    uint8_t road[3];
    vs_class_color(1, road);
    size_t roads = 0, grey = 0;
    for (size_t i = 0; i < image.width * image.height; i++) {
        roads += memcmp(image.pixels + 3 * i, road, 3) == 0;
        grey += image.pixels[3 * i] == 150 && image.pixels[3 * i + 1] == 150;
    }
    assert_int_equal(grey, W * H / 2);
    assert_int_equal(roads, W * H / 2 + 14 * 14); /* the map and its swatch */
    assert_true(image.width > 2 * W && image.height > H);
    vs_image_release(&image);
    unlink(path);
}

static int set_up(void **state) {
    (void)state;
    make_temp_dir(dir, sizeof dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(dir); /* fails if a temporary was left */
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(decimation_keeps_every_maximum),
                                        cmocka_unit_test(a_spike_is_visible),
                                        cmocka_unit_test(odd_surfaces_draw),
                                        cmocka_unit_test(without_gnuplot_the_script_stays),
                                        cmocka_unit_test(a_failing_gnuplot_is_said),
                                        cmocka_unit_test(maps_have_panels_and_a_legend) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
