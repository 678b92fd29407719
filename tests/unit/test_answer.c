/* Every branch of the answer: what is decided from made-up numbers, and the words for it. */
#include "results/answer.h"
#include "support/check.h"
#include "support/made_up.h"
#include "util/util.h"

enum { ROWS = 24, STATES = 3, RECIPES = 2 };

typedef struct study {
    vs_arch arch;
    char names[ROWS][MADE_NAME];
    vs_row rows[ROWS];
    vs_row_recipe recipes[ROWS][RECIPES];
    vs_row_state states[ROWS][STATES];
    vs_sqnr output[STATES];
    double floor[RECIPES];
    vs_results results;
} study;

static const char *state_names[STATES] = { "fp32", "ptq", "sq" }, *recipe_names[RECIPES] = { "ptq", "sq" };

/* Row i: blocks.<i/4>.<qkv, q, fc1, fc2>; at its own output 40 dB by input and by weight, nothing at the model's. */
static void build(study *s) {
    static const vs_kind kinds[] = { VS_KIND_QKV, VS_KIND_Q, VS_KIND_FC1, VS_KIND_FC2 };
    memset(s, 0, sizeof *s);
    s->arch = made_arch(6);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t p = 0; p < RECIPES; p++) {
            s->recipes[i][p].local[VS_LOCAL_WEIGHT] = sqnr(40);
            s->recipes[i][p].local[VS_LOCAL_WEIGHT].present = i % 4 != 1;
            s->recipes[i][p].local[VS_LOCAL_ACTIVATION] = s->recipes[i][p].local[VS_LOCAL_BOTH] = sqnr(40);
        }
        for (size_t k = 0; k < STATES; k++) {
            s->states[i][k].out = (vs_distribution){ .present = true, .max = 1, .median = 0.5, .shape = "spike" };
            s->states[i][k].in = (vs_distribution){ .present = true, .max = 10, .median = 0.5, .shape = "spike" };
            s->states[i][k].in.quantized = k > 0;
        }
        s->rows[i] = made_row(s->names[i], kinds[i % 4], i / 4, s->recipes[i], s->states[i]);
    }
    for (size_t k = 0; k < STATES; k++) s->output[k] = sqnr(k ? 20 : HUGE_VAL);
    s->floor[0] = s->floor[1] = (double)NAN;
    s->results = made_results(&s->arch, state_names, STATES, recipe_names, RECIPES);
    s->results.analysis_images = 1;
    s->results.rows = s->rows;
    s->results.row_count = s->results.quantized_count = ROWS;
    s->results.output_sqnr = s->output;
    s->results.spared_floor = s->floor;
    snprintf(s->results.observer, sizeof s->results.observer, "min/max");
}

/* All rows `db` at the model's output, its input and its weight 3 dB better each. */
static void carry(study *s, size_t recipe, double db) {
    for (size_t i = 0; i < ROWS; i++) {
        vs_row_recipe *x = &s->recipes[i][recipe];
        x->output[VS_MODE_BOTH] = sqnr(db);
        x->output[VS_MODE_ACTIVATION] = sqnr(i % 4 == 1 ? db : db + 3);
        if (i % 4 != 1) x->output[VS_MODE_WEIGHT] = sqnr(db + 3);
    }
}

static void set(study *s, size_t row, double db) { s->recipes[row][0].output[VS_MODE_BOTH].pooled = db; }

static vs_answer decide(const study *s) {
    vs_answer a;
    vs_error err = { 0 };
    assert_int_equal(vs_answer_make(&a, &s->results, &err), VS_OK);
    return a;
}

/* The summary with every run of white space as one space. */
static char *words(study *s) {
    vs_error err = { 0 };
    char *text = NULL;
    assert_int_equal(vs_rankings_compute(&s->results, &err), VS_OK);
    assert_int_equal(vs_report_summary(&s->results, 128, &text, &err), VS_OK);
    vs_ranking_set_release(&s->results.ptq_rankings);
    vs_ranking_set_release(&s->results.sq_rankings);
    assert_null(strstr(text, "nan"));
    char *to = text;
    for (const char *c = text; *c; c++)
        if (*c != '\n' && (*c != ' ' || (to > text && to[-1] != ' ')))
            *to++ = *c;
        else if (*c == '\n' && to > text && to[-1] != ' ')
            *to++ = ' ';
    *to = '\0';
    return text;
}

static void says(study *s, const char *const *parts, size_t count) {
    char *text = words(s);
    for (size_t i = 0; i < count; i++)
        if (!strstr(text, parts[i])) fail_msg("no '%s' in:\n%s", parts[i], text);
    free(text);
}
#define SAYS(s, ...) says(s, (const char *const[]){ __VA_ARGS__ }, sizeof(const char *[]){ __VA_ARGS__ } / sizeof(char *))

static void lacks(study *s, const char *part) {
    char *text = words(s);
    if (strstr(text, part)) fail_msg("'%s' in:\n%s", part, text);
    free(text);
}

/* Two of 24 rows with nearly all noise, one of them an operand; what is worst locally is none of them. */
static void few_layers(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 0, 50);
    set(&s, 10, 20);
    s.recipes[10][0].output[VS_MODE_ACTIVATION].pooled = 20.1;
    s.recipes[10][0].output[VS_MODE_WEIGHT].pooled = 40;
    set(&s, 5, 20); /* blocks.1.attn.q: a tie keeps the model's order */
    s.recipes[3][0].local[VS_LOCAL_BOTH] = sqnr(9);
    s.output[1] = sqnr(18);
    vs_answer a = decide(&s);
    assert_int_equal(a.finding_count, 1);
    const vs_answer_finding *f = vs_answer_find(&a, VS_ANSWER_OUTPUT, VS_ANSWER_BOTH);
    assert_true(f && f->verdict == VS_ANSWER_FEW && f->count == ROWS && f->named == 2);
    assert_true(f->layers[0].row == 5 && f->layers[1].row == 10 && f->layers[2].row == 0);
    check_close(f->share, 2 / (2 + 22e-3), 1e-12);
    check_close(f->layers[5].share, 1e-3 / (2 + 22e-3), 1e-15);
    assert_true(f->layers[0].part == VS_ANSWER_UNKNOWN && f->layers[1].part == VS_ANSWER_INPUT);
    assert_true(a.worst_local == 3 && a.worst_local_db == 9);
    assert_false(a.disagrees); /* 16.9 and 18 dB */
    vs_answer_release(&a);
    SAYS(&s,
         "At the model's output, each layer of ptq quantized alone: 2 of 24 layers have 99 % of the noise: blocks.1.attn.q (20.0 "
         "dB, 49 %),",
         " blocks.2.mlp.fc1 (20.0 dB, 49 %, input). ",
         "Worst at its own output is blocks.0.mlp.fc2 (9.0 dB), but at the model's it has only <1 % of the noise.",
         "WHAT HAPPENS THERE (the worst at the model's output; the input under ptq) blocks.1.attn.q:");
    lacks(&s, "Added up");
    lacks(&s, "own outputs");
    s.output[1] = sqnr(9);
    SAYS(&s, "Added up, these noises would leave 16.9 dB, but the whole model has 9.0 dB");
    s.results.quantized_count = ROWS + 1; /* then nobody knows what they should add up to */
    lacks(&s, "Added up");
    SAYS(&s, "2 of the 24 layers looked at (of 25) have 99 % of the noise:");
}

/* Four have 80 %, but the two behind them are as bad as they are. */
static void who_is_alike_is_named(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 0, 45);
    const double loud[] = { 1.7, 8.8, 9.1, 9.1, 9.3, 9.7 };
    for (size_t i = 0; i < 6; i++) set(&s, 2 + i, loud[i]);
    vs_answer a = decide(&s);
    assert_true(a.findings[0].verdict == VS_ANSWER_FEW && a.findings[0].named == 6 && a.findings[0].share > 0.99);
    vs_answer_release(&a);
    set(&s, 6, 13);
    a = decide(&s);
    assert_int_equal(a.findings[0].named, 5); /* 9.7 is there, 13 is 3.3 dB behind it */
    vs_answer_release(&a);
    for (size_t i = 0; i < ROWS; i++) set(&s, i, 45);
    for (size_t i = 0; i < 8; i++) set(&s, i, 9); /* more than a reader can look after */
    a = decide(&s);
    assert_int_equal(a.findings[0].verdict, VS_ANSWER_SPREAD);
    vs_answer_release(&a);
}

static void one_layer_or_none_dominates(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 0, 40);
    set(&s, 8, 24); /* 40 times the others' */
    s.recipes[8][0].output[VS_MODE_WEIGHT].pooled = 24.1;
    s.recipes[8][0].output[VS_MODE_ACTIVATION].pooled = 44;
    SAYS(&s, "one layer dominates, 1 of 24 layers has 63 % of the noise, the rest is spread: blocks.2.attn.qkv (24.0 dB, 63 %, "
             "weight).");
    set(&s, 8, 20);
    SAYS(&s, "one layer dominates, 1 of 24 layers has 81 % of the noise: blocks.2.attn.qkv (20.0 dB, 81 %, weight).");
    set(&s, 8, 31);
    vs_answer a = decide(&s);
    assert_true(a.findings[0].verdict == VS_ANSWER_SPREAD && a.findings[0].named == 5);
    const double loud = pow(10, 0.9); /* 9 dB above the others */
    check_close(a.findings[0].share, (loud + 4) / (loud + 23), 1e-12);
    vs_answer_release(&a);
    SAYS(&s, "quantized alone: the loss is spread: the first five are 39 % of it: blocks.2.attn.qkv (31.0 dB, 26 %, weight), "
             "blocks.0.attn.qkv "
             "(40.0 dB, 3 %, input and weight), blocks.0.attn.q (40.0 dB, 3 %),");
    s.results.quantized_count = 99;
    SAYS(&s, "the loss is spread over the 24 layers looked at (of 99): the first five are 39 % of it:");
}

static void nothing_or_everything_is_lost(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 0, HUGE_VAL);
    SAYS(&s, "each layer of ptq quantized alone: none changes it at all.");
    lacks(&s, "WHAT HAPPENS");
    set(&s, 4, 30); /* the others have no share */
    SAYS(&s, "1 of 24 layers has 100 % of the noise: blocks.1.attn.qkv (30.0 dB, 100 %, input and weight).");
    set(&s, 4, -HUGE_VAL);
    set(&s, 7, -HUGE_VAL);
    set(&s, 9, (double)NAN); /* no place in an order */
    vs_answer a = decide(&s);
    assert_true(a.findings[0].verdict == VS_ANSWER_RUINED && a.findings[0].named == 2 && a.findings[0].count == ROWS - 1);
    assert_true(a.findings[0].share == 0 && a.worst_local == SIZE_MAX);
    vs_answer_release(&a);
    SAYS(&s, "nothing is left of it (not finite, or noise alone) with blocks.1.attn.qkv (-inf dB, input and weight), "
             "blocks.1.mlp.fc2 (-inf dB,");
    carry(&s, 0, 4000); /* no underflow makes a share of 0 / 0 */
    a = decide(&s);
    check_close(a.findings[0].layers[0].share, 1.0 / ROWS, 1e-12);
    vs_answer_release(&a);
}

static void some_modes_alone(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 0, 40);
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].output[VS_MODE_BOTH].present = false;
    s.recipes[6][0].output[VS_MODE_WEIGHT].pooled = 10;
    vs_answer a = decide(&s);
    assert_int_equal(a.finding_count, 2);
    assert_int_equal(a.findings[1].count, ROWS - ROWS / 4); /* operands have no weight */
    vs_answer_release(&a);
    SAYS(&s, "each layer of ptq quantized alone, its input only: the loss is spread: the first five are",
         "each layer of ptq quantized alone, its weight only: one layer dominates, 1 of 18 layers has 99 % of the noise: "
         "blocks.1.mlp.fc1 (10.0 dB, 99 %).");
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].output[VS_MODE_ACTIVATION].present = false;
    SAYS(&s, "its weight only: one layer dominates");
    lacks(&s, "its input only");
    lacks(&s, "WHAT HAPPENS"); /* an input's mechanism is not why a weight is lost */
}

static void short_lists(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 0, 40);
    s.results.row_count = 1;
    SAYS(&s, "each layer of ptq quantized alone: looked at was only blocks.0.attn.qkv (40.0 dB, 100 %, input and weight).");
    s.results.row_count = 3;
    set(&s, 2, 30);
    SAYS(&s,
         "the 3 layers looked at (of 24), worst first: blocks.0.mlp.fc1 (30.0 dB, 83 %, input and weight), blocks.0.attn.qkv");
    s.results.quantized_count = 3;
    SAYS(&s, "alone: 3 layers, worst first: blocks.0.mlp.fc1");
    s.results.row_count = 0;
    vs_answer a = decide(&s);
    assert_int_equal(a.finding_count, 0);
    vs_answer_release(&a);
}

static void gains_beside_chance(void **state) {
    (void)state;
    study s;
    build(&s);
    for (size_t i = 0; i < ROWS; i++) {
        s.recipes[i][0].spared = sqnr(20);
        s.recipes[i][0].spared_gain = 0.02 * (double)i - 0.3;
    }
    s.recipes[4][0].spared_gain = 0.87;
    s.floor[0] = 0.2;
    SAYS(&s,
         "If one layer alone stays in float, the output gains most and more than chance (0.40 dB) by blocks.1.attn.qkv (+0.87 "
         "dB).",
         "No layer alone was carried to the model's output");
    s.floor[0] = 0.5;
    SAYS(&s, "If one layer alone stays in float, none gains more than chance (1.00 dB).");
    s.floor[0] = (double)NAN;
    SAYS(&s, "the output gains most by blocks.1.attn.qkv (+0.87 dB), blocks.5.mlp.fc2 (+0.16 dB), blocks.5.mlp.fc1 (+0.14 dB).");
    carry(&s, 0, 40);
    set(&s, 4, 20);
    SAYS(&s, "blocks.1.attn.qkv (20.0 dB, 81 %, input and weight; +0.87 dB spared).");
    lacks(&s, "own outputs");
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].spared_gain = -1;
    SAYS(&s, "If one layer alone stays in float, none gains anything.");
    s.recipes[7][0].spared_gain = HUGE_VAL;
    SAYS(&s, "gains most by blocks.1.mlp.fc2 (+inf dB).");
}

static void own_outputs_where_nothing_better(void **state) {
    (void)state;
    study s;
    build(&s);
    SAYS(&s,
         "No layer alone was carried to the model's output (analyze.output): what follows is lost at their own outputs, and what "
         "it costs is not known.",
         "No culprit: no layer's input falls under 20 dB, or 12 dB below its weight, when it alone is quantized.",
         "Worst with the input quantized: blocks.0.attn.qkv (40.0 dB), blocks.0.attn.q (40.0 dB), blocks.0.mlp.fc1 (40.0 dB).",
         "Worst with the weight quantized: blocks.0.attn.qkv",
         "WHAT HAPPENS THERE (the worst by activations; the input under ptq)");
    s.recipes[9][0].local[VS_LOCAL_ACTIVATION] = sqnr(12);
    s.recipes[7][0].local[VS_LOCAL_ACTIVATION] = sqnr(27);
    s.recipes[5][0].local[VS_LOCAL_ACTIVATION] = sqnr(26); /* an operand beside the weight of the qkv that makes it */
    s.recipes[13][0].local[VS_LOCAL_ACTIVATION] = sqnr(29);
    SAYS(&s,
         "Precision is lost in the inputs of blocks.2.attn.q (12.0 dB), blocks.1.attn.q (26.0 dB), blocks.1.mlp.fc2 (27.0 dB).");
    lacks(&s, "weights of");
    for (size_t i = 0; i < ROWS; i++)
        s.recipes[i][0].local[VS_LOCAL_WEIGHT].present = s.recipes[i][0].local[VS_LOCAL_ACTIVATION].present = false;
    SAYS(&s, "No culprit: no layer falls under 20 dB when it alone is quantized.",
         "Worst with input and weight quantized: blocks.0.attn.qkv (40.0 dB)");
    for (size_t i = 0; i < 8; i++) s.recipes[i][0].local[VS_LOCAL_BOTH] = sqnr(i ? 5 : -HUGE_VAL);
    SAYS(&s, "Precision is lost in blocks.0.attn.qkv (-inf dB), blocks.0.attn.q (5.0 dB)",
         "blocks.1.attn.q (5.0 dB) and 2 more.");
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].local[VS_LOCAL_BOTH].present = false;
    lacks(&s, "own outputs"); /* nothing was measured: nothing is said */
    for (size_t i = 0; i < ROWS; i++) s.recipes[i][0].local[VS_LOCAL_WEIGHT] = sqnr(30);
    SAYS(&s, "No culprit: no layer's weight falls under 20 dB when it alone is quantized.");
}

static void the_recipe_that_is_there(void **state) {
    (void)state;
    study s;
    build(&s);
    carry(&s, 1, 40);
    s.recipes[6][1].output[VS_MODE_BOTH].pooled = 10;
    s.results.ptq_recipe = SIZE_MAX; /* smoothed alone */
    SAYS(&s, "each layer of sq quantized alone: one layer dominates, 1 of 24 layers has 98 % of the noise: blocks.1.mlp.fc1",
         "the input under sq)");
    s.results.state_count = 2; /* and not run as a state */
    vs_answer a = decide(&s);
    assert_true(a.recipe == 1 && a.state == SIZE_MAX && !a.disagrees);
    vs_answer_release(&a);
    lacks(&s, "WHAT HAPPENS");
    s.results.sq_recipe = SIZE_MAX; /* fp32 and half precision */
    a = decide(&s);
    assert_int_equal(a.finding_count, 0);
    vs_answer_release(&a);
    lacks(&s, "own outputs");
}

/* Half of the noise is 3.01 dB; a weight's row is not said to be clipped. */
static void clipping_is_the_loss(void **state) {
    (void)state;
    study s;
    build(&s);
    vs_row_recipe *x = &s.recipes[6][0];
    assert_false(vs_answer_is_clipped(x));
    x->local[VS_LOCAL_ACTIVATION] = sqnr(9);
    x->local[VS_LOCAL_UNCLIPPED] = sqnr(12);
    assert_false(vs_answer_is_clipped(x));
    x->local[VS_LOCAL_UNCLIPPED] = sqnr(12.02);
    assert_true(vs_answer_is_clipped(x));
    x->local[VS_LOCAL_UNCLIPPED] = sqnr(HUGE_VAL);
    assert_true(vs_answer_is_clipped(x));
    x->local[VS_LOCAL_ACTIVATION] = sqnr(HUGE_VAL); /* nothing is lost */
    assert_false(vs_answer_is_clipped(x));
    x->local[VS_LOCAL_ACTIVATION] = sqnr(9);
    x->local[VS_LOCAL_UNCLIPPED] = sqnr(45.5);
    x->ends = (vs_grid_ends){ true, 1, -0.5, 4, 12.25 };
    s.states[6][1].in.clipped = 0.0312;
    s.results.observer_cuts = true;
    snprintf(s.results.observer, sizeof s.results.observer, "percentile 99");
    SAYS(&s, "Precision is lost in the inputs of blocks.1.mlp.fc1 (9.0 dB, clipped).",
         "Clipped: the percentile 99 observer cut off values beyond the grid's ends, and that, not rounding, is most of the "
         "input's noise.",
         "3.12 % of the input lies outside the grid (-0.5 to 4), the largest in calibration is 12.2 times its end; the "
         "percentile 99 observer "
         "cut those values off. Clipping is the loss, not rounding: with the same step and no ends the layer would keep 45.5 dB "
         "instead of 9.0.");
    x->ends.overshoot = HUGE_VAL; /* the end is 0: no multiple of it */
    x->ends.grids = 2;
    SAYS(&s, "lies outside the grids of its heads, the tightest (-0.5 to 4), the largest |input| is 2.5 times the farther end; "
             "the percentile 99 observer");
    s.results.observer_cuts = false;
    snprintf(s.results.observer, sizeof s.results.observer, "min/max");
    SAYS(&s, "Clipped: the analysis images hold values beyond the grid's ends, which the calibration images set,",
         "the largest |input| is 2.5 times the farther end; no calibration image had such values. Clipping is the loss");
    s.states[6][1].in.max = 3;
    SAYS(&s, "the tightest (-0.5 to 4); no calibration image had such values.");
    carry(&s, 0, 40);
    set(&s, 6, 20);
    SAYS(&s, "blocks.1.mlp.fc1 (20.0 dB, 81 %, input and weight, clipped).", "Clipped: the analysis images");
    x->output[VS_MODE_WEIGHT].pooled = 20;
    x->output[VS_MODE_ACTIVATION].pooled = 44;
    SAYS(&s, "blocks.1.mlp.fc1 (20.0 dB, 81 %, weight).");
    lacks(&s, "Clip");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_layers),
        cmocka_unit_test(who_is_alike_is_named),
        cmocka_unit_test(one_layer_or_none_dominates),
        cmocka_unit_test(some_modes_alone),
        cmocka_unit_test(nothing_or_everything_is_lost),
        cmocka_unit_test(short_lists),
        cmocka_unit_test(gains_beside_chance),
        cmocka_unit_test(clipping_is_the_loss),
        cmocka_unit_test(own_outputs_where_nothing_better),
        cmocka_unit_test(the_recipe_that_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
