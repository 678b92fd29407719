#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "util/util.h"

static const vs_option_id run_options[] = { VS_OPT_OUT,     VS_OPT_BACKEND, VS_OPT_ARITHMETIC, VS_OPT_SET,
                                            VS_OPT_PTQ,     VS_OPT_ALPHA,   VS_OPT_SDPA_SYM,   VS_OPT_RESUME,
                                            VS_OPT_THREADS, VS_OPT_BATCH,   VS_OPT_GPU_MEMORY, VS_OPT_DRY_RUN };
static const vs_option_id capture_options[] = { VS_OPT_TAPS,    VS_OPT_STATE,      VS_OPT_IMAGES, VS_OPT_OUT,
                                                VS_OPT_BACKEND, VS_OPT_ARITHMETIC, VS_OPT_SET,    VS_OPT_THREADS,
                                                VS_OPT_BATCH,   VS_OPT_GPU_MEMORY, VS_OPT_DRY_RUN };
static const vs_option_id inspect_options[] = { VS_OPT_JSON };
static const vs_option_id layers_options[] = { VS_OPT_SET, VS_OPT_JSON };
static const vs_option_id scenes_options[] = { VS_OPT_COUNT, VS_OPT_SEED, VS_OPT_SIZE };
static const vs_option_id bench_options[] = { VS_OPT_SIZE, VS_OPT_IMAGES,  VS_OPT_THREADS,    VS_OPT_BATCH, VS_OPT_GPU_MEMORY,
                                              VS_OPT_ONLY, VS_OPT_BACKEND, VS_OPT_ARITHMETIC, VS_OPT_SET,   VS_OPT_JSON };
#define OPTIONS(list) list, sizeof list / sizeof *list

static const vs_command commands[] = {
    { "run", "CONFIG...", "Runs the studies that configurations and batch files describe: tables, rankings and pictures.",
      OPTIONS(run_options), 1, VS_MAX_OPERANDS, vs_cli_run },
    { "fp16", "CONFIG...", "Runs only the half-precision diagnosis of configurations: which rows of an FP16 engine overflow.",
      OPTIONS(run_options), 1, VS_MAX_OPERANDS, vs_cli_fp16 },
    { "capture", "CONFIG", "Writes tensors of the analysis images as .npy files.", OPTIONS(capture_options), 1, 1,
      vs_cli_capture },
    { "inspect", "CHECKPOINT...", "Says what a checkpoint holds: layout, geometry, heads, tensors.", OPTIONS(inspect_options), 1,
      VS_MAX_OPERANDS, vs_cli_inspect },
    { "layers", "CONFIG", "Lists the layers that patterns can name.", OPTIONS(layers_options), 1, 1, vs_cli_layers },
    { "scenes", "DIR", "Writes procedural test scenes: DIR/images/*.png and DIR/labels/*.png.", OPTIONS(scenes_options), 1, 1,
      vs_cli_scenes },
    { "bench", "CONFIG|GEOMETRY", "Times forward, statistics, states, the study's stages and each operation.",
      OPTIONS(bench_options), 1, 1, vs_cli_bench },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(void) {
    vs_cli_paragraph("vitscope: why does this Vision Transformer break when it is quantized, and which layers do it?");
    puts("\nusage: vitscope COMMAND ...\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        char item[32];
        snprintf(item, sizeof item, "%-8s %s", commands[i].name, commands[i].operands);
        vs_cli_item(item, 24, commands[i].summary);
    }
    putchar('\n');
    vs_cli_paragraph("vitscope COMMAND --help lists the options of a command; vitscope --version says which this is.");
    vs_cli_paragraph("Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 a named layer or file not found, 4 no such "
                     "backend here, 130 interrupted.");
}

static const vs_command *find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0) return &commands[i];
    return NULL;
}

static int unknown(const char *name) {
    const char *names[COMMANDS];
    vs_error err = { 0 };
    for (size_t i = 0; i < COMMANDS; i++) names[i] = commands[i].name;
    const char *near = vs_nearest(name, names, COMMANDS);
    return vs_cli_fail(vs_fail(&err, VS_ERR_CONFIG, "unknown %s '%s'%s%s%s See vitscope --help",
                               name[0] == '-' ? "option" : "command", name, near ? "; did you mean '" : "", near ? near : "",
                               near ? "'?" : "."),
                       &err);
}

static int show_version(void) {
    puts("vitscope " VS_VERSION);
    return 0;
}

/* vitscope help [COMMAND] */
static int help(const char *name) {
    const vs_command *command = name ? find(name) : NULL;
    if (name && !command) return unknown(name);
    if (command)
        vs_command_help(command);
    else
        usage();
    return 0;
}

static int run_command(const vs_command *command, int argc, char **argv) {
    vs_error err = { 0 };
    vs_command_line line;
    const vs_status status = vs_command_parse(&line, command, argc, argv, &err);
    int code = 0;
    if (status != VS_OK)
        code = vs_cli_fail(status, &err);
    else if (line.help)
        vs_command_help(command);
    else if (line.version)
        code = show_version();
    else
        code = command->run(&line);
    vs_command_line_release(&line);
    return code;
}

int main(int argc, char **argv) {
    const char *first = argc >= 2 ? argv[1] : "";
    const vs_command *command = find(first);
    vs_error err = { 0 };
    int code = 0;
    vs_cli_begin_output();
    if (command)
        code = run_command(command, argc - 2, argv + 2);
    else if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0)
        code = help(argc >= 3 ? argv[2] : NULL);
    else if (strcmp(first, "--version") == 0)
        code = show_version();
    else if (argc < 2)
        code = vs_cli_fail(vs_fail(&err, VS_ERR_CONFIG, "no command given; see vitscope --help"), &err);
    else
        code = unknown(first);
    return vs_cli_end_output(code);
}
