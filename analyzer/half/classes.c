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

/* The part of a head's row that tells its class; NULL: it is linear. Queries join the residual stream. */
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
