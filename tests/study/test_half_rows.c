/* The half machine on every kind of model, in small: with all rows in float32 it is the float model, rows come in execution order
 * and read what stands before them, images do not mix, products are those of the float model, and cpu agrees with ref. */
#include <string.h>

#include "half/classes.h"
#include "half/half.h"
#include "support/check.h"
#include "support/eomt_file.h"
#include "util/util.h"

enum { DEPTH = 4, IMAGES = 2, SIDE = 2, CLASSES = 7, NAME = 64 };

typedef enum ffn { GELU, PACKED, APART } ffn;

typedef struct variant {
    const char *geometry; /* NULL: EoMT, from a file */
    ffn ffn;
    bool prefix_norm;
    vs_head_kind head;
    size_t maps;
    bool norm, mean;
} variant;

static const variant variants[] = {
    { "vitti14", GELU, false, VS_HEAD_NONE, 0, false, false },
    { "vitti14", PACKED, false, VS_HEAD_SEGMENTATION, 1, true, false },
    { "vitti14", GELU, false, VS_HEAD_SEGMENTATION, 4, true, false },
    { "vitti14", APART, false, VS_HEAD_CLASSIFIER, 4, false, true },
    { "dinov3_vits16", APART, true, VS_HEAD_NONE, 0, false, false },
    { "dinov3_vits16", GELU, true, VS_HEAD_SEGMENTATION, 4, false, false },
    { "dinov3_vits16", GELU, true, VS_HEAD_CLASSIFIER, 4, false, true },
    { NULL, GELU, false, VS_HEAD_EOMT, 1, false, false },
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static char fused[] = "fused", strict[] = "strict", options[] = "options", probs[] = "probs";
static const vs_policy_config policies[] = {
    { .name = fused, .scale = VS_SCALE_AFTER },
    { .name = strict,
      .norm = VS_OPERATION_DECOMPOSED,
      .attention = VS_OPERATION_DECOMPOSED,
      .gelu = VS_OPERATION_DECOMPOSED,
      .scale = VS_SCALE_BOTH },
    { .name = options,
      .norm = VS_OPERATION_FLOAT32,
      .attention = VS_OPERATION_DECOMPOSED,
      .scale = VS_SCALE_BEFORE,
      .softmax = VS_SOFTMAX_HALF,
      .tables = VS_TABLES_HALF },
    { .name = probs, .scale = VS_SCALE_AFTER, .probs = VS_PROBS_SOFTMAX },
};

static char folder[256];

/* ---- models ---- */

static float *random_values(vs_rng *rng, size_t count, double center, double scale) {
    float *v = vs_calloc(count, sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < count; i++) v[i] = (float)(center + scale * vs_rng_normal(rng));
    return v;
}

static void add_head(vs_model *m, const variant *v, vs_rng *rng) {
    vs_arch *a = &m->arch;
    a->head = v->head;
    a->head_maps = v->maps;
    a->head_norm = v->norm;
    a->head_mean = v->mean;
    a->head_width = (v->maps + v->mean) * a->width;
    if (v->head == VS_HEAD_NONE) return;
    a->classes = CLASSES;
    m->head = (vs_linear){ .w = random_values(rng, CLASSES * a->head_width, 0, 0.1),
                           .b = random_values(rng, CLASSES, 0, 0.1),
                           .out = CLASSES,
                           .in = a->head_width };
    if (!v->norm) return;
    m->bn_eps = 1e-5;
    m->bn_g = random_values(rng, a->head_width, 1, 0.1);
    m->bn_b = random_values(rng, a->head_width, 0, 0.1);
    m->bn_mean = random_values(rng, a->head_width, 0, 0.1);
    m->bn_var = random_values(rng, a->head_width, 1, 0.1);
}

/* A named geometry with its first blocks alone; those behind stay for vs_model_free. */
static vs_model *make_model(const variant *v) {
    vs_error err = { 0 };
    vs_model *m = NULL;
    vs_rng rng = { 4 };
    if (!v->geometry) return load_small_eomt(folder);
    assert_int_equal(vs_model_random(&m, v->geometry, strstr(v->geometry, "14") ? 14 * SIDE : 16 * SIDE, 5, &err), VS_OK);
    vs_arch *a = &m->arch;
    a->depth = DEPTH;
    if (v->ffn != GELU) { /* half of what the first layer gives is the gate */
        a->ffn = VS_FFN_SWIGLU;
        a->gate_apart = v->ffn == APART;
        a->hidden /= 2;
        for (size_t b = 0; b < DEPTH; b++) m->blocks[b].fc2.in = a->hidden;
    }
    a->prefix_norm = v->prefix_norm;
    if (v->prefix_norm) {
        m->prefix_norm_g = random_values(&rng, a->width, 1, 0.1);
        m->prefix_norm_b = random_values(&rng, a->width, 0, 0.1);
    }
    add_head(m, v, &rng);
    return m;
}

static void free_model(vs_model *m, const variant *v) {
    if (v->geometry) m->arch.depth = 12; /* of both geometries */
    vs_model_free(m);
}

/* ---- runs ---- */

typedef struct bench {
    const variant *v;
    vs_model *model;
    vs_backend *backend;
    vs_weights *weights;
    vs_half_weights *half;
    vs_session *session;
    float *pixels; /* [images, 3, H, W]; numbers that half has */
    size_t images, rows, count;
    vs_half_seen *seen; /* [images * rows] */
} bench;

static void open_bench(bench *b, const variant *v, const char *backend, size_t images, size_t first_image) {
    vs_error err = { 0 };
    vs_rng rng = { 9 };
    *b = (bench){ .v = v, .model = make_model(v), .images = images };
    const vs_arch *a = &b->model->arch;
    const size_t side = SIDE * a->patch, each = 3 * side * side;
    assert_int_equal(vs_backend_open(&b->backend, backend, &err), VS_OK);
    assert_int_equal(vs_weights_bind(&b->weights, b->backend, b->model, &err), VS_OK);
    assert_int_equal(vs_half_weights_create(&b->half, b->weights, VS_HALF_FP16, &err), VS_OK);
    const size_t tokens = vs_arch_tokens(a, SIDE, SIDE) + a->queries;
    const vs_session_options o = { .images = images,
                                   .height = side,
                                   .width = side,
                                   .workspaces = 1,
                                   .streams = 1,
                                   .scratch = vs_half_scratch(a, tokens, images) };
    assert_int_equal(vs_session_create(&b->session, b->weights, &o, &err), VS_OK);
    b->pixels = vs_calloc(images * each, sizeof *b->pixels);
    b->rows = vs_half_row_count(a);
    b->seen = vs_calloc(images * b->rows, sizeof *b->seen);
    assert_true(b->pixels && b->seen);
    for (size_t i = 0; i < (first_image + images) * each; i++) {
        const float value = (float)((double)(vs_rng_next(&rng) % 256) / 64 - 2);
        if (i >= first_image * each) b->pixels[i - first_image * each] = value;
    }
    b->count = vs_session_output(b->session).rows * vs_session_output(b->session).cols;
}

static void close_bench(bench *b) {
    vs_session_free(b->session);
    vs_half_weights_free(b->half);
    vs_weights_free(b->weights);
    vs_backend_close(b->backend);
    free_model(b->model, b->v);
    free(b->pixels);
    free(b->seen);
}

static void run_half(bench *b, const vs_policy_config *policy, const bool *float32) {
    vs_error err = { 0 };
    vs_half_seen *seen[IMAGES];
    for (size_t i = 0; i < b->images; i++) seen[i] = &b->seen[i * b->rows];
    const vs_half_model model = { .weights = b->half, .policy = policy, .float32 = float32 };
    if (vs_half_forward(b->session, &model, b->pixels, seen, &err) != VS_OK) fail_msg("%s", err.message);
    assert_int_equal(b->backend->ops->sync(b->backend, &err), VS_OK);
}

static double *read_output(const bench *b) {
    vs_error err = { 0 };
    const vs_mat out = vs_session_output(b->session);
    double *values = vs_calloc(b->count, sizeof *values);
    void *raw = vs_calloc(b->count, (size_t)b->backend->scalar);
    assert_true(values && raw);
    assert_int_equal(b->backend->ops->download(b->backend, raw, out, &err), VS_OK);
    assert_int_equal(b->backend->ops->sync(b->backend, &err), VS_OK);
    for (size_t i = 0; i < b->count; i++)
        values[i] = b->backend->scalar == VS_SCALAR_F64 ? ((double *)raw)[i] : (double)((float *)raw)[i];
    free(raw);
    return values;
}

/* ---- tests ---- */

/* The same formulas in another order: some dozens of roundings of each backend's reals. */
static void in_float32_it_is_the_float_model(void **state) {
    (void)state;
    static const struct {
        const char *backend;
        double tolerance;
    } backends[] = { { "ref", 1e-12 }, { "cpu", 2e-5 } };
    for (size_t k = 0; k < 2; k++)
        for (size_t v = 0; v < VARIANTS; v++) {
            bench b;
            vs_error err = { 0 };
            open_bench(&b, &variants[v], backends[k].backend, IMAGES, 0);
            bool *all = vs_calloc(b.rows, sizeof *all);
            assert_non_null(all);
            memset(all, true, b.rows * sizeof *all);
            assert_int_equal(vs_forward(b.session, b.weights, b.pixels, (vs_tapper){ NULL, NULL }, &err), VS_OK);
            double *want = read_output(&b), largest = 0;
            for (size_t i = 0; i < b.count; i++) largest = fmax(largest, fabs(want[i]));
            for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
                run_half(&b, &policies[p], all);
                double *got = read_output(&b);
                for (size_t i = 0; i < b.count; i++)
                    if (!(fabs(got[i] - want[i]) <= backends[k].tolerance * largest))
                        fail_msg("variant %zu, %s, %s: output %zu is %g, not %g", v, backends[k].backend, policies[p].name, i,
                                 got[i], want[i]);
                free(got);
            }
            free(want);
            free(all);
            close_bench(&b);
        }
}

static void check_rows(const bench *b, const vs_policy_config *policy) {
    const vs_arch *a = &b->model->arch;
    bool *present = vs_calloc(b->rows, sizeof *present);
    size_t last = 0;
    char name[NAME], previous[NAME] = "", unit[NAME], place[32];
    assert_non_null(present);
    for (size_t i = 0; i < b->rows; i++) present[i] = b->seen[i].seen;
    for (size_t i = 0; i < b->rows; i++) {
        size_t from[VS_HALF_READS];
        if (!present[i]) continue;
        last = i;
        vs_half_row_name(a, policy, i, name, sizeof name);
        vs_half_unit_of(name, unit, sizeof unit);
        const bool shared = strstr(name, "rope.") || strstr(name, "attn.") || strstr(name, "mlp.gate"); /* scores; SiLU's gate */
        if (!shared && strncmp(name, unit, strlen(unit)) != 0) fail_msg("%s is of unit %s", name, unit);
        assert_string_not_equal(name, previous);
        const size_t count = vs_half_reads(a, present, i, from);
        if ((count == 0) != (i == VS_ROW_PATCH_EMBED)) fail_msg("%s reads %zu rows", name, count);
        for (size_t k = 0; k < count; k++)
            if (!present[from[k]] || from[k] >= i) fail_msg("%s reads row %zu, it is row %zu", name, from[k], i);
        if (!(b->seen[i].error[0].signal > 0) || b->seen[i].error[0].nonfinite) fail_msg("%s is not compared", name);
        vs_half_place_name(a, i, b->seen[i].stored.max_row, SIDE, vs_session_tokens(b->session), place, sizeof place);
        assert_true(*place);
        snprintf(previous, sizeof previous, "%s", name);
    }
    assert_int_equal(last, vs_half_output_index(a));
    free(present);
}

static void rows_read_those_before_them(void **state) {
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++)
        for (size_t p = 0; p < sizeof policies / sizeof *policies; p++) {
            bench b;
            open_bench(&b, &variants[v], "cpu", 1, 0);
            run_half(&b, &policies[p], NULL);
            check_rows(&b, &policies[p]);
            close_bench(&b);
        }
}

static void images_do_not_mix(void **state) {
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        bench both, one;
        open_bench(&both, &variants[v], "ref", 2, 0);
        open_bench(&one, &variants[v], "ref", 1, 1);
        run_half(&both, &policies[1], NULL);
        run_half(&one, &policies[1], NULL);
        for (size_t i = 0; i < one.rows; i++) {
            const vs_half_seen *x = &both.seen[both.rows + i], *y = &one.seen[i];
            char name[NAME];
            vs_half_row_name(&one.model->arch, &policies[1], i, name, sizeof name);
            if (x->seen != y->seen || memcmp(&x->stored, &y->stored, sizeof x->stored) != 0 ||
                memcmp(x->error, y->error, sizeof x->error) != 0)
                fail_msg("variant %zu: %s of a second image is not that image's", v, name);
        }
        double *x = read_output(&both), *y = read_output(&one);
        assert_memory_equal(x + one.count, y, one.count * sizeof *y);
        free(x);
        free(y);
        close_bench(&both);
        close_bench(&one);
    }
}

/* A study's products, and what EoMT has besides: mask logits, convolutions in a channel. */
static void products_are_the_float_models(void **state) {
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        vs_model *m = make_model(&variants[v]);
        const vs_arch *a = &m->arch;
        const size_t tokens = vs_arch_tokens(a, SIDE, SIDE);
        vs_error err = { 0 };
        vs_point *points = NULL;
        size_t count = 0;
        double want = 0, got = 0;
        assert_int_equal(vs_points_make(m, tokens, false, &points, &count, &err), VS_OK);
        for (size_t i = 0; i < count; i++) want += points[i].macs;
        for (size_t i = 0; i < vs_half_row_count(a); i++) got += vs_half_macs(a, i, tokens + a->queries);
        if (a->head == VS_HEAD_EOMT)
            want += SIDE * SIDE * (16.0 * EOMT_QUERIES * EOMT_C + (4.0 + 16.0) * 9 * EOMT_C); /* two upscale blocks */
        check_close(got, want, 0);
        free(points);
        free_model(m, &variants[v]);
    }
}

static double level(const vs_error_sums *e) { return 10 * log10(e->signal / e->noise); }

/* Behind the first values that round the other way noise is another draw of the same level; a block output of 2 images has some
 * thousands of numbers, an output down to 14, whose level is not known to better than 6 dB. */
static void cpu_is_ref(void **state) {
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        bench x, y;
        open_bench(&x, &variants[v], "cpu", 2, 0);
        open_bench(&y, &variants[v], "ref", 2, 0);
        run_half(&x, &policies[1], NULL);
        run_half(&y, &policies[1], NULL);
        for (size_t i = 0; i < x.rows; i++) {
            char name[NAME];
            vs_half_row_name(&x.model->arch, &policies[1], i, name, sizeof name);
            assert_int_equal(x.seen[i].seen, y.seen[i].seen);
            const bool output = i == vs_half_output_index(&x.model->arch);
            if (!x.seen[i].seen || (!output && !strstr(name, "add2"))) continue;
            const double a = level(&x.seen[i].error[0]), b = level(&y.seen[i].error[0]);
            if (!(fabs(a - b) <= (output ? 6 : 1.5))) fail_msg("variant %zu, %s: %g dB, ref %g", v, name, a, b);
        }
        close_bench(&x);
        close_bench(&y);
    }
}

static void names_and_places(void **state) {
    (void)state;
    static const vs_arch eomt = { .depth = 4,
                                  .head = VS_HEAD_EOMT,
                                  .head_maps = 1,
                                  .queries = 3,
                                  .joint_blocks = 2,
                                  .upscales = 2,
                                  .registers = 1,
                                  .prefix_norm = true };
    static const vs_arch split = { .depth = 4, .ffn = VS_FFN_SWIGLU, .gate_apart = true, .registers = 1, .prefix_norm = true };
    static const struct {
        const vs_arch *arch;
        vs_half_row row;
        size_t block, at; /* row of the matrix; 11 tokens of 3 x 3 patches, 3 queries more in front */
        const char *fused, *strict, *place;
    } cases[] = {
        { &eomt, VS_ROW_QUERIES, 2, 1, "head.queries", "head.queries", "query1" },
        { &eomt, VS_ROW_ADD2, 1, 1, "blocks.1.add2", "blocks.1.add2", "reg0" },
        { &eomt, VS_ROW_SCORES, 2, 14 + 3, "blocks.2.attn.scores", "blocks.2.attn.scores", "cls" },
        { &eomt, VS_ROW_SCORES, 1, 11 + 2, "blocks.1.attn.scores", "blocks.1.attn.scores", "patch(0,0)" },
        { &eomt, VS_ROW_NORM + VS_NORM_OUT, 0, 3, "norm.out", "norm.out", "cls" },
        { &eomt, VS_ROW_HEAD_CONV, 0, 2, "head.class_head", "head.class_head", "query2" },
        { &eomt, VS_ROW_MASK_GELU1 + VS_GELU_OUT, 0, 0, "head.mask_head.1.gelu", "head.mask_head.1.gelu.out", "query0" },
        { &eomt, VS_ROW_UP + VS_UP_CONV1, 0, 7, "head.upscale.0.conv1", "head.upscale.0.conv1", "pixel(1,1)" },
        { &eomt, VS_ROW_UP + VS_UP_ROWS + VS_UP_ACT + VS_GELU_OUT, 0, 13, "head.upscale.1.act", "head.upscale.1.act.out",
          "pixel(1,1)" },
        { &eomt, VS_ROW_UP + VS_UP_NORM, 0, 7, "head.upscale.0.norm.mean", "head.upscale.0.norm.mean", "pixel(1,1)" },
        { &eomt, VS_ROW_EINSUM, 0, 13, "head.einsum", "head.einsum", "pixel(1,1)" },
        { &split, VS_ROW_FC1, 3, 0, "blocks.3.mlp.w1", "blocks.3.mlp.w1", "cls" },
        { &split, VS_ROW_W2, 3, 1, "blocks.3.mlp.w2", "blocks.3.mlp.w2", "reg0" },
        { &split, VS_ROW_SILU, 3, 2, "blocks.3.mlp.silu", "blocks.3.mlp.silu.mul", "patch(0,0)" },
        { &split, VS_ROW_FC2, 3, 2, "blocks.3.mlp.w3", "blocks.3.mlp.w3", "patch(0,0)" },
        { &split, VS_ROW_MAP_NORM + VS_NORM_VAR, 2, 4, "blocks.2.norm.var", "blocks.2.norm.var", "patch(1,1)" },
        { &split, VS_ROW_MAP_PREFIX_NORM, 2, 1, "blocks.2.cls_norm.mean", "blocks.2.cls_norm.mean", "reg0" },
        { &split, VS_ROW_PREFIX_NORM + VS_NORM_OUT, 0, 0, "cls_norm.out", "cls_norm.out", "cls" },
        { &split, VS_ROW_NORM_CAT, 0, 2, "norm.cat", "norm.cat", "patch(0,0)" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[NAME];
        const size_t index = vs_half_row_index(cases[i].arch, cases[i].row, cases[i].block);
        vs_half_row_name(cases[i].arch, &policies[0], index, text, sizeof text);
        assert_string_equal(text, cases[i].fused);
        vs_half_row_name(cases[i].arch, &policies[1], index, text, sizeof text);
        assert_string_equal(text, cases[i].strict);
        vs_half_place_name(cases[i].arch, index, cases[i].at, 3, 11 + cases[i].arch->queries, text, sizeof text);
        assert_string_equal(text, cases[i].place);
    }
}

int main(void) {
    make_temp_dir(folder, sizeof folder);
    const struct CMUnitTest tests[] = { cmocka_unit_test(in_float32_it_is_the_float_model),
                                        cmocka_unit_test(rows_read_those_before_them),
                                        cmocka_unit_test(images_do_not_mix),
                                        cmocka_unit_test(products_are_the_float_models),
                                        cmocka_unit_test(cpu_is_ref),
                                        cmocka_unit_test(names_and_places) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
