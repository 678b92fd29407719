#include "layout.h"

#include <stdio.h>
#include <string.h>

#include "util.h"

static const vs_tensor_entry *find(const vs_tensorfile *file, const char *prefix, const char *name) {
    char key[256];
    const int n = snprintf(key, sizeof key, "%s%s", prefix, name);
    return n < 0 || (size_t)n >= sizeof key ? NULL : vs_tensorfile_find(file, key);
}

/* The text before `suffix` in the first key that ends with it. */
static bool prefix_of(const vs_tensorfile *file, const char *suffix, char *prefix, size_t size) {
    const size_t tail = strlen(suffix);
    for (size_t i = 0; i < vs_tensorfile_count(file); i++) {
        const char *name = vs_tensorfile_at(file, i)->name;
        const size_t length = strlen(name);
        if (length < tail || strcmp(name + length - tail, suffix) != 0) continue;
        const size_t head = length - tail;
        if (head >= size || (head > 0 && name[head - 1] != '.')) continue;
        memcpy(prefix, name, head);
        prefix[head] = '\0';
        return true;
    }
    return false;
}

static vs_status refuse_foreign(const vs_tensorfile *file, vs_error *err) {
    static const struct {
        const char *key, *what;
    } foreign[] = {
        { "rope_embed.periods", "a DINOv3 checkpoint" },
        { "storage_tokens", "a DINOv3 checkpoint" },
        { "layer.0.attention.q_proj.weight", "a Hugging Face DINOv3 checkpoint" },
        { "encoder.layer.0.layer_scale1.lambda1", "a Hugging Face DINOv2 checkpoint" },
        { "encoder.layer.0.layernorm_before.weight", "a Hugging Face ViT checkpoint" },
        { "vision_model.encoder.layers.0.self_attn.q_proj.weight", "a Hugging Face CLIP or SigLIP checkpoint" },
        { "visual.transformer.resblocks.0.attn.in_proj_weight", "an OpenAI CLIP checkpoint" },
    };
    char prefix[128];
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (prefix_of(file, foreign[i].key, prefix, sizeof prefix))
            return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: this is %s ('%s%s'); that layout is not built yet",
                           vs_tensorfile_path(file), foreign[i].what, prefix, foreign[i].key);
    return vs_fail(err, VS_ERR_FORMAT, "%s: no Vision Transformer found: no tensor is called '...patch_embed.proj.weight'",
                   vs_tensorfile_path(file));
}

static size_t count_blocks(const vs_tensorfile *file, const char *prefix) {
    size_t depth = 0;
    char name[64];
    for (;; depth++) {
        snprintf(name, sizeof name, "blocks.%zu.norm1.weight", depth);
        if (!find(file, prefix, name)) return depth;
    }
}

/* Heads are not in the shapes: the families' table, D = 64 otherwise. */
static size_t heads_of_width(size_t width) {
    static const size_t table[][2] = { { 192, 3 },   { 384, 6 },   { 768, 12 },  { 1024, 16 },
                                       { 1280, 16 }, { 1152, 16 }, { 1408, 16 }, { 1536, 24 } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i][0] == width) return table[i][1];
    return width % 64 == 0 ? width / 64 : 0;
}

static bool square_root(size_t n, size_t *root) {
    size_t r = 0;
    while (r * r < n) r++;
    *root = r;
    return r * r == n;
}

static void name_arch(vs_arch *a) {
    const char *size = a->width == 192    ? "ti"
                       : a->width == 384  ? "s"
                       : a->width == 768  ? "b"
                       : a->width == 1024 ? "l"
                       : a->width == 1536 ? "g"
                                          : "";
    const char *family = strcmp(a->layout, "dinov2_hub") == 0 ? "dinov2_vit" : "vit_";
    if (*size)
        snprintf(a->name, sizeof a->name, "%s%s%zu%s", family, size, a->patch, a->registers ? "_reg" : "");
    else
        snprintf(a->name, sizeof a->name, "%sc%zu_%zu%s", family, a->width, a->patch, a->registers ? "_reg" : "");
}

static vs_status detect_positions(vs_layout *l, const vs_tensorfile *file, vs_error *err) {
    vs_arch *a = &l->arch;
    const vs_tensor_entry *pos = find(file, l->prefix, "pos_embed");
    if (!pos)
        return vs_fail(err, VS_ERR_UNSUPPORTED,
                       "%s: no '%spos_embed': models without learned positions (DINOv3) are not built yet",
                       vs_tensorfile_path(file), l->prefix);
    if (pos->ndim != 3 || pos->shape[0] != 1 || pos->shape[2] != a->width)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has a wrong shape: expected [1, tokens, %zu]",
                       vs_tensorfile_path(file), pos->name, a->width);
    const size_t rows = pos->shape[1];
    if (rows > 1 && square_root(rows - 1, &a->grid))
        a->class_position = true;
    else if (square_root(rows, &a->grid))
        a->class_position = false;
    else if (rows > 2 && square_root(rows - 2, &a->grid))
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: a distilled DeiT (two prefix positions) is not built yet",
                       vs_tensorfile_path(file));
    else
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s': %zu positions are no square grid", vs_tensorfile_path(file),
                       pos->name, rows);
    return VS_OK;
}

vs_status vs_layout_detect(vs_layout *l, const vs_tensorfile *file, const vs_tensorfile *head_file,
                           const vs_model_options *options, vs_error *err) {
    memset(l, 0, sizeof *l);
    vs_arch *a = &l->arch;
    if (!prefix_of(file, "patch_embed.proj.weight", l->prefix, sizeof l->prefix)) return refuse_foreign(file, err);
    if (find(file, l->prefix, "rope_embed.periods") || find(file, l->prefix, "storage_tokens")) return refuse_foreign(file, err);
    const char *path = vs_tensorfile_path(file);
    if (find(file, l->prefix, "dist_token"))
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: a distilled DeiT ('dist_token') is not built yet", path);
    if (find(file, l->prefix, "blocks.0.mlp.w12.weight") || find(file, l->prefix, "blocks.0.mlp.w1.weight"))
        return vs_fail(err, VS_ERR_UNSUPPORTED, "%s: SwiGLU feed-forward layers are not built yet", path);

    const vs_tensor_entry *conv = find(file, l->prefix, "patch_embed.proj.weight");
    if (!conv || conv->ndim != 4 || conv->shape[0] == 0 || conv->shape[1] != 3 || conv->shape[2] == 0 ||
        conv->shape[2] != conv->shape[3])
        return vs_fail(err, VS_ERR_FORMAT,
                       "%s: tensor '%spatch_embed.proj.weight' has a wrong shape: expected [width, 3, patch, patch]", path,
                       l->prefix);
    a->width = conv->shape[0];
    a->patch = conv->shape[2];
    a->depth = count_blocks(file, l->prefix);
    if (a->depth == 0) return vs_fail(err, VS_ERR_FORMAT, "%s: missing tensor '%sblocks.0.norm1.weight'", path, l->prefix);
    const vs_tensor_entry *fc1 = find(file, l->prefix, "blocks.0.mlp.fc1.weight");
    if (!fc1 || fc1->ndim != 2 || fc1->shape[0] == 0)
        return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%sblocks.0.mlp.fc1.weight' is missing or no matrix", path, l->prefix);
    a->hidden = fc1->shape[0];
    a->layer_scale = find(file, l->prefix, "blocks.0.ls1.gamma") != NULL;

    const vs_tensor_entry *hub_reg = find(file, l->prefix, "register_tokens"), *timm_reg = find(file, l->prefix, "reg_token");
    const vs_tensor_entry *reg = hub_reg ? hub_reg : timm_reg;
    if (reg) {
        if (reg->ndim != 3 || reg->shape[2] != a->width)
            return vs_fail(err, VS_ERR_FORMAT, "%s: tensor '%s' has a wrong shape: expected [1, registers, %zu]", path, reg->name,
                           a->width);
        a->registers = reg->shape[1];
    }
    vs_status status = detect_positions(l, file, err);
    if (status != VS_OK) return status;
    const bool hub = find(file, l->prefix, "mask_token") || hub_reg;
    a->layout = !a->layer_scale ? "timm_vit" : hub ? "dinov2_hub" : "timm_dinov2";
    a->position = hub && !hub_reg ? VS_POSITION_OFFSET : VS_POSITION_SIZE_ANTIALIAS;
    a->eps = options->eps > 0 ? options->eps : 1e-6;
    a->heads = options->heads ? options->heads : heads_of_width(a->width);
    if (a->heads == 0 || a->width % a->heads != 0)
        return vs_fail(err, VS_ERR_CONFIG, "%s: the number of heads is not known for width %zu: set model.heads", path, a->width);
    status = vs_head_detect(&l->head, a, file, l->prefix, head_file, err);
    if (status != VS_OK) return status;
    name_arch(a);
    if (options->arch) snprintf(a->name, sizeof a->name, "%s", options->arch);
    return VS_OK;
}
