/* Fingerprints and the folder of a run: what a record leads to, and what is left of runs that were killed. */
#include <sys/stat.h>

#include "folder/file_names.h"
#include "folder/run_record.h"
#include "support/check.h"

static char dir[256];

static int make_dir(void **state) {
    (void)state;
    make_temp_dir(dir, sizeof dir);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    return vs_folder_remove(dir, NULL) == VS_OK ? 0 : 1;
}

static void put(const char *folder, const char *name, const char *text) {
    vs_error err = { 0 };
    char *path = vs_path_join(folder, name), *parent = vs_strdup(path);
    *strrchr(parent, '/') = '\0';
    assert_int_equal(vs_make_dirs(parent, &err), VS_OK);
    assert_int_equal(vs_write_file(path, text, strlen(text), &err), VS_OK);
    free(parent);
    free(path);
}

static bool there(const char *name) {
    struct stat info;
    char *path = vs_path_join(dir, name);
    const bool is = lstat(path, &info) == 0;
    free(path);
    return is;
}

static void check_files(const char *const *want, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!there(want[i])) fail_msg("no %s", want[i]);
}
#define CHECK_FILES(...)                                                                                                         \
    do {                                                                                                                         \
        static const char *const want[] = { __VA_ARGS__ };                                                                       \
        check_files(want, sizeof want / sizeof *want);                                                                           \
    } while (0)

static vs_fingerprint_part parts[] = { { (char[]){ "configuration" }, (char[]){ "a" } },
                                       { (char[]){ "backend" }, (char[]){ "cpu" } },
                                       { (char[]){ "file m" },
                                         (char[]){ "0123456789012345678901234567890123456789012345678901234567890123" } } };
static const vs_fingerprint print = { .parts = parts, .count = 3 };

static void a_difference_has_words(void **state) {
    (void)state;
    char why[100] = "";
    json_t *was = vs_fingerprint_json(&print);
    assert_true(vs_fingerprint_equals(&print, was, false, why, sizeof why));
    assert_int_equal(json_object_set_new(was, "configuration", json_string("b")), 0);
    assert_false(vs_fingerprint_equals(&print, was, false, why, sizeof why));
    assert_string_equal(why, "configuration was 'b' and is 'a'");
    assert_true(vs_fingerprint_equals(&print, was, true, why, sizeof why)); /* of one subject */
    assert_int_equal(json_object_set_new(was, "file n", json_string("x")), 0);
    assert_false(vs_fingerprint_equals(&print, was, true, why, sizeof why));
    assert_string_equal(why, "file n is gone");
    assert_int_equal(json_object_set_new(was, "file m", json_string("x")), 0);
    assert_false(vs_fingerprint_equals(&print, was, true, why, sizeof why));
    assert_string_equal(why, "file m changed");
    assert_int_equal(json_object_del(was, "backend"), 0);
    assert_false(vs_fingerprint_equals(&print, was, true, why, sizeof why));
    assert_string_equal(why, "backend is new");
    json_decref(was);
    assert_false(vs_fingerprint_equals(&print, NULL, true, why, sizeof why));
}

static void runs_of_a_batch_agree(void **state) {
    (void)state;
    vs_error err = { 0 };
    json_t *seen = json_object();
    assert_int_equal(vs_fingerprint_agree(seen, &print, NULL, &err), VS_OK);
    assert_int_equal(vs_fingerprint_agree(seen, &print, NULL, &err), VS_OK);
    assert_int_equal(json_object_size(seen), 1); /* the file alone is shared */
    assert_int_equal(json_object_set_new(seen, "file m", json_string("x")), 0);
    check_error(vs_fingerprint_agree(seen, &print, NULL, &err), &err, VS_ERR_IO, "file m changed while the batch was at work");
    json_decref(seen);
}

/* A run with these files; NULL ends the list. */
static void run(const char *const *files, const vs_names *kept) {
    vs_error err = { 0 };
    vs_run_folder f;
    assert_int_equal(vs_run_folder_open(&f, dir, &err), VS_OK);
    assert_int_equal(vs_run_folder_begin(&f, &err), VS_OK);
    for (; *files; files++) put(f.stages[strstr(*files, "half") ? VS_PART_FP16 : VS_PART_RUN], *files, *files);
    json_t *record = json_pack("{s:s, s:o}", "command", "run", "fingerprint", vs_fingerprint_json(&print));
    if (vs_run_folder_publish(&f, record, kept, &err) != VS_OK) fail_msg("%s", err.message);
    vs_run_folder_close(&f);
}

static bool is_complete(char *why, size_t size) {
    vs_error err = { 0 };
    vs_run_folder f;
    assert_int_equal(vs_run_folder_open(&f, dir, &err), VS_OK);
    const bool complete = vs_run_is_complete(&f, VS_PART_RUN, &print, why, size);
    char other[100];
    assert_false(vs_run_is_complete(&f, VS_PART_FP16, &print, other, sizeof other));
    vs_run_folder_close(&f);
    return complete;
}

static const vs_names none = { 0 };

static void files_of_the_run_before_go(void **state) {
    (void)state;
    char why[100] = "";
    put(dir, "charts/mine.png", "");
    put(dir, "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/31/32/33/34/mine", "");
    run((const char *const[]){ "results.json", "charts/a.png", "maps/b.png", "half.txt", NULL }, &none);
    CHECK_FILES("run.json", "results.json", "charts/a.png", "maps/b.png", "half.txt");
    assert_true(is_complete(why, sizeof why));
    char half[] = "half.txt", *items[] = { half };
    run((const char *const[]){ "results.json", "charts/c.png", NULL }, &(vs_names){ .items = items, .count = 1 });
    CHECK_FILES("run.json", "results.json", "charts/c.png", "charts/mine.png", "half.txt");
    assert_false(there("charts/a.png") || there("maps"));
    assert_true(is_complete(why, sizeof why));
    put(dir, "half.txt", "other");
    assert_false(is_complete(why, sizeof why));
    assert_string_equal(why, "half.txt changed");
    run((const char *const[]){ "results.json", NULL }, &none);
    assert_false(there("half.txt") || there("charts/c.png"));
    CHECK_FILES("charts/mine.png");
    char *deep = vs_path_join(dir, "1/2"); /* deeper than a folder is removed at once */
    assert_int_equal(vs_folder_remove(deep, NULL), VS_OK);
    free(deep);
}

/* Between the journal and run.json: some files are the new run's, some the old one's. */
static void a_killed_run_is_repaired(void **state) {
    (void)state;
    char why[100] = "";
    run((const char *const[]){ "results.json", "a.txt", NULL }, &none);
    put(dir, ".vitscope.files",
        "{\"outputs\": [{\"path\": \"results.json\"}, {\"path\": \"a.txt\"}, {\"path\": \"maps/b.png\"}]}");
    put(dir, ".vitscope.new.99/run/c.txt", "");
    put(dir, "maps/b.png", "");
    put(dir, "maps/b.png.tmp.99", "");
    put(dir, "maps/mine.png", "");
    char *path = vs_path_join(dir, "run.json");
    assert_int_equal(unlink(path), 0);
    free(path);
    assert_false(is_complete(why, sizeof why));
    assert_string_equal(why, "there is no finished run");
    assert_false(there(".vitscope.new.99") || there("maps/b.png.tmp.99") || there(".vitscope.lock"));
    run((const char *const[]){ "results.json", NULL }, &none);
    assert_false(there("a.txt") || there("maps/b.png") || there(".vitscope.files"));
    CHECK_FILES("results.json", "maps/mine.png", "run.json");
    put(dir, ".vitscope.files", "{\"outputs\": [{\"path\": \"results.json\"}]}"); /* killed when all was in place */
    assert_true(is_complete(why, sizeof why));
    assert_false(there(".vitscope.files"));
}

/* A run that fails before it is whole leaves nothing. */
static void new_files_do_not_mix_with_old_ones(void **state) {
    (void)state;
    char why[100] = "";
    vs_error err = { 0 };
    vs_run_folder f;
    run((const char *const[]){ "results.json", NULL }, &none);
    assert_int_equal(vs_run_folder_open(&f, dir, &err), VS_OK);
    assert_int_equal(vs_run_folder_begin(&f, &err), VS_OK);
    put(f.stages[VS_PART_RUN], "results.json", "new");
    vs_run_folder_close(&f);
    assert_true(is_complete(why, sizeof why));
}

/* Found before the files of the run before are touched. */
static void a_file_in_a_folders_place_is_told_first(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_run_folder f;
    put(dir, "charts", "");
    check_error(vs_run_folder_open(&f, dir, &err), &err, VS_ERR_IO, "charts: not a folder");
    assert_false(there(".vitscope.lock"));
}

static void a_record_leads_to_no_other_folder(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_names names = { 0 };
    json_t *record = json_pack("{s:[{s:s}, {s:s}, {s:s}, {s:s}, {s:s}, {s:i}, s, {s:s}]}", "outputs", "path", "../a", "path",
                               "/a", "path", "b/../../a", "path", "", "path", "b//a", "path", 3, "a", "path", "b/..c");
    assert_non_null(record);
    assert_int_equal(vs_run_outputs(record, &names, &err), VS_OK);
    assert_int_equal(names.count, 1);
    assert_string_equal(names.items[0], "b/..c");
    vs_names_free(&names);
    json_decref(record);
}

static void images_have_files_of_their_own(void **state) {
    (void)state;
    vs_error err = { 0 };
    vs_names out = { 0 };
    static const char *const names[] = { "scene 3", "a.jpg",        "a.png", "x/a.jpg",     "b.fp16.jpg",
                                         "x_a.jpg", "\xff\x1b.png", ".png",  "\xed\xa0\x80" };
    static const char *const want[] = { "scene_3", "a.jpg", "a.png", "x_a.jpg", "b.fp16.jpg", "x_a.jpg-2", "__", "_png", "___" };
    assert_int_equal(vs_file_names(names, 9, &out, &err), VS_OK);
    for (size_t i = 0; i < 9; i++) assert_string_equal(out.items[i], want[i]);
    vs_names_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_has_words),
        cmocka_unit_test(runs_of_a_batch_agree),
        cmocka_unit_test_setup_teardown(files_of_the_run_before_go, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_killed_run_is_repaired, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(new_files_do_not_mix_with_old_ones, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_file_in_a_folders_place_is_told_first, make_dir, remove_dir),
        cmocka_unit_test(a_record_leads_to_no_other_folder),
        cmocka_unit_test(images_have_files_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
