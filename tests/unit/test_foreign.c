/* Files and folders that are no checkpoints: each is named as what it is. */
#include <fcntl.h>
#include <sys/stat.h>

#include "io/tensorfile.h"
#include "support/check.h"
#include "util/util.h"

#define BYTES(text) text, sizeof text - 1
#define ONNX                                                                                                                     \
    "\x08\x0e\x3a\x33\x0a\x0c\x0a\x01x\x12\x01y\"\x04Relu\x12\x01gZ\x0f\x0a\x01x\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08"    \
    "\x01"                                                                                                                       \
    "b\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01"                                                             \
    "B\x02\x10\x1c"

static void kinds(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *name, *message;
    } cases[] = {
        { BYTES(ONNX), "m.onnx", "m.onnx: an ONNX graph, which is not read: give the checkpoint it was exported from" },
        { BYTES(ONNX), "m.bin", "an ONNX graph" },
        { BYTES("\x08\x07\x12\x07pytorch\x1a\x05"
                "2.0.0:\x90\x4e"),
          "m.onnx", "an ONNX graph" }, /* by its name: cut short */
        { BYTES("ptrt\0\0\0\0\0\0\0\0"), "m.engine", "m.engine: a TensorRT engine, which is not read: give the checkpoint" },
        { BYTES("ftrt\0\0\0\0\0\0\0\0"), "m", "a TensorRT engine" },
        { BYTES("\x9c\1\0\0{\"a\": 1}\xff\xfe"), "yolo.engine", "a TensorRT engine" },
        { BYTES("\x1c\0\0\0TFL3\x14\0"), "m", "TensorFlow Lite" },
        { BYTES("\x1c\0\0\0\x45T12\x14\0"), "m", "ExecuTorch" },
        { BYTES("GGUF\3\0\0\0"), "m", "a GGUF file" },
        { BYTES("\x89HDF\r\n\x1a\n\0\0"), "m.h5", "an HDF5 file" },
        { BYTES("\x93NUMPY\1\0v\0"), "m", "a NumPy array" },
        { BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "m", "a PNG image, not a checkpoint" },
        { BYTES("\xff\xd8\xff\xe0\0\x10JFIF"), "m", "a JPEG image" },
        { BYTES("GIF89a\1\0\1\0"), "m", "a GIF image" },
        { BYTES("RIFF\x20\0\0\0WEBPVP8 "), "m", "a WebP image" },
        { BYTES("II*\0\x08\0\0\0"), "m", "a TIFF image" },
        { BYTES("\0\0\0\x18"
                "ftypmp42"),
          "m", "a video" },
        { BYTES("%PDF-1.7\n"), "m", "a PDF document" },
        { BYTES("\x7f\x45LF\2\1\1"), "m", "a program" },
        { BYTES("PAR1\x15\0"), "m", "a Parquet table" },
        { BYTES("7z\xbc\xaf\x27\x1c\0\4"), "m", "a 7z archive" },
        { BYTES("(dp0\nS'a'\n"), "m", "a pickle of protocol 0" },
        { BYTES("\n<!doctype html><html><body>404"), "m", "a web page" },
        { BYTES("<?xml version=\"1.0\"?>\n<net name=\"vit\" version=\"11\">"), "m.xml", "an OpenVINO graph" },
        { BYTES("<?xml version=\"1.0\"?><svg/>"), "m", "an XML text" },
        { BYTES("import torch\nmodel = caf\xc3\xa9()\n"), "m.py", "a text file" },
        { BYTES("\1\2\3\4\5\6\7\x08"), "m.pb", "a TensorFlow graph" },
        { BYTES("\x83\xa6params\1"), "flax_model.msgpack", "Flax weights" },
        { BYTES("PK\3\4\0\0"), "__0_0.distcp", "one part of a torch.distributed checkpoint" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_tensorfile *f = NULL;
        vs_error err = { 0 };
        check_error(vs_tensorfile_from_memory(&f, cases[i].bytes, cases[i].size, cases[i].name, &err), &err, VS_ERR_UNSUPPORTED,
                    cases[i].message);
        assert_memory_equal(err.message, cases[i].name, strlen(cases[i].name));
        assert_int_equal(vs_status_exit_code(err.code), 1);
    }
}

static void unknown_bytes(void **state) {
    (void)state;
    static const uint8_t zeros[64];
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    check_error(
        vs_tensorfile_from_memory(&f, "\x4f\x70\x65\x6e\0\xff\x81\x46", 8, "m", &err), &err, VS_ERR_FORMAT,
        "m: no checkpoint that is known (safetensors, torch.save, an index of shards): 8 bytes that begin with 4f 70 65 6e 00 "
        "ff 81 46");
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, zeros, sizeof zeros, "m", &err), &err, VS_ERR_FORMAT, "begins with zeros");
    err = (vs_error){ 0 };
    check_error(vs_tensorfile_from_memory(&f, "", 0, "m", &err), &err, VS_ERR_FORMAT, "m: the file is empty");
}

static void folders(void **state) {
    (void)state;
    static const struct {
        const char *member, *message;
    } cases[] = { { "adapter_config.json", "the folder holds a PEFT adapter" },
                  { ".metadata", "a torch.distributed checkpoint" },
                  { "zero_to_fp32.py", "a DeepSpeed checkpoint" },
                  { "saved_model.pb", "a TensorFlow SavedModel" },
                  { "tf_model.h5", "weights for TensorFlow alone" },
                  { "model.onnx", "an ONNX graph alone" },
                  { "model_index.json", "a pipeline of several models" } };
    char dir[256], path[300];
    vs_error err = { 0 };
    vs_tensorfile *f = NULL;
    make_temp_dir(dir, sizeof dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, cases[i].member);
        assert_int_equal(vs_write_file(path, "x", 1, &err), VS_OK);
        check_error(vs_tensorfile_open(&f, dir, &err), &err, VS_ERR_UNSUPPORTED, cases[i].message);
        err = (vs_error){ 0 };
        unlink(path);
    }
    check_error(vs_tensorfile_open(&f, dir, &err), &err, VS_ERR_NOTFOUND, "a folder with none of model.safetensors");
    rmdir(dir);
}

/* All parameters empty: what ZeRO-3 leaves of a model that was not gathered. */
static void placeholders(void **state) {
    (void)state;
    static const char header[] =
        "{\"a.weight\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},\"b.weight\":{\"dtype\":\"F32\","
        "\"shape\":[0],\"data_offsets\":[0,0]},\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    uint8_t bytes[512] = { sizeof header - 1 };
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    assert_true(sizeof header < 256);
    memcpy(bytes + 8, header, sizeof header - 1);
    check_error(vs_tensorfile_from_memory(&f, bytes, 8 + sizeof header - 1 + 4, "m", &err), &err, VS_ERR_UNSUPPORTED,
                "m: 2 of 3 tensors are empty, the first is 'a.weight': placeholders, as DeepSpeed's ZeRO-3 leaves them");
}

/* Nothing waits for a pipe's other end. */
static void no_regular_files(void **state) {
    (void)state;
    char dir[256], path[300], *bytes = NULL, hex[65];
    size_t size = 0;
    FILE *stream = NULL;
    vs_tensorfile *f = NULL;
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *const paths[] = { path, dir, "/dev/zero" };
    static const char *const parts[] = { "a pipe, not a file", "a folder, not a file", "a device, not a file" };
    for (size_t i = 0; i < 3; i++) {
        vs_error err = { 0 };
        check_error(vs_read_file(paths[i], 100, &bytes, &size, &err), &err, VS_ERR_IO, parts[i]);
        err = (vs_error){ 0 };
        check_error(vs_open_stream(paths[i], &stream, &err), &err, VS_ERR_IO, parts[i]);
        err = (vs_error){ 0 };
        check_error(vs_file_sha256(paths[i], hex, &err), &err, VS_ERR_IO, parts[i]);
        err = (vs_error){ 0 };
        if (i != 1) check_error(vs_tensorfile_open(&f, paths[i], &err), &err, VS_ERR_IO, parts[i]);
        assert_non_null(strstr(i == 1 ? dir : err.message, paths[i]));
    }
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(kinds), cmocka_unit_test(unknown_bytes), cmocka_unit_test(folders),
                                        cmocka_unit_test(placeholders), cmocka_unit_test(no_regular_files) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
