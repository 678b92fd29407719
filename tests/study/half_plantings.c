/* Seeded plantings in the demo models: does the half-precision diagnosis blame what is known to be there?
 *
 *   half_plantings [COUNT [BACKEND [SEED]]]
 *
 * Draws plantings, each alone in a model and under one policy (scale: after), until COUNT of those with a bar lose their output:
 * SQNR below the diagnosis's target, or not finite. With a bar: residual (both models, gain log-uniform in 4..4096, policies
 * fused and decomposed) and key (vit_ti14, one block or all, gain 1024..16384, policy decomposed). Without: norm1 and norm2 (both
 * models and policies, one block, gain 64..4096), one draw in eight each, for the report alone.
 *
 * Found: the cause holds
 *   norm       of a residual planting where a norm's row is the first to overflow,
 *   residual   of a residual planting where a row of the residual stream is,
 *   scores or softmax   of a key planting;
 * and where the first bad row is an overflow it is the row that `first_overflow` finds, which knows nothing of the diagnosis.
 * The bar: 98 of 100 found, none with more than MOST_RUNS runs. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "study/study.h"
#include "util/util.h"

enum { BLOCKS = 12, THREADS = 2, IMAGES = 2, MOST_RUNS = 60, DRAWS = 40 /* for each that counts, at most */ };

static const char *const models[] = { "vit_ti14_scenes", "vit_ti16_dinov3_scenes" };
static const char *const policies[] = { "fused", "decomposed" };

typedef enum planted { RESIDUAL, KEY, NORM1, NORM2, KINDS } planted;

static const struct {
    const char *name;
    double low, high;
    bool bar;
} kinds[KINDS] = { [RESIDUAL] = { "residual", 4, 4096, true },
                   [KEY] = { "key", 1024, 16384, true },
                   [NORM1] = { "norm1", 64, 4096, false },
                   [NORM2] = { "norm2", 64, 4096, false } };

typedef struct planting {
    planted kind;
    const char *model, *policy;
    bool all; /* blocks */
    size_t block;
    double gain;
} planting;

/* What one diagnosis said of its planting. */
typedef struct finding {
    bool lost; /* the output, below the target */
    double sqnr, target;
    char bad[64], why[16], overflow[64]; /* the first bad row, and the first that overflows; "": none */
    char classes[64];                    /* of the cause */
    size_t runs;
    bool found;
} finding;

typedef struct tally {
    size_t drawn, lost, found;
} tally;

static planting draw(vs_rng *rng) {
    static const planted by_eighths[] = { RESIDUAL, RESIDUAL, RESIDUAL, KEY, KEY, KEY, NORM1, NORM2 };
    planting p = { .kind = by_eighths[vs_rng_next(rng) % 8] };
    const size_t model = vs_rng_next(rng) % 2, policy = vs_rng_next(rng) % 2, all = vs_rng_next(rng) % 2;
    p.model = models[p.kind == KEY ? 0 : model];
    p.policy = policies[p.kind == KEY ? 1 : policy];
    p.block = (size_t)(vs_rng_next(rng) % BLOCKS);
    p.all = p.kind == RESIDUAL || (p.kind == KEY && all);
    p.gain = kinds[p.kind].low * pow(kinds[p.kind].high / kinds[p.kind].low, vs_rng_uniform(rng));
    return p;
}

static char *config_text(const planting *p) {
    char *blocks = p->all ? vs_format("%s", "") : vs_format("blocks: [%zu], ", p->block), *text = NULL;
    if (blocks)
        text = vs_format("version: 1\nname: planting\n"
                         "model: {checkpoint: %s/data/%s.safetensors, plant: [{kind: %s, %sgain: %.17g}]}\n"
                         "data: {calibration: {scenes: {seed: 2, count: 1}}, analysis: {scenes: {seed: 3, count: %d}}}\n"
                         "states: [fp32]\nanalyze: {recipes: [], cumulative: false}\n"
                         "fp16: {policies: [%s], scale: after}\n",
                         VS_SOURCE_DIR, p->model, kinds[p->kind].name, blocks, p->gain, IMAGES, p->policy);
    free(blocks);
    return text;
}

/* ---- what is true ---- */

/* A plain pass over the rows in execution order: values of the emulated run, which went to its end, before rounding. */
static const char *first_overflow(const vs_fp16_policy *p) {
    static const double to_infinity = 65520;
    for (size_t i = 0; i < p->row_count; i++)
        if (p->rows[i].max >= to_infinity || p->rows[i].cast_max >= to_infinity) return p->rows[i].name;
    return "";
}

static bool has(const vs_fp16_diagnosis *g, const char *name) {
    for (size_t i = 0; i < g->class_count; i++)
        if (strcmp(g->classes[i], name) == 0) return true;
    return false;
}

/* Of "blocks.3.norm1.square", "norm1.square". */
static const char *local_name(const char *row) {
    if (strncmp(row, "blocks.", 7) != 0) return row;
    const char *dot = strchr(row + 7, '.');
    return dot ? dot + 1 : row;
}

static bool is_norm(const char *row) { return strncmp(local_name(row), "norm", 4) == 0; }

static bool is_residual(const char *row) {
    const char *name = local_name(row);
    return strcmp(row, "tokens") == 0 || strcmp(row, "pos_add") == 0 || strncmp(name, "ls", 2) == 0 ||
           strncmp(name, "add", 3) == 0;
}

static bool is_found(const planting *p, const finding *f, const vs_fp16_diagnosis *g) {
    bool good = strcmp(f->why, "overflow") != 0 || strcmp(f->bad, f->overflow) == 0;
    if (p->kind == KEY) return good && (has(g, "scores") || has(g, "softmax"));
    if (p->kind == RESIDUAL && is_norm(f->overflow)) good &= has(g, "norm");
    if (p->kind == RESIDUAL && is_residual(f->overflow)) good &= has(g, "residual");
    return good;
}

static finding look(const planting *p, const vs_fp16_policy *policy) {
    const vs_fp16_diagnosis *g = &policy->diagnosis;
    const bool bad = policy->first_bad < policy->row_count;
    finding f = { .sqnr = policy->finite ? policy->sqnr.pooled : -HUGE_VAL, .target = g->target, .runs = g->runs };
    f.lost = !(f.sqnr >= f.target);
    snprintf(f.bad, sizeof f.bad, "%s", bad ? policy->rows[policy->first_bad].name : "");
    snprintf(f.why, sizeof f.why, "%s", bad ? policy->why : "");
    snprintf(f.overflow, sizeof f.overflow, "%s", first_overflow(policy));
    for (size_t i = 0, used = 0; i < g->class_count && used < sizeof f.classes; i++)
        used += (size_t)snprintf(f.classes + used, sizeof f.classes - used, "%s%s", i ? "+" : "", g->classes[i]);
    f.found = is_found(p, &f, g);
    return f;
}

/* ---- runs ---- */

static vs_status study(const planting *p, const char *backend, finding *f, vs_error *err) {
    char *text = config_text(p);
    if (!text) return vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    vs_config *config = NULL;
    vs_study s = { 0 };
    vs_status status = vs_config_parse(&config, text, strlen(text), "planting.yaml", NULL, 0, err);
    if (status == VS_OK)
        status = vs_study_open(&s, config, &(vs_study_options){ .backend = backend, .threads = THREADS, .batch = IMAGES }, err);
    if (status == VS_OK) status = vs_study_run(&s, err);
    if (status == VS_OK) *f = look(p, &s.results.fp16.policies[0]);
    vs_study_release(&s);
    vs_config_free(config);
    free(text);
    return status;
}

static void report(size_t i, const planting *p, const finding *f) {
    char block[24];
    snprintf(block, sizeof block, p->all ? "all" : "%zu", p->block);
    printf("%4zu  %-8s %-22s  %-10s %5s  %8.1f  %6.1f %6.1f  %-8s %-24s %-24s %-22s %4zu  %s\n", i, kinds[p->kind].name, p->model,
           p->policy, block, p->gain, f->sqnr, f->target, *f->why ? f->why : "-", *f->bad ? f->bad : "-",
           *f->overflow ? f->overflow : "-", *f->classes ? f->classes : "-", f->runs,
           !f->lost              ? "kept"
           : !kinds[p->kind].bar ? "no bar"
           : f->found            ? "OK"
                                 : "MISS");
    (void)fflush(stdout);
}

static vs_status run(size_t count, const char *backend, uint64_t seed, tally tallies[KINDS], size_t *most_runs, vs_error *err) {
    vs_rng rng = { seed };
    printf("%4s  %-8s %-22s  %-10s %5s  %8s  %6s %6s  %-8s %-24s %-24s %-22s %4s\n", "", "kind", "model", "policy", "block",
           "gain", "dB", "target", "why", "first bad row", "first overflow", "cause", "runs");
    for (size_t i = 0, counted = 0; counted < count && i < DRAWS * count; i++) {
        const planting p = draw(&rng);
        finding f = { 0 };
        const vs_status status = study(&p, backend, &f, err);
        if (status != VS_OK) return status;
        tally *t = &tallies[p.kind];
        *t = (tally){ t->drawn + 1, t->lost + f.lost, t->found + (f.lost && f.found) };
        counted += f.lost && kinds[p.kind].bar;
        if (f.runs > *most_runs) *most_runs = f.runs;
        report(i, &p, &f);
    }
    return VS_OK;
}

/* The closing count; whether the bar is met. */
static bool close_count(const tally *tallies, size_t count, size_t most_runs) {
    size_t lost = 0, found = 0;
    printf("\nkind      drawn   lost  found\n");
    for (size_t k = 0; k < KINDS; k++) {
        const tally *t = &tallies[k];
        printf("%-8s  %5zu  %5zu  %5zu%s\n", kinds[k].name, t->drawn, t->lost, t->found, kinds[k].bar ? "" : "  (no bar)");
        lost += kinds[k].bar ? t->lost : 0;
        found += kinds[k].bar ? t->found : 0;
    }
    printf("with a bar: %zu of %zu found; at most %zu runs\n", found, lost, most_runs);
    return lost >= count && 50 * (lost - found) <= lost && most_runs <= MOST_RUNS;
}

int main(int argc, char **argv) {
    if (argc > 4) {
        fprintf(stderr, "usage: half_plantings [COUNT [BACKEND [SEED]]]\n");
        return 2;
    }
    const size_t count = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 20;
    const char *backend = argc > 2 ? argv[2] : "cpu";
    const uint64_t seed = argc > 3 ? (uint64_t)strtoull(argv[3], NULL, 10) : 1;
    tally tallies[KINDS] = { { 0 } };
    size_t most_runs = 0;
    vs_error err = { 0 };
    if (run(count, backend, seed, tallies, &most_runs, &err) != VS_OK) {
        fprintf(stderr, "half_plantings: %s\n", err.message);
        return 1;
    }
    if (close_count(tallies, count, most_runs)) return 0;
    fprintf(stderr, "half_plantings: too many were missed, or took too many runs\n");
    return 1;
}
