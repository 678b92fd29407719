#include "io/zip.h"
#include "support/archive.h"

static bytes b; /* too large for a stack */
static zip_part parts[3];
static zip_made made;

static void make(bool wide, bool streamed) {
    b.size = 0;
    parts[0] = (zip_part){ .name = "a/data.pkl", .data = "pickle", .size = 6 };
    parts[1] = (zip_part){ .name = "a/data/0", .data = "0123456789", .size = 10 };
    parts[2] = (zip_part){ .name = "a/empty", .data = "", .size = 0 };
    made = put_zip(&b, parts, 3, wide, streamed);
}

static vs_status read_zip(vs_zip *zip, vs_error *err) {
    *err = (vs_error){ 0 };
    const vs_source source = vs_source_of_memory(b.data, b.size, "x.pth");
    return vs_zip_read(zip, &source, err);
}

static void check_good(void) {
    vs_zip zip;
    vs_error err;
    if (read_zip(&zip, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(zip.count, 3);
    const vs_zip_entry *e = vs_zip_find(&zip, "a/data/0");
    assert_non_null(e);
    assert_int_equal(e->size, 10);
    assert_memory_equal(b.data + e->at, "0123456789", 10);
    assert_int_equal(vs_zip_find(&zip, "a/empty")->size, 0);
    assert_null(vs_zip_find(&zip, "a/data/1"));
    assert_int_equal(vs_zip_check_stored(&zip, "x.pth", &err), VS_OK);
    vs_zip_release(&zip);
}

static void good_archives(void **state) {
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        make(i & 1, i & 2);
        check_good();
    }
    make(false, true);
    patch(&b, made.end + 20, 7, 2);
    put_text(&b, "comment");
    check_good();
}

static void check_bad(vs_status code, const char *part) {
    vs_zip zip;
    vs_error err;
    check_error(read_zip(&zip, &err), &err, code, part);
    assert_non_null(strstr(err.message, "x.pth"));
}

static void lies_are_refused(void **state) {
    (void)state;
    /* offsets in the central header: 8 flags, 10 method, 20 packed, 24 full, 28 name, 30 extra, 42 place */
    static const struct {
        unsigned part, at, value, size;
        const char *message;
    } central[] = { { 1, 20, 11, 4, "is stored, yet 11 bytes become 10" },
                    { 1, 24, 0x7fffffff, 4, "is stored, yet 10 bytes become 2147483647" },
                    { 1, 42, 7, 4, "no header at byte 7" },
                    { 1, 42, 0x7fffffff, 4, "no header at byte 2147483647" },
                    { 1, 28, 9, 2, "names another" },
                    { 1, 28, 0xffff, 2, "directory is broken" },
                    { 1, 28, 0, 2, "directory is broken" },
                    { 1, 30, 0xffff, 2, "directory is broken" },
                    { 0, 0, 0, 4, "directory is broken" },
                    { 1, 46, 'b', 1, "names another" } };
    for (size_t i = 0; i < sizeof central / sizeof *central; i++) {
        make(false, false);
        patch(&b, parts[central[i].part].central + central[i].at, central[i].value, central[i].size);
        check_bad(VS_ERR_FORMAT, central[i].message);
    }
    make(false, false); /* both sizes agree, the file does not */
    patch(&b, parts[1].central + 20, 1000, 4);
    patch(&b, parts[1].central + 24, 1000, 4);
    check_bad(VS_ERR_FORMAT, "claims 1000 bytes, but only");
    make(false, false);
    patch(&b, parts[1].local + 18, 9, 4);
    check_bad(VS_ERR_FORMAT, "has 10 bytes by the directory, 9 by its header");
    make(false, true); /* a bomb: one entry's bytes reach over the next */
    patch(&b, parts[1].central + 20, 40, 4);
    patch(&b, parts[1].central + 24, 40, 4);
    check_bad(VS_ERR_FORMAT, "overlap");
    make(false, false); /* the same bytes twice */
    parts[2] = parts[1];
    b.size = 0;
    put_zip(&b, parts, 3, false, false);
    check_bad(VS_ERR_FORMAT, "two entries are called 'a/data/0'");
    make(false, false);
    patch(&b, parts[0].central + 8, 1, 2);
    check_bad(VS_ERR_UNSUPPORTED, "encrypted");
}

static void ends_that_lie(void **state) {
    (void)state;
    static const struct {
        unsigned at, value, size;
        const char *message;
        vs_status code;
    } ends[] = { { 16, 0x7fffffff, 4, "must end before byte", VS_ERR_FORMAT },
                 { 12, 0x7fffffff, 4, "must end before", VS_ERR_FORMAT },
                 { 8, 4, 4, "split", VS_ERR_UNSUPPORTED },
                 { 20, 1, 2, "without its end", VS_ERR_FORMAT },
                 { 4, 1, 2, "split", VS_ERR_UNSUPPORTED } };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        make(false, false);
        patch(&b, made.end + ends[i].at, ends[i].value, ends[i].size);
        check_bad(ends[i].code, ends[i].message);
    }
    make(false, false);
    patch(&b, made.end + 8, 0xfffefffe, 4);
    check_bad(VS_ERR_FORMAT, "claims 65534 entries");
    make(true, false);
    patch(&b, made.end - 20 + 8, UINT64_MAX - 3, 8);
    check_bad(VS_ERR_FORMAT, "ZIP64 end lies at no such place");
    make(true, false);
    patch(&b, made.end + 12, 5, 4);
    check_bad(VS_ERR_FORMAT, "disagree");
    make(true, false);
    patch(&b, made.end - 20 - 56 + 24, UINT64_MAX, 8);
    patch(&b, made.end - 20 - 56 + 32, UINT64_MAX, 8);
    check_bad(VS_ERR_FORMAT, "entries");
    make(true, false); /* the ZIP64 field of an entry is cut short */
    patch(&b, parts[0].central + 46 + strlen(parts[0].name) + 2, 8, 2);
    check_bad(VS_ERR_FORMAT, "directory is broken");
    make(true, false);
    patch(&b, parts[0].central + 46 + strlen(parts[0].name) + 4 + 16, UINT64_MAX - 2, 8);
    check_bad(VS_ERR_FORMAT, "no header at byte");
}

static void compressed_entries_are_named(void **state) {
    (void)state;
    vs_zip zip;
    vs_error err;
    make(false, false);
    patch(&b, parts[1].central + 10, 8, 2);
    assert_int_equal(read_zip(&zip, &err), VS_OK);
    check_error(vs_zip_check_stored(&zip, "x.pth", &err), &err, VS_ERR_UNSUPPORTED, "'a/data/0' is compressed (method 8)");
    vs_zip_release(&zip);
}

static void every_prefix(void **state) {
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++) {
        make(wide, false);
        for (size_t n = 0; n < b.size; n++) {
            uint8_t *copy = malloc(n ? n : 1); /* of its own, so that the sanitizer sees where it ends */
            vs_zip zip;
            vs_error err = { 0 };
            assert_non_null(copy);
            memcpy(copy, b.data, n);
            const vs_source cut = vs_source_of_memory(copy, n, "x.pth");
            assert_int_equal(vs_zip_read(&zip, &cut, &err), VS_ERR_FORMAT);
            free(copy);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(good_archives), cmocka_unit_test(lies_are_refused),
                                        cmocka_unit_test(ends_that_lie), cmocka_unit_test(compressed_entries_are_named),
                                        cmocka_unit_test(every_prefix) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
