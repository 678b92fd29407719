/* Charts and heatmaps from made-up numbers: which files appear, what their scripts hold, what never reaches a script. */
#include <sys/stat.h>

#include "charts/charts.h"
#include "io/image.h"
#include "render/render.h"
#include "support/check.h"
#include "support/made_up.h"
#include "util/util.h"
#include "vitscope/backend.h"

enum { DEPTH = 40, KINDS = 7, STATES = 3, RECIPES = 2, ROWS = DEPTH * KINDS, CULPRITS = 2, HALF_ROWS = 2 + 3 * DEPTH };

static char dir[256];
static const vs_kind kinds[KINDS] = { VS_KIND_QKV, VS_KIND_Q, VS_KIND_K, VS_KIND_V, VS_KIND_PROJ, VS_KIND_FC1, VS_KIND_FC2 };
static const char *image_names[2] = { "scene 0", "a 'b'.png" };
static const char *state_names[STATES] = { "fp32", "ptq", "sq <&> 'a'" }, *recipe_names[RECIPES] = { "ptq", "sq <&> 'a'" };

typedef struct study {
    vs_arch arch;
    char names[ROWS][MADE_NAME];
    vs_row rows[ROWS];
    vs_row_recipe recipes[ROWS][RECIPES];
    vs_row_state states[ROWS][STATES];
    vs_sqnr stream[STATES * DEPTH], alone[CULPRITS][DEPTH];
    vs_propagation propagations[CULPRITS];
    uint64_t hist[STATES][VS_HIST_BINS], *hists[STATES];
    vs_surface_capture captures[2];
    vs_block_norms norms[DEPTH];
    vs_fp16_row half_rows[2][HALF_ROWS];
    vs_fp16_policy policies[3];
    vs_results results;
} study;

static double wave(size_t i) { return 2 * sin((double)(i * i % 101)); }

static void build_row(study *s, size_t i, vs_rng *rng) {
    const size_t k = i % KINDS, b = i / KINDS;
    const bool operand = vs_kind_is_operand(kinds[k]), planted = kinds[k] == VS_KIND_FC2 && b % 9 == 5;
    for (size_t p = 0; p < RECIPES; p++) {
        vs_row_recipe *r = &s->recipes[i][p];
        if (!operand) r->local[VS_LOCAL_WEIGHT] = sqnr(45 + wave(i));
        r->local[VS_LOCAL_ACTIVATION] = sqnr(planted && p == 0 ? 2 + vs_rng_uniform(rng) : 42 + wave(i + 7));
        r->output[VS_MODE_BOTH] = sqnr(35 + wave(i + 3));
    }
    for (size_t t = 0; t < STATES; t++)
        s->states[i][t].in = s->states[i][t].out = (vs_distribution){ .present = true,
                                                                      .max = 40,
                                                                      .median = 0.5,
                                                                      .ratio = 80,
                                                                      .quantized = t > 0,
                                                                      .qstep = t == 1 ? 0.3 : 0.02,
                                                                      .qzeroed = 0.25 };
    s->rows[i] = made_row(s->names[i], kinds[k], b, s->recipes[i], s->states[i]);
}

static void build_travel(study *s) {
    for (size_t b = 0; b < DEPTH; b++) {
        s->stream[b] = sqnr(HUGE_VAL);
        s->stream[DEPTH + b] = sqnr(40 - 0.8 * (double)b);
        s->stream[2 * DEPTH + b] = sqnr(42 - 0.4 * (double)b);
    }
    for (size_t i = 0; i < CULPRITS; i++) {
        s->propagations[i] = (vs_propagation){ .row = (5 + 9 * i) * KINDS + 6, .stream = s->alone[i] };
        for (size_t b = 5 + 9 * i; b < DEPTH; b++) s->alone[i][b] = sqnr(12 + 0.2 * (double)b + 3 * (double)i);
    }
}

static void build_captures(study *s, vs_rng *rng) {
    for (size_t t = 0; t < STATES; t++) {
        for (size_t i = 0; i < 100000; i++) s->hist[t][vs_hist_bin(fabs(vs_rng_normal(rng)) / (t == 2 ? 4 : 1))]++;
        s->hist[t][vs_hist_bin(40)] += 3;
        s->hist[t][0] += 500;
        s->hists[t] = s->hist[t];
    }
    for (size_t i = 0; i < 2; i++)
        s->captures[i] = (vs_surface_capture){ .row = 6, .tensor = i ? VS_SIDE_IN : VS_SIDE_OUT, .hists = s->hists };
}

/* tokens, three rows a block, the head; under the second policy the square of block 30 overflows, and what follows holds NaN. */
static void build_half(study *s) {
    static const char *const names[3] = { "norm1.square", "attn.scores", "add2" };
    for (size_t p = 0; p < 2; p++) {
        for (size_t i = 0; i < HALF_ROWS; i++) {
            vs_fp16_row *r = &s->half_rows[p][i];
            const size_t b = (i - 1) / 3, k = (i - 1) % 3;
            const double max = k == 0 ? 1000 * (double)(b + 1) : 10;
            if (i == 0 || i + 1 == HALF_ROWS)
                snprintf(r->name, sizeof r->name, i ? "head.conv_seg" : "tokens");
            else
                snprintf(r->name, sizeof r->name, "blocks.%zu.%s", b, names[k]);
            r->max = i == 0 ? 0 : i + 1 == HALF_ROWS ? 3 : p && b == 30 && k == 0 ? 500000 : max;
            r->headroom = r->max > 0 ? log2(65504 / r->max) : HUGE_VAL;
            r->inf = r->max > 65504;
            r->sqnr = sqnr(p && i > 3 * 30 ? -HUGE_VAL : 60);
            r->sqnr.nonfinite = p && i > 3 * 30;
            r->largest = (vs_half_place_result){ true, 1, 7, "patch(3,<4>)" };
            if (r->inf) r->first = (vs_half_place_result){ true, 0, 5, "reg1" };
        }
        s->policies[p] = (vs_fp16_policy){ .analyzed = true, .finite = !p, .rows = s->half_rows[p], .row_count = HALF_ROWS };
        s->policies[p].first_bad = p ? 3 * 30 + 1 : SIZE_MAX;
    }
    snprintf(s->policies[0].name, sizeof s->policies[0].name, "fused");
    snprintf(s->policies[1].name, sizeof s->policies[1].name, "decomposed.after");
    snprintf(s->policies[2].name, sizeof s->policies[2].name, "not analysed");
    s->results.fp16 = (vs_fp16_results){ .policies = s->policies, .policy_count = 3, .format = "fp16" };
}

static void build_norms(study *s) {
    for (size_t b = 0; b < DEPTH; b++) s->norms[b] = (vs_block_norms){ 2 * 50, 2 * 40, 2 * 10, 3 * (double)(b + 1), 80 };
    s->results.norms = (vs_token_norms){ .images = 2, .patches = 30, .high = 3, .blocks = s->norms, .block_count = DEPTH };
    s->results.norms.listed_count = 1;
    s->results.norms.listed[0] = (vs_token_norm){ 1, "patch(2,1)", 120, 12.5 };
}

static study *build(void) {
    study *s = vs_calloc(1, sizeof *s);
    vs_error err = { 0 };
    vs_rng rng = { 5 };
    assert_non_null(s);
    s->arch = made_arch(DEPTH);
    for (size_t i = 0; i < ROWS; i++) build_row(s, i, &rng);
    build_travel(s);
    build_captures(s, &rng);
    s->results = made_results(&s->arch, state_names, STATES, recipe_names, RECIPES);
    s->results.name = "made <up> & 'quoted' `x` $HOME";
    s->results.analysis_images = 2;
    s->results.image_names = image_names;
    s->results.rows = s->rows;
    s->results.row_count = ROWS;
    s->results.stream = s->stream;
    s->results.propagations = s->propagations;
    s->results.propagation_count = CULPRITS;
    build_half(s);
    build_norms(s);
    assert_int_equal(vs_rankings_compute(&s->results, &err), VS_OK);
    return s;
}

static void destroy(study *s) {
    vs_ranking_set_release(&s->results.ptq_rankings);
    vs_ranking_set_release(&s->results.sq_rankings);
    free(s);
}

static vs_chart_job job_of(const study *s, const char *gnuplot) {
    return (vs_chart_job){ .results = &s->results,
                           .captures = s->captures,
                           .capture_count = 2,
                           .dir = dir,
                           .options = { .gnuplot = gnuplot, .png = true, .svg = true } };
}

static bool have_gnuplot(void) { return system("gnuplot --version > /dev/null 2>&1") == 0; }

/* The text of <dir>/<name>, which is removed; NULL where there is no such file. */
static char *take(const char *name) {
    char path[400], *text = NULL;
    size_t size = 0;
    vs_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (access(path, F_OK) != 0) return NULL;
    assert_int_equal(vs_read_file(path, 1 << 23, &text, &size, &err), VS_OK);
    assert_int_equal(unlink(path), 0);
    return text;
}

static void drop(const char *name) {
    char *text = take(name);
    if (!text) fail_msg("no %s", name);
    free(text);
}

static void has(const char *text, const char *part) {
    if (!text || !strstr(text, part)) fail_msg("no '%s'", part);
}

static const char *const all[] = { "sqnr",  "sqnr.sq",      "blind_spot", "blind_spot.sq", "propagation", "hist.blocks.0.mlp.fc2",
                                   "norms", "fp16.headroom" };
enum { ALL = sizeof all / sizeof *all };

/* Only the numbers of the picture: captions may say "nan". */
static void check_numbers(const char *script) {
    bool block = false;
    for (const char *line = script; *line; line += strcspn(line, "\n") + (line[strcspn(line, "\n")] != '\0')) {
        const size_t n = strcspn(line, "\n");
        if (n == 3 && strncmp(line, "EOD", 3) == 0)
            block = false;
        else if (n > 6 && strncmp(line + n - 6, "<< EOD", 6) == 0)
            block = true;
        else if (block)
            assert_int_equal(strspn(line, "0123456789.e+- "), n);
        else if (strncmp(line, "set arrow", 9) == 0 || strncmp(line, "set xrange", 10) == 0 ||
                 strncmp(line, "set yrange", 10) == 0) {
            char copy[400];
            snprintf(copy, sizeof copy, "%.*s", (int)n, line);
            assert_null(strstr(copy, "nan"));
            assert_null(strstr(copy, "inf"));
        }
    }
}

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part)) n++;
    return n;
}

static void every_chart_is_drawn(void **state) {
    (void)state;
    if (!have_gnuplot()) skip();
    study *s = build();
    vs_chart_job job = job_of(s, NULL);
    vs_error err = { 0 };
    if (vs_charts_draw(&job, false, &err) != VS_OK) fail_msg("%s", err.message);
    assert_false(job.missing);
    assert_int_equal(job.pictures, 2 * ALL);
    for (size_t i = 0; i < ALL; i++) {
        char name[96], path[400];
        vs_image image;
        snprintf(path, sizeof path, "%s/%s.png", dir, all[i]);
        if (vs_image_read(&image, path, &err) != VS_OK) fail_msg("%s", err.message);
        assert_true(image.width > 1000 && image.height > 600);
        vs_image_release(&image);
        unlink(path);
        snprintf(name, sizeof name, "%s.svg", all[i]);
        char *svg = take(name);
        has(svg, "made &lt;up> &amp; 'quoted' `x` $HOME");
        assert_null(strstr(svg, "<up>"));
        assert_true(strlen(svg) < 1000000);
        free(svg);
    }
    destroy(s);
}

static void without_gnuplot_scripts_stay(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    assert_int_equal(vs_charts_draw(&job, false, &err), VS_OK);
    assert_true(job.missing);
    assert_int_equal(job.pictures, 0);
    for (size_t i = 0; i < ALL; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s.gp", all[i]);
        char *script = take(name);
        has(script, "set terminal pngcairo");
        has(script, "made <up> & ''quoted'' `x` $HOME");
        check_numbers(script);
        free(script);
    }
    destroy(s);
}

static char *script_of(vs_status status, const vs_error *err, const char *name) {
    if (status != VS_OK) fail_msg("%s", err->message);
    char *script = take(name);
    if (!script) fail_msg("no %s", name);
    check_numbers(script);
    return script;
}

static void infinite_values_are_arrows(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    s->recipes[0][0].local[VS_LOCAL_WEIGHT].pooled = HUGE_VAL;
    s->recipes[7][0].local[VS_LOCAL_ACTIVATION].pooled = -HUGE_VAL;
    s->recipes[14][0].output[VS_MODE_BOTH].pooled = (double)NAN;
    char *script = script_of(vs_chart_sqnr(&job, false, &err), &err, "sqnr.gp");
    assert_int_equal(count_of(script, "graph 1 head"), 1);
    assert_int_equal(count_of(script, "graph 0 head"), 1);
    has(script, "no noise at all");
    free(script);
    for (size_t i = 0; i < ROWS; i++) /* nothing finite at all */
        for (size_t l = 0; l < VS_LOCAL_COUNT; l++) {
            s->recipes[i][1].local[l].pooled = HUGE_VAL;
            s->recipes[i][1].output[VS_MODE_BOTH].present = false;
        }
    free(script_of(vs_chart_sqnr(&job, true, &err), &err, "sqnr.sq.gp"));
    if (have_gnuplot()) {
        job.options.gnuplot = NULL;
        if (vs_chart_sqnr(&job, true, &err) != VS_OK) fail_msg("%s", err.message);
        drop("sqnr.sq.png");
        drop("sqnr.sq.svg");
    }
    destroy(s);
}

static void the_blind_spot_is_named_with_its_ranks(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    char *script = script_of(vs_chart_blind_spot(&job, false, &err), &err, "blind_spot.gp");
    size_t marked = 0;
    for (size_t i = 0; i < s->results.ptq_rankings.blind_count; i++) {
        const vs_blind_spot *b = &s->results.ptq_rankings.blind[i];
        char left[128], right[128];
        snprintf(left, sizeof left, "'%s  %zu'", s->rows[b->row].layer, b->weights);
        snprintf(right, sizeof right, "'%zu  %s'", b->activations, s->rows[b->row].layer);
        assert_int_equal(strstr(script, left) != NULL, b->flagged);
        assert_int_equal(strstr(script, right) != NULL, b->flagged);
        marked += b->flagged;
    }
    assert_int_equal(marked, 4); /* blocks 5, 14, 23, 32 */
    free(script);
    destroy(s);
}

static void panels_without_data_are_left_out(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    char *script = script_of(vs_chart_propagation(&job, &err), &err, "propagation.gp");
    has(script, "whole model quantized");
    has(script, "'blocks.14.mlp.fc2'");
    assert_null(strstr(script, "'fp32'"));
    free(script);
    s->results.stream = NULL;
    script = script_of(vs_chart_propagation(&job, &err), &err, "propagation.gp");
    assert_null(strstr(script, "whole model quantized"));
    free(script);
    s->results.propagation_count = 0;
    assert_int_equal(vs_chart_propagation(&job, &err), VS_OK);
    assert_null(take("propagation.gp"));
    s->results.ptq_recipe = SIZE_MAX;
    assert_int_equal(vs_chart_sqnr(&job, false, &err), VS_OK);
    assert_null(take("sqnr.gp"));
    s->captures[0].hists = s->captures[1].hists = NULL;
    assert_int_equal(vs_chart_hist(&job, 0, &err), VS_OK);
    assert_null(take("hist.blocks.0.mlp.fc2.gp"));
    destroy(s);
}

static void the_step_stands_in_the_input(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    char *script = script_of(vs_chart_hist(&job, 0, &err), &err, "hist.blocks.0.mlp.fc2.gp");
    has(script, "'step/2, ptq'");
    has(script, "set arrow from first 0.15,graph 0 to first 0.15,graph 1 nohead");
    has(script, "set arrow from first 0.3,graph 0 to first 0.3,graph 1 nohead");
    has(script, "25 %"); /* wherever the lines break */
    has(script, "0.3)");
    assert_int_equal(count_of(script, "'step, "), 2);
    free(script);
    s->captures[1].hists = NULL; /* the output alone has no quantizer */
    script = script_of(vs_chart_hist(&job, 0, &err), &err, "hist.blocks.0.mlp.fc2.gp");
    assert_int_equal(count_of(script, "'step, "), 0);
    free(script);
    memset(s->hist, 0, sizeof s->hist); /* nothing but zeros */
    for (size_t t = 0; t < STATES; t++) s->hist[t][0] = 10;
    assert_int_equal(vs_chart_hist(&job, 0, &err), VS_OK);
    assert_null(take("hist.blocks.0.mlp.fc2.gp"));
    destroy(s);
}

/* A histogram's stairs enclose its count: the sum of share x width in octaves is everything that is not zero. */
static void shares_add_up(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    s->captures[1].hists = NULL;
    char *script = script_of(vs_chart_hist(&job, 0, &err), &err, "hist.blocks.0.mlp.fc2.gp");
    const char *line = strstr(script, "$s0 << EOD\n");
    double sum = 0, x[2], y[2];
    size_t have = 0;
    assert_non_null(line);
    for (line = strchr(line, '\n') + 1; strncmp(line, "EOD", 3) != 0; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "%lf %lf", &x[1], &y[1]) == 2 && *line != '\n') {
            if (have && y[0] == y[1]) sum += y[0] * log2(x[1] / x[0]);
            x[0] = x[1];
            y[0] = y[1];
            have = 1;
        } else
            have = 0;
    }
    const double whole = 100.0 * 100003 / 100503;
    check_close(sum, whole, 0.006 * whole); /* 0.5 % of the smallest may lie left of the axis, 6 digits */
    free(script);
    destroy(s);
}

/* A panel for each policy that was analysed: what overflows in red, the worst row and the first overflow with their places. */
static void overflow_is_red(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    char *script = script_of(vs_chart_headroom(&job, &err), &err, "fp16.headroom.gp");
    has(script, "'fused: 0 of 122 rows overflow'");
    has(script, "'decomposed.after: 1 of 122 rows overflow, output not finite'");
    assert_null(strstr(script, "not analysed"));
    assert_int_equal(count_of(script, "set object 1 rectangle"), 2);
    has(script, "'least: blocks.39.norm1.square, patch(3,<4>), channel 7' at first");
    has(script, "'least: blocks.30.norm1.square, patch(3,<4>), channel 7' at first");
    assert_int_equal(count_of(script, "'first: "), 0); /* it is the worst */
    assert_int_equal(count_of(script, "lc rgb '#d00000' pt 9"), 1);
    has(script, "'holds inf or NaN from before'");
    free(script);
    s->half_rows[1][1].inf = 1; /* an overflow before the worst */
    s->half_rows[1][1].first = (vs_half_place_result){ true, 0, 9, "cls" };
    script = script_of(vs_chart_headroom(&job, &err), &err, "fp16.headroom.gp");
    has(script, "'first: blocks.0.norm1.square, cls, channel 9' at first");
    free(script);
    snprintf(s->half_rows[0][2].name, sizeof s->half_rows[0][2].name, "blocks.0.attn.scores");
    s->half_rows[0][2].headroom = -1;
    script = script_of(vs_chart_headroom(&job, &err), &err, "fp16.headroom.gp");
    has(script, "'least: blocks.0.attn.scores, patch(3,<4>), key 7' at first");
    free(script);
    s->results.fp16.policy_count = 0;
    assert_int_equal(vs_chart_headroom(&job, &err), VS_OK);
    assert_null(take("fp16.headroom.gp"));
    destroy(s);
}

/* Registers and high patches have lines where there are any. */
static void norms_part_the_tokens(void **state) {
    (void)state;
    study *s = build();
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    char *script = script_of(vs_chart_norms(&job, &err), &err, "norms.gp");
    has(script, "'high patches'");
    has(script, "'2' 2, '5' 5, '10' 10, '20' 20"); /* two powers of ten alone are no axis */
    has(script, "\n39 40\n");                      /* 3 high ones share 3 * 40 after the last block */
    assert_null(strstr(script, "'registers'"));
    has(script, "12.5 times.");
    free(script);
    s->results.norms.high = 0;
    s->arch.registers = 2;
    script = script_of(vs_chart_norms(&job, &err), &err, "norms.gp");
    has(script, "'registers'");
    assert_null(strstr(script, "'high patches'"));
    free(script);
    s->results.norms.images = 0;
    assert_int_equal(vs_chart_norms(&job, &err), VS_OK);
    assert_null(take("norms.gp"));
    destroy(s);
}

static void a_stop_ends_drawing(void **state) {
    (void)state;
    study *s = build();
    vs_stop stop = true;
    vs_chart_job job = job_of(s, "/nonexistent/gnuplot");
    vs_error err = { 0 };
    job.stop = &stop;
    check_error(vs_charts_draw(&job, false, &err), &err, VS_ERR_INTERRUPTED, "interrupted");
    assert_null(take("sqnr.gp"));
    destroy(s);
}

/* ------------------------------------------------------------------ heatmaps */

static double lightness(const uint8_t c[3]) { return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; }

static void heat_rises_in_lightness(void **state) {
    (void)state;
    double before = -1;
    for (int i = 0; i <= 200; i++) {
        uint8_t c[3];
        vs_heat_color(i / 200.0, c);
        assert_true(lightness(c) > before - 0.8); /* rounding to bytes */
        if (i % 10 == 0) {
            assert_true(lightness(c) > before);
            before = lightness(c);
        }
    }
    uint8_t top[3], other[3];
    vs_heat_color(1, top);
    vs_heat_color((double)NAN, other);
    assert_memory_equal(top, other, 3);
    vs_heat_color(7, other);
    assert_memory_equal(top, other, 3);
}

static size_t pixels_of(const vs_image *image, const uint8_t color[3]) {
    size_t n = 0;
    for (size_t i = 0; i < image->width * image->height; i++) n += memcmp(image->pixels + 3 * i, color, 3) == 0;
    return n;
}

/* A lone maximum is a cell of the top colour in its own state; the other state keeps the common scale. */
static void heatmaps_share_a_scale(void **state) {
    (void)state;
    static const size_t sizes[][2] = { { 257, 192 }, { 1370, 3072 }, { 1, 1 }, { 1, 40 }, { 40, 1 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int log_z = 0; log_z < 2; log_z++) {
            const size_t n = sizes[i][0] * sizes[i][1];
            float *loud = vs_calloc(n, sizeof *loud), *quiet = vs_calloc(n, sizeof *quiet);
            assert_true(loud && quiet);
            for (size_t k = 0; k < n; k++) loud[k] = quiet[k] = 0.25F;
            loud[n / 2] = 100;
            const vs_surface_panel panels[] = { { loud, "fp32", 100, 0.25, 0 }, { quiet, "ptq", 0.25, 0.25, 3 } };
            static const vs_token_mark marks[] = { { 0, "CLS" }, { 1, "REG0" } };
            const vs_surface s = { .heading = "blocks.0.mlp.fc2  |input|",
                                   .tokens = sizes[i][0],
                                   .channels = sizes[i][1],
                                   .panels = panels,
                                   .panel_count = 2,
                                   .marks = marks,
                                   .mark_count = sizes[i][0] > 1 ? 2 : 1,
                                   .log_z = log_z == 1 };
            char paths[2][300];
            const char *const names[2] = { paths[0], paths[1] };
            vs_error err = { 0 };
            uint8_t top[3];
            vs_heat_color(1, top);
            for (size_t p = 0; p < 2; p++) snprintf(paths[p], sizeof paths[p], "%s/h%zu.png", dir, p);
            if (vs_heatmaps_draw(&s, names, &err) != VS_OK) fail_msg("%s", err.message);
            size_t bright[2];
            for (size_t p = 0; p < 2; p++) {
                vs_image image;
                assert_int_equal(vs_image_read(&image, paths[p], &err), VS_OK);
                assert_true(image.width < 2300 && image.height < 2000);
                bright[p] = pixels_of(&image, top);
                vs_image_release(&image);
                unlink(paths[p]);
            }
            assert_true(bright[0] > bright[1]);
            free(loud);
            free(quiet);
        }
}

static void broken_values_draw(void **state) {
    (void)state;
    float values[12] = { 0 };
    values[3] = NAN;
    values[5] = INFINITY;
    char path[300];
    const char *const name = path;
    vs_error err = { 0 };
    const vs_surface_panel panel = { values, "ptq", 0, 0, (double)NAN };
    const vs_surface s = { .heading = "", .tokens = 3, .channels = 4, .panels = &panel, .panel_count = 1 };
    snprintf(path, sizeof path, "%s/b.png", dir);
    assert_int_equal(vs_heatmaps_draw(&s, &name, &err), VS_OK);
    assert_int_equal(unlink(path), 0);
    const vs_surface none = { .heading = "none" };
    check_error(vs_heatmaps_draw(&none, &name, &err), &err, VS_ERR_SHAPE, "nothing to draw");
    snprintf(path, sizeof path, "%s/no/b.png", dir);
    err = (vs_error){ 0 };
    check_error(vs_heatmaps_draw(&s, &name, &err), &err, VS_ERR_IO, "no/b.png");
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
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_chart_is_drawn),
                                        cmocka_unit_test(without_gnuplot_scripts_stay),
                                        cmocka_unit_test(infinite_values_are_arrows),
                                        cmocka_unit_test(the_blind_spot_is_named_with_its_ranks),
                                        cmocka_unit_test(panels_without_data_are_left_out),
                                        cmocka_unit_test(the_step_stands_in_the_input),
                                        cmocka_unit_test(shares_add_up),
                                        cmocka_unit_test(overflow_is_red),
                                        cmocka_unit_test(norms_part_the_tokens),
                                        cmocka_unit_test(a_stop_ends_drawing),
                                        cmocka_unit_test(heat_rises_in_lightness),
                                        cmocka_unit_test(heatmaps_share_a_scale),
                                        cmocka_unit_test(broken_values_draw) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
