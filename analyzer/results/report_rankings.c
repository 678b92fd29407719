/* ranking.<mode>.txt: lists that quantization tools and people take. */
#include <stdio.h>
#include <stdlib.h>

#include "results/report.h"

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

/* ranking.fp16.<policy>.txt: what to keep in float32, in execution order. */
static vs_status write_keep(const vs_results *r, const vs_fp16_policy *p, const char *dir, vs_error *err) {
    const vs_fp16_diagnosis *g = &p->diagnosis;
    vs_text t = { 0 };
    vs_text_add(&t, "# run: %s\n# mode: %s, policy %s: rows to keep in float32%s\n", r->name, r->fp16.format, p->name,
                g->reached ? "" : "; THEY DO NOT REACH THE TARGET");
    vs_text_add(&t, "# cause: %s\n# rank\trow\treason\n", g->words);
    for (size_t i = 0; i < g->keep_count; i++)
        vs_text_add(&t, "%zu\t%s\t%s\n", i + 1, g->keep[i].row, g->keep[i].needed ? "needed" : "headroom");
    char name[192];
    snprintf(name, sizeof name, "ranking.fp16.%s.txt", p->name);
    vs_status status =
        t.failed ? vs_fail(err, VS_ERR_NOMEM, "no memory for a keep list") : vs_report_write(dir, name, t.bytes, t.size, err);
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

vs_status vs_report_keep_lists(const vs_results *r, const char *dir, vs_error *err) {
    vs_status status = VS_OK;
    for (size_t i = 0; i < r->fp16.policy_count && status == VS_OK; i++)
        if (r->fp16.policies[i].diagnosis.present) status = write_keep(r, &r->fp16.policies[i], dir, err);
    return status;
}
