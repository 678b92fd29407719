#include "study/study.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diagnose/fp16.h"
#include "half/real.h"
#include "run/calibrate.h"
#include "sens/sweep.h"
#include "study/check.h"
#include "study/footprint.h"
#include "study/layer_name.h"
#include "task/evaluate_output.h"
#include "util/util.h"

enum { KEPT_MAPS = 4, PROPAGATIONS = 3, DEVICE_WORKERS = 2, DEVICE_BATCH = 8 };

void vs_study_begin_stage(vs_study *s, const char *name) {
    const vs_progress *p = &s->options.progress;
    for (size_t i = 0; i < s->forecast.stage_count && p->stage; i++)
        if (strcmp(s->forecast.stages[i].name, name) == 0) p->stage(p->context, i + 1, s->forecast.stage_count, name);
}

static void begin_stage(vs_study *s, const char *name) {
    if (s->stage_count < VS_MAX_STAGES) s->stages[s->stage_count++] = (vs_stage_time){ name, 0 };
    s->stage_start = vs_now();
    vs_study_begin_stage(s, name);
}

static void end_stage(vs_study *s) {
    if (s->stage_count) s->stages[s->stage_count - 1].seconds = vs_now() - s->stage_start;
}

vs_runner vs_study_runner(const vs_study *s) {
    return (vs_runner){ .weights = s->weights,
                        .threads = s->options.threads,
                        .batch = s->options.batch,
                        .wave = 2 * s->options.threads * s->options.batch,
                        .memory = s->options.memory,
                        .stop = s->options.stop,
                        .progress = s->options.progress,
                        .probabilities = s->config->recipe.p != VS_P_NONE };
}

/* A data set's labels mean nothing to a head with other classes. */
static vs_status check_classes(const vs_study *s, vs_error *err) {
    const vs_set_config *e = &s->config->data.evaluation;
    const vs_arch *a = &s->model->arch;
    const size_t classes = e->set ? vs_dataset_class_count(e->protocol) : 0;
    if (classes == 0 || !vs_arch_gives_maps(a) || a->classes == classes) return VS_OK;
    return vs_config_fail(s->config, e->mark, err, "protocol %s has %zu classes, the head of %s has %zu",
                          vs_dataset_name(e->protocol), classes, a->name, a->classes);
}

/* What the model's file calls its classes in label maps. */
static void name_classes(vs_study *s) {
    const vs_model *m = s->model;
    const bool named = m->class_ids && m->class_name_count == m->arch.classes;
    s->evaluation_set.class_ids = named ? m->class_ids : NULL;
    s->evaluation_set.class_count = named ? m->class_name_count : 0;
}

static vs_status open_set(vs_study *s, vs_imageset *set, const vs_set_config *of, const char *what, vs_error *err) {
    if (!of->set) return VS_OK;
    vs_status status = vs_imageset_open(set, s->config, of, what, s->model->arch.patch, err);
    if (status != VS_OK) return status;
    set->notes = &s->image_notes;
    vs_image_notes_set(&s->image_notes, set, what);
    return VS_OK;
}

/* A set that nothing reads, as calibration of a float model alone, may have any size. Without analysis images calibration gives
 * the geometry. */
static bool reads_calibration(const vs_study *s) {
    if (vs_plant_needs_images(s->config) || !s->analysis_set.count) return true;
    return s->options.purpose != VS_FOR_FLOAT && vs_study_needs_calibration(s->config);
}

static vs_status open_sets(vs_study *s, vs_error *err) {
    const vs_config *c = s->config;
    const struct {
        const char *name;
        const vs_set_config *config;
        vs_imageset *set;
    } sets[] = { { "calibration", &c->data.calibration, &s->calibration_set },
                 { "analysis", &c->data.analysis, &s->analysis_set },
                 { "evaluation", &c->data.evaluation, &s->evaluation_set } };
    s->image_notes.progress = s->options.progress;
    vs_status status = VS_OK;
    for (size_t i = 0; i < 3 && status == VS_OK; i++) status = open_set(s, sets[i].set, sets[i].config, sets[i].name, err);
    if (status == VS_OK) status = check_classes(s, err);
    for (size_t i = 0; i < 3 && status == VS_OK; i++)
        if (sets[i].set != &s->calibration_set || reads_calibration(s))
            status = vs_check_sizes(c, sets[i].set, sets[i].name, err);
    name_classes(s);
    return status;
}

static vs_status check_overlap(const vs_study *s, vs_error *err) {
    if (!s->calibration_set.count || !s->analysis_set.count || s->config->data.allow_overlap) return VS_OK;
    return vs_imageset_check_overlap(s->config, &s->calibration_set, &s->analysis_set, err);
}

static vs_status plant(vs_study *s, vs_error *err) {
    const vs_plant_target target = { s->model, s->backend, vs_study_runner(s) };
    return vs_plant(&target, s->config, &s->calibration_set, &s->results.plants, &s->results.plant_count, err);
}

/* A row for each tensor that the recipe quantizes. */
static bool is_row(const vs_study *s, const vs_point *p) { return vs_recipe_quantizes(&s->config->recipe, p->kind); }

static bool is_planted(const vs_results *r, const char *layer) {
    for (size_t i = 0; i < r->plant_count; i++)
        if (strcmp(r->plants[i].layer, layer) == 0) return true;
    return false;
}

static vs_status fill_rows(vs_study *s, vs_error *err) {
    vs_results *r = &s->results;
    r->rows = vs_calloc(s->point_count, sizeof *r->rows);
    if (!r->rows) return vs_fail(err, VS_ERR_NOMEM, "no memory for the table of layers");
    for (size_t i = 0; i < s->point_count; i++) {
        const vs_point *p = &s->points[i];
        r->quantized_count += is_row(s, p);
        if (!is_row(s, p) || !vs_layer_listed(s->model, p, &s->config->analyze.layers)) continue;
        vs_row *row = &r->rows[r->row_count++];
        const vs_graph *g = s->model->graph;
        *row = (vs_row){ .layer = p->name,
                         .kind = p->kind,
                         .block = p->block,
                         .node = p->node,
                         .site = g->nodes[p->node].site,
                         .rows = *vs_value_rule(g, g->nodes[p->node].out),
                         .macs = p->macs,
                         .planted = is_planted(r, p->name) };
        const vs_linear l = vs_model_linear(s->model, vs_graph_linear_of(g, p->node));
        row->fqn_count = vs_linear_names(&l, p->kind, row->fqn);
    }
    return VS_OK;
}

static bool is_drawn(const vs_study *s, const vs_row *row) {
    for (size_t i = 0; i < s->point_count; i++)
        if (s->points[i].node == row->node) return vs_layer_listed(s->model, &s->points[i], &s->config->surfaces.layers);
    return false;
}

static void name_observer(vs_results *r, const vs_recipe_config *recipe) {
    r->observer_cuts = recipe->observer != VS_OBSERVER_MINMAX;
    if (recipe->observer == VS_OBSERVER_PERCENTILE)
        snprintf(r->observer, sizeof r->observer, "percentile %g", recipe->percentile);
    else
        snprintf(r->observer, sizeof r->observer, "%s", r->observer_cuts ? "mse" : "min/max");
}

/* Surfaces are drawn of analyzed layers. */
static vs_status plan_surfaces(vs_study *s, vs_error *err) {
    const vs_surfaces_config *c = &s->config->surfaces;
    if (c->layers.count == 0) return VS_OK;
    s->captures = vs_calloc(s->results.row_count * VS_SIDE_COUNT + 1, sizeof *s->captures);
    if (!s->captures) return vs_fail(err, VS_ERR_NOMEM, "no memory for surfaces");
    for (size_t r = 0; r < s->results.row_count; r++)
        for (int t = 0; t < VS_SIDE_COUNT; t++)
            if (is_drawn(s, &s->results.rows[r]) && (t == VS_SIDE_OUT ? c->tensor_out : c->tensor_in))
                s->captures[s->capture_count++] = (vs_surface_capture){ .row = r, .tensor = (vs_side)t };
    return VS_OK;
}

/* The size of the first analysis (or calibration, or evaluation) image decides the numbers that depend on it. */
static vs_status measure_geometry(vs_study *s, vs_error *err) {
    const vs_imageset *sets[] = { &s->analysis_set, &s->calibration_set, &s->evaluation_set };
    const vs_arch *a = &s->model->arch;
    size_t h = vs_arch_usual_grid(a), w = h;
    for (size_t i = 0; i < 3; i++) {
        if (sets[i]->count == 0) continue;
        vs_sample sample;
        vs_status status = vs_imageset_get(sets[i], 0, &sample, err);
        if (status != VS_OK) return status;
        h = sample.image.height / a->patch;
        w = sample.image.width / a->patch;
        vs_sample_release(&sample);
        break;
    }
    s->results.tokens = vs_arch_tokens(a, h, w);
    s->results.grid_w = w;
    s->results.token_rows = *vs_graph_tokens(s->model->graph);
    return vs_points_make(s->model, h * w, s->config->recipe.p != VS_P_NONE, &s->points, &s->point_count, err);
}

static bool is_missing(const char *path) { return path && access(path, F_OK) != 0; }

/* A model file that is not there: what the configuration calls it, where it was looked for, and where it is published. */
static vs_status name_missing(const vs_config *c, vs_error *err) {
    const bool head = !is_missing(c->model.checkpoint) && is_missing(vs_config_head_file(c));
    const char *key = head ? "model.head" : "model.checkpoint", *path = head ? vs_config_head_file(c) : c->model.checkpoint;
    char place[512], url[256], reason[512];
    if (!err) return VS_ERR_NOTFOUND;
    snprintf(reason, sizeof reason, "%.511s", err->message);
    *err = (vs_error){ 0 };
    vs_config_place(c, vs_config_mark(c, key), place, sizeof place);
    if (vs_published_name(path, url, sizeof url))
        return vs_fail(err, VS_ERR_NOTFOUND, "%s: %s; it is published as %s", place, reason, url);
    return vs_fail(err, VS_ERR_NOTFOUND, "%s: %s", place, reason);
}

vs_model_options vs_study_model_options(const vs_config *c, bool shapes_only) {
    return (vs_model_options){ .layout = c->model.layout,
                               .arch = c->model.arch,
                               .heads = (size_t)c->model.heads,
                               .eps = c->model.eps,
                               .prefix = c->model.prefix,
                               .head_path = vs_config_head_file(c),
                               .no_head = vs_config_without_head(c),
                               .allow_unused = (const char *const *)c->model.allow_unused.items,
                               .allow_unused_count = c->model.allow_unused.count,
                               .rope = (vs_rope_periods)c->model.rope,
                               .bias_mask = (vs_bias_mask)c->model.bias_mask,
                               .check_values = !shapes_only,
                               .hash = !shapes_only,
                               .shapes_only = shapes_only };
}

vs_status vs_study_adopt_input(vs_config *c, vs_error *err) {
    static const char mean[] = "data.preprocess.mean", std[] = "data.preprocess.std";
    static const double rounding = 5e-3; /* 0.485 of 255 against 123.675 */
    vs_preprocess_config *p = &c->data.preprocess;
    vs_input input;
    vs_status status = vs_input_read(&input, c->model.checkpoint, err);
    const bool own_mean = vs_config_is_written(c, mean), own_std = vs_config_is_written(c, std);
    if (status != VS_OK || !input.from) return status;
    for (size_t i = 0; i < 3; i++) {
        const double m = own_mean ? p->mean[i] : input.mean[i], d = own_std ? p->std[i] : input.std[i];
        const bool other = !(fabs(m - p->mean[i]) <= rounding) || !(fabs(d - p->std[i]) <= rounding);
        if (other) p->normalize_from = input.from;
    }
    if (!p->normalize_from) return VS_OK;
    if (!own_mean) memcpy(p->mean, input.mean, sizeof p->mean);
    if (!own_std) memcpy(p->std, input.std, sizeof p->std);
    return VS_OK;
}

/* What was taken, in one line, and below it what the user should know of it. */
static vs_status tell_model(const vs_study *s, vs_error *err) {
    const vs_progress *to = &s->options.progress;
    const vs_preprocess_config *p = &s->config->data.preprocess;
    if (!to->note) return VS_OK;
    char *taken = vs_model_taken(s->model), *input = NULL, *head = NULL;
    if (p->normalize_from)
        input = vs_format("mean %.6g %.6g %.6g, std %.6g %.6g %.6g: from %s beside the weights, not the defaults", p->mean[0],
                          p->mean[1], p->mean[2], p->std[0], p->std[1], p->std[2], p->normalize_from);
    if (s->model->head_note)
        head = vs_format("warning: no head is taken: %s; 'model.head: none' says that none is wanted", s->model->head_note);
    const bool whole = taken && (input || !p->normalize_from) && (head || !s->model->head_note);
    if (whole) to->note(to->context, taken);
    if (whole && input) to->note(to->context, input);
    if (whole && head) to->note(to->context, head);
    free(taken);
    free(input);
    free(head);
    return whole ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory to tell what was taken");
}

static vs_status read_model(vs_study *s, bool shapes_only, vs_error *err) {
    const vs_config *c = s->config;
    const vs_model_options options = vs_study_model_options(c, shapes_only);
    const vs_status status = vs_model_load(&s->model, c->model.checkpoint, &options, err);
    s->outline = status == VS_OK && shapes_only;
    return status == VS_ERR_NOTFOUND ? name_missing(c, err) : status;
}

/* The whole model after its shapes. */
static vs_status fill_model(vs_study *s, vs_error *err) {
    if (!s->outline) return VS_OK;
    vs_model_free(s->model);
    s->model = NULL;
    s->outline = false;
    return read_model(s, false, err);
}

/* Its shapes, or the whole of it where another run has read it. */
static vs_status open_model(vs_study *s, vs_error *err) {
    if (s->model) return VS_OK; /* the caller's */
    vs_planted *shared = vs_cache_take(s->options.cache, VS_SHARED_MODEL);
    if (shared) {
        s->model = shared->model;
        s->results.plants = shared->plants;
        s->results.plant_count = shared->plant_count;
        s->planted = true;
        free(shared);
        return VS_OK;
    }
    vs_status status = read_model(s, true, err);
    if (status == VS_OK && s->model->missing_count) status = fill_model(s, err); /* says what is missing */
    return status;
}

bool vs_study_memory(const vs_study *s, double *total, char *text, size_t size) {
    const vs_arch *a = &s->model->arch;
    const vs_results *r = &s->results;
    size_t rows = 0;
    for (size_t i = 0; i < s->point_count; i++) rows += is_row(s, &s->points[i]);
    const vs_footprint_options options = { .config = s->config,
                                           .backend = s->backend,
                                           .model = s->model,
                                           .height = (r->tokens - 1 - a->registers) / r->grid_w * a->patch,
                                           .width = r->grid_w * a->patch,
                                           .threads = s->options.threads,
                                           .batch = s->options.batch,
                                           .rows = rows };
    vs_footprint f;
    if (vs_footprint_estimate(&f, &options, NULL) != VS_OK) return false;
    *total = vs_footprint_total(&f);
    vs_footprint_text(&f, s->backend, text, size);
    return true;
}

/* Says how much memory a large study will take, before it is taken. */
static void tell_memory(const vs_study *s) {
    const double worth_telling = 1e9;
    double total = 0;
    char text[256];
    if (!s->options.tells_memory || !s->options.progress.note) return;
    if (vs_study_memory(s, &total, text, sizeof text) && total >= worth_telling)
        s->options.progress.note(s->options.progress.context, text);
}

/* Host memory: images side by side, one a processor. A device: enough images at once to fill it, and a second worker that
 * decodes the next ones meanwhile. */
static vs_status choose_width(vs_study *s, vs_error *err) {
    vs_study_options *o = &s->options;
    const bool host = s->backend->host_memory;
    if (host && o->memory)
        return vs_fail(err, VS_ERR_CONFIG, "--gpu-memory bounds the memory of a GPU; backend %s has none", s->backend->name);
    if (o->threads == 0) o->threads = host ? (size_t)omp_get_num_procs() : DEVICE_WORKERS;
    if (o->batch == 0) o->batch = host ? 1 : DEVICE_BATCH;
    const size_t wanted = o->threads;
    o->threads = vs_threads_available(wanted);
    if (o->threads < wanted && o->progress.note) {
        char text[100];
        snprintf(text, sizeof text, "going on with %zu threads, more cannot be started", o->threads);
        o->progress.note(o->progress.context, text);
    }
    return VS_OK;
}

/* What a model and a backend do not have. */
static vs_status check_built(const vs_study *s, vs_error *err) {
    const vs_config *c = s->config;
    if (s->model->arch.head == VS_HEAD_EOMT && c->recipe.p != VS_P_NONE)
        return vs_fail(err, VS_ERR_CONFIG, "%s: recipe.p is not built for EoMT, whose blocks have different numbers of tokens",
                       c->path);
    if (c->fp16.set && c->fp16.real) return vs_half_real_check(s->model, s->backend, (vs_half_format)c->fp16.format, err);
    return VS_OK;
}

static vs_status check_labels(const vs_study *s, vs_error *err) {
    if (s->options.purpose != VS_FOR_ALL || !s->evaluation_set.count) return VS_OK;
    return vs_check_labels(s->config, &s->model->arch, &s->evaluation_set, &s->options.progress, err);
}

static vs_status outline(vs_study *s, vs_error *err) {
    vs_results *r = &s->results;
    const vs_progress *p = &s->options.progress;
    if (p->stage) p->stage(p->context, 0, 0, "checks"); /* how many stages there are is not known yet */
    vs_status status = vs_backend_open_as(&s->backend, s->options.backend, s->options.arithmetic, err);
    if (status == VS_OK) status = choose_width(s, err);
    if (status == VS_OK) status = open_model(s, err);
    if (status == VS_OK) status = check_built(s, err);
    if (status == VS_OK) status = vs_plant_check(s->config, s->model, err);
    if (status == VS_OK) status = open_sets(s, err);
    if (status == VS_OK) status = vs_check_plan(s, err);
    if (status == VS_OK) status = measure_geometry(s, err);
    if (status == VS_OK) status = vs_check_layers(s, err);
    if (status == VS_OK) vs_forecast_make(&s->forecast, s);
    if (status == VS_OK) begin_stage(s, "checks");
    if (status == VS_OK) status = check_labels(s, err);
    if (status == VS_OK) status = check_overlap(s, err);
    end_stage(s);
    r->name = s->config->name;
    r->arch = s->model ? &s->model->arch : NULL;
    r->ref_precision = s->backend && s->backend->scalar == VS_SCALAR_F64;
    r->histogram_error = 0.5 / VS_HIST_PER_OCTAVE;
    r->fp32_state = 0;
    r->ptq_recipe = r->sq_recipe = SIZE_MAX;
    return status;
}

vs_status vs_study_load(vs_study *s, vs_error *err) {
    begin_stage(s, "loading");
    tell_memory(s);
    vs_status status = fill_model(s, err);
    end_stage(s);
    if (status != VS_OK) return status;
    s->results.arch = &s->model->arch; /* the outline's is gone */
    name_classes(s);
    if (s->config->model.plant_count && !s->planted) {
        begin_stage(s, "planting");
        status = plant(s, err);
        end_stage(s);
    }
    s->planted = status == VS_OK || s->planted;
    if (status == VS_OK) status = tell_model(s, err);
    if (status == VS_OK) status = vs_weights_bind(&s->weights, s->backend, s->model, err);
    if (status == VS_OK) status = fill_rows(s, err);
    name_observer(&s->results, &s->config->recipe);
    if (status == VS_OK) status = plan_surfaces(s, err);
    return status;
}

vs_status vs_study_outline(vs_study *s, const vs_config *config, const vs_study_options *options, vs_error *err) {
    *s = (vs_study){ .config = config, .model = options->model, .options = *options };
    const vs_status status = outline(s, err);
    if (status != VS_OK) vs_study_release(s);
    return status;
}

vs_status vs_study_open(vs_study *s, const vs_config *config, const vs_study_options *options, vs_error *err) {
    vs_status status = vs_study_outline(s, config, options, err);
    if (status != VS_OK) return status;
    status = vs_study_load(s, err);
    if (status != VS_OK) vs_study_release(s);
    return status;
}

bool vs_study_needs_calibration(const vs_config *c) {
    for (size_t i = 0; i < c->state_count; i++)
        if (c->states[i].kind != VS_STATE_FP32 && c->states[i].kind != VS_STATE_FP16) return true;
    return c->data.analysis.set && c->analyze.recipes.count > 0;
}

/* Names and per-row arrays for the states and recipes. */
static vs_status name_states(vs_study *s, vs_error *err) {
    vs_results *r = &s->results;
    r->state_count = s->states.state_count;
    r->recipe_count = s->states.recipe_count;
    r->state_names = vs_calloc(r->state_count, sizeof *r->state_names);
    r->recipe_names = vs_calloc(r->recipe_count + 1, sizeof *r->recipe_names);
    r->output_sqnr = vs_calloc(r->state_count, sizeof *r->output_sqnr);
    r->spared_floor = vs_calloc(r->recipe_count + 1, sizeof *r->spared_floor);
    r->stream = vs_calloc(r->state_count * s->model->arch.depth, sizeof *r->stream);
    if (!r->state_names || !r->recipe_names || !r->output_sqnr || !r->spared_floor || !r->stream)
        return vs_fail(err, VS_ERR_NOMEM, "no memory for states");
    for (size_t i = 0; i < r->state_count; i++) r->state_names[i] = s->states.states[i].name;
    for (size_t i = 0; i < r->recipe_count; i++) {
        r->recipe_names[i] = s->states.recipes[i].name;
        r->spared_floor[i] = (double)NAN;
        size_t *first = s->states.recipes[i].kind == VS_STATE_PTQ ? &r->ptq_recipe : &r->sq_recipe;
        if (*first == SIZE_MAX) *first = i;
    }
    for (size_t i = 0; i < r->row_count; i++) {
        r->rows[i].recipes = vs_calloc(r->recipe_count + 1, sizeof *r->rows[i].recipes);
        r->rows[i].states = vs_calloc(r->state_count, sizeof *r->rows[i].states);
        if (!r->rows[i].recipes || !r->rows[i].states) return vs_fail(err, VS_ERR_NOMEM, "no memory for the table of layers");
    }
    for (size_t i = 0; i < s->capture_count; i++) {
        s->captures[i].values = vs_calloc(r->state_count, sizeof *s->captures[i].values);
        s->captures[i].hists = vs_calloc(r->state_count, sizeof *s->captures[i].hists);
        if (!s->captures[i].values || !s->captures[i].hists) return vs_fail(err, VS_ERR_NOMEM, "no memory for surfaces");
    }
    return VS_OK;
}

/* By an earlier run of the batch, or now. */
static vs_status calibrate(vs_study *s, vs_error *err) {
    const vs_runner runner = vs_study_runner(s);
    vs_calibration *found = vs_cache_take(s->options.cache, VS_SHARED_CALIBRATION);
    if (!found) {
        begin_stage(s, "calibration");
        const vs_status status = vs_calibrate(&found, &runner, &s->calibration_set, err);
        end_stage(s);
        if (status != VS_OK) return status;
        found->seconds = s->stages[s->stage_count - 1].seconds;
    }
    s->calibration = found;
    if (found->images) s->forward_seconds = found->seconds / (double)found->images;
    return VS_OK;
}

vs_status vs_study_prepare_states(vs_study *s, vs_error *err) {
    vs_status status = vs_study_needs_calibration(s->config) ? calibrate(s, err) : VS_OK;
    if (status != VS_OK) return status;
    vs_config without = *s->config; /* nothing to measure layer by layer: no variants for recipes either */
    if (s->analysis_set.count == 0) without.analyze.recipes.count = 0;
    if (s->calibration) vs_study_begin_stage(s, "quantizing");
    status = vs_states_create(&s->states, &without, s->weights, s->calibration, err);
    if (status == VS_OK && s->states.variant_count && s->config->recipe.observer != VS_OBSERVER_MINMAX) {
        const vs_runner runner = vs_study_runner(s);
        begin_stage(s, "observers");
        status = vs_observe_variants(s->states.variants, s->states.variant_count, &s->config->recipe, &runner,
                                     &s->calibration_set, err);
        end_stage(s);
    }
    return status == VS_OK ? name_states(s, err) : status;
}

static vs_status name_images(vs_study *s, size_t count, vs_error *err) {
    vs_results *r = &s->results;
    s->image_names = vs_calloc(count + 1, sizeof *s->image_names);
    r->image_names = vs_calloc(count + 1, sizeof *r->image_names);
    if (!s->image_names || !r->image_names) return vs_fail(err, VS_ERR_NOMEM, "no memory for image names");
    for (size_t i = 0; i < count; i++) {
        r->image_names[i] = s->image_names[i] = vs_imageset_name(&s->analysis_set, i);
        if (!s->image_names[i]) return vs_fail(err, VS_ERR_NOMEM, "no memory for image names");
    }
    r->analysis_images = count;
    return VS_OK;
}

size_t vs_study_analysis_images(const vs_study *s) {
    const int64_t asked = s->config->analyze.images;
    return asked > 0 && (size_t)asked < s->analysis_set.count ? (size_t)asked : s->analysis_set.count;
}

static vs_status analyze(vs_study *s, const vs_runner *runner, vs_error *err) {
    const vs_analyze_config *c = &s->config->analyze;
    const size_t images = vs_study_analysis_images(s);
    const vs_analysis_options options = { .images = images,
                                          .weight = c->mode_weight,
                                          .activation = c->mode_activation,
                                          .both = c->mode_both,
                                          .cumulative = c->cumulative,
                                          .captures = s->captures,
                                          .capture_count = s->capture_count,
                                          .capture_image = (size_t)s->config->surfaces.image };
    vs_status status = name_images(s, images, err);
    if (status == VS_OK) status = vs_analyze(&s->results, runner, &s->analysis_set, &s->states, &options, err);
    return status;
}

static void note_cost(const vs_study *s, const char *what, vs_sweep_cost cost) {
    if (!s->options.progress.note) return;
    char text[200];
    const double each = s->forward_seconds;
    snprintf(text, sizeof text, "%s: %zu re-runs, the work of %.0f forward passes, about %.0f s", what, cost.reruns,
             cost.forwards, ceil(cost.forwards * each));
    s->options.progress.note(s->options.progress.context, text);
}

/* Damage at the model's output, as far as it is asked for. */
static vs_status sweep(vs_study *s, const vs_runner *runner, vs_error *err) {
    const vs_analyze_config *c = &s->config->analyze;
    vs_results *r = &s->results;
    const vs_sweep_options options = { r->analysis_images, c->mode_weight, c->mode_activation, c->mode_both };
    vs_status status = VS_OK;
    if (c->output && r->recipe_count) {
        note_cost(s, "output", vs_output_cost(r, &s->states, &options));
        begin_stage(s, "output");
        status = vs_sweep_output(r, runner, &s->analysis_set, &s->states, &options, err);
        end_stage(s);
    }
    if (status == VS_OK && c->spared && r->recipe_count) {
        note_cost(s, "spared", vs_spared_cost(r, &s->states, &options));
        begin_stage(s, "spared");
        status = vs_sweep_spared(r, runner, &s->analysis_set, &s->states, &options, err);
        end_stage(s);
    }
    if (status == VS_OK && c->cumulative) {
        begin_stage(s, "propagation");
        status = vs_sweep_propagation(r, runner, &s->analysis_set, &s->states, &options, PROPAGATIONS, err);
        end_stage(s);
    }
    return status;
}

static vs_status evaluate(vs_study *s, const vs_runner *runner, vs_error *err) {
    vs_cache *cache = s->options.cache;
    s->float_maps = vs_cache_take(cache, VS_SHARED_FLOAT_MAPS);
    vs_status status = VS_OK;
    if (!s->float_maps && vs_cache_wanted(cache, VS_SHARED_FLOAT_MAPS))
        status = vs_float_maps_create(&s->float_maps, s->evaluation_set.count, err);
    if (status == VS_OK)
        status = vs_evaluate(&s->evaluation, runner, &s->evaluation_set, &s->states, KEPT_MAPS, s->float_maps, err);
    return status;
}

/* The half-precision diagnosis; image names of the analysis set are there. */
static vs_status diagnose(vs_study *s, const vs_runner *runner, vs_error *err) {
    const vs_fp16_options options = { .analysis = s->analysis_set.count ? &s->analysis_set : NULL,
                                      .images = s->results.analysis_images,
                                      .evaluation = s->evaluation_set.count && s->model->arch.head != VS_HEAD_NONE
                                                        ? &s->evaluation_set
                                                        : NULL,
                                      .floats = s->float_maps,
                                      .keep = KEPT_MAPS };
    return vs_fp16_diagnose(&s->results.fp16, &s->half_maps, runner, &s->config->fp16, &options, err);
}

vs_status vs_study_run(vs_study *s, vs_error *err) {
    const vs_runner runner = vs_study_runner(s);
    vs_results *r = &s->results;
    vs_status status = vs_study_prepare_states(s, err);
    if (status == VS_OK && s->analysis_set.count) {
        begin_stage(s, "analysis");
        status = analyze(s, &runner, err);
        end_stage(s);
        if (status == VS_OK) status = sweep(s, &runner, err);
    }
    if (status == VS_OK && s->evaluation_set.count && s->model->arch.head != VS_HEAD_NONE) {
        begin_stage(s, "evaluation");
        status = evaluate(s, &runner, err);
        end_stage(s);
        r->has_task = status == VS_OK;
        r->tasks = s->evaluation.tasks;
        r->class_count = s->evaluation.classes;
        r->evaluation_images = s->evaluation_set.images;
        if (s->model->class_name_count == r->class_count) r->class_names = (const char *const *)s->model->class_names;
    }
    if (status == VS_OK && s->evaluation_set.count && s->model->arch.head == VS_HEAD_NONE) {
        begin_stage(s, "evaluation");
        r->evaluation_sqnr = vs_calloc(r->state_count, sizeof *r->evaluation_sqnr);
        status = r->evaluation_sqnr ? vs_evaluate_output(r->evaluation_sqnr, &runner, &s->evaluation_set, &s->states, err)
                                    : vs_fail(err, VS_ERR_NOMEM, "no memory for the evaluation");
        end_stage(s);
        r->evaluation_images = s->evaluation_set.images;
    }
    if (status == VS_OK && s->config->fp16.set) {
        begin_stage(s, "fp16");
        status = diagnose(s, &runner, err);
        end_stage(s);
    }
    return status == VS_OK ? vs_rankings_compute(r, err) : status;
}

/* What a later run of the batch can use goes to the cache; the rest is freed. */
static void release_shared(vs_study *s) {
    vs_cache *cache = s->options.cache;
    vs_planted *planted =
        s->planted && s->model && vs_cache_wanted(cache, VS_SHARED_MODEL) ? vs_calloc(1, sizeof *planted) : NULL;
    if (planted) {
        *planted = (vs_planted){ s->model, s->results.plants, s->results.plant_count };
        vs_cache_give(cache, VS_SHARED_MODEL, planted);
    } else {
        vs_plants_free(s->results.plants, s->results.plant_count);
        vs_model_free(s->model);
    }
    vs_cache_give(cache, VS_SHARED_CALIBRATION, s->calibration);
    vs_cache_give(cache, VS_SHARED_FLOAT_MAPS, s->float_maps);
}

void vs_study_release(vs_study *s) {
    vs_results *r = &s->results;
    vs_ranking_set_release(&r->ptq_rankings);
    vs_ranking_set_release(&r->sq_rankings);
    for (size_t i = 0; r->rows && i < r->row_count; i++) {
        free(r->rows[i].recipes);
        free(r->rows[i].states);
    }
    for (size_t i = 0; s->image_names && i < r->analysis_images; i++) free(s->image_names[i]);
    for (size_t i = 0; s->captures && i < s->capture_count; i++) {
        for (size_t k = 0; s->captures[i].values && k < r->state_count; k++) free(s->captures[i].values[k]);
        for (size_t k = 0; s->captures[i].hists && k < r->state_count; k++) free(s->captures[i].hists[k]);
        free(s->captures[i].values);
        free(s->captures[i].hists);
    }
    free(s->captures);
    free(s->image_names);
    free(r->image_names);
    free(r->rows);
    free(r->state_names);
    free(r->recipe_names);
    free(r->output_sqnr);
    free(r->evaluation_sqnr);
    free(r->spared_floor);
    for (size_t i = 0; i < r->propagation_count; i++) free(r->propagations[i].stream);
    free(r->propagations);
    free(r->stream);
    free(r->norms.prefix_times);
    free(r->norms.blocks);
    vs_fp16_release(&r->fp16);
    vs_evaluation_release(&s->evaluation);
    vs_evaluation_release(&s->half_maps);
    vs_states_release(&s->states);
    vs_imageset_release(&s->calibration_set);
    vs_imageset_release(&s->analysis_set);
    vs_imageset_release(&s->evaluation_set);
    vs_image_notes_release(&s->image_notes);
    vs_weights_free(s->weights);
    free(s->points);
    release_shared(s);
    vs_backend_close(s->backend);
    *s = (vs_study){ 0 };
}
