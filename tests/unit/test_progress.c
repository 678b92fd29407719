/* What a line of progress says, with made-up clocks. */
#include <string.h>

#include "cli/progress_line.h"
#include "support/cmocka_all.h"

static void says(const vs_progress_line *l, double now, size_t columns, const char *want) {
    char text[256];
    vs_progress_line_text(l, now, columns, text, sizeof text);
    assert_string_equal(text, want);
    assert_true(strlen(text) <= columns);
}

static void images_rate_and_time(void **state) {
    (void)state;
    vs_progress_line l;
    vs_progress_line_begin(&l, 5, 9, "evaluation", 100);
    says(&l, 100.5, 80, "5/9 evaluation");
    says(&l, 103, 80, "5/9 evaluation, 3 s"); /* alive, though nothing is heard */
    vs_progress_line_update(&l, "evaluation", 0.7, 64, 103);
    says(&l, 103, 80, "5/9 evaluation: 0/64 images, 3 s"); /* whole images, and no estimate from a part of one */
    vs_progress_line_update(&l, "evaluation", 8, 64, 104);
    says(&l, 104, 80, "5/9 evaluation: 8/64 images, 2/s, 28 s left");
    says(&l, 110, 80, "5/9 evaluation: 8/64 images, 2/s, 22 s left"); /* it counts down by itself */
    says(&l, 104, 40, "5/9 evaluation: 8/64 images, 28 s left");
    says(&l, 104, 34, "5/9 evaluation: 8/64, 28 s left");
    says(&l, 104, 20, "5/9 evaluation: 8/64");
    says(&l, 104, 10, "5/9 evalua");
}

/* Images come in bursts of two, a second apart or half as fast; what is left never jumps by more than a fifth. */
static void an_estimate_that_does_not_swing(void **state) {
    (void)state;
    vs_progress_line l;
    double now = 0, before = 0;
    vs_progress_line_begin(&l, 1, 1, "output", 0);
    for (size_t done = 2; done <= 400; done += 2) {
        now += done / 2 % 2 ? 1 : 2;
        vs_progress_line_update(&l, "output", (double)done - 1, 400, now);
        vs_progress_line_update(&l, "output", (double)done, 400, now + 0.01);
        if (!(l.ends > 0)) continue;
        if (before > 0 && (l.ends - before > 0.2 * before || before - l.ends > 0.2 * before))
            fail_msg("at %zu: %g s after %g s", done, l.ends, before);
        before = l.ends;
    }
    assert_true(before > 0.9 * now && before < 1.1 * now);
}

/* Parts begin anew; what nobody can count has no estimate. */
static void parts(void **state) {
    (void)state;
    vs_progress_line l;
    char text[100];
    vs_progress_line_begin(&l, 9, 9, "pictures", 0);
    vs_progress_line_update(&l, "pictures", 14, 0, 2);
    says(&l, 5, 80, "9/9 pictures: 14 drawn, 5 s");
    vs_progress_line_begin(&l, 5, 9, "analysis", 0);
    vs_progress_line_update(&l, "analysis", 2, 2, 40);
    vs_progress_line_update(&l, "analysis, structure", 0, 2, 40);
    says(&l, 45, 40, "5/9 analysis, structure: 0/2, 45 s");
    vs_progress_line_begin(&l, 8, 8, "fp16", 0);
    vs_progress_line_update(&l, "fused", 4, 4, 2);
    vs_progress_line_update(&l, "fused, diagnosis", 1, 0, 4);
    says(&l, 5, 80, "8/8 fp16, fused, diagnosis: 1 run, 5 s");
    vs_progress_line_update(&l, "decomposed.before, diagnosis", 1, 0, 4);
    says(&l, 123, 40, "8/8 decomposed.before, diagnosis, 123 s"); /* that it goes on is seen to the last */
    vs_progress_line_update(&l, "evaluation crops", 10, 40, 9);
    says(&l, 9, 80, "8/8 fp16, evaluation crops: 10/40, 2/s, 15 s left");
    vs_progress_line_tail(&l, 9, text, sizeof text);
    assert_string_equal(text, ": 10 crops, 9 s");
    vs_progress_line_head(&l, text, sizeof text);
    assert_string_equal(text, "8/8 fp16");
    vs_progress_line_begin(&l, 1, 8, "checks", 10);
    vs_progress_line_tail(&l, 10.25, text, sizeof text);
    assert_string_equal(text, ": 0.2 s");
}

static void words_are_wrapped(void **state) {
    (void)state;
    char text[100], brief[8];
    vs_progress_wrap("memory is short, going on", 12, text, sizeof text);
    assert_string_equal(text, "memory is\nshort, going\non");
    vs_progress_wrap("unbreakable", 4, text, sizeof text);
    assert_string_equal(text, "unbreakable");
    vs_progress_wrap("more than there is room for", 80, brief, sizeof brief);
    assert_true(strlen(brief) < sizeof brief);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(images_rate_and_time), cmocka_unit_test(an_estimate_that_does_not_swing),
                                        cmocka_unit_test(parts), cmocka_unit_test(words_are_wrapped) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
