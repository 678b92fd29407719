#include "classes.h"

#include <stdio.h>
#include <string.h>

const char *const vs_half_class_names[VS_CLASS_COUNT] = { "norm", "scores", "softmax", "gelu", "residual", "linear" };

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* Behind "blocks.3.". */
static const char *local_name(const char *row) {
    if (!begins(row, "blocks.")) return row;
    const char *dot = strchr(row + strlen("blocks."), '.');
    return dot ? dot + 1 : row;
}

/* A part of a dotted name: "norm" in "head.norm.out", not in "head.normalise". */
static bool has_part(const char *name, const char *part) {
    const size_t n = strlen(part);
    for (const char *at = name; at; at = strchr(at, '.') ? strchr(at, '.') + 1 : NULL)
        if (strncmp(at, part, n) == 0 && (at[n] == 0 || at[n] == '.' || (at[n] >= '0' && at[n] <= '9'))) return true;
    return false;
}

static vs_half_class class_of_head(const char *name) {
    static const struct {
        const char *part;
        vs_half_class is;
    } parts[] = { { "bn", VS_CLASS_NORM },   { "norm", VS_CLASS_NORM },   { "layernorm", VS_CLASS_NORM },
                  { "gelu", VS_CLASS_GELU }, { "relu", VS_CLASS_GELU },   { "silu", VS_CLASS_GELU },
                  { "act", VS_CLASS_GELU },  { "add", VS_CLASS_RESIDUAL } };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (has_part(name, parts[i].part)) return parts[i].is;
    return VS_CLASS_LINEAR;
}

vs_half_class vs_half_class_of(const char *row) {
    static const char *const scores[] = { "rope.", "attn.qscale", "attn.kscale", "attn.scores", "attn.scale" };
    static const char *const residual[] = { "tokens", "pos_add", "ls1", "ls2", "add1", "add2" };
    const char *name = local_name(row);
    if (begins(name, "head.")) return class_of_head(name);
    if (begins(name, "norm")) return VS_CLASS_NORM;
    if (strcmp(name, "attn.softmax") == 0 || begins(name, "attn.softmax.")) return VS_CLASS_SOFTMAX;
    if (begins(name, "mlp.gelu") || begins(name, "mlp.silu") || strcmp(name, "mlp.gate") == 0) return VS_CLASS_GELU;
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        if (begins(name, scores[i])) return VS_CLASS_SCORES;
    for (size_t i = 0; i < sizeof residual / sizeof *residual; i++)
        if (strcmp(name, residual[i]) == 0) return VS_CLASS_RESIDUAL;
    return VS_CLASS_LINEAR;
}

void vs_half_unit_of(const char *row, char *text, size_t size) {
    const char *name = local_name(row);
    const int block = (int)(name - row); /* "blocks.3." */
    if (begins(name, "norm"))
        snprintf(text, size, "%.*s%.*s", block, row, (int)strcspn(name, "."), name);
    else if (begins(name, "mlp.gelu"))
        snprintf(text, size, "%.*smlp.gelu", block, row);
    else if (begins(name, "mlp.silu") || strcmp(name, "mlp.gate") == 0)
        snprintf(text, size, "%.*smlp.silu", block, row);
    else if (vs_half_class_of(row) == VS_CLASS_SCORES)
        snprintf(text, size, "%.*sattn.scores", block, row);
    else if (begins(name, "attn.softmax"))
        snprintf(text, size, "%.*sattn.softmax", block, row);
    else
        snprintf(text, size, "%s", row);
}

/* ---- what rows read ---- */

enum { NOTHING = -1, STREAM = -2 }; /* STREAM: what the block, or the norm behind the blocks, begins from */

typedef struct reads {
    int rows[VS_HALF_READS];
} reads;

/* A norm's rows; `stream` is what it norms. */
static reads read_by_norm(size_t part, int first, int stream) {
    switch (part) {
    case VS_NORM_MEAN: return (reads){ { stream, NOTHING } };
    case VS_NORM_CENTER: return (reads){ { stream, first + VS_NORM_MEAN } };
    case VS_NORM_DIV: return (reads){ { first + VS_NORM_CENTER, first + VS_NORM_STD } };
    default: return (reads){ { first + (int)part - 1, NOTHING } };
    }
}

static reads read_by(vs_half_row row) {
    if (row >= VS_ROW_NORM1 && row < VS_ROW_QKV) return read_by_norm((size_t)(row - VS_ROW_NORM1), VS_ROW_NORM1, STREAM);
    if (row >= VS_ROW_NORM2 && row < VS_ROW_FC1) return read_by_norm((size_t)(row - VS_ROW_NORM2), VS_ROW_NORM2, VS_ROW_ADD1);
    if (row >= VS_ROW_NORM && row < VS_ROW_HEAD_BN) return read_by_norm((size_t)(row - VS_ROW_NORM), VS_ROW_NORM, STREAM);
    switch (row) {
    case VS_ROW_PATCH_EMBED: return (reads){ { NOTHING, NOTHING } };
    case VS_ROW_QKV: return (reads){ { VS_ROW_NORM1 + VS_NORM_OUT, NOTHING } };
    case VS_ROW_ROPE_Q:
    case VS_ROW_ROPE_K: return (reads){ { VS_ROW_QKV, NOTHING } };
    case VS_ROW_QSCALE: return (reads){ { VS_ROW_ROPE_Q, NOTHING } };
    case VS_ROW_KSCALE: return (reads){ { VS_ROW_ROPE_K, NOTHING } };
    case VS_ROW_SCORES: return (reads){ { VS_ROW_QSCALE, VS_ROW_KSCALE } };
    case VS_ROW_PV: return (reads){ { VS_ROW_SOFTMAX, VS_ROW_QKV } };
    case VS_ROW_ADD1: return (reads){ { STREAM, VS_ROW_LS1 } };
    case VS_ROW_GELU_MUL: return (reads){ { VS_ROW_FC1, VS_ROW_GELU_ONE } };
    case VS_ROW_ADD2: return (reads){ { VS_ROW_ADD1, VS_ROW_LS2 } };
    default: return (reads){ { (int)row - 1, NOTHING } };
    }
}

/* The present row that gives what `row` of a block would: itself, or what it would have read. */
static size_t resolve(const vs_arch *a, const bool *present, int row, int block) {
    while (row != NOTHING) {
        if (row == STREAM && block == 0) row = VS_ROW_POS_ADD;
        if (row == STREAM) {
            block = block < 0 ? (int)a->depth - 1 : block - 1;
            row = VS_ROW_ADD2;
        }
        const size_t index = vs_half_row_index(a, (vs_half_row)row, block < 0 ? 0 : (size_t)block);
        if (present[index]) return index;
        row = read_by((vs_half_row)row).rows[0];
    }
    return SIZE_MAX;
}

size_t vs_half_reads(const vs_arch *a, const bool *present, size_t index, size_t out[VS_HALF_READS]) {
    int block = -1;
    const reads r = read_by(vs_half_row_at(a, index, &block));
    size_t count = 0;
    for (size_t i = 0; i < VS_HALF_READS; i++) {
        const size_t from = resolve(a, present, r.rows[i], block);
        if (from != SIZE_MAX) out[count++] = from;
    }
    return count;
}

double vs_half_macs(const vs_arch *a, size_t index, size_t tokens) {
    int block = -1;
    const double t = (double)tokens, c = (double)a->width, patches = t - 1 - (double)a->registers;
    switch (vs_half_row_at(a, index, &block)) {
    case VS_ROW_PATCH_EMBED: return patches * c * 3 * (double)(a->patch * a->patch);
    case VS_ROW_QKV: return t * c * 3 * c;
    case VS_ROW_SCORES:
    case VS_ROW_PV: return t * t * c;
    case VS_ROW_PROJ: return t * c * c;
    case VS_ROW_FC1:
    case VS_ROW_FC2: return t * c * (double)a->hidden;
    case VS_ROW_HEAD_CONV: return patches * c * (double)a->classes;
    default: return 0;
    }
}
