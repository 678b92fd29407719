/* Pictures of a finished study. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "charts/charts.h"
#include "cli/cli.h"
#include "folder/file_names.h"
#include "io/npy.h"
#include "render/render.h"
#include "util/util.h"

static void tell(const vs_study *s, size_t pictures) {
    const vs_progress *to = &s->options.progress;
    if (to->update) to->update(to->context, "pictures", (double)pictures, 0);
}

static const char *tensor_name(vs_side t) { return t == VS_SIDE_OUT ? "out" : "in"; }

/* What a surface's numbers say: does the outlier survive, does the bulk? */
static char *make_caption(const vs_study *s, const vs_surface_capture *c, const vs_surface_panel *panels) {
    const vs_row *row = &s->results.rows[c->row];
    for (size_t i = 1; i < s->results.state_count; i++) {
        const vs_distribution *in = &row->states[i].in;
        if (s->states.states[i].kind != VS_STATE_PTQ || !c->values[i]) continue;
        if (c->tensor == VS_SIDE_IN && in->quantized)
            return vs_format(
                "Input of %s: largest value %.4g, median %.3g; the step of %s is %.3g, so %.1f %% of the values become zero.",
                row->layer, panels[i].max, panels[i].median, panels[i].title, in->qstep, 100 * in->qzeroed);
        const double shift = panels[0].median > 0 ? 100 * (panels[i].median / panels[0].median - 1) : 0;
        return vs_format("Output of %s: largest value %.4g in %s and %.4g in %s; median %.3g and %.3g (%+.1f %%).", row->layer,
                         panels[0].max, panels[0].title, panels[i].max, panels[i].title, panels[0].median, panels[i].median,
                         shift);
    }
    return NULL;
}

static vs_status write_npy(const vs_study *s, const vs_surface_capture *c, const char *stem, vs_error *err) {
    const size_t shape[2] = { c->tokens, c->channels };
    vs_status status = VS_OK;
    for (size_t i = 0; i < s->results.state_count && status == VS_OK; i++) {
        char *path = c->values[i] ? vs_format("%s.%s.npy", stem, s->results.state_names[i]) : NULL;
        if (!path) continue;
        status = vs_npy_write(path, VS_NPY_F32, 2, shape, c->values[i], err);
        free(path);
    }
    return status;
}

static void fill_panel(const vs_study *s, const vs_surface_capture *c, size_t state, float *order, vs_surface_panel *p) {
    const size_t n = c->tokens * c->channels;
    const vs_distribution *in = &s->results.rows[c->row].states[state].in;
    *p = (vs_surface_panel){ .values = c->values[state], .title = s->results.state_names[state] };
    for (size_t i = 0; i < n; i++)
        if ((double)c->values[state][i] > p->max) p->max = (double)c->values[state][i];
    memcpy(order, c->values[state], n * sizeof *order);
    p->median = vs_median_f32(order, n);
    if (c->tensor == VS_SIDE_IN && in->quantized) p->step = in->qstep;
}

/* heatmaps/<layer>.<state>.png of outputs, <layer>.in.<state>.png of inputs. */
static vs_status draw_heatmaps(const vs_study *s, const vs_surface_capture *c, const vs_surface *surface, const char *dir,
                               size_t *pictures, vs_error *err) {
    const char *layer = s->results.rows[c->row].layer, *infix = c->tensor == VS_SIDE_IN ? ".in" : "";
    char **paths = vs_calloc(surface->panel_count, sizeof *paths);
    vs_status status = paths ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    for (size_t i = 0; i < surface->panel_count && status == VS_OK; i++) {
        paths[i] = vs_format("%s/%s%s.%s.png", dir, layer, infix, surface->panels[i].title);
        if (!paths[i]) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    }
    vs_surface shown = *surface;
    shown.log_z = true; /* one loud value would leave the rest black */
    if (status == VS_OK) status = vs_heatmaps_draw(&shown, (const char *const *)paths, err);
    if (status == VS_OK) tell(s, *pictures += surface->panel_count);
    for (size_t i = 0; paths && i < surface->panel_count; i++) free(paths[i]);
    free(paths);
    return status;
}

/* Tokens in front of the patches, as marks of a surface: where they stand among a layer's rows; 0 where a layer has patches
 * alone. marks, names [prefix]. */
static size_t mark_prefix(const vs_results *r, const vs_row *row, size_t prefix, vs_token_mark *marks, char (*names)[16]) {
    vs_row_rule rows = row->rows;
    rows.times = 1; /* heads of probabilities stand side by side */
    const size_t part = vs_rule_find(&rows, &r->token_rows);
    if (part == VS_NONE) return 0;
    for (size_t i = 0; i < prefix; i++) {
        vs_rule_name(&r->token_rows, i, r->grid_w, names[i], sizeof names[i]);
        for (char *p = names[i]; *p; p++) *p = (char)toupper((unsigned char)*p);
        marks[i] = (vs_token_mark){ vs_rule_first(&rows, part, 1) + i, names[i] };
    }
    return prefix;
}

static vs_status draw_surface(const vs_study *s, const vs_surface_capture *c, const char *dir, const char *heatmaps,
                              size_t *pictures, bool *missing, vs_error *err) {
    const vs_surfaces_config *config = &s->config->surfaces;
    const size_t states = s->results.state_count, prefix = vs_graph_prefix(s->model->graph);
    const vs_row *row = &s->results.rows[c->row];
    const char *layer = row->layer;
    vs_surface_panel *panels = vs_calloc(states, sizeof *panels);
    vs_token_mark *marks = vs_calloc(prefix + 1, sizeof *marks);
    char(*names)[16] = vs_calloc(prefix + 1, sizeof *names);
    float *order = vs_calloc(c->tokens * c->channels, sizeof *order);
    char *stem = vs_format("%s/%s.%s", dir, layer, tensor_name(c->tensor));
    char *heading =
        vs_format("%s  |%s|  (%s)", layer, c->tensor == VS_SIDE_OUT ? "output" : "input", s->image_names[config->image]);
    char *caption = NULL;
    vs_status status = VS_OK;
    if (!panels || !marks || !names || !order || !stem || !heading) {
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for a surface");
        goto out;
    }
    size_t count = 0;
    for (size_t i = 0; i < states; i++)
        if (c->values[i]) fill_panel(s, c, i, order, &panels[count++]);
    caption = make_caption(s, c, panels);
    const vs_surface surface = { .heading = heading,
                                 .caption = caption,
                                 .tokens = c->tokens,
                                 .channels = c->channels,
                                 .panels = panels,
                                 .panel_count = count,
                                 .marks = marks,
                                 .mark_count = mark_prefix(&s->results, row, prefix, marks, names),
                                 .log_z = config->z == VS_Z_LOG };
    const vs_render_options options = { .png = config->png, .svg = config->svg };
    vs_render_outcome outcome = VS_RENDERED;
    status = vs_surface_draw(&surface, stem, &options, &outcome, err);
    if (status == VS_OK && outcome == VS_RENDER_NO_GNUPLOT)
        *missing = true;
    else if (status == VS_OK)
        tell(s, *pictures += (size_t)config->png + (size_t)config->svg);
    if (status == VS_OK) status = draw_heatmaps(s, c, &surface, heatmaps, pictures, err);
    if (status == VS_OK && config->npy) status = write_npy(s, c, stem, err);
out:
    free(panels);
    free(marks);
    free(names);
    free(order);
    free(stem);
    free(heading);
    free(caption);
    return status;
}

/* names: of m's maps. maps/<file>.png, or <file>.fp16.png. */
static vs_status draw_map(const vs_study *s, const vs_map_capture *m, const char *const *names, size_t count, const char *path,
                          vs_error *err) {
    vs_map_panel *panels = vs_calloc(2 + count, sizeof *panels);
    if (!panels) return vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    size_t n = 0;
    panels[n++] = (vs_map_panel){ .title = m->name, .rgb = m->rgb };
    if (m->labels) panels[n++] = (vs_map_panel){ .title = "label", .classes = m->labels };
    for (size_t i = 0; i < count; i++) panels[n++] = (vs_map_panel){ .title = names[i], .classes = m->maps[i] };
    const vs_map_sheet sheet = { m->width, m->height, panels, n, s->results.class_names, s->results.class_count };
    vs_status status = vs_map_draw(&sheet, path, err);
    free(panels);
    return status;
}

static vs_status draw_maps(const vs_study *s, const vs_evaluation *e, const char *const *names, size_t count, const char *suffix,
                           const char *dir, vs_cli_drawing *d, vs_error *err) {
    const char **images = vs_calloc(e->capture_count, sizeof *images);
    vs_names files = { 0 };
    vs_status status = images ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    for (size_t i = 0; images && i < e->capture_count; i++) images[i] = e->captures[i].name;
    if (status == VS_OK) status = vs_file_names(images, e->capture_count, &files, err);
    for (size_t i = 0; i < e->capture_count && status == VS_OK; i++) {
        char *path = vs_format("%s/%s%s.png", dir, files.items[i], suffix);
        status =
            path ? draw_map(s, &e->captures[i], names, count, path, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        if (status == VS_OK) tell(s, ++d->pictures);
        free(path);
    }
    vs_names_free(&files);
    free(images);
    return status;
}

/* Every image under fp32 and each policy of the half-precision diagnosis. */
static vs_status draw_half_maps(const vs_study *s, const char *dir, vs_cli_drawing *d, vs_error *err) {
    const vs_fp16_results *f = &s->results.fp16;
    char suffix[16];
    if (s->half_maps.capture_count == 0) return VS_OK;
    const char **names = vs_calloc(1 + f->policy_count, sizeof *names);
    if (!names) return vs_fail(err, VS_ERR_NOMEM, "no memory for a map");
    names[0] = "fp32";
    for (size_t i = 0; i < f->policy_count; i++) names[i + 1] = f->policies[i].name;
    snprintf(suffix, sizeof suffix, ".%s", f->format);
    vs_status status = draw_maps(s, &s->half_maps, names, 1 + f->policy_count, suffix, dir, d, err);
    free(names);
    return status;
}

static vs_status draw_charts(const vs_study *s, const char *dir, const char *half_dir, vs_cli_drawing *d, vs_error *err) {
    vs_chart_job job = { .results = &s->results,
                         .captures = s->captures,
                         .capture_count = s->capture_count,
                         .dir = dir,
                         .half_dir = half_dir,
                         .options = { .png = s->config->surfaces.png, .svg = s->config->surfaces.svg },
                         .stop = s->options.stop,
                         .progress = s->options.progress };
    const vs_status status = vs_charts_draw(&job, d->half_only, err);
    d->pictures += job.pictures;
    d->gnuplot_missing = d->gnuplot_missing || job.missing;
    return status;
}

static vs_status go_on(const vs_study *s, vs_error *err) {
    return vs_stopped(s->options.stop) ? vs_fail(err, VS_ERR_INTERRUPTED, "interrupted") : VS_OK;
}

enum { CHARTS, SURFACES, HEATMAPS, MAPS, HALF_CHARTS, HALF_MAPS, FOLDERS };

static vs_status make_folders(const vs_study *s, vs_cli_drawing *d, char *folders[FOLDERS], vs_error *err) {
    static const char *const names[FOLDERS] = { "charts", "surfaces", "heatmaps", "maps", "charts", "maps" };
    const bool whole = !d->half_only, surfaces = whole && s->capture_count > 0;
    const bool used[FOLDERS] = { whole,    surfaces,
                                 surfaces, whole && s->evaluation.capture_count > 0,
                                 true,     s->half_maps.capture_count > 0 };
    vs_status status = VS_OK;
    for (size_t i = 0; i < FOLDERS && status == VS_OK; i++) {
        folders[i] = vs_path_join(i < HALF_CHARTS ? d->dir : d->half_dir, names[i]);
        if (!folders[i])
            status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
        else if (used[i])
            status = vs_make_dirs(folders[i], err);
        if (!used[i] || strstr(d->folders, names[i])) continue;
        const size_t n = strlen(d->folders);
        snprintf(d->folders + n, sizeof d->folders - n, "%s%s", n ? ", " : "", names[i]);
    }
    return status;
}

static vs_status draw_whole(const vs_study *s, char *const folders[FOLDERS], vs_cli_drawing *d, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < s->capture_count && status == VS_OK; i++) {
        status = go_on(s, err);
        if (status == VS_OK)
            status =
                draw_surface(s, &s->captures[i], folders[SURFACES], folders[HEATMAPS], &d->pictures, &d->gnuplot_missing, err);
    }
    if (status == VS_OK && s->evaluation.capture_count)
        status = draw_maps(s, &s->evaluation, s->results.state_names, s->results.state_count, "", folders[MAPS], d, err);
    return status;
}

vs_status vs_cli_draw(const vs_study *s, vs_cli_drawing *d, vs_error *err) {
    char *folders[FOLDERS] = { NULL };
    vs_status status = make_folders(s, d, folders, err);
    if (status == VS_OK) status = draw_charts(s, folders[CHARTS], folders[HALF_CHARTS], d, err);
    if (status == VS_OK && !d->half_only) status = draw_whole(s, folders, d, err);
    if (status == VS_OK) status = draw_half_maps(s, folders[HALF_MAPS], d, err);
    for (size_t i = 0; i < FOLDERS; i++) free(folders[i]);
    return status;
}
