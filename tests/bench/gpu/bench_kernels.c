/* bench_kernels [BACKEND [SECONDS [ARITHMETIC]]]: each operation at the shapes of ViT-S/B/L, 518 px, batch 8 (1370 tokens an
 * image), beside the ceilings of the machine as the same run finds them: the product of 8192 x 8192 float32 matrices, and the
 * copy of 1 GiB (bytes read and written). An operation's bytes are those that must move at least: every operand once. A line:
 * milliseconds, TFLOP/s or GB/s, share of the ceiling. BACKEND: cuda (default) or another name of vs_backend_open; SECONDS a
 * measurement (0.2); ARITHMETIC: f32, tf32.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vitscope/backend.h"

enum { IMAGES = 8, TOKENS = 1370, SQUARE = 8192, WIDEST = 1024, ROUNDS = 3 };
static const size_t copied = (size_t)1 << 28; /* reals */

typedef struct bench {
    const vs_backend *be;
    double seconds, product, copy; /* of a measurement; ceilings in 1/s: operations, bytes */
    void *a, *b, *y, *small;       /* `copied` reals each; small: WIDEST * 4 */
    size_t width, k, n;            /* of the model; of a linear */
    vs_abs_stats stats[IMAGES];
    vs_error_sums sums[IMAGES];
    vs_quant_counts counts[IMAGES];
    void *hist; /* counters */
    double *energy[IMAGES], *lo, *hi;
} bench;

static const vs_grid grid = { .scale = 0.03f, .zero = 128, .qmin = 0, .qmax = 255, .lo = -3.84f, .hi = 3.81f };

/* [images * tokens, cols] in one of the big arrays. */
static vs_mat rows_of(void *p, size_t cols) { return (vs_mat){ p, (size_t)IMAGES * TOKENS, cols, cols }; }
static vs_mat hidden(const bench *b, void *p) { return rows_of(p, 4 * b->width); }

/* ---- what gives numbers of each image */

static void abs_stats(bench *b) {
    vs_abs_stats *out[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) out[i] = &b->stats[i];
    b->be->ops->abs_stats(b->be, hidden(b, b->a), IMAGES, out, b->hist, b->energy);
}
static void abs_max(bench *b) {
    vs_abs_stats *out[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) out[i] = &b->stats[i];
    b->be->ops->abs_stats(b->be, hidden(b, b->a), IMAGES, out, NULL, NULL);
}
static void error_sums(bench *b) {
    vs_error_sums *out[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) out[i] = &b->sums[i];
    b->be->ops->error_sums(b->be, hidden(b, b->a), hidden(b, b->b), IMAGES, out);
}
static void fake_quant_counted(bench *b) {
    vs_quant_counts *counts[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) counts[i] = &b->counts[i];
    b->be->ops->fake_quant(b->be, hidden(b, b->a), &grid, hidden(b, b->y), IMAGES, counts);
}
static void fake_quant_tokens_counted(bench *b) {
    vs_quant_counts *counts[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) counts[i] = &b->counts[i];
    b->be->ops->fake_quant_tokens(b->be, hidden(b, b->a), 127, hidden(b, b->y), IMAGES, counts);
}

/* ---- the others */

static void copy(bench *b) {
    const size_t cols = (size_t)1 << 14;
    b->be->ops->copy(b->be, (vs_mat){ b->a, copied / cols, cols, cols }, (vs_mat){ b->y, copied / cols, cols, cols });
}
static void square(bench *b) {
    const vs_mat x = { b->a, SQUARE, SQUARE, SQUARE }, w = { b->b, SQUARE, SQUARE, SQUARE }, y = { b->y, SQUARE, SQUARE, SQUARE };
    b->be->ops->linear(b->be, x, w, NULL, y);
}
static void linear(bench *b) {
    b->be->ops->linear(b->be, rows_of(b->a, b->k), (vs_mat){ b->b, b->n, b->k, b->k }, b->small, rows_of(b->y, b->n));
}
static void attention(bench *b) {
    const vs_mat qkv = rows_of(b->a, 3 * b->width);
    const size_t c = b->width, scratch = 3 * c * qkv.rows; /* behind qkv */
    b->be->ops->attention(b->be, vs_mat_view(b->be, qkv, 0, qkv.rows, 0, c), vs_mat_view(b->be, qkv, 0, qkv.rows, c, c),
                          vs_mat_view(b->be, qkv, 0, qkv.rows, 2 * c, c), IMAGES, c / 64, 0.125,
                          (char *)b->a + scratch * (size_t)b->be->scalar, rows_of(b->y, c));
}
static void layernorm(bench *b) {
    b->be->ops->layernorm(b->be, rows_of(b->a, b->width), b->small, b->small, 1e-6, rows_of(b->y, b->width));
}
static void gelu(bench *b) { b->be->ops->gelu(b->be, hidden(b, b->a), hidden(b, b->y)); }
static void gelu_tanh(bench *b) { b->be->ops->gelu_tanh(b->be, hidden(b, b->a), hidden(b, b->y)); }
static void scale_add(bench *b) {
    b->be->ops->scale_add(b->be, rows_of(b->a, b->width), rows_of(b->b, b->width), b->small, rows_of(b->y, b->width));
}
static void fake_quant(bench *b) { b->be->ops->fake_quant(b->be, hidden(b, b->a), &grid, hidden(b, b->y), IMAGES, NULL); }
static void fake_quant_tokens(bench *b) {
    b->be->ops->fake_quant_tokens(b->be, hidden(b, b->a), 127, hidden(b, b->y), IMAGES, NULL);
}
static void minmax(bench *b) { b->be->ops->channel_minmax(b->be, hidden(b, b->a), b->lo, b->hi); }

/* ---- measuring */

/* Seconds of one call in a row of `calls`; 0 when the backend failed. */
static double time_calls(void (*run)(bench *), bench *b, size_t calls) {
    vs_error err = { 0 };
    const double start = vs_now();
    for (size_t i = 0; i < calls; i++) run(b);
    if (b->be->ops->sync(b->be, &err) == VS_OK) return (vs_now() - start) / (double)calls;
    fprintf(stderr, "bench_kernels: %s\n", err.message);
    return 0;
}

/* The fastest of some rounds. The first call chooses kernels, the second one tells how many fill the time. */
static double measure(bench *b, void (*run)(bench *)) {
    double fastest = time_calls(run, b, 1) > 0 ? time_calls(run, b, 1) : 0;
    if (!(fastest > 0)) return 0;
    const double wanted = b->seconds / ROUNDS / fastest;
    const size_t calls = wanted > 1000 ? 1000 : wanted < 1 ? 1 : (size_t)wanted;
    for (int round = 0; round < ROUNDS; round++) {
        const double one = time_calls(run, b, calls);
        if (!(one > 0)) return 0;
        if (round == 0 || one < fastest) fastest = one;
    }
    return fastest;
}

static void line(const char *name, double seconds, double work, double unit, const char *unit_name, double ceiling) {
    if (seconds > 0)
        printf("  %-34s %9.4f ms %9.1f %s %6.1f %%\n", name, 1e3 * seconds, work / seconds / unit, unit_name,
               100 * work / seconds / ceiling);
    else
        printf("  %-34s failed\n", name);
}

static void product(bench *b, const char *name, void (*run)(bench *), double operations) {
    line(name, measure(b, run), operations, 1e12, "TFLOP/s", b->product);
}

static void moved(bench *b, const char *name, void (*run)(bench *), double reals) {
    line(name, measure(b, run), reals * (double)b->be->scalar, 1e9, "GB/s   ", b->copy);
}

static void ceilings(bench *b) {
    const double n = SQUARE, a = measure(b, square), c = measure(b, copy);
    b->product = a > 0 ? 2 * n * n * n / a : 1;
    b->copy = c > 0 ? 2 * (double)copied * (double)b->be->scalar / c : 1;
    printf("ceilings of %s (%s, %s): product of %d x %d matrices %.1f TFLOP/s, copy of %.2f GB %.0f GB/s\n", b->be->name,
           b->be->isa, b->be->arithmetic, SQUARE, SQUARE, b->product / 1e12, (double)copied * (double)b->be->scalar / 1e9,
           b->copy / 1e9);
}

static void linear_of(bench *b, const char *name, size_t k, size_t n) {
    b->k = k;
    b->n = n;
    product(b, name, linear, 2.0 * IMAGES * TOKENS * (double)k * (double)n);
}

static void model(bench *b, const char *name, size_t width) {
    const double t = TOKENS, rows = IMAGES * t, c = (double)width;
    b->width = width;
    printf("%s: %d images of %d tokens, width %zu\n", name, IMAGES, TOKENS, width);
    linear_of(b, "linear qkv", width, 3 * width);
    linear_of(b, "linear proj", width, width);
    linear_of(b, "linear fc1", width, 4 * width);
    linear_of(b, "linear fc2", 4 * width, width);
    product(b, "attention", attention, 4 * IMAGES * t * t * c);
    moved(b, "layernorm", layernorm, 2 * rows * c);
    moved(b, "gelu", gelu, 8 * rows * c);
    moved(b, "gelu_tanh", gelu_tanh, 8 * rows * c);
    moved(b, "scale_add", scale_add, 3 * rows * c);
    moved(b, "fake_quant", fake_quant, 8 * rows * c);
    moved(b, "fake_quant, counts", fake_quant_counted, 8 * rows * c);
    moved(b, "fake_quant_tokens", fake_quant_tokens, 8 * rows * c);
    moved(b, "fake_quant_tokens, counts", fake_quant_tokens_counted, 8 * rows * c);
    moved(b, "abs_stats", abs_max, 4 * rows * c);
    moved(b, "abs_stats, histogram and energy", abs_stats, 4 * rows * c);
    moved(b, "error_sums", error_sums, 8 * rows * c);
    moved(b, "channel_minmax", minmax, 4 * rows * c);
}

/* Normal values, the same million again and again. */
static bool fill(bench *b, void *p, size_t count) {
    enum { PERIOD = 1 << 20 };
    float *host = vs_calloc(PERIOD, sizeof *host);
    vs_rng rng = { 1 };
    vs_error err = { 0 };
    bool good = host && p;
    for (size_t i = 0; good && i < PERIOD; i++) host[i] = (float)vs_rng_normal(&rng);
    for (size_t i = 0; good && i < count; i += PERIOD)
        good = b->be->ops->upload(b->be, (char *)p + i * (size_t)b->be->scalar, host, count - i < PERIOD ? count - i : PERIOD,
                                  &err) == VS_OK;
    free(host);
    return good;
}

static bool prepare(bench *b) {
    const size_t cols = (size_t)4 * WIDEST, hidden_reals = (size_t)IMAGES * TOKENS * cols;
    const size_t used = hidden_reals > (size_t)SQUARE * SQUARE ? hidden_reals : (size_t)SQUARE * SQUARE;
    b->a = b->be->ops->alloc(b->be, copied);
    b->y = b->be->ops->alloc(b->be, copied);
    b->b = b->be->ops->alloc(b->be, used);
    b->small = b->be->ops->alloc(b->be, cols);
    b->lo = vs_calloc(cols, sizeof *b->lo);
    b->hi = vs_calloc(cols, sizeof *b->hi);
    b->hist = b->be->ops->alloc_counts(b->be, VS_HIST_BINS);
    bool good = b->y && b->lo && b->hi && b->hist && fill(b, b->a, copied) && fill(b, b->b, used) && fill(b, b->small, cols);
    for (size_t i = 0; i < IMAGES && good; i++) {
        b->energy[i] = vs_calloc(cols, sizeof **b->energy);
        good = b->energy[i] != NULL;
    }
    return good;
}

static void release(bench *b, vs_backend *be) {
    void *const reals[] = { b->a, b->b, b->y, b->small };
    for (size_t i = 0; i < 4; i++) be->ops->free(be, reals[i]);
    be->ops->free(be, b->hist);
    for (size_t i = 0; i < IMAGES; i++) free(b->energy[i]);
    free(b->lo);
    free(b->hi);
    vs_backend_close(be);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        size_t width;
    } models[] = { { "ViT-S/14", 384 }, { "ViT-B/14", 768 }, { "ViT-L/14", 1024 } };
    vs_error err = { 0 };
    vs_backend *be = NULL;
    vs_arithmetic arithmetic = VS_ARITHMETIC_OWN;
    vs_status status = argc > 3 ? vs_arithmetic_parse(&arithmetic, argv[3], &err) : VS_OK;
    if (status == VS_OK) status = vs_backend_open_as(&be, argc > 1 ? argv[1] : "cuda", arithmetic, &err);
    if (status != VS_OK) {
        fprintf(stderr, "bench_kernels: %s\n", err.message);
        return 1;
    }
    bench b = { .be = be, .seconds = argc > 2 ? strtod(argv[2], NULL) : 0.2 };
    const bool ready = prepare(&b);
    if (ready) {
        ceilings(&b);
        for (size_t i = 0; i < sizeof models / sizeof *models; i++) model(&b, models[i].name, models[i].width);
    } else {
        fprintf(stderr, "bench_kernels: no memory\n");
    }
    release(&b, be);
    return ready ? 0 : 1;
}
