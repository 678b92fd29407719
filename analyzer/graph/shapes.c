/* What each operation asks of the shapes around it. */
#include "graph/operations.h"

static const vs_row_rule *rule(const vs_graph *g, size_t value) { return vs_value_rule(g, value); }
static vs_extent cols(const vs_graph *g, size_t value) { return g->values[value].cols; }
static bool equal(vs_extent a, vs_extent b) { return a.fixed == b.fixed && a.cells == b.cells; }
static bool is(vs_extent e, size_t fixed) { return e.fixed == fixed && e.cells == 0; }

static bool same_rows(const vs_graph *g, size_t a, size_t b) {
    return rule(g, a)->part_count == rule(g, b)->part_count && vs_rule_find(rule(g, a), rule(g, b)) == 0;
}

/* Whether b's rows are some of a's. */
static bool has_part(const vs_graph *g, size_t a, size_t b) {
    return rule(g, a)->times == 1 && vs_rule_find(rule(g, a), rule(g, b)) != VS_NONE;
}

static bool same_shape(const vs_graph *g, size_t a, size_t b) { return same_rows(g, a, b) && equal(cols(g, a), cols(g, b)); }

/* A parameter of one number a column, or absent. */
static bool is_vector(const vs_graph *g, size_t param, vs_extent of) {
    return param == VS_NONE || (is(of, g->params[param].cols) && g->params[param].rows == 1);
}

static bool is_grid(const vs_row_rule *r, size_t level) {
    return r->part_count == 1 && r->times == 1 && r->parts[0].count == 0 && r->parts[0].level == level;
}

/* Rows of one round that do not depend on the image's size; 0 where they do. */
static size_t fixed_rows(const vs_row_rule *r) {
    size_t rows = 0;
    for (size_t i = 0; i < r->part_count; i++) {
        if (r->parts[i].count == 0) return 0;
        rows += r->parts[i].count;
    }
    return rows;
}

/* All rows of a value as an extent. */
static vs_extent rows_of(const vs_row_rule *r) {
    vs_extent e = { 0, 0 };
    for (size_t i = 0; i < r->part_count; i++) {
        e.fixed += r->parts[i].count;
        if (r->parts[i].count == 0) e.cells += (size_t)1 << 2 * r->parts[i].level;
    }
    return e;
}

const char *vs_shape_patchify(const vs_graph *g, const vs_node *n) {
    if (g->values[n->in[0]].given != VS_GIVEN_PIXELS || fixed_rows(rule(g, n->in[0])) != 3 || rule(g, n->in[0])->times != 1)
        return "it reads no pixels";
    if (n->patch == 0 || !equal(cols(g, n->in[0]), (vs_extent){ 0, n->patch * n->patch }))
        return "its patches do not fill the image";
    if (!is_grid(rule(g, n->out), 0)) return "it gives no patches";
    return is(cols(g, n->out), 3 * n->patch * n->patch) ? NULL : "its patches have another number of pixels";
}

const char *vs_shape_linear(const vs_graph *g, const vs_node *n) {
    const vs_param *w = &g->params[n->param[0]];
    if (!same_rows(g, n->in[0], n->out)) return "it gives other rows than it reads";
    if (!is(cols(g, n->in[0]), w->cols)) return "its weight has another number of columns than its input";
    if (!is(cols(g, n->out), w->rows)) return "its weight has another number of rows than its output has columns";
    return is_vector(g, n->param[1], cols(g, n->out)) ? NULL : "its bias is no vector of its output";
}

const char *vs_shape_tokens(const vs_graph *g, const vs_node *n) {
    const vs_row_rule *out = rule(g, n->out);
    if (!is_grid(rule(g, n->in[0]), 0)) return "it reads no patches";
    if (out->part_count == 0 || out->times != 1 || vs_rule_patches(out) != out->part_count - 1)
        return "patches are not its last rows";
    const size_t prefix = rows_of(out).fixed;
    for (size_t i = 0; i < 3; i++)
        if (g->params[n->param[i]].rows != prefix || !is(cols(g, n->out), g->params[n->param[i]].cols))
            return "its prefix tokens are others than its output has";
    if (!equal(cols(g, n->in[0]), cols(g, n->out))) return "tokens are as wide as patches";
    if (n->in_count > 1 && !(g->values[n->in[1]].given == VS_GIVEN_POSITIONS && same_shape(g, n->in[1], n->in[0])))
        return "its positions are not those of the patches";
    return rows_of(out).cells == 1 ? NULL : "it gives more than one grid";
}

const char *vs_shape_join(const vs_graph *g, const vs_node *n) {
    const vs_row_rule *in = rule(g, n->in[0]), *out = rule(g, n->out);
    const vs_param *p = &g->params[n->param[0]];
    if (out->times != 1 || out->part_count != in->part_count + 1 || vs_rule_find(out, in) != 1)
        return "its rows are not those it reads and some in front";
    if (out->parts[0].count != p->rows) return "its parameter has another number of rows";
    return is(cols(g, n->in[0]), p->cols) && equal(cols(g, n->in[0]), cols(g, n->out)) ? NULL : "its columns differ";
}

const char *vs_shape_layernorm(const vs_graph *g, const vs_node *n) {
    const bool all = same_rows(g, n->in[0], n->out);
    if (!all && !has_part(g, n->in[0], n->out)) return "it gives rows that it does not read";
    if (!all && g->values[n->out].alias != VS_NONE) return "some rows cannot stand where all stood";
    if (!equal(cols(g, n->in[0]), cols(g, n->out))) return "its columns differ";
    return is_vector(g, n->param[0], cols(g, n->out)) && is_vector(g, n->param[1], cols(g, n->out))
               ? NULL
               : "its gain or shift is of other columns";
}

const char *vs_shape_rope(const vs_graph *g, const vs_node *n) {
    const vs_row_rule *in = rule(g, n->in[0]);
    if (!same_shape(g, n->in[0], n->out)) return "it gives another shape than it reads";
    if (in->times != 1 || vs_rule_patches(in) != in->part_count - 1) return "patches are not its last rows";
    if (g->values[n->in[1]].given != VS_GIVEN_COSINES || g->values[n->in[2]].given != VS_GIVEN_SINES)
        return "it reads no rotation";
    if (!is_grid(rule(g, n->in[1]), 0) || !same_shape(g, n->in[1], n->in[2]))
        return "its tables differ, or are not those of patches";
    const size_t half = cols(g, n->in[1]).fixed;
    return n->heads && half && is(cols(g, n->out), 2 * half * n->heads) ? NULL : "its tables are not half as wide as a head";
}

const char *vs_shape_same(const vs_graph *g, const vs_node *n) {
    return same_shape(g, n->in[0], n->out) ? NULL : "it gives another shape than it reads";
}

static bool has_heads(const vs_graph *g, const vs_node *n, size_t value) {
    return n->heads && rule(g, value)->times == 1 && cols(g, value).cells == 0 && cols(g, value).fixed % n->heads == 0;
}

static bool is_probs(const vs_graph *g, const vs_node *n, size_t value, size_t queries) {
    vs_row_rule r = *rule(g, queries);
    r.times = n->heads;
    return rule(g, value)->part_count == r.part_count && vs_rule_find(rule(g, value), &r) == 0 &&
           equal(cols(g, value), rows_of(&r));
}

const char *vs_shape_probs(const vs_graph *g, const vs_node *n) {
    if (!same_shape(g, n->in[0], n->in[1]) || !has_heads(g, n, n->in[0])) return "its operands are no heads of one shape";
    return is_probs(g, n, n->out, n->in[0]) ? NULL : "its output is no row of tokens for every head and token";
}

const char *vs_shape_attention(const vs_graph *g, const vs_node *n) {
    for (size_t i = 0; i < 3; i++)
        if (!same_shape(g, n->in[i], n->out) || !has_heads(g, n, n->in[i]))
            return "its operands are no heads of its output's shape";
    return is_probs(g, n, n->in[3], n->in[0]) ? NULL : "its probabilities are no row of tokens for every head and token";
}

const char *vs_shape_silu_mul(const vs_graph *g, const vs_node *n) {
    if (!same_rows(g, n->in[0], n->out)) return "it gives other rows than it reads";
    return is(cols(g, n->in[0]), 2 * cols(g, n->out).fixed) && cols(g, n->out).cells == 0 ? NULL
                                                                                          : "it does not halve its columns";
}

const char *vs_shape_scale_add(const vs_graph *g, const vs_node *n) {
    if (!same_shape(g, n->in[0], n->out) || !same_shape(g, n->in[1], n->out)) return "its terms are of other shapes than its sum";
    return is_vector(g, n->param[0], cols(g, n->out)) ? NULL : "its factor is of other columns";
}

const char *vs_shape_rows(const vs_graph *g, const vs_node *n) {
    if (!has_part(g, n->in[0], n->out)) return "it gives rows that it does not read";
    return equal(cols(g, n->in[0]), cols(g, n->out)) ? NULL : "its columns differ";
}

const char *vs_shape_stack(const vs_graph *g, const vs_node *n) {
    size_t parts = 0;
    if (rule(g, n->out)->times != 1) return "it stacks several rounds";
    for (size_t i = 0; i < n->in_count; i++) {
        const vs_row_rule *in = rule(g, n->in[i]);
        vs_row_rule rest = *rule(g, n->out);
        if (parts + in->part_count > rest.part_count || !equal(cols(g, n->in[i]), cols(g, n->out)))
            return "its inputs are not its output";
        for (size_t p = 0; p + parts < rest.part_count; p++) rest.parts[p] = rest.parts[p + parts];
        rest.part_count = in->part_count;
        if (vs_rule_find(in, &rest) != 0) return "its inputs' rows are not its output's";
        parts += in->part_count;
    }
    return parts == rule(g, n->out)->part_count ? NULL : "its output has more rows than its inputs";
}

const char *vs_shape_concat(const vs_graph *g, const vs_node *n) {
    vs_extent all = { 0, 0 };
    for (size_t i = 0; i < n->in_count; i++) {
        if (vs_rule_rows(rule(g, n->in[i]), 1) != vs_rule_rows(rule(g, n->out), 1) ||
            !equal(rows_of(rule(g, n->in[i])), rows_of(rule(g, n->out))))
            return "its inputs have other rows than its output";
        all.fixed += cols(g, n->in[i]).fixed;
        all.cells += cols(g, n->in[i]).cells;
    }
    return equal(all, cols(g, n->out)) ? NULL : "its inputs' columns are not its output's";
}

const char *vs_shape_mean(const vs_graph *g, const vs_node *n) {
    if (vs_rule_patches(rule(g, n->in[0])) == VS_NONE || rule(g, n->in[0])->times != 1) return "it reads no patches";
    if (g->values[n->in[1]].given != VS_GIVEN_MEAN || !is_grid(rule(g, n->in[1]), 0) ||
        !equal(cols(g, n->in[1]), (vs_extent){ 0, 1 }))
        return "it has nothing to average with";
    if (fixed_rows(rule(g, n->out)) != 1 || rule(g, n->out)->times != 1) return "it gives more than one row";
    return equal(cols(g, n->in[0]), cols(g, n->out)) ? NULL : "its columns differ";
}

const char *vs_shape_affine(const vs_graph *g, const vs_node *n) {
    if (!same_shape(g, n->in[0], n->out)) return "it gives another shape than it reads";
    return is_vector(g, n->param[0], cols(g, n->out)) && is_vector(g, n->param[1], cols(g, n->out))
               ? NULL
               : "its scale or shift is of other columns";
}

const char *vs_shape_unfold(const vs_graph *g, const vs_node *n) {
    if (!is_grid(rule(g, n->in[0]), n->level) || !is_grid(rule(g, n->out), n->level + 1))
        return "its output is no grid twice as fine";
    return is(cols(g, n->in[0]), 4 * cols(g, n->out).fixed) && cols(g, n->out).cells == 0 ? NULL
                                                                                          : "it does not quarter its columns";
}

const char *vs_shape_depthwise(const vs_graph *g, const vs_node *n) {
    const vs_param *k = &g->params[n->param[0]];
    if (!is_grid(rule(g, n->in[0]), n->level) || !same_shape(g, n->in[0], n->out)) return "it gives another grid than it reads";
    return k->rows == 9 && is(cols(g, n->out), k->cols) ? NULL : "its kernel is no 3x3 of every channel";
}

const char *vs_shape_product(const vs_graph *g, const vs_node *n) {
    if (!same_rows(g, n->in[0], n->out)) return "it gives other rows than it reads";
    if (!equal(cols(g, n->in[0]), cols(g, n->in[1]))) return "its factors have other columns";
    return is(cols(g, n->out), fixed_rows(rule(g, n->in[1]))) && rule(g, n->in[1])->times == 1
               ? NULL
               : "it gives no column for each row of its factor";
}

const char *vs_shape_scores(const vs_graph *g, const vs_node *n) {
    if (!same_rows(g, n->in[0], n->out)) return "it gives other rows than it reads";
    if (!is(cols(g, n->in[0]), fixed_rows(rule(g, n->in[1]))) || rule(g, n->in[1])->times != 1) return "its factors do not meet";
    return cols(g, n->out).cells == 0 && cols(g, n->in[1]).cells == 0 && cols(g, n->out).fixed <= cols(g, n->in[1]).fixed
               ? NULL
               : "it gives more columns than its factor has";
}
