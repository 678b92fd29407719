/* Our quantizer on raw float32 values, for the scripts that hold it to ONNX Runtime's. OUT receives the codes; the sums behind
 * SQNR(IN, dequantized) are printed:
 *   vs_codes BACKEND u8 SCALE ZERO IN OUT    a given unsigned grid
 *   vs_codes BACKEND s8 SCALE ZERO IN OUT    a given signed scale, codes -127..127
 *   vs_codes BACKEND input LO HI IN OUT      our unsigned grid of a calibrated range
 *   vs_codes BACKEND rows ROWS SCALES IN OUT a weight matrix of ROWS rows, our scale a row; SCALES receives them (float32) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "util/util.h"

typedef struct tensor {
    const vs_backend *be;
    vs_mat x, y; /* y: dequantized */
    uint8_t *codes;
} tensor;

static vs_status on_grid(const tensor *t, const vs_grid *grid) {
    t->be->ops->quantize_u8(t->be, t->x, grid, t->codes);
    t->be->ops->fake_quant(t->be, t->x, grid, t->y, 1, NULL);
    printf("scale %.9g zero %d ", (double)grid->scale, grid->zero);
    return VS_OK;
}

static vs_status given_unsigned(tensor *t, char **args, vs_error *err) {
    (void)err;
    return on_grid(t, &(vs_grid){ .scale = strtof(args[0], NULL), .zero = (int32_t)strtol(args[1], NULL, 10), .qmax = 255 });
}

static vs_status given_signed(tensor *t, char **args, vs_error *err) {
    (void)err;
    const float scale = strtof(args[0], NULL);
    t->be->ops->fake_quant_rows(t->be, t->x, &scale, 127, t->y, (int8_t *)t->codes);
    return VS_OK;
}

static vs_status own_input(tensor *t, char **args, vs_error *err) {
    (void)err;
    const vs_grid grid = vs_grid_asymmetric(strtod(args[0], NULL), strtod(args[1], NULL), 8);
    return on_grid(t, &grid);
}

static vs_status own_rows(tensor *t, char **args, vs_error *err) {
    const size_t rows = strtoul(args[0], NULL, 10), cols = t->x.cols / rows;
    t->x = (vs_mat){ t->x.p, rows, cols, cols };
    t->y = (vs_mat){ t->y.p, rows, cols, cols };
    double *peaks = vs_calloc(rows, sizeof *peaks);
    float *scales = vs_calloc(rows, sizeof *scales);
    vs_status status = peaks && scales ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for %zu scales", rows);
    if (status == VS_OK) {
        t->be->ops->row_absmax(t->be, t->x, peaks);
        for (size_t r = 0; r < rows; r++) scales[r] = vs_grid_symmetric(peaks[r], 8).scale;
        t->be->ops->fake_quant_rows(t->be, t->x, scales, 127, t->y, (int8_t *)t->codes);
        status = vs_write_file(args[1], scales, rows * sizeof *scales, err);
    }
    free(peaks);
    free(scales);
    return status;
}

static const struct {
    const char *name;
    vs_status (*run)(tensor *t, char **args, vs_error *err);
} modes[] = { { "u8", given_unsigned }, { "s8", given_signed }, { "input", own_input }, { "rows", own_rows } };
enum { MODES = sizeof modes / sizeof *modes };

static vs_status quantize(const vs_backend *be, char **argv, vs_error *err) {
    char *bytes = NULL;
    size_t size = 0;
    vs_status status = vs_read_file(argv[5], (size_t)1 << 30, &bytes, &size, err);
    const size_t n = size / sizeof(float);
    tensor t = { .be = be };
    if (status != VS_OK) goto out;
    t.x = (vs_mat){ be->ops->alloc(be, n), 1, n, n };
    t.y = (vs_mat){ be->ops->alloc(be, n), 1, n, n };
    t.codes = vs_calloc(n, 1);
    if (!t.x.p || !t.y.p || !t.codes) status = vs_fail(err, VS_ERR_NOMEM, "no memory for %zu values", n);
    if (status == VS_OK) status = be->ops->upload(be, t.x.p, (const float *)(const void *)bytes, n, err);
    if (status != VS_OK) goto out;
    size_t mode = 0;
    while (mode < MODES && strcmp(argv[2], modes[mode].name) != 0) mode++;
    status = mode < MODES ? modes[mode].run(&t, argv + 3, err) : vs_fail(err, VS_ERR_CONFIG, "unknown mode '%s'", argv[2]);
    if (status != VS_OK) goto out;
    vs_error_sums sums;
    be->ops->error_sums(be, t.x, t.y, 1, (vs_error_sums *[]){ &sums });
    printf("signal %.17g noise %.17g\n", sums.signal, sums.noise);
    status = vs_write_file(argv[6], t.codes, n, err);
out:
    be->ops->free(be, t.x.p);
    be->ops->free(be, t.y.p);
    free(t.codes);
    free(bytes);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    vs_error err = { 0 };
    vs_backend *be = NULL;
    vs_status status = vs_backend_open(&be, argv[1], &err);
    if (status == VS_OK) status = quantize(be, argv, &err);
    if (status != VS_OK) fprintf(stderr, "%s\n", err.message);
    vs_backend_close(be);
    return status == VS_OK ? 0 : 1;
}
