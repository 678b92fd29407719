#include <signal.h>
#include <sys/wait.h>

#include "support/check.h"
#include "util/util.h"

static void sizes_do_not_wrap(void **state) {
    (void)state;
    size_t out = 7;
    assert_false(vs_size_mul(&out, SIZE_MAX / 2, 3));
    assert_false(vs_size_add(&out, SIZE_MAX, 1));
    assert_int_equal(out, 7);
    assert_true(vs_size_mul(&out, 6, 7));
    assert_int_equal(out, 42);
    assert_null(vs_calloc(SIZE_MAX, 2));
}

static void globs_match_layer_names(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool hit;
    } cases[] = { { "blocks.*.mlp.fc2", "blocks.11.mlp.fc2", true },
                  { "blocks.*.mlp.fc2", "blocks.11.mlp.fc1", false },
                  { "blocks.{8,11}.mlp.*", "blocks.11.mlp.fc1", true },
                  { "blocks.{8,11}.mlp.*", "blocks.1.mlp.fc1", false },
                  { "*", "", true },
                  { "", "a", false },
                  { "a?c", "abc", true },
                  { "a?c", "ac", false },
                  { "[a-c]x", "bx", true },
                  { "[!a-c]x", "bx", false },
                  { "{a,b{c,d}}e", "bde", true },
                  { "{a,b", "{a,b", true },
                  { "*.*.*", "a.b.c", true },
                  { "a*b*c", "aXbYc", true },
                  { "a*b*c", "aXbY", false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (vs_glob_match(cases[i].pattern, cases[i].text) != cases[i].hit)
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].text);
}

static void hostile_globs_end(void **state) {
    (void)state;
    char pattern[400] = "";
    for (int i = 0; i < 40; i++) strcat(pattern, "{a,b,c}");
    assert_false(vs_glob_match(pattern, "zzzz"));
}

static void nearest_names(void **state) {
    (void)state;
    const char *const names[] = { "calibration", "analysis", "evaluation" };
    assert_string_equal(vs_nearest("calibratoin", names, 3), "calibration");
    assert_null(vs_nearest("zzzzzzzzzzzz", names, 3));
    assert_int_equal(vs_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(vs_edit_distance("recpie", "recipe"), 1);
    const char *flags[] = { "--out", "--set", "--threads", "--version", "--dry-run", "--seed" };
    static const char *const near[][2] = { { "--otu", "--out" },        { "--output", "--out" },  { "--thread", "--threads" },
                                           { "--dryrun", "--dry-run" }, { "--dry", "--dry-run" }, { "--sead", "--seed" },
                                           { "--verbose", NULL },       { "--foo", NULL },        { "-x", NULL },
                                           { "--seeds", "--seed" },     { "--recursive", NULL },  { "--", NULL } };
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        const char *got = vs_nearest(near[i][0], flags, 6);
        if (near[i][1])
            assert_string_equal(got, near[i][1]);
        else
            assert_null(got);
    }
}

static void sha256_known_answers(void **state) { /* FIPS 180-4 examples */
    (void)state;
    static const struct {
        const char *text, *hex;
    } cases[] = { { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
                  { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
                  { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" } };
    for (size_t i = 0; i < 3; i++) {
        vs_sha256 sha;
        uint8_t digest[32];
        char hex[65];
        vs_sha256_init(&sha);
        for (const char *p = cases[i].text; *p; p++) vs_sha256_update(&sha, p, 1);
        vs_sha256_final(&sha, digest);
        vs_hex(digest, 32, hex);
        assert_string_equal(hex, cases[i].hex);
    }
}

static void files_appear_whole(void **state) {
    (void)state;
    char dir[256], path[300], *bytes = NULL;
    size_t size = 0;
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/a.txt", dir);
    assert_int_equal(vs_write_file(path, "old", 3, &err), VS_OK);
    vs_outfile file;
    assert_int_equal(vs_outfile_open(&file, path, &err), VS_OK);
    fputs("half", file.stream);
    vs_outfile_discard(&file);
    assert_int_equal(vs_read_file(path, 100, &bytes, &size, &err), VS_OK);
    assert_string_equal(bytes, "old");
    free(bytes);
    check_error(vs_read_file(path, 2, &bytes, &size, &err), &err, VS_ERR_FORMAT, "larger than 2 bytes");
    unlink(path);
    assert_int_equal(rmdir(dir), 0); /* nothing was left beside it */
}

static void a_full_disk_is_said(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    char dir[256], path[300], temporary[400];
    vs_error err = { 0 };
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/a.txt", dir);
    snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid());
    assert_int_equal(symlink("/dev/full", temporary), 0);
    check_error(vs_write_file(path, "some bytes", 10, &err), &err, VS_ERR_IO, "No space left on device");
    assert_non_null(strstr(err.message, path));
    assert_int_not_equal(access(path, F_OK), 0);
    /* more than a buffer holds: the write fails long before the end */
    const size_t large = (size_t)1 << 20;
    char *bytes = vs_calloc(large, 1);
    assert_non_null(bytes);
    err = (vs_error){ 0 };
    assert_int_equal(symlink("/dev/full", temporary), 0);
    check_error(vs_write_file(path, bytes, large, &err), &err, VS_ERR_IO, "No space left on device");
    free(bytes);
    assert_int_equal(rmdir(dir), 0);
}

static void temporary_names(void **state) {
    (void)state;
    assert_true(vs_is_temporary("results.json.tmp.123"));
    assert_true(vs_is_temporary("a.tmp.b.tmp.1"));
    static const char *const others[] = { "results.json", "notes.tmp.txt", "a.tmp.", "a.tmp.12x", ".tmp.12", "a.tmp.1.png", "" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_false(vs_is_temporary(others[i]));
}

/* A child holds the lock, is killed, and the lock is free. */
static void a_lock_has_one_holder(void **state) {
    (void)state;
    char dir[256];
    int ready[2];
    vs_error err = { 0 };
    vs_lock lock;
    make_temp_dir(dir, sizeof dir);
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const char taken = vs_lock_take(&lock, dir, NULL) == VS_OK;
        (void)!write(ready[1], &taken, 1);
        for (;;) pause();
    }
    char taken = 0;
    assert_int_equal(read(ready[0], &taken, 1), 1);
    assert_true(taken);
    check_error(vs_lock_take(&lock, dir, &err), &err, VS_ERR_IO, "another run (process ");
    vs_lock_release(&lock); /* nothing is held */
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    err = (vs_error){ 0 };
    assert_int_equal(vs_lock_take(&lock, dir, &err), VS_OK);
    vs_lock_release(&lock);
    (void)close(ready[0]);
    (void)close(ready[1]);
    assert_int_equal(rmdir(dir), 0); /* its file is gone */
}

static void errors_keep_the_first(void **state) {
    (void)state;
    vs_error err = { 0 };
    assert_int_equal(vs_fail(&err, VS_ERR_IO, "first\nline"), VS_ERR_IO);
    (void)vs_fail(&err, VS_ERR_NOMEM, "second");
    vs_error_prefix(&err, "file: ");
    assert_string_equal(err.message, "file: first line");
    assert_int_equal(err.code, VS_ERR_IO);
    assert_int_equal(vs_status_exit_code(VS_ERR_UNSUPPORTED), 1);
    assert_int_equal(vs_status_exit_code(VS_ERR_NOTFOUND), 3);
    assert_int_equal(vs_status_exit_code(VS_ERR_BACKEND), 4);
    assert_int_equal(vs_status_exit_code(VS_ERR_INTERRUPTED), 130);
    assert_int_equal(vs_status_exit_code(VS_ERR_FORMAT), 1);
}

static void text_for_terminals(void **state) {
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = { { "blocks.0.attn.qkv", "blocks.0.attn.qkv" },
                  { "\x1b[31mRED\x1b]0;x\x07", "\\x1b[31mRED\\x1b]0;x\\x07" },
                  { "a\nb\r\tc\x7f", "a\\x0ab\\x0d\\x09c\\x7f" },
                  { "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
                  { "\xc2\x9b"
                    "31m",
                    "\\xc2\\x9b31m" }, /* C1: a sequence's beginning in one character */
                  { "caf\xe9", "caf\\xe9" },
                  { "\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82",
                    "\\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *shown = vs_printable_copy(cases[i].text);
        assert_string_equal(shown, cases[i].shown);
        free(shown);
    }
    char small[6];
    assert_string_equal(vs_printable("abc\x1b", small, sizeof small), "abc"); /* whole characters alone */
    assert_string_equal(vs_printable("abcd\xc3\xa9", small, sizeof small), "abcd");
    vs_error err = { 0 };
    vs_error_set(&err, VS_ERR_FORMAT, "tensor '%s'", "\x1b[2J\n");
    vs_error_prefix(&err, "%s: ", "\x1b.png");
    assert_string_equal(err.message, "\\x1b.png: tensor '\\x1b[2J '");
}

static void threads_start(void **state) {
    (void)state;
    assert_int_equal(vs_threads_available(0), 1);
    assert_int_equal(vs_threads_available(1), 1);
    assert_int_equal(vs_threads_available(5), 5);
    assert_int_equal(vs_threads_available((size_t)-1), 1); /* no memory for their names */
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(text_for_terminals),    cmocka_unit_test(threads_start),
                                        cmocka_unit_test(sizes_do_not_wrap),     cmocka_unit_test(globs_match_layer_names),
                                        cmocka_unit_test(hostile_globs_end),     cmocka_unit_test(nearest_names),
                                        cmocka_unit_test(sha256_known_answers),  cmocka_unit_test(files_appear_whole),
                                        cmocka_unit_test(a_full_disk_is_said),   cmocka_unit_test(temporary_names),
                                        cmocka_unit_test(a_lock_has_one_holder), cmocka_unit_test(errors_keep_the_first) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
