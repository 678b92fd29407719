/* What vs_tensorfile makes of a file, for the scripts that hold it to torch and safetensors:
 *   vs_tensors PATH        a line a tensor: name <tab> type <tab> shape with x between <tab> SHA-256 of its bytes
 *   vs_tensors --meta PATH a line an entry: key <tab> value
 *   vs_tensors --sum PATH  float32 sum of every tensor, which reads all bytes once and lets them go: for timings
 *   vs_tensors --hash PATH SHA-256 of the file */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tensorfile.h"
#include "util/util.h"

static void print_tensor(const vs_tensor_entry *t) {
    vs_sha256 sha;
    uint8_t digest[32], piece[4096];
    char hex[65];
    vs_sha256_init(&sha);
    for (size_t at = 0; at < t->size; at += sizeof piece) {
        const size_t n = t->size - at < sizeof piece ? t->size - at : sizeof piece;
        vs_error err = { 0 };
        if (vs_tensor_read(t, at, n, piece, &err) != VS_OK) exit(1);
        vs_sha256_update(&sha, piece, n);
    }
    vs_sha256_final(&sha, digest);
    vs_hex(digest, sizeof digest, hex);
    printf("%s\t%s\t", t->name, t->dtype_name);
    for (size_t i = 0; i < t->ndim; i++) printf("%s%zu", i ? "x" : "", t->shape[i]);
    printf("\t%s\n", hex);
}

/* Every weight as float32, as a model is loaded: all copies are held, the file's pages are not. */
static vs_status load_all(const vs_tensorfile *f, vs_error *err) {
    const size_t n = vs_tensorfile_count(f);
    float **copies = vs_calloc(n ? n : 1, sizeof *copies);
    double sum = 0;
    vs_status status = copies ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory");
    for (size_t i = 0; i < n && status == VS_OK; i++) {
        const vs_tensor_entry *t = vs_tensorfile_at(f, i);
        copies[i] = vs_calloc(t->count ? t->count : 1, sizeof **copies);
        status = copies[i] ? vs_tensor_to_f32(t, copies[i], err) : vs_fail(err, VS_ERR_NOMEM, "no memory");
        if (status == VS_OK && t->count) sum += (double)copies[i][t->count - 1];
    }
    if (status == VS_OK) printf("%.9g\n", sum);
    for (size_t i = 0; copies && i < n; i++) free(copies[i]);
    free(copies);
    return status;
}

int main(int argc, char **argv) {
    const char *mode = argc == 3 ? argv[1] : "";
    if (argc < 2 || argc > 3) return 2;
    vs_tensorfile *f = NULL;
    vs_error err = { 0 };
    char hex[65];
    vs_status status = vs_tensorfile_open(&f, argv[argc - 1], &err);
    if (status == VS_OK && strcmp(mode, "--sum") == 0) status = load_all(f, &err);
    if (status == VS_OK && strcmp(mode, "--hash") == 0) {
        status = vs_tensorfile_sha256(f, hex, &err);
        puts(hex);
    }
    if (status == VS_OK && !*mode)
        for (size_t i = 0; i < vs_tensorfile_count(f); i++) print_tensor(vs_tensorfile_at(f, i));
    if (status == VS_OK && strcmp(mode, "--meta") == 0)
        for (size_t i = 0; i < vs_tensorfile_meta_count(f); i++)
            printf("%s\t%s\n", vs_tensorfile_meta_at(f, i)->key, vs_tensorfile_meta_at(f, i)->value);
    if (status != VS_OK) fprintf(stderr, "%s\n", err.message);
    vs_tensorfile_close(f);
    return vs_status_exit_code(status);
}
