/* A graph under construction: one call a node. Errors (no memory, a table that cannot grow) stay with the builder and come out in
 * vs_build_end; until then values and parameters may be VS_NONE, and everything takes them. */
#ifndef VS_BUILD_H
#define VS_BUILD_H

#include "vitscope/graph.h"

typedef struct vs_builder {
    vs_graph *graph;
    size_t rules, values, params, nodes, segments; /* that there is room for */
    int block;                                     /* at work: its nodes' names begin with "blocks.3." */
    bool failed;                                   /* no memory */
} vs_builder;

VS_NODISCARD vs_status vs_build_begin(vs_builder *builder, vs_error *err);
/* The checked graph, which the caller frees; the builder is done with, after an error too. */
VS_NODISCARD vs_status vs_build_end(vs_builder *builder, vs_graph **graph, vs_error *err);

size_t vs_build_rule(vs_builder *builder, vs_row_rule rule);
/* `param`: what it is made from, or VS_NONE. */
size_t vs_build_given(vs_builder *builder, vs_given given, size_t rule, vs_extent cols, size_t param);
/* Columns [column, column + cols) of a value. */
size_t vs_build_view(vs_builder *builder, size_t value, size_t column, size_t cols);
/* A tensor of the file, rows x cols; `name` stands behind the block's. */
size_t vs_build_param(vs_builder *builder, const char *name, const char *what, size_t rows, size_t cols, bool optional);
size_t vs_build_fold(vs_builder *builder, const char *name, vs_fold fold, size_t rows, size_t cols,
                     const size_t from[VS_FOLD_SOURCES], double eps);

/* A node as it is given, but for its output: a value of `rule` and `cols`, which stands where `over` stands unless that is
 * VS_NONE. The output is returned. */
size_t vs_build_node(vs_builder *builder, vs_node node, const char *name, size_t rule, vs_extent cols, size_t over);
/* The value's own rule and columns. */
size_t vs_build_rule_of(const vs_builder *builder, size_t value);
vs_extent vs_build_cols_of(const vs_builder *builder, size_t value);
/* Nothing reads it behind its last reader: see vs_value.passing. */
size_t vs_build_passing(vs_builder *builder, size_t value);
/* The last node is shown to taps, under a label in tables (NULL: its name). */
void vs_build_show(vs_builder *builder, vs_kind kind, vs_shown shown, const char *label);
/* The last node, to set what is its own; NULL where building failed. */
vs_node *vs_build_last(vs_builder *builder);
/* Ends the segment at the last node; `stream`: the residual stream behind it, or VS_NONE of the last segment. */
void vs_build_segment(vs_builder *builder, size_t stream);

/* ---- one operation a call */
size_t vs_build_linear(vs_builder *builder, const char *name, vs_kind kind, size_t x, size_t out);
size_t vs_build_layernorm(vs_builder *builder, const char *name, size_t x, double eps);
/* Of the rows of `rule` alone, with parameters that other nodes may use too. */
size_t vs_build_layernorm_rows(vs_builder *builder, const char *name, size_t gain, size_t shift, size_t x, size_t rule,
                               double eps);
/* An activation: y has x's shape, and with `over` its place. */
size_t vs_build_same(vs_builder *builder, vs_op op, const char *name, size_t x, bool over);
size_t vs_build_operand(vs_builder *builder, const char *name, vs_kind kind, size_t x, size_t heads);
/* x + gamma u, over x; `gamma` VS_NONE: 1. */
size_t vs_build_add(vs_builder *builder, const char *name, size_t x, size_t u, size_t gamma);
size_t vs_build_rows(vs_builder *builder, const char *name, size_t x, size_t rule);

#endif
