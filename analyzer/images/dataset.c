#include "images/dataset.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/util.h"

static const size_t max_split = (size_t)16 << 20;

/* What is where below the folder that a data set unpacks to. */
typedef struct dataset {
    const char *name, *images, *labels, *split, *published;
    size_t classes;
} dataset;

static const dataset datasets[] = {
    [VS_LABELS_PLAIN] = { .name = "labels" },
    [VS_LABELS_ADE20K] = { "ade20k", "images/validation", "annotations/validation", NULL, "ADEChallengeData2016", 150 },
    [VS_LABELS_VOC] = { "voc", "JPEGImages", "SegmentationClass", "ImageSets/Segmentation/val.txt", "VOCdevkit/VOC2012", 21 },
};

const char *vs_dataset_name(vs_label_protocol protocol) { return datasets[protocol].name; }
size_t vs_dataset_class_count(vs_label_protocol protocol) { return datasets[protocol].classes; }

void vs_dataset_classes_of(vs_label_protocol protocol, uint8_t *labels, size_t count) {
    if (protocol != VS_LABELS_ADE20K) return;
    for (size_t i = 0; i < count; i++) { /* 0 becomes 255, 255 (then 254) too */
        const uint8_t v = labels[i];
        labels[i] = v == 0 || v == 255 ? 255 : (uint8_t)(v - 1);
    }
}

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool is_there(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The split lists stems, a line each; it becomes a list of images as vs_filelist_make knows it. */
static vs_status list_split(const char *images, const char *split, vs_filelist *files, vs_error *err) {
    char *text = NULL;
    size_t size = 0;
    vs_status status = vs_read_file(split, max_split, &text, &size, err);
    for (char *line = text; status == VS_OK && line && *line;) {
        char *next = line + strcspn(line, "\n");
        if (*next) *next++ = '\0';
        line[strcspn(line, " \t\r")] = '\0';
        char *path = *line ? vs_format("%s/%s.jpg", images, line) : NULL;
        if (*line && (!path || !vs_grow((void **)&files->paths, &files->capacity, files->count + 1, sizeof *files->paths)))
            status = vs_fail(err, VS_ERR_NOMEM, "no memory for a list of images");
        else if (path)
            files->paths[files->count++] = path;
        if (status != VS_OK) free(path);
        line = next;
    }
    free(text);
    if (status == VS_OK && files->count == 0) status = vs_fail(err, VS_ERR_FORMAT, "%s: no images listed", split);
    if (status == VS_OK) qsort(files->paths, files->count, sizeof *files->paths, by_bytes);
    if (status != VS_OK) vs_filelist_release(files);
    return status;
}

static vs_status list_images(const vs_config *config, const char *source, vs_filelist *files, vs_error *err) {
    const char *skip[3];
    size_t count = 0;
    const vs_set_config *const sets[] = { &config->data.calibration, &config->data.analysis, &config->data.evaluation };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (sets[i]->labels) skip[count++] = sets[i]->labels;
    return vs_filelist_make(files, source, skip, count, err);
}

static vs_status list_root(const vs_config *config, const dataset *d, const char *root, vs_filelist *files, char **labels,
                           vs_error *err) {
    char *images = vs_path_join(root, d->images), *split = d->split ? vs_path_join(root, d->split) : NULL;
    *labels = vs_path_join(root, d->labels);
    vs_status status = images && *labels && (split || !d->split) ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK && split && is_there(split))
        status = list_split(images, split, files, err);
    else if (status == VS_OK)
        status = list_images(config, images, files, err);
    free(images);
    free(split);
    return status;
}

vs_status vs_dataset_list(const vs_config *config, const vs_set_config *of, vs_filelist *files, char **labels, vs_error *err) {
    const dataset *d = &datasets[of->protocol];
    *files = (vs_filelist){ 0 };
    *labels = NULL;
    char *inside = d->images && !of->labels ? vs_path_join(of->images, d->images) : NULL;
    const bool root = inside && is_folder(inside);
    free(inside);
    vs_status status = VS_OK;
    if (root)
        status = list_root(config, d, of->images, files, labels, err);
    else
        status = list_images(config, of->images, files, err);
    if (status == VS_ERR_NOTFOUND && d->published)
        vs_error_prefix(err, "%s (published as %s, with %s and %s): ", d->name, d->published, d->images, d->labels);
    if (status == VS_OK && of->labels && !(*labels = vs_strdup(of->labels)))
        status = vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status != VS_OK) {
        vs_filelist_release(files);
        free(*labels);
        *labels = NULL;
    }
    return status;
}
