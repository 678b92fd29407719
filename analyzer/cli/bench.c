/* vitscope bench: how fast this machine runs a model, and where the time goes. */
#include "cli/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/util.h"

/* In this order: the later ones use the states that the study prepared. */
static const struct {
    const char *name;
    vs_status (*run)(vs_bench *bench, vs_error *err);
} stages[] = { { "study", vs_bench_study }, { "forward", vs_bench_forward }, { "operations", vs_bench_by_operation } };
enum { STAGES = sizeof stages / sizeof *stages, OWN_OVERRIDES = 2, DEFAULT_SIZE = 224, DEFAULT_IMAGES = 4 };

static bool is_geometry(const char *name) {
    for (size_t i = 0; vs_geometry_name(i); i++)
        if (strcmp(name, vs_geometry_name(i)) == 0) return true;
    return false;
}

static vs_status check_only(const char *only, vs_error *err) {
    const char *names[STAGES];
    for (size_t i = 0; i < STAGES; i++) {
        names[i] = stages[i].name;
        if (!only || strcmp(only, names[i]) == 0) return VS_OK;
    }
    const char *near = vs_nearest(only, names, STAGES);
    return vs_fail(err, VS_ERR_CONFIG, "--only: '%s' is none of study, forward, operations%s%s%s", only,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* A name that is neither a geometry nor looks like a file is more likely a wrong geometry. */
static vs_status check_operand(const char *name, size_t size, vs_error *err) {
    if (is_geometry(name)) return VS_OK;
    if (size) return vs_fail(err, VS_ERR_CONFIG, "bench: --size goes with a geometry; a configuration says its own sizes");
    if (strpbrk(name, "./")) return VS_OK;
    char known[128];
    size_t used = 0;
    for (size_t i = 0; vs_geometry_name(i) && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", vs_geometry_name(i));
    return vs_fail(err, VS_ERR_NOTFOUND, "bench: '%s' is neither a configuration nor a geometry; geometries: %s", name, known);
}

/* A study of scenes for a model that has none of its own. */
static vs_status make_config(vs_config **out, const char *geometry, size_t size, size_t images, const vs_override *overrides,
                             size_t count, vs_error *err) {
    char *text = vs_format("version: 1\nname: %s\nmodel: {checkpoint: %s}\n"
                           "data:\n  calibration: {scenes: {seed: 2, count: %zu, size: %zu}}\n"
                           "  analysis: {scenes: {seed: 3, count: %zu, size: %zu}}\n"
                           "states: [fp32, ptq]\nanalyze: {recipes: [ptq], modes: [both], output: true}\n",
                           geometry, geometry, images, size, images, size);
    vs_status status = text ? vs_config_parse(out, text, strlen(text), geometry, overrides, count, err)
                            : vs_fail(err, VS_ERR_NOMEM, "no memory for a configuration");
    free(text);
    return status;
}

/* The study with `images` images a set, nothing drawn and nothing evaluated. */
static vs_status load_config(vs_config **out, const vs_command_line *line, size_t images, vs_error *err) {
    const char *operand = line->operands[0];
    const size_t size = line->size ? line->size : DEFAULT_SIZE;
    char analysis[64], calibration[64];
    snprintf(analysis, sizeof analysis, "data.analysis.count=%zu", images);
    snprintf(calibration, sizeof calibration, "data.calibration.count=%zu", images);
    vs_override overrides[VS_MAX_OVERRIDES + OWN_OVERRIDES] = { { analysis }, { calibration } };
    memcpy(overrides + OWN_OVERRIDES, line->overrides, line->override_count * sizeof *overrides);
    const size_t count = OWN_OVERRIDES + line->override_count;
    vs_status status = check_operand(operand, line->size, err);
    if (status != VS_OK) return status;
    status = is_geometry(operand) ? make_config(out, operand, size, images, overrides, count, err)
                                  : vs_config_load(out, operand, overrides, count, err);
    if (status == VS_OK) status = vs_config_check_built(*out, err);
    if (status == VS_OK) status = vs_study_adopt_input(*out, err);
    if (status == VS_OK && !(*out)->data.analysis.set)
        status = vs_fail(err, VS_ERR_CONFIG, "%s: bench needs data.analysis", operand);
    if (status == VS_OK) (*out)->data.evaluation.set = false;
    return status;
}

/* A size that no model of this patch has is the command line's fault. */
static vs_status make_model(vs_model **out, const vs_command_line *line, vs_error *err) {
    const vs_status status = vs_model_random(out, line->operands[0], line->size ? line->size : DEFAULT_SIZE, 1, err);
    return status == VS_ERR_SHAPE ? VS_ERR_CONFIG : status;
}

static vs_status measure(vs_bench *b, const char *only, vs_error *err) {
    vs_status status = VS_OK;
    b->images = b->study->analysis_set.count;
    for (size_t i = 0; i < STAGES && status == VS_OK; i++)
        if (!only || strcmp(only, stages[i].name) == 0) {
            if (i) vs_study_begin_stage(b->study, b->study->options.last_stage);
            status = stages[i].run(b, err);
        }
    return status;
}

static vs_status run_bench(const vs_command_line *line, vs_error *err) {
    vs_config *config = NULL;
    vs_study study = { 0 };
    vs_cli_progress progress;
    vs_study_options options = vs_cli_study_options(line, &progress);
    vs_status status = check_only(line->only, err);
    if (status == VS_OK) status = load_config(&config, line, line->images ? line->images : DEFAULT_IMAGES, err);
    if (status == VS_OK && is_geometry(line->operands[0])) status = make_model(&options.model, line, err);
    options.last_stage = "measuring";
    if (status == VS_OK) status = vs_study_open(&study, config, &options, err);
    vs_bench bench = { .study = &study };
    if (status == VS_OK) status = measure(&bench, line->only, err);
    vs_cli_progress_end(&progress, status == VS_OK);
    if (status == VS_OK && line->json) status = vs_bench_print_json(&bench, err);
    if (status == VS_OK && !line->json) vs_bench_print(&bench);
    vs_bench_release(&bench);
    vs_study_release(&study);
    vs_config_free(config);
    return status;
}

int vs_cli_bench(const vs_command_line *line) {
    vs_error err = { 0 };
    const vs_status status = run_bench(line, &err);
    return status == VS_OK ? 0 : vs_cli_fail(status, &err);
}
