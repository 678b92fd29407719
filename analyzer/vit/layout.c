#include "layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* ---- keys */

static const vs_tensor_entry *find(const vs_tensorfile *file, const char *prefix, const char *name) {
    char key[256];
    const int n = snprintf(key, sizeof key, "%s%s", prefix, name);
    return n < 0 || (size_t)n >= sizeof key ? NULL : vs_tensorfile_find(file, key);
}

/* Of several backbones in one training file the teacher or the running average is the model, the student is not. */
static int rank_of(const char *prefix) {
    if (strstr(prefix, "teacher") || strstr(prefix, "ema")) return 0;
    return strstr(prefix, "student") ? 2 : 1;
}

/* The text before `suffix` in the best key that ends with it, the first among equals. */
static bool prefix_of(const vs_tensorfile *file, const char *suffix, char *prefix, size_t size) {
    const size_t tail = strlen(suffix);
    bool found = false;
    for (size_t i = 0; i < vs_tensorfile_count(file); i++) {
        const char *name = vs_tensorfile_at(file, i)->name;
        const size_t length = strlen(name);
        if (length < tail || strcmp(name + length - tail, suffix) != 0) continue;
        const size_t head = length - tail;
        char candidate[128];
        if (head >= size || head >= sizeof candidate || (head > 0 && name[head - 1] != '.')) continue;
        memcpy(candidate, name, head);
        candidate[head] = '\0';
        if (found && rank_of(candidate) >= rank_of(prefix)) continue;
        memcpy(prefix, candidate, head + 1);
        found = true;
    }
    return found;
}

/* "blocks.*.#" with the numbers put in. */
static void expand(const char *pattern, size_t chunk, size_t index, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (const char *p = pattern; *p && used + 1 < size; p++) {
        if (*p == '#' || *p == '*')
            used += (size_t)snprintf(out + used, size - used, "%zu", *p == '#' ? index : chunk);
        else
            used += (size_t)snprintf(out + used, size - used, "%c", *p);
    }
}

/* A chunk holds consecutive blocks, each under its global index, so it is never beyond the block's own. */
static bool find_block(const vs_layout *l, const vs_tensorfile *file, size_t index, char *base, size_t size) {
    const size_t chunks = strchr(l->names->block, '*') ? index + 1 : 1;
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        char block[96], key[256];
        expand(l->names->block, chunk, index, block, sizeof block);
        snprintf(base, size, "%s%s", l->prefix, block);
        snprintf(key, sizeof key, "%s%s.%s.weight", l->prefix, block, l->names->norm1);
        if (vs_tensorfile_find(file, key)) return true;
    }
    return false;
}

void vs_layout_block(const vs_layout *l, const vs_tensorfile *file, size_t index, char *base, size_t size) {
    (void)find_block(l, file, index, base, size);
}

static const vs_tensor_entry *find_in_block(const vs_layout *l, const vs_tensorfile *file, const char *name, const char *what) {
    char base[192], key[256];
    if (!name) return NULL;
    vs_layout_block(l, file, 0, base, sizeof base);
    snprintf(key, sizeof key, "%s.%s%s", base, name, what);
    return vs_tensorfile_find(file, key);
}

/* ---- which layout */

static bool square_root(size_t n, size_t *root) {
    size_t r = 0;
    while (r * r < n) r++;
    *root = r;
    return n > 0 && r * r == n;
}

static bool matches(const vs_layout_names *n, const vs_tensorfile *file, char *prefix, size_t size) {
    if (!prefix_of(file, n->present[0], prefix, size)) return false;
    for (size_t i = 1; i < VS_LAYOUT_MARKS && n->present[i]; i++)
        if (!find(file, prefix, n->present[i])) return false;
    for (size_t i = 0; i < VS_LAYOUT_MARKS && n->absent[i]; i++)
        if (find(file, prefix, n->absent[i])) return false;
    if (!n->by_rows) return true;
    const vs_tensor_entry *pos = find(file, prefix, n->pos);
    size_t grid;
    return pos && pos->ndim == 3 && pos->shape[1] >= (size_t)n->prefix_positions &&
           square_root(pos->shape[1] - (size_t)n->prefix_positions, &grid);
}

static vs_status no_such_layout(const vs_tensorfile *file, const char *wanted, vs_error *err) {
    const char *path = vs_tensorfile_path(file);
    vs_text names = { 0 };
    for (size_t i = 0; vs_layout_name(i); i++) vs_text_add(&names, "%s%s", i ? ", " : "", vs_layout_name(i));
    bool known = false;
    for (size_t i = 0; vs_layout_name(i); i++) known |= strcmp(vs_layout_name(i), wanted) == 0;
    const vs_status status =
        known
            ? vs_fail(err, VS_ERR_FORMAT, "%s: this is no %s checkpoint: its tensors have other names", path, wanted)
            : vs_fail(err, VS_ERR_CONFIG, "%s: there is no layout '%s'; known: %s", path, wanted, names.bytes ? names.bytes : "");
    free(names.bytes);
    return status;
}

static vs_status no_transformer(const vs_tensorfile *file, vs_error *err) {
    const char *path = vs_tensorfile_path(file);
    char prefix[128], of_block[128];
    const vs_tensor_entry *head =
        prefix_of(file, "conv_seg.weight", prefix, sizeof prefix) ? find(file, prefix, "conv_seg.weight") : NULL;
    if (head && head->ndim >= 2 && !prefix_of(file, "norm1.weight", of_block, sizeof of_block))
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: a segmentation head ('%s': %zu classes from %zu channels) without its backbone: the backbone's file is "
            "model.checkpoint, this one model.head",
            path, head->name, head->shape[0], head->shape[1]);
    return vs_fail(
        err, VS_ERR_FORMAT,
        "%s: no Vision Transformer found among %zu tensors: none is called '...patch_embed.proj.weight' (DINOv2, timm) or "
        "'...embeddings.patch_embeddings.projection.weight' (Hugging Face)",
        path, vs_tensorfile_count(file));
}

static vs_status choose_names(vs_layout *l, const vs_tensorfile *file, const char *wanted, vs_error *err) {
    const char *path = vs_tensorfile_path(file);
    for (size_t i = 0; vs_layout_names_at(i); i++) {
        const vs_layout_names *n = vs_layout_names_at(i);
        if (wanted && strcmp(wanted, n->layout) != 0) continue;
        if (!matches(n, file, l->prefix, sizeof l->prefix)) continue;
        if (n->unbuilt)
            return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: this is %s ('%s%s'); that layout is not built yet", path, n->unbuilt,
                           l->prefix, n->present[0]);
        l->names = n;
        l->arch.layout = n->layout;
        return VS_OK;
    }
    return wanted ? no_such_layout(file, wanted, err) : no_transformer(file, err);
}

/* ---- geometry */

/* Heads are not in the shapes: the families' table, D = 64 otherwise. */
static size_t heads_of_width(size_t width, bool dinov3) {
    if (dinov3) return width == 4096 ? 32 : width % 64 == 0 ? width / 64 : 0; /* 7B's heads are 128 wide */

    static const size_t table[][2] = { { 192, 3 },   { 384, 6 },   { 768, 12 },  { 1024, 16 },
                                       { 1280, 16 }, { 1152, 16 }, { 1408, 16 }, { 1536, 24 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i][0] == width) return table[i][1];
    return width % 64 == 0 ? width / 64 : 0;
}

static void name_arch(vs_arch *a, const char *family) {
    const bool dinov3 = a->position == VS_POSITION_ROPE;
    const char *size = a->width == 192    ? dinov3 ? "t" : "ti"
                       : a->width == 384  ? "s"
                       : a->width == 768  ? "b"
                       : a->width == 1024 ? "l"
                       : a->width == 1280 ? "h"
                       : a->width == 1536 ? "g"
                       : a->width == 4096 ? "7b"
                                          : "";
    const char *reg = a->distilled ? "_distilled" : a->registers && !dinov3 ? "_reg" : "";
    if (*size && dinov3) /* all have registers; SwiGLU is the name's plus, but for the 7B, which has no other */
        snprintf(a->name, sizeof a->name, "%s%s%zu%s", family, size, a->patch,
                 a->ffn == VS_FFN_SWIGLU && a->width != 4096 ? "plus" : "");
    else if (*size)
        snprintf(a->name, sizeof a->name, "%s%s%zu%s", family, size, a->patch, reg);
    else
        snprintf(a->name, sizeof a->name, "%sc%zu_%zu%s", family, a->width, a->patch, reg);
}

static vs_status detect_patch(vs_layout *l, const vs_tensorfile *file, vs_error *err) {
    char key[128];
    snprintf(key, sizeof key, "%s.weight", l->names->patch);
    const vs_tensor_entry *conv = find(file, l->prefix, key);
    if (!conv || conv->ndim != 4 || conv->shape[0] == 0 || conv->shape[1] != 3 || conv->shape[2] == 0 ||
        conv->shape[2] != conv->shape[3])
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s%s' has a wrong shape: expected [width, 3, patch, patch]",
                       vs_tensorfile_path(file), l->prefix, key);
    l->arch.width = conv->shape[0];
    l->arch.patch = conv->shape[2];
    return VS_OK;
}

static vs_status detect_blocks(vs_layout *l, const vs_tensorfile *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const vs_layout_names *n = l->names;
    char base[192];
    while (find_block(l, file, a->depth, base, sizeof base)) a->depth++;
    if (a->depth == 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: missing tensor '%s.%s.weight'", vs_tensorfile_path(file), base, n->norm1);
    a->layer_scale = find_in_block(l, file, n->ls1, "") != NULL;

    const bool packed = find_in_block(l, file, n->w12, ".weight") != NULL,
               gated = find_in_block(l, file, n->w1, ".weight") != NULL;
    const char *name = packed ? n->w12 : gated ? n->w1 : n->fc1;
    const vs_tensor_entry *first = find_in_block(l, file, name, ".weight");
    const vs_tensor_entry *second = find_in_block(l, file, packed ? n->w3 : n->fc2, ".weight");
    vs_layout_block(l, file, 0, base, sizeof base);
    if (!first || first->ndim != 2 || first->shape[0] == 0 || (packed && first->shape[0] % 2))
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s.%s.weight' is missing or no matrix", vs_tensorfile_path(file), base,
                       name);
    if (gated) {
        a->ffn = VS_FFN_SWIGLU;
        a->gate_apart = true;
        a->hidden = first->shape[0];
        return VS_OK;
    }
    /* timm packs both halves under fc1: it gives twice what fc2 reads */
    const bool doubled = second && second->ndim == 2 && first->shape[0] == 2 * second->shape[1];
    a->ffn = packed || doubled ? VS_FFN_SWIGLU : VS_FFN_GELU;
    a->hidden = a->ffn == VS_FFN_SWIGLU ? first->shape[0] / 2 : first->shape[0];
    return VS_OK;
}

/* Registers, or the distillation token, which is one with a position. */
static vs_status detect_registers(vs_layout *l, const vs_tensorfile *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const char *name = l->names->distillation ? l->names->distillation : l->names->registers;
    const vs_tensor_entry *reg = name ? find(file, l->prefix, name) : NULL;
    if (!reg) return VS_OK;
    a->distilled = l->names->distillation != NULL;
    if (reg->ndim != 3 || reg->shape[2] != a->width || (a->distilled && reg->shape[1] != 1))
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has a wrong shape: expected [1, %s, %zu]", vs_tensorfile_path(file),
                       reg->name, a->distilled ? "1" : "registers", a->width);
    a->registers = reg->shape[1];
    return VS_OK;
}

static vs_status detect_positions(vs_layout *l, const vs_tensorfile *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const char *path = vs_tensorfile_path(file);
    a->position = l->names->position;
    if (!l->names->pos) return VS_OK;
    const vs_tensor_entry *pos = find(file, l->prefix, l->names->pos);
    if (!pos)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: no '%s%s': models of this layout without learned positions are not built",
                       path, l->prefix, l->names->pos);
    if (pos->ndim != 3 || pos->shape[0] != 1 || pos->shape[2] != a->width)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has a wrong shape: expected [1, tokens, %zu]", path, pos->name,
                       a->width);
    const size_t rows = pos->shape[1];
    const int said = l->names->prefix_positions;
    static const size_t guesses[] = { 1, 0 };
    for (size_t i = 0; i < (said < 0 ? 2 : 1); i++) {
        a->prefix_positions = said < 0 ? guesses[i] : (size_t)said;
        if (rows > a->prefix_positions && square_root(rows - a->prefix_positions, &a->grid)) break;
        a->grid = 0;
    }
    if (a->grid == 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s': %zu positions are no square grid", path, pos->name, rows);
    a->position = a->registers ? l->names->with_registers : l->names->position;
    return VS_OK;
}

/* ---- what is not in the shapes */

static vs_status disagree(const vs_tensorfile *file, const char *what, size_t said, size_t found, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json says %s %zu, the tensors have %zu", vs_tensorfile_path(file), what, said,
                   found);
}

static vs_status apply_config(vs_layout *l, const vs_tensorfile *file, const vs_layout_config *c, vs_error *err) {
    vs_arch *a = &l->arch;
    if (c->width && c->width != a->width) return disagree(file, "hidden_size", c->width, a->width, err);
    if (c->depth && c->depth != a->depth) return disagree(file, "num_hidden_layers", c->depth, a->depth, err);
    if (c->patch && c->patch != a->patch) return disagree(file, "patch_size", c->patch, a->patch, err);
    if (a->ffn == VS_FFN_GELU && c->activation[0] && strcmp(c->activation, "gelu") != 0)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: config.json says hidden_act '%s'; only 'gelu' (erf) is built",
                       vs_tensorfile_path(file), c->activation);
    if (a->ffn == VS_FFN_SWIGLU && l->names->w1 && c->activation[0] && strcmp(c->activation, "silu") != 0)
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: config.json says hidden_act '%s'; only 'silu' is built for a gated MLP",
                       vs_tensorfile_path(file), c->activation);
    if (c->heads) a->heads = c->heads;
    if (c->rope_theta > 0 && a->position == VS_POSITION_ROPE) a->rope_theta = c->rope_theta;
    l->key_bias = c->key_bias;
    if (c->eps > 0) a->eps = c->eps;
    return VS_OK;
}

static bool find_norm(const vs_layout *l, const vs_tensorfile *file, const char *name) {
    char key[128];
    snprintf(key, sizeof key, "%s.weight", name);
    return find(file, l->prefix, key) != NULL;
}

/* The periods' number tells the head width, where the file has them. */
static size_t heads_of_periods(const vs_layout *l, const vs_tensorfile *file) {
    const vs_tensor_entry *periods = l->names->periods ? find(file, l->prefix, l->names->periods) : NULL;
    if (!periods || periods->count == 0 || periods->count > l->arch.width / 4 || l->arch.width % (4 * periods->count)) return 0;
    return l->arch.width / (4 * periods->count);
}

static vs_status decide_rotation(vs_layout *l, const vs_tensorfile *file, const vs_model_options *options, vs_error *err) {
    vs_arch *a = &l->arch;
    const char *path = vs_tensorfile_path(file), *name = l->names->periods;
    const bool found = name && find(file, l->prefix, name);
    if (a->position != VS_POSITION_ROPE) {
        if (options->rope == VS_ROPE_FOUND) return VS_OK;
        return vs_fail(err, VS_ERR_CONFIG, "%s: model.rope: a %s model has no rotary positions", path, l->names->layout);
    }
    if (options->rope == VS_ROPE_FILE && !found)
        return vs_fail(err, VS_ERR_CONFIG, "%s: model.rope: file: there are no periods in it ('%srope_embed.periods')", path,
                       l->prefix);
    if (a->width / a->heads % 4)
        return vs_fail(err, VS_ERR_CONFIG,
                       "%s: rotary positions need heads whose width is a multiple of 4; %zu heads of %zu are "
                       "none: set model.heads",
                       path, a->heads, a->width / a->heads);
    if (found && options->rope != VS_ROPE_COMPUTED) a->rope_theta = 0;
    return VS_OK;
}

static vs_status decide_rest(vs_layout *l, const vs_tensorfile *file, const vs_model_options *options, vs_error *err) {
    vs_arch *a = &l->arch;
    a->heads = heads_of_periods(l, file);
    if (!a->heads) a->heads = heads_of_width(a->width, a->position == VS_POSITION_ROPE);
    a->eps = l->names->eps;
    a->rope_theta = l->names->rope_theta;
    a->prefix_norm = l->names->prefix_norm && find_norm(l, file, l->names->prefix_norm);
    vs_layout_config config;
    vs_status status = vs_layout_config_read(&config, vs_tensorfile_config(file), vs_tensorfile_path(file), err);
    if (status == VS_OK) status = apply_config(l, file, &config, err);
    if (status != VS_OK) return status;
    if (options->heads) a->heads = options->heads;
    if (options->eps > 0) a->eps = options->eps;
    if (a->heads == 0 && options->shapes_only) return VS_OK; /* to be looked at, not to be run */
    if (a->heads == 0 || a->width % a->heads != 0)
        return vs_fail(err, VS_ERR_CONFIG, "%s: the number of heads is not known for width %zu: set model.heads",
                       vs_tensorfile_path(file), a->width);
    return decide_rotation(l, file, options, err);
}

vs_status vs_layout_detect(vs_layout *l, const vs_tensorfile *file, const vs_tensorfile *head_file,
                           const vs_model_options *options, vs_error *err) {
    memset(l, 0, sizeof *l);
    vs_status status = choose_names(l, file, options->layout, err);
    if (status == VS_OK) status = detect_patch(l, file, err);
    if (status == VS_OK) status = detect_blocks(l, file, err);
    if (status == VS_OK) status = detect_registers(l, file, err);
    if (status == VS_OK) status = detect_positions(l, file, err);
    if (status == VS_OK) status = decide_rest(l, file, options, err);
    if (status == VS_OK) status = vs_head_detect(&l->head, &l->arch, file, l->prefix, head_file, err);
    if (status != VS_OK) return status;
    name_arch(&l->arch, l->names->family);
    if (options->arch) snprintf(l->arch.name, sizeof l->arch.name, "%s", options->arch);
    return VS_OK;
}
