/* vitscope capture: signed tensors of the analysis images, for anyone's own checks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/npy.h"
#include "util/util.h"

/* One file that grows by the images of a job at a time. */
typedef struct sink {
    vs_kind kind;
    int block;
    bool input;
    char *name;
    vs_outfile file;
    bool open;
    size_t rows, cols;
} sink;

typedef struct capture {
    const vs_study *study;
    const vs_state *state;
    const char *dir;
    size_t images, at_once; /* in all; in the job at work */
    sink *sinks;
    size_t sink_count;
} capture;

static bool is_map(const capture *c, const sink *s) {
    return s->kind == VS_KIND_MASKS || (s->kind == VS_KIND_LOGITS && vs_arch_gives_maps(&c->study->model->arch));
}

static vs_status begin(capture *c, sink *s, vs_mat x, vs_error *err) {
    char *path = vs_format("%s/%s.npy", c->dir, s->name);
    if (!path) return vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    vs_status status = vs_outfile_open(&s->file, path, err);
    free(path);
    if (status != VS_OK) return status;
    s->open = true;
    s->rows = x.rows / c->at_once;
    s->cols = x.cols;
    const vs_npy_type type = c->study->backend->scalar == VS_SCALAR_F64 ? VS_NPY_F64 : VS_NPY_F32;
    const bool maps = is_map(c, s);
    const size_t grid_w = vs_arch_logits_side(&c->study->model->arch, c->study->results.grid_w);
    const size_t flat[3] = { c->images, s->rows, x.cols }, map[4] = { c->images, x.cols, s->rows / grid_w, grid_w };
    return maps ? vs_npy_write_header(s->file.stream, type, 4, map, err)
                : vs_npy_write_header(s->file.stream, type, 3, flat, err);
}

/* [pixels, classes] to [classes, pixels]. */
static void transpose(const char *in, char *out, size_t rows, size_t cols, size_t size) {
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < cols; k++) memcpy(out + (k * rows + r) * size, in + (r * cols + k) * size, size);
}

static vs_status append(capture *c, sink *s, vs_mat x, vs_error *err) {
    const vs_backend *be = c->study->backend;
    const size_t size = (size_t)be->scalar, count = x.rows * x.cols;
    if (!s->open) {
        vs_status status = begin(c, s, x, err);
        if (status != VS_OK) return status;
    }
    if (s->rows * c->at_once != x.rows || s->cols != x.cols)
        return vs_fail(err, VS_ERR_SHAPE, "%s: images of different sizes cannot share one array", s->name);
    char *host = vs_calloc(2 * count, size), *turned = host ? host + count * size : NULL;
    vs_status status = host ? be->ops->download(be, host, x, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a tensor");
    if (status == VS_OK) status = be->ops->sync(be, err);
    for (size_t i = 0; i < c->at_once && status == VS_OK && is_map(c, s); i++)
        transpose(host + i * s->rows * x.cols * size, turned + i * s->rows * x.cols * size, s->rows, x.cols, size);
    if (status == VS_OK && !vs_outfile_write(&s->file, is_map(c, s) ? turned : host, size * count))
        status = vs_fail(err, VS_ERR_IO, "%s: cannot write: %s", s->file.path, strerror(s->file.code));
    free(host);
    return status;
}

static vs_status on_tap(void *context, const vs_tap *tap, vs_error *err) {
    capture *c = context;
    vs_status status = VS_OK;
    for (size_t i = 0; i < c->sink_count && status == VS_OK; i++) {
        sink *s = &c->sinks[i];
        if (s->kind == tap->kind && s->block == tap->block && s->input == tap->input) status = append(c, s, tap->x, err);
    }
    vs_state_apply(c->state, c->study->backend, tap); /* after it was written: `.in` is what the layer was given */
    return status;
}

static vs_status on_half_tap(void *context, const vs_tap *tap, vs_mat x, vs_error *err) {
    (void)x;
    return on_tap(context, tap, err);
}

static vs_status work(void *context, const vs_job *job, vs_error *err) {
    capture *c = context;
    c->at_once = job->images;
    if (c->state->half) {
        vs_half_model model = *c->state->half;
        model.counts_only = true;
        model.tap = on_half_tap;
        model.tap_context = c;
        return vs_half_forward(job->session, &model, job->pixels, NULL, err);
    }
    return vs_forward(job->session, c->state->weights, job->pixels, (vs_tapper){ on_tap, c }, err);
}

static bool has_input(vs_kind kind) { return vs_kind_is_linear(kind) || vs_kind_is_operand(kind); }

/* Next pattern of a comma list; commas inside braces belong to the pattern. */
static char *next_pattern(const char **text) {
    size_t n = 0, depth = 0;
    for (; (*text)[n] && ((*text)[n] != ',' || depth); n++) {
        if ((*text)[n] == '{')
            depth++;
        else if ((*text)[n] == '}' && depth)
            depth--;
    }
    char *pattern = vs_format("%.*s", (int)n, *text);
    *text += n + ((*text)[n] == ',');
    return pattern;
}

static vs_status add_sink(capture *c, const vs_point *p, bool input, const char *name, vs_error *err) {
    for (size_t i = 0; i < c->sink_count; i++)
        if (strcmp(c->sinks[i].name, name) == 0) return VS_OK;
    char *copy = vs_strdup(name);
    if (!copy) return vs_fail(err, VS_ERR_NOMEM, "no memory for taps");
    c->sinks[c->sink_count++] = (sink){ .kind = p->kind, .block = p->block, .input = input, .name = copy };
    return VS_OK;
}

static vs_status no_such_tensor(const vs_study *s, const char *pattern, vs_error *err) {
    const vs_point **points = vs_calloc(s->point_count, sizeof(vs_point *));
    char near[256] = "";
    for (size_t i = 0; points && i < s->point_count; i++) points[i] = &s->points[i];
    if (points) vs_layer_suggest(s->model, points, s->point_count, pattern, near, sizeof near);
    free(points);
    return vs_fail(err, VS_ERR_NOTFOUND, "--taps: '%s' matches no tensor of %s%s%s%s", pattern, s->model->arch.name,
                   *near ? "; the nearest is '" : "", near, *near ? "'" : "; 'vitscope layers' lists the layers");
}

static vs_status add_matches(capture *c, const char *pattern, vs_error *err) {
    const vs_study *s = c->study;
    size_t hits = 0;
    vs_status status = VS_OK;
    for (size_t i = 0; i < s->point_count; i++)
        for (int input = 0; input <= (has_input(s->points[i].kind) ? 1 : 0) && status == VS_OK; input++) {
            const char *suffix = input ? ".in" : "";
            char name[64];
            if (!vs_layer_matches(s->model, &s->points[i], suffix, pattern)) continue;
            hits++;
            snprintf(name, sizeof name, "%s%s", s->points[i].name, suffix);
            status = add_sink(c, &s->points[i], input == 1, name, err);
        }
    return hits || status != VS_OK ? status : no_such_tensor(s, pattern, err);
}

static vs_status choose_sinks(capture *c, const char *taps, vs_error *err) {
    c->sinks = vs_calloc(2 * c->study->point_count, sizeof *c->sinks);
    if (!c->sinks) return vs_fail(err, VS_ERR_NOMEM, "no memory for taps");
    vs_status status = VS_OK;
    for (const char *text = taps; *text && status == VS_OK;) {
        char *pattern = next_pattern(&text);
        status = pattern ? add_matches(c, pattern, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for taps");
        free(pattern);
    }
    return status;
}

/* Known before the states are made. */
static vs_status check_state(const vs_config *config, const char *name, vs_error *err) {
    const char **names = vs_calloc(config->state_count + 1, sizeof *names);
    size_t count = 0;
    bool known = false;
    if (names) names[count++] = "fp32";
    for (size_t i = 0; names && i < config->state_count; i++) names[count++] = config->states[i].name;
    for (size_t i = 0; i < count; i++) known |= strcmp(names[i], name) == 0;
    const char *near = known ? NULL : vs_nearest(name, names, count);
    free(names);
    if (known) return VS_OK;
    return vs_fail(err, VS_ERR_NOTFOUND, "%s: there is no state '%s' in this configuration%s%s%s", config->path, name,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static vs_status choose_state(capture *c, const char *name, vs_error *err) {
    const vs_states *states = &c->study->states;
    for (size_t i = 0; i < states->state_count; i++)
        if (strcmp(states->states[i].name, name) == 0) {
            c->state = &states->states[i];
            return VS_OK;
        }
    return vs_fail(err, VS_ERR_NOTFOUND, "%s: there is no state '%s' in this configuration", c->study->config->path, name);
}

/* About what the files take: the widest rows are those of the feed-forward. */
static double bytes_of(const capture *c) {
    const vs_arch *a = &c->study->model->arch;
    double columns = 0;
    for (size_t i = 0; i < c->sink_count; i++) {
        const sink *s = &c->sinks[i];
        if (s->kind == VS_KIND_QKV)
            columns += s->input ? (double)a->width : 3 * (double)a->width;
        else if (s->kind == VS_KIND_FC1 && !s->input)
            columns += (double)vs_arch_fc1_width(a);
        else
            columns += s->kind == VS_KIND_FC2 && s->input ? (double)a->hidden : (double)a->width;
    }
    return columns * (double)c->study->results.tokens * (double)c->study->backend->scalar * (double)c->images;
}

static vs_status finish(capture *c, vs_status status, vs_error *err) {
    for (size_t i = 0; i < c->sink_count; i++) {
        sink *s = &c->sinks[i];
        if (s->open && status == VS_OK) status = vs_outfile_commit(&s->file, err);
        if (s->open) vs_outfile_discard(&s->file);
        free(s->name);
    }
    free(c->sinks);
    return status;
}

static const char last_stage[] = "capture";

static vs_status prepare(capture *c, vs_study *study, const char *state, vs_error *err) {
    static const vs_state plain = { .name = "fp32", .kind = VS_STATE_FP32 };
    vs_status status = vs_study_load(study, err);
    c->state = &plain;
    if (status != VS_OK || study->options.purpose == VS_FOR_FLOAT) return status;
    status = vs_study_prepare_states(study, err);
    return status == VS_OK ? choose_state(c, state, err) : status;
}

static vs_status write_tensors(capture *c, vs_study *study, vs_error *err) {
    vs_state with_weights = *c->state;
    if (!with_weights.weights) with_weights.weights = study->weights;
    capture job = *c;
    job.state = &with_weights;
    vs_runner runner = vs_study_runner(study);
    runner.threads = 1; /* images are appended in order */
    vs_study_begin_stage(study, last_stage);
    return vs_run_images(&runner, &study->analysis_set, c->images, last_stage,
                         (vs_session_needs){ 1, 1, with_weights.half ? vs_half_scratch : NULL }, work, NULL, &job, err);
}

static vs_status capture_config(const vs_command_line *line, const vs_config *config, vs_error *err) {
    vs_study study = { 0 };
    vs_lock lock = { .fd = -1 };
    vs_cli_progress progress;
    vs_study_options options = vs_cli_study_options(line, &progress);
    const char *state = line->state ? line->state : "fp32";
    capture c = { .study = &study, .dir = line->out, .images = line->images ? line->images : 1 };
    double free_bytes = 0;
    options.purpose = strcmp(state, "fp32") == 0 ? VS_FOR_FLOAT : VS_FOR_STATES;
    options.last_stage = last_stage;
    options.last_images = c.images;
    vs_status status = check_state(config, state, err);
    if (status == VS_OK && !config->data.analysis.set)
        status = vs_fail(err, VS_ERR_CONFIG, "%s: capture needs data.analysis", config->path);
    if (status == VS_OK) status = vs_study_outline(&study, config, &options, err);
    if (status == VS_OK && c.images > study.analysis_set.count) c.images = study.analysis_set.count;
    if (status == VS_OK) status = choose_sinks(&c, line->taps ? line->taps : "*", err);
    const double bytes = status == VS_OK ? bytes_of(&c) : 0;
    if (status == VS_OK) status = vs_cli_check_folder(c.dir, bytes, &free_bytes, err);
    if (status == VS_OK && line->dry_run) {
        vs_cli_progress_end(&progress, false);
        status = vs_cli_print_plan(&study, &(vs_cli_plan){ .dir = c.dir, .bytes = bytes, .free_bytes = free_bytes }, NULL, err);
    } else if (status == VS_OK) {
        status = vs_make_dirs(c.dir, err);
        if (status == VS_OK) status = vs_lock_take(&lock, c.dir, err);
        if (status == VS_OK) status = vs_folder_remove_temporaries(c.dir, err);
        if (status == VS_OK) status = prepare(&c, &study, state, err);
        if (status == VS_OK) status = write_tensors(&c, &study, err);
    }
    vs_cli_progress_end(&progress, status == VS_OK);
    const size_t files = c.sink_count;
    status = finish(&c, status, err);
    vs_lock_release(&lock);
    if (status == VS_OK && !line->dry_run && !line->quiet)
        printf("%zu tensor%s of %zu image%s written to %s\n", files, files == 1 ? "" : "s", c.images, c.images == 1 ? "" : "s",
               line->out);
    vs_study_release(&study);
    return status;
}

int vs_cli_capture(const vs_command_line *line) {
    vs_error err = { 0 };
    vs_config *config = NULL;
    vs_status status = vs_config_load(&config, line->operands[0], line->overrides, line->override_count, &err);
    if (status == VS_OK) status = vs_config_check_built(config, &err);
    if (status == VS_OK) status = vs_study_adopt_input(config, &err);
    if (status == VS_OK) status = capture_config(line, config, &err);
    vs_config_free(config);
    return status == VS_OK ? 0 : vs_cli_fail(status, &err);
}
