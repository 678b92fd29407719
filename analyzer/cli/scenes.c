/* vitscope scenes. */
#include "images/scenes.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "io/image.h"
#include "util/util.h"

static vs_status write_scene(const char *dir, unsigned long long seed, size_t index, size_t size, vs_error *err) {
    vs_image rgb = { 0 }, labels = { 0 };
    char *image_path = vs_format("%s/images/scene_%04zu.png", dir, index),
         *label_path = vs_format("%s/labels/scene_%04zu.png", dir, index);
    vs_status status = image_path && label_path ? VS_OK : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    if (status == VS_OK) status = vs_image_create(&rgb, size, size, 3, err);
    if (status == VS_OK) status = vs_image_create(&labels, size, size, 1, err);
    if (status == VS_OK) status = vs_scene_render(seed, index, size, rgb.pixels, labels.pixels, err);
    if (status == VS_OK) status = vs_png_write(image_path, &rgb, err);
    if (status == VS_OK) status = vs_png_write(label_path, &labels, err);
    vs_image_release(&rgb);
    vs_image_release(&labels);
    free(image_path);
    free(label_path);
    return status;
}

static vs_status make_folder(const char *dir, const char *name, vs_error *err) {
    char *path = vs_path_join(dir, name);
    vs_status status = path ? vs_make_dirs(path, err) : vs_fail(err, VS_ERR_NOMEM, "no memory for a path");
    free(path);
    return status;
}

int vs_cli_scenes(const vs_command_line *line) {
    vs_error err = { 0 };
    const size_t count = line->count ? line->count : 8, size = line->size ? line->size : 224;
    const char *dir = line->operands[0];
    const vs_stop *stop = vs_cli_stop();
    vs_status status = make_folder(dir, "images", &err);
    if (status == VS_OK) status = make_folder(dir, "labels", &err);
    for (size_t i = 0; i < count && status == VS_OK; i++)
        status =
            vs_stopped(stop) ? vs_fail(&err, VS_ERR_INTERRUPTED, "interrupted") : write_scene(dir, line->seed, i, size, &err);
    if (status != VS_OK) return vs_cli_fail(status, &err);
    if (line->quiet) return 0;
    printf("%zu scenes of seed %llu, %zux%zu: %s/images and %s/labels\n", count, line->seed, size, size, dir, dir);
    return 0;
}
