/* Forward operations against ref. */
#include "ops/harness.h"

static double magnitude(const tensor *t, size_t r, size_t c) { return fabs((double)value_at(t, r, c)); }

static void linear_case(ops_context *c, size_t m, size_t k, size_t n, ops_values values, bool with_bias) {
    begin(c, OP_LINEAR, values, "[%zu,%zu] x [%zu,%zu]%s", m, k, n, k, with_bias ? " + b" : "");
    tensor *x = input(c, m, k, values), *w = input(c, n, k, VALUES_NORMAL), *b = input(c, 1, n, VALUES_NORMAL),
           *y = output(c, m, n);
    c->ref->ops->linear(c->ref, x->ref, w->ref, with_bias ? b->ref.p : NULL, y->ref);
    c->dut->ops->linear(c->dut, x->dut, w->dut, with_bias ? b->dut.p : NULL, y->dut);
    double *bound = doubles(m * n);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = with_bias ? magnitude(b, 0, j) : 0;
            for (size_t l = 0; l < k; l++) sum += magnitude(x, i, l) * magnitude(w, j, l);
            /* products below 2^-126 lose up to half a denormal step each */
            bound[i * n + j] = sqrt((double)k) * sum + (double)k * 0x1p-149 / 0x1p-24;
        }
    compare(c, y, bound);
    free(bound);
    finish(c);
}

void test_linear(void **state) {
    ops_context *c = *state;
    static const size_t sizes[][3] = { { 1, 1, 1 },       { 2, 3, 1 },       { 1, 5, 7 },      { 3, 8, 15 },    { 16, 17, 31 },
                                       { 33, 63, 65 },    { 65, 2, 3 },      { 48, 64, 24 },   { 129, 127, 5 }, { 257, 192, 576 },
                                       { 257, 768, 192 }, { 256, 588, 192 }, { 31, 1536, 384 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            linear_case(c, sizes[i][0], sizes[i][1], sizes[i][2], v, true);
            if (v == VALUES_NORMAL) linear_case(c, sizes[i][0], sizes[i][1], sizes[i][2], v, false);
        }
}

void test_layernorm(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols;
            begin(c, OP_LAYERNORM, v, "[%zu,%zu]", rows, cols);
            tensor *x = input(c, rows, cols, v), *g = input(c, 1, cols, VALUES_NORMAL), *b = input(c, 1, cols, VALUES_NORMAL),
                   *y = output(c, rows, cols);
            c->ref->ops->layernorm(c->ref, x->ref, g->ref.p, b->ref.p, 1e-6, y->ref);
            c->dut->ops->layernorm(c->dut, x->dut, g->dut.p, b->dut.p, 1e-6, y->dut);
            fetch(c, y);
            double *bound = doubles(rows * cols);
            for (size_t j = 0; j < rows * cols; j++) {
                const double shift = (double)value_at(b, 0, j % cols);
                bound[j] = fabs(y->want[j] - shift) + fabs(shift);
            }
            compare(c, y, bound);
            free(bound);
            finish(c);
        }
}

/* The rounding of a score s = scale * q.k is a relative error of e^s, so of p_j; numerator and denominator both have it. */
static void attention_bounds(const tensor *q, const tensor *k, const tensor *v, size_t images, size_t heads, double scale,
                             double *bound) {
    const size_t t = q->rows / images, d = q->cols / heads;
    double *score = doubles(t);
    for (size_t row = 0; row < q->rows; row++)
        for (size_t a = 0; a < heads; a++) {
            const size_t first = row / t * t;
            double worst = 0, largest = -HUGE_VAL, sum = 0;
            for (size_t j = 0; j < t; j++) {
                double dot = 0, size = 0;
                for (size_t i = 0; i < d; i++) {
                    const double term = (double)value_at(q, row, a * d + i) * (double)value_at(k, first + j, a * d + i);
                    dot += term;
                    size += fabs(term);
                }
                score[j] = dot * scale;
                largest = fmax(largest, score[j]);
                worst = fmax(worst, size * scale);
            }
            for (size_t j = 0; j < t; j++) sum += score[j] = exp(score[j] - largest);
            for (size_t i = 0; i < d; i++) {
                double mean = 0;
                for (size_t j = 0; j < t; j++) mean += score[j] / sum * magnitude(v, first + j, a * d + i);
                bound[row * q->cols + a * d + i] = mean * (2 + 2 * worst + sqrt((double)t) / 4) + (double)t * 0x1p-149 / 0x1p-24;
            }
        }
    free(score);
}

void test_attention(void **state) {
    ops_context *c = *state;
    static const size_t sizes[][4] = { /* images, tokens, heads, head width */
                                       { 1, 1, 1, 1 },    { 1, 2, 1, 3 },    { 2, 3, 2, 8 },    { 1, 17, 3, 5 },
                                       { 3, 31, 2, 16 },  { 2, 65, 1, 33 },  { 1, 128, 2, 7 },  { 1, 129, 1, 64 },
                                       { 2, 257, 3, 64 }, { 1, 300, 2, 64 }, { 1, 67, 2, 72 },  { 2, 70, 1, 80 },
                                       { 1, 90, 2, 128 }, { 1, 65, 2, 160 }, { 1, 700, 1, 64 }, { 8, 129, 17, 8 }
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride())
        for (ops_values values = 0; values < VALUES_CLASSES; values += (ops_values)stride()) {
            const size_t images = sizes[i][0], t = sizes[i][1], heads = sizes[i][2], d = sizes[i][3], cols = heads * d;
            const double scale = 1 / sqrt((double)d);
            begin(c, OP_ATTENTION, values, "%zu images of %zu tokens, %zu heads of %zu", images, t, heads, d);
            tensor *q = input(c, images * t, cols, values == VALUES_OUTLIERS ? VALUES_OUTLIERS : VALUES_NORMAL),
                   *k = input(c, images * t, cols, VALUES_NORMAL), *v = input(c, images * t, cols, values),
                   *y = output(c, images * t, cols);
            tensor *scratch =
                output(c, 1, c->ref->ops->attention_scratch(c->ref, t, heads) + c->dut->ops->attention_scratch(c->dut, t, heads));
            c->ref->ops->attention(c->ref, q->ref, k->ref, v->ref, images, heads, scale, scratch->ref.p, y->ref);
            c->dut->ops->attention(c->dut, q->dut, k->dut, v->dut, images, heads, scale, scratch->dut.p, y->dut);
            double *bound = doubles(images * t * cols);
            attention_bounds(q, k, v, images, heads, scale, bound);
            compare(c, y, bound);
            free(bound);
            finish(c);
        }
}

/* As above, but nothing averages: the rounding of its own score and that of the largest one are the relative error of a
 * probability. What e^x flushes to zero is below e^-87. */
static void probability_bounds(const tensor *q, const tensor *k, size_t images, size_t heads, double scale, const double *p,
                               double *bound) {
    const size_t t = q->rows / images, d = q->cols / heads;
    for (size_t row = 0; row < q->rows; row++)
        for (size_t a = 0; a < heads; a++) {
            double worst = 0;
            for (size_t j = 0; j < t; j++) {
                double size = 0;
                for (size_t i = 0; i < d; i++) size += magnitude(q, row, a * d + i) * magnitude(k, row / t * t + j, a * d + i);
                worst = fmax(worst, size * scale);
            }
            const size_t at = ((row / t * heads + a) * t + row % t) * t;
            for (size_t j = 0; j < t; j++) bound[at + j] = p[at + j] * (2 + 4 * worst) + exp(-87) / 0x1p-24;
        }
}

/* Probabilities against ref, their rows' sums, and the product with v; on ref the two steps are the one. */
void test_attention_steps(void **state) {
    ops_context *c = *state;
    static const size_t sizes[][4] = { { 1, 1, 1, 1 },   { 1, 2, 1, 3 },    { 2, 3, 2, 8 },    { 1, 17, 3, 5 },
                                       { 3, 31, 2, 16 }, { 1, 129, 1, 64 }, { 2, 257, 3, 64 }, { 1, 300, 2, 64 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride())
        for (ops_values values = 0; values < VALUES_CLASSES; values += (ops_values)stride()) {
            const size_t images = sizes[i][0], t = sizes[i][1], heads = sizes[i][2], cols = heads * sizes[i][3];
            const double scale = 1 / sqrt((double)sizes[i][3]);
            begin(c, OP_ATTENTION, values, "steps: %zu images of %zu tokens, %zu heads of %zu", images, t, heads, sizes[i][3]);
            tensor *q = input(c, images * t, cols, values == VALUES_OUTLIERS ? VALUES_OUTLIERS : VALUES_NORMAL),
                   *k = input(c, images * t, cols, VALUES_NORMAL), *v = input(c, images * t, cols, values),
                   *p = output(c, images * heads * t, t), *y = output(c, images * t, cols), *z = output(c, images * t, cols),
                   *scratch = output(c, 1, c->ref->ops->attention_scratch(c->ref, t, heads));
            c->ref->ops->attention_probs(c->ref, q->ref, k->ref, images, heads, scale, p->ref);
            c->dut->ops->attention_probs(c->dut, q->dut, k->dut, images, heads, scale, p->dut);
            fetch(c, p);
            double *bound = doubles(images * heads * t * t);
            probability_bounds(q, k, images, heads, scale, p->want, bound);
            compare(c, p, bound);
            free(bound);
            for (size_t r = 0; r < p->rows; r++) {
                double sum = 0;
                for (size_t j = 0; j < t; j++) sum += p->got[r * t + j];
                require(c, fabs(sum - 1) <= (4 + sqrt((double)t)) * 0x1p-24, "row %zu sums to %.9g", r, sum);
            }
            c->ref->ops->attention_apply(c->ref, p->ref, v->ref, images, heads, y->ref);
            c->ref->ops->attention(c->ref, q->ref, k->ref, v->ref, images, heads, scale, scratch->ref.p, z->ref);
            fetch(c, y);
            fetch(c, z);
            for (size_t j = 0; j < images * t * cols; j++)
                require(c, y->want[j] == z->want[j], "ref differs from itself at %zu", j);
            finish(c);

            begin(c, OP_LINEAR, values, "weights times values, %zu images of %zu tokens, %zu heads", images, t, heads);
            p = input(c, images * heads * t, t, VALUES_NORMAL);
            v = input(c, images * t, cols, values);
            y = output(c, images * t, cols);
            c->ref->ops->attention_apply(c->ref, p->ref, v->ref, images, heads, y->ref);
            c->dut->ops->attention_apply(c->dut, p->dut, v->dut, images, heads, y->dut);
            bound = doubles(images * t * cols);
            for (size_t j = 0; j < images * t * cols; j++) {
                const size_t row = j / cols, a = j % cols / sizes[i][3], image = row / t;
                double sum = 0;
                for (size_t l = 0; l < t; l++)
                    sum += magnitude(p, (image * heads + a) * t + row % t, l) * magnitude(v, image * t + l, j % cols);
                bound[j] = sqrt((double)t) * sum + (double)t * 0x1p-149 / 0x1p-24;
            }
            compare(c, y, bound);
            free(bound);
            finish(c);
        }
}

typedef void (*activation)(const vs_backend *self, vs_mat x, vs_mat y);

static void activation_cases(ops_context *c, ops_name operation, activation ref, activation dut) {
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols;
            begin(c, operation, v, "[%zu,%zu]", rows, cols);
            tensor *x = input(c, rows, cols, v), *y = output(c, rows, cols);
            ref(c->ref, x->ref, y->ref);
            dut(c->dut, x->dut, y->dut);
            double *bound = doubles(rows * cols);
            for (size_t j = 0; j < rows * cols; j++) bound[j] = magnitude(x, j / cols, j % cols);
            compare(c, y, bound);
            free(bound);
            finish(c);
        }
}

void test_gelu(void **state) {
    ops_context *c = *state;
    activation_cases(c, OP_GELU, c->ref->ops->gelu, c->dut->ops->gelu);
}

void test_gelu_tanh(void **state) {
    ops_context *c = *state;
    activation_cases(c, OP_GELU_TANH, c->ref->ops->gelu_tanh, c->dut->ops->gelu_tanh);
}

/* `half` columns are turned with as many others; angles from a table of the case. */
static void rope_case(ops_context *c, size_t images, size_t prefix, size_t patches, size_t heads, size_t half, ops_values v) {
    const size_t t = prefix + patches, width = 2 * half * heads;
    begin(c, OP_ROPE, v, "%zu x %zu+%zu tokens, %zu heads of %zu", images, prefix, patches, heads, 2 * half);
    tensor *x = input(c, images * t, width, v), *cosines = input(c, patches, half, VALUES_NORMAL),
           *sines = input(c, patches, half, VALUES_NORMAL), *y = output(c, images * t, width);
    c->ref->ops->rope(c->ref, x->ref, cosines->ref, sines->ref, images, heads, y->ref);
    c->dut->ops->rope(c->dut, x->dut, cosines->dut, sines->dut, images, heads, y->dut);
    double *bound = doubles(y->rows * width);
    for (size_t r = 0; r < y->rows; r++)
        for (size_t j = 0; j < width; j++) {
            const size_t k = j % (2 * half), m = k % half, other = k < half ? j + half : j - half;
            if (r % t < prefix) continue; /* copied */
            bound[r * width + j] = magnitude(x, r, j) * magnitude(cosines, r % t - prefix, m) +
                                   magnitude(x, r, other) * magnitude(sines, r % t - prefix, m);
        }
    compare(c, y, bound);
    free(bound);
    finish(c);
}

void test_rope(void **state) {
    static const struct {
        size_t images, prefix, patches, heads, half;
    } cases[] = { { 1, 5, 4, 1, 32 },  { 3, 5, 6, 2, 32 },   { 2, 1, 12, 3, 8 }, { 1, 0, 3, 2, 1 },
                  { 2, 105, 7, 2, 3 }, { 1, 5, 196, 3, 32 }, { 1, 5, 9, 2, 64 } };
    ops_context *c = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride())
            rope_case(c, cases[i].images, cases[i].prefix, cases[i].patches, cases[i].heads, cases[i].half, v);
}

/* [gate | x] to half as many columns. */
static void silu_mul_case(ops_context *c, tensor *x, tensor *y) {
    const size_t cols = y->cols;
    c->ref->ops->silu_mul(c->ref, x->ref, y->ref);
    c->dut->ops->silu_mul(c->dut, x->dut, y->dut);
    double *bound = doubles(y->rows * cols);
    for (size_t j = 0; j < y->rows * cols; j++)
        bound[j] = magnitude(x, j / cols, j % cols) * magnitude(x, j / cols, cols + j % cols);
    compare(c, y, bound);
    free(bound);
    finish(c);
}

void test_silu_mul(void **state) {
    ops_context *c = *state;
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            const size_t rows = SHAPES[i].rows, cols = SHAPES[i].cols;
            begin(c, OP_SILU_MUL, v, "[%zu,%zu]", rows, 2 * cols);
            tensor *x = input(c, rows, 2 * cols, v);
            silu_mul_case(c, x, output(c, rows, cols));
        }
}

/* Gates from -200 to 200, where e^-|z| underflows on one side; infinities and NaN as ref has them. */
void test_silu_mul_tails(void **state) {
    ops_context *c = *state;
    enum { COLS = 405 };
    static float values[2 * COLS];
    for (size_t i = 0; i < 401; i++) values[i] = (float)i - 200;
    values[401] = INFINITY;
    values[402] = -INFINITY;
    values[403] = NAN;
    values[404] = -0.0f;
    for (size_t i = 0; i < COLS; i++) values[COLS + i] = i % 2 ? 1.5f : -0.75f;
    begin(c, OP_SILU_MUL, VALUES_NORMAL, "gates from -200 to 200, infinities, NaN");
    tensor *x = input_from(c, 1, 2 * COLS, values);
    silu_mul_case(c, x, output(c, 1, COLS));
}

/* y = x + g u, x + u, x a + b, x / s, x * s: a bound from the terms of each. */
static void elementwise_case(ops_context *c, ops_name op, bool with_gamma, shape s, ops_values v) {
    begin(c, op, v, "[%zu,%zu]%s", s.rows, s.cols, with_gamma ? "" : ", no gamma");
    tensor *x = input(c, s.rows, s.cols, v), *u = input(c, s.rows, s.cols, v), *a = input(c, 1, s.cols, VALUES_NORMAL),
           *b = input(c, 1, s.cols, VALUES_NORMAL), *y = output(c, s.rows, s.cols);
    const vs_backend *be[] = { c->ref, c->dut };
    for (size_t i = 0; i < 2; i++) {
        const vs_backend_ops *ops = be[i]->ops;
        const vs_mat xm = i ? x->dut : x->ref, um = i ? u->dut : u->ref, ym = i ? y->dut : y->ref;
        const void *av = i ? a->dut.p : a->ref.p, *bv = i ? b->dut.p : b->ref.p;
        if (op == OP_SCALE_ADD)
            ops->scale_add(be[i], xm, um, with_gamma ? av : NULL, ym);
        else if (op == OP_AFFINE)
            ops->affine(be[i], xm, av, bv, ym);
        else if (op == OP_DIV)
            ops->div_channels(be[i], xm, av, ym);
        else
            ops->mul_channels(be[i], xm, av, ym);
    }
    double *bound = doubles(s.rows * s.cols);
    for (size_t j = 0; j < s.rows * s.cols; j++) {
        const size_t r = j / s.cols, col = j % s.cols;
        const double xv = magnitude(x, r, col), av = magnitude(a, 0, col);
        bound[j] = op == OP_SCALE_ADD ? xv + (with_gamma ? av : 1) * magnitude(u, r, col)
                   : op == OP_AFFINE  ? xv * av + magnitude(b, 0, col)
                   : op == OP_DIV     ? xv / av
                                      : xv * av;
    }
    compare(c, y, bound);
    free(bound);
    finish(c);
}

void test_elementwise(void **state) {
    static const ops_name ops[] = { OP_SCALE_ADD, OP_AFFINE, OP_DIV, OP_MUL };
    for (size_t i = 0; i < SHAPE_COUNT; i += stride())
        for (ops_values v = 0; v < VALUES_CLASSES; v += (ops_values)stride()) {
            for (size_t j = 0; j < sizeof ops / sizeof *ops; j++) elementwise_case(*state, ops[j], true, SHAPES[i], v);
            elementwise_case(*state, OP_SCALE_ADD, false, SHAPES[i], v);
        }
}

/* Images, h, w, channels: borders alone, rows and columns of one pixel, vector tails. */
static const size_t pixel_grids[][4] = { { 1, 1, 1, 1 },  { 2, 1, 5, 3 },    { 3, 4, 1, 8 },
                                         { 2, 3, 7, 17 }, { 1, 16, 16, 64 }, { 2, 9, 5, 384 } };

static void unfold_case(ops_context *c, size_t images, size_t h, size_t w, size_t cols) {
    begin(c, OP_COPY, VALUES_NORMAL, "unfold2x2 %zu images of %zux%zu, %zu channels", images, h, w, cols);
    tensor *x = input(c, images * h * w, 4 * cols, VALUES_NORMAL), *y = output(c, images * 4 * h * w, cols);
    c->ref->ops->unfold2x2(c->ref, x->ref, images, h, w, y->ref);
    c->dut->ops->unfold2x2(c->dut, x->dut, images, h, w, y->dut);
    compare_exact(c, y);
    /* and by the definition: the last pixel but one in its row is the third of the last patch's four */
    const size_t last = images * h * w - 1, row = images * 4 * h * w - 2;
    require(c, y->got[row * cols] == (double)value_at(x, last, 2 * cols), "pixel %zu", row);
    finish(c);
}

static void depthwise_case(ops_context *c, size_t images, size_t h, size_t w, size_t cols, ops_values v) {
    begin(c, OP_DEPTHWISE, v, "%zu images of %zux%zu, %zu channels", images, h, w, cols);
    tensor *x = input(c, images * h * w, cols, v), *k = input(c, 1, 9 * cols, VALUES_NORMAL),
           *y = output(c, images * h * w, cols);
    c->ref->ops->depthwise3x3(c->ref, x->ref, k->ref.p, images, h, w, y->ref);
    c->dut->ops->depthwise3x3(c->dut, x->dut, k->dut.p, images, h, w, y->dut);
    double *bound = doubles(y->rows * cols);
    for (size_t p = 0; p < y->rows; p++)
        for (size_t i = 0; i < cols; i++) {
            const long r = (long)(p / w % h), s = (long)(p % w);
            double sum = 0x1p-149 / 0x1p-24; /* products below 2^-126 */
            for (long tap = 0; tap < 9; tap++) {
                const long dr = tap / 3 - 1, ds = tap % 3 - 1;
                if (r + dr < 0 || r + dr >= (long)h || s + ds < 0 || s + ds >= (long)w) continue;
                sum += magnitude(x, (size_t)((long)p + dr * (long)w + ds), i) * magnitude(k, 0, (size_t)tap * cols + i);
            }
            bound[p * cols + i] = sum;
        }
    compare(c, y, bound);
    free(bound);
    finish(c);
}

void test_unfold_depthwise(void **state) {
    for (size_t i = 0; i < sizeof pixel_grids / sizeof *pixel_grids; i++) {
        const size_t *g = pixel_grids[i];
        unfold_case(*state, g[0], g[1], g[2], g[3]);
        for (ops_values v = 0; v < VALUES_CLASSES; v++) depthwise_case(*state, g[0], g[1], g[2], g[3], v);
    }
}

static void softmax_case(ops_context *c, shape s, ops_values v) {
    begin(c, OP_SOFTMAX, v, "rows [%zu,%zu]", s.rows, s.cols);
    tensor *x = input(c, s.rows, s.cols, v), *y = output(c, s.rows, s.cols);
    c->ref->ops->softmax_rows(c->ref, x->ref, y->ref);
    c->dut->ops->softmax_rows(c->dut, x->dut, y->dut);
    fetch(c, y);
    double *bound = doubles(s.rows * s.cols);
    for (size_t r = 0; r < s.rows; r++) {
        double largest = 0; /* the difference to the row's largest is rounded once: a relative error of e^it */
        for (size_t j = 0; j < s.cols; j++) largest = fmax(largest, magnitude(x, r, j));
        for (size_t j = 0; j < s.cols; j++) bound[r * s.cols + j] = y->want[r * s.cols + j] * (1 + largest) + exp(-87) / 0x1p-24;
    }
    compare(c, y, bound);
    free(bound);
    finish(c);
}

static void scores_case(ops_context *c, size_t images, size_t pixels, size_t queries, size_t classes, ops_values v) {
    begin(c, OP_MASK_SCORES, v, "%zu images, %zu pixels, %zu queries, %zu classes of one more", images, pixels, queries, classes);
    tensor *m = input(c, images * pixels, queries, v), *p = input(c, images * queries, classes + 1, VALUES_NORMAL),
           *y = output(c, images * pixels, classes);
    c->ref->ops->mask_scores(c->ref, m->ref, p->ref, images, y->ref);
    c->dut->ops->mask_scores(c->dut, m->dut, p->dut, images, y->dut);
    double *bound = doubles(y->rows * classes);
    for (size_t r = 0; r < y->rows; r++)
        for (size_t k = 0; k < classes; k++) {
            double sum = (double)queries * 0x1p-126 / 0x1p-24; /* where e^-m overflows, the sigmoid is 0 */
            for (size_t q = 0; q < queries; q++)
                sum += magnitude(p, r / pixels * queries + q, k) / (1 + exp(-(double)value_at(m, r, q)));
            bound[r * classes + k] = sum * (1 + sqrt((double)queries));
        }
    compare(c, y, bound);
    free(bound);
    finish(c);
}

void test_softmax_scores(void **state) {
    static const size_t sizes[][4] = { { 1, 1, 1, 1 }, { 2, 3, 5, 2 }, { 3, 17, 7, 15 }, { 1, 64, 100, 150 }, { 2, 33, 8, 64 } };
    for (ops_values v = 0; v < VALUES_CLASSES; v++) {
        for (size_t i = 0; i < SHAPE_COUNT; i += stride()) softmax_case(*state, SHAPES[i], v);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            scores_case(*state, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], v);
    }
}

void test_patchify_tokens_copy(void **state) {
    ops_context *c = *state;
    static const size_t grids[][4] = { { 1, 1, 1, 1 }, { 2, 2, 3, 2 }, { 3, 3, 1, 5 }, { 1, 16, 16, 14 } }; /* images, h, w, p */
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        const size_t images = grids[i][0], h = grids[i][1], w = grids[i][2], p = grids[i][3], n = h * w, cols = 3 * p * p;
        begin(c, OP_COPY, VALUES_NORMAL, "patchify %zu images, %zux%zu patches of %zu", images, h, w, p);
        tensor *pixels = input(c, 1, images * 3 * h * p * w * p, VALUES_NORMAL), *y = output(c, images * n, cols);
        c->ref->ops->patchify(c->ref, pixels->ref.p, images, h, w, p, y->ref);
        c->dut->ops->patchify(c->dut, pixels->dut.p, images, h, w, p, y->dut);
        compare_exact(c, y);
        /* and by the definition: column k p^2 + i p + j of patch (r, s) is pixel (k, r p + i, s p + j) */
        const size_t last = images * n - 1, col = (2 * p + p - 1) * p;
        const double want = (double)value_at(pixels, 0, ((images * 3 - 1) * h * p + h * p - 1) * w * p + (w - 1) * p);
        require(c, y->got[last * cols + col] == want, "pixel misplaced");
        finish(c);
        for (size_t prefix_rows = 1; prefix_rows <= 5; prefix_rows += 4)
            for (int with_pos = 0; with_pos < 2; with_pos++) {
                const size_t width = cols + 1;
                begin(c, OP_TOKENS, VALUES_NORMAL, "%zu images, %zu + %zu tokens", images, prefix_rows, n);
                tensor *patch = input(c, images * n, width, VALUES_NORMAL), *prefix = input(c, prefix_rows, width, VALUES_NORMAL),
                       *pos = input(c, n, width, VALUES_NORMAL), *out = output(c, images * (prefix_rows + n), width);
                c->ref->ops->tokens(c->ref, patch->ref, prefix->ref, with_pos ? pos->ref : (vs_mat){ 0 }, images, out->ref);
                c->dut->ops->tokens(c->dut, patch->dut, prefix->dut, with_pos ? pos->dut : (vs_mat){ 0 }, images, out->dut);
                compare_exact(c, out); /* one sum in float64, rounded once, is the float32 sum */
                finish(c);
            }
    }
    for (size_t i = 0; i < SHAPE_COUNT; i += stride()) {
        begin(c, OP_COPY, VALUES_NORMAL, "copy [%zu,%zu]", SHAPES[i].rows, SHAPES[i].cols);
        tensor *x = input(c, SHAPES[i].rows, SHAPES[i].cols, VALUES_NORMAL), *y = output(c, SHAPES[i].rows, SHAPES[i].cols);
        c->ref->ops->copy(c->ref, x->ref, y->ref);
        c->dut->ops->copy(c->dut, x->dut, y->dut);
        compare_exact(c, y);
        finish(c);
    }
}

/* Random codes, and the extremes, where 16-bit pair sums would saturate and float32 would round. */
void test_linear_i8(void **state) {
    ops_context *c = *state;
    static const size_t sizes[][3] = { { 1, 1, 1 },       { 2, 3, 1 },      { 3, 5, 7 },     { 7, 8, 15 },
                                       { 16, 17, 33 },    { 33, 31, 64 },   { 65, 63, 257 }, { 257, 576, 192 },
                                       { 257, 192, 768 }, { 48, 24, 1536 }, { 20, 36, 4096 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i += stride())
        for (int mode = 0; mode < 4; mode++) {
            static const char *const modes[] = { "random codes", "255 * 127", "255 * -128", "255 * 127, one odd" };
            const size_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
            begin(c, OP_EXACT, VALUES_NORMAL, "linear_i8 [%zu,%zu] x [%zu,%zu], %s", m, k, n, k, modes[mode]);
            uint8_t *x = vs_calloc(m * k, 1);
            int8_t *w = vs_calloc(n * k, 1);
            int32_t *want = vs_calloc(m * n, sizeof *want), *got = vs_calloc(m * n + 2, sizeof *got);
            assert_true(x && w && want && got);
            for (size_t j = 0; j < m * k; j++) x[j] = mode ? 255 : (uint8_t)vs_rng_next(&c->rng);
            for (size_t j = 0; j < n * k; j++)
                w[j] = mode == 0 ? (int8_t)((int)(vs_rng_next(&c->rng) % 256) - 128) : mode == 2 ? -128 : 127;
            if (mode == 3) x[0] = 254;
            got[0] = got[m * n + 1] = 123456789;
            vs_error err = { 0 };
            assert_int_equal(c->ref->ops->linear_i8(c->ref, x, w, m, n, k, want, &err), VS_OK);
            assert_int_equal(c->dut->ops->linear_i8(c->dut, x, w, m, n, k, got + 1, &err), VS_OK);
            for (size_t j = 0; j < m * n; j++)
                require(c, got[j + 1] == want[j], "acc[%zu,%zu] is %d, exactly %d", j / n, j % n, (int)got[j + 1], (int)want[j]);
            if (mode == 1) require(c, want[0] == (int32_t)(255 * 127 * k), "ref has %d", (int)want[0]);
            require(c, got[0] == 123456789 && got[m * n + 1] == 123456789, "guard written");
            free(x);
            free(w);
            free(want);
            free(got);
            finish(c);
        }
    vs_error err = { 0 };
    assert_int_equal(c->dut->ops->linear_i8(c->dut, NULL, NULL, 1, 1, 65794, NULL, &err), VS_ERR_UNSUPPORTED);
}

/* A NaN or an infinity stays in its row (and, through attention, in its image and head). */
void test_nonfinite_forward(void **state) {
    ops_context *c = *state;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t b = 0; b < 3; b++) {
        enum { ROWS = 3, COLS = 37 };
        float values[ROWS * COLS];
        for (size_t i = 0; i < ROWS * COLS; i++) values[i] = (float)(i % 11) * 0.25f - 1;
        values[COLS + 18] = bad[b];
        double bound[ROWS * COLS];
        for (size_t i = 0; i < ROWS * COLS; i++) bound[i] = 40;
        begin(c, OP_GELU, VALUES_NORMAL, "with %g", (double)bad[b]);
        tensor *x = input_from(c, ROWS, COLS, values), *y = output(c, ROWS, COLS);
        c->ref->ops->gelu(c->ref, x->ref, y->ref);
        c->dut->ops->gelu(c->dut, x->dut, y->dut);
        compare(c, y, bound);
        finish(c);

        begin(c, OP_GELU_TANH, VALUES_NORMAL, "with %g", (double)bad[b]);
        x = input_from(c, ROWS, COLS, values);
        y = output(c, ROWS, COLS);
        c->ref->ops->gelu_tanh(c->ref, x->ref, y->ref);
        c->dut->ops->gelu_tanh(c->dut, x->dut, y->dut);
        compare(c, y, bound);
        finish(c);

        begin(c, OP_LAYERNORM, VALUES_NORMAL, "with %g", (double)bad[b]);
        tensor *g = input(c, 1, COLS, VALUES_NORMAL);
        x = input_from(c, ROWS, COLS, values);
        y = output(c, ROWS, COLS);
        c->ref->ops->layernorm(c->ref, x->ref, g->ref.p, g->ref.p, 1e-6, y->ref);
        c->dut->ops->layernorm(c->dut, x->dut, g->dut.p, g->dut.p, 1e-6, y->dut);
        compare(c, y, bound);
        finish(c);

        begin(c, OP_ATTENTION, VALUES_NORMAL, "with %g in q, then in v", (double)bad[b]);
        tensor *q = input_from(c, ROWS, COLS, values), *k = input(c, ROWS, COLS, VALUES_NORMAL),
               *v = input(c, ROWS, COLS, VALUES_NORMAL);
        tensor *scratch = output(c, 1, c->dut->ops->attention_scratch(c->dut, ROWS, 1) + ROWS);
        y = output(c, ROWS, COLS);
        c->ref->ops->attention(c->ref, q->ref, k->ref, v->ref, 1, 1, 0.1, scratch->ref.p, y->ref);
        c->dut->ops->attention(c->dut, q->dut, k->dut, v->dut, 1, 1, 0.1, scratch->dut.p, y->dut);
        compare(c, y, bound);
        c->ref->ops->attention(c->ref, v->ref, k->ref, q->ref, 1, 1, 0.1, scratch->ref.p, y->ref);
        c->dut->ops->attention(c->dut, v->dut, k->dut, q->dut, 1, 1, 0.1, scratch->dut.p, y->dut);
        compare(c, y, bound);
        tensor *p = output(c, ROWS, ROWS);
        c->ref->ops->attention_probs(c->ref, q->ref, k->ref, 1, 1, 0.1, p->ref);
        c->dut->ops->attention_probs(c->dut, q->dut, k->dut, 1, 1, 0.1, p->dut);
        compare(c, p, bound);
        c->ref->ops->attention_apply(c->ref, p->ref, v->ref, 1, 1, y->ref);
        c->dut->ops->attention_apply(c->dut, p->dut, v->dut, 1, 1, y->dut);
        compare(c, y, bound);
        finish(c);
    }
}
