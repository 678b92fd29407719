#include "study/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "study/layer_name.h"
#include "util/util.h"

enum { PLACE = 1024, SUGGESTION = 256, IGNORED = 255 };

/* ---- sizes */

static const char *file_of(const vs_imageset *s, size_t image) { return s->files.count ? s->files.paths[s->order[image]] : NULL; }

/* Rows and columns of image `image` after resize and crop. */
static vs_status prepared_size(const vs_imageset *s, size_t image, size_t *width, size_t *height, vs_error *err) {
    const vs_preprocess_config *p = s->preprocess;
    const char *path = file_of(s, image);
    *width = *height = (size_t)s->config->scenes.size;
    vs_status status = path ? vs_image_read_size(path, vs_preprocess_turns(p), width, height, err) : VS_OK;
    if (status != VS_OK) return status;
    if (p->resize.short_side > 0) vs_image_short_side(*width, *height, (size_t)p->resize.short_side, width, height);
    if (p->crop_center <= 0) return VS_OK;
    const size_t crop = (size_t)p->crop_center;
    if (*width < crop || *height < crop)
        return vs_fail(err, VS_ERR_CONFIG, "%s%san image of %zux%zu%s is smaller than the crop of %zux%zu (data.preprocess.crop)",
                       path ? path : "", path ? ": " : "", *width, *height, p->resize.short_side > 0 ? " after resize" : "", crop,
                       crop);
    *width = *height = crop;
    return VS_OK;
}

static size_t nearest_multiple(size_t side, size_t patch) { return side < patch ? patch : (side + patch / 2) / patch * patch; }

static vs_status wrong_grid(const vs_imageset *s, const char *what, size_t image, size_t w, size_t h, vs_error *err) {
    const char *path = file_of(s, image);
    const vs_preprocess_config *p = s->preprocess;
    const size_t near_w = nearest_multiple(w, s->patch), near_h = nearest_multiple(h, s->patch);
    char remedy[160];
    if (p->crop_center > 0)
        snprintf(remedy, sizeof remedy, "set data.preprocess.crop: {center: %zu}", near_w);
    else if (!path && p->resize.short_side == 0)
        snprintf(remedy, sizeof remedy, "set data.%s.scenes.size: %zu", what, near_w);
    else if (w < s->patch || h < s->patch)
        snprintf(remedy, sizeof remedy, "use data.preprocess.resize and crop, such as resize: {short: %zu}", s->patch);
    else
        snprintf(remedy, sizeof remedy, "use data.preprocess.resize and crop, such as crop: {center: %zu}",
                 (w < h ? w : h) / s->patch * s->patch);
    return vs_fail(err, VS_ERR_CONFIG,
                   "%s%simage size %zux%zu is not a multiple of the patch size %zu; the nearest is %zux%zu (%s)",
                   path ? path : "", path ? ": " : "", w, h, s->patch, near_w, near_h, remedy);
}

vs_status vs_check_sizes(const vs_config *config, const vs_imageset *s, const char *what, vs_error *err) {
    vs_status status = VS_OK;
    const size_t images = s->files.count || s->images == 0 ? s->images : 1; /* scenes are alike */
    if (s->windows) return VS_OK;                                           /* cut to fit */
    for (size_t i = 0; i < images && status == VS_OK; i++) {
        size_t w = 0, h = 0;
        status = prepared_size(s, i, &w, &h, err);
        if (status == VS_OK && (w % s->patch || h % s->patch)) status = wrong_grid(s, what, i, w, h, err);
    }
    char place[PLACE];
    if (status == VS_ERR_CONFIG)
        vs_error_prefix(err, "%s: data.%s: ", vs_config_place(config, s->config->mark, place, sizeof place), what);
    return status;
}

/* ---- labels */

static vs_status prefixed(const vs_config *c, vs_status status, vs_error *err) {
    char place[PLACE];
    vs_mark mark = vs_config_mark(c, "data.evaluation.labels");
    if (mark.line == 0 && mark.column == 0) mark = c->data.evaluation.mark; /* a data set that knows its own */
    vs_error_prefix(err, "%s: data.evaluation.labels: ", vs_config_place(c, mark, place, sizeof place));
    return status;
}

static vs_status check_head(const vs_config *c, const vs_arch *a, vs_error *err) {
    if (vs_arch_gives_maps(a)) return VS_OK;
    if (a->head == VS_HEAD_NONE)
        return prefixed(
            c,
            vs_fail(err, VS_ERR_CONFIG,
                    "%s has no head, so nothing predicts what labels could be held against: give model.head, or leave "
                    "the labels out (states are then compared at the model's output)",
                    a->name),
            err);
    return prefixed(
        c,
        vs_fail(err, VS_ERR_CONFIG,
                "the head of %s gives one class an image, not a map: leave the labels out (agreement with fp32 is then "
                "reported)",
                a->name),
        err);
}

static vs_status check_files(const vs_config *c, const vs_imageset *s, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < s->images && status == VS_OK; i++) {
        const char *path = s->label_paths[i];
        if (access(path, R_OK) != 0) {
            const int code = errno;
            status = vs_fail(err, code == ENOENT || code == ENOTDIR ? VS_ERR_NOTFOUND : VS_ERR_IO, "%s: %s (the label map of %s)",
                             path, strerror(code), file_of(s, i));
            (void)prefixed(c, status, err);
        }
    }
    return status;
}

/* The classes of image `image`; a first pair of two sizes is the configuration's fault where it resizes images. */
static vs_status read_labels(const vs_imageset *s, size_t image, uint8_t **labels, size_t *pixels, vs_error *err) {
    const vs_preprocess_config *p = s->preprocess;
    size_t w = 0, h = 0;
    vs_status status = VS_OK;
    *labels = NULL;
    if (s->windows) {
        w = s->sizes[image].width;
        h = s->sizes[image].height;
    } else
        status = prepared_size(s, image, &w, &h, err);
    if (status == VS_OK) status = vs_imageset_labels(s, image, w, h, labels, err);
    *pixels = w * h;
    if (status != VS_ERR_SHAPE || s->windows || (p->resize.short_side == 0 && p->crop_center == 0)) return status;
    if (err) {
        const size_t used = strlen(err->message);
        snprintf(err->message + used, sizeof err->message - used,
                 "; label maps are neither resized nor cropped: make them of that size, or use data.preprocess.mmseg");
    }
    return VS_ERR_CONFIG;
}

/* Pixels of the head's classes, and one of the values that are neither such a class nor ignored (IGNORED: there is none). */
static size_t count_known(const uint8_t *labels, size_t pixels, size_t classes, uint8_t *other) {
    size_t known = 0;
    *other = IGNORED;
    for (size_t i = 0; i < pixels; i++) {
        known += labels[i] < classes && labels[i] != IGNORED;
        if (labels[i] >= classes && labels[i] != IGNORED) *other = labels[i];
    }
    return known;
}

static vs_status no_class(const vs_config *c, const vs_arch *a, const vs_imageset *s, uint8_t other, vs_error *err) {
    char seen[64] = "all are ignored";
    if (other != IGNORED) snprintf(seen, sizeof seen, "values such as %d are there", other);
    return prefixed(
        c,
        vs_fail(err, VS_ERR_CONFIG,
                "no pixel of the %zu label map%s is of one of the %zu classes of %s (0 to %zu; 255 is ignored): %s; is "
                "it the right folder, does data.evaluation.protocol fit?",
                s->images, s->images == 1 ? "" : "s", a->classes, a->name, a->classes - 1, seen),
        err);
}

static void warn_values(const vs_progress *progress, const vs_arch *a, const char *image, uint8_t other) {
    char text[512];
    if (!progress->warn) return;
    snprintf(text, sizeof text,
             "the labels of %s hold values beyond the %zu classes of %s, such as %d: such pixels count as wrong; does "
             "data.evaluation.protocol fit?",
             image, a->classes, a->name, other);
    progress->warn(progress->context, text);
}

vs_status vs_check_labels(const vs_config *c, const vs_arch *a, const vs_imageset *s, const vs_progress *progress,
                          vs_error *err) {
    if (!s->label_paths) return VS_OK;
    uint8_t other = IGNORED;
    size_t known = 0;
    vs_status status = check_head(c, a, err);
    if (status == VS_OK) status = check_files(c, s, err);
    for (size_t i = 0; i < s->images && status == VS_OK && known == 0; i++) { /* mostly the first will do */
        uint8_t *labels = NULL, one = IGNORED;
        size_t pixels = 0;
        status = read_labels(s, i, &labels, &pixels, err);
        if (status == VS_OK)
            known = count_known(labels, pixels, a->classes, &one);
        else
            (void)prefixed(c, status, err);
        if (one != IGNORED) other = one;
        if (known && one != IGNORED) warn_values(progress, a, file_of(s, i), one);
        free(labels);
    }
    return status == VS_OK && known == 0 ? no_class(c, a, s, other, err) : status;
}

/* ---- the plan */

static vs_status check_calibration(const vs_study *s, vs_error *err) {
    const vs_config *c = s->config;
    const vs_plant_config *first = vs_plant_needs_images(c);
    if (s->calibration_set.count) return VS_OK;
    if (first)
        return vs_config_fail(c, first->mark, err, "planting kind %s needs data.calibration: it looks at those images",
                              vs_plant_kind_name(first->kind));
    if (s->options.purpose != VS_FOR_FLOAT && vs_study_needs_calibration(c))
        return vs_fail(err, VS_ERR_CONFIG, "%s: quantized states need data.calibration", c->path);
    return VS_OK;
}

static vs_status check_surface_image(const vs_study *s, vs_error *err) {
    const vs_config *c = s->config;
    const size_t images = vs_study_analysis_images(s);
    if (c->surfaces.layers.count == 0 || !c->data.analysis.set || (size_t)c->surfaces.image < images) return VS_OK;
    return vs_config_fail(c, vs_config_mark(c, "surfaces.image"), err, "surfaces.image is %lld but only %zu image%s analyzed",
                          (long long)c->surfaces.image, images, images == 1 ? " is" : "s are");
}

vs_status vs_check_plan(const vs_study *s, vs_error *err) {
    vs_status status = check_calibration(s, err);
    if (status == VS_OK && s->options.purpose == VS_FOR_ALL) status = check_surface_image(s, err);
    return status;
}

/* ---- layers */

static bool is_row(const vs_study *s, const vs_point *p) { return vs_recipe_quantizes(&s->config->recipe, p->kind); }

static vs_status no_such_layer(const vs_study *s, const char *pattern, vs_mark mark, vs_error *err) {
    const vs_point **rows = vs_calloc(s->point_count, sizeof(vs_point *));
    char place[PLACE], near[SUGGESTION] = "";
    size_t count = 0;
    for (size_t i = 0; rows && i < s->point_count; i++)
        if (is_row(s, &s->points[i])) rows[count++] = &s->points[i];
    if (rows) vs_layer_suggest(s->model, rows, count, pattern, near, sizeof near);
    free(rows);
    return vs_fail(err, VS_ERR_NOTFOUND, "%s: '%s' matches no layer of %s that the recipe quantizes%s%s%s",
                   vs_config_place(s->config, mark, place, sizeof place), pattern, s->model->arch.name,
                   *near ? "; the nearest is '" : "", near, *near ? "'" : "; 'vitscope layers' lists them");
}

static vs_status check_patterns(const vs_study *s, const vs_string_list *patterns, vs_error *err) {
    for (size_t i = 0; i < patterns->count; i++) {
        bool hit = false;
        for (size_t p = 0; p < s->point_count && !hit; p++)
            hit = is_row(s, &s->points[p]) && vs_layer_matches(s->model, &s->points[p], "", patterns->items[i]);
        if (!hit) return no_such_layer(s, patterns->items[i], patterns->marks[i], err);
    }
    return VS_OK;
}

vs_status vs_check_layers(const vs_study *s, vs_error *err) {
    const vs_config *c = s->config;
    const vs_string_list *drawn = &c->surfaces.layers;
    vs_status status = check_patterns(s, &c->analyze.layers, err);
    if (status == VS_OK) status = check_patterns(s, drawn, err);
    for (size_t i = 0; i < drawn->count && status == VS_OK; i++) {
        bool hit = false;
        for (size_t p = 0; p < s->point_count && !hit; p++)
            hit = is_row(s, &s->points[p]) && vs_layer_listed(s->model, &s->points[p], &c->analyze.layers) &&
                  vs_layer_matches(s->model, &s->points[p], "", drawn->items[i]);
        if (!hit)
            status =
                vs_config_fail(c, drawn->marks[i], err, "surfaces.layers: '%s' is not among analyze.layers", drawn->items[i]);
    }
    return status;
}
