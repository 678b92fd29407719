/* Progress on stderr: on a terminal one line that is rewritten, twice a second even where nothing is heard; elsewhere a line a
 * stage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "util/util.h"

enum { LINE = 512, WORDS = 1024 };
static const double redraw = 0.1; /* seconds between two words of a stage, at least */
static const double patience = 2; /* seconds after which a stage is named where there is no terminal */

/* ---- what is on the screen; with the lock */

static void clear(vs_cli_progress *p) {
    if (!p->shown) return;
    fputs(p->terminal ? "\r\033[K" : "\n", stderr);
    p->shown = false;
}

static void draw(vs_cli_progress *p, double now) {
    char text[LINE];
    if (!p->line.stage || p->quiet) return;
    if (!p->terminal) { /* the rest of the line comes when the stage is over */
        if (p->shown || now - p->line.begun < patience) return;
        vs_progress_line_head(&p->line, text, sizeof text);
        fputs(text, stderr);
    } else {
        if (p->shown && now - p->drawn < redraw) return;
        vs_progress_line_text(&p->line, now, vs_cli_columns(STDERR_FILENO) - 1, text, sizeof text);
        fprintf(stderr, "\r%s\033[K", text);
    }
    p->shown = true;
    p->drawn = now;
    fflush(stderr);
}

/* The stage is over: what it took stays, but on a terminal. */
static void close_stage(vs_cli_progress *p) {
    char head[LINE], tail[LINE];
    if (!p->line.stage || p->quiet || p->terminal) return;
    vs_progress_line_head(&p->line, head, sizeof head);
    vs_progress_line_tail(&p->line, vs_now(), tail, sizeof tail);
    fprintf(stderr, "%s%s\n", p->shown ? "" : head, tail);
    p->shown = false;
}

/* ---- told by the study, one thread at a time */

static void *watch(void *context) {
    vs_cli_progress *p = context;
    pthread_mutex_lock(&p->lock);
    while (!p->over) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 500000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&p->ended, &p->lock, &until);
        if (!p->over) draw(p, vs_now());
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void stage(void *context, size_t index, size_t count, const char *name) {
    vs_cli_progress *p = context;
    pthread_mutex_lock(&p->lock);
    const bool same = p->line.stage && strcmp(p->line.stage, name) == 0;
    if (!same) {
        close_stage(p);
        vs_progress_line_begin(&p->line, index, count, name, vs_now());
    }
    p->line.index = index; /* the first stage learns its number late */
    p->line.count = count;
    draw(p, vs_now());
    if (!p->watched && !p->quiet) p->watched = pthread_create(&p->watcher, NULL, watch, p) == 0;
    pthread_mutex_unlock(&p->lock);
}

static void update(void *context, const char *part, double done, size_t total) {
    vs_cli_progress *p = context;
    const double now = vs_now();
    pthread_mutex_lock(&p->lock);
    if (!p->line.stage) vs_progress_line_begin(&p->line, 0, 0, part, now);
    vs_progress_line_update(&p->line, part, done, total, now);
    draw(p, now);
    pthread_mutex_unlock(&p->lock);
}

static void note(void *context, const char *text) {
    vs_cli_progress *p = context;
    char lines[WORDS];
    if (p->quiet) return;
    if (p->said) {
        if (vs_names_have(p->said, text)) return;
        (void)!vs_names_add(p->said, text, NULL); /* at worst it is said again */
    }
    vs_progress_wrap(text, p->terminal ? vs_cli_columns(STDERR_FILENO) - 1 : sizeof lines, lines, sizeof lines);
    pthread_mutex_lock(&p->lock);
    clear(p);
    for (char *line = lines; line;) {
        char *end = strchr(line, '\n');
        if (end) *end++ = '\0';
        vs_cli_say(line);
        line = end;
    }
    draw(p, vs_now());
    pthread_mutex_unlock(&p->lock);
}

static void warn(void *context, const char *text) {
    vs_cli_progress *p = context;
    pthread_mutex_lock(&p->lock);
    clear(p);
    vs_cli_warn("%s", text);
    draw(p, vs_now());
    pthread_mutex_unlock(&p->lock);
}

vs_progress vs_cli_progress_begin(vs_cli_progress *p, bool quiet) {
    *p = (vs_cli_progress){ .terminal = isatty(STDERR_FILENO) != 0, .quiet = quiet };
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->ended, NULL);
    return (vs_progress){ .stage = stage, .update = update, .note = note, .warn = warn, .context = p };
}

void vs_cli_progress_end(vs_cli_progress *p, bool done) {
    if (p->over) return;
    pthread_mutex_lock(&p->lock);
    if (done) close_stage(p);
    clear(p);
    p->line = (vs_progress_line){ 0 };
    p->over = true;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
    if (p->watched) pthread_join(p->watcher, NULL);
    pthread_cond_destroy(&p->ended);
    pthread_mutex_destroy(&p->lock);
}
