/* What vitscope bench prints. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/bench.h"
#include "cli/cli.h"
#include "util/util.h"
#include "json/json_text.h"

/* The bound is the one of docs/performance.md. */
double vs_bench_memory_bound(const vs_bench *b) {
    const vs_arch *a = &b->study->model->arch;
    const double t = (double)b->study->results.tokens, c = (double)a->width, f = (double)vs_arch_fc1_width(a),
                 l = (double)a->depth;
    const double weights = 4 * (double)b->study->model->parameters, held = 1 + (double)b->study->states.variant_count;
    const double thread = 4 * (t * (10 * c + 3 * f + l * c) + (double)a->heads * t * t);
    return weights * held + (double)b->study->options.threads * thread + 200e6;
}

static double in_operations(const vs_bench *b, const vs_bench_table *table) {
    double sum = 0;
    for (size_t i = 0; i < b->op_count; i++) sum += table->ops[i].seconds;
    return sum;
}

/* ------------------------------------------------------------------ text */

static void print_head(const vs_bench *b) {
    const vs_study *s = b->study;
    const vs_arch *a = &s->model->arch;
    printf(
        "%s: width %zu, %zu blocks, %zu heads%s, %.1f M parameters\n%zu images of %zu tokens, batch %zu, %zu threads, backend %s "
        "(%s)\n",
        a->name, a->width, a->depth, a->heads, a->heads_guessed ? " (a guess)" : "", (double)s->model->parameters / 1e6,
        b->images, s->results.tokens, s->options.batch, s->options.threads, s->backend->name, s->backend->isa);
}

static void print_passes(const vs_bench *b) {
    if (b->repeats == 0) return;
    printf("\nms an image (median of %zu)\n", b->repeats);
    for (size_t i = 0; i < b->pass_count; i++) {
        const vs_bench_pass *p = &b->passes[i];
        printf("  %-18s %9.1f", p->name, 1e3 * p->seconds);
        if (i > 0) printf("  %+5.0f %%", 100 * (p->seconds / b->passes[0].seconds - 1));
        putchar('\n');
    }
}

static void print_stages(const vs_bench *b) {
    const vs_study *s = b->study;
    if (!b->studied) return;
    printf("\nstages of a study: seconds (%zu calibration images, %zu analysis images, %zu recipes)\n", s->calibration_set.count,
           s->results.analysis_images, s->results.recipe_count);
    for (size_t i = 0; i < s->stage_count; i++) printf("  %-18s %9.2f\n", s->stages[i].stage, s->stages[i].seconds);
}

static void print_table(const vs_bench *b, const vs_bench_table *table) {
    printf("\n%s by operation (%zu image%s, one thread): %.1f ms\n  %-18s %9s %9s %7s %9s\n", table->name, b->at_once,
           b->at_once == 1 ? "" : "s", 1e3 * table->seconds, "operation", "calls", "ms", "share", "GFLOP/s");
    for (size_t i = 0; i < b->op_count; i++) {
        const vs_op_time *o = &table->ops[i];
        if (o->calls == 0) continue;
        printf("  %-18s %9llu %9.2f %5.1f %%", o->name, (unsigned long long)o->calls, 1e3 * o->seconds,
               100 * o->seconds / table->seconds);
        if (o->flops > 0) printf(" %9.1f", o->flops / o->seconds * 1e-9);
        putchar('\n');
    }
    const double rest = table->seconds - in_operations(b, table);
    printf("  %-18s %9s %9.2f %5.1f %%\n", "outside", "", 1e3 * rest, 100 * rest / table->seconds);
}

void vs_bench_print(const vs_bench *b) {
    print_head(b);
    print_passes(b);
    print_stages(b);
    for (size_t i = 0; i < b->table_count; i++) print_table(b, &b->tables[i]);
    printf("\nmemory: peak %.1f MB, bound %.1f MB (float32 weights %zu times, %zu threads, 200 MB)\n",
           (double)vs_cli_peak_bytes() / 1e6, vs_bench_memory_bound(b) / 1e6, 1 + b->study->states.variant_count,
           b->study->options.threads);
    const vs_memory_use device = b->study->backend->ops->memory_use(b->study->backend);
    if (device.peak) printf("device memory: peak %.1f MB (weights, sessions, counters)\n", (double)device.peak / 1e6);
}

/* ------------------------------------------------------------------ JSON */

static json_t *json_passes(const vs_bench *b) {
    json_t *all = json_object();
    for (size_t i = 0; b->repeats && i < b->pass_count; i++)
        json_object_set_new(all, b->passes[i].name, json_real(b->passes[i].seconds));
    return all;
}

static json_t *json_stages(const vs_bench *b) {
    json_t *all = json_object();
    for (size_t i = 0; b->studied && i < b->study->stage_count; i++)
        json_object_set_new(all, b->study->stages[i].stage, json_real(b->study->stages[i].seconds));
    return all;
}

static json_t *json_table(const vs_bench *b, const vs_bench_table *table) {
    json_t *ops = json_object();
    for (size_t i = 0; i < b->op_count; i++) {
        const vs_op_time *o = &table->ops[i];
        if (o->calls == 0) continue;
        json_t *one = json_pack("{s:I, s:f, s:f}", "calls", (json_int_t)o->calls, "seconds", o->seconds, "share",
                                o->seconds / table->seconds);
        if (o->flops > 0) json_object_set_new(one, "gflops", json_real(o->flops / o->seconds * 1e-9));
        json_object_set_new(ops, o->name, one);
    }
    return json_pack("{s:f, s:o}", "seconds", table->seconds, "operations", ops);
}

vs_status vs_bench_print_json(const vs_bench *b, vs_error *err) {
    const vs_study *s = b->study;
    const vs_arch *a = &s->model->arch;
    json_t *tables = json_object();
    for (size_t i = 0; i < b->table_count; i++) json_object_set_new(tables, b->tables[i].name, json_table(b, &b->tables[i]));
    json_t *root =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:f}", "model", a->name,
                  "width", (json_int_t)a->width, "depth", (json_int_t)a->depth, "heads", (json_int_t)a->heads, "tokens",
                  (json_int_t)s->results.tokens, "parameters", (json_int_t)s->model->parameters, "backend", s->backend->name,
                  "isa", s->backend->isa, "threads", (json_int_t)s->options.threads, "batch", (json_int_t)s->options.batch,
                  "images", (json_int_t)b->images, "repeats", (json_int_t)b->repeats, "weight_copies",
                  (json_int_t)s->states.variant_count + 1, "seconds_an_image", json_passes(b), "stages", json_stages(b),
                  "by_operation", tables, "peak_bytes", (json_int_t)vs_cli_peak_bytes(), "bound_bytes", vs_bench_memory_bound(b));
    const vs_memory_use device = s->backend->ops->memory_use(s->backend);
    if (root && device.peak) json_object_set_new(root, "device_peak_bytes", json_integer((json_int_t)device.peak));
    char *text = vs_json_text(root, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    json_decref(root);
    if (!text) return vs_fail(err, VS_ERR_NOMEM, "no memory for the report");
    puts(text);
    free(text);
    return VS_OK;
}
