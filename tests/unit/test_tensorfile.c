#include "check.h"
#include "tensorfile.h"

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
                  { "[1]", 0, "does not begin with '{'" },
                  { "", 0, "does not begin with '{'" } };
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
    check_error(vs_tensorfile_from_memory(&f, huge, sizeof huge, "h", &err), &err, VS_ERR_FORMAT, "100000000");
    const uint8_t longer[16] = { 100, 0, 0, 0, 0, 0, 0, 0, '{', '}' };
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, longer, sizeof longer, "h", &err), &err, VS_ERR_FORMAT, "truncated");
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, longer, 3, "h", &err), &err, VS_ERR_FORMAT, "3 bytes");
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

static void halves_are_exact(void **state) {
    (void)state;
    assert_true(vs_f16_to_f32(0x3c00) == 1.0f && vs_f16_to_f32(0xc000) == -2.0f && vs_f16_to_f32(0x7bff) == 65504.0f);
    assert_true(vs_f16_to_f32(0x0001) == 0x1p-24f && vs_f16_to_f32(0x8001) == -0x1p-24f && vs_f16_to_f32(0x0400) == 0x1p-14f);
    assert_true(isinf(vs_f16_to_f32(0x7c00)) && isnan(vs_f16_to_f32(0x7e00)) && signbit(vs_f16_to_f32(0x8000)));
    assert_true(vs_bf16_to_f32(0x3f80) == 1.0f && vs_bf16_to_f32(0xc2f7) == -123.5f);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_good_file), cmocka_unit_test(bad_files_are_refused),
                                        cmocka_unit_test(lying_lengths), cmocka_unit_test(lengths_like_other_formats),
                                        cmocka_unit_test(halves_are_exact) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
