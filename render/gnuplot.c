#include "render/gnuplot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/util.h"

void vs_script_quote_n(vs_text *s, const char *text, size_t n) {
    vs_text_add(s, "'");
    for (size_t i = 0; i < n;) {
        const size_t length = vs_utf8_size(text + i, n - i);
        if (length == 0)
            vs_text_add(s, "?"); /* a broken byte would make the SVG no XML */
        else if (text[i] == '\'')
            vs_text_add(s, "''");
        else if (length == 1)
            vs_text_add(s, "%c", (unsigned char)text[i] < ' ' || text[i] == 127 ? ' ' : text[i]);
        else
            vs_text_add(s, "%.*s", (int)length, text + i);
        i += length ? length : 1;
    }
    vs_text_add(s, "'");
}

void vs_script_quote(vs_text *s, const char *text) { vs_script_quote_n(s, text, strlen(text)); }

/* In double quotes gnuplot knows octal escapes, and runs what stands in backquotes: nothing but plain characters goes in as it
 * is. */
void vs_script_path(vs_text *s, const char *path) {
    vs_text_add(s, "\"");
    for (const char *p = path; *p; p++)
        if (isalnum((unsigned char)*p) || strchr("/._-", *p))
            vs_text_add(s, "%c", *p);
        else
            vs_text_add(s, "\\%03o", (unsigned)(unsigned char)*p);
    vs_text_add(s, "\"");
}

/* Child, in a process group of its own, so that Ctrl-C at the terminal is the parent's to hear; stdin from the pipe, stderr to a
 * file, stdout nowhere; errno of a failed exec goes back through `report`. */
static void become(const char *program, int in, int complaints, int report) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0);
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(complaints, STDERR_FILENO) >= 0 && nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0)
        execlp(program, program, "-d", (char *)NULL); /* -d: no start-up file of the user */
    const int code = errno;
    (void)!write(report, &code, sizeof code);
    _exit(127);
}

/* A reader that went away gives EPIPE instead of a signal; the process's own disposition stays as it is. */
static bool write_all(int fd, const char *bytes, size_t size) {
    sigset_t pipe_signal, was;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &was);
    bool ok = true;
    while (size > 0 && ok) {
        const ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR) continue;
        ok = n >= 0;
        if (ok) {
            bytes += n;
            size -= (size_t)n;
        }
    }
    if (!ok && errno == EPIPE) {
        const struct timespec now = { 0, 0 };
        sigtimedwait(&pipe_signal, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    return ok;
}

/* gnuplot echoes the line, points at the place with a caret, then says what is wrong: the last line counts. */
static void complaint(FILE *from, char *text, size_t size) {
    char line[300];
    text[0] = '\0';
    rewind(from);
    while (fgets(line, sizeof line, from)) {
        line[strcspn(line, "\r\n")] = '\0';
        const char *start = line + strspn(line, " \t^");
        if (*start) snprintf(text, size, "%s", start);
    }
}

static int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return status;
}

vs_status vs_gnuplot_run(const char *program, const char *script, size_t size, bool *missing, vs_error *err) {
    int in[2] = { -1, -1 }, report[2] = { -1, -1 };
    vs_status status = VS_OK;
    *missing = false;
    if (!program) program = "gnuplot";
    FILE *complaints = tmpfile();
    if (!complaints || pipe(in) != 0 || pipe(report) != 0 || fcntl(in[1], F_SETFD, FD_CLOEXEC) != 0 ||
        fcntl(report[1], F_SETFD, FD_CLOEXEC) != 0) {
        status = vs_fail(err, VS_ERR_IO, "cannot start %s: %s", program, strerror(errno));
        goto out;
    }
    const pid_t child = fork();
    if (child < 0) {
        status = vs_fail(err, VS_ERR_IO, "cannot start %s: %s", program, strerror(errno));
        goto out;
    }
    if (child == 0) become(program, in[0], fileno(complaints), report[1]);
    (void)close(in[0]);
    (void)close(report[1]);
    in[0] = report[1] = -1;
    int exec_errno = 0;
    const bool exec_failed = read(report[0], &exec_errno, sizeof exec_errno) == (ssize_t)sizeof exec_errno;
    const bool written = exec_failed || write_all(in[1], script, size);
    (void)close(in[1]);
    in[1] = -1;
    const int code = wait_for(child);
    if (exec_failed) {
        if (exec_errno == ENOENT || exec_errno == EACCES)
            *missing = true;
        else
            status = vs_fail(err, VS_ERR_IO, "cannot start %s: %s", program, strerror(exec_errno));
    } else if (!written || !WIFEXITED(code) || WEXITSTATUS(code) != 0) {
        char line[300];
        complaint(complaints, line, sizeof line);
        status = vs_fail(err, VS_ERR_IO, "%s failed: %s", program, line[0] ? line : "it said nothing");
    }
out:
    for (size_t i = 0; i < 2; i++) {
        if (in[i] >= 0) (void)close(in[i]);
        if (report[i] >= 0) (void)close(report[i]);
    }
    if (complaints) (void)fclose(complaints);
    return status;
}
