#include "backend/timed.h"

#include <stdlib.h>

#include "util/util.h"

#define OPERATIONS(X)                                                                                                            \
    X(upload)                                                                                                                    \
    X(upload_f64)                                                                                                                \
    X(download)                                                                                                                  \
    X(copy)                                                                                                                      \
    X(sync)                                                                                                                      \
    X(patchify)                                                                                                                  \
    X(tokens)                                                                                                                    \
    X(linear)                                                                                                                    \
    X(linear_i8)                                                                                                                 \
    X(layernorm)                                                                                                                 \
    X(attention)                                                                                                                 \
    X(attention_probs)                                                                                                           \
    X(attention_apply)                                                                                                           \
    X(rope)                                                                                                                      \
    X(gelu)                                                                                                                      \
    X(gelu_tanh)                                                                                                                 \
    X(silu_mul)                                                                                                                  \
    X(scale_add)                                                                                                                 \
    X(unfold2x2)                                                                                                                 \
    X(depthwise3x3)                                                                                                              \
    X(softmax_rows)                                                                                                              \
    X(mask_scores)                                                                                                               \
    X(affine)                                                                                                                    \
    X(elementwise)                                                                                                               \
    X(row_mean)                                                                                                                  \
    X(row_sum)                                                                                                                   \
    X(row_max)                                                                                                                   \
    X(exp_rows)                                                                                                                  \
    X(round_half)                                                                                                                \
    X(div_channels)                                                                                                              \
    X(mul_channels)                                                                                                              \
    X(fake_quant)                                                                                                                \
    X(fake_quant_rows)                                                                                                           \
    X(fake_quant_tokens)                                                                                                         \
    X(quantize_u8)                                                                                                               \
    X(channel_minmax)                                                                                                            \
    X(range_histogram)                                                                                                           \
    X(row_absmax)                                                                                                                \
    X(error_sums)                                                                                                                \
    X(abs_stats)                                                                                                                 \
    X(count_below)                                                                                                               \
    X(count_above)                                                                                                               \
    X(channel_energy)                                                                                                            \
    X(read_counts)                                                                                                               \
    X(zero_counts)

#define AS_ID(name) OP_##name,
enum { OPERATIONS(AS_ID) OP_COUNT, UNTIMED = 7 }; /* close, alloc, free, memory_use, reserve, attention_scratch, alloc_counts */
_Static_assert(sizeof(vs_backend_ops) == (OP_COUNT + UNTIMED) * sizeof(void (*)(void)), "an operation is missing here");

typedef struct timed_backend {
    vs_backend base;
    const vs_backend *inner;
    vs_op_time times[OP_COUNT];
} timed_backend;

static timed_backend *timed(const vs_backend *self) { return self->context; }
static const vs_backend *inner_of(const vs_backend *self) { return timed(self)->inner; }

static void note(const vs_backend *self, size_t op, double start, double flops) {
    vs_op_time *t = &timed(self)->times[op];
    t->seconds += vs_now() - start;
    t->flops += flops;
    t->calls++;
}

static double product_flops(double m, double n, double k) { return 2 * m * n * k; }
/* Both products of attention over `rows` = images * tokens. */
static double attention_flops(double rows, double images, double width) { return 4 * rows * (rows / images) * width; }

/* A slot that returns nothing, and one that returns a status: ARGS as `to` gets them, then the parameters behind self. */
#define TIMED(NAME, FLOPS, ARGS, ...)                                                                                            \
    static void NAME(const vs_backend *self, __VA_ARGS__) {                                                                      \
        const vs_backend *to = inner_of(self);                                                                                   \
        const double start = vs_now();                                                                                           \
        to->ops->NAME ARGS;                                                                                                      \
        note(self, OP_##NAME, start, FLOPS);                                                                                     \
    }
#define TIMED_STATUS(NAME, FLOPS, ARGS, ...)                                                                                     \
    static vs_status NAME(const vs_backend *self, __VA_ARGS__) {                                                                 \
        const vs_backend *to = inner_of(self);                                                                                   \
        const double start = vs_now();                                                                                           \
        const vs_status status = to->ops->NAME ARGS;                                                                             \
        note(self, OP_##NAME, start, FLOPS);                                                                                     \
        return status;                                                                                                           \
    }

TIMED_STATUS(upload, 0, (to, dst, src, count, err), void *dst, const float *src, size_t count, vs_error *err)
TIMED_STATUS(upload_f64, 0, (to, dst, src, count, err), void *dst, const double *src, size_t count, vs_error *err)
TIMED_STATUS(download, 0, (to, dst, src, err), void *dst, vs_mat src, vs_error *err)
TIMED(copy, 0, (to, src, dst), vs_mat src, vs_mat dst)
TIMED_STATUS(sync, 0, (to, err), vs_error *err)
TIMED(patchify, 0, (to, pixels, images, h, w, p, out), const void *pixels, size_t images, size_t h, size_t w, size_t p,
      vs_mat out)
TIMED(tokens, 0, (to, patch, prefix, pos, images, out), vs_mat patch, vs_mat prefix, vs_mat pos, size_t images, vs_mat out)
TIMED(linear, product_flops((double)y.rows, (double)y.cols, (double)x.cols), (to, x, w, b, y), vs_mat x, vs_mat w, const void *b,
      vs_mat y)
TIMED_STATUS(linear_i8, product_flops((double)m, (double)n, (double)k), (to, x, w, m, n, k, acc, err), const uint8_t *x,
             const int8_t *w, size_t m, size_t n, size_t k, int32_t *acc, vs_error *err)
TIMED(layernorm, 0, (to, x, g, b, eps, y), vs_mat x, const void *g, const void *b, double eps, vs_mat y)
TIMED(attention, attention_flops((double)q.rows, (double)images, (double)q.cols),
      (to, q, k, v, images, heads, scale, scratch, out), vs_mat q, vs_mat k, vs_mat v, size_t images, size_t heads, double scale,
      void *scratch, vs_mat out)
TIMED(attention_probs, attention_flops((double)q.rows, (double)images, (double)q.cols) / 2, (to, q, k, images, heads, scale, p),
      vs_mat q, vs_mat k, size_t images, size_t heads, double scale, vs_mat p)
TIMED(attention_apply, attention_flops((double)v.rows, (double)images, (double)v.cols) / 2, (to, p, v, images, heads, out),
      vs_mat p, vs_mat v, size_t images, size_t heads, vs_mat out)
TIMED(rope, 0, (to, x, cos, sin, images, heads, y), vs_mat x, vs_mat cos, vs_mat sin, size_t images, size_t heads, vs_mat y)
TIMED(gelu, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(gelu_tanh, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(silu_mul, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(scale_add, 0, (to, x, u, gamma, y), vs_mat x, vs_mat u, const void *gamma, vs_mat y)
TIMED(unfold2x2, 0, (to, x, images, h, w, y), vs_mat x, size_t images, size_t h, size_t w, vs_mat y)
TIMED(depthwise3x3, 18 * (double)y.rows * (double)y.cols, (to, x, k, images, h, w, y), vs_mat x, const void *k, size_t images,
      size_t h, size_t w, vs_mat y)
TIMED(softmax_rows, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(mask_scores, product_flops((double)y.rows, (double)y.cols, (double)m.cols), (to, m, c, images, y), vs_mat m, vs_mat c,
      size_t images, vs_mat y)
TIMED(affine, 0, (to, x, scale, shift, y), vs_mat x, const void *scale, const void *shift, vs_mat y)
TIMED(elementwise, 0, (to, op, x, u, y), vs_element op, vs_mat x, vs_mat u, vs_mat y)
TIMED(row_mean, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(row_sum, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(row_max, 0, (to, x, y), vs_mat x, vs_mat y)
TIMED(exp_rows, 0, (to, x, scale, y, sums), vs_mat x, double scale, vs_mat y, vs_mat sums)
TIMED(round_half, 0, (to, x, format, y, images, counts), vs_mat x, vs_half_format format, vs_mat y, size_t images,
      vs_half_counts *const *counts)
TIMED(div_channels, 0, (to, x, s, y), vs_mat x, const void *s, vs_mat y)
TIMED(mul_channels, 0, (to, x, s, y), vs_mat x, const void *s, vs_mat y)
TIMED(fake_quant, 0, (to, x, grid, y, images, counts), vs_mat x, const vs_grid *grid, vs_mat y, size_t images,
      vs_quant_counts *const *counts)
TIMED(fake_quant_rows, 0, (to, x, scales, qmax, y, codes), vs_mat x, const float *scales, int32_t qmax, vs_mat y, int8_t *codes)
TIMED(fake_quant_tokens, 0, (to, x, qmax, y, images, counts), vs_mat x, int32_t qmax, vs_mat y, size_t images,
      vs_quant_counts *const *counts)
TIMED(quantize_u8, 0, (to, x, grid, codes), vs_mat x, const vs_grid *grid, uint8_t *codes)
TIMED(channel_minmax, 0, (to, x, lo, hi), vs_mat x, double *lo, double *hi)
TIMED(range_histogram, 0, (to, x, lo, hi, bins, counts), vs_mat x, double lo, double hi, size_t bins, uint64_t *counts)
TIMED(row_absmax, 0, (to, x, out), vs_mat x, double *out)
TIMED(error_sums, 0, (to, x, y, images, out), vs_mat x, vs_mat y, size_t images, vs_error_sums *const *out)
TIMED(abs_stats, 0, (to, x, images, out, hist, energy), vs_mat x, size_t images, vs_abs_stats *const *out, void *hist,
      double *const *energy)
TIMED(count_below, 0, (to, x, threshold, below), vs_mat x, double threshold, uint64_t *below)
TIMED(count_above, 0, (to, x, col, threshold, above), vs_mat x, size_t col, double threshold, uint64_t *above)
TIMED(channel_energy, 0, (to, x, sum_sq), vs_mat x, double *sum_sq)
TIMED_STATUS(read_counts, 0, (to, counts, count, host, err), const void *counts, size_t count, uint64_t *host, vs_error *err)
TIMED(zero_counts, 0, (to, counts, count), void *counts, size_t count)
static void close_backend(vs_backend *self) { free(timed(self)); }
static void *alloc_reals(const vs_backend *self, size_t count) { return inner_of(self)->ops->alloc(inner_of(self), count); }
static void free_reals(const vs_backend *self, void *p) { inner_of(self)->ops->free(inner_of(self), p); }
static vs_memory_use memory_use(const vs_backend *self) { return inner_of(self)->ops->memory_use(inner_of(self)); }
static void *alloc_counts(const vs_backend *self, size_t count) {
    return inner_of(self)->ops->alloc_counts(inner_of(self), count);
}
static vs_status reserve(const vs_backend *self, vs_mat x, vs_mat w, vs_mat y, vs_error *err) {
    return inner_of(self)->ops->reserve(inner_of(self), x, w, y, err);
}
static size_t attention_scratch(const vs_backend *self, size_t tokens, size_t heads) {
    return inner_of(self)->ops->attention_scratch(inner_of(self), tokens, heads);
}

#define AS_SLOT(name) .name = name,
static const vs_backend_ops operations = { .close = close_backend,
                                           .alloc = alloc_reals,
                                           .free = free_reals,
                                           .memory_use = memory_use,
                                           .reserve = reserve,
                                           .attention_scratch = attention_scratch,
                                           .alloc_counts = alloc_counts,
                                           OPERATIONS(AS_SLOT) };

void vs_timed_reset(const vs_backend *self) {
#define AS_NAME(name) #name,
    static const char *const names[OP_COUNT] = { OPERATIONS(AS_NAME) };
    for (size_t i = 0; i < OP_COUNT; i++) timed(self)->times[i] = (vs_op_time){ .name = names[i] };
}

const vs_op_time *vs_timed_read(const vs_backend *self, size_t *count) {
    *count = OP_COUNT;
    return timed(self)->times;
}

vs_status vs_timed_open(vs_backend **out, const vs_backend *inner, vs_error *err) {
    *out = NULL;
    timed_backend *t = vs_calloc(1, sizeof *t);
    if (!t) return vs_fail(err, VS_ERR_NOMEM, "no memory for a backend");
    t->base = *inner;
    t->base.ops = &operations;
    t->base.half = NULL; /* its slots are not timed, and would find the wrong context */
    t->base.context = t;
    t->inner = inner;
    vs_timed_reset(&t->base);
    *out = &t->base;
    return VS_OK;
}
