/* vitscope run: the main job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "util.h"

/* The output folder must be writable before the long work begins. */
static vs_status prepare_folder(const char *out, const char *name, char **dir, vs_error *err) {
    *dir = vs_path_join(out, name);
    if (!*dir) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    vs_status status = vs_make_dirs(*dir, err);
    if (status == VS_OK && access(*dir, W_OK | X_OK) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: the folder cannot be written", *dir);
    return status;
}

static vs_status write_summary(const vs_study *s, const char *dir, vs_error *err) {
    char *text = NULL, *path = vs_path_join(dir, "summary.txt");
    vs_status status = path ? vs_report_summary(&s->results, &text, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_write_file(path, text, strlen(text), err);
    if (status == VS_OK) fputs(text, stdout);
    free(text);
    free(path);
    return status;
}

static vs_status write_all(const vs_study *s, const char *dir, vs_error *err) {
    size_t pictures = 0;
    bool gnuplot_missing = false;
    vs_status status = vs_report_json(&s->results, dir, err);
    if (status == VS_OK) status = vs_report_csv(&s->results, dir, err);
    if (status == VS_OK) status = vs_report_rankings(&s->results, dir, err);
    if (status == VS_OK) status = vs_cli_write_run_json(s, dir, err);
    if (status == VS_OK) status = write_summary(s, dir, err);
    if (status == VS_OK) status = vs_cli_draw(s, dir, &pictures, &gnuplot_missing, err);
    if (status != VS_OK) return status;
    if (gnuplot_missing)
        vs_cli_warn(
            "gnuplot is not installed: charts and surfaces were left as scripts with their data (%s/{charts,surfaces}/*.gp); "
            "install gnuplot and run them",
            dir);
    printf("\nResults: %s (results.json, layers.csv, summary.txt, ranking.*.txt)\n", dir);
    if (pictures) printf("Pictures: %s/{charts,surfaces,heatmaps,maps} (%zu files)\n", dir, pictures);
    fputc('\n', stdout);
    fflush(stdout);
    return VS_OK;
}

static vs_status run_one(const vs_command_line *line, const char *path, vs_error *err) {
    vs_config *config = NULL;
    vs_study study = { 0 };
    char *dir = NULL;
    vs_cli_progress progress;
    const vs_study_options options = vs_cli_study_options(line, &progress);
    vs_status status = vs_config_load(&config, path, line->overrides, line->override_count, err);
    if (status == VS_OK) status = vs_config_check_built(config, err);
    if (status == VS_OK) status = prepare_folder(line->out, config->name, &dir, err);
    if (status == VS_OK) status = vs_study_open(&study, config, &options, err);
    if (status == VS_OK) status = vs_study_run(&study, err);
    vs_cli_progress_end(&progress);
    if (status == VS_OK) status = write_all(&study, dir, err);
    vs_study_release(&study);
    vs_config_free(config);
    free(dir);
    return status;
}

int vs_cli_run(const vs_command_line *line) {
    int code = 0;
    for (size_t i = 0; i < line->operand_count; i++) {
        vs_error err = { 0 };
        vs_status status = run_one(line, line->operands[i], &err);
        if (status == VS_OK) continue;
        const int failed = vs_cli_fail(status, &err);
        if (code == 0) code = failed;
        if (status == VS_ERR_INTERRUPTED) return failed;
    }
    return code;
}
