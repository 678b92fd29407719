/* The first bad row and the chain behind it (docs/fp16-reference.md 4.2). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose/half_diag_inside.h"
#include "util/util.h"

static const double GOOD = 40, WORSE = 6, OVERFLOWS = 65520; /* dB; dB; what rounds to infinity */

/* Below 40 dB, and more than 6 dB under the worst of what it reads. */
static bool is_bad(const vs_half_rows *rows, const vs_half_probe *probe, const bool *present, size_t row) {
    if (vs_half_is_outside(rows, row)) return false;
    if (!present[row] || !(probe->rows[row].sqnr < GOOD)) return false;
    size_t from[VS_HALF_READS];
    const size_t count = vs_half_reads(rows, present, row, from);
    double worst = HUGE_VAL;
    for (size_t i = 0; i < count; i++) worst = fmin(worst, probe->rows[from[i]].sqnr);
    return !(probe->rows[row].sqnr >= worst - WORSE);
}

vs_status vs_diag_first_bad(vs_diag_bad *bad, const vs_half_rows *rows, const vs_half_probe *probe, vs_error *err) {
    const size_t n = vs_half_row_count(rows);
    *bad = (vs_diag_bad){ .row = SIZE_MAX };
    for (size_t i = 0; i < n && bad->row == SIZE_MAX; i++) {
        const vs_half_probe_row *r = &probe->rows[i];
        if (r->inf || r->cast_inf) *bad = (vs_diag_bad){ i, "overflow", r->inf ? r->max : r->cast_max };
    }
    for (size_t i = 0; i < n && bad->row == SIZE_MAX; i++)
        if (probe->rows[i].nan) *bad = (vs_diag_bad){ i, "nan", (double)probe->rows[i].nan };
    if (bad->row != SIZE_MAX || !probe->output.present || vs_half_probe_reaches(probe, GOOD)) return VS_OK;
    bool *present = vs_calloc(n, sizeof *present);
    if (!present) return vs_fail(err, VS_ERR_NOMEM, "no memory for half-precision rows");
    for (size_t i = 0; i < n; i++) present[i] = probe->rows[i].seen;
    for (size_t i = 0; i < n && bad->row == SIZE_MAX; i++)
        if (is_bad(rows, probe, present, i)) *bad = (vs_diag_bad){ i, "sqnr", probe->rows[i].sqnr };
    free(present);
    return VS_OK;
}

vs_status vs_diag_chain(vs_diag *d, vs_diag_bad bad, vs_error *err) {
    vs_fp16_diagnosis *o = d->out;
    const double largest = d->options->model->weights->format == VS_HALF_FP16 ? OVERFLOWS : 0;
    unsigned wide = 0;
    vs_status status = VS_OK;
    o->chain = vs_calloc(VS_CLASS_COUNT, sizeof *o->chain);
    if (!o->chain) return vs_fail(err, VS_ERR_NOMEM, "no memory for the chain of bad rows");
    while (status == VS_OK && bad.row != SIZE_MAX && !(wide >> d->classes[bad.row] & 1u)) {
        vs_fp16_link *link = &o->chain[o->chain_count++];
        vs_half_probe probe;
        link->why = bad.why;
        link->value = bad.value;
        link->class_name = vs_half_class_names[d->classes[bad.row]];
        vs_diag_row_name(d, bad.row, link->row, sizeof link->row);
        wide |= 1u << d->classes[bad.row];
        for (size_t i = 0; i < d->rows; i++) d->mask[i] = wide >> d->classes[i] & 1u;
        status = vs_diag_run(&probe, d, true, largest, err);
        if (status == VS_OK && probe.output.present) d->sets[wide & vs_diag_classes(d)] = vs_diag_sqnr(&probe);
        if (status == VS_OK) status = vs_diag_first_bad(&bad, d->graph_rows, &probe, err);
        vs_half_probe_release(&probe);
    }
    return status;
}
