/* The backend is a module of its own, loaded when it is asked for: cuBLAS is half a gigabyte, which no other run should load, and
 * the program starts where there is none. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/cuda_backend.h"

typedef vs_status (*open_fn)(vs_backend **out, vs_arithmetic arithmetic, vs_error *err);

/* dlsym gives an object pointer; C has no cast from it to a function's. */
static open_fn opener_of(void *module) {
    void *symbol = dlsym(module, "vs_cuda_module_open");
    open_fn open = NULL;
    memcpy(&open, &symbol, sizeof open);
    return open;
}

/* Beside the program, for one that was moved with its module. */
static void *load_beside_program(void) {
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof "/" VS_CUDA_MODULE_NAME);
    if (n <= 0) return NULL;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    memcpy(slash, "/" VS_CUDA_MODULE_NAME, sizeof "/" VS_CUDA_MODULE_NAME); /* it fits: readlink left room */
    return access(path, R_OK) == 0 ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

/* The module stays loaded: the CUDA runtime in it cleans up when the program ends. */
vs_status vs_cuda_open(vs_backend **out, vs_arithmetic arithmetic, vs_error *err) {
    *out = NULL;
    void *module = load_beside_program();
    if (!module) module = dlopen(VS_CUDA_MODULE, RTLD_NOW | RTLD_LOCAL);
    const open_fn open = module ? opener_of(module) : NULL;
    if (!open) return vs_fail(err, VS_ERR_BACKEND, "backend cuda: cannot load its module: %s; use --backend cpu", dlerror());
    return open(out, arithmetic, err);
}
