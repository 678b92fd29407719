/* The half machine on every kind of model, in small: with all rows in float32 it is the float model, rows come in execution order
 * and read what stands before them, images do not mix, products are those of the float model, and cpu agrees with ref. */
#include <string.h>

#include "half/classes.h"
#include "half/half.h"
#include "half/real.h"
#include "support/archs.h"
#include "support/check.h"
#include "support/eomt_file.h"
#include "support/random_model.h"
#include "util/util.h"

enum { DEPTH = 4, IMAGES = 2, SIDE = 2, CLASSES = 7, NAME = 64 };

typedef enum ffn { GELU, PACKED, APART, TANH } ffn;

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
    { "vitti14", TANH, false, VS_HEAD_NONE, 0, false, false },
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

/* A named geometry with its first blocks alone, and what the variant says. */
static vs_model *make_model(const variant *v) {
    if (!v->geometry) return load_small_eomt(folder);
    vs_arch a = arch_of_geometry(v->geometry, SIDE);
    a.depth = DEPTH;
    if (v->ffn == TANH) a.ffn = VS_FFN_GELU_TANH;
    if (v->ffn == PACKED || v->ffn == APART) { /* half of what the first layer gives is the gate */
        a.ffn = VS_FFN_SWIGLU;
        a.gate_apart = v->ffn == APART;
        a.hidden /= 2;
    }
    a.prefix_norm = v->prefix_norm;
    a.head = v->head;
    a.head_maps = v->maps;
    a.head_norm = v->norm;
    a.head_mean = v->mean;
    a.head_width = (v->maps + v->mean) * a.width;
    a.classes = v->head == VS_HEAD_NONE ? 0 : CLASSES;
    return random_model(&a, 4);
}

/* ---- runs ---- */

typedef struct bench {
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
    *b = (bench){ .model = make_model(v), .images = images };
    const vs_arch *a = &b->model->arch;
    const size_t side = SIDE * a->patch, each = 3 * side * side;
    assert_int_equal(vs_backend_open(&b->backend, backend, &err), VS_OK);
    assert_int_equal(vs_weights_bind(&b->weights, b->backend, b->model, &err), VS_OK);
    assert_int_equal(vs_half_weights_create(&b->half, b->weights, VS_HALF_FP16, &err), VS_OK);
    const vs_session_options o = { .images = images,
                                   .height = side,
                                   .width = side,
                                   .workspaces = 1,
                                   .streams = 1,
                                   .scratch = vs_half_scratch(b->model->graph, SIDE * SIDE, images) };
    assert_int_equal(vs_session_create(&b->session, b->weights, &o, &err), VS_OK);
    b->pixels = vs_calloc(images * each, sizeof *b->pixels);
    b->rows = vs_half_row_count(b->half->rows);
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
    vs_model_free(b->model);
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
    const vs_half_rows *rows = b->half->rows;
    bool *present = vs_calloc(b->rows, sizeof *present);
    size_t last = 0;
    char name[NAME], previous[NAME] = "", unit[NAME], place[32];
    assert_non_null(present);
    for (size_t i = 0; i < b->rows; i++) present[i] = b->seen[i].seen;
    for (size_t i = 0; i < b->rows; i++) {
        size_t from[VS_HALF_READS];
        if (!present[i]) continue;
        last = i;
        vs_half_row_name(rows, policy, i, name, sizeof name);
        vs_half_unit_of(name, unit, sizeof unit);
        const bool shared = strstr(name, "rope.") || strstr(name, "attn.") || strstr(name, "mlp.gate"); /* scores; SiLU's gate */
        if (!shared && strncmp(name, unit, strlen(unit)) != 0) fail_msg("%s is of unit %s", name, unit);
        assert_string_not_equal(name, previous);
        const size_t count = vs_half_reads(rows, present, i, from);
        if ((count == 0) != (strcmp(name, "patch_embed.proj") == 0)) fail_msg("%s reads %zu rows", name, count);
        for (size_t k = 0; k < count; k++)
            if (!present[from[k]] || from[k] >= i) fail_msg("%s reads row %zu, it is row %zu", name, from[k], i);
        if (!(b->seen[i].error[0].signal > 0) || b->seen[i].error[0].nonfinite) fail_msg("%s is not compared", name);
        vs_half_place_name(rows, i, b->seen[i].stored.max_row, SIDE, SIDE, place, sizeof place);
        assert_true(*place);
        snprintf(previous, sizeof previous, "%s", name);
    }
    assert_int_equal(last, vs_half_output_row(rows));
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
            vs_half_row_name(one.half->rows, &policies[1], i, name, sizeof name);
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
        vs_half_rows *rows = NULL;
        vs_error err = { 0 };
        vs_point *points = NULL;
        size_t count = 0;
        double want = 0, got = 0;
        assert_int_equal(vs_points_make(m, SIDE * SIDE, false, &points, &count, &err), VS_OK);
        assert_int_equal(vs_half_rows_create(&rows, m->graph, &err), VS_OK);
        for (size_t i = 0; i < count; i++) want += points[i].macs;
        for (size_t i = 0; i < vs_half_row_count(rows); i++) got += vs_half_macs(rows, i, SIDE * SIDE);
        if (m->arch.head == VS_HEAD_EOMT)
            want += SIDE * SIDE * (16.0 * EOMT_QUERIES * EOMT_C + (4.0 + 16.0) * 9 * EOMT_C); /* two upscale blocks */
        check_close(got, want, 0);
        free(points);
        vs_half_rows_free(rows);
        vs_model_free(m);
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
            vs_half_row_name(x.half->rows, &policies[1], i, name, sizeof name);
            assert_int_equal(x.seen[i].seen, y.seen[i].seen);
            const bool output = i == vs_half_output_row(x.half->rows);
            if (!x.seen[i].seen || (!output && !strstr(name, "add2"))) continue;
            const double a = level(&x.seen[i].error[0]), b = level(&y.seen[i].error[0]);
            if (!(fabs(a - b) <= (output ? 6 : 1.5))) fail_msg("variant %zu, %s: %g dB, ref %g", v, name, a, b);
        }
        close_bench(&x);
        close_bench(&y);
    }
}

static size_t row_named(const vs_half_rows *rows, const vs_policy_config *policy, const char *name) {
    char text[NAME];
    for (size_t i = 0; i < vs_half_row_count(rows); i++) {
        vs_half_row_name(rows, policy, i, text, sizeof text);
        if (strcmp(text, name) == 0) return i;
    }
    fail_msg("there is no row %s", name);
    return 0;
}

typedef struct name_case {
    const char *strict, *fused; /* fused: NULL, the same */
    size_t at;                  /* row of the matrix; 11 tokens of 3 x 3 patches, 3 queries more in front */
    const char *place;
} name_case;

static void check_names(const vs_arch *arch, const name_case *cases, size_t count) {
    vs_graph *g = graph_of(arch);
    vs_half_rows *rows = NULL;
    vs_error err = { 0 };
    assert_int_equal(vs_half_rows_create(&rows, g, &err), VS_OK);
    for (size_t i = 0; i < count; i++) {
        char text[NAME];
        const size_t row = row_named(rows, &policies[1], cases[i].strict);
        vs_half_row_name(rows, &policies[0], row, text, sizeof text);
        assert_string_equal(text, cases[i].fused ? cases[i].fused : cases[i].strict);
        vs_half_place_name(rows, row, cases[i].at, 3, 3, text, sizeof text);
        assert_string_equal(text, cases[i].place);
    }
    vs_half_rows_free(rows);
    vs_graph_free(g);
}

static void names_and_places(void **state) {
    (void)state;
    static const name_case eomt[] = { { "head.queries", NULL, 1, "query1" },
                                      { "blocks.1.add2", NULL, 1, "reg0" },
                                      { "blocks.1.ls2", NULL, 0, "cls" },
                                      { "blocks.2.attn.scores", NULL, 14 + 3, "cls" },
                                      { "blocks.1.attn.scores", NULL, 11 + 2, "patch(0,0)" },
                                      { "norm.out", NULL, 3, "cls" },
                                      { "head.class_head", NULL, 2, "query2" },
                                      { "head.mask_head.1.gelu.out", "head.mask_head.1.gelu", 0, "query0" },
                                      { "head.upscale.0.conv1", NULL, 7, "pixel(1,1)" },
                                      { "head.upscale.1.act.out", "head.upscale.1.act", 13, "pixel(1,1)" },
                                      { "head.upscale.0.norm.mean", NULL, 7, "pixel(1,1)" },
                                      { "head.einsum", NULL, 13, "pixel(1,1)" },
                                      { "head.scores", NULL, 13, "pixel(1,1)" } };
    static const name_case maps[] = { { "blocks.3.mlp.w1", NULL, 0, "cls" },
                                      { "blocks.3.mlp.w2", NULL, 1, "reg0" },
                                      { "blocks.3.mlp.silu.mul", "blocks.3.mlp.silu", 5, "patch(0,0)" },
                                      { "blocks.3.mlp.gate", NULL, 0, "cls" },
                                      { "blocks.3.mlp.w3", NULL, 5, "patch(0,0)" },
                                      { "blocks.3.rope.k", NULL, 5, "patch(0,0)" },
                                      { "blocks.2.norm.var", NULL, 4, "patch(1,1)" },
                                      { "blocks.2.cls_norm.mean", NULL, 1, "reg0" },
                                      { "head.bn", NULL, 4, "patch(1,1)" } };
    static const name_case split[] = { { "cls_norm.out", NULL, 0, "cls" }, { "norm.cat", NULL, 5, "patch(0,0)" } };
    static const name_case classifier[] = { { "pos_add", NULL, 1, "dist" },
                                            { "head.mean", NULL, 0, "mean of patches" },
                                            { "head.fc", NULL, 0, "cls" } };
    static const name_case tanh_form[] = { { "blocks.1.mlp.gelu.square", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.cube", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.kappa", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.sum", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.inner", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.tanh", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.one", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.mul", NULL, 0, "cls" },
                                           { "blocks.1.mlp.gelu.out", "blocks.1.mlp.gelu", 0, "cls" } };
    vs_arch none = arch_dinov3, tanh_gelu = arch_classifier;
    tanh_gelu.ffn = VS_FFN_GELU_TANH;
    none.head = VS_HEAD_NONE;
    check_names(&arch_eomt, eomt, sizeof eomt / sizeof *eomt);
    check_names(&arch_dinov3, maps, sizeof maps / sizeof *maps);
    check_names(&none, split, sizeof split / sizeof *split);
    check_names(&arch_classifier, classifier, sizeof classifier / sizeof *classifier);
    check_names(&tanh_gelu, tanh_form, sizeof tanh_form / sizeof *tanh_form);
}

/* What half kernels are not built for, in words. */
static void real_kernels_refuse_by_name(void **state) {
    (void)state;
    static const struct {
        ffn ffn;
        const char *message;
    } cases[] = { { TANH, "half kernels are not built for GELU's tanh form" },
                  { PACKED, "half kernels are not built for SwiGLU" } };
    static const vs_half_ops kernels;
    vs_backend be = { .name = "kernels", .half = &kernels };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const variant v = { "vitti14", cases[i].ffn, false, VS_HEAD_SEGMENTATION, 1, true, false };
        vs_model *m = make_model(&v);
        vs_error err = { 0 };
        check_error(vs_half_real_check(m, &be, VS_HALF_FP16, &err), &err, VS_ERR_CONFIG, cases[i].message);
        vs_model_free(m);
    }
}

int main(void) {
    make_temp_dir(folder, sizeof folder);
    const struct CMUnitTest tests[] = { cmocka_unit_test(in_float32_it_is_the_float_model),
                                        cmocka_unit_test(rows_read_those_before_them),
                                        cmocka_unit_test(images_do_not_mix),
                                        cmocka_unit_test(products_are_the_float_models),
                                        cmocka_unit_test(cpu_is_ref),
                                        cmocka_unit_test(names_and_places),
                                        cmocka_unit_test(real_kernels_refuse_by_name) };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
