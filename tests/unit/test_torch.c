#include "io/tensorfile.h"
#include "support/archive.h"

static bytes pickle, file;
static const float storage[12] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };

static vs_status open_file(vs_tensorfile **f, vs_error *err) {
    *err = (vs_error){ 0 };
    return vs_tensorfile_from_memory(f, file.data, file.size, "x.pth", err);
}

static void make(const tensor_spec *t, const char *const *names, size_t count, bool legacy) {
    pickle.size = file.size = 0;
    put_state(&pickle, t, names, count, legacy);
    if (legacy) {
        put_legacy_head(&file, true);
        put(&file, pickle.data, pickle.size);
        put_legacy_tail(&file, 12, storage, sizeof storage);
    } else {
        put_torch(&file, &pickle, storage, sizeof storage);
    }
}

static const tensor_spec row = { "FloatStorage", "0", 12, 3, 2, { 2, 3 }, { 3, 1 } };
static const tensor_spec transposed = { "FloatStorage", "0", 12, 0, 2, { 4, 3 }, { 1, 4 } };
static const tensor_spec repeated = { "FloatStorage", "0", 12, 5, 2, { 2, 2 }, { 0, 0 } };
static const tensor_spec scalar = { "FloatStorage", "0", 12, 11, 0, { 0 }, { 0 } };
static const tensor_spec empty = { "FloatStorage", "0", 12, 0, 3, { 3, 0, (uint64_t)1 << 62 }, { 1, 1, 1 } };

static void check_values(const vs_tensorfile *f, const char *name, const float *wanted, size_t count) {
    vs_error err = { 0 };
    float got[12];
    const vs_tensor_entry *t = vs_tensorfile_find(f, name);
    assert_non_null(t);
    assert_int_equal(t->count, count);
    assert_int_equal(vs_tensor_to_f32(t, got, &err), VS_OK);
    assert_memory_equal(got, wanted, count * sizeof *got);
}

static void views_of_one_storage(void **state) {
    (void)state;
    const tensor_spec specs[] = { row, transposed, repeated, scalar, empty };
    static const char *const names[] = { "row", "transposed", "repeated", "scalar", "empty" };
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        make(specs, names, 5, legacy);
        if (open_file(&f, &err) != VS_OK) fail_msg("%s", err.message);
        assert_int_equal(vs_tensorfile_count(f), 5);
        for (size_t i = 0; i < 5; i++) assert_string_equal(vs_tensorfile_at(f, i)->name, names[i]);
        check_values(f, "row", storage + 3, 6);
        check_values(f, "transposed", (const float[]){ 0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11 }, 12);
        check_values(f, "repeated", (const float[]){ 5, 5, 5, 5 }, 4);
        check_values(f, "scalar", storage + 11, 1);
        assert_int_equal(vs_tensorfile_find(f, "empty")->count, 0);
        const vs_tensor_entry *of_row = vs_tensorfile_find(f, "row"), *of_scalar = vs_tensorfile_find(f, "scalar");
        assert_true(of_row->source == of_scalar->source && of_scalar->at - of_row->at == 8 * sizeof *storage); /* no copy */
        assert_null(vs_tensorfile_config(f));
        vs_tensorfile_close(f);
    }
}

static void nested_names_and_metadata(void **state) {
    (void)state;
    vs_tensorfile *f = NULL;
    vs_error err;
    pickle.size = file.size = 0;
    put(&pickle, "\x80\2}(", 4);
    put_string(&pickle, "state_dict");
    put_class(&pickle, "collections", "OrderedDict");
    put(&pickle, ")R(", 3);
    put_string(&pickle, "a.weight");
    put_class(&pickle, "torch._utils", "_rebuild_parameter");
    put(&pickle, "(", 1);
    put_tensor(&pickle, &row, false, NULL);
    put(&pickle, "\x88", 1);
    put_class(&pickle, "collections", "OrderedDict");
    put(&pickle, ")RtRu}", 6);
    put_string(&pickle, "_metadata");
    put(&pickle, "Nsb", 3);
    put_string(&pickle, "list");
    put(&pickle, "](", 2);
    put_tensor(&pickle, &scalar, false, NULL);
    put_tensor(&pickle, &row, false, NULL);
    put(&pickle, "e", 1);
    put_string(&pickle, "epoch");
    put(&pickle, "K\7", 2);
    put_string(&pickle, "meta");
    put(&pickle, "}(", 2);
    put_string(&pickle, "miou");
    put(&pickle, "G\x3f\xb9\x99\x99\x99\x99\x99\x9a", 9); /* 0.1 */
    put_string(&pickle, "who");
    put_string(&pickle, "us");
    put_string(&pickle, "object");
    put_class(&pickle, "argparse", "Namespace");
    put(&pickle, ")\x81u", 3);
    put(&pickle, "K\5(K\1K\2tu.", 10); /* 5: (1, 2) */
    put_torch(&file, &pickle, storage, sizeof storage);
    if (open_file(&f, &err) != VS_OK) fail_msg("%s", err.message);
    static const char *const names[] = { "state_dict.a.weight", "list.0", "list.1" };
    assert_int_equal(vs_tensorfile_count(f), 3);
    for (size_t i = 0; i < 3; i++) assert_string_equal(vs_tensorfile_at(f, i)->name, names[i]);
    static const vs_meta_entry meta[] = {
        { "epoch", "7" }, { "meta.miou", "0.1" }, { "meta.who", "us" }, { "5.0", "1" }, { "5.1", "2" }
    };
    assert_int_equal(vs_tensorfile_meta_count(f), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(vs_tensorfile_meta_at(f, i)->key, meta[i].key);
        assert_string_equal(vs_tensorfile_meta_at(f, i)->value, meta[i].value);
    }
    vs_tensorfile_close(f);
}

static void tensors_that_lie(void **state) {
    (void)state;
    static const uint64_t huge = (uint64_t)1 << 62;
    const struct {
        tensor_spec spec;
        const char *part;
        vs_status code;
    } cases[] = {
        { { "FloatStorage", "0", 13, 0, 1, { 1 }, { 1 } }, "claims 52 bytes, but has 48", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 1, { 13 }, { 1 } }, "beyond its storage of 12", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 12, 1, { 1 }, { 1 } }, "beyond its storage of 12", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 2, 0, 1, { 3 }, { 1 } }, "beyond its storage of 2", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 2, { 2, 2 }, { 11, 1 } }, "beyond its storage of 12", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 1, { 3 }, { huge } }, "beyond its storage of 12", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 2, { 5, 5 }, { huge, huge } }, "beyond its storage of 12", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 2, { huge, huge }, { 1, 1 } }, "impossible shape", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 1, { huge }, { 0 } }, "impossible shape", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 1, { (uint64_t)1 << 40 }, { 0 } }, "unfolds to 4398046511104 bytes", VS_ERR_FORMAT },
        { { "FloatStorage", "0", huge, 0, 1, { 1 }, { 1 } }, "impossible storage", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, (uint64_t)-1, 1, { 1 }, { 1 } }, "impossible storage offset", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 1, { (uint64_t)-1 }, { 1 } }, "whole numbers", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 1, { 1 }, { (uint64_t)-1 } }, "whole numbers", VS_ERR_FORMAT },
        { { "FloatStorage", "0", (uint64_t)-1, 0, 1, { 1 }, { 1 } }, "none that is known", VS_ERR_FORMAT },
        { { "FloatStorage", "1", 12, 0, 1, { 1 }, { 1 } }, "storage '1' is not in the file", VS_ERR_FORMAT },
        { { "QInt8Storage", "0", 12, 0, 1, { 1 }, { 1 } }, "none that is known", VS_ERR_FORMAT },
        { { "UntypedStorage", "0", 12, 0, 1, { 1 }, { 1 } }, "type that is not known", VS_ERR_FORMAT },
        { { "FloatStorage", "0", 12, 0, 9, { 1, 1, 1, 1, 1, 1, 1, 1, 1 }, { 1 } }, "more than 8 dimensions", VS_ERR_FORMAT },
    };
    static const char *const name = "w";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        make(&cases[i].spec, &name, 1, false);
        check_error(open_file(&f, &err), &err, cases[i].code, cases[i].part);
        assert_non_null(strstr(err.message, "x.pth"));
        assert_non_null(strstr(err.message, "'w'"));
    }
}

/* put: what follows {"w": tensor, "x": */
static void open_with(const char *x, size_t size, vs_status code, const char *part) {
    vs_tensorfile *f = NULL;
    vs_error err;
    pickle.size = file.size = 0;
    put(&pickle, "\x80\2}q\0(", 6);
    put_string(&pickle, "w");
    put_tensor(&pickle, &row, false, NULL);
    put(&pickle, "q\1", 2);
    put_string(&pickle, "x");
    put(&pickle, x, size);
    put(&pickle, "u.", 2);
    put_torch(&file, &pickle, storage, sizeof storage);
    const vs_status status = open_file(&f, &err);
    if (code != VS_OK)
        check_error(status, &err, code, part);
    else if (status != VS_OK)
        fail_msg("%s", err.message);
    vs_tensorfile_close(f);
}

static void strangers(void **state) {
    (void)state;
#define WITH(text) text, sizeof(text) - 1
    /* os.system("touch vitscope-was-here"): inert beside the weights, refused where a tensor depends on it */
    remove("vitscope-was-here");
    open_with(WITH("cposix\nsystem\nX\x17\0\0\0touch vitscope-was-here\x85R"), VS_OK, "");
    open_with(WITH("cposix\nsystem\nh\1\x85R"), VS_ERR_UNSUPPORTED, "'x' is a tensor in an object of class posix.system");
    open_with(WITH("ctorch._utils\n_rebuild_parameter\ncposix\nsystem\nX\x17\0\0\0touch vitscope-was-here\x85R\x88\x86R"),
              VS_ERR_UNSUPPORTED, "depends on posix.system");
    open_with(WITH("ctorch._utils\n_rebuild_tensor_v2\n(cposix\nsystem\nX\x17\0\0\0touch vitscope-was-here\x85RK\0))tR"),
              VS_ERR_UNSUPPORTED, "depends on posix.system");
    assert_int_not_equal(access("vitscope-was-here", F_OK), 0);
    open_with(WITH("ctorch._utils\n_rebuild_qtensor\nh\1\x85R"), VS_ERR_UNSUPPORTED, "depends on torch._utils._rebuild_qtensor");
    open_with(WITH("ctorch._utils\n_rebuild_tensor_v2\n)R"), VS_ERR_FORMAT, "too few arguments");
    open_with(WITH("ctorch._utils\n_rebuild_parameter\n)R"), VS_ERR_FORMAT, "without its tensor");
    open_with(WITH("}K\1h\1s"), VS_OK, "");
    open_with(WITH("}Nh\1s"), VS_ERR_FORMAT, "key that is no printable text");
    open_with(WITH("}X\1\0\0\0\nh\1s"), VS_ERR_FORMAT, "key that is no printable text");
    open_with(WITH("}X\2\0\0\0\xc0\x80h\1s"), VS_ERR_FORMAT, "key that is no printable text");
    open_with(WITH("h\0"), VS_ERR_FORMAT, "holds itself");
    open_with(WITH("NX\1\0\0\0wh\1"), VS_ERR_FORMAT, "two tensors are called 'w'");
    open_with(WITH("ccollections\nOrderedDict\n](X\1\0\0\0ah\1\x86X\1\0\0\0bh\1\x86"
                   "e\x85R"),
              VS_OK, "");
    open_with(WITH("ccollections\nOrderedDict\n]Na\x85R"), VS_ERR_FORMAT, "no pairs");
    open_with(WITH("ccollections\nOrderedDict\ncposix\nsystem\n)R\x85R"), VS_OK, "");
#undef WITH
}

/* [leaf, leaf], then a list of that list twice, 60 times over; all but the last fall from the stack. */
static void check_doubled(const char *leaf, size_t size, const char *part) {
    static char stream[4000];
    size_t n = 0;
    stream[n++] = '(';
    memcpy(stream + n, leaf, size);
    n += size;
    for (unsigned i = 2; i < 60; i++) {
        const char level[] = { ']', '(', 'h', (char)i, 'h', (char)i, 'e', 'q', (char)(i + 1) };
        memcpy(stream + n, level, sizeof level);
        n += sizeof level;
    }
    memcpy(stream + n, "1h\74", 3);
    open_with(stream, n + 3, VS_ERR_FORMAT, part);
}

static void trees_that_do_not_end(void **state) {
    (void)state;
    static char deep[4000];
    size_t n = 0;
    for (size_t i = 0; i < 1000; i++) memcpy(deep + n++, "]", 1);
    memcpy(deep + n, "h\1", 2);
    n += 2;
    for (size_t i = 0; i < 1001; i++) deep[n++] = 'a';
    deep[n - 1] = 'N'; /* 1000 lists close on themselves; the last append would be the dict's */
    open_with(deep, n - 1, VS_ERR_FORMAT, "256 deep");
    check_doubled("]q\2", 3, "too often");
    check_doubled("h\1q\2", 4, "more than 131072 tensors");
}

static void nothing_to_find(void **state) {
    (void)state;
    static const struct {
        const char *stream;
        vs_status code;
        const char *part;
    } cases[] = { { "\x80\2}.", VS_ERR_FORMAT, "holds no tensors" },
                  { "\x80\2N.", VS_ERR_FORMAT, "holds no tensors" },
                  { "\x80\2ctorch.nn\nModule\n)\x81}b.", VS_ERR_UNSUPPORTED, "torch.nn.Module" } };
    for (size_t i = 0; i < 3; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        pickle.size = file.size = 0;
        put_text(&pickle, cases[i].stream);
        put_torch(&file, &pickle, storage, sizeof storage);
        check_error(open_file(&f, &err), &err, cases[i].code, cases[i].part);
    }
}

static void other_archives(void **state) {
    (void)state;
    static const struct {
        zip_part parts[2];
        size_t count;
        const char *part;
        vs_status code;
    } cases[] = {
        { { { .name = "m/code/a.py", .data = "", .size = 0 }, { .name = "m/data.pkl", .data = "", .size = 0 } },
          2,
          "TorchScript",
          VS_ERR_UNSUPPORTED },
        { { { .name = "m/constants.pkl", .data = "", .size = 0 } }, 1, "TorchScript", VS_ERR_UNSUPPORTED },
        { { { .name = "w.npy", .data = "", .size = 0 } }, 1, ".npz", VS_ERR_UNSUPPORTED },
        { { { .name = "model.pth", .data = "", .size = 0 } }, 1, "without data.pkl", VS_ERR_UNSUPPORTED },
        { { { .name = "a/data.pkl", .data = "", .size = 0 }, { .name = "b/data.pkl", .data = "", .size = 0 } },
          2,
          "2 data.pkl",
          VS_ERR_FORMAT },
        { { { .name = "a/data.pkl", .data = "", .size = 0 }, { .name = "a/byteorder", .data = "big", .size = 3 } },
          2,
          "big-endian",
          VS_ERR_UNSUPPORTED },
        { { { .name = "a/data.pkl", .data = "", .size = 0 }, { .name = "a/byteorder", .data = "odd", .size = 3 } },
          2,
          "neither",
          VS_ERR_FORMAT },
        { { { .name = "a/data.pkl", .data = "", .size = 0 } }, 1, "has no end", VS_ERR_FORMAT },
        { { { .name = "", .data = "", .size = 0 } }, 0, "without data.pkl", VS_ERR_UNSUPPORTED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        zip_part parts[2];
        memcpy(parts, cases[i].parts, sizeof parts);
        file.size = 0;
        put_zip(&file, parts, cases[i].count, false, false);
        check_error(open_file(&f, &err), &err, cases[i].code, cases[i].part);
    }
}

static void other_files(void **state) {
    (void)state;
    static const struct {
        size_t at;
        const char *bytes, *part;
    } cases[] = { { 0, "PYTORCH1", "preview" },
                  { 257, "ustar", "tar archive" },
                  { 0, "\x1f\x8b\x08", "gzip" },
                  { 0, "BZh9", "bzip2" },
                  { 0,
                    "\xfd"
                    "7zXZ",
                    "xz" },
                  { 0, "\x28\xb5\x2f\xfd", "zstd" },
                  { 0, "version https://git-lfs.github.com/spec/v1\n", "git lfs pull" },
                  { 0, "<!DOCTYPE html>", "web page" },
                  { 0, "\x80\2K\1.", "torch.save did not write" },
                  { 0, "{\"weight_map\":{\"a\":\"b\"}}", "index of shards" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        memset(file.data, 0, 512);
        memcpy(file.data + cases[i].at, cases[i].bytes, strlen(cases[i].bytes));
        file.size = 512;
        check_error(open_file(&f, &err), &err, VS_ERR_UNSUPPORTED, cases[i].part);
    }
}

static void make_legacy(bool little, const tensor_spec *specs, const uint64_t *view, uint64_t numel, size_t size) {
    pickle.size = file.size = 0;
    put(&pickle, "\x80\2}(", 4);
    put_string(&pickle, "a");
    put_tensor(&pickle, &specs[0], true, view);
    put_string(&pickle, "b");
    put_tensor(&pickle, &specs[1], true, NULL);
    put(&pickle, "u.", 2);
    put_legacy_head(&file, little);
    put(&file, pickle.data, pickle.size);
    put_legacy_tail(&file, numel, storage, size);
}

static void legacy_streams(void **state) {
    (void)state;
    vs_tensorfile *f = NULL;
    vs_error err;
    const tensor_spec both[] = { row, row }, view[] = { { "FloatStorage", "0", 12, 1, 1, { 2 }, { 1 } }, row };
    make_legacy(true, view, (const uint64_t[]){ 4, 3 }, 12, sizeof storage);
    if (open_file(&f, &err) != VS_OK) fail_msg("%s", err.message);
    check_values(f, "a", storage + 5, 2);
    vs_tensorfile_close(f);
    make_legacy(true, view, (const uint64_t[]){ 4, 2 }, 12, sizeof storage);
    check_error(open_file(&f, &err), &err, VS_ERR_FORMAT, "beyond its storage of 2");
    make_legacy(true, view, (const uint64_t[]){ 10, 3 }, 12, sizeof storage);
    check_error(open_file(&f, &err), &err, VS_ERR_FORMAT, "view beyond its storage");
    make_legacy(false, both, NULL, 12, sizeof storage);
    check_error(open_file(&f, &err), &err, VS_ERR_UNSUPPORTED, "big-endian");
    make_legacy(true, both, NULL, 11, sizeof storage);
    check_error(open_file(&f, &err), &err, VS_ERR_FORMAT, "has 11 elements, its tensors count on 12");
    make_legacy(true, both, NULL, 12, sizeof storage - 1);
    check_error(open_file(&f, &err), &err, VS_ERR_FORMAT, "ends beyond the file");
    const tensor_spec conflict[] = { row, { "DoubleStorage", "0", 12, 0, 1, { 2 }, { 1 } } };
    make_legacy(true, conflict, NULL, 12, sizeof storage);
    check_error(open_file(&f, &err), &err, VS_ERR_FORMAT, "two sizes");
    const tensor_spec stray[] = { { "FloatStorage", "7", 12, 0, 1, { 2 }, { 1 } },
                                  { "FloatStorage", "7", 12, 0, 1, { 2 }, { 1 } } };
    make_legacy(true, stray, NULL, 12, sizeof storage);
    check_error(open_file(&f, &err), &err, VS_ERR_FORMAT, "no tensor uses it");
}

static void every_prefix(void **state) {
    (void)state;
    const tensor_spec specs[] = { row, transposed };
    static const char *const names[] = { "row", "transposed" };
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        make(specs, names, 2, legacy);
        for (size_t n = 0; n < file.size; n++) {
            uint8_t *copy = malloc(n ? n : 1); /* of its own, so that the sanitizer sees where it ends */
            vs_tensorfile *f = NULL;
            vs_error err = { 0 };
            assert_non_null(copy);
            memcpy(copy, file.data, n);
            assert_int_not_equal(vs_tensorfile_from_memory(&f, copy, n, "x.pth", &err), VS_OK);
            assert_true(err.message[0] != '\0');
            free(copy);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(views_of_one_storage),  cmocka_unit_test(nested_names_and_metadata),
                                        cmocka_unit_test(tensors_that_lie),      cmocka_unit_test(strangers),
                                        cmocka_unit_test(trees_that_do_not_end), cmocka_unit_test(nothing_to_find),
                                        cmocka_unit_test(other_archives),        cmocka_unit_test(other_files),
                                        cmocka_unit_test(legacy_streams),        cmocka_unit_test(every_prefix) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
