/* Whether a folder already holds the results of a configuration (run --resume). */
#include <stdio.h>
#include <sys/stat.h>

#include "cli/cli.h"

vs_run_part vs_cli_part(const vs_command_line *line) { return line->half_only ? VS_PART_FP16 : VS_PART_RUN; }

vs_fingerprint_options vs_cli_fingerprint_options(const vs_command_line *line) {
    return (vs_fingerprint_options){ .backend = line->backend,
                                     .arithmetic = line->arithmetic,
                                     .threads = line->threads,
                                     .batch = line->batch,
                                     .memory = line->gpu_memory };
}

static bool is_there(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

vs_status vs_cli_is_complete(const vs_command_line *line, const vs_config *config, const char *dir, bool *complete,
                             vs_error *err) {
    vs_run_folder folder;
    vs_fingerprint now = { 0 };
    vs_error unreadable = { 0 };
    char why[1024] = "";
    *complete = false;
    if (!is_there(dir)) return VS_OK;
    vs_status status = vs_run_folder_open(&folder, dir, err);
    if (status != VS_OK) return status;
    const vs_fingerprint_options options = vs_cli_fingerprint_options(line);
    if (vs_fingerprint_make(&now, config, &options, &unreadable) != VS_OK)
        snprintf(why, sizeof why, "%s", unreadable.message); /* the run itself meets it, too */
    else
        *complete = vs_run_is_complete(&folder, vs_cli_part(line), &now, why, sizeof why);
    if (!*complete) {
        char text[1536];
        snprintf(text, sizeof text, "%s: computed again: %s", dir, why);
        vs_cli_say(text);
    }
    vs_fingerprint_release(&now);
    vs_run_folder_close(&folder);
    return VS_OK;
}
