/* The blind spot: where each layer stands by its weights, and where by its activations. */
#include <stdlib.h>
#include <string.h>

#include "charts/charts.h"
#include "util/util.h"

static const vs_ranking *ranking_of(const vs_ranking_set *set, const char *mode) {
    for (size_t i = 0; i < set->ranking_count; i++)
        if (strcmp(set->rankings[i].mode, mode) == 0) return &set->rankings[i];
    return NULL;
}

static size_t rank_of(const vs_ranking *k, size_t row) {
    for (size_t i = 0; i < k->count; i++)
        if (k->rows[i] == row) return i + 1;
    return 0;
}

static bool is_flagged(const vs_ranking_set *set, size_t row) {
    for (size_t i = 0; i < set->blind_count; i++)
        if (set->blind[i].row == row) return set->blind[i].flagged;
    return false;
}

static char *caption_of(const vs_results *r, const vs_ranking_set *set, size_t flagged) {
    if (flagged == 0)
        return vs_format(
            "Each line is a layer with a weight: its rank by SQNR with only its weight quantized, and with only its "
            "input quantized (there q, k and v are ranked too). No layer loses 12 dB more by its input than by its weight.");
    const vs_blind_spot *worst = &set->blind[0];
    return vs_format(
        "Each line is a layer with a weight: its rank by SQNR with only its weight quantized, and with only its input "
        "quantized (there q, k and v are ranked too). Dark: input more than 12 dB worse than weight, which an analysis of "
        "weights alone cannot see. %s (gap %.1f dB) goes from rank %zu to rank %zu.",
        r->rows[worst->row].layer, worst->gap, worst->weights, worst->activations);
}

static vs_status draw(vs_chart_job *job, const vs_ranking_set *set, const vs_slope *slopes, size_t count, size_t flagged,
                      bool smooth, vs_error *err) {
    const vs_results *r = job->results;
    const vs_ranking *weights = ranking_of(set, "weights"), *activations = ranking_of(set, "activations");
    char *heading = vs_format("%s: what quantizing weights alone cannot see, %s", r->name,
                              r->recipe_names[smooth ? r->sq_recipe : r->ptq_recipe]);
    char *caption = caption_of(r, set, flagged);
    char *left = vs_format("by weights (%zu rows)", weights->count),
         *right = vs_format("by inputs (%zu rows)", activations->count);
    const vs_slopes figure = { .heading = heading,
                               .caption = caption,
                               .left_title = left,
                               .right_title = right,
                               .left_count = weights->count,
                               .right_count = activations->count,
                               .slopes = slopes,
                               .slope_count = count };
    vs_status status = heading && caption && left && right
                           ? vs_chart_emit(job, smooth ? "blind_spot.sq" : "blind_spot", NULL, &figure, err)
                           : vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    free(heading);
    free(caption);
    free(left);
    free(right);
    return status;
}

vs_status vs_chart_blind_spot(vs_chart_job *job, bool smooth, vs_error *err) {
    const vs_results *r = job->results;
    const vs_ranking_set *set = smooth ? &r->sq_rankings : &r->ptq_rankings;
    const vs_ranking *weights = ranking_of(set, "weights"), *activations = ranking_of(set, "activations");
    if ((smooth ? r->sq_recipe : r->ptq_recipe) == SIZE_MAX || !weights || !activations) return VS_OK;
    vs_slope *slopes = vs_calloc(weights->count + 1, sizeof *slopes);
    if (!slopes) return vs_fail(err, VS_ERR_NOMEM, "no memory for a chart");
    size_t count = 0, flagged = 0;
    for (size_t i = 0; i < weights->count; i++) {
        const size_t row = weights->rows[i], right = rank_of(activations, row);
        if (right == 0) continue;
        slopes[count] = (vs_slope){ r->rows[row].layer, i + 1, right, is_flagged(set, row) };
        flagged += slopes[count++].marked;
    }
    vs_status status = count ? draw(job, set, slopes, count, flagged, smooth, err) : VS_OK;
    free(slopes);
    return status;
}
