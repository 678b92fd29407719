/* Speed of the cpu backend's operations at the shapes of ViT-Ti/14 (224 px) and ViT-S/14 (518 px), one thread.
 * A line an operation: the median of the repeats, the best, and the rate of the median. Results are looked at by
 * tests/ops; here only a checksum keeps them honest. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/util.h"
#include "vitscope/backend.h"

enum { MAX_REPEATS = 2000 };

typedef struct bench {
    vs_backend *be;
    double budget; /* seconds a measurement may take */
    float *a, *b, *c, *d;
    uint8_t *u8;
    int8_t *s8;
    int32_t *s32;
    void *hist; /* counters */
    double *energy, *lo, *hi;
    size_t images, tokens, width, heads;
} bench;

typedef void (*work_fn)(bench *b);

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(bench *b, const char *name, work_fn work, double units, const char *unit) {
    static double seconds[MAX_REPEATS];
    size_t n = 0;
    work(b); /* warm-up: page faults, the library's code generation */
    for (double total = 0; n < 3 || (total < b->budget && n < MAX_REPEATS); n++) {
        const double start = vs_now();
        work(b);
        total += seconds[n] = vs_now() - start;
    }
    qsort(seconds, n, sizeof *seconds, ascending);
    const double median = seconds[n / 2], best = seconds[0];
    const bool rate = unit[0] == 'G';
    printf("%-34s %10.1f us  best %10.1f us  %8.3f %s\n", name, median * 1e6, best * 1e6,
           rate ? units / median * 1e-9 : median / units * 1e9, unit);
}

static vs_mat mat(float *p, size_t rows, size_t cols) { return (vs_mat){ p, rows, cols, cols }; }
static vs_mat stream(const bench *b) { return mat(b->a, b->tokens, b->width); }
static vs_mat hidden(const bench *b, float *p) { return mat(p, b->tokens, 4 * b->width); }
static const vs_grid grid = { 0.031f, 121, 0, 255, -3.7f, 4.1f };

static void product(const bench *b, size_t k, size_t n) {
    b->be->ops->linear(b->be, mat(b->a, b->tokens, k), mat(b->b, n, k), b->c, mat(b->d, b->tokens, n));
}
static void run_qkv(bench *b) { product(b, b->width, 3 * b->width); }
static void run_proj(bench *b) { product(b, b->width, b->width); }
static void run_fc1(bench *b) { product(b, b->width, 4 * b->width); }
static void run_fc2(bench *b) { product(b, 4 * b->width, b->width); }
static void run_i8(bench *b) {
    vs_error err = { 0 };
    if (b->be->ops->linear_i8(b->be, b->u8, b->s8, b->tokens, 4 * b->width, b->width, b->s32, &err) != VS_OK) puts(err.message);
}
static void run_attention(bench *b) {
    const vs_mat qkv = mat(b->a, b->tokens, 3 * b->width);
    const size_t w = b->width;
    b->be->ops->attention(b->be, vs_mat_view(b->be, qkv, 0, b->tokens, 0, w), vs_mat_view(b->be, qkv, 0, b->tokens, w, w),
                          vs_mat_view(b->be, qkv, 0, b->tokens, 2 * w, w), 1, b->heads, 0.125, b->c, mat(b->d, b->tokens, w));
}
static void run_layernorm(bench *b) { b->be->ops->layernorm(b->be, stream(b), b->b, b->b, 1e-6, mat(b->d, b->tokens, b->width)); }
static void run_gelu(bench *b) { b->be->ops->gelu(b->be, hidden(b, b->a), hidden(b, b->d)); }
static void run_gelu_tanh(bench *b) { b->be->ops->gelu_tanh(b->be, hidden(b, b->a), hidden(b, b->d)); }
static void run_scale_add(bench *b) {
    b->be->ops->scale_add(b->be, stream(b), mat(b->c, b->tokens, b->width), b->b, mat(b->d, b->tokens, b->width));
}
static void run_div(bench *b) { b->be->ops->div_channels(b->be, hidden(b, b->a), b->b, hidden(b, b->d)); }
static void run_fake_quant(bench *b) { b->be->ops->fake_quant(b->be, hidden(b, b->a), &grid, hidden(b, b->d), 1, NULL); }
static void run_fake_quant_counted(bench *b) {
    vs_quant_counts counts = { 0 };
    b->be->ops->fake_quant(b->be, hidden(b, b->a), &grid, hidden(b, b->d), 1, (vs_quant_counts *[]){ &counts });
}
static void run_quantize(bench *b) { b->be->ops->quantize_u8(b->be, hidden(b, b->a), &grid, b->u8); }
static void run_minmax(bench *b) { b->be->ops->channel_minmax(b->be, hidden(b, b->a), b->lo, b->hi); }
static void run_error(bench *b) {
    vs_error_sums sums;
    b->be->ops->error_sums(b->be, hidden(b, b->a), hidden(b, b->d), 1, (vs_error_sums *[]){ &sums });
}
static void run_stats(bench *b) {
    vs_abs_stats stats;
    b->be->ops->abs_stats(b->be, hidden(b, b->a), 1, (vs_abs_stats *[]){ &stats }, b->hist, (double *[]){ b->energy });
}
static void run_stats_same(bench *b) { /* all values in one bin: the histogram's worst case */
    vs_abs_stats stats;
    b->be->ops->abs_stats(b->be, hidden(b, b->c), 1, (vs_abs_stats *[]){ &stats }, b->hist, (double *[]){ b->energy });
}
static void run_stats_plain(bench *b) {
    vs_abs_stats stats;
    b->be->ops->abs_stats(b->be, hidden(b, b->a), 1, (vs_abs_stats *[]){ &stats }, NULL, NULL);
}
static void run_below(bench *b) {
    uint64_t n = 0;
    b->be->ops->count_below(b->be, hidden(b, b->a), 0.1, &n);
}
static void run_energy(bench *b) { b->be->ops->channel_energy(b->be, hidden(b, b->a), b->energy); }
static void run_row_absmax(bench *b) { b->be->ops->row_absmax(b->be, hidden(b, b->a), b->lo); }

static void fill(bench *b, size_t count) {
    vs_rng rng = { 1 };
    for (size_t i = 0; i < count; i++) {
        b->a[i] = (float)vs_rng_normal(&rng);
        b->b[i] = 0.5f + (float)vs_rng_uniform(&rng);
        b->c[i] = 0;
        b->d[i] = b->a[i] * 1.01f;
        b->u8[i] = (uint8_t)vs_rng_next(&rng);
        b->s8[i] = (int8_t)((int)(vs_rng_next(&rng) % 255) - 127);
    }
}

static int model(vs_backend *be, const char *name, size_t tokens, size_t width, size_t heads, double budget) {
    bench b = { .be = be, .budget = budget, .images = 1, .tokens = tokens, .width = width, .heads = heads };
    const size_t scratch = be->ops->attention_scratch(be, tokens, heads), most = 4 * width * (tokens > width ? tokens : width);
    const size_t count = most > scratch ? most : scratch;
    float **reals[] = { &b.a, &b.b, &b.c, &b.d };
    int rc = 1;
    for (size_t i = 0; i < 4; i++)
        if (!(*reals[i] = be->ops->alloc(be, count))) goto out;
    if (!(b.u8 = vs_calloc(count, 1)) || !(b.s8 = vs_calloc(count, 1)) || !(b.s32 = vs_calloc(count, 4)) ||
        !(b.hist = be->ops->alloc_counts(be, VS_HIST_BINS)) || !(b.energy = vs_calloc(count, 8)) ||
        !(b.lo = vs_calloc(count, 8)) || !(b.hi = vs_calloc(count, 8)))
        goto out;
    fill(&b, count);
    printf("\n%s: %zu tokens, width %zu, backend %s (%s)\n", name, tokens, width, be->name, be->isa);
    const double t = (double)tokens, w = (double)width, e = t * 4 * w;
    measure(&b, "linear qkv", run_qkv, 6 * t * w * w, "GFLOP/s");
    measure(&b, "linear proj", run_proj, 2 * t * w * w, "GFLOP/s");
    measure(&b, "linear fc1", run_fc1, 8 * t * w * w, "GFLOP/s");
    measure(&b, "linear fc2", run_fc2, 8 * t * w * w, "GFLOP/s");
    measure(&b, "linear_i8 fc1", run_i8, 8 * t * w * w, "GOP/s");
    fill(&b, count);
    measure(&b, "attention", run_attention, 4 * t * t * w, "GFLOP/s");
    fill(&b, count);
    measure(&b, "layernorm", run_layernorm, t * w, "ns/element");
    measure(&b, "gelu", run_gelu, e, "ns/element");
    measure(&b, "gelu_tanh", run_gelu_tanh, e, "ns/element");
    measure(&b, "scale_add", run_scale_add, t * w, "ns/element");
    measure(&b, "div_channels", run_div, e, "ns/element");
    measure(&b, "fake_quant", run_fake_quant, e, "ns/element");
    measure(&b, "fake_quant with counts", run_fake_quant_counted, e, "ns/element");
    measure(&b, "quantize_u8", run_quantize, e, "ns/element");
    measure(&b, "channel_minmax", run_minmax, e, "ns/element");
    measure(&b, "row_absmax", run_row_absmax, e, "ns/element");
    measure(&b, "error_sums", run_error, e, "ns/element");
    measure(&b, "abs_stats, all", run_stats, e, "ns/element");
    measure(&b, "abs_stats, all, one bin", run_stats_same, e, "ns/element");
    measure(&b, "abs_stats, no histogram", run_stats_plain, e, "ns/element");
    measure(&b, "count_below", run_below, e, "ns/element");
    measure(&b, "channel_energy", run_energy, e, "ns/element");
    rc = 0;
out:
    if (rc) puts("no memory");
    for (size_t i = 0; i < 4; i++) be->ops->free(be, *reals[i]);
    free(b.u8);
    free(b.s8);
    free(b.s32);
    be->ops->free(be, b.hist);
    free(b.energy);
    free(b.lo);
    free(b.hi);
    return rc;
}

int main(int argc, char **argv) {
    const double budget = argc > 1 ? strtod(argv[1], NULL) : 0.2;
    vs_backend *be = NULL;
    vs_error err = { 0 };
    if (vs_backend_open(&be, "cpu", &err) != VS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int rc = model(be, "ViT-Ti/14 at 224", 257, 192, 3, budget);
    if (rc == 0) rc = model(be, "ViT-S/14 at 518", 1370, 384, 6, budget);
    vs_backend_close(be);
    return rc;
}
