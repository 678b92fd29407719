#include <stdio.h>

#include "vitscope/graph.h"

size_t vs_part_rows(const vs_row_part *p, size_t patches) { return p->count ? p->count : patches << 2 * p->level; }

size_t vs_rule_first(const vs_row_rule *r, size_t part, size_t patches) {
    size_t rows = 0;
    for (size_t i = 0; i < part; i++) rows += vs_part_rows(&r->parts[i], patches);
    return rows;
}

size_t vs_rule_rows(const vs_row_rule *r, size_t patches) { return r->times * vs_rule_first(r, r->part_count, patches); }

/* Names are words for people: a head may call patches pixels. */
static bool same_part(const vs_row_part *a, const vs_row_part *b) { return a->count == b->count && a->level == b->level; }

size_t vs_rule_find(const vs_row_rule *outer, const vs_row_rule *inner) {
    if (outer->times != inner->times) return VS_NONE;
    for (size_t first = 0; first + inner->part_count <= outer->part_count; first++) {
        size_t same = 0;
        while (same < inner->part_count && same_part(&outer->parts[first + same], &inner->parts[same])) same++;
        if (same == inner->part_count) return first;
    }
    return VS_NONE;
}

size_t vs_rule_patches(const vs_row_rule *r) {
    for (size_t i = 0; i < r->part_count; i++)
        if (r->parts[i].count == 0 && r->parts[i].level == 0) return i;
    return VS_NONE;
}

void vs_rule_name(const vs_row_rule *r, size_t row, size_t grid_w, char *text, size_t size) {
    size_t part = 0;
    while (part + 1 < r->part_count && r->parts[part].count && row >= r->parts[part].count) row -= r->parts[part++].count;
    const vs_row_part *p = &r->parts[part];
    const size_t width = grid_w << p->level;
    if (p->count == 0)
        (void)snprintf(text, size, "%s(%zu,%zu)", p->name, row / width, row % width);
    else if (p->numbered)
        (void)snprintf(text, size, "%s%zu", p->name, row);
    else
        (void)snprintf(text, size, "%s", p->name);
}
