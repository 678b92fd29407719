/* Quantized variants of the demo's model on a small image: every scheme's values by its formula, folded norms, what is left
 * float. */
#include "quant/quant.h"
#include "support/check.h"
#include "util/util.h"

enum { SIDE = 56, MOST_SITES = 128 };

/* One image through the float model: its ranges, and every site's input as it was read. */
typedef struct seen {
    vs_backend *be;
    vs_model *model;
    vs_weights *weights;
    vs_session *session;
    vs_calibration *calibration;
    double *inputs[MOST_SITES];
    size_t rows[MOST_SITES], cols[MOST_SITES];
    float *pixels;
} seen;

static const vs_recipe_config defaults = { .bits_weights = 8, .bits_inputs = 8, .bits_qk = 8, .bits_v = 8, .percentile = 99.99 };

static size_t site_of(const seen *s, vs_kind kind, int block) {
    const size_t node = vs_graph_find(s->model->graph, kind, block);
    assert_true(node != VS_NONE);
    return s->model->graph->nodes[node].site;
}

static vs_status look(void *context, const vs_tap *tap, vs_error *err) {
    seen *s = context;
    const size_t at = tap->input ? s->model->graph->nodes[tap->node].site : VS_NONE;
    if (at == VS_NONE) return VS_OK;
    assert_true(at < MOST_SITES);
    s->rows[at] = tap->x.rows;
    s->cols[at] = tap->x.cols;
    s->inputs[at] = vs_calloc(tap->x.rows * tap->x.cols, sizeof(double));
    assert_non_null(s->inputs[at]);
    vs_calibration_observe(s->calibration, s->model->graph, s->be, tap);
    return s->be->ops->download(s->be, s->inputs[at], tap->x, err);
}

static int open_model(void **state) {
    seen *s = vs_calloc(1, sizeof *s);
    vs_error err = { 0 };
    const vs_model_options none = { 0 };
    assert_non_null(s);
    assert_int_equal(vs_backend_open(&s->be, "ref", &err), VS_OK);
    assert_int_equal(vs_model_load(&s->model, VS_SOURCE_DIR "/data/vit_ti14_scenes.safetensors", &none, &err), VS_OK);
    assert_int_equal(vs_weights_bind(&s->weights, s->be, s->model, &err), VS_OK);
    assert_int_equal(vs_calibration_create(&s->calibration, s->model->graph, &err), VS_OK);
    const vs_session_options size = {
        .images = 1, .height = SIDE, .width = SIDE, .workspaces = 1, .streams = 1, .probabilities = true
    };
    assert_int_equal(vs_session_create(&s->session, s->weights, &size, &err), VS_OK);
    s->pixels = vs_calloc(3 * SIDE * SIDE, sizeof *s->pixels);
    assert_non_null(s->pixels);
    vs_rng rng = { 11 };
    for (size_t i = 0; i < 3 * SIDE * SIDE; i++) s->pixels[i] = (float)vs_rng_normal(&rng);
    assert_int_equal(vs_forward(s->session, s->weights, s->pixels, (vs_tapper){ look, s }, &err), VS_OK);
    *state = s;
    return 0;
}

static int close_model(void **state) {
    seen *s = *state;
    for (size_t i = 0; i < MOST_SITES; i++) free(s->inputs[i]);
    vs_calibration_free(s->calibration);
    vs_session_free(s->session);
    vs_weights_free(s->weights);
    vs_model_free(s->model);
    vs_backend_close(s->be);
    free(s->pixels);
    free(s);
    return 0;
}

/* Columns [first, first + cols) of rows x all values on their grid; `kind`: a asymmetric, s symmetric, w symmetric wide. */
static void expect_part(double *x, size_t rows, size_t all, size_t first, size_t cols, char kind, int bits) {
    double lo = 0, hi = 0;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = first; c < first + cols; c++) {
            lo = fmin(lo, x[r * all + c]);
            hi = fmax(hi, x[r * all + c]);
        }
    const double top = kind == 'a' ? exp2(bits) - 1 : exp2(bits - 1) - 1;
    const double scale = (double)(float)((kind == 'a' ? hi - lo : fmax(-lo, hi)) / top);
    const double zero = kind == 'a' ? fmin(fmax(rint(-lo / scale), 0), top) : 0;
    const double bottom = kind == 'a' ? 0 : kind == 's' ? -top : -top - 1;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = first; c < first + cols; c++) {
            const double code = fmin(fmax(rint(x[r * all + c] / scale) + zero, bottom), top);
            x[r * all + c] = (code - zero) * scale;
        }
}

/* What the site makes of its own calibration input is what the formula makes, element by element. */
static void check_site(const seen *s, const vs_variant *v, vs_kind kind, int block, char scheme, int bits, size_t parts) {
    const size_t at = site_of(s, kind, block), rows = s->rows[at], cols = s->cols[at];
    double *want = vs_calloc(rows * cols, sizeof *want), *got = vs_calloc(rows * cols, sizeof *got);
    assert_true(want && got && rows);
    memcpy(want, s->inputs[at], rows * cols * sizeof *want);
    memcpy(got, want, rows * cols * sizeof *got);
    const vs_site *site = vs_variant_site(v, at);
    const vs_mat m = { got, rows, cols, cols };
    vs_site_quantize(s->be, site, m, m, 1, NULL);
    for (size_t p = 0; p < parts; p++) {
        if (scheme == 't')
            for (size_t r = 0; r < rows; r++) expect_part(want + r * cols, 1, cols, 0, cols, 'w', bits);
        else if (scheme == 'u')
            for (size_t i = 0; i < rows * cols; i++)
                want[i] = rint(want[i] / (double)(float)(1.0 / 255)) * (double)(float)(1.0 / 255);
        else if (scheme != '-')
            expect_part(want, rows, cols, p * (cols / parts), cols / parts, scheme, bits);
    }
    assert_true(site->quantized == (scheme != '-'));
    for (size_t i = 0; i < rows * cols; i++)
        if (got[i] != want[i])
            fail_msg("%s of block %d: element %zu is %.17g, wanted %.17g", vs_kind_name(kind), block, i, got[i], want[i]);
    free(want);
    free(got);
}

static void every_scheme_by_its_formula(void **state) {
    const seen *s = *state;
    static const struct {
        vs_recipe_config recipe;
        char inputs, qk, v, p;
        size_t qk_parts, v_parts;
        bool outer;
    } cases[] = {
        { { .inputs = VS_INPUTS_PER_TENSOR_ASYM }, 'a', 's', 's', '-', 1, 3, false },
        { { .inputs = VS_INPUTS_PER_TENSOR_SYM,
            .qk = VS_QK_PER_HEAD_SYM,
            .v = VS_V_PER_TENSOR_SYM,
            .patch_embed = true,
            .head = true },
          'w',
          's',
          's',
          '-',
          3,
          1,
          true },
        { { .inputs = VS_INPUTS_PER_TOKEN,
            .qk = VS_QK_PER_TENSOR_ASYM,
            .v = VS_V_NONE,
            .p = VS_P_U8,
            .patch_embed = true,
            .head = true },
          't',
          'a',
          '-',
          'u',
          1,
          1,
          true },
        { { .qk = VS_QK_NONE }, 'a', '-', 's', '-', 1, 3, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int bits = 2; bits <= 8; bits += 3) {
            vs_recipe_config recipe = cases[i].recipe;
            recipe.bits_weights = recipe.bits_inputs = recipe.bits_qk = recipe.bits_v = bits;
            const vs_variant_options plain = { .smooth = false };
            vs_variant *v = NULL;
            vs_error err = { 0 };
            assert_int_equal(vs_variant_create(&v, s->weights, s->calibration, &recipe, &plain, &err), VS_OK);
            static const vs_kind linears[] = { VS_KIND_QKV, VS_KIND_PROJ, VS_KIND_FC1, VS_KIND_FC2 };
            for (size_t k = 0; k < 4; k++) check_site(s, v, linears[k], 5, cases[i].inputs, bits, 1);
            check_site(s, v, VS_KIND_Q, 5, cases[i].qk, bits, cases[i].qk_parts);
            check_site(s, v, VS_KIND_K, 5, cases[i].qk, bits, cases[i].qk_parts);
            check_site(s, v, VS_KIND_V, 5, cases[i].v, bits, cases[i].v_parts);
            check_site(s, v, VS_KIND_P, 5, cases[i].p, bits, 1);
            check_site(s, v, VS_KIND_PATCH_EMBED, -1, cases[i].outer ? cases[i].inputs : '-', bits, 1);
            check_site(s, v, VS_KIND_HEAD, -1, cases[i].outer ? cases[i].inputs : '-', bits, 1);
            vs_variant_free(v);
        }
}

/* Weights: a scale a row, or the rows' largest for all; the same for the outer linears, which stay the base's otherwise. */
static void weights_by_their_formula(void **state) {
    const seen *s = *state;
    static const struct {
        vs_kind kind;
        int block;
    } sites[] = { { VS_KIND_FC1, 3 }, { VS_KIND_PATCH_EMBED, -1 }, { VS_KIND_HEAD, -1 } };
    for (int per_tensor = 0; per_tensor < 2; per_tensor++)
        for (int64_t bits = 3; bits <= 8; bits += 5) {
            vs_recipe_config recipe = defaults;
            recipe.weights = per_tensor ? VS_WEIGHTS_PER_TENSOR : VS_WEIGHTS_PER_CHANNEL;
            recipe.bits_weights = bits;
            recipe.patch_embed = recipe.head = true;
            const vs_variant_options plain = { .smooth = false };
            vs_variant *v = NULL;
            vs_error err = { 0 };
            assert_int_equal(vs_variant_create(&v, s->weights, s->calibration, &recipe, &plain, &err), VS_OK);
            for (size_t i = 0; i < 3; i++) {
                const size_t node = vs_graph_find(s->model->graph, sites[i].kind, sites[i].block);
                const vs_linear l = vs_model_linear(s->model, node);
                const vs_mat w = vs_weights_linear(&v->weights, node).w;
                const float *scales = v->row_scales[site_of(s, sites[i].kind, sites[i].block)];
                const double top = exp2((double)bits - 1) - 1;
                double all = 0;
                for (size_t j = 0; j < l.out * l.in; j++) all = fmax(all, fabs((double)l.w[j]));
                for (size_t o = 0; o < l.out; o++) {
                    double most = 0;
                    for (size_t j = 0; j < l.in; j++) most = fmax(most, fabs((double)l.w[o * l.in + j]));
                    const double scale = (double)(float)((per_tensor ? all : most) / top);
                    assert_true((double)scales[o] == scale);
                    for (size_t j = 0; j < l.in; j++)
                        assert_true(((const double *)w.p)[o * w.ld + j] == rint((double)l.w[o * l.in + j] / scale) * scale);
                }
            }
            vs_variant_free(v);
        }
}

/* The input of qkv or fc1 of block 4 with the variant's norms, before anything else is changed. */
typedef struct arrival {
    const seen *s;
    vs_kind kind;
    double *x;
} arrival;

static vs_status keep_arrival(void *context, const vs_tap *tap, vs_error *err) {
    const arrival *a = context;
    return tap->input && tap->kind == a->kind ? a->s->be->ops->download(a->s->be, a->x, tap->x, err) : VS_OK;
}

static size_t norm_param(const seen *s, const char *norm, const char *part) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", norm, part);
    const size_t param = vs_graph_param(s->model->graph, name);
    assert_true(param != VS_NONE);
    return param;
}

/* Scope norm: qkv and fc1 have the grids, weights and factors of scope all, and their input arrives divided but for the rounding
 * of gain / s and bias / s to float32; other linears are plain. */
static void folded_norms_divide(void **state) {
    const seen *s = *state;
    vs_recipe_config recipe = defaults;
    recipe.patch_embed = recipe.head = true;
    const vs_variant_options all = { .smooth = true, .alpha = 0.5 },
                             norm = { .smooth = true, .alpha = 0.5, .scope = VS_SCOPE_NORM }, none = { .smooth = false };
    vs_variant *a = NULL, *n = NULL, *p = NULL;
    vs_error err = { 0 };
    assert_int_equal(vs_variant_create(&a, s->weights, s->calibration, &recipe, &all, &err), VS_OK);
    assert_int_equal(vs_variant_create(&n, s->weights, s->calibration, &recipe, &norm, &err), VS_OK);
    assert_int_equal(vs_variant_create(&p, s->weights, s->calibration, &recipe, &none, &err), VS_OK);
    const vs_graph *g = s->model->graph;
    assert_int_equal(g->site_count, 2 + 8 * s->model->arch.depth);
    for (size_t i = 0; i < g->site_count; i++) {
        const vs_kind kind = g->nodes[g->sites[i].node].kind;
        const bool behind_norm = kind == VS_KIND_QKV || kind == VS_KIND_FC1, linear = vs_kind_is_linear(kind);
        const vs_site *sa = &a->sites[i], *sn = &n->sites[i], *sp = &p->sites[i], *same = behind_norm ? sa : sp;
        assert_true(!sa->folded && sn->folded == behind_norm && (sa->smooth != NULL) == linear);
        assert_true((sn->smooth != NULL) == behind_norm && sn->quantized == same->quantized &&
                    sn->grid_count == same->grid_count);
        assert_memory_equal(&n->weight_sums[i], behind_norm ? &a->weight_sums[i] : &p->weight_sums[i], sizeof n->weight_sums[i]);
        if (sn->quantized) assert_memory_equal(sn->grids, same->grids, sn->grid_count * sizeof *sn->grids);
    }
    static const vs_kind kinds[] = { VS_KIND_QKV, VS_KIND_FC1 };
    static const char *const norms[] = { "blocks.4.norm1", "blocks.4.norm2" };
    for (size_t k = 0; k < 2; k++) {
        const size_t at = site_of(s, kinds[k], 4), rows = s->rows[at], cols = s->cols[at];
        double *x = vs_calloc(2 * rows * cols, sizeof *x), *divided = x + rows * cols;
        assert_non_null(x);
        arrival look_at = { s, kinds[k], x };
        /* the float model up to block 4, then that block's float linears behind the variant's norms */
        vs_weights *w = s->weights;
        assert_int_equal(vs_forward_embed(s->session, w, s->pixels, 0, (vs_tapper){ NULL, NULL }, &err), VS_OK);
        for (size_t b = 0; b < 4; b++)
            assert_int_equal(vs_forward_block(s->session, w, 0, 0, b, (vs_tapper){ NULL, NULL }, &err), VS_OK);
        const size_t gain = norm_param(s, norms[k], "weight"), shift = norm_param(s, norms[k], "bias");
        const void *const was[] = { w->params[gain], w->params[shift] };
        w->params[gain] = n->weights.params[gain];
        w->params[shift] = n->weights.params[shift];
        assert_int_equal(vs_forward_block(s->session, w, 0, 0, 4, (vs_tapper){ keep_arrival, &look_at }, &err), VS_OK);
        w->params[gain] = was[0];
        w->params[shift] = was[1];
        const vs_site *site = vs_variant_site(n, at);
        vs_site_smooth(s->be, site, (vs_mat){ s->inputs[at], rows, cols, cols }, (vs_mat){ divided, rows, cols, cols });
        const float *bias = s->model->params[shift];
        for (size_t i = 0; i < rows * cols; i++) { /* gain and bias each rounded once: half an ulp of the two terms */
            const double moved = fabs((double)bias[i % cols] / (double)site->smooth_host[i % cols]);
            check_close(x[i], divided[i], 0x1p-24 * 1.01 * (fabs(divided[i]) + 2 * moved));
        }
        double *arrived = divided; /* and nothing is divided twice */
        vs_site_smooth_running(s->be, site, (vs_mat){ x, rows, cols, cols }, (vs_mat){ arrived, rows, cols, cols });
        assert_memory_equal(arrived, x, rows * cols * sizeof *x);
        free(x);
    }
    vs_variant_free(a);
    vs_variant_free(n);
    vs_variant_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_scheme_by_its_formula), cmocka_unit_test(weights_by_their_formula),
                                        cmocka_unit_test(folded_norms_divide) };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
