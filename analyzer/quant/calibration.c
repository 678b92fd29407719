#include <math.h>
#include <stdlib.h>

#include "quant/quant.h"
#include "util/util.h"

size_t vs_site_index(vs_kind kind, int block) {
    if (kind == VS_KIND_PATCH_EMBED) return 0;
    if (vs_kind_is_head(kind)) return 1 + (size_t)(kind - VS_KIND_HEAD);
    if (block < 0 || kind < VS_KIND_QKV || kind > VS_KIND_FC2) return SIZE_MAX;
    return VS_OUTER_SITES + (size_t)block * VS_BLOCK_SITES + (size_t)(kind - VS_KIND_QKV);
}

size_t vs_site_count(size_t depth) { return VS_OUTER_SITES + depth * VS_BLOCK_SITES; }

/* Channels of what a site reads, 0 where nothing is calibrated. */
static size_t channels_of(const vs_arch *arch, size_t site) {
    if (site == vs_site_index(VS_KIND_PATCH_EMBED, -1)) return 3 * arch->patch * arch->patch;
    if (site == vs_site_index(VS_KIND_HEAD, -1)) return arch->head_width;
    if (site < VS_OUTER_SITES) { /* EoMT's other linears, as many as there are */
        const size_t upscale = vs_site_index(VS_KIND_UP1, -1);
        return arch->head == VS_HEAD_EOMT && site < upscale + arch->upscales ? arch->width : 0;
    }
    const size_t kind = VS_KIND_QKV + (site - VS_OUTER_SITES) % VS_BLOCK_SITES;
    return kind == VS_KIND_P ? 0 : kind == VS_KIND_FC2 ? arch->hidden : arch->width;
}

vs_status vs_calibration_create(vs_calibration **out, const vs_arch *arch, vs_error *err) {
    *out = NULL;
    vs_calibration *c = vs_calloc(1, sizeof *c);
    if (c) c->ranges = vs_calloc(vs_site_count(arch->depth), sizeof *c->ranges);
    if (!c || !c->ranges) goto nomem;
    c->depth = arch->depth;
    for (size_t i = 0; i < vs_site_count(arch->depth); i++) {
        vs_channel_range *r = &c->ranges[i];
        r->channels = channels_of(arch, i);
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
    for (size_t i = 0; c->ranges && i < vs_site_count(c->depth); i++) free(c->ranges[i].lo);
    free(c->ranges);
    free(c);
}

vs_channel_range *vs_calibration_range(const vs_calibration *c, vs_kind kind, int block) {
    const size_t i = vs_site_index(kind, block);
    return i < vs_site_count(c->depth) && c->ranges[i].channels ? &c->ranges[i] : NULL;
}

void vs_calibration_observe(vs_calibration *c, const vs_backend *backend, const vs_tap *tap) {
    vs_channel_range *r = tap->input ? vs_calibration_range(c, tap->kind, tap->block) : NULL;
    if (r) backend->ops->channel_minmax(backend, tap->x, r->lo, r->hi);
}

void vs_calibration_merge(vs_calibration *into, const vs_calibration *from) {
    into->images += from->images;
    for (size_t i = 0; i < vs_site_count(into->depth); i++)
        for (size_t j = 0; j < into->ranges[i].channels; j++) {
            const double lo = from->ranges[i].lo[j], hi = from->ranges[i].hi[j];
            if (!(lo >= into->ranges[i].lo[j])) into->ranges[i].lo[j] = lo;
            if (!(hi <= into->ranges[i].hi[j])) into->ranges[i].hi[j] = hi;
        }
}
