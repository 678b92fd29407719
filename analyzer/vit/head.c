#include "vit/head.h"

#include "vit/eomt.h"
#include "vit/layout.h"

#include <stdio.h>
#include <string.h>

#include "util/util.h"

enum { MS_MAPS = 4 };

/* A candidate: where its linear stands, and what it would be. */
typedef struct candidate {
    char linear[160];
    vs_head_kind kind;
} candidate;

/* What is searched, and the candidates that did not fit: the first of them is told. */
typedef struct search {
    vs_layout *layout;
    const vs_ledger *file, *from; /* the backbone's; the head's, which may be the same */
    bool own_file;                /* the user named `from` as the head's */
} search;

static const vs_tensor_entry *weight_of(const vs_ledger *file, const char *module) {
    char key[192];
    snprintf(key, sizeof key, "%s%sweight", module, *module ? "." : "");
    return vs_ledger_tensor(file, key);
}

/* Of another tower, an auxiliary head, or another copy of the model than the backbone's. */
static bool is_foreign(const search *s, const char *module) {
    static const char others[] = "auxiliary_head aux_head aux_classifier text text_model text_encoder audio audio_model";
    if (vs_has_component(module, others)) return true;
    if (s->own_file) return false;
    const int rank = vs_backbone_rank(module), others_rank = vs_backbone_rank("");
    return rank != others_rank && rank != vs_backbone_rank(s->layout->prefix);
}

static bool find_module(const search *s, const char *name, char *module, size_t size) {
    size_t from = 0;
    while (vs_find_module(s->from, &from, name, module, size))
        if (!is_foreign(s, module)) return true;
    return false;
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
static bool find_beside_norm(const search *s, char *linear, size_t size) {
    static const char norm[] = "batchnorm_layer";
    if (!find_module(s, norm, linear, size)) return false;
    char *at = linear + strlen(linear) - strlen(norm);
    snprintf(at, size - (size_t)(at - linear), "conv");
    return weight_of(s->from, linear) != NULL;
}

/* Place `place` of a head: mmseg, DINOv3, lightly-train, timm, Hugging Face, DINOv2's classifiers, a bare linear. */
enum { PLACES = 8 };
static bool look(const search *s, size_t place, candidate *c) {
    const char *prefix = s->layout->prefix;
    char outer[128], pair[160];
    *c = (candidate){ .kind = place < 3 ? VS_HEAD_SEGMENTATION : VS_HEAD_CLASSIFIER };
    switch (place) {
    case 0: return find_module(s, "conv_seg", c->linear, sizeof c->linear);
    case 1: return find_beside_norm(s, c->linear, sizeof c->linear);
    case 2:
        if (!outside_backbone(prefix, outer, sizeof outer)) return false;
        snprintf(c->linear, sizeof c->linear, "%shead", outer);
        return weight_of(s->from, c->linear) != NULL;
    case 3:
        snprintf(pair, sizeof pair, "%.120shead_dist", prefix);
        snprintf(c->linear, sizeof c->linear, "%.120shead", prefix);
        return weight_of(s->from, c->linear) && !weight_of(s->from, pair); /* DeiT's two heads are averaged: not one layer */
    case 4: return find_module(s, "classifier", c->linear, sizeof c->linear);
    case 5: return find_module(s, "linear_head", c->linear, sizeof c->linear);
    case 6: snprintf(c->linear, sizeof c->linear, "head"); break;
    default: break; /* a bare weight */
    }
    return s->own_file && weight_of(s->from, c->linear) != NULL;
}

/* How many maps and means a head of `in` channels reads; false: it does not fit. */
static bool fit(vs_arch *a, size_t in) {
    const size_t c = a->width;
    a->head_width = in;
    a->head_maps = in == c || (a->head == VS_HEAD_CLASSIFIER && in == 2 * c) ? 1 : MS_MAPS;
    a->head_mean = a->head == VS_HEAD_CLASSIFIER && in != c;
    return in == (a->head_maps + a->head_mean) * c;
}

static vs_status refuse_width(const search *s, const char *linear, size_t in, vs_error *err) {
    const vs_arch *a = &s->layout->arch;
    const char *head = vs_tensorfile_path(s->from->file), *backbone = vs_tensorfile_path(s->file->file);
    char owner[96] = "";
    if (a->head == VS_HEAD_CLASSIFIER)
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: classifier '%s' reads %zu channels, which does not fit %s: a backbone of width %zu has classifiers that "
            "read %zu, %zu or %zu",
            head, linear, in, backbone, a->width, a->width, 2 * a->width, (MS_MAPS + 1) * a->width);
    if (in % MS_MAPS == 0) snprintf(owner, sizeof owner, " or an ms head on width %zu", in / MS_MAPS);
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: '%s' reads %zu channels: that is a linear head on width %zu%s; %s has width %zu, whose heads read %zu "
                   "(linear) or %zu (ms)",
                   head, linear, in, in, owner, backbone, a->width, a->width, MS_MAPS * a->width);
}

static void find_norm(vs_head_layout *out, const vs_ledger *from) {
    static const char *const names[] = { "bn", "batchnorm_layer" };
    const char *dot = strrchr(out->linear, '.');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char key[192];
        snprintf(out->norm, sizeof out->norm, "%.*s%s", dot ? (int)(dot - out->linear + 1) : 0, out->linear, names[i]);
        snprintf(key, sizeof key, "%s.running_mean", out->norm);
        if (vs_ledger_find(from, key)) return;
    }
    out->norm[0] = '\0';
}

/* Whether `name` is `module` and one of `parts` behind it. */
static bool is_part(const char *name, const char *module, const char *parts) {
    const size_t n = strlen(module);
    return n && vs_begins(name, module) && name[n] == '.' && !strchr(name + n + 1, '.') &&
           vs_first_component(name + n + 1, parts);
}

/* The first tensor that stands between the tokens and the linear: in the linear's own module, or a part beside the backbone that
 * is known to. NULL: none. */
static const char *find_between(const search *s, const vs_head_layout *h) {
    static const char between[] = "neck bottleneck pre_logits fc_norm head_norm norm_head";
    const char *dot = strrchr(h->linear, '.');
    const size_t length = dot ? (size_t)(dot - h->linear) + 1 : 0, linear = strlen(h->linear);
    char module[160];
    snprintf(module, sizeof module, "%.*s", (int)length, h->linear);
    const bool alone = length > 0 && !vs_begins(s->layout->prefix, module); /* a module of its own: "decode_head." */
    for (size_t i = vs_ledger_from(s->from, module); i < s->from->count && vs_begins(s->from->by_name[i]->name, module); i++) {
        const char *name = s->from->by_name[i]->name;
        const bool own = is_part(name, h->linear, "weight bias") ||
                         is_part(name, h->norm, "weight bias running_mean running_var num_batches_tracked"),
                   inside = linear && vs_begins(name, h->linear) && name[linear] == '.';
        if (!own && (alone || inside || vs_first_component(name + length, between))) return name;
    }
    return NULL;
}

/* The tensors beside the weight, before any is read: a head that is broken must not block the backbone either. */
static vs_status check_tensors(const search *s, const vs_head_layout *h, const vs_tensor_entry *weight, vs_error *err) {
    static const char *const of_norm[] = { "weight", "bias", "running_mean", "running_var" };
    const vs_arch *a = &s->layout->arch;
    const char *path = vs_tensorfile_path(s->from->file);
    char key[192];
    snprintf(key, sizeof key, "%s%sbias", h->linear, *h->linear ? "." : "");
    const vs_tensor_entry *bias = vs_ledger_tensor(s->from, key);
    if (!vs_is_float(weight) || (bias && !vs_is_float(bias)))
        return vs_fail(err, VS_ERR_FORMAT, "%s: head '%s' has type %s: its float checkpoint is needed", path, h->linear,
                       vs_is_float(weight) ? bias->dtype_name : weight->dtype_name);
    if (bias && bias->count != a->classes)
        return vs_fail(err, VS_ERR_FORMAT, "%s: the bias of head '%s' has %zu values for %zu classes", path, h->linear,
                       bias->count, a->classes);
    for (size_t i = 0; *h->norm && i < 4; i++) {
        snprintf(key, sizeof key, "%s.%s", h->norm, of_norm[i]);
        const vs_tensor_entry *t = vs_ledger_tensor(s->from, key);
        if (!t) return vs_fail(err, VS_ERR_FORMAT, "%s: the norm of head '%s' lacks '%s'", path, h->linear, key);
        if (!vs_is_float(t) || t->count != a->head_width)
            return vs_fail(err, VS_ERR_FORMAT, "%s: the norm of head '%s': '%s' has %zu values of type %s for %zu channels", path,
                           h->linear, key, t->count, t->dtype_name, a->head_width);
    }
    return VS_OK;
}

/* VS_ERR_FORMAT: the candidate is no head that is built on this backbone. */
static vs_status take(const search *s, const candidate *c, vs_error *err) {
    vs_layout *l = s->layout;
    vs_arch *a = &l->arch;
    const char *path = vs_tensorfile_path(s->from->file);
    const vs_tensor_entry *w = weight_of(s->from, c->linear);
    l->head = (vs_head_layout){ .linear = "" };
    if (!w || w->ndim < 2 || w->shape[0] == 0 || w->shape[1] == 0 || w->shape[0] != w->count / w->shape[1])
        return vs_fail(err, VS_ERR_FORMAT, "%s: the weight of head '%s' is no matrix [classes, channels]", path, c->linear);
    a->head = c->kind;
    a->classes = w->shape[0];
    memcpy(l->head.linear, c->linear, sizeof l->head.linear);
    if (!fit(a, w->shape[1])) return refuse_width(s, c->linear, w->shape[1], err);
    if (a->head_maps > a->depth)
        return vs_fail(err, VS_ERR_FORMAT, "%s: head '%s' reads the last %zu blocks; %s has %zu", path, c->linear, a->head_maps,
                       vs_tensorfile_path(s->file->file), a->depth);
    if (a->head == VS_HEAD_SEGMENTATION) find_norm(&l->head, s->from);
    a->head_norm = l->head.norm[0] != '\0';
    vs_status status = check_tensors(s, &l->head, w, err);
    if (status != VS_OK) return status;
    const char *between = find_between(s, &l->head);
    if (between)
        return vs_fail(err, VS_ERR_FORMAT, "%s: head '%s' stands behind '%s', which is not built", path, c->linear, between);
    const char *pool = s->own_file ? "" : l->config.pool;
    if (!*pool && !s->own_file && strcmp(l->names->layout, "timm_dinov3") == 0) pool = "avg"; /* timm's default for these */
    if (a->head == VS_HEAD_CLASSIFIER && *pool && strcmp(pool, "token") != 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: head '%s' reads tokens pooled by '%s', which is not built", path, c->linear,
                       pool);
    return VS_OK;
}

static void leave_out(vs_layout *l) {
    vs_arch *a = &l->arch;
    l->head = (vs_head_layout){ .linear = "" };
    a->head = VS_HEAD_NONE;
    a->head_maps = a->head_width = a->classes = a->queries = a->joint_blocks = a->upscales = 0;
    a->head_norm = a->head_mean = false;
}

/* In the backbone's own file a head that does not fit is left out, and the first such is told; the user's own must fit. */
static vs_status find_head(search *s, vs_error *err) {
    vs_layout *l = s->layout;
    vs_error failed = { 0 };
    bool queries = false;
    vs_status status = vs_eomt_detect(&l->arch, s->from, l->head.linear, sizeof l->head.linear, &queries, &failed);
    if (status == VS_OK && queries) return VS_OK;
    if (status != VS_OK && status != VS_ERR_SHAPE) return vs_fail(err, status, "%s", failed.message);
    vs_error first = failed;
    for (size_t place = 0; place < PLACES; place++) {
        candidate c;
        leave_out(l);
        if (!look(s, place, &c)) continue;
        failed = (vs_error){ 0 };
        status = take(s, &c, &failed);
        if (status == VS_OK) return VS_OK;
        if (first.code == VS_OK) first = failed;
    }
    leave_out(l);
    if (s->own_file && first.code != VS_OK) return vs_fail(err, first.code, "%s", first.message);
    snprintf(l->head.note, sizeof l->head.note, "%.399s", first.code == VS_OK ? "" : first.message);
    if (!s->own_file) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: no head found: expected '...conv_seg.weight', '...batchnorm_layer.weight' and '...conv.weight' "
                   "(DINOv3), '...classifier.weight', 'head.weight' or 'weight'",
                   vs_tensorfile_path(s->from->file));
}

vs_status vs_head_detect(vs_layout *layout, const vs_ledger *file, const vs_ledger *head_file, const vs_model_options *options,
                         vs_error *err) {
    search s = { layout, file, head_file ? head_file : file, head_file != NULL };
    leave_out(layout);
    return options->no_head ? VS_OK : find_head(&s, err);
}
