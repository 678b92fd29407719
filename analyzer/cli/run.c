/* vitscope run: the main job. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "folder/run_merge.h"
#include "study/quant_json.h"
#include "study/run_json.h"
#include "util/util.h"

/* A run on its way from the study to its folder. */
typedef struct work {
    const vs_command_line *line;
    const vs_config *config;
    const vs_cli_shared *shared; /* NULL: a run of its own */
    vs_study study;
    vs_run_folder folder;
    vs_run_merge merge;
    vs_fingerprint inputs;
    vs_status inputs_status; /* of the fingerprint */
    vs_error inputs_error;
    char *summary;
    vs_cli_drawing drawing;
    double bytes, free_bytes; /* the files will take; there are */
    bool opened;              /* the folder */
} work;

static const char last_stage[] = "pictures";

/* Where another command's part of the folder stays, this one writes its own part and what both share. */
static bool is_part(const work *w) { return w->merge.other && w->merge.command == VS_PART_FP16; }

static vs_status write_reports(const work *w, vs_error *err) {
    const vs_study *s = &w->study;
    const char *dir = w->folder.stages[VS_PART_RUN];
    vs_status status = vs_report_json(&s->results, dir, err);
    if (status == VS_OK) status = vs_run_merge_results(&w->merge, &w->folder, s->results.ref_precision ? 17 : 9, err);
    if (status == VS_OK) status = vs_report_keep_lists(&s->results, w->folder.stages[VS_PART_FP16], err);
    if (status != VS_OK || is_part(w)) return status;
    status = vs_report_csv(&s->results, dir, err);
    if (status == VS_OK) status = vs_report_rankings(&s->results, dir, err);
    return status == VS_OK ? vs_study_write_quant(s, dir, err) : status;
}

static vs_status write_summary(work *w, vs_error *err) {
    char *joined = NULL, *path = vs_path_join(w->folder.stages[VS_PART_RUN], "summary.txt");
    vs_status status = path ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_report_summary(&w->study.results, vs_cli_columns(STDOUT_FILENO), &w->summary, err);
    if (status == VS_OK) status = vs_run_merge_summary(&w->merge, &w->folder, w->summary, &joined, err);
    if (status == VS_OK) status = vs_write_file(path, joined, strlen(joined), err);
    free(joined);
    free(path);
    return status;
}

static vs_status draw(work *w, vs_error *err) {
    w->drawing = (vs_cli_drawing){ .dir = w->folder.stages[VS_PART_RUN],
                                   .half_dir = w->folder.stages[VS_PART_FP16],
                                   .half_only = is_part(w) };
    const vs_status status = vs_cli_draw(&w->study, &w->drawing, err);
    if (!*w->study.options.stop) return status;
    if (err) *err = (vs_error){ 0 }; /* what failed was stopped, too */
    return vs_fail(err, VS_ERR_INTERRUPTED, "interrupted");
}

/* What was read must be what was hashed before. */
static vs_status check_inputs(const work *w, vs_error *err) {
    char why[512];
    vs_fingerprint after = { 0 };
    const vs_fingerprint_options options = vs_cli_fingerprint_options(w->line);
    json_t *before = vs_fingerprint_json(&w->inputs);
    vs_status status = before ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for the run's inputs");
    if (status == VS_OK) status = vs_fingerprint_make(&after, w->config, &options, err);
    if (status == VS_OK && !vs_fingerprint_equals(&after, before, false, why, sizeof why))
        status = vs_fail(err, VS_ERR_IO, "%s: %s while the run was at work; run it again", w->config->path, why);
    vs_fingerprint_release(&after);
    json_decref(before);
    return status;
}

/* `lacking`: what of the files could not be made, so that --resume makes them again; NULL: they are whole. */
static vs_status publish(work *w, const char *lacking, vs_error *err) {
    json_t *record = NULL;
    vs_names kept = { 0 };
    vs_status status = vs_study_describe(&record, &w->study, w->merge.command, &w->inputs, w->folder.stages[VS_PART_RUN],
                                         vs_cli_peak_bytes(), err);
    if (status == VS_OK && lacking) status = vs_run_record_mark(record, lacking, err);
    if (status == VS_OK) status = vs_run_merge_record(&w->merge, record, err);
    if (status == VS_OK) status = vs_run_merge_kept(&w->merge, &w->folder, &kept, err);
    if (status == VS_OK)
        status = vs_run_folder_publish(&w->folder, record, &kept, err);
    else
        json_decref(record);
    vs_names_free(&kept);
    return status;
}

/* Numbers that took hours are not lost to a picture. */
static vs_status write_all(work *w, vs_error *err) {
    vs_status status = vs_run_folder_begin(&w->folder, err);
    if (status == VS_OK) status = write_reports(w, err);
    if (status == VS_OK) status = write_summary(w, err);
    if (status != VS_OK) return status;
    vs_error own = { 0 };
    const vs_status drawn = draw(w, &own);
    if (drawn == VS_ERR_INTERRUPTED) return vs_fail(err, drawn, "%s", own.message);
    status = check_inputs(w, err);
    if (status == VS_OK) status = publish(w, drawn == VS_OK ? NULL : "not all pictures were drawn", err);
    if (status != VS_OK || drawn == VS_OK) return status;
    return vs_fail(err, drawn, "%s (all but pictures is in %s)", own.message, w->folder.dir);
}

/* After all files: nobody may read standard output to its end. */
static void tell(const work *w, bool print) {
    const char *dir = w->folder.dir;
    if (w->drawing.gnuplot_missing)
        vs_cli_warn(
            "gnuplot is not installed: charts and surfaces were left as scripts with their data (%s/{charts,surfaces}/*.gp); "
            "install gnuplot and run them",
            dir);
    if (*w->merge.replaced)
        vs_cli_warn("%s: the results of an earlier 'vitscope %s' were replaced, not kept beside these: %s", dir,
                    w->merge.command == VS_PART_RUN ? "fp16" : "run", w->merge.replaced);
    if (!print || w->line->quiet) return;
    vs_cli_put(w->summary);
    char files[200] = "results.json, layers.csv, summary.txt, ranking.*.txt";
    const size_t n = strlen(files);
    if (w->drawing.pictures)
        snprintf(files + n, sizeof files - n, "; %zu pictures in %s", w->drawing.pictures, w->drawing.folders);
    printf("\nResults: %s\n", dir); /* alone: where a terminal is narrow, a path is cut anywhere */
    vs_cli_paragraph(files);
    putchar('\n');
    fflush(stdout);
}

/* What can be wrong in the configuration comes before the folder and its lock, and those before the long work. Inputs are hashed
 * before any of them is read. */
static vs_status outline(work *w, const char *dir, const vs_study_options *options, vs_error *err) {
    const vs_fingerprint_options inputs = vs_cli_fingerprint_options(w->line);
    vs_status status = vs_cli_check_folder(dir, 0, &w->free_bytes, err); /* the least that can be wrong, first */
    if (status != VS_OK) return status;
    options->progress.stage(options->progress.context, 0, 0, "checks");
    if (!w->line->dry_run) w->inputs_status = vs_fingerprint_make(&w->inputs, w->config, &inputs, &w->inputs_error);
    if (w->shared && !w->line->dry_run && w->inputs_status == VS_OK)
        status = vs_fingerprint_agree(w->shared->inputs, &w->inputs, w->config, err);
    if (status != VS_OK) return status;
    status = vs_study_outline(&w->study, w->config, options, err); /* says better what is wrong with a model */
    if (status == VS_OK && w->inputs_status != VS_OK) status = vs_fail(err, w->inputs_status, "%s", w->inputs_error.message);
    if (status == VS_OK) status = vs_cli_check_apart(&w->study, dir, err);
    if (status != VS_OK) return status;
    w->bytes = vs_cli_study_bytes(&w->study);
    return vs_cli_check_folder(dir, w->bytes, &w->free_bytes, err);
}

static vs_status study_and_write(work *w, const char *dir, vs_error *err) {
    vs_status status = vs_run_folder_open(&w->folder, dir, err);
    w->opened = status == VS_OK;
    w->merge.command = vs_cli_part(w->line);
    if (status == VS_OK) status = vs_run_merge_plan(&w->merge, &w->folder, w->config, &w->inputs, err);
    if (status == VS_OK) status = vs_study_load(&w->study, err);
    if (status == VS_OK) status = vs_study_run(&w->study, err);
    if (status == VS_OK) vs_study_begin_stage(&w->study, last_stage);
    return status == VS_OK ? write_all(w, err) : status;
}

vs_status vs_cli_run_config(const vs_command_line *line, const vs_config *config, const char *out, const vs_cli_shared *shared,
                            bool print, vs_error *err) {
    work w = { .line = line, .config = config, .shared = shared };
    vs_cli_progress progress;
    vs_study_options options = vs_cli_study_options(line, &progress);
    options.cache = shared ? shared->cache : NULL;
    progress.said = shared ? shared->said : NULL;
    options.tells_memory = true;
    options.last_stage = last_stage;
    char *dir = vs_path_join(out, config->name);
    vs_status status = dir ? outline(&w, dir, &options, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK && line->dry_run) {
        vs_cli_progress_end(&progress, false);
        const vs_cli_plan plan = { .dir = dir, .bytes = w.bytes, .free_bytes = w.free_bytes, .pictures = true };
        status = vs_cli_print_plan(&w.study, &plan, shared ? shared->plans : NULL, err);
    } else if (status == VS_OK) {
        status = study_and_write(&w, dir, err);
        vs_cli_progress_end(&progress, status == VS_OK);
        if (status == VS_OK) tell(&w, print);
    }
    vs_cli_progress_end(&progress, false);
    vs_study_release(&w.study);
    vs_fingerprint_release(&w.inputs);
    if (w.opened) vs_run_folder_close(&w.folder);
    free(w.summary);
    free(dir);
    return status;
}

static vs_status run_single(const vs_command_line *line, const vs_config *config, vs_error *err) {
    if (!line->resume || line->dry_run) return vs_cli_run_config(line, config, line->out, NULL, true, err);
    char *dir = vs_path_join(line->out, config->name);
    bool complete = false;
    vs_status status =
        dir ? vs_cli_is_complete(line, config, dir, &complete, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK && complete && !line->quiet) printf("%s: already complete\n", dir);
    free(dir);
    return status != VS_OK || complete ? status : vs_cli_run_config(line, config, line->out, NULL, true, err);
}

/* One file. A mistake in any run of a batch is found before the first begins. */
static vs_status load_file(const vs_command_line *line, const char *path, vs_batch *batch, vs_error *err) {
    vs_status status = vs_batch_load(batch, path, line->overrides, line->override_count, err);
    for (size_t i = 0; i < batch->run_count && status == VS_OK; i++) status = vs_config_check_built(batch->runs[i], err);
    for (size_t i = 0; i < batch->run_count && status == VS_OK; i++) status = vs_study_adopt_input(batch->runs[i], err);
    return status;
}

/* The name of its folder. */
static const char *name_of(const vs_batch *file) { return file->file ? file->file->name : file->runs[0]->name; }

/* The second would replace what the first has found. */
static vs_status check_names(const vs_command_line *line, const vs_batch *files, const int *codes, vs_error *err) {
    for (size_t i = 0; i < line->operand_count; i++)
        for (size_t k = 0; k < i && codes[i] == 0; k++)
            if (codes[k] == 0 && strcmp(name_of(&files[i]), name_of(&files[k])) == 0)
                return vs_fail(err, VS_ERR_CONFIG, "%s and %s are both named '%s' and would write one folder, %s/%s: rename one",
                               line->operands[k], line->operands[i], name_of(&files[i]), line->out, name_of(&files[i]));
    return VS_OK;
}

static int run_file(const vs_command_line *line, const vs_batch *file) {
    vs_error err = { 0 };
    if (file->file) return vs_cli_run_batch(line, file);
    const vs_status status = run_single(line, file->runs[0], &err);
    return status == VS_OK ? 0 : vs_cli_fail(status, &err);
}

/* Mistakes in any file are told before anything is computed; files without one are run all the same. */
int vs_cli_run(const vs_command_line *line) {
    const size_t count = line->operand_count;
    vs_error err = { 0 };
    vs_batch *files = vs_calloc(count, sizeof *files);
    int *codes = vs_calloc(count, sizeof *codes), code = 0;
    vs_status status = files && codes ? VS_OK : vs_fail(&err, VS_ERR_NOMEM, "no memory for configurations");
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        const vs_status loaded = load_file(line, line->operands[i], &files[i], &err);
        if (loaded != VS_OK) codes[i] = vs_cli_fail(loaded, &err);
        err = (vs_error){ 0 };
    }
    if (status == VS_OK) status = check_names(line, files, codes, &err);
    if (status != VS_OK) code = vs_cli_fail(status, &err);
    for (size_t i = 0; i < count && status == VS_OK; i++) {
        if (codes[i] == 0) codes[i] = run_file(line, &files[i]);
        if (code == 0) code = codes[i];
        if (codes[i] != vs_status_exit_code(VS_ERR_INTERRUPTED)) continue;
        code = codes[i];
        break;
    }
    for (size_t i = 0; files && i < count; i++) vs_batch_release(&files[i]);
    free(files);
    free(codes);
    return code;
}

/* The float model alone beside it; the section fp16 comes into being where the file has none. */
int vs_cli_fp16(const vs_command_line *line) {
    static const char *const made[] = { "states=[fp32]", "analyze.recipes=[]", "analyze.output=false", "analyze.spared=false",
                                        "fp16={}" };
    vs_command_line only = *line;
    only.half_only = true;
    vs_error err = { 0 };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (only.override_count == VS_MAX_OVERRIDES)
            return vs_cli_fail(vs_fail(&err, VS_ERR_CONFIG, "more than %d overrides", VS_MAX_OVERRIDES), &err);
        only.overrides[only.override_count++].text = made[i];
    }
    return vs_cli_run(&only);
}
