/* vitscope run: the main job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "util.h"

static vs_status write_summary(const vs_study *s, const char *dir, char **text, vs_error *err) {
    char *path = vs_path_join(dir, "summary.txt");
    vs_status status = path ? vs_report_summary(&s->results, vs_cli_columns(STDOUT_FILENO), text, err)
                            : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_write_file(path, *text, strlen(*text), err);
    free(path);
    return status;
}

/* run.json comes last: with it the results are whole. *text is the summary, new. */
static vs_status write_all(const vs_study *s, const char *dir, char **text, size_t *pictures, bool *gnuplot_missing,
                           vs_error *err) {
    vs_status status = vs_report_json(&s->results, dir, err);
    if (status == VS_OK) status = vs_report_csv(&s->results, dir, err);
    if (status == VS_OK) status = vs_report_rankings(&s->results, dir, err);
    if (status == VS_OK) status = vs_cli_write_quant(s, dir, err);
    if (status == VS_OK) status = write_summary(s, dir, text, err);
    if (status == VS_OK) status = vs_cli_draw(s, dir, pictures, gnuplot_missing, err);
    if (status == VS_OK) status = vs_cli_write_run_json(s, dir, err);
    return status;
}

static void print_all(const char *text, const char *dir, size_t pictures) {
    fputs(text, stdout);
    printf("\nResults: %s (results.json, layers.csv, summary.txt, ranking.*.txt)\n", dir);
    if (pictures) printf("Pictures: %s/{charts,surfaces,heatmaps,maps} (%zu files)\n", dir, pictures);
    fputc('\n', stdout);
    fflush(stdout);
}

static const char last_stage[] = "pictures";

static vs_status study_and_write(vs_study *study, const vs_command_line *line, const char *dir, bool print,
                                 vs_cli_progress *progress, vs_error *err) {
    char *text = NULL;
    size_t pictures = 0;
    bool gnuplot_missing = false;
    vs_status status = vs_make_dirs(dir, err);
    if (status == VS_OK) status = vs_study_load(study, err);
    if (status == VS_OK) status = vs_study_run(study, err);
    if (status == VS_OK) vs_study_begin_stage(study, last_stage);
    if (status == VS_OK) status = write_all(study, dir, &text, &pictures, &gnuplot_missing, err);
    vs_cli_progress_end(progress, status == VS_OK);
    if (status == VS_OK && gnuplot_missing)
        vs_cli_warn(
            "gnuplot is not installed: charts and surfaces were left as scripts with their data (%s/{charts,surfaces}/*.gp); "
            "install gnuplot and run them",
            dir);
    if (status == VS_OK && print && !line->quiet) print_all(text, dir, pictures);
    free(text);
    return status;
}

vs_status vs_cli_run_config(const vs_command_line *line, const vs_config *config, const char *out, vs_cache *cache, bool print,
                            vs_error *err) {
    vs_study study = { 0 };
    vs_cli_progress progress;
    vs_study_options options = vs_cli_study_options(line, &progress);
    options.cache = cache;
    options.tells_memory = true;
    options.last_stage = last_stage;
    double bytes = 0, free_bytes = 0;
    char *dir = vs_path_join(out, config->name);
    vs_status status = dir ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_cli_check_folder(dir, 0, &free_bytes, err); /* the least that can be wrong, first */
    if (status == VS_OK) status = vs_study_outline(&study, config, &options, err);
    if (status == VS_OK) {
        bytes = vs_cli_study_bytes(&study);
        status = vs_cli_check_folder(dir, bytes, &free_bytes, err);
    }
    if (status == VS_OK && line->dry_run) {
        vs_cli_progress_end(&progress, false);
        status = vs_cli_print_plan(&study, dir, bytes, free_bytes, err);
    } else if (status == VS_OK)
        status = study_and_write(&study, line, dir, print, &progress, err);
    vs_cli_progress_end(&progress, false);
    vs_study_release(&study);
    free(dir);
    return status;
}

static vs_status run_single(const vs_command_line *line, const vs_config *config, vs_error *err) {
    if (!line->resume || line->dry_run) return vs_cli_run_config(line, config, line->out, NULL, true, err);
    char *dir = vs_path_join(line->out, config->name);
    if (!dir) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    const bool complete = vs_cli_is_complete(line, config, dir);
    if (complete && !line->quiet) printf("%s: already complete\n", dir);
    free(dir);
    return complete ? VS_OK : vs_cli_run_config(line, config, line->out, NULL, true, err);
}

/* One file. A mistake in any run of a batch is found before the first begins. */
static int run_file(const vs_command_line *line, const char *path) {
    vs_error err = { 0 };
    vs_batch batch = { 0 };
    int code = 0;
    vs_status status = vs_batch_load(&batch, path, line->overrides, line->override_count, &err);
    for (size_t i = 0; i < batch.run_count && status == VS_OK; i++) status = vs_config_check_built(batch.runs[i], &err);
    if (status == VS_OK && batch.file)
        code = vs_cli_run_batch(line, &batch);
    else if (status == VS_OK)
        status = run_single(line, batch.runs[0], &err);
    if (status != VS_OK) code = vs_cli_fail(status, &err);
    vs_batch_release(&batch);
    return code;
}

int vs_cli_run(const vs_command_line *line) {
    int code = 0;
    for (size_t i = 0; i < line->operand_count; i++) {
        const int one = run_file(line, line->operands[i]);
        if (code == 0) code = one;
        if (one == vs_status_exit_code(VS_ERR_INTERRUPTED)) return one;
    }
    return code;
}

/* The float model alone beside it; the section fp16 comes into being where the file has none. */
int vs_cli_fp16(const vs_command_line *line) {
    static const char *const made[] = { "states=[fp32]", "analyze.recipes=[]", "analyze.output=false", "analyze.spared=false",
                                        "fp16={}" };
    vs_command_line only = *line;
    vs_error err = { 0 };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (only.override_count == VS_MAX_OVERRIDES)
            return vs_cli_fail(vs_fail(&err, VS_ERR_CONFIG, "more than %d overrides", VS_MAX_OVERRIDES), &err);
        only.overrides[only.override_count++].text = made[i];
    }
    return vs_cli_run(&only);
}
