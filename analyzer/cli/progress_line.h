/* What a line of progress says, without clock, terminal or thread: times and widths are the caller's. */
#ifndef VS_PROGRESS_LINE_H
#define VS_PROGRESS_LINE_H

#include <stdbool.h>
#include <stddef.h>

/* A stage, and the part of it that is at work. Zero-initialise; strings are borrowed for as long as the stage lasts. */
typedef struct vs_progress_line {
    size_t index, count; /* of the stage; 0: unknown */
    const char *stage;
    char part[64]; /* what the stage does just now, "" where it has no parts */
    double done;   /* images of the part */
    size_t total;  /* of them; 0: unknown */
    double begun;  /* the stage, seconds */
    double since;  /* the part */
    double heard;  /* the last word of it */
    double rate;   /* images a second over the part; 0: not known yet */
    double ends;   /* when the part will be done, smoothed; 0: not known yet */
    size_t most;   /* images of the largest part that is over */
} vs_progress_line;

void vs_progress_line_begin(vs_progress_line *line, size_t index, size_t count, const char *stage, double now);
void vs_progress_line_update(vs_progress_line *line, const char *part, double done, size_t total, double now);
/* "3/8 evaluation: 12/64 images, 3.1/s, 17 s left" in at most `columns` characters: what matters least goes first. */
void vs_progress_line_text(const vs_progress_line *line, double now, size_t columns, char *text, size_t size);
/* "3/8 evaluation", and what stands behind it when the stage is over: ": 64 images, 21 s". */
void vs_progress_line_head(const vs_progress_line *line, char *text, size_t size);
void vs_progress_line_tail(const vs_progress_line *line, double now, char *text, size_t size);
/* The words in lines of at most `columns` characters; text[size] gets '\n' between them, none at the end. */
void vs_progress_wrap(const char *words, size_t columns, char *text, size_t size);

#endif
