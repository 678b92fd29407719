/* vs_codes BACKEND u8|s8 SCALE ZERO IN OUT: codes of raw float32 values, for check_codes.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"
#include "vitscope/backend.h"

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    vs_error err = { 0 };
    vs_backend *b = NULL;
    char *bytes = NULL;
    size_t size = 0;
    if (vs_backend_open(&b, argv[1], &err) != VS_OK || vs_read_file(argv[5], (size_t)1 << 30, &bytes, &size, &err) != VS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const size_t n = size / sizeof(float);
    const float scale = strtof(argv[3], NULL);
    const int32_t zero = (int32_t)strtol(argv[4], NULL, 10);
    void *x = b->ops->alloc(b, n);
    uint8_t *codes = vs_calloc(n, 1);
    if (!x || !codes || b->ops->upload(b, x, (const float *)(const void *)bytes, n, &err) != VS_OK) return 1;
    const vs_mat m = { x, 1, n, n };
    const vs_grid grid = { .scale = scale, .zero = zero, .qmin = 0, .qmax = 255 };
    if (strcmp(argv[2], "u8") == 0)
        b->ops->quantize_u8(b, m, &grid, codes);
    else
        b->ops->fake_quant_rows(b, m, &scale, 127, m, (int8_t *)codes);
    const vs_status status = vs_write_file(argv[6], codes, n, &err);
    free(codes);
    free(bytes);
    b->ops->free(b, x);
    vs_backend_close(b);
    return status == VS_OK ? 0 : 1;
}
