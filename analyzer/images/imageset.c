#include "images/imageset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "images/image_notes.h"
#include "images/scenes.h"
#include "util/util.h"

static bool is_scenes(const vs_imageset *s) { return s->config->scenes.set; }

/* mmseg reads images with opencv, which turns them. */
bool vs_preprocess_turns(const vs_preprocess_config *p) {
    return p->orientation == VS_ORIENTATION_EXIF || (p->orientation == VS_ORIENTATION_AUTO && p->mmseg.set);
}

static int by_number(const void *a, const void *b) {
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* The first `count` of a seeded shuffle, back in their own order. */
static void sample_order(vs_imageset *s, size_t count, uint64_t seed) {
    vs_rng rng = { seed };
    for (size_t i = 0; i < count; i++) {
        const size_t j = i + (size_t)(vs_rng_next(&rng) % (uint64_t)(s->images - i)), t = s->order[i];
        s->order[i] = s->order[j];
        s->order[j] = t;
    }
    qsort(s->order, count, sizeof *s->order, by_number);
    s->images = count;
}

/* Every image's windows, from the sizes in the files' headers. */
static vs_status cut_windows(vs_imageset *s, vs_error *err) {
    const vs_preprocess_config *p = s->preprocess;
    size_t capacity = 0;
    s->count = 0;
    if (!(s->sizes = vs_calloc(s->images, sizeof *s->sizes))) return vs_fail(err, VS_ERR_NOMEM, "no memory for image sizes");
    for (size_t i = 0; i < s->images; i++) {
        vs_image_size *z = &s->sizes[i];
        const char *path = is_scenes(s) ? NULL : s->files.paths[s->order[i]];
        z->width = z->height = (size_t)s->config->scenes.size;
        vs_status status = path ? vs_image_read_size(path, vs_preprocess_turns(p), &z->width, &z->height, err) : VS_OK;
        if (status != VS_OK) return status;
        status = vs_window_scaled_size(p, z, err);
        if (status != VS_OK) {
            vs_error_prefix(err, "%s: ", path ? path : "scene");
            return status;
        }
        const size_t n = vs_windows_of(p, *z, i, NULL, 0);
        size_t all = 0;
        if (!vs_size_add(&all, s->count, n) || !vs_grow((void **)&s->windows, &capacity, all, sizeof *s->windows))
            return vs_fail(err, VS_ERR_NOMEM, "no memory for a list of windows");
        s->count += vs_windows_of(p, *z, i, s->windows + s->count, n);
    }
    return VS_OK;
}

const char *vs_imageset_path(const vs_imageset *s, size_t image) { return is_scenes(s) ? NULL : s->files.paths[s->order[image]]; }

/* ---- names and label maps: no two images may share one */

typedef struct place {
    const char *text; /* compared */
    size_t image;
} place;

static int by_text(const void *a, const void *b) {
    const place *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order ? order : (x->image > y->image) - (x->image < y->image);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Length of the folder, with its slash, that all images lie below. */
static size_t common_folder(const vs_imageset *s) {
    const char *first = vs_imageset_path(s, 0);
    size_t n = (size_t)(base_name(first) - first);
    for (size_t i = 1; i < s->images && n; i++) {
        const char *path = vs_imageset_path(s, i);
        size_t same = 0;
        while (same < n && path[same] == first[same]) same++;
        while (same && first[same - 1] != '/') same--;
        n = same;
    }
    return n;
}

static vs_status name_images(vs_imageset *s, place *places, vs_error *err) {
    s->name_at = vs_calloc(s->images, sizeof *s->name_at);
    if (!s->name_at) return vs_fail(err, VS_ERR_NOMEM, "no memory for the names of %zu images", s->images);
    for (size_t i = 0; i < s->images; i++) {
        const char *path = vs_imageset_path(s, i);
        places[i] = (place){ base_name(path), i };
        s->name_at[i] = (size_t)(places[i].text - path);
    }
    qsort(places, s->images, sizeof *places, by_text);
    const size_t common = common_folder(s);
    for (size_t i = 1; i < s->images; i++)
        if (strcmp(places[i - 1].text, places[i].text) == 0)
            s->name_at[places[i - 1].image] = s->name_at[places[i].image] = common;
    return VS_OK;
}

/* Of all images, not of those alone that are taken: an image without a map of its own must not get another's. */
static vs_status one_map_each(const vs_imageset *s, const vs_config *config, const char *what, char *const *maps, place *places,
                              vs_error *err) {
    const size_t all = s->files.count;
    for (size_t i = 0; i < all; i++) places[i] = (place){ maps[i], i };
    qsort(places, all, sizeof *places, by_text);
    for (size_t i = 1; i < all; i++)
        if (strcmp(places[i - 1].text, places[i].text) == 0 && access(places[i].text, F_OK) == 0)
            return vs_config_fail(config, s->config->mark, err, "data.%s: images '%s' and '%s' have one label map, %s", what,
                                  s->files.paths[places[i - 1].image], s->files.paths[places[i].image], places[i].text);
    return VS_OK;
}

static vs_status find_labels(vs_imageset *s, const vs_config *config, const char *what, vs_error *err) {
    const size_t all = s->files.count;
    place *places = vs_calloc(all, sizeof *places);
    char **maps = vs_calloc(all, sizeof *maps);
    s->label_paths = vs_calloc(s->images, sizeof *s->label_paths);
    vs_status status = places && maps && s->label_paths ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for %zu label maps", all);
    for (size_t i = 0; i < all && status == VS_OK; i++) status = vs_label_path(s->labels, s->files.paths[i], &maps[i], err);
    if (status == VS_OK) status = one_map_each(s, config, what, maps, places, err);
    for (size_t i = 0; i < s->images && status == VS_OK; i++) {
        s->label_paths[i] = maps[s->order[i]];
        maps[s->order[i]] = NULL;
    }
    for (size_t i = 0; maps && i < all; i++) free(maps[i]);
    free(maps);
    free(places);
    return status;
}

vs_status vs_imageset_list(vs_imageset *s, const vs_config *config, const vs_set_config *of, const char *what, vs_error *err) {
    *s = (vs_imageset){ .config = of, .preprocess = &config->data.preprocess };
    size_t all = 0;
    place *places = NULL;
    vs_status status = VS_OK;
    if (of->scenes.set) {
        all = (size_t)of->scenes.count;
    } else {
        status = vs_dataset_list(config, of, &s->files, &s->labels, err);
        if (status != VS_OK) {
            char where[1024];
            vs_error_prefix(err, "%s: data.%s: ", vs_config_place(config, of->mark, where, sizeof where), what);
            goto out;
        }
        all = s->files.count;
    }
    const size_t offset = (size_t)of->offset;
    s->images = all > offset ? all - offset : 0;
    if (of->count > 0 && (size_t)of->count < s->images) s->images = (size_t)of->count;
    if (s->images == 0) {
        status = vs_config_fail(config, of->mark, err, "data.%s is empty: %zu images, offset %zu", what, all, offset);
        goto out;
    }
    s->order = vs_calloc(s->images, sizeof *s->order);
    places = vs_calloc(s->images, sizeof *places);
    if (!s->order || !places) {
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for the list of %zu images", s->images);
        goto out;
    }
    for (size_t i = 0; i < s->images; i++) s->order[i] = offset + i;
    if (of->sample.set && (size_t)of->sample.count < s->images) sample_order(s, (size_t)of->sample.count, of->sample.seed);
    s->count = s->images;
    if (!of->scenes.set) status = name_images(s, places, err);
    if (status == VS_OK && s->labels && !of->scenes.set) status = find_labels(s, config, what, err);
out:
    free(places);
    if (status != VS_OK) vs_imageset_release(s);
    return status;
}

vs_status vs_imageset_open(vs_imageset *s, const vs_config *config, const vs_set_config *of, const char *what, size_t patch,
                           vs_error *err) {
    vs_status status = vs_imageset_list(s, config, of, what, err);
    if (status != VS_OK) return status;
    s->patch = patch;
    const vs_preprocess_config *p = s->preprocess;
    if (p->tiles.set && (size_t)p->tiles.short_side % patch)
        status = vs_config_fail(config, p->mark, err, "data.preprocess.tiles: short %lld is not a multiple of the patch size %zu",
                                (long long)p->tiles.short_side, patch);
    if (status == VS_OK && (p->mmseg.set || p->tiles.set)) status = cut_windows(s, err);
    if (status != VS_OK) vs_imageset_release(s);
    return status;
}

void vs_imageset_release(vs_imageset *s) {
    for (size_t i = 0; s->label_paths && i < s->images; i++) free(s->label_paths[i]);
    vs_filelist_release(&s->files);
    free(s->labels);
    free(s->label_paths);
    free(s->name_at);
    free(s->order);
    free(s->windows);
    free(s->sizes);
    *s = (vs_imageset){ 0 };
}

static vs_status load(const vs_imageset *s, size_t index, vs_image *image, uint8_t *scene_labels, vs_error *err) {
    const size_t at = s->order[index];
    if (!is_scenes(s)) {
        vs_image_info info;
        const char *path = s->files.paths[at];
        vs_status status = vs_image_read_as(image, path, vs_preprocess_turns(s->preprocess), &info, err);
        if (status == VS_OK && s->notes) vs_image_notes_look(s->notes, path, &info, vs_preprocess_turns(s->preprocess));
        return status;
    }
    const size_t size = (size_t)s->config->scenes.size;
    vs_status status = vs_image_create(image, size, size, 3, err);
    return status == VS_OK ? vs_scene_render(s->config->scenes.seed, at, size, image->pixels, scene_labels, err) : status;
}

/* The message of a failure that knows no file, with the image's name in front. */
static vs_status named(const vs_imageset *s, size_t image, vs_status status, vs_error *err) {
    if (status != VS_OK && is_scenes(s)) vs_error_prefix(err, "scene %zu: ", s->order[image]);
    if (status != VS_OK && !is_scenes(s)) vs_error_prefix(err, "%s: ", s->files.paths[s->order[image]]);
    return status;
}

/* Resize by the short side and centre crop (docs/study.md 10). */
static vs_status fit(const vs_preprocess_config *p, vs_image *image, vs_error *err) {
    vs_status status = VS_OK;
    if (p->resize.short_side > 0) {
        size_t w = 0, h = 0;
        vs_image_short_side(image->width, image->height, (size_t)p->resize.short_side, &w, &h);
        vs_image resized = { 0 };
        status = vs_image_resize(image, w, h, p->resize.filter == VS_RESIZE_BICUBIC ? VS_FILTER_BICUBIC : VS_FILTER_BILINEAR,
                                 p->resize.antialias, &resized, err);
        if (status != VS_OK) return status;
        vs_image_release(image);
        *image = resized;
    }
    if (p->crop_center > 0) {
        vs_image cropped = { 0 };
        status = vs_image_crop_center(image, (size_t)p->crop_center, (size_t)p->crop_center, &cropped, err);
        if (status != VS_OK) return status;
        vs_image_release(image);
        *image = cropped;
    }
    return VS_OK;
}

static vs_status check_size(const vs_imageset *s, const vs_image *image, vs_error *err) {
    const size_t p = s->patch;
    if (image->width % p == 0 && image->height % p == 0 && image->width && image->height) return VS_OK;
    const size_t w = image->width < p ? p : (image->width + p / 2) / p * p,
                 h = image->height < p ? p : (image->height + p / 2) / p * p;
    return vs_fail(err, VS_ERR_CONFIG,
                   "image size %zux%zu is not a multiple of the patch size %zu; the nearest is %zux%zu (use "
                   "data.preprocess.resize and crop)",
                   image->width, image->height, p, w, h);
}

static vs_status scene_labels(const vs_imageset *s, size_t image, uint8_t *labels, vs_error *err) {
    vs_image rgb = { 0 };
    vs_status status = load(s, image, &rgb, labels, err);
    vs_image_release(&rgb);
    return status;
}

/* A model whose file says what its classes are called in label maps: others are ignored, as it was not trained on them. */
static void classes_of_ids(const vs_imageset *s, uint8_t *labels, size_t pixels) {
    uint8_t class_of[256];
    if (!s->class_ids) return;
    memset(class_of, 255, sizeof class_of);
    for (size_t k = 0; k < s->class_count && k < 255; k++)
        if (s->class_ids[k] >= 0 && s->class_ids[k] < 255) class_of[s->class_ids[k]] = (uint8_t)k;
    for (size_t i = 0; i < pixels; i++) labels[i] = class_of[labels[i]];
}

vs_status vs_imageset_labels(const vs_imageset *s, size_t image, size_t width, size_t height, uint8_t **out, vs_error *err) {
    vs_image labels = { 0 };
    *out = NULL;
    if (is_scenes(s)) {
        *out = vs_calloc(width * height, 1);
        return *out ? scene_labels(s, image, *out, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a scene");
    }
    if (!s->label_paths) return VS_OK;
    const char *path = s->label_paths[image];
    vs_status status = vs_label_read(&labels, path, err);
    if (status == VS_OK && (labels.width != width || labels.height != height))
        status = vs_fail(err, VS_ERR_SHAPE, "%s: the label map is %zux%zu but its image is %zux%zu%s", path, labels.width,
                         labels.height, width, height, s->windows ? "" : " after preprocessing");
    if (status == VS_OK) {
        vs_dataset_classes_of(s->config->protocol, labels.pixels, width * height);
        if (s->config->protocol == VS_LABELS_PLAIN) classes_of_ids(s, labels.pixels, width * height);
        *out = labels.pixels;
        labels.pixels = NULL;
    }
    vs_image_release(&labels);
    return status;
}

static vs_status normalise(const vs_preprocess_config *p, vs_sample *sample, vs_error *err) {
    const vs_image *im = &sample->image;
    const size_t n = im->width * im->height;
    sample->pixels = vs_calloc(3 * n, sizeof *sample->pixels);
    if (!sample->pixels) return vs_fail(err, VS_ERR_NOMEM, "no memory for an image of %zux%zu", im->width, im->height);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < n; i++)
            sample->pixels[c * n + i] = (float)(((double)im->pixels[3 * i + c] - p->mean[c]) / p->std[c]);
    return VS_OK;
}

static vs_status cut_window(const vs_imageset *s, const vs_image *image, const vs_window *w, vs_sample *sample, vs_error *err) {
    const vs_image_size *z = &s->sizes[w->image];
    if (s->preprocess->tiles.set) return vs_tile_cut(s->preprocess, image, *z, w, &sample->image, &sample->pixels, err);
    vs_image scaled = { 0 };
    vs_status status = vs_image_resize_cv(image, z->scaled_width, z->scaled_height, &scaled, err);
    if (status == VS_OK) status = vs_window_cut(s->preprocess, &scaled, w, s->patch, &sample->image, &sample->pixels, err);
    vs_image_release(&scaled);
    return status;
}

static vs_status get_window(const vs_imageset *s, const vs_window *w, vs_sample *sample, vs_error *err) {
    vs_image image = { 0 };
    const vs_image_size *z = &s->sizes[w->image];
    vs_status status = load(s, w->image, &image, NULL, err);
    if (status == VS_OK && (image.width != z->width || image.height != z->height))
        status = vs_fail(err, VS_ERR_FORMAT, "%s: its header says %zux%zu, but it is %zux%zu", s->files.paths[s->order[w->image]],
                         z->width, z->height, image.width, image.height);
    if (status == VS_OK) status = named(s, w->image, cut_window(s, &image, w, sample, err), err);
    vs_image_release(&image);
    return status;
}

vs_status vs_imageset_get(const vs_imageset *s, size_t index, vs_sample *sample, vs_error *err) {
    *sample = (vs_sample){ 0 };
    if (s->windows) return get_window(s, &s->windows[index], sample, err);
    const bool scenes = is_scenes(s);
    vs_status status = VS_OK;
    if (scenes) {
        const size_t size = (size_t)s->config->scenes.size;
        sample->labels = vs_calloc(size * size, 1);
        if (!sample->labels) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a scene");
    }
    if (status == VS_OK) status = load(s, index, &sample->image, sample->labels, err);
    const size_t w = sample->image.width, h = sample->image.height;
    if (status == VS_OK) status = named(s, index, fit(s->preprocess, &sample->image, err), err);
    if (status == VS_OK) status = named(s, index, check_size(s, &sample->image, err), err);
    if (status == VS_OK && scenes && (w != sample->image.width || h != sample->image.height)) {
        free(sample->labels); /* a resized scene has no labels of its own */
        sample->labels = NULL;
    }
    if (status == VS_OK && !scenes)
        status = vs_imageset_labels(s, index, sample->image.width, sample->image.height, &sample->labels, err);
    if (status == VS_OK) status = named(s, index, normalise(s->preprocess, sample, err), err);
    if (status != VS_OK) vs_sample_release(sample);
    return status;
}

void vs_sample_release(vs_sample *sample) {
    vs_image_release(&sample->image);
    free(sample->pixels);
    free(sample->labels);
    *sample = (vs_sample){ 0 };
}

char *vs_imageset_image_name(const vs_imageset *s, size_t image) {
    if (is_scenes(s)) return vs_format("scene %zu", s->order[image]);
    return vs_strdup(vs_imageset_path(s, image) + s->name_at[image]);
}

char *vs_imageset_name(const vs_imageset *s, size_t index) {
    const vs_window *w = s->windows ? &s->windows[index] : NULL;
    char *image = vs_imageset_image_name(s, w ? w->image : index);
    if (!w || w->count == 1 || !image) return image;
    char *name = vs_format("%s (%zu,%zu)", image, w->x, w->y);
    free(image);
    return name;
}

vs_status vs_imageset_image(const vs_imageset *s, size_t image, vs_image *out, vs_error *err) {
    *out = (vs_image){ 0 };
    return load(s, image, out, NULL, err);
}

vs_status vs_imageset_hash(const vs_imageset *s, size_t at, uint8_t digest[32], vs_error *err) {
    vs_image image = { 0 };
    vs_status status = load(s, at, &image, NULL, err);
    if (status == VS_OK) {
        vs_sha256 sha;
        vs_sha256_init(&sha);
        vs_sha256_update(&sha, image.pixels, image.width * image.height * image.channels);
        vs_sha256_final(&sha, digest);
    }
    vs_image_release(&image);
    return status;
}

vs_status vs_imageset_check_overlap(const vs_config *config, const vs_imageset *calibration, const vs_imageset *analysis,
                                    vs_error *err) {
    uint8_t(*seen)[32] = vs_calloc(calibration->images, sizeof *seen);
    if (!seen) return vs_fail(err, VS_ERR_NOMEM, "no memory for image hashes");
    vs_status status = VS_OK;
    for (size_t i = 0; i < calibration->images && status == VS_OK; i++) status = vs_imageset_hash(calibration, i, seen[i], err);
    for (size_t i = 0; i < analysis->images && status == VS_OK; i++) {
        uint8_t digest[32];
        status = vs_imageset_hash(analysis, i, digest, err);
        for (size_t j = 0; j < calibration->images && status == VS_OK; j++) {
            if (memcmp(digest, seen[j], sizeof digest) != 0) continue;
            char *name = vs_imageset_image_name(analysis, i);
            status = vs_config_fail(config, analysis->config->mark, err,
                                    "analysis image '%s' is also a calibration image; set data.allow_overlap: true to allow it",
                                    name ? name : "?");
            free(name);
        }
    }
    free(seen);
    return status;
}
