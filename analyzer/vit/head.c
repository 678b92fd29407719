#include "head.h"

#include "eomt.h"

#include <stdio.h>
#include <string.h>

#include "util.h"

enum { MS_MAPS = 4 };

/* A candidate: where its linear would stand, and what it would be. */
typedef struct candidate {
    char linear[160];
    vs_head_kind kind;
} candidate;

static const vs_tensor_entry *weight_of(const vs_tensorfile *file, const char *module) {
    char key[192];
    snprintf(key, sizeof key, "%s%sweight", module, *module ? "." : "");
    return vs_tensorfile_find(file, key);
}

static bool find_module(const vs_tensorfile *file, const char *name, char *module, size_t size) {
    size_t from = 0;
    return vs_find_module(file, &from, name, module, size);
}

/* "model.backbone._model." gives "model.": a wrapper's own head stands beside its backbone. */
static bool outside_backbone(const char *prefix, char *out, size_t size) {
    static const char *const ends[] = { "backbone._model.", "backbone." };
    for (size_t i = 0; i < 2; i++) {
        const size_t n = strlen(prefix), tail = strlen(ends[i]);
        if (n < tail || strcmp(prefix + n - tail, ends[i]) != 0 || n - tail >= size) continue;
        snprintf(out, size, "%.*s", (int)(n - tail), prefix);
        return true;
    }
    return false;
}

/* DINOv3's linear head: "segmentation_model.1.conv" beside "segmentation_model.1.batchnorm_layer". */
static bool find_beside_norm(const vs_tensorfile *file, char *linear, size_t size) {
    static const char norm[] = "batchnorm_layer";
    if (!find_module(file, norm, linear, size)) return false;
    char *at = linear + strlen(linear) - strlen(norm);
    snprintf(at, size - (size_t)(at - linear), "conv");
    return weight_of(file, linear) != NULL;
}

/* The first that is there wins: mmseg, DINOv3, timm, lightly-train, Hugging Face, DINOv2's classifiers. */
static bool find_head(const vs_tensorfile *file, const char *prefix, bool own_file, candidate *c) {
    char outer[128];
    *c = (candidate){ .kind = VS_HEAD_SEGMENTATION };
    if (find_module(file, "conv_seg", c->linear, sizeof c->linear)) return true;
    if (find_beside_norm(file, c->linear, sizeof c->linear)) return true;
    if (outside_backbone(prefix, outer, sizeof outer)) {
        snprintf(c->linear, sizeof c->linear, "%shead", outer);
        if (weight_of(file, c->linear)) return true;
    }
    c->kind = VS_HEAD_CLASSIFIER;
    char pair[160];
    snprintf(pair, sizeof pair, "%.120shead_dist", prefix);
    snprintf(c->linear, sizeof c->linear, "%.120shead", prefix);
    if (weight_of(file, c->linear) && !weight_of(file, pair)) return true; /* DeiT's two heads are averaged: not one layer */
    static const char *const names[] = { "classifier", "linear_head" };
    for (size_t i = 0; i < 2; i++)
        if (find_module(file, names[i], c->linear, sizeof c->linear)) return true;
    snprintf(c->linear, sizeof c->linear, "head");
    if (own_file && weight_of(file, c->linear)) return true;
    c->linear[0] = '\0';
    return own_file && weight_of(file, c->linear) != NULL;
}

/* How many maps and means a head of `in` channels reads; false: it does not fit. */
static bool fit(vs_arch *a, size_t in) {
    const size_t c = a->width;
    a->head_width = in;
    a->head_maps = in == c || (a->head == VS_HEAD_CLASSIFIER && in == 2 * c) ? 1 : MS_MAPS;
    a->head_mean = a->head == VS_HEAD_CLASSIFIER && in != c;
    return in == (a->head_maps + a->head_mean) * c;
}

static vs_status refuse_width(const vs_arch *a, const vs_tensorfile *file, const vs_tensorfile *from, const char *linear,
                              size_t in, vs_error *err) {
    char owner[96] = "";
    if (a->head == VS_HEAD_CLASSIFIER)
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: classifier '%s' reads %zu channels, which does not fit %s: a backbone of width %zu has classifiers that "
            "read %zu, %zu or %zu",
            vs_tensorfile_path(from), linear, in, vs_tensorfile_path(file), a->width, a->width, 2 * a->width,
            (MS_MAPS + 1) * a->width);
    if (in % MS_MAPS == 0) snprintf(owner, sizeof owner, " or an ms head on width %zu", in / MS_MAPS);
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: '%s' reads %zu channels: that is a linear head on width %zu%s; %s has width %zu, whose heads read %zu "
                   "(linear) or %zu (ms)",
                   vs_tensorfile_path(from), linear, in, in, owner, vs_tensorfile_path(file), a->width, a->width,
                   MS_MAPS * a->width);
}

static void find_norm(vs_head_layout *out, const vs_tensorfile *from) {
    static const char *const names[] = { "bn", "batchnorm_layer" };
    const char *dot = strrchr(out->linear, '.');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char key[192];
        snprintf(out->norm, sizeof out->norm, "%.*s%s", dot ? (int)(dot - out->linear + 1) : 0, out->linear, names[i]);
        snprintf(key, sizeof key, "%s.running_mean", out->norm);
        if (vs_tensorfile_find(from, key)) return;
    }
    out->norm[0] = '\0';
}

vs_status vs_head_detect(vs_head_layout *out, vs_arch *a, const vs_tensorfile *file, const char *prefix,
                         const vs_tensorfile *head_file, vs_error *err) {
    const vs_tensorfile *from = head_file ? head_file : file;
    candidate found;
    *out = (vs_head_layout){ .linear = "" };
    a->head = VS_HEAD_NONE;
    bool queries = false;
    vs_status status = vs_eomt_detect(a, from, out->linear, sizeof out->linear, &queries, err);
    if (status != VS_OK || queries) return status;
    if (!find_head(from, prefix, head_file != NULL, &found)) {
        if (!head_file) return VS_OK;
        return vs_fail(err, VS_ERR_FORMAT,
                       "%s: no head found: expected '...conv_seg.weight', '...batchnorm_layer.weight' and '...conv.weight' "
                       "(DINOv3), '...classifier.weight', 'head.weight' or 'weight'",
                       vs_tensorfile_path(head_file));
    }
    const vs_tensor_entry *w = weight_of(from, found.linear);
    if (!w || w->ndim < 2 || w->shape[0] == 0 || w->shape[1] == 0 || w->shape[0] != w->count / w->shape[1])
        return vs_fail(err, VS_ERR_FORMAT, "%s: the weight of head '%s' is no matrix [classes, channels]",
                       vs_tensorfile_path(from), found.linear);
    a->head = found.kind;
    a->classes = w->shape[0];
    memcpy(out->linear, found.linear, sizeof out->linear);
    if (!fit(a, w->shape[1])) return refuse_width(a, file, from, found.linear, w->shape[1], err);
    if (a->head_maps > a->depth)
        return vs_fail(err, VS_ERR_FORMAT, "%s: head '%s' reads the last %zu blocks; %s has %zu", vs_tensorfile_path(from),
                       found.linear, a->head_maps, vs_tensorfile_path(file), a->depth);
    if (a->head == VS_HEAD_SEGMENTATION) find_norm(out, from);
    a->head_norm = out->norm[0] != '\0';
    return VS_OK;
}
