#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "util/util.h"

typedef struct option {
    const char *flag, *argument, *help;
} option;

static const option options[] = {
    [VS_OPT_OUT] = { "--out", "DIR", "where results go (default: output)" },
    [VS_OPT_BACKEND] = { "--backend", "NAME",
                         "cpu (float32, default), cuda (float32, NVIDIA GPUs) or ref (float64, slow: the oracle)" },
    [VS_OPT_ARITHMETIC] = { "--arithmetic", "NAME",
                            "of matrix products on cuda: f32 (exact, default) or tf32 (faster, 10 bits behind the point); "
                            "run.json records it" },
    [VS_OPT_SET] = { "--set", "KEY=VALUE", "override a configuration key, e.g. --set analyze.images=2; may be repeated" },
    [VS_OPT_THREADS] = { "--threads", "N",
                         "sessions at work at once (default: all processors; cuda 2); results do not depend on it" },
    [VS_OPT_BATCH] = { "--batch", "N", "images in a session (default: 1; cuda 8); results of cpu and ref do not depend on it" },
    [VS_OPT_GPU_MEMORY] = { "--gpu-memory", "SIZE",
                            "GPU memory to stay within, e.g. 8G or 600M: fewer images in a session rather than failing" },
    [VS_OPT_PTQ] = { "--ptq", "KIND", "run the states fp32 and KIND: plain, sq" },
    [VS_OPT_ALPHA] = { "--alpha", "A", "SmoothQuant's alpha of the state sq" },
    [VS_OPT_SDPA_SYM] = { "--sdpa_sym", NULL, "quantize Q and K per tensor, symmetric (the default)" },
    [VS_OPT_RESUME] = { "--resume", NULL, "keep runs that are whole and whose inputs did not change; says why others run again" },
    [VS_OPT_TAPS] = { "--taps", "GLOB[,GLOB]",
                      "tensors to write: layer names, NAME.in, embed, blocks.N, norm, logits (default: *)" },
    [VS_OPT_STATE] = { "--state", "NAME", "state to run (default: fp32)" },
    [VS_OPT_IMAGES] = { "--images", "N", "how many of the analysis images (default: 1; bench: 4)" },
    [VS_OPT_JSON] = { "--json", NULL, "print JSON" },
    [VS_OPT_COUNT] = { "--count", "N", "how many scenes (default: 8)" },
    [VS_OPT_SEED] = { "--seed", "S", "seed of the scenes (default: 1)" },
    [VS_OPT_SIZE] = { "--size", "PX", "side of a scene in pixels (default: 224)" },
    [VS_OPT_ONLY] = { "--only", "STAGE", "one stage: study, forward (of the float model) or operations" },
    [VS_OPT_DRY_RUN] = { "--dry-run", NULL, "check everything, say what would be done and how long it would take, and stop" },
    [VS_OPT_QUIET] = { "--quiet", NULL, "no progress and no closing words: warnings, errors and what was asked for alone" },
    [VS_OPT_HELP] = { "--help", NULL, "this text" },
    [VS_OPT_VERSION] = { "--version", NULL, "which vitscope this is" },
};

/* What every command takes, behind its own. */
static const vs_option_id common[] = { VS_OPT_QUIET, VS_OPT_HELP, VS_OPT_VERSION };
enum { COMMON = sizeof common / sizeof *common, OPTIONS = sizeof options / sizeof *options };

/* The short form, or none. */
static char letter_of(vs_option_id id) { return id == VS_OPT_QUIET ? 'q' : id == VS_OPT_HELP ? 'h' : '\0'; }

static size_t option_count(const vs_command *c) { return c->option_count + COMMON; }

static vs_option_id option_of(const vs_command *c, size_t index) {
    return index < c->option_count ? c->options[index] : common[index - c->option_count];
}

void vs_command_help(const vs_command *c) {
    printf("usage: vitscope %s %s [options]\n\n", c->name, c->operands);
    vs_cli_paragraph(c->summary);
    putchar('\n');
    for (size_t i = 0; i < option_count(c); i++) {
        const option *o = &options[option_of(c, i)];
        char left[64], letter[] = "-q, ";
        letter[1] = letter_of(option_of(c, i));
        snprintf(left, sizeof left, "%s%s%s%s", letter[1] ? letter : "", o->flag, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        vs_cli_item(left, 26, o->help);
    }
}

static vs_status parse_number(const char *flag, const char *text, unsigned long long low, unsigned long long high,
                              unsigned long long *out, vs_error *err) {
    char *end = NULL;
    errno = 0;
    const unsigned long long v = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || v < low || v > high)
        return vs_fail(err, VS_ERR_CONFIG, "%s: '%s' is not a whole number from %llu to %llu", flag, text, low, high);
    *out = v;
    return VS_OK;
}

static vs_status parse_size(const char *flag, const char *text, size_t high, size_t *out, vs_error *err) {
    unsigned long long v = 0;
    vs_status status = parse_number(flag, text, 1, high, &v, err);
    *out = (size_t)v;
    return status;
}

/* 8G, 600M: powers of 1024. */
static vs_status parse_bytes(const char *flag, const char *text, size_t *out, vs_error *err) {
    static const struct {
        char letter;
        size_t bytes;
    } units[] = { { 'K', (size_t)1 << 10 }, { 'M', (size_t)1 << 20 }, { 'G', (size_t)1 << 30 } };
    char *end = NULL;
    errno = 0;
    const double v = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!errno && end != text && end[0] == units[i].letter && end[1] == '\0' && v > 0 && v <= 1e6) {
            *out = (size_t)(v * (double)units[i].bytes);
            if (*out) return VS_OK;
        }
    return vs_fail(err, VS_ERR_CONFIG, "%s: '%s' is not a size like 8G, 600M or 1.5G", flag, text);
}

static vs_status add_override(vs_command_line *l, const char *text, vs_error *err) {
    if (l->override_count == VS_MAX_OVERRIDES) return vs_fail(err, VS_ERR_CONFIG, "more than %d overrides", VS_MAX_OVERRIDES);
    l->overrides[l->override_count++].text = text;
    return VS_OK;
}

static vs_status add_made_override(vs_command_line *l, char *text, vs_error *err) {
    if (!text || l->owned_count == VS_MAX_OVERRIDES) {
        free(text);
        return vs_fail(err, VS_ERR_NOMEM, "no memory for options");
    }
    l->owned[l->owned_count++] = text;
    return add_override(l, text, err);
}

/* The reproduced study's own flag. */
static vs_status parse_ptq(vs_command_line *l, const char *kind, vs_error *err) {
    const char *const names[][2] = { { "plain", "ptq" }, { "sq", "sq" }, { "sq-ph", "sqph" } };
    for (size_t i = 0; i < 3; i++)
        if (strcmp(kind, names[i][0]) == 0) return add_made_override(l, vs_format("states=[fp32, %s]", names[i][1]), err);
    return vs_fail(err, VS_ERR_CONFIG, "--ptq: '%s' is none of plain, sq, sq-ph", kind);
}

static vs_status parse_arithmetic(vs_command_line *l, const char *name, vs_error *err) {
    const vs_status status = vs_arithmetic_parse(&l->arithmetic, name, err);
    if (status != VS_OK) vs_error_prefix(err, "%s: ", options[VS_OPT_ARITHMETIC].flag);
    return status;
}

static vs_status apply(vs_command_line *l, vs_option_id id, const char *value, vs_error *err) {
    const char *flag = options[id].flag;
    switch (id) {
    case VS_OPT_OUT: l->out = value; return VS_OK;
    case VS_OPT_BACKEND: l->backend = value; return VS_OK;
    case VS_OPT_ARITHMETIC: return parse_arithmetic(l, value, err);
    case VS_OPT_SET: return add_override(l, value, err);
    case VS_OPT_THREADS: return parse_size(flag, value, 1024, &l->threads, err);
    case VS_OPT_BATCH: return parse_size(flag, value, VS_MAX_BATCH, &l->batch, err);
    case VS_OPT_GPU_MEMORY: return parse_bytes(flag, value, &l->gpu_memory, err);
    case VS_OPT_PTQ: return parse_ptq(l, value, err);
    case VS_OPT_ALPHA: return add_made_override(l, vs_format("states.sq.alpha=%s", value), err);
    case VS_OPT_SDPA_SYM: return add_override(l, "recipe.qk=per_tensor_sym", err);
    case VS_OPT_RESUME: l->resume = true; return VS_OK;
    case VS_OPT_TAPS: l->taps = value; return VS_OK;
    case VS_OPT_STATE: l->state = value; return VS_OK;
    case VS_OPT_IMAGES: return parse_size(flag, value, 1u << 20, &l->images, err);
    case VS_OPT_JSON: l->json = true; return VS_OK;
    case VS_OPT_COUNT: return parse_size(flag, value, 1u << 20, &l->count, err);
    case VS_OPT_SEED: return parse_number(flag, value, 0, ~0ull, &l->seed, err);
    case VS_OPT_SIZE: return parse_size(flag, value, 4096, &l->size, err);
    case VS_OPT_ONLY: l->only = value; return VS_OK;
    case VS_OPT_DRY_RUN: l->dry_run = true; return VS_OK;
    case VS_OPT_QUIET: l->quiet = true; return VS_OK;
    case VS_OPT_HELP: l->help = true; return VS_OK;
    case VS_OPT_VERSION: l->version = true; return VS_OK;
    }
    return VS_OK;
}

/* Another command's option is no slip of the hand. */
static vs_status unknown_option(const vs_command *c, const char *arg, vs_error *err) {
    const char *names[OPTIONS];
    char flag[64];
    bool known = false;
    snprintf(flag, sizeof flag, "%.*s", (int)strcspn(arg, "="), arg);
    for (size_t i = 0; i < OPTIONS; i++) known |= strcmp(options[i].flag, flag) == 0;
    for (size_t i = 0; i < option_count(c); i++) names[i] = options[option_of(c, i)].flag;
    const char *near = known ? NULL : vs_nearest(flag, names, option_count(c));
    return vs_fail(err, VS_ERR_CONFIG, "%s: %s '%s'%s%s%s See vitscope %s --help", c->name,
                   known ? "this command has no option" : "unknown option", flag, near ? "; did you mean '" : "",
                   near ? near : "", near ? "'?" : ".", c->name);
}

/* "--flag" or "-f", of which the first `length` letters count. False: not one of the command's. */
static bool find_option(const vs_command *c, const char *arg, size_t length, vs_option_id *id) {
    for (size_t i = 0; i < option_count(c); i++) {
        const char *flag = options[option_of(c, i)].flag, letter = letter_of(option_of(c, i));
        const bool brief = length == 2 && letter && arg[1] == letter;
        if (!brief && (strlen(flag) != length || strncmp(flag, arg, length) != 0)) continue;
        *id = option_of(c, i);
        return true;
    }
    return false;
}

vs_status vs_command_parse(vs_command_line *l, const vs_command *c, int argc, char **argv, vs_error *err) {
    *l = (vs_command_line){ .out = "output", .backend = "cpu", .seed = 1 };
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (only_operands || arg[0] != '-' || arg[1] == '\0') {
            if (l->operand_count == VS_MAX_OPERANDS)
                return vs_fail(err, VS_ERR_CONFIG, "%s: more than %d files", c->name, VS_MAX_OPERANDS);
            l->operands[l->operand_count++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            only_operands = true;
            continue;
        }
        const size_t length = strcspn(arg, "=");
        vs_option_id id = VS_OPT_HELP;
        if (!find_option(c, arg, length, &id)) return unknown_option(c, arg, err);
        const char *value = arg[length] == '=' ? arg + length + 1 : NULL, *flag = options[id].flag;
        const bool wants = options[id].argument != NULL;
        if (!wants && value) return vs_fail(err, VS_ERR_CONFIG, "%s: %s takes no value", c->name, flag);
        if (wants && !value && ++i < argc) value = argv[i];
        if (wants && (!value || !*value))
            return vs_fail(err, VS_ERR_CONFIG, "%s: %s needs a value: %s", c->name, flag, options[id].argument);
        vs_status status = apply(l, id, value ? value : "", err);
        if (status != VS_OK) return status;
    }
    if (l->help || l->version) return VS_OK;
    if (l->operand_count < c->min_operands || l->operand_count > c->max_operands)
        return vs_fail(err, VS_ERR_CONFIG, "usage: vitscope %s %s; see vitscope %s --help", c->name, c->operands, c->name);
    return VS_OK;
}

void vs_command_line_release(vs_command_line *l) {
    for (size_t i = 0; i < l->owned_count; i++) free(l->owned[i]);
    l->owned_count = 0;
}
