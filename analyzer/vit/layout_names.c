/* The layouts as tables: docs/vit-models.md 4.1, 4.4 and 4.5. */
#include <string.h>

#include "vit/layout.h"

#define HUB_OUTSIDE .patch = "patch_embed.proj", .cls = "cls_token", .pos = "pos_embed", .norm = "norm"
#define HUB_BLOCK                                                                                                                \
    .norm1 = "norm1", .norm2 = "norm2", .ls1 = "ls1.gamma", .ls2 = "ls2.gamma", .qkv = { "attn.qkv" }, .proj = "attn.proj",      \
    .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .w12 = "mlp.w12", .w3 = "mlp.w3"
#define HUB                                                                                                                      \
    HUB_OUTSIDE, HUB_BLOCK, .family = "dinov2_vit", .registers = "register_tokens", .prefix_positions = 1,                       \
                            .position = VS_POSITION_OFFSET, .with_registers = VS_POSITION_SIZE_ANTIALIAS, .eps = 1e-6
#define TIMM                                                                                                                     \
    HUB_OUTSIDE, HUB_BLOCK, .block = "blocks.#", .registers = "reg_token", .position = VS_POSITION_SIZE_ANTIALIAS,               \
                            .with_registers = VS_POSITION_SIZE_ANTIALIAS, .eps = 1e-6
#define HF_OUTSIDE                                                                                                               \
    .patch = "embeddings.patch_embeddings.projection", .cls = "embeddings.cls_token", .pos = "embeddings.position_embeddings",   \
    .norm = "layernorm", .block = "encoder.layer.#",                                                                             \
    .qkv = { "attention.attention.query", "attention.attention.key", "attention.attention.value" },                              \
    .proj = "attention.output.dense"
#define HF_DINOV2                                                                                                                \
    HF_OUTSIDE, .family = "dinov2_vit", .norm1 = "norm1", .norm2 = "norm2", .ls1 = "layer_scale1.lambda1",                       \
                .ls2 = "layer_scale2.lambda1", .fc1 = "mlp.fc1", .fc2 = "mlp.fc2", .w12 = "mlp.weights_in",                      \
                .w3 = "mlp.weights_out", .registers = "embeddings.register_tokens", .prefix_positions = 1, .eps = 1e-6
#define HF_VIT                                                                                                                   \
    HF_OUTSIDE, .norm1 = "layernorm_before", .norm2 = "layernorm_after", .fc1 = "intermediate.dense", .fc2 = "output.dense",     \
                .position = VS_POSITION_SIZE, .with_registers = VS_POSITION_SIZE, .eps = 1e-12
/* transformers 5 in memory: what torch.save(model.state_dict()), Lightning and accelerate write */
#define HF5_ATTENTION                                                                                                            \
    .qkv = { "attention.q_proj", "attention.k_proj", "attention.v_proj" }, .proj = "attention.o_proj", .fc1 = "mlp.fc1",         \
    .fc2 = "mlp.fc2"
#define HF5_OUTSIDE                                                                                                              \
    .patch = "embeddings.patch_embeddings.projection", .cls = "embeddings.cls_token", .pos = "embeddings.position_embeddings",   \
    .norm = "layernorm", HF5_ATTENTION
#define HF5_DINOV2                                                                                                               \
    HF5_OUTSIDE, .block = "encoder.layer.#", .family = "dinov2_vit", .norm1 = "norm1", .norm2 = "norm2",                         \
                 .ls1 = "layer_scale1.lambda1", .ls2 = "layer_scale2.lambda1", .w1 = "mlp.gate_proj", .w2 = "mlp.up_proj",       \
                 .w3 = "mlp.down_proj", .registers = "embeddings.register_tokens", .prefix_positions = 1, .eps = 1e-6
#define HF5_VIT                                                                                                                  \
    HF5_OUTSIDE, .block = "layers.#", .norm1 = "layernorm_before", .norm2 = "layernorm_after", .position = VS_POSITION_SIZE,     \
                 .with_registers = VS_POSITION_SIZE, .eps = 1e-12
/* DINOv3: no positions, the final norm under one name everywhere, LayerNorm eps 1e-5 (docs/vit-models.md 1.2). */
#define DINOV3 .family = "dinov3_vit", .norm = "norm", .position = VS_POSITION_ROPE, .rope_theta = 100, .eps = 1e-5
#define DINOV3_HUB                                                                                                               \
    DINOV3, HUB_BLOCK, .patch = "patch_embed.proj", .cls = "cls_token", .registers = "storage_tokens", .block = "blocks.#",      \
                       .w1 = "mlp.w1", .w2 = "mlp.w2", .bias_mask = "attn.qkv.bias_mask", .prefix_norm = "cls_norm",             \
                       .periods = "rope_embed.periods"
#define HF_DINOV3                                                                                                                \
    DINOV3, .patch = "embeddings.patch_embeddings", .cls = "embeddings.cls_token", .registers = "embeddings.register_tokens",    \
            .norm1 = "norm1", .norm2 = "norm2", .ls1 = "layer_scale1.lambda1", .ls2 = "layer_scale2.lambda1",                    \
            .qkv = { "attention.q_proj", "attention.k_proj", "attention.v_proj" }, .key_bias_optional = true,                    \
            .proj = "attention.o_proj", .fc1 = "mlp.up_proj", .fc2 = "mlp.down_proj", .w1 = "mlp.gate_proj",                     \
            .w2 = "mlp.up_proj", .w3 = "mlp.down_proj"

static const char hub_patch[] = "patch_embed.proj.weight", hf_patch[] = "embeddings.patch_embeddings.projection.weight",
                  hf_dinov3_patch[] = "embeddings.patch_embeddings.weight";

static const vs_layout_names layouts[] = {
    { .layout = "dinov3_hub", .present = { hub_patch, "rope_embed.periods" }, DINOV3_HUB },
    { .layout = "dinov3_hub", .present = { hub_patch, "storage_tokens" }, DINOV3_HUB },
    { .layout = "timm_dinov3",
      .present = { hub_patch, "blocks.0.gamma_1", "reg_token" },
      .absent = { "pos_embed" },
      DINOV3,
      .patch = "patch_embed.proj",
      .cls = "cls_token",
      .registers = "reg_token",
      .block = "blocks.#",
      .norm1 = "norm1",
      .norm2 = "norm2",
      .ls1 = "gamma_1",
      .ls2 = "gamma_2",
      .qkv = { "attn.qkv" },
      .q_bias = "attn.q_bias",
      .v_bias = "attn.v_bias",
      .proj = "attn.proj",
      .fc1 = "mlp.fc1",
      .fc2 = "mlp.fc2",
      .w1 = "mlp.fc1_g",
      .w2 = "mlp.fc1_x",
      .w3 = "mlp.fc2" },
    { .layout = "hf_dinov3", .present = { hf_dinov3_patch, "layer.0.attention.q_proj.weight" }, .block = "layer.#", HF_DINOV3 },
    /* as newer transformers hold it in memory */
    { .layout = "hf_dinov3",
      .present = { hf_dinov3_patch, "model.layer.0.attention.q_proj.weight" },
      .block = "model.layer.#",
      HF_DINOV3 },
    { .layout = "hf_clip",
      .unbuilt = "a Hugging Face CLIP or SigLIP checkpoint",
      .present = { "vision_model.encoder.layers.0.self_attn.q_proj.weight" } },
    { .layout = "clip",
      .unbuilt = "an OpenAI CLIP checkpoint",
      .present = { "visual.transformer.resblocks.0.attn.in_proj_weight" } },
    { .layout = "timm_clip",
      .unbuilt = "a model with a norm before block 0, as CLIP's",
      .present = { hub_patch, "norm_pre.weight" } },
    { .layout = "timm_siglip",
      .unbuilt = "a model that pools by attention, as SigLIP's",
      .present = { hub_patch, "attn_pool.latent" } },

    { .layout = "dinov2_hub", .present = { hub_patch, "mask_token", "blocks.0.ls1.gamma" }, .block = "blocks.#", HUB },
    { .layout = "dinov2_hub", .present = { hub_patch, "register_tokens", "blocks.0.ls1.gamma" }, .block = "blocks.#", HUB },
    { .layout = "dinov2_chunked", .present = { hub_patch, "blocks.0.0.ls1.gamma" }, .block = "blocks.*.#", HUB },
    { .layout = "timm_dinov2",
      .present = { hub_patch, "blocks.0.ls1.gamma", "reg_token" },
      .family = "vit_",
      .prefix_positions = -1,
      TIMM },
    { .layout = "deit3",
      .present = { hub_patch, "blocks.0.gamma_1", "pos_embed" },
      .absent = { "reg_token" },
      .family = "deit3_",
      HUB_OUTSIDE,
      .block = "blocks.#",
      .norm1 = "norm1",
      .norm2 = "norm2",
      .ls1 = "gamma_1",
      .ls2 = "gamma_2",
      .qkv = { "attn.qkv" },
      .proj = "attn.proj",
      .fc1 = "mlp.fc1",
      .fc2 = "mlp.fc2",
      .position = VS_POSITION_SIZE_ANTIALIAS,
      .eps = 1e-6 },
    /* of the same names as timm_dinov2, but its class token has no position: tried by rows */
    { .layout = "timm_deit3", .present = { hub_patch, "blocks.0.ls1.gamma" }, .family = "deit3_", .by_rows = true, TIMM },
    { .layout = "timm_dinov2", .present = { hub_patch, "blocks.0.ls1.gamma" }, .family = "vit_", .prefix_positions = 1, TIMM },
    { .layout = "timm_deit_distilled",
      .present = { hub_patch, "dist_token" },
      .family = "deit_",
      .distillation = "dist_token",
      .prefix_positions = 2,
      TIMM },
    { .layout = "timm_vit", .present = { hub_patch }, .family = "vit_", .prefix_positions = -1, TIMM },

    { .layout = "hf_dinov2_with_registers",
      .present = { hf_patch, "embeddings.register_tokens", "encoder.layer.0.attention.q_proj.weight" },
      HF5_DINOV2,
      .position = VS_POSITION_SIZE_ANTIALIAS,
      .with_registers = VS_POSITION_SIZE_ANTIALIAS },
    { .layout = "hf_dinov2",
      .present = { hf_patch, "encoder.layer.0.attention.q_proj.weight" },
      HF5_DINOV2,
      .position = VS_POSITION_SIZE },
    { .layout = "hf_deit",
      .present = { hf_patch, "embeddings.distillation_token", "layers.0.attention.q_proj.weight" },
      .family = "deit_",
      .distillation = "embeddings.distillation_token",
      .prefix_positions = 2,
      HF5_VIT },
    { .layout = "hf_vit",
      .present = { hf_patch, "layers.0.attention.q_proj.weight" },
      .family = "vit_",
      .prefix_positions = 1,
      HF5_VIT },
    { .layout = "hf_dinov2_with_registers",
      .present = { hf_patch, "embeddings.register_tokens", "encoder.layer.0.layer_scale1.lambda1" },
      HF_DINOV2,
      .position = VS_POSITION_SIZE_ANTIALIAS,
      .with_registers = VS_POSITION_SIZE_ANTIALIAS },
    { .layout = "hf_dinov2",
      .present = { hf_patch, "encoder.layer.0.layer_scale1.lambda1" },
      HF_DINOV2,
      .position = VS_POSITION_SIZE },
    { .layout = "hf_deit",
      .present = { hf_patch, "embeddings.distillation_token", "encoder.layer.0.layernorm_before.weight" },
      .family = "deit_",
      .distillation = "embeddings.distillation_token",
      .prefix_positions = 2,
      HF_VIT },
    { .layout = "hf_vit",
      .present = { hf_patch, "encoder.layer.0.layernorm_before.weight" },
      .absent = { "encoder.layer.0.lambda_1" },
      .family = "vit_",
      .prefix_positions = 1,
      HF_VIT },
};

enum { LAYOUTS = sizeof layouts / sizeof *layouts };

const vs_layout_names *vs_layout_names_at(size_t index) { return index < LAYOUTS ? &layouts[index] : NULL; }

const char *vs_layout_name(size_t index) {
    for (size_t i = 0; i < LAYOUTS; i++) {
        bool listed = layouts[i].unbuilt != NULL;
        for (size_t j = 0; j < i && !listed; j++) listed = strcmp(layouts[j].layout, layouts[i].layout) == 0;
        if (!listed && index-- == 0) return layouts[i].layout;
    }
    return NULL;
}
