/* What a file is that is no checkpoint of ours, and what to do: told by its bytes, and by its name where bytes tell nothing. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/container.h"
#include "util/util.h"

#define EXPORTED "which is not read: give the checkpoint it was exported from"
#define IMAGE "not a checkpoint: images belong under data"
#define PACKED ": unpack it first"

typedef struct signature {
    size_t at, size;
    const char *bytes, *what;
} signature;

static const signature signatures[] = {
    { 0, 4, "ptrt", "a TensorRT engine, " EXPORTED },
    { 0, 4, "ftrt", "a TensorRT engine, " EXPORTED },
    { 4, 4, "TFL3", "a TensorFlow Lite model, " EXPORTED },
    { 4, 4, "ET12", "an ExecuTorch program, " EXPORTED },
    { 0, 4, "RKNN", "an RKNN model, " EXPORTED },
    { 0, 7, "7767517", "an ncnn graph, " EXPORTED },
    { 0, 4, "GGUF", "a GGUF file, which is not read: give the original checkpoint" },
    { 0, 4, "lmgg", "a GGML file, which is not read: give the original checkpoint" },
    { 0, 4, "tjgg", "a GGML file, which is not read: give the original checkpoint" },
    { 0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file (Keras), which is not read: give a torch or safetensors checkpoint" },
    { 0, 6, "\x93NUMPY", "a NumPy array, which is not read: give a torch or safetensors checkpoint" },
    { 0, 8, "PYTORCH1", "a preview format of torch that was never released: save it again with torch.save" },
    { 257, 5, "ustar",
      "a tar archive: unpack it; if torch < 0.2 wrote it, load it with torch.load and save it again with torch.save" },
    { 0, 2, "\x1f\x8b", "compressed with gzip" PACKED },
    { 0, 3, "BZh", "compressed with bzip2" PACKED },
    { 0, 6, "\xfd\x37zXZ\0", "compressed with xz" PACKED },
    { 0, 4, "\x28\xb5\x2f\xfd", "compressed with zstd" PACKED },
    { 0, 4, "\x04\x22\x4d\x18", "compressed with lz4" PACKED },
    { 0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive" PACKED },
    { 0, 4, "Rar!", "a RAR archive" PACKED },
    { 0, 8, "\x89PNG\r\n\x1a\n", "a PNG image, " IMAGE },
    { 0, 3, "\xff\xd8\xff", "a JPEG image, " IMAGE },
    { 0, 4, "GIF8", "a GIF image, " IMAGE },
    { 8, 4, "WEBP", "a WebP image, " IMAGE },
    { 0, 4, "II*\0", "a TIFF image, " IMAGE },
    { 0, 4, "MM\0*", "a TIFF image, " IMAGE },
    { 4, 4, "ftyp", "a video or a HEIF image, not a checkpoint" },
    { 8, 4, "WAVE", "a sound, not a checkpoint" },
    { 0, 4, "%PDF", "a PDF document, not a checkpoint" },
    { 0, 4, "\x7f\x45LF", "a program or a library, not a checkpoint" },
    { 0, 15, "SQLite format 3", "an SQLite database, not a checkpoint" },
    { 0, 4, "PAR1", "a Parquet table, not a checkpoint" },
    { 0, 6, "ARROW1", "an Arrow table, not a checkpoint" },
    { 0, 19, "version https://git", "a pointer of git-lfs, not the file itself: fetch it with git lfs pull" },
    { 0, 5, "<!DOC", "a web page, not a checkpoint: the download failed" },
    { 0, 5, "<html", "a web page, not a checkpoint: the download failed" },
    { 0, 3, "(dp", "a pickle of protocol 0, which is not read: load it with Python and save it with torch.save" },
    { 0, 10, "ccopy_reg\n", "a pickle of protocol 0, which is not read: load it with Python and save it with torch.save" },
    { 0, 7, "cnumpy.", "a pickle of protocol 0, which is not read: load it with Python and save it with torch.save" },
};

/* Marks so short that other bytes may begin so by chance. */
static const signature weak[] = {
    { 0, 2, "BM", "perhaps a BMP image" },
    { 0, 2, "MZ", "perhaps a program" },
    { 0, 16, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "it begins with zeros: the download or the copy failed" },
};

/* Formats without a mark of their own, and parts of others. */
static const struct {
    const char *ending, *what;
} endings[] = {
    { ".distcp",
      "one part of a torch.distributed checkpoint: join the parts with python -m torch.distributed.checkpoint.format_utils "
      "dcp_to_torch FOLDER FILE" },
    { ".onnx", "an ONNX graph, " EXPORTED },
    { ".engine", "a TensorRT engine, " EXPORTED },
    { ".plan", "a TensorRT engine, " EXPORTED },
    { ".trt", "a TensorRT engine, " EXPORTED },
    { ".tflite", "a TensorFlow Lite model, " EXPORTED },
    { ".pb", "a TensorFlow graph, " EXPORTED },
    { ".mlmodel", "a Core ML model, " EXPORTED },
    { ".mnn", "an MNN model, " EXPORTED },
    { ".msgpack", "Flax weights, which are not read: give a torch or safetensors checkpoint" },
    { ".data-00000-of-00001", "a TensorFlow checkpoint, which is not read: give a torch or safetensors checkpoint" },
    { ".npy", "a NumPy array, which is not read: give a torch or safetensors checkpoint" },
};

static const char *by_ending(const char *path) {
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (vs_has_ending(path, endings[i].ending)) return endings[i].what;
    return NULL;
}

static const char *by_signature(const signature *list, size_t count, const uint8_t *head, size_t size) {
    for (const signature *s = list; s < list + count; s++)
        if (size >= s->at + s->size && memcmp(head + s->at, s->bytes, s->size) == 0) return s->what;
    return NULL;
}
#define BY_SIGNATURE(list, head, size) by_signature(list, sizeof list / sizeof *list, head, size)

/* ---- ONNX: a protocol buffer without a mark */

static bool take_varint(const uint8_t *p, size_t size, size_t *at, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < size; shift += 7) {
        const uint8_t b = p[(*at)++];
        *value |= (uint64_t)(b & 127) << shift;
        if (b < 128) return true;
    }
    return false;
}

/* onnx.ModelProto: 1 ir_version, 2, 3 producer, 4 domain, 5 model_version, 6 doc_string, 7 graph, 8 opset_import; the first is
 * always there, and one of the last two. */
static bool is_onnx(const uint8_t *head, size_t size, size_t file_size) {
    size_t at = 0;
    bool version = false;
    for (size_t fields = 0; fields < 64; fields++) {
        uint64_t tag = 0, value = 0;
        if (!take_varint(head, size, &at, &tag) || !take_varint(head, size, &at, &value)) return false;
        const uint64_t field = tag >> 3, wire = tag & 7;
        if (field == 1 || field == 5) {
            if (wire != 0) return false;
            version = version || (field == 1 && value > 0 && value < 100);
            continue;
        }
        if (wire != 2 || field < 2 || field > 8 || value > file_size - at) return false;
        if (field >= 7) return version;
        at += (size_t)value;
        if (at >= size) return false;
    }
    return false;
}

/* ---- text */

static bool contains(const uint8_t *head, size_t size, const char *word) {
    const size_t n = strlen(word);
    for (size_t i = 0; i + n <= size; i++) {
        size_t k = 0;
        while (k < n && tolower(head[i + k]) == word[k]) k++;
        if (k == n) return true;
    }
    return false;
}

static bool is_text(const uint8_t *head, size_t size) {
    for (size_t i = 0; i < size;) {
        const size_t n = vs_utf8_size((const char *)head + i, size - i);
        if (n == 0) return size - i < 4 && size == VS_HEAD_BYTES; /* the last character may be cut */
        if (head[i] < 0x20 && !strchr("\t\n\r\f", head[i])) return false;
        if (head[i] == 0) return false;
        i += n;
    }
    return true;
}

static const char *kind_of_text(const uint8_t *head, size_t size) {
    if (!is_text(head, size)) return NULL;
    if (contains(head, size, "<!doctype html") || contains(head, size, "<html"))
        return "a web page, not a checkpoint: the download failed";
    if (contains(head, size, "<?xml") || contains(head, size, "<net "))
        return contains(head, size, "<net ") ? "an OpenVINO graph, " EXPORTED : "an XML text, not a checkpoint";
    return "a text file, not a checkpoint";
}

bool vs_foreign_part(const char *path) { return vs_has_ending(path, ".distcp"); }

vs_status vs_foreign_refuse(const vs_source *source, const uint8_t *head, size_t size, vs_error *err) {
    const char *what = vs_foreign_part(source->label) ? by_ending(source->label) : BY_SIGNATURE(signatures, head, size);
    if (!what && is_onnx(head, size, source->size)) what = "an ONNX graph, " EXPORTED;
    if (!what) what = by_ending(source->label);
    if (!what) what = kind_of_text(head, size);
    if (what) return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: %s", source->label, what);
    what = BY_SIGNATURE(weak, head, size);
    char shown[3 * 8 + 1] = "";
    for (size_t i = 0; i < size && i < 8; i++) snprintf(shown + 3 * i, sizeof shown - 3 * i, " %02x", head[i]);
    return vs_fail(
        err, VS_ERR_FORMAT,
        "%s: no checkpoint that is known (safetensors, torch.save, an index of shards): %zu bytes that begin with%s%s%s",
        source->label, source->size, shown, what ? ": " : "", what ? what : "");
}

/* ---- folders */

static const struct {
    const char *member, *what;
} members[] = {
    { "adapter_config.json",
      "a PEFT adapter (adapter_config.json), which is no model: join it with its base model (merge_and_unload) and "
      "save that; to study weights beside it as they are, give their file" },
    { ".metadata", "a torch.distributed checkpoint of several parts: join them with python -m "
                   "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE" },
    { "zero_to_fp32.py", "a DeepSpeed checkpoint: gather its weights with the zero_to_fp32.py in it" },
    { "saved_model.pb", "a TensorFlow SavedModel, " EXPORTED },
    { "Manifest.json", "a Core ML package, " EXPORTED },
    { "tf_model.h5", "weights for TensorFlow alone (tf_model.h5): give a torch or safetensors checkpoint" },
    { "flax_model.msgpack", "weights for Flax alone (flax_model.msgpack): give a torch or safetensors checkpoint" },
    { "model.onnx", "an ONNX graph alone (model.onnx), " EXPORTED },
    { "model_index.json", "a pipeline of several models (model_index.json): give the folder of one" },
    { "open_clip_pytorch_model.bin", "weights of open_clip: give open_clip_pytorch_model.bin itself" },
};

bool vs_foreign_adapter(const char *folder) {
    char *path = vs_path_join(folder, "adapter_config.json");
    struct stat info;
    const bool there = path && stat(path, &info) == 0;
    free(path);
    return there;
}

vs_status vs_foreign_folder(const char *folder, vs_error *err) {
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        char *path = vs_path_join(folder, members[i].member);
        struct stat info;
        const bool there = path && stat(path, &info) == 0;
        if (!path) return vs_fail(err, VS_ERR_NOMEM, "%s: no memory", folder);
        free(path);
        if (there) return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: the folder holds %s", folder, members[i].what);
    }
    return vs_fail(err, VS_ERR_NOTFOUND,
                   "%s: a folder with none of model.safetensors, model.safetensors.index.json, pytorch_model.bin, "
                   "pytorch_model.bin.index.json",
                   folder);
}
