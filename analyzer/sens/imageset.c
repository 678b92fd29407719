#include "imageset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scenes.h"
#include "util.h"

static bool is_scenes(const vs_imageset *s) { return s->config->scenes.set; }

/* The first `count` of a seeded shuffle, back in their own order. */
static void sample_order(vs_imageset *s, size_t count, uint64_t seed) {
    vs_rng rng = { seed };
    for (size_t i = 0; i < count; i++) {
        const size_t j = i + (size_t)(vs_rng_next(&rng) % (uint64_t)(s->count - i)), t = s->order[i];
        s->order[i] = s->order[j];
        s->order[j] = t;
    }
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && s->order[j - 1] > s->order[j]; j--) {
            const size_t t = s->order[j];
            s->order[j] = s->order[j - 1];
            s->order[j - 1] = t;
        }
    s->count = count;
}

vs_status vs_imageset_open(vs_imageset *s, const vs_config *config, const vs_set_config *of, const char *what, size_t patch,
                           vs_error *err) {
    *s = (vs_imageset){ .config = of, .preprocess = &config->data.preprocess, .patch = patch };
    size_t all = 0;
    vs_status status = VS_OK;
    if (of->scenes.set) {
        all = (size_t)of->scenes.count;
    } else {
        status = vs_filelist_make(&s->files, of->images, err);
        if (status != VS_OK) {
            char place[1024];
            vs_error_prefix(err, "%s: data.%s: ", vs_config_place(config, of->mark, place, sizeof place), what);
            goto out;
        }
        all = s->files.count;
    }
    const size_t offset = (size_t)of->offset;
    s->count = all > offset ? all - offset : 0;
    if (of->count > 0 && (size_t)of->count < s->count) s->count = (size_t)of->count;
    if (s->count == 0) {
        status = vs_config_fail(config, of->mark, err, "data.%s is empty: %zu images, offset %zu", what, all, offset);
        goto out;
    }
    s->order = vs_calloc(s->count, sizeof *s->order);
    if (!s->order) {
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for the list of %zu images", s->count);
        goto out;
    }
    for (size_t i = 0; i < s->count; i++) s->order[i] = offset + i;
    if (of->sample.set && (size_t)of->sample.count < s->count) sample_order(s, (size_t)of->sample.count, of->sample.seed);
out:
    if (status != VS_OK) vs_imageset_release(s);
    return status;
}

void vs_imageset_release(vs_imageset *s) {
    vs_filelist_release(&s->files);
    free(s->order);
    *s = (vs_imageset){ 0 };
}

static vs_status load(const vs_imageset *s, size_t index, vs_image *image, uint8_t *scene_labels, vs_error *err) {
    const size_t at = s->order[index];
    if (!is_scenes(s)) return vs_image_read(image, s->files.paths[at], err);
    const size_t size = (size_t)s->config->scenes.size;
    vs_status status = vs_image_create(image, size, size, 3, err);
    return status == VS_OK ? vs_scene_render(s->config->scenes.seed, at, size, image->pixels, scene_labels, err) : status;
}

/* Resize by the short side and centre crop (study.md section 10). */
static vs_status fit(const vs_preprocess_config *p, vs_image *image, vs_error *err) {
    vs_status status = VS_OK;
    if (p->resize.short_side > 0) {
        const double short_side = (double)(image->width < image->height ? image->width : image->height),
                     to = (double)p->resize.short_side;
        /* torchvision Resize(int): the long side is truncated */
        const size_t w = image->width <= image->height ? (size_t)to : (size_t)(to * (double)image->width / short_side);
        const size_t h = image->height <= image->width ? (size_t)to : (size_t)(to * (double)image->height / short_side);
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

static vs_status read_labels(const vs_imageset *s, size_t index, vs_sample *sample, vs_error *err) {
    char *path = NULL;
    vs_image labels = { 0 };
    vs_status status = vs_label_path(s->config->labels, s->files.paths[s->order[index]], &path, err);
    if (status == VS_OK) status = vs_label_read(&labels, path, err);
    if (status == VS_OK && (labels.width != sample->image.width || labels.height != sample->image.height))
        status = vs_fail(err, VS_ERR_SHAPE, "%s: the label map is %zux%zu but its image is %zux%zu after preprocessing", path,
                         labels.width, labels.height, sample->image.width, sample->image.height);
    if (status == VS_OK) {
        sample->labels = labels.pixels;
        labels.pixels = NULL;
    }
    vs_image_release(&labels);
    free(path);
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

vs_status vs_imageset_get(const vs_imageset *s, size_t index, vs_sample *sample, vs_error *err) {
    *sample = (vs_sample){ 0 };
    const bool scenes = is_scenes(s);
    vs_status status = VS_OK;
    if (scenes) {
        const size_t size = (size_t)s->config->scenes.size;
        sample->labels = vs_calloc(size * size, 1);
        if (!sample->labels) status = vs_fail(err, VS_ERR_NOMEM, "no memory for a scene");
    }
    if (status == VS_OK) status = load(s, index, &sample->image, sample->labels, err);
    const size_t w = sample->image.width, h = sample->image.height;
    if (status == VS_OK) status = fit(s->preprocess, &sample->image, err);
    if (status == VS_OK) status = check_size(s, &sample->image, err);
    if (status == VS_OK && scenes && (w != sample->image.width || h != sample->image.height)) {
        free(sample->labels); /* a resized scene has no labels of its own */
        sample->labels = NULL;
    }
    if (status == VS_OK && !scenes && s->config->labels) status = read_labels(s, index, sample, err);
    if (status == VS_OK) status = normalise(s->preprocess, sample, err);
    if (status == VS_ERR_CONFIG && !scenes) vs_error_prefix(err, "%s: ", s->files.paths[s->order[index]]);
    if (status != VS_OK) vs_sample_release(sample);
    return status;
}

void vs_sample_release(vs_sample *sample) {
    vs_image_release(&sample->image);
    free(sample->pixels);
    free(sample->labels);
    *sample = (vs_sample){ 0 };
}

char *vs_imageset_name(const vs_imageset *s, size_t index) {
    if (is_scenes(s)) return vs_format("scene %zu", s->order[index]);
    const char *path = s->files.paths[s->order[index]], *slash = strrchr(path, '/');
    return vs_strdup(slash ? slash + 1 : path);
}

vs_status vs_imageset_hash(const vs_imageset *s, size_t index, uint8_t digest[32], vs_error *err) {
    vs_image image = { 0 };
    vs_status status = load(s, index, &image, NULL, err);
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
    uint8_t(*seen)[32] = vs_calloc(calibration->count, sizeof *seen);
    if (!seen) return vs_fail(err, VS_ERR_NOMEM, "no memory for image hashes");
    vs_status status = VS_OK;
    for (size_t i = 0; i < calibration->count && status == VS_OK; i++) status = vs_imageset_hash(calibration, i, seen[i], err);
    for (size_t i = 0; i < analysis->count && status == VS_OK; i++) {
        uint8_t digest[32];
        status = vs_imageset_hash(analysis, i, digest, err);
        for (size_t j = 0; j < calibration->count && status == VS_OK; j++) {
            if (memcmp(digest, seen[j], sizeof digest) != 0) continue;
            char *name = vs_imageset_name(analysis, i);
            status = vs_config_fail(config, analysis->config->mark, err,
                                    "analysis image '%s' is also a calibration image; set data.allow_overlap: true to allow it",
                                    name ? name : "?");
            free(name);
        }
    }
    free(seen);
    return status;
}
