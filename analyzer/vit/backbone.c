/* Which of a file's backbones is the model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/layout.h"

static const vs_tensor_entry *find(const vs_ledger *file, const char *prefix, const char *name) {
    char key[256];
    const int n = snprintf(key, sizeof key, "%s%s", prefix, name);
    return n < 0 || (size_t)n >= sizeof key ? NULL : vs_ledger_tensor(file, key);
}

/* The order of docs/layouts.md: a running average, a teacher, all others, a student, the frozen teacher of DINOv3's gram loss. Of
 * several words the last in this order counts. */
int vs_backbone_rank(const char *name) {
    enum { OTHERS = 2 };
    static const char *const words[] = { "ema model_ema ema_model net_ema state_dict_ema ema_state_dict", "teacher", NULL,
                                         "student", "gram_teacher" };
    for (int rank = sizeof words / sizeof *words - 1; rank >= 0; rank--)
        if (words[rank] && vs_has_component(name, words[rank])) return rank;
    return OTHERS;
}

static bool is_square(size_t n) {
    size_t r = 0;
    while (r < n && r * r < n) r++;
    return n > 0 && r * r == n;
}

static bool matches(const vs_layout_names *n, const vs_ledger *file, const char *prefix) {
    for (size_t i = 1; i < VS_LAYOUT_MARKS && n->present[i]; i++)
        if (!find(file, prefix, n->present[i])) return false;
    for (size_t i = 0; i < VS_LAYOUT_MARKS && n->absent[i]; i++)
        if (find(file, prefix, n->absent[i])) return false;
    if (!n->by_rows) return true;
    const vs_tensor_entry *pos = find(file, prefix, n->pos);
    return pos && pos->ndim == 3 && pos->shape[1] >= (size_t)n->prefix_positions &&
           is_square(pos->shape[1] - (size_t)n->prefix_positions);
}

/* The text before `suffix`, where the name ends with it as whole components. */
static bool take_prefix(const char *name, const char *suffix, char *prefix, size_t size) {
    const size_t length = strlen(name), tail = strlen(suffix), head = length - tail;
    if (length < tail || head >= size || strcmp(name + head, suffix) != 0 || (head > 0 && name[head - 1] != '.')) return false;
    memcpy(prefix, name, head);
    prefix[head] = '\0';
    return true;
}

static vs_status find_all(vs_backbones *found, const vs_ledger *file, const char *wanted, vs_error *err) {
    for (size_t r = 0; r < file->count; r++)
        for (size_t i = 0; vs_layout_names_at(i); i++) {
            const vs_layout_names *n = vs_layout_names_at(i);
            vs_backbone b = { .names = n };
            if (wanted && strcmp(wanted, n->layout) != 0) continue;
            if (!take_prefix(file->rows[r].name, n->present[0], b.prefix, sizeof b.prefix) || !matches(n, file, b.prefix))
                continue;
            if (!vs_grow((void **)&found->items, &found->capacity, found->count + 1, sizeof *found->items))
                return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its backbones", vs_tensorfile_path(file->file));
            found->items[found->count++] = b;
            break;
        }
    return VS_OK;
}

/* ---- none */

static vs_status no_such_layout(const char *path, const char *wanted, vs_error *err) {
    vs_text names = { 0 };
    bool known = false;
    for (size_t i = 0; vs_layout_name(i); i++) {
        vs_text_add(&names, "%s%s", i ? ", " : "", vs_layout_name(i));
        known |= strcmp(vs_layout_name(i), wanted) == 0;
    }
    const vs_status status =
        known
            ? vs_fail(err, VS_ERR_FORMAT, "%s: this is no %s checkpoint: its tensors have other names", path, wanted)
            : vs_fail(err, VS_ERR_CONFIG, "%s: there is no layout '%s'; known: %s", path, wanted, names.bytes ? names.bytes : "");
    free(names.bytes);
    return status;
}

static bool ends_with(const char *name, const char *suffix) {
    char prefix[128];
    return take_prefix(name, suffix, prefix, sizeof prefix);
}

static vs_status no_transformer(const vs_ledger *file, vs_error *err) {
    const char *path = vs_tensorfile_path(file->file);
    const vs_tensor_entry *head = NULL;
    bool blocks = false;
    for (size_t i = 0; i < file->count; i++) {
        if (!head && ends_with(file->rows[i].name, "conv_seg.weight")) head = file->rows[i].tensor;
        blocks |= ends_with(file->rows[i].name, "norm1.weight");
    }
    if (head && head->ndim >= 2 && !blocks)
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: a segmentation head ('%s': %zu classes from %zu channels) without its backbone: the backbone's file is "
            "model.checkpoint, this one model.head",
            path, head->name, head->shape[0], head->shape[1]);
    const vs_status status = vs_fail(
        err, VS_ERR_FORMAT,
        "%s: no Vision Transformer found among %zu tensors: none is called '...patch_embed.proj.weight' (DINOv2, timm) or "
        "'...embeddings.patch_embeddings.projection.weight' (Hugging Face)",
        path, file->count);
    return vs_explain_failure(file, &(vs_layout){ .names = NULL }, false, status, err);
}

/* ---- several */

static bool same_shape(const vs_tensor_entry *a, const vs_tensor_entry *b) {
    if (!a || !b || a->ndim != b->ndim) return false;
    for (size_t i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

/* Whether every tensor of a's blocks is one of b's, of the same shape; *count: how many they are. */
static bool has_twins(const vs_ledger *file, const vs_backbone *a, const vs_backbone *b, size_t *count) {
    *count = 0;
    const size_t skip = strlen(a->prefix);
    for (size_t i = vs_ledger_from(file, a->prefix); i < file->count && vs_begins(file->by_name[i]->name, a->prefix); i++) {
        size_t chunk, index;
        const char *name = file->by_name[i]->name + skip;
        if (!vs_layout_in_block(a->names, name, &chunk, &index)) continue;
        if (!same_shape(file->by_name[i]->tensor, find(file, b->prefix, name))) return false;
        ++*count;
    }
    return true;
}

/* Of tensor `name` outside the blocks; neither may have it. */
static bool alike(const vs_ledger *file, const vs_backbone *a, const vs_backbone *b, const char *name) {
    const vs_tensor_entry *of_a = name ? find(file, a->prefix, name) : NULL, *of_b = name ? find(file, b->prefix, name) : NULL;
    return (!of_a && !of_b) || same_shape(of_a, of_b);
}

static bool equal_shapes(const vs_ledger *file, const vs_backbone *a, const vs_backbone *b) {
    size_t in_a = 0, in_b = 0;
    const vs_layout_names *n = a->names;
    if (n != b->names || n->unbuilt) return false;
    char key[128];
    snprintf(key, sizeof key, "%s.weight", n->patch);
    return alike(file, a, b, key) && alike(file, a, b, n->registers) && alike(file, a, b, n->pos) &&
           has_twins(file, a, b, &in_a) && has_twins(file, b, a, &in_b) && in_a == in_b;
}

/* As model.prefix takes it: without the dot, or a dot alone. */
static void list(vs_text *text, const vs_ledger *file, const vs_backbones *found) {
    for (size_t i = 0; i < found->count; i++) {
        const vs_backbone *b = &found->items[i];
        char key[128];
        snprintf(key, sizeof key, "%s.weight", b->names->patch ? b->names->patch : "");
        const vs_tensor_entry *patch = find(file, b->prefix, key);
        const size_t n = strlen(b->prefix);
        vs_text_add(text, "%s'%.*s' (%s", i ? ", " : "", (int)(n ? n - 1 : 1), n ? b->prefix : ".", b->names->layout);
        if (patch && patch->ndim > 0) vs_text_add(text, ", width %zu", patch->shape[0]);
        vs_text_add(text, ")");
    }
}

static vs_status ask(const vs_ledger *file, const vs_backbones *found, const char *why, vs_error *err) {
    vs_text names = { 0 };
    list(&names, file, found);
    const vs_status status = vs_fail(err, VS_ERR_FORMAT, "%s: %zu backbones, %s: %s; 'model.prefix' chooses one",
                                     vs_tensorfile_path(file->file), found->count, why, names.bytes ? names.bytes : "");
    free(names.bytes);
    return status;
}

/* `wanted` with or without its dots at the end. */
static bool is_prefix(const char *prefix, const char *wanted) {
    size_t n = strlen(wanted), length = strlen(prefix);
    while (n > 0 && wanted[n - 1] == '.') n--;
    if (length > 0) length--;
    return length == n && memcmp(prefix, wanted, n) == 0;
}

/* As the file writes it, or without wrappers. */
static vs_status take_named(size_t *chosen, const vs_ledger *file, const vs_backbones *found, const char *wanted, vs_error *err) {
    char *plain = vs_format("%s.", wanted);
    if (!plain) return vs_fail(err, VS_ERR_NOMEM, "no memory for a prefix");
    vs_strip_wrappers(plain, plain);
    const char *const ways[] = { wanted, plain };
    bool hit = false;
    for (size_t w = 0; w < 2; w++)
        for (size_t i = 0; i < found->count && !hit; i++) {
            hit = is_prefix(found->items[i].prefix, ways[w]);
            if (hit) *chosen = i;
        }
    free(plain);
    if (hit) return VS_OK;
    vs_text names = { 0 };
    list(&names, file, found);
    const vs_status status =
        vs_fail(err, VS_ERR_CONFIG, "%s: model.prefix: there is no backbone below '%s'; there %s: %s",
                vs_tensorfile_path(file->file), wanted, found->count == 1 ? "is" : "are", names.bytes ? names.bytes : "");
    free(names.bytes);
    return status;
}

vs_status vs_backbone_choose(vs_backbones *found, size_t *chosen, const vs_ledger *file, const vs_model_options *options,
                             vs_error *err) {
    *chosen = 0;
    vs_status status = find_all(found, file, options->layout, err);
    if (status != VS_OK) return status;
    if (found->count == 0)
        return options->layout ? no_such_layout(vs_tensorfile_path(file->file), options->layout, err) : no_transformer(file, err);
    if (options->prefix) return take_named(chosen, file, found, options->prefix, err);
    for (size_t i = 1; i < found->count; i++)
        if (vs_backbone_rank(found->items[i].prefix) < vs_backbone_rank(found->items[*chosen].prefix)) *chosen = i;
    for (size_t i = 0; i < found->count; i++) {
        if (i == *chosen) continue;
        if (!equal_shapes(file, &found->items[*chosen], &found->items[i])) return ask(file, found, "of unequal shapes", err);
        if (vs_backbone_rank(found->items[i].prefix) == vs_backbone_rank(found->items[*chosen].prefix))
            return ask(file, found, "none before the other", err);
    }
    return VS_OK;
}
