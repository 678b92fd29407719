/* Whether a folder already holds the results of a configuration (run --resume). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "util.h"

static const size_t largest_run_json = (size_t)1 << 24;

static bool is_text(const json_t *o, const char *key, const char *want) {
    const char *text = json_string_value(json_object_get(o, key));
    return text && strcmp(text, want) == 0;
}

/* The file's own sum is what run.json says. */
static bool is_file(const json_t *o, const char *key, const char *path) {
    char hex[65];
    return path && vs_file_sha256(path, hex, NULL) == VS_OK && is_text(o, key, hex);
}

/* A run in another arithmetic is another run. */
static const char *arithmetic_of(const vs_command_line *line) {
    if (line->arithmetic == VS_ARITHMETIC_TF32) return "tf32";
    return strcmp(line->backend, "ref") == 0 ? "f64" : "f32";
}

/* run.json is the last file of a run; its sums tell whether results.json is of the same run and the model still the same. */
static bool matches(const json_t *run, const vs_command_line *line, const vs_config *config, const char *dir) {
    static const char *const whole[] = { "" };
    char hex[65];
    if (vs_config_digest(config, whole, 1, hex, NULL) != VS_OK) return false;
    if (!is_text(run, "config_sha256", hex) || !is_text(run, "backend", line->backend) ||
        !is_text(run, "arithmetic", arithmetic_of(line)) || !is_text(run, "vitscope", VS_VERSION))
        return false;
    char *results = vs_path_join(dir, "results.json");
    const bool same = is_file(run, "results_sha256", results) &&
                      is_file(json_object_get(run, "checkpoint"), "sha256", config->model.checkpoint);
    free(results);
    return same;
}

bool vs_cli_is_complete(const vs_command_line *line, const vs_config *config, const char *dir) {
    char *path = vs_path_join(dir, "run.json"), *text = NULL;
    size_t size = 0;
    json_t *run = NULL;
    if (path && vs_read_file(path, largest_run_json, &text, &size, NULL) == VS_OK) run = json_loadb(text, size, 0, NULL);
    const bool complete = run && matches(run, line, config, dir);
    json_decref(run);
    free(text);
    free(path);
    return complete;
}
