/* Files and sentences at the edges: infinities, nothing measured, two recipes, awkward names, no memory of old files. */
#include <jansson.h>
#include <sys/stat.h>

#include "results/columns.h"
#include "results/results.h"
#include "support/check.h"
#include "support/made_up.h"
#include "util/util.h"

enum { ROWS = 14, STATES = 3, RECIPES = 2, CLASSES = 2 };

typedef struct study {
    vs_arch arch;
    char names[ROWS][MADE_NAME];
    vs_row rows[ROWS];
    vs_row_recipe recipes[ROWS][RECIPES];
    vs_row_state states[ROWS][STATES];
    vs_sqnr output[STATES];
    vs_task tasks[STATES];
    double iou[STATES][CLASSES];
    size_t channel;
    double gain;
    vs_plant_result plant;
    vs_results results;
} study;

static const char *state_names[STATES] = { "fp32", "ptq", "smooth,\"a\"" }, *recipe_names[RECIPES] = { "ptq", "smooth,\"a\"" };
static const char *image_names[] = { "scene 0", "caf\xe9.png" };
static const char *const class_names[CLASSES] = { "sky", "sea" };

/* Row i: weight 40 + i dB, input 60 - i dB, ratios 10 + i and 20 - i. The last is an operand. */
static void build(study *s) {
    memset(s, 0, sizeof *s);
    s->arch = made_arch(2);
    s->arch.head = VS_HEAD_SEGMENTATION;
    for (size_t i = 0; i < ROWS; i++) {
        const bool operand = i == ROWS - 1;
        for (size_t p = 0; p < RECIPES; p++) {
            s->recipes[i][p].local[VS_LOCAL_WEIGHT] = sqnr(40 + (double)i);
            s->recipes[i][p].local[VS_LOCAL_WEIGHT].present = !operand;
            s->recipes[i][p].local[VS_LOCAL_ACTIVATION] = sqnr(60 - (double)i);
        }
        for (size_t k = 0; k < STATES; k++) {
            s->states[i][k].out =
                (vs_distribution){ .present = true, .max = 1, .median = 0.5, .ratio = 10 + (double)i, .shape = "spike" };
            s->states[i][k].in =
                (vs_distribution){ .present = true, .max = 1, .median = 0.5, .ratio = 20 - (double)i, .shape = "ridge" };
            s->states[i][k].in.quantized = k > 0;
        }
        s->rows[i] = made_row(s->names[i], operand ? VS_KIND_Q : VS_KIND_FC2, i, s->recipes[i], s->states[i]);
        s->rows[i].macs = 12345678901234.0;
        s->rows[i].fqn[0] = "a,b";
        s->rows[i].fqn[1] = "c";
        s->rows[i].fqn_count = 2;
    }
    for (size_t k = 0; k < STATES; k++) {
        s->output[k] = sqnr(k ? 20 : HUGE_VAL);
        s->iou[k][0] = 80;
        s->iou[k][1] = (double)NAN;
        s->tasks[k] = (vs_task){ true, true, k == 1 ? 40 : 80, 90, 85, 99, s->iou[k], 0 };
    }
    vs_results *r = &s->results;
    *r = made_results(&s->arch, state_names, STATES, recipe_names, RECIPES);
    r->analysis_images = 2;
    r->evaluation_images = 3;
    r->image_names = image_names;
    r->rows = s->rows;
    r->row_count = ROWS;
    r->output_sqnr = s->output;
    r->has_task = true;
    r->tasks = s->tasks;
    r->class_names = class_names;
    r->class_count = CLASSES;
    r->histogram_error = 0.002;
}

static void rank_rows(study *s) {
    vs_error err = { 0 };
    assert_int_equal(vs_rankings_compute(&s->results, &err), VS_OK);
}

static void release(study *s) {
    vs_ranking_set_release(&s->results.ptq_rankings);
    vs_ranking_set_release(&s->results.sq_rankings);
}

/* No line is wider, none ends in a blank. */
static char *summary_in(study *s, size_t width) {
    vs_error err = { 0 };
    char *text = NULL;
    assert_int_equal(vs_report_summary(&s->results, width, &text, &err), VS_OK);
    for (const char *line = text; *line;) {
        const size_t n = strcspn(line, "\n");
        if (n > width) fail_msg("%zu columns of %zu: %.*s", n, width, (int)n, line);
        for (size_t i = 0; i < n; i++) assert_true(line[i] >= ' ' && line[i] <= '~');
        if (n) assert_true(line[n - 1] != ' ');
        line += n + (line[n] == '\n');
    }
    assert_null(strstr(text, "nan"));
    return text;
}

/* Tied words stay together while a line can hold them. */
static void ties_give_way(void **state) {
    (void)state;
    static const struct {
        size_t width;
        const char *text;
    } cases[] = { { 40, "  led by\n    blocks.0.mlp.fc1 (36.3 dB, input),\n    two\n" },
                  { 30, "  led by blocks.0.mlp.fc1\n    (36.3 dB, input), two\n" } };
    for (size_t i = 0; i < 2; i++) {
        vs_text t = { 0 };
        vs_text_add(&t, "  led by blocks.0.mlp.fc1\x1f(36.3\x1f"
                        "dB,\x1finput), two\n");
        assert_true(vs_text_wrap(&t, cases[i].width));
        assert_string_equal(t.bytes, cases[i].text);
        free(t.bytes);
    }
}

static char *summary_of(study *s) {
    free(summary_in(s, 40));
    free(summary_in(s, 80));
    return summary_in(s, 128);
}

static void holds(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("no '%s' in:\n%s", part, text);
}

static json_t *json_of(study *s, const char *dir) {
    char path[400];
    vs_error err = { 0 };
    assert_int_equal(vs_report_json(&s->results, dir, &err), VS_OK);
    snprintf(path, sizeof path, "%s/results.json", dir);
    json_t *o = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    unlink(path);
    return o;
}

/* The value at a path of keys ("a/b"), arrays by index. */
static json_t *at(json_t *o, const char *path) {
    char key[64];
    while (*path) {
        const size_t n = strcspn(path, "/");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        o = json_is_array(o) ? json_array_get(o, (size_t)strtoul(key, NULL, 10)) : json_object_get(o, key);
        if (!o) fail_msg("no key %s", key);
        path += n + (path[n] == '/');
    }
    return o;
}

static void json_at_the_edges(void **state) {
    (void)state;
    study s;
    build(&s);
    s.recipes[0][0].local[VS_LOCAL_ACTIVATION] = sqnr(-HUGE_VAL);
    s.states[1][0].out.ratio = HUGE_VAL;
    s.rows[2].macs = 0.5;
    s.rows[3].rows =
        (vs_row_rule){ .parts = { { .name = "query", .numbered = true, .count = 3 }, made_tokens.parts[0], made_tokens.parts[1] },
                       .part_count = 3,
                       .times = 1 };
    s.states[3][0].in.argmax_token = 2;
    s.states[3][0].out.argmax_token = s.states[4][0].out.argmax_token = 4;
    rank_rows(&s);
    char dir[256];
    make_temp_dir(dir, sizeof dir);
    json_t *o = json_of(&s, dir);
    assert_string_equal(json_string_value(at(o, "layers/0/sqnr/ptq/local/activation")), "-inf");
    assert_string_equal(json_string_value(at(o, "layers/1/states/fp32/out/ratio")), "inf");
    assert_string_equal(json_string_value(at(o, "output_sqnr/fp32/pooled")), "inf");
    assert_true(json_is_null(at(o, "output_sqnr/ptq/spared_floor")));
    assert_true(json_is_null(at(o, "layers/0/sqnr/ptq/output/both")) && json_is_null(at(o, "layers/0/sqnr/ptq/spared/gain")));
    assert_true(json_is_null(at(o, "layers/0/sqnr/ptq/cumulative")) && json_is_null(at(o, "layers/0/sqnr/ptq/local_proj")));
    assert_true(json_is_null(at(o, "layers/0/states/fp32/in/qstep")) && json_is_real(at(o, "layers/0/states/ptq/in/qstep")));
    assert_true(json_integer_value(at(o, "layers/0/macs")) == 12345678901234 && json_is_integer(at(o, "layers/0/macs")));
    assert_true(json_is_real(at(o, "layers/2/macs")));
    assert_string_equal(json_string_value(at(o, "layers/3/states/fp32/in/argmax/token")), "query2"); /* rows of its own */
    assert_string_equal(json_string_value(at(o, "layers/3/states/fp32/out/argmax/token")), "patch(0,0)");
    assert_string_equal(json_string_value(at(o, "layers/4/states/fp32/out/argmax/token")), "patch(1,1)");
    assert_string_equal(json_string_value(at(o, "analysis_images/1")), "caf?.png"); /* a Latin-1 name keeps its place */
    assert_true(json_is_null(at(o, "task/ptq/iou/1")) && json_real_value(at(o, "task/ptq/iou/0")) == 80);
    assert_string_equal(json_string_value(at(o, "classes/1")), "sea");
    assert_string_equal(json_string_value(at(o, "sq/rankings/activations/0")), s.names[ROWS - 1]);
    assert_string_equal(json_string_value(at(o, "rankings/activations/0")), s.names[0]);
    assert_true(json_is_null(at(o, "blind_spot/0/output")));
    json_decref(o);

    s.results.has_task = false;
    o = json_of(&s, dir);
    assert_true(json_is_null(at(o, "task/ptq/miou")) && json_is_null(at(o, "task/ptq/agreement")) &&
                json_is_null(at(o, "task/fp32/iou")));
    json_decref(o);
    assert_int_equal(rmdir(dir), 0);
    release(&s);
}

static void equal_runs_give_equal_bytes(void **state) {
    (void)state;
    char dir[256], path[400], *bytes[2];
    size_t size[2];
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/results.json", dir);
    for (size_t i = 0; i < 2; i++) {
        study s;
        build(&s);
        s.results.ref_precision = true;
        s.output[1] = sqnr(1.0 / 3);
        rank_rows(&s);
        assert_int_equal(vs_report_json(&s.results, dir, &err), VS_OK);
        assert_int_equal(vs_read_file(path, 1 << 20, &bytes[i], &size[i], &err), VS_OK);
        release(&s);
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    holds(bytes[0], "0.33333333333333331"); /* ref: 17 digits */
    free(bytes[0]);
    free(bytes[1]);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void csv_is_rectangular(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    char dir[256], path[400], *csv = NULL;
    size_t size = 0, lines = 0, want = 0;
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    assert_int_equal(vs_report_csv(&s.results, dir, &err), VS_OK);
    snprintf(path, sizeof path, "%s/layers.csv", dir);
    assert_int_equal(vs_read_file(path, 1 << 20, &csv, &size, &err), VS_OK);
    assert_int_equal(strncmp(csv, "layer,fqn,kind,block,macs,ptq.local.weight,", 43), 0);
    holds(csv, ",\"smooth,\"\"a\"\".local.weight\",");
    holds(csv, "blocks.0.mlp.fc2,\"a,b;c\",mlp.fc2,0,12345678901234,40,60,");
    holds(csv, ",planted\r\n");
    for (const char *p = csv; *p; lines++) {
        size_t fields = 1;
        bool quoted = false;
        for (; *p && (quoted || *p != '\n'); p++) {
            quoted ^= *p == '"';
            fields += *p == ',' && !quoted;
        }
        if (*p) p++;
        if (lines == 0) want = fields;
        assert_int_equal(fields, want);
    }
    assert_int_equal(lines, ROWS + 1);
    free(csv);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    release(&s);
}

static void rankings_of_both_recipes(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    static const char *const modes[] = { "weights", "activations", "outliers", "outliers_in", "output", "spared", "cumulative" };
    char dir[256], path[400];
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    assert_int_equal(vs_report_rankings(&s.results, dir, &err), VS_OK);
    for (size_t i = 0; i < 14; i++) {
        snprintf(path, sizeof path, "%s/ranking.%s%s.txt", dir, modes[i / 2], i % 2 ? ".sq" : "");
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    release(&s);
}

static void an_order_without_nan(void **state) {
    (void)state;
    study s;
    build(&s);
    s.states[3][0].out.ratio = (double)NAN;
    rank_rows(&s);
    const vs_ranking_set *set = &s.results.ptq_rankings;
    assert_int_equal(set->rankings[2].count, ROWS - 1);
    for (size_t i = 0; i + 1 < set->rankings[2].count; i++)
        assert_true(set->rankings[2].values[i] >= set->rankings[2].values[i + 1]);
    release(&s);
    s.results.fp32_state = SIZE_MAX;
    rank_rows(&s);
    assert_int_equal(s.results.ptq_rankings.rankings[2].count, 0);
    release(&s);
}

static void ties_keep_model_order(void **state) {
    (void)state;
    study s;
    build(&s);
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].local[VS_LOCAL_ACTIVATION] = sqnr(i < 3 ? 7 : 5);
    rank_rows(&s);
    const vs_ranking *k = &s.results.ptq_rankings.rankings[1];
    for (size_t i = 0; i < ROWS; i++) assert_int_equal(k->rows[i], (i + 3) % ROWS);
    release(&s);
}

/* outliers names rows 13..4, outliers_in rows 0..9, activations rows 13..4: only 0..3 are loud without cost. */
static void harmless_by_hand(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    const vs_ranking_set *set = &s.results.ptq_rankings;
    assert_int_equal(set->harmless_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(set->harmless[i].row, i);
        assert_int_equal(set->harmless[i].outliers_in, i + 1);
        assert_int_equal(set->harmless[i].outliers, ROWS - i);
        assert_int_equal(set->harmless[i].activations, ROWS - i);
    }
    release(&s);
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].local[VS_LOCAL_ACTIVATION].present = false;
    rank_rows(&s);
    assert_int_equal(s.results.ptq_rankings.harmless_count, 0); /* not measured is not harmless */
    release(&s);
}

static void overlap_by_hand(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    const vs_agreement *a = s.results.ptq_rankings.agreements; /* weights with activations: opposite orders of 13 rows */
    assert_string_equal(a[0].b, "activations");
    check_close(a[0].spearman, -1, 1e-12);
    assert_int_equal(a[0].overlap10, 7); /* rows 0..9 and 12..3 */
    release(&s);
}

static void a_quiet_model(void **state) {
    (void)state;
    study s;
    build(&s);
    s.tasks[1].miou = 80.3;
    rank_rows(&s);
    char *text = summary_of(&s);
    holds(text, "ptq      keeps mIoU within 0.5 points (80.00 -> 80.30).");
    holds(text, "No culprit: no layer's input falls under 20 dB, or 12 dB below its weight, when it alone is quantized.");
    holds(text, "Worst with the weight quantized: blocks.0.mlp.fc2 (40.0 dB)");
    assert_null(strstr(text, "Precision is lost"));
    assert_null(strstr(text, "FLAGGED"));
    assert_null(strstr(text, "PLANTED"));
    free(text);
    release(&s);
}

static void a_planted_model(void **state) {
    (void)state;
    study s;
    build(&s);
    s.channel = 671;
    s.gain = 1752;
    s.plant =
        (vs_plant_result){ .kind = "spike", .block = 12, .what = "unit", .channels = &s.channel, .gain = &s.gain, .count = 1 };
    snprintf(s.plant.layer, sizeof s.plant.layer, "%s", s.names[12]);
    s.results.plants = &s.plant;
    s.results.plant_count = 1;
    s.rows[12].planted = true;
    s.recipes[12][0].local[VS_LOCAL_ACTIVATION] = sqnr(1.1);
    s.states[12][1].in.qzeroed = 0.99996;
    s.states[12][1].in.argmax_token = 4;
    rank_rows(&s);
    char *text = summary_of(&s);
    assert_null(strstr(text, "No culprit"));
    holds(text, "ptq      loses 40.0 points of mIoU (80.00 -> 40.00).");
    holds(text, "Precision is lost in the inputs of blocks.12.mlp.fc2 (1.1 dB).");
    holds(text, "  PLANTED\n");
    holds(text, "unit 671 (gain 1752); by activations 1 of 14, by weights 13 of 13");
    holds(text, "blocks.12.mlp.fc2 is 13th of 13 by weights (52.0 dB) but 1st of 14 by activations (1.1 dB).");
    holds(text, "99.9 % of the input becomes zero"); /* not all of it */
    holds(text, "patch(1,1)");
    free(text);
    release(&s);
}

/* Each kind says what its indices count; residual has neither indices nor a block. */
static void plantings_say_what_they_count(void **state) {
    (void)state;
    size_t heads[] = { 0, 1, 2, 3, 4, 5 }, channel[] = { 177 };
    double gains[] = { 1024, 1024, 1024, 1024, 1024, 1024 };
    vs_plant_result plants[] = {
        { .kind = "key", .block = 5, .layer = "blocks.5.attn.k", .what = "head", .channels = heads, .gain = gains, .count = 6 },
        { .kind = "norm2",
          .block = 9,
          .layer = "blocks.9.mlp.fc1",
          .what = "channel",
          .channels = channel,
          .gain = gains,
          .count = 1 },
        { .kind = "residual", .block = -1, .layer = "embed", .gain = gains, .count = 1 },
    };
    study s;
    build(&s);
    s.results.plants = plants;
    s.results.plant_count = 3;
    rank_rows(&s);
    char *text = summary_of(&s), dir[256];
    holds(text, "blocks.5.attn.k      key, heads 0 (gain 1024), 1 (gain 1024), 2 (gain 1024), 3 (gain 1024) and 2 more");
    holds(text, "blocks.9.mlp.fc1     norm2, channel 177 (gain 1024)");
    holds(text, "embed                residual, all of it (gain 1024)\n");
    free(text);
    make_temp_dir(dir, sizeof dir);
    json_t *o = json_of(&s, dir);
    assert_string_equal(json_string_value(at(o, "planted/0/what")), "head");
    assert_int_equal(json_array_size(at(o, "planted/0/channels")), 6);
    assert_int_equal(json_integer_value(at(o, "planted/1/block")), 9);
    assert_true(json_is_null(at(o, "planted/2/block")) && json_is_null(at(o, "planted/2/what")));
    assert_int_equal(json_array_size(at(o, "planted/2/channels")), 0);
    assert_true(json_number_value(at(o, "planted/2/gain/0")) == 1024);
    json_decref(o);
    assert_int_equal(rmdir(dir), 0);
    release(&s);
}

/* Both broken alike: no gap, still named. */
static void a_layer_that_breaks_either_way(void **state) {
    (void)state;
    study s;
    build(&s);
    s.recipes[5][0].local[VS_LOCAL_ACTIVATION] = sqnr(1.3);
    s.recipes[5][0].local[VS_LOCAL_WEIGHT] = sqnr(11.7);
    rank_rows(&s);
    char *text = summary_of(&s);
    holds(text, "Precision is lost in the inputs of blocks.5.mlp.fc2 (1.3 dB).");
    holds(text, "Precision is lost in the weights of blocks.5.mlp.fc2 (11.7 dB).");
    assert_null(strstr(text, "FLAGGED"));
    free(text);
    release(&s);
}

static void nothing_measured(void **state) {
    (void)state;
    study s;
    build(&s);
    s.arch.head = VS_HEAD_NONE;
    s.results.has_task = false;
    s.results.row_count = 0;
    rank_rows(&s);
    char *text = summary_of(&s);
    holds(text, "No head: no task metric. States are compared at the model's output, the final-normed tokens.");
    holds(text, "ptq      output SQNR 20.0 dB.");
    free(text);
    release(&s);
    s.results.ptq_recipe = s.results.sq_recipe = SIZE_MAX;
    s.results.row_count = ROWS;
    s.arch.head = VS_HEAD_SEGMENTATION;
    rank_rows(&s);
    text = summary_of(&s);
    holds(text, "No evaluation images: no task metric.");
    free(text);
}

static void many_culprits_fit_the_page(void **state) {
    (void)state;
    study s;
    build(&s);
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].local[VS_LOCAL_ACTIVATION] = sqnr(i % 2 ? -HUGE_VAL : HUGE_VAL);
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].local[VS_LOCAL_WEIGHT].pooled = HUGE_VAL;
    for (size_t i = 0; i < ROWS; i++) s.states[i][0].in.ratio = s.states[i][0].out.ratio = i % 3 ? HUGE_VAL : 1e300;
    rank_rows(&s);
    char *text = summary_of(&s);
    holds(text, "blocks.1.mlp.fc2 (-inf dB), blocks.3.mlp.fc2 (-inf dB)");
    free(text);
    release(&s);
}

/* Sentences wherever their lines break. */
static void says(const char *text, const char *part) {
    char *flat = vs_strdup(text), *to = flat;
    assert_non_null(flat);
    for (const char *c = flat; *c; c++)
        if (*c != '\n' && (*c != ' ' || (to > flat && to[-1] != ' '))) *to++ = *c;
    *to = '\0';
    holds(flat, part);
    free(flat);
}

/* Which policies hold; of one that fails the first bad row with its places, what it is, and what cannot stay in half. */
static void policies_in_sentences(void **state) {
    (void)state;
    enum { HALF_ROWS = 5 };
    study s;
    build(&s);
    rank_rows(&s);
    static const char *const names[HALF_ROWS] = { "tokens", "blocks.0.norm1.square", "blocks.0.norm1.var", "blocks.1.attn.scores",
                                                  "head.conv_seg" };
    vs_fp16_row rows[2][HALF_ROWS] = { 0 };
    for (size_t i = 0; i < 2 * HALF_ROWS; i++) {
        vs_fp16_row *r = &rows[i / HALF_ROWS][i % HALF_ROWS];
        snprintf(r->name, sizeof r->name, "%s", names[i % HALF_ROWS]);
        r->max = 1023.5;
        r->headroom = 6;
        r->largest = (vs_half_place_result){ true, 1, 3, "patch(0,1)" };
    }
    rows[1][1].inf = rows[1][2].inf = rows[1][3].cast_inf = 1;
    rows[1][1].headroom = -2;
    rows[1][1].first = (vs_half_place_result){ true, 0, 2, "cls" };
    vs_fp16_policy policies[3] = {
        { .name = "fused", .analyzed = true, .finite = true, .sqnr = sqnr(60), .rows = rows[0], .row_count = HALF_ROWS },
        { .name = "decomposed.after",
          .analyzed = true,
          .finite = true,
          .sqnr = sqnr(1),
          .rows = rows[1],
          .row_count = HALF_ROWS },
        { .name = "mine", .first_bad = SIZE_MAX },
    };
    policies[0].first_bad = SIZE_MAX;
    policies[1].first_bad = 1;
    policies[1].why = "overflow";
    for (size_t i = 0; i < 3; i++) {
        policies[i].has_task = true;
        policies[i].task = (vs_task){ .has_labels = true, .miou = i == 1 ? 3 : 79.6, .shown = i == 1 ? 1 : 2 };
        policies[i].classes_predicted = policies[i].task.shown;
    }
    s.tasks[0].shown = 2;
    vs_half_weight_note notes[] = { { "blocks.0.attn.qkv.weight", 3, 0, 48, 70000 },
                                    { "blocks.0.ls1", 0, 2, 4, 1e-3 },
                                    { "blocks.1.mlp.fc1.weight", 0, 5, 64, 1 } };
    s.results.fp16 =
        (vs_fp16_results){ .policies = policies, .policy_count = 3, .format = "fp16", .weights = notes, .weight_count = 3 };
    char *text = summary_of(&s);
    holds(text, "FP16 holds under fused, mine.\n");
    says(text, "FP16 fails under decomposed.after (mIoU 80.00 -> 3.00, 1 of 2 classes predicted)");
    says(text, "blocks.0.norm1.square (overflow, first at cls of scene 0;");
    says(text, "1023.5 at patch(0,1), channel 3).");
    says(text, "squares inside LayerNorm");
    says(text, "blocks.0.norm1, blocks.1.attn.scores.");
    holds(text, "blocks.0.attn.qkv.weight: 3 of 48 weights are above the largest FP16");
    holds(text, "(largest |w| 70000)");
    holds(text, "blocks.0.ls1: 2 of 4 channels became 0 when they were stored in half\n");
    holds(text, "5 weights of 1 other tensors became 0");
    says(text, "3 of 5 -2.00 blocks.0.norm1.square blocks.0.norm1.square");
    free(text);
    policies[1].why = "nan"; /* without an overflow, and without labels */
    policies[1].finite = false;
    rows[1][1].inf = rows[1][2].inf = rows[1][3].cast_inf = 0;
    policies[1].task = (vs_task){ .has_agreement = true, .agreement = 12 };
    s.results.fp16.format = "bf16";
    text = summary_of(&s);
    says(text, "BF16 fails under decomposed.after (agreement 12.00 %, 1 class predicted)");
    says(text, "(NaN, first at cls");
    says(text, "Nothing overflows");
    free(text);
    release(&s);
}

/* What helps with nothing in float32; all that was tried below; a part that was not run says why. */
static void advice_in_sentences(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    vs_fp16_policy policies[2] = { { .name = "fused", .analyzed = true, .first_bad = SIZE_MAX },
                                   { .name = "mine", .analyzed = true, .first_bad = SIZE_MAX } };
    vs_fp16_advice advice[3] = { { .what = "fold it", .float_sqnr = 120, .sqnr = -HUGE_VAL },
                                 { .what = "scale it", .float_sqnr = HUGE_VAL, .sqnr = 58.25, .reaches = true, .has_task = true },
                                 { .policy = 1, .what = "fold it", .float_sqnr = 70, .sqnr = 3 } };
    advice[1].task = (vs_task){ .has_labels = true, .miou = 79.9 };
    s.results.fp16 =
        (vs_fp16_results){ .policies = policies, .policy_count = 2, .format = "fp16", .advice = advice, .advice_count = 3 };
    char *text = summary_of(&s);
    says(text, "With nothing in FP32: scale it gives mIoU 79.90; the float output stays as it is.");
    says(text, "No change to the weights alone is enough.");
    holds(text, "tried under fused, nothing in FP32: fold it: output inf or NaN (not enough)\n");
    holds(text, "tried under fused, nothing in FP32: scale it: output 58.2 dB, mIoU 79.90\n");
    holds(text, "tried under mine, nothing in FP32: fold it: output 3.0 dB (not enough); float32 run 70 dB from the");
    free(text);
    s.results.fp16 = (vs_fp16_results){ .format = "fp16", .not_run = "the float32 run itself is not finite" };
    text = summary_of(&s);
    says(text, "FP16 was not looked at: the float32 run itself is not finite.");
    holds(text, "HALF PRECISION, FP16: not run");
    free(text);
    release(&s);
}

/* Cause and keep list of the diagnosis instead of what overflows; needed entries first. */
static void a_keep_list_in_a_sentence(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    vs_fp16_row row = { .name = "blocks.0.ls1", .max = 70000, .headroom = -0.096, .inf = 1 };
    vs_fp16_keep keep[3] = { { .row = "blocks.0.add1" },
                             { .row = "blocks.0.ls1", .needed = true },
                             { .row = "norm", .needed = true } };
    vs_fp16_policy policy = { .name = "fused", .analyzed = true, .rows = &row, .row_count = 1, .why = "overflow" };
    policy.diagnosis = (vs_fp16_diagnosis){ .present = true, .words = "overflow of the stream at blocks.0.ls1", .reached = true };
    policy.diagnosis.keep = keep;
    policy.diagnosis.keep_count = 3;
    policy.diagnosis.macs_share = 0.0896;
    policy.diagnosis.minimal = true;
    policy.diagnosis.verified = true;
    policy.diagnosis.verified_sqnr = 51.25;
    s.results.fp16 = (vs_fp16_results){ .policies = &policy, .policy_count = 1, .format = "fp16" };
    char *text = summary_of(&s);
    says(text, "Cause: overflow of the stream at blocks.0.ls1. Keep in FP32 (2 needed, 1 for a bit of headroom; 8.96 % of");
    says(text, "blocks.0.ls1, norm, blocks.0.add1; output SQNR then 51.2 dB on the evaluation images.");
    free(text);
    policy.diagnosis.verified_task = (vs_task){ .has_labels = true, .miou = 79.9 };
    text = summary_of(&s);
    says(text, "blocks.0.add1; verified on the evaluation images: mIoU 79.90.");
    free(text);
    policy.diagnosis.reached = false;
    text = summary_of(&s);
    says(text, "blocks.0.add1; which does not reach the target.");
    free(text);
    release(&s);
}

static void a_folder_that_is_not_there(void **state) {
    (void)state;
    study s;
    build(&s);
    rank_rows(&s);
    vs_error err = { 0 };
    check_error(vs_report_json(&s.results, "/nonexistent/folder", &err), &err, VS_ERR_IO,
                "/nonexistent/folder/results.json: cannot write");
    release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_at_the_edges),
        cmocka_unit_test(equal_runs_give_equal_bytes),
        cmocka_unit_test(csv_is_rectangular),
        cmocka_unit_test(rankings_of_both_recipes),
        cmocka_unit_test(an_order_without_nan),
        cmocka_unit_test(ties_keep_model_order),
        cmocka_unit_test(harmless_by_hand),
        cmocka_unit_test(overlap_by_hand),
        cmocka_unit_test(a_quiet_model),
        cmocka_unit_test(a_planted_model),
        cmocka_unit_test(plantings_say_what_they_count),
        cmocka_unit_test(nothing_measured),
        cmocka_unit_test(a_layer_that_breaks_either_way),
        cmocka_unit_test(many_culprits_fit_the_page),
        cmocka_unit_test(policies_in_sentences),
        cmocka_unit_test(advice_in_sentences),
        cmocka_unit_test(a_keep_list_in_a_sentence),
        cmocka_unit_test(ties_give_way),
        cmocka_unit_test(a_folder_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
