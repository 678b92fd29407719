/* What a study needs on disk, whether its folder can take it, and --dry-run. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/util.h"

static const double mega = 1e6, giga = 1e9;

/* ---- disk */

static double surfaces_bytes(const vs_study *s) {
    const vs_surfaces_config *c = &s->config->surfaces;
    const vs_arch *a = &s->model->arch;
    const double states = (double)s->config->state_count, tensors = (double)c->tensor_out + (double)c->tensor_in;
    const double picture = 1.2e6, values = (double)s->results.tokens * (double)vs_arch_fc1_width(a) * sizeof(float);
    size_t layers = 0;
    for (size_t i = 0; c->layers.count && i < s->point_count; i++)
        layers +=
            vs_recipe_quantizes(&s->config->recipe, s->points[i].kind) && vs_layer_listed(s->model, &s->points[i], &c->layers);
    return (double)layers * tensors * (((double)c->png + (double)c->svg + states) * picture + (c->npy ? states * values : 0));
}

/* Seen: results, quant.json and charts take some kilobytes a layer and state. */
double vs_cli_study_bytes(const vs_study *s) {
    const double a_cell = 6e3, charts = 2e6, maps = 2e6;
    size_t rows = 0;
    for (size_t i = 0; i < s->point_count; i++) rows += vs_recipe_quantizes(&s->config->recipe, s->points[i].kind);
    return (double)rows * (double)(s->config->state_count + s->config->analyze.recipes.count) * a_cell + charts +
           (s->evaluation_set.count ? maps : 0) + surfaces_bytes(s);
}

/* The folder, or the nearest above it that is there; new string. */
static char *existing(const char *dir) {
    char *path = vs_strdup(dir);
    struct stat info;
    while (path && stat(path, &info) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        char *slash = strrchr(path, '/');
        if (slash == path && path[1]) /* /a: the root is there */
            path[1] = '\0';
        else if (slash)
            *slash = '\0';
        else {
            free(path);
            path = vs_strdup(".");
        }
    }
    return path;
}

static void format_bytes(double bytes, char *text, size_t size) {
    if (bytes < giga)
        snprintf(text, size, "%.0f MB", ceil(bytes / mega));
    else
        snprintf(text, size, "%.1f GB", bytes / giga);
}

vs_status vs_cli_check_folder(const char *dir, double bytes, double *free_bytes, vs_error *err) {
    char *path = existing(dir), need[32], there[32];
    struct stat info;
    struct statvfs disk;
    *free_bytes = (double)NAN;
    if (!path) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    vs_status status = VS_OK;
    if (stat(path, &info) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: %s", dir, strerror(errno));
    else if (!S_ISDIR(info.st_mode))
        status = vs_fail(err, VS_ERR_IO, "%s: not a folder", path);
    else if (access(path, W_OK | X_OK) != 0)
        status = vs_fail(err, VS_ERR_IO, "%s: the folder cannot be written: %s", path, strerror(errno));
    else if (statvfs(path, &disk) == 0)
        *free_bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    free(path);
    if (status != VS_OK || !(*free_bytes < bytes)) return status;
    format_bytes(bytes, need, sizeof need);
    format_bytes(*free_bytes, there, sizeof there);
    return vs_fail(err, VS_ERR_IO, "%s: about %s would be written, %s are free there", dir, need, there);
}

static bool is_same(const struct stat *a, const struct stat *b) { return a->st_dev == b->st_dev && a->st_ino == b->st_ino; }

/* Climbs from `folder` to the root, past links of any name. */
static bool lies_in(const char *folder, const struct stat *dir) {
    enum { DEEPEST = 256 };
    char *path = vs_strdup(folder);
    struct stat at, below = { 0 };
    bool found = false, root = false;
    for (size_t i = 0; i < DEEPEST && path && !found && !root && stat(path, &at) == 0; i++) {
        found = is_same(&at, dir);
        root = i > 0 && is_same(&at, &below);
        below = at;
        char *up = vs_format("%s/..", path);
        free(path);
        path = up;
    }
    free(path);
    return found;
}

static vs_status check_set(const vs_imageset *set, const char *what, const char *dir, const struct stat *info, vs_error *err) {
    char *before = NULL; /* the folder looked at last: images come folder by folder */
    vs_status status = VS_OK;
    for (size_t i = 0; i < set->images && status == VS_OK && vs_imageset_path(set, i); i++) {
        const char *path = vs_imageset_path(set, i), *slash = strrchr(path, '/');
        char *folder = slash ? vs_format("%.*s", (int)(slash - path) + 1, path) : vs_strdup(".");
        if (!folder)
            status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        else if ((!before || strcmp(folder, before) != 0) && lies_in(folder, info))
            status = vs_fail(err, VS_ERR_CONFIG,
                             "%s: the run would write among its own images (data.%s: %s); give another --out or name", dir, what,
                             path);
        free(before);
        before = folder;
    }
    free(before);
    return status;
}

vs_status vs_cli_check_apart(const vs_study *s, const char *dir, vs_error *err) {
    struct stat info;
    if (stat(dir, &info) != 0) return VS_OK; /* not there yet, so nothing is in it */
    vs_status status = check_set(&s->calibration_set, "calibration", dir, &info, err);
    if (status == VS_OK) status = check_set(&s->analysis_set, "analysis", dir, &info, err);
    return status == VS_OK ? check_set(&s->evaluation_set, "evaluation", dir, &info, err) : status;
}

/* ---- --dry-run */

static void format_time(double seconds, char *text, size_t size) {
    if (seconds < 100)
        snprintf(text, size, "%.0f s", fmax(1, seconds));
    else if (seconds < 6000)
        snprintf(text, size, "%.0f min", seconds / 60);
    else
        snprintf(text, size, "%.1f h", seconds / 3600);
}

static void print_stages(const vs_forecast *f) {
    printf("  %-12s %8s %9s\n", "stage", "images", "forwards");
    for (size_t i = 0; i < f->stage_count; i++) {
        const vs_forecast_stage *stage = &f->stages[i];
        char images[32] = "", forwards[32] = "";
        if (!(stage->forwards > 0) && !stage->images) continue;
        if (stage->images) snprintf(images, sizeof images, "%zu", stage->images);
        if (stage->forwards > 0) snprintf(forwards, sizeof forwards, "%.0f", ceil(stage->forwards));
        printf("  %-12s %8s %9s\n", stage->name, images, forwards);
    }
}

static void put(char *line) {
    if (line) vs_cli_paragraph(line);
    free(line);
}

static void print_time(const vs_study *s, double each, bool pictures) {
    const vs_forecast *f = &s->forecast;
    char time[32], most[32], pass[32], more[96] = "";
    format_time(f->forwards * each, time, sizeof time);
    format_time(f->most_forwards * each, most, sizeof most);
    snprintf(pass, sizeof pass, each < 1 ? "%.3g ms" : "%.3g s", each < 1 ? 1e3 * each : each);
    if (f->most_forwards > 1.5 * f->forwards) snprintf(more, sizeof more, "; up to %s where fp16 has much to explain", most);
    put(vs_format("Time: about %s (%.0f forward pass%s of %s%s)%s", time, ceil(f->forwards), f->forwards > 1 ? "es" : "", pass,
                  more, pictures ? ", and a second or so a picture" : ""));
}

static void print_place(const vs_cli_plan *p) {
    char disk[32], there[32], left[48] = "";
    format_bytes(p->bytes, disk, sizeof disk);
    format_bytes(p->free_bytes, there, sizeof there);
    if (!isnan(p->free_bytes)) snprintf(left, sizeof left, " (%s free)", there);
    put(vs_format("Disk: about %s in %s%s", disk, p->dir, left));
}

vs_status vs_cli_print_plan(const vs_study *s, const vs_cli_plan *plan, vs_cli_plans *plans, vs_error *err) {
    const vs_arch *a = &s->model->arch;
    double each = 0, memory = 0;
    char text[256];
    const vs_status status = vs_forecast_price(&each, s, err);
    if (status != VS_OK) return status;
    put(vs_format("%s: %s (%zu blocks, width %zu, %zu tokens) on %s (%s, %s), %zu session%s of %zu image%s", s->config->name,
                  a->name, a->depth, a->width, s->results.tokens, s->backend->name, s->backend->arithmetic, s->backend->isa,
                  s->options.threads, s->options.threads == 1 ? "" : "s", s->options.batch, s->options.batch == 1 ? "" : "s"));
    print_stages(&s->forecast);
    print_time(s, each, plan->pictures);
    if (vs_study_memory(s, &memory, text, sizeof text)) {
        format_bytes(memory, text, sizeof text);
        printf("Memory: about %s\n", text);
    }
    print_place(plan);
    if (plans) {
        plans->seconds += s->forecast.forwards * each;
        plans->bytes += plan->bytes;
        plans->count++;
        putchar('\n');
    } else
        vs_cli_end_plan();
    return VS_OK;
}

void vs_cli_end_plan(void) {
    vs_cli_paragraph("All that can be checked is in order; nothing was computed, nothing written.");
    putchar('\n');
}

void vs_cli_print_plans(const vs_cli_plans *plans, size_t runs, const char *dir) {
    char time[32], disk[32];
    format_time(plans->seconds, time, sizeof time);
    format_bytes(plans->bytes, disk, sizeof disk);
    put(vs_format("Together: %zu run%s, at most about %s (what runs share is computed once) and %s in %s", plans->count,
                  plans->count == 1 ? "" : "s", time, disk, dir));
    if (plans->count == runs) vs_cli_end_plan();
}
