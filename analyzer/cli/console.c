/* Messages, signals and what the machine says of itself. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress_line.h"
#include "util/util.h"

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

void vs_cli_say(const char *text) { print_line(stderr, "", text); }

/* COLUMNS, which a user may set; else the terminal's own; else 80. */
size_t vs_cli_columns(int descriptor) {
    enum { USUAL = 80, LEAST = 40, MOST = 1000 };
    const char *given = getenv("COLUMNS");
    char *end = NULL;
    const unsigned long columns = given ? strtoul(given, &end, 10) : 0;
    struct winsize size;
    if (given && end != given && *end == '\0' && columns >= LEAST && columns <= MOST) return (size_t)columns;
    if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col >= LEAST) return size.ws_col;
    return USUAL;
}

void vs_cli_paragraph(const char *text) {
    enum { ROOM = 1024 };
    char lines[ROOM];
    vs_progress_wrap(text, vs_cli_columns(STDOUT_FILENO), lines, sizeof lines);
    puts(lines);
}

void vs_cli_item(const char *item, size_t width, const char *text) {
    enum { ROOM = 1024, NARROW = 60, STEP = 6 };
    char lines[ROOM];
    const size_t columns = vs_cli_columns(STDOUT_FILENO), indent = columns < NARROW ? STEP : width + 3;
    vs_progress_wrap(text, columns - indent, lines, sizeof lines);
    if (columns < NARROW)
        printf("  %s\n%*s", item, STEP, "");
    else
        printf("  %-*s ", (int)width, item);
    for (const char *line = lines; *line;) {
        const size_t n = strcspn(line, "\n");
        printf("%.*s\n", (int)n, line);
        line += n;
        if (*line == '\n') printf("%*s", (int)indent, "");
        line += *line == '\n';
    }
}

vs_study_options vs_cli_study_options(const vs_command_line *line, vs_cli_progress *progress) {
    return (vs_study_options){ .backend = line->backend,
                               .arithmetic = line->arithmetic,
                               .threads = line->threads,
                               .batch = line->batch,
                               .memory = line->gpu_memory,
                               .stop = vs_cli_stop(),
                               .progress = vs_cli_progress_begin(progress, line->quiet) };
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
