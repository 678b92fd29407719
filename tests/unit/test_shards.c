#include "io/shards.h"
#include "io/tensorfile.h"
#include "support/archive.h"
#include "util/util.h"

static char dir[256], index_path[300];

static void write_bytes(const char *name, const void *data, size_t size) {
    char path[600];
    vs_error err = { 0 };
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(vs_write_file(path, data, size, &err), VS_OK);
}
static void write_text(const char *name, const char *text) { write_bytes(name, text, strlen(text)); }

/* A safetensors file of tensors of two float32 values each, named by one letter. */
static void write_shard(const char *name, const char *letters) {
    static bytes header, shard;
    header.size = shard.size = 0;
    put_text(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; letters[i]; i++) {
        char entry[128];
        snprintf(entry, sizeof entry, ",\"%c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[%zu,%zu]}", letters[i], 8 * i,
                 8 * i + 8);
        put_text(&header, entry);
    }
    put_text(&header, "}");
    put_number(&shard, header.size, 8);
    put(&shard, header.data, header.size);
    for (size_t i = 0; letters[i]; i++) put_number(&shard, (uint64_t)letters[i], 8);
    write_bytes(name, shard.data, shard.size);
}

static int set_up(void **state) {
    (void)state;
    make_temp_dir(dir, sizeof dir);
    snprintf(index_path, sizeof index_path, "%s/model.safetensors.index.json", dir);
    write_shard("one", "ab");
    write_shard("two", "c");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = { "one", "two", "config.json", "model.safetensors", "model.safetensors.index.json" };
    for (size_t i = 0; i < 5; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

static vs_status open_index(vs_tensorfile **f, const char *json, vs_error *err) {
    write_text("model.safetensors.index.json", json);
    *err = (vs_error){ 0 };
    return vs_tensorfile_open(f, index_path, err);
}

#define GOOD "{\"metadata\":{\"total_size\":24},\"weight_map\":{\"c\":\"two\",\"a\":\"one\",\"b\":\"one\"}}"

static void good_shards(void **state) {
    (void)state;
    vs_tensorfile *f = NULL;
    vs_error err;
    if (open_index(&f, GOOD, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(vs_tensorfile_count(f), 3);
    static const char *const names[] = { "c", "a", "b" };
    for (size_t i = 0; i < 3; i++) {
        const vs_tensor_entry *t = vs_tensorfile_at(f, i);
        assert_string_equal(t->name, names[i]);
        char first = 0;
        assert_int_equal(vs_tensor_read(t, 0, 1, &first, &err), VS_OK);
        assert_int_equal(first, names[i][0]);
    }
    assert_string_equal(vs_tensorfile_meta_at(f, 0)->value, "pt");
    char got[65], wanted[65];
    vs_sha256 sha;
    uint8_t digest[32];
    vs_sha256_init(&sha);
    for (size_t i = 0; i < 2; i++) { /* in the map's order */
        char path[600], *data = NULL;
        size_t size = 0;
        snprintf(path, sizeof path, "%s/%s", dir, i ? "one" : "two");
        assert_int_equal(vs_read_file(path, 10000, &data, &size, &err), VS_OK);
        vs_sha256_update(&sha, data, size);
        free(data);
    }
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, wanted);
    assert_int_equal(vs_tensorfile_sha256(f, got, &err), VS_OK);
    assert_string_equal(got, wanted);
    vs_tensorfile_close(f);
}

static void bad_indexes(void **state) {
    (void)state;
    static const struct {
        const char *json, *part;
        vs_status code;
    } cases[] = {
        { "{\"weight_map\":{\"a\":\"one\",\"b\":\"one\",\"c\":\"gone\"}}", "gone: No such file", VS_ERR_NOTFOUND },
        { "{\"weight_map\":{\"a\":\"one\",\"b\":\"one\",\"z\":\"one\"}}", "'z' is not in", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"one\"}}", "'b' is in", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"one\",\"b\":\"two\",\"c\":\"two\"}}", "but the map has it in two", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"../one\"}}", "no file beside the index: ../one", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"..\"}}", "no file beside", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "no file beside", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"\"}}", "no file beside", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":1}}", "names no file", VS_ERR_FORMAT },
        { "{\"weight_map\":{}}", "empty", VS_ERR_FORMAT },
        { "{\"weight_map\":[]}", "without a weight_map", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"one\",\"a\":\"two\"}}", "duplicate", VS_ERR_FORMAT },
        { "{\"weight_map\":", "index.json:1:", VS_ERR_FORMAT },
        { "{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", "where one file is expected", VS_ERR_UNSUPPORTED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err;
        check_error(open_index(&f, cases[i].json, &err), &err, cases[i].code, cases[i].part);
        assert_null(f);
    }
}

static void folders_and_configs(void **state) {
    (void)state;
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    assert_int_equal(unlink(index_path), 0);
    check_error(vs_tensorfile_open(&f, dir, &err), &err, VS_ERR_NOTFOUND, "a folder with none of model.safetensors,");
    assert_int_equal(open_index(&f, GOOD, &err), VS_OK); /* no config.json: none to give */
    assert_null(vs_tensorfile_config(f));
    vs_tensorfile_close(f);
    write_text("config.json", "{\"x\":1}"); /* not the checkpoint's, unless the folder was given */
    assert_int_equal(vs_tensorfile_open(&f, index_path, &err), VS_OK);
    assert_null(vs_tensorfile_config(f));
    vs_tensorfile_close(f);
    assert_int_equal(vs_tensorfile_open(&f, dir, &err), VS_OK);
    assert_string_equal(vs_tensorfile_config(f), "{\"x\":1}");
    assert_string_equal(vs_tensorfile_path(f), index_path);
    assert_int_equal(vs_tensorfile_count(f), 3);
    vs_tensorfile_close(f);
    write_text("config.json", "{\"model_type\":\"dinov2\"}");
    write_shard("model.safetensors", "q");
    assert_int_equal(vs_tensorfile_open(&f, index_path, &err), VS_OK);
    assert_string_equal(vs_tensorfile_config(f), "{\"model_type\":\"dinov2\"}");
    vs_tensorfile_close(f);
    assert_int_equal(vs_tensorfile_open(&f, dir, &err), VS_OK); /* one file wins over an index */
    assert_int_equal(vs_tensorfile_count(f), 1);
    vs_tensorfile_close(f);
    write_text("config.json", "{\"model_type\":");
    assert_int_equal(vs_tensorfile_open(&f, index_path, &err), VS_OK);
    assert_null(vs_tensorfile_config(f));
    vs_tensorfile_close(f);
    check_error(vs_tensorfile_open(&f, dir, &err), &err, VS_ERR_FORMAT, "config.json:1:");
    err = (vs_error){ 0 };
    write_text("config.json", "[]");
    check_error(vs_tensorfile_open(&f, dir, &err), &err, VS_ERR_FORMAT, "no JSON object");
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(good_shards), cmocka_unit_test(bad_indexes),
                                        cmocka_unit_test(folders_and_configs) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
