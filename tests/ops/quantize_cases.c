/* Quantizers: codes must be exactly those of float32 division, which are ONNX QuantizeLinear's. */
#include "ops/harness.h"

static const vs_grid GRIDS[] = {
    { 0.031f, 121, 0, 255, -3.7f, 4.1f },   /* per tensor, asymmetric */
    { 0.017f, 0, -128, 127, -2.2f, 2.2f },  /* input, symmetric */
    { 0.0213f, 0, -127, 127, -2.7f, 2.7f }, /* operand */
    { 1.0f, 0, 0, 255, 0, 0 },              /* zero range */
    { 0.9f, 7, 0, 15, -6.3f, 7.2f },        /* 4 bits */
    { 1.7f, 0, -1, 1, -1.7f, 1.7f },        /* 2 bits */
    { 3e-39f, 3, 0, 255, -1e-38f, 1e-36f }, /* denormal step */
};
enum { GRIDS_COUNT = sizeof GRIDS / sizeof *GRIDS };

/* The formula, float by float: nothing vectorized, nothing fused. */
static int32_t code_f32(float x, const vs_grid *g) {
    if (isnan(x)) return g->zero;
    const float quotient = x / g->scale;
    const double code = rint((double)quotient) + g->zero;
    return code < g->qmin ? g->qmin : code > g->qmax ? g->qmax : (int32_t)code;
}

/* The tested backend divides in float32, ref in float64: only where the two quotients round apart may they differ. */
static int32_t code_of(const vs_backend *be, float x, const vs_grid *g) {
    if (be->scalar == VS_SCALAR_F32) return code_f32(x, g);
    if (isnan(x)) return g->zero;
    const double code = rint((double)x / (double)g->scale) + g->zero;
    return code < g->qmin ? g->qmin : code > g->qmax ? g->qmax : (int32_t)code;
}

static double value_of(const vs_backend *be, int32_t code, const vs_grid *g) {
    const int32_t level = code - g->zero;
    return be->scalar == VS_SCALAR_F32 ? (double)((float)level * g->scale) : (double)level * (double)g->scale;
}

static void check_values(ops_context *c, const tensor *x, const tensor *y, const vs_grid *g, const vs_backend *be,
                         const double *got) {
    for (size_t i = 0; i < x->rows * x->cols; i++) {
        const float v = value_at(x, i / x->cols, i % x->cols);
        const double want = value_of(be, code_of(be, v, g), g);
        require(c, got[i] == want && signbit(got[i]) == signbit(want), "%s: y[%zu,%zu] of %.9g is %.9g, exactly %.9g", be->name,
                i / x->cols, i % x->cols, (double)v, got[i], want);
    }
    (void)y;
}

static void check_counts(ops_context *c, const tensor *x, const vs_grid *g, const vs_backend *be, vs_quant_counts got) {
    vs_quant_counts want = { 5, 7 };
    for (size_t i = 0; i < x->rows * x->cols; i++) {
        const float v = value_at(x, i / x->cols, i % x->cols);
        want.zeroed += code_of(be, v, g) == g->zero;
        want.clipped += v < g->lo || v > g->hi;
    }
    require(c, got.zeroed == want.zeroed && got.clipped == want.clipped,
            "%s counts %llu zeroed %llu clipped, exactly %llu and %llu", be->name, (unsigned long long)got.zeroed,
            (unsigned long long)got.clipped, (unsigned long long)want.zeroed, (unsigned long long)want.clipped);
}

void test_fake_quant(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (size_t j = 0; j < GRIDS_COUNT; j += stride())
            for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
                const vs_grid *g = &GRIDS[j];
                begin(c, OP_EXACT, v, "fake_quant [%zu,%zu], grid %zu", SHAPES[i].rows, SHAPES[i].cols, j);
                tensor *x = input(c, SHAPES[i].rows, SHAPES[i].cols, v), *y = output(c, SHAPES[i].rows, SHAPES[i].cols),
                       *z = output(c, SHAPES[i].rows, SHAPES[i].cols);
                vs_quant_counts ref_counts = { 5, 7 }, dut_counts = { 5, 7 }; /* added to */
                c->ref->ops->fake_quant(c->ref, x->ref, g, y->ref, 1, (vs_quant_counts *[]){ &ref_counts });
                c->dut->ops->fake_quant(c->dut, x->dut, g, y->dut, 1, (vs_quant_counts *[]){ &dut_counts });
                c->ref->ops->fake_quant(c->ref, x->ref, g, z->ref, 1, NULL);
                c->dut->ops->fake_quant(c->dut, x->dut, g, z->dut, 1, NULL);
                fetch(c, y);
                fetch(c, z);
                check_values(c, x, y, g, c->ref, y->want);
                check_values(c, x, y, g, c->dut, y->got);
                check_values(c, x, z, g, c->ref, z->want);
                check_values(c, x, z, g, c->dut, z->got);
                check_counts(c, x, g, c->ref, ref_counts);
                check_counts(c, x, g, c->dut, dut_counts);
                finish(c);
            }
}

void test_fake_quant_rows(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (int with_codes = 0; with_codes < 2; with_codes++)
            for (int32_t qmax = 1; qmax <= 127; qmax += 63) {
                const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols, count = rows * cols;
                begin(c, OP_EXACT, VALUES_NORMAL, "fake_quant_rows [%zu,%zu], qmax %d", rows, cols, (int)qmax);
                tensor *x = input(c, rows, cols, VALUES_NORMAL), *y = output(c, rows, cols);
                float *scales = vs_calloc(rows, sizeof *scales);
                int8_t *codes[2] = { vs_calloc(count + 1, 1), vs_calloc(count + 1, 1) };
                assert_true(scales && codes[0] && codes[1]);
                for (size_t r = 0; r < rows; r++) scales[r] = (float)(0.5 + vs_rng_uniform(&c->rng)) * 3 / (float)qmax;
                codes[0][count] = codes[1][count] = 99;
                c->ref->ops->fake_quant_rows(c->ref, x->ref, scales, qmax, y->ref, with_codes ? codes[0] : NULL);
                c->dut->ops->fake_quant_rows(c->dut, x->dut, scales, qmax, y->dut, with_codes ? codes[1] : NULL);
                fetch(c, y);
                for (size_t j = 0; j < count; j++) {
                    const vs_grid g = { .scale = scales[j / cols], .qmin = -qmax, .qmax = qmax };
                    const float v = value_at(x, j / cols, j % cols);
                    for (int b = 0; b < 2; b++) {
                        const vs_backend *be = b ? c->dut : c->ref;
                        const int32_t code = code_of(be, v, &g);
                        const double want = value_of(be, code, &g), got = b ? y->got[j] : y->want[j];
                        require(c, got == want, "%s: y[%zu] of %.9g is %.9g, exactly %.9g", be->name, j, (double)v, got, want);
                        if (with_codes)
                            require(c, codes[b][j] == code, "%s: code %zu is %d, exactly %d", be->name, j, codes[b][j],
                                    (int)code);
                    }
                }
                require(c, codes[0][count] == 99 && codes[1][count] == 99, "code guard written");
                free(scales);
                free(codes[0]);
                free(codes[1]);
                finish(c);
            }
}

static vs_grid token_grid(const tensor *x, size_t row, int32_t qmax) {
    float most = 0;
    for (size_t j = 0; j < x->cols; j++) most = fabsf(value_at(x, row, j)) > most ? fabsf(value_at(x, row, j)) : most;
    vs_grid g = { .scale = (float)((double)most / qmax), .qmin = -qmax - 1, .qmax = qmax, .lo = -INFINITY, .hi = INFINITY };
    if (!(g.scale > 0)) g.scale = 1;
    return g;
}

void test_fake_quant_tokens(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (int32_t qmax = 1; qmax <= 127; qmax += 63)
            for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
                const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols;
                begin(c, OP_EXACT, v, "fake_quant_tokens [%zu,%zu], qmax %d", rows, cols, (int)qmax);
                tensor *x = input(c, rows, cols, v), *y = output(c, rows, cols), *z = output(c, rows, cols);
                vs_quant_counts counts[2] = { { 5, 7 }, { 5, 7 } }, want[2] = { { 5, 7 }, { 5, 7 } }; /* added to */
                c->ref->ops->fake_quant_tokens(c->ref, x->ref, qmax, y->ref, 1, (vs_quant_counts *[]){ &counts[0] });
                c->dut->ops->fake_quant_tokens(c->dut, x->dut, qmax, y->dut, 1, (vs_quant_counts *[]){ &counts[1] });
                c->ref->ops->fake_quant_tokens(c->ref, x->ref, qmax, z->ref, 1, NULL);
                c->dut->ops->fake_quant_tokens(c->dut, x->dut, qmax, z->dut, 1, NULL);
                fetch(c, y);
                fetch(c, z);
                for (size_t j = 0; j < rows * cols; j++) {
                    const vs_grid g = token_grid(x, j / cols, qmax);
                    const float value = value_at(x, j / cols, j % cols);
                    for (int b = 0; b < 2; b++) {
                        const vs_backend *be = b ? c->dut : c->ref;
                        const int32_t code = code_of(be, value, &g);
                        const double exact = value_of(be, code, &g);
                        want[b].zeroed += code == 0;
                        require(c, (b ? y->got[j] : y->want[j]) == exact && (b ? z->got[j] : z->want[j]) == exact,
                                "%s: y[%zu] of %.9g is %.9g, exactly %.9g", be->name, j, (double)value,
                                b ? y->got[j] : y->want[j], exact);
                    }
                }
                for (int b = 0; b < 2; b++) require(c, counts[b].zeroed == want[b].zeroed && counts[b].clipped == 7, "counts");
                finish(c);
            }
    /* a NaN or an infinity takes the step from its row, which is then 1; other rows keep theirs */
    static const float bad[] = { 0.5f, NAN, -3, 0.5f, INFINITY, -3, 0.5f, 1, -3 };
    begin(c, OP_EXACT, VALUES_NORMAL, "tokens that are not finite");
    tensor *x = input_from(c, 3, 3, bad), *y = output(c, 3, 3);
    c->ref->ops->fake_quant_tokens(c->ref, x->ref, 127, y->ref, 1, NULL);
    c->dut->ops->fake_quant_tokens(c->dut, x->dut, 127, y->dut, 1, NULL);
    compare_exact(c, y);
    require(c, y->got[0] == 0 && y->got[1] == 0 && y->got[2] == -3, "NaN: %g %g %g", y->got[0], y->got[1], y->got[2]);
    require(c, y->got[3] == 0 && y->got[4] == 127 && y->got[8] == (double)(-127 * (float)(3.0 / 127)), "infinity");
    finish(c);
}

void test_quantize_u8(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (size_t j = 0; j < GRIDS_COUNT; j += stride()) {
            const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols, count = rows * cols;
            const vs_grid *g = &GRIDS[j];
            if (g->qmin < 0) continue;
            begin(c, OP_EXACT, VALUES_OUTLIERS, "quantize_u8 [%zu,%zu], grid %zu", rows, cols, j);
            tensor *x = input(c, rows, cols, VALUES_OUTLIERS);
            uint8_t *codes[2] = { vs_calloc(count + 1, 1), vs_calloc(count + 1, 1) };
            assert_true(codes[0] && codes[1]);
            codes[0][count] = codes[1][count] = 99;
            c->ref->ops->quantize_u8(c->ref, x->ref, g, codes[0]);
            c->dut->ops->quantize_u8(c->dut, x->dut, g, codes[1]);
            settle(c);
            for (size_t l = 0; l < count; l++)
                for (int b = 0; b < 2; b++) {
                    const vs_backend *be = b ? c->dut : c->ref;
                    const int32_t want = code_of(be, value_at(x, l / cols, l % cols), g);
                    require(c, codes[b][l] == want, "%s: code %zu is %d, exactly %d", be->name, l, codes[b][l], (int)want);
                }
            require(c, codes[0][count] == 99 && codes[1][count] == 99, "code guard written");
            free(codes[0]);
            free(codes[1]);
            finish(c);
        }
}

/* Half steps round to even; their neighbours by one bit do not; what cannot be a code clamps or is zero. */
void test_ties_and_nonfinite(void **state) {
    ops_context *c = *state;
    static const float special[] = { NAN,     INFINITY, -INFINITY, 3e38f,      -3e38f,     1e-45f,
                                     -1e-45f, 0.0f,     -0.0f,     4194304.5f, 8388608.0f, 16777216.0f };
    enum { SPECIAL = sizeof special / sizeof *special, TIES = 600, COUNT = SPECIAL + 3 * TIES };
    float *values = vs_calloc(COUNT, sizeof *values);
    assert_non_null(values);
    for (size_t j = 0; j < GRIDS_COUNT; j += stride()) {
        const vs_grid *g = &GRIDS[j];
        memcpy(values, special, sizeof special);
        for (int i = 0; i < TIES; i++) {
            const float tie = ((float)(i - TIES / 2) + 0.5f) * g->scale;
            values[SPECIAL + 3 * i] = tie;
            values[SPECIAL + 3 * i + 1] = nextafterf(tie, INFINITY);
            values[SPECIAL + 3 * i + 2] = nextafterf(tie, -INFINITY);
        }
        begin(c, OP_EXACT, VALUES_NORMAL, "ties of grid %zu", j);
        tensor *x = input_from(c, 1, COUNT, values), *y = output(c, 1, COUNT);
        vs_quant_counts ref_counts = { 5, 7 }, dut_counts = { 5, 7 };
        c->ref->ops->fake_quant(c->ref, x->ref, g, y->ref, 1, (vs_quant_counts *[]){ &ref_counts });
        c->dut->ops->fake_quant(c->dut, x->dut, g, y->dut, 1, (vs_quant_counts *[]){ &dut_counts });
        fetch(c, y);
        check_values(c, x, y, g, c->ref, y->want);
        check_values(c, x, y, g, c->dut, y->got);
        check_counts(c, x, g, c->dut, dut_counts);
        require(c, y->got[0] == 0, "NaN becomes %g", y->got[0]);
        require(c, y->got[1] == value_of(c->dut, g->qmax, g) && y->got[2] == value_of(c->dut, g->qmin, g),
                "infinities become %g and %g", y->got[1], y->got[2]);
        if (g->qmin >= 0) {
            uint8_t *codes = vs_calloc(COUNT, 1);
            assert_non_null(codes);
            c->dut->ops->quantize_u8(c->dut, x->dut, g, codes);
            settle(c);
            for (size_t i = 0; i < COUNT; i++)
                require(c, codes[i] == code_f32(values[i], g), "code of %.9g is %d", (double)values[i], codes[i]);
            free(codes);
        }
        finish(c);
    }
    free(values);
}

/* quantize(dequantize(q)) == q, and within the range the error is at most half a step (and its rounding). */
void test_grid_round_trip(void **state) {
    ops_context *c = *state;
    for (size_t j = 0; j < GRIDS_COUNT; j += stride()) {
        const vs_grid *g = &GRIDS[j];
        enum { COUNT = 2000 };
        float values[COUNT];
        begin(c, OP_EXACT, VALUES_NORMAL, "round trip on grid %zu", j);
        const double low = (double)(g->qmin - g->zero) * (double)g->scale, high = (double)(g->qmax - g->zero) * (double)g->scale;
        for (size_t i = 0; i < COUNT; i++) values[i] = (float)(low + (high - low) * vs_rng_uniform(&c->rng));
        tensor *x = input_from(c, 1, COUNT, values), *y = output(c, 1, COUNT), *z = output(c, 1, COUNT);
        c->dut->ops->fake_quant(c->dut, x->dut, g, y->dut, 1, NULL);
        c->dut->ops->fake_quant(c->dut, y->dut, g, z->dut, 1, NULL);
        c->ref->ops->fake_quant(c->ref, x->ref, g, y->ref, 1, NULL);
        c->ref->ops->fake_quant(c->ref, y->ref, g, z->ref, 1, NULL);
        fetch(c, y);
        fetch(c, z);
        for (size_t i = 0; i < COUNT; i++) {
            require(c, y->got[i] == z->got[i] && y->want[i] == z->want[i], "level %.9g moved to %.9g", y->got[i], z->got[i]);
            const double err = fabs(y->got[i] - (double)values[i]),
                         allowed = 0.5 * (double)g->scale + 4 * 0x1p-24 * fabs((double)values[i]) + 0x1p-149;
            require(c, err <= allowed, "%.9g became %.9g", (double)values[i], y->got[i]);
        }
        finish(c);
    }
}
