/* The program: the only code that reads argv, prints results or decides exit codes. */
#ifndef VS_CLI_H
#define VS_CLI_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/progress_line.h"
#include "folder/run_folder.h"
#include "folder/run_record.h"
#include "study/layer_name.h"
#include "study/study.h"

/* ---- options: one table a command drives parsing and --help ---- */
typedef enum vs_option_id {
    VS_OPT_OUT,
    VS_OPT_BACKEND,
    VS_OPT_ARITHMETIC,
    VS_OPT_SET,
    VS_OPT_THREADS,
    VS_OPT_BATCH,
    VS_OPT_GPU_MEMORY,
    VS_OPT_PTQ,
    VS_OPT_ALPHA,
    VS_OPT_SDPA_SYM,
    VS_OPT_RESUME,
    VS_OPT_TAPS,
    VS_OPT_STATE,
    VS_OPT_IMAGES,
    VS_OPT_JSON,
    VS_OPT_COUNT,
    VS_OPT_SEED,
    VS_OPT_SIZE,
    VS_OPT_ONLY,
    VS_OPT_DRY_RUN,
    /* of every command */
    VS_OPT_QUIET,
    VS_OPT_HELP,
    VS_OPT_VERSION
} vs_option_id;

enum { VS_MAX_OVERRIDES = 64, VS_MAX_OPERANDS = 256 };

typedef struct vs_command_line {
    const char *operands[VS_MAX_OPERANDS];
    size_t operand_count;
    const char *out, *backend, *taps, *state, *only;
    vs_arithmetic arithmetic;
    bool json, help, version, resume, quiet, dry_run;
    bool half_only;                                         /* the command fp16 */
    size_t threads, batch, gpu_memory, images, count, size; /* 0: not given; gpu_memory in bytes */
    unsigned long long seed;
    vs_override overrides[VS_MAX_OVERRIDES];
    size_t override_count;
    char *owned[VS_MAX_OVERRIDES]; /* overrides made from other options */
    size_t owned_count;
} vs_command_line;

typedef struct vs_command {
    const char *name, *operands, *summary;
    const vs_option_id *options; /* besides those of every command */
    size_t option_count, min_operands, max_operands;
    int (*run)(const vs_command_line *line); /* gives the exit code; has printed its error */
} vs_command;

/* VS_ERR_CONFIG with one line. */
VS_NODISCARD vs_status vs_command_parse(vs_command_line *out, const vs_command *command, int argc, char **argv, vs_error *err);
void vs_command_line_release(vs_command_line *line);
void vs_command_help(const vs_command *command);

/* ---- commands ---- */
int vs_cli_run(const vs_command_line *line);
int vs_cli_fp16(const vs_command_line *line);
int vs_cli_capture(const vs_command_line *line);
int vs_cli_inspect(const vs_command_line *line);
int vs_cli_layers(const vs_command_line *line);
int vs_cli_scenes(const vs_command_line *line);
int vs_cli_bench(const vs_command_line *line);

/* ---- shared by commands ---- */
/* Prints "vitscope: message" to stderr and gives the exit code. */
int vs_cli_fail(vs_status status, const vs_error *err);
void vs_cli_warn(const char *format, ...) VS_PRINTF(1, 2);
/* A line of stderr that may hold such names as below. */
void vs_cli_say(const char *text);
/* Text of several lines to stdout; names out of files in it are made harmless for a terminal (vs_printable). */
void vs_cli_put(const char *text);
/* A line of stdout: such a name and, unless NULL, a remark in brackets. */
void vs_cli_name(const char *before, const char *name, const char *remark);
/* Set when the user asked to stop (Ctrl-C, SIGTERM); a second signal ends the program at once. */
const vs_stop *vs_cli_stop(void);
/* How wide what is written to a descriptor may be. */
size_t vs_cli_columns(int descriptor);
/* Progress of a study on stderr. It must stay where it is from begin to end. */
typedef struct vs_cli_progress {
    vs_progress_line line;
    bool terminal, quiet, shown, watched, over; /* shown: an unfinished line is on the screen */
    double drawn;
    vs_names *said; /* notes of a batch's earlier runs, which are not repeated; NULL: of a run of its own */
    pthread_t watcher;
    pthread_mutex_t lock;
    pthread_cond_t ended;
} vs_cli_progress;
vs_progress vs_cli_progress_begin(vs_cli_progress *state, bool quiet);
/* Nothing of it is left on a terminal; `done`: the last stage came to its end. Twice is as good as once. */
void vs_cli_progress_end(vs_cli_progress *state, bool done);
/* Text on stdout, broken at spaces where the terminal ends. */
void vs_cli_paragraph(const char *text);
/* "  item  text" on stdout, the text as wide as the terminal lets it be, beside the item or below it. */
void vs_cli_item(const char *item, size_t width, const char *text);
/* The most memory this process has held. */
size_t vs_cli_peak_bytes(void);
/* Study options from the command line. */
vs_study_options vs_cli_study_options(const vs_command_line *line, vs_cli_progress *progress);

/* About how many bytes the files of a study take. */
double vs_cli_study_bytes(const vs_study *study);
/* Whether `dir`, or what is there of its path, can be written and has room; makes nothing. NAN in *free_bytes: unknown. */
VS_NODISCARD vs_status vs_cli_check_folder(const char *dir, double bytes, double *free_bytes, vs_error *err);
/* VS_ERR_CONFIG where images of a study lie in `dir` or below: what a run writes there would be taken for images by the next. */
VS_NODISCARD vs_status vs_cli_check_apart(const vs_study *study, const char *dir, vs_error *err);
/* --dry-run: what an outlined study would do, on stdout. */
typedef struct vs_cli_plan {
    const char *dir;
    double bytes, free_bytes; /* the files will take; there are */
    bool pictures;            /* are drawn */
} vs_cli_plan;
typedef struct vs_cli_plans {
    size_t count;
    double seconds, bytes; /* of all of them */
} vs_cli_plans;
/* Adds the study to `plans`, if those are given, and leaves their end to the caller. */
VS_NODISCARD vs_status vs_cli_print_plan(const vs_study *study, const vs_cli_plan *plan, vs_cli_plans *plans, vs_error *err);
void vs_cli_end_plan(void);
/* Of a batch of `runs`; those that are missing in `plans` had a mistake. */
void vs_cli_print_plans(const vs_cli_plans *plans, size_t runs, const char *dir);

/* One run into out/<its name>: checks, study, files. `shared`: of a batch, or NULL. `print`: the summary goes to stdout too,
 * when all files are in place. */
typedef struct vs_cli_shared {
    vs_cache *cache;
    json_t *inputs;      /* of vs_fingerprint_agree */
    vs_cli_plans *plans; /* of --dry-run */
    vs_names *said;      /* notes */
} vs_cli_shared;
VS_NODISCARD vs_status vs_cli_run_config(const vs_command_line *line, const vs_config *config, const char *out,
                                         const vs_cli_shared *shared, bool print, vs_error *err);
/* The exit code of a batch; has printed its errors and its table. */
int vs_cli_run_batch(const vs_command_line *line, const vs_batch *batch);
/* --resume: true if dir holds the whole results of this run. Says on stderr why a finished run there is computed again.
 * VS_ERR_IO: another run is at work there. */
VS_NODISCARD vs_status vs_cli_is_complete(const vs_command_line *line, const vs_config *config, const char *dir, bool *complete,
                                          vs_error *err);
/* The command, as the folder of a run knows it. */
vs_run_part vs_cli_part(const vs_command_line *line);
vs_fingerprint_options vs_cli_fingerprint_options(const vs_command_line *line);
/* Before anything else: a reader that goes away ends no run, and a closed standard stream is no file's descriptor. */
void vs_cli_begin_output(void);
/* Flushes stdout. A failure of it, or of any write before, is told once (on stderr) and gives exit code 1 where `code` is 0. */
int vs_cli_end_output(int code);

/* Draws charts, surfaces, heatmaps and maps into `dir`, those of the half-precision diagnosis into `half_dir` (with `half_only`
 * nothing else); *pictures counts files, *gnuplot_missing says that scripts were left instead. */
typedef struct vs_cli_drawing {
    const char *dir, *half_dir;
    bool half_only;
    size_t pictures;
    char folders[64]; /* that hold them, for people */
    bool gnuplot_missing;
} vs_cli_drawing;
VS_NODISCARD vs_status vs_cli_draw(const vs_study *study, vs_cli_drawing *drawing, vs_error *err);

#endif
