#include "half/classes.h"

#include <math.h>
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

/* Where a dotted name has a part: "norm" in "head.norm.out", not in "head.normalise"; else NULL. */
static const char *find_part(const char *name, const char *part) {
    const size_t n = strlen(part);
    for (const char *at = name; at; at = strchr(at, '.') ? strchr(at, '.') + 1 : NULL)
        if (strncmp(at, part, n) == 0 && (at[n] == 0 || at[n] == '.' || (at[n] >= '0' && at[n] <= '9'))) return at;
    return NULL;
}

/* A norm of the backbone: norm1, norm2, norm, and what class and register tokens have of their own. */
static bool is_norm(const char *name) { return begins(name, "norm") || begins(name, "cls_norm"); }

/* The part of a head's row that tells its class; NULL: it is linear. EoMT's queries join the residual stream. */
static const char *part_of_head(const char *name, vs_half_class *is) {
    static const struct {
        const char *part;
        vs_half_class is;
    } parts[] = { { "bn", VS_CLASS_NORM },   { "norm", VS_CLASS_NORM },    { "layernorm", VS_CLASS_NORM },
                  { "gelu", VS_CLASS_GELU }, { "relu", VS_CLASS_GELU },    { "silu", VS_CLASS_GELU },
                  { "act", VS_CLASS_GELU },  { "add", VS_CLASS_RESIDUAL }, { "queries", VS_CLASS_RESIDUAL } };
    *is = VS_CLASS_LINEAR;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *at = find_part(name, parts[i].part);
        if (!at) continue;
        *is = parts[i].is;
        return at;
    }
    return NULL;
}

vs_half_class vs_half_class_of(const char *row) {
    static const char *const scores[] = { "rope.", "attn.qscale", "attn.kscale", "attn.scores", "attn.scale" };
    static const char *const residual[] = { "tokens", "pos_add", "ls1", "ls2", "add1", "add2" };
    const char *name = local_name(row);
    vs_half_class of_head = VS_CLASS_LINEAR;
    if (begins(name, "head.")) (void)part_of_head(name, &of_head);
    if (begins(name, "head.")) return of_head;
    if (is_norm(name)) return VS_CLASS_NORM;
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
    vs_half_class is = VS_CLASS_LINEAR;
    const char *part = begins(name, "head.") ? part_of_head(name, &is) : NULL;
    if (part) /* up to its end: rows of one norm or activation */
        snprintf(text, size, "%.*s", (int)(part - row + (ptrdiff_t)strcspn(part, ".")), row);
    else if (is_norm(name))
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

typedef struct source {
    vs_half_row row;
    size_t block;
} source;

typedef struct reads {
    size_t count;
    source from[VS_HALF_READS];
} reads;

static reads one(vs_half_row row, size_t block) { return (reads){ 1, { { row, block } } }; }
static reads two(source a, source b) { return (reads){ 2, { a, b } }; }

static bool join_at(const vs_arch *a, size_t block) { return a->queries && block + a->joint_blocks == a->depth; }

/* What a block begins from; block `depth` is what stands behind the last. */
static source stream_before(size_t block) { return block ? (source){ VS_ROW_ADD2, block - 1 } : (source){ VS_ROW_POS_ADD, 0 }; }

static source stream_of(const vs_arch *a, size_t block) {
    return block < a->depth && join_at(a, block) ? (source){ VS_ROW_QUERIES, block } : stream_before(block);
}

/* A norm's rows; `x` is what it norms. */
static reads read_by_norm(vs_half_row row, size_t block, vs_half_row first, source x) {
    switch ((size_t)(row - first)) {
    case VS_NORM_MEAN: return (reads){ 1, { x } };
    case VS_NORM_CENTER: return two(x, (source){ first + VS_NORM_MEAN, block });
    case VS_NORM_DIV: return two((source){ first + VS_NORM_CENTER, block }, (source){ first + VS_NORM_STD, block });
    default: return one(row - 1, block);
    }
}

static source normed_by(const vs_arch *a, vs_half_row row, size_t block) {
    switch (row) {
    case VS_ROW_NORM1: return stream_of(a, block);
    case VS_ROW_NORM2: return (source){ VS_ROW_ADD1, block };
    case VS_ROW_MAP_PREFIX_NORM:
    case VS_ROW_MAP_NORM: return (source){ VS_ROW_ADD2, block };
    case VS_ROW_PREFIX_NORM:
    case VS_ROW_NORM: return stream_of(a, a->depth);
    default: return (source){ row - 1, 0 }; /* EoMT's: a convolution's result */
    }
}

/* What the head's first layer reads: normed tokens of its blocks, and their mean. */
static reads features(const vs_arch *a) {
    const bool prefix = a->head == VS_HEAD_CLASSIFIER && a->prefix_norm;
    const size_t maps = a->head_maps ? a->head_maps : 1;
    reads r = { 0 };
    for (size_t m = 0; m + 1 < maps; m++)
        r.from[r.count++] = (source){ (prefix ? VS_ROW_MAP_PREFIX_NORM : VS_ROW_MAP_NORM) + VS_NORM_OUT, a->depth - maps + m };
    r.from[r.count++] = (source){ (prefix ? VS_ROW_PREFIX_NORM : VS_ROW_NORM) + VS_NORM_OUT, 0 };
    if (a->head_mean) r.from[r.count++] = (source){ VS_ROW_HEAD_MEAN, 0 };
    return r;
}

static reads read_by_head(const vs_arch *a, vs_half_row row) {
    const vs_half_row out = VS_ROW_NORM + VS_NORM_OUT;
    switch (row) {
    case VS_ROW_NORM_CAT: return two((source){ VS_ROW_PREFIX_NORM + VS_NORM_OUT, 0 }, (source){ out, 0 });
    case VS_ROW_HEAD_MEAN: return one(out, 0);
    case VS_ROW_HEAD_BN: return features(a);
    case VS_ROW_HEAD_CONV: return a->head_norm ? one(VS_ROW_HEAD_BN, 0) : features(a);
    case VS_ROW_MASK1:
    case VS_ROW_UP: return one(out, 0);
    case VS_ROW_EINSUM:
        return two((source){ VS_ROW_MASK3, 0 }, (source){ vs_half_up_row(a->upscales - 1, VS_UP_NORM + VS_NORM_OUT), 0 });
    case VS_ROW_CLASS_SCORES: return two((source){ VS_ROW_EINSUM, 0 }, (source){ VS_ROW_HEAD_CONV, 0 });
    default: return one(row - 1, 0);
    }
}

static reads read_by(const vs_arch *a, vs_half_row row, size_t block) {
    const vs_half_row norm = vs_half_norm_of(row), gelu = vs_half_gelu_of(row);
    if (norm != VS_ROW_COUNT) return read_by_norm(row, block, norm, normed_by(a, norm, block));
    if (gelu != VS_ROW_COUNT) /* GELU of x: div, erf, one, x * that */
        return row - gelu == VS_GELU_MUL ? two((source){ gelu == VS_ROW_GELU_DIV ? VS_ROW_FC1 : gelu - 1, block },
                                               (source){ gelu + VS_GELU_ONE, block })
                                         : one(row == VS_ROW_GELU_DIV ? VS_ROW_FC1 : row - 1, block);
    if (row > VS_ROW_BLOCK_LAST) return read_by_head(a, row);
    switch (row) {
    case VS_ROW_PATCH_EMBED: return (reads){ 0 };
    case VS_ROW_QUERIES: return (reads){ 1, { stream_before(block) } };
    case VS_ROW_QKV: return one(VS_ROW_NORM1 + VS_NORM_OUT, block);
    case VS_ROW_ROPE_Q:
    case VS_ROW_ROPE_K: return one(VS_ROW_QKV, block);
    case VS_ROW_QSCALE: return one(VS_ROW_ROPE_Q, block);
    case VS_ROW_KSCALE: return one(VS_ROW_ROPE_K, block);
    case VS_ROW_SCORES: return two((source){ VS_ROW_QSCALE, block }, (source){ VS_ROW_KSCALE, block });
    case VS_ROW_PV: return two((source){ VS_ROW_SOFTMAX, block }, (source){ VS_ROW_QKV, block });
    case VS_ROW_ADD1: return two(stream_of(a, block), (source){ VS_ROW_LS1, block });
    case VS_ROW_W2: return one(VS_ROW_NORM2 + VS_NORM_OUT, block);
    case VS_ROW_SIGMOID: return one(VS_ROW_FC1, block);
    case VS_ROW_SILU: return two((source){ VS_ROW_FC1, block }, (source){ VS_ROW_SIGMOID, block });
    case VS_ROW_GATE: return two((source){ VS_ROW_SILU, block }, (source){ a->gate_apart ? VS_ROW_W2 : VS_ROW_FC1, block });
    case VS_ROW_FC2: return one(a->ffn == VS_FFN_SWIGLU ? VS_ROW_GATE : VS_ROW_GELU_OUT, block);
    case VS_ROW_ADD2: return two((source){ VS_ROW_ADD1, block }, (source){ VS_ROW_LS2, block });
    default: return one(row - 1, block);
    }
}

/* The present row that gives what one would: itself, or what it would have read. */
static size_t resolve(const vs_arch *a, const bool *present, source s) {
    while (!present[vs_half_row_index(a, s.row, s.block)]) {
        const reads r = read_by(a, s.row, s.block);
        if (r.count == 0) return SIZE_MAX;
        s = r.from[0];
    }
    return vs_half_row_index(a, s.row, s.block);
}

size_t vs_half_reads(const vs_arch *a, const bool *present, size_t index, size_t out[VS_HALF_READS]) {
    int block = -1;
    const vs_half_row row = vs_half_row_at(a, index, &block);
    const reads r = read_by(a, row, block < 0 ? 0 : (size_t)block);
    size_t count = 0;
    for (size_t i = 0; i < r.count; i++) {
        const size_t from = resolve(a, present, r.from[i]);
        if (from != SIZE_MAX) out[count++] = from;
    }
    return count;
}

/* Products of a head's row; tokens without queries. */
static double head_macs(const vs_arch *a, vs_half_row row, double patches) {
    const double c = (double)a->width, q = (double)a->queries, pixels = patches * pow(4, (double)a->upscales);
    const double rows = a->head == VS_HEAD_CLASSIFIER ? 1 : a->head == VS_HEAD_EOMT ? q : patches;
    const bool none = a->head == VS_HEAD_EOMT; /* "no object" is a class more */
    if (row == VS_ROW_HEAD_CONV) return rows * (double)a->head_width * (double)(a->classes + none);
    if (a->head != VS_HEAD_EOMT) return 0;
    if (row == VS_ROW_MASK1 || row == VS_ROW_MASK2 || row == VS_ROW_MASK3) return q * c * c;
    if (row == VS_ROW_EINSUM) return pixels * q * c;
    if (row < VS_ROW_UP || row > VS_ROW_EINSUM) return 0;
    const size_t u = (size_t)(row - VS_ROW_UP) / VS_UP_ROWS, part = (size_t)(row - VS_ROW_UP) % VS_UP_ROWS;
    if (u >= a->upscales) return 0;
    const double outputs = patches * pow(4, (double)(u + 1));
    return part == VS_UP_CONV1 ? outputs * c * c : part == VS_UP_CONV2 ? outputs * 9 * c : 0;
}

double vs_half_macs(const vs_arch *a, size_t index, size_t tokens) {
    int block = -1;
    const vs_half_row row = vs_half_row_at(a, index, &block);
    const double c = (double)a->width, f = (double)a->hidden, alone = (double)(tokens - a->queries);
    const double t = alone + (block < 0 ? 0 : (double)vs_half_queries_at(a, (size_t)block));
    const double patches = alone - 1 - (double)a->registers;
    if (block < 0 && row > VS_ROW_BLOCK_LAST) return head_macs(a, row, patches);
    switch (row) {
    case VS_ROW_PATCH_EMBED: return patches * c * 3 * (double)(a->patch * a->patch);
    case VS_ROW_QKV: return t * c * 3 * c;
    case VS_ROW_SCORES:
    case VS_ROW_PV: return t * t * c;
    case VS_ROW_PROJ: return t * c * c;
    case VS_ROW_FC1: return t * c * (a->ffn == VS_FFN_SWIGLU && !a->gate_apart ? 2 * f : f);
    case VS_ROW_W2: return a->gate_apart ? t * c * f : 0;
    case VS_ROW_FC2: return t * c * f;
    default: return 0;
    }
}
