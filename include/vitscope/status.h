/* Status codes and the caller-owned error record that every fallible function fills. */
#ifndef VITSCOPE_STATUS_H
#define VITSCOPE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VS_NODISCARD __attribute__((warn_unused_result))
#define VS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VS_NODISCARD
#define VS_PRINTF(fmt, args)
#endif

typedef enum vs_status {
    VS_OK = 0,
    VS_ERR_NOMEM = -1,       /* an allocation failed or a size does not fit size_t */
    VS_ERR_IO = -2,          /* the operating system refused: read, write, rename, disk full */
    VS_ERR_FORMAT = -3,      /* a file's bytes are broken */
    VS_ERR_CONFIG = -4,      /* a configuration or command line is wrong */
    VS_ERR_SHAPE = -5,       /* tensors or images do not fit together */
    VS_ERR_UNSUPPORTED = -6, /* a file or a model that is understood, but not built */
    VS_ERR_NOTFOUND = -7,    /* a named layer or file does not exist */
    VS_ERR_BACKEND = -8,     /* the requested backend is not available here */
    VS_ERR_INTERRUPTED = -9, /* the user asked to stop */
    VS_ERR_INTERNAL = -10    /* a bug in vitscope */
} vs_status;

/* One line of text for a person. Zero-initialise it before the first call; the first error wins. */
typedef struct vs_error {
    vs_status code;
    char message[1024];
} vs_error;

/* Records an error (unless one is recorded already) and gives `code`, which is evaluated twice. `err` may be NULL. A macro, so
 * that compilers and analyzers see that the value is not VS_OK. */
#define vs_fail(err, code, ...) (vs_error_set((err), (code), __VA_ARGS__), (code))
void vs_error_set(vs_error *err, vs_status code, const char *format, ...) VS_PRINTF(3, 4);

/* Puts context ("file.safetensors: ") in front of the recorded message. `err` may be NULL. */
void vs_error_prefix(vs_error *err, const char *format, ...) VS_PRINTF(2, 3);

/* A fixed English name such as "out of memory". Never NULL. */
const char *vs_status_name(vs_status status);

/* Process exit code of a status, as docs/study.md 10 lists them. */
int vs_status_exit_code(vs_status status);

#ifdef __cplusplus
}
#endif
#endif
