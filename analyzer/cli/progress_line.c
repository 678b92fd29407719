#include "cli/progress_line.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double settled = 2;    /* seconds after which a rate is one */
static const double smoothing = 10; /* seconds that an estimate takes to follow */

static void format_time(double seconds, char *text, size_t size) {
    if (seconds < 9.95 && floor(seconds) < seconds)
        snprintf(text, size, "%.1f s", seconds);
    else if (seconds < 90)
        snprintf(text, size, "%.0f s", seconds);
    else if (seconds < 5400)
        snprintf(text, size, "%.0f min", seconds / 60);
    else
        snprintf(text, size, "%.1f h", seconds / 3600);
}

/* Parts mostly look at the same images. */
static void finish_part(vs_progress_line *l) {
    const size_t images = l->total ? (size_t)l->done : 0;
    if (images > l->most) l->most = images;
}

void vs_progress_line_begin(vs_progress_line *l, size_t index, size_t count, const char *stage, double now) {
    *l = (vs_progress_line){ .index = index, .count = count, .stage = stage, .begun = now, .since = now, .heard = now };
}

void vs_progress_line_update(vs_progress_line *l, const char *part, double done, size_t total, double now) {
    if (strncmp(l->part, part, sizeof l->part - 1) != 0 || total != l->total || done < l->done) {
        finish_part(l);
        snprintf(l->part, sizeof l->part, "%s", part);
        l->total = total;
        l->since = l->heard; /* its first images took the time since the last word */
        l->rate = l->ends = 0;
    }
    const double elapsed = now - l->since, step = now - l->heard;
    l->done = done;
    l->heard = now;
    if (total == 0 || !(done >= 1) || elapsed < settled) return;
    l->rate = done / elapsed;
    const double ends = now + ((double)total - done) / l->rate;
    l->ends = l->ends > 0 ? l->ends + (1 - exp(-step / smoothing)) * (ends - l->ends) : ends;
}

/* The part's name where it says more than the stage's. */
static void what_of(const vs_progress_line *l, char *text, size_t size) {
    const size_t n = l->stage ? strlen(l->stage) : 0;
    if (!l->part[0] || !n || strncmp(l->part, l->stage, n) == 0)
        snprintf(text, size, "%s", l->part[0] ? l->part : l->stage ? l->stage : "");
    else
        snprintf(text, size, "%s, %s", l->stage, l->part);
}

static void numbered(const vs_progress_line *l, const char *what, char *text, size_t size) {
    if (l->count)
        snprintf(text, size, "%zu/%zu %s", l->index, l->count, what);
    else
        snprintf(text, size, "%s", what);
}

void vs_progress_line_text(const vs_progress_line *l, double now, size_t columns, char *text, size_t size) {
    char what[160], head[200], count[64] = "", rate[40] = "", left[48] = "", unit[16] = "";
    what_of(l, what, sizeof what);
    numbered(l, what, head, sizeof head);
    if (l->total) {
        snprintf(count, sizeof count, ": %.0f/%zu", floor(l->done), l->total);
        if (!strstr(l->part, "crops")) snprintf(unit, sizeof unit, " images"); /* those say so themselves */
    } else if (strcmp(l->part, "pictures") == 0)
        snprintf(count, sizeof count, ": %.0f drawn", l->done);
    else if (l->part[0])
        snprintf(count, sizeof count, ": %.0f run%s", floor(l->done), l->done < 2 ? "" : "s");
    if (l->total && l->rate > 0) snprintf(rate, sizeof rate, ", %.3g/s", l->rate);
    if (l->total && l->ends > 0 && l->done < (double)l->total) {
        char time[32];
        format_time(l->ends - now < 1 ? 1 : floor(l->ends - now), time, sizeof time);
        snprintf(left, sizeof left, ", %s left", time);
    } else if (!(l->ends > 0) && now - l->begun >= 1) /* that it goes on is all there is to say: in seconds, which move */
        snprintf(left, sizeof left, ", %.0f s", floor(now - l->begun));
    const char *const ways[][4] = {
        { count, unit, rate, left }, { count, unit, "", left }, { count, "", "", left }, { count, "", "", "" }, { "", "", "", "" }
    };
    const size_t timed = 3; /* the time shows that it goes on: the stage's name before the part's gives way first */
    for (size_t i = 0; i < 2 * timed; i++) {
        if (i == timed) numbered(l, l->part[0] ? l->part : what, head, sizeof head);
        const char *const *way = i == 2 * timed - 1 ? (const char *const[]){ "", "", "", left } : ways[i % timed];
        snprintf(text, size, "%s%s%s%s%s", head, way[0], way[1], way[2], way[3]);
        if (strlen(text) <= columns) return;
    }
    numbered(l, what, head, sizeof head);
    for (size_t i = timed; i < sizeof ways / sizeof *ways; i++) {
        snprintf(text, size, "%s%s%s%s%s", head, ways[i][0], ways[i][1], ways[i][2], ways[i][3]);
        if (strlen(text) <= columns) return;
    }
    if (columns < size) text[columns] = '\0';
}

void vs_progress_line_head(const vs_progress_line *l, char *text, size_t size) {
    numbered(l, l->stage ? l->stage : "", text, size);
}

void vs_progress_line_tail(const vs_progress_line *l, double now, char *text, size_t size) {
    const size_t last = l->total ? (size_t)l->done : 0, images = last > l->most ? last : l->most;
    const bool crops = strstr(l->part, "crops") != NULL;
    char time[32];
    format_time(now - l->begun, time, sizeof time);
    if (images)
        snprintf(text, size, ": %zu %s%s, %s", images, crops ? "crop" : "image", images == 1 ? "" : "s", time);
    else
        snprintf(text, size, ": %s", time);
}

void vs_progress_wrap(const char *words, size_t columns, char *text, size_t size) {
    size_t column = 0, used = 0;
    while (*words && used + 1 < size) {
        const size_t n = strcspn(words, " ");
        const bool breaks = column && column + 1 + n > columns;
        const int wrote = snprintf(text + used, size - used, "%s%.*s", breaks ? "\n" : column ? " " : "", (int)n, words);
        if (wrote < 0 || (size_t)wrote >= size - used) return;
        used += (size_t)wrote;
        column = breaks || !column ? n : column + 1 + n;
        words += n;
        words += strspn(words, " ");
    }
    text[used < size ? used : size - 1] = '\0';
}
