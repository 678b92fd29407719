/* Why a tensor is not in the model that was built. Whatever stands inside the backbone and is on no list here is refused: the
 * file's model computes something else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/util.h"
#include "vit/layout.h"

/* Names behind the backbone's prefix that change nothing of what the tokens are: modules by their first component, tensors by
 * their last one. docs/layouts.md has the same list. */
static const struct {
    const char *first, *last, *reason;
} without_effect[] = {
    { "", "mask_token", "stands for masked patches in training" },
    { "", "num_batches_tracked n_averaged", "counts training steps" },
    { "", "position_ids", "numbers of positions" },
    { "head head_dist heads classifier cls_classifier distillation_classifier linear_head linear_heads class_head mask_head", "",
      "another head" },
    { "decode_head auxiliary_head seg_head segmentation_head depth_head bbox_head mask_decoder", "", "another task's head" },
    { "pooler pre_logits neck fpn1 fpn2 fpn3 fpn4", "", "stands behind the tokens" },
    { "decoder decoder_blocks decoder_embed decoder_norm decoder_pred decoder_pos_embed", "", "a decoder of pretraining" },
    { "dino_head ibot_head dino_loss ibot_patch_loss gram_loss koleo_loss criterion local_cls_norm", "", "of training alone" },
    { "optimizer optimizers optimizer_states lr_scheduler lr_schedulers scheduler scaler grad_scaler amp callbacks loops", "",
      "state of training" },
    { "text text_model text_encoder text_projection token_embedding logit_scale logit_bias", "", "a text tower" },
};

/* Parts that are met inside models, whatever they are called around it, and what they are. `everywhere`: they reach into the
 * backbone from outside of it. */
static const struct {
    const char *components, *reason;
    bool everywhere;
} known_parts[] = {
    { "lora_* *_lora lora base_layer original_module modules_to_save ia3_* hada_* lokr_* vera_* oft_* boft_*",
      "LoRA beside the weights (PEFT): merge it first, merge_and_unload() does", true },
    { "linear_a_q linear_b_q linear_a_v linear_b_v", "LoRA beside the weights: merge it first", true },
    { "adapter* adaptmlp* *_adapter *_adapters *_adapter_*", "adapters beside the weights", true },
    { "prompt_embeddings prompt_embedding prompt_tokens prompt_token prompts prompt deep_prompt* prompt_proj* vpt*",
      "prompt tokens beside the image's", true },
    { "SCB absmax quant_map quant_state* nested_* qweight qzeros g_idx weight_scale weight_scale_inv input_scale weight_qtype "
      "_data _scale",
      "quantized weights, whose float checkpoint is needed", false },
    { "_flat_param flat_param", "flat parameters of FSDP: save a full state dict", true },
    { "q_norm k_norm qk_norm query_norm key_norm q_layernorm k_layernorm", "norms of q and k", false },
    { "norm_pre ln_pre pre_layrnorm", "a norm before block 0", false },
    { "fc_norm", "an average-pool head, whose norm stands behind the mean of the patches", false },
    { "attn_pool", "a head that pools by attention", false },
    { "*rel_pos *rel_pos_* *relative_position*", "relative positions", false },
    { "rope rotary* freqs* inv_freq", "rotary positions of another kind", false },
    { "ls1 ls2 ls3 gamma_* lambda_1 lambda_2 layer_scale*", "LayerScale of another kind", false },
    { "lambda_q* lambda_k*", "attention that subtracts a second softmax", false },
    { "q_bias v_bias", "biases of q and v apart (EVA, BEiT), whose models differ in more than tensors", false },
    { "attns ffns attn1 attn2 mlp1 mlp2", "parallel layers", false },
    { "token_norm* blocks_token_only cls_attn*", "class-attention blocks", false },
};

enum { MOST_LABELS = 4, LABEL_LENGTH = 96 };

/* What is refused, gathered for one message. */
typedef struct refusal {
    char labels[MOST_LABELS][LABEL_LENGTH]; /* "attn.q_norm" of blocks, "norm_pre" of the rest */
    size_t labelled, more;                  /* more: other modules than these */
    bool of_blocks;                         /* the labels are parts of blocks */
    const char *reason;
} refusal;

static const char *known_reason(const char *name, bool outside) {
    for (size_t i = 0; i < sizeof known_parts / sizeof *known_parts; i++)
        if ((known_parts[i].everywhere || !outside) && vs_has_component(name, known_parts[i].components))
            return known_parts[i].reason;
    return NULL;
}

/* The module of a tensor's name. */
static void module_of(const char *name, char *out, size_t size) {
    static const char *const ends[] = { ".weight", ".bias" };
    size_t n = strlen(name);
    for (size_t i = 0; i < 2; i++) {
        const size_t tail = strlen(ends[i]);
        if (n > tail && strcmp(name + n - tail, ends[i]) == 0) n -= tail;
    }
    snprintf(out, size, "%.*s", (int)n, name);
}

/* Parts of blocks, being alike in all of them, say more than the rest and take its place. */
static void refuse(refusal *r, const char *name, bool of_block, const char *reason) {
    char label[LABEL_LENGTH];
    module_of(name, label, sizeof label);
    if (r->labelled && r->of_blocks && !of_block) return;
    if (r->labelled && !r->of_blocks && of_block) *r = (refusal){ .labelled = 0 };
    r->of_blocks = of_block;
    if (!r->reason) r->reason = reason;
    for (size_t i = 0; i < r->labelled; i++)
        if (strcmp(r->labels[i], label) == 0) return;
    if (r->labelled < MOST_LABELS)
        memcpy(r->labels[r->labelled++], label, sizeof label);
    else
        r->more++;
}

static vs_status tell(const refusal *r, const vs_ledger *file, vs_error *err) {
    vs_text text = { 0 };
    for (size_t i = 0; i < r->labelled; i++) vs_text_add(&text, "%s%s", i ? ", " : "", r->labels[i]);
    if (r->more) vs_text_add(&text, " and more");
    const vs_status status = vs_fail(
        err, VS_ERR_FORMAT, "%s: %s hold%s %s, which %s not built%s%s; 'model.allow_unused' leaves out what its globs match",
        vs_tensorfile_path(file->file), r->of_blocks ? "blocks" : "the model", r->of_blocks ? "" : "s",
        text.bytes ? text.bytes : "", r->labelled > 1 ? "are" : "is", r->reason ? ": " : "", r->reason ? r->reason : "");
    free(text.bytes);
    return status;
}

static const char *behind_prefix(const vs_layout *l, const char *name) {
    return vs_begins(name, l->prefix) ? name + strlen(l->prefix) : name;
}

static bool glob_takes(const char *glob, const vs_ledger_row *row, const vs_layout *l) {
    return vs_glob_match(glob, row->tensor->name) || vs_glob_match(glob, row->name) ||
           vs_glob_match(glob, behind_prefix(l, row->name));
}

static bool is_allowed(const vs_ledger_row *row, const vs_layout *l, const vs_model_options *options) {
    for (size_t i = 0; i < options->allow_unused_count; i++)
        if (glob_takes(options->allow_unused[i], row, l)) return true;
    return false;
}

/* A glob with a slip in it would allow nothing, and nobody would know. */
static vs_status check_globs(const vs_ledger *file, const vs_layout *l, const vs_model_options *options, vs_error *err) {
    for (size_t i = 0; i < options->allow_unused_count; i++) {
        bool taken = false;
        for (size_t k = 0; k < file->count && !taken; k++) taken = glob_takes(options->allow_unused[i], &file->rows[k], l);
        if (!taken)
            return vs_fail(err, VS_ERR_NOTFOUND, "%s: model.allow_unused: no tensor is called '%s'",
                           vs_tensorfile_path(file->file), options->allow_unused[i]);
    }
    return VS_OK;
}

/* Below the component in which another backbone's prefix parts from this one's: "student." of "student.backbone.". */
static bool of_another(const vs_layout *l, const char *name) {
    for (size_t i = 0; i < l->found.count; i++) {
        const char *other = l->found.items[i].prefix;
        size_t stem = 0;
        if (vs_begins(l->prefix, other)) continue; /* this one, or one that it stands in */
        for (size_t k = 0; other[k] && other[k] == l->prefix[k]; k++)
            if (other[k] == '.') stem = k + 1;
        stem += strcspn(other + stem, ".") + 1;
        if (strncmp(name, other, stem) == 0) return true;
    }
    return false;
}

static const char *harmless(const vs_layout *l, const char *name, const char *behind) {
    enum { OTHERS = 2 };
    if (of_another(l, name)) return "another backbone";
    for (size_t i = 0; i < sizeof without_effect / sizeof *without_effect; i++)
        if (vs_first_component(behind, without_effect[i].first) || vs_last_component(behind, without_effect[i].last))
            return without_effect[i].reason;
    return vs_backbone_rank(behind) != OTHERS ? "another copy of the model" : NULL;
}

vs_status vs_account_for_rest(const vs_ledger *file, const vs_layout *l, const vs_model_options *options, vs_error *err) {
    refusal refused = { .labelled = 0 };
    for (size_t i = 0; i < file->count; i++) {
        vs_ledger_row *row = &file->rows[i];
        const bool inside = vs_begins(row->name, l->prefix);
        const char *behind = behind_prefix(l, row->name);
        if (row->used || row->reason) continue;
        if (is_allowed(row, l, options)) {
            row->reason = "model.allow_unused";
            continue;
        }
        size_t chunk, index;
        const char *part = inside ? vs_layout_in_block(l->names, behind, &chunk, &index) : NULL;
        if (!part)
            row->reason = inside                     ? harmless(l, row->name, behind)
                          : of_another(l, row->name) ? "another backbone"
                                                     : "outside the backbone";
        const char *known = known_reason(part ? part : behind, !inside);
        if (part || !row->reason || (!inside && known)) refuse(&refused, part ? part : row->name, part != NULL, known);
    }
    return refused.labelled ? tell(&refused, file, err) : check_globs(file, l, options, err);
}

/* ---- what failed before there was a model */

static bool is_named(const char *const *names, size_t count, const char *part) {
    char module[LABEL_LENGTH];
    module_of(part, module, sizeof module);
    for (size_t i = 0; i < count; i++)
        if (names[i] && (strcmp(names[i], module) == 0 || strcmp(names[i], part) == 0)) return true;
    return false;
}

static bool knows(const vs_layout_names *n, const char *behind, const char *part) {
    const char *const of_block[] = { n->norm1, n->norm2, n->ls1, n->ls2, n->qkv[0], n->qkv[1], n->qkv[2], n->proj,     n->fc1,
                                     n->fc2,   n->w12,   n->w1,  n->w2,  n->w3,     n->q_bias, n->v_bias, n->bias_mask };
    const char *const outer[] = { n->patch, n->cls, n->distillation, n->registers, n->pos, n->norm, n->prefix_norm, n->periods };
    return part ? is_named(of_block, sizeof of_block / sizeof *of_block, part)
                : is_named(outer, sizeof outer / sizeof *outer, behind);
}

static bool any_knows(const char *behind, const char *part) {
    for (size_t i = 0; vs_layout_names_at(i); i++)
        if (knows(vs_layout_names_at(i), behind, part)) return true;
    return false;
}

vs_status vs_explain_failure(const vs_ledger *file, const vs_layout *l, bool of_blocks, vs_status status, vs_error *err) {
    refusal refused = { .labelled = 0 };
    if (status != VS_ERR_FORMAT) return status;
    for (size_t i = 0; i < file->count; i++) {
        const char *name = file->rows[i].name;
        const bool inside = l->names && vs_begins(name, l->prefix);
        const char *behind = inside ? name + strlen(l->prefix) : name;
        size_t chunk, index;
        const char *part = inside ? vs_layout_in_block(l->names, behind, &chunk, &index) : NULL;
        const char *known = known_reason(part ? part : behind, !inside);
        const bool strange = inside && !(of_blocks ? knows(l->names, behind, part) : any_knows(behind, part));
        if (inside ? strange && (part || !harmless(l, name, behind)) : known != NULL)
            refuse(&refused, part ? part : name, part != NULL, known);
    }
    if (!refused.labelled) return status;
    *err = (vs_error){ 0 };
    return tell(&refused, file, err);
}
