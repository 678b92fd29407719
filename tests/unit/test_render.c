/* Pictures are checked by their pixels and sizes, never by bytes of a file. */
#include <sys/stat.h>

#include "io/image.h"
#include "render/render.h"
#include "support/check.h"
#include "util/util.h"

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

static char *draw_and_read_svg(const vs_surface *s, const char *stem) {
    char path[320], *svg = NULL;
    size_t size = 0;
    vs_error err = { 0 };
    vs_render_outcome outcome;
    const vs_render_options options = { .svg = true };
    if (vs_surface_draw(s, stem, &options, &outcome, &err) != VS_OK) fail_msg("%s", err.message);
    snprintf(path, sizeof path, "%s.svg", stem);
    assert_int_equal(vs_read_file(path, 1 << 23, &svg, &size, &err), VS_OK);
    unlink(path);
    return svg;
}

static void neighbouring_marks_share_a_label(void **state) {
    (void)state;
    if (!have_gnuplot()) skip();
    static const vs_token_mark marks[] = { { 0, "cls" }, { 1, "reg0" }, { 2, "reg1" }, { 3, "reg2" }, { 4, "reg3" } };
    static float values[200 * 30];
    vs_surface s;
    vs_surface_panel panels[3];
    char stem[300];
    make_surface(&s, panels, values, 200, 30);
    s.marks = marks;
    s.mark_count = 5;
    s.caption = "broken \xff\xc3 byte, whole \xc3\xa9";
    snprintf(stem, sizeof stem, "%s/r", dir);
    char *svg = draw_and_read_svg(&s, stem);
    assert_non_null(strstr(svg, ">cls\xE2\x80\x93reg3<"));
    assert_null(strstr(svg, ">reg3<"));
    assert_non_null(strstr(svg, "broken ?? byte, whole \xc3\xa9"));
    free(svg);
}

/* Pixels that only the plane's tint over white and over the floor can have. */
static size_t tinted(const vs_image *image) {
    size_t n = 0;
    for (size_t i = 0; i < image->width * image->height; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        n += (p[0] > 225 && p[0] < 245 && p[1] > 190 && p[1] < 210 && p[2] > 185 && p[2] < 205) ||
             (p[0] > 75 && p[0] < 115 && p[1] < 45 && p[2] > 50 && p[2] < 85);
    }
    return n;
}

static void the_step_is_a_plane_above_the_floor(void **state) {
    (void)state;
    if (!have_gnuplot()) skip();
    static float values[100 * 80];
    size_t planes[2];
    for (int with = 0; with < 2; with++) {
        vs_surface s;
        vs_surface_panel panels[3];
        char stem[300], path[320];
        vs_error err = { 0 };
        vs_render_outcome outcome;
        vs_image image;
        make_surface(&s, panels, values, 100, 80);
        panels[2].step = with ? 5 : 0;
        snprintf(stem, sizeof stem, "%s/p", dir);
        const vs_render_options options = { .png = true };
        if (vs_surface_draw(&s, stem, &options, &outcome, &err) != VS_OK) fail_msg("%s", err.message);
        snprintf(path, sizeof path, "%s.png", stem);
        assert_int_equal(vs_image_read(&image, path, &err), VS_OK);
        planes[with] = tinted(&image);
        vs_image_release(&image);
        unlink(path);
    }
    assert_true(planes[0] < 200);
    assert_true(planes[1] > 40000);
}

/* The tallest thing at the farthest corner stays below the titles. */
static void a_far_spike_leaves_the_titles_free(void **state) {
    (void)state;
    if (!have_gnuplot()) skip();
    static float values[60 * 50];
    values[60 * 50 - 1] = 20;
    const vs_surface_panel panel = { values, "t", 20, 0, 0.5 };
    const vs_surface s = { .heading = "h", .tokens = 60, .channels = 50, .panels = &panel, .panel_count = 1 };
    char stem[300], path[320];
    vs_error err = { 0 };
    vs_render_outcome outcome;
    vs_image image;
    snprintf(stem, sizeof stem, "%s/c", dir);
    const vs_render_options options = { .png = true };
    if (vs_surface_draw(&s, stem, &options, &outcome, &err) != VS_OK) fail_msg("%s", err.message);
    snprintf(path, sizeof path, "%s.png", stem);
    assert_int_equal(vs_image_read(&image, path, &err), VS_OK);
    size_t first = image.height;
    for (size_t i = image.width * image.height; i-- > 0;) {
        const uint8_t *p = image.pixels + 3 * i;
        if (p[0] > 200 && p[1] > 200 && p[2] < 90) first = i / image.width;
    }
    assert_true(first > 2 * 103); /* the last title line is centred at 95 nominal pixels */
    assert_true(first < image.height / 2);
    vs_image_release(&image);
    unlink(path);
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

/* A program that says all is well, dies, or fills the disk: an earlier picture stays as it was. */
static void a_broken_picture_replaces_nothing(void **state) {
    (void)state;
    static const struct {
        const char *script, *complaint;
    } cases[] = { { "#!/bin/sh\ncat > /dev/null\n", "incomplete" },
                  { "#!/bin/sh\ncat > /dev/null\nprintf '\\211PNG half a picture' > '%s/b.png.part'\n", "incomplete" },
                  { "#!/bin/sh\nkill -9 $$\n", "failed" } };
    vs_surface s;
    vs_surface_panel panels[3];
    static float values[40 * 30];
    make_surface(&s, panels, values, 40, 30);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char stem[300], program[300], path[320], *script = NULL, *kept = NULL;
        size_t size = 0;
        vs_error err = { 0 }, none = { 0 };
        vs_render_outcome outcome;
        snprintf(stem, sizeof stem, "%s/b", dir);
        snprintf(path, sizeof path, "%s/b.png", dir);
        snprintf(program, sizeof program, "%s/gnuplot", dir);
        const char *hole = strstr(cases[i].script, "%s");
        script = hole ? vs_format("%.*s%s%s", (int)(hole - cases[i].script), cases[i].script, dir, hole + 2)
                      : vs_strdup(cases[i].script);
        assert_non_null(script);
        assert_int_equal(vs_write_file(program, script, strlen(script), &none), VS_OK);
        assert_int_equal(vs_write_file(path, "earlier", 7, &none), VS_OK);
        assert_int_equal(chmod(program, 0755), 0);
        const vs_render_options options = { .gnuplot = program, .png = true };
        check_error(vs_surface_draw(&s, stem, &options, &outcome, &err), &err, VS_ERR_IO, cases[i].complaint);
        assert_int_equal(vs_read_file(path, 100, &kept, &size, &none), VS_OK);
        assert_string_equal(kept, "earlier");
        free(kept);
        free(script);
        unlink(path);
        unlink(program);
    }
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
                                        cmocka_unit_test(neighbouring_marks_share_a_label),
                                        cmocka_unit_test(the_step_is_a_plane_above_the_floor),
                                        cmocka_unit_test(a_far_spike_leaves_the_titles_free),
                                        cmocka_unit_test(a_broken_picture_replaces_nothing),
                                        cmocka_unit_test(odd_surfaces_draw),
                                        cmocka_unit_test(without_gnuplot_the_script_stays),
                                        cmocka_unit_test(a_failing_gnuplot_is_said),
                                        cmocka_unit_test(maps_have_panels_and_a_legend) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
