/* Layouts from names and shapes alone, and files that must be refused. The libraries' own files are the oracle's business
 * (tests/oracle/check_layouts.py). */
#include "io/tensorfile.h"
#include "support/check.h"
#include "support/model.h"
#include "util/util.h"
#include "vit/layout.h"
#include "vitscope/vit.h"

enum { C = 64, F = 128, P = 4, GRID = 3 };

static char dir[256], path[300];

typedef struct maker {
    char header[16384];
    size_t used, bytes;
    const char *drop, *reshape; /* a name's end; reshaped to [5, 7] */
    const char *prefix;
} maker;

static bool ends(const char *name, const char *tail) {
    const size_t n = strlen(name), k = tail ? strlen(tail) : n + 1;
    return k <= n && strcmp(name + n - k, tail) == 0;
}

/* `a` x `b`, a vector where b is 0, or of more dimensions where `shape` says so. */
static void put(maker *m, const char *base, const char *name, size_t a, size_t b, const char *shape) {
    char full[128], own[64];
    snprintf(full, sizeof full, "%s%s%s", m->prefix, base, name);
    if (ends(full, m->drop)) return;
    if (ends(full, m->reshape)) {
        a = 5;
        b = 7;
        shape = NULL;
    }
    snprintf(own, sizeof own, b ? "%zu,%zu" : "%zu", a, b);
    const size_t size = 4 * a * (b ? b : 1);
    m->used += (size_t)snprintf(m->header + m->used, sizeof m->header - m->used,
                                "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", m->used > 1 ? "," : "",
                                full, shape ? shape : own, m->bytes, m->bytes + size);
    m->bytes += size;
}

static void layer(maker *m, const char *base, const char *name, size_t out, size_t in) {
    char text[64];
    snprintf(text, sizeof text, "%s.weight", name);
    put(m, base, text, out, in, NULL);
    snprintf(text, sizeof text, "%s.bias", name);
    put(m, base, text, out, 0, NULL);
}

static void norm(maker *m, const char *base, const char *name) {
    char text[64];
    snprintf(text, sizeof text, "%s.weight", name);
    put(m, base, text, C, 0, NULL);
    snprintf(text, sizeof text, "%s.bias", name);
    put(m, base, text, C, 0, NULL);
}

typedef enum family { HUB, CHUNKED, TIMM, HF_DINOV2, HF_VIT } family;
typedef struct recipe {
    family family;
    const char *prefix, *drop, *reshape;
    size_t prefix_rows, registers;
    bool scale, swiglu, mask, distilled, none; /* none: a tensor of no registers */
    const char *extra;                         /* a name of one more tensor [9, 64], or of two with a colon between them */
    const char *second;                        /* prefix of the same backbone once more */
} recipe;

static void outside(maker *m, const recipe *r) {
    const bool hf = r->family >= HF_DINOV2;
    char shape[48];
    snprintf(shape, sizeof shape, "%d,3,%d,%d", C, P, P);
    put(m, "", hf ? "embeddings.patch_embeddings.projection.weight" : "patch_embed.proj.weight", C, 3 * P * P, shape);
    put(m, "", hf ? "embeddings.patch_embeddings.projection.bias" : "patch_embed.proj.bias", C, 0, NULL);
    put(m, "", hf ? "embeddings.cls_token" : "cls_token", C, 0, "1,1,64");
    const size_t rows = r->prefix_rows + (size_t)GRID * GRID;
    snprintf(shape, sizeof shape, "1,%zu,%d", rows, C);
    put(m, "", hf ? "embeddings.position_embeddings" : "pos_embed", rows, C, shape);
    if (r->mask) put(m, "", hf ? "embeddings.mask_token" : "mask_token", C, 0, "1,64");
    snprintf(shape, sizeof shape, "1,%zu,%d", r->registers, C);
    if (r->registers || r->none)
        put(m, "",
            hf                  ? "embeddings.register_tokens"
            : r->family == TIMM ? "reg_token"
                                : "register_tokens",
            r->registers, C, shape);
    if (r->distilled) put(m, "", hf ? "embeddings.distillation_token" : "dist_token", C, 0, "1,1,64");
    norm(m, "", hf ? "layernorm" : "norm");
}

static void block(maker *m, const recipe *r, size_t i) {
    char base[48];
    const bool hf = r->family >= HF_DINOV2;
    snprintf(base, sizeof base, hf ? "encoder.layer.%zu." : r->family == CHUNKED ? "blocks.1.%zu." : "blocks.%zu.", i);
    if (r->family == CHUNKED && i == 0) snprintf(base, sizeof base, "blocks.0.0.");
    norm(m, base, r->family == HF_VIT ? "layernorm_before" : "norm1");
    norm(m, base, r->family == HF_VIT ? "layernorm_after" : "norm2");
    if (hf) {
        layer(m, base, "attention.attention.query", C, C);
        layer(m, base, "attention.attention.key", C, C);
        layer(m, base, "attention.attention.value", C, C);
    } else
        layer(m, base, "attn.qkv", 3 * C, C);
    layer(m, base, hf ? "attention.output.dense" : "attn.proj", C, C);
    const bool packed = r->swiglu && r->family != TIMM;
    layer(m, base,
          packed                ? hf ? "mlp.weights_in" : "mlp.w12"
          : r->family == HF_VIT ? "intermediate.dense"
                                : "mlp.fc1",
          r->swiglu ? 2 * F : F, C);
    layer(m, base, packed ? hf ? "mlp.weights_out" : "mlp.w3" : r->family == HF_VIT ? "output.dense" : "mlp.fc2", C, F);
    if (r->scale) put(m, base, hf ? "layer_scale1.lambda1" : "ls1.gamma", C, 0, NULL);
    if (r->scale) put(m, base, hf ? "layer_scale2.lambda1" : "ls2.gamma", C, 0, NULL);
}

static void put_part(maker *m, const char *name, size_t length) {
    char text[96];
    snprintf(text, sizeof text, "%.*s", (int)length, name);
    put(m, "", text, 9, 64, NULL);
}

static vs_status load(const recipe *r, const vs_model_options *options, vs_model **out, vs_error *err) {
    maker m = { .header = "{", .used = 1, .drop = r->drop, .reshape = r->reshape, .prefix = r->prefix ? r->prefix : "" };
    outside(&m, r);
    for (size_t i = 0; i < 2; i++) block(&m, r, i);
    m.prefix = r->second ? r->second : "";
    if (r->second) outside(&m, r);
    for (size_t i = 0; r->second && i < 2; i++) block(&m, r, i);
    m.prefix = "";
    const size_t first = r->extra ? strcspn(r->extra, ":") : 0;
    if (r->extra) put_part(&m, r->extra, first);
    if (r->extra && r->extra[first]) put_part(&m, r->extra + first + 1, strlen(r->extra + first + 1));
    m.header[m.used++] = '}';
    char *bytes = vs_calloc(8 + m.used + m.bytes, 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < 8; i++) bytes[i] = (char)(m.used >> (8 * i));
    memcpy(bytes + 8, m.header, m.used);
    *err = (vs_error){ 0 };
    assert_int_equal(vs_write_file(path, bytes, 8 + m.used + m.bytes, err), VS_OK);
    free(bytes);
    return vs_model_load(out, path, options, err);
}

static void layouts_are_found(void **state) {
    (void)state;
    static const struct {
        recipe r;
        const char *layout, *name;
        vs_position_mode position;
        double eps;
    } cases[] = {
        { { .family = HUB, .prefix_rows = 1, .scale = true, .mask = true },
          "dinov2_hub",
          "dinov2_vitc64_4",
          VS_POSITION_OFFSET,
          1e-6 },
        { { .family = HUB, .prefix_rows = 1, .scale = true, .mask = true, .registers = 4, .prefix = "teacher.backbone." },
          "dinov2_hub",
          "dinov2_vitc64_4_reg",
          VS_POSITION_SIZE_ANTIALIAS,
          1e-6 },
        { { .family = CHUNKED, .prefix_rows = 1, .scale = true, .mask = true, .swiglu = true },
          "dinov2_chunked",
          "dinov2_vitc64_4",
          VS_POSITION_OFFSET,
          1e-6 },
        { { .family = TIMM, .prefix_rows = 1, .scale = true }, "timm_dinov2", "vit_c64_4", VS_POSITION_SIZE_ANTIALIAS, 1e-6 },
        { { .family = TIMM, .prefix_rows = 0, .scale = true, .registers = 4 },
          "timm_dinov2",
          "vit_c64_4_reg",
          VS_POSITION_SIZE_ANTIALIAS,
          1e-6 },
        { { .family = TIMM, .prefix_rows = 0, .scale = true }, "timm_deit3", "deit3_c64_4", VS_POSITION_SIZE_ANTIALIAS, 1e-6 },
        { { .family = TIMM, .prefix_rows = 1, .swiglu = true, .prefix = "state_dict.module." },
          "timm_vit",
          "vit_c64_4",
          VS_POSITION_SIZE_ANTIALIAS,
          1e-6 },
        { { .family = TIMM, .prefix_rows = 2, .distilled = true },
          "timm_deit_distilled",
          "deit_c64_4_distilled",
          VS_POSITION_SIZE_ANTIALIAS,
          1e-6 },
        { { .family = HF_DINOV2, .prefix_rows = 1, .scale = true, .mask = true, .prefix = "dinov2." },
          "hf_dinov2",
          "dinov2_vitc64_4",
          VS_POSITION_SIZE,
          1e-6 },
        { { .family = HF_DINOV2, .prefix_rows = 1, .scale = true, .registers = 4, .swiglu = true },
          "hf_dinov2_with_registers",
          "dinov2_vitc64_4_reg",
          VS_POSITION_SIZE_ANTIALIAS,
          1e-6 },
        { { .family = HF_DINOV2, .prefix_rows = 1, .scale = true, .none = true },
          "hf_dinov2_with_registers",
          "dinov2_vitc64_4",
          VS_POSITION_SIZE_ANTIALIAS,
          1e-6 },
        { { .family = HF_VIT, .prefix_rows = 1, .prefix = "vit." }, "hf_vit", "vit_c64_4", VS_POSITION_SIZE, 1e-12 },
        { { .family = HF_VIT, .prefix_rows = 2, .distilled = true }, "hf_deit", "deit_c64_4_distilled", VS_POSITION_SIZE, 1e-12 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        if (load(&cases[i].r, &(vs_model_options){ 0 }, &m, &err) != VS_OK) fail_msg("case %zu: %s", i, err.message);
        const vs_arch *a = &m->arch;
        const recipe *r = &cases[i].r;
        assert_string_equal(a->layout, cases[i].layout);
        assert_string_equal(a->name, cases[i].name);
        assert_int_equal(a->position, cases[i].position);
        check_close(a->eps, cases[i].eps, 0);
        assert_int_equal(a->depth, 2);
        assert_int_equal(a->hidden, F);
        assert_int_equal(a->ffn, r->swiglu ? VS_FFN_SWIGLU : VS_FFN_GELU);
        assert_int_equal(a->registers, r->distilled ? 1 : r->registers);
        assert_int_equal(a->prefix_positions, r->prefix_rows);
        assert_int_equal(linear_of(m, VS_KIND_QKV, 1).source->count, r->family >= HF_DINOV2 ? 3 : 1);
        for (size_t t = 0; t < m->tensor_count; t++)
            if (!m->tensors[t].used && !r->none && !strstr(m->tensors[t].name, "mask_token"))
                fail_msg("%s is not used", m->tensors[t].name);
        vs_model_free(m);
    }
}

static void one_layer_may_be_three_tensors(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_error err;
    const recipe r = { .family = HF_VIT, .prefix_rows = 1, .prefix = "vit." };
    assert_int_equal(load(&r, &(vs_model_options){ 0 }, &m, &err), VS_OK);
    const char *names[VS_MAX_PARTS];
    const vs_linear qkv = linear_of(m, VS_KIND_QKV, 1), fc1 = linear_of(m, VS_KIND_FC1, 0);
    assert_int_equal(vs_linear_names(&qkv, VS_KIND_QKV, names), 3);
    assert_string_equal(names[1], "vit.encoder.layer.1.attention.attention.key");
    assert_int_equal(vs_linear_names(&qkv, VS_KIND_V, names), 1);
    assert_string_equal(names[0], "vit.encoder.layer.1.attention.attention.value");
    assert_int_equal(vs_linear_names(&fc1, VS_KIND_FC1, names), 1);
    assert_string_equal(names[0], "vit.encoder.layer.0.intermediate.dense");
    vs_model_free(m);
}

static void swiglu_layers_have_their_own_names(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_error err;
    const recipe r = { .family = TIMM, .prefix_rows = 1, .scale = true, .swiglu = true };
    assert_int_equal(load(&r, &(vs_model_options){ 0 }, &m, &err), VS_OK);
    vs_point *points = NULL;
    size_t count = 0, seen = 0;
    assert_int_equal(vs_points_make(m, 9, false, &points, &count, &err), VS_OK);
    for (size_t i = 0; i < count; i++) {
        seen += strcmp(points[i].name, "blocks.1.mlp.w12") == 0 && points[i].macs == 10.0 * C * 2 * F;
        seen += strcmp(points[i].name, "blocks.1.mlp.w3") == 0 && points[i].macs == 10.0 * C * F;
    }
    assert_int_equal(seen, 2);
    free(points);
    vs_model_free(m);
}

static void wrong_files_are_refused(void **state) {
    (void)state;
#define HF .family = HF_DINOV2, .prefix_rows = 1, .scale = true
    static const struct {
        recipe r;
        vs_model_options options;
        vs_status status;
        const char *part;
    } cases[] = {
        { { HF, .drop = "1.attention.attention.key.weight" },
          { 0 },
          VS_ERR_FORMAT,
          "1 tensor is missing, the first is 'encoder.layer.1" },
        { { HF, .drop = "attention.key.bias" }, { 0 }, VS_ERR_FORMAT, "2 tensors are missing" },
        /* a bias of one block belongs to all */
        { { .family = TIMM, .prefix_rows = 1, .drop = "0.attn.qkv.bias" }, { 0 }, VS_ERR_FORMAT, "'blocks.0.attn.qkv.bias'" },
        { { .family = TIMM, .prefix_rows = 1, .drop = "1.attn.qkv.bias" }, { 0 }, VS_ERR_FORMAT, "'blocks.1.attn.qkv.bias'" },
        { { HF, .reshape = "0.attention.attention.value.weight" },
          { 0 },
          VS_ERR_FORMAT,
          "has shape [5, 7] where [64, 64] is needed" },
        { { HF, .reshape = "position_embeddings" }, { 0 }, VS_ERR_FORMAT, "expected [1, tokens, 64]" },
        { { .family = HF_DINOV2, .prefix_rows = 4, .scale = true }, { 0 }, VS_ERR_FORMAT, "13 positions are no square grid" },
        { { HF, .registers = 4, .reshape = "register_tokens" }, { 0 }, VS_ERR_FORMAT, "expected [1, registers, 64]" },
        { { HF, .swiglu = true, .reshape = "0.mlp.weights_in.weight" },
          { 0 },
          VS_ERR_FORMAT,
          "mlp.weights_in.weight' is missing or no matrix" },
        { { HF, .reshape = "projection.weight" }, { 0 }, VS_ERR_FORMAT, "expected [width, 3, patch, patch]" },
        { { .family = HUB, .prefix_rows = 1, .extra = "norm_pre.weight" }, { 0 }, VS_ERR_FORMAT, "CLIP" },
        { { HF }, { .heads = 3 }, VS_ERR_CONFIG, "3 heads do not divide width 64" },
        { { HF, .extra = "flat_param" }, { 0 }, VS_ERR_FORMAT, "flat parameters of FSDP" },
        { { HF }, { .layout = "timm_vit" }, VS_ERR_FORMAT, "this is no timm_vit checkpoint" },
        { { HF }, { .layout = "timm" }, VS_ERR_CONFIG, "there is no layout 'timm'; known: dinov3_hub, " },
        { { HF, .extra = "decode_head.conv_seg.weight" }, { 0 }, VS_OK, NULL },
        { { HF, .extra = "classifier.weight" }, { 0 }, VS_OK, NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const vs_status status = load(&cases[i].r, &cases[i].options, &m, &err);
        if (cases[i].status == VS_OK) {
            assert_int_equal(status, VS_OK);
            assert_int_equal(m->arch.classes, 9);
        } else {
            check_error(status, &err, cases[i].status, cases[i].part);
            assert_non_null(strstr(err.message, path));
            assert_null(m);
        }
        vs_model_free(m);
    }
}

/* Two backbones in one file: whose layers are read, or why none. */
static void backbones_have_an_order(void **state) {
    (void)state;
    static const struct {
        const char *one, *other, *wanted, *proj, *message;
    } cases[] = {
        { "student.backbone.", "teacher.backbone.", NULL, "teacher.backbone.blocks.1.attn.proj", NULL },
        { "teacher.backbone.", "student.backbone.", NULL, "teacher.backbone.blocks.1.attn.proj", NULL },
        { "teacher.backbone.", "student.backbone.", "student.backbone", "student.backbone.blocks.1.attn.proj", NULL },
        { "gram_teacher.backbone.", "teacher.backbone.", NULL, "teacher.backbone.blocks.1.attn.proj", NULL },
        { "gram_teacher.", "student.", NULL, "student.blocks.1.attn.proj", NULL },
        { "teacher.", "model_ema.", NULL, "model_ema.blocks.1.attn.proj", NULL },
        { "model.", "model_ema.module.", NULL, "model_ema.module.blocks.1.attn.proj", NULL },
        { "state_dict.", "state_dict_ema.", NULL, "state_dict_ema.blocks.1.attn.proj", NULL },
        { "student.", "", NULL, "blocks.1.attn.proj", NULL },
        { "student.", "", "student.", "student.blocks.1.attn.proj", NULL },
        { "student.", "", ".", "blocks.1.attn.proj", NULL },
        { "a.", "b.", NULL, NULL, "2 backbones, none before the other: 'a' (timm_vit, width 64), 'b' (timm_vit, width 64)" },
        { "schema.", "tower.", NULL, NULL, "2 backbones, none before the other" }, /* "ema" inside a word */
        { "a.", "b.", "b", "b.blocks.1.attn.proj", NULL },
        { "module.", "", NULL, NULL,
          "2 backbones, none before the other: 'module' (timm_vit, width 64), '.' (timm_vit, width 64)" },
        { "module.", "", ".", "blocks.1.attn.proj", NULL },
        { "module.", "_orig_mod.", NULL, NULL,
          "2 backbones, none before the other: '.' (timm_vit, width 64), '_orig_mod' (timm_vit, width 64)" },
        { "", "module.", "module", "module.blocks.1.attn.proj", NULL },
        { "a.", "b.", "c", NULL, "there is no backbone below 'c'; there are: 'a' (timm_vit, width 64), 'b'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const recipe r = { .family = TIMM, .prefix_rows = 1, .prefix = cases[i].one, .second = cases[i].other };
        const vs_status status = load(&r, &(vs_model_options){ .prefix = cases[i].wanted }, &m, &err);
        if (cases[i].message) {
            check_error(status, &err, cases[i].wanted ? VS_ERR_CONFIG : VS_ERR_FORMAT, cases[i].message);
            continue;
        }
        if (status != VS_OK) fail_msg("case %zu: %s", i, err.message);
        assert_string_equal(linear_of(m, VS_KIND_PROJ, 1).source->fqn[0], cases[i].proj);
        for (size_t t = 0; t < m->tensor_count; t++) assert_true(m->tensors[t].used != (m->tensors[t].reason != NULL));
        vs_model_free(m);
    }
}

/* The second backbone lacks a tensor of its blocks: another model. */
static void unequal_backbones_need_a_choice(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_error err;
    const recipe r = {
        .family = TIMM, .prefix_rows = 1, .prefix = "teacher.", .second = "student.", .drop = "student.blocks.1.norm2.bias"
    };
    check_error(load(&r, &(vs_model_options){ 0 }, &m, &err), &err, VS_ERR_FORMAT, "2 backbones, of unequal shapes");
    /* or one outside of them */
    static const char *const parts[] = { "reg_token", "pos_embed" };
    for (size_t i = 0; i < 2; i++) {
        char one[64];
        snprintf(one, sizeof one, "student.%s", parts[i]);
        const recipe odd = { .family = TIMM,
                             .prefix_rows = 1,
                             .prefix = "teacher.",
                             .second = "student.",
                             .extra = i ? NULL : one,
                             .reshape = i ? one : NULL };
        check_error(load(&odd, &(vs_model_options){ 0 }, &m, &err), &err, VS_ERR_FORMAT, "2 backbones, of unequal shapes");
    }
    assert_int_equal(load(&r, &(vs_model_options){ .prefix = "teacher" }, &m, &err), VS_OK);
    vs_model_free(m);
}

/* What stands inside the model is used, has no effect, or is refused by name. */
static void every_tensor_is_accounted_for(void **state) {
    (void)state;
    static const struct {
        const char *prefix, *extra, *message;
    } cases[] = {
        { "", "blocks.0.attn.q_norm.weight", "blocks hold attn.q_norm, which is not built: norms of q and k" },
        { "", "blocks.1.attn.qkv.lora_A.default.weight", "blocks hold attn.qkv.lora_A.default, which is not built: LoRA" },
        { "", "blocks.1.adapter.down.weight", "blocks hold adapter.down, which is not built: adapters" },
        { "backbone.", "backbone.blocks.1.adapter.down.weight", "blocks hold adapter.down" },
        { "", "blocks.0.ls3.gamma", "blocks hold ls3.gamma, which is not built: LayerScale of another kind" },
        { "", "blocks.0.attn.relative_position_bias_table", "relative positions" },
        { "", "blocks.0.something.weight", "blocks hold something, which is not built; 'model.allow_unused'" },
        { "", "blocks.02.norm1.weight", "the model holds blocks.02.norm1, which is not built" },
        { "", "fc_norm.weight", "the model holds fc_norm, which is not built: an average-pool head" },
        { "", "rel_pos_bias.table", "relative positions" },
        { "", "prompt_embeddings", "prompt tokens" },
        { "backbone.", "prompt_embeddings", "the model holds prompt_embeddings" }, /* from outside, too */
        { "backbone.", "lora_A.0.weight", "LoRA" },
        { "", "something.weight", "the model holds something, which is not built" },
        { "backbone.", "something.weight", NULL },
        { "", "mask_token", NULL },
        { "", "n_averaged", NULL }, /* torch.optim.swa_utils.AveragedModel counts so */
        { "", "head_dist.weight", NULL },
        { "", "decoder_blocks.0.norm1.weight", NULL },
        { "", "optimizer.state.0.exp_avg", NULL },
        { "", "student.head.weight", NULL },
        { "", "text.blocks.0.norm1.weight", NULL },
    };
    static const char *const all[] = { "*", "somehting*" };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const recipe r = { .family = TIMM, .prefix_rows = 1, .prefix = cases[i].prefix, .extra = cases[i].extra };
        const vs_status status = load(&r, &(vs_model_options){ 0 }, &m, &err);
        if (!cases[i].message) {
            if (status != VS_OK) fail_msg("%s: %s", cases[i].extra, err.message);
            vs_model_free(m);
            continue;
        }
        check_error(status, &err, VS_ERR_FORMAT, cases[i].message);
        check_error(load(&r, &(vs_model_options){ .allow_unused = all, .allow_unused_count = 2 }, &m, &err), &err,
                    VS_ERR_NOTFOUND, "model.allow_unused: no tensor is called 'somehting*'");
        assert_int_equal(load(&r, &(vs_model_options){ .allow_unused = all, .allow_unused_count = 1 }, &m, &err), VS_OK);
        char *taken = vs_model_taken(m);
        assert_non_null(strstr(taken, "(model.allow_unused)"));
        assert_non_null(strstr(taken, cases[i].extra));
        free(taken);
        vs_model_free(m);
    }
}

/* Wrappers of training code stand anywhere; names in results are the file's own. */
static void wrappers_do_not_matter(void **state) {
    (void)state;
    static const char *const wrapped[] = { "module.", "_orig_mod.", "model._orig_mod.module.",
                                           "_forward_module.a._fsdp_wrapped_module." };
    for (size_t i = 0; i < sizeof wrapped / sizeof *wrapped; i++) {
        vs_model *m = NULL;
        vs_error err;
        char want[128];
        const recipe r = { .family = TIMM, .prefix_rows = 1, .prefix = wrapped[i] };
        assert_int_equal(load(&r, &(vs_model_options){ 0 }, &m, &err), VS_OK);
        snprintf(want, sizeof want, "%sblocks.1.attn.proj", wrapped[i]);
        assert_string_equal(linear_of(m, VS_KIND_PROJ, 1).source->fqn[0], want);
        vs_model_free(m);
    }
    char name[] = "module.blocks.0._checkpoint_wrapped_module.norm1.module";
    vs_strip_wrappers(name, name);
    assert_string_equal(name, "blocks.0.norm1.module"); /* a tensor's own name is no wrapper */
}

/* Of the model as a user would miss it: a block, or its first norm. */
static void blocks_have_no_gaps(void **state) {
    (void)state;
    static const struct {
        const char *extra, *drop, *message;
    } cases[] = { { "blocks.3.norm1.weight", NULL, "block 2 is missing, block 3 is there" },
                  { "blocks.1000000.norm1.weight", NULL, "the model holds blocks.1000000.norm1" },
                  { "blocks.999999.norm1.weight", NULL, "block 2 is missing, block 999999 is there" },
                  { NULL, "blocks.0.norm1.weight", "1 tensor is missing, the first is 'blocks.0.norm1.weight'" },
                  { NULL, "blocks.1.norm1.weight", "1 tensor is missing, the first is 'blocks.1.norm1.weight'" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const recipe r = { .family = TIMM, .prefix_rows = 1, .extra = cases[i].extra, .drop = cases[i].drop };
        check_error(load(&r, &(vs_model_options){ 0 }, &m, &err), &err, VS_ERR_FORMAT, cases[i].message);
    }
}

/* A head that does not fit is left out, and said; the user may want none. */
static void heads_never_block_a_backbone(void **state) {
    (void)state;
    static const struct {
        const char *extra, *reshape;
        bool none;
        const char *linear, *note;
    } cases[] = { { "head.weight", NULL, false, "head", NULL },
                  { "head.weight:head.bias", NULL, false, NULL, "bias of head 'head' has 576 values" },
                  { "head.weight:head.norm.weight", NULL, false, NULL, "head 'head' stands behind 'head.norm.weight'" },
                  { "head.weight:head.lora_A.weight", NULL, false, NULL, "head 'head' stands behind 'head.lora_A.weight'" },
                  { "decode_head.conv_seg.weight:decode_head.bn.running_mean", NULL, false, NULL,
                    "the norm of head 'decode_head.conv_seg' lacks 'decode_head.bn.weight'" },
                  { "head.weight", NULL, true, NULL, NULL },
                  { "head.weight", "head.weight", false, NULL, "classifier 'head' reads 7 channels" },
                  { "text.classifier.weight", NULL, false, NULL, NULL },
                  { "auxiliary_head.conv_seg.weight", NULL, false, NULL, NULL },
                  { "decode_head.conv_seg.weight", NULL, false, "decode_head.conv_seg", NULL },
                  { "student.classifier.weight", NULL, false, NULL, NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err;
        const recipe r = { .family = TIMM, .prefix_rows = 1, .extra = cases[i].extra, .reshape = cases[i].reshape };
        if (load(&r, &(vs_model_options){ .no_head = cases[i].none }, &m, &err) != VS_OK)
            fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(m->arch.head != VS_HEAD_NONE, cases[i].linear != NULL);
        if (cases[i].linear) assert_string_equal(linear_of(m, VS_KIND_HEAD, -1).source->fqn[0], cases[i].linear);
        assert_int_equal(m->head_note != NULL, cases[i].note != NULL);
        if (cases[i].note) assert_non_null(strstr(m->head_note, cases[i].note));
        vs_model_free(m);
    }
}

static void shapes_alone_list_what_is_missing(void **state) {
    (void)state;
    vs_model *m = NULL;
    vs_error err;
    const recipe r = { .family = HUB, .prefix_rows = 1, .scale = true, .mask = true, .drop = "mlp.fc2.weight" };
    assert_int_equal(load(&r, &(vs_model_options){ .shapes_only = true }, &m, &err), VS_OK);
    assert_int_equal(m->missing_count, 2);
    assert_string_equal(m->missing[1], "blocks.1.mlp.fc2.weight");
    assert_null(linear_of(m, VS_KIND_QKV, 0).w);
    assert_true(m->parameters > 0);
    vs_model_free(m);
}

static void config_json_wins(void **state) {
    (void)state;
    vs_layout_config c;
    vs_error err = { 0 };
    assert_int_equal(vs_layout_config_read(&c, NULL, "p", &err), VS_OK);
    assert_int_equal(c.heads, 0);
    assert_int_equal(
        vs_layout_config_read(&c, "{\"num_attention_heads\": 4, \"layer_norm_eps\": 1e-5, \"hidden_act\": \"gelu\"}", "p", &err),
        VS_OK);
    assert_int_equal(c.heads, 4);
    check_close(c.eps, 1e-5, 0);
    static const struct {
        const char *text, *part;
    } bad[] = { { "{", "p: config.json:1:1: " },
                { "[]", "p: config.json is no object" },
                { "{\"hidden_size\": -1}", "hidden_size must be a whole number" },
                { "{\"hidden_size\": 99999999999999}", "hidden_size must be a whole number" },
                { "{\"hidden_size\": \"a\"}", "hidden_size must be a whole number" },
                { "{\"layer_norm_eps\": 0}", "layer_norm_eps must be" },
                { "{\"layer_norm_eps\": \"x\"}", "layer_norm_eps must be" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (vs_error){ 0 };
        check_error(vs_layout_config_read(&c, bad[i].text, "p", &err), &err, VS_ERR_FORMAT, bad[i].part);
    }
    char config[300];
    snprintf(config, sizeof config, "%s/config.json", dir);
    static const struct {
        const char *text;
        vs_status status;
        const char *part;
    } files[] = {
        { "{\"model_type\": \"dinov2\", \"hidden_size\": 64, \"num_attention_heads\": 4, \"layer_norm_eps\": 1e-3}", VS_OK,
          NULL },
        { "{\"model_type\": \"dinov2\", \"hidden_size\": 128}", VS_ERR_FORMAT,
          "config.json says hidden_size 128, the tensors have 64" },
        { "{\"model_type\": \"dinov2\", \"num_hidden_layers\": 3}", VS_ERR_FORMAT, "num_hidden_layers 3, the tensors have 2" },
        { "{\"model_type\": \"dinov2\", \"hidden_act\": \"gelu_10\"}", VS_ERR_FORMAT, "hidden_act 'gelu_10'" },
        { "{\"model_type\": \"dinov2\", \"num_attention_heads\": 7}", VS_ERR_CONFIG,
          "7 heads do not divide width 64: set model.heads" },
    };
    const recipe r = { .family = HF_DINOV2, .prefix_rows = 1, .scale = true };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        vs_model *m = NULL;
        err = (vs_error){ 0 };
        assert_int_equal(vs_write_file(config, files[i].text, strlen(files[i].text), &err), VS_OK);
        const vs_status status = load(&r, &(vs_model_options){ 0 }, &m, &err);
        if (files[i].status == VS_OK) {
            assert_int_equal(status, VS_OK);
            assert_int_equal(m->arch.heads, 4);
            check_close(m->arch.eps, 1e-3, 0);
        } else
            check_error(status, &err, files[i].status, files[i].part);
        vs_model_free(m);
    }
    unlink(config);
}

/* Whose sections, whose words. */
static void configs_of_all_kinds(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t heads, width;
        const char *kind, *pool, *message;
    } cases[] = {
        { "{\"model_type\": \"dpt\", \"hidden_size\": 768, \"num_attention_heads\": 12, \"backbone_config\": {\"model_type\": "
          "\"dinov2\", "
          "\"hidden_size\": 64, \"num_attention_heads\": 2}}",
          2, 64, "dinov2", "", NULL },
        { "{\"model_type\": \"vision-encoder-decoder\", \"encoder\": {\"model_type\": \"deit\", \"num_attention_heads\": 3}}", 3,
          0, "deit", "", NULL },
        { "{\"model_type\": \"beit\", \"backbone_config\": null}", 0, 0, "beit", "", NULL },
        { "{\"model_type\": \"vit\", \"patch_size\": [4, 4]}", 0, 0, "vit", "", NULL },
        { "{\"model_type\": \"vit\", \"patch_size\": [4, 8]}", 0, 0, NULL, NULL, "patch_size must be a whole number" },
        { "{\"model_type\": \"dinov3_vit\", \"rope_parameters\": {\"rope_type\": \"dynamic\"}}", 0, 0, NULL, NULL,
          "rope_type 'dynamic'" },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"num_heads\": 2, \"embed_dim\": 64, \"pre_norm\": null}, "
          "\"global_pool\": \"avg\"}",
          2, 64, "vit_x", "avg", NULL },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"rope_type\": \"mixed\"}}", 0, 0, NULL, NULL,
          "model_args.rope_type is not known" },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"dynamic_img_pad\": true}}", 0, 0, NULL, NULL,
          "model_args.dynamic_img_pad" },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"norm_layer\": \"rmsnorm\"}}", 0, 0, NULL, NULL,
          "model_args.norm_layer" },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"use_rot_pos_emb\": false}}", 0, 0, NULL, NULL,
          "model_args.use_rot_pos_emb" },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"use_abs_pos_emb\": true}}", 0, 0, NULL, NULL,
          "model_args.use_abs_pos_emb" },
        { "{\"architecture\": \"vit_x\", \"global_pool\": \"token\", \"model_args\": {\"global_pool\": \"avg\"}}", 0, 0, "vit_x",
          "avg", NULL },
        { "{\"architecture\": \"vit_x\", \"model_args\": [\"act_layer\"]}", 0, 0, NULL, NULL, "model_args must be an object" },
        { "{\"architecture\": \"vit_x\", \"model_args\": {\"act_layer\": 3}}", 0, 0, NULL, NULL, "act_layer must be a text" },
        { "{\"architecture\": 5}", 0, 0, NULL, NULL, "architecture must be a text" },
        { "{\"model_type\": [\"vit\"]}", 0, 0, NULL, NULL, "model_type must be a text" },
        { "{\"model_type\": \"vit\", \"hidden_act\": {\"a\": 1}}", 0, 0, NULL, NULL, "hidden_act must be a text" },
        { "{\"model_type\": \"vit\", \"qkv_bias\": \"no\"}", 0, 0, NULL, NULL, "qkv_bias must be true or false" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_layout_config c;
        vs_error err = { 0 };
        const vs_status status = vs_layout_config_read(&c, cases[i].text, "p", &err);
        if (cases[i].message) {
            check_error(status, &err, VS_ERR_FORMAT, cases[i].message);
            continue;
        }
        assert_int_equal(status, VS_OK);
        assert_int_equal(c.heads, cases[i].heads);
        assert_int_equal(c.width, cases[i].width);
        assert_string_equal(c.architecture[0] ? c.architecture : c.model_type, cases[i].kind);
        assert_string_equal(c.pool, cases[i].pool);
    }
}

/* A model that its own config.json calls otherwise than its tensors look, and the user's word against it. */
static void unbuilt_kinds_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{\"architecture\": \"vit_base_patch16_224\"}", NULL },
        { "{\"architecture\": \"deit3_small_patch16_224\"}", NULL },
        { "{\"architecture\": \"vit_large_patch14_reg4_dinov2\"}", NULL },
        { "{\"model_type\": \"vit\"}", NULL },
        { "{\"architecture\": \"vit_small_patch16_rope_ape_224\"}", "rotary positions on top of learned ones" },
        { "{\"architecture\": \"eva02_enormous_patch14_clip_224\"}", "norms behind attention and MLP" },
        { "{\"architecture\": \"vit_base_patch16_clip_quickgelu_224\"}", "another activation" },
        { "{\"architecture\": \"my_own_vit\"}", "architecture 'my_own_vit', which is not built; 'model.layout'" },
        { "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {\"act_layer\": \"gelu_tanh\"}}", NULL },
        { "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {\"act_layer\": \"relu\"}}",
          "act_layer 'relu'; only 'gelu' (erf) and its tanh form" },
        { "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {\"embed_dim\": 65}}",
          "embed_dim 65, the tensors have 64" },
        { "{\"model_type\": \"yolos\"}", "model_type 'yolos', which is not built" },
        { "{\"model_type\": \"vit\", \"hidden_act\": \"quick_gelu\"}", "'quick_gelu'" },
        { "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {\"act_layer\": \"quick_gelu\"}}", "'quick_gelu'" },
    };
    char config[300];
    snprintf(config, sizeof config, "%s/config.json", dir);
    const recipe r = { .family = TIMM, .prefix_rows = 1 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err = { 0 };
        assert_int_equal(vs_write_file(config, cases[i].text, strlen(cases[i].text), &err), VS_OK);
        const vs_status status = load(&r, &(vs_model_options){ 0 }, &m, &err);
        if (cases[i].message)
            check_error(status, &err, VS_ERR_FORMAT, cases[i].message);
        else if (status != VS_OK)
            fail_msg("%s: %s", cases[i].text, err.message);
        vs_model_free(m);
        if (!cases[i].message || !strstr(cases[i].message, "which is not built")) continue;
        assert_int_equal(load(&r, &(vs_model_options){ .layout = "timm_vit" }, &m, &err), VS_OK);
        vs_model_free(m);
    }
    unlink(config);
}

/* The files made here hold zeros, of which both forms are 0. */
static void fill_params(const vs_model *m) {
    vs_rng rng = { 3 };
    for (size_t i = 0; i < m->graph->param_count; i++)
        for (size_t k = 0; m->params[i] && k < m->graph->params[i].rows * m->graph->params[i].cols; k++)
            m->params[i][k] = (float)(0.5 * vs_rng_normal(&rng));
}

/* What fc2 reads is the tanh form of what fc1 gave; gap: how far the erf form would have been. */
typedef struct activations {
    double hidden[256], gap;
    size_t count, seen;
} activations;

static vs_status see_activation(void *context, const vs_tap *tap, vs_error *err) {
    activations *a = context;
    (void)err;
    const double *x = tap->x.p;
    if (tap->kind == VS_KIND_FC1 && !tap->input)
        for (a->count = 0; a->count < tap->x.cols && a->count < 256; a->count++) a->hidden[a->count] = x[a->count];
    for (size_t i = 0; tap->kind == VS_KIND_FC2 && tap->input && i < a->count; i++, a->seen++) {
        const double v = a->hidden[i], pi = 3.14159265358979323846;
        check_close(x[i], 0.5 * v * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 * v * v * v))), 1e-15 * (1 + fabs(v)));
        a->gap = fmax(a->gap, fabs(x[i] - 0.5 * v * (1 + erf(v / sqrt(2)))));
    }
    return VS_OK;
}

static void tanh_gelu_is_computed(void **state) {
    (void)state;
    static const char *const names[] = { "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_new", "gelu_fast", "gelu_accurate" };
    char config[300], text[120];
    snprintf(config, sizeof config, "%s/config.json", dir);
    const recipe r = { .family = HF_DINOV2, .prefix_rows = 1, .scale = true };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        vs_error err = { 0 };
        vs_model *m = NULL;
        vs_backend *be = NULL;
        vs_weights *w = NULL;
        vs_session *s = NULL;
        activations seen = { .seen = 0 };
        snprintf(text, sizeof text, "{\"model_type\": \"dinov2\", \"hidden_act\": \"%s\"}", names[i]);
        assert_int_equal(vs_write_file(config, text, strlen(text), &err), VS_OK);
        assert_int_equal(load(&r, &(vs_model_options){ 0 }, &m, &err), VS_OK);
        assert_int_equal(m->arch.ffn, VS_FFN_GELU_TANH);
        fill_params(m);
        assert_int_equal(vs_backend_open(&be, "ref", &err), VS_OK);
        assert_int_equal(vs_weights_bind(&w, be, m, &err), VS_OK);
        const size_t side = 3 * m->arch.patch;
        const vs_session_options options = { .images = 1, .height = side, .width = side, .workspaces = 1, .streams = 1 };
        assert_int_equal(vs_session_create(&s, w, &options, &err), VS_OK);
        float *pixels = vs_calloc(3 * side * side, sizeof *pixels);
        for (size_t k = 0; k < 3 * side * side; k++) pixels[k] = (float)(k % 17) / 8 - 1;
        assert_int_equal(vs_forward(s, w, pixels, (vs_tapper){ see_activation, &seen }, &err), VS_OK);
        assert_true(seen.seen >= 2 * 64);
        assert_true(seen.gap > 1e-4 && seen.gap < 4.74e-4);
        free(pixels);
        vs_session_free(s);
        vs_weights_free(w);
        vs_backend_close(be);
        vs_model_free(m);
    }
    unlink(config);
}

/* What config.json alone tells: grids that are not square, positions of registers, activations, biases, heads. */
static void configs_tell_what_shapes_do_not(void **state) {
    (void)state;
#define ARGS(text) "{\"architecture\": \"vit_base_patch16_224\", \"model_args\": {" text "}}"
#define TIMM_PLAIN .family = TIMM, .prefix_rows = 1
    static const struct {
        recipe r;
        const char *text, *message;
        size_t heads, prefix_positions;
    } cases[] = {
        { { TIMM_PLAIN }, ARGS("\"img_size\": 12"), NULL, 1, 1 },
        { { TIMM_PLAIN }, ARGS("\"img_size\": [12, 12]"), NULL, 1, 1 },
        { { TIMM_PLAIN }, ARGS("\"img_size\": [4, 36]"), "positions of 4x36 pixels", 0, 0 },
        { { TIMM_PLAIN },
          "{\"architecture\": \"vit_base_patch16_224\", \"pretrained_cfg\": {\"input_size\": [3, 36, 4], "
          "\"fixed_input_size\": true}}",
          "positions of 36x4 pixels",
          0,
          0 },
        { { TIMM_PLAIN },
          "{\"architecture\": \"vit_base_patch16_224\", \"pretrained_cfg\": {\"input_size\": [3, 36, 4], "
          "\"fixed_input_size\": true}, \"model_args\": {\"img_size\": 12}}",
          NULL,
          1,
          1 },
        { { .family = HF_VIT, .prefix_rows = 1 },
          "{\"model_type\": \"vit\", \"image_size\": [4, 36]}",
          "positions of 4x36 pixels",
          0,
          0 },
        /* transformers takes DINOv2's for a square whatever the size was */
        { { .family = HF_DINOV2, .prefix_rows = 1, .scale = true },
          "{\"model_type\": \"dinov2\", \"image_size\": [4, 36]}",
          NULL,
          1,
          1 },

        { { .family = TIMM, .prefix_rows = 0, .registers = 4 },
          NULL,
          "9 positions may be those of 3x3 patches, or of 2x2, a class token and of 4 registers",
          0,
          0 },
        { { .family = TIMM, .prefix_rows = 0, .registers = 4 }, ARGS("\"no_embed_class\": true"), NULL, 1, 0 },
        { { .family = TIMM, .prefix_rows = 0, .registers = 4 },
          "{\"architecture\": \"vit_base_patch14_reg4_dinov2\"}",
          NULL,
          1,
          0 },
        { { .family = TIMM, .prefix_rows = 0, .registers = 4 },
          ARGS("\"reg_tokens\": 4"),
          "9 positions may be those of 3x3",
          0,
          0 },
        { { .family = TIMM, .prefix_rows = 0, .registers = 4 },
          ARGS("\"no_embed_class\": false"),
          "registers have positions, which are not built",
          0,
          0 },
        { { .family = TIMM, .prefix_rows = 0, .registers = 5 }, NULL, NULL, 1, 0 },

        { { TIMM_PLAIN, .scale = true, .swiglu = true },
          "{\"architecture\": \"vit_giant_patch14_dinov2\", \"model_args\": {\"act_layer\": \"silu\"}}",
          NULL,
          1,
          1 },
        { { TIMM_PLAIN, .scale = true, .swiglu = true },
          "{\"architecture\": \"vit_giant_patch14_dinov2\", \"model_args\": {\"act_layer\": \"gelu\"}}",
          "act_layer 'gelu'; only 'silu'",
          0,
          0 },
        { { TIMM_PLAIN, .scale = true, .swiglu = true },
          "{\"architecture\": \"vit_giant_patch14_dinov2\", \"model_args\": {\"act_layer\": \"gelu_tanh\"}}",
          "act_layer 'gelu_tanh'; only 'silu'",
          0,
          0 },
        { { .family = HF_DINOV2, .prefix_rows = 1, .scale = true, .swiglu = true },
          "{\"model_type\": \"dinov2\", \"hidden_act\": \"gelu\"}",
          NULL,
          1,
          1 }, /* transformers looks at none there */

        { { TIMM_PLAIN }, ARGS("\"qkv_bias\": true"), NULL, 1, 1 },
        { { TIMM_PLAIN }, ARGS("\"qkv_bias\": false"), "qkv_bias false, the tensors have biases of q, k and v", 0, 0 },
        { { TIMM_PLAIN, .drop = "attn.qkv.bias" }, ARGS("\"qkv_bias\": false"), NULL, 1, 1 },
        { { TIMM_PLAIN, .drop = "attn.qkv.bias" },
          ARGS("\"qkv_bias\": true"),
          "qkv_bias true, the tensors have no biases",
          0,
          0 },

        /* transformers' own number of heads where nothing is said, if it fits */
        { { .family = HF_DINOV2, .prefix_rows = 1, .scale = true }, "{\"model_type\": \"dinov2\"}", NULL, 1, 1 },
    };
    char config[300];
    snprintf(config, sizeof config, "%s/config.json", dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_model *m = NULL;
        vs_error err = { 0 };
        if (cases[i].text) assert_int_equal(vs_write_file(config, cases[i].text, strlen(cases[i].text), &err), VS_OK);
        const vs_status status = load(&cases[i].r, &(vs_model_options){ 0 }, &m, &err);
        if (cases[i].message)
            check_error(status, &err, VS_ERR_FORMAT, cases[i].message);
        else if (status != VS_OK)
            fail_msg("case %zu: %s", i, err.message);
        else {
            assert_int_equal(m->arch.heads, cases[i].heads);
            assert_int_equal(m->arch.prefix_positions, cases[i].prefix_positions);
        }
        vs_model_free(m);
        if (cases[i].text) unlink(config);
    }
}

/* Means and deviations on the 0-255 scale, whoever writes them how. */
static void inputs_of_all_kinds(void **state) {
    (void)state;
    static const struct {
        const char *config, *processor;
        double mean, std; /* of the second colour */
        size_t width;
        const char *message;
    } cases[] = {
        { NULL, NULL, 0, 0, 0, NULL },
        { "{\"model_type\": \"vit\", \"mean\": [9, 9, 9]}", NULL, 0, 0, 0, NULL },
        { "{\"architecture\": \"a\", \"pretrained_cfg\": {\"mean\": [0.5, 0.4, 0.5], \"std\": [0.5, 0.2, 0.5], \"input_size\": "
          "[3, 28, 14]}}",
          NULL, 102, 51, 14, NULL },
        { "{\"architecture\": \"a\", \"mean\": [0, 0.4, 0], \"std\": [1, 0.2, 1]}", NULL, 102, 51, 0, NULL },
        { NULL, "{\"image_mean\": [0.5, 0.4, 0.5], \"image_std\": [0.5, 0.2, 0.5], \"size\": {\"height\": 8, \"width\": 4}}", 102,
          51, 4, NULL },
        { NULL, "{\"image_mean\": 0.4, \"image_std\": 0.2, \"size\": 8}", 102, 51, 8, NULL },
        { NULL, "{\"image_mean\": [1, 102, 1], \"image_std\": [1, 51, 1], \"do_rescale\": false}", 102, 51, 0, NULL },
        { NULL, "{\"image_mean\": [1, 0.4, 1], \"image_std\": [1, 0.2, 1], \"rescale_factor\": 0.5}", 0.8, 0.4, 0, NULL },
        { NULL, "{\"do_normalize\": false, \"image_mean\": [9, 9, 9]}", 0, 255, 0, NULL },
        { NULL, "{\"image_mean\": [0.5, 0.5], \"image_std\": [0.5, 0.5, 0.5]}", 0, 0, 0, "image_mean must be three numbers" },
        { NULL, "{\"image_mean\": [0.5, 0.5, \"a\"], \"image_std\": [0.5, 0.5, 0.5]}", 0, 0, 0,
          "image_mean must be three numbers" },
        { NULL, "{\"image_mean\": [0.5, 0.5, 0.5], \"image_std\": [0.5, 0, 0.5]}", 0, 0, 0, "image_std must be above 0" },
        { NULL, "{\"image_mean\": [1, 1, 1], \"image_std\": [1, 1, 1], \"rescale_factor\": 0}", 0, 0, 0, "rescale_factor" },
        { NULL, "[]", 0, 0, 0, "preprocessor_config.json: no JSON object" },
        { "{\"architecture\": \"a\", \"mean\": [0.5], \"std\": [0.5, 0.5, 0.5]}", NULL, 0, 0, 0, "mean must be three numbers" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vs_input in;
        vs_error err = { 0 };
        const vs_status status = vs_input_parse(&in, cases[i].config, cases[i].processor, "p", &err);
        if (cases[i].message) {
            check_error(status, &err, VS_ERR_FORMAT, cases[i].message);
            continue;
        }
        assert_int_equal(status, VS_OK);
        assert_int_equal(in.from != NULL, cases[i].std > 0);
        check_close(in.mean[1], cases[i].mean, 1e-9);
        check_close(in.std[1], cases[i].std, 1e-9);
        assert_int_equal(in.width, cases[i].width);
    }
}

static int set_up(void **state) {
    (void)state;
    make_temp_dir(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/m.safetensors", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_are_found),
        cmocka_unit_test(one_layer_may_be_three_tensors),
        cmocka_unit_test(swiglu_layers_have_their_own_names),
        cmocka_unit_test(wrong_files_are_refused),
        cmocka_unit_test(shapes_alone_list_what_is_missing),
        cmocka_unit_test(config_json_wins),
        cmocka_unit_test(backbones_have_an_order),
        cmocka_unit_test(unequal_backbones_need_a_choice),
        cmocka_unit_test(every_tensor_is_accounted_for),
        cmocka_unit_test(wrappers_do_not_matter),
        cmocka_unit_test(blocks_have_no_gaps),
        cmocka_unit_test(heads_never_block_a_backbone),
        cmocka_unit_test(configs_of_all_kinds),
        cmocka_unit_test(unbuilt_kinds_are_refused),
        cmocka_unit_test(tanh_gelu_is_computed),
        cmocka_unit_test(configs_tell_what_shapes_do_not),
        cmocka_unit_test(inputs_of_all_kinds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
