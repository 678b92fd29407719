#include "vit/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"

/* ---- keys */

static const vs_tensor_entry *find(const vs_ledger *file, const char *prefix, const char *name) {
    char key[256];
    const int n = snprintf(key, sizeof key, "%s%s", prefix, name);
    return n < 0 || (size_t)n >= sizeof key ? NULL : vs_ledger_tensor(file, key);
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

void vs_layout_block(const vs_layout *l, size_t index, char *base, size_t size) {
    char block[96];
    expand(l->names->block, l->chunks && index < l->arch.depth ? l->chunks[index] : 0, index, block, sizeof block);
    snprintf(base, size, "%s%s", l->prefix, block);
}

/* A number as Python writes it. */
static const char *read_number(const char *text, size_t *out) {
    enum { MOST_DIGITS = 6 };
    size_t digits = 0;
    *out = 0;
    while (text[digits] >= '0' && text[digits] <= '9' && digits <= MOST_DIGITS) *out = *out * 10 + (size_t)(text[digits++] - '0');
    return digits == 0 || digits > MOST_DIGITS || (text[0] == '0' && digits > 1) ? NULL : text + digits;
}

const char *vs_layout_in_block(const vs_layout_names *n, const char *name, size_t *chunk, size_t *index) {
    *chunk = *index = 0;
    for (const char *p = n->block; p && *p && name; p++) {
        if (*p == '#' || *p == '*')
            name = read_number(name, *p == '#' ? index : chunk);
        else
            name = *name == *p ? name + 1 : NULL;
    }
    return n->block && name && *name == '.' ? name + 1 : NULL;
}

static const vs_tensor_entry *find_at(const vs_layout *l, const vs_ledger *file, size_t index, const char *name,
                                      const char *what) {
    char base[192], key[256];
    if (!name) return NULL;
    vs_layout_block(l, index, base, sizeof base);
    snprintf(key, sizeof key, "%s.%s%s", base, name, what);
    return vs_ledger_tensor(file, key);
}

static const vs_tensor_entry *find_in_block(const vs_layout *l, const vs_ledger *file, const char *name, const char *what) {
    return find_at(l, file, 0, name, what);
}

static bool square_root(size_t n, size_t *root) {
    size_t r = 0;
    while (r * r < n) r++;
    *root = r;
    return n > 0 && r * r == n;
}

/* ---- which layout */

static vs_status choose_names(vs_layout *l, const vs_ledger *file, const vs_model_options *options, vs_error *err) {
    size_t chosen;
    vs_status status = vs_backbone_choose(&l->found, &chosen, file, options, err);
    if (status != VS_OK) return status;
    const vs_backbone *b = &l->found.items[chosen];
    memcpy(l->prefix, b->prefix, sizeof l->prefix);
    if (b->names->unbuilt)
        return vs_fail(err, VS_ERR_FORMAT, "%s: this is %s ('%s%s'); that layout is not built yet",
                       vs_tensorfile_path(file->file), b->names->unbuilt, l->prefix, b->names->present[0]);
    l->names = b->names;
    l->arch.layout = b->names->layout;
    return VS_OK;
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
    if (*size && dinov3) /* all have registers; "plus" stands for SwiGLU, but the 7B, which is always SwiGLU, has none */
        snprintf(a->name, sizeof a->name, "%s%s%zu%s", family, size, a->patch,
                 a->ffn == VS_FFN_SWIGLU && a->width != 4096 ? "plus" : "");
    else if (*size)
        snprintf(a->name, sizeof a->name, "%s%s%zu%s", family, size, a->patch, reg);
    else
        snprintf(a->name, sizeof a->name, "%sc%zu_%zu%s", family, a->width, a->patch, reg);
}

static vs_status detect_patch(vs_layout *l, const vs_ledger *file, vs_error *err) {
    char key[128];
    snprintf(key, sizeof key, "%s.weight", l->names->patch);
    const vs_tensor_entry *conv = find(file, l->prefix, key);
    if (!conv || conv->ndim != 4 || conv->shape[0] == 0 || conv->shape[1] != 3 || conv->shape[2] == 0 ||
        conv->shape[2] != conv->shape[3])
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s%s' has a wrong shape: expected [width, 3, patch, patch]",
                       vs_tensorfile_path(file->file), l->prefix, key);
    l->arch.width = conv->shape[0];
    l->arch.patch = conv->shape[2];
    return VS_OK;
}

typedef struct block_place {
    size_t index, chunk;
} block_place;

static int by_index(const void *a, const void *b) {
    const block_place *x = a, *y = b;
    if (x->index != y->index) return x->index < y->index ? -1 : 1;
    return x->chunk < y->chunk ? -1 : x->chunk > y->chunk;
}

/* Every number that a tensor names, sorted; a number in two chunks stands there twice. */
static vs_status list_blocks(const vs_layout *l, const vs_ledger *file, block_place **out, size_t *count, vs_error *err) {
    const size_t skip = strlen(l->prefix);
    size_t capacity = 0;
    for (size_t i = vs_ledger_from(file, l->prefix); i < file->count && vs_begins(file->by_name[i]->name, l->prefix); i++) {
        block_place at;
        if (!vs_layout_in_block(l->names, file->by_name[i]->name + skip, &at.chunk, &at.index)) continue;
        if (*count && by_index(&(*out)[*count - 1], &at) == 0) continue;
        if (!vs_grow((void **)out, &capacity, *count + 1, sizeof **out))
            return vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its blocks", vs_tensorfile_path(file->file));
        (*out)[(*count)++] = at;
    }
    if (*count) qsort(*out, *count, sizeof **out, by_index);
    return VS_OK;
}

/* All numbers from 0 on, each once. */
static vs_status check_blocks(const vs_layout *l, const vs_ledger *file, const block_place *places, size_t count, vs_error *err) {
    const char *path = vs_tensorfile_path(file->file);
    char base[192];
    if (count == 0) {
        vs_layout_block(l, 0, base, sizeof base);
        return vs_fail(err, VS_ERR_FORMAT, "%s: missing tensor '%s.%s.weight'", path, base, l->names->norm1);
    }
    for (size_t i = 0; i < count; i++) {
        if (i && places[i].index == places[i - 1].index)
            return vs_fail(err, VS_ERR_FORMAT, "%s: block %zu is there twice, in chunks %zu and %zu", path, places[i].index,
                           places[i - 1].chunk, places[i].chunk);
        if (places[i].index == i) continue;
        return vs_fail(err, VS_ERR_FORMAT,
                       "%s: block %zu is missing, block %zu is there ('%s'): blocks are numbered without gaps", path, i,
                       places[i].index, l->names->block);
    }
    return VS_OK;
}

static vs_status count_blocks(vs_layout *l, const vs_ledger *file, vs_error *err) {
    block_place *places = NULL;
    size_t count = 0;
    vs_status status = list_blocks(l, file, &places, &count, err);
    if (status == VS_OK) status = check_blocks(l, file, places, count, err);
    if (status == VS_OK && strchr(l->names->block, '*') && !(l->chunks = vs_calloc(count, sizeof *l->chunks)))
        status = vs_fail(err, VS_ERR_NOMEM, "%s: no memory for its blocks", vs_tensorfile_path(file->file));
    if (status == VS_OK) l->arch.depth = count;
    for (size_t i = 0; status == VS_OK && l->chunks && i < count; i++) l->chunks[i] = places[i].chunk;
    free(places);
    return status;
}

/* A bias that one block lacks and another has was lost: it is no zero. */
static void detect_biases(vs_layout *l, const vs_ledger *file) {
    const vs_layout_names *n = l->names;
    for (size_t i = 0; i < l->arch.depth; i++) {
        for (size_t part = 0; part < VS_MAX_PARTS; part++)
            l->biased[part] = l->biased[part] || find_at(l, file, i, n->qkv[part], ".bias");
        l->biased_apart = l->biased_apart || find_at(l, file, i, n->q_bias, "") || find_at(l, file, i, n->v_bias, "");
        l->masked = l->masked || find_at(l, file, i, n->bias_mask, "");
    }
}

static vs_status detect_blocks(vs_layout *l, const vs_ledger *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const vs_layout_names *n = l->names;
    char base[192];
    vs_status status = count_blocks(l, file, err);
    if (status != VS_OK) return status;
    a->layer_scale = find_in_block(l, file, n->ls1, "") != NULL;
    detect_biases(l, file);

    const bool packed = find_in_block(l, file, n->w12, ".weight") != NULL,
               gated = find_in_block(l, file, n->w1, ".weight") != NULL;
    const char *name = packed ? n->w12 : gated ? n->w1 : n->fc1;
    const vs_tensor_entry *first = find_in_block(l, file, name, ".weight");
    const vs_tensor_entry *second = find_in_block(l, file, packed ? n->w3 : n->fc2, ".weight");
    vs_layout_block(l, 0, base, sizeof base);
    if (!first || first->ndim != 2 || first->shape[0] == 0 || (packed && first->shape[0] % 2))
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s.%s.weight' is missing or no matrix", vs_tensorfile_path(file->file),
                       base, name);
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
static vs_status detect_registers(vs_layout *l, const vs_ledger *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const char *name = l->names->distillation ? l->names->distillation : l->names->registers;
    const vs_tensor_entry *reg = name ? find(file, l->prefix, name) : NULL;
    if (!find(file, l->prefix, l->names->cls))
        return vs_fail(err, VS_ERR_FORMAT, "%s: no '%s%s': models without a class token are not built",
                       vs_tensorfile_path(file->file), l->prefix, l->names->cls);
    if (!reg) return VS_OK;
    a->distilled = l->names->distillation != NULL;
    if (reg->ndim != 3 || reg->shape[2] != a->width || (a->distilled && reg->shape[1] != 1))
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has a wrong shape: expected [1, %s, %zu]",
                       vs_tensorfile_path(file->file), reg->name, a->distilled ? "1" : "registers", a->width);
    a->registers = reg->shape[1];
    l->no_registers = a->registers == 0;
    return VS_OK;
}

/* timm gives registers positions, too, unless no_embed_class is set, as all published models with registers have it: those with
 * reg in their names, of which DINOv2's have LayerScale and 4. Rows of either kind may be equal in number: 3x3 patches, or 2x2
 * with a class token and 4 registers. */
static vs_status check_register_rows(const vs_layout *l, const vs_ledger *file, size_t rows, vs_error *err) {
    const vs_arch *a = &l->arch;
    const vs_layout_config *c = &l->config;
    const char *path = vs_tensorfile_path(file->file);
    const bool published =
        c->architecture[0] ? vs_glob_match("*_reg[0-9]*", c->architecture) : a->layer_scale && a->registers == 4;
    size_t root = 0;
    if (!a->registers || l->names->prefix_positions >= 0 || c->no_embed_class == VS_SAID_YES) return VS_OK;
    if (c->no_embed_class == VS_SAID_NO)
        return vs_fail(err, VS_ERR_FORMAT,
                       "%s: config.json says no_embed_class false: registers have positions, which are not built", path);
    if (published || rows <= a->registers + 1 || !square_root(rows - a->registers - 1, &root)) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT,
                   "%s: tensor '%s%s': %zu positions may be those of %zux%zu patches, or of %zux%zu, a class token and of %zu "
                   "registers: model_args.no_embed_class of a config.json says which",
                   path, l->prefix, l->names->pos, rows, a->grid, a->grid, root, root, a->registers);
}

static vs_status check_square(const vs_layout *l, const vs_ledger *file, vs_error *err) {
    const vs_layout_config *c = &l->config;
    if (c->image_height == c->image_width) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json says positions of %zux%zu pixels; only those of a square are built",
                   vs_tensorfile_path(file->file), c->image_height, c->image_width);
}

static vs_status detect_positions(vs_layout *l, const vs_ledger *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const char *path = vs_tensorfile_path(file->file);
    a->position = l->names->position;
    if (!l->names->pos) return VS_OK;
    const vs_tensor_entry *pos = find(file, l->prefix, l->names->pos);
    if (!pos)
        return vs_fail(err, VS_ERR_FORMAT, "%s: no '%s%s': models of this layout without learned positions are not built", path,
                       l->prefix, l->names->pos);
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
    vs_status status = check_square(l, file, err);
    return status == VS_OK ? check_register_rows(l, file, rows, err) : status;
}

/* ---- what is not in the shapes */

static vs_status disagree(const vs_ledger *file, const char *what, size_t said, size_t found, vs_error *err) {
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json says %s %zu, the tensors have %zu", vs_tensorfile_path(file->file), what,
                   said, found);
}

/* GELU's tanh form, as transformers (all of one formula) and timm call it. */
static bool is_tanh_gelu(const char *said) {
    return vs_glob_match("{gelu_pytorch_tanh,gelu_new,gelu_fast,gelu_accurate,gelu_python_tanh,gelu_tanh}", said);
}

/* transformers has SiLU in DINOv2's gated MLP whatever hidden_act says, and GELU in DINOv3's where nothing is said. */
static vs_status decide_activation(vs_arch *a, const vs_ledger *file, const vs_layout_config *c, vs_error *err) {
    const bool timm = c->architecture[0] != '\0', gated = a->ffn == VS_FFN_SWIGLU, rotary = a->position == VS_POSITION_ROPE;
    const char *said = c->activation, *built = gated ? "silu" : "gelu";
    if (!*said && gated && strcmp(c->model_type, "dinov3_vit") == 0) said = "gelu";
    if (!*said || strcmp(said, built) == 0 || (gated && !rotary && !timm)) return VS_OK;
    if (!gated && is_tanh_gelu(said)) {
        a->ffn = VS_FFN_GELU_TANH;
        return VS_OK;
    }
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json says %s '%s'; only %s built%s", vs_tensorfile_path(file->file),
                   timm ? "act_layer" : "hidden_act", said, gated ? "'silu' is" : "'gelu' (erf) and its tanh form are",
                   gated ? " for a gated MLP" : "");
}

static vs_status check_bias(const vs_layout *l, const vs_ledger *file, vs_error *err) {
    const vs_said said = l->config.qkv_bias;
    const bool found = l->biased[0] || l->biased_apart;
    if (said == VS_UNSAID || (said == VS_SAID_YES) == found) return VS_OK;
    return vs_fail(err, VS_ERR_FORMAT, "%s: config.json says qkv_bias %s, the tensors have %sbiases of q, k and v",
                   vs_tensorfile_path(file->file), said == VS_SAID_YES ? "true" : "false", found ? "" : "no ");
}

static vs_status apply_config(vs_layout *l, const vs_ledger *file, const vs_layout_config *c, vs_error *err) {
    vs_arch *a = &l->arch;
    const bool timm = c->architecture[0] != '\0';
    if (c->width && c->width != a->width) return disagree(file, timm ? "embed_dim" : "hidden_size", c->width, a->width, err);
    if (c->depth && c->depth != a->depth) return disagree(file, timm ? "depth" : "num_hidden_layers", c->depth, a->depth, err);
    if (c->patch && c->patch != a->patch) return disagree(file, "patch_size", c->patch, a->patch, err);
    vs_status status = decide_activation(a, file, c, err);
    if (status == VS_OK) status = check_bias(l, file, err);
    if (status != VS_OK) return status;
    if (c->heads) a->heads = c->heads;
    if (c->rope_theta > 0 && a->position == VS_POSITION_ROPE) a->rope_theta = c->rope_theta;
    if (c->eps > 0) a->eps = c->eps;
    return VS_OK;
}

static bool find_norm(const vs_layout *l, const vs_ledger *file, const char *name) {
    char key[128];
    snprintf(key, sizeof key, "%s.weight", name);
    return find(file, l->prefix, key) != NULL;
}

/* The periods' number tells the head width, where the file has them. */
static size_t heads_of_periods(const vs_layout *l, const vs_ledger *file) {
    const vs_tensor_entry *periods = l->names->periods ? find(file, l->prefix, l->names->periods) : NULL;
    if (!periods || periods->count == 0 || periods->count > l->arch.width / 4 || l->arch.width % (4 * periods->count)) return 0;
    return l->arch.width / (4 * periods->count);
}

static vs_status decide_rotation(vs_layout *l, const vs_ledger *file, const vs_model_options *options, vs_error *err) {
    vs_arch *a = &l->arch;
    const char *path = vs_tensorfile_path(file->file), *name = l->names->periods;
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

vs_status vs_layout_check_kind(const vs_layout *l, const vs_ledger *file, const vs_model_options *options, vs_error *err) {
    const vs_layout_config *c = &l->config;
    static const char built[] = "{dinov2,dinov2_with_registers,dinov3_vit,vit,vit_msn,deit}";
    const char *path = vs_tensorfile_path(file->file), *why = NULL;
    if (options->layout) return VS_OK;
    if (c->architecture[0] && !vs_timm_is_built(c->architecture, &why))
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: config.json says architecture '%s', which is not built%s%s; 'model.layout' reads its tensors as those of a "
            "model that is",
            path, c->architecture, why ? ": " : "", why ? why : "");
    if (c->model_type[0] && !vs_glob_match(built, c->model_type))
        return vs_fail(
            err, VS_ERR_FORMAT,
            "%s: config.json says model_type '%s', which is not built; 'model.layout' reads its tensors as those of a model "
            "that is",
            path, c->model_type);
    return VS_OK;
}

/* What is not in the shapes: from config.json, else from the layout; the number of heads is then a guess. */
static vs_status decide_rest(vs_layout *l, const vs_ledger *file, const vs_model_options *options, vs_error *err) {
    vs_arch *a = &l->arch;
    a->heads = heads_of_periods(l, file);
    a->heads_guessed = !a->heads && !l->config.heads && !options->heads;
    if (!a->heads) a->heads = heads_of_width(a->width, a->position == VS_POSITION_ROPE);
    a->eps = l->names->eps;
    a->rope_theta = l->names->rope_theta;
    a->prefix_norm = l->names->prefix_norm && find_norm(l, file, l->names->prefix_norm);
    vs_status status = apply_config(l, file, &l->config, err);
    if (status != VS_OK) return status;
    if (options->heads) a->heads = options->heads;
    if (options->eps > 0) a->eps = options->eps;
    if (a->heads == 0 && options->shapes_only) return VS_OK; /* to be looked at, not to be run */
    if (a->heads && a->width % a->heads != 0)
        return vs_fail(err, VS_ERR_CONFIG, "%s: %zu heads do not divide width %zu: set model.heads",
                       vs_tensorfile_path(file->file), a->heads, a->width);
    if (a->heads == 0)
        return vs_fail(err, VS_ERR_CONFIG, "%s: the number of heads is not known for width %zu: set model.heads",
                       vs_tensorfile_path(file->file), a->width);
    return decide_rotation(l, file, options, err);
}

vs_status vs_layout_detect(vs_layout *l, const vs_ledger *file, const vs_ledger *head_file, const vs_model_options *options,
                           vs_error *err) {
    memset(l, 0, sizeof *l);
    vs_status status = choose_names(l, file, options, err);
    if (status != VS_OK) return status;
    status = detect_patch(l, file, err);
    if (status == VS_OK) status = detect_blocks(l, file, err);
    if (status != VS_OK) return vs_explain_failure(file, l, true, status, err);
    status = vs_layout_config_read(&l->config, vs_tensorfile_config(file->file), vs_tensorfile_path(file->file), err);
    if (status != VS_OK) return status;
    status = detect_registers(l, file, err);
    if (status == VS_OK) status = detect_positions(l, file, err);
    if (status != VS_OK) return vs_explain_failure(file, l, false, status, err);
    status = decide_rest(l, file, options, err);
    if (status == VS_OK) status = vs_head_detect(l, file, head_file, options, err);
    if (status != VS_OK) return status;
    name_arch(&l->arch, l->names->family);
    if (options->arch) snprintf(l->arch.name, sizeof l->arch.name, "%s", options->arch);
    return VS_OK;
}

void vs_layout_release(vs_layout *l) {
    free(l->found.items);
    free(l->chunks);
    *l = (vs_layout){ 0 };
}
