#include "io/pickle.h"
#include "support/archive.h"

static bytes b;

static void read_fails(vs_status code, const char *part) {
    vs_pickle p;
    vs_error err = { 0 };
    check_error(vs_pickle_read(&p, b.data, b.size, 1000, "x.pth", &err), &err, code, part);
    assert_non_null(strstr(err.message, "x.pth: byte 1"));
}

static void values(void **state) {
    (void)state;
    vs_pickle p;
    vs_error err = { 0 };
    b.size = 0;
    put(&b, "\x80\4\x95", 3);
    put_number(&b, 80, 8);
    static const char stream[] = "(J\xfe\xff\xff\xffM\1\2K\7\x8a\0\x8a\1\xff\x8a\2\0\1\x8b\2\0\0\0\0\x80G\x3f\xf8\0\0\0\0\0\0"
                                 "\x8c\2ab\x94N\x88h\0t.";
    put(&b, stream, sizeof stream - 1);
    put_text(&b, "behind it stand other things, which are not the pickle's, and fill the frame besides");
    if (vs_pickle_read(&p, b.data, b.size, 0, "x.pth", &err) != VS_OK) fail_msg("%s", err.message);
    const vs_pickle_object *root = &p.objects[p.root];
    assert_int_equal(root->kind, VS_PICKLE_TUPLE);
    assert_int_equal(root->count, 12);
    static const int64_t integers[] = { -2, 513, 7, 0, -1, 256, -32768 };
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(p.objects[root->items[i]].kind, VS_PICKLE_INT);
        assert_true(p.objects[root->items[i]].as.integer == integers[i]);
    }
    assert_true(p.objects[root->items[7]].as.real == 1.5);
    assert_true(vs_pickle_text_is(&p, root->items[8], "ab"));
    assert_int_equal(root->items[9], 0);
    assert_int_equal(p.objects[root->items[10]].as.integer, 1);
    assert_int_equal(root->items[11], root->items[8]);
    assert_true(p.end < b.size && b.data[p.end] == 'b');
    vs_pickle_release(&p);
}

static void broken_streams(void **state) {
    (void)state;
#define STREAM(text) text, sizeof(text) - 1
    static const struct {
        const char *stream;
        size_t size;
        vs_status code;
        const char *part;
    } cases[] = {
        { STREAM("\x80\2"), VS_ERR_FORMAT, "has no end" },
        { STREAM("\x80\1."), VS_ERR_FORMAT, "protocol 1" },
        { STREAM("\x80\6N."), VS_ERR_FORMAT, "protocol 6" },
        { STREAM("\x80\2iposix\nsystem\n."), VS_ERR_UNSUPPORTED, "byte 1002: pickle opcode 0x69 is not among" },
        { STREAM("\x80\2\x82\1."), VS_ERR_UNSUPPORTED, "0x82" },
        { STREAM("\x80\2\x97."), VS_ERR_UNSUPPORTED, "0x97" },
        { STREAM("\x80\2."), VS_ERR_FORMAT, "nothing on the stack" },
        { STREAM("\x80\2(."), VS_ERR_FORMAT, "nothing on the stack" },
        { STREAM("\x80\2NN."), VS_ERR_FORMAT, "1 objects are left" },
        { STREAM("\x80\2t."), VS_ERR_FORMAT, "no mark" },
        { STREAM("\x80\2"
                 "1."),
          VS_ERR_FORMAT, "no mark" },
        { STREAM("\x80\2"
                 "0."),
          VS_ERR_FORMAT, "nothing on the stack" },
        { STREAM("\x80\2N\x86."), VS_ERR_FORMAT, "nothing on the stack" },
        { STREAM("\x80\2(N\x86."), VS_ERR_FORMAT, "a mark where" },
        { STREAM("\x80\2NNs."), VS_ERR_FORMAT, "nothing to put items into" },
        { STREAM("\x80\2(NNs."), VS_ERR_FORMAT, "nothing to put items into" },
        { STREAM("\x80\2((NNu."), VS_ERR_FORMAT, "nothing to put items into" },
        { STREAM("\x80\2(u."), VS_ERR_FORMAT, "nothing to put items into" },
        { STREAM("\x80\2)NNs."), VS_ERR_FORMAT, "holds none" },
        { STREAM("\x80\2]NNs."), VS_ERR_FORMAT, "holds none" },
        { STREAM("\x80\2}Na."), VS_ERR_FORMAT, "holds none" },
        { STREAM("\x80\2}(Nu."), VS_ERR_FORMAT, "without a value" },
        { STREAM("\x80\2ca\nb\n)RNNsNa."), VS_ERR_FORMAT, "items and pairs" },
        { STREAM("\x80\2ca\nb\nNR."), VS_ERR_FORMAT, "no tuple" },
        { STREAM("\x80\2}Nb."), VS_ERR_FORMAT, "a state for what has none" },
        { STREAM("\x80\2NN\x93."), VS_ERR_FORMAT, "no text" },
        { STREAM("\x80\2ca"), VS_ERR_FORMAT, "without an end" },
        { STREAM("\x80\2h\5."), VS_ERR_FORMAT, "memo number 5 holds nothing" },
        { STREAM("\x80\2j\xff\xff\xff\xff."), VS_ERR_FORMAT, "memo number 4294967295" },
        { STREAM("\x80\2q\1."), VS_ERR_FORMAT, "nothing on the stack" },
        { STREAM("\x80\2(q\1."), VS_ERR_FORMAT, "nothing on the stack" },
        { STREAM("\x80\2Nr\0\0\0\x10."), VS_ERR_FORMAT, "memo number above" },
        { STREAM("\x80\2\x8b\xff\xff\xff\x7f."), VS_ERR_FORMAT, "an integer of 2147483647 bytes" },
        { STREAM("\x80\2\x8b\xff\xff\xff\xff."), VS_ERR_FORMAT, "an integer of 4294967295 bytes" },
        { STREAM("\x80\2\x8a\xff."), VS_ERR_FORMAT, "truncated" },
        { STREAM("\x80\2X\xff\xff\xff\xff."), VS_ERR_FORMAT, "a string of 4294967295 bytes" },
        { STREAM("\x80\2X\xff\xff\0\0."), VS_ERR_FORMAT, "needs 65535 bytes, 1 follow" },
        { STREAM("\x80\2\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), VS_ERR_FORMAT, "a string of 18446744073709551615 bytes" },
        { STREAM("\x80\2\x95\xff\0\0\0\0\0\0\0N."), VS_ERR_FORMAT, "a frame longer" },
    };
#undef STREAM
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        b.size = 0;
        put(&b, cases[i].stream, cases[i].size);
        read_fails(cases[i].code, cases[i].part);
    }
}

/* 60,000 levels take no machine stack: nothing recurses, not even when they go. */
static void deep_nesting(void **state) {
    (void)state;
    vs_pickle p;
    vs_error err = { 0 };
    b.size = 0;
    put(&b, "\x80\2)", 3);
    for (size_t i = 0; i < 60000; i++) put(&b, "\x85", 1);
    put(&b, ".", 1);
    assert_int_equal(vs_pickle_read(&p, b.data, b.size, 0, "x", &err), VS_OK);
    vs_pickle_release(&p);
}

/* An object in itself is legal; who walks the tree must look out. */
static void cycles(void **state) {
    (void)state;
    vs_pickle p;
    vs_error err = { 0 };
    b.size = 0;
    put(&b, "\x80\2]q\1h\1a.", 9);
    assert_int_equal(vs_pickle_read(&p, b.data, b.size, 0, "x", &err), VS_OK);
    assert_int_equal(p.objects[p.root].items[0], p.root);
    vs_pickle_release(&p);
}

static void limits(void **state) {
    (void)state;
    static const size_t size = (size_t)VS_PICKLE_MAX_OBJECTS * 2 + 64;
    uint8_t *stream = malloc(size);
    vs_pickle p;
    vs_error err = { 0 };
    assert_non_null(stream);
    memset(stream, 'N', size); /* a stack that only grows */
    check_error(vs_pickle_read(&p, stream, size, 0, "x", &err), &err, VS_ERR_FORMAT, "more than 1048576 objects on the stack");
    err = (vs_error){ 0 };
    for (size_t i = 0; i < size; i++) stream[i] = i % 2 ? '0' : ']'; /* objects that are dropped at once */
    check_error(vs_pickle_read(&p, stream, size, 0, "x", &err), &err, VS_ERR_FORMAT, "more than 4194304 objects");
    free(stream);
}

static void class_names(void **state) {
    (void)state;
    vs_pickle p;
    vs_error err = { 0 };
    char name[64];
    b.size = 0;
    put_text(&b, "\x80\2cposix\nsys\x1b"
                 "tem\n)R.");
    assert_int_equal(vs_pickle_read(&p, b.data, b.size, 0, "x", &err), VS_OK);
    vs_pickle_class_name(&p, p.root, name, sizeof name);
    assert_string_equal(name, "posix.sys?tem");
    assert_false(vs_pickle_global_is(&p, p.root, "posix", "system"));
    vs_pickle_release(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(values),       cmocka_unit_test(broken_streams),
                                        cmocka_unit_test(deep_nesting), cmocka_unit_test(cycles),
                                        cmocka_unit_test(limits),       cmocka_unit_test(class_names) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
