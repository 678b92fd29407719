/* Messages, signals and progress. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "util.h"

int vs_cli_fail(vs_status status, const vs_error *err) {
    fprintf(stderr, "vitscope: %s\n", err->message[0] ? err->message : vs_status_name(status));
    return vs_status_exit_code(status);
}

/* One line of text, whatever it holds. */
static void print_line(FILE *stream, const char *begin, const char *text) {
    char *shown = vs_printable_copy(text);
    fprintf(stream, "%s%s\n", begin, shown ? shown : "(no memory for a message)");
    free(shown);
}

void vs_cli_warn(const char *format, ...) {
    vs_error text = { 0 }; /* of a length that is enough for errors */
    va_list args;
    va_start(args, format);
    vsnprintf(text.message, sizeof text.message, format, args);
    va_end(args);
    print_line(stderr, "vitscope: warning: ", text.message);
}

void vs_cli_put(const char *text) {
    while (*text) {
        const size_t n = strcspn(text, "\n");
        char *line = vs_format("%.*s", (int)n, text), *shown = line ? vs_printable_copy(line) : NULL;
        fputs(shown ? shown : "(no memory for a line)", stdout);
        free(shown);
        free(line);
        text += n;
        if (*text == '\n') putchar(*text++);
    }
}

void vs_cli_name(const char *before, const char *name, const char *remark) {
    char *shown = vs_printable_copy(name);
    printf("%s%s", before, shown ? shown : "(no memory for a name)");
    if (remark) printf("  (%s)", remark);
    putchar('\n');
    free(shown);
}

void vs_cli_begin_output(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", O_RDONLY); /* takes this number; writing to it fails */
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

int vs_cli_end_output(int code) {
    errno = 0;
    const bool flushed = fflush(stdout) == 0, whole = !ferror(stdout); /* a write that failed earlier left its mark */
    if (flushed && whole) return code;
    fprintf(stderr, "vitscope: cannot write to standard output%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
    return code ? code : 1;
}

/* Set by the thread below, read by the workers. */
static vs_stop stop_requested;

/* Signals are waited for, not handled: a handler would run on a worker's stack in the middle of the matrix library's generated
 * code, which was seen to corrupt memory. The first signal asks to stop, the second ends the program. */
static void *wait_for_signals(void *context) {
    (void)context;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    for (int number = 0; sigwait(&signals, &number) == 0;) {
        if (atomic_exchange(&stop_requested, true)) _exit(128 + number);
    }
    return NULL;
}

const vs_stop *vs_cli_stop(void) {
    static bool watching; /* one watcher a process */
    if (watching) return &stop_requested;
    watching = true;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* threads made later inherit it */
    pthread_t watcher;
    if (pthread_create(&watcher, NULL, wait_for_signals, NULL) == 0)
        pthread_detach(watcher);
    else
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    return &stop_requested;
}

static void format_time(double seconds, char *text, size_t size) {
    if (seconds < 90)
        snprintf(text, size, "%.0f s", seconds);
    else if (seconds < 5400)
        snprintf(text, size, "%.0f min", seconds / 60);
    else
        snprintf(text, size, "%.1f h", seconds / 3600);
}

static void update(void *context, const char *stage, double done, size_t total) {
    vs_cli_progress *p = context;
    const double now = vs_now();
    if (p->stage == NULL || strcmp(p->stage, stage) != 0 || done < p->first) {
        if (p->stage && p->terminal && p->printed) fputc('\n', stderr);
        *p = (vs_cli_progress){
            .stage = stage, .start = now, .first = done, .terminal = p->terminal
        }; /* the clock starts with the first word of it */
    }
    const double every = p->terminal ? 0.2 : 15;
    const bool whole = !(done < (double)total);
    if (!whole && now - p->last < every && p->printed) return;
    if (!p->terminal && !p->printed && !whole && now - p->start < every) return;
    const double elapsed = now - p->start, rate = elapsed > 0 ? (done - p->first) / elapsed : 0;
    char left[32];
    format_time(rate > 0 ? ((double)total - done) / rate : 0, left, sizeof left);
    const char *unit = strstr(stage, "crops") || strstr(stage, ": runs") ? "" : " images"; /* these say so themselves */
    const int decimals = done == floor(done) ? 0 : 1;
    if (p->terminal)
        fprintf(stderr, "\r%-12s %.*f/%zu%s, %.1f/s, %s left \033[K", stage, decimals, done, total, unit, rate, left);
    else
        fprintf(stderr, "%s: %.*f/%zu%s, %.1f/s, %s left\n", stage, decimals, done, total, unit, rate, left);
    p->last = now;
    p->printed++;
}

static void end_line(vs_cli_progress *p) {
    if (p->terminal && p->printed) fputc('\n', stderr);
    p->printed = 0;
}

static void note(void *context, const char *text) {
    end_line(context);
    print_line(stderr, "", text);
}

static void warn(void *context, const char *text) {
    end_line(context);
    vs_cli_warn("%s", text);
}

vs_progress vs_cli_progress_begin(vs_cli_progress *p) {
    *p = (vs_cli_progress){ .terminal = isatty(STDERR_FILENO) != 0, .last = vs_now() };
    return (vs_progress){ .update = update, .note = note, .warn = warn, .context = p };
}

void vs_cli_progress_end(vs_cli_progress *p) { end_line(p); }

vs_study_options vs_cli_study_options(const vs_command_line *line, vs_cli_progress *progress) {
    return (vs_study_options){ .backend = line->backend,
                               .arithmetic = line->arithmetic,
                               .threads = line->threads,
                               .batch = line->batch,
                               .memory = line->gpu_memory,
                               .stop = vs_cli_stop(),
                               .progress = vs_cli_progress_begin(progress) };
}

/* VmHWM: getrusage would count what the parent held before exec, too (gigabytes below a Python with torch). */
static size_t peak_of_status(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kilobytes = 0;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtoull(line + 6, NULL, 10);
    if (file) (void)fclose(file);
    return (size_t)kilobytes * 1024;
}

size_t vs_cli_peak_bytes(void) {
    struct rusage usage;
    const size_t peak = peak_of_status();
    if (peak) return peak;
    memset(&usage, 0, sizeof usage);
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}
