/* Tables in reports for people, as wide as there is room: columns without a value in any row are left out, then those that
 * matter least. A row is never broken. */
#ifndef VS_COLUMNS_H
#define VS_COLUMNS_H

#include "util/util.h"

enum { VS_MAX_COLUMNS = 20, VS_CELL = 64 };

typedef struct vs_column {
    const char *over, *head; /* two lines of heading; "" for none */
    int weight;              /* what matters least goes first; VS_STAYS never goes */
    bool left;               /* aligned; numbers stand at the right */
} vs_column;
enum { VS_STAYS = 1000 };

typedef struct vs_columns {
    vs_column columns[VS_MAX_COLUMNS];
    size_t count, rows, capacity, next; /* next: the column that the next cell goes to */
    char (*cells)[VS_CELL];             /* [rows * count] */
    bool failed;                        /* no memory */
} vs_columns;

/* Zero-initialise; all columns before the first cell. */
void vs_columns_add(vs_columns *c, vs_column column);
/* Row by row, left to right; NULL: there is no such value ("-" where another row has one). */
void vs_columns_cell(vs_columns *c, const char *text);
/* Appends the table, indented by two, in at most `width` characters a line, and frees what it took. */
void vs_columns_print(vs_columns *c, size_t width, vs_text *text);

/* A blank where no line is broken, if what it ties fits a line. */
enum { VS_TIED_BLANK = '\x1f' };
/* Lines longer than `width` are broken between words; what follows stands two further in. Tied blanks become
 * blanks. False: no memory. */
VS_NODISCARD bool vs_text_wrap(vs_text *text, size_t width);

#endif
