#include "io/tensorfile.h"
#include "support/check.h"
#include "util/util.h"

/* Header text + data bytes as a file in memory. */
static vs_status open_text(vs_tensorfile **f, const char *header, size_t data, vs_error *err) {
    static uint8_t bytes[4096];
    const size_t n = strlen(header);
    memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (uint8_t)(n >> (8 * i));
    memcpy(bytes + 8, header, n);
    *err = (vs_error){ 0 };
    return vs_tensorfile_from_memory(f, bytes, 8 + n + data, "x.safetensors", err);
}

static void a_good_file(void **state) {
    (void)state;
    vs_tensorfile *f = NULL;
    vs_error err;
    const char *header =
        "{\"__metadata__\":{\"classes\":\"a,b\"},\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[8,12]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":"
        "[12,20]}}   ";
    assert_int_equal(open_text(&f, header, 20, &err), VS_OK);
    assert_int_equal(vs_tensorfile_count(f), 3);
    assert_int_equal(vs_tensorfile_find(f, "a")->count, 2);
    assert_int_equal(vs_tensorfile_find(f, "s")->count, 1);
    assert_null(vs_tensorfile_find(f, "c"));
    assert_string_equal(vs_tensorfile_meta_at(f, 0)->value, "a,b");
    vs_tensorfile_close(f);
}

static void bad_files_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *part;
    } cases[] = { { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "truncated" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "the tensors end at byte 8" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
                    "\"data_offsets\":[4,12]}}",
                    12, "overlap" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
                    "\"data_offsets\":[12,16]}}",
                    16, "hole" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
                    "\"data_offsets\":[8,16]}}",
                    16, "duplicate" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "do not fill" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}}", 8,
                    "impossible shape" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4611686018427387904],\"data_offsets\":[0,8]}}", 8,
                    "impossible shape" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "impossible shape" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "impossible data_offsets" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,1e3]}}", 8, "impossible data_offsets" },
                  { "{\"a\":{\"dtype\":\"Q7\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown type 'Q7'" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "needs exactly" },
                  { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "dimensions" },
                  { "{\"__metadata__\":{\"x\":1}}", 0, "no string" },
                  { "{\"a\":", 0, "broken header at byte" },
                  { "[1]", 0, "no checkpoint that is known" },
                  { "", 0, "no checkpoint that is known" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        vs_status status = open_text(&f, cases[i].header, cases[i].data, &err);
        check_error(status, &err, VS_ERR_FORMAT, cases[i].part);
        assert_non_null(strstr(err.message, "x.safetensors"));
    }
}

static void lying_lengths(void **state) {
    (void)state;
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    const uint8_t huge[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}' };
    check_error(vs_tensorfile_from_memory(&f, huge, sizeof huge, "h", &err), &err, VS_ERR_FORMAT,
                "16 bytes that begin with ff ff");
    const uint8_t longer[16] = { 100, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, longer, sizeof longer, "h", &err), &err, VS_ERR_FORMAT, "truncated");
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, longer, 3, "h", &err), &err, VS_ERR_FORMAT, "3 bytes");
    const uint8_t long_header[16] = { 1, 0, 0, 0x10, 0, 0, 0, 0, '{', '}' };
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, long_header, sizeof long_header, "h", &err), &err, VS_ERR_FORMAT, "100000000");
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_open(&f, "/nonexistent/x.safetensors", &err), &err, VS_ERR_NOTFOUND, "/nonexistent/x.safetensors");
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_open(&f, "/", &err), &err, VS_ERR_NOTFOUND, "model.safetensors.index.json");
}

/* Header lengths whose bytes read like gzip, bzip2, a pickle, a zip archive and an index. */
static void lengths_like_other_formats(void **state) {
    (void)state;
    static const size_t lengths[] = { 0x8b1f, 0x685a42, 0x0a0280, 0x04034b50, 0x7b };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        vs_tensorfile *f = NULL;
        vs_error err = { 0 };
        uint8_t *bytes = malloc(8 + lengths[i]);
        assert_non_null(bytes);
        memset(bytes, ' ', 8 + lengths[i]);
        for (size_t k = 0; k < 8; k++) bytes[k] = (uint8_t)(lengths[i] >> (8 * k));
        memcpy(bytes + 8, "{}", 2);
        if (vs_tensorfile_from_memory(&f, bytes, 8 + lengths[i], "x.safetensors", &err) != VS_OK) fail_msg("%s", err.message);
        vs_tensorfile_close(f);
        free(bytes);
    }
}

static void many_names(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    vs_text text = { 0 };
    for (int i = 0; i < COUNT; i++)
        vs_text_add(&text, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i ? "," : "{", i, i, i + 1);
    vs_text_add(&text, "}");
    const size_t size = 8 + text.size + COUNT;
    uint8_t *bytes = calloc(size, 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (uint8_t)(text.size >> (8 * i));
    memcpy(bytes + 8, text.bytes, text.size);
    if (vs_tensorfile_from_memory(&f, bytes, size, "x", &err) != VS_OK) fail_msg("%s", err.message);
    for (size_t i = 0; i < COUNT; i++) { /* each finds itself, and nobody else */
        const vs_tensor_entry *t = vs_tensorfile_at(f, i);
        assert_ptr_equal(vs_tensorfile_find(f, t->name), t);
        assert_int_equal(vs_tensorfile_index(f, t), i);
    }
    assert_null(vs_tensorfile_find(f, "t20000"));
    assert_null(vs_tensorfile_find(f, ""));
    vs_tensorfile_close(f);
    free(bytes);
    free(text.bytes);
}

static void types_that_are_no_weights(void **state) {
    (void)state;
    static const struct {
        const char *type, *part;
    } cases[] = { { "I8", "x.safetensors: tensor 'a' has type I8: a quantized checkpoint" },
                  { "F8_E4M3", "x.safetensors: tensor 'a' has type F8_E4M3: a quantized checkpoint" },
                  { "BOOL", "x.safetensors: tensor 'a' has type BOOL, which is no weight type" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        char header[128];
        float out = 0;
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[1],\"data_offsets\":[0,1]}}", cases[i].type);
        assert_int_equal(open_text(&f, header, 1, &err), VS_OK);
        check_error(vs_tensor_to_f32(vs_tensorfile_at(f, 0), &out, &err), &err, VS_ERR_UNSUPPORTED, cases[i].part);
        vs_tensorfile_close(f);
    }
}

/* A file that is cut or rewritten while it is open: an error that names it, not a signal, and no mixture. */
static void files_that_change(void **state) {
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[100000],\"data_offsets\":[0,400000]}}";
    char dir[256], path[300], hex[65];
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/a.safetensors", dir);
    const size_t n = strlen(header), size = 8 + n + 400000;
    uint8_t *bytes = calloc(size, 1);
    float *out = calloc(100000, sizeof *out);
    assert_non_null(bytes);
    assert_non_null(out);
    bytes[0] = (uint8_t)n;
    memcpy(bytes + 8, header, n);
    for (unsigned longer = 0; longer < 2; longer++) {
        vs_tensorfile *f = NULL;
        vs_error err = { 0 };
        assert_int_equal(vs_write_file(path, bytes, size, &err), VS_OK);
        assert_int_equal(vs_tensorfile_open(&f, path, &err), VS_OK);
        assert_int_equal(vs_tensor_to_f32(vs_tensorfile_at(f, 0), out, &err), VS_OK);
        assert_int_equal(truncate(path, longer ? (off_t)size + 1 : 5000), 0);
        check_error(vs_tensor_to_f32(vs_tensorfile_at(f, 0), out, &err), &err, VS_ERR_IO, "a.safetensors: the file was");
        err = (vs_error){ 0 };
        check_error(vs_tensorfile_sha256(f, hex, &err), &err, VS_ERR_IO, "a.safetensors: the file was");
        vs_tensorfile_close(f);
    }
    free(bytes);
    free(out);
    unlink(path);
    rmdir(dir);
}

static void halves_are_exact(void **state) {
    (void)state;
    assert_true(vs_f16_to_f32(0x3c00) == 1.0f && vs_f16_to_f32(0xc000) == -2.0f && vs_f16_to_f32(0x7bff) == 65504.0f);
    assert_true(vs_f16_to_f32(0x0001) == 0x1p-24f && vs_f16_to_f32(0x8001) == -0x1p-24f && vs_f16_to_f32(0x0400) == 0x1p-14f);
    assert_true(isinf(vs_f16_to_f32(0x7c00)) && isnan(vs_f16_to_f32(0x7e00)) && signbit(vs_f16_to_f32(0x8000)));
    assert_true(vs_bf16_to_f32(0x3f80) == 1.0f && vs_bf16_to_f32(0xc2f7) == -123.5f);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_good_file),       cmocka_unit_test(bad_files_are_refused),
                                        cmocka_unit_test(lying_lengths),     cmocka_unit_test(lengths_like_other_formats),
                                        cmocka_unit_test(many_names),        cmocka_unit_test(types_that_are_no_weights),
                                        cmocka_unit_test(files_that_change), cmocka_unit_test(halves_are_exact) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
