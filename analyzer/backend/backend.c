#include <string.h>

#include "cpu_backend.h"
#include "cuda_backend.h"
#include "ref_backend.h"

vs_status vs_backend_open(vs_backend **out, const char *name, vs_error *err) {
    *out = NULL;
    if (strcmp(name, "ref") == 0) return vs_ref_open(out, err);
    if (strcmp(name, "cpu") == 0) return vs_cpu_open(out, err);
    if (strcmp(name, "cuda") == 0) return vs_cuda_open(out, err);
    return vs_fail(err, VS_ERR_BACKEND, "there is no backend '%s'; known: cpu, cuda, ref", name);
}

void vs_backend_close(vs_backend *backend) {
    if (backend) backend->ops->close(backend);
}
