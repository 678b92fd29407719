/* Classes of rows (fp16.md section 4). */
#include <stdio.h>
#include <string.h>

#include "results.h"

const char *vs_half_row_in_block(const char *row) {
    unsigned block = 0;
    int used = 0;
    return sscanf(row, "blocks.%u.%n", &block, &used) == 1 && used ? row + used : row;
}

vs_half_class vs_half_class_of(const char *row) {
    static const struct {
        const char *begin;
        vs_half_class class;
    } known[] = { { "tokens", VS_HALF_CLASS_RESIDUAL },
                  { "pos_add", VS_HALF_CLASS_RESIDUAL },
                  { "ls", VS_HALF_CLASS_RESIDUAL },
                  { "add", VS_HALF_CLASS_RESIDUAL },
                  { "norm", VS_HALF_CLASS_NORM },
                  { "rope.", VS_HALF_CLASS_SCORES },
                  { "attn.qscale", VS_HALF_CLASS_SCORES },
                  { "attn.kscale", VS_HALF_CLASS_SCORES },
                  { "attn.scores", VS_HALF_CLASS_SCORES },
                  { "attn.scale", VS_HALF_CLASS_SCORES },
                  { "attn.softmax", VS_HALF_CLASS_SOFTMAX },
                  { "mlp.gelu", VS_HALF_CLASS_GELU },
                  { "mlp.silu", VS_HALF_CLASS_GELU },
                  { "mlp.gate", VS_HALF_CLASS_GELU } };
    row = vs_half_row_in_block(row);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(row, known[i].begin, strlen(known[i].begin)) == 0) return known[i].class;
    return VS_HALF_CLASS_LINEAR;
}
