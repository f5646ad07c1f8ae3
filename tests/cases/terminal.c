/* SPDX-License-Identifier: MIT */
/* Runs a program in a terminal of its own (80 x 24) and types for it:
 *
 *     terminal SCRIPT PROGRAM ARGUMENTS...
 *
 * Lines of SCRIPT: "send TEXT" types, with \r, \n, \t, \e, \\ and \xHH; "wait TEXT" waits until TEXT, escapes alike, has appeared
 * after what was waited for before, ten seconds at most; "no TEXT" fails if it has appeared since then. Everything that
 * appears goes to standard output. Exit status: that of the program, 99 if the script could not be followed. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char seen[1 << 22];
static size_t n_seen, n_matched;
static int fd;

static size_t unescape(char *text)
{
    char *out = text;
    for (char *p = text; *p && *p != '\n'; p++) {
        if (*p != '\\') {
            *out++ = *p;
            continue;
        }
        p++;
        unsigned value = 0;
        if (*p == 'x' && sscanf(p + 1, "%2x", &value) == 1) {
            *out++ = (char)value;
            p += 2;
        } else {
            *out++ = *p == 'r' ? '\r' : *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'e' ? '\033' : *p;
        }
    }
    *out = '\0';
    return (size_t)(out - text);
}

/* Take what has appeared; 0 when the program is gone. */
static int take(int wait_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    if (poll(&p, 1, wait_ms) <= 0) return 1;
    ssize_t n = read(fd, seen + n_seen, sizeof seen - 1 - n_seen);
    if (n <= 0) return 0;
    fwrite(seen + n_seen, 1, (size_t)n, stdout);
    n_seen += (size_t)n;
    return 1;
}

/* Nobody types in the instant in which a prompt appears: wait until nothing has come for 50 ms, half a second at most. */
static void pause_typing(void)
{
    for (int i = 0; i < 10; i++) {
        size_t before = n_seen;
        if (!take(50) || n_seen == before) return;
    }
}

static int find(const char *text, size_t len)
{
    void *at = len ? memmem(seen + n_matched, n_seen - n_matched, text, len) : NULL;
    if (!at) return 0;
    n_matched = (size_t)((char *)at - seen) + len;
    return 1;
}

static int wait_for(const char *text, size_t len)
{
    time_t end = time(NULL) + 10;
    while (!find(text, len))
        if (time(NULL) > end || !take(100)) return find(text, len);
    return 1;
}

static int follow(FILE *script)
{
    static char line[1 << 16];
    while (fgets(line, sizeof line, script)) {
        char *text = strchr(line, ' ');
        if (!text || line[0] == '#') continue;
        size_t len = unescape(++text);
        size_t before = n_matched;
        int good = 1;
        if (line[0] == 's') {
            pause_typing();
            good = write(fd, text, len) == (ssize_t)len;
        } else if (line[0] == 'w')
            good = wait_for(text, len);
        else if (find(text, len))
            n_matched = before, good = 0;
        if (!good) {
            fprintf(stderr, "terminal: %.4s %s: not so\n", line, text);
            return 0;
        }
    }
    return 1;
}

static void run_program(const char *name, char **argv)
{
    struct winsize size = {24, 80, 0, 0};
    setsid();
    int terminal = open(name, O_RDWR);
    if (terminal < 0) _exit(98);
    ioctl(terminal, TIOCSCTTY, 0);
    ioctl(terminal, TIOCSWINSZ, &size);
    for (int i = 0; i < 3; i++) dup2(terminal, i);
    if (terminal > 2) close(terminal);
    setenv("TERM", "xterm", 1);
    execvp(argv[0], argv);
    _exit(98);
}

int main(int argc, char **argv)
{
    FILE *script = argc > 2 ? fopen(argv[1], "r") : NULL;
    if (!script) return 97;
    fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0) return 97;
    char *name = ptsname(fd);
    pid_t pid = fork();
    if (pid == 0) run_program(name, argv + 2);
    int good = pid > 0 && follow(script);
    int status = 0;
    if (!good) kill(pid, SIGKILL);
    for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
        if (!take(50)) usleep(50000); /* its terminal is closed, itself not yet gone */
        if (i == 100) kill(pid, SIGKILL), good = 0;
    }
    fclose(script);
    return !good ? 99 : WIFEXITED(status) ? WEXITSTATUS(status) : 96;
}
