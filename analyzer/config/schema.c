#include "config/schema.h"

#include <string.h>

#define AT(member) offsetof(vs_config, member)
#define IN(type, member) offsetof(type, member)

const char *const vs_state_names[] = { "fp32", "ptq", "sq", "sqph", "weights", "acts", "fp16", NULL };
const char *const vs_plant_names[] = { "spike", "hidden", "norm1", "norm2", "value", "key", "residual", NULL };

const char *vs_state_kind_name(vs_state_kind kind) { return vs_state_names[kind]; }
const char *vs_plant_kind_name(vs_plant_kind kind) { return vs_plant_names[kind]; }

bool vs_plant_has(vs_plant_kind kind, const char *key) {
    if (strcmp(key, "ratio") == 0) return kind == VS_PLANT_SPIKE;
    if (strcmp(key, "gain") == 0) return kind != VS_PLANT_SPIKE;
    if (strcmp(key, "units") == 0) return kind != VS_PLANT_KEY && kind != VS_PLANT_RESIDUAL;
    if (strcmp(key, "blocks") == 0) return kind != VS_PLANT_RESIDUAL;
    return true;
}

static const char *const protocols[] = { "labels", "ade20k", "voc", NULL };
static const char *const test_modes[] = { "slide", "whole", NULL };
static const char *const rope_sources[] = { "found", "file", "computed", NULL };
static const char *const mask_sources[] = { "file", "intended", NULL };
static const char *const orientations[] = { "auto", "stored", "exif", NULL };
static const char *const filters[] = { "bilinear", "bicubic", NULL };
static const char *const weights_schemes[] = { "per_channel", "per_tensor", NULL };
static const char *const inputs_schemes[] = { "per_tensor_asym", "per_tensor_sym", "per_token", NULL };
static const char *const qk_schemes[] = { "per_tensor_sym", "per_head_sym", "per_tensor_asym", "none", NULL };
static const char *const v_schemes[] = { "per_head_sym", "per_tensor_sym", "none", NULL };
static const char *const p_schemes[] = { "none", "u8", NULL };
static const char *const scopes[] = { "all", "norm", NULL };
static const char *const modes[] = { "weight", "activation", "both", NULL };
static const char *const tensors[] = { "out", "in", NULL };
static const char *const formats[] = { "png", "svg", NULL };
static const char *const operations[] = { "fused", "decomposed", "float32", NULL };
static const char *const gelus[] = { "fused", "decomposed", NULL };
static const char *const half_scales[] = { "auto", "after", "before", "both", NULL };
static const char *const float_or_half[] = { "float", "half", NULL };
static const char *const half_probs[] = { "exp", "softmax", NULL };
static const char *const half_formats[] = { "fp16", "bf16", NULL };
static const char *const z_scales[] = { "linear", "log", NULL };

const vs_field vs_plant_fields[] = {
    { .key = "kind",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_plant_config, kind),
      .names = vs_plant_names,
      .required = true,
      .doc = "what is planted, and where the outlier then sits: input of fc2 (spike, hidden), of qkv (norm1), of fc1 (norm2), of "
             "proj "
             "(value), k (key), the residual stream" },
    { .key = "blocks",
      .type = VS_FIELD_BLOCKS,
      .offset = IN(vs_plant_config, blocks),
      .doc = "block indices, or all (default); residual has none" },
    { .key = "units",
      .type = VS_FIELD_INT,
      .offset = IN(vs_plant_config, units),
      .min = 1,
      .max = 65536,
      .fallback = "1",
      .doc = "hidden units or channels a block; key takes every head, residual everything" },
    { .key = "ratio",
      .type = VS_FIELD_NUMBER,
      .offset = IN(vs_plant_config, ratio),
      .min = 1e-6,
      .max = 1e9,
      .fallback = "256",
      .doc = "spike: the planted value over the block's largest GELU output" },
    { .key = "gain",
      .type = VS_FIELD_NUMBER,
      .offset = IN(vs_plant_config, gain),
      .min = 1e-6,
      .max = 1e9,
      .fallback = "256",
      .doc = "the other kinds: factor; key: length added to the k bias of each head" },
    { .key = NULL },
};

const vs_field vs_state_fields[] = {
    { .key = "name",
      .type = VS_FIELD_NAME,
      .offset = IN(vs_state_config, name),
      .doc = "key in results and files (default: the kind)" },
    { .key = "alpha",
      .type = VS_FIELD_NUMBER,
      .offset = IN(vs_state_config, alpha),
      .min = 0,
      .max = 1,
      .fallback = "0.5",
      .doc = "sq: how much difficulty moves from activations to weights" },
    { .key = "scope",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_state_config, scope),
      .names = scopes,
      .fallback = "all",
      .doc = "sq: every quantized linear, or qkv and fc1 alone, folded into their norms" },
    { .key = NULL },
};

static char fused_name[] = "fused", decomposed_name[] = "decomposed", norm_name[] = "norm_fp32",
            attention_name[] = "attention_fp32", strict_name[] = "strict";
const vs_policy_config vs_named_policies[] = {
    { .name = fused_name },
    { .name = decomposed_name, .norm = VS_OPERATION_DECOMPOSED, .attention = VS_OPERATION_DECOMPOSED },
    { .name = norm_name, .norm = VS_OPERATION_FLOAT32, .attention = VS_OPERATION_DECOMPOSED },
    { .name = attention_name, .norm = VS_OPERATION_DECOMPOSED, .attention = VS_OPERATION_FLOAT32 },
    { .name = strict_name,
      .norm = VS_OPERATION_DECOMPOSED,
      .attention = VS_OPERATION_DECOMPOSED,
      .gelu = VS_OPERATION_DECOMPOSED },
    { .name = NULL },
};

const vs_field vs_policy_fields[] = {
    { .key = "name",
      .type = VS_FIELD_NAME,
      .offset = IN(vs_policy_config, name),
      .required = true,
      .doc = "key in results and files" },
    { .key = "norm",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, norm),
      .names = operations,
      .fallback = "fused",
      .doc = "LayerNorm as one operation, taken apart, or in float32" },
    { .key = "attention",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, attention),
      .names = operations,
      .fallback = "fused",
      .doc = "attention as one operation, with scores and probabilities stored in half, or in float32" },
    { .key = "scale",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, scale),
      .names = half_scales,
      .fallback = "auto",
      .doc = "decomposed attention: where D^-0.5 stands; auto: as fp16.scale says" },
    { .key = "gelu",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, gelu),
      .names = gelus,
      .fallback = "fused",
      .doc = "GELU, or SiLU, as one operation or taken apart" },
    { .key = "softmax",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, softmax),
      .names = float_or_half,
      .fallback = "float",
      .doc = "decomposed attention: half stores the softmax's differences and exponentials too" },
    { .key = "tables",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, tables),
      .names = float_or_half,
      .fallback = "float",
      .doc = "cosines and sines of rotary positions" },
    { .key = "probs",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_policy_config, probs),
      .names = half_probs,
      .fallback = "exp",
      .doc = "fused attention: what is rounded in front of v, exponentials or probabilities" },
    { .key = NULL },
};

static const vs_field scenes_fields[] = {
    { .key = "seed",
      .type = VS_FIELD_UINT,
      .offset = IN(vs_scenes_config, seed),
      .min = 0,
      .max = 9007199254740992.0,
      .required = true,
      .doc = "seed of the generator" },
    { .key = "count",
      .type = VS_FIELD_INT,
      .offset = IN(vs_scenes_config, count),
      .min = 1,
      .max = 1e6,
      .required = true,
      .doc = "how many scenes" },
    { .key = "size",
      .type = VS_FIELD_INT,
      .offset = IN(vs_scenes_config, size),
      .min = 32,
      .max = 4096,
      .fallback = "224",
      .doc = "side in pixels" },
    { .key = NULL },
};

static const vs_field sample_fields[] = {
    { .key = "count",
      .type = VS_FIELD_INT,
      .offset = IN(vs_set_config, sample.count),
      .min = 1,
      .max = 1e9,
      .required = true,
      .doc = "how many of the list, drawn at random" },
    { .key = "seed",
      .type = VS_FIELD_UINT,
      .offset = IN(vs_set_config, sample.seed),
      .min = 0,
      .max = 9007199254740992.0,
      .fallback = "0",
      .doc = "seed of the draw" },
    { .key = NULL },
};

static const vs_field set_fields[] = {
    { .key = "scenes",
      .type = VS_FIELD_MAP,
      .offset = IN(vs_set_config, scenes),
      .fields = scenes_fields,
      .present = IN(vs_set_config, scenes.set) + 1,
      .doc = "generated images with labels" },
    { .key = "images",
      .type = VS_FIELD_PATH,
      .offset = IN(vs_set_config, images),
      .doc = "a folder with its subfolders, a glob, a .txt list or one image: PNG, JPEG, WebP" },
    { .key = "labels",
      .type = VS_FIELD_PATH,
      .offset = IN(vs_set_config, labels),
      .doc = "folder of label maps: PNG of the image's stem, in the same subfolders as the image or in the folder itself, grey "
             "or palette, of the image's size before it is scaled" },
    { .key = "protocol",
      .type = VS_FIELD_ENUM,
      .offset = IN(vs_set_config, protocol),
      .names = protocols,
      .fallback = "labels",
      .doc =
          "what label values mean: labels (classes from 0, 255 ignored), ade20k (0 is nothing, classes from 1; images may be the "
          "folder that holds images/validation and annotations/validation), voc (21 classes; images may be the folder that holds "
          "JPEGImages, SegmentationClass and ImageSets)" },
    { .key = "offset",
      .type = VS_FIELD_INT,
      .offset = IN(vs_set_config, offset),
      .min = 0,
      .max = 1e9,
      .fallback = "0",
      .doc = "skip so many of the sorted list" },
    { .key = "count",
      .type = VS_FIELD_INT,
      .offset = IN(vs_set_config, count),
      .min = 1,
      .max = 1e9,
      .doc = "take at most so many (default: all)" },
    { .key = "sample",
      .type = VS_FIELD_MAP,
      .offset = 0,
      .fields = sample_fields,
      .present = IN(vs_set_config, sample.set) + 1,
      .doc = "a seeded random part of the list" },
    { .key = NULL },
};

static const vs_field resize_fields[] = {
    { .key = "short",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.resize.short_side),
      .min = 1,
      .max = 32768,
      .required = true,
      .doc = "length of the short side" },
    { .key = "filter",
      .type = VS_FIELD_ENUM,
      .offset = AT(data.preprocess.resize.filter),
      .names = filters,
      .fallback = "bilinear",
      .doc = "kernel" },
    { .key = "antialias",
      .type = VS_FIELD_BOOL,
      .offset = AT(data.preprocess.resize.antialias),
      .fallback = "true",
      .doc = "PIL's and torchvision's antialiasing" },
    { .key = NULL },
};

static const vs_field crop_fields[] = {
    { .key = "center",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.crop_center),
      .min = 1,
      .max = 32768,
      .required = true,
      .doc = "side of a centred square" },
    { .key = NULL },
};

static const vs_field mmseg_fields[] = {
    { .key = "short",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.mmseg.short_side),
      .min = 1,
      .max = 32768,
      .required = true,
      .doc = "length of the short side after scaling" },
    { .key = "long",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.mmseg.long_side),
      .min = 1,
      .max = 1e9,
      .fallback = "99999999",
      .doc = "the long side's limit" },
    { .key = "mode",
      .type = VS_FIELD_ENUM,
      .offset = AT(data.preprocess.mmseg.mode),
      .names = test_modes,
      .fallback = "slide",
      .doc = "windows whose logits are averaged, or the whole scaled image at once" },
    { .key = "crop",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.mmseg.crop),
      .min = 1,
      .max = 32768,
      .doc = "side of a window; a shorter side of the image is taken whole" },
    { .key = "stride",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.mmseg.stride),
      .min = 1,
      .max = 32768,
      .doc = "from window to window; the last one is shifted back to the border" },
    { .key = NULL },
};

static const vs_field tiles_fields[] = {
    { .key = "short",
      .type = VS_FIELD_INT,
      .offset = AT(data.preprocess.tiles.short_side),
      .min = 1,
      .max = 32768,
      .required = true,
      .doc = "length of the short side after scaling, and side of a tile: a multiple of the patch size" },
    { .key = NULL },
};

static const vs_field preprocess_fields[] = {
    { .key = "orientation",
      .type = VS_FIELD_ENUM,
      .offset = AT(data.preprocess.orientation),
      .names = orientations,
      .fallback = "auto",
      .doc = "pixels as the file stores them (what PIL and torchvision give), or turned upright by the EXIF orientation of JPEG, "
             "PNG "
             "and WebP; auto: stored, but with mmseg exif, as opencv turns them; label maps are never turned" },
    { .key = "mean",
      .type = VS_FIELD_TRIPLE,
      .offset = AT(data.preprocess.mean),
      .min = -1e6,
      .max = 1e6,
      .fallback = "[123.675, 116.28, 103.53]",
      .doc = "RGB mean on the 0-255 scale; what config.json or preprocessor_config.json beside the weights says goes before this "
             "default" },
    { .key = "std",
      .type = VS_FIELD_TRIPLE,
      .offset = AT(data.preprocess.std),
      .min = 1e-6,
      .max = 1e6,
      .fallback = "[58.395, 57.12, 57.375]",
      .doc = "RGB standard deviation on the 0-255 scale; likewise" },
    { .key = "resize", .type = VS_FIELD_NONE_OR_MAP, .fields = resize_fields, .doc = "resize before the crop (default: none)" },
    { .key = "crop", .type = VS_FIELD_NONE_OR_MAP, .fields = crop_fields, .doc = "crop (default: none)" },
    { .key = "mmseg",
      .type = VS_FIELD_NONE_OR_MAP,
      .fields = mmseg_fields,
      .present = AT(data.preprocess.mmseg.set) + 1,
      .mark = AT(data.preprocess.mark) + 1,
      .doc = "mmseg's test pipeline in place of resize and crop: scaled at equal ratio as opencv does, cut into windows, each "
             "padded "
             "with zeros to whole patches; all three sets take these crops" },
    { .key = "tiles",
      .type = VS_FIELD_NONE_OR_MAP,
      .fields = tiles_fields,
      .present = AT(data.preprocess.tiles.set) + 1,
      .mark = AT(data.preprocess.mark) + 1,
      .doc = "lightly-train's inference in place of resize and crop: scaled by the short side (bilinear, antialiased, on "
             "float values), cut into square tiles along the long side that overlap evenly; all three sets take these tiles" },
    { .key = NULL },
};

#define SET_FIELD(name, text)                                                                                                    \
    {                                                                                                                            \
        .key = #name, .type = VS_FIELD_MAP, .offset = AT(data.name), .fields = set_fields, .present = AT(data.name.set) + 1,     \
        .mark = AT(data.name.mark) + 1, .doc = text                                                                              \
    }

static const vs_field data_fields[] = {
    SET_FIELD(calibration, "images whose ranges set the grids"),
    SET_FIELD(analysis, "images on which SQNR, statistics and surfaces are taken"),
    SET_FIELD(evaluation, "images for the task metric"),
    { .key = "preprocess", .type = VS_FIELD_MAP, .fields = preprocess_fields, .doc = "from file to model input" },
    { .key = "allow_overlap",
      .type = VS_FIELD_BOOL,
      .offset = AT(data.allow_overlap),
      .fallback = "false",
      .doc = "accept analysis images that are calibration images" },
    { .key = NULL },
};

static const vs_field model_fields[] = {
    { .key = "checkpoint",
      .type = VS_FIELD_PATH,
      .offset = AT(model.checkpoint),
      .required = true,
      .doc = "checkpoint: safetensors, an index of shards, torch (.pth, .pt, .bin) or a Hugging Face folder" },
    { .key = "prefix",
      .type = VS_FIELD_TEXT,
      .offset = AT(model.prefix),
      .doc = "which backbone of several: what its tensors' names begin with, or a dot for nothing (default: docs/layouts.md)" },
    { .key = "head",
      .type = VS_FIELD_NONE_OR_PATH,
      .offset = AT(model.head),
      .doc = "checkpoint of a separate head; none: the backbone alone (default: the head in its own file, where one fits)" },
    { .key = "allow_unused",
      .type = VS_FIELD_STRINGS,
      .offset = AT(model.allow_unused),
      .fallback = "[]",
      .doc = "globs over names of tensors that may be left out though they belong to the model, which then computes something "
             "else" },
    { .key = "layout",
      .type = VS_FIELD_TEXT,
      .offset = AT(model.layout),
      .doc = "which code base named the tensors, instead of the one found (docs/layouts.md)" },
    { .key = "arch", .type = VS_FIELD_TEXT, .offset = AT(model.arch), .doc = "name to show instead of the one found" },
    { .key = "heads",
      .type = VS_FIELD_INT,
      .offset = AT(model.heads),
      .min = 1,
      .max = 1024,
      .doc = "attention heads (default: config.json beside the weights, else a guess from the width)" },
    { .key = "eps",
      .type = VS_FIELD_NUMBER,
      .offset = AT(model.eps),
      .min = 1e-15,
      .max = 1,
      .doc = "LayerNorm epsilon (default: config.json beside the weights, else the family's)" },
    { .key = "rope",
      .type = VS_FIELD_ENUM,
      .offset = AT(model.rope),
      .names = rope_sources,
      .fallback = "found",
      .doc =
          "DINOv3: periods of the rotary positions from the file (hub: rounded to bfloat16), computed (Hugging Face, timm), or "
          "the file's where it has them" },
    { .key = "bias_mask",
      .type = VS_FIELD_ENUM,
      .offset = AT(model.bias_mask),
      .names = mask_sources,
      .fallback = "file",
      .doc = "DINOv3 hub files: the mask of the qkv bias as stored, or 1 for q and v and 0 for k (files saved with NaN in it)" },
    { .key = "plant", .type = VS_FIELD_PLANTS, .offset = AT(model.plants), .doc = "outliers to plant: a list of maps (below)" },
    { .key = NULL },
};

static const vs_field bits_fields[] = {
    { .key = "weights",
      .type = VS_FIELD_INT,
      .offset = AT(recipe.bits_weights),
      .min = 2,
      .max = 8,
      .fallback = "8",
      .doc = "bit width" },
    { .key = "inputs",
      .type = VS_FIELD_INT,
      .offset = AT(recipe.bits_inputs),
      .min = 2,
      .max = 8,
      .fallback = "8",
      .doc = "bit width" },
    { .key = "qk", .type = VS_FIELD_INT, .offset = AT(recipe.bits_qk), .min = 2, .max = 8, .fallback = "8", .doc = "bit width" },
    { .key = "v", .type = VS_FIELD_INT, .offset = AT(recipe.bits_v), .min = 2, .max = 8, .fallback = "8", .doc = "bit width" },
    { .key = NULL },
};

static const vs_field recipe_fields[] = {
    { .key = "weights",
      .type = VS_FIELD_ENUM,
      .offset = AT(recipe.weights),
      .names = weights_schemes,
      .fallback = "per_channel",
      .doc = "weights of linears, symmetric" },
    { .key = "inputs",
      .type = VS_FIELD_ENUM,
      .offset = AT(recipe.inputs),
      .names = inputs_schemes,
      .fallback = "per_tensor_asym",
      .doc = "inputs of linears" },
    { .key = "qk",
      .type = VS_FIELD_ENUM,
      .offset = AT(recipe.qk),
      .names = qk_schemes,
      .fallback = "per_tensor_sym",
      .doc = "attention operands q and k" },
    { .key = "v",
      .type = VS_FIELD_ENUM,
      .offset = AT(recipe.v),
      .names = v_schemes,
      .fallback = "per_head_sym",
      .doc = "attention operand v" },
    { .key = "p",
      .type = VS_FIELD_ENUM,
      .offset = AT(recipe.p),
      .names = p_schemes,
      .fallback = "none",
      .doc = "attention probabilities" },
    { .key = "patch_embed",
      .type = VS_FIELD_BOOL,
      .offset = AT(recipe.patch_embed),
      .fallback = "false",
      .doc = "quantize the patch embedding" },
    { .key = "head", .type = VS_FIELD_BOOL, .offset = AT(recipe.head), .fallback = "false", .doc = "quantize the head" },
    { .key = "bits", .type = VS_FIELD_MAP, .fields = bits_fields, .doc = "bit widths" },
    { .key = "observer",
      .type = VS_FIELD_OBSERVER,
      .offset = AT(recipe.observer),
      .fallback = "minmax",
      .doc = "minmax, mse or {percentile: 99.99}: how ranges follow from the calibration set" },
    { .key = NULL },
};

static const vs_field analyze_fields[] = {
    { .key = "recipes",
      .type = VS_FIELD_STRINGS,
      .offset = AT(analyze.recipes),
      .fallback = "[ptq, sq]",
      .doc = "names of ptq and sq states whose layers are measured one at a time" },
    { .key = "modes",
      .type = VS_FIELD_FLAGS,
      .offset = AT(analyze.mode_weight),
      .names = modes,
      .fallback = "[weight, activation, both]",
      .doc = "what is quantized in the local columns" },
    { .key = "output",
      .type = VS_FIELD_BOOL,
      .offset = AT(analyze.output),
      .fallback = "false",
      .doc = "each layer alone quantized, compared at the model's output (re-runs the model from each layer on)" },
    { .key = "spared",
      .type = VS_FIELD_BOOL,
      .offset = AT(analyze.spared),
      .fallback = "false",
      .doc = "each layer alone left float in the quantized model, with its noise floor" },
    { .key = "cumulative",
      .type = VS_FIELD_BOOL,
      .offset = AT(analyze.cumulative),
      .fallback = "true",
      .doc = "SQNR of every layer in the quantized model" },
    { .key = "layers",
      .type = VS_FIELD_STRINGS,
      .offset = AT(analyze.layers),
      .fallback = "\"*\"",
      .doc = "globs over layer names, ours or those of the file (`vitscope layers`)" },
    { .key = "images",
      .type = VS_FIELD_INT,
      .offset = AT(analyze.images),
      .min = 1,
      .max = 1e9,
      .doc = "at most so many analysis images (default: all)" },
    { .key = NULL },
};

static const vs_field surfaces_fields[] = {
    { .key = "layers",
      .type = VS_FIELD_STRINGS,
      .offset = AT(surfaces.layers),
      .fallback = "[]",
      .doc = "globs of layers to draw, likewise" },
    { .key = "tensors",
      .type = VS_FIELD_FLAGS,
      .offset = AT(surfaces.tensor_out),
      .names = tensors,
      .fallback = "[out, in]",
      .doc = "a layer's output, what its quantizer reads" },
    { .key = "image",
      .type = VS_FIELD_INT,
      .offset = AT(surfaces.image),
      .min = 0,
      .max = 1e9,
      .fallback = "0",
      .doc = "index of the analysis image" },
    { .key = "formats",
      .type = VS_FIELD_FLAGS,
      .offset = AT(surfaces.png),
      .names = formats,
      .fallback = "[png, svg]",
      .doc = "file formats" },
    { .key = "z",
      .type = VS_FIELD_ENUM,
      .offset = AT(surfaces.z),
      .names = z_scales,
      .fallback = "linear",
      .doc = "height axis" },
    { .key = "npy", .type = VS_FIELD_BOOL, .offset = AT(surfaces.npy), .fallback = "false", .doc = "write the raw matrices too" },
    { .key = NULL },
};

static const vs_field fp16_fields[] = {
    { .key = "policies",
      .type = VS_FIELD_POLICIES,
      .offset = AT(fp16),
      .fallback = "[fused, decomposed]",
      .doc =
          "what the engine does as one operation: names (fused, decomposed, norm_fp32, attention_fp32, strict) or maps (below)" },
    { .key = "scale",
      .type = VS_FIELD_ENUM,
      .offset = AT(fp16.scale),
      .names = half_scales,
      .fallback = "auto",
      .doc = "where D^-0.5 stands in a decomposed attention: on the product, on q in front of it, its root on q and k; auto runs "
             "all "
             "three" },
    { .key = "format",
      .type = VS_FIELD_ENUM,
      .offset = AT(fp16.format),
      .names = half_formats,
      .fallback = "fp16",
      .doc = "what values are rounded to" },
    { .key = "real",
      .type = VS_FIELD_BOOL,
      .offset = AT(fp16.real),
      .fallback = "false",
      .doc = "the same policies on half kernels of a GPU (backend cuda) beside the emulation" },
    { .key = NULL },
};

const vs_field vs_config_fields[] = {
    { .key = "version", .type = VS_FIELD_INT, .offset = AT(version), .min = 1, .max = 1, .required = true, .doc = "1" },
    { .key = "name", .type = VS_FIELD_NAME, .offset = AT(name), .required = true, .doc = "of the run: its folder under --out" },
    { .key = "model", .type = VS_FIELD_MAP, .fields = model_fields, .required = true, .doc = "what is studied" },
    { .key = "data", .type = VS_FIELD_MAP, .fields = data_fields, .doc = "three image sets" },
    { .key = "recipe", .type = VS_FIELD_MAP, .fields = recipe_fields, .doc = "how tensors are quantized" },
    { .key = "states",
      .type = VS_FIELD_STATES,
      .offset = AT(states),
      .fallback = "[fp32, sq, ptq]",
      .doc = "models to run whole: a list of kinds, or of {kind: {...}} (below)" },
    { .key = "analyze", .type = VS_FIELD_MAP, .fields = analyze_fields, .doc = "what is measured" },
    { .key = "surfaces", .type = VS_FIELD_MAP, .fields = surfaces_fields, .doc = "what is drawn" },
    { .key = "fp16",
      .type = VS_FIELD_MAP,
      .fields = fp16_fields,
      .present = AT(fp16.set) + 1,
      .mark = AT(fp16.mark) + 1,
      .doc = "half-precision diagnosis: which rows of a half engine overflow" },
    { .key = "published",
      .type = VS_FIELD_PUBLISHED,
      .offset = AT(published),
      .doc = "runs of a batch file: numbers to stand beside the measured ones in its table, by state name" },
    { .key = NULL },
};

const vs_field vs_batch_fields[] = {
    { .key = "version", .type = VS_FIELD_INT, .offset = AT(version), .min = 1, .max = 1, .required = true, .doc = "1" },
    { .key = "name", .type = VS_FIELD_NAME, .offset = AT(name), .required = true, .doc = "of the batch: its folder under --out" },
    { .key = "defaults", .type = VS_FIELD_IGNORED, .doc = "map of any of the keys above but name: what the runs have in common" },
    { .key = "runs",
      .type = VS_FIELD_IGNORED,
      .required = true,
      .doc = "list of maps, one a run: a name (its folder in the batch's) and any of the keys above" },
    { .key = NULL },
};

/* read.c holds the names of a map's keys. */
#define FITS(fields) _Static_assert(sizeof(fields) / sizeof *(fields) <= VS_MAX_FIELDS + 1, "more keys than VS_MAX_FIELDS")
FITS(vs_plant_fields);
FITS(vs_state_fields);
FITS(vs_policy_fields);
FITS(scenes_fields);
FITS(sample_fields);
FITS(set_fields);
FITS(resize_fields);
FITS(crop_fields);
FITS(mmseg_fields);
FITS(tiles_fields);
FITS(preprocess_fields);
FITS(data_fields);
FITS(model_fields);
FITS(bits_fields);
FITS(recipe_fields);
FITS(analyze_fields);
FITS(surfaces_fields);
FITS(fp16_fields);
FITS(vs_config_fields);
FITS(vs_batch_fields);
