/* Norms of the float model's tokens: after the last block, patch tokens that carry far more than the others, and how much class
 * and register tokens carry; after each block, the same kinds apart (docs/results.md, token_norms). */
#include "sens/norms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/host_scalar.h"
#include "util/util.h"

static vs_status no_memory(vs_error *err) { return vs_fail(err, VS_ERR_NOMEM, "no memory for the norms of tokens"); }

vs_status vs_norms_measure(vs_token_slot *slot, const vs_backend *be, size_t block, vs_mat tokens, size_t grid_w, vs_error *err) {
    if (!vs_grow((void **)&slot->norms, &slot->capacity, (block + 1) * tokens.rows, sizeof *slot->norms)) return no_memory(err);
    double *norms = slot->norms + block * tokens.rows;
    void *host = vs_calloc(tokens.rows * tokens.cols, (size_t)be->scalar);
    if (!host) return no_memory(err);
    vs_status status = be->ops->download(be, host, tokens, err);
    if (status == VS_OK) status = be->ops->sync(be, err);
    for (size_t t = 0; t < tokens.rows && status == VS_OK; t++) {
        double sum = 0;
        for (size_t c = 0; c < tokens.cols; c++) {
            const double x = vs_host_scalar(host, be->scalar, t * tokens.cols + c);
            sum += x * x;
        }
        norms[t] = sqrt(sum);
    }
    slot->blocks = block + 1;
    slot->tokens = tokens.rows;
    slot->grid_w = grid_w;
    free(host);
    return status;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *sorted, const double *values, size_t count) {
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/* Keeps the largest, the first among equals. */
static void list(vs_token_norms *n, const vs_token_norm *token) {
    size_t at = n->listed_count;
    while (at > 0 && n->listed[at - 1].times < token->times) at--;
    if (at == VS_LISTED_NORMS) return;
    if (n->listed_count < VS_LISTED_NORMS) n->listed_count++;
    memmove(&n->listed[at + 1], &n->listed[at], (n->listed_count - at - 1) * sizeof *n->listed);
    n->listed[at] = *token;
}

/* One image's tokens after one block. High patches are those of the last block (`last`, above `limit`): where they come from
 * shows in the blocks before. */
static void pool_block(vs_block_norms *b, size_t prefix, const double *norms, const double *last, double limit, size_t tokens,
                       double *sorted) {
    double registers = 0;
    for (size_t t = 1; t < prefix; t++) registers += norms[t];
    b->cls += norms[0];
    if (prefix > 1) b->registers += registers / (double)(prefix - 1);
    b->median += median_of(sorted, norms + prefix, tokens - prefix);
    for (size_t t = prefix; t < tokens; t++) {
        b->largest = fmax(b->largest, norms[t]);
        if (last[t] > limit) b->high += norms[t];
    }
}

vs_status vs_norms_pool(vs_token_norms *n, const vs_row_rule *tokens, size_t image, const vs_token_slot *slot, vs_error *err) {
    const size_t prefix = vs_rule_first(tokens, vs_rule_patches(tokens), 1), patches = slot->tokens - prefix;
    const double *last = slot->norms + (slot->blocks - 1) * slot->tokens;
    double *sorted = vs_calloc(patches, sizeof *sorted);
    if (!n->prefix_times) n->prefix_times = vs_calloc(prefix, sizeof *n->prefix_times);
    if (!n->blocks) n->blocks = vs_calloc(slot->blocks, sizeof *n->blocks);
    if (!n->prefix_times || !n->blocks || !sorted) {
        free(sorted);
        return no_memory(err);
    }
    const double median = median_of(sorted, last + prefix, patches);
    n->block_count = slot->blocks;
    for (size_t b = 0; b < slot->blocks; b++)
        pool_block(&n->blocks[b], prefix, slot->norms + b * slot->tokens, last, VS_HIGH_NORM * median, slot->tokens, sorted);
    free(sorted);
    for (size_t t = 0; t < prefix; t++) n->prefix_times[t] += last[t] / median;
    for (size_t t = prefix; t < slot->tokens; t++) {
        vs_token_norm token = { .image = image, .norm = last[t], .times = last[t] / median };
        if (!(last[t] > VS_HIGH_NORM * median)) continue;
        n->high++;
        vs_rule_name(tokens, t, slot->grid_w, token.name, sizeof token.name);
        list(n, &token);
    }
    n->patches += patches;
    n->images++;
    return VS_OK;
}
