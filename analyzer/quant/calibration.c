#include <math.h>
#include <stdlib.h>

#include "quant/quant.h"
#include "util/util.h"

/* Channels of what a site reads, 0 where nothing is calibrated: probabilities have a range of their own. */
static size_t channels_of(const vs_graph *g, size_t site) {
    const vs_value *x = &g->values[g->nodes[g->sites[site].node].in[0]];
    return x->optional ? 0 : x->cols.fixed;
}

vs_status vs_calibration_create(vs_calibration **out, const vs_graph *g, vs_error *err) {
    *out = NULL;
    vs_calibration *c = vs_calloc(1, sizeof *c);
    if (c) c->ranges = vs_calloc(g->site_count, sizeof *c->ranges);
    if (!c || !c->ranges) goto nomem;
    c->count = g->site_count;
    for (size_t i = 0; i < c->count; i++) {
        vs_channel_range *r = &c->ranges[i];
        r->channels = channels_of(g, i);
        if (r->channels == 0) continue;
        r->lo = vs_calloc(2 * r->channels, sizeof *r->lo);
        if (!r->lo) goto nomem;
        r->hi = r->lo + r->channels;
        for (size_t j = 0; j < r->channels; j++) {
            r->lo[j] = HUGE_VAL;
            r->hi[j] = -HUGE_VAL;
        }
    }
    *out = c;
    return VS_OK;
nomem:
    vs_calibration_free(c);
    return vs_fail(err, VS_ERR_NOMEM, "no memory for calibration ranges");
}

void vs_calibration_free(vs_calibration *c) {
    if (!c) return;
    for (size_t i = 0; c->ranges && i < c->count; i++) free(c->ranges[i].lo);
    free(c->ranges);
    free(c);
}

vs_channel_range *vs_calibration_range(const vs_calibration *c, size_t site) {
    return site < c->count && c->ranges[site].channels ? &c->ranges[site] : NULL;
}

void vs_calibration_observe(vs_calibration *c, const vs_graph *g, const vs_backend *backend, const vs_tap *tap) {
    vs_channel_range *r = tap->input ? vs_calibration_range(c, g->nodes[tap->node].site) : NULL;
    if (r) backend->ops->channel_minmax(backend, tap->x, r->lo, r->hi);
}

void vs_calibration_merge(vs_calibration *into, const vs_calibration *from) {
    into->images += from->images;
    for (size_t i = 0; i < into->count; i++)
        for (size_t j = 0; j < into->ranges[i].channels; j++) {
            const double lo = from->ranges[i].lo[j], hi = from->ranges[i].hi[j];
            if (!(lo >= into->ranges[i].lo[j])) into->ranges[i].lo[j] = lo;
            if (!(hi <= into->ranges[i].hi[j])) into->ranges[i].hi[j] = hi;
        }
}
