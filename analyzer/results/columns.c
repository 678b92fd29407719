#include "results/columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INDENT = 2, HANGING = 2, WIDE_GAP = 2 };

void vs_columns_add(vs_columns *c, vs_column column) {
    if (c->count < VS_MAX_COLUMNS) c->columns[c->count++] = column;
}

void vs_columns_cell(vs_columns *c, const char *text) {
    if (c->failed || !c->count) return;
    if (c->next == 0 && !vs_grow((void **)&c->cells, &c->capacity, (c->rows + 1) * c->count, sizeof *c->cells)) {
        c->failed = true;
        return;
    }
    snprintf(c->cells[c->rows * c->count + c->next], VS_CELL, "%s", text ? text : "");
    c->next = (c->next + 1) % c->count;
    c->rows += c->next == 0;
}

static const char *cell_of(const vs_columns *c, size_t row, size_t column) { return c->cells[row * c->count + column]; }

/* 0: no row has a value there. */
static size_t width_of(const vs_columns *c, size_t column) {
    size_t most = 0;
    for (size_t r = 0; r < c->rows; r++) {
        const size_t n = strlen(cell_of(c, r, column));
        if (n > most) most = n;
    }
    const size_t over = strlen(c->columns[column].over), head = strlen(c->columns[column].head),
                 heads = over > head ? over : head;
    return most == 0 ? 0 : most > heads ? most : heads;
}

static size_t total(const vs_columns *c, const size_t *widths, size_t gap) {
    size_t sum = INDENT, shown = 0;
    for (size_t i = 0; i < c->count; i++) {
        sum += widths[i];
        shown += widths[i] > 0;
    }
    return sum + (shown ? shown - 1 : 0) * gap;
}

static void fit(const vs_columns *c, size_t *widths, size_t width) {
    while (total(c, widths, 1) > width) {
        size_t least = c->count;
        for (size_t i = 0; i < c->count; i++)
            if (widths[i] && c->columns[i].weight < VS_STAYS &&
                (least == c->count || c->columns[i].weight <= c->columns[least].weight))
                least = i;
        if (least == c->count) return;
        widths[least] = 0;
    }
}

/* Nothing stands behind the last cell. */
static void add_line(const vs_columns *c, const size_t *widths, size_t gap, const char *const *cells, vs_text *t) {
    size_t blanks = INDENT;
    for (size_t i = 0; i < c->count; i++) {
        if (!widths[i]) continue;
        const size_t n = strlen(cells[i]), pad = widths[i] - n;
        if (!c->columns[i].left) blanks += pad;
        if (n) vs_text_add(t, "%*s%s", (int)blanks, "", cells[i]);
        blanks = (n ? 0 : blanks + n) + (c->columns[i].left ? pad : 0) + gap;
    }
    while (!t->failed && t->size && t->bytes[t->size - 1] == ' ') t->bytes[--t->size] = '\0';
    vs_text_add(t, "\n");
}

void vs_columns_print(vs_columns *c, size_t width, vs_text *t) {
    size_t widths[VS_MAX_COLUMNS] = { 0 };
    const char *line[VS_MAX_COLUMNS];
    bool over = false;
    t->failed |= c->failed;
    for (size_t i = 0; i < c->count; i++) widths[i] = width_of(c, i);
    fit(c, widths, width);
    const size_t gap = total(c, widths, WIDE_GAP) <= width ? WIDE_GAP : 1;
    for (size_t i = 0; i < c->count; i++) over |= widths[i] && *c->columns[i].over;
    for (size_t k = over ? 0 : 1; k < 2; k++) {
        for (size_t i = 0; i < c->count; i++) line[i] = k ? c->columns[i].head : c->columns[i].over;
        add_line(c, widths, gap, line, t);
    }
    for (size_t r = 0; r < c->rows && !c->failed; r++) {
        for (size_t i = 0; i < c->count; i++) {
            const char *cell = cell_of(c, r, i);
            line[i] = *cell || c->columns[i].left ? cell : "-";
        }
        add_line(c, widths, gap, line, t);
    }
    free(c->cells);
    *c = (vs_columns){ 0 };
}

/* One line of `size` characters, without its end. */
static void wrap_line(const char *line, size_t size, size_t width, vs_text *out) {
    const size_t indent = strspn(line, " ");
    size_t column = 0;
    if (size <= width || indent >= size) {
        vs_text_add(out, "%.*s\n", (int)size, line);
        return;
    }
    for (size_t i = indent; i < size;) {
        const size_t blanks = strspn(line + i, " \x1f"), whole = strcspn(line + i + blanks, " \n");
        const bool fits = indent + HANGING + whole <= width; /* what no line can hold is broken even where it is tied */
        const size_t word = fits ? whole : strcspn(line + i + blanks, " \x1f\n");
        const size_t gap = column ? blanks : indent;
        if (column && column + gap + word > width) {
            vs_text_add(out, "\n");
            vs_text_add(out, "%*s%.*s", (int)(indent + HANGING), "", (int)word, line + i + blanks);
            column = indent + HANGING + word;
        } else {
            vs_text_add(out, "%*s%.*s", (int)gap, "", (int)word, line + i + blanks);
            column += gap + word;
        }
        i += blanks + word;
    }
    vs_text_add(out, "\n");
}

bool vs_text_wrap(vs_text *t, size_t width) {
    vs_text out = { 0 };
    for (const char *line = t->bytes; line && *line;) {
        const size_t n = strcspn(line, "\n");
        wrap_line(line, n, width, &out);
        line += n + (line[n] == '\n');
    }
    for (size_t i = 0; i < out.size; i++)
        if (out.bytes[i] == VS_TIED_BLANK) out.bytes[i] = ' ';
    out.failed |= t->failed;
    free(t->bytes);
    *t = out;
    return !out.failed;
}
