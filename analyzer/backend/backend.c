#include <string.h>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/ref/ref_backend.h"

static const char *const arithmetics[VS_ARITHMETIC_COUNT] = { "the backend's own", "f32", "tf32" };

vs_status vs_arithmetic_parse(vs_arithmetic *out, const char *name, vs_error *err) {
    for (vs_arithmetic a = VS_ARITHMETIC_F32; a < VS_ARITHMETIC_COUNT; a++)
        if (strcmp(name, arithmetics[a]) == 0) {
            *out = a;
            return VS_OK;
        }
    return vs_fail(err, VS_ERR_CONFIG, "there is no arithmetic '%s'; known: f32, tf32", name);
}

static vs_status no_arithmetic(const char *name, vs_arithmetic a, const char *own, vs_error *err) {
    return vs_fail(err, VS_ERR_BACKEND, "backend %s computes in %s, not in %s%s", name, own, arithmetics[a],
                   a == VS_ARITHMETIC_TF32 ? "; use --backend cuda" : "");
}

vs_status vs_backend_open_as(vs_backend **out, const char *name, vs_arithmetic arithmetic, vs_error *err) {
    *out = NULL;
    if (strcmp(name, "ref") == 0)
        return arithmetic == VS_ARITHMETIC_OWN ? vs_ref_open(out, err) : no_arithmetic(name, arithmetic, "f64", err);
    if (strcmp(name, "cpu") == 0)
        return arithmetic <= VS_ARITHMETIC_F32 ? vs_cpu_open(out, err) : no_arithmetic(name, arithmetic, "f32", err);
    if (strcmp(name, "cuda") == 0) return vs_cuda_open(out, arithmetic, err);
    return vs_fail(err, VS_ERR_BACKEND, "there is no backend '%s'; known: cpu, cuda, ref", name);
}

vs_status vs_backend_open(vs_backend **out, const char *name, vs_error *err) {
    return vs_backend_open_as(out, name, VS_ARITHMETIC_OWN, err);
}

void vs_backend_close(vs_backend *backend) {
    if (backend) backend->ops->close(backend);
}
