#include "io/npy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

enum { ALIGN = 64, MAX_HEADER = 512 };

vs_status vs_npy_write_header(FILE *stream, vs_npy_type type, size_t ndim, const size_t *shape, vs_error *err) {
    char text[MAX_HEADER];
    size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                                type == VS_NPY_F64 ? "<f8" : "<f4");
    for (size_t i = 0; i < ndim && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%zu%s", shape[i], ndim == 1 || i + 1 < ndim ? "," : "");
    if (n < sizeof text) n += (size_t)snprintf(text + n, sizeof text - n, "), }");
    const size_t padded = (10 + n + 1 + ALIGN - 1) / ALIGN * ALIGN - 10;
    if (padded >= sizeof text) return vs_fail(err, VS_ERR_SHAPE, "an array of %zu dimensions does not fit an npy header", ndim);
    memset(text + n, ' ', padded - n - 1);
    text[padded - 1] = '\n';
    const uint8_t lead[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)(padded & 255), (uint8_t)(padded >> 8) };
    if (fwrite(lead, 1, sizeof lead, stream) != sizeof lead || fwrite(text, 1, padded, stream) != padded)
        return vs_fail(err, VS_ERR_IO, "cannot write an npy header: %s", strerror(errno));
    return VS_OK;
}

vs_status vs_npy_write(const char *path, vs_npy_type type, size_t ndim, const size_t *shape, const void *data, vs_error *err) {
    vs_outfile f;
    vs_status status = vs_outfile_open(&f, path, err);
    if (status != VS_OK) return status;
    size_t count = 1;
    for (size_t i = 0; i < ndim; i++) count *= shape[i];
    status = vs_npy_write_header(f.stream, type, ndim, shape, err);
    if (status != VS_OK) vs_error_prefix(err, "%s: ", path);
    if (status == VS_OK) {
        (void)vs_outfile_write(&f, data, count * (type == VS_NPY_F64 ? 8 : 4));
        status = vs_outfile_commit(&f, err);
    }
    vs_outfile_discard(&f);
    return status;
}
