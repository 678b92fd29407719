/* ranking.<mode>.txt: lists that quantization tools and people take. */
#include <stdio.h>
#include <stdlib.h>

#include "report.h"

static vs_status write_ranking(const vs_results *r, const vs_ranking *k, const char *recipe, const char *suffix, const char *dir,
                               vs_error *err) {
    vs_text t = { 0 };
    vs_text_add(&t, "# run: %s\n# mode: %s, recipe %s\n# unit: %s\n# polarity: worst first; %s\n# rank\tlayer\tvalue\n", r->name,
                k->mode, recipe, k->unit, k->polarity);
    for (size_t i = 0; i < k->count; i++) {
        char number[40];
        vs_report_number(number, sizeof number, k->values[i], vs_report_digits(r));
        vs_text_add(&t, "%zu\t%s\t%s\n", i + 1, r->rows[k->rows[i]].layer, number);
    }
    char name[64];
    snprintf(name, sizeof name, "ranking.%s%s.txt", k->mode, suffix);
    vs_status status =
        t.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a ranking") : vs_report_write(dir, name, t.bytes, t.size, err);
    free(t.bytes);
    return status;
}

vs_status vs_report_rankings(const vs_results *r, const char *dir, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < r->ptq_rankings.ranking_count && status == VS_OK; i++)
        status = write_ranking(r, &r->ptq_rankings.rankings[i], r->recipe_names[r->ptq_recipe], "", dir, err);
    for (size_t i = 0; i < r->sq_rankings.ranking_count && status == VS_OK; i++)
        status = write_ranking(r, &r->sq_rankings.rankings[i], r->recipe_names[r->sq_recipe], ".sq", dir, err);
    return status;
}
