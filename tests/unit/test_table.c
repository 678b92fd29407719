/* The table of a batch: its three files, from results.json of the runs. */
#include <jansson.h>
#include <unistd.h>

#include "results/table.h"
#include "support/check.h"
#include "util/util.h"

static void put(const char *dir, const char *name, const char *text) {
    char *path = vs_path_join(dir, name);
    vs_error err = { 0 };
    assert_int_equal(vs_write_file(path, text, strlen(text), &err), VS_OK);
    free(path);
}

static char *get(const char *dir, const char *name) {
    char *path = vs_path_join(dir, name), *text = NULL;
    size_t size = 0;
    vs_error err = { 0 };
    assert_int_equal(vs_read_file(path, 1 << 20, &text, &size, &err), VS_OK);
    free(path);
    return text;
}

static void clean(vs_table *t, const char *dir) {
    static const char *const names[] = { "results.json", "table.txt", "table.csv", "table.json" };
    for (size_t i = 0; i < 4; i++) {
        char *path = vs_path_join(dir, names[i]);
        unlink(path);
        free(path);
    }
    rmdir(dir);
    vs_table_release(t);
}

enum { PATH = 200 };

/* A table of three states, and a fresh folder for its files. */
static vs_table make(char dir[PATH], size_t runs, const char *const *names) {
    vs_table t;
    vs_error err = { 0 };
    make_temp_dir(dir, PATH);
    assert_int_equal(vs_table_create(&t, "b", runs, &err), VS_OK);
    static const char *const states[] = { "fp32", "ptq", "sq" };
    for (size_t i = 0; i < 3; i++) assert_int_equal(vs_table_add_column(&t, states[i], &err), VS_OK);
    for (size_t i = 0; i < runs; i++) t.rows[i].run = names[i];
    return t;
}

static void read_row(vs_table *t, size_t row, const char *dir, const char *results) {
    vs_error err = { 0 };
    put(dir, "results.json", results);
    assert_int_equal(vs_table_read(t, row, dir, &err), VS_OK);
}

static void publish(vs_table *t, size_t row, const char *state, double value) {
    vs_cell *c = &t->rows[row].cells[vs_table_column(t, state)];
    c->has_published = true;
    c->published = value;
}

static void published_stand_beside(void **state) {
    (void)state;
    static const char *const names[] = { "natural", "x", "broken", "later" };
    char dir[PATH];
    vs_error err = { 0 };
    vs_table t = make(dir, 4, names);
    publish(&t, 0, "fp32", 87.251);
    publish(&t, 0, "ptq", 80);
    publish(&t, 2, "ptq", 1);
    read_row(&t, 0, dir,
             "{\"task\": {\"fp32\": {\"miou\": 87.25, \"agreement\": 100}, \"ptq\": {\"miou\": 81, \"agreement\": 90},"
             " \"sq\": {\"miou\": 87.125, \"agreement\": 99}}, \"output_sqnr\": {\"ptq\": {\"pooled\": 3}}}");
    read_row(&t, 1, dir, "{\"task\": {\"fp32\": {\"miou\": 9.5}, \"sq\": {\"miou\": 8}}}"); /* no ptq, nothing published */
    t.rows[2].fate = VS_RUN_FAILED;
    t.rows[2].error = vs_strdup("b.yaml:3:4: no such file, \"x\"");
    assert_int_equal(vs_table_write(&t, 0, dir, &err), VS_OK);
    char *text = get(dir, "table.txt");
    assert_string_equal(text, "b: mIoU, percent\n\n"
                              "            fp32                         ptq                          sq\n"
                              "run         here  published    diff     here  published    diff     here\n"
                              "natural    87.25      87.25    0.00    81.00      80.00   +1.00    87.12\n"
                              "x           9.50          -       -        -          -       -     8.00\n"
                              "broken   failed: b.yaml:3:4: no such file, \"x\"\n"
                              "later    not run\n");
    free(text);
    text = get(dir, "table.csv");
    assert_string_equal(text,
                        "run,status,metric,fp32,fp32.published,fp32.difference,ptq,ptq.published,ptq.difference,sq,sq.published,"
                        "sq.difference\r\n"
                        "natural,done,miou,87.25,87.251,-0.001,81,80,1,87.125,,\r\n"
                        "x,done,miou,9.5,,,,,,8,,\r\n"
                        "broken,failed,,,,,,1,,,,\r\n"
                        "later,not run,,,,,,,,,,\r\n");
    free(text);
    text = get(dir, "table.json");
    json_t *o = json_loads(text, 0, NULL), *runs = json_object_get(o, "runs"), *first = json_array_get(runs, 0);
    assert_int_equal(json_integer_value(json_object_get(o, "schema")), 1);
    assert_int_equal(json_array_size(runs), 4);
    assert_string_equal(json_string_value(json_object_get(first, "metric")), "miou");
    const json_t *ptq = json_object_get(json_object_get(first, "states"), "ptq");
    check_close(json_real_value(json_object_get(ptq, "difference")), 1, 0);
    const json_t *sq = json_object_get(json_object_get(first, "states"), "sq");
    assert_true(json_is_null(json_object_get(sq, "published")) && json_is_null(json_object_get(sq, "difference")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(runs, 2), "error")), "b.yaml:3:4: no such file, \"x\"");
    assert_string_equal(json_string_value(json_object_get(json_array_get(runs, 3), "status")), "not run");
    json_decref(o);
    free(text);
    clean(&t, dir);
}

/* Without labels agreement, without a task SQNR; runs may differ. */
static void metrics_may_differ(void **state) {
    (void)state;
    static const char *const names[] = { "a", "c", "d" };
    char dir[PATH], *text = NULL;
    vs_error err = { 0 };
    vs_table t = make(dir, 3, names);
    read_row(&t, 0, dir,
             "{\"task\": {\"fp32\": {\"miou\": null, \"agreement\": 100}, \"ptq\": {\"miou\": null, \"agreement\": 55.5}}}");
    assert_int_equal(vs_table_text(&t, 0, &text, &err), VS_OK);
    assert_non_null(strstr(
        text,
        "b: agreement with fp32, percent\n\nrun     fp32      ptq       sq\na     100.00    55.50        -\nc    not run\n"));
    free(text);
    read_row(&t, 1, dir, "{\"task\": null, \"output_sqnr\": {\"fp32\": {\"pooled\": \"inf\"}, \"ptq\": {\"pooled\": -3.25}}}");
    publish(&t, 1, "fp32", 5);
    read_row(&t, 2, dir, "{\"task\": null, \"output_sqnr\": null}");
    assert_int_equal(vs_table_text(&t, 0, &text, &err), VS_OK);
    assert_string_equal(text, "b\n\n"
                              "                   fp32                         ptq       sq\n"
                              "run     metric     here  published    diff     here     here\n"
                              "a    agreement   100.00          -       -    55.50        -\n"
                              "c         sqnr      inf       5.00       -    -3.25        -\n"
                              "d                     -          -       -        -        -\n");
    free(text);
    clean(&t, dir);
}

/* Columns behind the states, in the order in which runs bring them. */
static void policies_are_columns(void **state) {
    (void)state;
    static const char *const names[] = { "a", "c", "d" };
    char dir[PATH], *text = NULL;
    vs_error err = { 0 };
    vs_table t = make(dir, 3, names);
    read_row(&t, 0, dir, "{\"task\": {\"fp32\": {\"miou\": 87}, \"ptq\": {\"miou\": 80}}}");
    read_row(
        &t, 1, dir,
        "{\"task\": {\"fp32\": {\"miou\": 87}}, \"fp16\": {\"policies\": {\"fused\": {\"sqnr\": 60, \"task\": {\"miou\": 86.5}},"
        " \"mine.after\": {\"sqnr\": \"-inf\", \"task\": {\"miou\": 2.99}}}}}");
    read_row(&t, 2, dir,
             "{\"task\": null, \"output_sqnr\": {\"fp32\": {\"pooled\": \"inf\"}}, \"fp16\": {\"policies\": {\"mine.after\":"
             " {\"sqnr\": \"-inf\", \"task\": null}}}}");
    assert_int_equal(vs_table_text(&t, 0, &text, &err), VS_OK);
    assert_string_equal(text, "b\n\n"
                              "run     metric     fp32      ptq       sq  fp16.fused  fp16.mine.after\n"
                              "a         miou    87.00    80.00        -           -                -\n"
                              "c         miou    87.00        -        -       86.50             2.99\n"
                              "d         sqnr      inf        -        -           -             -inf\n");
    free(text);
    assert_int_equal(vs_table_text(&t, 54, &text, &err), VS_OK); /* what does not fit stands below */
    assert_string_equal(text, "b\n\n"
                              "run     metric     fp32      ptq       sq  fp16.fused\n"
                              "a         miou    87.00    80.00        -           -\n"
                              "c         miou    87.00        -        -       86.50\n"
                              "d         sqnr      inf        -        -           -\n"
                              "\n"
                              "run     metric  fp16.mine.after\n"
                              "a         miou                -\n"
                              "c         miou             2.99\n"
                              "d         sqnr             -inf\n");
    free(text);
    clean(&t, dir);
}

static void broken_results_are_told(void **state) {
    (void)state;
    static const char *const names[] = { "a" };
    char dir[PATH];
    vs_error err = { 0 };
    vs_table t = make(dir, 1, names);
    check_error(vs_table_read(&t, 0, dir, &err), &err, VS_ERR_NOTFOUND, "results.json");
    put(dir, "results.json", "{\"task\": ");
    err = (vs_error){ 0 };
    check_error(vs_table_read(&t, 0, dir, &err), &err, VS_ERR_FORMAT, "results.json: ");
    assert_int_equal(t.rows[0].fate, VS_RUN_PENDING);
    clean(&t, dir);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(published_stand_beside), cmocka_unit_test(metrics_may_differ),
                                        cmocka_unit_test(policies_are_columns), cmocka_unit_test(broken_results_are_told) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
